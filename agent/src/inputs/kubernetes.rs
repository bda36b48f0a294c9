//! `[[inputs.kubernetes]]`: this node's pods and containers, from the kubelet and from the kernel.
//!
//! The kubelet lists them. Its figures of CPU time, memory and network are up to 15 s old, so for containers that run here
//! these are read from their own cgroups and network namespaces, at the time of the gather. The rest (the node, volumes, file
//! systems) is the kubelet's. A gather waits for it only for a part of its interval: a kubelet that is slow, down or wrong
//! costs its own figures and nothing else, and is logged when that begins and when it is over.
//!
//! Measurements: `kubernetes_node`, `kubernetes_system_container`, `kubernetes_pod_container`, `kubernetes_pod_volume`,
//! `kubernetes_pod_network`, Telegraf's to the letter.

mod live;
mod points;

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Instrument as _;

use self::live::Live;
use self::points::KubeletData;
use super::{GatherError, Gathered, Input, InputPlugin, Shared, StartError};

use crate::host::Host;
use crate::identity::kubelet::pods::Pod;
use crate::identity::kubelet::summary::{PodStats, Summary};
use crate::identity::kubelet::unreadable;
use crate::identity::kubelet::{
    Access, Error, Kubelet, KubeletClient, Listing, MAX_ANSWER_BYTES, NameKeeper, Token, node_url,
};
use crate::options::OptionError;
use crate::options::filter::IncludeExclude;
use crate::options::secret::Secret;
use crate::options::tls::{Tls, UNCHECKED};
use crate::service::budget::Budget;
use crate::service::privilege::Files;

/// Telegraf's; it also replaces one below a second.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the first gather waits for the kubelet; its interval is not known yet.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// The section `[[inputs.kubernetes]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The kubelet; empty means port 10250 of `$NODE_IP`, `$HOST_IP` or this machine, whose certificate is then
    /// checked only by `tls_ca`.
    pub(super) url: String,
    /// A file with the token, read for each request; empty means the pod's own.
    pub(super) bearer_token: String,
    /// The token itself, where no file is named.
    pub(super) bearer_token_string: Secret,
    /// The name of the measurement `kubernetes_node`.
    pub(super) node_metric_name: String,
    /// Labels of pods that become tags; empty means all.
    pub(super) label_include: Vec<String>,
    /// Labels of pods that do not.
    pub(super) label_exclude: Vec<String>,
    /// For one request; less than 1 s means 5 s.
    #[serde(deserialize_with = "crate::options::duration::deserialize_or::<_, 5>")]
    pub(super) response_timeout: Duration,
    /// For `https`.
    pub(super) tls: Tls,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            url: String::new(),
            bearer_token: String::new(),
            bearer_token_string: Secret::default(),
            node_metric_name: "kubernetes_node".into(),
            label_include: Vec::new(),
            label_exclude: vec!["*".into()],
            response_timeout: DEFAULT_TIMEOUT,
            tls: Tls::default(),
        }
    }
}

impl Options {
    /// A client of the kubelet that the options name, on this host.
    ///
    /// # Errors
    /// The invalid option.
    pub(crate) fn client(&self, host: &Host) -> Result<KubeletClient, OptionError> {
        let mut tls = self.tls.clone();
        let url = if self.url.is_empty() {
            // Only the address of this node's kubelet is known, and its certificate is mostly self-signed.
            tls.insecure_skip_verify |= tls.tls_ca.is_empty();
            node_url(host.node_ip())
        } else {
            self.url.clone()
        };
        let token = match (self.bearer_token.as_str(), self.bearer_token_string.expose()) {
            ("", "") => Token::OfPod,
            ("", _) => Token::Text(self.bearer_token_string.clone()),
            (path, _) => Token::File(path.to_owned()),
        };
        KubeletClient::new(&Access { url, token, timeout: self.timeout(), tls })
    }

    /// Which labels become tags.
    fn labels(&self) -> Result<IncludeExclude, OptionError> {
        IncludeExclude::new(("label_include", &self.label_include), ("label_exclude", &self.label_exclude))
    }

    fn timeout(&self) -> Duration {
        if self.response_timeout < Duration::from_secs(1) { DEFAULT_TIMEOUT } else { self.response_timeout }
    }
}

/// The input.
pub(super) struct Kubernetes {
    kubelet: Arc<Kubelet>,
    shared: Arc<Shared>,
    node_metric_name: String,
    timeout: Duration,
    live: Live,
    /// The pending request for the kubelet's statistics; it may outlast a gather.
    fetch: JoinSet<Fetched>,
    last_gather: Option<Instant>,
    _names: NameKeeper,
}

impl Kubernetes {
    /// Starts to list pods and to name them. Call it within the runtime.
    ///
    /// # Errors
    /// The invalid option. A kubelet that does not answer is no error.
    pub(super) fn new(options: Options, shared: &Arc<Shared>) -> Result<Self, OptionError> {
        let labels = options.labels()?;
        let client = options.client(&shared.host)?;
        if options.url.is_empty() {
            tracing::info!(kubelet = client.url(), "`url` is empty: this node's kubelet is used");
        }
        let kubelet = Kubelet::new(client, &shared.names, move |key| labels.takes(key), |_| false);
        Ok(Self {
            _names: kubelet.keep_names(),
            kubelet,
            shared: Arc::clone(shared),
            timeout: options.timeout(),
            node_metric_name: options.node_metric_name,
            live: Live::default(),
            fetch: JoinSet::new(),
            last_gather: None,
        })
    }

