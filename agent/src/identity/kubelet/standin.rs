//! A stand-in for a kubelet: answers of HTTP, as text.

use std::time::Duration;

use super::access::{Access, Token};
use super::client::KubeletClient;
pub(super) use crate::http::standin::{ok, serve};
use crate::options::tls::Tls;

/// A client of the kubelet at `url`.
pub(super) fn client(url: &str, token: Token) -> KubeletClient {
    let access = Access { url: url.into(), token, timeout: Duration::from_secs(5), tls: Tls::default() };
    KubeletClient::new(&access).unwrap()
}
