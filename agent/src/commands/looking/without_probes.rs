//! Rows where no probe may be loaded, so that a look is not empty: CPU time, memory and throttling from the files of cgroupfs.
//!
//! The kernel's sums have everything below a cgroup in them; what the rows below had is taken off, as the ledger does. What
//! lived shorter than from one look to the next is with the row above it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use crate::host::hierarchies::{HierarchyId, walk};
use crate::identity::path;
use crate::identity::series::{Series, SeriesOptions};
use crate::inputs::Shared;
use crate::point::{Point, Timestamp};

/// The rows, from one look to the next.
#[derive(Debug)]
pub(super) struct WithoutProbes {
    shared: Arc<Shared>,
    began: Instant,
    /// CPU time of each row's cgroup, by path, as last read.
    read: HashMap<String, u64>,
    /// What the rows themselves had since the begin.
    own: BTreeMap<Series, u64>,
}

impl WithoutProbes {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), began: Instant::now(), read: HashMap::new(), own: BTreeMap::new() }
    }

    /// The points of all rows now. Reads files.
    pub(super) fn gather(&mut self) -> Vec<Point> {
        let (time, cgroupfs) = (Timestamp::now(), &self.shared.cgroupfs);
        let hierarchies = cgroupfs.hierarchies();
        let rows = |id: HierarchyId| -> Vec<String> {
            let found = hierarchies.mount(id).map(walk).unwrap_or_default();
            // What is within a container or a unit is a part of it.
            found
                .into_iter()
                .map(|cgroup| cgroup.path)
                .filter(|path| path::parse(path).owner_path() == path)
                .collect()
        };
        let cpu = rows(hierarchies.of_controller("cpuacct"));
        let usage: HashMap<String, u64> = cpu
            .into_iter()
            .filter_map(|path| Some((cgroupfs.cpu_usage_ns(&path)?, path)))
            .map(|(ns, path)| (path, ns))
            .collect();
        for (path, grown) in grown(&self.read, &usage) {
            let series = self.series(path);
            *self.own.entry(series).or_default() += grown;
        }
        let mut points: BTreeMap<(Series, &str), Point> = BTreeMap::new();
        for path in usage.keys() {
            let series = self.series(path);
            let own = self.own.get(&series).copied().unwrap_or(0);
            let point = point(&mut points, &series, "cgroup_cpu", time);
            point.set_field("usage_ns", integer(own));
            if let Some(throttling) = cgroupfs.throttling(path).filter(|throttling| throttling.nr_periods > 0)
            {
                add(point, "nr_periods", throttling.nr_periods);
                add(point, "nr_throttled", throttling.nr_throttled);
            }
        }
        let memory = rows(hierarchies.memory());
        let memory: HashMap<String, (u64, Option<u64>)> = memory
            .into_iter()
            .filter_map(|path| {
                let memory = cgroupfs.memory_now(&path, false)?;
                Some((path, (memory.working_set(), memory.limit)))
            })
            .collect();
        let sets: HashMap<String, u64> =
            memory.iter().map(|(path, (bytes, _))| (path.clone(), *bytes)).collect();
        for (path, bytes) in grown(&HashMap::new(), &sets) {
            let point = point(&mut points, &self.series(path), "cgroup_mem", time);
            add(point, "working_set_bytes", bytes);
            if let Some(limit) = memory[path].1 {
                add(point, "limit_bytes", limit);
            }
        }
        self.read = usage;
        points.into_values().collect()
    }

    fn series(&self, path: &str) -> Series {
        let identity = path::parse(path);
        let named = identity.named(&self.shared.names, self.began);
        Series::of_owner(&identity, &named, SeriesOptions::default())
    }
}

/// What each path's own amount grew by: of the sum at it, less that of the nearest ones below. One that is new began at 0.
fn grown<'a>(before: &HashMap<String, u64>, now: &'a HashMap<String, u64>) -> Vec<(&'a str, u64)> {
    let grown_by = |path: &str, now: u64| now.saturating_sub(before.get(path).copied().unwrap_or(0));
    let mut own: HashMap<&str, i128> =
        now.iter().map(|(path, sum)| (path.as_str(), i128::from(grown_by(path, *sum)))).collect();
    for (path, sum) in now {
        if let Some(above) = path::above(path).find(|above| now.contains_key(*above))
            && let Some(own) = own.get_mut(above)
        {
            *own -= i128::from(grown_by(path, *sum));
        }
    }
    own.into_iter().map(|(path, own)| (path, u64::try_from(own).unwrap_or(0))).collect()
}

/// The point of a row, made if it is not there.
fn point<'a>(
    points: &'a mut BTreeMap<(Series, &'static str), Point>,
    series: &Series,
    measurement: &'static str,
    time: Timestamp,
) -> &'a mut Point {
    points.entry((series.clone(), measurement)).or_insert_with(|| {
        let mut point = Point::new(measurement, time);
        series.add_to(&mut point);
        point
    })
}

/// Adds to a field: a row may be several cgroups.
fn add(point: &mut Point, field: &'static str, amount: u64) {
    let before = point.field_value(field).and_then(|value| match value {
        crate::point::FieldValue::Int(value) => Some(*value),
        _ => None,
    });
    point.set_field(field, before.unwrap_or(0).saturating_add(integer(amount)));
}

fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_is_taken_off() {
        let sums = |sums: &[(&str, u64)]| sums.iter().map(|(path, sum)| ((*path).to_owned(), *sum)).collect();
        let before: HashMap<String, u64> = sums(&[("/", 100), ("/a", 50), ("/a/b", 20)]);
        let now = sums(&[("/", 200), ("/a", 90), ("/a/b", 40), ("/a/c", 5)]);
        let mut own = grown(&before, &now);
        own.sort_unstable();
        assert_eq!(own, [("/", 60), ("/a", 15), ("/a/b", 20), ("/a/c", 5)]);
        // Read one after the other, a part may be ahead of the whole.
        assert_eq!(
            grown(&HashMap::new(), &sums(&[("/", 1), ("/a", 2)])).iter().map(|(_, own)| own).sum::<u64>(),
            2
        );
    }
}
