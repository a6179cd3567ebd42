//! A server that answers as it is told, one answer for each request, and keeps what it was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::config::{BaseUrl, Config, Overrides, Secret, Source};

#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Say(u16, String),
    /// With more lines of the head.
    With(u16, &'static str, String),
    /// The connection ends instead.
    Cut,
    /// An answer that ends in the middle.
    Half,
}

pub(crate) fn say(status: u16, body: &str) -> Answer {
    Answer::Say(status, body.to_owned())
}

#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// `GET /pos/1`
    pub(crate) line: String,
    head: String,
    pub(crate) body: String,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .next()
    }
}

#[derive(Default)]
struct State {
    answers: VecDeque<Answer>,
    asked: Vec<Asked>,
    connections: usize,
}

pub(crate) struct Server {
    state: Arc<Mutex<State>>,
    pub(crate) url: String,
}

pub(crate) fn token() -> Secret {
    Secret::parse("APP_USR-77-112114-5ecre7-178106235").unwrap()
}

pub(crate) fn base(url: &str) -> BaseUrl {
    let env = [("SURTIDOR_MERCADOPAGO__BASE_URL".to_owned(), url.to_owned())];
    let (config, _) = Config::load(Source::BuiltIn, env, Overrides::default()).expect("a base URL");
    config.mercadopago.base_url
}

impl Server {
    pub(crate) async fn start(answers: impl IntoIterator<Item = Answer>) -> Server {
        Server::over(answers, None).await
    }

    pub(crate) async fn over(answers: impl IntoIterator<Item = Answer>, tls: Option<TlsAcceptor>) -> Server {
        let state = Arc::new(Mutex::new(State {
            answers: answers.into_iter().collect(),
            ..State::default()
        }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() {
            "https://localhost"
        } else {
            "http://127.0.0.1"
        };
        let url = format!("{scheme}:{}", listener.local_addr().unwrap().port());
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (state, tls) = (shared.clone(), tls.clone());
                state.lock().unwrap().connections += 1;
                tokio::spawn(async move {
                    match tls {
                        None => serve(socket, state).await,
                        Some(tls) => match tls.accept(socket).await {
                            Ok(socket) => serve(socket, state).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        Server { state, url }
    }

    pub(crate) fn client(&self) -> super::super::Client {
        super::super::Client::new(&base(&self.url))
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }
}

async fn serve(mut socket: impl AsyncRead + AsyncWrite + Unpin, state: Arc<Mutex<State>>) -> Option<()> {
    loop {
        let asked = read(&mut socket).await?;
        let answer = {
            let mut state = state.lock().unwrap();
            state.asked.push(asked);
            state.answers.pop_front().expect("an answer for each request")
        };
        let (status, lines, body) = match answer {
            Answer::Say(status, body) => (status, "", body),
            Answer::With(status, lines, body) => (status, lines, body),
            Answer::Cut => return None,
            Answer::Half => {
                socket
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{")
                    .await
                    .ok()?;
                return None;
            }
        };
        // These two have no body, as HTTP says.
        let length = match status {
            204 | 304 => String::new(),
            _ => format!("content-length: {}\r\n", body.len()),
        };
        let text = format!("HTTP/1.1 {status} Told\r\n{lines}{length}\r\n{body}");
        socket.write_all(text.as_bytes()).await.ok()?;
    }
}

async fn read(socket: &mut (impl AsyncRead + Unpin)) -> Option<Asked> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let line = head.split(" HTTP/").next()?.to_owned();
    let mut asked = Asked {
        line,
        head,
        body: String::new(),
    };
    let length = asked
        .header("content-length")
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await.ok()?;
    asked.body = String::from_utf8(body).unwrap();
    Some(asked)
}
