//! What the response of an InfluxDB, or of something in front of it, means for the lines that were sent.
//!
//! Pure. The error texts are from `services/httpd/handler.go`, `tsdb/shard.go` and `models/points.go` of InfluxDB 1.8, and the
//! codes from <https://docs.influxdata.com/influxdb/v2/api/#operation/PostWrite>.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use bytes::Bytes;
use jiff::fmt::rfc2822;
use jiff::{Timestamp, Zoned};
use reqwest::StatusCode;
use serde_json::Value;

use super::{Answer, Blame, shortened};

/// The API that was called. A server of one version also answers calls to the other's, in its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    /// `/write`
    V1,
    /// `/api/v2/write`
    V2,
    /// `/api/v3/write_lp`
    V3,
}

/// A server's response, as it came.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    /// `X-Influxdb-Error`
    pub(super) error_header: Option<String>,
    /// `Retry-After`
    pub(super) retry_after: Option<String>,
    /// `Location`, without its query.
    pub(super) location: Option<String>,
    pub(super) body: String,
}

/// What it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Answer(Answer),
    /// The database or bucket is not there.
    Missing(String),
}

/// What is in a body, as far as it is known: what is of another shape does not hide the rest.
struct Body {
    error: Option<String>,
    /// The lines that InfluxDB 3 did not store, up to a hundred.
    unstored: Vec<UnstoredLine>,
}

struct UnstoredLine {
    original_line: String,
    error_message: String,
}

impl Reply {
    /// The server's own error message. `None` when there is no error, or when the response is not from an InfluxDB.
    pub(super) fn error(&self) -> Option<String> {
        let error = self.parsed().error.or_else(|| self.error_header.clone()).or_else(|| self.cut_off());
        error.filter(|error| !error.is_empty())
    }

    /// What is said of a response that is no InfluxDB's: a page of a proxy or a captive portal, which says nothing about the
    /// lines, or a redirect. That is not followed: a POST could become a GET, and a password could go to a stranger.
    fn of_another(&self) -> String {
        let status = self.status;
        if !status.is_redirection() {
            return format!("unexpected answer {status}: {}", shortened(self.body.trim()));
        }
        let place = self.location.as_deref().unwrap_or("a place that it does not name");
        format!("{status}: the server refers to {place}: write the URL that it is at now in `urls`")
    }

    /// The error of a body that has so many lines that its end was not read.
    fn cut_off(&self) -> Option<String> {
        let body = self.body.strip_prefix('{')?;
        let begin = ["\"error\":", "\"message\":"].iter().filter_map(|key| Some(body.find(key)? + key.len()));
        let text = &body[begin.min()?..];
        let string = |text: &str| serde_json::Deserializer::from_str(text).into_iter().next()?.ok();
        // It can end within an escape.
        let closed =
            || string(&format!("{text}\"")).or_else(|| string(&format!("{}\"", text.rsplit_once('\\')?.0)));
        string(text).or_else(closed)
    }

    /// The body, with whatever kind of error it has as `error`.
    fn parsed(&self) -> Body {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let mut results = body["results"].as_array().into_iter().flatten();
        // InfluxDB 2 says `message` in its place, on the same path.
        let error = text(&body["error"]).or_else(|| text(&body["message"]));
        let error = error.or_else(|| results.find_map(|result| text(&result["error"])));
        // A list where some lines were stored, and one line where none was.
        let lines = body["data"].as_array().map_or(std::slice::from_ref(&body["data"]), Vec::as_slice);
        let unstored = lines.iter().filter_map(|line| {
            let original_line = text(&line["original_line"]).unwrap_or_default();
            Some(UnstoredLine { original_line, error_message: text(&line["error_message"])? })
        });
        Body { error, unstored: unstored.collect() }
    }

