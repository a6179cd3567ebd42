//! In paused time and over pipes in memory: what waits is only the clock, so each test runs at once and exactly.

use std::cell::RefCell;

use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::service::service_fn;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, LocalSet};

use super::*;
use crate::net::body::Whole;
use crate::net::stop::{self, Stop};

struct Pipes(mpsc::Receiver<io::Result<Opening<DuplexStream>>>);

impl Accept for Pipes {
    type Io = DuplexStream;

    async fn accept(&mut self) -> io::Result<Opening<DuplexStream>> {
        match self.0.recv().await {
            Some(pipe) => pipe,
            None => std::future::pending().await,
        }
    }
}

/// A face that answers `/` at once, `/slow` when it is let go, and `/stream` without an end.
struct House {
    pipes: mpsc::Sender<io::Result<Opening<DuplexStream>>>,
    stop: Stop,
    seats: Arc<Seats>,
    slow: Rc<RefCell<Vec<oneshot::Sender<()>>>>,
    arrived: mpsc::Receiver<()>,
    serving: JoinHandle<()>,
    rendered: metrics_exporter_prometheus::PrometheusHandle,
}

type Boxed = BoxBody<bytes::Bytes, Infallible>;

async fn answer(
    request: Request<Incoming>,
    slow: Rc<RefCell<Vec<oneshot::Sender<()>>>>,
    arrived: mpsc::Sender<()>,
) -> Result<Response<Boxed>, Infallible> {
    arrived.try_send(()).expect("few requests");
    let body = match request.uri().path() {
        "/slow" => {
            let (go, wait) = oneshot::channel();
            slow.borrow_mut().push(go);
            let _ = wait.await;
            Whole::new("slow".into()).boxed()
        }
        "/stream" => Endless.boxed(),
        "/large" => Whole::new(vec![b'x'; 100_000].into()).boxed(),
        _ => Whole::new("quick".into()).boxed(),
    };
    Ok(Response::new(body))
}

/// A stream on which nothing happens.
struct Endless;

impl Body for Endless {
    type Data = bytes::Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Poll::Pending
    }
}

impl House {
    fn open(seats: usize) -> House {
        let recorder = PrometheusBuilder::new().build_recorder();
        let rendered = recorder.handle();
        let metrics = metrics::with_local_recorder(&recorder, || Connections::new("test"));
        let (pipes, accepted) = mpsc::channel(16);
        let (arrival, arrived) = mpsc::channel(64);
        let (stop, stopping) = stop::channel();
        let seats = Seats::new(seats);
        let slow = Rc::<RefCell<Vec<_>>>::default();
        let service = {
            let slow = slow.clone();
            Rc::new(service_fn(move |request| {
                Box::pin(answer(request, slow.clone(), arrival.clone()))
            }))
        };
        let limits = Limits {
            first: Duration::from_secs(20),
            ..Limits::idle(Duration::from_secs(75))
        };
        let face = Face {
            limits,
            seats: seats.clone(),
            metrics,
            latency: None,
            half_close: false,
        };
        let serving = spawn_local(serve(Pipes(accepted), face, move |_| service.clone(), stopping));
        House {
            pipes,
            stop,
            seats,
            slow,
            arrived,
            serving,
            rendered,
        }
    }

    async fn connect(&self) -> DuplexStream {
        self.connect_with(64 * 1024).await
    }

    async fn connect_with(&self, buffer: usize) -> DuplexStream {
        let (ours, theirs) = duplex(buffer);
        self.pipes
            .send(Ok(Opening::Open(Met { io: theirs, peer: None })))
            .await
            .expect("it is served");
        ours
    }

    /// One that says so many bytes before HTTP is spoken.
    async fn connect_after(&self, bytes: usize) -> DuplexStream {
        let (ours, mut theirs) = duplex(1024);
        let opening = Opening::Later(Box::pin(async move {
            theirs.read_exact(&mut vec![0; bytes]).await?;
            Ok(Met { io: theirs, peer: None })
        }));
        self.pipes.send(Ok(opening)).await.expect("it is served");
        ours
    }

    fn counted(&self, line: &str) -> bool {
        self.rendered.render().lines().any(|l| l == line)
    }
}

async fn ask(pipe: &mut DuplexStream, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    pipe.write_all(request.as_bytes()).await.expect("it is open");
}

/// One reply of `quick` or `slow`, by its length.
async fn reply(pipe: &mut DuplexStream) -> String {
    let mut text = String::new();
    while !text.contains("\r\n\r\n") || !(text.ends_with("quick") || text.ends_with("slow")) {
        let byte = pipe.read_u8().await.expect("a whole reply");
        text.push(byte.into());
    }
    text
}

async fn rest(pipe: &mut DuplexStream) -> String {
    let mut rest = String::new();
    pipe.read_to_string(&mut rest).await.expect("an orderly end");
    rest
}

/// Runs inside a `LocalSet`, as faces do.
macro_rules! local {
    ($body:expr) => {
        LocalSet::new().run_until($body).await
    };
}

