//! The stages that every figure passes on its way, each alone, so that a test can count its instructions.
//!
//! Each does its work on something that is typical and in memory already: no system call, no other stage.

use std::hint::black_box;

use seismograf_ebpf::abi::{CpuRow, Kind};

use crate::host::proc::{diskstats, stat};
use crate::kernel::records::Record;
use crate::ledger::Ledger;
use crate::line_protocol;
use crate::parsers::line_protocol::{Precision, parse};
use crate::point::{Point, Timestamp};

/// A stage.
pub struct Stage {
    /// What it is called.
    pub name: &'static str,
    /// What it takes in, one by one.
    pub of: &'static str,
    /// Takes in so many.
    pub run: fn(u64),
}

/// All of them, in the order of the way.
pub const STAGES: &[Stage] = &[
    Stage { name: "ledger", of: "record of the ring buffer", run: ledger },
    Stage { name: "proc", of: "line of /proc", run: proc },
    Stage { name: "points", of: "point that is made", run: points },
    Stage { name: "encode", of: "point that is encoded", run: encode },
    Stage { name: "parse", of: "line of line protocol", run: lines },
];

/// Rows of CPU time of 64 cgroups.
fn ledger(n: u64) {
    let mut ledger = Ledger::default();
    for i in 0..n {
        let row = CpuRow { kind: Kind::Cpu as u32, cpu: 0, cgroup: i % 64, run_ns: i, switches: 1 };
        // SAFETY: a plain row, without padding.
        let bytes =
            unsafe { std::slice::from_raw_parts(std::ptr::from_ref(&row).cast::<u8>(), size_of::<CpuRow>()) };
        if let Some(record) = Record::decode(black_box(bytes)) {
            ledger.apply(&record);
        }
    }
    black_box(ledger);
}

fn proc(n: u64) {
    for i in 0..n {
        if i % 2 == 0 {
            let line = "cpu0 643143 413929 83659 297676 2161 0 2336420 305249 2368 0";
            black_box(stat::parse_cpu_line(black_box(line)));
        } else {
            let line =
                " 253       0 sda 3910 219 9001560 731933 62139 388 2318231 15060 0 7319 77199 0 0 0 0 9 6";
            black_box(diskstats::parse_line(black_box(line)));
        }
    }
}

/// The point of a container's CPU time.
fn point(i: u64) -> Point {
    let mut point = Point::new("cgroup_cpu", Timestamp(1_700_000_000_000_000_000));
    point.set_tag("host", "node-17");
    point.set_tag("container_name", "app");
    point.set_tag("namespace", "default");
    point.set_tag("pod_name", "app-7d4b9c6f5-x2x7q");
    point.set_field("usage_ns", i);
    point.set_field("context_switches", 4_711_u64);
    point.set_field("usage_percent", 12.5);
    point
}

fn points(n: u64) {
    for i in 0..n {
        black_box(point(i));
    }
}

fn encode(n: u64) {
    let (point, mut out, mut ends) = (point(1), Vec::new(), Vec::new());
    let format = line_protocol::Format::default();
    for _ in 0..n {
        out.clear();
        ends.clear();
        let _ = black_box(format.encode(black_box(&point), &mut out, &mut ends));
    }
}

fn lines(n: u64) {
    let line = "cgroup_cpu,container_name=app,host=node-17,namespace=default usage_ns=1i,context_switches=4711i,usage_percent=12.5 1700000000000000000\n";
    for _ in 0..n {
        for line in parse(black_box(line), Precision::Nanoseconds).flatten() {
            black_box(line.point(Timestamp(0)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_takes_in_what_it_is_given() {
        for Stage { name, run, .. } in STAGES {
            run(2);
            assert!(!name.is_empty());
        }
        let mut out = Vec::new();
        line_protocol::encode(&point(1), &mut out);
        let text = String::from_utf8(out).unwrap();
        let read = parse(&text, Precision::Nanoseconds).next().unwrap().unwrap().point(Timestamp(0));
        assert_eq!((read.tags.len(), read.fields.len()), (4, 3));
    }
}
