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
mod room;
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
use self::room::Held;
use self::scrape::{ScrapeError, Scraped, Scraper};
use self::target::Target;
use super::{GatherError, Gathered, Input, InputPlugin, Shared, StartError};
use crate::host::Host;
use crate::identity::kubelet::{Kubelet, unreadable};
use crate::options::OptionError;
use crate::point::{Point, Timestamp};
use crate::service::budget::Budget;
use crate::service::privilege::Files;

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
    scrapes: JoinSet<Done>,
    running: BTreeSet<String>,
    failures: Failures,
    /// The memory of the points of the last gather.
    held: Vec<Held>,
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

/// What is done at a gather: a scrape of one page, or of those at all addresses of a name.
struct Job {
    target: Target,
    is_service: bool,
}

impl Job {
    async fn run(self, scraper: &Arc<Scraper>, time: Timestamp) -> Vec<(String, Scraped)> {
        let Self { target, is_service } = self;
        if !is_service {
            let scraped = scraper.scrape(&target, time).await;
            return vec![(target.shown, scraped)];
        }
        let found = match addresses(&target).await {
            Ok(found) => found,
            Err(error) => {
                return vec![(target.shown, Scraped { points: Vec::new(), held: None, result: Err(error) })];
            }
        };
        let mut scrapes = JoinSet::new();
        for target in found {
            let scraper = Arc::clone(scraper);
            let scrape = async move { (target.url.to_string(), scraper.scrape(&target, time).await) };
            scrapes.spawn(scrape.in_current_span());
        }
        scrapes.join_all().await
    }
}

/// A target at each address of its host.
async fn addresses(service: &Target) -> Result<Vec<Target>, ScrapeError> {
    let host = service.url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = service.url.port_or_known_default().unwrap_or(80);
    let found = tokio::net::lookup_host((host, port)).await;
    let found =
        found.map_err(|error| ScrapeError::NoAnswer(format!("the name {host} is not found: {error}")))?;
    Ok(found.filter_map(|address| service.at(address.ip())).collect())
}

/// What was scraped for a job, by the names that targets have in messages.
type Done = (String, Vec<(String, Scraped)>);

/// Which targets fail, by job, and how: logged when it begins, when it is another failure, and when it is over.
#[derive(Default)]
struct Failures(BTreeMap<String, BTreeMap<String, Failure>>);

#[derive(PartialEq, Eq)]
enum Failure {
    Scrape(Discriminant<ScrapeError>),
    /// A pod whose annotations make no URL.
    Annotations,
}

impl Failures {
    fn note(&mut self, job: &str, name: &str, failure: Option<(Failure, String)>) {
        let known = self.0.entry(job.to_owned()).or_default();
        match failure {
            None => {
                if known.remove(name).is_some() {
                    tracing::info!(target_url = name, "the target is scraped again");
                }
            }
            Some((failure, error)) if known.get(name) == Some(&failure) => {
                tracing::debug!(target_url = name, %error, "the target still fails");
            }
            Some((failure, error)) => {
                tracing::error!(target_url = name, %error, "cannot scrape; it is tried again at each gather");
                known.insert(name.to_owned(), failure);
            }
        }
    }

