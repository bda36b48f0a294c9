//! Shared by the outputs that write to InfluxDB's HTTP APIs: how a server is reached, and which server is tried first.
//!
//! Owns clients, URLs and request bodies. The requests themselves are the output's, and the meaning of a response is `answer`'s.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use reqwest::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT,
};
use reqwest::{Proxy, RequestBuilder, Response, StatusCode, Url};

use super::Answer;
use super::answer::Reply;
use super::compress::gzip;
use super::credentials::Credentials;
use super::local_address::LocalAddress;
use super::shards::Shards;
use crate::http;
use crate::http::renewed::RenewedClient;
use crate::options::OptionError;
use crate::options::secret::Secret;
use crate::options::tls::Tls;

/// At most this much of a response body is read. One that quotes every line of a batch can be as long as the batch.
const MAX_BODY_BYTES: usize = 1 << 20;

/// The options that say how servers are reached.
pub(super) struct Reach<'a> {
    pub(super) timeout: Duration,
    pub(super) http_headers: &'a BTreeMap<String, Secret>,
    pub(super) user_agent: &'a str,
    pub(super) http_proxy: &'a str,
    pub(super) local_address: &'a str,
    pub(super) tls: &'a Tls,
    pub(super) credentials: Credentials,
    pub(super) is_gzip: bool,
    /// The query of a URL is sent, ahead of the output's own.
    pub(super) keeps_query: bool,
}

impl Reach<'_> {
    /// A client for each URL; all of them share a connection pool, except those of unix sockets. No server is contacted.
    ///
    /// # Errors
    /// A URL that is invalid or of another protocol, or another option that cannot be used.
    pub(super) fn servers(&self, urls: &[String]) -> Result<Vec<Server>, OptionError> {
        let urls = urls.iter().map(|url| parse(url, self.keeps_query)).collect::<Result<Vec<_>, _>>()?;
        let is_tls = urls.iter().any(|url| url.scheme() == "https");
        let client = self.client(is_tls, None)?;
        let headers = self.headers()?;
        let server = |url: Url| {
            let (client, base) = if url.scheme() == "unix" {
                // The name is for the `Host` header; the socket alone says where the server is.
                let base = Url::parse("http://localhost").map_err(|error| no_url(url.as_str(), &error))?;
                (self.client(false, Some(url.path().to_owned()))?, base)
            } else {
                (client.clone(), url.clone())
            };
            Ok(Server {
                client,
                shown: shown(&url),
                base: if matches!(self.credentials, Credentials::None) { base } else { anonymous(base) },
                headers: headers.clone(),
                credentials: self.credentials.clone(),
                is_gzip: self.is_gzip,
            })
        };
        urls.into_iter().map(server).collect()
    }

    fn client(&self, is_tls: bool, socket: Option<String>) -> Result<RenewedClient, OptionError> {
        let local = LocalAddress::new(self.local_address)?;
        // The URL may have a password in it.
        let wrong = |_| OptionError::new("http_proxy", "is no URL of a proxy: write it as http://host:3128");
        let proxy = match self.http_proxy {
            // The variables http_proxy, https_proxy and no_proxy apply.
            "" => None,
            url => Some(Proxy::all(url).map_err(wrong)?),
        };
        let (tls, timeout) = (self.tls.clone(), self.timeout);
        let files = if is_tls { self.tls.clone() } else { Tls::default() };
        let is_late = local.is_name();
        if is_late {
            // What else there is to be said is said at the start.
            http::build(http::client(&tls, is_tls)?, "urls")?;
        }
        RenewedClient::new(&files, is_late, move || {
            let mut client = http::client(&tls, is_tls)?.timeout(timeout).local_address(local.resolve()?);
            if let Some(proxy) = proxy.clone() {
                client = client.proxy(proxy);
            }
            if let Some(path) = &socket {
                client = client.unix_socket(path.as_str());
            }
            http::build(client, "urls")
        })
    }

    /// The configured headers; they override the agent's own.
    fn headers(&self) -> Result<HeaderMap, OptionError> {
        let mut headers = HeaderMap::new();
        for (name, value) in self.http_headers {
            let wrong =
                |what: &dyn std::fmt::Display| OptionError::new("http_headers", format!("`{name}`: {what}"));
            let mut value = HeaderValue::from_str(value.expose()).map_err(|error| wrong(&error))?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|error| wrong(&error))?, value);
        }
        // The option overrides a header of the same name.
        if !self.user_agent.is_empty() {
            let value = HeaderValue::from_str(self.user_agent);
            headers.insert(
                USER_AGENT,
                value.map_err(|error| OptionError::new("user_agent", error.to_string()))?,
            );
        }
        Ok(headers)
    }
}

