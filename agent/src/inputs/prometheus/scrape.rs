//! One scrape: the request, the answer within its limits of time and size, and the points of its samples.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Proxy, RequestBuilder, Response, StatusCode};
use tokio::time::Instant;

use super::points::{Page, Points, Version};
use super::room::{Held, NoRoom, PER_PAGE_BYTE, Room};
use super::target::Target;
use crate::host::file::lossy;
use crate::http::{self, BodyError};
use crate::identity::kubelet::Token;
use crate::options::OptionError;
use crate::options::secret::Secret;
use crate::options::tls::Tls;
use crate::parsers::exposition::{self, Format, PageError};
use crate::point::{Name, Point, Timestamp};
use crate::service::memory;

/// Text first, as Telegraf names what it gives; OpenMetrics has other names for the same. No protobuf, which is not read here.
const ACCEPTED: &str =
    "text/plain;version=0.0.4;q=0.9,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1";
/// The largest page where `content_length_limit` is not set: some 100,000 samples.
pub(super) const MAX_PAGE_BYTES: usize = 16 << 20;
/// The memory of larger pages is released at once; smaller ones are needed again at the next gather.
const BIG_PAGE_BYTES: usize = 4 << 20;
/// So many samples are parsed before others have their turn on this thread: a few milliseconds.
const SAMPLES_PER_TURN: usize = 5_000;
/// How often one answer may lead to another on the same server.
const MAX_REDIRECTS: usize = 10;

/// How targets are scraped.
pub(super) struct Scraper {
    pub(super) version: Version,
    pub(super) url_tag: String,
    pub(super) ignores_timestamps: bool,
    /// Read every page as this, whatever it says that it is.
    pub(super) format: Option<Format>,
    /// Bytes of a page.
    pub(super) page_limit: usize,
    pub(super) room: Arc<Room>,
    pub(super) has_request_metrics: bool,
    pub(super) credentials: Credentials,
    pub(super) headers: HeaderMap,
    pub(super) clients: Clients,
}

/// How a request authenticates itself.
pub(super) enum Credentials {
    /// As its URL says.
    None,
    /// A token, which is read for each request if it is in a file.
    Bearer(Token),
    /// A user with a password.
    Basic(Secret, Secret),
}

/// What is the same for all clients.
pub(super) struct Reach {
    pub(super) timeout: Duration,
    /// For the answer's head; 0 means no limit but the other.
    pub(super) head_timeout: Duration,
    pub(super) uses_system_proxy: bool,
    pub(super) proxy: String,
    pub(super) tls: Tls,
}

/// The clients, made as they are needed: a pod without TLS anywhere has no authorities in memory.
pub(super) struct Clients {
    reach: Reach,
    plain: Client,
    tls: OnceLock<Client>,
    sockets: Mutex<BTreeMap<PathBuf, Client>>,
}

impl Clients {
    /// Checks the options.
    ///
    /// # Errors
    /// The one that cannot be used.
    pub(super) fn new(reach: Reach, needs_tls: bool) -> Result<Self, OptionError> {
        let plain = http::build(reach.client(false)?, "urls")?;
        let clients = Self { plain, tls: OnceLock::new(), sockets: Mutex::default(), reach };
        if needs_tls {
            clients.tls()?;
        }
        Ok(clients)
    }

    fn tls(&self) -> Result<&Client, OptionError> {
        if let Some(client) = self.tls.get() {
            return Ok(client);
        }
        let client = http::build(self.reach.client(true)?, "urls")?;
        Ok(self.tls.get_or_init(|| client))
    }

    fn of(&self, target: &Target) -> Result<Client, OptionError> {
        let Some(socket) = &target.socket else {
            return if target.url.scheme() == "https" { self.tls().cloned() } else { Ok(self.plain.clone()) };
        };
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = sockets.get(socket) {
            return Ok(client.clone());
        }
        let client = http::build(self.reach.client(false)?.unix_socket(socket.as_path()), "urls")?;
        sockets.insert(socket.clone(), client.clone());
        Ok(client)
    }
}

