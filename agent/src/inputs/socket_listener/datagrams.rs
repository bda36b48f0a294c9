//! Datagrams: each is a text of its own.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::inputs::listener::Inlet;
use crate::inputs::listener::inflate::{Inflate, Packing};
use crate::inputs::listener::intake::{Lines, Manner, Outcome};
use crate::listen::Gate as _;
use crate::listen::sockets::Socket;
use crate::parsers::line_protocol::Precision;

/// The largest datagram.
const MAX: usize = 64 << 10;
/// Datagrams that are taken before others have their turn.
const TURN: usize = 64;

/// How datagrams are read.
#[derive(Clone)]
pub(super) struct Datagrams {
    /// `None` means that each shows how it is packed.
    pub(super) packing: Option<Packing>,
    pub(super) precision: Precision,
    /// Bytes that one may unpack to.
    pub(super) max_unpacked: usize,
    /// Empty means everybody.
    pub(super) sources: Vec<IpAddr>,
}

/// Takes datagrams until the queue is closed.
pub(super) async fn receive(inlet: Arc<Inlet>, how: Datagrams) {
    let manner = Manner { precision: how.precision, lines: Lines::Quoted, tags: [].into(), receipt: None };
    let mut buffer = vec![0; MAX];
    loop {
        // What is not taken meanwhile waits in the kernel, which counts what it drops.
        inlet.queue.has_room().await;
        let ready = tokio::select! {
            () = inlet.queue.closed() => return,
            ready = ready(&inlet.socket.socket) => ready,
        };
        if let Err(error) = ready {
            tracing::error!(%error, "cannot receive");
            return;
        }
        for _ in 0..TURN {
            // What is taken out of the kernel is lost where there is no room for it.
            if inlet.queue.is_full() {
                break;
            }
            let (length, peer) = match try_receive(&inlet.socket.socket, &mut buffer) {
                Ok(received) => received,
                // A datagram of ours that did not arrive says so here; it is no error of this one.
                Err(_) => break,
            };
            inlet.count(|counts| &counts.datagrams, 1);
            if peer.is_some_and(|ip| !how.sources.is_empty() && !how.sources.contains(&ip.to_canonical())) {
                inlet.count(|counts| &counts.refused, 1);
                continue;
            }
            take(&inlet, &how, &manner, &buffer[..length]).await;
        }
        tokio::task::yield_now().await;
    }
}

async fn ready(socket: &Socket) -> std::io::Result<()> {
    match socket {
        Socket::Udp(socket) => socket.readable().await,
        Socket::Unixgram(socket) => socket.readable().await,
        Socket::Tcp(_) | Socket::Unix(_) => std::future::pending().await,
    }
}

fn try_receive(socket: &Socket, buffer: &mut [u8]) -> std::io::Result<(usize, Option<IpAddr>)> {
    match socket {
        Socket::Udp(socket) => socket.try_recv_from(buffer).map(|(n, peer)| (n, Some(peer.ip()))),
        Socket::Unixgram(socket) => socket.try_recv(buffer).map(|n| (n, None)),
        Socket::Tcp(_) | Socket::Unix(_) => Err(std::io::ErrorKind::WouldBlock.into()),
    }
}

async fn take(inlet: &Inlet, how: &Datagrams, manner: &Manner, datagram: &[u8]) {
    let mut outcome = Outcome::default();
    let unpacked = match how.packing.unwrap_or_else(|| packing_of(datagram)) {
        Packing::None => None,
        packing => match unpacked(packing, datagram, how.max_unpacked).await {
            Ok(unpacked) => Some(unpacked),
            Err(error) => {
                inlet.count(|counts| &counts.losses.malformed, 1);
                tracing::debug!(%error, "a datagram is not packed as `content_encoding` says");
                return;
            }
        },
    };
    let text = unpacked.as_deref().unwrap_or(datagram);
    // There was room; only the end of the input refuses it, while it was unpacked.
    if inlet.take(text, manner, Duration::ZERO, &mut outcome).await.is_err() {
        inlet.count(|counts| &counts.refused, 1);
    }
    inlet.log_malformed(&outcome);
}

/// By its first bytes.
fn packing_of(datagram: &[u8]) -> Packing {
    match datagram {
        [0x1f, 0x8b, ..] => Packing::Gzip,
        [0x78, second, ..] if (0x7800 + u16::from(*second)) % 31 == 0 => Packing::Zlib,
        _ => Packing::None,
    }
}

async fn unpacked(packing: Packing, mut packed: &[u8], max: usize) -> std::io::Result<Vec<u8>> {
    let mut inflate = Inflate::new(packing);
    let mut all = Vec::new();
    while !packed.is_empty() {
        all.extend(inflate.some(&mut packed)?);
        if all.len() > max {
            return Err(std::io::Error::other("it unpacks to more than `max_decompression_size`"));
        }
        // A bomb takes its turn with the others.
        tokio::task::yield_now().await;
    }
    all.extend(inflate.end()?);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::host::Host;
    use crate::inputs::Shared;
    use crate::inputs::listener::bind;
    use crate::inputs::listener::testing::gzip;
    use crate::listen::bind::Wishes;

    /// What takes at an address, and the address.
    fn inlet() -> (Arc<Inlet>, String) {
        let shared = Shared::new(Host::default());
        let socket = bind("test", "udp://127.0.0.1:0", &Wishes::default(), &shared).unwrap();
        let address = socket.name().split_once("://").unwrap().1.to_owned();
        (Arc::new(Inlet::new(socket)), address)
    }

    fn how(packing: Packing) -> Datagrams {
        let precision = Precision::Nanoseconds;
        Datagrams { packing: Some(packing), precision, max_unpacked: 64 << 20, sources: Vec::new() }
    }

    #[tokio::test(start_paused = true)]
    async fn none_is_taken_that_there_is_no_room_for() {
        const N: usize = 24;
        const N_LINES: usize = 1 << 14;
        let (inlet, address) = inlet();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        // All together they become more than there is room for.
        let datagram = gzip(&b"m f=1 1\n".repeat(N_LINES));
        for _ in 0..N {
            sender.send_to(&datagram, &address).unwrap();
        }
        let task = tokio::spawn(receive(Arc::clone(&inlet), how(Packing::Gzip)));
        // Nobody takes anything for long.
        for _ in 0..1_000 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(inlet.queue.is_full());
        let mut n_points = 0;
        for _ in 0..1_000 {
            n_points += inlet.queue.take(usize::MAX, 1 << 20).points.len();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(n_points, N * N_LINES);
        task.abort();
    }

    #[tokio::test]
    async fn others_have_their_turn_while_one_is_unpacked() {
        let bomb = gzip(&vec![b'\n'; 8 << 20]);
        let n_pieces = bomb.len() / 1_024;
        let mut n_turns = 0;
        let others = async {
            loop {
                n_turns += 1;
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            unpacked = unpacked(Packing::Gzip, &bomb, 8 << 20) => assert_eq!(unpacked.unwrap().len(), 8 << 20),
            () = others => {}
        }
        assert!(n_turns >= n_pieces, "{n_turns} of {n_pieces}");
    }
}
