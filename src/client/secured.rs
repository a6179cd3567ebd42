//! TLS to a server elsewhere: whom we trust, and the handshake.

use std::io;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Whose certificates we believe for this host.
#[derive(Debug, Clone)]
pub struct Trust {
    host: ServerName<'static>,
    config: Arc<ClientConfig>,
}

impl Trust {
    /// `authorities` are certificates in PEM form. Without them it is the public ones, as a browser does.
    pub(super) fn new(host: &str, authorities: Option<&str>) -> Result<Trust, String> {
        let host = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
            .map_err(|_| format!("`{host}` is neither a host's name nor an address"))?;
        let mut roots = RootCertStore::empty();
        match authorities {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(pem) => {
                for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                    let added = certificate.map(|certificate| roots.add(certificate).is_ok());
                    if added.is_ok_and(|added| !added) {
                        return Err("a certificate of the --ca file is not whole, or of an old form".into());
                    }
                }
            }
        }
        if roots.is_empty() {
            return Err("the --ca file holds no certificate: one begins with -----BEGIN CERTIFICATE-----".into());
        }
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has what they need")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let config = Arc::new(config);
        Ok(Trust { host, config })
    }

    pub(super) async fn secure(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let connector = TlsConnector::from(self.config.clone());
        connector.connect(self.host.clone(), stream).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_authority_is_refused() {
        let whole = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (host, pem, why) in [
            ("pay.example.com", Some(""), "holds no certificate"),
            ("pay.example.com", Some("nonsense"), "holds no certificate"),
            ("pay.example.com", Some(whole), "not whole"),
            ("a b", None, "neither"),
        ] {
            let refused = Trust::new(host, pem).expect_err(host);
            assert!(refused.contains(why), "{refused}");
        }
        for host in ["pay.example.com", "127.0.0.1", "[::1]"] {
            assert!(Trust::new(host, None).is_ok(), "{host}");
        }
    }
}
