//! proc(5) `stat`: time of the machine and each of its CPUs, and counters of the kernel, since boot.
//!
//! The lines of the CPUs come first: `cpu` is all together, `cpu0` and so on each that is online. Not procfs's parser: that
//! one numbers the CPUs by their place in the file, which is wrong when one is offline, and one malformed line costs it all of
//! them.

use super::NS_PER_TICK;

/// Times of a CPU, in ticks of [`USER_HZ`](super::USER_HZ).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuTicks {
    /// User mode, with what ran as a guest.
    pub(crate) user: u64,
    /// The same of tasks with a lowered priority.
    pub(crate) nice: u64,
    pub(crate) system: u64,
    pub(crate) idle: u64,
    /// Idle while a task of this CPU waited for a disk.
    pub(crate) iowait: u64,
    /// Hardware interrupts.
    pub(crate) irq: u64,
    pub(crate) softirq: u64,
    /// Taken by the hypervisor; 0 before Linux 2.6.11.
    pub(crate) steal: u64,
    /// Of the user time, in guests; 0 before Linux 2.6.24.
    pub(crate) guest: u64,
    /// Of the nice time, in guests; 0 before Linux 2.6.33.
    pub(crate) guest_nice: u64,
}

impl CpuTicks {
    /// User, nice and system time in nanoseconds: what tasks ran, by the tick.
    pub(crate) fn tasks_ns(&self) -> u64 {
        in_ns([self.user, self.nice, self.system])
    }

    /// Time that has passed, idle or not, in nanoseconds, as docker adds it up: without what was stolen.
    pub(crate) fn total_ns(&self) -> u64 {
        in_ns([self.user, self.nice, self.system, self.idle, self.iowait, self.irq, self.softirq])
    }
}

fn in_ns<const N: usize>(ticks: [u64; N]) -> u64 {
    ticks.into_iter().fold(0, u64::saturating_add).saturating_mul(NS_PER_TICK)
}

/// The lines of the CPUs, that of the machine first.
pub(crate) fn cpu_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().take_while(|line| line.starts_with("cpu"))
}

/// How many CPUs have a line.
pub(crate) fn n_cpus(text: &str) -> usize {
    let is_cpu = |line: &&str| line["cpu".len()..].starts_with(|c: char| c.is_ascii_digit());
    cpu_lines(text).filter(is_cpu).count()
}

/// The line of a CPU, or of the machine: its name and times. `None` when it is malformed, or has not the seven columns that
/// every kernel since 2.6 writes.
pub(crate) fn parse_cpu_line(line: &str) -> Option<(&str, CpuTicks)> {
    let mut columns = line.split_ascii_whitespace();
    let name = columns.next()?;
    let mut next = || columns.next().map(|column| column.parse::<u64>().ok());
    let mut ticks = CpuTicks {
        user: next()??,
        nice: next()??,
        system: next()??,
        idle: next()??,
        iowait: next()??,
        irq: next()??,
        softirq: next()??,
        ..CpuTicks::default()
    };
    for newer in [&mut ticks.steal, &mut ticks.guest, &mut ticks.guest_nice] {
        let Some(column) = next() else { break };
        *newer = column?;
    }
    Some((name, ticks))
}

/// The times of the machine, of the first line.
pub(crate) fn machine(text: &str) -> Option<CpuTicks> {
    parse_cpu_line(text.lines().next()?).filter(|(name, _)| *name == "cpu").map(|(_, ticks)| ticks)
}

/// A line that is one counter or several: its name and its numbers, `None` for what is no number.
pub(crate) fn parse_counters(line: &str) -> Option<(&str, impl Iterator<Item = Option<i64>>)> {
    let mut words = line.split_ascii_whitespace();
    Some((words.next()?, words.map(|word| word.parse().ok())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_has_seven_columns_or_more() {
        let ticks = CpuTicks {
            user: 1,
            nice: 2,
            system: 3,
            idle: 4,
            iowait: 5,
            irq: 6,
            softirq: 7,
            ..CpuTicks::default()
        };
        let newer = CpuTicks { steal: 8, guest: 9, guest_nice: 10, ..ticks };
        for (line, expected) in [
            ("cpu3 1 2 3 4 5 6 7", Some(ticks)),
            ("cpu3 1 2 3 4 5 6 7 8", Some(CpuTicks { steal: 8, ..ticks })),
            ("cpu3 1 2 3 4 5 6 7 8 9 10", Some(newer)),
            ("cpu3  1 2 3 4 5 6 7 8 9 10 eleven", Some(newer)),
            ("cpu3 1 2 3 4 5 6", None),
            ("cpu3 1 2 3 4 5 6 7 x", None),
            ("cpu3 -1 2 3 4 5 6 7", None),
            ("", None),
        ] {
            assert_eq!(parse_cpu_line(line), expected.map(|ticks| ("cpu3", ticks)), "{line}");
        }
    }

    #[test]
    fn the_machine_is_the_first_line() {
        let text = "cpu  1 2 3 4 5 6 7 8\ncpu0 9 9 9 9 9 9 9\ncpu2 1\ncpus 1\nintr 5 6\ncpu9 1\n";
        let machine_ticks = machine(text).unwrap();
        assert_eq!((machine_ticks.tasks_ns(), machine_ticks.total_ns()), (6 * NS_PER_TICK, 28 * NS_PER_TICK));
        assert_eq!(n_cpus(text), 2);
        for text in ["", "intr 5\n", "cpu0 1 2 3 4 5 6 7\n", "cpu  1 2\n"] {
            assert_eq!(machine(text), None, "{text}");
        }
    }

    #[test]
    fn other_lines_are_counters() {
        let (name, numbers) = parse_counters("intr 1472 0 x").unwrap();
        assert_eq!((name, numbers.collect::<Vec<_>>()), ("intr", vec![Some(1472), Some(0), None]));
        assert!(parse_counters("").is_none());
    }
}
