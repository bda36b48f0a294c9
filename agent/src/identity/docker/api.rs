//! The API of the docker daemon, which podman's socket speaks as well: where it is, its version, and the answers that are
//! used, in types.
//!
//! Source: <https://docs.docker.com/reference/api/engine/>. No answer is trusted: each is bounded in size and time, a field
//! that is missing or `null` has its default, and what is not UTF-8 is replaced. Containers' figures are never asked for
//! (`/containers/ID/stats` makes the daemon read them twice, a second apart).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Response, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::http::{self, BodyError};
use crate::options::OptionError;
use crate::options::tls::Tls;

/// Where the daemon is unless the configuration says otherwise.
pub const DEFAULT_ENDPOINT: &str = "unix:///var/run/docker.sock";
/// The version of the API that is asked for where the daemon has it: the oldest one that docker 29 still speaks.
const VERSION: ApiVersion = ApiVersion(1, 44);
/// The oldest version whose answers are understood: that of docker 1.12.
const OLDEST_VERSION: ApiVersion = ApiVersion(1, 24);
/// The most of a list of containers or of what uses the disk: some 10,000 of them.
const MOST_LIST_BYTES: usize = 32 << 20;
/// The most of everything about one container, or about the daemon.
const MOST_OBJECT_BYTES: usize = 4 << 20;
/// The most of one event, which has all the labels of its container.
const MOST_EVENT_BYTES: usize = 4 << 20;
/// The most of what an error says.
const MOST_ERROR_BYTES: usize = 300;
/// The events that change what is said of a container: docker's names, and podman's where they differ. Without a list the
/// daemon sends one for each command that a health check runs.
const EVENTS: &[&str] = &[
    "create",
    "start",
    "die",
    "died",
    "oom",
    "health_status",
    "rename",
    "pause",
    "unpause",
    "update",
    "destroy",
    "remove",
];

/// Why the daemon did not give an answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// It was not reached, or did not answer in time.
    #[error("cannot reach docker at {endpoint}: {why}{}", advice(.why))]
    Unreachable {
        /// Where it should be.
        endpoint: String,
        /// What the system said.
        why: String,
    },
    /// It answered with an error.
    #[error("docker answers {status} to {path}: {message}")]
    Status {
        /// What was asked.
        path: String,
        /// The HTTP status.
        status: StatusCode,
        /// What it said.
        message: String,
    },
    /// The answer is too large, or broke off.
    #[error("docker's answer to {path} cannot be used: {error}")]
    Body {
        /// What was asked.
        path: String,
        /// Why not.
        error: BodyError,
    },
    /// The answer is not what it should be.
    #[error("docker's answer to {path} is not understood: {why}")]
    Malformed {
        /// What was asked.
        path: String,
        /// The first thing wrong with it.
        why: String,
    },
    /// Its API is none that is spoken here.
    #[error("docker's API has version {0}; at least {OLDEST_VERSION} is needed: update docker")]
    TooOld(ApiVersion),
}

impl ApiError {
    /// Whether the daemon says that there is no such thing.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Status { status: StatusCode::NOT_FOUND, .. })
    }

    /// Whether the daemon answered, though not well: the next question may do better.
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

/// A version of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion(pub u32, pub u32);

impl ApiVersion {
    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }

    /// The version to ask for, of a daemon that speaks those from `least` to `most`.
    fn negotiated(least: Option<Self>, most: Self) -> Result<Self, ApiError> {
        let version = VERSION.min(most).max(least.unwrap_or(OLDEST_VERSION).min(most));
        if version < OLDEST_VERSION { Err(ApiError::TooOld(most)) } else { Ok(version) }
    }
}

impl std::fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// Where a daemon is, and how it is talked to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Endpoint {
    /// As a person wrote it.
    shown: String,
    /// The socket, where it is one of the file system.
    socket: Option<String>,
    /// What paths are added to.
    base: String,
    tls: Tls,
    version: Option<ApiVersion>,
}

