//! `[[outputs.influxdb_v2]]`: the v2 write API of InfluxDB 2 and 3, and of others that support it.
//!
//! Source: <https://docs.influxdata.com/influxdb/v2/api/#operation/PostWrite>. How a server is reached is `servers`', what a
//! response means `answer`'s.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;

use super::answer::Api;
use super::credentials::Credentials;
use super::rate_limit::RateLimit;
use super::servers::{self, Reach};
use super::shards;
use super::write_api::{WriteClient, WriteRequest};
use super::{Answer, Output, OutputPlugin};
use crate::line_protocol::Format;
use crate::options::OptionError;
use crate::options::secret::Secret;
use crate::options::tls::Tls;
use crate::outputs::batch::{Encoding, RouteTag};
use crate::service::budget::Budget;
use crate::service::privilege::Files;

/// The section `[[outputs.influxdb_v2]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Servers: `http`, `https`, `unix`. They hold the same data, and one of them is written to; see `shard_by`.
    pub urls: Vec<String>,
    /// A tag by whose value the servers share the series among them; empty means that they do not.
    pub shard_by: String,
    /// The token that may write.
    pub token: Secret,
    /// The organization that owns the bucket.
    pub organization: String,
    /// The bucket to write to.
    pub bucket: String,
    /// A tag whose value is the bucket of its point, in place of `bucket`; empty means none.
    pub bucket_tag: String,
    /// Leave that tag out of the lines.
    pub exclude_bucket_tag: bool,
    /// The limit for a whole request.
    #[serde(deserialize_with = "crate::options::duration::deserialize_or::<_, 5>")]
    pub timeout: Duration,
    /// Headers of each request, which override the agent's own.
    pub http_headers: BTreeMap<String, Secret>,
    /// A proxy's URL; empty means the environment's.
    pub http_proxy: String,
    /// The `User-Agent`; empty means Seismograf's own.
    pub user_agent: String,
    /// `gzip` or `identity`.
    pub content_encoding: String,
    /// Unsigned integers are written as such.
    pub influx_uint_support: bool,
    /// Points are written without a timestamp.
    pub influx_omit_timestamp: bool,
    /// The address of this host to send from; empty means the system's choice.
    pub local_address: String,
    /// Bytes of lines, before compression, in each `rate_limit_period`; 0 means no limit.
    #[serde(deserialize_with = "crate::options::duration::deserialize_size")]
    pub rate_limit: u64,
    /// See `rate_limit`.
    #[serde(deserialize_with = "crate::options::duration::deserialize")]
    pub rate_limit_period: Duration,
    /// For `https`.
    pub tls: Tls,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            urls: vec!["http://localhost:8086".into()],
            shard_by: String::new(),
            token: Secret::default(),
            organization: String::new(),
            bucket: String::new(),
            bucket_tag: String::new(),
            exclude_bucket_tag: false,
            timeout: Duration::from_secs(5),
            http_headers: BTreeMap::new(),
            http_proxy: String::new(),
            user_agent: String::new(),
            content_encoding: "gzip".into(),
            influx_uint_support: false,
            influx_omit_timestamp: false,
            local_address: String::new(),
            rate_limit: 0,
            rate_limit_period: Duration::ZERO,
            tls: Tls::default(),
        }
    }
}

/// A client of one or more servers that hold the same buckets.
pub struct InfluxdbV2 {
    options: Options,
    client: WriteClient,
}

impl InfluxdbV2 {
    /// Checks the options; no server is contacted.
    ///
    /// # Errors
    /// A URL that is invalid or of another protocol, or another option that cannot be used.
    pub fn new(mut options: Options) -> Result<Self, OptionError> {
        if options.urls.is_empty() {
            options.urls = Options::default().urls;
        }
        if !matches!(options.content_encoding.as_str(), "gzip" | "identity") {
            let what = format!("`{}`: it is gzip or identity", options.content_encoding);
            return Err(OptionError::new("content_encoding", what));
        }
        let rate_limit = RateLimit::new(options.rate_limit, options.rate_limit_period)?;
        let reach = Reach {
            timeout: options.timeout,
            http_headers: &options.http_headers,
            user_agent: &options.user_agent,
            http_proxy: &options.http_proxy,
            local_address: &options.local_address,
            tls: &options.tls,
            credentials: Credentials::token("Token", &options.token)?,
            is_gzip: options.content_encoding == "gzip",
            keeps_query: true,
        };
        let client = WriteClient::new(reach, &options.urls, &options.shard_by, rate_limit)?;
        Ok(Self { options, client })
    }
}

impl OutputPlugin for Options {
    fn files(&self) -> Files {
        Files::read_all(self.tls.files())
    }

