//! `[[outputs.influxdb]]`: the v1 write API of InfluxDB.
//!
//! Source: <https://docs.influxdata.com/influxdb/v1/tools/api/>. What an answer means is `answer`'s, and pure.

mod answer;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;

use self::answer::{Meaning, Said};
use super::{Answer, Output, OutputError, shortened};

/// The section `[[outputs.influxdb]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Servers, tried in turn.
    pub urls: Vec<String>,
    /// The database to write to.
    pub database: String,
    /// The retention policy; empty means the database's default.
    pub retention_policy: String,
    /// `any`, `one`, `quorum`, `all`; empty means the server's default.
    pub write_consistency: String,
    /// User name; empty means none.
    pub username: String,
    /// Password.
    pub password: String,
    /// For a whole request.
    #[serde(deserialize_with = "crate::config::duration::deserialize")]
    pub timeout: Duration,
    /// `gzip` or `identity`.
    pub content_encoding: String,
    /// The database is not created at start or when it is missing.
    pub skip_database_creation: bool,
    /// Headers added to each request.
    pub http_headers: BTreeMap<String, String>,
    /// The `User-Agent`; empty means Seismograf's own.
    pub user_agent: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            urls: vec!["http://localhost:8086".into()],
            database: "telegraf".into(),
            retention_policy: String::new(),
            write_consistency: String::new(),
            username: String::new(),
            password: String::new(),
            timeout: Duration::from_secs(5),
            content_encoding: "gzip".into(),
            skip_database_creation: false,
            http_headers: BTreeMap::new(),
            user_agent: String::new(),
        }
    }
}

/// What the agent calls itself.
const OWN_USER_AGENT: &str = concat!("Seismograf/", env!("CARGO_PKG_VERSION"));
/// No more of an answer is read than this.
const MOST_ANSWER_BYTES: usize = 64 << 10;

/// A client of one or more servers that hold the same database.
pub struct Influxdb {
    client: Client,
    options: Options,
    servers: Vec<Url>,
    /// The server that took the last write, by its place in `servers`: the next write goes there first.
    first: usize,
}

impl Influxdb {
    /// Checks the options; no server is contacted.
    ///
    /// # Errors
    /// A URL that is none or of another protocol, or a header that cannot be sent.
    pub fn new(options: Options) -> Result<Self, OutputError> {
        let servers = options.urls.iter().map(|url| server(url)).collect::<Result<Vec<_>, _>>()?;
        if servers.is_empty() {
            return Err(OutputError::new("urls", "is empty: name a server, such as http://localhost:8086"));
        }
        // Somebody else may have installed the same one before, in tests.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = Client::builder();
        if servers.iter().all(|url| url.scheme() == "http") {
            // Nobody's certificate is checked, so the system's authorities are not read: an image may have none.
            client = client.tls_certs_only([]);
        }
        let client = client
            .default_headers(headers(&options)?)
            .timeout(options.timeout)
            // A POST that is redirected becomes a GET, which would look like success.
            .redirect(reqwest::redirect::Policy::none())
            .http1_only()
            .build()
            .map_err(|error| {
                let what = format!("{}; the image or system needs its CA certificates", chain(&error));
                OutputError::new("urls", what)
            })?;
        Ok(Self { client, options, servers, first: 0 })
    }

    /// What a server says of itself, for `doctor`.
    ///
    /// # Errors
    /// Why it was not reached, or does not look like an InfluxDB.
    pub async fn ping(&self, server: usize) -> Result<String, String> {
        let Some(url) = self.servers.get(server) else { return Err("no such server".into()) };
        let request = self.client.get(endpoint(url, "ping"));
        let response = self.authorized(request).send().await.map_err(|error| chain(&error))?;
        let version = header(&response, "x-influxdb-version").unwrap_or_default();
        if response.status() == StatusCode::NO_CONTENT || !version.is_empty() {
            return Ok(if version.is_empty() {
                "no version given".into()
            } else {
                format!("InfluxDB {version}")
            });
        }
        Err(format!("answers {} to /ping: not an InfluxDB", response.status()))
    }

    /// The servers, without their secrets.
    #[must_use]
    pub fn places(&self) -> Vec<String> {
        self.servers.iter().map(ToString::to_string).collect()
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        let Options { username, password, .. } = &self.options;
        if username.is_empty() && password.is_empty() {
            return request;
        }
        request.basic_auth(username, Some(password))
    }

