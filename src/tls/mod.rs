//! Our side of TLS: who we say we are, checked, and how we speak. It reads no file and holds no socket.
//!
//! One [`Server`] is shared by all threads of a face, so whoever comes back resumes on any of them. Nothing is kept of a
//! session: its ticket holds all of it, sealed with keys that change by themselves. Only who knows no tickets (TLS 1.2
//! without them) takes one of `limits::TLS_SESSIONS` places.

mod validity;

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{Error, InconsistentKeys, ServerConfig};

use crate::limits;

pub use validity::Validity;

/// Why something is no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    #[error("holds no certificate: one begins with -----BEGIN CERTIFICATE-----")]
    Missing,
    #[error("is not whole: {0}")]
    Pem(String),
    #[error("holds {0} certificates, but at most {max} are taken", max = limits::CERTIFICATES)]
    Long(usize),
    #[error("its first certificate is not whole, or of an old form: {0}")]
    Form(String),
}

/// Why something is not the key of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("holds no private key: one begins with -----BEGIN PRIVATE KEY-----")]
    Missing,
    #[error("its key is locked with a passphrase, which nobody could type at a start: `openssl pkey` unlocks it")]
    Locked,
    #[error("is not whole: {0}")]
    Pem(String),
    #[error("its key is not whole, or none of RSA with 2048 to 8192 bits, ECDSA on P-256 or P-384, and Ed25519")]
    Kind,
    #[error(
        "is not the key of the certificate, or the server's own certificate is not the first among those of its issuers"
    )]
    Other,
}

/// A certificate and those of its issuers, the server's own first.
#[derive(Debug, Clone)]
pub struct Chain {
    certificates: Vec<CertificateDer<'static>>,
    validity: Validity,
}

/// A chain with the key of its first certificate.
#[derive(Clone)]
pub struct Identity {
    key: Arc<CertifiedKey>,
    pub validity: Validity,
}

impl Chain {
    pub fn parse(text: &str) -> Result<Chain, ChainError> {
        let certificates = CertificateDer::pem_slice_iter(text.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| ChainError::Pem(plain(&error)))?;
        let own = match certificates.len() {
            0 => return Err(ChainError::Missing),
            n if n > limits::CERTIFICATES => return Err(ChainError::Long(n)),
            _ => &certificates[0],
        };
        rustls::server::ParsedCertificate::try_from(own).map_err(|error| ChainError::Form(error.to_string()))?;
        let validity =
            Validity::of(own).ok_or_else(|| ChainError::Form("it does not say until when it is good".into()))?;
        Ok(Chain { certificates, validity })
    }

    pub fn with_key(self, text: &str) -> Result<Identity, KeyError> {
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| match error {
            pem::Error::NoItemsFound if text.contains("ENCRYPTED PRIVATE KEY") => KeyError::Locked,
            pem::Error::NoItemsFound => KeyError::Missing,
            error => KeyError::Pem(plain(&error)),
        })?;
        if text.contains("Proc-Type: 4,ENCRYPTED") {
            return Err(KeyError::Locked);
        }
        match CertifiedKey::from_der(self.certificates, key, &default_provider()) {
            Ok(key) => Ok(Identity {
                key: Arc::new(key),
                validity: self.validity,
            }),
            Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(KeyError::Other),
            Err(_) => Err(KeyError::Kind),
        }
    }
}

/// What is wrong with a text, without a word of it: it may be a key's.
fn plain(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a block has no end".into(),
        pem::Error::IllegalSectionStart { .. } => "a line that begins a block has no end".into(),
        pem::Error::Base64Decode(_) => "a block is not base64".into(),
        _ => "it is no text in PEM form".into(),
    }
}

/// It says nothing: beside the certificate it holds the key.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// How one face speaks TLS, on all of its threads.
#[derive(Clone)]
pub struct Server {
    config: Arc<ServerConfig>,
    shown: Arc<Shown>,
}

/// The identity that who connects from now on is shown.
#[derive(Debug)]
struct Shown(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Shown {
    /// Whatever name was asked for, since Mercado Pago may connect by any that leads here.
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Server {
    pub fn new(identity: &Identity) -> Server {
        let shown = Arc::new(Shown(ArcSwap::new(identity.key.clone())));
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .expect("ring has suites for both versions")
            .with_no_client_auth()
            .with_cert_resolver(shown.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.ticketer = Ticketer::new().expect("the system gives random numbers, as each handshake needs them");
        config.session_storage = ServerSessionMemoryCache::new(limits::TLS_SESSIONS);
        Server {
            config: Arc::new(config),
            shown,
        }
    }

    /// Takes another identity from now on. Connections that are open stay as they are, and who comes back still resumes.
    pub fn show(&self, identity: &Identity) {
        self.shown.0.store(identity.key.clone());
    }

    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }
}

#[cfg(test)]
mod tests;