    fn budget(&self) -> Budget {
        Budget { connections: (self.urls.len() * servers::MAX_IN_FLIGHT) as u64, ..Budget::default() }
    }

    fn remarks(&self) -> Vec<OptionError> {
        let mut remarks = self.tls.remarks(self.urls.iter().any(|url| url.starts_with("https")));
        remarks.extend(shards::remark(&self.shard_by, &self.urls));
        remarks
    }

    fn build(self: Box<Self>) -> Result<Vec<Box<dyn Output>>, OptionError> {
        Ok(vec![Box::new(InfluxdbV2::new(*self)?)])
    }
}

impl InfluxdbV2 {
    fn query<'a>(&'a self, route: &'a [Option<String>]) -> [(&'a str, &'a str); 2] {
        let bucket = route.first().and_then(Option::as_ref).unwrap_or(&self.options.bucket);
        [("bucket", bucket.as_str()), ("org", self.options.organization.as_str())]
    }
}

fn request<'a>(query: &'a [(&'a str, &'a str)]) -> WriteRequest<'a> {
    WriteRequest { api: Api::V2, endpoint: "api/v2/write", query, place: "`bucket` and `organization`" }
}

#[async_trait::async_trait]
impl Output for InfluxdbV2 {
    fn place(&self) -> String {
        self.client.place()
    }

    fn destination(&self) -> String {
        let Options { urls, organization, bucket, bucket_tag, shard_by, .. } = &self.options;
        let shared = servers::destination(urls, shard_by);
        format!("{shared} {organization} {bucket} {bucket_tag}")
    }

    fn encoding(&self) -> Encoding {
        let Options { bucket_tag, exclude_bucket_tag, .. } = &self.options;
        let format = Format {
            uint_support: self.options.influx_uint_support,
            omit_timestamp: self.options.influx_omit_timestamp,
            ..Format::default()
        };
        let tag = RouteTag { key: bucket_tag.clone(), exclude: *exclude_bucket_tag };
        Encoding::by_tags(format, &[tag], self.client.shards())
    }

    fn max_in_flight(&self) -> usize {
        self.client.max_in_flight(servers::MAX_IN_FLIGHT)
    }

    fn max_in_flight_of_route(&self) -> usize {
        servers::MAX_IN_FLIGHT
    }

    async fn write(&self, route: &[Option<String>], lines: &[Bytes]) -> Answer {
        self.client.write(request(&self.query(route)), route, lines).await
    }

    async fn check(&self) -> Vec<(String, Result<String, String>)> {
        self.client.check(request(&self.query(&[]))).await
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(Options { content_encoding: "deflate".into(), ..Options::default() }, "`content_encoding`: `deflate`: it is gzip")]
    #[case(Options { rate_limit: 1, ..Options::default() }, "`rate_limit`: needs `rate_limit_period`")]
    #[case(Options { token: "sec\nret".into(), ..Options::default() }, "`token`: has characters")]
    #[case(Options { urls: vec!["udp://h:1".into()], ..Options::default() }, "`urls`: `udp://h:1` is of a protocol")]
    fn rejects_what_it_cannot_use(#[case] options: Options, #[case] expected: &str) {
        let error = InfluxdbV2::new(options).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.starts_with(expected) && !error.contains("ret\n"), "{error}");
    }

    #[test]
    fn what_is_queued_for_one_bucket_never_goes_to_another() {
        let destination = |options: Options| InfluxdbV2::new(options).unwrap().destination();
        let plain = destination(Options::default());
        for other in [
            Options { urls: vec!["http://localhost:8086/?tenant=1".into()], ..Options::default() },
            Options { organization: "o".into(), ..Options::default() },
            Options { bucket: "b".into(), ..Options::default() },
            Options { bucket_tag: "t".into(), ..Options::default() },
            Options { shard_by: "t".into(), ..Options::default() },
        ] {
            assert_ne!(destination(other.clone()), plain, "{other:?}");
        }
        let same = Options { token: "t".into(), exclude_bucket_tag: true, ..Options::default() };
        assert_eq!(destination(same), plain);
    }

    #[test]
    fn lines_are_encoded_as_the_options_say() {
        let encoding = |options: Options| InfluxdbV2::new(options).unwrap().encoding();
        assert_eq!(encoding(Options::default()), Encoding::default());
        let options = Options {
            bucket_tag: "b".into(),
            exclude_bucket_tag: true,
            influx_uint_support: true,
            influx_omit_timestamp: true,
            ..Options::default()
        };
        let format = Format { uint_support: true, omit_timestamp: true, ..Format::default() };
        let route = vec![RouteTag { key: "b".into(), exclude: true }];
        assert_eq!(encoding(options), Encoding { format, route, ..Encoding::default() });
    }
}
