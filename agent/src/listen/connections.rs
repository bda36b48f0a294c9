//! Accepting connections, and how many there may be.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tracing::Instrument as _;

use super::Gate;
use super::sockets::Socket;

/// Connections at one socket where the options name no number; each has its buffers.
pub(crate) const DEFAULT_LIMIT: usize = 1_024;
/// How long a TLS handshake may take.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// How long connections have to end by themselves when nothing more is accepted.
const END_LIMIT: Duration = Duration::from_secs(2);
/// After an accept that failed, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A connection's bytes.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// An accepted connection.
pub(crate) struct Connection {
    pub(crate) stream: Box<dyn ByteStream>,
    /// Where it comes from; a unix socket has no address.
    pub(crate) peer: Option<IpAddr>,
    pub(crate) activity: Activity,
}

/// When a connection did something last, in milliseconds since its socket was served.
#[derive(Clone)]
pub(crate) struct Activity {
    last: Arc<AtomicU64>,
    start: Instant,
}

impl Activity {
    /// It does something now.
    pub(crate) fn now(&self) {
        let millis = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(millis, Ordering::Relaxed);
    }
}

/// How many connections there may be at one time, and what gives way to one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Capacity {
    /// More are refused.
    Refuse(usize),
    /// The one that did nothing for longest is closed, so that those that do nothing keep nobody out.
    CloseIdlest(usize),
}

impl Default for Capacity {
    fn default() -> Self {
        Self::CloseIdlest(DEFAULT_LIMIT)
    }
}

/// Who may connect, and how.
#[derive(Clone, Default)]
pub(crate) struct Admission {
    pub(crate) capacity: Capacity,
    /// Empty means everybody.
    pub(crate) sources: Vec<IpAddr>,
    pub(crate) tls: Option<TlsAcceptor>,
    /// `SO_KEEPALIVE`, and after how long; zero means none, `None` what Telegraf has.
    pub(crate) keep_alive: Option<Duration>,
}

/// Telegraf's, which is Go's.
const DEFAULT_KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Accepts connections and has each `serve`d by a task of its own, until the gate is closed.
pub(crate) async fn accept<F: Future<Output = ()> + Send + 'static>(
    gate: Arc<impl Gate>,
    admission: Admission,
    serve: impl Fn(Connection) -> F + Clone + Send + Sync + 'static,
) {
    let mut tasks = JoinSet::new();
    let mut slots = Slots { places: HashMap::new(), start: Instant::now() };
    loop {
        let (stream, peer) = tokio::select! {
            () = gate.closed() => break,
            Some(ended) = tasks.join_next_with_id() => {
                slots.free(ended.map_or_else(|error| error.id(), |(id, ())| id));
                continue;
            }
            accepted = accept_one(&gate.socket().socket, admission.keep_alive) => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::error!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let is_welcome = |ip: IpAddr| admission.sources.is_empty() || admission.sources.contains(&ip);
        let peer = peer.map(|ip| ip.to_canonical());
        if !peer.is_none_or(is_welcome) || !slots.make_room(admission.capacity, &*gate) {
            gate.count(|counts| &counts.refused, 1);
            continue;
        }
        gate.count(|counts| &counts.connections, 1);
        let activity = slots.activity();
        let (tls, serve, last) = (admission.tls.clone(), serve.clone(), activity.last.clone());
        let task = async move {
            if let Some(stream) = secured(stream, tls).await {
                serve(Connection { stream, peer, activity }).await;
            }
        };
        let handle = tasks.spawn(task.in_current_span());
        slots.places.insert(handle.id(), (last, handle));
    }
    // Those that are in the middle of something see that it is closed.
    let all = async { while tasks.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(END_LIMIT, all).await;
}

async fn secured(stream: Box<dyn ByteStream>, tls: Option<TlsAcceptor>) -> Option<Box<dyn ByteStream>> {
    let Some(tls) = tls else { return Some(stream) };
    match tokio::time::timeout(HANDSHAKE_LIMIT, tls.accept(stream)).await {
        Ok(Ok(stream)) => Some(Box::new(stream)),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a TLS handshake failed");
            None
        }
        Err(_) => None,
    }
}

async fn accept_one(
    socket: &Socket,
    keep_alive: Option<Duration>,
) -> std::io::Result<(Box<dyn ByteStream>, Option<IpAddr>)> {
    match socket {
        Socket::Tcp(listener) => {
            let (stream, peer) = listener.accept().await?;
            // What cannot be set changes nothing about what is received.
            let _ = stream.set_nodelay(true);
            let _ = set_keep_alive(&stream, keep_alive.unwrap_or(DEFAULT_KEEP_ALIVE));
            Ok((Box::new(stream), Some(peer.ip())))
        }
        Socket::Unix(listener) => Ok((Box::new(listener.accept().await?.0), None)),
        Socket::Udp(_) | Socket::Unixgram(_) => std::future::pending().await,
    }
}

fn set_keep_alive(stream: &TcpStream, after: Duration) -> rustix::io::Result<()> {
    use rustix::net::sockopt;
    sockopt::set_socket_keepalive(stream, !after.is_zero())?;
    if !after.is_zero() {
        let after = after.max(Duration::from_secs(1));
        sockopt::set_tcp_keepidle(stream, after)?;
        sockopt::set_tcp_keepintvl(stream, after)?;
    }
    Ok(())
}

/// The places of the connections that there are.
struct Slots {
    places: HashMap<Id, (Arc<AtomicU64>, AbortHandle)>,
    start: Instant,
}

impl Slots {
    fn activity(&self) -> Activity {
        let activity = Activity { last: Arc::default(), start: self.start };
        activity.now();
        activity
    }

    fn free(&mut self, id: Id) {
        self.places.remove(&id);
    }

    /// Makes room for one more; `false` when there is none.
    fn make_room(&mut self, capacity: Capacity, gate: &impl Gate) -> bool {
        let max = match capacity {
            Capacity::Refuse(max) => return self.places.len() < max,
            Capacity::CloseIdlest(max) => max,
        };
        if self.places.len() >= max {
            let oldest = self.places.iter().min_by_key(|(_, (last, _))| last.load(Ordering::Relaxed));
            if let Some(id) = oldest.map(|(id, _)| *id)
                && let Some((_, handle)) = self.places.remove(&id)
            {
                handle.abort();
                gate.count(|counts| &counts.refused, 1);
            }
        }
        true
    }
}
