//! proc(5) `zoneinfo`: the zones of the machine's memory.

/// The low watermarks of all zones together, in pages: below that much free memory, the kernel begins to reclaim.
pub(crate) fn low_watermarks(text: &str) -> u64 {
    let pages = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        words.next().filter(|word| word.starts_with("low"))?;
        words.next()?.parse::<u64>().ok()
    });
    pages.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watermarks_of_all_zones_are_added_up() {
        let text = "Node 0, zone DMA\n  pages free 3\n        min 1\n        low      20\n\nNode 0, zone Normal\n        low 5\n";
        assert_eq!((low_watermarks(text), low_watermarks("")), (25, 0));
    }
}
