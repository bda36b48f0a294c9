//! Which interfaces of the agent's own network namespace are up, and which are a loopback: netdevice(7).
//!
//! Read by ioctl(2) and not from sysfs, which shows the namespace of whoever mounted it.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketType, socket};

use crate::inputs::GatherError;

/// The flags, through a socket.
pub(super) struct InterfaceFlags(OwnedFd);

impl InterfaceFlags {
    /// Opens the socket; it is never connected.
    pub(super) fn open() -> Result<Self, GatherError> {
        let socket = socket(AddressFamily::UNIX, SocketType::DGRAM, None).map_err(|error| {
            GatherError::Other(format!("cannot open a socket for the flags of interfaces: {error}"))
        })?;
        Ok(Self(socket))
    }

    /// `false` also for an interface that is gone.
    pub(super) fn is_up_and_no_loopback(&self, interface: &str) -> bool {
        let flags = self.flags(interface).unwrap_or(0);
        flags & libc::IFF_UP != 0 && flags & libc::IFF_LOOPBACK == 0
    }

    fn flags(&self, interface: &str) -> Option<i32> {
        // SAFETY: an `ifreq` is integers, and a union of integers and raw pointers: all zeros are valid.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        // One byte is left for the zero at the end.
        let room = request.ifr_name.len() - 1;
        let name = Some(interface.as_bytes()).filter(|name| name.len() <= room)?;
        for (to, from) in request.ifr_name.iter_mut().zip(name) {
            *to = *from as libc::c_char;
        }
        // SAFETY: the request is an `ifreq` with a terminated name, which is what this call reads and writes.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SIOCGIFFLAGS as _, &raw mut request) };
        // SAFETY: the kernel has filled in the flags when it returns 0.
        (result == 0).then(|| i32::from(unsafe { request.ifr_ifru.ifru_flags }))
    }
}
