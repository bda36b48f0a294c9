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
mod version;
mod watch;

pub use self::answers::{DiskUsage, Info};
pub use self::client::DockerClient;
pub use self::container::{Container, Selection};
pub use self::daemon::{Daemon, Engine};
pub use self::endpoint::{DEFAULT_ENDPOINT, is_unchecked, relative_socket};
pub use self::error::ApiError;
pub use self::watch::Watch;