impl Endpoint {
    /// Reads the option `endpoint`; `variable` gives the variables of docker's own client, which are used with `ENV` alone.
    fn resolve(
        endpoint: &str,
        tls: &Tls,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, OptionError> {
        let variable = |name| variable(name).filter(|value| !value.is_empty());
        let wrong = |what: String| OptionError::new("endpoint", what);
        let (mut tls, mut version) = (tls.clone(), None);
        let mut shown = endpoint.to_owned();
        if endpoint == "ENV" {
            shown = variable("DOCKER_HOST").unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned());
            if let Some(directory) = variable("DOCKER_CERT_PATH") {
                let file = |name: &str| format!("{}/{name}", directory.trim_end_matches('/'));
                tls = Tls {
                    tls_ca: file("ca.pem"),
                    tls_cert: file("cert.pem"),
                    tls_key: file("key.pem"),
                    insecure_skip_verify: variable("DOCKER_TLS_VERIFY").is_none(),
                    ..tls
                };
            }
            if let Some(text) = variable("DOCKER_API_VERSION") {
                let parsed = ApiVersion::parse(&text);
                let parsed =
                    parsed.ok_or_else(|| wrong(format!("DOCKER_API_VERSION is no version: `{text}`")))?;
                version = Some(parsed);
            }
        }
        let (socket, base) = match shown.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => {
                (Some(path.to_owned()), "http://docker".to_owned())
            }
            Some(("tcp", address)) => {
                let scheme = if is_given(&tls) { "https" } else { "http" };
                (None, format!("{scheme}://{address}"))
            }
            Some(("http" | "https", _)) => (None, shown.clone()),
            _ => {
                let what = "it is ENV, or begins with unix:///, tcp://, http:// or https://";
                return Err(wrong(format!("`{shown}`: {what}")));
            }
        };
        let base = base.trim_end_matches('/').to_owned();
        if base.parse::<reqwest::Url>().is_err() {
            return Err(wrong(format!("`{shown}` is no address")));
        }
        Ok(Self { shown, socket, base, tls, version })
    }
}

/// Whether TLS is asked for by any of its options; `tcp://` does not say so itself.
fn is_given(tls: &Tls) -> bool {
    let is_off = Tls { tls_enable: tls.tls_enable, ..Tls::default() } == *tls;
    tls.tls_enable.unwrap_or(!is_off)
}

/// A client of one daemon.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    endpoint: Endpoint,
    timeout: Duration,
    /// What was agreed on; nothing but the version itself is asked for before.
    version: Mutex<Option<ApiVersion>>,
}

impl Client {
    /// Checks the options; the daemon is not contacted. `timeout` is for one answer.
    ///
    /// # Errors
    /// The option that cannot be worked with.
    pub fn new(
        endpoint: &str,
        tls: &Tls,
        timeout: Duration,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, OptionError> {
        let endpoint = Endpoint::resolve(endpoint, tls, variable)?;
        let client = http::client(&endpoint.tls, endpoint.base.starts_with("https"))?
            .connect_timeout(timeout)
            .tcp_keepalive(Duration::from_secs(30))
            .pool_max_idle_per_host(1);
        let client = match &endpoint.socket {
            Some(path) => client.unix_socket(path.as_str()),
            None => client,
        };
        Ok(Self { http: http::build(client, "endpoint")?, endpoint, timeout, version: Mutex::default() })
    }

    /// The daemon's address, as it is written.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint.shown
    }

    /// The version that was agreed on; `None` until the daemon was reached.
    #[must_use]
    pub fn version(&self) -> Option<ApiVersion> {
        *self.version.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Agrees on a version with the daemon, anew: it may be another one by now.
    ///
    /// # Errors
    /// Why there is no answer, or that the daemon is too old.
    pub async fn negotiate(&self) -> Result<(), ApiError> {
        let version = match self.endpoint.version {
            Some(version) => version,
            None => {
                let path = "/version";
                let answer: Version = parse(path, &self.body(path, MOST_OBJECT_BYTES).await?)?;
                let most = ApiVersion::parse(&answer.api_version).ok_or_else(|| ApiError::Malformed {
                    path: path.into(),
                    why: "there is no `ApiVersion`".into(),
                })?;
                ApiVersion::negotiated(ApiVersion::parse(&answer.least), most)?
            }
        };
        *self.version.lock().unwrap_or_else(PoisonError::into_inner) = Some(version);
        Ok(())
    }

    /// The daemon about itself.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn info(&self) -> Result<Info, ApiError> {
        self.get("/info", MOST_OBJECT_BYTES).await
    }

