//! Which pods are scraped, where, and with which tags: Telegraf's `monitor_kubernetes_pods`. Pure.

use std::net::IpAddr;

use reqwest::Url;

use super::selector::Selector;
use super::target::Target;
use crate::identity::kubelet::pods::Pod;
use crate::options::filter::IncludeExclude;
use crate::point::Name;

/// The annotations that are read: whether, and where.
const SCRAPE: &str = "prometheus.io/scrape";
const SCHEME: &str = "prometheus.io/scheme";
const PATH: &str = "prometheus.io/path";
const PORT: &str = "prometheus.io/port";

/// What decides whether a pod is scraped: `monitor_kubernetes_pods_method`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// The annotation `prometheus.io/scrape` is `true`.
    Annotations,
    /// The other filters alone.
    Settings,
    /// The other filters, and the annotation is not `false`.
    SettingsAndAnnotations,
}

impl Method {
    pub(super) fn of(text: &str) -> Option<Self> {
        match text {
            "" | "annotations" => Some(Self::Annotations),
            "settings" => Some(Self::Settings),
            "settings+annotations" => Some(Self::SettingsAndAnnotations),
            _ => None,
        }
    }
}

/// The options about pods.
#[derive(Clone, Debug)]
pub(super) struct PodRules {
    pub(super) method: Method,
    pub(super) scheme: String,
    pub(super) path: String,
    pub(super) port: u16,
    /// Empty means all.
    pub(super) namespace: String,
    pub(super) selector: Selector,
    pub(super) namespace_tag: String,
    /// Which labels and annotations become tags.
    pub(super) labels: IncludeExclude,
    pub(super) annotations: Option<IncludeExclude>,
}

/// Whether an annotation is needed, to know what to scrape or as a tag.
pub(super) fn keeps_annotation(annotations: Option<&IncludeExclude>, key: &str) -> bool {
    [SCRAPE, SCHEME, PATH, PORT].contains(&key) || annotations.is_some_and(|lists| lists.takes(key))
}

impl PodRules {
    /// The targets among the pods of a node. A pod whose annotations make no URL is an error, with its name.
    pub(super) fn targets(&self, pods: &[Pod]) -> impl Iterator<Item = Result<Target, String>> {
        let wanted = pods.iter().filter(|pod| self.wants(pod));
        wanted
            .map(|pod| self.target(pod).map_err(|what| format!("pod {}/{}: {what}", pod.namespace, pod.name)))
    }

    fn wants(&self, pod: &Pod) -> bool {
        let scrape = pod.annotations.get(SCRAPE).map(String::as_str);
        let is_wanted = match self.method {
            Method::Annotations => scrape == Some("true"),
            Method::Settings => true,
            Method::SettingsAndAnnotations => scrape != Some("false"),
        };
        is_wanted
            && pod.is_running
            && !pod.ip.is_empty()
            && (self.namespace.is_empty() || self.namespace == pod.namespace)
            && self.selector.takes(&pod.labels)
    }

    fn target(&self, pod: &Pod) -> Result<Target, String> {
        let option = |key: &str, option: &str, default: &str| {
            let annotation = pod.annotations.get(key).filter(|_| self.method != Method::Settings);
            let option = if self.method == Method::Annotations { "" } else { option };
            let text = annotation.map_or("", String::as_str);
            [text, option, default].into_iter().find(|text| !text.is_empty()).unwrap_or("").to_owned()
        };
        let scheme = option(SCHEME, &self.scheme, "http");
        if !["http", "https"].contains(&scheme.as_str()) {
            return Err(format!("`{SCHEME}` is `{scheme}`: it must be http or https"));
        }
        let configured = if self.port == 0 { String::new() } else { self.port.to_string() };
        let port = option(PORT, &configured, "9102");
        let port: u16 = port.parse().map_err(|_| format!("`{PORT}` is `{port}`, which is no port"))?;
        let port = if port == 0 { 9102 } else { port };
        let ip: IpAddr = pod.ip.parse().map_err(|_| format!("its address is `{}`", pod.ip))?;
        let host = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
        let path = option(PATH, &self.path, "/metrics");
        let slash = if path.starts_with('/') { "" } else { "/" };
        let text = format!("{scheme}://{host}:{port}{slash}{path}");
        let url = Url::parse(&text).map_err(|error| format!("`{text}` is no URL: {error}"))?;
        Ok(Target { url, socket: None, shown: text, tags: self.tags(pod) })
    }

