//! One target for each parser of bytes that others write: what the fuzzers call, and the tests with fewer inputs.
//!
//! Compiled for tests and for `cargo xtask fuzz` alone. A target panics when the parser does, reads past its input, or breaks
//! what it promises.

use crate::config::env::Environment;
use crate::config::file::load;
use crate::config::reading::{Depth, Reading, Source};
use crate::host::Host;
use crate::host::hierarchies::Hierarchies;
use crate::host::proc::{
    cpuinfo, diskstats, loadavg, meminfo, net_dev, pid_cgroup, pid_stat, pid_status, pressure, stat, vmstat,
    zoneinfo,
};
use crate::identity::path::{invariants, parse_record};
use crate::identity::{docker, kubelet};
use crate::kernel::btf::Btf;
use crate::kernel::records::Record;
use crate::options::duration;
use crate::parsers::exposition::{self, Format};
use crate::parsers::line_protocol::{self, Precision};
use crate::point::Timestamp;
use crate::{host, inputs, outputs};

/// A parser.
pub struct Target {
    /// What it is called at the command line.
    pub name: &'static str,
    /// Inputs to begin with.
    pub seeds: &'static [&'static [u8]],
    /// Parses any bytes.
    pub run: fn(&[u8]),
}

/// All of them, by name.
pub const TARGETS: &[Target] = &[
    target("btf", &[include_bytes!("../testdata/fuzz/btf")], btf),
    target("cgroup_files", &[b"usage_usec 5\nuser_usec 3\n", b"8:0 rbytes=1 wios=4\n", b"8:0 Read 4096\nTotal 4096\n"], |bytes| host::cgroupfs::parse_any(&text(bytes))),
    target("cgroup_input", &[b"a 1\nb 2\n", b"max\n", b"1 2 3\n"], |bytes| inputs::cgroup::parse_any(&text(bytes))),
    target("cgroup_path", &[b"/system.slice/docker-{A}.scope", b"/kubepods/besteffort/pod{U}/{A}"], cgroup_path),
    target("config", &[b"[[inputs.cpu]]\n  percpu = true\n[[outputs.file]]\n  files = [\"$X\"]\n"], config),
    target("docker", &[b"[{\"Id\":\"a\",\"Names\":[\"/b\"],\"Labels\":{\"c\":\"d\"}}]", b"{\"status\":\"start\",\"id\":\"a\",\"Type\":\"container\"}\n"], docker::parse_any),
    target("durations", &[b"1h2m3.5s", b"-10ms", b"16MiB"], durations),
    target("exposition", &[b"# TYPE a counter\na_total{b=\"c\"} 1 2\n# EOF\n"], exposition),
    target("http", &[b"\0POST /write?db=a&precision=ms HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\ncpu f=1 7", b"\x05POST /api/v2/write?bucket=a/b HTTP/1.1\r\nAuthorization: Token secret\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na f=\r\n3\r\n1 7\r\n0\r\n\r\n", b"\x02GET /query?q=SHOW+DATABASES&u=me&p=secret HTTP/1.1\r\n\r\nHEAD /ping HTTP/1.1\r\n\r\n"], inputs::listener::http::fuzz::serve_any),
    target("influxdb_answer", &[b"{\"error\":\"partial write: field type conflict dropped=3\"}", b"{\"code\":\"invalid\",\"message\":\"unable to parse 'a': line 2\"}"], |bytes| outputs::answer::parse_any(&text(bytes))),
    target("kubelet_pods", &[b"{\"items\":[{\"metadata\":{\"uid\":\"u\",\"name\":\"n\"},\"status\":{\"containerStatuses\":[{\"name\":\"c\",\"containerID\":\"docker://a\"}]}}]}"], |bytes| drop(kubelet::pods::parse(bytes))),
    target("kubelet_summary", &[b"{\"node\":{\"nodeName\":\"n\",\"cpu\":{\"usageNanoCores\":1}},\"pods\":[{\"podRef\":{\"name\":\"a\"}}]}"], |bytes| drop(kubelet::summary::parse(bytes))),
    target("line_protocol", &[b"cpu,host=a usage=1i,b=\"c\" 7\n"], line_protocol),
    target("mountinfo", &[b"28 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n29 28 0:3 / /a\\040b rw - nfs s:/x rw\n"], mountinfo),
    target("pod_targets", &[b"http://10.0.0.1:9102/metrics?a=b", b"env=prod,tier in (web, db),!canary"], |bytes| inputs::prometheus::parse_any(&text(bytes))),
    target("proc_machine", &[b"cpu  1 2 3 4 5 6 7 8 9 10\nintr 5\n", b"MemTotal:  5 kB\n", b"some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n", b"   8       0 sda 1 2 3 4 5 6 7 8 9 10 11\n", b"  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n", b"processor\t: 0\ncore id\t\t: 5\n\n"], proc_machine),
    target("proc_process", &[b"1 (a b) S 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0", b"CapEff:\t000001ffffffffff\n", b"4:memory:/a\n0::/b\n"], proc_process),
    target("records", &[&[0; 64], &[1; 96]], records),
    target("spool_record", &[b"\x01\x01\0\0\0\0\0\0\0\0\0\0\0\x08\0\0\0m f=1 7\n"], outputs::spooler::parse_any),
    target("spool_segment", &[b"SGspool1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0SGr1"], crate::spool::parse_any),
    target("udev", &[b"S:disk/by-id/x\nE:ID_FS_TYPE=ext4\n"], |bytes| inputs::diskio::parse_any(&text(bytes))),
];