/// Between a limit and its sweep.
fn is_near(passed: Duration, limit: Duration) -> bool {
    passed >= limit && passed <= limit + 2 * limits::SWEEP
}

#[tokio::test(start_paused = true)]
async fn a_fresh_connection_may_be_idle_for_its_time() {
    local!(async {
        let house = House::open(10);
        let begun = Instant::now();
        let mut pipe = house.connect().await;
        assert_eq!(rest(&mut pipe).await, "");
        assert!(
            is_near(begun.elapsed(), Duration::from_secs(20)),
            "{:?}",
            begun.elapsed()
        );
        assert!(house.counted(r#"surtidor_connections_timed_out_total{face="test",limit="idle"} 1"#));
        assert_eq!(house.seats.taken(), 0);
    });
}

#[tokio::test(start_paused = true)]
async fn what_comes_before_http_has_the_time_of_a_head_and_holds_up_nobody() {
    local!(async {
        let mut house = House::open(3);
        let begun = Instant::now();
        let mut held = house.connect_after(3).await;
        let mut opened = house.connect_after(3).await;
        // Each byte is in time, and yet it has no more time than the others.
        held.write_all(b"1").await.expect("it is open");
        opened.write_all(b"123").await.expect("it is open");
        ask(&mut opened, "/").await;
        assert!(reply(&mut opened).await.ends_with("quick"));
        house.arrived.recv().await;
        sleep(Duration::from_secs(4)).await;
        held.write_all(b"2").await.expect("it is open");
        assert_eq!(rest(&mut held).await, "");
        assert!(
            is_near(begun.elapsed(), Duration::from_secs(5)),
            "{:?}",
            begun.elapsed()
        );
        assert!(house.counted(r#"surtidor_connections_timed_out_total{face="test",limit="opening"} 1"#));
        assert_eq!(house.seats.taken(), 1);
        // From then on it may be idle as others may.
        assert_eq!(rest(&mut opened).await, "");
        assert!(
            is_near(begun.elapsed(), Duration::from_secs(75)),
            "{:?}",
            begun.elapsed()
        );
        // One that fails gives its seat back, and one that is held does not hold up the end for longer than a young one.
        drop(house.connect_after(1).await);
        let _held = house.connect_after(1).await;
        while house.seats.taken() != 1 {
            tokio::task::yield_now().await;
        }
        let begun = Instant::now();
        house.stop.stop();
        house.serving.await.expect("no panic");
        assert!(begun.elapsed() <= limits::SWEEP * 3, "{:?}", begun.elapsed());
        assert_eq!(house.seats.taken(), 0);
    });
}

#[tokio::test(start_paused = true)]
async fn each_reply_begins_the_idle_time_anew() {
    local!(async {
        let house = House::open(10);
        let mut pipe = house.connect().await;
        for pause in [19, 70, 70] {
            sleep(Duration::from_secs(pause)).await;
            ask(&mut pipe, "/").await;
            reply(&mut pipe).await;
        }
        let begun = Instant::now();
        assert_eq!(rest(&mut pipe).await, "");
        assert!(
            is_near(begun.elapsed(), Duration::from_secs(75)),
            "{:?}",
            begun.elapsed()
        );
    });
}

#[tokio::test(start_paused = true)]
async fn a_head_that_drips_is_cut_off() {
    local!(async {
        let house = House::open(10);
        let mut pipe = house.connect().await;
        ask(&mut pipe, "/").await;
        reply(&mut pipe).await;
        let begun = Instant::now();
        let drip = async {
            let (mut read, mut write) = tokio::io::split(&mut pipe);
            let drips = async {
                while write.write_all(b"G").await.is_ok() {
                    sleep(Duration::from_secs(1)).await;
                }
            };
            let mut bytes = [0; 1];
            tokio::select! {
                () = drips => {}
                end = read.read(&mut bytes) => assert_eq!(end.expect("an orderly end"), 0),
            }
        };
        drip.await;
        assert!(is_near(begun.elapsed(), limits::HEAD_TIME), "{:?}", begun.elapsed());
        assert!(house.counted(r#"surtidor_connections_timed_out_total{face="test",limit="head"} 1"#));
    });
}

#[tokio::test(start_paused = true)]
async fn a_slow_service_is_no_slow_client() {
    local!(async {
        let mut house = House::open(10);
        let mut pipe = house.connect().await;
        ask(&mut pipe, "/slow").await;
        house.arrived.recv().await.expect("it came");
        sleep(Duration::from_secs(1000)).await;
        house
            .slow
            .borrow_mut()
            .pop()
            .expect("it waits")
            .send(())
            .expect("it waits");
        assert!(reply(&mut pipe).await.ends_with("slow"));
        let mut stream = house.connect().await;
        ask(&mut stream, "/stream").await;
        house.arrived.recv().await.expect("it came");
        sleep(Duration::from_secs(1000)).await;
        assert_eq!(house.seats.taken(), 1, "the stream goes on, the other was idle");
    });
}

#[tokio::test(start_paused = true)]
async fn who_reads_nothing_is_cut_off() {
    local!(async {
        let mut house = House::open(10);
        let mut pipe = house.connect_with(1000).await;
        ask(&mut pipe, "/large").await;
        house.arrived.recv().await.expect("it came");
        sleep(limits::WRITE_TIME + 2 * limits::SWEEP).await;
        assert!(house.counted(r#"surtidor_connections_timed_out_total{face="test",limit="write"} 1"#));
        assert_eq!(house.seats.taken(), 0);
    });
}

#[tokio::test(start_paused = true)]
async fn a_reply_does_not_wait_for_the_rest_of_the_next_request() {
    local!(async {
        let house = House::open(10);
        let mut pipe = house.connect().await;
        pipe.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HT")
            .await
            .expect("it is open");
        reply(&mut pipe).await;
        pipe.write_all(b"TP/1.1\r\nHost: x\r\n\r\n").await.expect("it is open");
        reply(&mut pipe).await;
    });
}

#[tokio::test(start_paused = true)]
async fn a_full_face_refuses_at_once_and_serves_again() {
    local!(async {
        let house = House::open(1);
        let mut first = house.connect().await;
        ask(&mut first, "/").await;
        reply(&mut first).await;
        assert_eq!(rest(&mut house.connect().await).await, "");
        assert!(house.counted(r#"surtidor_connections_refused_total{face="test"} 1"#));
        assert!(house.counted(r#"surtidor_connections{face="test"} 1"#));
        drop(first);
        while house.seats.taken() > 0 {
            tokio::task::yield_now().await;
        }
        let mut next = house.connect().await;
        ask(&mut next, "/").await;
        reply(&mut next).await;
    });
}

#[tokio::test(start_paused = true)]
async fn a_failed_accept_is_counted_and_pauses() {
    local!(async {
        let house = House::open(1);
        let begun = Instant::now();
        house
            .pipes
            .send(Err(io::ErrorKind::ConnectionAborted.into()))
            .await
            .expect("it is served");
        house
            .pipes
            .send(Err(io::Error::from_raw_os_error(24)))
            .await
            .expect("it is served");
        let mut pipe = house.connect().await;
        ask(&mut pipe, "/").await;
        reply(&mut pipe).await;
        assert_eq!(begun.elapsed().as_millis(), limits::ACCEPT_PAUSE.as_millis());
        assert!(house.counted(r#"surtidor_accept_errors_total{face="test"} 2"#));
    });
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_the_idle_and_answers_the_others() {
    local!(async {
        let mut house = House::open(10);
        let mut idle = house.connect().await;
        ask(&mut idle, "/").await;
        reply(&mut idle).await;
        house.arrived.recv().await.expect("it came");
        let mut slow = house.connect().await;
        ask(&mut slow, "/slow").await;
        house.arrived.recv().await.expect("it came");
        let begun = Instant::now();
        house.stop.stop();
        assert_eq!(rest(&mut idle).await, "");
        assert_eq!(begun.elapsed(), Duration::ZERO);
        sleep(Duration::from_secs(3)).await;
        house
            .slow
            .borrow_mut()
            .pop()
            .expect("it waits")
            .send(())
            .expect("it waits");
        let last = rest(&mut slow).await;
        assert!(last.contains("connection: close") && last.ends_with("slow"), "{last}");
        house.serving.await.expect("it drained");
        assert_eq!(begun.elapsed().as_secs(), 3);
    });
}

#[tokio::test(start_paused = true)]
async fn a_drain_answers_who_has_just_come_and_waits_for_nobody_else() {
    local!(async {
        let house = House::open(10);
        let mut silent = house.connect().await;
        sleep(Duration::from_secs(5)).await;
        let (mut young, mut mute) = (house.connect().await, house.connect().await);
        tokio::task::yield_now().await;
        let begun = Instant::now();
        house.stop.stop();
        assert_eq!(rest(&mut silent).await, "");
        assert_eq!(begun.elapsed(), Duration::ZERO, "it had its time");
        sleep(limits::SWEEP / 2).await;
        ask(&mut young, "/").await;
        let last = rest(&mut young).await;
        assert!(last.contains("connection: close") && last.ends_with("quick"), "{last}");
        assert_eq!(rest(&mut mute).await, "");
        house.serving.await.expect("it drained");
        assert!(begun.elapsed() <= limits::SWEEP * 3, "{:?}", begun.elapsed());
    });
}

#[tokio::test(start_paused = true)]
async fn a_drain_has_an_end() {
    local!(async {
        let mut house = House::open(10);
        let mut pipe = house.connect().await;
        ask(&mut pipe, "/slow").await;
        house.arrived.recv().await.expect("it came");
        let begun = Instant::now();
        house.stop.stop();
        house.serving.await.expect("it drained");
        assert_eq!(begun.elapsed().as_secs(), limits::DRAIN_TIME.as_secs());
        assert_eq!(rest(&mut pipe).await, "");
    });
}