    /// All containers, also those that do not run.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn containers(&self) -> Result<Vec<Listed>, ApiError> {
        self.get("/containers/json?all=1", MOST_LIST_BYTES).await
    }

    /// Everything about one container.
    ///
    /// # Errors
    /// Why there is no answer; `is_not_found` when there is no such container.
    pub async fn inspect(&self, id: &str) -> Result<Inspected, ApiError> {
        self.get(&format!("/containers/{id}/json"), MOST_OBJECT_BYTES).await
    }

    /// What takes space on the disk; `kinds` are `container`, `image` and `volume`. May take the daemon long.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn disk_usage(&self, kinds: &[&str]) -> Result<DiskUsage, ApiError> {
        // Before this version the daemon looks at all of it, and takes no `type`.
        let query = match self.version() {
            Some(version) if version >= ApiVersion(1, 42) => format!("?type={}", kinds.join("&type=")),
            _ => String::new(),
        };
        self.get(&format!("/system/df{query}"), MOST_LIST_BYTES).await
    }

    /// The events from now on.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn events(&self) -> Result<Events, ApiError> {
        let quoted: Vec<String> = EVENTS.iter().map(|event| format!("%22{event}%22")).collect();
        let path = format!(
            "{}/events?filters=%7B%22type%22:[%22container%22],%22event%22:[{}]%7D",
            self.prefix(),
            quoted.join(",")
        );
        let request = self.http.get(format!("{}{path}", self.endpoint.base)).send();
        let response = match tokio::time::timeout(self.timeout, request).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(self.unreachable(http::chain(&error))),
            Err(_) => return Err(self.unreachable("no answer in time".into())),
        };
        let response = checked("/events", response).await?;
        Ok(Events { response, partial: Vec::new(), endpoint: self.endpoint.shown.clone() })
    }

    fn prefix(&self) -> String {
        self.version().map_or_else(String::new, |version| format!("/v{version}"))
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, limit: usize) -> Result<T, ApiError> {
        parse(path, &self.body(&format!("{}{path}", self.prefix()), limit).await?)
    }

    async fn body(&self, path: &str, limit: usize) -> Result<Vec<u8>, ApiError> {
        let request = self.http.get(format!("{}{path}", self.endpoint.base)).timeout(self.timeout);
        let response = request.send().await.map_err(|error| self.unreachable(http::chain(&error)))?;
        let response = checked(path, response).await?;
        http::body(response, limit).await.map_err(|error| ApiError::Body { path: path.into(), error })
    }

    fn unreachable(&self, why: String) -> ApiError {
        ApiError::Unreachable { endpoint: self.endpoint.shown.clone(), why }
    }
}

/// An answer that is no error.
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
    let body = http::body(response, MOST_OBJECT_BYTES).await.unwrap_or_default();
    let message = parse::<Message>(path, &body).unwrap_or_default().message;
    Err(ApiError::Status { path: path.into(), status, message: start_of(&message).to_owned() })
}

fn start_of(text: &str) -> &str {
    &text[..text.floor_char_boundary(MOST_ERROR_BYTES)]
}

fn parse<T: DeserializeOwned>(path: &str, body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_str(&String::from_utf8_lossy(body)).map_err(|error| ApiError::Malformed {
        path: path.to_owned(),
        why: start_of(&error.to_string()).to_owned(),
    })
}

/// The stream of events.
#[derive(Debug)]
pub struct Events {
    response: Response,
    /// The beginning of a line that is not whole yet.
    partial: Vec<u8>,
    endpoint: String,
}

