//! Why the docker daemon gave no usable answer.

use reqwest::StatusCode;

use super::version::TooOld;
use crate::http::BodyError;

/// Why the daemon gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The connection failed, or no answer came in time.
    #[error("cannot reach docker at {endpoint}: {why}{}", advice(.why))]
    Unreachable {
        /// Where it should be.
        endpoint: String,
        /// The system's error.
        why: String,
    },
    /// It answered with an error.
    #[error("docker answers {status} to {path}: {message}")]
    Status {
        /// The requested path.
        path: String,
        /// The HTTP status.
        status: StatusCode,
        /// Its message.
        message: String,
    },
    /// The answer is too large, or ended early.
    #[error("docker's answer to {path} cannot be used: {error}")]
    Body {
        /// The requested path.
        path: String,
        /// What is wrong with it.
        error: BodyError,
    },
    /// The answer cannot be parsed.
    #[error("cannot parse docker's answer to {path}: {why}")]
    Malformed {
        /// The requested path.
        path: String,
        /// What the parser reports.
        why: String,
    },
    /// Its API is too old.
    #[error(transparent)]
    TooOld(#[from] TooOld),
}

impl ApiError {
    /// Whether the daemon reports that there is no such thing.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Status { status: StatusCode::NOT_FOUND, .. })
    }

    /// Whether the daemon did answer: the next request may succeed.
    #[must_use]
    pub fn is_about_one_answer(&self) -> bool {
        matches!(
            self,
            Self::Status { .. } | Self::Malformed { .. } | Self::Body { error: BodyError::TooLarge(_), .. }
        )
    }
}

fn advice(why: &str) -> &'static str {
    if why.contains("Permission denied") {
        "; run the agent as root or in the group of the socket"
    } else if why.contains("No such file") || why.contains("Connection refused") {
        "; start docker, or set `endpoint` of [[inputs.docker]]"
    } else {
        ""
    }
}
