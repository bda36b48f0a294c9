//! What the answer of an InfluxDB, or of something in front of it, means for the lines that were sent.
//!
//! Pure. The texts are those of `services/httpd/handler.go`, `tsdb/shard.go` and `models/points.go` of InfluxDB 1.8, and the
//! codes those of <https://docs.influxdata.com/influxdb/v2/api/#operation/PostWrite>.

use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;

use super::{Answer, shortened};

/// The API that was asked. A server of one version answers to the other's as well, in its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    /// `/write`
    V1,
    /// `/api/v2/write`
    V2,
}

/// An answer, as it came.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) status: StatusCode,
    /// `X-Influxdb-Error`
    pub(super) error_header: Option<String>,
    /// `Retry-After`
    pub(super) retry_after: Option<String>,
    pub(super) body: String,
}

/// What it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Answer(Answer),
    /// The database or bucket is not there.
    Missing(String),
}

#[derive(Deserialize)]
struct Body {
    error: Option<String>,
    /// What InfluxDB 2 says in its place, on the same path.
    message: Option<String>,
    #[serde(default)]
    results: Vec<StatementResult>,
}

#[derive(Deserialize)]
struct StatementResult {
    error: Option<String>,
}

impl Said {
    /// The server's own words about what went wrong. `None` where nothing did, or something else than an InfluxDB
    /// answers.
    pub(super) fn error(&self) -> Option<String> {
        let of_body = serde_json::from_str(&self.body).ok().and_then(|body: Body| {
            body.error.or(body.message).or_else(|| body.results.into_iter().find_map(|result| result.error))
        });
        of_body.or_else(|| self.error_header.clone()).filter(|error| !error.is_empty())
    }

    /// What a write's answer means.
    ///
    /// What only a person can put right (a wrong password, a missing policy) is `Later`: the points are worth more than
    /// the request.
    pub(super) fn meaning(&self, api: Api) -> Meaning {
        let is_stored = match (api, self.status.as_u16()) {
            (_, 204) => true,
            // Telegraf takes these for success; a captive portal's page has one of them too.
            (Api::V2, 200 | 201 | 202 | 206 | 207 | 208) => !self.body.trim_start().starts_with('<'),
            _ => false,
        };
        if is_stored {
            return Meaning::Answer(Answer::STORED);
        }
        let after = self.retry_after.as_deref().map(wish);
        let later = |reason: String| Meaning::Answer(Answer::Later { reason, after, only_here: false });
        let not_here = |reason: String| Meaning::Answer(Answer::Later { reason, after, only_here: true });
        let Some(error) = self.error() else {
            // A proxy's page, or a captive portal's: it says nothing about the lines, but for their size.
            return match self.status {
                StatusCode::PAYLOAD_TOO_LARGE => Meaning::Answer(Answer::Refused(self.status.to_string())),
                status => later(format!("unexpected answer {status}: {}", shortened(self.body.trim()))),
            };
        };
        let has = |text: &str| error.contains(text);
        let reason = format!("{}: {}", self.status, shortened(&error));
        if has("database not found") || (has("bucket") && has("not found")) {
            return Meaning::Missing(reason);
        }
        // The cluster keeps them for a node that is away.
        if has("hinted handoff queue not empty") {
            return Meaning::Answer(Answer::STORED);
        }
        let credentials = match api {
            Api::V1 => "`username` and `password`",
            Api::V2 => "`token`",
        };
        match self.status {
            // Some lines pass the server's first look and fail at its store, which is then an error of the server: `engine:
            // unable to parse integer value`. Tried again as they are they would stand in the way for ever.
            _ if has("unable to parse") => Meaning::Answer(Answer::Refused(reason)),
            _ if has("retention policy not found") => not_here(reason),
            StatusCode::UNAUTHORIZED => later(format!("{reason}; check {credentials}")),
            StatusCode::FORBIDDEN => {
                not_here(format!("{reason}; check {credentials}, and what they may write to"))
            }
            StatusCode::NOT_FOUND => not_here(reason),
            // The rest of the lines is stored, and the server says how many are not.
            StatusCode::BAD_REQUEST if let Some(dropped @ 1..) = dropped(&error) => {
                Meaning::Answer(Answer::Stored { dropped, reason })
            }
            StatusCode::BAD_REQUEST
            | StatusCode::NOT_ACCEPTABLE
            | StatusCode::UNPROCESSABLE_ENTITY
            | StatusCode::PAYLOAD_TOO_LARGE => Meaning::Answer(Answer::Refused(reason)),
            _ => later(reason),
        }
    }
}