impl Reach {
    fn client(&self, is_tls: bool) -> Result<ClientBuilder, OptionError> {
        // A token must not go to another server than the configured one.
        let redirect = Policy::custom(|attempt| {
            let previous = attempt.previous();
            let is_same = previous.last().is_some_and(|last| last.origin() == attempt.url().origin());
            if is_same && previous.len() <= MAX_REDIRECTS { attempt.follow() } else { attempt.stop() }
        });
        let client = http::client(&self.tls, is_tls)?.timeout(self.timeout).redirect(redirect);
        if self.uses_system_proxy {
            return Ok(client);
        }
        if !self.proxy.is_empty() {
            // The URL may have a password in it.
            let wrong =
                |_| OptionError::new("http_proxy_url", "is no URL of a proxy: write it as http://host:3128");
            return Ok(client.proxy(Proxy::all(&self.proxy).map_err(wrong)?));
        }
        Ok(client.no_proxy())
    }
}

/// Reads `http_headers`.
///
/// # Errors
/// Names the header that cannot be sent.
pub(super) fn headers(configured: &BTreeMap<String, Secret>) -> Result<HeaderMap, OptionError> {
    let mut headers = HeaderMap::new();
    for (name, value) in configured {
        let wrong =
            |what: &dyn std::fmt::Display| OptionError::new("http_headers", format!("`{name}`: {what}"));
        let mut value = HeaderValue::from_str(value.expose()).map_err(|error| wrong(&error))?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|error| wrong(&error))?, value);
    }
    Ok(headers)
}

/// Why a scrape gave nothing, or less than it should.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScrapeError {
    #[error(transparent)]
    Option(#[from] OptionError),
    #[error("{0}")]
    Token(String),
    #[error("{0}")]
    NoAnswer(String),
    #[error("{0}")]
    Status(String),
    #[error("the page is of the type `{0}`, which is not read here: text or OpenMetrics is")]
    Unreadable(String),
    #[error("{0}; `content_length_limit` says how large a page may be")]
    TooLarge(BodyError),
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    #[error("{n} lines are no samples and were left out; the first is {first}")]
    BadLines { n: usize, first: PageError },
}

impl From<BodyError> for ScrapeError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge(_) => Self::TooLarge(error),
            BodyError::Broken(_) => Self::NoAnswer(error.to_string()),
        }
    }
}

/// What came of a scrape.
pub(super) struct Scraped {
    pub(super) points: Vec<Point>,
    /// Their memory, until they are handed on.
    pub(super) held: Option<Held>,
    pub(super) result: Result<(), ScrapeError>,
}

/// The figures of a request.
#[derive(Default)]
struct Figures {
    response_time: Option<f64>,
    content_length: Option<usize>,
}

impl Scraper {
    /// Scrapes a target; samples without a time of their own have `time`.
    pub(super) async fn scrape(&self, target: &Target, time: Timestamp) -> Scraped {
        let mut tags: Vec<(Name, Name)> = Vec::new();
        if !self.url_tag.is_empty() {
            tags.push((Name::from(&self.url_tag), Name::from(&target.shown)));
        }
        tags.retain(|(key, _)| !target.tags.iter().any(|(own, _)| own == key));
        tags.extend(target.tags.iter().cloned());
        let mut figures = Figures::default();
        let mut held = Held::new(&self.room, self.page_limit.saturating_mul(PER_PAGE_BYTE));
        let read = match self.page(target, &mut figures, &mut held).await {
            Ok((page, format)) => self.read(page, format, &tags, time, &mut held).await,
            Err(error) => Err(error),
        };
        let (mut points, result) = read.unwrap_or_else(|error| (Vec::new(), Err(error)));
        if matches!(result, Err(ScrapeError::TooLarge(_) | ScrapeError::NoRoom(_))) {
            memory::give_back();
        }
        if self.has_request_metrics {
            points.extend(figures.point(tags, time));
        }
        let held = (!points.is_empty()).then_some(held);
        Scraped { points, held, result }
    }

    /// Requests the page.
    async fn page(
        &self,
        target: &Target,
        figures: &mut Figures,
        held: &mut Held,
    ) -> Result<(Vec<u8>, Format), ScrapeError> {
        let client = self.clients.of(target)?;
        let start = Instant::now();
        let response = self.answer(self.request(&client, target).await?).await?;
        figures.response_time = Some(start.elapsed().as_secs_f64());
        if response.status() != StatusCode::OK {
            return Err(ScrapeError::Status(said(&response)));
        }
        let format = self.format(response.headers())?;
        let count = |bytes| held.set(bytes).map_err(ScrapeError::from);
        let page = http::counted_body(response, self.page_limit, count).await?;
        figures.content_length = Some(page.len());
        Ok((page, format))
    }

