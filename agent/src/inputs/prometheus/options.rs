//! The section `[[inputs.prometheus]]`: from Telegraf's options to what the input works with.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::pods::{Method, PodRules};
use super::points::Version;
use super::room::{MAX_PAGES, PER_PAGE_BYTE, Room};
use super::scrape::{Clients, Credentials, MAX_PAGE_BYTES, Reach, Scraper, headers};
use super::selector::Selector;
use super::target::Target;
use crate::host::Host;
use crate::identity::kubelet::{Access, KubeletClient, Token, node_url};
use crate::options::OptionError;
use crate::options::filter::IncludeExclude;
use crate::options::secret::Secret;
use crate::options::tls::Tls;
use crate::parsers::exposition::Format;

/// Telegraf's, for a whole request.
const DEFAULT_TIMEOUT_SECONDS: u64 = 5;
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(DEFAULT_TIMEOUT_SECONDS);
/// Telegraf's, from one listing of pods to the next.
const DEFAULT_POD_SCRAPE_INTERVAL: u8 = 60;

/// The section `[[inputs.prometheus]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrometheusOptions {
    /// The pages: `http`, `https`, `unix:///socket?path=/metrics`. Without a path, `/metrics`.
    pub urls: Vec<String>,
    /// 1: a measurement for each family; 2: one for all.
    #[serde(deserialize_with = "crate::options::value::number_or::<_, _, 1>")]
    pub metric_version: u8,
    /// The tag with the target's URL; empty means none.
    #[serde(deserialize_with = "tag_key")]
    pub url_tag: String,
    /// Samples have the gather's time, whatever theirs is.
    pub ignore_timestamp: bool,
    /// What every page is read as: `text` or `openmetrics-text`; empty means what it says it is.
    pub content_type_override: String,
    /// The largest page; 0 means 16 MiB. With its points it may take four times as much.
    #[serde(deserialize_with = "crate::options::duration::deserialize_size")]
    pub content_length_limit: usize,
    /// Adds the measurement `prometheus_request`.
    pub enable_request_metrics: bool,
    /// A file with a token, read for each request.
    pub bearer_token: String,
    /// The token itself, where no file is named.
    pub bearer_token_string: Secret,
    /// For basic authentication, where there is no token.
    pub username: Secret,
    /// Its password.
    pub password: Secret,
    /// Headers of each request, which win over the agent's own.
    pub http_headers: BTreeMap<String, Secret>,
    /// For a whole request.
    #[serde(deserialize_with = "crate::options::duration::deserialize_or::<_, DEFAULT_TIMEOUT_SECONDS>")]
    pub timeout: Duration,
    /// For the head of the answer; 0 means no limit but `timeout`.
    #[serde(deserialize_with = "crate::options::duration::deserialize")]
    pub response_timeout: Duration,
    /// A proxy's URL.
    pub http_proxy_url: String,
    /// The proxy that the environment names is used.
    pub use_system_proxy: bool,
    /// URLs whose name is looked up at each gather; each address that it has is a target.
    pub kubernetes_services: Vec<String>,
    /// The pods of this node are scraped.
    pub monitor_kubernetes_pods: bool,
    /// `annotations`, `settings` or `settings+annotations`.
    pub monitor_kubernetes_pods_method: String,
    /// With settings: `http` or `https`.
    pub monitor_kubernetes_pods_scheme: String,
    /// With settings: the path.
    pub monitor_kubernetes_pods_path: String,
    /// With settings: the port; 0 means 9102.
    pub monitor_kubernetes_pods_port: u16,
    /// The one namespace whose pods are scraped; empty means all.
    pub monitor_kubernetes_pods_namespace: String,
    /// Which labels the pods must have.
    pub kubernetes_label_selector: String,
    /// `node`, or empty: the pods of this node. `cluster`, which is what Telegraf takes empty for, is rejected.
    pub pod_scrape_scope: String,
    /// The node's address; empty means that of `$NODE_IP` or `$HOST_IP`, or this machine.
    pub node_ip: String,
    /// The kubelet's address, where it is not port 10250 of the node with any certificate.
    pub kubelet_url: String,
    /// From one listing of pods to the next, in seconds.
    #[serde(deserialize_with = "crate::options::value::number_or::<_, _, DEFAULT_POD_SCRAPE_INTERVAL>")]
    pub pod_scrape_interval: u64,
    /// The tag with the pod's namespace.
    pub pod_namespace_label_name: String,
    /// Labels of pods that become tags; both empty means all.
    pub pod_label_include: Vec<String>,
    /// Labels of pods that do not.
    pub pod_label_exclude: Vec<String>,
    /// Annotations of pods that become tags; both empty means none.
    pub pod_annotation_include: Vec<String>,
    /// Annotations of pods that do not.
    pub pod_annotation_exclude: Vec<String>,
    /// For `https`.
    pub tls: Tls,
}

