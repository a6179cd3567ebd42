//! The least that a poll can cost, as the baseline: one thread, epoll, one read, httparse, a look-up, one write of a
//! reply rendered whole. No limits, no counters, no shutdown, and no HTTP beyond this one request.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

type Replies = HashMap<Box<str>, Option<Box<[u8]>>, foldhash::fast::RandomState>;

const LISTENER: Token = Token(usize::MAX);
const BUFFER: usize = 4096;

struct Peer {
    stream: TcpStream,
    buffer: Box<[u8; BUFFER]>,
    len: usize,
}

struct Bare {
    replies: Replies,
    idle: Box<[u8]>,
    unknown: Box<[u8]>,
}

/// The child's side; see `support::serve`.
pub fn serve(pos: usize) {
    let table = super::table(pos).0;
    let render = |query: &str| {
        let answer = table.answer(query);
        let head = format!(
            "HTTP/1.1 {}\r\ncontent-type: application/json\r\ncache-control: no-store\r\ncontent-length: {}\r\n\
             date: Sat, 21 Nov 2026 14:24:40 GMT\r\n\r\n",
            answer.status,
            answer.body.len()
        );
        Box::from([head.as_bytes(), &answer.body].concat())
    };
    let bare = Bare {
        replies: (0..pos)
            .map(|i| {
                let order = super::has_order(i).then(|| render(&super::query(i)));
                (format!("6232 {i}").into(), order)
            })
            .collect(),
        idle: render(&super::query(0)),
        unknown: render(""),
    };
    drop(table);
    let listener = TcpListener::bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || bare.run(listener));
    super::announce_and_wait(port);
}

impl Bare {
    fn run(&self, mut listener: TcpListener) {
        let mut poll = Poll::new().expect("epoll");
        let mut events = Events::with_capacity(256);
        let mut peers: Vec<Option<Peer>> = Vec::new();
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)
            .expect("registered");
        loop {
            poll.poll(&mut events, None).expect("epoll");
            for event in &events {
                if event.token() == LISTENER {
                    accept(&listener, &poll, &mut peers);
                } else if let Some(place) = peers.get_mut(event.token().0)
                    && place.as_mut().is_some_and(|peer| !self.answer(peer))
                {
                    *place = None;
                }
            }
        }
    }

    /// False once the connection is to be closed.
    fn answer(&self, peer: &mut Peer) -> bool {
        match peer.stream.read(&mut peer.buffer[peer.len..]) {
            Ok(0) => return false,
            Ok(read) => peer.len += read,
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&peer.buffer[..peer.len]) {
            Ok(status) if status.is_partial() => return peer.len < BUFFER,
            Ok(_) => {}
            Err(_) => return false,
        }
        let closes = |header: &httparse::Header| {
            header.name.eq_ignore_ascii_case("connection") && header.value.eq_ignore_ascii_case(b"close")
        };
        let stays = !request.headers.iter().any(closes);
        let reply = self.find(request.path.unwrap_or_default());
        peer.len = 0;
        stays & peer.stream.write(reply).is_ok_and(|written| written == reply.len())
    }

    fn find(&self, path: &str) -> &[u8] {
        let mut key = [0; 64];
        let found = key_of(path, &mut key).and_then(|key| self.replies.get(key));
        found.map_or(&self.unknown, |reply| reply.as_ref().unwrap_or(&self.idle))
    }
}

/// The two values with a space between, if they fit.
fn key_of<'a>(path: &str, key: &'a mut [u8; 64]) -> Option<&'a str> {
    let (mut location, mut position) = (None, None);
    for parameter in path.strip_prefix("/pay-mp?")?.split('&') {
        if let Some(value) = parameter.strip_prefix("locationId=") {
            location = Some(value);
        } else if let Some(value) = parameter.strip_prefix("positionId=") {
            position = Some(value);
        }
    }
    let (location, position) = (location?.as_bytes(), position?.as_bytes());
    let len = location.len() + 1 + position.len();
    key.get_mut(..location.len())?.copy_from_slice(location);
    *key.get_mut(location.len())? = b' ';
    key.get_mut(location.len() + 1..len)?.copy_from_slice(position);
    std::str::from_utf8(&key[..len]).ok()
}

fn accept(listener: &TcpListener, poll: &Poll, peers: &mut Vec<Option<Peer>>) {
    while let Ok((mut stream, _)) = listener.accept() {
        let place = peers.iter().position(Option::is_none).unwrap_or_else(|| {
            peers.push(None);
            peers.len() - 1
        });
        stream.set_nodelay(true).expect("it is open");
        poll.registry()
            .register(&mut stream, Token(place), Interest::READABLE)
            .expect("registered");
        peers[place] = Some(Peer {
            stream,
            buffer: Box::new([0; BUFFER]),
            len: 0,
        });
    }
}
