//! One request over plain HTTP, on a connection of its own. The sandbox speaks no TLS: what it calls is on this machine.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{HOST, HeaderMap};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::limits;
use crate::net::body::read_body;

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// The error says in words why there is no answer. It has no time limit of its own.
pub async fn send(method: Method, url: &str, headers: &[(&str, String)], body: Vec<u8>) -> Result<Answer, String> {
    let uri: Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
    let (Some("http"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(format!("{url}: the sandbox calls http:// only"));
    };
    let host = authority.host().trim_matches(['[', ']']);
    let socket = TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await;
    let socket = socket.map_err(|error| format!("{authority}: {error}"))?;
    let said = |error: hyper::Error| format!("{authority}: {error}");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket))
        .await
        .map_err(said)?;
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .header(HOST, authority.as_str());
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let request = request
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| error.to_string())?;
    let talk = async {
        let response = sender.send_request(request).await.map_err(said)?;
        let (head, body) = response.into_parts();
        let body = read_body(body, limits::SANDBOX_ANSWER_BYTES).await;
        Ok(Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.map_err(|error| error.to_string())?,
        })
    };
    tokio::pin!(talk);
    // The connection is driven here, so that giving up on the call closes it.
    tokio::select! {
        biased;
        answer = &mut talk => answer,
        _ = connection => talk.await,
    }
}
