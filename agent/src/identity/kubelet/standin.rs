//! A stand-in for a kubelet: answers of HTTP, as text.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::access::{Access, Token};
use super::client::KubeletClient;
use crate::options::tls::Tls;

pub(super) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

/// Answers each request on a connection of its own with what `answer` makes of the request's head. Returns its URL.
pub(super) async fn serve(answer: impl Fn(&str) -> String + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let answer = answer(&String::from_utf8(head).unwrap());
            // One that is too large is not read to its end.
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    url
}

/// A client of the kubelet at `url`.
pub(super) fn client(url: &str, token: Token) -> KubeletClient {
    let access = Access { url: url.into(), token, timeout: Duration::from_secs(5), tls: Tls::default() };
    KubeletClient::new(&access).unwrap()
}
