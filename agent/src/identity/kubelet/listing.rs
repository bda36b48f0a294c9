//! The list of a kubelet's pods, kept up to date, and the names of pods and containers from it.
//!
//! [`Kubelet`] lists the pods in a task of its own and never delays a gather. A failure is logged when it starts and when it
//! is over.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::client::KubeletClient;
use super::error::{Endpoint, Error};
use super::failures::Failures;
use super::pods::Pod;
use super::summary::Summary;
use crate::identity::LISTED_WITHIN;
use crate::identity::names::{self, Names, Source};

/// The list of pods is no older than this, whatever happens: labels and images change without a new container.
const LIST_PERIOD: Duration = Duration::from_secs(60);
/// The wait after a failure.
const RETRY_PERIOD: Duration = Duration::from_secs(5);
/// From the first request for a name to the next listing: a container's cgroup exists before the kubelet knows its id.
const REQUEST_DELAY: Duration = Duration::from_millis(500);
/// From one listing to the next while names are requested.
const REQUEST_PERIOD: Duration = Duration::from_secs(2);
/// The kubelet spends at most one part in this many of its time on such listings.
const REQUEST_SHARE: u32 = 10;

/// The pods at one time.
#[derive(Debug)]
pub struct Listing {
    /// When they were requested: whatever was gone by then is not in it.
    pub requested: Instant,
    /// The pods, with the selected labels.
    pub pods: Vec<Pod>,
}

/// One kubelet, shared by the gathers and the task that keeps names.
pub struct Kubelet {
    client: KubeletClient,
    names: Arc<Names>,
    keeps_label: Box<dyn Fn(&str) -> bool + Send + Sync>,
    keeps_annotation: Box<dyn Fn(&str) -> bool + Send + Sync>,
    latest: Mutex<Option<Arc<Listing>>>,
    /// Held during a listing: one request at a time, and whoever waited may not need another.
    listing: tokio::sync::Mutex<()>,
    failures: Mutex<Failures>,
}

/// Names containers and pods until it is dropped.
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
    /// The kubelet of `client`; of the pods' labels and annotations those are kept whose key is accepted.
    pub fn new(
        client: KubeletClient,
        names: &Arc<Names>,
        keeps_label: impl Fn(&str) -> bool + Send + Sync + 'static,
        keeps_annotation: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            client,
            names: Arc::clone(names),
            keeps_label: Box::new(keeps_label),
            keeps_annotation: Box::new(keeps_annotation),
            latest: Mutex::default(),
            listing: tokio::sync::Mutex::default(),
            failures: Mutex::default(),
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

    /// Lists the pods at the start, from time to time, and soon after a name was requested; and once more when the kubelet
    /// had the time to list it, because what it does not list then is a pause container.
    async fn keep(self: Arc<Self>) {
        const SETTLED: Duration = LISTED_WITHIN.saturating_add(REQUEST_DELAY);
        let mut settled = Some(Instant::now() + SETTLED);
        loop {
            // Before the listing, so that no request is missed.
            let requested = self.names.requested();
            let start = Instant::now();
            settled = settled.filter(|settled| start < *settled);
            let listed = self.list(start).await;
            let took = start.elapsed();
            let (rest, period) = match listed {
                Ok(_) => (REQUEST_PERIOD.max(took * REQUEST_SHARE), LIST_PERIOD),
                // Requests do not bring it back sooner.
                Err(_) => (took + RETRY_PERIOD, took + RETRY_PERIOD),
            };
            let rested = start + rest;
            let request = async {
                requested.await;
                tokio::time::sleep_until(rested.max(Instant::now() + REQUEST_DELAY)).await;
            };
            let next = settled.map_or(start + period, |settled| settled.min(start + period));
            tokio::select! {
                () = request => settled = Some(Instant::now() + SETTLED),
                () = tokio::time::sleep_until(rested.max(next)) => {}
            }
        }
    }

    /// The pods as they were at `since` or later: requested, unless another caller just did. Names them.
    ///
    /// # Errors
    /// Why there is no usable answer. The listing before stays.
    pub async fn list(&self, since: Instant) -> Result<Arc<Listing>, Error> {
        let _guard = self.listing.lock().await;
        if let Some(listing) = self.latest().filter(|listing| listing.requested >= since) {
            return Ok(listing);
        }
        let requested = Instant::now();
        let mut pods = self.noted(Endpoint::Pods, self.client.pods().await)?;
        for pod in &mut pods {
            pod.labels.retain(|key, _| (self.keeps_label)(key));
            pod.annotations.retain(|key, _| (self.keeps_annotation)(key));
        }
        self.name(&pods, requested.into_std());
        let listing = Arc::new(Listing { requested, pods });
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
    /// Why there is no usable answer.
    pub async fn summary(&self) -> Result<Summary, Error> {
        self.noted(Endpoint::Summary, self.client.summary().await)
    }

    /// Whether the latest request to any endpoint failed: what is known may be long out of date.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        lock(&self.failures).is_any()
    }

    fn name(&self, pods: &[Pod], requested: std::time::Instant) {
        let names: &Names = &self.names;
        for pod in pods {
            for uid in &pod.uids {
                let name = names::PodName {
                    name: pod.name.clone(),
                    namespace: pod.namespace.clone(),
                    node: pod.node.clone(),
                    workload: pod.workload.clone(),
                    has_all_containers: pod.has_all_statuses,
                };
                names.name_pod(Source::Kubelet, uid, name, requested);
            }
            for container in &pod.containers {
                for id in container.id.iter().chain(&container.last_id) {
                    let (name, image) = (container.name.clone(), container.image.clone());
                    names.name_container(
                        Source::Kubelet,
                        id,
                        names::ContainerName { name, image },
                        requested,
                    );
                }
            }
        }
        names.end_unlisted(Source::Kubelet, requested, std::time::Instant::now());
    }

    /// Notes whether an answer came, and logs when that changes.
    fn noted<T>(&self, endpoint: Endpoint, answer: Result<T, Error>) -> Result<T, Error> {
        let mut failures = lock(&self.failures);
        match &answer {
            Ok(_) => {
                if failures.succeeded(endpoint) {
                    tracing::info!(url = self.client.url(), "the kubelet answers again");
                }
            }
            Err(error) if failures.failed(endpoint, error) => {
                tracing::error!(
                    %error,
                    "no answer from the kubelet; what is known is kept, and the request is retried"
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

#[cfg(test)]
mod tests;
