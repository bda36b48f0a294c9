//! The kubelet of this node: which pods and containers it runs, and what it knows of their resources.
//!
//! [`Client`] asks its API, in bounded size and time. [`Kubelet`] keeps the list of pods up to date in a task of its own
//! and names containers and pods by it; it never holds a gather up. What failed is logged when it begins and when it is
//! over. Rights that the token needs: `get` on `nodes/pods` and `nodes/stats`.

pub mod answer;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use reqwest::{StatusCode, Url};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Instrument as _;

use self::answer::{Pod, Summary};
use super::LISTED_WITHIN;
use super::names::{self, Names, Source};

use crate::http::{self, BodyError};
use crate::line_protocol::truncated;
use crate::options::OptionError;
use crate::options::tls::Tls;
use crate::service::memory;

/// Where Kubernetes puts a pod's token.
pub const TOKEN_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
/// No more of an answer is read than this: a pod has some 5 KB, and a node a few hundred pods.
const MOST_ANSWER_BYTES: usize = 32 << 20;
/// From here on an answer's memory is given back at once; what is smaller is needed again at the next gather.
const BIG_ANSWER_BYTES: usize = 4 << 20;
/// The list of pods is no older than this, whatever happens: labels and images change without a new container.
const LIST_PERIOD: Duration = Duration::from_secs(60);
/// After a failure it is asked for again so soon.
const RETRY_PERIOD: Duration = Duration::from_secs(5);
/// From the first wish for a name to the look: a container's cgroup is there before the kubelet knows its id.
const WISH_DELAY: Duration = Duration::from_millis(500);
/// While wishes go on, from one look to the next.
const WISH_PERIOD: Duration = Duration::from_secs(2);
/// The kubelet spends at most one part in this many on our wishes.
const WISH_SHARE: u32 = 10;

/// How the kubelet is asked.
#[derive(Clone, Debug)]
pub struct Access {
    /// Its address, `https://10.0.0.1:10250`.
    pub url: String,
    /// Where the token is from.
    pub token: Token,
    /// For a whole request.
    pub timeout: Duration,
    /// For `https`.
    pub tls: Tls,
}

/// Where a token is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// A pod's own, [`TOKEN_FILE`]; never sent without TLS, since nobody asked for that.
    OfPod,
    /// A file; read for each request, since Kubernetes replaces it every hour or so.
    File(String),
    /// The token itself.
    Text(String),
}

