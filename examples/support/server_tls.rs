//! TLS for a server example.

use std::{error::Error, fs, path::Path};

use wakering::{
    http,
    tls::{
        TlsAcceptor,
        rustls::{
            ServerConfig,
            pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        },
    },
};

/// Adds TLS to a server: with the certificate and the key in these files, or one made for now.
pub(crate) fn secure(
    builder: http::Builder,
    files: Option<(&Path, &Path)>,
) -> Result<http::Builder, Box<dyn Error>> {
    let (chain, key) = match files {
        Some((certificate, key)) => read(certificate, key)?,
        None => make()?,
    };
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    Ok(builder.tls(TlsAcceptor::new(config)))
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn read(certificate: &Path, key: &Path) -> Result<Identity, Box<dyn Error>> {
    let text = fs::read(certificate).map_err(|error| format!("{}: {error}", certificate.display()))?;
    let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| format!("{}: {error}", certificate.display()))?;
    let text = fs::read(key).map_err(|error| format!("{}: {error}", key.display()))?;
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|error| format!("{}: {error}", key.display()))?;
    Ok((chain, key))
}

/// A certificate that nobody has reason to trust, for this host.
fn make() -> Result<Identity, Box<dyn Error>> {
    let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
    let made = rcgen::generate_simple_self_signed(names)?;
    let key = PrivateKeyDer::Pkcs8(made.key_pair.serialize_der().into());
    Ok((vec![made.cert.der().clone()], key))
}
