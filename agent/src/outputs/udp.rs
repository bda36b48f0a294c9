//! A server that takes lines over UDP: one packet for each line, and no response.
//!
//! Packets are lost silently, so this is for places where that does not matter. The agent only notices that a host cannot be
//! reached, or that it refused an earlier packet.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use reqwest::Url;
use tokio::net::UdpSocket;
use tokio::sync::Mutex;

use super::Answer;
use super::local_address::LocalAddress;
use super::servers::{no_url, shown};
use crate::options::OptionError;
use crate::service::off_thread;

/// How long names may take to be looked up.
const OPEN_LIMIT: Duration = Duration::from_secs(5);

/// The receiver.
pub(super) struct Udp {
    shown: String,
    host: String,
    port: u16,
    /// Use only addresses of this family.
    family: Option<Family>,
    local: LocalAddress,
    /// Opened at the first write, and again after a failed one, so that the name is resolved again.
    socket: Mutex<Option<UdpSocket>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Udp {
    /// Whether a URL is of this protocol.
    pub(super) fn is_for(url: &str) -> bool {
        ["udp://", "udp4://", "udp6://"].iter().any(|scheme| url.starts_with(scheme))
    }

    /// Parses the URL; the name is resolved at the first write.
    ///
    /// # Errors
    /// A URL without a host or a port.
    pub(super) fn new(url: &str, local: LocalAddress) -> Result<Self, OptionError> {
        let parsed = Url::parse(url).map_err(|error| no_url(url, &error))?;
        let family = match parsed.scheme() {
            "udp4" => Some(Family::V4),
            "udp6" => Some(Family::V6),
            _ => None,
        };
        let (Some(host), Some(port)) = (parsed.host_str(), parsed.port()) else {
            let what = format!("`{}` has no host or port: write it as udp://host:8089", shown(&parsed));
            return Err(OptionError::new("urls", what));
        };
        // The brackets of an IPv6 address are the URL's.
        let host = host.trim_matches(['[', ']']).to_owned();
        Ok(Self {
            shown: format!("{}://{host}:{port}", parsed.scheme()),
            host,
            port,
            family,
            local,
            socket: Mutex::default(),
        })
    }

    /// Its URL.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// Sends each line in a packet of its own.
    pub(super) async fn write(&self, lines: &[Bytes]) -> Answer {
        let mut socket = self.socket.lock().await;
        match self.send(&mut socket, lines).await {
            Ok(()) => Answer::STORED,
            Err(error) => {
                *socket = None;
                Answer::retry(format!("{}: {error}", self.shown))
            }
        }
    }

    async fn send(&self, socket: &mut Option<UdpSocket>, lines: &[Bytes]) -> io::Result<()> {
        let socket = match socket {
            Some(socket) => socket,
            none => {
                let opened = tokio::time::timeout(OPEN_LIMIT, self.open()).await;
                let socket = opened.map_err(|_| io::Error::other("its name is not looked up in time"))??;
                none.insert(socket)
            }
        };
        for line in lines {
            socket.send(line).await?;
        }
        Ok(())
    }

    async fn open(&self) -> io::Result<UdpSocket> {
        let local = self.local.clone();
        let local = off_thread::run(move || local.resolve_socket()).await.map_err(io::Error::other)?;
        let mut found = tokio::net::lookup_host((self.host.as_str(), self.port)).await?;
        let fits = |address: &SocketAddr| {
            self.family.is_none_or(|family| (family == Family::V4) == address.is_ipv4())
                && local.is_none_or(|local| local.is_ipv4() == address.is_ipv4())
        };
        let address = found
            .find(fits)
            .ok_or_else(|| io::Error::other(format!("{} has no address of the right kind", self.host)))?;
        let any = if address.is_ipv4() {
            IpAddr::from(Ipv4Addr::UNSPECIFIED)
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        let socket = UdpSocket::bind(local.unwrap_or(SocketAddr::from((any, 0)))).await?;
        socket.connect(address).await?;
        Ok(socket)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("udp://127.0.0.1")]
    #[case("udp://:8089")]
    #[case("udp://u:hunter2@h?token=hunter2")]
    fn rejects_urls_without_host_and_port(#[case] url: &str) {
        let error = Udp::new(url, LocalAddress::Any).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("udp://host:8089") || error.contains("is no URL"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[rstest]
    #[case("udp", Ipv4Addr::LOCALHOST.into())]
    #[case("udp4", Ipv4Addr::LOCALHOST.into())]
    #[case("udp6", Ipv6Addr::LOCALHOST.into())]
    #[tokio::test]
    async fn each_line_is_a_packet(#[case] scheme: &str, #[case] ip: IpAddr) {
        let receiver = UdpSocket::bind((ip, 0)).await.unwrap();
        let url = format!("{scheme}://{}", receiver.local_addr().unwrap());
        let lines = ["m f=1i 1\n", "m f=2i 2\n"].map(Bytes::from);
        assert_eq!(Udp::new(&url, LocalAddress::Any).unwrap().write(&lines).await, Answer::STORED);
        for line in lines {
            let mut packet = [0; 100];
            let n = receiver.recv(&mut packet).await.unwrap();
            assert_eq!(packet[..n], line);
        }
    }

    #[tokio::test]
    async fn an_address_of_the_other_family_is_not_used() {
        let udp = Udp::new("udp6://127.0.0.1:9", LocalAddress::Any).unwrap();
        let Answer::Retry { reason, .. } = udp.write(&[Bytes::from("m f=1i\n")]).await else { panic!() };
        assert!(reason.starts_with("udp6://127.0.0.1:9: 127.0.0.1 has no address"), "{reason}");
    }
}
