//! What others connect to: addresses, sockets, TLS, connections, and HTTP on them.
//!
//! Below inputs, which are sent points here, and outputs, which are asked for them. Owns how somebody is reached and for how long;
//! what is said is its user's.

pub(crate) mod address;
pub(crate) mod bind;
pub(crate) mod connections;
pub(crate) mod endpoint;
pub(crate) mod serve;
pub(crate) mod sockets;
mod stall;
pub(crate) mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use self::address::Address;
use self::sockets::Bound;
use crate::options::tls::ServerTls;
use crate::service::privilege::Files;
use crate::service::telemetry::ListenerCounts;

/// What is accepted at, until it is closed.
pub(crate) trait Gate: Send + Sync + 'static {
    /// Its socket.
    fn socket(&self) -> &Arc<Bound>;

    /// Waits until nothing more is to be accepted.
    fn closed(&self) -> impl Future<Output = ()> + Send;

    /// Counts at the socket.
    fn count(&self, of: impl Fn(&ListenerCounts) -> &AtomicU64, n: u64) {
        of(self.socket().counts()).fetch_add(n, Ordering::Relaxed);
    }
}

/// The files of what listens at an address: its certificates, and its socket, which is removed at the end.
pub(crate) fn listened_on(address: &str, tls: &ServerTls) -> Files {
    let mut files = Files::read_all(tls.files());
    if let Ok(Address::Unix { path, .. }) = Address::parse(address)
        && let Some(directory) = path.parent()
    {
        files.write_below(directory);
    }
    files
}