impl Token {
    /// What goes into the request; an error is in words.
    fn read(&self, is_tls: bool) -> Result<Option<HeaderValue>, String> {
        let text = match self {
            Self::OfPod if !is_tls => return Ok(None),
            Self::OfPod => read_token(TOKEN_FILE)?,
            Self::File(path) => read_token(path)?,
            Self::Text(token) => token.clone(),
        };
        let mut value = HeaderValue::from_str(&format!("Bearer {}", text.trim()))
            .map_err(|_| format!("{} is no token: it has characters that cannot be sent", self.place()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    fn place(&self) -> &str {
        match self {
            Self::OfPod => TOKEN_FILE,
            Self::File(path) => path,
            Self::Text(_) => "`bearer_token_string`",
        }
    }
}

fn read_token(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Endpoint {
    Pods,
    Summary,
}

impl Endpoint {
    fn path(self) -> &'static str {
        match self {
            Self::Pods => "/pods",
            Self::Summary => "/stats/summary",
        }
    }

    /// The resource that the token's role must give `get` on.
    fn right(self) -> &'static str {
        match self {
            Self::Pods => "nodes/pods (before Kubernetes 1.33: nodes/proxy)",
            Self::Summary => "nodes/stats",
        }
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No connection, no TLS, no answer in time, or one that broke off.
    #[error("{url}: {reason}")]
    NoAnswer {
        /// What was asked for.
        url: String,
        /// Why, and what to do.
        reason: String,
    },
    /// 401.
    #[error("{url}: 401 Unauthorized: {reason}")]
    Unauthorized {
        /// What was asked for.
        url: String,
        /// What is wrong with which token.
        reason: String,
    },
    /// 403.
    #[error("{url}: 403 Forbidden: allow the token's service account to `get` {right} in a ClusterRole")]
    Forbidden {
        /// What was asked for.
        url: String,
        /// What is missing.
        right: &'static str,
    },
    /// Any other status than 200.
    #[error("{url}: {status}: is this a kubelet?")]
    Status {
        /// What was asked for.
        url: String,
        /// What came instead.
        status: StatusCode,
    },
    /// An answer that was not understood, or is too large to be one.
    #[error("{url}: {reason}")]
    NotUnderstood {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// A client of one kubelet's API.
pub struct Client {
    client: reqwest::Client,
    url: String,
    is_tls: bool,
    token: Token,
}

impl Client {
    /// Checks the options; the kubelet is not contacted.
    ///
    /// # Errors
    /// A URL that is none, or TLS options that cannot be worked with.
    pub fn new(access: &Access) -> Result<Self, OptionError> {
        let wrong = |what: &str| OptionError::new("url", format!("`{}`: {what}", access.url));
        let url = Url::parse(&access.url).map_err(|error| wrong(&error.to_string()))?;
        let is_tls = match url.scheme() {
            "https" => true,
            "http" => false,
            other => return Err(wrong(&format!("`{other}` is not spoken here: it is http or https"))),
        };
        let client = http::client(&access.tls, is_tls)?.timeout(access.timeout);
        let client = http::build(client, "url")?;
        let url = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self { client, url, is_tls, token: access.token.clone() })
    }

    /// Where it asks.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The pods that the kubelet runs.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn pods(&self) -> Result<Vec<Pod>, Error> {
        self.get(Endpoint::Pods, answer::pods).await
    }

    /// The statistics of node, pods and containers.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn summary(&self) -> Result<Summary, Error> {
        self.get(Endpoint::Summary, answer::summary).await
    }

    async fn get<T>(&self, endpoint: Endpoint, read: fn(&[u8]) -> serde_json::Result<T>) -> Result<T, Error> {
        let url = format!("{}{}", self.url, endpoint.path());
        let mut request = self.client.get(&url).header(ACCEPT, "application/json");
        // Without a token the kubelet may answer all the same; what it says then is what a person has to know.
        let token = self.token.read(self.is_tls);
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
        let body = match http::body(response, MOST_ANSWER_BYTES).await {
            Ok(body) => body,
            Err(error @ BodyError::TooLarge(_)) => {
                memory::give_back();
                return Err(Error::NotUnderstood { url, reason: error.to_string() });
            }
            Err(error @ BodyError::Broken(_)) => {
                return Err(Error::NoAnswer { url, reason: error.to_string() });
            }
        };
        let read = read(&body);
        let is_big = body.len() >= BIG_ANSWER_BYTES;
        drop(body);
        if is_big {
            memory::give_back();
        }
        // The parser quotes what it minds, whatever its length.
        read.map_err(|error| Error::NotUnderstood {
            url,
            reason: truncated(format!("the answer is not a kubelet's: {error}")),
        })
    }
}

/// A kubelet's certificate is mostly signed by itself, and nobody knows that from rustls's words.
fn with_advice(reason: String) -> String {
    if reason.contains("certificate") {
        format!("{reason}; name its authority in `tls_ca`, or set `insecure_skip_verify`")
    } else {
        reason
    }
}

/// The pods at one time.
#[derive(Debug)]
pub struct Listing {
    /// When they were asked for: whatever was gone by then is not in it.
    pub asked: Instant,
    /// The pods, with the labels that are wanted.
    pub pods: Vec<Pod>,
}

/// One kubelet, shared by the task that keeps names and the gathers.
pub struct Kubelet {
    client: Client,
    names: Arc<Names>,
    keeps_label: Box<dyn Fn(&str) -> bool + Send + Sync>,
    latest: Mutex<Option<Arc<Listing>>>,
    /// Held while the pods are asked for: one request at a time, and whoever waited may not need another.
    asking: tokio::sync::Mutex<()>,
    health: Mutex<Health>,
}

/// Names containers and pods for as long as it is there.
pub struct NameKeeper {
    names: Arc<Names>,
    _task: JoinSet<()>,
}

impl Drop for NameKeeper {
    fn drop(&mut self) {
        self.names.remove_source();
    }
}

impl Kubelet {
    /// A kubelet that is asked by `client`; of the pods' labels those are kept whose key `keeps_label` takes.
    pub fn new(
        client: Client,
        names: &Arc<Names>,
        keeps_label: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            client,
            names: Arc::clone(names),
            keeps_label: Box::new(keeps_label),
            latest: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
            health: Mutex::default(),
        })
    }

    /// Starts the task that keeps names. Call it within the runtime.
    #[must_use]
    pub fn keep_names(self: &Arc<Self>) -> NameKeeper {
        let mut task = JoinSet::new();
        task.spawn(Arc::clone(self).keep().in_current_span());
        self.names.add_source();
        NameKeeper { names: Arc::clone(&self.names), _task: task }
    }

