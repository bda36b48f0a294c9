//! How to reach a kubelet: its address, and the token that goes with each request.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::HeaderValue;

use crate::options::OptionError;
use crate::options::secret::Secret;
use crate::options::tls::Tls;
use crate::service::off_thread;

/// Where Kubernetes mounts a pod's token.
pub const TOKEN_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// How long a file may take to be read.
const READ_LIMIT: Duration = Duration::from_secs(5);

/// How to reach a kubelet.
#[derive(Clone, Debug)]
pub struct Access {
    /// Its address, `https://10.0.0.1:10250`.
    pub url: String,
    /// The source of the token.
    pub token: Token,
    /// Limit for a whole request.
    pub timeout: Duration,
    /// Options for `https`.
    pub tls: Tls,
}

/// The source of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// The pod's own, in the place where Kubernetes mounts it; never sent without TLS, because nobody configured that.
    OfPod,
    /// A file; read for each request, because Kubernetes replaces it every hour or so.
    File(String),
    /// The token itself.
    Text(Secret),
}

/// The kubelet's port with TLS and authorisation.
const PORT: u16 = 10250;

/// The address of the kubelet of the node `ip`; without one, of this machine.
#[must_use]
pub fn node_url(ip: Option<&str>) -> String {
    let host = match ip.map(|ip| (ip, ip.parse())) {
        None => "127.0.0.1".to_owned(),
        Some((_, Ok(IpAddr::V6(ip)))) => format!("[{ip}]"),
        Some((ip, _)) => ip.to_owned(),
    };
    format!("https://{host}:{PORT}")
}

/// What is to be said of the file of a token that cannot be read now. It is no reason not to start: it is read for each request.
pub(crate) fn unreadable(path: &str) -> Option<OptionError> {
    let error = std::fs::File::open(path).err().filter(|_| !path.is_empty())?;
    Some(OptionError::local(
        "bearer_token",
        format!("{path} cannot be read: {error}; until it can, nothing is requested"),
    ))
}

impl Token {
    /// The header of a request; an error is a readable text.
    pub(crate) async fn read(&self, is_tls: bool) -> Result<Option<HeaderValue>, String> {
        let text = match self {
            Self::OfPod if !is_tls => return Ok(None),
            Self::OfPod => read_token(TOKEN_FILE).await?,
            Self::File(path) => read_token(path).await?,
            Self::Text(token) => token.expose().to_owned(),
        };
        let mut value = HeaderValue::from_str(&format!("Bearer {}", text.trim()))
            .map_err(|_| format!("{} is not a token: it has characters that cannot be sent", self.place()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// Where it comes from, for messages.
    pub(super) fn place(&self) -> &str {
        match self {
            Self::OfPod => TOKEN_FILE,
            Self::File(path) => path,
            Self::Text(_) => "`bearer_token_string`",
        }
    }
}

async fn read_token(path: &str) -> Result<String, String> {
    let file = path.to_owned();
    let read = tokio::time::timeout(READ_LIMIT, off_thread::run(move || std::fs::read_to_string(file))).await;
    let read = read.map_err(|_| format!("cannot read {path}: no answer in {READ_LIMIT:?}"))?;
    read.map_err(|error| format!("cannot read {path}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_token_that_is_not_there_is_told_before_it_is_needed() {
        assert!(unreadable("").is_none() && unreadable("/proc/self/stat").is_none());
        let said = unreadable("/nonexistent").unwrap().to_string();
        assert!(said.starts_with("`bearer_token`: /nonexistent cannot be read: No such file"), "{said}");
    }

    #[tokio::test]
    async fn a_token_that_cannot_be_sent_is_named_and_not_shown() {
        let error = Token::Text("se\ncret".into()).read(true).await.unwrap_err();
        assert_eq!(error, "`bearer_token_string` is not a token: it has characters that cannot be sent");
        let error = Token::File("/nonexistent".into()).read(true).await.unwrap_err();
        assert!(error.starts_with("cannot read /nonexistent: No such file"), "{error}");
    }
}