/// How many points a partial write left out: `partial write: ... dropped=3`.
fn dropped(error: &str) -> Option<u64> {
    if !error.starts_with("partial write") {
        return None;
    }
    let (_, n) = error.rsplit_once("dropped=")?;
    n.trim().parse().ok()
}

/// How long the server asks for; what is not seconds (a date) is taken for a while.
fn wish(retry_after: &str) -> Duration {
    Duration::from_secs(retry_after.trim().parse().unwrap_or(10))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn said(status: u16, body: &str) -> Said {
        Said {
            status: StatusCode::from_u16(status).unwrap(),
            error_header: None,
            retry_after: None,
            body: body.into(),
        }
    }

    /// The bodies are those of influxd 1.6.7 and 1.8, and of nginx.
    #[rstest]
    #[case::taken(204, "", "stored")]
    #[case::no_database(404, r#"{"error":"database not found: \"x\""}"#, "missing")]
    #[case::wrong_password(401, r#"{"error":"authorization failed"}"#, "later")]
    #[case::no_right(
        403,
        r#"{"error":"\"u\" user is not authorized to write to database \"x\""}"#,
        "not here"
    )]
    #[case::no_policy(500, r#"{"error":"retention policy not found: y"}"#, "not here")]
    #[case::handoff(500, r#"{"error":"write: hinted handoff queue not empty"}"#, "stored")]
    #[case::conflict(400, r#"{"error":"partial write: field type conflict: input field \"a\" on measurement \"m\" is type float, already exists as type integer dropped=2"}"#, "dropped 2")]
    #[case::too_old(
        400,
        r#"{"error":"partial write: points beyond retention policy dropped=1"}"#,
        "dropped 1"
    )]
    #[case::unparsable(
        400,
        r#"{"error":"partial write: unable to parse 'm': missing fields dropped=0"}"#,
        "refused"
    )]
    #[case::unparsable_alone(400, r#"{"error":"unable to parse 'm': missing fields"}"#, "refused")]
    #[case::unparsable_by_the_store(
        500,
        r#"{"error":"engine: unable to parse integer value \"x i=1\": invalid syntax"}"#,
        "refused"
    )]
    #[case::unparsable_for_v2(
        400,
        r#"{"code":"invalid","message":"unable to parse 'm': missing fields"}"#,
        "refused"
    )]
    #[case::conflict_for_v2(422, r#"{"code":"unprocessable entity","message":"failure writing points to database: partial write: field type conflict: input field \"a\" on measurement \"m\" is type float, already exists as type integer dropped=1"}"#, "refused")]
    #[case::wrong_token_for_v2(401, r#"{"code":"unauthorized","message":"unauthorized access"}"#, "later")]
    #[case::too_large(413, r#"{"error":"Request Entity Too Large"}"#, "refused")]
    #[case::too_large_for_a_proxy(413, "<html>413 Request Entity Too Large</html>", "refused")]
    #[case::proxy(502, "<html>Bad Gateway</html>", "later")]
    #[case::proxy_wants_a_login(400, "<html>no</html>", "later")]
    #[case::portal(200, "<html>welcome</html>", "later")]
    #[case::moved(301, "", "later")]
    #[case::overload(503, r#"{"error":"timeout"}"#, "later")]
    #[case::garbage(599, "\u{0}", "later")]
    fn meanings(#[case] status: u16, #[case] body: &str, #[case] expected: &str) {
        assert_eq!(in_short(&said(status, body).meaning(Api::V1)), expected);
    }

    fn in_short(meaning: &Meaning) -> String {
        match meaning {
            Meaning::Missing(_) => "missing".to_owned(),
            Meaning::Answer(Answer::Stored { dropped: 0, .. }) => "stored".to_owned(),
            Meaning::Answer(Answer::Stored { dropped, .. }) => format!("dropped {dropped}"),
            Meaning::Answer(Answer::Refused(_)) => "refused".to_owned(),
            Meaning::Answer(Answer::Later { only_here: true, .. }) => "not here".to_owned(),
            Meaning::Answer(Answer::Later { .. }) => "later".to_owned(),
        }
    }

    /// The bodies are InfluxDB 2's as its API documents them, and others' in front of it.
    #[rstest]
    #[case::taken(204, "", "stored")]
    #[case::taken_by_another(200, "{}", "stored")]
    #[case::taken_in_parts(207, "", "stored")]
    #[case::portal(200, "<html>welcome</html>", "later")]
    #[case::bad_line(400, r#"{"code":"invalid","message":"unable to parse 'm': missing fields"}"#, "refused")]
    #[case::bad_precision(400, r#"{"code":"invalid","message":"something else"}"#, "refused")]
    #[case::not_acceptable(406, r#"{"code":"not acceptable","message":"no"}"#, "refused")]
    #[case::conflict(422, r#"{"code":"unprocessable entity","message":"failure writing points to database: partial write: field type conflict: dropped=1"}"#, "refused")]
    #[case::no_token(401, r#"{"code":"unauthorized","message":"unauthorized access"}"#, "later")]
    #[case::no_right(
        403,
        r#"{"code":"forbidden","message":"insufficient permissions for write"}"#,
        "not here"
    )]
    #[case::no_bucket(404, r#"{"code":"not found","message":"bucket \"b\" not found"}"#, "missing")]
    #[case::no_organization(
        404,
        r#"{"code":"not found","message":"organization name \"o\" not found"}"#,
        "not here"
    )]
    #[case::too_large(
        413,
        r#"{"code":"request too large","message":"cannot read data: points in batch is too large"}"#,
        "refused"
    )]
    #[case::too_many(429, r#"{"code":"too many requests","message":"exceeded write limit"}"#, "later")]
    #[case::overload(503, r#"{"code":"unavailable","message":"busy"}"#, "later")]
    #[case::internal(500, r#"{"code":"internal error","message":"no"}"#, "later")]
    #[case::proxy(404, "<html>not here</html>", "later")]
    fn meanings_for_v2(#[case] status: u16, #[case] body: &str, #[case] expected: &str) {
        assert_eq!(in_short(&said(status, body).meaning(Api::V2)), expected);
    }

    #[rstest]
    #[case(Api::V1, "check `username` and `password`")]
    #[case(Api::V2, "check `token`")]
    fn says_what_to_check(#[case] api: Api, #[case] expected: &str) {
        let Meaning::Answer(Answer::Later { reason, .. }) = said(401, r#"{"message":"no"}"#).meaning(api)
        else {
            panic!()
        };
        assert!(reason.ends_with(expected), "{reason}");
    }

    #[test]
    fn a_statements_own_error_counts() {
        let body = r#"{"results":[{"statement_id":0,"error":"error authorizing query"}]}"#;
        assert_eq!(said(200, body).error().as_deref(), Some("error authorizing query"));
        assert_eq!(said(200, r#"{"results":[{"statement_id":0}]}"#).error(), None);
    }

    #[test]
    fn a_wish_is_passed_on() {
        let mut said = said(503, r#"{"error":"busy"}"#);
        said.retry_after = Some("7".into());
        let Meaning::Answer(Answer::Later { after, reason, .. }) = said.meaning(Api::V2) else { panic!() };
        assert_eq!(after, Some(Duration::from_secs(7)));
        assert!(reason.contains("busy"), "{reason}");
        said.retry_after = Some("Wed, 21 Oct 2026 07:28:00 GMT".into());
        let Meaning::Answer(Answer::Later { after, .. }) = said.meaning(Api::V1) else { panic!() };
        assert_eq!(after, Some(Duration::from_secs(10)));
    }
}