    /// What the response to a write of `lines` means.
    ///
    /// What only a person can fix (a wrong password, a missing retention policy) is [`Answer::Retry`]: the points are worth
    /// more than the request.
    pub(super) fn meaning(&self, api: Api, lines: &[Bytes]) -> Meaning {
        if self.is_success(api) {
            return Meaning::Answer(Answer::STORED);
        }
        let after = self.retry_after.as_deref().map(retry_delay);
        let retry = |reason: String| Meaning::Answer(Answer::Retry { reason, after, route_only: false });
        let retry_route = |reason: String| Meaning::Answer(Answer::Retry { reason, after, route_only: true });
        let Some(error) = self.error() else {
            return match self.status {
                StatusCode::PAYLOAD_TOO_LARGE => {
                    let reason = self.status.to_string();
                    Meaning::Answer(Answer::Rejected { reason, blame: Blame::Unknown })
                }
                _ => retry(self.of_another()),
            };
        };
        let own = own_words(&error);
        let has = |text: &str| own.contains(text);
        let reason = format!("{}: {}", self.status, shortened(&error));
        let credentials = match api {
            Api::V1 => "`username` and `password`",
            Api::V2 | Api::V3 => "`token`",
        };
        let is_bucket = has("bucket") && error.contains("not found");
        match self.status {
            // Whatever it says: `unable to parse authentication credentials` is about no line.
            StatusCode::UNAUTHORIZED => retry(format!("{reason}; check {credentials}")),
            StatusCode::FORBIDDEN => {
                retry_route(format!("{reason}; check {credentials}, and what they may write to"))
            }
            // First, since the name of the policy is not in quotes.
            _ if has("retention policy not found") => retry_route(reason),
            _ if has("database not found") => Meaning::Missing(reason),
            StatusCode::NOT_FOUND if is_bucket => Meaning::Missing(reason),
            StatusCode::NOT_FOUND => retry_route(reason),
            // The cluster keeps the points for a node that is down.
            _ if has("hinted handoff queue not empty") => Meaning::Answer(Answer::STORED),
            StatusCode::BAD_REQUEST
            | StatusCode::NOT_ACCEPTABLE
            | StatusCode::UNPROCESSABLE_ENTITY
            | StatusCode::PAYLOAD_TOO_LARGE => Meaning::Answer(self.of_lines(&error, reason, lines)),
            // Some lines pass the server's parser and fail in its storage engine: `engine: unable to parse integer value`.
            // Retried as they are, they would block the queue for ever.
            StatusCode::INTERNAL_SERVER_ERROR if has(UNPARSABLE) => {
                Meaning::Answer(self.of_lines(&error, reason, lines))
            }
            _ => retry(reason),
        }
    }

    /// Whether it says that all is stored.
    fn is_success(&self, api: Api) -> bool {
        match (api, self.status.as_u16()) {
            (_, 204) => true,
            // Telegraf treats these as success. A captive portal's page comes with one of them too.
            (Api::V2 | Api::V3, 200 | 201 | 202 | 206 | 207 | 208) => {
                !self.body.trim_start().starts_with('<')
            }
            _ => false,
        }
    }

    /// The answer to lines that are not all acceptable.
    fn of_lines(&self, error: &str, reason: String, lines: &[Bytes]) -> Answer {
        let refused = self.refused(&reason, lines);
        if !refused.is_empty() {
            // The others are sent again, since the list may have an end before theirs: those that are stored stay as they are.
            return Answer::Rejected { reason, blame: Blame::Lines(refused) };
        }
        if let Some(dropped) = self.dropped(error).filter(|dropped| *dropped > 0) {
            return Answer::Stored { dropped, reason };
        }
        let own = own_words(error);
        let blame = if own.contains(UNPARSABLE) {
            Blame::Lines(unparsable(error, lines).map(|n| (n, reason.clone())).collect())
        } else if own.contains(PARTIAL) {
            Blame::Some
        } else {
            Blame::Unknown
        };
        Answer::Rejected { reason, blame }
    }

