//! Random histories of cgroups, with names that come late and records that are lost: whatever happens, a series has one line
//! at a time, no total goes down, and what was counted is in the rows or in the sum of what is gone.

use std::collections::{BTreeMap, HashMap, HashSet};

use fastrand::Rng;

use super::*;
use crate::host::hierarchies::FoundCgroup;
use crate::identity::names::{ContainerName, Source};

/// How many histories there are, and how long each is.
const HISTORIES: u64 = 3_000;
const STEPS: usize = 40;

/// What the kernel knows: the cgroups of one hierarchy, and those that it has not released yet.
struct Kernel {
    rng: Rng,
    alive: BTreeMap<String, u64>,
    dying: Vec<(String, u64)>,
    next_id: u64,
    /// The share of life-cycle records that the ring has no room for.
    loss: f64,
    lost: bool,
    /// Cgroups are renamed, and take what they have to another series.
    renames: bool,
    /// What it ran so far, in nanoseconds.
    ran_ns: u64,
}

impl Kernel {
    fn path(&mut self) -> String {
        let paths = ["/a", "/b", "/a/x", &format!("/docker/{ID}"), &format!("/docker/{OTHER_ID}")];
        paths[self.rng.usize(..paths.len())].to_owned()
    }

    /// A record, unless it is lost.
    fn tell(&mut self, case: &mut Case, change: CgroupChange, id: u64, path: &str) {
        if self.rng.f64() < self.loss {
            self.lost = true;
        } else {
            case.change(change, CPU, id, path);
        }
    }

    fn step(&mut self, case: &mut Case) {
        let path = self.path();
        match self.rng.u8(..7) {
            0 | 1 if !self.alive.contains_key(&path) => {
                self.next_id += 1;
                self.alive.insert(path.clone(), self.next_id);
                self.tell(case, CgroupChange::Made, self.next_id, &path);
            }
            2 if !self.alive.keys().any(|other| other.starts_with(&format!("{path}/"))) => {
                if let Some(id) = self.alive.remove(&path) {
                    self.tell(case, CgroupChange::Removed, id, &path);
                    self.dying.push((path, id));
                }
            }
            3 if !self.dying.is_empty() => {
                let (path, id) = self.dying.swap_remove(self.rng.usize(..self.dying.len()));
                self.tell(case, CgroupChange::Released, id, &path);
            }
            4 if self.renames => self.rename(case, &path),
            5 => case.names.name_container(
                Source::Docker,
                if self.rng.bool() { ID } else { OTHER_ID },
                ContainerName { name: "web".into(), image: "bb:1".into() },
                case.now,
            ),
            // Also of one that is dying: a CPU writes it back late.
            _ => {
                let dying = self.dying.iter().map(|(_, id)| *id);
                let ids: Vec<u64> = self.alive.values().copied().chain(dying).collect();
                if let Some(id) = self.rng.choice(ids) {
                    let ns = self.rng.u64(1..1_000);
                    self.ran_ns += ns;
                    case.take(cpu(id, ns, 1));
                }
            }
        }
    }

    /// Renames a cgroup that nothing is in, to a path where nothing is. Its record is not lost: until the next walk, a lost one
    /// cannot be told from a removal, and the totals would go on at the old path.
    fn rename(&mut self, case: &mut Case, from: &str) {
        let to = self.path();
        if self.alive.contains_key(&to)
            || self.alive.keys().any(|other| other.starts_with(&format!("{from}/")))
        {
            return;
        }
        if let Some(id) = self.alive.remove(from) {
            self.alive.insert(to.clone(), id);
            case.change(CgroupChange::Renamed, CPU, id, &to);
        }
    }

    /// What a gather does when records were lost.
    fn walked(&mut self, case: &mut Case) {
        if std::mem::take(&mut self.lost) {
            let root = FoundCgroup { id: 1, path: "/".into() };
            let found = self.alive.iter().map(|(path, id)| FoundCgroup { id: *id, path: path.clone() });
            let found: Vec<_> = std::iter::once(root).chain(found).collect();
            case.accounts.walked(CPU, &found, case.now);
        }
    }
}

fn history(seed: u64) {
    let rng = Rng::with_seed(seed);
    let loss = [0.0, 0.1, 0.5, 1.0][(seed % 4) as usize];
    let mut kernel = Kernel {
        rng,
        alive: BTreeMap::new(),
        dying: Vec::new(),
        next_id: 1,
        loss,
        lost: false,
        renames: seed % 8 >= 4,
        ran_ns: 0,
    };
    let mut case = Case::new(&[on(Probe::Cpu)]);
    case.change(CgroupChange::Made, CPU, 1, "/");
    if seed.is_multiple_of(3) {
        case.names.add_source();
    }
    // Where every cgroup has a name or a path that lasts, and every record arrives, nothing gets lost.
    let is_whole = loss == 0.0 && seed.is_multiple_of(5);
    if is_whole {
        for (id, name) in [(ID, "a"), (OTHER_ID, "b")] {
            case.names.name_container(
                Source::Kubelet,
                id,
                ContainerName { name: name.into(), image: String::new() },
                case.now,
            );
        }
    }
    let (mut seen, mut before) = (HashSet::new(), HashMap::new());
    for _ in 0..STEPS {
        kernel.step(&mut case);
        if kernel.rng.u8(..4) > 0 {
            continue;
        }
        kernel.walked(&mut case);
        (case.time, case.now) = (Timestamp(case.time.0 + 1), case.now + Duration::from_secs(10));
        let lines = case.gather();
        let mut in_rows = 0;
        for line in lines.iter().filter(|line| line.starts_with("cgroup_cpu,")) {
            let (series, rest) = line.split_once(' ').unwrap();
            let time = rest.rsplit_once(' ').unwrap().1;
            assert!(seen.insert((series.to_owned(), time.to_owned())), "seed {seed}: twice: {line}");
            let ns: u64 = rest.strip_prefix("usage_ns=").unwrap().split('i').next().unwrap().parse().unwrap();
            in_rows += ns;
            // That of an id has what one instance had, and here ids come again.
            let last = before.insert(series.to_owned(), ns).unwrap_or(0);
            let may_go_down =
                kernel.renames || series.contains("container_id=") || series.contains("/docker/");
            assert!(may_go_down || ns >= last, "seed {seed}: {series}: {last} -> {ns}");
        }
        assert!(in_rows <= kernel.ran_ns, "seed {seed}: {in_rows} of {}", kernel.ran_ns);
        case.accounts.start_interval(&case.waiting);
        case.accounts.forget(case.now, &case.naming, &case.waiting);
        let ended = case.accounts.ended.iter().filter_map(|(_, amounts)| Some(amounts.cpu?.usage_ns));
        let rows = case.accounts.ledger.cpu.rows().map(|(_, totals)| totals.usage_ns);
        let kept = ended.chain(rows).sum::<u64>();
        assert!(if is_whole { kept == kernel.ran_ns } else { kept <= kernel.ran_ns }, "seed {seed}: {kept}");
        assert_eq!(case.accounts.ledger.cpu.sum().usage_ns, kernel.ran_ns, "seed {seed}");
    }
}

#[test]
fn a_series_has_one_line_at_a_time_whatever_happens() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let all = 0..number("SEISMOGRAF_HISTORIES").unwrap_or(HISTORIES);
    let seeds = number("SEISMOGRAF_SEED").map_or(all, |seed: u64| seed..seed + 1);
    println!("seeds {seeds:?}; SEISMOGRAF_HISTORIES is how many, SEISMOGRAF_SEED runs one of them");
    seeds.for_each(history);
}
