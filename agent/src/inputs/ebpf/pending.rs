//! Rows that wait for a name.
//!
//! A container can exist for some seconds before the kubelet or docker lists its name. A row without the name would be a
//! series of its own, so it waits, with its own time, for the gather at which the name is known. After [`MAX_WAIT`] it
//! goes out with what is known. Pure.

use std::time::{Duration, Instant};

use super::rows::Row;
use crate::identity::names::Names;
use crate::inputs::Gathered;

/// How long after the agent first saw a cgroup its rows wait. The kubelet lists a new container within a second or two;
/// a daemon that is down for longer should not delay the figures.
const MAX_WAIT: Duration = Duration::from_secs(15);
/// At most this many rows wait, at some 500 bytes each.
const MAX_PENDING: usize = 20_000;

/// The rows that wait.
#[derive(Debug, Default)]
pub(super) struct PendingRows {
    rows: Vec<Row>,
}

/// What naming a row needs besides the row.
#[derive(Clone, Copy)]
pub(super) struct NamingContext<'a> {
    pub(super) names: &'a Names,
    /// The requested ones of the tags with many values.
    pub(super) tag_include: &'a [String],
    pub(super) now: Instant,
    /// Rows may wait for a name: there is a source for it, and another gather.
    pub(super) may_wait: bool,
}

impl PendingRows {
    /// Adds a row with its identity's tags, or keeps it when its name may still come.
    pub(super) fn push(&mut self, naming: NamingContext<'_>, gathered: &mut Gathered, row: Row) {
        let Row { mut point, identity, since } = row;
        let named = identity.named(naming.names, since);
        let is_young = naming.now.duration_since(since) < MAX_WAIT;
        if naming.may_wait && is_young && self.rows.len() < MAX_PENDING && identity.lacks(&named) {
            self.rows.push(Row { point, identity, since });
            return;
        }
        identity.add_tags(&mut point, &named, naming.tag_include);
        gathered.push(point);
    }

    /// Adds the rows of earlier gathers whose name came, or that waited long enough.
    pub(super) fn release(&mut self, naming: NamingContext<'_>, gathered: &mut Gathered) {
        for row in std::mem::take(&mut self.rows) {
            self.push(naming, gathered, row);
        }
        if self.rows.is_empty() {
            self.rows.shrink_to_fit();
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::identity::names::{ContainerName, Source};
    use crate::identity::path;
    use crate::point::{Point, Timestamp};

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    struct Case {
        names: Names,
        pending: PendingRows,
        start: Instant,
    }

    impl Case {
        fn new() -> Self {
            let (names, pending, start) = (Names::default(), PendingRows::default(), Instant::now());
            let mut case = Self { names, pending, start };
            let mut gathered = Gathered::at(Timestamp(7));
            let point = gathered.point("cgroup_cpu").field("usage_ns", 1_i64);
            let identity = Arc::new(path::parse(&format!("/docker/{ID}")));
            let naming = NamingContext { names: &case.names, tag_include: &[], now: start, may_wait: true };
            case.pending.push(naming, &mut gathered, Row { point, identity, since: start });
            assert!(gathered.points.is_empty());
            case
        }

        /// What a gather after some seconds releases.
        fn release(&mut self, seconds: u64, may_wait: bool) -> Vec<Point> {
            let now = self.start + Duration::from_secs(seconds);
            let mut gathered = Gathered::at(Timestamp(99));
            let naming = NamingContext { names: &self.names, tag_include: &[], now, may_wait };
            self.pending.release(naming, &mut gathered);
            gathered.points
        }
    }

    #[test]
    fn a_row_goes_out_under_its_own_time_once_it_has_a_name() {
        let mut case = Case::new();
        assert!(case.release(1, true).is_empty());
        let container = ContainerName { name: "web".into(), image: "bb:1".into() };
        case.names.name_container(Source::Docker, ID, container, case.start);
        let points = case.release(2, true);
        assert_eq!((points.len(), points[0].time), (1, Timestamp(7)));
        assert_eq!(points[0].tag_value("container_name"), Some("web"));
        assert_eq!(case.pending.len(), 0);
    }

    #[test]
    fn a_row_whose_name_does_not_come_goes_out_without() {
        for (seconds, may_wait) in [(15, true), (1, false)] {
            let points = Case::new().release(seconds, may_wait);
            assert_eq!(points.len(), 1);
            assert_eq!(points[0].tag_value("container_name"), None);
            assert_eq!(points[0].tag_value("cgroup"), Some(format!("/docker/{ID}").as_str()));
        }
    }
}
