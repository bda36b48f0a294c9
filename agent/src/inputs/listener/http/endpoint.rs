//! A server of the agent's own, by the same sockets and connections as the inputs that listen: nothing is written to it.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Method, Request};

use super::answer::Answer;
use super::serve::{Answers, receive};
use crate::inputs::Shared;
use crate::inputs::listener::address::{Address, Transport};
use crate::inputs::listener::bind::{Wishes, bind};
use crate::inputs::listener::connections::Admission;
use crate::inputs::listener::{Inlet, listened_on};
use crate::options::tls::ServerTls;
use crate::service::privilege::Files;

/// Whoever asks does so every few seconds; a connection that does not is closed.
const IDLE_LIMIT: Duration = Duration::from_secs(30);
/// Connections at one time.
const MAX_CONNECTIONS: usize = 16;

/// What there is to see at a path, for a request that changes nothing.
pub(crate) type Shown = Box<dyn Fn(&str) -> Answer + Send + Sync>;

/// A bound address. It is served until this is dropped.
pub(crate) struct Endpoint {
    inlet: Arc<Inlet>,
}

impl Endpoint {
    /// Whether an address can be one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn check(address: &str) -> Result<(), String> {
        match Address::parse(address).map_err(|error| error.what)?.transport() {
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
    pub(crate) fn bind(name: &'static str, address: &str, shared: &Shared) -> Result<Self, String> {
        let socket = bind(name, address, &Wishes::default(), shared).map_err(|error| error.what)?;
        Ok(Self { inlet: Arc::new(Inlet::new(socket)) })
    }

    /// Serves it, in a task of its own.
    pub(crate) fn serve(&self, page: Shown) {
        self.inlet.socket.begin();
        let admission = Admission { max_connections: MAX_CONNECTIONS, ..Admission::default() };
        tokio::spawn(receive(Arc::clone(&self.inlet), admission, Arc::new(Pages(page))));
    }

    /// Where it is.
    pub(crate) fn name(&self) -> &str {
        self.inlet.socket.name()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.inlet.queue.close();
    }
}

struct Pages(Shown);

impl Answers for Pages {
    fn idle_limit(&self) -> Duration {
        IDLE_LIMIT
    }

    async fn answer(&self, _: &Arc<Inlet>, request: Request<Incoming>) -> Answer {
        if request.method() == Method::GET || request.method() == Method::HEAD {
            self.0(request.uri().path())
        } else {
            super::answer::empty(hyper::StatusCode::METHOD_NOT_ALLOWED)
        }
    }
}
