use std::sync::{Arc, Mutex};
use std::time::Duration;

use rstest::rstest;

use super::*;
use crate::identity::kubelet::standin::{client, ok, serve};

/// Which token came with the latest request.
async fn token_server() -> (String, Arc<Mutex<Option<String>>>) {
    let seen = Arc::new(Mutex::new(None));
    let url = serve({
        let seen = Arc::clone(&seen);
        move |head| {
            let header = head.lines().find_map(|line| line.strip_prefix("authorization: "));
            *seen.lock().unwrap() = header.map(str::to_owned);
            ok("{}")
        }
    })
    .await;
    (url, seen)
}

#[tokio::test]
async fn a_token_is_read_for_each_request() {
    let (url, seen) = token_server().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    let client = client(&url, Token::File(path.clone()));
    for token in ["one", "two"] {
        std::fs::write(&path, format!("{token}\n")).unwrap();
        client.pods().await.unwrap();
        assert_eq!(seen.lock().unwrap().take(), Some(format!("Bearer {token}")));
    }
    // Without one the request is sent all the same: this kubelet does not ask for it.
    drop(file);
    client.pods().await.unwrap();
    assert_eq!(seen.lock().unwrap().take(), None);
}

#[tokio::test]
async fn the_pods_own_token_is_not_sent_in_the_clear() {
    let (url, seen) = token_server().await;
    client(&url, Token::OfPod).pods().await.unwrap();
    assert_eq!(seen.lock().unwrap().take(), None);
    assert_eq!(Token::OfPod.read(false).await, Ok(None));
    client(&url, Token::Text("given".into())).pods().await.unwrap();
    assert_eq!(seen.lock().unwrap().take(), Some("Bearer given".into()));
}

#[rstest]
#[case("ftp://h", "`url`: `ftp://h`: `ftp` is not supported: use http or https")]
#[case("$NODE_IP", "`url`: `$NODE_IP`: relative URL without a base")]
#[case("", "`url`: ``: relative URL without a base")]
fn an_invalid_url_is_rejected(#[case] url: &str, #[case] expected: &str) {
    let access =
        Access { url: url.into(), token: Token::OfPod, timeout: Duration::ZERO, tls: Tls::default() };
    assert_eq!(KubeletClient::new(&access).err().unwrap().to_string(), expected);
}
