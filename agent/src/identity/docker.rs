//! The docker daemon's containers: their names, states, labels and environment, kept up to date by its events.
//!
//! A [`Watch`] asks a [`DockerClient`] and fills [`Names`](super::names::Names) and a [`Daemon`], which gathers read. Metrics of
//! containers are not its business.

mod answers;
mod client;
mod container;
mod daemon;
mod endpoint;
mod error;
mod events;
mod stats;
mod version;
mod watch;

pub use self::answers::{DiskUsage, Info};
pub use self::client::{DockerClient, MAX_LIST_BYTES, MAX_STATS_BYTES};
pub use self::container::{Container, Selection};
pub use self::daemon::{Daemon, Engine};
pub use self::endpoint::{DEFAULT_ENDPOINT, is_remote, is_unchecked, relative_socket};
pub use self::error::ApiError;
pub use self::stats::{BlkioEntry, DockerBlkio, DockerCpu, DockerMemory, DockerNetwork, Stats};
pub use self::watch::Watch;

/// Parses any bytes as each of docker's answers, as a fuzzer does.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn parse_any(body: &[u8]) {
    let _ = answers::parse::<answers::Version>("/", body);
    let _ = answers::parse::<Info>("/", body);
    let _ = answers::parse::<Vec<answers::Listed>>("/", body);
    let _ = answers::parse::<DiskUsage>("/", body);
    let _ = answers::parse::<answers::Event>("/", body);
    let _ = answers::parse::<answers::Inspected>("/", body);
    let _ = answers::parse::<Stats>("/", body);
    let _ = version::ApiVersion::parse(&String::from_utf8_lossy(body));
}