    /// Lists the pods at the start, from time to time, and soon after somebody wants a name; and once more when the kubelet
    /// had the time to list it, since what it does not list then is a pause container.
    async fn keep(self: Arc<Self>) {
        const SETTLED: Duration = LISTED_WITHIN.saturating_add(WISH_DELAY);
        let mut settled = Some(Instant::now() + SETTLED);
        loop {
            // Before looking, so that no wish is missed.
            let wanted = self.names.wanted();
            let start = Instant::now();
            settled = settled.filter(|settled| start < *settled);
            let listed = self.list(start).await;
            let took = start.elapsed();
            let (rest, period) = match listed {
                Ok(_) => (WISH_PERIOD.max(took * WISH_SHARE), LIST_PERIOD),
                // Wishes do not make it come back sooner.
                Err(_) => (took + RETRY_PERIOD, took + RETRY_PERIOD),
            };
            let rested = start + rest;
            let wish = async {
                wanted.await;
                tokio::time::sleep_until(rested.max(Instant::now() + WISH_DELAY)).await;
            };
            let next = settled.map_or(start + period, |settled| settled.min(start + period));
            tokio::select! {
                () = wish => settled = Some(Instant::now() + SETTLED),
                () = tokio::time::sleep_until(rested.max(next)) => {}
            }
        }
    }

    /// The pods as they were at `since` or later: asked for, unless somebody just did. Names them.
    ///
    /// # Errors
    /// Why there is no answer. The listing before stays.
    pub async fn list(&self, since: Instant) -> Result<Arc<Listing>, Error> {
        let _asking = self.asking.lock().await;
        if let Some(listing) = self.latest().filter(|listing| listing.asked >= since) {
            return Ok(listing);
        }
        let asked = Instant::now();
        let mut pods = self.heard(Endpoint::Pods, self.client.pods().await)?;
        for pod in &mut pods {
            pod.labels.retain(|key, _| (self.keeps_label)(key));
        }
        self.name(&pods, asked.into_std());
        let listing = Arc::new(Listing { asked, pods });
        *lock(&self.latest) = Some(Arc::clone(&listing));
        Ok(listing)
    }

    /// The latest listing, however old; `None` before the first.
    #[must_use]
    pub fn latest(&self) -> Option<Arc<Listing>> {
        lock(&self.latest).clone()
    }

    /// The statistics.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn summary(&self) -> Result<Summary, Error> {
        self.heard(Endpoint::Summary, self.client.summary().await)
    }

    /// Whether any of its answers failed to come when last asked for: what is known may be long out of date.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        !lock(&self.health).failing.is_empty()
    }

    fn name(&self, pods: &[Pod], asked: std::time::Instant) {
        let names: &Names = &self.names;
        for pod in pods {
            for uid in &pod.uids {
                let (name, namespace, node) = (pod.name.clone(), pod.namespace.clone(), pod.node.clone());
                names.name_pod(Source::Kubelet, uid, names::Pod { name, namespace, node }, asked);
            }
            for container in &pod.containers {
                for id in container.id.iter().chain(&container.last_id) {
                    let (name, image) = (container.name.clone(), container.image.clone());
                    names.name_container(Source::Kubelet, id, names::Container { name, image }, asked);
                }
            }
        }
        names.end_unlisted(Source::Kubelet, asked, std::time::Instant::now());
    }

    /// Takes note of whether an answer came, and says so when that changes.
    fn heard<T>(&self, endpoint: Endpoint, answer: Result<T, Error>) -> Result<T, Error> {
        let mut health = lock(&self.health);
        match &answer {
            Ok(_) => {
                if health.succeeded(endpoint) {
                    tracing::info!(url = self.client.url(), "the kubelet answers again");
                }
            }
            Err(error) if health.failed(endpoint, error) => {
                tracing::error!(
                    %error,
                    "no answer from the kubelet; what is known is kept, and it is asked again"
                );
            }
            Err(error) => tracing::debug!(%error, "still no answer from the kubelet"),
        }
        answer
    }
}

/// Nothing panics while it holds one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which endpoints fail, and what was said of it.
#[derive(Debug, Default)]
struct Health {
    failing: Vec<Endpoint>,
    /// The causes that were said since the first failure; at most one of each kind, whatever the text.
    said: Vec<(std::mem::Discriminant<Error>, Option<&'static str>)>,
}

impl Health {
    /// Whether this is news.
    fn failed(&mut self, endpoint: Endpoint, error: &Error) -> bool {
        if !self.failing.contains(&endpoint) {
            self.failing.push(endpoint);
        }
        let right = if let Error::Forbidden { right, .. } = error { Some(*right) } else { None };
        let kind = (std::mem::discriminant(error), right);
        let is_news = !self.said.contains(&kind);
        if is_news {
            self.said.push(kind);
        }
        is_news
    }

    /// Whether everything is well again.
    fn succeeded(&mut self, endpoint: Endpoint) -> bool {
        self.failing.retain(|failing| *failing != endpoint);
        let is_well = self.failing.is_empty() && !self.said.is_empty();
        if is_well {
            self.said.clear();
        }
        is_well
    }
}

#[cfg(test)]
mod tests;
