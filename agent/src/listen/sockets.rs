//! The sockets that are listened on, by address.
//!
//! A socket outlives its plugin when a reload changes the plugin's options: the successor gets the very same one, so that no
//! connection is refused and no datagram is lost in between. Its counts stay with it, and what the plugin leaves there.

use std::any::Any;
use std::collections::HashMap;
use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::net::{TcpListener, UdpSocket, UnixDatagram, UnixListener};

use crate::service::telemetry::{Entry, ListenerCounts};

/// A socket of one of the four kinds.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
    Udp(UdpSocket),
    Unixgram(UnixDatagram),
}

impl Socket {
    fn fd(&self) -> RawFd {
        match self {
            Self::Tcp(socket) => socket.as_raw_fd(),
            Self::Unix(socket) => socket.as_raw_fd(),
            Self::Udp(socket) => socket.as_raw_fd(),
            Self::Unixgram(socket) => socket.as_raw_fd(),
        }
    }

    pub(crate) fn borrowed(&self) -> BorrowedFd<'_> {
        // SAFETY: `self` owns the descriptor, and is borrowed for as long.
        unsafe { BorrowedFd::borrow_raw(self.fd()) }
    }
}

/// What the plugin at a socket leaves to the one that comes after it.
type Left = Option<Arc<dyn Any + Send + Sync>>;

/// A bound socket.
#[derive(Debug)]
pub(crate) struct Bound {
    name: String,
    pub(crate) socket: Socket,
    entry: Arc<Entry<ListenerCounts>>,
    /// One that runs has it. One that was only built did not begin yet.
    has_begun: AtomicBool,
    /// For the successor.
    left: Mutex<Left>,
    /// The file to be removed at the end.
    file: Option<PathBuf>,
}

impl Bound {
    pub(crate) fn new(
        name: String,
        socket: Socket,
        file: Option<PathBuf>,
        entry: Arc<Entry<ListenerCounts>>,
    ) -> Self {
        Self { name, socket, entry, has_begun: AtomicBool::new(false), left: Mutex::default(), file }
    }

    /// Its address, for the log.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What was counted at it.
    pub(crate) fn counts(&self) -> &ListenerCounts {
        &self.entry.counts
    }

    /// One that runs has it from now on.
    pub(crate) fn begin(&self) {
        self.has_begun.store(true, Ordering::Relaxed);
    }

    /// Keeps something for as long as the socket is there.
    pub(crate) fn leave(&self, left: Arc<dyn Any + Send + Sync>) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(left);
    }

    /// What was left there, if it is of this type.
    pub(crate) fn left<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).clone()?.downcast().ok()
    }

    /// Reads how many datagrams the kernel has dropped because nobody took them.
    pub(crate) fn read_drops(&self) {
        if let Socket::Udp(socket) = &self.socket
            && let Some(drops) = drops(socket.as_raw_fd())
        {
            let counted = &self.entry.counts;
            // The kernel's counter has 32 bits.
            let last = counted.losses.overflow.load(Ordering::Relaxed);
            let new = drops.wrapping_sub(last as u32);
            counted.losses.overflow.fetch_add(u64::from(new), Ordering::Relaxed);
        }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        self.entry.ended();
        if let Some(file) = &self.file {
            // Somebody may have removed it.
            let _ = std::fs::remove_file(file);
        }
    }
}

/// The datagrams that a socket's owner did not take in time (`SO_MEMINFO`, `sk_drops`: the same number as `SO_RXQ_OVFL`, but
/// without a datagram to carry it).
fn drops(socket: RawFd) -> Option<u32> {
    /// `SK_MEMINFO_DROPS` of linux/sock_diag.h, the last of nine.
    const DROPS: usize = 8;
    const SO_MEMINFO: libc::c_int = 55;
    let mut info = [0_u32; DROPS + 1];
    let mut length = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into `info`, which has as many.
    let result = unsafe {
        libc::getsockopt(socket, libc::SOL_SOCKET, SO_MEMINFO, info.as_mut_ptr().cast(), &raw mut length)
    };
    (result == 0 && length as usize == size_of_val(&info)).then_some(info[DROPS])
}

/// All sockets of the process.
#[derive(Debug, Default)]
pub struct Sockets(Mutex<HashMap<String, Weak<Bound>>>);

/// What there is of a socket.
pub(crate) enum Found {
    None,
    /// Of one that runs; who asks is its successor.
    Of(Arc<Bound>),
    /// Of one that is about to run, too.
    Taken,
}

impl Sockets {
    /// The socket that was bound for `address`, as the option has it.
    pub(crate) fn find(&self, address: &str) -> Found {
        let sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match sockets.get(address).and_then(Weak::upgrade) {
            None => Found::None,
            Some(bound) if bound.has_begun.load(Ordering::Relaxed) => Found::Of(bound),
            Some(_) => Found::Taken,
        }
    }

    /// Remembers a socket for as long as somebody has it.
    pub(crate) fn add(&self, address: &str, bound: &Arc<Bound>) {
        let mut sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.retain(|_, bound| bound.strong_count() > 0);
        sockets.insert(address.to_owned(), Arc::downgrade(bound));
    }
}