    async fn create_database(&self, url: &Url) -> Result<(), String> {
        let name = self.options.database.replace('\\', "\\\\").replace('"', "\\\"");
        let mut target = endpoint(url, "query");
        target.query_pairs_mut().append_pair("q", &format!("CREATE DATABASE \"{name}\""));
        let said = said(self.authorized(self.client.post(target)).send().await).await?;
        // A statement that fails is in a body that is a success.
        match said.error() {
            None if said.status.is_success() => Ok(()),
            error => Err(format!("{}: {}", said.status, error.unwrap_or_else(|| shortened(&said.body)))),
        }
    }

    /// One write to one server; a database that is missing is made on the way.
    async fn write_to(&self, url: &Url, body: &Bytes) -> Answer {
        let mut created = false;
        loop {
            let mut target = endpoint(url, "write");
            {
                let mut query = target.query_pairs_mut();
                query.append_pair("db", &self.options.database);
                if !self.options.retention_policy.is_empty() {
                    query.append_pair("rp", &self.options.retention_policy);
                }
                // `one` is what a server does by itself, and Telegraf does not send it.
                if !matches!(self.options.write_consistency.as_str(), "" | "one") {
                    query.append_pair("consistency", &self.options.write_consistency);
                }
            }
            let mut request = self.client.post(target).header(CONTENT_TYPE, "text/plain; charset=utf-8");
            if self.is_gzip() {
                request = request.header(CONTENT_ENCODING, "gzip");
            }
            let said = match said(self.authorized(request.body(body.clone())).send().await).await {
                Ok(said) => said,
                Err(error) => return Answer::later(format!("{url}: {error}")),
            };
            match said.meaning() {
                Meaning::Answer(Answer::Later { reason, after }) => {
                    return Answer::Later { reason: format!("{url}: {reason}"), after };
                }
                Meaning::Answer(answer) => return answer,
                Meaning::NoDatabase(reason) if self.options.skip_database_creation || created => {
                    return Answer::later(format!(
                        "{url}: {reason}; create it there: CREATE DATABASE \"{}\"",
                        self.options.database
                    ));
                }
                Meaning::NoDatabase(_) => match self.create_database(url).await {
                    Ok(()) => {
                        tracing::info!(%url, database = self.options.database, "database created");
                        created = true;
                    }
                    Err(error) => {
                        let database = &self.options.database;
                        return Answer::later(format!(
                            "{url}: cannot create the database {database}: {error}"
                        ));
                    }
                },
            }
        }
    }

    fn is_gzip(&self) -> bool {
        self.options.content_encoding == "gzip"
    }

    fn body(&self, lines: &[Bytes]) -> Bytes {
        let text = lines.concat();
        if !self.is_gzip() {
            return text.into();
        }
        let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 4), Compression::fast());
        match encoder.write_all(&text).and_then(|()| encoder.finish()) {
            Ok(packed) => packed.into(),
            // Into memory, which does not fail.
            Err(_) => Bytes::new(),
        }
    }
}

#[async_trait::async_trait]
impl Output for Influxdb {
    fn place(&self) -> String {
        self.places().join(", ")
    }

    fn destination(&self) -> String {
        let Options { database, retention_policy, .. } = &self.options;
        format!("{} {database} {retention_policy}", self.options.urls.join(" "))
    }

    async fn connect(&mut self) {
        if self.options.skip_database_creation {
            return;
        }
        for url in &self.servers {
            // Telegraf asks for it at each start; where it is there already, nothing happens.
            if let Err(error) = self.create_database(url).await {
                let database = &self.options.database;
                tracing::warn!(%url, database, error, "cannot create the database yet");
            }
        }
    }

    async fn write(&mut self, lines: &[Bytes]) -> Answer {
        let body = self.body(lines);
        let mut reasons: Vec<String> = Vec::new();
        let mut wish = None;
        for turn in 0..self.servers.len() {
            let i = (self.first + turn) % self.servers.len();
            match self.write_to(&self.servers[i], &body).await {
                Answer::Later { reason, after } => {
                    reasons.push(reason);
                    wish = wish.max(after);
                }
                answer => {
                    self.first = i;
                    return answer;
                }
            }
        }
        Answer::Later { reason: reasons.join("; "), after: wish }
    }
}

