//! proc(5) `PID/cgroup`, cgroups(7): in which cgroup of each hierarchy a process is.
//!
//! Not procfs's parser: that one copies every line, and one malformed line costs it all of them.

/// A line: the cgroup in one hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CgroupLine<'a> {
    /// The hierarchy's number; 0 is cgroup2.
    pub(crate) hierarchy: u32,
    /// The controllers of a v1 hierarchy, between commas: `cpu,cpuacct`; `name=systemd` for one without. Empty for cgroup2.
    pub(crate) controllers: &'a str,
    /// The cgroup's path below the root of the reader's cgroup namespace; begins with `/..` when it is outside of that.
    pub(crate) path: &'a str,
}

/// The lines that are well formed.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = CgroupLine<'_>> {
    text.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':');
        Some(CgroupLine {
            hierarchy: parts.next()?.parse().ok()?,
            controllers: parts.next()?,
            path: parts.next()?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_may_have_colons() {
        let text = "9:name=systemd:/\n4:cpu,cpuacct:/a:b\nx\n:::\n0::/../c\n";
        let expected = [(9, "name=systemd", "/"), (4, "cpu,cpuacct", "/a:b"), (0, "", "/../c")]
            .map(|(hierarchy, controllers, path)| CgroupLine { hierarchy, controllers, path });
        assert_eq!(lines(text).collect::<Vec<_>>(), expected);
    }
}
