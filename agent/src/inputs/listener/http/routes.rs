//! Which request means what.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hyper::body::{Body as _, Incoming};
use hyper::header::{ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderValue};
use hyper::{HeaderMap, Method, Request, StatusCode};
use serde_json::json;

use super::answer::{Answer, Dialect, empty, json_answer};
use super::auth::Auth;
use super::influxql::{Databases, MAX_NAME, NAME_TOO_LONG};
use super::params::Params;
use super::write::{Write, WriteError, discard, form};
use crate::inputs::listener::Inlet;
use crate::inputs::listener::inflate::Packing;
use crate::inputs::listener::intake::{Lines, Manner, Outcome};
use crate::inputs::listener::queue::Tags;
use crate::listen::Gate as _;
use crate::listen::serve::Answers;
use crate::parsers::line_protocol::Precision;

/// Telegraf's, for a body; also what its 0 means.
pub(in super::super::super) const MAX_BODY: u32 = 32 << 20;
/// Telegraf's, and what [`Api::new`] takes in place of less than a second.
pub(in super::super::super) const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may have no request. Clients write every 10 s, some every minute, and one whose connection closes as it
/// writes sees an error.
const IDLE_LIMIT: Duration = Duration::from_secs(75);
/// Bytes of a query, which are a few words.
const MAX_QUERY: usize = 64 << 10;

/// Tags that points get from their request; empty means none.
#[derive(Clone, Debug, Default)]
pub(in super::super::super) struct TagNames {
    pub(in super::super::super) database: String,
    pub(in super::super::super) retention_policy: String,
    pub(in super::super::super) bucket: String,
}

/// What requests are served by.
pub(in super::super::super) struct Api {
    dialect: Dialect,
    auth: Auth,
    tags: TagNames,
    max_body: u64,
    read_timeout: Duration,
    databases: Mutex<Databases>,
    start: Instant,
}

/// Where points are to go, in the words of both versions.
#[derive(Debug, Default, PartialEq, Eq)]
struct WritePlace {
    database: String,
    retention_policy: String,
    bucket: String,
}

impl WritePlace {
    /// Version 1's parameters; a bucket of version 2 is `DATABASE/POLICY`.
    fn of_v1(params: &Params) -> Self {
        let (database, retention_policy) = (params.get("db").to_owned(), params.get("rp").to_owned());
        let bucket = if retention_policy.is_empty() {
            database.clone()
        } else {
            format!("{database}/{retention_policy}")
        };
        Self { database, retention_policy, bucket }
    }

    fn of_v2(params: &Params) -> Self {
        let bucket = params.get("bucket").to_owned();
        let (database, retention_policy) = bucket.split_once('/').unwrap_or((&bucket, ""));
        Self {
            database: database.to_owned(),
            retention_policy: retention_policy.to_owned(),
            bucket: bucket.clone(),
        }
    }

    /// Whether a database can have such a name. Each point may get it as a tag.
    fn is_valid(&self) -> bool {
        self.database.len() <= MAX_NAME && self.retention_policy.len() <= MAX_NAME
    }
}

