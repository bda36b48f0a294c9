//! `[[outputs.influxdb]]`: the v1 write API of InfluxDB, over HTTP or UDP.
//!
//! Source: <https://docs.influxdata.com/influxdb/v1/tools/api/>. How a server is reached is `servers`' and `udp`'s, what a
//! response means `answer`'s.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;

use super::answer::{Api, Meaning};
use super::credentials::Credentials;
use super::local_address::LocalAddress;
use super::servers::{self, Reach, Server, Servers};
use super::shards::{self, Shards};
use super::trial::{self, Taking};
use super::udp::Udp;
use super::{Answer, Output, OutputPlugin, shortened};
use crate::line_protocol::Format;
use crate::options::secret::Secret;
use crate::options::tls::Tls;
use crate::options::{OptionError, nearest};
use crate::outputs::batch::{Encoding, RouteTag};
use crate::service::budget::Budget;
use crate::service::privilege::Files;

/// The server when none is configured.
const DEFAULT_URL: &str = "http://localhost:8086";
/// The longest UDP packet, as in Telegraf.
const DEFAULT_PAYLOAD: u32 = 512;

/// The section `[[outputs.influxdb]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Servers: `http`, `https`, `unix`, `udp`, `udp4`, `udp6`. They hold the same data, and one of them is written to; see
    /// `shard_by`.
    pub urls: Vec<String>,
    /// A tag by whose value the servers share the series among them; empty means that they do not.
    pub shard_by: String,
    /// The database to write to.
    pub database: String,
    /// A tag whose value is the database of its point, in place of `database`; empty means none.
    pub database_tag: String,
    /// Leave that tag out of the lines.
    pub exclude_database_tag: bool,
    /// The retention policy; empty means the database's default.
    pub retention_policy: String,
    /// A tag whose value is the retention policy of its point; empty means none.
    pub retention_policy_tag: String,
    /// Leave that tag out of the lines.
    pub exclude_retention_policy_tag: bool,
    /// `any`, `one`, `quorum`, `all`; empty means the server's default.
    pub write_consistency: String,
    /// User name; empty means none.
    pub username: Secret,
    /// Password.
    pub password: Secret,
    /// The limit for a whole request.
    #[serde(deserialize_with = "crate::options::duration::deserialize_or::<_, 5>")]
    pub timeout: Duration,
    /// `gzip`; anything else means plain text.
    pub content_encoding: String,
    /// Do not create the database, neither at start nor when it is missing.
    pub skip_database_creation: bool,
    /// Headers of each request, which override the agent's own.
    pub http_headers: BTreeMap<String, Secret>,
    /// A proxy's URL; empty means the environment's.
    pub http_proxy: String,
    /// The `User-Agent`; empty means Seismograf's own.
    pub user_agent: String,
    /// The address of this host to send from; empty means the system's choice.
    pub local_address: String,
    /// The maximum bytes of a UDP packet; a longer point is split into several.
    #[serde(deserialize_with = "crate::options::duration::deserialize_size_or::<_, DEFAULT_PAYLOAD>")]
    pub udp_payload: u32,
    /// Unsigned integers are written as such.
    pub influx_uint_support: bool,
    /// Points are written without a timestamp.
    pub influx_omit_timestamp: bool,
    /// For `https`.
    pub tls: Tls,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            urls: vec![DEFAULT_URL.into()],
            shard_by: String::new(),
            database: "telegraf".into(),
            database_tag: String::new(),
            exclude_database_tag: false,
            retention_policy: String::new(),
            retention_policy_tag: String::new(),
            exclude_retention_policy_tag: false,
            write_consistency: String::new(),
            username: Secret::default(),
            password: Secret::default(),
            timeout: Duration::from_secs(5),
            content_encoding: "gzip".into(),
            skip_database_creation: false,
            http_headers: BTreeMap::new(),
            http_proxy: String::new(),
            user_agent: String::new(),
            local_address: String::new(),
            udp_payload: DEFAULT_PAYLOAD,
            influx_uint_support: false,
            influx_omit_timestamp: false,
            tls: Tls::default(),
        }
    }
}

/// A client of one or more servers that hold the same databases, or share them.
pub struct Influxdb {
    options: Options,
    encoding: Encoding,
    peers: Servers<Peer>,
}

enum Peer {
    Http(Server),
    Udp(Udp),
}

impl Peer {
    fn shown(&self) -> &str {
        match self {
            Self::Http(server) => server.shown(),
            Self::Udp(udp) => udp.shown(),
        }
    }
}

