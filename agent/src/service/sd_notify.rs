//! Notifies the service manager of what the agent does, by the protocol of sd_notify(3).

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The service manager, if there is one that wants notifications.
#[derive(Debug, Default)]
pub(crate) struct Notifier(Option<(UnixDatagram, SocketAddr)>);

impl Notifier {
    /// The one at `$NOTIFY_SOCKET`; a name that starts with `@` is in the abstract namespace.
    #[must_use]
    pub(crate) fn from_environment() -> Self {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Self(None);
        };
        Self::at(name.as_bytes()).unwrap_or_else(|error| {
            tracing::warn!(%error, ?name, "cannot reach the service manager at $NOTIFY_SOCKET");
            Self(None)
        })
    }

    fn at(name: &[u8]) -> std::io::Result<Self> {
        let address = match name.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
        };
        Ok(Self(Some((UnixDatagram::unbound()?, address))))
    }

    /// The agent is running; also the end of a reload.
    pub(crate) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    /// A reload starts. The time tells the manager which one, if there are several.
    pub(crate) fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let us = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={us}\nSTATUS=reading the configuration"));
    }

    /// The agent is shutting down.
    pub(crate) fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=writing what is left");
    }

    fn send(&self, state: &str) {
        if let Some((socket, address)) = &self.0
            && let Err(error) = socket.send_to_addr(state.as_bytes(), address)
        {
            tracing::warn!(%error, "cannot notify the service manager");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let n = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..n].to_vec()).unwrap()
    }

    #[test]
    fn speaks_to_a_socket_with_a_path_or_an_abstract_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let by_path = UnixDatagram::bind(&path).unwrap();
        let name = format!("seismograf-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let by_name = UnixDatagram::bind_addr(&address).unwrap();
        for (at, socket) in
            [(path.as_os_str().as_bytes().to_vec(), by_path), (format!("@{name}").into_bytes(), by_name)]
        {
            let notifier = Notifier::at(&at).unwrap();
            notifier.ready("3 inputs");
            notifier.reloading();
            notifier.stopping();
            assert_eq!(received(&socket), "READY=1\nSTATUS=3 inputs");
            let reloading = received(&socket);
            let us = reloading.split("MONOTONIC_USEC=").nth(1).and_then(|rest| rest.split('\n').next());
            assert!(us.is_some_and(|us| us.parse::<u64>().is_ok_and(|us| us > 0)), "{reloading}");
            assert!(received(&socket).starts_with("STOPPING=1\n"));
        }
    }

    #[test]
    fn a_manager_that_cannot_be_reached_is_logged_and_none_at_all_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let _log = crate::service::logging::to_file(&log);
        Notifier::default().ready("");
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "");
        let gone = directory.path().join("socket");
        Notifier::at(gone.as_os_str().as_bytes()).unwrap().ready("");
        let log = std::fs::read_to_string(&log).unwrap();
        assert!(log.contains("W! [agent] cannot notify the service manager error="), "{log}");
    }
}
