//! What a server speaks: HTTP/2, HTTP/1 with the feature `http1`, in cleartext, and with the feature `tls-ring` over TLS.

use std::{error::Error, path::PathBuf};

use lexopt::Parser;
use wakering::http::{Builder, Server};

use crate::options::Switches;

#[cfg(feature = "http1")]
#[path = "http1.rs"]
mod older;
#[cfg(not(feature = "http1"))]
#[path = "http2_only.rs"]
mod older;
#[cfg(feature = "tls-ring")]
#[path = "server_tls.rs"]
mod tls;
#[cfg(not(feature = "tls-ring"))]
#[path = "server_no_tls.rs"]
mod tls;

/// What the command line says of it.
#[derive(Default)]
pub(crate) struct Speaks {
    http2_only: bool,
    pub(crate) tls: bool,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Switches for Speaks {
    fn help() -> Vec<(&'static str, &'static str)> {
        vec![
            ("--http2-only", "tell clients of HTTP/1 to go away"),
            ("--tls", "speak TLS; with a certificate made for localhost unless one is given"),
            ("--cert FILE", "the certificate and those it stands on, in PEM"),
            ("--key FILE", "its private key, in PEM"),
        ]
    }

    fn take(&mut self, name: &str, parser: &mut Parser) -> Result<bool, lexopt::Error> {
        match name {
            "http2-only" => self.http2_only = true,
            "tls" => self.tls = true,
            "cert" => self.certificate = Some(parser.value()?.into()),
            "key" => self.key = Some(parser.value()?.into()),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn check(&self) -> Result<(), lexopt::Error> {
        if self.certificate.is_some() != self.key.is_some() {
            return Err("--cert and --key belong together".into());
        }
        if self.certificate.is_some() && !self.tls {
            return Err("--cert and --key are for --tls".into());
        }
        Ok(())
    }
}

impl Speaks {
    /// A server that speaks so. `h2c`: clients of HTTP/1 may change to HTTP/2, which is not for servers behind a proxy.
    pub(crate) fn builder(&self, h2c: bool) -> Result<Builder, Box<dyn Error>> {
        let mut builder = Server::builder();
        if self.tls {
            let files = self.certificate.as_deref().zip(self.key.as_deref());
            builder = tls::secure(builder, files)?;
        }
        if !self.http2_only {
            builder = older::serve_http1_too(builder, h2c);
        }
        Ok(builder)
    }
}
