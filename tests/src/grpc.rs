//! A stand-in for a server that speaks gRPC: takes calls of one message each, keeps them, and answers as configured.
//!
//! Source: <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::oneshot;

/// A call as it came.
#[derive(Clone, Debug)]
pub struct Call {
    /// What is called: `/package.Service/Method`.
    pub path: String,
    /// What the call says of itself.
    pub headers: BTreeMap<String, String>,
    /// The message, unpacked.
    pub message: Vec<u8>,
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct GrpcReply {
    /// `grpc-status`
    pub status: i32,
    /// `grpc-message`, as it is escaped.
    pub text: String,
    /// `grpc-status-details-bin`, as it is encoded; empty for none.
    pub details: String,
    /// The message; `None` for an answer that is trailers alone.
    pub message: Option<Vec<u8>>,
}

/// A running stand-in. Dropping it ends it.
pub struct GrpcStandin {
    address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

type Handler = dyn Fn(&Call) -> GrpcReply + Send + Sync;

impl GrpcStandin {
    /// Answers each call as `reply` has it.
    ///
    /// # Panics
    /// When there is no port.
    pub fn start(reply: impl Fn(&Call) -> GrpcReply + Send + Sync + 'static) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let calls = Arc::new(Mutex::new(Vec::new()));
        let (end, ended) = oneshot::channel();
        let (handler, kept): (Arc<Handler>, _) = (Arc::new(reply), Arc::clone(&calls));
        let thread = std::thread::spawn(move || {
            let runtime = crate::runtime();
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, handler, kept) => {}
                    _ = ended => {}
                }
            });
        });
        Self { address, calls, end: Some(end), thread: Some(thread) }
    }

    /// `127.0.0.1:PORT`
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The calls so far.
    ///
    /// # Panics
    /// When the stand-in has failed.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }
}

async fn serve(listener: std::net::TcpListener, handler: Arc<Handler>, calls: Arc<Mutex<Vec<Call>>>) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (handler, calls) = (Arc::clone(&handler), Arc::clone(&calls));
        let service = hyper::service::service_fn(move |request| {
            let (handler, calls) = (Arc::clone(&handler), Arc::clone(&calls));
            async move { Ok::<_, Infallible>(answer(request, &*handler, &calls).await) }
        });
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service);
        // One that breaks off is the agent's to report.
        tokio::spawn(async move { drop(connection.await) });
    }
}

type Answer = Response<http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>>;

async fn answer(request: Request<Incoming>, handler: &Handler, calls: &Mutex<Vec<Call>>) -> Answer {
    let path = request.uri().path().to_owned();
    let header = |(name, value): (&HeaderName, &HeaderValue)| {
        (name.to_string(), value.to_str().unwrap_or_default().to_owned())
    };
    let headers = request.headers().iter().map(header).collect();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let call = Call { path, headers, message: unpacked(&body) };
    let reply = handler(&call);
    calls.lock().unwrap().push(call);
    let mut trailers = HeaderMap::new();
    let mut set = |name: &'static str, value: &str| {
        if !value.is_empty() {
            trailers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
    };
    set("grpc-status", &reply.status.to_string());
    set("grpc-message", &reply.text);
    set("grpc-status-details-bin", &reply.details);
    let response = Response::builder().header("content-type", "application/grpc");
    match reply.message {
        Some(message) => {
            let length = u32::try_from(message.len()).unwrap().to_be_bytes();
            let body = Full::new(Bytes::from([&[0], &length[..], &message].concat()));
            let body = body.with_trailers(async { Some(Ok(trailers)) });
            response.body(body.boxed_unsync()).unwrap()
        }
        None => {
            let mut response = response.body(Full::default().boxed_unsync()).unwrap();
            response.headers_mut().extend(trailers);
            response
        }
    }
}

/// The one message of a body.
fn unpacked(body: &[u8]) -> Vec<u8> {
    let (prefix, message) = body.split_first_chunk::<5>().expect("a message has a flag and a length");
    let [flag, length @ ..] = prefix;
    assert_eq!(u32::from_be_bytes(*length) as usize, message.len(), "one message");
    if *flag == 0 {
        return message.to_vec();
    }
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(message).read_to_end(&mut unpacked).unwrap();
    unpacked
}

impl Drop for GrpcStandin {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            let _ = end.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
