//! The body of a write: read, unpacked and taken as it comes, so that its size is no question of memory.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Body, Bytes};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::inputs::listener::Inlet;
use crate::inputs::listener::inflate::{Inflate, Packing};
use crate::inputs::listener::intake::{MAX_LINE, Manner, Outcome, TooMuch, Unfinished};
use crate::inputs::listener::queue::Refusal;
use crate::parsers::line_protocol::Splitter;
use crate::service::receipt::Receipt;

/// How long a write waits for room. A sender that gives up after a second has its points queued if there is any.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a disk may take.
const KEPT_LIMIT: Duration = Duration::from_secs(5);
/// What of a refused body is read all the same, so that the sender comes to read the answer.
const DISCARDED: usize = 64 << 20;
const DISCARD_LIMIT: Duration = Duration::from_secs(2);

/// Why a body was not taken as a whole; lines before that were.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error("http: request body too large")]
    TooLarge,
    #[error("the body is no gzip: {0}")]
    Packing(std::io::Error),
    #[error("the body broke off: {0}")]
    Broken(String),
    #[error("the body did not go on in time")]
    Timeout,
    #[error("a line has more than {MAX_LINE} bytes")]
    LongLine,
    #[error("the outputs take less than is sent: try again later")]
    Full,
    #[error("this input ends: try again")]
    Ends,
    #[error("the points are not on the disk yet: send them again later")]
    NotKept,
}

impl From<Refusal> for WriteError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Full => Self::Full,
            Refusal::Closed => Self::Ends,
        }
    }
}

impl From<TooMuch> for WriteError {
    fn from(_: TooMuch) -> Self {
        Self::Full
    }
}

/// Takes a write.
pub(super) struct Write<'a> {
    inlet: &'a Inlet,
    manner: Manner,
    unfinished: Unfinished<'a>,
    splitter: Splitter,
    pub(super) outcome: Outcome,
    /// Bytes that may still come, packed and unpacked.
    left: (u64, u64),
    /// Completes when all is kept.
    kept: Option<oneshot::Receiver<bool>>,
}

impl<'a> Write<'a> {
    pub(super) fn new(inlet: &'a Inlet, manner: Manner, limit: u64) -> Self {
        let (splitter, outcome) = (Splitter::default(), Outcome::default());
        let (receipt, kept) = inlet.queue.keeps().then(Receipt::new).unzip();
        let (manner, unfinished) = (Manner { receipt, ..manner }, Unfinished::new(inlet));
        Self { inlet, manner, unfinished, splitter, outcome, left: (limit, limit), kept }
    }

    /// Waits until what was taken is on the disk, where there is an output with a spool.
    pub(super) async fn kept(&mut self) -> Result<(), WriteError> {
        self.manner.receipt = None;
        let Some(kept) = self.kept.take() else { return Ok(()) };
        match tokio::time::timeout(KEPT_LIMIT, kept).await {
            Ok(Ok(true)) => Ok(()),
            _ => Err(WriteError::NotKept),
        }
    }

    /// Takes the whole body, each part of which comes within `timeout`.
    pub(super) async fn body<B: Body<Data = Bytes, Error: std::fmt::Display> + Unpin>(
        &mut self,
        body: &mut B,
        packing: Packing,
        timeout: Duration,
    ) -> Result<(), WriteError> {
        let mut inflate = None;
        loop {
            let frame = tokio::time::timeout(timeout, body.frame()).await.map_err(|_| WriteError::Timeout)?;
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|error| WriteError::Broken(error.to_string()))?;
            let Ok(data) = frame.into_data() else { continue };
            self.left.0 = less(self.left.0, data.len())?;
            let mut packed = &data[..];
            while !packed.is_empty() {
                // What waits does so as small as it came: unpacked and parsed it is a thousand times as large.
                self.inlet.queue.room(Instant::now() + PATIENCE).await?;
                if packing == Packing::None {
                    self.piece(std::mem::take(&mut packed)).await?;
                } else {
                    let inflate = inflate.get_or_insert_with(|| Inflate::new(packing));
                    let unpacked = inflate.some(&mut packed).map_err(WriteError::Packing)?;
                    self.piece(&unpacked).await?;
                    // A bomb takes its turn with the others.
                    tokio::task::yield_now().await;
                }
            }
        }
        // Nothing at all is an empty write, packed or not.
        if let Some(inflate) = inflate {
            let rest = inflate.end().map_err(WriteError::Packing)?;
            self.piece(&rest).await?;
        }
        self.lines(self.unfinished.bytes().len()).await
    }

    /// Takes a piece of the text.
    async fn piece(&mut self, piece: &[u8]) -> Result<(), WriteError> {
        self.left.1 = less(self.left.1, piece.len())?;
        let before = self.unfinished.bytes().len();
        self.unfinished.extend(piece);
        let whole = self.splitter.whole_lines(piece);
        self.lines(if whole > 0 { before + whole } else { 0 }).await?;
        if self.unfinished.bytes().len() > MAX_LINE { Err(WriteError::LongLine) } else { Ok(()) }
    }

    /// Takes the lines in the first `n` bytes.
    async fn lines(&mut self, n: usize) -> Result<(), WriteError> {
        let lines = &self.unfinished.bytes()[..n];
        self.inlet.take(lines, &self.manner, PATIENCE, &mut self.outcome).await?;
        Ok(self.unfinished.drop_first(n)?)
    }
}

