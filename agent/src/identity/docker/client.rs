//! The client of a docker daemon's API, which podman's socket speaks as well.
//!
//! No answer is trusted: each is bounded in size and time. The figures of a container that is seen on this host are never
//! requested: they cost the daemon more than all else together.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::answers::{DiskUsage, Info, Inspected, Listed, Version, excerpt, parse};
use super::endpoint::DockerEndpoint;
use super::error::ApiError;
use super::events::{EVENTS, Events, KINDS};
use super::stats::Stats;
use super::version::ApiVersion;
use crate::http;
use crate::http::renewed::RenewedClient;
use crate::options::OptionError;
use crate::options::tls::Tls;

/// The largest list of containers, or of what uses the disk: some 10,000 entries.
pub const MAX_LIST_BYTES: usize = 32 << 20;
/// The largest answer about one container, or about the daemon.
const MAX_OBJECT_BYTES: usize = 4 << 20;
/// The largest answer about a container's figures: some 3 KiB, and as much again for every 150 CPUs or every 15 devices.
pub const MAX_STATS_BYTES: usize = 512 << 10;

/// A client of one daemon.
#[derive(Debug)]
pub struct DockerClient {
    http: RenewedClient,
    endpoint: DockerEndpoint,
    timeout: Duration,
    /// The negotiated version; nothing but the version itself is requested before.
    version: Mutex<Option<ApiVersion>>,
}

impl DockerClient {
    /// Checks the options; the daemon is not contacted. `timeout` is for one answer.
    ///
    /// # Errors
    /// The option that is not usable.
    pub fn new(
        endpoint: &str,
        tls: &Tls,
        timeout: Duration,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, OptionError> {
        let endpoint = DockerEndpoint::resolve(endpoint, tls, variable)?;
        let (of, is_tls) = (endpoint.clone(), endpoint.base.starts_with("https"));
        let files = if is_tls { endpoint.tls.clone() } else { Tls::default() };
        let http = RenewedClient::new(&files, false, move || {
            let client = http::client(&of.tls, is_tls)?
                .connect_timeout(timeout)
                .tcp_keepalive(Duration::from_secs(30))
                .pool_max_idle_per_host(1);
            let client = match &of.socket {
                Some(path) => client.unix_socket(path.as_str()),
                None => client,
            };
            http::build(client, "endpoint")
        })?;
        Ok(Self { http, endpoint, timeout, version: Mutex::default() })
    }

    /// The daemon's address, as it is configured.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint.shown
    }

    /// The negotiated version; `None` until the daemon was reached.
    #[must_use]
    pub fn version(&self) -> Option<ApiVersion> {
        *self.version.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Negotiates a version with the daemon; again after each reconnection, because the daemon may have been replaced.
    ///
    /// # Errors
    /// Why there is no answer, or that the daemon is too old.
    pub async fn negotiate(&self) -> Result<(), ApiError> {
        let version = match self.endpoint.version {
            Some(version) => version,
            None => {
                let path = "/version";
                let answer: Version = parse(path, &self.body(path, MAX_OBJECT_BYTES).await?)?;
                let newest = ApiVersion::parse(&answer.newest).ok_or_else(|| ApiError::Malformed {
                    path: path.into(),
                    why: "there is no `ApiVersion`".into(),
                })?;
                ApiVersion::negotiated(ApiVersion::parse(&answer.oldest), newest)?
            }
        };
        *self.version.lock().unwrap_or_else(PoisonError::into_inner) = Some(version);
        Ok(())
    }

    /// Whether the daemon answers, whatever it says: a proxy before it may refuse this.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn ping(&self) -> Result<(), ApiError> {
        match self.body("/_ping", MAX_OBJECT_BYTES).await {
            Err(error) if !error.is_about_one_answer() => Err(error),
            _ => Ok(()),
        }
    }

    /// The daemon's description of itself.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn info(&self) -> Result<Info, ApiError> {
        self.get("/info", MAX_OBJECT_BYTES).await
    }

    /// All containers, running or not.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn containers(&self) -> Result<Vec<Listed>, ApiError> {
        self.get("/containers/json?all=1", MAX_LIST_BYTES).await
    }

    /// Everything about one container.
    ///
    /// # Errors
    /// Why there is no answer; `is_not_found` when there is no such container.
    pub async fn inspect(&self, id: &str) -> Result<Inspected, ApiError> {
        self.get(&format!("/containers/{id}/json"), MAX_OBJECT_BYTES).await
    }

    /// The figures of a container that runs. The daemon reads them once; one before 20.10 does it twice, a second apart.
    ///
    /// # Errors
    /// Why there is no answer; `is_not_found` when there is no such container.
    pub async fn stats(&self, id: &str) -> Result<Stats, ApiError> {
        self.get(&format!("/containers/{id}/stats?stream=false&one-shot=true"), MAX_STATS_BYTES).await
    }

    /// What takes space on the disk; `kinds` are `container`, `image` and `volume`. May take the daemon a long time.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn disk_usage(&self, kinds: &[&str]) -> Result<DiskUsage, ApiError> {
        // Older daemons measure all of it, and have no `type`.
        let query = match self.version() {
            Some(version) if version >= ApiVersion(1, 42) => format!("?type={}", kinds.join("&type=")),
            _ => String::new(),
        };
        self.get(&format!("/system/df{query}"), MAX_LIST_BYTES).await
    }

    /// The events from now on.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn events(&self) -> Result<Events, ApiError> {
        let quoted = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| format!("%22{word}%22")).collect();
            words.join(",")
        };
        let path = format!(
            "{}/events?filters=%7B%22type%22:[{}],%22event%22:[{}]%7D",
            self.prefix(),
            quoted(KINDS),
            quoted(EVENTS)
        );
        let client = self.http.get().await.map_err(|why| self.unreachable(why))?;
        let request = client.get(format!("{}{path}", self.endpoint.base)).send();
        let response = match tokio::time::timeout(self.timeout, request).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(self.unreachable(http::chain(&error))),
            Err(_) => return Err(self.unreachable("no answer in time".into())),
        };
        let response = checked("/events", response).await?;
        Ok(Events::new(response, &self.endpoint.shown))
    }

    fn prefix(&self) -> String {
        self.version().map_or_else(String::new, |version| format!("/v{version}"))
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, limit: usize) -> Result<T, ApiError> {
        parse(path, &self.body(&format!("{}{path}", self.prefix()), limit).await?)
    }

    async fn body(&self, path: &str, limit: usize) -> Result<Vec<u8>, ApiError> {
        let client = self.http.get().await.map_err(|why| self.unreachable(why))?;
        let request = client.get(format!("{}{path}", self.endpoint.base)).timeout(self.timeout);
        let response = request.send().await.map_err(|error| self.unreachable(http::chain(&error)))?;
        let response = checked(path, response).await?;
        http::body(response, limit).await.map_err(|error| ApiError::Body { path: path.into(), error })
    }

    fn unreachable(&self, why: String) -> ApiError {
        ApiError::Unreachable { endpoint: self.endpoint.shown.clone(), why }
    }
}

/// The response, unless it is an error.
async fn checked(path: &str, response: Response) -> Result<Response, ApiError> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Message {
        message: String,
    }
    let status = response.status();
    if status == StatusCode::OK {
        return Ok(response);
    }
    let body = http::body(response, MAX_OBJECT_BYTES).await.unwrap_or_default();
    let message = parse::<Message>(path, &body).unwrap_or_default().message;
    Err(ApiError::Status { path: path.into(), status, message: excerpt(&message).to_owned() })
}
