//! proc(5) `net/netstat` and `net/snmp6`: what IP itself counted in a network namespace since it was made.
//!
//! Bytes from the IP header on, of every packet that came from or went to an interface, what is forwarded with them; what the
//! card splits or has put together counts as one. `netstat` has pairs of lines, names and values; `snmp6` a line for each.

use serde::{Deserialize, Serialize};

/// Bytes that came in and went out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IpBytes {
    /// Received.
    pub(crate) rx: u64,
    /// Sent.
    pub(crate) tx: u64,
}

/// Both versions of IP together; `None` where neither file has its counters. Without IPv6 `snmp6` is empty.
pub(crate) fn parse(netstat: &str, snmp6: &str) -> Option<IpBytes> {
    let v4 = parse_netstat(netstat);
    let v6 = parse_snmp6(snmp6);
    let (a, b) = (v4.or(v6)?, v4.and(v6).unwrap_or_default());
    Some(IpBytes { rx: a.rx.wrapping_add(b.rx), tx: a.tx.wrapping_add(b.tx) })
}

fn parse_netstat(text: &str) -> Option<IpBytes> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("IpExt:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let value = |name: &str| {
        let at = names.split_ascii_whitespace().position(|other| other == name)?;
        values.split_ascii_whitespace().nth(at)?.parse().ok()
    };
    Some(IpBytes { rx: value("InOctets")?, tx: value("OutOctets")? })
}

fn parse_snmp6(text: &str) -> Option<IpBytes> {
    let value = |name: &str| {
        let of_name = |line: &str| {
            let (other, value) = line.split_once(|c: char| c.is_ascii_whitespace())?;
            (other == name).then(|| value.trim().parse().ok())?
        };
        text.lines().find_map(of_name)
    };
    Some(IpBytes { rx: value("Ip6InOctets")?, tx: value("Ip6OutOctets")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETSTAT: &str = "TcpExt: InOctets OutOctets\nTcpExt: 7 8\n\
                           IpExt: InNoRoutes InOctets OutOctets InMcastOctets\nIpExt: 1 1009 2003 4\n";
    const SNMP6: &str = "Ip6InReceives                   \t11\nIp6InOctets                     \t101\n\
                         Ip6OutOctets                    \t211\nIp6OutMcastOctets               \t5\n";

    #[test]
    fn counters_are_found_by_name() {
        assert_eq!(parse(NETSTAT, SNMP6), Some(IpBytes { rx: 1_110, tx: 2_214 }));
        assert_eq!(parse(NETSTAT, ""), Some(IpBytes { rx: 1_009, tx: 2_003 }));
        assert_eq!(parse("", SNMP6), Some(IpBytes { rx: 101, tx: 211 }));
    }

    #[test]
    fn what_is_not_there_is_none() {
        for text in
            ["", "IpExt: InOctets\nIpExt: 5\n", "IpExt: InOctets OutOctets\nIpExt: 5 x\n", "IpExt: InOctets"]
        {
            assert_eq!(parse(text, "Ip6InOctets\n"), None, "{text}");
        }
    }
}
