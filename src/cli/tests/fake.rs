//! A server that answers what a test wants, and remembers what it was asked.

use std::convert::Infallible;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::oneshot;

#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub target: String,
    pub authorization: String,
    pub idempotency_key: String,
    pub body: String,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.method, self.target, self.body)
    }
}

pub struct Reply {
    status: u16,
    body: String,
}

impl Reply {
    pub fn new(status: u16, body: &str) -> Reply {
        Reply {
            status,
            body: body.into(),
        }
    }
}

type Answer = dyn Fn(&Asked) -> Reply + Send + Sync;
type Log = Arc<Mutex<Vec<Asked>>>;

/// Runs until it is dropped.
pub struct Fake {
    folder: tempfile::TempDir,
    socket: PathBuf,
    url: String,
    asked: Log,
    _stop: oneshot::Sender<()>,
}

impl Fake {
    pub fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Fake {
        Fake::begin(Arc::new(answer), false)
    }

    pub fn start_tcp(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Fake {
        Fake::begin(Arc::new(answer), true)
    }

    fn begin(answer: Arc<Answer>, tcp: bool) -> Fake {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("control.sock");
        let asked = Log::default();
        let log = asked.clone();
        let (address, bound) = std::sync::mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel::<()>();
        let path = socket.clone();
        let serving = async move {
            if tcp {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                address.send(listener.local_addr().unwrap().to_string()).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, answer.clone(), log.clone()));
                }
            } else {
                let listener = UnixListener::bind(path).unwrap();
                address.send(String::new()).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, answer.clone(), log.clone()));
                }
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! { () = serving => {}, _ = stopped => {} }
            });
        });
        let url = format!("http://{}", bound.recv().unwrap());
        Fake {
            folder,
            socket,
            url,
            asked,
            _stop: stop,
        }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S, answer: Arc<Answer>, log: Log) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (answer, log) = (answer.clone(), log.clone());
        async move {
            let asked = read(request).await;
            let Reply { status, body } = answer(&asked);
            log.lock().unwrap().push(asked);
            let mut response = Response::new(Full::<Bytes>::from(body));
            *response.status_mut() = status.try_into().unwrap();
            Ok::<_, Infallible>(response)
        }
    });
    drop(
        http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await,
    );
}

async fn read(request: Request<Incoming>) -> Asked {
    let (head, body) = request.into_parts();
    let header = |name| {
        head.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
            .to_owned()
    };
    let (authorization, idempotency_key) = (header("authorization"), header("idempotency-key"));
    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().into()).unwrap();
    Asked {
        method: head.method.to_string(),
        target: head.uri.to_string(),
        authorization,
        idempotency_key,
        body,
    }
}
