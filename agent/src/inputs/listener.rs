//! What all inputs have in common that others send to: sockets, a bounded queue, line protocol.
//!
//! What is received is text, and waits as text in one queue of an input, bounded in bytes. The pipeline takes points from it
//! whenever an output has room for them; so what an output cannot take is held back here, and from here by the sender:
//! a stream is not read, a request is answered 503, and datagrams wait in the kernel, which counts those that it drops.
//!
//! Nothing is accepted before the pipeline runs the input: one that was only built, for a configuration that is not used in the
//! end, takes nothing from the one that runs.

pub(super) mod address;
pub(super) mod bind;
pub(super) mod budget;
pub(super) mod connections;
pub(crate) mod http;
pub(super) mod inflate;
pub(super) mod intake;
pub(crate) mod queue;
pub(crate) mod sockets;
#[cfg(test)]
pub(super) mod testing;
pub(super) mod tls;

use std::pin::Pin;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Instrument as _;

use self::address::Address;
use self::queue::Queue;
use self::sockets::Bound;
use super::{GatherError, Gathered, Input};
use crate::options::tls::ServerTls;
use crate::service::privilege::Files;

/// The files of what listens at an address: its certificates, and its socket, which is removed at the end.
pub(super) fn listened_on(address: &str, tls: &ServerTls) -> Files {
    let mut files = Files::read_all(tls.files());
    if let Ok(Address::Unix { path, .. }) = Address::parse(address)
        && let Some(directory) = path.parent()
    {
        files.write_below(directory);
    }
    files
}

/// What accepts and receives, once it runs.
pub(super) type Receive = Box<dyn FnOnce(Arc<Inlet>) -> Task + Send>;
type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where what is received goes: the queue and the counts of one input.
pub(super) struct Inlet {
    pub(super) socket: Arc<Bound>,
    pub(super) queue: Arc<Queue>,
    /// Bytes of lines that have not ended yet, of all connections.
    unfinished: AtomicUsize,
    /// When malformed lines were last logged.
    logged: Mutex<Option<Instant>>,
}

impl Inlet {
    pub(super) fn new(socket: Arc<Bound>) -> Self {
        let (queue, unfinished, logged) = (Arc::default(), AtomicUsize::new(0), Mutex::default());
        Self { socket, queue, unfinished, logged }
    }
}

/// An input that listens.
pub(super) struct Listener {
    name: &'static str,
    inlet: Arc<Inlet>,
    /// `None` once it runs.
    receive: Option<Receive>,
    tasks: JoinSet<()>,
}

impl Listener {
    /// Receives by `receive` from a socket.
    pub(super) fn new(name: &'static str, socket: Arc<Bound>, receive: Receive) -> Self {
        Self { name, inlet: Arc::new(Inlet::new(socket)), receive: Some(receive), tasks: JoinSet::new() }
    }

    fn run(&mut self) {
        if let Some(receive) = self.receive.take() {
            self.inlet.socket.begin();
            let task = receive(Arc::clone(&self.inlet));
            self.tasks.spawn(task.in_current_span());
            tracing::info!(address = self.inlet.socket.name(), "listen");
        }
    }
}

#[async_trait::async_trait]
impl Input for Listener {
    fn name(&self) -> &'static str {
        self.name
    }

    fn queue(&self) -> Option<Arc<Queue>> {
        Some(Arc::clone(&self.inlet.queue))
    }

    async fn gather(&mut self, gathered: &mut Gathered) -> Result<(), GatherError> {
        self.run();
        self.inlet.socket.read_drops();
        if self.inlet.queue.is_unattended() {
            gathered.points.extend(self.inlet.queue.take(usize::MAX, usize::MAX).points);
        }
        Ok(())
    }

    async fn between(&mut self) {
        self.run();
        std::future::pending::<()>().await;
    }
}