impl TagNames {
    fn tags(&self, place: &WritePlace) -> Tags {
        let pairs = [
            (&self.database, &place.database),
            (&self.retention_policy, &place.retention_policy),
            (&self.bucket, &place.bucket),
        ];
        let set = pairs.into_iter().filter(|(name, value)| !name.is_empty() && !value.is_empty());
        set.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

impl Api {
    /// With the options of either input; a `read_timeout` of less than a second is the default's, as in Telegraf.
    pub(in super::super::super) fn new(
        dialect: Dialect,
        auth: Auth,
        tags: TagNames,
        max_body: u32,
        read_timeout: Duration,
    ) -> Self {
        let (max_body, databases) = (u64::from(max_body), Mutex::default());
        let is_long = read_timeout >= Duration::from_secs(1);
        let read_timeout = if is_long { read_timeout } else { READ_TIMEOUT };
        Self { dialect, auth, tags, max_body, read_timeout, databases, start: Instant::now() }
    }
}

impl Answers for Api {
    type Gate = Inlet;

    fn idle_limit(&self) -> Duration {
        IDLE_LIMIT.max(self.read_timeout)
    }

    /// Some connect long before they write.
    fn first_limit(&self) -> Duration {
        self.idle_limit()
    }

    async fn answer(&self, inlet: &Arc<Inlet>, request: Request<Incoming>) -> Answer {
        let (head, mut body) = request.into_parts();
        let params = Params::parse(head.uri.query().unwrap_or(""));
        let mut answer = match head.uri.path() {
            "/ping" => self.ping(&params),
            "/health" | "/api/v2/health" => self.health(),
            "/ready" | "/api/v2/ready" => self.ready(),
            path => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
                if self.auth.admits(&head.headers, &params, now) {
                    self.answer_admitted(inlet, path, &head, params, &mut body).await
                } else {
                    inlet.count(|counts| &counts.refused, 1);
                    self.dialect.unauthorized()
                }
            }
        };
        // One that asks before it sends need not send.
        if !answer.status().is_success() && !body.is_end_stream() && !head.headers.contains_key(EXPECT) {
            discard(&mut body).await;
        }
        self.dialect.finish(&mut answer);
        answer
    }
}

impl Api {
    async fn answer_admitted(
        &self,
        inlet: &Arc<Inlet>,
        path: &str,
        head: &hyper::http::request::Parts,
        mut params: Params,
        body: &mut Incoming,
    ) -> Answer {
        match (path, &head.method) {
            ("/write", &Method::POST) => {
                let precision = Precision::of_write(params.get("precision"));
                self.write(inlet, Dialect::V1, WritePlace::of_v1(&params), precision, &head.headers, body)
                    .await
            }
            ("/api/v2/write", &Method::POST) => {
                let Some(precision) = Precision::of_v2_write(params.get("precision")) else {
                    let message = "invalid precision; valid precision units are ns, us, ms, and s";
                    return Dialect::V2.bad_request(message);
                };
                self.write(inlet, Dialect::V2, WritePlace::of_v2(&params), precision, &head.headers, body)
                    .await
            }
            ("/query", &Method::GET | &Method::POST) => {
                let is_form = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
                if is_form.is_some_and(|value| value.starts_with("application/x-www-form-urlencoded")) {
                    match form(inlet, body, MAX_QUERY, self.read_timeout).await {
                        Ok(form) => params.add(&form),
                        Err(error) => return refusal(Dialect::V1, &error, MAX_QUERY as u64),
                    }
                }
                self.query(&params)
            }
            ("/api/v2/buckets", &Method::GET) => self.buckets(&params),
            ("/api/v2/orgs", &Method::GET) => orgs(&params),
            ("/write" | "/api/v2/write" | "/query" | "/api/v2/buckets" | "/api/v2/orgs", _) => {
                let mut answer = self.dialect.error(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "method not allowed",
                    "Method Not Allowed",
                );
                let allowed = if path.ends_with("write") { "POST" } else { "GET, POST" };
                answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
                answer
            }
            _ => self.dialect.not_found(),
        }
    }