    /// How many points a partial write did not store. Both versions end their message with `dropped=3`; where lines cannot be
    /// parsed, InfluxDB 1 says 0 and lists them, and InfluxDB 3 lists all.
    fn dropped(&self, error: &str) -> Option<u64> {
        let (_, partial) = error.split_once(PARTIAL).filter(|_| own_words(error).contains(PARTIAL))?;
        let listed = self.parsed().unstored.iter().filter(|line| !line.error_message.is_empty()).count();
        if listed > 0 {
            return Some(listed as u64);
        }
        // InfluxDB 2 says it so of lines that are older than it keeps.
        let outside = partial.strip_prefix(": dropped ").and_then(|rest| rest.split_once(" points outside"));
        let n = outside.map(|(n, _)| n).or_else(|| Some(partial.rsplit_once("dropped=")?.1))?;
        match n.trim().parse().ok()? {
            0 if self.is_whole() => Some(quoted(error).count() as u64),
            n => Some(n),
        }
    }

    /// The lines that InfluxDB 3 says it refused, with its words for each.
    fn refused(&self, reason: &str, lines: &[Bytes]) -> BTreeMap<usize, String> {
        let body = self.parsed();
        if body.unstored.is_empty() {
            return BTreeMap::new();
        }
        let numbers = numbers(lines);
        let number =
            |line: &UnstoredLine| numbers.get(line.original_line.trim_ascii_end().as_bytes()).copied();
        let why = |line: &UnstoredLine| format!("{reason}: {}", line.error_message);
        body.unstored.iter().filter_map(|line| Some((number(line)?, why(line)))).collect()
    }

    /// Whether the message was not cut off, as it is in a header.
    fn is_whole(&self) -> bool {
        self.parsed().error.is_some()
    }
}

/// What the message of a write that was done in part has.
const PARTIAL: &str = "partial write";
/// What comes before a line that is malformed, in quotes.
const UNPARSABLE: &str = "unable to parse";

/// What an error says itself, before it quotes a line, or a name in one: what others wrote there decides nothing.
fn own_words(error: &str) -> &str {
    error.split(['\'', '"']).next().unwrap_or_default()
}

/// The number of each line, by its text.
fn numbers(lines: &[Bytes]) -> HashMap<&[u8], usize> {
    lines.iter().enumerate().map(|(i, line)| (line.trim_ascii_end(), i)).collect()
}

/// What a message says that cannot be parsed: `unable to parse 'm f=x': invalid number`, one in a line of its own after the
/// other, each from behind its first quote. A line can have the same words in it.
fn quoted(error: &str) -> impl Iterator<Item = &str> {
    let (_, all) = error.split_once(UNPARSABLE).unwrap_or_default();
    all.split("\nunable to parse").filter_map(|rest| rest.strip_prefix(" '"))
}

/// The lines that a message says cannot be parsed. Empty where it does not quote them as they were sent.
fn unparsable(error: &str, lines: &[Bytes]) -> impl Iterator<Item = usize> {
    let numbers = numbers(lines);
    let number = |quoted: &str| {
        let ends = quoted.match_indices("': ").map(|(end, _)| end);
        ends.filter_map(|end| numbers.get(&quoted.as_bytes()[..end])).next().copied()
    };
    quoted(error).filter_map(number).collect::<BTreeSet<usize>>().into_iter()
}

/// The delay that `Retry-After` asks for: seconds, or a date; 10 s where it is neither.
pub(super) fn retry_delay(retry_after: &str) -> Duration {
    let text = retry_after.trim();
    let seconds = text.parse().ok().map(Duration::from_secs);
    let until = |date: Zoned| {
        Duration::try_from(date.timestamp().duration_since(Timestamp::now())).unwrap_or_default()
    };
    seconds.or_else(|| rfc2822::parse(text).ok().map(until)).unwrap_or(Duration::from_secs(10))
}

