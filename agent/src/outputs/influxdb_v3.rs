//! `[[outputs.influxdb_v3]]`: the write API of InfluxDB 3.
//!
//! Source: <https://docs.influxdata.com/influxdb3/core/write-data/http-api/v3-write-lp/>. How a server is reached is `servers`',
//! what a response means `answer`'s. The server acknowledges a write when it has written its log, once a second: so several are
//! under way at one time.

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

/// The section `[[outputs.influxdb_v3]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Servers: `http`, `https`, `unix`. They hold the same data, and one of them is written to; see `shard_by`.
    pub urls: Vec<String>,
    /// A tag by whose value the servers share the series among them; empty means that they do not.
    pub shard_by: String,
    /// The token that may write.
    pub token: Secret,
    /// The database to write to, which the first write makes.
    pub database: String,
    /// A tag whose value is the database of its point, in place of `database`; empty means none.
    pub database_tag: String,
    /// Leave that tag out of the lines.
    pub exclude_database_tag: bool,
    /// An answer means that the points are in the server's log. Without, they may be lost with it.
    pub sync: bool,
    /// The limit for a whole request.
    #[serde(deserialize_with = "crate::options::duration::deserialize_or::<_, 5>")]
    pub timeout: Duration,
    /// Headers of each request, which override the agent's own.
    pub http_headers: BTreeMap<String, Secret>,
    /// A proxy's URL; empty means the environment's.
    pub http_proxy: String,
    /// The `User-Agent`; empty means Seismograf's own.
    pub user_agent: String,
    /// `gzip`, or `identity` (also `none`).
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
            urls: vec!["http://localhost:8181".into()],
            shard_by: String::new(),
            token: Secret::default(),
            database: String::new(),
            database_tag: String::new(),
            exclude_database_tag: false,
            sync: true,
            timeout: Duration::from_secs(5),
            http_headers: BTreeMap::new(),
            http_proxy: String::new(),
            user_agent: String::new(),
            content_encoding: "gzip".into(),
            influx_uint_support: true,
            influx_omit_timestamp: false,
            local_address: String::new(),
            rate_limit: 0,
            rate_limit_period: Duration::ZERO,
            tls: Tls::default(),
        }
    }
}

/// A client of one or more servers that hold the same databases.
pub struct InfluxdbV3 {
    options: Options,
    client: WriteClient,
}

impl InfluxdbV3 {
    /// Checks the options; no server is contacted.
    ///
    /// # Errors
    /// A URL that is invalid or of another protocol, or another option that cannot be used.
    pub fn new(mut options: Options) -> Result<Self, OptionError> {
        if options.urls.is_empty() {
            options.urls = Options::default().urls;
        }
        if !matches!(options.content_encoding.as_str(), "gzip" | "identity" | "none") {
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
            credentials: Credentials::token("Bearer", &options.token)?,
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
        Budget { connections: (self.urls.len() * servers::MAX_IN_FLIGHT_OF_V3) as u64, ..Budget::default() }
    }

    fn remarks(&self) -> Vec<OptionError> {
        let mut remarks = self.tls.remarks(self.urls.iter().any(|url| url.starts_with("https")));
        remarks.extend(shards::remark(&self.shard_by, &self.urls));
        if self.database.is_empty() && self.database_tag.is_empty() {
            remarks.push(OptionError::new(
                "database",
                "is not set, nor is `database_tag`: no server takes points so",
            ));
        }
        if !self.sync {
            let what = "is off: points that the server acknowledged are lost if it is killed before it writes its log";
            remarks.push(OptionError::new("sync", what));
        }
        remarks
    }

    fn build(self: Box<Self>) -> Result<Vec<Box<dyn Output>>, OptionError> {
        Ok(vec![Box::new(InfluxdbV3::new(*self)?)])
    }
}

impl InfluxdbV3 {
    fn query<'a>(&'a self, route: &'a [Option<String>]) -> [(&'a str, &'a str); 4] {
        let database = route.first().and_then(Option::as_ref).unwrap_or(&self.options.database);
        let no_sync = if self.options.sync { "false" } else { "true" };
        // Without a precision the server guesses it from the size of the times.
        [
            ("db", database.as_str()),
            ("precision", "nanosecond"),
            ("accept_partial", "true"),
            ("no_sync", no_sync),
        ]
    }
}

fn request<'a>(query: &'a [(&'a str, &'a str)]) -> WriteRequest<'a> {
    WriteRequest { api: Api::V3, endpoint: "api/v3/write_lp", query, place: "`database`" }
}

#[async_trait::async_trait]
impl Output for InfluxdbV3 {
    fn place(&self) -> String {
        self.client.place()
    }

    fn destination(&self) -> String {
        let Options { urls, database, database_tag, shard_by, .. } = &self.options;
        format!("{} {database} {database_tag}", servers::destination(urls, shard_by))
    }

    fn encoding(&self) -> Encoding {
        let Options { database_tag, exclude_database_tag, .. } = &self.options;
        let format = Format {
            uint_support: self.options.influx_uint_support,
            omit_timestamp: self.options.influx_omit_timestamp,
            ..Format::default()
        };
        let tag = RouteTag { key: database_tag.clone(), exclude: *exclude_database_tag };
        Encoding::by_tags(format, &[tag], self.client.shards())
    }

    fn max_in_flight(&self) -> usize {
        self.client.max_in_flight(servers::MAX_IN_FLIGHT_OF_V3)
    }

    fn max_in_flight_of_route(&self) -> usize {
        servers::MAX_IN_FLIGHT_OF_V3
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

    fn options() -> Options {
        Options { database: "d".into(), ..Options::default() }
    }

    #[rstest]
    #[case(Options { content_encoding: "deflate".into(), ..options() }, "`content_encoding`: `deflate`: it is gzip")]
    #[case(Options { rate_limit: 1, ..options() }, "`rate_limit`: needs `rate_limit_period`")]
    #[case(Options { token: "sec\nret".into(), ..options() }, "`token`: has characters")]
    #[case(Options { urls: vec!["udp://h:1".into()], ..options() }, "`urls`: `udp://h:1` is of a protocol")]
    fn rejects_what_it_cannot_use(#[case] options: Options, #[case] expected: &str) {
        let error = InfluxdbV3::new(options).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.starts_with(expected) && !error.contains("ret\n"), "{error}");
    }

    #[test]
    fn what_is_queued_for_one_database_never_goes_to_another() {
        let destination = |options: Options| InfluxdbV3::new(options).unwrap().destination();
        let plain = destination(options());
        for other in [
            Options { urls: vec!["http://localhost:8181/?tenant=1".into()], ..options() },
            Options { database: "other".into(), ..options() },
            Options { database_tag: "t".into(), ..options() },
            Options { shard_by: "t".into(), ..options() },
        ] {
            assert_ne!(destination(other.clone()), plain, "{other:?}");
        }
        let same = Options { token: "t".into(), exclude_database_tag: true, sync: false, ..options() };
        assert_eq!(destination(same), plain);
    }
}