/// Reads a form of up to `max` bytes, which comes within `timeout`.
pub(super) async fn form<B: Body<Data = Bytes, Error: std::fmt::Display> + Unpin>(
    inlet: &Inlet,
    body: &mut B,
    max: usize,
    timeout: Duration,
) -> Result<String, WriteError> {
    let mut form = Unfinished::new(inlet);
    let read = async {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| WriteError::Broken(error.to_string()))?;
            let Ok(data) = frame.into_data() else { continue };
            if form.bytes().len() + data.len() > max {
                return Err(WriteError::TooLarge);
            }
            form.extend(&data);
            form.within_bound()?;
        }
        Ok(())
    };
    tokio::time::timeout(timeout, read).await.map_err(|_| WriteError::Timeout)??;
    Ok(String::from_utf8_lossy(form.bytes()).into_owned())
}

fn less(left: u64, n: usize) -> Result<u64, WriteError> {
    left.checked_sub(n as u64).ok_or(WriteError::TooLarge)
}

/// Reads what is left of a body that is refused. A connection that is closed with something unread would be reset, and the
/// answer lost.
pub(super) async fn discard<B: Body<Data = Bytes> + Unpin>(body: &mut B) {
    let all = async {
        let mut n = 0;
        while let Some(Ok(frame)) = body.frame().await {
            n += frame.data_ref().map_or(0, Bytes::len);
            if n > DISCARDED {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(DISCARD_LIMIT, all).await;
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http_body_util::Full;
    use hyper::body::Frame;

    use super::*;
    use crate::host::Host;
    use crate::inputs::Shared;
    use crate::inputs::listener::bind;
    use crate::inputs::listener::intake::Lines;
    use crate::inputs::listener::testing::gzip;
    use crate::listen::bind::Wishes;
    use crate::parsers::line_protocol::Precision;

    /// A body that never comes.
    struct Stalled;

    impl Body for Stalled {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }

    fn inlet() -> Inlet {
        let shared = Shared::new(Host::default());
        Inlet::new(bind("test", "127.0.0.1:0", &Wishes::default(), &shared).unwrap())
    }

    fn write(inlet: &Inlet) -> Write<'_> {
        let precision = Precision::Nanoseconds;
        let manner = Manner { precision, lines: Lines::Quoted, tags: [].into(), receipt: None };
        Write::new(inlet, manner, 64 << 20)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_waits_for_room_as_it_came() {
        let inlet = inlet();
        let line = format!("m f=\"{}\" 1\n", "x".repeat(1 << 20));
        while !inlet.queue.is_full() {
            let mut body = Full::new(Bytes::from(line.clone()));
            write(&inlet).body(&mut body, Packing::None, PATIENCE).await.unwrap();
        }
        let packed = gzip(&b"m f=1 1\n".repeat(1 << 16));
        for (packing, body) in [(Packing::Gzip, packed), (Packing::None, b"m f=1 1\n".to_vec())] {
            let (mut body, mut write) = (Full::new(Bytes::from(body)), write(&inlet));
            let error = write.body(&mut body, packing, PATIENCE).await.unwrap_err();
            assert!(matches!(error, WriteError::Full), "{error}");
            assert!(write.unfinished.bytes().is_empty(), "it was unpacked before there was room");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_form_is_as_long_and_takes_as_long_as_it_may() {
        let inlet = inlet();
        let text = |length: usize| Full::new(Bytes::from(vec![b'x'; length]));
        let limit = Duration::from_secs(10);
        assert_eq!(form(&inlet, &mut text(100), 100, limit).await.unwrap().len(), 100);
        let error = form(&inlet, &mut text(101), 100, limit).await.unwrap_err();
        assert!(matches!(error, WriteError::TooLarge), "{error}");
        let error = form(&inlet, &mut Stalled, 100, limit).await.unwrap_err();
        assert!(matches!(error, WriteError::Timeout), "{error}");
    }
}
