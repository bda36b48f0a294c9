//! gRPC as far as exporting takes it: one message there, one message or a status back, over HTTP/2. Pure but for reading the body.
//!
//! Source: <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>, and for answers that are not gRPC's
//! `http-grpc-status-mapping.md` beside it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http_body_util::BodyExt as _;
use prost::Message as _;
use reqwest::Response;
use reqwest::header::HeaderMap;

use super::answer::{MAX_BODY_BYTES, Status};

/// Where metrics are exported to.
pub(super) const PATH: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
/// What a request says of itself.
pub(super) const HEADERS: &[(&str, &str)] = &[("Content-Type", "application/grpc"), ("TE", "trailers")];
/// Likewise, where messages are packed.
pub(super) const PACKED: (&str, &str) = ("grpc-encoding", "gzip");

/// Of a flag and a length.
const PREFIX: usize = 5;
const UNKNOWN: i32 = 2;
const RESOURCE_EXHAUSTED: i32 = 8;
const UNIMPLEMENTED: i32 = 12;
const INTERNAL: i32 = 13;

/// A message as it is sent.
pub(super) fn framed(message: &[u8], is_packed: bool) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut framed = Vec::with_capacity(PREFIX + message.len());
    framed.push(u8::from(is_packed));
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(message);
    framed
}

/// The message of an answer's body; `None` where there is none, or it is packed, which nobody asked for.
pub(super) fn message(body: &[u8]) -> Option<&[u8]> {
    let (prefix, message) = body.split_first_chunk::<PREFIX>()?;
    let [0, length @ ..] = prefix else { return None };
    message.get(..u32::from_be_bytes(*length) as usize)
}

/// Reads an answer: its status and its body.
///
/// # Errors
/// The connection broke, or there is more than an answer can have.
pub(super) async fn read(response: Response) -> Result<(Status, Vec<u8>), String> {
    let (http, head) = (response.status().as_u16(), response.headers().clone());
    let mut body = reqwest::Body::from(response);
    let (mut bytes, mut trailers) = (Vec::new(), None);
    while let Some(frame) = body.frame().await {
        match frame.map_err(|error| crate::http::chain(&error))?.into_data() {
            Ok(data) if bytes.len() + data.len() > MAX_BODY_BYTES => {
                return Ok((failed(RESOURCE_EXHAUSTED, "the answer is longer than 4 MiB"), Vec::new()));
            }
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    // An answer without a message has all of it in its head.
    let status = trailers.as_ref().and_then(status).or_else(|| status(&head));
    Ok((status.unwrap_or_else(|| of_http(http, &bytes)), bytes))
}

/// The status that trailers, or a head in their place, have.
pub(super) fn status(trailers: &HeaderMap) -> Option<Status> {
    let text = |name: &str| trailers.get(name)?.to_str().ok();
    let code = text("grpc-status")?.parse().unwrap_or(UNKNOWN);
    let details = text("grpc-status-details-bin").unwrap_or_default();
    let details = STANDARD_NO_PAD.decode(details.trim_end_matches('=')).unwrap_or_default();
    let details = Status::decode(details.as_slice()).unwrap_or_default().details;
    Some(Status { code, message: decoded(text("grpc-message").unwrap_or_default()), details })
}

fn failed(code: i32, message: &str) -> Status {
    Status { code, message: message.to_owned(), details: Vec::new() }
}

/// What an answer means that has no status: of a proxy, or of a server that does not speak gRPC.
fn of_http(http: u16, body: &[u8]) -> Status {
    let code = match http {
        400 => INTERNAL,
        401 => 16,
        403 => 7,
        404 => UNIMPLEMENTED,
        429 | 502 | 503 | 504 => 14,
        _ => UNKNOWN,
    };
    failed(code, &format!("{http}, which is no answer of gRPC: {}", String::from_utf8_lossy(body).trim()))
}

/// A text with its escapes, `%41`, taken away.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let escaped = after.first_chunk::<2>().filter(|_| *byte == b'%');
        let escaped = escaped.and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?;
            u8::from_str_radix(digits, 16).ok()
        });
        match escaped {
            Some(escaped) => {
                bytes.push(escaped);
                rest = &after[2..];
            }
            None => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;
    use crate::outputs::opentelemetry::answer::{Any, RetryDelay, RetryInfo};

    #[test]
    fn a_message_is_framed_by_a_flag_and_its_length() {
        assert_eq!(framed(b"abc", true), b"\x01\0\0\0\x03abc");
        assert_eq!(message(&framed(b"abc", false)), Some(&b"abc"[..]));
        assert_eq!(message(b"\0\0\0\0\0"), Some(&b""[..]));
        for wrong in [&b""[..], b"\0\0\0", b"\0\0\0\0\x04abc", b"\x01\0\0\0\0"] {
            assert_eq!(message(wrong), None, "{wrong:?}");
        }
    }

    fn trailers(all: &[(&'static str, &str)]) -> HeaderMap {
        let header = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        all.iter().map(header).collect()
    }

    #[test]
    fn a_status_is_in_the_trailers() {
        let info = RetryInfo { retry_delay: Some(RetryDelay { seconds: 3, nanos: 0 }) };
        let value = info.encode_to_vec();
        let any = Any { type_url: "type.googleapis.com/google.rpc.RetryInfo".into(), value };
        let whole = Status { code: 14, message: "é 100%".into(), details: vec![any] };
        let details = STANDARD_NO_PAD.encode(whole.encode_to_vec());
        let found = trailers(&[
            ("grpc-status", "14"),
            ("grpc-message", "%C3%A9 100%"),
            ("grpc-status-details-bin", &details),
        ]);
        assert_eq!(status(&found), Some(whole));
        assert_eq!(status(&trailers(&[("grpc-status", "0")])), Some(Status::default()));
        assert_eq!(status(&trailers(&[("grpc-message", "x")])), None);
        assert_eq!(status(&trailers(&[("grpc-status", "x")])).unwrap().code, UNKNOWN);
    }

    #[test]
    fn what_is_not_grpc_is_told_with_its_status() {
        assert_eq!(of_http(503, b"busy\n").code, 14);
        assert_eq!(of_http(404, b"").code, UNIMPLEMENTED);
        assert_eq!(of_http(200, b"").code, UNKNOWN);
        assert!(of_http(503, b"busy\n").message.ends_with(": busy"));
    }
}