impl Influxdb {
    /// Checks the options; no server is contacted.
    ///
    /// # Errors
    /// A URL that is invalid or of another protocol, or another option that cannot be used.
    pub fn new(options: Options) -> Result<Self, OptionError> {
        let urls = match options.urls.as_slice() {
            [] => vec![DEFAULT_URL.to_owned()],
            urls => urls.to_vec(),
        };
        let (udp, http): (Vec<_>, Vec<_>) = urls.into_iter().partition(|url| Udp::is_for(url));
        let credentials = if options.username.is_empty() && options.password.is_empty() {
            Credentials::None
        } else {
            Credentials::Basic(options.username.clone(), options.password.clone())
        };
        let reach = Reach {
            timeout: options.timeout,
            http_headers: &options.http_headers,
            user_agent: &options.user_agent,
            http_proxy: &options.http_proxy,
            local_address: &options.local_address,
            tls: &options.tls,
            credentials,
            is_gzip: options.content_encoding == "gzip",
            keeps_query: false,
        };
        let mut peers: Vec<Peer> = reach.servers(&http)?.into_iter().map(Peer::Http).collect();
        let local = LocalAddress::new(&options.local_address)?;
        for url in &udp {
            peers.push(Peer::Udp(Udp::new(url, local.clone())?));
        }
        let max_line_bytes = if udp.is_empty() { 0 } else { options.udp_payload as usize };
        let route = [
            RouteTag { key: options.database_tag.clone(), exclude: options.exclude_database_tag },
            RouteTag {
                key: options.retention_policy_tag.clone(),
                exclude: options.exclude_retention_policy_tag,
            },
        ];
        let shards = Shards::new(&options.shard_by, peers.iter().map(|peer| peer.shown().to_owned()))?;
        let format = Format {
            uint_support: options.influx_uint_support,
            omit_timestamp: options.influx_omit_timestamp,
            max_line_bytes,
            ..Format::default()
        };
        let encoding = Encoding::by_tags(format, &route, shards.as_ref());
        Ok(Self { options, encoding, peers: Servers::new(peers, shards) })
    }
}

/// Where lines go on a server.
struct Target<'a> {
    options: &'a Options,
    database: &'a str,
    retention_policy: &'a str,
}

impl<'a> Target<'a> {
    fn new(options: &'a Options, route: &'a [Option<String>]) -> Self {
        let part = |n: usize, default: &'a str| route.get(n).and_then(Option::as_deref).unwrap_or(default);
        Self {
            options,
            database: part(0, &options.database),
            retention_policy: part(1, &options.retention_policy),
        }
    }

    fn query(&self) -> Vec<(&str, &str)> {
        let mut query = vec![("db", self.database)];
        if !self.retention_policy.is_empty() {
            query.push(("rp", self.retention_policy));
        }
        // `one` is the server's default, and Telegraf does not send it.
        if !matches!(self.options.write_consistency.as_str(), "" | "one") {
            query.push(("consistency", &self.options.write_consistency));
        }
        query
    }

    /// `CREATE DATABASE "x"`
    fn statement(&self) -> String {
        let name = self.database.replace('\\', "\\\\").replace('"', "\\\"");
        format!("CREATE DATABASE \"{name}\"")
    }

    async fn create_database(&self, server: &Server) -> Result<(), String> {
        let reply = server.post_form("query", &[("q", &self.statement())]).await?;
        // The error of a statement comes in the body of a successful response.
        match reply.error() {
            None if reply.status.is_success() => Ok(()),
            error => Err(format!("{}: {}", reply.status, error.unwrap_or_else(|| shortened(&reply.body)))),
        }
    }

    /// Whether a server would take lines, or has everything but the database, which is created at the start.
    async fn check(&self, server: &Server) -> Result<String, String> {
        let Taking { about, missing } = trial::of(server, Api::V1, "write", &self.query()).await?;
        let database = self.database;
        match missing {
            None => Ok(format!("{about}, takes points for the database {database}")),
            Some(_) if !self.options.skip_database_creation => {
                Ok(format!("{about}; the database {database} is not there yet: it is created at the start"))
            }
            Some(reason) => {
                Err(trial::refused(&about, &format!("{reason}; create it there: {}", self.statement())))
            }
        }
    }

