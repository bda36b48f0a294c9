//! `[[outputs.opentelemetry]]`: metrics to whatever speaks OTLP, over HTTP or gRPC.
//!
//! What a message is, is `serializers`', how the address is reached `endpoint`'s. Source of the protocol:
//! <https://opentelemetry.io/docs/specs/otlp/>. An export is one call with one message each way, so it is made by the client that
//! the other outputs have.

mod answer;
mod grpc;
mod starts;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message as _;
use reqwest::header::RETRY_AFTER;
use reqwest::{Method, Response};
use serde::Deserialize;

use self::answer::{Exported, MAX_BODY_BYTES};
use self::starts::{Origins, Starts};
use super::answer::retry_delay;
use super::compress::gzip;
use super::credentials::Credentials;
use super::endpoint::{Endpoint, Reached};
use super::{Answer, Output, OutputPlugin, parsed};
use crate::http::{self, Version};
use crate::line_protocol::Format;
use crate::options::OptionError;
use crate::options::secret::Secret;
use crate::options::tls::Tls;
use crate::outputs::batch::Encoding;
use crate::serializers::opentelemetry::{Names, Otlp};
use crate::service::budget::Budget;
use crate::service::origin;
use crate::service::privilege::Files;

/// Where metrics go where an `http` address says nothing else.
const HTTP_PATH: &str = "/v1/metrics";

/// The section `[[outputs.opentelemetry]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// `host:port` for gRPC, or an `http` or `https` URL.
    pub service_address: String,
    /// `protobuf`.
    pub encoding_type: String,
    /// The limit for a whole request.
    #[serde(deserialize_with = "crate::options::duration::deserialize_or::<_, 5>")]
    pub timeout: Duration,
    /// `gzip` or `none`.
    pub compression: String,
    /// A token, sent as `Authorization: Bearer`.
    pub token: Secret,
    /// Headers of each request, which override the agent's own.
    pub headers: BTreeMap<String, Secret>,
    /// Further attributes of each resource.
    pub attributes: BTreeMap<String, String>,
    /// `telegraf`, or `semantic` for OpenTelemetry's semantic conventions.
    pub names: String,
    /// The variables `http_proxy`, `https_proxy` and `no_proxy` apply.
    pub use_system_proxy: bool,
    /// A proxy's URL; empty means none.
    pub http_proxy_url: String,
    /// For `https`, and for gRPC where any of them is set.
    pub tls: Tls,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            service_address: "localhost:4317".into(),
            encoding_type: "protobuf".into(),
            timeout: Duration::from_secs(5),
            compression: "gzip".into(),
            token: Secret::default(),
            headers: BTreeMap::new(),
            attributes: BTreeMap::new(),
            names: "telegraf".into(),
            use_system_proxy: false,
            http_proxy_url: String::new(),
            tls: Tls::default(),
        }
    }
}

impl Options {
    fn is_http(&self) -> bool {
        ["http://", "https://"].iter().any(|scheme| self.service_address.starts_with(scheme))
    }

    fn is_tls(&self) -> bool {
        if self.is_http() {
            return self.service_address.starts_with("https");
        }
        let Tls { tls_ca, tls_cert, tls_key, tls_server_name, tls_enable, insecure_skip_verify, .. } =
            &self.tls;
        let is_set = [tls_ca, tls_cert, tls_key, tls_server_name].iter().any(|option| !option.is_empty());
        tls_enable.unwrap_or(is_set || *insecure_skip_verify)
    }

    /// Where requests go.
    ///
    /// # Errors
    /// The address is of neither kind.
    fn url(&self) -> Result<String, OptionError> {
        let address = &self.service_address;
        if self.is_http() {
            let is_bare = address.matches('/').count() == 2 && !address.ends_with('/');
            return Ok(if is_bare { format!("{address}{HTTP_PATH}") } else { address.clone() });
        }
        // How gRPC says that names are looked up.
        let host = address.trim_start_matches("dns:///").trim_start_matches("passthrough:///");
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        if host.contains('/') || !has_port {
            let what =
                format!("`{address}`: write it as host:4317 for gRPC, or as http://host:4318/v1/metrics");
            return Err(OptionError::new("service_address", what));
        }
        let scheme = if self.is_tls() { "https" } else { "http" };
        Ok(format!("{scheme}://{host}{}", grpc::PATH))
    }
}

/// A server that takes OTLP.
pub struct Opentelemetry {
    options: Options,
    otlp: Otlp,
    endpoint: Endpoint,
    is_gzip: bool,
    starts: Mutex<Starts>,
}

impl Opentelemetry {
    /// Checks the options; nobody is contacted.
    ///
    /// # Errors
    /// An option that cannot be used.
    pub fn new(mut options: Options) -> Result<Self, OptionError> {
        if options.service_address.is_empty() {
            options.service_address = Options::default().service_address;
        }
        match options.encoding_type.as_str() {
            "" | "protobuf" => {}
            "json" => {
                let what = "`json` is not written here: each receiver takes `protobuf` too, which is smaller";
                return Err(OptionError::new("encoding_type", what));
            }
            other => return Err(OptionError::new("encoding_type", format!("`{other}`: it is protobuf"))),
        }
        let is_gzip = match options.compression.as_str() {
            "" | "gzip" => true,
            "none" => false,
            other => return Err(OptionError::new("compression", format!("`{other}`: it is gzip or none"))),
        };
        let names = match options.names.as_str() {
            "" | "telegraf" => Names::Telegraf,
            "semantic" => Names::Semantic,
            other => return Err(OptionError::new("names", format!("`{other}`: it is telegraf or semantic"))),
        };
        if !options.token.is_empty() {
            options.headers.retain(|name, _| !name.eq_ignore_ascii_case("authorization"));
        }
        let endpoint = Endpoint::new(&Reached {
            url: &options.url()?,
            option: "service_address",
            headers: &options.headers,
            credentials: Credentials::token("Bearer", &options.token)?,
            timeout: options.timeout,
            local_address: "",
            uses_system_proxy: options.use_system_proxy && options.is_http(),
            proxy_url: if options.is_http() { &options.http_proxy_url } else { "" },
            tls: &options.tls,
            version: if options.is_http() { Version::One } else { Version::Two },
        })?;
        let otlp = Otlp { names, attributes: options.attributes.clone() };
        // Before anything is counted.
        origin::of_process();
        Ok(Self { options, otlp, endpoint, is_gzip, starts: Mutex::default() })
    }

