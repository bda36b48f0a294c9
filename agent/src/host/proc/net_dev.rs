//! proc(5) `net/dev`: the network interfaces of a namespace, and what went through each since it was made.
//!
//! Two lines of headings, then a line for each interface. Not procfs's parser: that one needs a blank after the colon, which
//! kernels before 2.6.36 leave out in front of a long number, and one malformed line costs it all of them.

/// A line: an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InterfaceLine<'a> {
    pub(crate) name: &'a str,
    /// Received.
    pub(crate) rx: InterfaceCounters,
    /// Sent.
    pub(crate) tx: InterfaceCounters,
}

/// One direction of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct InterfaceCounters {
    /// Bytes, with the headers of the link.
    pub(crate) bytes: u64,
    pub(crate) packets: u64,
    pub(crate) errors: u64,
    /// Packets that were dropped, because a queue was full or the protocol unknown.
    pub(crate) dropped: u64,
}

/// A line; `None` when it is malformed, or a heading.
pub(crate) fn parse_line(line: &str) -> Option<InterfaceLine<'_>> {
    /// Columns of a direction between `drop` and the other direction.
    const N_OTHERS: usize = 4;
    // The name of an alias has a colon in it.
    let (name, numbers) = line.rsplit_once(':')?;
    let mut numbers = numbers.split_ascii_whitespace().map(|number| number.parse::<u64>().ok());
    let rx = parse_direction(&mut numbers)?;
    for _ in 0..N_OTHERS {
        numbers.next()??;
    }
    let tx = parse_direction(&mut numbers)?;
    Some(InterfaceLine { name: name.trim(), rx, tx }).filter(|line| !line.name.is_empty())
}

fn parse_direction(numbers: &mut impl Iterator<Item = Option<u64>>) -> Option<InterfaceCounters> {
    let mut next = || numbers.next()?;
    Some(InterfaceCounters { bytes: next()?, packets: next()?, errors: next()?, dropped: next()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_counters_by_their_place() {
        for (line, name) in [
            ("  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16", "eth0"),
            ("eth0:1 2 3 4 5 6 7 8 9 10 11 12", "eth0"),
            (" eth0:1: 1 2 3 4 5 6 7 8 9 10 11 12 13", "eth0:1"),
        ] {
            let rx = InterfaceCounters { bytes: 1, packets: 2, errors: 3, dropped: 4 };
            let tx = InterfaceCounters { bytes: 9, packets: 10, errors: 11, dropped: 12 };
            assert_eq!(parse_line(line), Some(InterfaceLine { name, rx, tx }), "{line}");
        }
    }

    #[test]
    fn headings_and_malformed_lines_are_none() {
        for line in [
            "Inter-|   Receive                            |  Transmit",
            " face |bytes    packets errs drop",
            "eth1 1 2 3",
            "eth1: 1 2 3",
            "eth1: 1 2 3 4 5 6 7 8 9 10 11 x",
            "eth1: 1 2 3 4 x 6 7 8 9 10 11 12",
            ": 1 2 3 4 5 6 7 8 9 10 11 12",
        ] {
            assert_eq!(parse_line(line), None, "{line}");
        }
    }
}
