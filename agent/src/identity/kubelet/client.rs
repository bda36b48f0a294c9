//! The client of a kubelet's API: requests that are bounded in size and time.

use reqwest::header::{ACCEPT, AUTHORIZATION};
use reqwest::{StatusCode, Url};

use super::access::{Access, Token};
use super::error::{Endpoint, Error};
use super::pods::{self, Pod};
use super::summary::{self, Summary};
use crate::http::renewed::RenewedClient;
use crate::http::{self, BodyError};
use crate::line_protocol::truncated;
use crate::options::OptionError;
use crate::options::tls::Tls;
use crate::service::memory;

/// The largest answer: a pod has some 5 KB, and a node a few hundred pods.
pub const MAX_ANSWER_BYTES: usize = 32 << 20;
/// The memory of larger answers is released at once; smaller ones are needed again at the next gather.
const BIG_ANSWER_BYTES: usize = 4 << 20;

/// A client of one kubelet's API.
pub struct KubeletClient {
    client: RenewedClient,
    url: String,
    is_tls: bool,
    token: Token,
}

impl KubeletClient {
    /// Checks the options; the kubelet is not contacted.
    ///
    /// # Errors
    /// An invalid URL, or unusable TLS options.
    pub fn new(access: &Access) -> Result<Self, OptionError> {
        let wrong = |what: &str| OptionError::new("url", format!("`{}`: {what}", access.url));
        let url = Url::parse(&access.url).map_err(|error| wrong(&error.to_string()))?;
        let is_tls = match url.scheme() {
            "https" => true,
            "http" => false,
            other => return Err(wrong(&format!("`{other}` is not supported: use http or https"))),
        };
        let (tls, timeout) = (access.tls.clone(), access.timeout);
        let files = if is_tls { access.tls.clone() } else { Tls::default() };
        let client = RenewedClient::new(&files, false, move || {
            http::build(http::client(&tls, is_tls)?.timeout(timeout), "url")
        })?;
        let url = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self { client, url, is_tls, token: access.token.clone() })
    }

    /// The kubelet's address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The pods that the kubelet runs.
    ///
    /// # Errors
    /// Why there is no usable answer.
    pub async fn pods(&self) -> Result<Vec<Pod>, Error> {
        self.get(Endpoint::Pods, pods::parse).await
    }

    /// The statistics of node, pods and containers.
    ///
    /// # Errors
    /// Why there is no usable answer.
    pub async fn summary(&self) -> Result<Summary, Error> {
        self.get(Endpoint::Summary, summary::parse).await
    }

    async fn get<T>(
        &self,
        endpoint: Endpoint,
        parse: fn(&[u8]) -> serde_json::Result<T>,
    ) -> Result<T, Error> {
        let url = format!("{}{}", self.url, endpoint.path());
        let client = match self.client.get().await {
            Ok(client) => client,
            Err(reason) => return Err(Error::NoAnswer { url, reason }),
        };
        let mut request = client.get(&url).header(ACCEPT, "application/json");
        // Without a token the kubelet may still answer; if not, its answer is what a person needs to know.
        let token = self.token.read(self.is_tls).await;
        if let Ok(Some(token)) = &token {
            request = request.header(AUTHORIZATION, token);
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Err(Error::NoAnswer { url, reason: with_advice(http::chain(&error)) }),
        };
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => {
                let reason = match token {
                    Ok(Some(_)) => format!("the token is not accepted: {}", self.token.place()),
                    Ok(None) => "no token is sent over plain http; use https, or set `bearer_token`".into(),
                    Err(reason) => format!("no token was sent: {reason}"),
                };
                return Err(Error::Unauthorized { url, reason });
            }
            StatusCode::FORBIDDEN => return Err(Error::Forbidden { url, right: endpoint.right() }),
            status => return Err(Error::Status { url, status }),
        }
        let body = match http::body(response, MAX_ANSWER_BYTES).await {
            Ok(body) => body,
            Err(error @ BodyError::TooLarge(_)) => {
                memory::give_back();
                return Err(Error::Malformed { url, reason: error.to_string() });
            }
            Err(error @ BodyError::Broken(_)) => {
                return Err(Error::NoAnswer { url, reason: error.to_string() });
            }
        };
        let parsed = parse(&body);
        let is_big = body.len() >= BIG_ANSWER_BYTES;
        drop(body);
        if is_big {
            memory::give_back();
        }
        // The parser quotes what it rejects, whatever its length.
        parsed.map_err(|error| Error::Malformed {
            url,
            reason: truncated(format!("the answer is not a kubelet's: {error}")),
        })
    }
}

/// A kubelet's certificate is usually self-signed, which rustls's message does not tell.
fn with_advice(reason: String) -> String {
    if reason.contains("certificate") {
        format!("{reason}; name its authority in `tls_ca`, or set `insecure_skip_verify`")
    } else {
        reason
    }
}

#[cfg(test)]
mod tests;
