//! Whether an InfluxDB would take lines, found out without one; for `doctor`.
//!
//! A server looks at who writes, and where to, before it looks at the lines: a write of none is answered as one of many would
//! be, and stores nothing.

use reqwest::StatusCode;

use super::Answer;
use super::answer::{Api, Meaning, Reply};
use super::servers::{self, Server};

/// What a server says that looked for lines: InfluxDB 2.0 and InfluxDB 3. Others answer as if all were stored.
const WITHOUT_LINES: [&str; 2] = ["writing requires points", "incoming write was empty"];

/// What a server that takes lines reports about itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taking {
    pub(super) about: String,
    /// Its words where the database or bucket is not there, and nothing else is in the way.
    pub(super) missing: Option<String>,
}

/// Has a server answer a write of no lines to an endpoint.
///
/// # Errors
/// It cannot be reached, or would not take lines: why, and what to do.
pub(super) async fn of(
    server: &Server,
    api: Api,
    endpoint: &str,
    query: &[(&str, &str)],
) -> Result<Taking, String> {
    let about = format!("answers ({})", server.ping().await?);
    let body = servers::body(&[], server.is_gzip());
    let reply = server.write(endpoint, query, &body).await;
    let reply = reply.map_err(|error| format!("{about}, but not to a write: {error}"))?;
    match verdict(&reply, api, endpoint) {
        Ok(missing) => Ok(Taking { about, missing }),
        Err(reason) => Err(refused(&about, &reason)),
    }
}

/// What is said of a server that is there and takes no lines.
pub(super) fn refused(about: &str, reason: &str) -> String {
    format!("{about}, but takes no points: {reason}")
}

/// What is missing, or why no lines are taken.
fn verdict(reply: &Reply, api: Api, endpoint: &str) -> Result<Option<String>, String> {
    let error = reply.error();
    let is_without_lines = |error: &String| WITHOUT_LINES.iter().any(|text| error.contains(text));
    if reply.status == StatusCode::BAD_REQUEST && error.as_ref().is_some_and(is_without_lines) {
        return Ok(None);
    }
    if reply.status == StatusCode::NOT_FOUND && error.is_none() {
        return Err(format!("it has no /{endpoint}: is it another version of InfluxDB?"));
    }
    match reply.meaning(api, &[]) {
        Meaning::Missing(reason) => Ok(Some(reason)),
        Meaning::Answer(Answer::Stored { .. }) => Ok(None),
        Meaning::Answer(
            Answer::Rejected { reason, .. } | Answer::Retry { reason, .. } | Answer::Partly { reason, .. },
        ) => Err(reason),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// What InfluxDB 1.6.7 and 2.7 answered to a write of nothing, and what versions 2.0 and 3 have in their source.
    #[rstest]
    #[case(Api::V1, 204, "", Ok(None))]
    #[case(Api::V1, 401, r#"{"error":"authorization failed"}"#, Err("check `username` and `password`"))]
    #[case(
        Api::V1,
        401,
        r#"{"error":"unable to parse authentication credentials"}"#,
        Err("unable to parse authentication credentials")
    )]
    #[case(
        Api::V1,
        403,
        r#"{"error":"\"r\" user is not authorized to write to database \"telegraf\""}"#,
        Err("what they may write to")
    )]
    #[case(
        Api::V1,
        404,
        r#"{"error":"database not found: \"none\""}"#,
        Ok(Some("404 Not Found: database not found: \"none\""))
    )]
    #[case(
        Api::V1,
        500,
        r#"{"error":"retention policy not found: nope"}"#,
        Err("retention policy not found: nope")
    )]
    #[case(Api::V1, 400, r#"{"error":"database is required"}"#, Err("database is required"))]
    #[case(Api::V2, 404, "404 page not found\n", Err("it has no /api: is it another version of InfluxDB?"))]
    #[case(
        Api::V2,
        404,
        r#"{"code":"not found","message":"bucket \"none\" not found"}"#,
        Ok(Some("404 Not Found: bucket \"none\" not found"))
    )]
    #[case(
        Api::V2,
        404,
        r#"{"code":"not found","message":"organization name \"none\" not found"}"#,
        Err("organization name")
    )]
    #[case(Api::V2, 401, r#"{"code":"unauthorized","message":"unauthorized access"}"#, Err("check `token`"))]
    #[case(Api::V2, 400, r#"{"code":"invalid","message":"writing requires points"}"#, Ok(None))]
    #[case(Api::V3, 400, r#"{"error":"incoming write was empty"}"#, Ok(None))]
    #[case(Api::V3, 403, r#"{"error":"forbidden"}"#, Err("check `token`"))]
    fn an_answer_to_a_write_of_nothing_says_whether_lines_would_be_taken(
        #[case] api: Api,
        #[case] status: u16,
        #[case] body: &str,
        #[case] expected: Result<Option<&str>, &str>,
    ) {
        let reply = Reply {
            status: StatusCode::from_u16(status).unwrap(),
            error_header: None,
            retry_after: None,
            location: None,
            body: body.into(),
        };
        match (verdict(&reply, api, "api"), expected) {
            (Ok(missing), Ok(expected)) => assert_eq!(missing.as_deref(), expected),
            (Err(reason), Err(expected)) => assert!(reason.contains(expected), "{reason}"),
            (verdict, expected) => panic!("{verdict:?}, not {expected:?}"),
        }
    }
}
