//! Certificates, configurations, and a client that is rustls on a blocking socket: another's reading and writing.
#![expect(dead_code, reason = "every test file uses its own part of this")]

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, KeyPair};
use wakering::tls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
    server::WebPkiClientVerifier,
    sign::CertifiedKey,
};

/// Keeps the expectation above true in a program that happens to use everything.
const UNUSED: () = ();

/// Long enough for a loaded machine; only a failing test waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Somebody whose certificates the tests trust.
pub(crate) struct Authority {
    certificate: Certificate,
    key: KeyPair,
}

/// A certificate and its key.
pub(crate) struct Identity {
    pub(crate) certificate: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority of tests");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Authority { certificate, key }
    }

    /// A certificate for hosts of these names.
    pub(crate) fn identity(&self, names: &[&str]) -> Identity {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(names).expect("names");
        // One that is named like its issuer would be taken for self-signed.
        params.distinguished_name.push(DnType::CommonName, "a host of tests");
        let certificate = params.signed_by(&key, &self.certificate, &self.key).expect("a certificate");
        Identity { certificate: certificate.der().clone(), pem: certificate.pem(), key }
    }

    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).expect("a root");
        roots
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A client that trusts this authority.
    pub(crate) fn client(&self) -> ClientConfig {
        ClientConfig::builder().with_root_certificates(self.roots()).with_no_client_auth()
    }

    /// The same, in this version only.
    pub(crate) fn client_of(&self, version: &'static SupportedProtocolVersion) -> ClientConfig {
        ClientConfig::builder_with_protocol_versions(&[version])
            .with_root_certificates(self.roots())
            .with_no_client_auth()
    }

    /// A client that shows who it is.
    pub(crate) fn client_as(&self, identity: &Identity) -> ClientConfig {
        ClientConfig::builder()
            .with_root_certificates(self.roots())
            .with_client_auth_cert(vec![identity.certificate.clone()], identity.private_key())
            .expect("a key of the certificate")
    }

    /// A server that wants to know who its clients are.
    pub(crate) fn asking_server(&self, identity: &Identity) -> ServerConfig {
        let verifier = WebPkiClientVerifier::builder(Arc::new(self.roots())).build().expect("roots");
        ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![identity.certificate.clone()], identity.private_key())
            .expect("a key of the certificate")
    }
}

impl Identity {
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    pub(crate) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    pub(crate) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.serialize_der().into())
    }

    /// A server with this certificate.
    pub(crate) fn server(&self) -> ServerConfig {
        ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], self.private_key())
            .expect("a key of the certificate")
    }

    pub(crate) fn certified(&self) -> CertifiedKey {
        CertifiedKey::from_der(vec![self.certificate.clone()], self.private_key(), &ring::default_provider())
            .expect("a key of the certificate")
    }
}

/// A server of `localhost`, and a client that trusts it.
pub(crate) fn localhost() -> (ServerConfig, ClientConfig) {
    let authority = Authority::new();
    (authority.identity(&["localhost", "127.0.0.1"]).server(), authority.client())
}

/// rustls in its buffered mode on a blocking socket.
pub(crate) struct Foreign {
    pub(crate) tls: ClientConnection,
    pub(crate) socket: TcpStream,
}

impl Foreign {
    /// Connects; nothing is said yet.
    pub(crate) fn connect(address: SocketAddr, config: impl Into<Arc<ClientConfig>>) -> Foreign {
        let socket = TcpStream::connect(address).expect("the server listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        socket.set_nodelay(true).expect("no delay");
        let name = ServerName::try_from("localhost").expect("a name");
        Foreign { tls: ClientConnection::new(config.into(), name).expect("a session"), socket }
    }

    /// What it has to say, as bytes.
    pub(crate) fn outgoing(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut bytes).expect("memory takes all");
        }
        bytes
    }

    /// Reads once, and takes notice of it; false at the end of the stream.
    pub(crate) fn take_in(&mut self) -> bool {
        let read = self.tls.read_tls(&mut self.socket).expect("the server answers");
        self.tls.process_new_packets().expect("the server speaks TLS");
        read > 0
    }

    /// Shakes hands up to the last flight, which it gives out unsent, with `first` sealed behind it.
    pub(crate) fn last_flight(&mut self, first: &[u8]) -> Vec<u8> {
        while self.tls.is_handshaking() {
            let flight = self.outgoing();
            self.socket.write_all(&flight).expect("the server takes it");
            assert!(self.take_in(), "the server ended the stream");
        }
        self.tls.writer().write_all(first).expect("memory takes all");
        self.outgoing()
    }

    pub(crate) fn shake(&mut self) {
        let flight = self.last_flight(b"");
        self.socket.write_all(&flight).expect("the server takes it");
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.tls.writer().write_all(bytes).expect("memory takes all");
        let sealed = self.outgoing();
        self.socket.write_all(&sealed).expect("the server takes it");
    }

    /// Reads to the end that the server announces, or the error that there is none.
    pub(crate) fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let mut piece = [0; 4096];
            match self.tls.reader().read(&mut piece) {
                Ok(0) => return Ok(all),
                Ok(count) => all.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.take_in();
                }
                Err(error) => return Err(error),
            }
        }
    }
}