const fn target(name: &'static str, seeds: &'static [&'static [u8]], run: fn(&[u8])) -> Target {
    Target { name, seeds, run }
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// Any bytes as a kernel's types.
fn btf(bytes: &[u8]) {
    if let Ok(btf) = Btf::parse(bytes) {
        let _ = (btf.offset("task_struct", "se.sum_exec_runtime"), btf.enumerator("a"));
    }
}

/// `{A}` and the like stand for ids, as in `testdata/cgroup-paths.txt`: a mutation seldom makes 64 digits.
fn cgroup_path(bytes: &[u8]) {
    invariants::check(&invariants::fill(&text(bytes)));
    let _ = parse_record(bytes);
}

/// What is wrong with a configuration has a line of it.
fn config(bytes: &[u8]) {
    let text = text(bytes).into_owned();
    let n_lines = text.lines().count();
    let source = Source { path: "telegraf.conf".into(), text };
    let lookup = |name: &str| name.len().is_multiple_of(2).then(|| "10s".to_owned());
    let environment = Environment::strict(&lookup);
    let reading = Reading { depth: Depth::Elsewhere, ..Reading::of_text(environment, "host") };
    if let Err(problems) = load(&[source], &reading) {
        assert!(!problems.all.is_empty());
        for (place, _) in &problems.all {
            assert!(place.line <= n_lines + 1, "{place}");
        }
    }
}

fn durations(bytes: &[u8]) {
    let text = text(bytes);
    let _ = (duration::parse(&text), duration::parse_go(&text));
}

/// Each line gives one sample or one error with its number, and no more.
fn exposition(bytes: &[u8]) {
    let text = text(bytes);
    let n_lines = text.split('\n').count();
    for format in [Format::Text, Format::OpenMetrics] {
        let mut n = 0;
        for sample in exposition::parse(&text, format) {
            n += 1;
            match sample {
                Ok(sample) => {
                    let mut names: Vec<_> = sample.labels.iter().map(|(name, _)| name).collect();
                    names.sort();
                    assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
                }
                Err(error) => assert!((1..=n_lines).contains(&error.number), "{error}"),
            }
        }
        // OpenMetrics has one more for a page without an end.
        assert!(n <= n_lines + 1);
    }
}

/// What is taken makes a point, what is refused is told with its number and its text.
fn line_protocol(bytes: &[u8]) {
    let text = text(bytes);
    let n_lines = text.split('\n').count();
    for line in line_protocol::parse(&text, Precision::Milliseconds) {
        match line {
            Ok(line) => {
                assert!((1..=n_lines).contains(&line.number) && text.contains(line.text));
                let n_fields = line.fields().count();
                assert!(n_fields > 0);
                let point = line.point(Timestamp(7));
                assert!((1..=n_fields).contains(&point.fields.len()));
                assert_eq!(point.tags.len(), line.tags().count());
            }
            Err(error) => {
                assert!((1..=n_lines).contains(&error.number) && text.contains(error.text));
                assert!(error.to_string().starts_with("unable to parse '"));
            }
        }
    }
}

fn mountinfo(bytes: &[u8]) {
    inputs::disk::parse_any(bytes, &Host::default());
    let text = text(bytes);
    let _ = Hierarchies::parse(&text, &text);
}

fn proc_machine(bytes: &[u8]) {
    let text = text(bytes);
    let _ = (stat::machine(&text), stat::n_cpus(&text), cpuinfo::n_cpus(&text), cpuinfo::n_cores(&text));
    let _ = (
        cpuinfo::places(&text),
        vmstat::swapped(&text),
        zoneinfo::low_watermarks(&text),
        loadavg::parse(&text),
    );
    let _ = (meminfo::Meminfo::parse(&text, |_| true), pressure::Pressure::parse(&text));
    for line in text.lines() {
        let counters = stat::parse_counters(line).map(|(_, counters)| counters.count());
        let _ =
            (counters, stat::parse_cpu_line(line), diskstats::parse_line(line), net_dev::parse_line(line));
    }
}

fn proc_process(bytes: &[u8]) {
    let text = text(bytes);
    let _ =
        (pid_stat::parse(bytes), pid_status::effective_capabilities(&text), pid_cgroup::lines(&text).count());
}

/// No record is read past, which the address sanitizer sees.
fn records(bytes: &[u8]) {
    if let Some(Record::Cgroup { path, .. }) = Record::decode(bytes) {
        assert!(path.len() < bytes.len());
    }
}

/// The target that a fuzzer was started for, by the variable `SEISMOGRAF_FUZZ_TARGET`; the names of all are the message where
/// there is none of that name.
///
/// # Errors
/// There is no such target.
pub fn chosen() -> Result<&'static Target, String> {
    let name = std::env::var("SEISMOGRAF_FUZZ_TARGET").unwrap_or_default();
    let names = || TARGETS.iter().map(|target| target.name).collect::<Vec<_>>().join(", ");
    let found = TARGETS.iter().find(|target| target.name == name);
    found.ok_or_else(|| format!("there is no target `{name}`: it is one of {}", names()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many for each target, from a seed that does not change: the fuzzers have the time for more.
    const N_INPUTS: usize = 2_000;

    /// The bytes with a few changes, as a fuzzer makes them.
    fn mutated(seed: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..random.usize(1..8) {
            let at = random.usize(..=bytes.len());
            let until = (at + random.usize(..8)).min(bytes.len());
            match random.u8(..4) {
                0 => bytes.insert(at, random.u8(..)),
                1 => drop(bytes.drain(at..until)),
                2 => bytes.extend_from_within(at..until),
                _ if at < bytes.len() => bytes[at] ^= 1 << random.u8(..8),
                _ => bytes.push(b" \n,={}[]\"\\:0"[random.usize(..12)]),
            }
        }
        bytes
    }

    #[test]
    fn no_target_breaks() {
        for target in TARGETS {
            let mut random = fastrand::Rng::with_seed(7);
            assert!(!target.seeds.is_empty(), "{}", target.name);
            for seed in target.seeds.iter().cycle().take(N_INPUTS) {
                (target.run)(&mutated(seed, &mut random));
            }
        }
        assert!(TARGETS.is_sorted_by_key(|target| target.name));
    }

    #[test]
    fn a_target_is_chosen_by_its_name_alone() {
        // Nothing sets the variable here.
        let error = chosen().err().unwrap();
        assert!(error.starts_with("there is no target ``: it is one of btf, cgroup_files, "), "{error}");
    }
}
