//! Pages of the agent's own: nothing is written to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use tokio::sync::Notify;

use super::address::{Address, Transport};
use super::bind::{Wishes, bind};
use super::connections::{Admission, Capacity};
use super::serve::{Answer, Answers, empty, receive};
use super::sockets::{Bound, Sockets};
use super::{Gate, listened_on};
use crate::options::tls::ServerTls;
use crate::service::privilege::Files;
use crate::service::telemetry::Telemetry;

/// Whoever asks does so every few seconds; a connection that does not is closed.
const IDLE_LIMIT: Duration = Duration::from_secs(30);
/// Connections at one time; those that ask for nothing give way to others.
pub(crate) const MAX_CONNECTIONS: usize = 16;

/// What there is to see at a path, for a request that changes nothing.
pub(crate) type Shown = Box<dyn Fn(&str) -> Answer + Send + Sync>;

/// A socket whose pages can be asked for, until its [`Endpoint`] is gone.
pub(crate) struct Counter {
    socket: Arc<Bound>,
    is_closed: AtomicBool,
    changed: Notify,
}

impl Gate for Counter {
    fn socket(&self) -> &Arc<Bound> {
        &self.socket
    }

    async fn closed(&self) {
        loop {
            let changed = self.changed.notified();
            if self.is_closed.load(Ordering::Relaxed) {
                return;
            }
            changed.await;
        }
    }
}

/// A bound address. It is served until this is dropped.
pub(crate) struct Endpoint {
    counter: Arc<Counter>,
}

impl Endpoint {
    /// Whether an address can be one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn check(address: &str) -> Result<(), String> {
        match Address::parse(address)?.transport() {
            Transport::Stream => Ok(()),
            Transport::Datagram => {
                Err(format!("`{address}`: write it as 127.0.0.1:9274 or unix:///run/health.sock"))
            }
        }
    }

    /// The directory of its socket, if it has one.
    pub(crate) fn files(address: &str) -> Files {
        listened_on(address, &ServerTls::default())
    }

    /// Binds an address, or takes over the socket of the one that is served at it. `name` is what it is counted under. Must be
    /// called within the runtime.
    ///
    /// # Errors
    /// Why it cannot be bound, and what to do.
    pub(crate) fn bind(
        name: &'static str,
        address: &str,
        at: (&Sockets, &Telemetry),
    ) -> Result<Self, String> {
        let socket = bind(name, address, &Wishes::default(), at)?;
        let (is_closed, changed) = (AtomicBool::new(false), Notify::new());
        Ok(Self { counter: Arc::new(Counter { socket, is_closed, changed }) })
    }

    /// Shows pages to everybody, in a task of its own.
    pub(crate) fn show(&self, page: Shown) {
        self.serve(Admission::default(), Arc::new(Pages(page)));
    }

    /// Answers requests, in a task of its own.
    pub(crate) fn serve(&self, admission: Admission, answers: Arc<impl Answers<Gate = Counter>>) {
        self.counter.socket.begin();
        let admission = Admission { capacity: Capacity::CloseIdlest(MAX_CONNECTIONS), ..admission };
        tokio::spawn(receive(Arc::clone(&self.counter), admission, answers));
    }

    /// Where it is.
    pub(crate) fn name(&self) -> &str {
        self.counter.socket.name()
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> &Bound {
        &self.counter.socket
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.counter.is_closed.store(true, Ordering::Relaxed);
        self.counter.changed.notify_waiters();
    }
}

struct Pages(Shown);

impl Answers for Pages {
    type Gate = Counter;

    fn idle_limit(&self) -> Duration {
        IDLE_LIMIT
    }

    async fn answer(&self, _: &Arc<Counter>, request: Request<Incoming>) -> Answer {
        if request.method() == Method::GET || request.method() == Method::HEAD {
            self.0(request.uri().path())
        } else {
            empty(StatusCode::METHOD_NOT_ALLOWED)
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Full;
    use hyper::Response;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio::time::Instant;

    use super::*;
    use crate::listen::serve::{FIRST_LIMIT, Peer, serve_stream};

    fn endpoint(telemetry: &Telemetry) -> (Endpoint, Shown) {
        let endpoint = Endpoint::bind("health", "127.0.0.1:0", (&Sockets::default(), telemetry)).unwrap();
        (endpoint, Box::new(|_| Response::new(Full::new(Bytes::from_static(b"ok\n")))))
    }

    #[tokio::test]
    async fn connections_that_ask_for_nothing_keep_nobody_out() {
        let telemetry = Telemetry::default();
        let (endpoint, page) = endpoint(&telemetry);
        endpoint.show(page);
        let address = endpoint.name().split_once("://").unwrap().1.to_owned();
        let mut idle = Vec::new();
        for _ in 0..2 * MAX_CONNECTIONS {
            idle.push(TcpStream::connect(&address).await.unwrap());
        }
        for _ in 0..2 * MAX_CONNECTIONS {
            let mut stream = TcpStream::connect(&address).await.unwrap();
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            let read =
                tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut answer)).await;
            read.expect("no answer in time").unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_asks_for_nothing_at_first_is_closed_soon() {
        let telemetry = Telemetry::default();
        let (endpoint, page) = endpoint(&telemetry);
        let pages = Arc::new(Pages(page));
        let (mut client, server) = tokio::io::duplex(1 << 10);
        let serve = serve_stream(&endpoint.counter, &pages, server, Peer(None), || {});
        let start = Instant::now();
        client.write_all(b"GET / HT").await.unwrap();
        serve.await;
        assert_eq!(start.elapsed(), FIRST_LIMIT);
        let (mut client, server) = tokio::io::duplex(1 << 10);
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let start = Instant::now();
        serve_stream(&endpoint.counter, &pages, server, Peer(None), || {}).await;
        assert_eq!(start.elapsed(), IDLE_LIMIT, "one that has asked may ask again");
    }
}
