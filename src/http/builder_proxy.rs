//! The setting of a server that stands behind proxies which tell whose connections they pass on.

use crate::{http::server::Builder, net::proxy_header::ProxyHeaders};

impl Builder {
    /// Takes connections over from proxies that begin each with a PROXY header, version 1 or 2, as haproxy's `send-proxy` and
    /// `send-proxy-v2` do; handlers, hooks and limits then see the client's address. Behind the feature `proxy-protocol`.
    ///
    /// Every connection from a trusted address has to begin with a header, and within its time; one that does not is closed.
    /// Connections from other addresses are their own, and a header on them is no HTTP.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::net::Ipv4Addr;
    /// use wakering::{http::Server, net::proxy_header::ProxyHeaders};
    ///
    /// let builder = Server::builder().proxy_headers(ProxyHeaders::trusting([Ipv4Addr::new(10, 0, 0, 5).into()]));
    /// # drop(builder);
    /// ```
    #[must_use]
    pub fn proxy_headers(mut self, proxies: ProxyHeaders) -> Self {
        self.front.proxies = Some(proxies);
        self
    }
}
