//! The files of proc(5), each parsed in one place. Pure: the text of a file or line in, figures out.
//!
//! Opens nothing: callers read the file below [`Host::proc`](super::Host::proc), in the way that is cheapest for them. Columns
//! keep their kernel units, and each module says which these are, since which Linux a column is there, and
//! what it means when it is not. A malformed line is `None`: it costs itself, never the lines around it.
//!
//! | file | module | parser |
//! |---|---|---|
//! | `cpuinfo` | [`cpuinfo`] | procfs |
//! | `diskstats` | [`diskstats`] | own: procfs copies the name on every line |
//! | `loadavg` | [`loadavg`] | own: procfs has single precision, which shows in the digits |
//! | `meminfo` | [`meminfo`] | own: procfs refuses the file when a line that it expects is missing |
//! | `net/dev` | [`net_dev`] | own: procfs needs a blank after the colon, and one bad line costs it them all |
//! | `net/netstat`, `net/snmp6` | [`net_ip`] | own: procfs copies every counter there is |
//! | `pressure/*` | [`pressure`] | own: procfs has single precision, and refuses a file without `full` |
//! | `stat` | [`stat`] | own: procfs numbers CPUs by their place in the file, wrong when one is offline |
//! | `vmstat` | [`vmstat`] | own: procfs copies all of its 180 lines, and has signed numbers |
//! | `zoneinfo` | [`zoneinfo`] | own: procfs has none |
//! | `PID/cgroup` | [`pid_cgroup`] | own: procfs refuses the file for one bad line, and copies each |
//! | `PID/mountinfo`, `PID/mounts` | [`pid_mountinfo`] | own: procfs loses the order of options and keeps most escapes |
//! | `PID/stat` | [`pid_stat`] | own: procfs allocates, once for each process of the machine |
//! | `PID/status` | [`pid_status`] | own: procfs needs lines that a sandbox's kernel leaves out |

pub(crate) mod cpuinfo;
pub(crate) mod diskstats;
pub(crate) mod loadavg;
pub(crate) mod meminfo;
pub(crate) mod net_dev;
pub(crate) mod net_ip;
pub(crate) mod pid_cgroup;
pub(crate) mod pid_mountinfo;
pub(crate) mod pid_stat;
pub(crate) mod pid_status;
pub(crate) mod pressure;
pub(crate) mod stat;
pub(crate) mod vmstat;
pub(crate) mod zoneinfo;

/// Clock ticks in a second, the unit in which the kernel exports CPU time: `USER_HZ`, which Linux has fixed at 100 for all
/// architectures that BPF runs on, whatever its own timer's frequency is.
pub(crate) const USER_HZ: u64 = 100;

/// Nanoseconds in a clock tick.
pub(crate) const NS_PER_TICK: u64 = 1_000_000_000 / USER_HZ;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::pressure::Pressure;
    use super::*;
    use crate::allocations::allocations;

    /// Looks at each line of a file of this machine. Returns how many there are, and what was allocated for them.
    fn each_line(path: &str, parse: impl Fn(&str)) -> (usize, u64) {
        let text = fs::read_to_string(path).unwrap_or_default();
        (text.lines().count(), allocations(|| text.lines().for_each(parse)))
    }

    #[test]
    fn a_line_allocates_nothing() {
        fn parsed<T>(value: T) {
            std::hint::black_box(value);
        }
        let files = [
            each_line("/proc/stat", |line| parsed(stat::parse_cpu_line(line))),
            each_line("/proc/stat", |line| {
                if let Some((_, values)) = stat::parse_counters(line) {
                    values.for_each(parsed);
                }
            }),
            each_line("/proc/diskstats", |line| parsed(diskstats::parse_line(line))),
            each_line("/proc/net/dev", |line| parsed(net_dev::parse_line(line))),
            each_line("/proc/self/mountinfo", |line| parsed(pid_mountinfo::parse_line(line.as_bytes()))),
            each_line("/proc/self/stat", |line| parsed(pid_stat::parse(line.as_bytes()))),
            each_line("/proc/self/cgroup", |line| pid_cgroup::lines(line).for_each(parsed)),
            each_line("/proc/loadavg", |line| parsed(loadavg::parse(line))),
            each_line("/proc/pressure/cpu", |line| parsed(Pressure::parse_line(line))),
        ];
        assert!(files.iter().filter(|(lines, _)| *lines > 0).count() >= 7, "{files:?}");
        assert!(files.iter().all(|(_, allocations)| *allocations == 0), "{files:?}");
    }
}