    /// One write to one server; a missing database is created on the way.
    async fn write(&self, server: &Server, body: &Bytes, lines: &[Bytes]) -> Answer {
        let url = server.shown();
        let retry_route = |reason: String| Answer::Retry { reason, after: None, route_only: true };
        let mut created = false;
        loop {
            let reply = match server.write("write", &self.query(), body).await {
                Ok(reply) => reply,
                Err(error) => return Answer::retry(format!("{url}: {error}")),
            };
            match reply.meaning(Api::V1, lines) {
                Meaning::Answer(answer) => return answer.at(url),
                Meaning::Missing(reason) if self.options.skip_database_creation || created => {
                    return retry_route(format!("{url}: {reason}; create it there: {}", self.statement()));
                }
                Meaning::Missing(_) => match self.create_database(server).await {
                    Ok(()) => {
                        tracing::info!(url, database = self.database, "database created");
                        created = true;
                    }
                    Err(error) => {
                        let database = self.database;
                        return retry_route(format!("{url}: cannot create the database {database}: {error}"));
                    }
                },
            }
        }
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
        if !["gzip", "identity"].contains(&self.content_encoding.as_str()) {
            let near = nearest(&self.content_encoding, &["gzip", "identity"]);
            let what = format!(
                "there is no `{}`{near}: lines are sent as plain text, as with \"identity\"",
                self.content_encoding
            );
            remarks.push(OptionError::new("content_encoding", what));
        }
        let levels = ["", "any", "one", "quorum", "all"];
        if !levels.contains(&self.write_consistency.as_str()) {
            let near = nearest(&self.write_consistency, &levels[1..]);
            let what =
                format!("there is no `{}`{near}; there are: any, one, quorum, all", self.write_consistency);
            remarks.push(OptionError::new("write_consistency", what));
        }
        remarks.extend(shards::remark(&self.shard_by, &self.urls));
        // Values are not shown: a password may be one.
        if self.urls.iter().any(|url| !Udp::is_for(url) && url.contains('?')) {
            let what = "has a URL with a query, which is not sent: write `database`, `username`, `password` and the like";
            remarks.push(OptionError::new("urls", what));
        }
        remarks
    }

    fn build(self: Box<Self>) -> Result<Vec<Box<dyn Output>>, OptionError> {
        Ok(vec![Box::new(Influxdb::new(*self)?)])
    }
}

#[async_trait::async_trait]
impl Output for Influxdb {
    fn place(&self) -> String {
        self.peers.iter().map(Peer::shown).collect::<Vec<_>>().join(", ")
    }

    fn encoding(&self) -> Encoding {
        self.encoding.clone()
    }

    fn destination(&self) -> String {
        let Options { database, retention_policy, database_tag, retention_policy_tag, .. } = &self.options;
        let urls = servers::destination(&self.options.urls, &self.options.shard_by);
        format!("{urls} {database} {retention_policy} {database_tag} {retention_policy_tag}")
    }

    async fn connect(&self) {
        if self.options.skip_database_creation {
            return;
        }
        let target = Target::new(&self.options, &[]);
        for peer in self.peers.iter() {
            let Peer::Http(server) = peer else { continue };
            // At each start, as Telegraf does; for a database that exists nothing happens.
            if let Err(error) = target.create_database(server).await {
                let (url, database) = (server.shown(), target.database);
                tracing::warn!(url, database, error, "cannot create the database yet");
            }
        }
    }

    fn max_in_flight(&self) -> usize {
        self.peers.max_in_flight(servers::MAX_IN_FLIGHT)
    }

    fn max_in_flight_of_route(&self) -> usize {
        servers::MAX_IN_FLIGHT
    }

    async fn write(&self, route: &[Option<String>], lines: &[Bytes]) -> Answer {
        let target = Target::new(&self.options, route);
        let body = servers::body(lines, self.options.content_encoding == "gzip");
        let mut round = self.peers.round(route);
        while let Some(peer) = round.next() {
            let answer = match peer {
                Peer::Http(server) => target.write(server, &body, lines).await,
                Peer::Udp(udp) => udp.write(lines).await,
            };
            if let Some(answer) = round.settle(answer) {
                return answer;
            }
        }
        round.failed()
    }

