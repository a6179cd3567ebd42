//! TLS for the benches: the poll face that speaks it, and a load that costs little more than its ciphers.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustls::crypto::ring::{cipher_suite, default_provider, kx_group};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore};
use surtidor::poll::Listener;
use surtidor::tls;

use super::load::{STRIDE, request};

const NAME: &str = "pay.example.com";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Tls12,
    Tls13,
}

/// Whether a connection serves many polls, or one after a handshake that resumes the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    KeepAlive,
    Resumed,
}

/// A certificate with its key, for who serves and who asks.
pub fn certify(folder: &Path) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let parameters = rcgen::CertificateParams::new(vec![NAME.into()]).expect("a name");
    let certificate = parameters.self_signed(&key).expect("a certificate");
    fs::write(folder.join("certificate.pem"), certificate.pem()).expect("the folder is ours");
    fs::write(folder.join("key.pem"), key.serialize_pem()).expect("the folder is ours");
}

/// The child's side: as `serve`, by TLS, with the certificate of this folder.
pub fn serve(pos: usize, folder: &Path) {
    let read = |name: &str| fs::read_to_string(folder.join(name)).expect("the parent wrote it");
    let chain = tls::Chain::parse(&read("certificate.pem")).expect("a certificate");
    let identity = chain.with_key(&read("key.pem")).expect("its key");
    let server = tls::Server::new(&identity);
    super::serve_as(pos, move |listener| Listener::Tls(listener, server.clone()));
}

struct Asker {
    /// With a memory of its own, so that each resumes what it began.
    config: Arc<ClientConfig>,
    stream: TcpStream,
    tls: ClientConnection,
    asks: bool,
    reply: Vec<u8>,
}

pub struct Load {
    address: SocketAddr,
    kind: Kind,
    poll: Poll,
    events: Events,
    requests: Vec<Box<[u8]>>,
    next: usize,
    askers: Vec<Asker>,
    /// Those answered on a connection that resumed.
    pub resumed: usize,
}

impl Load {
    pub fn new(
        address: SocketAddr,
        folder: &Path,
        kind: Kind,
        version: Version,
        connections: usize,
        pos: usize,
    ) -> Load {
        let close = match kind {
            Kind::KeepAlive => "",
            Kind::Resumed => "Connection: close\r\n",
        };
        let poll = Poll::new().expect("epoll");
        let certificate = CertificateDer::from_pem_file(folder.join("certificate.pem")).expect("it is there");
        let askers = (0..connections).map(|i| Asker::new(&poll, i, address, config(&certificate, version)));
        Load {
            address,
            kind,
            events: Events::with_capacity(256),
            requests: (0..pos).map(|i| request(i * STRIDE % pos, close)).collect(),
            next: 0,
            askers: askers.collect(),
            resumed: 0,
            poll,
        }
    }

    /// Each connection asks again as soon as it is answered.
    pub fn closed(&mut self, polls: usize) {
        let at_once = self.askers.len().min(polls);
        (0..at_once).for_each(|i| self.ask(i));
        let (mut asked, mut answered) = (at_once, 0);
        while answered < polls {
            self.poll.poll(&mut self.events, Some(Duration::ZERO)).expect("epoll");
            let ready: Vec<usize> = self.events.iter().map(|event| event.token().0).collect();
            for i in ready {
                if !self.is_answered(i) {
                    continue;
                }
                answered += 1;
                if asked < polls {
                    asked += 1;
                    self.ask(i);
                }
            }
        }
    }

    fn ask(&mut self, i: usize) {
        let request = &self.requests[self.next % self.requests.len()];
        self.next += 1;
        let asker = &mut self.askers[i];
        asker.asks = true;
        // Until hands are shaken it is kept.
        asker.tls.writer().write_all(request).expect("it is open");
        asker.send();
    }

    fn is_answered(&mut self, i: usize) -> bool {
        let asker = &mut self.askers[i];
        let closed = asker.receive();
        let whole = asker.reply.ends_with(b"}");
        let answered = match self.kind {
            Kind::KeepAlive => whole,
            Kind::Resumed => closed,
        };
        assert!(
            !closed || !asker.asks || whole,
            "closed without a whole reply: {:?}",
            asker.reply
        );
        if !answered || !asker.asks {
            return false;
        }
        asker.reply.clear();
        asker.asks = false;
        self.resumed += usize::from(asker.tls.handshake_kind() == Some(HandshakeKind::Resumed));
        if self.kind == Kind::Resumed {
            *asker = Asker::new(&self.poll, i, self.address, asker.config.clone());
        }
        true
    }
}

impl Asker {
    fn new(poll: &Poll, i: usize, address: SocketAddr, config: Arc<ClientConfig>) -> Asker {
        let stream = std::net::TcpStream::connect(address).expect("it listens");
        stream.set_nodelay(true).expect("it is open");
        stream.set_nonblocking(true).expect("it is open");
        let mut stream = TcpStream::from_std(stream);
        poll.registry()
            .register(&mut stream, Token(i), Interest::READABLE)
            .expect("registered");
        let tls = ClientConnection::new(config.clone(), NAME.try_into().expect("a name")).expect("a client");
        Asker {
            config,
            stream,
            tls,
            asks: false,
            reply: Vec::with_capacity(4096),
        }
    }

    /// All that waits; it is far less than a socket takes.
    fn send(&mut self) {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.stream) {
                Ok(_) => {}
                // The other side has said all and is gone.
                Err(error) if is_end(&error) => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Reads what is there. Whether the other side has closed.
    fn receive(&mut self) -> bool {
        loop {
            let closed = match self.tls.read_tls(&mut self.stream) {
                Ok(0) => true,
                Ok(_) => false,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) if is_end(&error) => true,
                Err(error) => panic!("{error}"),
            };
            let state = self.tls.process_new_packets().expect("they speak TLS");
            let begun = self.reply.len();
            self.reply.resize(begun + state.plaintext_bytes_to_read(), 0);
            self.tls
                .reader()
                .read_exact(&mut self.reply[begun..])
                .expect("it is there");
            self.send();
            if closed {
                return true;
            }
        }
    }
}

fn is_end(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

/// One version, one cipher, one curve.
fn config(certificate: &CertificateDer<'static>, version: Version) -> Arc<ClientConfig> {
    let (suite, version) = match version {
        Version::Tls12 => (cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, &TLS12),
        Version::Tls13 => (cipher_suite::TLS13_AES_128_GCM_SHA256, &TLS13),
    };
    let mut provider = default_provider();
    provider.cipher_suites = vec![suite];
    // The second is that of the certificate; hands are shaken by the first.
    provider.kx_groups = vec![kx_group::X25519, kx_group::SECP256R1];
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("a certificate");
    let config = ClientConfig::builder_with_provider(provider.into())
        .with_protocol_versions(&[version])
        .expect("the suite is its own")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}
