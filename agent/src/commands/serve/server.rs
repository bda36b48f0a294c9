//! Connections of browsers, and the pages that watch.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};

use super::answer::{Asked, Content, Site};
use super::frames::{self, Frames};
use crate::schema::views::View;

/// Pages that are open at one time; each is a connection.
pub(super) const MAX_WATCHERS: usize = 16;
/// Connections at one time: those of pages, and some that ask for one.
const MAX_CONNECTIONS: usize = 2 * MAX_WATCHERS;
/// How long a connection may have no request.
const IDLE_LIMIT: Duration = Duration::from_secs(30);
/// The buffer of a connection.
const MAX_BUFFER: usize = 16 << 10;
/// Events that wait for a browser: of a slow one some are left out, since each has everything.
const MAX_WAITING: usize = 2;
/// After an accept that failed, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A page that is open.
pub(super) struct Watcher {
    view: &'static View,
    events: mpsc::Sender<Bytes>,
}

impl Watcher {
    /// Sends what it shows; `false` when it is gone.
    pub(super) fn show(&self, frames: &mut Frames<'_>) -> bool {
        if let Some(frame) = frames.rows(self.view) {
            let _ = self.events.try_send(frame);
        }
        !self.events.is_closed()
    }
}

/// Accepts connections and serves them, for ever.
pub(super) async fn accept(listener: TcpListener, site: Site, join: mpsc::Sender<Watcher>) {
    let (site, places) = (Arc::new(site), Arc::new(Semaphore::new(MAX_CONNECTIONS)));
    let watching = Arc::new(Semaphore::new(MAX_WATCHERS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::error!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // One too many is closed; a browser says so.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let (site, join, watching) = (Arc::clone(&site), join.clone(), Arc::clone(&watching));
        tokio::spawn(async move {
            serve(stream, site, join, watching).await;
            drop(place);
        });
    }
}

async fn serve(stream: TcpStream, site: Arc<Site>, join: mpsc::Sender<Watcher>, watching: Arc<Semaphore>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request: Request<Incoming>| {
        let answer = answer(&request, &site, &join, &watching);
        async move { Ok::<_, Infallible>(answer) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_LIMIT)
        .max_buf_size(MAX_BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection ended");
    }
}

fn answer(
    request: &Request<Incoming>,
    site: &Site,
    join: &mpsc::Sender<Watcher>,
    watching: &Arc<Semaphore>,
) -> Response<Content> {
    let uri = request.uri();
    match site.ask(request.method(), uri.path(), uri.query().unwrap_or_default(), request.headers()) {
        Asked::Answer(answer) => answer,
        Asked::Events(view) => {
            let Ok(place) = Arc::clone(watching).try_acquire_owned() else { return site.full() };
            let (events, receive) = mpsc::channel(MAX_WAITING);
            // There is room: nothing was sent yet.
            let _ = events.try_send(frames::views());
            let gone = events.clone();
            if join.try_send(Watcher { view, events }).is_err() {
                return site.full();
            }
            // Its place is free again once the browser is gone.
            tokio::spawn(async move {
                gone.closed().await;
                drop(place);
            });
            site.events(receive)
        }
    }
}
