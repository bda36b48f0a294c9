//! `[[outputs.prometheus_client]]`: a page with the latest value of each series, which Prometheus asks for.
//!
//! Options, names and types of metrics are Telegraf's (plugins/outputs/prometheus_client, plugins/serializers/prometheus). Lines
//! come as to every output, and are taken apart into a collection; whoever asks gets all that it has. The socket outlives a reload,
//! and so does the collection, so that no scrape finds less than the one before.

mod accept;
mod collection;
mod conventions;
mod names;
mod networks;
mod page;
mod profile;
mod samples;
mod server;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use self::collection::{Collection, Refused};
use self::names::Sanitization;
use self::networks::Network;
pub use self::profile::markdown;
use self::profile::{PROFILES, Profile, profile};
use self::samples::{MetricVersion, Naming, Sample};
use self::server::{MAX_PAGES, PageServer, Site};
use super::batch::Encoding;
use super::{Answer, Output, OutputPlugin};
use crate::line_protocol::Format;
use crate::listen::connections::Admission;
use crate::listen::endpoint::{Endpoint, MAX_CONNECTIONS};
use crate::listen::sockets::Sockets;
use crate::listen::tls::acceptor;
use crate::listen::{listened_on, serve};
use crate::options::OptionError;
use crate::options::filter::Patterns;
use crate::options::secret::Secret;
use crate::options::tls::ServerTls;
use crate::parsers::line_protocol::{Precision, parse};
use crate::point::{Point, Timestamp};
use crate::service::budget::Budget;
use crate::service::privilege::Files;
use crate::service::telemetry::Telemetry;

/// What it is counted under.
const NAME: &str = "prometheus_client";
/// Telegraf's, also in place of less than a second.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of all series: some hundred thousand.
const LIMIT: usize = 32 << 20;

/// The section `[[outputs.prometheus_client]]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// `:9273`, `localhost:9273`, `unix:///path`.
    pub listen: String,
    /// How long a connection may have no whole request; below a second means 10 s.
    #[serde(deserialize_with = "crate::options::duration::deserialize")]
    pub read_timeout: Duration,
    /// How long a client may take nothing of the page; likewise.
    #[serde(deserialize_with = "crate::options::duration::deserialize")]
    pub write_timeout: Duration,
    /// Whose names are used: `cadvisor`, `node_exporter`, `prometheus` for its conventions; empty means Telegraf's.
    pub profile: String,
    /// How points become metrics: 1 or 2; 0 means 1.
    #[serde(deserialize_with = "crate::options::value::number_or::<_, _, 1>")]
    pub metric_version: u8,
    /// Who may see the page; empty means everybody.
    pub basic_username: Secret,
    /// Its password.
    pub basic_password: Secret,
    /// Ranges of addresses that may see it; empty means all.
    pub ip_range: Vec<String>,
    /// Where the page is.
    pub path: String,
    /// Series that were not written for so long are left out; 0 keeps all.
    #[serde(deserialize_with = "crate::options::duration::deserialize")]
    pub expiration_interval: Duration,
    /// Telegraf's figures about itself, which are not here.
    pub collectors_exclude: Vec<String>,
    /// Fields that are texts become labels; otherwise they are left out.
    pub string_as_label: bool,
    /// `legacy` or `utf8`: which characters names keep.
    pub name_sanitization: String,
    /// Samples have the times of their points.
    pub export_timestamp: bool,
    /// Headers of each answer.
    pub http_headers: BTreeMap<String, Secret>,
    /// Metrics whose type is named.
    pub metric_types: MetricTypes,
    /// TLS.
    pub server_tls: ServerTls,
}

/// Globs of metrics' names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricTypes {
    /// These are counters.
    pub counter: Vec<String>,
    /// These are gauges, also where they are among the counters.
    pub gauge: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: ":9273".into(),
            read_timeout: TIMEOUT,
            write_timeout: TIMEOUT,
            profile: String::new(),
            metric_version: 1,
            basic_username: Secret::default(),
            basic_password: Secret::default(),
            ip_range: Vec::new(),
            path: "/metrics".into(),
            expiration_interval: Duration::from_secs(60),
            collectors_exclude: Vec::new(),
            string_as_label: true,
            name_sanitization: "legacy".into(),
            export_timestamp: false,
            http_headers: BTreeMap::new(),
            metric_types: MetricTypes::default(),
            server_tls: ServerTls::default(),
        }
    }
}

impl Options {
    /// The address, as everything that listens here has it.
    fn address(&self) -> String {
        // What is empty is the default, in Telegraf too.
        let listen = if self.listen.is_empty() { ":9273" } else { &self.listen };
        match listen.split_once("://") {
            Some(("http" | "tcp", rest)) => rest.split('/').next().unwrap_or_default().to_owned(),
            _ => listen.to_owned(),
        }
    }

