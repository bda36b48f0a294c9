//! HTTP clients, for the outputs and for the inputs that query an API: Telegraf's TLS options, responses of bounded size,
//! errors with their causes.
//!
//! Owns no connection and no address; the caller adds its own timeouts and headers.

pub(crate) mod renewed;
#[cfg(test)]
pub(crate) mod standin;
mod trust;
mod verifier;

use reqwest::{ClientBuilder, Response};

use crate::options::OptionError;
use crate::options::tls::Tls;

/// The agent's own `User-Agent`.
pub(crate) const USER_AGENT: &str = concat!("Seismograf/", env!("CARGO_PKG_VERSION"));

/// The version of HTTP that a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// HTTP/1.1
    One,
    /// HTTP/2, also without TLS: what gRPC is spoken over.
    #[cfg(feature = "opentelemetry")]
    Two,
}

/// A client that trusts the authorities that the options name. Redirects are not followed: a POST would become a GET, which
/// looks like success, and a token could be sent to a foreign server.
///
/// `is_tls` is whether TLS will be used: without it the system's CA certificates are not read, and an image may have none.
///
/// # Errors
/// The option that cannot be used; the message names the file.
pub(crate) fn client(tls: &Tls, is_tls: bool) -> Result<ClientBuilder, OptionError> {
    client_of(Version::One, tls, is_tls)
}

/// The same for a version of HTTP.
///
/// # Errors
/// As of [`client`].
pub(crate) fn client_of(version: Version, tls: &Tls, is_tls: bool) -> Result<ClientBuilder, OptionError> {
    // In tests it may be installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = ClientBuilder::new().user_agent(USER_AGENT).redirect(reqwest::redirect::Policy::none());
    let (client, protocols) = match version {
        Version::One => (client.http1_only(), vec![]),
        #[cfg(feature = "opentelemetry")]
        Version::Two => (client.http2_prior_knowledge(), vec![b"h2".to_vec()]),
    };
    // A version that does not exist is a mistake also where it is not used.
    trust::versions(tls)?;
    if !is_tls {
        return Ok(client.tls_certs_only([]));
    }
    let mut config = trust::config(tls)?;
    config.alpn_protocols = protocols;
    Ok(client.tls_backend_preconfigured(config))
}

/// The TLS of a client that speaks another protocol than HTTP, by the same options; may block.
///
/// # Errors
/// The option that cannot be used; the message names the file.
pub(crate) fn tls_config(tls: &Tls) -> Result<std::sync::Arc<rustls::ClientConfig>, OptionError> {
    trust::config(tls).map(std::sync::Arc::new)
}

/// The words of an error of TLS alone.
pub(crate) fn without_prefix(error: &str) -> String {
    error.strip_prefix(verifier::PREFIX).unwrap_or(error).to_owned()
}

/// Builds a client.
///
/// # Errors
/// Names `option`, usually the URL.
pub(crate) fn build(client: ClientBuilder, option: &'static str) -> Result<reqwest::Client, OptionError> {
    client.build().map_err(|error| OptionError::new(option, chain(&error)))
}

/// Why a response body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is larger than expected of any server.
    #[error("the answer is larger than {}", size(*.0))]
    TooLarge(usize),
    /// The connection broke.
    #[error("the answer broke off: {0}")]
    Broken(String),
}

/// A size as a person reads it.
pub(crate) fn size(bytes: usize) -> String {
    match bytes {
        0..1_024 => format!("{bytes} bytes"),
        1_024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1_024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
    .replace(".0 ", " ")
}

/// A response's body.
///
/// # Errors
/// It is larger than `limit` bytes, which are the most that are held in memory; or the connection broke.
pub(crate) async fn body(response: Response, limit: usize) -> Result<Vec<u8>, BodyError> {
    counted_body(response, limit, |_| Ok(())).await
}

/// The same; `count` is told of how many bytes there are each time that some have come.
///
/// # Errors
/// As of [`body`], and what `count` says.
pub(crate) async fn counted_body<E: From<BodyError>>(
    mut response: Response,
    limit: usize,
    mut count: impl FnMut(usize) -> Result<(), E>,
) -> Result<Vec<u8>, E> {
    if response.content_length().is_some_and(|length| length > limit as u64) {
        return Err(BodyError::TooLarge(limit).into());
    }
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > limit => {
                return Err(BodyError::TooLarge(limit).into());
            }
            Ok(Some(chunk)) => {
                count(body.len() + chunk.len())?;
                body.extend_from_slice(&chunk);
            }
            Ok(None) => return Ok(body),
            Err(error) => return Err(BodyError::Broken(chain(&error)).into()),
        }
    }
}

/// An error with its causes, which reqwest's own message leaves out.
#[must_use]
pub(crate) fn chain(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() { "no answer in time".to_owned() } else { String::new() };
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(error) = cause {
        let part = error.to_string();
        let part = part.strip_prefix(verifier::PREFIX).unwrap_or(&part).to_owned();
        // Wrappers repeat the message of what they wrap.
        if !text.contains(&part) && part != "client error (Connect)" {
            text = if text.is_empty() { part } else { format!("{text}: {part}") };
        }
        cause = error.source();
    }
    if text.is_empty() { error.to_string() } else { text }
}

#[cfg(test)]
mod tests;