/// One server and how to reach it.
pub(super) struct Server {
    client: RenewedClient,
    shown: String,
    /// What its endpoints' names are added to.
    base: Url,
    headers: HeaderMap,
    credentials: Credentials,
    is_gzip: bool,
}

impl Server {
    /// Its URL without secrets, for messages.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// Whether what is written is compressed.
    pub(super) fn is_gzip(&self) -> bool {
        self.is_gzip
    }

    /// Sends lines to an endpoint; the query of the configured URL is kept.
    ///
    /// # Errors
    /// Why there is no response.
    pub(super) async fn write(
        &self,
        endpoint: &str,
        query: &[(&str, &str)],
        body: &Bytes,
    ) -> Result<Reply, String> {
        let request = self.client.get().await?.post(self.endpoint(endpoint, query));
        let mut request = request.header(CONTENT_TYPE, "text/plain; charset=utf-8").body(body.clone());
        if self.is_gzip {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        reply(self.send(request).await?).await
    }

    /// Sends a form. Proxies refuse a request without a body.
    ///
    /// # Errors
    /// Why there is no response.
    pub(super) async fn post_form(&self, endpoint: &str, form: &[(&str, &str)]) -> Result<Reply, String> {
        let request = self.client.get().await?.post(self.endpoint(endpoint, &[])).form(form);
        reply(self.send(request).await?).await
    }

    /// The version that the server reports.
    ///
    /// # Errors
    /// Why it cannot be reached, or does not look like an InfluxDB.
    pub(super) async fn ping(&self) -> Result<String, String> {
        let response = self.send(self.client.get().await?.get(self.endpoint("ping", &[]))).await?;
        match header(&response, "x-influxdb-version") {
            Some(version) => Ok(format!("InfluxDB {version}")),
            None if response.status() == StatusCode::NO_CONTENT => Ok("no version given".into()),
            None => {
                let to = header(&response, "location").map_or_else(String::new, |place| {
                    format!(" and refers to {}", without_secrets(place.split('?').next().unwrap_or_default()))
                });
                Err(format!("answers {} to /ping{to}: not an InfluxDB", response.status()))
            }
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, String> {
        let request = match &self.credentials {
            Credentials::None => request,
            Credentials::Basic(user, password) => request.basic_auth(user.expose(), Some(password.expose())),
            Credentials::Token(token) => request.header(AUTHORIZATION, token),
        };
        request.headers(self.headers.clone()).send().await.map_err(|error| http::chain(&error))
    }

    fn endpoint(&self, name: &str, query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        let path = format!("{}/{name}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }
}

/// A request body of these lines.
pub(super) fn body(lines: &[Bytes], is_gzip: bool) -> Bytes {
    if is_gzip { gzip(lines, Compression::fast()).into() } else { lines.concat().into() }
}

/// Writes at one time: the next batch is on its way while the server works on one.
pub(super) const MAX_IN_FLIGHT: usize = 2;
/// The same where a server takes up to a second to answer.
pub(super) const MAX_IN_FLIGHT_OF_V3: usize = 4;

/// Servers and how they share lines, for an output's destination: what waits for one server never goes to another.
pub(super) fn destination(urls: &[String], shard_by: &str) -> String {
    let shared = if shard_by.is_empty() { String::new() } else { format!(" by {shard_by}") };
    format!("{}{shared}", urls.join(" "))
}

/// Several servers: they hold the same data, and it is enough when one of them responds; or they share it, and a route says
/// which one has a line.
///
/// Of those with the same data, the first one is picked at random, so that a fleet spreads its load. From then on it is the one
/// that took the last lines, so that lines that are sent twice overwrite themselves. Telegraf shuffles the servers for each write.
pub(super) struct Servers<S> {
    list: Vec<S>,
    first: AtomicUsize,
    shards: Option<Shards>,
}

impl<S> Servers<S> {
    pub(super) fn new(list: Vec<S>, shards: Option<Shards>) -> Self {
        let first = if list.is_empty() { 0 } else { fastrand::usize(..list.len()) };
        Self { list, first: first.into(), shards }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &S> {
        self.list.iter()
    }

    /// How they share lines, where they do.
    pub(super) fn shards(&self) -> Option<&Shards> {
        self.shards.as_ref()
    }

    /// How many writes there are at one time, where one server takes so many.
    pub(super) fn max_in_flight(&self, of_one: usize) -> usize {
        of_one * self.shards.as_ref().map_or(1, Shards::len)
    }

    /// Goes through the servers of a route once, the preferred one first.
    pub(super) fn round(&self, route: &[Option<String>]) -> Round<'_, S> {
        let (first, n) = match &self.shards {
            None => (self.first.load(Ordering::Relaxed), self.list.len()),
            Some(shards) => {
                let server = route.last().and_then(Option::as_ref);
                server.and_then(|server| shards.position(server)).map_or((0, 0), |position| (position, 1))
            }
        };
        Round { servers: self, first, n, tried: 0, reasons: Vec::new(), after: None, route_only: true }
    }
}

/// One write: the servers are tried one after the other, until one has an answer other than [`Answer::Retry`].
pub(super) struct Round<'a, S> {
    servers: &'a Servers<S>,
    first: usize,
    /// How many there are to try.
    n: usize,
    tried: usize,
    reasons: Vec<String>,
    after: Option<Duration>,
    route_only: bool,
}

impl<'a, S> Round<'a, S> {
    /// The server to try now.
    pub(super) fn next(&mut self) -> Option<&'a S> {
        if self.tried == self.n {
            return None;
        }
        self.tried += 1;
        self.servers.list.get(self.current())
    }

    /// The place of the server that was tried last.
    fn current(&self) -> usize {
        (self.first + self.tried - 1) % self.servers.list.len()
    }

    /// Takes the answer of the server that was tried. `Some` when it is final; that server is the preferred one from now on.
    pub(super) fn settle(&mut self, answer: Answer) -> Option<Answer> {
        let Answer::Retry { reason, after, route_only } = answer else {
            self.servers.first.store(self.current(), Ordering::Relaxed);
            return Some(answer);
        };
        self.reasons.push(reason);
        self.after = self.after.max(after);
        self.route_only &= route_only;
        None
    }

    /// The answer when no server had a final one. Where one has its share, the others go on.
    pub(super) fn failed(self) -> Answer {
        let is_share = self.servers.shards.is_some();
        let reason = match self.reasons.as_slice() {
            [] => "these points are for a server that is not in `urls`".to_owned(),
            reasons => reasons.join("; "),
        };
        // A wait that one server asks for is none of the others'.
        let after = self.after.filter(|_| !is_share);
        Answer::Retry { reason, after, route_only: self.route_only || is_share }
    }
}

fn parse(text: &str, keeps_query: bool) -> Result<Url, OptionError> {
    let wrong = |what: &str| OptionError::new("urls", format!("`{}` {what}", without_secrets(text)));
    let mut url = Url::parse(text).map_err(|error| no_url(text, &error))?;
    match url.scheme() {
        "http" | "https" => {}
        "unix" if url.host().is_none() && url.path().len() > 1 => {}
        "unix" => return Err(wrong("names no socket: write it as unix:///path/to/socket")),
        _ => return Err(wrong("is of a protocol that is not spoken here: write it as http://host:8086")),
    }
    url.set_fragment(None);
    if !keeps_query {
        url.set_query(None);
    }
    Ok(url)
}

pub(super) fn no_url(text: &str, error: &dyn std::fmt::Display) -> OptionError {
    let what = format!("`{}` is no URL ({error}): write it as http://host:8086", without_secrets(text));
    OptionError::new("urls", what)
}

pub(super) fn anonymous(mut url: Url) -> Url {
    // Fails for URLs that cannot have a user.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    url
}

pub(super) fn shown(url: &Url) -> String {
    let mut url = anonymous(url.clone());
    url.set_query(None);
    url.to_string()
}

/// A URL that does not parse, as it may stand in a message.
pub(super) fn without_secrets(text: &str) -> String {
    match (text.find("://"), text.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => format!("{}://…{}", &text[..scheme], &text[at..]),
        _ => text.to_owned(),
    }
}

/// The parts of a response that matter; bounded in size.
pub(super) async fn reply(mut response: Response) -> Result<Reply, String> {
    let mut body = Vec::new();
    while body.len() < MAX_BODY_BYTES {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(error) => return Err(http::chain(&error)),
        }
    }
    body.truncate(MAX_BODY_BYTES);
    Ok(Reply {
        status: response.status(),
        error_header: header(&response, "x-influxdb-error"),
        retry_after: header(&response, "retry-after"),
        location: header(&response, "location")
            .map(|place| without_secrets(place.split('?').next().unwrap_or(""))),
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

fn header(response: &Response, name: &str) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.to_owned())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn reach<'a>(http_headers: &'a BTreeMap<String, Secret>, tls: &'a Tls) -> Reach<'a> {
        Reach {
            timeout: Duration::from_secs(5),
            http_headers,
            user_agent: "",
            http_proxy: "",
            local_address: "",
            tls,
            credentials: Credentials::None,
            is_gzip: true,
            keeps_query: true,
        }
    }

    fn servers(urls: &[&str], credentials: Credentials) -> Result<Vec<Server>, OptionError> {
        let urls: Vec<String> = urls.iter().map(|url| (*url).to_owned()).collect();
        Reach { credentials, ..reach(&BTreeMap::new(), &Tls::default()) }.servers(&urls)
    }

    #[rstest]
    #[case("localhost:8086", "is of a protocol")]
    #[case("http://", "is no URL")]
    #[case("udp://h:8089", "is of a protocol")]
    #[case("unix://", "names no socket")]
    #[case("unix://socket", "names no socket")]
    #[case("ftp://u:secret@h", "is of a protocol")]
    #[case("http://u:secret@h:port", "is no URL")]
    fn rejects_urls_it_cannot_write_to(#[case] url: &str, #[case] why: &str) {
        let error =
            servers(&[url], Credentials::None).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.starts_with("`urls`: `") && error.contains(why), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }

    #[rstest]
    #[case("http://h:8086", "http://h:8086/write?db=d", "http://h:8086/")]
    #[case("http://h/influx/?x=1#y", "http://h/influx/write?x=1&db=d", "http://h/influx/")]
    #[case("http://u:secret@h", "http://u:secret@h/write?db=d", "http://h/")]
    #[case("unix:///run/i.sock", "http://localhost/write?db=d", "unix:///run/i.sock")]
    fn adds_the_endpoint_and_shows_no_secret(#[case] url: &str, #[case] endpoint: &str, #[case] shown: &str) {
        let servers = servers(&[url], Credentials::None).unwrap();
        assert_eq!(servers[0].endpoint("write", &[("db", "d")]).as_str(), endpoint);
        assert_eq!(servers[0].shown(), shown);
    }

    #[test]
    fn credentials_of_options_replace_those_of_the_url() {
        let basic = Credentials::Basic("a".into(), "b".into());
        let servers = servers(&["http://u:secret@h"], basic).unwrap();
        assert_eq!(servers[0].endpoint("ping", &[]).as_str(), "http://h/ping");
    }

    #[test]
    fn the_option_overrides_the_header() {
        let tls = Tls::default();
        let named = BTreeMap::from([("user-agent".to_owned(), "a".into())]);
        let header = reach(&named, &tls).headers().unwrap()[USER_AGENT].clone();
        assert!(header == "a" && header.is_sensitive());
        let both = Reach { user_agent: "b", ..reach(&named, &tls) };
        assert_eq!(both.headers().unwrap()[USER_AGENT], "b");
        for (name, value) in [("bad name", "x"), ("x", "bad\nvalue")] {
            let bad = BTreeMap::from([(name.to_owned(), value.into())]);
            let error = reach(&bad, &tls).headers().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`http_headers`: `{name}`: ")), "{error}");
        }
    }

    /// Looking it up can take long: that is for the first request to wait for.
    #[rstest]
    #[case("no-such-host.invalid")]
    #[case("no-such-host.invalid:9")]
    #[tokio::test]
    async fn a_name_as_local_address_is_looked_up_by_the_first_request(#[case] text: &str) {
        let (headers, tls) = (BTreeMap::new(), Tls::default());
        let reach = Reach { local_address: text, ..reach(&headers, &tls) };
        let server = reach.servers(&["http://127.0.0.1:9".to_owned()]).unwrap().remove(0);
        let error = server.ping().await.unwrap_err();
        assert!(error.starts_with(&format!("`local_address`: `{text}` is not an address")), "{error}");
    }

    #[test]
    fn reads_the_other_options_of_how_to_reach_a_server() {
        let tls = Tls::default();
        let headers = BTreeMap::new();
        let url = ["http://h".to_owned()];
        let without_query = Reach { keeps_query: false, ..reach(&headers, &tls) };
        let servers = without_query.servers(&["http://h/?x=1".to_owned()]).unwrap();
        assert_eq!(servers[0].endpoint("ping", &[]).as_str(), "http://h/ping");
        let bad_address = Reach { local_address: "256.1.1.1", ..reach(&headers, &tls) };
        assert!(
            bad_address.servers(&url).err().unwrap().to_string().starts_with("`local_address`: `256.1.1.1`")
        );
        let bad_proxy = Reach { http_proxy: "http://u:secret@", ..reach(&headers, &tls) };
        let error = bad_proxy.servers(&url).err().unwrap().to_string();
        assert!(error.starts_with("`http_proxy`: is no URL") && !error.contains("secret"), "{error}");
    }

    /// Writes to servers that answer as `answer` says.
    fn write(
        servers: &mut Servers<&'static str>,
        answer: impl Fn(&str) -> Answer,
    ) -> (Answer, Vec<&'static str>) {
        let mut tried = Vec::new();
        let mut round = servers.round(&[]);
        while let Some(server) = round.next() {
            tried.push(*server);
            let answer = answer(server);
            if let Some(answer) = round.settle(answer) {
                return (answer, tried);
            }
        }
        (round.failed(), tried)
    }

    #[test]
    fn the_next_server_is_tried_when_one_fails_and_stays_the_first() {
        let mut servers = Servers { list: vec!["a", "b", "c"], first: 1.into(), shards: None };
        let only_a = |server: &str| if server == "a" { Answer::STORED } else { Answer::retry(server) };
        assert_eq!(write(&mut servers, only_a), (Answer::STORED, vec!["b", "c", "a"]));
        assert_eq!(write(&mut servers, only_a), (Answer::STORED, vec!["a"]));
        let none = |server: &str| Answer::Retry {
            reason: server.to_owned(),
            after: (server == "b").then_some(Duration::from_secs(7)),
            route_only: server != "c",
        };
        let after = Some(Duration::from_secs(7));
        let expected = Answer::Retry { reason: "a; b; c".into(), after, route_only: false };
        assert_eq!(write(&mut servers, none), (expected, vec!["a", "b", "c"]));
    }

    #[test]
    fn a_server_that_has_a_share_is_the_only_one_that_gets_it() {
        let names = ["a", "b", "c"];
        let shards = Shards::new("host", names.iter().map(|name| (*name).to_owned())).unwrap();
        let servers = Servers::new(names.to_vec(), shards);
        assert_eq!(servers.max_in_flight(2), 6);
        let busy = |name: &str| Answer::Retry {
            reason: name.to_owned(),
            after: Some(Duration::from_secs(7)),
            route_only: false,
        };
        for name in names {
            let mut round = servers.round(&[None, Some(name.to_owned())]);
            assert_eq!((round.next(), round.settle(busy(name)), round.next()), (Some(&name), None, None));
            let expected = Answer::Retry { reason: name.to_owned(), after: None, route_only: true };
            assert_eq!(round.failed(), expected);
        }
        let mut round = servers.round(&[None, Some("d".to_owned())]);
        assert_eq!(round.next(), None);
        assert!(matches!(round.failed(), Answer::Retry { reason, .. } if reason.contains("not in `urls`")));
    }

    #[test]
    fn any_server_can_be_the_first() {
        let firsts: std::collections::BTreeSet<usize> =
            (0..1_000).map(|_| Servers::new(vec!["a", "b", "c"], None).first.into_inner()).collect();
        assert_eq!(firsts.len(), 3);
    }

    #[tokio::test]
    async fn a_redirect_is_told_with_its_place_and_without_its_query() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = async {
            for _ in 0..2 {
                let (mut connection, _) = listener.accept().await.unwrap();
                let _ = connection.read(&mut [0; 4096]).await.unwrap();
                let answer = "HTTP/1.1 307 Temporary Redirect\r\nLocation: https://u:hunter2@db:8086/write?p=hunter2\r\n\
                              Content-Length: 0\r\nConnection: close\r\n\r\n";
                connection.write_all(answer.as_bytes()).await.unwrap();
            }
        };
        let servers = servers(&[&url], Credentials::None).unwrap();
        let client = async {
            let reply = servers[0].write("write", &[], &Bytes::from_static(b"m f=1\n")).await.unwrap();
            assert_eq!(reply.location.as_deref(), Some("https://…@db:8086/write"));
            let said = servers[0].ping().await.unwrap_err();
            assert!(said.contains("307") && said.contains("refers to https://…@db:8086/write"), "{said}");
        };
        tokio::join!(server, client);
    }
}
