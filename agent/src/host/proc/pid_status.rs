//! proc(5) `PID/status`: what a process may do.
//!
//! Not procfs's parser: that one needs lines that the kernels of sandboxes leave out.

/// The effective capabilities, a bit each by its number in capabilities(7); `None` where there is no such line.
pub(crate) fn effective_capabilities(status: &str) -> Option<u64> {
    let bits = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(bits.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_hexadecimal() {
        let status = "CapPrm:\t0000000000000001\nCapEff:\t000001ffffffffff\n";
        assert_eq!(effective_capabilities(status), Some((1 << 41) - 1));
        assert_eq!(
            (effective_capabilities("Name:\tx\n"), effective_capabilities("CapEff:\tall\n")),
            (None, None)
        );
    }
}
