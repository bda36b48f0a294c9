//! `[[outputs.http]]`: points in one of several formats, as the body of a request; Prometheus' remote write is one of them.
//!
//! How the URL is reached is `endpoint`'s, what a body is `serializers`'. Source of the answers to remote write:
//! <https://prometheus.io/docs/specs/prw/remote_write_spec/>.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use reqwest::{Method, StatusCode};
use serde::Deserialize;

use super::answer::Reply;
use super::compress::gzip;
use super::credentials::Credentials;
use super::endpoint::{Endpoint, Reached};
use super::{Answer, Blame, Output, OutputPlugin, parsed, servers, shortened};
use crate::http::Version;
use crate::line_protocol::Format;
use crate::options::OptionError;
use crate::options::secret::Secret;
use crate::options::tls::Tls;
use crate::outputs::batch::Encoding;
use crate::serializers::json::Json;
use crate::serializers::prometheus_remote_write::{self, PrometheusRemoteWrite};
use crate::service::budget::Budget;
use crate::service::privilege::Files;

/// The section `[[outputs.http]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Where to: `http` or `https`.
    pub url: String,
    /// `POST`, `PUT` or `PATCH`.
    pub method: String,
    /// The user, where the server asks for one.
    pub username: Secret,
    /// The user's password.
    pub password: Secret,
    /// Headers of each request, which override the agent's own.
    pub headers: BTreeMap<String, Secret>,
    /// `gzip`, or `identity`.
    pub content_encoding: String,
    /// A request has a whole batch, else a point.
    pub use_batch_format: bool,
    /// Of an answer with one of these the points are dropped, and not sent again.
    pub non_retryable_statuscodes: Vec<u16>,
    /// The limit for a whole request.
    #[serde(deserialize_with = "crate::options::duration::deserialize_or::<_, 5>")]
    pub timeout: Duration,
    /// The address of this host to send from; empty means the system's choice.
    pub local_address: String,
    /// The variables `http_proxy`, `https_proxy` and `no_proxy` apply.
    pub use_system_proxy: bool,
    /// A proxy's URL; empty means none.
    pub http_proxy_url: String,
    /// `influx`, `json` or `prometheusremotewrite`.
    pub data_format: String,
    /// `influx`: the maximum length of a line, with its newline; 0 means no limit.
    pub influx_max_line_bytes: usize,
    /// `influx`: fields are sorted by key.
    pub influx_sort_fields: bool,
    /// `influx`: unsigned integers are written as such.
    pub influx_uint_support: bool,
    /// `influx`: points are written without a timestamp.
    pub influx_omit_timestamp: bool,
    /// `json`: the unit of times, as the power of ten that is not above it.
    #[serde(deserialize_with = "crate::options::duration::deserialize_or::<_, 1>")]
    pub json_timestamp_units: Duration,
    /// `prometheusremotewrite`: series are always sorted, with or without.
    pub prometheus_sort_metrics: bool,
    /// `prometheusremotewrite`: texts become labels, else they are left out.
    pub prometheus_string_as_label: bool,
    /// For `https`.
    pub tls: Tls,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:8080/telegraf".into(),
            method: "POST".into(),
            username: Secret::default(),
            password: Secret::default(),
            headers: BTreeMap::new(),
            content_encoding: "identity".into(),
            use_batch_format: true,
            non_retryable_statuscodes: Vec::new(),
            timeout: Duration::from_secs(5),
            local_address: String::new(),
            use_system_proxy: false,
            http_proxy_url: String::new(),
            data_format: "influx".into(),
            influx_max_line_bytes: 0,
            influx_sort_fields: false,
            influx_uint_support: false,
            influx_omit_timestamp: false,
            json_timestamp_units: Duration::from_secs(1),
            prometheus_sort_metrics: false,
            prometheus_string_as_label: false,
            tls: Tls::default(),
        }
    }
}

/// What a body is.
#[derive(Clone, Copy, Debug)]
enum DataFormat {
    /// Lines as they are.
    Influx,
    Json(Json),
    PrometheusRemoteWrite(PrometheusRemoteWrite),
}

/// A place that takes points as the body of a request.
pub struct Http {
    options: Options,
    method: Method,
    format: DataFormat,
    endpoint: Endpoint,
    is_gzip: bool,
}

