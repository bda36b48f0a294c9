//! What all inputs have in common that others send to: a bounded queue, line protocol.
//!
//! How they are reached is `listen`'s. What is received is text, and waits as text in one queue of an input, bounded in bytes. The pipeline takes points from it
//! whenever an output has room for them; so what an output cannot take is held back here, and from here by the sender:
//! a stream is not read, a request is answered 503, and datagrams wait in the kernel, which counts those that it drops.
//!
//! Nothing is accepted before the pipeline runs the input: one that was only built, for a configuration that is not used in the
//! end, takes nothing from the one that runs.

pub(super) mod budget;
pub(crate) mod http;
pub(super) mod inflate;
pub(super) mod intake;
pub(crate) mod queue;
mod reminder;
#[cfg(test)]
pub(super) mod testing;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tokio::task::JoinSet;
use tracing::Instrument as _;

use self::queue::Queue;
use self::reminder::Reminder;
use super::{GatherError, Gathered, Input, Shared};
use crate::listen::Gate;
use crate::listen::address::Address;
use crate::listen::bind::{self, Wishes};
use crate::listen::sockets::Bound;
use crate::options::OptionError;

/// The option that says where an input listens.
const OPTION: &str = "service_address";

/// Reads the option.
pub(super) fn address(text: &str) -> Result<Address, OptionError> {
    Address::parse(text).map_err(|what| OptionError::new(OPTION, what))
}

/// The socket of an input.
pub(super) fn bind(
    plugin: &'static str,
    text: &str,
    wishes: &Wishes,
    shared: &Shared,
) -> Result<Arc<Bound>, OptionError> {
    let bound = bind::bind(plugin, text, wishes, (&shared.sockets, &shared.telemetry));
    bound.map_err(|what| OptionError::local(OPTION, what))
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
    /// Messages about malformed lines, and about connections that were closed for what they sent.
    malformed: Reminder,
    closed: Reminder,
}

impl Inlet {
    pub(super) fn new(socket: Arc<Bound>) -> Self {
        let (queue, unfinished) = (Arc::default(), AtomicUsize::new(0));
        Self { socket, queue, unfinished, malformed: Reminder::default(), closed: Reminder::default() }
    }
}

impl Gate for Inlet {
    fn socket(&self) -> &Arc<Bound> {
        &self.socket
    }

    fn closed(&self) -> impl Future<Output = ()> + Send {
        self.queue.closed()
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