    /// How metrics are named.
    fn names(&self) -> Result<Names, OptionError> {
        let naming = self.naming()?;
        match self.profile.as_str() {
            "" => Ok(Names::Telegraf(naming)),
            conventions::NAME => Ok(Names::Conventions(naming)),
            name => profile(name).map(Names::Of).ok_or_else(|| {
                let names = PROFILES.map(|profile| format!("\"{}\"", profile.name)).join(", ");
                let what = format!("`{name}`: it is {names} or \"{}\", or empty", conventions::NAME);
                OptionError::new("profile", what)
            }),
        }
    }

    fn naming(&self) -> Result<Naming, OptionError> {
        let version = match self.metric_version {
            1 => MetricVersion::V1,
            2 => MetricVersion::V2,
            other => return Err(OptionError::new("metric_version", format!("`{other}`: it is 1 or 2"))),
        };
        let sanitization = match self.name_sanitization.as_str() {
            "" | "legacy" => Sanitization::Legacy,
            "utf8" => Sanitization::Utf8,
            other => {
                let what = format!("`{other}`: it is \"legacy\" or \"utf8\"");
                return Err(OptionError::new("name_sanitization", what));
            }
        };
        let patterns = |list: &[String]| {
            Patterns::new(list)
                .map_err(|error| OptionError::new("metric_types", format!("bad glob: {error}")))
        };
        let (counters, gauges) = (patterns(&self.metric_types.counter)?, patterns(&self.metric_types.gauge)?);
        Ok(Naming { version, sanitization, string_as_label: self.string_as_label, counters, gauges })
    }

    fn site(&self) -> Result<Site, OptionError> {
        let networks = self.ip_range.iter().map(|range| range.parse::<Network>()).collect::<Result<_, _>>();
        let networks = networks.map_err(|what| OptionError::new("ip_range", what))?;
        let header = |(name, value): (&String, &Secret)| {
            let wrong =
                |what: &dyn std::fmt::Display| OptionError::new("http_headers", format!("`{name}`: {what}"));
            let value = HeaderValue::from_str(value.expose()).map_err(|error| wrong(&error))?;
            Ok((HeaderName::from_bytes(name.as_bytes()).map_err(|error| wrong(&error))?, value))
        };
        let headers = self.http_headers.iter().map(header).collect::<Result<_, OptionError>>()?;
        let path = match self.path.as_str() {
            "" => "/metrics".to_owned(),
            path if path.starts_with('/') => path.to_owned(),
            path => {
                let what = format!("`{path}` must begin with a slash, such as /metrics");
                return Err(OptionError::new("path", what));
            }
        };
        let timeout = |timeout: Duration| if timeout < Duration::from_secs(1) { TIMEOUT } else { timeout };
        Ok(Site {
            path,
            user: (self.basic_username.clone(), self.basic_password.clone()),
            networks,
            headers,
            export_timestamp: self.export_timestamp,
            read_timeout: timeout(self.read_timeout),
            write_timeout: timeout(self.write_timeout),
        })
    }

    /// Whether what is collected with these options is what is collected with others.
    fn collects_as(&self, other: &Self) -> bool {
        let of = |options: &Self| {
            let Self { profile, metric_version, string_as_label, name_sanitization, metric_types, .. } =
                options;
            let names = (profile.clone(), name_sanitization.clone(), metric_types.clone());
            (names, *metric_version, *string_as_label)
        };
        of(self) == of(other) && self.expiration_interval == other.expiration_interval
    }
}

impl OutputPlugin for Options {
    fn listens_on(&self) -> Option<String> {
        Some(self.address())
    }

    fn files(&self) -> Files {
        listened_on(&self.address(), &self.server_tls)
    }

    fn budget(&self) -> Budget {
        let memory = LIMIT * (1 + MAX_PAGES) + MAX_CONNECTIONS * serve::MAX_BUFFER;
        Budget { memory: memory as u64, disk: 0, connections: MAX_CONNECTIONS as u64 }
    }

    fn remarks(&self) -> Vec<OptionError> {
        let mut remarks = Vec::new();
        if !self.ip_range.is_empty() && self.address().starts_with("unix:") {
            let what = "has no effect on a unix socket: who may open its file may see the page";
            remarks.push(OptionError::new("ip_range", what));
        }
        let names = [
            ("metric_version", self.metric_version != 1),
            ("metric_types", self.metric_types != MetricTypes::default()),
            ("name_sanitization", !matches!(self.name_sanitization.as_str(), "" | "legacy")),
        ];
        for (option, _) in names.into_iter().filter(|(_, is_set)| *is_set && !self.profile.is_empty()) {
            remarks.push(OptionError::new(
                option,
                "has no effect with `profile`, which says how metrics are named",
            ));
        }
        remarks
    }

    fn build(self: Box<Self>) -> Result<Vec<Box<dyn Output>>, OptionError> {
        Ok(vec![Box::new(PrometheusClient::new(*self)?)])
    }
}

