//! What a client asks for: which format, whether packed, which names. Pure.
//!
//! Source: <https://prometheus.io/docs/instrumenting/content_negotiation/>.

use hyper::HeaderMap;
use hyper::header::{ACCEPT, ACCEPT_ENCODING};

/// The format of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Prometheus' own, 0.0.4.
    Text,
    /// OpenMetrics, in this version.
    OpenMetrics(&'static str),
}

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) format: Format,
    /// Names may have any character.
    pub(super) takes_utf8: bool,
    pub(super) takes_gzip: bool,
}

impl Format {
    pub(super) fn is_open_metrics(self) -> bool {
        matches!(self, Self::OpenMetrics(_))
    }

    /// The content type of a page.
    pub(super) fn content_type(self, is_utf8: bool) -> String {
        let escaping = if is_utf8 { "allow-utf-8" } else { "underscores" };
        match self {
            Self::Text => format!("text/plain; version=0.0.4; charset=utf-8; escaping={escaping}"),
            Self::OpenMetrics(version) => {
                format!("application/openmetrics-text; version={version}; charset=utf-8; escaping={escaping}")
            }
        }
    }

    /// The format of a media range, if it is one that is written here.
    fn of(media: &str, version: Option<&str>) -> Option<Self> {
        match (media, version) {
            ("text/plain" | "text/*" | "*/*", None | Some("0.0.4")) => Some(Self::Text),
            ("application/openmetrics-text", None | Some("1.0.0")) => Some(Self::OpenMetrics("1.0.0")),
            ("application/openmetrics-text", Some("0.0.1")) => Some(Self::OpenMetrics("0.0.1")),
            _ => None,
        }
    }
}

impl Asked {
    /// What the headers of a request ask for; the text format where that is nothing that is written here.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut best = (0.0, Format::Text, false);
        for range in list(headers, ACCEPT) {
            let (media, parameters) = range.split_once(';').unwrap_or((range, ""));
            let parameter = |name: &str| parameter(parameters, name);
            let Some(format) = Format::of(&media.trim().to_ascii_lowercase(), parameter("version")) else {
                continue;
            };
            let quality = quality(parameters);
            // Of two that are as welcome, the first.
            if quality > best.0 {
                best = (quality, format, parameter("escaping") == Some("allow-utf-8"));
            }
        }
        let (_, format, takes_utf8) = best;
        let is_gzip = |coding: &str| {
            let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
            matches!(name.trim(), "gzip" | "*") && quality(parameters) > 0.0
        };
        let takes_gzip = list(headers, ACCEPT_ENCODING).any(is_gzip);
        Self { format, takes_utf8, takes_gzip }
    }
}

/// The parts of all headers of this name.
fn list(headers: &HeaderMap, name: hyper::header::HeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
}

fn parameter<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    parameters.split(';').find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
    })
}

fn quality(parameters: &str) -> f64 {
    parameter(parameters, "q").map_or(1.0, |q| q.parse().unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const OPEN: Format = Format::OpenMetrics("1.0.0");

    fn asked(accept: &str, encoding: &str) -> Asked {
        let mut headers = HeaderMap::new();
        for (name, value) in [(ACCEPT, accept), (ACCEPT_ENCODING, encoding)] {
            if !value.is_empty() {
                headers.insert(name, value.parse().unwrap());
            }
        }
        Asked::of(&headers)
    }

    #[rstest]
    #[case("", Format::Text)]
    #[case("applications/json", Format::Text)]
    #[case("*/*", Format::Text)]
    #[case("text/plain", Format::Text)]
    #[case("text/plain; version=0.0.4", Format::Text)]
    #[case("text/plain;version=1.0.0,application/openmetrics-text;q=0.1", OPEN)]
    #[case(
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
        Format::Text
    )]
    #[case("application/openmetrics-text; version=0.0.1", Format::OpenMetrics("0.0.1"))]
    #[case("application/openmetrics-text;q=0", Format::Text)]
    // What Prometheus 2.42 and 3 send.
    #[case(
        "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        OPEN
    )]
    #[case(
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
        OPEN
    )]
    fn the_most_welcome_format_is_taken(#[case] accept: &str, #[case] expected: Format) {
        let asked = asked(accept, "");
        assert_eq!((asked.format, asked.takes_gzip), (expected, false));
        assert_eq!(asked.takes_utf8, accept.contains("allow-utf-8"));
    }

    #[rstest]
    #[case("gzip", true)]
    #[case("deflate, gzip;q=0.5", true)]
    #[case("*", true)]
    #[case("gzip;q=0", false)]
    #[case("br", false)]
    fn gzip_is_for_those_who_take_it(#[case] encoding: &str, #[case] expected: bool) {
        assert_eq!(asked("", encoding).takes_gzip, expected);
    }

    #[test]
    fn content_types_are_those_of_telegraf() {
        let text = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";
        assert_eq!(Format::Text.content_type(false), text);
        let open = "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8";
        assert_eq!(OPEN.content_type(true), open);
    }
}
