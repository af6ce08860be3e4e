//! Whom a client example trusts.

use std::{error::Error, fs, io, path::Path, sync::Arc};

use wakering::{
    http::client::{self, ClientBuilder},
    tls::{
        TlsError,
        rustls::{
            self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
            client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
            crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
            pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
        },
    },
};

/// Where systems keep the certificates that they trust: Debian and its kin, Fedora, FreeBSD.
const SYSTEM: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// The code when it cannot be read whom to trust.
pub(crate) const UNTRUSTED: u8 = 77;

/// Has a client trust the certificates in this file, those of the system, or everybody.
pub(crate) fn trust(
    builder: ClientBuilder,
    authority: Option<&Path>,
    insecure: bool,
) -> Result<ClientBuilder, Box<dyn Error>> {
    if insecure {
        let verifier = Arc::new(Everybody(ring::default_provider()));
        let config = ClientConfig::builder().dangerous().with_custom_certificate_verifier(verifier);
        return Ok(builder.tls(config.with_no_client_auth()));
    }
    let system = || SYSTEM.map(Path::new).into_iter().find(|path| path.exists());
    let path = authority.or_else(system).ok_or("the system names nobody to trust: use --cacert or -k")?;
    let text = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| format!("{}: {error}", path.display()))?;
        // The system's may have some that rustls does not understand.
        let added = roots.add(certificate);
        if authority.is_some() {
            added.map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    Ok(builder.tls(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}

/// The code of a failure in TLS.
pub(crate) fn code(error: &client::Error) -> Option<u8> {
    let error: &io::Error = error.source()?.downcast_ref()?;
    let error: &TlsError = error.get_ref()?.downcast_ref()?;
    match error.cause() {
        rustls::Error::InvalidCertificate(_) => Some(60),
        _ => Some(35),
    }
}

/// Takes every certificate for good; the signatures must still be right.
#[derive(Debug)]
struct Everybody(CryptoProvider);

impl ServerCertVerifier for Everybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