    /// The kubelet's statistics, if they come in time; else they may at the next gather.
    async fn summary(&mut self, start: Instant) -> Option<Summary> {
        let wait = self.last_gather.map_or(FIRST_WAIT, |last| (start - last) / 2).min(self.timeout);
        self.last_gather = Some(start);
        if self.fetch.is_empty() {
            self.ask();
        }
        let fetched = tokio::time::timeout_at(start + wait, self.fetch.join_next()).await.ok()??.ok()?;
        if fetched.took > wait {
            // It never comes in time: the next gather takes the response to this request.
            self.ask();
        }
        // What failed has been logged.
        fetched.summary.ok()
    }

    fn ask(&mut self) {
        let fetch = fetch(Arc::clone(&self.kubelet), self.live.disagrees());
        self.fetch.spawn(fetch.in_current_span());
    }
}

/// The kubelet's response to a request for statistics, and how long it took.
struct Fetched {
    summary: Result<Summary, Error>,
    took: Duration,
}

/// Requests the statistics, and the pods again where the list `is_stale` or does not match them.
async fn fetch(kubelet: Arc<Kubelet>, is_stale: bool) -> Fetched {
    let requested = Instant::now();
    let is_stale = is_stale || kubelet.is_failing();
    let summary = kubelet.summary().await;
    if let Ok(summary) = &summary
        && (is_stale || kubelet.latest().is_none_or(|listing| !has_all(&listing, summary)))
    {
        // Logged where it failed; the statistics are valid all the same.
        let _ = kubelet.list(requested).await;
    }
    Fetched { summary, took: requested.elapsed() }
}

fn pods(listing: Option<&Listing>) -> &[Pod] {
    listing.map_or(&[], |listing| &listing.pods)
}

/// Whether each container that has statistics is listed as running.
fn has_all(listing: &Listing, summary: &Summary) -> bool {
    let pods = points::by_name(Some(listing));
    summary.pods.iter().all(|PodStats { pod_ref, containers, .. }| {
        let pod = pods.get(&(pod_ref.namespace.as_str(), pod_ref.name.as_str()));
        let runs = |name: &str| {
            pod.is_some_and(|pod| {
                pod.containers.iter().any(|listed| listed.is_running && listed.name == name)
            })
        };
        containers.iter().all(|container| runs(&container.name))
    })
}

impl InputPlugin for Options {
    fn budget(&self, _: u64) -> Budget {
        Budget { memory: MAX_ANSWER_BYTES as u64, connections: 1, ..Budget::default() }
    }

    fn files(&self) -> Files {
        Files::read_all(self.tls.files().chain([self.bearer_token.as_str()]))
    }

    fn check(&self, host: &Host) -> Result<(), OptionError> {
        self.labels()?;
        self.client(host).map(drop)
    }

    fn remarks(&self, host: Option<&Host>) -> Vec<OptionError> {
        let mut remarks = self.tls.remarks(self.url.starts_with("https"));
        remarks.extend(host.and_then(|_| unreadable(&self.bearer_token)));
        if self.url.is_empty() {
            remarks.retain(|remark| remark.option != "insecure_skip_verify");
            let mut what = "is empty: Telegraf asks the kubelets of all nodes then, this agent that of its own: run one on each, and write https://$NODE_IP:10250".to_owned();
            if self.tls.tls_ca.is_empty() || self.tls.insecure_skip_verify {
                what = format!("{what}; {UNCHECKED}");
            }
            remarks.push(OptionError::new("url", what));
        }
        if !self.label_include.is_empty() && self.label_exclude.iter().any(|label| label == "*") {
            let what =
                "has no effect: `label_exclude` takes every label away, unless it is set: label_exclude = []";
            remarks.push(OptionError::new("label_include", what));
        }
        remarks
    }

    fn build(self: Box<Self>, shared: &Arc<Shared>) -> Result<Box<dyn Input>, StartError> {
        Ok(Box::new(Kubernetes::new(*self, shared)?))
    }
}

#[async_trait::async_trait]
impl Input for Kubernetes {
    fn name(&self) -> &'static str {
        "kubernetes"
    }

    async fn gather(&mut self, gathered: &mut Gathered) -> Result<(), GatherError> {
        let start = Instant::now();
        // Before waiting, so that the figures are of the gather's time.
        let known = self.kubelet.latest();
        self.live.read(pods(known.as_deref()), &self.shared);
        let summary = self.summary(start).await;
        let listing = self.kubelet.latest();
        if listing.as_ref().map(Arc::as_ptr) != known.as_ref().map(Arc::as_ptr) {
            self.live.read(pods(listing.as_deref()), &self.shared);
        }
        let data = KubeletData { listing: listing.as_deref(), summary: summary.as_ref() };
        points::add(&data, self.live.figures(), &self.node_metric_name, gathered);
        self.live.end(pods(listing.as_deref()));
        if summary.is_some() { Ok(()) } else { Err(GatherError::Counted) }
    }
}

#[cfg(test)]
mod tests;