    async fn check(&self) -> Vec<(String, Result<String, String>)> {
        let target = Target::new(&self.options, &[]);
        let mut answers = Vec::new();
        for peer in self.peers.iter() {
            let answer = match peer {
                Peer::Http(server) => target.check(server).await,
                Peer::Udp(_) => Ok("UDP, which gives no answer".into()),
            };
            answers.push((peer.shown().to_owned(), answer));
        }
        answers
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn influxdb(options: Options) -> Influxdb {
        Influxdb::new(options).unwrap()
    }

    #[rstest]
    #[case::none(&[], "http://localhost:8086/")]
    #[case::two(&["http://b", "http://a"], "http://b/, http://a/")]
    #[case::any_protocol(&["udp://h:8089", "unix:///run/i.sock"], "unix:///run/i.sock, udp://h:8089")]
    fn writes_to_the_configured_urls(#[case] urls: &[&str], #[case] expected: &str) {
        let urls = urls.iter().map(|url| (*url).to_owned()).collect();
        assert_eq!(influxdb(Options { urls, ..Options::default() }).place(), expected);
    }

    #[test]
    fn servers_that_share_series_are_a_part_of_the_route() {
        let options = Options {
            urls: vec!["http://u:secret@a:1".into(), "udp://b:2".into()],
            shard_by: "host".into(),
            ..Options::default()
        };
        let encoding = influxdb(options.clone()).encoding();
        let mut point = std::borrow::Cow::Owned(crate::point::Point::new("m", crate::point::Timestamp(0)));
        let route = encoding.route(&mut point);
        assert_eq!(
            (&route[..2], route.len()),
            (&[None, None][..], 3),
            "database and policy stay where they are"
        );
        let server = route[2].as_deref().unwrap();
        assert!(["http://a:1/", "udp://b:2"].contains(&server), "{server}");
        assert_eq!(Target::new(&options, &route).query(), [("db", "telegraf")]);
        assert!(options.remarks().is_empty());
        let one = Options { shard_by: "host".into(), ..Options::default() };
        assert!(one.remarks()[0].to_string().starts_with("`shard_by`: has no effect with one server"));
    }

    #[test]
    fn parses_sizes_and_durations() {
        let text = "udp_payload = '1KiB'\ntimeout = 7";
        let options: Options = toml::from_str(text).unwrap();
        let expected = Options { udp_payload: 1024, timeout: Duration::from_secs(7), ..Options::default() };
        assert_eq!(options, expected);
    }

    #[test]
    fn the_target_comes_from_the_point_or_the_options() {
        let options = Options { database: "d".into(), retention_policy: "p".into(), ..Options::default() };
        let route = [Some("tagged".to_owned()), None];
        assert_eq!(Target::new(&options, &route).query(), [("db", "tagged"), ("rp", "p")]);
        assert_eq!(Target::new(&options, &[]).query(), [("db", "d"), ("rp", "p")]);
        let options = Options { write_consistency: "all".into(), ..Options::default() };
        let route = [None, Some("tagged".to_owned())];
        let expected = [("db", "telegraf"), ("rp", "tagged"), ("consistency", "all")];
        assert_eq!(Target::new(&options, &route).query(), expected);
        let options = Options { write_consistency: "one".into(), ..Options::default() };
        assert_eq!(Target::new(&options, &[]).query(), [("db", "telegraf")]);
    }

    #[test]
    fn what_is_queued_for_one_database_never_goes_to_another() {
        let destination = |options: Options| influxdb(options).destination();
        let plain = destination(Options::default());
        for other in [
            Options { urls: vec!["http://a".into()], ..Options::default() },
            Options { database: "d".into(), ..Options::default() },
            Options { retention_policy: "p".into(), ..Options::default() },
            Options { database_tag: "t".into(), ..Options::default() },
            Options { retention_policy_tag: "t".into(), ..Options::default() },
            Options { shard_by: "t".into(), ..Options::default() },
        ] {
            assert_ne!(destination(other.clone()), plain, "{other:?}");
        }
        let same = Options { timeout: Duration::ZERO, influx_uint_support: true, ..Options::default() };
        assert_eq!(destination(same), plain);
    }

    #[test]
    fn lines_are_encoded_as_the_options_say() {
        assert_eq!(influxdb(Options::default()).encoding(), Encoding::default());
        let options = Options {
            urls: vec!["udp://h:8089".into()],
            influx_uint_support: true,
            influx_omit_timestamp: true,
            retention_policy_tag: "rp".into(),
            exclude_retention_policy_tag: true,
            ..Options::default()
        };
        let format =
            Format { uint_support: true, omit_timestamp: true, max_line_bytes: 512, ..Format::default() };
        let route = vec![RouteTag::default(), RouteTag { key: "rp".into(), exclude: true }];
        assert_eq!(influxdb(options).encoding(), Encoding { format, route, ..Encoding::default() });
    }
}