    /// Forgets the targets of a job that are not among these.
    fn keep(&mut self, job: &str, names: &BTreeSet<String>) {
        if let Some(known) = self.0.get_mut(job) {
            known.retain(|name, _| names.contains(name));
        }
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
            held: Vec::new(),
            last_gather: None,
        })
    }

    /// Starts a job, unless it is still running.
    fn start(&mut self, target: Target, is_service: bool, time: Timestamp) {
        let name = target.shown.clone();
        if self.running.insert(name.clone()) {
            let (scraper, job) = (Arc::clone(&self.scraper), Job { target, is_service });
            let run = async move { (name, job.run(&scraper, time).await) };
            self.scrapes.spawn(run.in_current_span());
        }
    }

    /// Starts the scrapes of pods; at first the list of them is waited for until `deadline`. Gives the names of all jobs.
    async fn start_pods(&mut self, first_until: Option<Instant>, time: Timestamp) -> BTreeSet<String> {
        let Some(pods) = &self.pods else { return BTreeSet::new() };
        if let Some(deadline) = first_until.filter(|_| pods.kubelet.latest().is_none()) {
            // The first listing is under way; its failure has been logged.
            let _ = tokio::time::timeout_at(deadline, pods.kubelet.list(Instant::now())).await;
        }
        let listing = pods.kubelet.latest();
        let listed = listing.as_ref().map_or(&[][..], |listing| &listing.pods);
        let targets: Vec<_> = pods.rules.targets(listed).collect();
        let mut names = BTreeSet::new();
        for target in targets {
            match target {
                Ok(target) => {
                    names.insert(target.shown.clone());
                    self.start(target, false, time);
                }
                Err(error) => {
                    names.insert(error.clone());
                    self.failures.note(&error, &error, Some((Failure::Annotations, error.clone())));
                }
            }
        }
        names
    }

    /// Takes what a job gave; whether that is all of it.
    fn take(&mut self, (job, scraped): Done, points: &mut Vec<Point>) -> bool {
        self.running.remove(&job);
        let mut is_whole = true;
        let mut names = BTreeSet::new();
        for (name, scraped) in scraped {
            points.extend(scraped.points);
            self.held.extend(scraped.held);
            let failure = scraped.result.err();
            is_whole &= failure.is_none();
            let failure = failure.map(|error| (Failure::Scrape(discriminant(&error)), error.to_string()));
            self.failures.note(&job, &name, failure);
            names.insert(name);
        }
        self.failures.keep(&job, &names);
        is_whole
    }
}

impl InputPlugin for Options {
    fn budget(&self, _: u64) -> Budget {
        Budget { memory: self.room() as u64, connections: self.urls.len() as u64, ..Budget::default() }
    }

    fn files(&self) -> Files {
        Files::read_all(self.tls.files().chain([self.bearer_token.as_str()]))
    }

    fn check(&self, host: &Host) -> Result<(), OptionError> {
        self.setup(host).map(drop)
    }

    fn remarks(&self, host: Option<&Host>) -> Vec<OptionError> {
        let token = host.and_then(|_| unreadable(&self.bearer_token));
        Self::remarks(self).into_iter().chain(token).collect()
    }

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
        let is_first = self.last_gather.is_none();
        let wait = match self.last_gather.replace(start) {
            _ if gathered.is_last => LAST_WAIT,
            Some(last) => ((start - last) / 2).min(MAX_WAIT),
            None => FIRST_WAIT,
        };
        // Those points have been handed on.
        self.held.clear();
        let mut is_whole = true;
        // What came since the gather before.
        while let Some(late) = self.scrapes.try_join_next() {
            is_whole &= late.is_ok_and(|late| self.take(late, &mut gathered.points));
        }
        let mut jobs = BTreeSet::new();
        for (targets, is_service) in [(self.urls.clone(), false), (self.services.clone(), true)] {
            for target in targets {
                jobs.insert(target.shown.clone());
                self.start(target, is_service, gathered.time);
            }
        }
        jobs.extend(
            self.start_pods((is_first || gathered.is_last).then_some(start + wait), gathered.time).await,
        );
        self.failures.0.retain(|job, _| jobs.contains(job));
        while let Ok(Some(scraped)) = tokio::time::timeout_at(start + wait, self.scrapes.join_next()).await {
            is_whole &= scraped.is_ok_and(|scraped| self.take(scraped, &mut gathered.points));
        }
        if is_whole { Ok(()) } else { Err(GatherError::Counted) }
    }
}

/// Parses any text as what pods and people write of targets, as a fuzzer does.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn parse_any(text: &str) {
    let _ = (Target::parse(text), selector::Selector::parse(text));
}

#[cfg(test)]
mod tests;
