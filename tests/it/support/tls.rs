//! Certificates of an authority that only these tests trust, and a client that asks by TLS.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::ring::default_provider;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned, SupportedProtocolVersion};

use super::process::{Client, WAIT};

/// The name that each certificate is for.
pub const NAME: &str = "localhost";

pub type Stream = StreamOwned<ClientConnection, TcpStream>;

pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Authority {
        let mut parameters = CertificateParams::default();
        // Else its name would be that of the certificates, which would seem to be signed by themselves.
        parameters.distinguished_name.push(DnType::CommonName, "An authority");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Authority(CertifiedIssuer::self_signed(parameters, key).expect("an authority"))
    }

    /// A new certificate with its key, good until that year, both as PEM.
    pub fn certificate(&self, until: i32) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let mut parameters = CertificateParams::new(vec![NAME.into()]).expect("a name");
        parameters.not_after = rcgen::date_time_ymd(until, 1, 1);
        let certificate = parameters.signed_by(&key, &self.0).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }

    /// Writes one into the folder, with the configuration's keys that name it.
    pub fn certify(&self, folder: &Path, until: i32) -> String {
        let (certificate, key) = self.certificate(until);
        let (certificate_file, key_file) = (folder.join("certificate.pem"), folder.join("key.pem"));
        std::fs::write(&certificate_file, certificate).expect("the folder is ours");
        write_key(&key_file, &key);
        format!("certificate_file = {certificate_file:?}\nkey_file = {key_file:?}\n")
    }

    /// Its own certificate in a file, for other clients.
    pub fn file(&self, folder: &Path) -> PathBuf {
        let file = folder.join("authority.pem");
        std::fs::write(&file, self.0.pem()).expect("the folder is ours");
        file
    }

    /// Clients with this remember sessions among them.
    pub fn trusted(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("an authority");
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .expect("ring has them")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

/// A private key as it should lie there.
pub fn write_key(file: &Path, key: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(file, key).expect("the folder is ours");
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
}

/// Once hands are shaken.
pub fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<Stream> {
    over(TcpStream::connect_timeout(&address, WAIT)?, config)
}

/// The same on a connection that is there.
pub fn over(stream: TcpStream, config: &Arc<ClientConfig>) -> io::Result<Stream> {
    stream.set_read_timeout(Some(WAIT))?;
    stream.set_write_timeout(Some(WAIT))?;
    let name = NAME.try_into().expect("a name");
    let connection = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    stream.conn.complete_io(&mut stream.sock)?;
    Ok(stream)
}

/// Whether it was the other side's first sight of us.
pub fn is_resumed(stream: &Stream) -> bool {
    stream.conn.handshake_kind() == Some(HandshakeKind::Resumed)
}

pub fn client(address: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<Client> {
    Ok(Client::over(Box::new(connect(address, config)?)))
}