impl Events {
    /// The next events, in their order; waits for the first. Nothing is lost when it is cancelled.
    ///
    /// # Errors
    /// The stream has ended, or says what is no event.
    pub async fn next(&mut self) -> Result<Vec<Event>, ApiError> {
        const PATH: &str = "/events";
        loop {
            let unreachable = |why: String| ApiError::Unreachable { endpoint: self.endpoint.clone(), why };
            let chunk = self.response.chunk().await.map_err(|error| unreachable(http::chain(&error)))?;
            let Some(chunk) = chunk else { return Err(unreachable("it ended the stream of events".into())) };
            if self.partial.len() + chunk.len() > MOST_EVENT_BYTES {
                let error = BodyError::TooLarge(MOST_EVENT_BYTES);
                return Err(ApiError::Body { path: PATH.into(), error });
            }
            self.partial.extend_from_slice(&chunk);
            let Some(end) = self.partial.iter().rposition(|byte| *byte == b'\n') else { continue };
            let rest = self.partial.split_off(end + 1);
            let whole = std::mem::replace(&mut self.partial, rest);
            let lines = whole.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
            return lines.map(|line| parse(PATH, line)).collect();
        }
    }
}

/// A field that may be `null`, as Go writes what is empty.
fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Version {
    #[serde(rename = "ApiVersion")]
    api_version: String,
    #[serde(rename = "MinAPIVersion")]
    least: String,
}

/// `GET /info`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Info {
    /// The machine's name.
    pub name: String,
    /// The daemon's version.
    pub server_version: String,
    /// Containers.
    pub containers: i64,
    /// Of these, the ones that run.
    pub containers_running: i64,
    /// Paused.
    pub containers_paused: i64,
    /// Neither.
    pub containers_stopped: i64,
    /// Images.
    pub images: i64,
    /// The daemon's open files.
    #[serde(rename = "NFd")]
    pub n_fd: i64,
    /// Its goroutines.
    #[serde(rename = "NGoroutines")]
    pub n_goroutines: i64,
    /// Who follows its events.
    #[serde(rename = "NEventsListener")]
    pub n_events_listener: i64,
    /// The machine's CPUs.
    #[serde(rename = "NCPU")]
    pub n_cpu: i64,
    /// Its memory in bytes.
    pub mem_total: i64,
    /// What the storage driver says of itself: name and value.
    #[serde(deserialize_with = "nullable")]
    pub driver_status: Vec<Vec<String>>,
}

/// An entry of `GET /containers/json`; the rest is in [`Inspected`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// Its names, each with a slash before it; one with two slashes is what another container calls it.
    #[serde(deserialize_with = "nullable")]
    pub names: Vec<String>,
    /// Its image, or that one's id where the name now belongs to another.
    pub image: String,
    /// `running`, `exited` …
    pub state: String,
}

/// `GET /containers/ID/json`, as far as it is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Inspected {
    /// Its id.
    pub id: String,
    /// Its name, with a slash before it.
    pub name: String,
    /// How often docker started it again by itself.
    pub restart_count: i64,
    /// Its state.
    #[serde(deserialize_with = "nullable")]
    pub state: State,
    /// What it was made from.
    #[serde(deserialize_with = "nullable")]
    pub config: Config,
    /// How it is placed on the host.
    #[serde(deserialize_with = "nullable")]
    pub host_config: HostConfig,
}

/// A container's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct State {
    /// `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`.
    pub status: String,
    /// A process of it was killed for want of memory.
    #[serde(rename = "OOMKilled")]
    pub oom_killed: bool,
    /// Its first process; 0 when it does not run.
    pub pid: i64,
    /// The exit code of its last run.
    pub exit_code: i64,
    /// When it was started last, in RFC 3339; year 1 for never.
    pub started_at: String,
    /// When it ended last, likewise.
    pub finished_at: String,
    /// Of a container with a health check.
    pub health: Option<Health>,
}

