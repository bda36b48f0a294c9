//! Connections of HTTP/1.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Notify;

use super::Gate;
use super::connections::{Admission, ByteStream, Connection, accept};
use super::stall::Unstalled;

/// The buffer of a connection grows up to this.
pub(crate) const MAX_BUFFER: usize = 16 << 10;

/// How long a client may take nothing of its answer, unless somebody says otherwise.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// How long who has connected may take to say what it wants, unless somebody says otherwise.
pub(crate) const FIRST_LIMIT: Duration = Duration::from_secs(5);

/// An answer.
pub(crate) type Answer = Response<Full<Bytes>>;

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}

/// Where a request comes from: an extension of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer(pub(crate) Option<IpAddr>);

/// What answers requests.
pub(crate) trait Answers: Send + Sync + 'static {
    /// Where they come in.
    type Gate: Gate;

    /// How long a connection may have no request.
    fn idle_limit(&self) -> Duration;

    /// The same for one that has had none yet.
    fn first_limit(&self) -> Duration {
        FIRST_LIMIT.min(self.idle_limit())
    }

    /// How long a client may take nothing of its answer.
    fn write_limit(&self) -> Duration {
        WRITE_LIMIT
    }

    /// Answers a request.
    fn answer(
        &self,
        gate: &Arc<Self::Gate>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Answer> + Send;
}

/// Accepts connections and serves them.
pub(crate) async fn receive<A: Answers>(gate: Arc<A::Gate>, admission: Admission, api: Arc<A>) {
    let serve = {
        let gate = Arc::clone(&gate);
        move |connection| serve(Arc::clone(&gate), Arc::clone(&api), connection)
    };
    accept(gate, admission, serve).await;
}

async fn serve<A: Answers>(gate: Arc<A::Gate>, api: Arc<A>, connection: Connection) {
    let Connection { stream, peer, activity } = connection;
    serve_stream(&gate, &api, Unstalled::new(stream, api.write_limit()), Peer(peer), || activity.now()).await;
}

/// Serves a connection until its end; `asked` is told of each request.
pub(crate) async fn serve_stream<A: Answers>(
    gate: &Arc<A::Gate>,
    api: &Arc<A>,
    stream: impl ByteStream,
    peer: Peer,
    asked: impl Fn(),
) {
    let first = Notify::new();
    let service = service_fn(|mut request: Request<Incoming>| {
        asked();
        first.notify_one();
        request.extensions_mut().insert(peer);
        let (api, gate) = (Arc::clone(api), Arc::clone(gate));
        async move { Ok::<_, Infallible>(api.answer(&gate, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(api.idle_limit())
        .max_buf_size(MAX_BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    let too_late = tokio::time::sleep(api.first_limit());
    tokio::pin!(connection, too_late);
    let (mut ends, mut has_asked) = (false, false);
    loop {
        tokio::select! {
            ended = &mut connection => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended");
                }
                return;
            }
            () = first.notified(), if !has_asked => {
                has_asked = true;
                if ends {
                    connection.as_mut().graceful_shutdown();
                }
            }
            () = &mut too_late, if !has_asked => return,
            // A request that is under way is answered, and no other is taken: but for the first one of who has just connected,
            // since that is about to come.
            () = gate.closed(), if !ends => {
                ends = true;
                if has_asked {
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}
