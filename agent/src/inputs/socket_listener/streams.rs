//! Connections: bytes to messages to lines.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;

use super::framing::Framing;
use crate::inputs::listener::inflate::{Inflate, Packing};
use crate::inputs::listener::intake::{Lines, Manner, Outcome, Unfinished};
use crate::inputs::listener::{Inlet, budget};
use crate::listen::connections::{Admission, Connection, accept};
use crate::parsers::line_protocol::Precision;
use crate::service::budget::Budget;

/// Bytes of a connection that are read at once.
const READ: usize = 16 << 10;
/// A stream waits for room for as long as it takes.
const FOR_EVER: Duration = Duration::from_secs(365 * 86_400);

/// How streams are read.
#[derive(Clone)]
pub(super) struct Streams {
    pub(super) admission: Admission,
    pub(super) framing: Framing,
    pub(super) packing: Packing,
    pub(super) precision: Precision,
    /// A connection that sends nothing for so long is closed; zero means never.
    pub(super) read_timeout: Duration,
    /// The longest message.
    pub(super) max_message: usize,
}

/// What so many connections take at most; see [`budget::of_streams`].
pub(super) fn budget(max_connections: usize, packing: Packing) -> Budget {
    budget::of_streams(max_connections, READ, packing)
}

/// Accepts connections and reads them.
pub(super) async fn receive(inlet: Arc<Inlet>, streams: Streams) {
    let admission = streams.admission.clone();
    let streams = Arc::new(streams);
    let serve = {
        let inlet = Arc::clone(&inlet);
        move |connection| {
            let (inlet, streams) = (Arc::clone(&inlet), Arc::clone(&streams));
            async move {
                if let Err(why) = read(&inlet, &streams, connection).await {
                    inlet.log_closed(&why);
                }
            }
        }
    };
    accept(inlet, admission, serve).await;
}

/// Reads a connection to its end.
async fn read(inlet: &Inlet, streams: &Streams, mut connection: Connection) -> Result<(), String> {
    let mut reading = Reading {
        inlet,
        streams,
        manner: Manner {
            precision: streams.precision,
            lines: if streams.framing.is_lines() { Lines::Plain } else { Lines::Quoted },
            tags: [].into(),
            receipt: None,
        },
        unfinished: Unfinished::new(inlet),
        known: 0,
    };
    let mut inflate = Inflate::new(streams.packing);
    let mut bytes = Vec::new();
    loop {
        inlet.queue.has_room().await;
        if inlet.queue.is_closed() {
            return Ok(());
        }
        bytes.reserve_exact(READ);
        let received = connection.stream.read_buf(&mut bytes);
        let received = if streams.read_timeout.is_zero() {
            tokio::select! {
                received = received => received,
                () = inlet.queue.closed() => return Ok(()),
            }
        } else {
            match tokio::time::timeout(streams.read_timeout, received).await {
                Ok(received) => received,
                Err(_) => return reading.end(inflate).await,
            }
        };
        // A peer that is gone has said what it said.
        let Ok(1..) = received else { return reading.end(inflate).await };
        connection.activity.now();
        let mut packed = &bytes[..];
        while !packed.is_empty() {
            // It came when there was room, which others may have taken; unpacked and parsed it is a thousand times as large.
            inlet.queue.has_room().await;
            let unpacked = inflate
                .some(&mut packed)
                .map_err(|error| format!("its data is not packed as `content_encoding` says: {error}"))?;
            reading.take(&unpacked).await?;
            if streams.packing != Packing::None {
                // A bomb takes its turn with the others.
                tokio::task::yield_now().await;
            }
        }
        // Many connections wait most of the time, and need no buffer for that.
        bytes = Vec::new();
    }
}

/// What is known of a connection.
struct Reading<'a> {
    inlet: &'a Inlet,
    streams: &'a Streams,
    manner: Manner,
    /// The message that has not ended yet.
    unfinished: Unfinished<'a>,
    /// How much of it was looked at.
    known: usize,
}

impl Reading<'_> {
    async fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.unfinished.extend(bytes);
        let mut at = 0;
        if self.streams.framing.is_lines() {
            let buffer = &self.unfinished.bytes()[self.known..];
            if let Some(last) = buffer.iter().rposition(|byte| *byte == b'\n') {
                at = self.known + last + 1;
                self.lines(0, at).await?;
            }
        } else {
            while let Some(message) = {
                let known = if at == 0 { self.known } else { 0 };
                self.streams.framing.first(&self.unfinished.bytes()[at..], known)
            } {
                self.lines(at + message.start, at + message.end).await?;
                at += message.next;
            }
        }
        self.unfinished.drop_first(at).map_err(|error| error.to_string())?;
        self.known = self.unfinished.bytes().len();
        if self.known > self.streams.max_message {
            let limit = self.streams.max_message;
            return Err(format!(
                "a message has more than {limit} bytes; `read_buffer_size` allows longer ones"
            ));
        }
        Ok(())
    }

    /// Takes the lines of a part of the buffer.
    async fn lines(&self, start: usize, end: usize) -> Result<(), String> {
        let mut outcome = Outcome::default();
        let bytes = &self.unfinished.bytes()[start..end];
        // Fails only when the input ends.
        let _ = self.inlet.take(bytes, &self.manner, FOR_EVER, &mut outcome).await;
        self.inlet.log_malformed(&outcome);
        Ok(())
    }

    /// Takes what a connection ended with: the last line needs no end.
    async fn end(mut self, inflate: Inflate) -> Result<(), String> {
        if let Ok(rest) = inflate.end() {
            self.take(&rest).await?;
        }
        if matches!(self.streams.framing, Framing::Delimiter(_)) {
            self.lines(0, self.unfinished.bytes().len()).await?;
        }
        Ok(())
    }
}