    /// Where it writes to, for messages.
    fn shown(&self) -> &str {
        // Of gRPC, the path is the same everywhere.
        if self.options.is_http() { self.endpoint.shown() } else { &self.options.service_address }
    }

    async fn export(&self, request: &ExportMetricsServiceRequest, sent: Exported) -> Answer {
        let answer = if self.options.is_http() {
            self.export_http(request, sent).await
        } else {
            self.export_grpc(request, sent).await
        };
        answer.unwrap_or_else(Answer::retry).at(self.shown())
    }

    async fn export_http(
        &self,
        request: &ExportMetricsServiceRequest,
        sent: Exported,
    ) -> Result<Answer, String> {
        let message = request.encode_to_vec();
        let mut own = vec![("Content-Type", "application/x-protobuf")];
        let body = if self.is_gzip {
            own.push(("Content-Encoding", "gzip"));
            gzip(&[message], Compression::fast())
        } else {
            message
        };
        let response = self.endpoint.send(Method::POST, &own, body.into()).await?;
        let (status, after) = (response.status().as_u16(), after(&response));
        match http::body(response, MAX_BODY_BYTES).await {
            Ok(body) => Ok(answer::of_http(status, after, &body, sent)),
            // Of one that is too long, the request is not to be sent again.
            Err(error @ http::BodyError::TooLarge(_)) => Ok(sent.dropped(error.to_string())),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn export_grpc(
        &self,
        request: &ExportMetricsServiceRequest,
        sent: Exported,
    ) -> Result<Answer, String> {
        let message = request.encode_to_vec();
        let mut own = grpc::HEADERS.to_vec();
        let body = if self.is_gzip {
            own.push(grpc::PACKED);
            grpc::framed(&gzip(&[message], Compression::fast()), true)
        } else {
            grpc::framed(&message, false)
        };
        let response = self.endpoint.send(Method::POST, &own, body.into()).await?;
        let (status, body) = grpc::read(response).await?;
        Ok(answer::of_grpc(&status, grpc::message(&body).unwrap_or_default(), sent))
    }
}

fn after(response: &Response) -> Option<Duration> {
    Some(retry_delay(response.headers().get(RETRY_AFTER)?.to_str().ok()?))
}

impl OutputPlugin for Options {
    fn files(&self) -> Files {
        Files::read_all(self.tls.files())
    }

    fn budget(&self) -> Budget {
        Budget { memory: starts::MAX_BYTES, connections: 1, ..Budget::default() }
    }

    fn remarks(&self) -> Vec<OptionError> {
        let mut remarks = self.tls.remarks(self.is_tls());
        if !self.is_http() {
            let proxy = [
                ("use_system_proxy", self.use_system_proxy),
                ("http_proxy_url", !self.http_proxy_url.is_empty()),
            ];
            let what = "has no effect on gRPC: use an `http` address to go through a proxy";
            let set = proxy.into_iter().filter(|(_, is_set)| *is_set);
            remarks.extend(set.map(|(option, _)| OptionError::new(option, what)));
        }
        remarks
    }

    fn build(self: Box<Self>) -> Result<Vec<Box<dyn Output>>, OptionError> {
        Ok(vec![Box::new(Opentelemetry::new(*self)?)])
    }
}

#[async_trait::async_trait]
impl Output for Opentelemetry {
    fn place(&self) -> String {
        self.shown().to_owned()
    }

    fn destination(&self) -> String {
        format!("{} {}", self.options.service_address, self.options.names)
    }

    fn encoding(&self) -> Encoding {
        let format = Format { uint_support: true, ..Format::default() };
        Encoding { format, in_order: true, ..Encoding::default() }
    }

    fn may_repeat(&self) -> bool {
        // A request that was taken in part is never to be sent again.
        false
    }

    async fn write(&self, _: &[Option<String>], lines: &[Bytes]) -> Answer {
        let (points, unreadable) = parsed::points(lines);
        let origins = Origins { process: origin::of_process(), kept: origin::of_kept() };
        let converted = {
            // Nothing panics while it holds the lock.
            let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
            self.otlp.convert(&points, &mut starts.with(origins))
        };
        let sent = Exported { lines: lines.len() as u64, unreadable, data_points: converted.data_points };
        self.export(&converted.request, sent).await
    }

    async fn check(&self) -> Vec<(String, Result<String, String>)> {
        // Without metrics, which a server is to take.
        let sent = Exported { lines: 1, unreadable: 0, data_points: 0 };
        let answer = match self.export(&ExportMetricsServiceRequest::default(), sent).await {
            Answer::Stored { dropped: 0, .. } => Ok("takes OTLP".to_owned()),
            Answer::Stored { reason, .. }
            | Answer::Rejected { reason, .. }
            | Answer::Partly { reason, .. }
            | Answer::Retry { reason, .. } => Err(reason),
        };
        vec![(self.place(), answer)]
    }
}

#[cfg(test)]
mod tests;
