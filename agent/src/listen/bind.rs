//! Binding a socket, and in words why it cannot be.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use super::address::{Address, Family, Transport, candidates};
use super::sockets::{Bound, Found, Socket, Sockets};
use crate::service::privilege::{self, ADVICE};
use crate::service::telemetry::Telemetry;

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 1_024;

/// What a socket is to be like.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wishes {
    /// Bytes of the kernel's buffer for what nobody took yet; 0 means the system's default.
    pub(crate) buffer: usize,
    /// The mode of a socket's file.
    pub(crate) mode: Option<u32>,
}

/// The socket for an address: a new one, or that of the plugin that this one succeeds. Its counts have the plugin's name. Must be
/// called within the runtime.
///
/// # Errors
/// Why it cannot be bound, and what to do.
pub(crate) fn bind(
    plugin: &'static str,
    text: &str,
    wishes: &Wishes,
    (sockets, telemetry): (&Sockets, &Telemetry),
) -> Result<Arc<Bound>, String> {
    let address = Address::parse(text)?;
    match sockets.find(text) {
        Found::Of(bound) => {
            prepare(&bound.socket, wishes).map_err(|error| format!("{text}: {error}"))?;
            return Ok(bound);
        }
        Found::Taken => return Err(format!("{text} is listened on by another plugin: remove one")),
        Found::None => {}
    }
    let (socket, name, file) = match &address {
        Address::Network { transport, family, host, port } => {
            let (socket, at) =
                network(*transport, *family, host, *port).map_err(|error| in_words(text, *port, &error))?;
            let scheme = if *transport == Transport::Stream { "tcp" } else { "udp" };
            (socket, format!("{scheme}://{at}"), None)
        }
        Address::Unix { transport, path } => {
            let socket = unix(*transport, path)?;
            (socket, text.to_owned(), Some(path.clone()))
        }
    };
    if let (Some(mode), Some(file)) = (wishes.mode, &file) {
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode))
            .map_err(|error| format!("cannot set the mode of {}: {error}", file.display()))?;
    }
    prepare(&socket, wishes).map_err(|error| format!("{text}: {error}"))?;
    let entry = telemetry.listener(plugin, &name);
    let bound = Arc::new(Bound::new(name, socket, file, entry));
    sockets.add(text, &bound);
    Ok(bound)
}

/// Sets what can be set on a socket that is bound.
fn prepare(socket: &Socket, wishes: &Wishes) -> io::Result<()> {
    if wishes.buffer == 0 || matches!(socket, Socket::Tcp(_) | Socket::Unix(_)) {
        return Ok(());
    }
    // Without the right to exceed the system's limit, up to that.
    sockopt::set_socket_recv_buffer_size_force(socket.borrowed(), wishes.buffer)
        .or_else(|_| sockopt::set_socket_recv_buffer_size(socket.borrowed(), wishes.buffer))?;
    Ok(())
}

fn network(transport: Transport, family: Family, host: &str, port: u16) -> io::Result<(Socket, SocketAddr)> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "no such host");
    for at in candidates(family, host, port)? {
        match network_at(transport, at, family) {
            Ok(bound) => return Ok(bound),
            // A machine without IPv6 has the next one.
            Err(error) => failure = error,
        }
        if failure.kind() == io::ErrorKind::AddrInUse {
            break;
        }
    }
    Err(failure)
}

fn network_at(transport: Transport, at: SocketAddr, family: Family) -> io::Result<(Socket, SocketAddr)> {
    let (kind, domain) = match transport {
        Transport::Stream => (SocketType::STREAM, at),
        Transport::Datagram => (SocketType::DGRAM, at),
    };
    let domain = if domain.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd: OwnedFd = rustix::net::socket_with(domain, kind, flags, None)?;
    if at.is_ipv6() {
        sockopt::set_ipv6_v6only(&fd, family == Family::V6)?;
    }
    if transport == Transport::Stream {
        sockopt::set_socket_reuseaddr(&fd, true)?;
    }
    rustix::net::bind(&fd, &at)?;
    if transport == Transport::Stream {
        rustix::net::listen(&fd, BACKLOG)?;
        let listener = tokio::net::TcpListener::from_std(fd.into())?;
        let at = listener.local_addr()?;
        return Ok((Socket::Tcp(listener), at));
    }
    let socket = tokio::net::UdpSocket::from_std(fd.into())?;
    match at.ip() {
        std::net::IpAddr::V4(group) if group.is_multicast() => {
            socket.join_multicast_v4(group, std::net::Ipv4Addr::UNSPECIFIED)?;
        }
        std::net::IpAddr::V6(group) if group.is_multicast() => socket.join_multicast_v6(&group, 0)?,
        _ => {}
    }
    let at = socket.local_addr()?;
    Ok((Socket::Udp(socket), at))
}

/// Binds a socket's file. One that nobody listens on any more is a crash's, and is replaced.
fn unix(transport: Transport, path: &Path) -> Result<Socket, String> {
    let shown = path.display();
    let bind = || match transport {
        Transport::Stream => tokio::net::UnixListener::bind(path).map(Socket::Unix),
        Transport::Datagram => tokio::net::UnixDatagram::bind(path).map(Socket::Unixgram),
    };
    let error = match bind() {
        Ok(socket) => return Ok(socket),
        Err(error) => error,
    };
    if error.kind() != io::ErrorKind::AddrInUse {
        return Err(format!("cannot listen on {shown}: {error}"));
    }
    let is_socket = std::fs::symlink_metadata(path)
        .is_ok_and(|file| std::os::unix::fs::FileTypeExt::is_socket(&file.file_type()));
    if !is_socket {
        return Err(format!("{shown} is there, and no socket: remove it, or listen on another path"));
    }
    let answered = match transport {
        Transport::Stream => std::os::unix::net::UnixStream::connect(path).map(drop),
        Transport::Datagram => {
            std::os::unix::net::UnixDatagram::unbound().and_then(|socket| socket.connect(path))
        }
    };
    match answered {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        _ => return Err(format!("another process listens on {shown}: end it, or listen on another path")),
    }
    std::fs::remove_file(path)
        .and_then(|()| bind())
        .map_err(|error| format!("cannot replace {shown}, which nobody listens on: {error}"))
}

/// Why an address cannot be bound.
fn in_words(address: &str, port: u16, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "another process listens on {address}: `ss -lntup 'sport = {port}'` shows which; end it, or use another port"
        ),
        io::ErrorKind::PermissionDenied if privilege::confinement().is_some() => {
            format!("{address}: a port below 1024 needs a privilege: use a higher one; {ADVICE}")
        }
        io::ErrorKind::PermissionDenied => {
            format!("{address}: a port below 1024 needs root or CAP_NET_BIND_SERVICE: use a higher one")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("{address} is no address of this machine: leave the host out to listen on all")
        }
        _ => format!("cannot listen on {address}: {error}"),
    }
}
