//! Targets: what is scraped, how it is reached, and which tags its points have. Pure.

use std::net::IpAddr;
use std::path::PathBuf;

use reqwest::Url;

use crate::point::Name;

/// The path of a URL that has none.
const PATH: &str = "/metrics";

/// One page to scrape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// What is requested.
    pub(super) url: Url,
    /// The socket to connect to, instead of the URL's host.
    pub(super) socket: Option<PathBuf>,
    /// The URL as it was configured, without a password: for the tag, and for messages.
    pub(super) shown: String,
    /// The tags `address` and those of a pod.
    pub(super) tags: Vec<(Name, Name)>,
}

impl Target {
    /// The target of a URL: `http`, `https`, `unix:///socket?path=/metrics` or `http+unix:///socket:/metrics`.
    ///
    /// # Errors
    /// What is wrong with it, without its password.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("`{}` {what}", without_password(text));
        let parsed = Url::parse(text)
            .map_err(|error| wrong(&format!("is no URL ({error}): write it as http://host:9100/metrics")))?;
        let mut target = Self { url: parsed, socket: None, shown: String::new(), tags: Vec::new() };
        match target.url.scheme() {
            "http" | "https" => {
                if has_no_path(text) {
                    target.url.set_path(PATH);
                }
                target.shown = shown(text);
            }
            "unix" | "http+unix" => {
                let (socket, path) = socket(&target.url).ok_or_else(|| {
                    wrong("names no socket: write it as unix:///path/to/socket?path=/metrics")
                })?;
                target.socket = Some(socket.into());
                // The name is for the header `Host` alone.
                target.url = Url::parse(&format!("http://localhost{path}"))
                    .map_err(|error| wrong(&format!("has no path that can be requested ({error})")))?;
                target.shown = text.to_owned();
            }
            _ => return Err(wrong("is of a protocol that is not spoken here: use http, https or unix")),
        }
        Ok(target)
    }

    /// The same at one of the addresses of its host, as a name can have several.
    pub(super) fn at(&self, address: IpAddr) -> Option<Self> {
        let mut target = self.clone();
        target.url.set_ip_host(address).ok()?;
        target.tags.push(("address".into(), Name::of(format_args!("{address}"))));
        Some(target)
    }
}

/// The socket and the path of a URL of either form.
fn socket(url: &Url) -> Option<(String, String)> {
    if url.has_host() || url.path().len() < 2 {
        return None;
    }
    if url.scheme() == "unix" {
        let path = url.query_pairs().find(|(key, path)| key == "path" && path.starts_with('/'));
        return Some((url.path().to_owned(), path.map_or(PATH.to_owned(), |(_, path)| path.into_owned())));
    }
    let (socket, path) = url.path().split_once(':').unwrap_or((url.path(), PATH));
    Some((socket.to_owned(), path.to_owned()))
}

fn has_no_path(text: &str) -> bool {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    !rest[..end].contains('/')
}

/// A URL as the tag has it: as it was written, without user and password, and with the path that is requested.
fn shown(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let path = if rest.starts_with('/') { "" } else { PATH };
    format!("{scheme}://{host}{path}{rest}")
}

/// A URL that does not parse, as it may stand in a message.
fn without_password(text: &str) -> String {
    match (text.find("://"), text.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => format!("{}://…{}", &text[..scheme], &text[at..]),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("http://localhost:2379/metrics", "http://localhost:2379/metrics", "http://localhost:2379/metrics")]
    #[case("http://h:80", "http://h/metrics", "http://h:80/metrics")]
    #[case("http://h:80/", "http://h/", "http://h:80/")]
    #[case("http://u:secret@h?x=/1", "http://u:secret@h/metrics?x=/1", "http://h/metrics?x=/1")]
    #[case("https://[::1]:1/a?b#c", "https://[::1]:1/a?b#c", "https://[::1]:1/a?b#c")]
    #[case("unix:///run/a.sock", "http://localhost/metrics", "unix:///run/a.sock")]
    #[case("unix:///run/a.sock?path=/x?y=1", "http://localhost/x?y=1", "unix:///run/a.sock?path=/x?y=1")]
    #[case("http+unix:///run/a.sock:/x", "http://localhost/x", "http+unix:///run/a.sock:/x")]
    fn urls(#[case] text: &str, #[case] url: &str, #[case] shown: &str) {
        let target = Target::parse(text).unwrap();
        assert_eq!((target.url.as_str(), target.shown.as_str()), (url, shown));
        let socket = target.socket.map(|path| path.display().to_string());
        assert_eq!(socket.as_deref(), text.contains("unix").then_some("/run/a.sock"));
    }

    #[rstest]
    #[case("localhost:9100", "protocol that is not spoken")]
    #[case("http://u:secret@", "is no URL")]
    #[case("http://u:secret@h:port", "is no URL")]
    #[case("unix://", "names no socket")]
    #[case("ftp://u:secret@h", "protocol that is not spoken")]
    fn other_urls_are_refused_without_their_password(#[case] text: &str, #[case] what: &str) {
        let error = Target::parse(text).unwrap_err();
        assert!(error.contains(what) && !error.contains("secret"), "{error}");
    }

    #[test]
    fn a_name_has_a_target_at_each_address() {
        let target = Target::parse("http://exporter.svc:9100/metrics").unwrap();
        let target = target.at("fd00::7".parse().unwrap()).unwrap();
        assert_eq!(target.url.as_str(), "http://[fd00::7]:9100/metrics");
        assert_eq!(target.shown, "http://exporter.svc:9100/metrics");
        assert_eq!(target.tags, [("address".into(), "fd00::7".into())]);
    }
}