/// A server's URL without user, query and fragment.
fn server(text: &str) -> Result<Url, OutputError> {
    let wrong = |what: &str| OutputError::new("urls", format!("`{}` {what}", without_secrets(text)));
    let mut url = Url::parse(text)
        .map_err(|error| wrong(&format!("is no URL ({error}): write it as http://host:8086")))?;
    match url.scheme() {
        "http" | "https" => {}
        "udp" | "udp4" | "udp6" | "unix" => {
            return Err(wrong("is of a protocol that is not there yet: use http or https"));
        }
        _ => return Err(wrong("is not of http or https: write it as http://host:8086")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("has a user in it: give `username` and `password` instead"));
    }
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

/// A URL as it may stand in a message.
fn without_secrets(text: &str) -> String {
    match (text.find("://"), text.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => format!("{}://…{}", &text[..scheme], &text[at..]),
        _ => text.to_owned(),
    }
}

fn endpoint(url: &Url, name: &str) -> Url {
    let mut url = url.clone();
    let path = format!("{}/{name}", url.path().trim_end_matches('/'));
    url.set_path(&path);
    url
}

fn headers(options: &Options) -> Result<HeaderMap, OutputError> {
    let mut headers = HeaderMap::new();
    for (name, value) in &options.http_headers {
        let wrong =
            |what: &dyn std::fmt::Display| OutputError::new("http_headers", format!("`{name}`: {what}"));
        let value = HeaderValue::from_str(value).map_err(|error| wrong(&error))?;
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| wrong(&error))?;
        headers.insert(if name == HOST { HOST } else { name }, value);
    }
    // The option wins over a header of the same name; our own name does not.
    if !options.user_agent.is_empty() {
        let value = HeaderValue::from_str(&options.user_agent);
        headers.insert(USER_AGENT, value.map_err(|error| OutputError::new("user_agent", error.to_string()))?);
    }
    headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(OWN_USER_AGENT));
    Ok(headers)
}

/// What a server said, as far as it matters; bounded in size.
async fn said(response: Result<Response, reqwest::Error>) -> Result<Said, String> {
    let mut response = response.map_err(|error| chain(&error))?;
    let mut body = Vec::new();
    while body.len() < MOST_ANSWER_BYTES {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(error) => return Err(chain(&error)),
        }
    }
    body.truncate(MOST_ANSWER_BYTES);
    Ok(Said {
        status: response.status(),
        error_header: header(&response, "x-influxdb-error"),
        retry_after: header(&response, "retry-after"),
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

fn header(response: &Response, name: &str) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.to_owned())
}

/// An error with its causes; reqwest's own text stops short of them.
fn chain(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() { "no answer in time".to_owned() } else { String::new() };
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(error) = cause {
        let part = error.to_string();
        // Wrappers repeat what they wrap.
        if !text.contains(&part) && part != "client error (Connect)" {
            text = if text.is_empty() { part } else { format!("{text}: {part}") };
        }
        cause = error.source();
    }
    if text.is_empty() { error.to_string() } else { text }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("localhost:8086", "is not of http or https")]
    #[case("http://", "is no URL")]
    #[case("udp://h:8089", "not there yet")]
    #[case("http://u:secret@h:8086", "give `username` and `password`")]
    fn refuses_urls_it_cannot_write_to(#[case] url: &str, #[case] why: &str) {
        let options = Options { urls: vec![url.into()], ..Options::default() };
        let error = Influxdb::new(options).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(why), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn a_path_is_kept_and_a_query_is_not() {
        let url = server("https://h/influx/?x=1").unwrap();
        assert_eq!(endpoint(&url, "write").as_str(), "https://h/influx/write");
        assert_eq!(endpoint(&server("http://h:8086").unwrap(), "query").as_str(), "http://h:8086/query");
    }

    #[test]
    fn the_option_wins_over_the_header() {
        let mut options = Options::default();
        assert_eq!(headers(&options).unwrap()[USER_AGENT], OWN_USER_AGENT);
        options.http_headers.insert("user-agent".into(), "a".into());
        assert_eq!(headers(&options).unwrap()[USER_AGENT], "a");
        options.user_agent = "b".into();
        assert_eq!(headers(&options).unwrap()[USER_AGENT], "b");
        options.http_headers.insert("bad name".into(), "x".into());
        assert!(headers(&options).is_err());
    }
}