/// What is collected, and with which options.
struct Collected {
    options: Options,
    collection: Arc<Mutex<Collection>>,
}

/// How metrics are named.
enum Names {
    Telegraf(Naming),
    /// As another program names them.
    Of(&'static Profile),
    /// As Prometheus' conventions have it.
    Conventions(Naming),
}

impl Names {
    fn samples<'a>(&self, point: &'a Point) -> Vec<Sample<'a>> {
        match self {
            Self::Telegraf(naming) => naming.samples(point),
            Self::Of(profile) => profile.samples(point),
            Self::Conventions(naming) => conventions::samples(naming, point),
        }
    }
}

/// A page with the latest value of each series.
pub(crate) struct PrometheusClient {
    options: Options,
    names: Names,
    site: Site,
    admission: Admission,
    collection: Arc<Mutex<Collection>>,
    /// Once it is bound.
    endpoint: Option<Endpoint>,
}

impl PrometheusClient {
    /// Checks the options; nothing is bound.
    ///
    /// # Errors
    /// An option that cannot be used, and what to do.
    pub(crate) fn new(options: Options) -> Result<Self, OptionError> {
        Endpoint::check(&options.address()).map_err(|what| OptionError::new("listen", what))?;
        let (names, site) = (options.names()?, options.site()?);
        let admission = Admission { tls: acceptor(&options.server_tls)?, ..Admission::default() };
        let collection = Arc::new(Mutex::new(Collection::new(LIMIT, options.expiration_interval)));
        Ok(Self { options, names, site, admission, collection, endpoint: None })
    }

    async fn take(&self, lines: &[Bytes]) -> Answer {
        let mut collection = self.collection.lock().await;
        let (now, received) = (Instant::now(), Timestamp::now());
        let (mut dropped, mut reason) = (0, None);
        for line in lines {
            let text = String::from_utf8_lossy(line);
            let mut refused = None;
            for line in parse(&text, Precision::Nanoseconds).filter_map(Result::ok) {
                let point = line.point(received);
                for sample in self.names.samples(&point) {
                    let name = sample.name.to_string();
                    if let Err(why) = collection.add(sample, now) {
                        refused = Some((why, name));
                    }
                }
            }
            dropped += u64::from(refused.is_some());
            reason = reason.or(refused);
        }
        collection.expire(now);
        let reason = match reason {
            None => String::new(),
            Some((Refused::Full, name)) => format!(
                "the page has as many series as it may, {} MiB of them, and there is no room for one of {name}: leave out some by `namepass`, `fieldinclude` or `tagexclude`",
                LIMIT >> 20
            ),
            Some((Refused::Mixed, name)) => {
                format!(
                    "{name} is the name of a histogram or summary and of another metric: rename one of them"
                )
            }
        };
        Answer::Stored { dropped, reason }
    }
}

#[async_trait::async_trait]
impl Output for PrometheusClient {
    fn place(&self) -> String {
        let scheme = if self.admission.tls.is_some() { "https" } else { "http" };
        let at = self.endpoint.as_ref().map_or_else(|| self.options.address(), |at| at.name().to_owned());
        match at.strip_prefix("unix://") {
            Some(path) => format!("{scheme}+unix://{path}{}", self.site.path),
            None => format!("{scheme}://{}{}", at.trim_start_matches("tcp://"), self.site.path),
        }
    }

    fn destination(&self) -> String {
        self.options.address()
    }

    fn bind(&mut self, sockets: &Sockets, telemetry: &Telemetry) -> Result<(), OptionError> {
        let endpoint = Endpoint::bind(NAME, &self.options.address(), (sockets, telemetry))
            .map_err(|what| OptionError::local("listen", what))?;
        // Of the one that this one succeeds, unless it has other series.
        let left = endpoint.socket().left::<Collected>();
        if let Some(left) = left.filter(|left| left.options.collects_as(&self.options)) {
            self.collection = Arc::clone(&left.collection);
        }
        self.endpoint = Some(endpoint);
        Ok(())
    }

    async fn connect(&self) {
        if let Some(endpoint) = &self.endpoint {
            let (options, collection) = (self.options.clone(), Arc::clone(&self.collection));
            endpoint.socket().leave(Arc::new(Collected { options, collection: Arc::clone(&collection) }));
            endpoint.serve(self.admission.clone(), Arc::new(PageServer::new(self.site.clone(), collection)));
        }
    }

    fn encoding(&self) -> Encoding {
        // Numbers stay what they are.
        let format = Format { uint_support: true, ..Format::default() };
        Encoding { format, ..Encoding::default() }
    }

    async fn write(&self, _route: &[Option<String>], lines: &[Bytes]) -> Answer {
        self.take(lines).await
    }

    async fn check(&self) -> Vec<(String, Result<String, String>)> {
        vec![(self.place(), Ok("is where others ask".into()))]
    }
}

#[cfg(test)]
mod tests;