    async fn request(&self, client: &Client, target: &Target) -> Result<RequestBuilder, ScrapeError> {
        let mut url = target.url.clone();
        if !matches!(self.credentials, Credentials::None) {
            // Fails for URLs that cannot have a user.
            let _ = url.set_username("").and_then(|()| url.set_password(None));
        }
        let request = client.get(url).header(ACCEPT, ACCEPTED);
        let request = match &self.credentials {
            Credentials::None => request,
            Credentials::Basic(user, password) => request.basic_auth(user.expose(), Some(password.expose())),
            Credentials::Bearer(token) => match token.read(true).await.map_err(ScrapeError::Token)? {
                Some(token) => request.header(AUTHORIZATION, token),
                None => request,
            },
        };
        // The configured headers win over the others.
        Ok(request.headers(self.headers.clone()))
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Response, ScrapeError> {
        let limit = Some(self.clients.reach.head_timeout).filter(|limit| !limit.is_zero());
        let answer = match limit {
            None => request.send().await,
            Some(limit) => match tokio::time::timeout(limit, request.send()).await {
                Ok(answer) => answer,
                Err(_) => return Err(ScrapeError::NoAnswer("no answer within `response_timeout`".into())),
            },
        };
        answer.map_err(|error| ScrapeError::NoAnswer(http::chain(&error)))
    }

    /// The format that the page is to be read as.
    fn format(&self, headers: &HeaderMap) -> Result<Format, ScrapeError> {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
        let encoding = text(CONTENT_ENCODING);
        if !["", "identity"].contains(&encoding) {
            return Err(ScrapeError::Unreadable(encoding.to_owned()));
        }
        if let Some(format) = self.format {
            return Ok(format);
        }
        let content_type = text(CONTENT_TYPE);
        let media_type = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        match media_type.as_str() {
            "application/openmetrics-text" => Ok(Format::OpenMetrics),
            _ if media_type.contains("protobuf") => Err(ScrapeError::Unreadable(media_type)),
            // Many a hand-written page says that it is HTML, or nothing.
            _ => Ok(Format::Text),
        }
    }

    /// Makes points of a page, with pauses in which others have their turn; and whether each line of it was a sample.
    ///
    /// # Errors
    /// They are too many.
    async fn read(
        &self,
        page: Vec<u8>,
        format: Format,
        tags: &[(Name, Name)],
        time: Timestamp,
        held: &mut Held,
    ) -> Result<(Vec<Point>, Result<(), ScrapeError>), ScrapeError> {
        let page = lossy(page);
        let Self { version, ignores_timestamps, .. } = *self;
        let mut read = Points::new(Page { format, version, time, ignores_timestamps, tags });
        let (mut n_bad, mut first_bad) = (0, None);
        for (n, sample) in exposition::parse(&page, format).enumerate() {
            match sample {
                Ok(sample) => read.take(&sample),
                Err(error) => {
                    n_bad += 1;
                    first_bad = first_bad.or(Some(error));
                }
            }
            held.set(page.len() + read.bytes())?;
            if n % SAMPLES_PER_TURN == SAMPLES_PER_TURN - 1 {
                tokio::task::yield_now().await;
            }
        }
        let bytes = read.bytes();
        let points = read.finish();
        if page.len() >= BIG_PAGE_BYTES {
            drop(page);
            memory::give_back();
        }
        held.set(bytes)?;
        Ok((points, first_bad.map_or(Ok(()), |first| Err(ScrapeError::BadLines { n: n_bad, first }))))
    }
}

/// A status with what to do about it.
fn said(response: &Response) -> String {
    let status = response.status();
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            format!("{status}: `bearer_token`, or `username` and `password`, say who asks")
        }
        _ if status.is_redirection() => {
            let to = response.headers().get(reqwest::header::LOCATION).and_then(|to| to.to_str().ok());
            format!("{status}: it leads to another server, {}", to.unwrap_or("which it does not name"))
        }
        StatusCode::NOT_FOUND => format!("{status}: is this the path of the metrics?"),
        _ => status.to_string(),
    }
}

impl Figures {
    fn point(&self, tags: Vec<(Name, Name)>, time: Timestamp) -> Option<Point> {
        let mut point = Point { tags: tags.into(), ..Point::new("prometheus_request", time) };
        if let Some(seconds) = self.response_time {
            point.set_field("response_time", seconds);
        }
        if let Some(bytes) = self.content_length {
            point.set_field("content_length", i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        (!point.fields.is_empty()).then_some(point)
    }
}