    fn tags(&self, pod: &Pod) -> Vec<(Name, Name)> {
        let annotations = pod.annotations.iter();
        let annotations =
            annotations.filter(|(key, _)| self.annotations.as_ref().is_some_and(|lists| lists.takes(key)));
        let own = [("address", &pod.ip), ("pod_name", &pod.name), (&self.namespace_tag, &pod.namespace)];
        let labels = pod.labels.iter().filter(|(key, _)| self.labels.takes(key));
        // Telegraf's order: of one key the last one counts.
        let all = own.into_iter().chain(labels.map(|(key, value)| (key.as_str(), value)));
        let mut tags: Vec<(Name, Name)> = Vec::new();
        for (key, value) in annotations.map(|(key, value)| (key.as_str(), value)).chain(all) {
            tags.retain(|(known, _)| known != key);
            tags.push((Name::new(key), Name::from(value)));
        }
        tags
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rstest::rstest;

    use super::*;

    fn rules() -> PodRules {
        PodRules {
            method: Method::Annotations,
            scheme: String::new(),
            path: String::new(),
            port: 0,
            namespace: String::new(),
            selector: Selector::default(),
            namespace_tag: "namespace".into(),
            labels: IncludeExclude::default(),
            annotations: None,
        }
    }

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn pod(annotations: &[(&str, &str)]) -> Pod {
        Pod {
            name: "web-0".into(),
            namespace: "shop".into(),
            ip: "10.1.2.3".into(),
            is_running: true,
            labels: map(&[("app", "web"), ("tier", "front")]),
            annotations: map(annotations),
            ..Pod::default()
        }
    }

    fn urls(rules: &PodRules, pod: &Pod) -> Vec<Result<String, String>> {
        let targets = rules.targets(std::slice::from_ref(pod));
        targets.map(|target| target.map(|target| target.shown)).collect()
    }

    #[rstest]
    #[case(&[(SCRAPE, "true")], "http://10.1.2.3:9102/metrics")]
    #[case(&[(SCRAPE, "true"), (PORT, "8080"), (PATH, "stats?a=b"), (SCHEME, "https")], "https://10.1.2.3:8080/stats?a=b")]
    #[case(&[(SCRAPE, "true"), (PATH, "/@evil.example/x")], "http://10.1.2.3:9102/@evil.example/x")]
    fn annotations_say_where(#[case] annotations: &[(&str, &str)], #[case] url: &str) {
        assert_eq!(urls(&rules(), &pod(annotations)), [Ok(url.to_owned())]);
    }

    #[rstest]
    #[case(&[(SCRAPE, "true"), (PORT, "http")], "pod shop/web-0: `prometheus.io/port` is `http`, which is no port")]
    #[case(&[(SCRAPE, "true"), (SCHEME, "ftp")], "pod shop/web-0: `prometheus.io/scheme` is `ftp`: it must be http or https")]
    fn a_pod_that_says_it_wrong_is_named(#[case] annotations: &[(&str, &str)], #[case] error: &str) {
        assert_eq!(urls(&rules(), &pod(annotations)), [Err(error.to_owned())]);
    }

    #[test]
    fn pods_that_ask_for_nothing_do_not_run_or_are_not_selected_are_left_out() {
        let scraped = pod(&[(SCRAPE, "true")]);
        assert!(urls(&rules(), &pod(&[])).is_empty());
        assert!(urls(&rules(), &pod(&[(SCRAPE, "false")])).is_empty());
        assert!(urls(&rules(), &Pod { is_running: false, ..scraped.clone() }).is_empty());
        assert!(urls(&rules(), &Pod { ip: String::new(), ..scraped.clone() }).is_empty());
        assert!(urls(&PodRules { namespace: "other".into(), ..rules() }, &scraped).is_empty());
        let selector = Selector::parse("app=db").unwrap();
        assert!(urls(&PodRules { selector, ..rules() }, &scraped).is_empty());
    }

    #[test]
    fn settings_say_where_when_annotations_need_not() {
        let settings = PodRules { method: Method::Settings, port: 7, path: "/x".into(), ..rules() };
        assert_eq!(urls(&settings, &pod(&[(PORT, "8")])), [Ok("http://10.1.2.3:7/x".to_owned())]);
        let both = PodRules { method: Method::SettingsAndAnnotations, ..settings };
        assert_eq!(urls(&both, &pod(&[(PORT, "8")])), [Ok("http://10.1.2.3:8/x".to_owned())]);
        assert!(urls(&both, &pod(&[(SCRAPE, "false")])).is_empty());
    }

    #[test]
    fn tags_are_the_pods_name_namespace_and_labels() {
        let lists = |include: &[String]| IncludeExclude::new(("i", include), ("e", &[])).unwrap();
        let rules = PodRules {
            namespace_tag: "pod_namespace".into(),
            labels: lists(&["app".into()]),
            annotations: Some(lists(&["team".into()])),
            ..rules()
        };
        let pod = pod(&[(SCRAPE, "true"), ("team", "a"), ("other", "b")]);
        let target = rules.targets(std::slice::from_ref(&pod)).next().unwrap().unwrap();
        let tags = target.tags.iter().map(|(key, value)| format!("{key}={value}"));
        assert_eq!(
            tags.collect::<Vec<_>>(),
            ["team=a", "address=10.1.2.3", "pod_name=web-0", "pod_namespace=shop", "app=web"]
        );
    }
}
