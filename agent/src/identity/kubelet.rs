//! The kubelet of this node: which pods and containers it runs, and what it knows of their resources.
//!
//! A [`KubeletClient`] requests its API; a [`Kubelet`] keeps the list of pods up to date and names containers and pods. Rights
//! that the token needs: `get` on `nodes/pods` and `nodes/stats`.

mod access;
mod client;
mod error;
mod failures;
mod json;
mod listing;
pub(crate) mod pods;
#[cfg(test)]
mod standin;
pub(crate) mod summary;

pub(crate) use self::access::unreadable;
pub use self::access::{Access, TOKEN_FILE, Token, node_url};
pub use self::client::{KubeletClient, MAX_ANSWER_BYTES};
pub use self::error::Error;
pub use self::listing::{Kubelet, Listing, NameKeeper};
