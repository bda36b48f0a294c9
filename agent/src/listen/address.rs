//! Where to listen: from Telegraf's `service_address` to what can be bound.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;

/// How bytes come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Stream,
    Datagram,
}

/// Which addresses a name or nothing stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Any,
    V4,
    V6,
}

/// A parsed address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// The host may be empty, which is every address of the machine.
    Network {
        transport: Transport,
        family: Family,
        host: String,
        port: u16,
    },
    Unix {
        transport: Transport,
        path: PathBuf,
    },
}

impl Address {
    /// Parses an address; one without a scheme is TCP.
    ///
    /// # Errors
    /// What is wrong with it, and how it is written.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("tcp", text));
        let (transport, family) = match scheme {
            "tcp" => (Transport::Stream, Family::Any),
            "tcp4" => (Transport::Stream, Family::V4),
            "tcp6" => (Transport::Stream, Family::V6),
            "udp" => (Transport::Datagram, Family::Any),
            "udp4" => (Transport::Datagram, Family::V4),
            "udp6" => (Transport::Datagram, Family::V6),
            "unix" => return Self::unix(Transport::Stream, rest),
            "unixgram" => return Self::unix(Transport::Datagram, rest),
            "unixpacket" | "vsock" | "ip" | "ip4" | "ip6" => {
                return Err(format!(
                    "`{scheme}` is not listened on here: use tcp://, udp://, unix:// or unixgram://"
                ));
            }
            _ => {
                return Err(format!(
                    "`{text}`: write it as udp://:8094, tcp://127.0.0.1:8094 or unix:///run/app.sock"
                ));
            }
        };
        let no_port = || format!("`{text}` needs a port at its end, such as :8094");
        let (host, port) = rest.rsplit_once(':').ok_or_else(no_port)?;
        let port = port.parse().map_err(|_| no_port())?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.contains('%') {
            return Err(format!("`{text}`: an interface cannot be named here: leave out what follows the %"));
        }
        Ok(Self::Network { transport, family, host: host.to_owned(), port })
    }

    fn unix(transport: Transport, path: &str) -> Result<Self, String> {
        if path.is_empty() {
            return Err("needs a path, such as unix:///run/app.sock".into());
        }
        Ok(Self::Unix { transport, path: path.into() })
    }

    /// Whether two cannot be bound at one time; some that cannot are not told, such as a name and its number.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            // Any free port.
            (Self::Network { port: 0, .. }, _) => false,
            (
                Self::Network { transport, host, port, .. },
                Self::Network { transport: transports, host: hosts, port: ports, .. },
            ) => (transport, host, port) == (transports, hosts, ports),
            (this, other) => this == other,
        }
    }

    /// How bytes come.
    pub(crate) fn transport(&self) -> Transport {
        match self {
            Self::Network { transport, .. } | Self::Unix { transport, .. } => *transport,
        }
    }
}

/// The addresses that may stand for a host, the preferred one first. A name is looked up.
///
/// # Errors
/// The system's, for a name that is not known.
pub(crate) fn candidates(family: Family, host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
    let is_of = |address: &SocketAddr| match family {
        Family::Any => true,
        Family::V4 => address.is_ipv4(),
        Family::V6 => address.is_ipv6(),
    };
    let all = if host.is_empty() {
        let every = [IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
        every.map(|ip| SocketAddr::new(ip, port)).to_vec()
    } else {
        let mut all: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
        // As in Telegraf, which is Go: `localhost` is 127.0.0.1.
        all.sort_by_key(SocketAddr::is_ipv6);
        all
    };
    Ok(all.into_iter().filter(is_of).collect())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("udp://:8094", Transport::Datagram, Family::Any, "", 8094)]
    #[case("tcp4://127.0.0.1:1", Transport::Stream, Family::V4, "127.0.0.1", 1)]
    #[case("udp6://[::1]:0", Transport::Datagram, Family::V6, "::1", 0)]
    #[case(":8086", Transport::Stream, Family::Any, "", 8086)]
    #[case("localhost:8086", Transport::Stream, Family::Any, "localhost", 8086)]
    fn reads_hosts_and_ports(
        #[case] text: &str,
        #[case] transport: Transport,
        #[case] family: Family,
        #[case] host: &str,
        #[case] port: u16,
    ) {
        let expected = Address::Network { transport, family, host: host.to_owned(), port };
        assert_eq!(Address::parse(text).unwrap(), expected);
    }

    #[rstest]
    #[case("", "needs a port")]
    #[case("udp://localhost", "needs a port")]
    #[case("tcp://:99999", "needs a port")]
    #[case("http://:80", "write it as")]
    #[case("unix://", "needs a path")]
    #[case("vsock://1:2", "`vsock` is not listened on")]
    #[case("udp4://239.0.0.1:1%eth0", "needs a port")]
    #[case("udp6://[ff02::1%eth0]:1", "an interface cannot be named")]
    fn says_what_is_wrong(#[case] text: &str, #[case] expected: &str) {
        let error = Address::parse(text).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn paths_and_hosts() {
        let path = Address::parse("unixgram:///run/a.sock").unwrap();
        assert_eq!(path, Address::Unix { transport: Transport::Datagram, path: "/run/a.sock".into() });
        let all = |family| {
            let found = candidates(family, "", 5).unwrap();
            found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        let found = [Family::Any, Family::V4, Family::V6].map(all);
        assert_eq!(found, ["[::]:5 0.0.0.0:5", "0.0.0.0:5", "[::]:5"]);
    }
}
