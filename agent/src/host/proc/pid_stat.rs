//! proc(5) `PID/stat`: the state of a process.
//!
//! Not procfs's parser: that one copies name and line, and this is done for each process of the machine at every gather.

/// The state's letter and the number of threads, the third and the 20th column; `None` when they are malformed.
///
/// Counted from the name's end: the name may contain anything, blanks and brackets too.
pub(crate) fn parse(stat: &[u8]) -> Option<(u8, i64)> {
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let mut columns = stat[name_end + 1..].split(|byte| *byte == b' ').filter(|column| !column.is_empty());
    let state = *columns.next()?.first()?;
    let threads = std::str::from_utf8(columns.nth(16)?).ok()?.parse().ok()?;
    Some((state, threads))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_contain_anything() {
        let rest = "1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0";
        for name in ["a", "a b", "a) R 1", "", "\u{e4}"] {
            let stat = format!("7 ({name}) S {rest} 12 0 100 1000000\n");
            assert_eq!(parse(stat.as_bytes()), Some((b'S', 12)), "{stat}");
        }
        for stat in ["", "1 (x", "1 (x)", "1 (x) S", &format!("1 (x) S {rest} many 0\n")] {
            assert_eq!(parse(stat.as_bytes()), None, "{stat}");
        }
    }
}
