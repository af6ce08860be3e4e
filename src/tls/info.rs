//! What a handshake has agreed on.

use std::fmt;

use rustls::{CipherSuite, HandshakeKind, ProtocolVersion, pki_types::CertificateDer};

use super::session::Agreed;

/// What a handshake has agreed on, and what is known of the peer by it.
///
/// # Examples
///
/// ```
/// use wakering::tls::TlsInfo;
///
/// fn describe(info: &TlsInfo) -> String {
///     format!("{:?}, asked for {:?}", info.version(), info.server_name())
/// }
/// # drop(describe);
/// ```
#[derive(Clone)]
pub struct TlsInfo {
    agreed: Agreed,
}

impl TlsInfo {
    pub(super) fn new(agreed: Agreed) -> TlsInfo {
        TlsInfo { agreed }
    }

    /// The version of the protocol.
    #[must_use]
    pub fn version(&self) -> Option<ProtocolVersion> {
        self.agreed.version
    }

    /// The cipher suite.
    #[must_use]
    pub fn cipher_suite(&self) -> Option<CipherSuite> {
        self.agreed.suite.map(|suite| suite.suite())
    }

    /// The protocol that both want to speak over the stream (ALPN, RFC 7301), such as `h2`.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.agreed.alpn.as_deref()
    }

    /// The host that the client has asked for (SNI, RFC 6066 §3); known to the server only.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        self.agreed.server_name.as_deref()
    }

    /// Whether an earlier session was taken up again, which spares certificates and signatures.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.agreed.kind == Some(HandshakeKind::Resumed)
    }

    /// The peer's certificates as it has sent them, its own first: empty if it has none, or was not asked.
    #[must_use]
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        &self.agreed.certificates
    }
}

impl fmt::Debug for TlsInfo {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("TlsInfo")
            .field("version", &self.version())
            .field("cipher_suite", &self.cipher_suite())
            .field("alpn", &self.alpn().map(String::from_utf8_lossy))
            .field("server_name", &self.server_name())
            .field("resumed", &self.is_resumed())
            .field("peer_certificates", &self.agreed.certificates.len())
            .finish()
    }
}
