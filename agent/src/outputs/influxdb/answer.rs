//! What the answer of an InfluxDB 1.x server, or of something in front of it, means for the lines that were sent.
//!
//! Pure. The texts are those of `services/httpd/handler.go`, `tsdb/shard.go` and `models/points.go` of InfluxDB 1.8.

use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;

use super::super::{Answer, shortened};

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
    /// The database is not there.
    NoDatabase(String),
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
    pub(super) fn meaning(&self) -> Meaning {
        if self.status == StatusCode::NO_CONTENT {
            return Meaning::Answer(Answer::STORED);
        }
        let later = |reason: String| {
            Meaning::Answer(Answer::Later { reason, after: self.retry_after.as_deref().map(wish) })
        };
        let Some(error) = self.error() else {
            // A proxy's page, or a captive portal's: it says nothing about the lines, but for their size.
            return match self.status {
                StatusCode::PAYLOAD_TOO_LARGE => Meaning::Answer(Answer::Refused(self.status.to_string())),
                status => later(format!("unexpected answer {status}: {}", shortened(self.body.trim()))),
            };
        };
        let has = |text: &str| error.contains(text);
        let reason = format!("{}: {}", self.status, shortened(&error));
        if has("database not found") {
            return Meaning::NoDatabase(reason);
        }
        // The cluster keeps them for a node that is away.
        if has("hinted handoff queue not empty") {
            return Meaning::Answer(Answer::STORED);
        }
        match self.status {
            // Some lines pass the server's first look and fail at its store, which is then an error of the server: `engine:
            // unable to parse integer value`. Tried again as they are they would stand in the way for ever.
            _ if has("unable to parse") => Meaning::Answer(Answer::Refused(reason)),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                later(format!("{reason}; check `username` and `password`"))
            }
            // The rest of the lines is stored, and the server says how many are not.
            StatusCode::BAD_REQUEST if let Some(dropped @ 1..) = dropped(&error) => {
                Meaning::Answer(Answer::Stored { dropped, reason })
            }
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY | StatusCode::PAYLOAD_TOO_LARGE => {
                Meaning::Answer(Answer::Refused(reason))
            }
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
    #[case::no_database(404, r#"{"error":"database not found: \"x\""}"#, "no database")]
    #[case::wrong_password(401, r#"{"error":"authorization failed"}"#, "later")]
    #[case::no_right(403, r#"{"error":"\"u\" user is not authorized to write to database \"x\""}"#, "later")]
    #[case::no_policy(500, r#"{"error":"retention policy not found: y"}"#, "later")]
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
        let meaning = match said(status, body).meaning() {
            Meaning::NoDatabase(_) => "no database".to_owned(),
            Meaning::Answer(Answer::Stored { dropped: 0, .. }) => "stored".to_owned(),
            Meaning::Answer(Answer::Stored { dropped, .. }) => format!("dropped {dropped}"),
            Meaning::Answer(Answer::Refused(_)) => "refused".to_owned(),
            Meaning::Answer(Answer::Later { .. }) => "later".to_owned(),
        };
        assert_eq!(meaning, expected);
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
        let Meaning::Answer(Answer::Later { after, reason }) = said.meaning() else { panic!() };
        assert_eq!(after, Some(Duration::from_secs(7)));
        assert!(reason.contains("busy"), "{reason}");
    }
}
