//! Connections of HTTP/1.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::answer::Answer;
use crate::inputs::listener::Inlet;
use crate::inputs::listener::connections::{Admission, ByteStream, Connection, accept};

/// The buffer of a connection grows up to this.
pub(in super::super) const MAX_BUFFER: usize = 16 << 10;

/// What answers requests.
pub(super) trait Answers: Send + Sync + 'static {
    /// How long a connection may have no request.
    fn idle_limit(&self) -> Duration;

    /// Answers a request.
    fn answer(&self, inlet: &Arc<Inlet>, request: Request<Incoming>) -> impl Future<Output = Answer> + Send;
}

/// Accepts connections and serves them.
pub(super) async fn receive(inlet: Arc<Inlet>, admission: Admission, api: Arc<impl Answers>) {
    let serve = {
        let inlet = Arc::clone(&inlet);
        move |connection| serve(Arc::clone(&inlet), Arc::clone(&api), connection)
    };
    accept(inlet, admission, serve).await;
}

async fn serve(inlet: Arc<Inlet>, api: Arc<impl Answers>, Connection { stream, activity }: Connection) {
    serve_stream(&inlet, &api, stream, || activity.now()).await;
}

/// Serves a connection until its end; `asked` is told of each request.
pub(super) async fn serve_stream(
    inlet: &Arc<Inlet>,
    api: &Arc<impl Answers>,
    stream: impl ByteStream,
    asked: impl Fn(),
) {
    let service = service_fn(|request| {
        asked();
        let (api, inlet) = (Arc::clone(api), Arc::clone(inlet));
        async move { Ok::<_, Infallible>(api.answer(&inlet, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(api.idle_limit())
        .max_buf_size(MAX_BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let mut ends = false;
    loop {
        tokio::select! {
            ended = &mut connection => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended");
                }
                return;
            }
            // A request that is under way is answered, and no other is taken.
            () = inlet.queue.closed(), if !ends => {
                ends = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
