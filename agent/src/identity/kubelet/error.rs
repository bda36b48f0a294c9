//! Which endpoints of the kubelet are used, and why a request has no usable answer.

use reqwest::StatusCode;

/// An endpoint of the kubelet's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Endpoint {
    Pods,
    Summary,
}

impl Endpoint {
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Pods => "/pods",
            Self::Summary => "/stats/summary",
        }
    }

    /// The resource that the token's role must give `get` on.
    pub(super) fn right(self) -> &'static str {
        match self {
            Self::Pods => "nodes/pods (before Kubernetes 1.33: nodes/proxy)",
            Self::Summary => "nodes/stats",
        }
    }
}

/// Why there is no usable answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The connection or TLS failed, or the answer did not come in time or ended early.
    #[error("{url}: {reason}")]
    NoAnswer {
        /// The requested URL.
        url: String,
        /// Why, and what to do.
        reason: String,
    },
    /// 401.
    #[error("{url}: 401 Unauthorized: {reason}")]
    Unauthorized {
        /// The requested URL.
        url: String,
        /// What is wrong with the token.
        reason: String,
    },
    /// 403.
    #[error("{url}: 403 Forbidden: allow the token's service account to `get` {right} in a ClusterRole")]
    Forbidden {
        /// The requested URL.
        url: String,
        /// The missing right.
        right: &'static str,
    },
    /// Any other status than 200.
    #[error("{url}: {status}: is this a kubelet?")]
    Status {
        /// The requested URL.
        url: String,
        /// The status.
        status: StatusCode,
    },
    /// The answer cannot be parsed, or is too large.
    #[error("{url}: {reason}")]
    Malformed {
        /// The requested URL.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
}