/// What a container's health check says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Health {
    /// `starting`, `healthy` or `unhealthy`; empty or `none` without a check.
    pub status: String,
    /// Checks that failed in a row.
    pub failing_streak: i64,
}

/// What a container was made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Config {
    /// The image as it was asked for.
    pub image: String,
    /// The environment: `NAME=value`.
    #[serde(deserialize_with = "nullable")]
    pub env: Vec<String>,
    /// Labels.
    #[serde(deserialize_with = "nullable")]
    pub labels: BTreeMap<String, String>,
}

/// How a container is placed on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct HostConfig {
    /// `host`, `none`, `container:ID` or a network's name.
    pub network_mode: String,
}

/// An event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Event {
    /// What happened.
    pub action: String,
    /// To whom.
    pub actor: Actor,
}

/// Whom an event is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Actor {
    /// Its id.
    #[serde(rename = "ID")]
    pub id: String,
    /// Of a container: its name and image.
    #[serde(deserialize_with = "nullable")]
    pub attributes: Attributes,
}

/// A container in an event; its labels are there too, and not read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Attributes {
    /// Its name.
    pub name: String,
    /// Its image as it was asked for.
    pub image: String,
}

/// `GET /system/df`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct DiskUsage {
    /// Bytes of all layers together.
    pub layers_size: i64,
    /// By container.
    #[serde(deserialize_with = "nullable")]
    pub containers: Vec<ContainerUsage>,
    /// By image.
    #[serde(deserialize_with = "nullable")]
    pub images: Vec<ImageUsage>,
    /// By volume.
    #[serde(deserialize_with = "nullable")]
    pub volumes: Vec<Volume>,
}

/// A container's part of the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ContainerUsage {
    /// Its id.
    pub id: String,
    /// Its names, each with a slash before it.
    #[serde(deserialize_with = "nullable")]
    pub names: Vec<String>,
    /// Its image.
    pub image: String,
    /// Bytes that it wrote.
    pub size_rw: i64,
    /// Bytes of its files, the image's with them.
    pub size_root_fs: i64,
}

/// An image's part of the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ImageUsage {
    /// Its id, with the algorithm before it.
    pub id: String,
    /// Its names.
    #[serde(deserialize_with = "nullable")]
    pub repo_tags: Vec<String>,
    /// Bytes.
    pub size: i64,
    /// Of these, shared with other images.
    pub shared_size: i64,
}

/// A volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// What it takes.
    #[serde(deserialize_with = "nullable")]
    pub usage_data: VolumeUsage,
}

