//! Answers in the words and headers of InfluxDB 1 and 2.

use http_body_util::Full;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde_json::{Value, json};

pub(super) use crate::listen::serve::{Answer, empty};
use crate::uuid::uuid;

/// Seconds after which a sender is to try again. Outputs write every 10 s by default, and sooner when they have a whole batch.
const RETRY_SECONDS: &str = "5";
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Of a header's value.
const MAX_HEADER: usize = 1_024;

/// The version whose words an answer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super::super) enum Dialect {
    V1,
    V2,
}

impl Dialect {
    /// A version that clients take for one that they know: some choose the API by it.
    pub(super) fn version(self) -> &'static str {
        match self {
            Self::V1 => "1.8.10",
            Self::V2 => "v2.7.12",
        }
    }

    /// An error in JSON; `code` is what version 2 calls it.
    pub(super) fn error(self, status: StatusCode, code: &str, message: &str) -> Answer {
        let body = match self {
            Self::V1 => json!({ "error": message }),
            Self::V2 => json!({ "code": code, "message": message }),
        };
        let mut answer = json_answer(status, &body);
        answer.headers_mut().insert(HeaderName::from_static("x-influxdb-error"), header(message));
        answer
    }

    pub(super) fn bad_request(self, message: &str) -> Answer {
        self.error(StatusCode::BAD_REQUEST, "invalid", message)
    }

    pub(super) fn unauthorized(self) -> Answer {
        match self {
            Self::V1 => {
                let mut answer = self.error(StatusCode::UNAUTHORIZED, "", "authorization failed");
                let realm = HeaderValue::from_static("Basic realm=\"InfluxDB\"");
                answer.headers_mut().insert(WWW_AUTHENTICATE, realm);
                answer
            }
            Self::V2 => self.error(StatusCode::UNAUTHORIZED, "unauthorized", "unauthorized access"),
        }
    }

    pub(super) fn too_large(self, limit: u64) -> Answer {
        let message = "http: request body too large";
        let mut answer = self.error(StatusCode::PAYLOAD_TOO_LARGE, "request too large", message);
        if self == Self::V2 {
            let body = json!({ "code": "invalid", "maxLength": limit.to_string(), "message": message });
            *answer.body_mut() = Full::from(body.to_string());
        }
        answer
    }

    pub(super) fn busy(self, message: &str) -> Answer {
        let mut answer = self.error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message);
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_SECONDS));
        answer
    }

    pub(super) fn not_found(self) -> Answer {
        match self {
            Self::V1 => {
                let mut answer = empty(StatusCode::NOT_FOUND);
                *answer.body_mut() = Full::from("404 page not found\n");
                let text = HeaderValue::from_static("text/plain; charset=utf-8");
                answer.headers_mut().insert(CONTENT_TYPE, text);
                answer
            }
            Self::V2 => self.error(StatusCode::NOT_FOUND, "not found", "path not found"),
        }
    }

    /// Adds the headers that every answer has.
    pub(super) fn finish(self, answer: &mut Answer) {
        let headers = answer.headers_mut();
        headers
            .insert(HeaderName::from_static("x-influxdb-version"), HeaderValue::from_static(self.version()));
        headers.insert(HeaderName::from_static("x-influxdb-build"), HeaderValue::from_static("OSS"));
        let id = request_id();
        headers.insert(HeaderName::from_static("request-id"), header(&id));
        headers.insert(HeaderName::from_static("x-request-id"), header(&id));
    }
}

pub(super) fn json_answer(status: StatusCode, body: &Value) -> Answer {
    let mut answer = empty(status);
    *answer.body_mut() = Full::from(format!("{body}\n"));
    answer.headers_mut().insert(CONTENT_TYPE, JSON);
    answer
}

/// A text as the value of a header, in which others than printable characters have no place.
fn header(text: &str) -> HeaderValue {
    let printable: String = text
        .chars()
        .take(MAX_HEADER)
        .map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' })
        .collect();
    HeaderValue::from_str(&printable).unwrap_or(HeaderValue::from_static("?"))
}

/// In the form of a UUID.
fn request_id() -> String {
    uuid(fastrand::u64(..), fastrand::u64(..))
}
