//! Notifies the service manager of what the agent does, by the protocol of sd_notify(3), and that it is alive, by that of
//! sd_watchdog_enabled(3).

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The service manager, if there is one that wants notifications.
#[derive(Debug, Default)]
pub(crate) struct Notifier(Option<(UnixDatagram, SocketAddr)>);

/// How often the service manager wants to hear that this process is alive: twice in its limit. `None` when it does not.
fn watchdog_period(variable: impl Fn(&str) -> Option<String>) -> Option<Duration> {
    let is_for_another = variable("WATCHDOG_PID").is_some_and(|pid| pid != std::process::id().to_string());
    let limit = variable("WATCHDOG_USEC")?.parse().ok().filter(|us| *us > 0)?;
    (!is_for_another).then(|| Duration::from_micros(limit) / 2)
}

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
        let socket = UnixDatagram::unbound()?;
        // A manager that hangs holds nothing up.
        socket.set_nonblocking(true)?;
        Ok(Self(Some((socket, address))))
    }

    /// Says that the agent is alive, as often as the manager wants to hear it, for as long as its thread goes on and nothing is
    /// `stuck`.
    pub(crate) async fn keep_alive(&self, stuck: impl Fn() -> Option<String>) {
        match watchdog_period(|name| std::env::var(name).ok()) {
            Some(period) => self.keep_alive_every(period, stuck).await,
            None => std::future::pending().await,
        }
    }

    async fn keep_alive_every(&self, period: Duration, stuck: impl Fn() -> Option<String>) {
        let mut ticks = tokio::time::interval(period);
        loop {
            ticks.tick().await;
            match stuck() {
                None => self.send("WATCHDOG=1"),
                Some(why) => tracing::error!("the service manager is not told that all is well: {why}"),
            }
        }
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

    #[tokio::test(start_paused = true)]
    async fn a_watchdog_hears_twice_in_its_limit() {
        let of = |variables: &[(&str, &str)]| {
            watchdog_period(|name| {
                variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            })
        };
        let own = std::process::id().to_string();
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("WATCHDOG_USEC", "0")]), None);
        assert_eq!(of(&[("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", "1")]), None);
        let period = of(&[("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", &own)]).unwrap();
        assert_eq!(period, Duration::from_secs(15));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::at(path.as_os_str().as_bytes()).unwrap();
        let _ = tokio::time::timeout(period * 3, notifier.keep_alive_every(period, || None)).await;
        manager.set_nonblocking(true).unwrap();
        for _ in 0..3 {
            assert_eq!(received(&manager), "WATCHDOG=1");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_watchdog_hears_nothing_while_something_is_stuck() {
        let directory = tempfile::tempdir().unwrap();
        let (path, log) = (directory.path().join("socket"), directory.path().join("log"));
        let _log = crate::service::logging::to_file(&log);
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_nonblocking(true).unwrap();
        let notifier = Notifier::at(path.as_os_str().as_bytes()).unwrap();
        let stuck = || Some("input mem: stuck".to_owned());
        let period = Duration::from_secs(15);
        let _ = tokio::time::timeout(period * 3, notifier.keep_alive_every(period, stuck)).await;
        assert!(manager.recv(&mut [0; 16]).is_err(), "it was told that all is well");
        assert!(
            std::fs::read_to_string(log).unwrap().contains("not told that all is well: input mem: stuck")
        );
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
