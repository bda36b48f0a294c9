//! proc(5) `meminfo`: the machine's memory, a figure a line.
//!
//! Which lines there are depends on the kernel and its configuration. Not procfs's parser: that one refuses the file when a
//! line is missing that it expects, and copies each of them.

use std::collections::HashMap;

/// Lines by their names, in the unit of the file: kB, or pages for the `HugePages_*`.
pub(crate) struct Meminfo<'a>(HashMap<&'a str, u64>);

impl<'a> Meminfo<'a> {
    /// Takes the lines whose names `is_wanted`, and `MemTotal` must be one of them; the others may say anything.
    ///
    /// # Errors
    /// What is wrong: the first of these lines that has no number, or that there is no `MemTotal`.
    pub(crate) fn parse(text: &'a str, is_wanted: impl Fn(&str) -> bool) -> Result<Self, String> {
        let lines = text.lines().filter_map(|line| Some((line, line.split_once(':')?)));
        let lines = lines
            .map(|(line, (name, value))| (line, name.trim(), value))
            .filter(|(_, name, _)| is_wanted(name));
        let lines = lines.map(|(line, name, value)| {
            let value = value.split_ascii_whitespace().next().and_then(|value| value.parse().ok());
            value.map(|value| (name, value)).ok_or_else(|| line.to_owned())
        });
        let lines = lines.collect::<Result<HashMap<_, _>, _>>()?;
        if lines.get("MemTotal").is_none_or(|total| *total == 0) {
            return Err("no MemTotal".to_owned());
        }
        Ok(Self(lines))
    }

    /// A line; `None` where the kernel does not have it.
    pub(crate) fn get(&self, name: &str) -> Option<u64> {
        self.0.get(name).copied()
    }

    /// A line of kB in bytes; 0 where the kernel does not have it.
    pub(crate) fn bytes(&self, name: &str) -> u64 {
        bytes(self.get(name).unwrap_or_default())
    }
}

/// Bytes. `kB` in this file means 1,024 of them.
pub(crate) fn bytes(kib: u64) -> u64 {
    kib.saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_wanted_lines_count() {
        let text = "MemTotal: 100 kB\nNew: a b\nHugePages_Total: 3\nnothing\n";
        let meminfo = Meminfo::parse(text, |name| name != "New").ok().unwrap();
        assert_eq!((meminfo.get("MemTotal"), meminfo.bytes("MemTotal")), (Some(100), 102_400));
        assert_eq!(
            (meminfo.get("HugePages_Total"), meminfo.get("New"), meminfo.bytes("New")),
            (Some(3), None, 0)
        );
        assert_eq!(Meminfo::parse(text, |_| true).err().as_deref(), Some("New: a b"));
        assert_eq!(bytes(u64::MAX), u64::MAX);
    }
}
