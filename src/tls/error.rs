//! How TLS fails, as an `io::Error` carries it.

use std::io;

use rustls::Error;

/// What TLS has against a connection; the inner error of the [`io::Error`] that a call returns.
///
/// # Examples
///
/// ```
/// use wakering::tls::TlsError;
///
/// fn explain(error: &std::io::Error) {
///     if let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) {
///         println!("TLS failed: {}", inner.cause());
///     }
/// }
/// # explain(&std::io::ErrorKind::Other.into());
/// ```
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{attempted}: {source}")]
pub struct TlsError {
    attempted: &'static str,
    source: Error,
}

impl TlsError {
    /// What rustls says.
    #[must_use]
    pub fn cause(&self) -> &Error {
        &self.source
    }

    pub(super) fn io(attempted: &'static str, source: Error) -> io::Error {
        let kind = match &source {
            Error::InvalidCertificate(_) | Error::NoCertificatesPresented => io::ErrorKind::PermissionDenied,
            _others => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, TlsError { attempted, source })
    }
}
