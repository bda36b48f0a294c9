//! Networks in CIDR notation. Pure.

use std::net::IpAddr;
use std::str::FromStr;

/// A range of addresses: `192.168.0.0/24`, `fd00::/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    first: IpAddr,
    bits: u32,
}

impl Network {
    /// Whether an address is in it.
    pub(super) fn has(self, ip: IpAddr) -> bool {
        let high = |value: u128, width: u32| value.checked_shr(width - self.bits).unwrap_or(0);
        match (self.first, ip.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(ip)) => {
                high(u32::from(first).into(), 32) == high(u32::from(ip).into(), 32)
            }
            (IpAddr::V6(first), IpAddr::V6(ip)) => high(first.into(), 128) == high(ip.into(), 128),
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no range of addresses: write it as 192.168.0.0/24 or fd00::/8");
        let (first, bits) = text.split_once('/').ok_or_else(wrong)?;
        let first: IpAddr = first.parse().map_err(|_| wrong())?;
        let most = if first.is_ipv4() { 32 } else { 128 };
        let bits = bits.parse().ok().filter(|bits| *bits <= most).ok_or_else(wrong)?;
        Ok(Self { first, bits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_it_or_not() {
        for (network, ip, expected) in [
            ("192.168.0.0/24", "192.168.0.255", true),
            ("192.168.0.0/24", "192.168.1.0", false),
            ("192.168.0.7/24", "192.168.0.1", true),
            ("192.168.0.0/24", "::ffff:192.168.0.1", true),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "::1", true),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fe00::1", false),
            ("10.0.0.1/32", "10.0.0.1", true),
            ("10.0.0.1/32", "10.0.0.0", false),
        ] {
            let found = network.parse::<Network>().unwrap().has(ip.parse().unwrap());
            assert_eq!(found, expected, "{ip} in {network}");
        }
        for text in ["", "10.0.0.1", "10.0.0.0/33", "10.0.0/8", "a/8", "::/129", "10.0.0.0/-1"] {
            assert!(text.parse::<Network>().unwrap_err().contains("is no range"), "{text}");
        }
    }
}