/// A volume's part of the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct VolumeUsage {
    /// Bytes; -1 when the driver does not know.
    pub size: i64,
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn resolve(endpoint: &str, variables: &[(&str, &str)]) -> Result<Endpoint, String> {
        let variable =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Endpoint::resolve(endpoint, &Tls::default(), variable).map_err(|error| error.to_string())
    }

    #[rstest]
    #[case::socket("unix:///run/docker.sock", Some("/run/docker.sock"), "http://docker")]
    #[case::tcp("tcp://10.0.0.1:2375", None, "http://10.0.0.1:2375")]
    #[case::http("http://d:2375/", None, "http://d:2375")]
    #[case::https("https://d:2376/proxy/", None, "https://d:2376/proxy")]
    fn endpoints(#[case] endpoint: &str, #[case] socket: Option<&str>, #[case] base: &str) {
        let resolved = resolve(endpoint, &[("DOCKER_HOST", "tcp://other:1")]).unwrap();
        assert_eq!((resolved.socket.as_deref(), resolved.base.as_str()), (socket, base));
        assert_eq!(resolved.shown, endpoint);
    }

    #[rstest]
    #[case("/var/run/docker.sock", "`endpoint`: `/var/run/docker.sock`: it is ENV, or begins with unix:///")]
    #[case("unix://docker.sock", "`endpoint`: `unix://docker.sock`: it is ENV")]
    #[case("npipe:////./pipe/docker_engine", "`endpoint`: `npipe:")]
    #[case("tcp://", "`endpoint`: `tcp://` is no address")]
    fn refused_endpoints(#[case] endpoint: &str, #[case] expected: &str) {
        let error = resolve(endpoint, &[]).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn env_is_what_dockers_own_client_takes_from_the_environment() {
        assert_eq!(resolve("ENV", &[]).unwrap().socket.as_deref(), Some("/var/run/docker.sock"));
        let host = ("DOCKER_HOST", "tcp://d:2376");
        let certs = ("DOCKER_CERT_PATH", "/certs/");
        let endpoint = resolve("ENV", &[host, certs, ("DOCKER_TLS_VERIFY", "1")]).unwrap();
        assert_eq!(endpoint.base, "https://d:2376");
        assert_eq!(endpoint.tls.tls_ca, "/certs/ca.pem");
        assert_eq!(
            (endpoint.tls.tls_cert.as_str(), endpoint.tls.tls_key.as_str()),
            ("/certs/cert.pem", "/certs/key.pem")
        );
        assert!(!endpoint.tls.insecure_skip_verify);
        assert!(resolve("ENV", &[host, certs]).unwrap().tls.insecure_skip_verify);
        let version = resolve("ENV", &[host, ("DOCKER_API_VERSION", "1.40")]).unwrap();
        assert_eq!((version.base.as_str(), version.version), ("http://d:2376", Some(ApiVersion(1, 40))));
        let error = resolve("ENV", &[("DOCKER_API_VERSION", "new")]).unwrap_err();
        assert!(error.contains("DOCKER_API_VERSION"), "{error}");
    }

    #[test]
    fn tcp_is_encrypted_where_a_tls_option_is_given() {
        let base = |tls: Tls| Endpoint::resolve("tcp://d:1", &tls, |_| None).unwrap().base;
        assert_eq!(base(Tls { insecure_skip_verify: true, ..Tls::default() }), "https://d:1");
        assert_eq!(base(Tls { tls_enable: Some(true), ..Tls::default() }), "https://d:1");
        assert_eq!(
            base(Tls { tls_ca: "/ca".into(), tls_enable: Some(false), ..Tls::default() }),
            "http://d:1"
        );
    }

    #[rstest]
    #[case::docker_20_10("1.12", "1.41", Ok((1, 41)))]
    #[case::docker_25("1.24", "1.44", Ok((1, 44)))]
    #[case::docker_28("1.24", "1.51", Ok((1, 44)))]
    #[case::docker_29("1.44", "1.52", Ok((1, 44)))]
    #[case::one_that_dropped_it("1.50", "1.60", Ok((1, 50)))]
    #[case::podman("1.24", "1.41", Ok((1, 41)))]
    #[case::says_no_least("", "1.30", Ok((1, 30)))]
    #[case::docker_1_11(
        "",
        "1.23",
        Err("docker's API has version 1.23; at least 1.24 is needed: update docker")
    )]
    fn versions(#[case] least: &str, #[case] most: &str, #[case] expected: Result<(u32, u32), &str>) {
        let version = ApiVersion::negotiated(ApiVersion::parse(least), ApiVersion::parse(most).unwrap());
        let version = version.map(|version| (version.0, version.1)).map_err(|error| error.to_string());
        assert_eq!(version, expected.map_err(str::to_owned));
    }

    #[test]
    fn what_is_null_missing_or_no_utf8_does_no_harm() {
        let body = b"{\"Id\":\"a\",\"Name\":\"/\xff\",\"Config\":{\"Env\":null,\"Labels\":null},\"State\":{\"Health\":null},\"HostConfig\":null}";
        let inspected: Inspected = parse("/x", body).unwrap();
        assert_eq!(inspected.name, "/\u{fffd}");
        assert_eq!(inspected.config, Config::default());
        for garbage in [&b"7"[..], b"", b"{\"State\":7}", b"\0\xff", b"{\"Id\":\"a\""] {
            let error = parse::<Inspected>("/x", garbage).unwrap_err().to_string();
            assert!(error.starts_with("docker's answer to /x is not understood: "), "{error}");
        }
    }
}
