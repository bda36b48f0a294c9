//! What the output makes of each kind of answer, and that what it sends is OTLP: stand-ins decode it by the protocol's own
//! messages. Their answers are typed from the specification, "Full Success", "Partial Success", "Failures" and "Throttling".

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use libtest_mimic::Trial;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prost::Message as _;
use seismograf::point::{Point, Timestamp};
use seismograf_tests::grpc::{GrpcReply, GrpcStandin};
use seismograf_tests::standin::{Request, Standin};
use seismograf_tests::suite::Outcome;
use seismograf_tests::trial;

use super::output;
use crate::outputs::{value, write};

/// The suite.
pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("opentelemetry::http_is_retried_and_dropped_as_specified", http),
        trial("opentelemetry::grpc_is_retried_and_dropped_as_specified", grpc),
    ]
}

/// So many lines with a number that counts up.
const N: usize = 10;

fn points() -> Vec<Point> {
    let point = |i: i64| Point::new("diskio", Timestamp(1_700_000_000_000_000_000 + i)).tag("name", "sda");
    (0..N as i64).map(|i| point(i).field("reads", i.cast_unsigned()).field("text", "x")).collect()
}

/// How many data points a request has, all of which are to be of that counter.
fn n_reads(request: &[u8]) -> usize {
    let request = ExportMetricsServiceRequest::decode(request).unwrap();
    let scopes = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
    let metrics = scopes.flat_map(|scope| &scope.metrics);
    let of_metric = metrics.map(|metric| match metric.data.as_ref().unwrap() {
        Data::Sum(sum) if sum.is_monotonic && sum.aggregation_temporality == 2 => {
            assert_eq!(metric.name, "diskio_reads");
            sum.data_points.len()
        }
        other => panic!("{other:?}"),
    });
    of_metric.sum()
}

fn partial_success() -> Vec<u8> {
    let partial_success =
        Some(ExportMetricsPartialSuccess { rejected_data_points: 3, error_message: "too old".into() });
    ExportMetricsServiceResponse { partial_success }.encode_to_vec()
}

fn message(request: &Request) -> Vec<u8> {
    let mut message = Vec::new();
    flate2::read::GzDecoder::new(request.body.as_slice()).read_to_end(&mut message).unwrap();
    message
}

/// An answer in protobuf.
fn answer(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} \r\nContent-Type: application/x-protobuf\r\n{headers}Content-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

fn http() -> Outcome {
    // Not now, for a second; then in part.
    let n_requests = Arc::new(AtomicUsize::new(0));
    let server = Standin::answering({
        let n_requests = Arc::clone(&n_requests);
        move |_| match n_requests.fetch_add(1, Ordering::Relaxed) {
            0 => answer(503, "Retry-After: 1\r\n", b""),
            _ => answer(200, "", &partial_success()),
        }
    });
    let start = Instant::now();
    let (left, counts) = write(output(&server.url(), |to| to.token = "a token".into()), points());
    let requests = server.requests();
    println!("opentelemetry: over HTTP, {} requests in {:?}", requests.len(), start.elapsed());
    assert_eq!(left, N, "what is to be tried again waits for the next flush, which does not come here");
    assert_eq!((value(&counts.written), value(&counts.losses.rejected)), (0, 0));
    let (left, counts) = write(output(&server.url(), |_| ()), points());
    assert_eq!((left, value(&counts.written), value(&counts.losses.rejected)), (0, 7, 3));
    let requests = server.requests();
    assert_eq!(requests.len(), 2, "a partial success is not sent again");
    for request in &requests {
        assert_eq!((&*request.method, &*request.target), ("POST", "/v1/metrics"));
        let header = |name: &str| request.headers.get(name).map(String::as_str);
        assert_eq!(header("content-type"), Some("application/x-protobuf"));
        assert_eq!(header("content-encoding"), Some("gzip"));
        assert_eq!(n_reads(&message(request)), N);
    }
    assert_eq!(requests[0].headers["authorization"], "Bearer a token");
    // `google.rpc.Status` of an INVALID_ARGUMENT.
    let refuses = Standin::answering(|_| answer(400, "", b"\x08\x03\x12\x08bad data"));
    let (left, counts) = write(output(&refuses.url(), |_| ()), points());
    assert_eq!((left, value(&counts.written), value(&counts.losses.rejected)), (0, 0, N as u64));
    assert_eq!(refuses.requests().len(), 1, "what is refused is not sent again");
    Ok(())
}

/// `google.rpc.Status` of an UNAVAILABLE with `google.rpc.RetryInfo` of one second.
fn unavailable() -> GrpcReply {
    let info = b"\x0a\x02\x08\x01";
    let url = b"type.googleapis.com/google.rpc.RetryInfo";
    let any = [&[0x0A, url.len() as u8], &url[..], &[0x12, info.len() as u8], info].concat();
    let status = [&b"\x08\x0e\x12\x04busy\x1a"[..], &[any.len() as u8], &any].concat();
    let details = STANDARD_NO_PAD.encode(status);
    GrpcReply { status: 14, text: "busy".into(), details, message: None }
}

fn grpc() -> Outcome {
    let n_calls = Arc::new(AtomicUsize::new(0));
    let server = GrpcStandin::start({
        let n_calls = Arc::clone(&n_calls);
        move |_| match n_calls.fetch_add(1, Ordering::Relaxed) {
            0 => unavailable(),
            1 => GrpcReply { message: Some(partial_success()), ..GrpcReply::default() },
            2 => GrpcReply { message: Some(Vec::new()), ..GrpcReply::default() },
            // INVALID_ARGUMENT
            _ => GrpcReply { status: 3, text: "bad%20data".into(), ..GrpcReply::default() },
        }
    });
    let mut outcomes = Vec::new();
    for compression in ["gzip", "none", "gzip", "gzip"] {
        let output = output(&server.address(), |to| {
            to.compression = compression.into();
            to.headers = [("X-Tenant".to_owned(), "t".into())].into();
        });
        let (left, counts) = write(output, points());
        outcomes.push((left, value(&counts.written), value(&counts.losses.rejected)));
    }
    println!("opentelemetry: over gRPC, left, written and rejected: {outcomes:?}");
    assert_eq!(outcomes, [(N, 0, 0), (0, 7, 3), (0, 10, 0), (0, 0, 10)]);
    let calls = server.calls();
    assert_eq!(calls.len(), 4, "each is sent once");
    for call in &calls {
        assert_eq!(call.path, "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export");
        let header = |name: &str| call.headers.get(name).map_or("", String::as_str);
        assert_eq!((header("content-type"), header("te")), ("application/grpc", "trailers"));
        assert_eq!(header("x-tenant"), "t");
        assert_eq!(n_reads(&call.message), N);
    }
    Ok(())
}
