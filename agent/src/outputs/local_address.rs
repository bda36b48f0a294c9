//! The address of this host to send from.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};

use crate::options::OptionError;

/// The address to send from: an address or a name, with or without a port.
#[derive(Clone, Debug)]
pub(super) enum LocalAddress {
    /// The system's choice.
    Any,
    Address(SocketAddr),
    /// Looked up when it is needed, which can take long.
    Name(String),
}

impl LocalAddress {
    /// # Errors
    /// It can be neither.
    pub(super) fn new(text: &str) -> Result<Self, OptionError> {
        if text.is_empty() {
            return Ok(Self::Any);
        }
        let address = text.parse().map(|ip: IpAddr| SocketAddr::from((ip, 0))).or_else(|_| text.parse());
        if let Ok(address) = address {
            return Ok(Self::Address(address));
        }
        let host = text.rsplit_once(':').map_or(text, |(host, _)| host);
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        // What ends in a number is a mistyped address.
        let is_number = host.rsplit('.').next().is_none_or(|last| last.bytes().all(|c| c.is_ascii_digit()));
        if is_number || !host.chars().all(is_name) {
            return Err(Self::wrong(text));
        }
        Ok(Self::Name(text.to_owned()))
    }

    fn wrong(text: &str) -> OptionError {
        let what = format!("`{text}` is not an address of this host: write it as 192.0.2.1");
        OptionError::new("local_address", what)
    }

    /// Whether it has to be looked up.
    pub(super) fn is_name(&self) -> bool {
        matches!(self, Self::Name(_))
    }

    /// With its port, which is 0 where none is given; may block.
    ///
    /// # Errors
    /// The name has no address.
    pub(super) fn resolve_socket(&self) -> Result<Option<SocketAddr>, OptionError> {
        let text = match self {
            Self::Any => return Ok(None),
            Self::Address(address) => return Ok(Some(*address)),
            Self::Name(text) => text,
        };
        let found = text.to_socket_addrs().or_else(|_| (text.as_str(), 0).to_socket_addrs());
        let found = found.ok().and_then(|mut all| all.next());
        found.map(Some).ok_or_else(|| Self::wrong(text))
    }

    /// Without its port; may block.
    ///
    /// # Errors
    /// The name has no address.
    pub(super) fn resolve(&self) -> Result<Option<IpAddr>, OptionError> {
        Ok(self.resolve_socket()?.map(|address| address.ip()))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("127.0.0.1", Some("127.0.0.1:0"))]
    #[case("127.0.0.1:9", Some("127.0.0.1:9"))]
    #[case("::1", Some("[::1]:0"))]
    #[case("", None)]
    fn reads_local_addresses(#[case] text: &str, #[case] expected: Option<&str>) {
        let local = LocalAddress::new(text).unwrap();
        let expected = expected.map(|address| address.parse().unwrap());
        assert_eq!((local.is_name(), local.resolve_socket().unwrap()), (false, expected));
    }
}
