//! Requests for the page: who may see it, and in which form.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flate2::Compression;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, VARY, WWW_AUTHENTICATE,
};
use hyper::{HeaderMap, Method, Request, StatusCode};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::accept::Asked;
use super::collection::Collection;
use super::networks::Network;
use super::page::PageWriter;
use crate::listen::Gate as _;
use crate::listen::endpoint::Counter;
use crate::listen::serve::{Answer, Answers, Peer, empty};
use crate::options::secret::{Secret, same};
use crate::outputs::compress::gzip;
use crate::service::off_thread;

/// Pages that are there at one time: others wait until they are sent.
pub(super) const MAX_PAGES: usize = 2;

/// What is said at the root of the server, where there are no metrics.
const LANDING: &str = "Seismograf: an output for Prometheus. The metrics are at ";

/// Who sees the page, and how it is served.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) path: String,
    /// A user and a password; both empty mean everybody.
    pub(super) user: (Secret, Secret),
    /// Where clients may be; empty means everywhere.
    pub(super) networks: Vec<Network>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) export_timestamp: bool,
    pub(super) read_timeout: Duration,
    pub(super) write_timeout: Duration,
}

/// The page of a collection.
pub(super) struct PageServer {
    site: Site,
    collection: Arc<Mutex<Collection>>,
    places: Arc<Semaphore>,
}

impl PageServer {
    pub(super) fn new(site: Site, collection: Arc<Mutex<Collection>>) -> Self {
        Self { site, collection, places: Arc::new(Semaphore::new(MAX_PAGES)) }
    }

    async fn page(&self, asked: Asked) -> Answer {
        let place = Arc::clone(&self.places).acquire_owned();
        // Those that are being sent are given up by then, if nobody takes them.
        let Ok(Ok(place)) = tokio::time::timeout(self.site.write_timeout, place).await else {
            return text(StatusCode::SERVICE_UNAVAILABLE, "too many pages are being sent");
        };
        let Asked { format, takes_utf8, takes_gzip } = asked;
        let writer = PageWriter { format, takes_utf8, export_timestamp: self.site.export_timestamp };
        let mut collection = Arc::clone(&self.collection).lock_owned().await;
        let body = off_thread::run(move || {
            collection.expire(Instant::now());
            let page = writer.page(&collection);
            drop(collection);
            let body = if takes_gzip { gzip(&[page], Compression::fast()) } else { page.into() };
            Bytes::from_owner(Placed { body, _place: place })
        });
        let mut answer = Answer::new(Full::new(body.await));
        let headers = answer.headers_mut();
        if let Ok(kind) = HeaderValue::from_str(&format.content_type(takes_utf8)) {
            headers.insert(CONTENT_TYPE, kind);
        }
        headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
        if takes_gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        answer
    }

    async fn answer_to(&self, request: &Request<Incoming>) -> Answer {
        let site = &self.site;
        if !site.admits(request.headers()) {
            let mut answer = text(StatusCode::UNAUTHORIZED, "Unauthorized");
            let realm = HeaderValue::from_static("Basic realm=\"prometheus\"");
            answer.headers_mut().insert(WWW_AUTHENTICATE, realm);
            return answer;
        }
        let peer = request.extensions().get::<Peer>().and_then(|peer| peer.0);
        if !site.is_within(peer) {
            return text(StatusCode::FORBIDDEN, "Forbidden");
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "there is nothing to change here: use GET");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        match request.uri().path() {
            path if path == site.path => self.page(Asked::of(request.headers())).await,
            "/" => text(StatusCode::OK, &format!("{LANDING}{}", site.path)),
            _ => text(StatusCode::NOT_FOUND, &format!("the metrics are at {}", site.path)),
        }
    }
}

impl Answers for PageServer {
    type Gate = Counter;

    fn idle_limit(&self) -> Duration {
        self.site.read_timeout
    }

    fn write_limit(&self) -> Duration {
        self.site.write_timeout
    }

    async fn answer(&self, counter: &Arc<Counter>, request: Request<Incoming>) -> Answer {
        let mut answer = self.answer_to(&request).await;
        if matches!(answer.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            counter.count(|counts| &counts.refused, 1);
        }
        for (name, value) in &self.site.headers {
            answer.headers_mut().insert(name.clone(), value.clone());
        }
        answer
    }
}

/// A page that is being sent, and keeps its place until it is.
struct Placed {
    body: Vec<u8>,
    _place: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Placed {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Site {
    /// Whether a client says who may see the page.
    fn admits(&self, headers: &HeaderMap) -> bool {
        let (user, password) = &self.user;
        if user.is_empty() && password.is_empty() {
            return true;
        }
        let expected = format!("{}:{}", user.expose(), password.expose());
        let said = headers.get_all(AUTHORIZATION).iter().filter_map(|line| {
            let (scheme, rest) = line.to_str().ok()?.trim().split_once(' ')?;
            let said = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(rest.trim()).ok())??;
            String::from_utf8(said).ok()
        });
        said.into_iter().any(|said| same(&said, &expected))
    }

    /// Whether a client is where one may be. Who may open a unix socket is the file system's business.
    fn is_within(&self, peer: Option<IpAddr>) -> bool {
        self.networks.is_empty() || peer.is_none_or(|ip| self.networks.iter().any(|network| network.has(ip)))
    }
}

fn text(status: StatusCode, text: &str) -> Answer {
    let mut answer = empty(status);
    *answer.body_mut() = Full::from(format!("{text}\n"));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}
