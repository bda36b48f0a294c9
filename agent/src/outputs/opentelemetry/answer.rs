//! What an answer to an OTLP request means. Pure.
//!
//! Source: <https://opentelemetry.io/docs/specs/otlp/>, "Failures" and "OTLP/HTTP Throttling".

use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use prost::Message;

use crate::outputs::{Answer, Blame, shortened};

/// The longest answer: what the specification recommends.
pub(super) const MAX_BODY_BYTES: usize = 4 << 20;

/// `google.rpc.Status`: what an error is.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Status {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) details: Vec<Any>,
}

/// `google.protobuf.Any`
#[derive(Clone, PartialEq, Message)]
pub(super) struct Any {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

/// `google.rpc.RetryInfo`
#[derive(Clone, PartialEq, Message)]
pub(super) struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    pub(super) retry_delay: Option<RetryDelay>,
}

/// `google.protobuf.Duration`
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct RetryDelay {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}

impl Status {
    /// How long the server asks to wait, if it says that it may take the request later.
    fn retry_delay(&self) -> Option<Duration> {
        let info = self.details.iter().find(|detail| detail.type_url.ends_with("/google.rpc.RetryInfo"))?;
        let delay = RetryInfo::decode(info.value.as_slice()).ok()?.retry_delay.unwrap_or_default();
        let seconds = Duration::from_secs(delay.seconds.try_into().unwrap_or(0));
        Some(seconds + Duration::from_nanos(delay.nanos.try_into().unwrap_or(0)))
    }
}

/// What is in a request, for what is counted of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exported {
    pub(super) lines: u64,
    /// Of these, those that are no points.
    pub(super) unreadable: u64,
    pub(super) data_points: u64,
}

impl Exported {
    /// All of it is dropped.
    pub(super) fn dropped(self, reason: String) -> Answer {
        Answer::Stored { dropped: self.lines, reason }
    }

    /// The other side has it, but for what it says itself.
    fn stored(self, response: ExportMetricsServiceResponse) -> Answer {
        let partial = response.partial_success.unwrap_or_default();
        let said = shortened(&partial.error_message);
        let rejected = u64::try_from(partial.rejected_data_points).unwrap_or(0);
        if rejected == 0 {
            if !said.is_empty() {
                tracing::warn!(said, "the server stored all points and has something to say");
            }
            let reason = if self.unreadable > 0 { "lines of the spool cannot be read" } else { "" };
            return Answer::Stored { dropped: self.unreadable, reason: reason.into() };
        }
        // A line is several data points; at least as many lines are counted as have one.
        let lines = (rejected.saturating_mul(self.lines)).div_ceil(self.data_points.max(1));
        let dropped = (lines + self.unreadable).min(self.lines);
        Answer::Stored { dropped, reason: format!("{rejected} data points are rejected: {said}") }
    }
}

/// What a response of HTTP means.
pub(super) fn of_http(status: u16, retry_after: Option<Duration>, body: &[u8], sent: Exported) -> Answer {
    if status == 200 {
        // A proxy's page is no message.
        return match ExportMetricsServiceResponse::decode(body) {
            Ok(response) => sent.stored(response),
            Err(_) => Answer::retry(format!("200, but not OTLP's answer: {}", shortened(&text(body)))),
        };
    }
    let said = match Status::decode(body) {
        Ok(status) if !status.message.is_empty() => status.message,
        _ => text(body),
    };
    let reason =
        format!("{status}: {}", if said.is_empty() { "without a word".into() } else { shortened(&said) });
    match status {
        429 | 502 | 503 | 504 => Answer::Retry { reason, after: retry_after, route_only: false },
        413 => Answer::Rejected { reason, blame: Blame::Some },
        // Others of 2xx are what Telegraf takes for stored.
        201..=299 => sent.stored(ExportMetricsServiceResponse::default()),
        // The URL is wrong, and not the request.
        300..=399 => Answer::retry(format!("{reason}: write the URL that it refers to in `service_address`")),
        _ => sent.dropped(reason),
    }
}

fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).trim().to_owned()
}

/// What an answer of gRPC means: its status, and the message where that is 0.
pub(super) fn of_grpc(status: &Status, message: &[u8], sent: Exported) -> Answer {
    const OK: i32 = 0;
    const RESOURCE_EXHAUSTED: i32 = 8;
    let name = CODES.get(usize::try_from(status.code).unwrap_or(usize::MAX)).copied().unwrap_or("UNKNOWN");
    let reason = format!("{name}: {}", shortened(&status.message));
    let delay = status.retry_delay();
    let retry = |reason| Answer::Retry { reason, after: delay, route_only: false };
    match status.code {
        OK => match ExportMetricsServiceResponse::decode(message) {
            Ok(response) => sent.stored(response),
            Err(error) => sent.dropped(format!("the answer cannot be read: {error}")),
        },
        RESOURCE_EXHAUSTED if delay.is_some() => retry(reason),
        // Too large is what half of it may not be.
        RESOURCE_EXHAUSTED if status.message.contains("larger than max") => {
            Answer::Rejected { reason, blame: Blame::Some }
        }
        code if RETRYABLE.contains(&code) => retry(reason),
        _ => sent.dropped(reason),
    }
}

/// CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS.
const RETRYABLE: &[i32] = &[1, 4, 10, 11, 14, 15];

/// The codes of gRPC.
const CODES: &[&str] = &[
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsPartialSuccess;
    use rstest::rstest;

    use super::*;

    const SENT: Exported = Exported { lines: 10, unreadable: 0, data_points: 40 };

    fn kind(answer: &Answer) -> &'static str {
        match answer {
            Answer::Stored { dropped: 0, .. } => "stored",
            Answer::Stored { dropped: 10, .. } => "dropped",
            Answer::Stored { .. } => "partly",
            Answer::Rejected { .. } => "halved",
            Answer::Partly { .. } => "line by line",
            Answer::Retry { .. } => "retried",
        }
    }

    /// The table of the specification.
    #[rstest]
    #[case(1, "retried")]
    #[case(2, "dropped")]
    #[case(3, "dropped")]
    #[case(4, "retried")]
    #[case(5, "dropped")]
    #[case(6, "dropped")]
    #[case(7, "dropped")]
    #[case(8, "dropped")]
    #[case(9, "dropped")]
    #[case(10, "retried")]
    #[case(11, "retried")]
    #[case(12, "dropped")]
    #[case(13, "dropped")]
    #[case(14, "retried")]
    #[case(15, "retried")]
    #[case(16, "dropped")]
    #[case(99, "dropped")]
    fn each_code_of_grpc_has_its_rule(#[case] code: i32, #[case] expected: &str) {
        let status = Status { code, message: "why".into(), details: Vec::new() };
        let answer = of_grpc(&status, &[], SENT);
        assert_eq!(kind(&answer), expected);
        assert!(format!("{answer:?}").contains(": why"));
    }

    #[test]
    fn the_delay_of_a_status_is_kept_and_makes_exhaustion_pass() {
        let info = RetryInfo { retry_delay: Some(RetryDelay { seconds: 30, nanos: 500_000_000 }) };
        let detail =
            Any { type_url: "type.googleapis.com/google.rpc.RetryInfo".into(), value: info.encode_to_vec() };
        for code in [8, 14] {
            let status =
                Status { code, message: "busy".into(), details: vec![Any::default(), detail.clone()] };
            let Answer::Retry { after, .. } = of_grpc(&status, &[], SENT) else { panic!("{code}") };
            assert_eq!(after, Some(Duration::from_millis(30_500)));
        }
        let too_large = "grpc: received message after decompression larger than max 4194304";
        let status = Status { code: 8, message: too_large.into(), details: Vec::new() };
        assert_eq!(kind(&of_grpc(&status, &[], SENT)), "halved");
    }

    #[rstest]
    #[case(200, "stored")]
    #[case(202, "stored")]
    #[case(301, "retried")]
    #[case(400, "dropped")]
    #[case(401, "dropped")]
    #[case(404, "dropped")]
    #[case(413, "halved")]
    #[case(429, "retried")]
    #[case(500, "dropped")]
    #[case(502, "retried")]
    #[case(503, "retried")]
    #[case(504, "retried")]
    fn each_status_of_http_has_its_rule(#[case] status: u16, #[case] expected: &str) {
        let after = Some(Duration::from_secs(7));
        let answer = of_http(status, after, &[], SENT);
        assert_eq!(kind(&answer), expected);
        if let (Answer::Retry { after: asked, .. }, 429 | 503) = (answer, status) {
            assert_eq!(asked, after);
        }
    }

    #[test]
    fn what_the_server_says_is_told() {
        let status = Status { code: 3, message: "bad data".into(), details: Vec::new() };
        let said = |body: &[u8]| match of_http(400, None, body, SENT) {
            Answer::Stored { dropped: 10, reason } => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(said(&status.encode_to_vec()), "400: bad data");
        assert_eq!(said(b"no such path\n"), "400: no such path");
        assert_eq!(said(b""), "400: without a word");
        assert_eq!(kind(&of_http(200, None, b"<html>Welcome</html>", SENT)), "retried");
    }

    #[test]
    fn a_partial_success_counts_what_is_rejected_and_is_no_reason_to_send_it_again() {
        let partial = |rejected_data_points, error_message: &str| {
            let partial =
                ExportMetricsPartialSuccess { rejected_data_points, error_message: error_message.into() };
            ExportMetricsServiceResponse { partial_success: Some(partial) }.encode_to_vec()
        };
        let dropped = |answer: Answer| match answer {
            Answer::Stored { dropped, reason } => (dropped, reason),
            other => panic!("{other:?}"),
        };
        let expected = (3, "9 data points are rejected: too old".to_owned());
        assert_eq!(dropped(of_http(200, None, &partial(9, "too old"), SENT)), expected);
        let status = Status::default();
        assert_eq!(dropped(of_grpc(&status, &partial(9, "too old"), SENT)), expected);
        assert_eq!(dropped(of_grpc(&status, &partial(1_000, "all"), SENT)).0, 10);
        assert_eq!(dropped(of_http(200, None, &partial(0, "use v2"), SENT)), (0, String::new()));
        let sent = Exported { unreadable: 2, ..SENT };
        assert_eq!(dropped(of_http(200, None, &[], sent)).0, 2);
    }
}