impl Default for PrometheusOptions {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            metric_version: 1,
            url_tag: "url".into(),
            ignore_timestamp: false,
            content_type_override: String::new(),
            content_length_limit: 0,
            enable_request_metrics: false,
            bearer_token: String::new(),
            bearer_token_string: Secret::default(),
            username: Secret::default(),
            password: Secret::default(),
            http_headers: BTreeMap::new(),
            timeout: DEFAULT_TIMEOUT,
            response_timeout: Duration::ZERO,
            http_proxy_url: String::new(),
            use_system_proxy: false,
            kubernetes_services: Vec::new(),
            monitor_kubernetes_pods: false,
            monitor_kubernetes_pods_method: "annotations".into(),
            monitor_kubernetes_pods_scheme: String::new(),
            monitor_kubernetes_pods_path: String::new(),
            monitor_kubernetes_pods_port: 0,
            monitor_kubernetes_pods_namespace: String::new(),
            kubernetes_label_selector: String::new(),
            pod_scrape_scope: String::new(),
            node_ip: String::new(),
            kubelet_url: String::new(),
            pod_scrape_interval: DEFAULT_POD_SCRAPE_INTERVAL.into(),
            pod_namespace_label_name: "namespace".into(),
            pod_label_include: Vec::new(),
            pod_label_exclude: Vec::new(),
            pod_annotation_include: Vec::new(),
            pod_annotation_exclude: Vec::new(),
            tls: Tls::default(),
        }
    }
}

/// A tag's name. Since not every text is one, an empty one is taken as it is: no tag.
fn tag_key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let key = String::deserialize(deserializer)?;
    if key.contains(char::is_control) {
        return Err(D::Error::custom("a tag's name has no control characters"));
    }
    Ok(key)
}

/// What the options say.
pub(super) struct Setup {
    pub(super) scraper: Scraper,
    pub(super) urls: Vec<Target>,
    pub(super) services: Vec<Target>,
    pub(super) discovery: Option<Discovery>,
}

/// How pods are found.
pub(super) struct Discovery {
    pub(super) client: KubeletClient,
    pub(super) rules: PodRules,
    pub(super) period: Duration,
}