impl Http {
    /// Checks the options; nobody is contacted.
    ///
    /// # Errors
    /// An option that cannot be used.
    pub fn new(mut options: Options) -> Result<Self, OptionError> {
        if options.url.is_empty() {
            options.url = Options::default().url;
        }
        let format = data_format(&options)?;
        let method = match options.method.to_uppercase().as_str() {
            "" | "POST" => Method::POST,
            "PUT" => Method::PUT,
            "PATCH" => Method::PATCH,
            _ => {
                let what = format!("`{}`: it is POST, PUT or PATCH", options.method);
                return Err(OptionError::new("method", what));
            }
        };
        let is_gzip = match options.content_encoding.as_str() {
            "" | "identity" => false,
            "gzip" if matches!(format, DataFormat::PrometheusRemoteWrite(_)) => {
                let what = "`gzip`: remote write is packed by snappy, and once is all that a server unpacks: remove it";
                return Err(OptionError::new("content_encoding", what));
            }
            "gzip" => true,
            other => {
                let what = format!("`{other}`: it is gzip or identity");
                return Err(OptionError::new("content_encoding", what));
            }
        };
        let has_user = !options.username.is_empty() || !options.password.is_empty();
        let endpoint = Endpoint::new(&Reached {
            url: &options.url,
            option: "url",
            headers: &options.headers,
            credentials: if has_user {
                Credentials::Basic(options.username.clone(), options.password.clone())
            } else {
                Credentials::None
            },
            timeout: options.timeout,
            local_address: &options.local_address,
            uses_system_proxy: options.use_system_proxy,
            proxy_url: &options.http_proxy_url,
            tls: &options.tls,
            version: Version::One,
        })?;
        Ok(Self { options, method, format, endpoint, is_gzip })
    }

    /// The body for some lines, and how many of these cannot be read.
    fn body(&self, lines: &[Bytes]) -> (Bytes, u64) {
        if let DataFormat::Influx = self.format {
            return (servers::body(lines, self.is_gzip), 0);
        }
        let (points, unreadable) = parsed::points(lines);
        let body = match (self.format, points.as_slice()) {
            (DataFormat::Json(json), [point]) if !self.options.use_batch_format => json.point(point),
            (DataFormat::Json(json), points) => json.batch(points),
            (DataFormat::PrometheusRemoteWrite(format), points) => format.batch(points),
            (DataFormat::Influx, _) => Vec::new(),
        };
        let body = if self.is_gzip { gzip(&[body], Compression::fast()) } else { body };
        (body.into(), unreadable)
    }

    async fn send(&self, lines: &[Bytes]) -> Answer {
        let (body, unreadable) = self.body(lines);
        let mut own = match self.format {
            DataFormat::PrometheusRemoteWrite(_) => prometheus_remote_write::HEADERS.to_vec(),
            // Also for `json`, as in Telegraf: who wants another one says so in `headers`.
            DataFormat::Influx | DataFormat::Json(_) => vec![("Content-Type", "text/plain; charset=utf-8")],
        };
        if self.is_gzip {
            own.push(("Content-Encoding", "gzip"));
        }
        let reply = match self.endpoint.send(self.method.clone(), &own, body).await {
            Ok(response) => servers::reply(response).await,
            Err(error) => Err(error),
        };
        match reply {
            Err(error) => Answer::retry(error),
            Ok(reply) if reply.status.is_success() && unreadable > 0 => {
                Answer::Stored { dropped: unreadable, reason: "lines of the spool cannot be read".into() }
            }
            Ok(reply) => self.meaning(&reply, lines.len()),
        }
        .at(self.endpoint.shown())
    }

    /// What an answer to so many lines means.
    fn meaning(&self, reply: &Reply, n_lines: usize) -> Answer {
        if reply.status.is_success() {
            return Answer::STORED;
        }
        let reason = format!("{}: {}", reply.status, said(reply));
        if self.options.non_retryable_statuscodes.contains(&reply.status.as_u16()) {
            return Answer::Stored { dropped: n_lines as u64, reason };
        }
        let is_remote_write = matches!(self.format, DataFormat::PrometheusRemoteWrite(_));
        match reply.status {
            // It stores all of a request or none of it: who is sorted out by halves loses only what is not acceptable.
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY if is_remote_write => {
                Answer::Rejected { reason, blame: Blame::Some }
            }
            StatusCode::PAYLOAD_TOO_LARGE => Answer::Rejected { reason, blame: Blame::Some },
            StatusCode::TOO_MANY_REQUESTS => reply.retry(reason),
            status if is_remote_write && status.is_client_error() => {
                Answer::Stored { dropped: n_lines as u64, reason }
            }
            _ => reply.retry(reason),
        }
    }
}

