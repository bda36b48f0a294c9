//! One URL that takes a body, for the outputs that name a single place to send to: a client, headers, credentials.
//!
//! What is in a body and what an answer means is the output's.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Proxy, Response, Url};

use super::credentials::Credentials;
use super::local_address::LocalAddress;
use super::servers::{anonymous, shown, without_secrets};
use crate::http;
use crate::http::renewed::RenewedClient;
use crate::options::OptionError;
use crate::options::secret::Secret;
use crate::options::tls::Tls;

/// The options that say how it is reached.
pub(super) struct Reached<'a> {
    /// An `http` or `https` URL.
    pub(super) url: &'a str,
    /// The option that it is in.
    pub(super) option: &'static str,
    /// `headers`
    pub(super) headers: &'a BTreeMap<String, Secret>,
    pub(super) credentials: Credentials,
    pub(super) timeout: Duration,
    pub(super) local_address: &'a str,
    /// `use_system_proxy`: the variables `http_proxy`, `https_proxy` and `no_proxy` apply.
    pub(super) uses_system_proxy: bool,
    /// `http_proxy_url`
    pub(super) proxy_url: &'a str,
    pub(super) tls: &'a Tls,
    pub(super) version: http::Version,
}

/// A place to send to.
pub(super) struct Endpoint {
    client: RenewedClient,
    url: Url,
    shown: String,
    headers: HeaderMap,
    credentials: Credentials,
}

impl Endpoint {
    /// Nobody is contacted.
    ///
    /// # Errors
    /// A URL that is invalid or of another protocol, or another option that cannot be used.
    pub(super) fn new(reached: &Reached<'_>) -> Result<Self, OptionError> {
        let Reached { url: text, option, .. } = *reached;
        let wrong = |what: &str| OptionError::new(option, format!("`{}` {what}", without_secrets(text)));
        let mut url = Url::parse(text)
            .map_err(|error| wrong(&format!("is no URL ({error}): write it as http://host:port/path")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("is of a protocol that is not spoken here: write it as http://host:port/path"));
        }
        url.set_fragment(None);
        Ok(Self {
            client: client(reached, url.scheme() == "https")?,
            shown: shown(&url),
            headers: headers(reached.headers)?,
            credentials: reached.credentials.clone(),
            // What the options say replaces what the URL does.
            url: if matches!(reached.credentials, Credentials::None) { url } else { anonymous(url) },
        })
    }

    /// Its URL without secrets, for messages.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// Sends a body; the configured headers override `own`.
    ///
    /// # Errors
    /// Why there is no response.
    pub(super) async fn send(
        &self,
        method: Method,
        own: &[(&'static str, &'static str)],
        body: Bytes,
    ) -> Result<Response, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in own {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        let mut request = self.client.get().await?.request(method, self.url.clone()).headers(headers);
        request = match &self.credentials {
            Credentials::None => request,
            Credentials::Basic(user, password) => request.basic_auth(user.expose(), Some(password.expose())),
            Credentials::Token(token) => request.header(AUTHORIZATION, token),
        };
        let request = request.headers(self.headers.clone()).body(body);
        request.send().await.map_err(|error| http::chain(&error))
    }

    /// Tries a connection: whatever is answered is an answer.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn check(&self) -> Result<String, String> {
        let response = self.send(Method::HEAD, &[], Bytes::new()).await?;
        Ok(format!("answers ({})", response.status()))
    }
}

fn client(reached: &Reached<'_>, is_tls: bool) -> Result<RenewedClient, OptionError> {
    let local = LocalAddress::new(reached.local_address)?;
    let proxy = match reached.proxy_url {
        "" => None,
        // The URL may have a password in it.
        url => Some(Proxy::all(url).map_err(|_| {
            OptionError::new("http_proxy_url", "is no URL of a proxy: write it as http://host:3128")
        })?),
    };
    let is_direct = proxy.is_none() && !reached.uses_system_proxy;
    let (tls, timeout, version, option) =
        (reached.tls.clone(), reached.timeout, reached.version, reached.option);
    let files = if is_tls { reached.tls.clone() } else { Tls::default() };
    let is_late = local.is_name();
    if is_late {
        // What else there is to be said is said at the start.
        http::build(http::client_of(version, &tls, is_tls)?, option)?;
    }
    RenewedClient::new(&files, is_late, move || {
        let client = http::client_of(version, &tls, is_tls)?;
        let mut client = client.timeout(timeout).local_address(local.resolve()?);
        if is_direct {
            client = client.no_proxy();
        }
        if let Some(proxy) = proxy.clone() {
            client = client.proxy(proxy);
        }
        http::build(client, option)
    })
}

fn headers(configured: &BTreeMap<String, Secret>) -> Result<HeaderMap, OptionError> {
    let mut headers = HeaderMap::new();
    for (name, value) in configured {
        let wrong = |what: &dyn std::fmt::Display| OptionError::new("headers", format!("`{name}`: {what}"));
        let mut value = HeaderValue::from_str(value.expose()).map_err(|error| wrong(&error))?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|error| wrong(&error))?, value);
    }
    Ok(headers)
}
