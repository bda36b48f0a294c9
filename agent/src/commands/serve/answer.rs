//! What a request is answered: the page, or the events of a view. Pure but for the channel that events come from.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use hyper::body::{Body, Frame};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{HeaderMap, Method, Response, StatusCode};
use ring::digest::{SHA256, digest};
use tokio::sync::mpsc;

use super::access::{Access, param};
use super::frames;
use crate::schema::views::View;

/// The page.
const PAGE: &str = include_str!("page.html");
/// Whose resources a page of another site may show.
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// What all connections need to answer.
pub(super) struct Site {
    access: Access,
    policy: HeaderValue,
}

/// What a request asks for.
pub(super) enum Asked {
    /// Something that is there, or an error.
    Answer(Response<Content>),
    /// The events of a view.
    Events(&'static View),
}

impl Site {
    pub(super) fn new(access: Access) -> Self {
        // A page that loads nothing, and runs only what is in it, known by its digest.
        let policy = format!(
            "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; img-src data:; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'",
            source("script"),
            source("style")
        );
        // Base64 and words are in every header's alphabet.
        let policy = HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
        Self { access, policy }
    }

    /// What a request asks for.
    pub(super) fn ask(&self, method: &Method, path: &str, query: &str, headers: &HeaderMap) -> Asked {
        if let Err((status, why)) = self.access.check(headers, query) {
            return Asked::Answer(self.text(status, why));
        }
        if method != Method::GET && method != Method::HEAD {
            let mut answer =
                self.text(StatusCode::METHOD_NOT_ALLOWED, "there is nothing to change here: use GET");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Asked::Answer(answer);
        }
        match path {
            "/" => {
                let mut answer = self.answer(Content::Whole(Some(Bytes::from_static(PAGE.as_bytes()))));
                let html = HeaderValue::from_static("text/html; charset=utf-8");
                answer.headers_mut().insert(CONTENT_TYPE, html);
                Asked::Answer(answer)
            }
            "/events" => Asked::Events(frames::view(param(query, "view").unwrap_or_default())),
            _ => Asked::Answer(self.text(StatusCode::NOT_FOUND, "the page is at /")),
        }
    }

    /// Events as they come.
    pub(super) fn events(&self, events: mpsc::Receiver<Bytes>) -> Response<Content> {
        let mut answer = self.answer(Content::Events(events));
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        answer
    }

    /// No place for one more.
    pub(super) fn full(&self) -> Response<Content> {
        self.text(StatusCode::SERVICE_UNAVAILABLE, "too many pages are open: close one")
    }

    fn text(&self, status: StatusCode, text: &str) -> Response<Content> {
        let mut answer = self.answer(Content::Whole(Some(format!("{text}\n").into())));
        *answer.status_mut() = status;
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        answer
    }

    fn answer(&self, content: Content) -> Response<Content> {
        let mut answer = Response::new(content);
        let headers = answer.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
        answer
    }
}

/// The source of a policy that allows the content of the page's one element of this name.
fn source(element: &str) -> String {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let content = PAGE
        .split_once(&open)
        .and_then(|(_, rest)| rest.split_once(&close))
        .map_or("", |(content, _)| content);
    format!("sha256-{}", BASE64_STANDARD.encode(digest(&SHA256, content.as_bytes())))
}

/// The body of an answer.
pub(super) enum Content {
    /// All at once.
    Whole(Option<Bytes>),
    /// For as long as there are any.
    Events(mpsc::Receiver<Bytes>),
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(content) => Poll::Ready(content.take().map(|content| Ok(Frame::data(content)))),
            Self::Events(events) => {
                events.poll_recv(context).map(|event| event.map(|event| Ok(Frame::data(event))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: &Method, path: &str) -> Asked {
        let access = Access::new("127.0.0.1:1".parse().unwrap()).unwrap();
        Site::new(access).ask(method, path, "view=pods", &HeaderMap::new())
    }

    #[test]
    fn there_is_a_page_its_events_and_nothing_else() {
        let Asked::Answer(page) = ask(&Method::GET, "/") else { panic!("no page") };
        assert_eq!(page.status(), StatusCode::OK);
        let policy = page.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'sha256-") && !policy.contains("unsafe"),
            "{policy}"
        );
        let Asked::Events(view) = ask(&Method::GET, "/events") else { panic!("no events") };
        assert_eq!(view.key, "pods");
        for (method, path, status) in
            [(Method::GET, "/x", 404), (Method::POST, "/", 405), (Method::POST, "/events", 405)]
        {
            let Asked::Answer(answer) = ask(&method, path) else { panic!("{method} {path}") };
            assert_eq!(answer.status().as_u16(), status, "{method} {path}");
        }
    }

    #[test]
    fn the_page_asks_for_nothing_from_elsewhere() {
        for other in ["http:", "https:", "src=", "@import", "url(", "style=\"", "onclick"] {
            let own = PAGE.replace("http://www.w3.org/2000/svg", "");
            assert!(!own.contains(other), "{other}");
        }
        // A policy knows the one element of each by its digest.
        assert_eq!((PAGE.matches("<script").count(), PAGE.matches("<style").count()), (1, 1));
    }
}