/// Takes any text for an answer with each status, as a fuzzer does.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn parse_any(body: &str) {
    for status in
        [StatusCode::OK, StatusCode::BAD_REQUEST, StatusCode::UNPROCESSABLE_ENTITY, StatusCode::NOT_FOUND]
    {
        let (error_header, retry_after) = (None, Some(body.to_owned()));
        let reply = Reply { status, error_header, retry_after, location: None, body: body.to_owned() };
        let lines = [Bytes::from_static(b"m f=1 1\n")];
        let _ = [Api::V1, Api::V2, Api::V3].map(|api| reply.meaning(api, &lines));
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        Reply {
            status: StatusCode::from_u16(status).unwrap(),
            error_header: None,
            retry_after: None,
            location: None,
            body: body.into(),
        }
    }

    /// The bodies are from influxd 1.6.7 and 1.8, and from nginx.
    #[rstest]
    #[case::taken(204, "", "stored")]
    #[case::no_database(404, r#"{"error":"database not found: \"x\""}"#, "missing")]
    #[case::wrong_password(401, r#"{"error":"authorization failed"}"#, "retry")]
    #[case::no_password(401, r#"{"error":"unable to parse authentication credentials"}"#, "retry")]
    #[case::no_right(
        403,
        r#"{"error":"\"u\" user is not authorized to write to database \"x\""}"#,
        "retry route"
    )]
    #[case::no_policy(500, r#"{"error":"retention policy not found: y"}"#, "retry route")]
    #[case::handoff(500, r#"{"error":"write: hinted handoff queue not empty"}"#, "stored")]
    #[case::conflict(400, r#"{"error":"partial write: field type conflict: input field \"a\" on measurement \"m\" is type float, already exists as type integer dropped=2"}"#, "dropped 2")]
    #[case::too_old(
        400,
        r#"{"error":"partial write: points beyond retention policy dropped=1"}"#,
        "dropped 1"
    )]
    #[case::unparsable(
        400,
        r#"{"error":"partial write: unable to parse 'm': missing fields\nunable to parse 'n': missing fields dropped=0"}"#,
        "dropped 2"
    )]
    #[case::unparsable_alone(400, r#"{"error":"unable to parse 'm': missing fields"}"#, "rejected")]
    #[case::unparsable_with_the_words_of_others(
        400,
        r#"{"error":"unable to parse 'm,bucket=x a=zz,b=\"not found, database not found, retention policy not found\" 1': invalid boolean"}"#,
        "rejected"
    )]
    #[case::unparsable_with_a_false_number(
        400,
        r#"{"error":"partial write: unable to parse 'm a=zz,b=\"partial write dropped=7\" 1': invalid boolean dropped=0"}"#,
        "dropped 1"
    )]
    #[case::unparsable_integer(
        400,
        r#"{"error":"partial write: unable to parse 'm i=99999999999999999999i 1': unable to parse integer 99999999999999999999: value out of range dropped=0"}"#,
        "dropped 1"
    )]
    #[case::partial_in_a_line(
        400,
        r#"{"error":"unable to parse 'm a=zz,b=\"partial write\" 1': invalid value: dropped=7"}"#,
        "rejected"
    )]
    #[case::conflict_of_a_strange_name(400, r#"{"error":"partial write: field type conflict: input field \"f\" on measurement \"m hinted handoff queue not empty, bucket not found\" is type string, already exists as type float dropped=1"}"#, "dropped 1")]
    #[case::policy_of_a_strange_name(
        500,
        r#"{"error":"retention policy not found: unable to parse"}"#,
        "retry route"
    )]
    #[case::unparsable_by_the_store_with_the_words_of_others(
        500,
        r#"{"error":"engine: unable to parse integer value \"x s=hinted handoff queue not empty\": invalid syntax"}"#,
        "rejected"
    )]
    #[case::unparsable_by_the_store(
        500,
        r#"{"error":"engine: unable to parse integer value \"x i=1\": invalid syntax"}"#,
        "rejected"
    )]
    #[case::unparsable_for_v2(
        400,
        r#"{"code":"invalid","message":"unable to parse 'm': missing fields"}"#,
        "rejected"
    )]
    #[case::conflict_for_v2(422, r#"{"code":"unprocessable entity","message":"failure writing points to database: partial write: field type conflict: input field \"a\" on measurement \"m\" is type float, already exists as type integer dropped=1"}"#, "dropped 1")]
    #[case::wrong_token_for_v2(401, r#"{"code":"unauthorized","message":"unauthorized access"}"#, "retry")]
    #[case::too_large(413, r#"{"error":"Request Entity Too Large"}"#, "doubted")]
    #[case::too_large_for_a_proxy(413, "<html>413 Request Entity Too Large</html>", "doubted")]
    #[case::partial_without_a_number(400, r#"{"error":"partial write: something new"}"#, "rejected")]
    #[case::proxy(502, "<html>Bad Gateway</html>", "retry")]
    #[case::proxy_wants_a_login(400, "<html>no</html>", "retry")]
    #[case::portal(200, "<html>welcome</html>", "retry")]
    #[case::moved(301, "", "retry")]
    #[case::overload(503, r#"{"error":"timeout"}"#, "retry")]
    #[case::garbage(599, "\u{0}", "retry")]
    fn meanings(#[case] status: u16, #[case] body: &str, #[case] expected: &str) {
        assert_eq!(in_short(&reply(status, body).meaning(Api::V1, &[])), expected);
    }

    #[test]
    fn a_redirect_is_told_with_where_it_leads() {
        let moved = Reply { location: Some("https://db:8086/write".into()), ..reply(307, "") };
        let Meaning::Answer(Answer::Retry { reason, .. }) = moved.meaning(Api::V2, &[]) else { panic!() };
        assert!(
            reason.contains("307") && reason.contains("refers to https://db:8086/write: write the URL"),
            "{reason}"
        );
    }

    fn in_short(meaning: &Meaning) -> String {
        match meaning {
            Meaning::Missing(_) => "missing".to_owned(),
            Meaning::Answer(Answer::Stored { dropped: 0, .. }) => "stored".to_owned(),
            Meaning::Answer(Answer::Stored { dropped, .. }) => format!("dropped {dropped}"),
            Meaning::Answer(Answer::Rejected { blame: Blame::Unknown, .. }) => "doubted".to_owned(),
            Meaning::Answer(Answer::Rejected { .. }) => "rejected".to_owned(),
            Meaning::Answer(Answer::Retry { route_only: true, .. }) => "retry route".to_owned(),
            Meaning::Answer(Answer::Retry { .. }) => "retry".to_owned(),
            Meaning::Answer(Answer::Partly { .. }) => "partly".to_owned(),
        }
    }

    /// The bodies are those that InfluxDB 2's API documents, and of proxies in front of it.
    #[rstest]
    #[case::taken(204, "", "stored")]
    #[case::taken_by_another(200, "{}", "stored")]
    #[case::taken_in_parts(207, "", "stored")]
    #[case::portal(200, "<html>welcome</html>", "retry")]
    #[case::bad_line(
        400,
        r#"{"code":"invalid","message":"unable to parse 'm': missing fields"}"#,
        "rejected"
    )]
    #[case::bad_precision(400, r#"{"code":"invalid","message":"something else"}"#, "doubted")]
    #[case::not_acceptable(406, r#"{"code":"not acceptable","message":"no"}"#, "doubted")]
    #[case::conflict(422, r#"{"code":"unprocessable entity","message":"failure writing points to database: partial write: field type conflict: dropped=1"}"#, "dropped 1")]
    #[case::too_old(422, r#"{"code":"unprocessable entity","message":"failure writing points to database: partial write: dropped 40 points outside retention policy of duration 1h0m0s - oldest point a at 2026-11-27T20:48:23.412699446Z dropped because it violates a Retention Policy Lower Bound at 2026-11-27T22:48:23.432530705Z, newest point b"}"#, "dropped 40")]
    #[case::lines_of_v3(400, r#"{"error":"partial write of line protocol occurred","data":[{"original_line":"m f=x","line_number":2,"error_message":"invalid"},{"original_line":"m f=y","line_number":5,"error_message":"invalid"}]}"#, "dropped 2")]
    #[case::no_token(401, r#"{"code":"unauthorized","message":"unauthorized access"}"#, "retry")]
    #[case::no_right(
        403,
        r#"{"code":"forbidden","message":"insufficient permissions for write"}"#,
        "retry route"
    )]
    #[case::no_bucket(404, r#"{"code":"not found","message":"bucket \"b\" not found"}"#, "missing")]
    #[case::no_organization(
        404,
        r#"{"code":"not found","message":"organization name \"o\" not found"}"#,
        "retry route"
    )]
    #[case::too_large(
        413,
        r#"{"code":"request too large","message":"cannot read data: points in batch is too large"}"#,
        "doubted"
    )]
    #[case::too_many(429, r#"{"code":"too many requests","message":"exceeded write limit"}"#, "retry")]
    #[case::overload(503, r#"{"code":"unavailable","message":"busy"}"#, "retry")]
    #[case::internal(500, r#"{"code":"internal error","message":"no"}"#, "retry")]
    #[case::proxy(404, "<html>not here</html>", "retry")]
    fn meanings_for_v2(#[case] status: u16, #[case] body: &str, #[case] expected: &str) {
        assert_eq!(in_short(&reply(status, body).meaning(Api::V2, &[])), expected);
    }

    #[test]
    fn lines_that_influxdb_3_lists_are_to_blame_each_with_its_words() {
        let lines = ["m f=1 1\n", "m f=x 2\n", "m f=\"a\nb\" 3\n", "m f=9 x\n"].map(Bytes::from);
        let data = serde_json::json!([
            { "original_line": "m f=x 2", "line_number": 2, "error_message": "invalid number" },
            { "original_line": "m f=\"a\nb\" 3", "line_number": 4, "error_message": "no newlines" },
            { "original_line": "m f=8 x", "line_number": 4, "error_message": "not sent" },
        ]);
        let partial = "partial write of line protocol occurred";
        let body = serde_json::json!({ "error": partial, "data": data }).to_string();
        let Meaning::Answer(Answer::Rejected { blame: Blame::Lines(blame), .. }) =
            reply(400, &body).meaning(Api::V3, &lines)
        else {
            panic!()
        };
        let why = |n: usize| blame[&n].as_str();
        assert_eq!(blame.keys().collect::<Vec<_>>(), [&1, &2]);
        assert!(why(1).ends_with(&format!("{partial}: invalid number")) && why(2).ends_with(": no newlines"));
        // Of lines that it does not quote as they were sent, it says how many there are.
        assert_eq!(in_short(&reply(400, &body).meaning(Api::V3, &[])), "dropped 3");
        // What is of another shape hides nothing.
        for data in ["null", "7", r#"[null,{"error_message":"bad"},{"original_line":"m"}]"#] {
            let body = format!(r#"{{"error":"parsing failed","data":{data}}}"#);
            assert_eq!(in_short(&reply(400, &body).meaning(Api::V3, &lines)), "doubted", "{data}");
            let body = format!(r#"{{"error":"no","results":null,"data":{data}}}"#);
            assert_eq!(in_short(&reply(403, &body).meaning(Api::V3, &lines)), "retry route", "{data}");
        }
        // All or nothing, of another client.
        let one = serde_json::json!({ "error": "parsing failed", "data": data[0] }).to_string();
        assert_eq!(in_short(&reply(400, &one).meaning(Api::V3, &lines)), "rejected");
        assert_eq!(in_short(&reply(204, "").meaning(Api::V3, &lines)), "stored");
        assert_eq!(in_short(&reply(401, r#"{"error":"no"}"#).meaning(Api::V3, &lines)), "retry");
    }

    #[test]
    fn lines_that_the_answer_quotes_are_to_blame() {
        let lines =
            ["m f=1 1\n", "m f=x 2\n", "m,t=it's\\ ':\\ b f=\"': \" x\n", "m f=1 9\n"].map(Bytes::from);
        let quoted: Vec<&str> =
            lines.iter().map(|line| std::str::from_utf8(line).unwrap().trim_end()).collect();
        let message = format!(
            "unable to parse '{}': invalid number\nunable to parse '{}': bad timestamp",
            quoted[1], quoted[2]
        );
        let body = serde_json::json!({ "code": "invalid", "message": message }).to_string();
        let Meaning::Answer(Answer::Rejected { blame, .. }) = reply(400, &body).meaning(Api::V2, &lines)
        else {
            panic!()
        };
        let Blame::Lines(lines) = blame else { panic!("{blame:?}") };
        assert_eq!(lines.into_keys().collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn a_line_that_another_one_quotes_is_not_to_blame() {
        let lines = ["m f=1 1\n", "m f=\"unable to parse 'm f=1 1': x\",g=zz 2\n"].map(Bytes::from);
        let bad = std::str::from_utf8(&lines[1]).unwrap().trim_end();
        let body = serde_json::json!({ "error": format!("unable to parse '{bad}': invalid boolean") });
        let Meaning::Answer(Answer::Rejected { blame: Blame::Lines(blame), .. }) =
            reply(400, &body.to_string()).meaning(Api::V1, &lines)
        else {
            panic!()
        };
        assert_eq!(blame.into_keys().collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn a_message_that_is_cut_off_names_no_number() {
        let cut = Reply {
            error_header: Some(
                "partial write: unable to parse 'm': missing fields\nunable to dropped=0".into(),
            ),
            ..reply(400, "{\"error\":\"partial write: unable to pa")
        };
        assert_eq!(in_short(&cut.meaning(Api::V1, &[])), "rejected");
        // Without a header, as InfluxDB 2 has it: what is still there is about these lines.
        let lines = ["m f=x 1\n", "m f=1 2\n", "m f=y 3\n"].map(Bytes::from);
        let body =
            "{\"code\":\"invalid\",\"message\":\"unable to parse 'm f=x 1': bad\\nunable to parse 'm f=y";
        let Meaning::Answer(Answer::Rejected { blame, .. }) = reply(400, body).meaning(Api::V2, &lines)
        else {
            panic!()
        };
        let Blame::Lines(blame) = blame else { panic!("{blame:?}") };
        assert_eq!(blame.into_keys().collect::<Vec<_>>(), [0]);
        // Within an escape, and within a list of InfluxDB 3.
        let cut = reply(400, "{\"code\":\"invalid\",\"message\":\"unable to parse 'm f=y 3': bad\\u00");
        assert_eq!(cut.error().as_deref(), Some("unable to parse 'm f=y 3': bad"));
        let cut = reply(400, "{\"error\":\"partial write of line protocol occurred\",\"data\":[{\"orig");
        assert_eq!(in_short(&cut.meaning(Api::V3, &lines)), "rejected");
    }

    #[rstest]
    #[case(Api::V1, "check `username` and `password`")]
    #[case(Api::V2, "check `token`")]
    fn says_what_to_check(#[case] api: Api, #[case] expected: &str) {
        let Meaning::Answer(Answer::Retry { reason, .. }) =
            reply(401, r#"{"message":"no"}"#).meaning(api, &[])
        else {
            panic!()
        };
        assert!(reason.ends_with(expected), "{reason}");
    }

    #[test]
    fn the_error_of_a_statement_counts() {
        let body = r#"{"results":[{"statement_id":0,"error":"error authorizing query"}]}"#;
        assert_eq!(reply(200, body).error().as_deref(), Some("error authorizing query"));
        assert_eq!(reply(200, r#"{"results":[{"statement_id":0}]}"#).error(), None);
    }

    #[test]
    fn retry_after_is_passed_on() {
        let mut reply = reply(503, r#"{"error":"busy"}"#);
        reply.retry_after = Some("7".into());
        let Meaning::Answer(Answer::Retry { after, reason, .. }) = reply.meaning(Api::V2, &[]) else {
            panic!()
        };
        assert_eq!(after, Some(Duration::from_secs(7)));
        assert!(reason.contains("busy"), "{reason}");
        let mut after = |text: String| {
            reply.retry_after = Some(text);
            let Meaning::Answer(Answer::Retry { after, .. }) = reply.meaning(Api::V1, &[]) else { panic!() };
            after.unwrap().as_secs_f64()
        };
        let date = Timestamp::now() + Duration::from_secs(100);
        let date = rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&date).unwrap();
        assert!((95.0..=100.0).contains(&after(date)), "a date, to the second");
        assert_eq!(after("Wed, 21 Oct 2015 07:28:00 GMT".into()), 0.0);
        assert_eq!(after("soon".into()), 10.0);
    }
}
