//! The load: one thread that costs less than any server. Where time is measured it never sleeps, so that no server pays
//! for waking it; where calls are counted it sleeps, so that a server finds all connections waiting at once.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

/// A prime, so that all POS are visited, far apart in memory.
pub const STRIDE: usize = 7919;

/// Whether a connection serves many polls or one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    KeepAlive,
    Close,
}

struct Asker {
    stream: TcpStream,
    reply: Vec<u8>,
}

pub struct Load {
    port: u16,
    kind: Kind,
    poll: Poll,
    events: Events,
    requests: Vec<Box<[u8]>>,
    next: usize,
    askers: Vec<Asker>,
    sleep: Duration,
}

impl Load {
    pub fn new(port: u16, kind: Kind, connections: usize, pos: usize) -> Load {
        let close = match kind {
            Kind::KeepAlive => "",
            Kind::Close => "Connection: close\r\n",
        };
        let mut load = Load {
            port,
            kind,
            poll: Poll::new().expect("epoll"),
            events: Events::with_capacity(256),
            requests: (0..pos).map(|i| request(i * STRIDE % pos, close)).collect(),
            next: 0,
            askers: Vec::new(),
            sleep: Duration::ZERO,
        };
        load.askers = (0..connections).map(|i| load.connect(i)).collect();
        load
    }

    pub fn sleeping(self) -> Load {
        Load {
            sleep: Duration::from_secs(1),
            ..self
        }
    }

    /// Each connection asks again as soon as it is answered.
    pub fn closed(&mut self, polls: usize) {
        let at_once = self.askers.len().min(polls);
        (0..at_once).for_each(|i| self.ask(i));
        let (mut asked, mut answered) = (at_once, 0);
        while answered < polls {
            for i in self.answered() {
                answered += 1;
                if asked < polls {
                    asked += 1;
                    self.ask(i);
                }
            }
        }
    }

    /// Polls that are due at fixed times, whatever became of those before: how long after it was due each was answered. What
    /// is to be done beside them is done by this thread as well, since another one would take the processor from it.
    pub fn open(&mut self, a_second: u32, polls: u32, mut beside: impl FnMut()) -> Vec<Duration> {
        let begun = Instant::now();
        let due = |poll: u32| begun + Duration::from_secs(1) * poll / a_second;
        let mut free: Vec<usize> = (0..self.askers.len()).collect();
        let mut due_at = vec![begun; free.len()];
        let (mut next, mut took) = (0, Vec::new());
        while took.len() < polls as usize {
            while next < polls
                && due(next) <= Instant::now()
                && let Some(i) = free.pop()
            {
                due_at[i] = due(next);
                self.ask(i);
                next += 1;
            }
            for i in self.answered() {
                took.push(due_at[i].elapsed());
                free.push(i);
            }
            beside();
        }
        took
    }

    fn connect(&self, i: usize) -> Asker {
        let stream = std::net::TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        stream.set_nodelay(true).expect("it is open");
        stream.set_nonblocking(true).expect("it is open");
        let mut stream = TcpStream::from_std(stream);
        self.poll
            .registry()
            .register(&mut stream, Token(i), Interest::READABLE)
            .expect("registered");
        Asker {
            stream,
            reply: Vec::with_capacity(4096),
        }
    }

    fn ask(&mut self, i: usize) {
        let request = &self.requests[self.next % self.requests.len()];
        self.next += 1;
        let asker = &mut self.askers[i];
        assert_eq!(asker.stream.write(request).expect("it is open"), request.len());
    }

    /// Those whose poll is answered since the last call.
    fn answered(&mut self) -> Vec<usize> {
        self.poll.poll(&mut self.events, Some(self.sleep)).expect("epoll");
        let ready: Vec<usize> = self.events.iter().map(|event| event.token().0).collect();
        ready.into_iter().filter(|i| self.is_answered(*i)).collect()
    }

    fn is_answered(&mut self, i: usize) -> bool {
        let asker = &mut self.askers[i];
        let mut buffer = [0; 4096];
        let closed = loop {
            match asker.stream.read(&mut buffer) {
                Ok(0) => break true,
                Ok(read) => asker.reply.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break false,
                Err(error) => panic!("{error}"),
            }
            // What is left is not a reply's: each is asked for when the one before it is whole.
            if self.kind == Kind::KeepAlive && is_whole(&asker.reply) {
                break false;
            }
        };
        let whole = is_whole(&asker.reply);
        assert!(whole || !closed, "closed without a whole reply");
        match self.kind {
            Kind::KeepAlive if whole => asker.reply.clear(),
            Kind::Close if closed => self.askers[i] = self.connect(i),
            _ => return false,
        }
        true
    }
}

/// Bodies here are JSON objects.
fn is_whole(reply: &[u8]) -> bool {
    reply.ends_with(b"}")
}

/// `header` is one more, with its line break, or none.
pub fn request(pos: usize, header: &str) -> Box<[u8]> {
    let text = format!(
        "GET /pay-mp?{} HTTP/1.1\r\nHost: www.mystore.com\r\nUser-Agent: MercadoPago/1.0\r\nAccept: */*\r\n{header}\r\n",
        super::query(pos)
    );
    text.into_bytes().into()
}

/// One poll on a connection that stays open.
pub fn ask_once(stream: &mut std::net::TcpStream) {
    stream.write_all(&request(0, "")).expect("it is open");
    let (mut reply, mut buffer) = (Vec::new(), [0; 4096]);
    while !is_whole(&reply) {
        let read = stream.read(&mut buffer).expect("answered");
        assert!(read > 0, "the server closed the connection");
        reply.extend_from_slice(&buffer[..read]);
    }
}
