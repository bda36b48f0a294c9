//! Serves any bytes as a connection, as a fuzzer does.

#![allow(clippy::unwrap_used, reason = "a panic is the way of a target to find something")]

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::{Builder, Runtime};

use super::auth::{Auth, Jwt};
use super::{Api, Dialect, MAX_BODY, READ_TIMEOUT, TagNames};
use crate::host::Host;
use crate::inputs::Shared;
use crate::inputs::listener::{Inlet, bind};
use crate::listen::bind::Wishes;
use crate::listen::serve::{Peer, serve_stream};
use crate::listen::sockets::Bound;
use crate::options::secret::Secret;

/// Turns of the connection's task before its client hangs up: more than it needs to come to an answer.
const N_TURNS: usize = 64;

/// What does not change from one input to the next.
struct Stage {
    runtime: Runtime,
    socket: Arc<Bound>,
}

impl Stage {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let shared = Shared::new(Host::default());
        let bound = runtime.block_on(async { bind("fuzz", "127.0.0.1:0", &Wishes::default(), &shared) });
        Self { runtime, socket: bound.unwrap() }
    }
}

thread_local! {
    static STAGE: Stage = Stage::new();
}

/// The first byte chooses the version, and who may write; the rest is what the client sends. Each answer is one,
/// and what was queued makes points.
pub(crate) fn serve_any(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let dialect = if choice & 1 == 0 { Dialect::V1 } else { Dialect::V2 };
    let secret = || Secret::from("secret");
    let auth = match choice >> 1 & 3 {
        0 => Auth::None,
        1 => Auth::User(Secret::from("me"), secret()),
        2 => Auth::Token(secret()),
        _ => Auth::Jwt(Jwt { secret: secret(), username: Secret::from("me") }),
    };
    let tags = TagNames { database: "db".into(), bucket: "bucket".into(), ..TagNames::default() };
    let api = Arc::new(Api::new(dialect, auth, tags, MAX_BODY, READ_TIMEOUT));
    STAGE.with(|stage| {
        let inlet = Arc::new(Inlet::new(Arc::clone(&stage.socket)));
        let answers = stage.runtime.block_on(async {
            // Room for all that is sent and answered, so that neither side waits for the other.
            let (mut client, server) = tokio::io::duplex(1 << 20);
            client.write_all(bytes).await.unwrap();
            let talk = async {
                for _ in 0..N_TURNS {
                    tokio::task::yield_now().await;
                }
                client.shutdown().await.unwrap();
                let mut answers = Vec::new();
                client.read_to_end(&mut answers).await.unwrap();
                answers
            };
            let ((), answers) = tokio::join!(serve_stream(&inlet, &api, server, Peer(None), || {}), talk);
            answers
        });
        let status = answers.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5));
        let is_answer = status.is_some_and(|status| status.iter().all(u8::is_ascii_digit));
        assert!(answers.is_empty() || is_answer, "{}", String::from_utf8_lossy(&answers));
        let is_queued = !inlet.queue.is_empty();
        assert!(!is_queued || !inlet.queue.take(usize::MAX, usize::MAX).points.is_empty());
    });
}