    fn databases<T>(&self, work: impl FnOnce(&mut Databases) -> T) -> T {
        work(&mut self.databases.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn ping(&self, params: &Params) -> Answer {
        match params.get("verbose") {
            "" | "0" | "false" => empty(StatusCode::NO_CONTENT),
            _ => json_answer(StatusCode::OK, &json!({ "version": self.dialect.version() })),
        }
    }

    fn health(&self) -> Answer {
        let body = json!({
            "checks": [],
            "commit": env!("CARGO_PKG_VERSION"),
            "message": "ready for writes",
            "name": "influxdb",
            "status": "pass",
            "version": self.dialect.version(),
        });
        json_answer(StatusCode::OK, &body)
    }

    fn ready(&self) -> Answer {
        let up = self.start.elapsed();
        let started =
            jiff::Timestamp::try_from(SystemTime::now() - up).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let body =
            json!({ "started": started.to_string(), "status": "ready", "up": format!("{}s", up.as_secs()) });
        json_answer(StatusCode::OK, &body)
    }

    fn query(&self, params: &Params) -> Answer {
        match params.get("q") {
            "" => Dialect::V1.bad_request("missing required parameter \"q\""),
            query => match self.databases(|databases| databases.answer(query)) {
                Ok(answer) => json_answer(StatusCode::OK, &answer),
                Err(error) => Dialect::V1.bad_request(&error),
            },
        }
    }

    /// The bucket that is asked for, or those that were written to.
    fn buckets(&self, params: &Params) -> Answer {
        let names: Vec<String> = match params.get("name") {
            "" => self.databases(|databases| databases.names().map(str::to_owned).collect()),
            name => vec![name.to_owned()],
        };
        let buckets: Vec<_> = names
            .iter()
            .map(|name| json!({ "id": id(name), "name": name, "orgID": id(""), "type": "user", "retentionRules": [] }))
            .collect();
        json_answer(StatusCode::OK, &json!({ "links": { "self": "/api/v2/buckets" }, "buckets": buckets }))
    }

    async fn write(
        &self,
        inlet: &Arc<Inlet>,
        dialect: Dialect,
        place: WritePlace,
        precision: Precision,
        headers: &HeaderMap,
        body: &mut Incoming,
    ) -> Answer {
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > self.max_body) {
            inlet.count(|counts| &counts.refused, 1);
            return dialect.too_large(self.max_body);
        }
        if !place.is_valid() {
            inlet.count(|counts| &counts.refused, 1);
            return dialect.bad_request(NAME_TOO_LONG);
        }
        let packing = match headers.get(CONTENT_ENCODING).map(|value| value.as_bytes().to_ascii_lowercase()) {
            None => Packing::None,
            Some(encoding) if encoding.is_empty() || encoding == b"identity" => Packing::None,
            Some(encoding) if encoding == b"gzip" => Packing::Gzip,
            Some(_) => return dialect.bad_request("the body's `Content-Encoding` must be gzip or identity"),
        };
        self.databases(|databases| databases.add(&place.database));
        let manner = Manner { precision, lines: Lines::Quoted, tags: self.tags.tags(&place), receipt: None };
        let mut write = Write::new(inlet, manner, self.max_body);
        let mut result = write.body(body, packing, self.read_timeout).await;
        if result.is_ok() {
            result = write.kept().await;
        }
        if result.is_err() {
            inlet.count(|counts| &counts.refused, 1);
        }
        match result {
            Ok(()) if write.outcome.n_bad == 0 => empty(StatusCode::NO_CONTENT),
            Ok(()) => dialect.bad_request(&what_is_bad(dialect, &write.outcome)),
            Err(error) => refusal(dialect, &error, self.max_body),
        }
    }
}

/// The answer to a body that was not taken, of at most `limit` bytes.
fn refusal(dialect: Dialect, error: &WriteError, limit: u64) -> Answer {
    let text = error.to_string();
    match error {
        WriteError::TooLarge => dialect.too_large(limit),
        WriteError::Full | WriteError::Ends | WriteError::NotKept => dialect.busy(&text),
        WriteError::Timeout => dialect.error(StatusCode::REQUEST_TIMEOUT, "invalid", &text),
        WriteError::Packing(_) | WriteError::Broken(_) | WriteError::LongLine => dialect.bad_request(&text),
    }
}

/// In influxd's words, with the lines' numbers.
fn what_is_bad(dialect: Dialect, outcome: &Outcome) -> String {
    let mut text = outcome
        .errors
        .iter()
        .map(|(line, error)| format!("{error} (line {line})"))
        .collect::<Vec<_>>()
        .join("\n");
    let more = outcome.n_bad - outcome.errors.len() as u64;
    if more > 0 {
        text.push_str(&format!("\nand {more} more"));
    }
    if dialect == Dialect::V1 && outcome.n_good > 0 {
        return format!("partial write: {text} dropped={}", outcome.n_bad);
    }
    text
}

fn orgs(params: &Params) -> Answer {
    let name = match params.get("org") {
        "" => "default",
        name => name,
    };
    let orgs = json!([{ "id": id(""), "name": name, "description": "" }]);
    json_answer(StatusCode::OK, &json!({ "links": { "self": "/api/v2/orgs" }, "orgs": orgs }))
}

/// What stands for an id of InfluxDB 2: the same for the same name, and never 0.
fn id(name: &str) -> String {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}
