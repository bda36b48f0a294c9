//! `[[inputs.prometheus]]`: the metrics of other programs, from their pages in Prometheus' formats.
//!
//! All targets are scraped at once, each in a task of its own. A gather waits for them a short time, and what comes later
//! belongs to the next gather, under its own time: a target that is slow or dead costs its own points and no other's. What
//! lasts is logged when it begins and when it ends.
//!
//! Targets are `urls`, the addresses of `kubernetes_services`, and the pods of this node that ask for it, which the kubelet
//! lists. Names and types of the points are Telegraf's.

mod bound;
mod options;
mod pods;
mod points;
mod scrape;
mod selector;
mod target;

use std::collections::{BTreeMap, BTreeSet};
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Instrument as _;

pub use self::options::PrometheusOptions as Options;
use self::options::{Discovery, Setup};
use self::scrape::{ScrapeError, Scraped, Scraper};
use self::target::Target;
use super::{GatherError, Gathered, Input, InputPlugin, Shared, StartError};
use crate::identity::kubelet::Kubelet;
use crate::point::Point;

/// How long a gather waits for its targets at most; a page of a thousand samples comes within some 10 ms.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// The same for the first gather, whose interval is not known yet.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The same for the last gather, after which nothing is taken any more.
const LAST_WAIT: Duration = Duration::from_secs(5);
/// From a failed listing of pods to the next one.
const RETRY_PERIOD: Duration = Duration::from_secs(5);

/// The input.
pub(super) struct Prometheus {
    scraper: Arc<Scraper>,
    urls: Vec<Target>,
    /// Names that are looked up at each gather.
    services: Vec<Target>,
    pods: Option<Pods>,
    /// Scrapes that are running; one may outlast a gather.
    scrapes: JoinSet<(String, Scraped)>,
    running: BTreeSet<String>,
    failures: Failures,
    last_gather: Option<Instant>,
}

/// The pods of this node, listed from time to time.
struct Pods {
    kubelet: Arc<Kubelet>,
    rules: pods::PodRules,
    _lister: JoinSet<()>,
}

impl Pods {
    fn new(Discovery { client, rules, period }: Discovery, shared: &Arc<Shared>) -> Self {
        let annotations = rules.annotations.clone();
        // The selector may ask for any label.
        let kubelet = Kubelet::new(
            client,
            &shared.names,
            |_| true,
            move |key| pods::keeps_annotation(annotations.as_ref(), key),
        );
        let mut lister = JoinSet::new();
        let listed = Arc::clone(&kubelet);
        let list = async move {
            loop {
                // What failed has been logged; the pods that are known stay.
                let rest = if listed.list(Instant::now()).await.is_ok() { period } else { RETRY_PERIOD };
                tokio::time::sleep(rest).await;
            }
        };
        lister.spawn(list.in_current_span());
        Self { kubelet, rules, _lister: lister }
    }
}

/// Which targets fail, and how: logged when it begins, when it is another failure, and when it is over.
#[derive(Default)]
struct Failures(BTreeMap<String, Failure>);

#[derive(PartialEq, Eq)]
enum Failure {
    Scrape(Discriminant<ScrapeError>),
    /// There is no URL to scrape.
    NoTarget(String),
}

impl Failures {
    fn note(&mut self, name: &str, result: Result<(), (Failure, String)>) {
        match result {
            Ok(()) => {
                if self.0.remove(name).is_some() {
                    tracing::info!(target_url = name, "the target is scraped again");
                }
            }
            Err((failure, error)) if self.0.get(name) == Some(&failure) => {
                tracing::debug!(target_url = name, %error, "the target still fails");
            }
            Err((failure, error)) => {
                tracing::error!(target_url = name, %error, "cannot scrape; it is tried again at each gather");
                self.0.insert(name.to_owned(), failure);
            }
        }
    }

    /// Forgets targets that are gone.
    fn keep(&mut self, names: &BTreeSet<String>) {
        self.0.retain(|name, _| names.contains(name));
    }
}

impl Prometheus {
    fn new(options: Options, shared: &Arc<Shared>) -> Result<Self, StartError> {
        let Setup { scraper, urls, services, discovery } = options.setup(&shared.host)?;
        Ok(Self {
            scraper: Arc::new(scraper),
            urls,
            services,
            pods: discovery.map(|discovery| Pods::new(discovery, shared)),
            scrapes: JoinSet::new(),
            running: BTreeSet::new(),
            failures: Failures::default(),
            last_gather: None,
        })
    }

