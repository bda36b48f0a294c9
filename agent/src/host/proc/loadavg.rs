//! proc(5) `loadavg`: how many tasks ran, were ready to run, or slept uninterruptibly, on average.
//!
//! Not procfs's parser: that one has single precision, which shows in the digits.

/// The averages over 1, 5 and 15 minutes; `None` when they are malformed.
pub(crate) fn parse(text: &str) -> Option<[f64; 3]> {
    let mut columns = text.split_ascii_whitespace().map(str::parse::<f64>);
    Some([columns.next()?.ok()?, columns.next()?.ok()?, columns.next()?.ok()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_averages_and_whatever_follows() {
        assert_eq!(parse("0.10 2 3.5 1/2 3\n"), Some([0.1, 2.0, 3.5]));
        for text in ["", "much\n", "0.1 0.2\n", "0.1 x 0.2\n"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