impl PrometheusOptions {
    /// Checks the options; nothing is contacted.
    ///
    /// # Errors
    /// The one that cannot be used, and what to do.
    pub(super) fn setup(&self, host: &Host) -> Result<Setup, OptionError> {
        let parse = |option: &'static str, urls: &[String]| {
            let targets = urls.iter().map(|url| Target::parse(url));
            targets.collect::<Result<Vec<_>, _>>().map_err(|what| OptionError::new(option, what))
        };
        let urls = parse("urls", &self.urls)?;
        let services = parse("kubernetes_services", &self.kubernetes_services)?;
        let is_tls = urls.iter().chain(&services).any(|target| target.url.scheme() == "https");
        let reach = Reach {
            timeout: self.timeout,
            head_timeout: self.response_timeout,
            uses_system_proxy: self.use_system_proxy,
            proxy: self.http_proxy_url.clone(),
            tls: self.tls.clone(),
        };
        let scraper = Scraper {
            version: self.version()?,
            url_tag: self.url_tag.clone(),
            ignores_timestamps: self.ignore_timestamp,
            format: self.format()?,
            page_limit: self.page_limit(),
            room: Room::new(self.room()),
            has_request_metrics: self.enable_request_metrics,
            credentials: self.credentials(),
            headers: headers(&self.http_headers)?,
            clients: Clients::new(reach, is_tls)?,
        };
        let discovery = if self.monitor_kubernetes_pods { Some(self.discovery(host)?) } else { None };
        Ok(Setup { scraper, urls, services, discovery })
    }

    /// Bytes of the largest page.
    fn page_limit(&self) -> usize {
        if self.content_length_limit == 0 { MAX_PAGE_BYTES } else { self.content_length_limit }
    }

    /// Bytes that all scrapes may hold at one time.
    pub(super) fn room(&self) -> usize {
        // A name may have any number of addresses, and a node any number of pods.
        let is_known = self.kubernetes_services.is_empty() && !self.monitor_kubernetes_pods;
        let n = if is_known { self.urls.len().clamp(1, MAX_PAGES) } else { MAX_PAGES };
        self.page_limit().saturating_mul(n * PER_PAGE_BYTE)
    }

    /// Options that do nothing, or do it at a risk.
    pub(super) fn remarks(&self) -> Vec<OptionError> {
        let mut remarks = self.without_effect();
        let urls = || self.urls.iter().chain(&self.kubernetes_services);
        // The annotations of pods may ask for it.
        let may_use_tls = self.monitor_kubernetes_pods || urls().any(|url| url.starts_with("https"));
        remarks.extend(self.tls.remarks(may_use_tls));
        if self.monitor_kubernetes_pods && self.kubelet_url.is_empty() {
            let what = "is empty, and the kubelet's certificate is not checked, so that the pod's token goes to whoever answers: write it as https://NODE:10250, with its authority in `tls_ca`";
            remarks.push(OptionError::new("kubelet_url", what));
        }
        if self.monitor_kubernetes_pods && self.pod_scrape_scope.is_empty() {
            let what = "is not set: Telegraf finds the pods of all nodes then, this agent those of its own: run one on each, and write \"node\"";
            remarks.push(OptionError::new("pod_scrape_scope", what));
        }
        if !self.monitor_kubernetes_pods && urls().next().is_none() {
            remarks.push(OptionError::new("urls", "is empty: nothing is scraped"));
        }
        remarks
    }

    /// Options that another one keeps from having an effect.
    fn without_effect(&self) -> Vec<OptionError> {
        let default = Self::default();
        let pods = [
            (
                "monitor_kubernetes_pods_method",
                self.monitor_kubernetes_pods_method != default.monitor_kubernetes_pods_method,
            ),
            ("monitor_kubernetes_pods_scheme", !self.monitor_kubernetes_pods_scheme.is_empty()),
            ("monitor_kubernetes_pods_path", !self.monitor_kubernetes_pods_path.is_empty()),
            ("monitor_kubernetes_pods_port", self.monitor_kubernetes_pods_port != 0),
            ("monitor_kubernetes_pods_namespace", !self.monitor_kubernetes_pods_namespace.is_empty()),
            ("kubernetes_label_selector", !self.kubernetes_label_selector.is_empty()),
            ("node_ip", !self.node_ip.is_empty()),
            ("kubelet_url", !self.kubelet_url.is_empty()),
            ("pod_scrape_interval", self.pod_scrape_interval != default.pod_scrape_interval),
            ("pod_namespace_label_name", self.pod_namespace_label_name != default.pod_namespace_label_name),
            ("pod_label_include", !self.pod_label_include.is_empty()),
            ("pod_label_exclude", !self.pod_label_exclude.is_empty()),
            ("pod_annotation_include", !self.pod_annotation_include.is_empty()),
            ("pod_annotation_exclude", !self.pod_annotation_exclude.is_empty()),
        ];
        let pods = pods.map(|(option, is_set)| {
            (
                option,
                is_set && !self.monitor_kubernetes_pods,
                "it is about pods: set monitor_kubernetes_pods = true",
            )
        });
        let has_token = !self.bearer_token.is_empty() || !self.bearer_token_string.is_empty();
        let both_tokens = !self.bearer_token.is_empty() && !self.bearer_token_string.is_empty();
        let both_proxies = self.use_system_proxy && !self.http_proxy_url.is_empty();
        let others = [
            ("bearer_token_string", both_tokens, "the token of the file in `bearer_token` is sent"),
            ("username", has_token && !self.username.is_empty(), "a token is sent"),
            ("password", has_token && !self.password.is_empty(), "a token is sent"),
            ("http_proxy_url", both_proxies, "`use_system_proxy` takes the environment's"),
        ];
        let useless = pods.into_iter().chain(others).filter(|(_, is_useless, _)| *is_useless);
        useless.map(|(option, _, why)| OptionError::new(option, format!("has no effect: {why}"))).collect()
    }

    fn version(&self) -> Result<Version, OptionError> {
        match self.metric_version {
            1 => Ok(Version::One),
            2 => Ok(Version::Two),
            other => Err(OptionError::new("metric_version", format!("{other}: it must be 1 or 2"))),
        }
    }

    fn format(&self) -> Result<Option<Format>, OptionError> {
        match self.content_type_override.as_str() {
            "" => Ok(None),
            "text" => Ok(Some(Format::Text)),
            "openmetrics-text" => Ok(Some(Format::OpenMetrics)),
            other => {
                let what =
                    format!("`{other}`: it must be text or openmetrics-text; no protobuf is read here");
                Err(OptionError::new("content_type_override", what))
            }
        }
    }

    fn credentials(&self) -> Credentials {
        if !self.bearer_token.is_empty() {
            Credentials::Bearer(Token::File(self.bearer_token.clone()))
        } else if !self.bearer_token_string.is_empty() {
            let token = self.bearer_token_string.clone();
            Credentials::Bearer(Token::Text(token))
        } else if !self.username.is_empty() || !self.password.is_empty() {
            Credentials::Basic(self.username.clone(), self.password.clone())
        } else {
            Credentials::None
        }
    }

    fn discovery(&self, host: &Host) -> Result<Discovery, OptionError> {
        if !self.pod_scrape_scope.is_empty() && !self.pod_scrape_scope.eq_ignore_ascii_case("node") {
            let what = "the pods of the agent's own node are found, by its kubelet: write \"node\", and run an agent on each node";
            return Err(OptionError::new("pod_scrape_scope", what));
        }
        let method = &self.monitor_kubernetes_pods_method;
        let method = Method::of(method).ok_or_else(|| {
            let what = format!("`{method}`: it must be annotations, settings or settings+annotations");
            OptionError::new("monitor_kubernetes_pods_method", what)
        })?;
        let selector = Selector::parse(&self.kubernetes_label_selector);
        let annotations = (
            ("pod_annotation_include", self.pod_annotation_include.as_slice()),
            ("pod_annotation_exclude", self.pod_annotation_exclude.as_slice()),
        );
        let has_annotations = !annotations.0.1.is_empty() || !annotations.1.1.is_empty();
        let rules = PodRules {
            method,
            scheme: self.monitor_kubernetes_pods_scheme.clone(),
            path: self.monitor_kubernetes_pods_path.clone(),
            port: self.monitor_kubernetes_pods_port,
            namespace: self.monitor_kubernetes_pods_namespace.clone(),
            selector: selector.map_err(|what| OptionError::new("kubernetes_label_selector", what))?,
            namespace_tag: self.pod_namespace_label_name.clone(),
            labels: IncludeExclude::new(
                ("pod_label_include", &self.pod_label_include),
                ("pod_label_exclude", &self.pod_label_exclude),
            )?,
            annotations: has_annotations
                .then(|| IncludeExclude::new(annotations.0, annotations.1))
                .transpose()?,
        };
        let period = Duration::from_secs(self.pod_scrape_interval);
        Ok(Discovery { client: self.kubelet(host)?, rules, period })
    }

    /// The kubelet of this node, with the agent's own token.
    fn kubelet(&self, host: &Host) -> Result<KubeletClient, OptionError> {
        let mut tls = self.tls.clone();
        let url = if self.kubelet_url.is_empty() {
            // Only its address is known, and its certificate is mostly self-signed.
            tls.insecure_skip_verify = true;
            node_url(Some(self.node_ip.as_str()).filter(|ip| !ip.is_empty()).or(host.node_ip()))
        } else {
            self.kubelet_url.clone()
        };
        let access = Access { url, token: Token::OfPod, timeout: DEFAULT_TIMEOUT, tls };
        let renamed = |error: OptionError| {
            if error.option == "url" { OptionError { option: "kubelet_url", ..error } } else { error }
        };
        KubeletClient::new(&access).map_err(renamed)
    }
}