    /// Every target that there is now, by the name that it has in messages; waits for names and pods until `deadline`.
    async fn targets(&mut self, deadline: Instant) -> BTreeMap<String, Target> {
        let mut targets: BTreeMap<String, Target> =
            self.urls.iter().map(|target| (target.shown.clone(), target.clone())).collect();
        let mut names: BTreeSet<String> = targets.keys().cloned().collect();
        for service in &self.services {
            names.insert(service.shown.clone());
            let found = tokio::time::timeout_at(deadline, addresses(service)).await;
            let found = found.unwrap_or_else(|_| Err("the name is not found in time".into()));
            match found {
                Ok(found) => {
                    self.failures.note(&service.shown, Ok(()));
                    targets.extend(found.into_iter().map(|target| (target.url.to_string(), target)));
                }
                Err(error) => {
                    self.failures.note(&service.shown, Err((Failure::NoTarget(error.clone()), error)));
                }
            }
        }
        if let Some(pods) = &self.pods {
            if pods.kubelet.latest().is_none() {
                // The first listing is under way; its failure has been logged.
                let _ = tokio::time::timeout_at(deadline, pods.kubelet.list(Instant::now())).await;
            }
            let listing = pods.kubelet.latest();
            let listed = listing.as_ref().map_or(&[][..], |listing| &listing.pods);
            for target in pods.rules.targets(listed) {
                match target {
                    Ok(target) => drop(targets.insert(target.shown.clone(), target)),
                    Err(error) => {
                        names.insert(error.clone());
                        self.failures.note(&error, Err((Failure::NoTarget(error.clone()), error.clone())));
                    }
                }
            }
        }
        names.extend(targets.keys().cloned());
        self.failures.keep(&names);
        targets
    }

    /// Takes what a scrape gave; whether that is all of it.
    fn take(&mut self, (name, scraped): (String, Scraped), points: &mut Vec<Point>) -> bool {
        self.running.remove(&name);
        points.extend(scraped.points);
        let is_whole = scraped.result.is_ok();
        let result =
            scraped.result.map_err(|error| (Failure::Scrape(discriminant(&error)), error.to_string()));
        self.failures.note(&name, result);
        is_whole
    }
}

/// A target at each address of its host.
async fn addresses(service: &Target) -> Result<Vec<Target>, String> {
    let host = service.url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = service.url.port_or_known_default().unwrap_or(80);
    let found = tokio::net::lookup_host((host, port)).await;
    let found = found.map_err(|error| format!("the name {host} is not found: {error}"))?;
    Ok(found.filter_map(|address| service.at(address.ip())).collect())
}

impl InputPlugin for Options {
    fn build(self: Box<Self>, shared: &Arc<Shared>) -> Result<Box<dyn Input>, StartError> {
        Ok(Box::new(Prometheus::new(*self, shared)?))
    }
}

#[async_trait::async_trait]
impl Input for Prometheus {
    fn name(&self) -> &'static str {
        "prometheus"
    }

    async fn gather(&mut self, gathered: &mut Gathered) -> Result<(), GatherError> {
        let start = Instant::now();
        let wait = match self.last_gather.replace(start) {
            _ if gathered.is_last => LAST_WAIT,
            Some(last) => ((start - last) / 2).min(MAX_WAIT),
            None => FIRST_WAIT,
        };
        let mut is_whole = true;
        // What came since the gather before.
        while let Some(late) = self.scrapes.try_join_next() {
            is_whole &= late.is_ok_and(|late| self.take(late, &mut gathered.points));
        }
        for (name, target) in self.targets(start + wait).await {
            // A scrape that is still running is not doubled.
            if self.running.insert(name.clone()) {
                let (scraper, time) = (Arc::clone(&self.scraper), gathered.time);
                let scrape = async move { (name, scraper.scrape(&target, time).await) };
                self.scrapes.spawn(scrape.in_current_span());
            }
        }
        while let Ok(Some(scraped)) = tokio::time::timeout_at(start + wait, self.scrapes.join_next()).await {
            is_whole &= scraped.is_ok_and(|scraped| self.take(scraped, &mut gathered.points));
        }
        if is_whole { Ok(()) } else { Err(GatherError::Counted) }
    }
}

#[cfg(test)]
mod tests;
