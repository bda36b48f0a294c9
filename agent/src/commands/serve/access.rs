//! Who may see the page: everybody on this machine, and from elsewhere who has the token.
//!
//! A page of somebody else in the same browser may not: it could ask this address by a name of its own (DNS rebinding), which
//! the `Host` of a request shows, or from its own page, which `Sec-Fetch-Site` shows.

use std::net::{IpAddr, SocketAddr};

use anyhow::anyhow;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hyper::StatusCode;
use hyper::header::{HOST, HeaderMap, HeaderName};
use ring::rand::{SecureRandom as _, SystemRandom};

/// Bytes of a token.
const TOKEN_BYTES: usize = 24;
/// What a browser says of where a request comes from, and what it is for.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Who may.
#[derive(Debug)]
pub(super) struct Access {
    address: SocketAddr,
    /// Asked for where others than this machine can connect.
    token: Option<String>,
}

impl Access {
    /// For what listens on this address.
    ///
    /// # Errors
    /// The system has no randomness.
    pub(super) fn new(address: SocketAddr) -> anyhow::Result<Self> {
        let token = (!address.ip().is_loopback()).then(|| {
            let mut bytes = [0; TOKEN_BYTES];
            let filled = SystemRandom::new().fill(&mut bytes);
            filled
                .map(|()| BASE64_URL_SAFE_NO_PAD.encode(bytes))
                .map_err(|_| anyhow!("the system has no randomness"))
        });
        Ok(Self { address, token: token.transpose()? })
    }

    /// The page's address, with the token; of all addresses of this machine, its name.
    pub(super) fn url(&self) -> String {
        let token = self.token.as_ref().map(|token| format!("?token={token}")).unwrap_or_default();
        if self.address.ip().is_unspecified() {
            let uname = rustix::system::uname();
            return format!("http://{}:{}/{token}", uname.nodename().to_string_lossy(), self.address.port());
        }
        format!("http://{}/{token}", self.address)
    }

    /// Whether a request is answered; else the status, and why not.
    pub(super) fn check(&self, headers: &HeaderMap, query: &str) -> Result<(), (StatusCode, &'static str)> {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let is_of_another = text(FETCH_SITE).is_some_and(|site| site == "cross-site" || site == "same-site");
        // A link may lead here; nothing of this may be a part of a page there.
        if is_of_another && text(FETCH_MODE) != Some("navigate") {
            return Err((StatusCode::FORBIDDEN, "asked for by the page of another site"));
        }
        match &self.token {
            Some(token) => {
                let given = param(query, "token").unwrap_or_default();
                if !is_equal(given.as_bytes(), token.as_bytes()) {
                    return Err((
                        StatusCode::UNAUTHORIZED,
                        "the address needs the token that `seismograf serve` printed",
                    ));
                }
                Ok(())
            }
            // HTTP/1.0 has no `Host`, and no browser speaks it.
            None if text(HOST).is_none_or(is_this_machine) => Ok(()),
            None => Err((
                StatusCode::MISDIRECTED_REQUEST,
                "asked for by another name: use localhost or 127.0.0.1",
            )),
        }
    }
}

/// Whether a `Host` is a name of the loopback interface that nobody else can give away.
fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// Takes as long wherever they differ.
fn is_equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

/// A parameter of a query. Neither a token nor the key of a view has anything to decode.
pub(super) fn param<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split('&')
        .find_map(|part| part.split_once('=').filter(|(key, _)| *key == name).map(|(_, value)| value))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use rstest::rstest;

    use super::*;

    fn headers(host: Option<&'static str>, site: Option<&'static str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let of = [(HOST, host), (FETCH_SITE, site)];
        headers.extend(
            of.into_iter().filter_map(|(name, value)| Some((name, HeaderValue::from_static(value?)))),
        );
        headers
    }

    #[rstest]
    #[case(Some("localhost:9735"), None, 200)]
    #[case(Some("LOCALHOST"), Some("none"), 200)]
    #[case(Some("127.0.0.1:9735"), Some("same-origin"), 200)]
    #[case(Some("[::1]:9735"), None, 200)]
    #[case(None, None, 200)]
    #[case(Some("evil.example:9735"), None, 421)]
    #[case(Some("localhost.evil.example"), None, 421)]
    #[case(Some("192.0.2.1:9735"), None, 421)]
    #[case(Some("127.0.0.1:9735"), Some("cross-site"), 403)]
    #[case(Some("127.0.0.1:9735"), Some("same-site"), 403)]
    fn on_this_machine_only_its_own_names_are_answered(
        #[case] host: Option<&'static str>,
        #[case] site: Option<&'static str>,
        #[case] status: u16,
    ) {
        let access = Access::new("127.0.0.1:9735".parse().unwrap()).unwrap();
        let answered =
            access.check(&headers(host, site), "").map_or_else(|(status, _)| status.as_u16(), |()| 200);
        assert_eq!(answered, status);
        if status == 403 {
            let mut followed = headers(host, site);
            followed.insert(FETCH_MODE, HeaderValue::from_static("navigate"));
            assert!(access.check(&followed, "").is_ok(), "a link leads here");
        }
        assert_eq!(access.url(), "http://127.0.0.1:9735/");
    }

    #[test]
    fn from_elsewhere_the_token_is_needed() {
        let access = Access::new("192.0.2.1:9735".parse().unwrap()).unwrap();
        let url = access.url();
        let token = url.strip_prefix("http://192.0.2.1:9735/?token=").unwrap();
        assert_eq!(token.len(), 32);
        let check = |query: &str| access.check(&headers(Some("any.example"), None), query).is_ok();
        assert!(check(&format!("view=all&token={token}")));
        for query in ["", "token=", "token=x", &format!("token={token}x"), &format!("token={}", &token[1..])]
        {
            assert!(!check(query), "{query}");
        }
        assert_ne!(Access::new("192.0.2.1:9735".parse().unwrap()).unwrap().url(), url);
    }
}