impl Reply {
    /// Not now, for as long as the server asks.
    fn retry(&self, reason: String) -> Answer {
        let after = self.retry_after.as_deref().map(super::answer::retry_delay);
        Answer::Retry { reason, after, route_only: false }
    }
}

/// What an answer says, in its own words.
fn said(reply: &Reply) -> String {
    match (&reply.location, reply.body.trim()) {
        (Some(place), _) if reply.status.is_redirection() => {
            format!("the server refers to {place}: write the URL that it is at now in `url`")
        }
        (_, "") => "without a word".into(),
        (_, body) => shortened(body),
    }
}

fn data_format(options: &Options) -> Result<DataFormat, OptionError> {
    match options.data_format.as_str() {
        "" | "influx" => Ok(DataFormat::Influx),
        "json" => Ok(DataFormat::Json(Json::new(options.json_timestamp_units))),
        "prometheusremotewrite" => Ok(DataFormat::PrometheusRemoteWrite(PrometheusRemoteWrite {
            string_as_label: options.prometheus_string_as_label,
        })),
        other => {
            let what = format!("`{other}` is not supported; influx, json and prometheusremotewrite are");
            Err(OptionError::new("data_format", what))
        }
    }
}

impl OutputPlugin for Options {
    fn files(&self) -> Files {
        Files::read_all(self.tls.files())
    }

    fn budget(&self) -> Budget {
        Budget { connections: 1, ..Budget::default() }
    }

    fn remarks(&self) -> Vec<OptionError> {
        self.tls.remarks(self.url.starts_with("https"))
    }

    fn build(self: Box<Self>) -> Result<Vec<Box<dyn Output>>, OptionError> {
        Ok(vec![Box::new(Http::new(*self)?)])
    }
}

#[async_trait::async_trait]
impl Output for Http {
    fn place(&self) -> String {
        self.endpoint.shown().to_owned()
    }

    fn destination(&self) -> String {
        // What tells tenants apart can be in the query.
        format!("{} {}", self.options.url, self.options.data_format)
    }

    fn encoding(&self) -> Encoding {
        let options = &self.options;
        let is_influx = matches!(self.format, DataFormat::Influx);
        let format = if is_influx {
            Format {
                uint_support: options.influx_uint_support,
                omit_timestamp: options.influx_omit_timestamp,
                sort_fields: options.influx_sort_fields,
                max_line_bytes: options.influx_max_line_bytes,
            }
        } else {
            Format { uint_support: true, ..Format::default() }
        };
        let in_order = matches!(self.format, DataFormat::PrometheusRemoteWrite(_));
        Encoding { format, in_order, ..Encoding::default() }
    }

    async fn write(&self, _: &[Option<String>], lines: &[Bytes]) -> Answer {
        if self.options.use_batch_format {
            return self.send(lines).await;
        }
        let mut rejected = BTreeMap::new();
        for (n, line) in lines.iter().enumerate() {
            match self.send(std::slice::from_ref(line)).await {
                Answer::Stored { dropped: 0, .. } => {}
                Answer::Stored { reason, .. } | Answer::Rejected { reason, .. } => {
                    rejected.insert(n, reason);
                }
                // What was taken is not sent again.
                Answer::Retry { reason, after, route_only } if n > 0 => {
                    let left = (n..lines.len()).collect();
                    return Answer::Partly { left, rejected, reason, after, route_only };
                }
                answer => return answer,
            }
        }
        let (left, reason) = (BTreeSet::new(), String::new());
        Answer::Partly { left, rejected, reason, after: None, route_only: false }
    }

    async fn check(&self) -> Vec<(String, Result<String, String>)> {
        vec![(self.place(), self.endpoint.check().await)]
    }
}

#[cfg(test)]
mod tests;
