//! Block I/O of cgroups on a disk of the tests' own, against known work and `/proc/diskstats`.

use std::collections::HashMap;
use std::time::Duration;

use libtest_mimic::Trial;
use seismograf_tests::agent::{Agent, Point};
use seismograf_tests::cgroup::Cgroup;
use seismograf_tests::disk::LoopDisk;
use seismograf_tests::suite::Outcome;
use seismograf_tests::tracefs::{Event, Trace};
use seismograf_tests::work::Worker;
use seismograf_tests::{needs, oracle, run, trial, wait_for_some};

/// A figure may be this much too low where the kernel runs no tracing program at a completion, besides what the agent says was left
/// out.
const LOW: f64 = 0.001;
/// The share of calls that may be left out, since a completion came while the program was at work on that CPU.
const LEFT_OUT: f64 = 0.01;

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("blkio::direct_of_two_cgroups", direct_of_two_cgroups),
        trial("blkio::buffered_with_fsync", buffered_with_fsync),
        trial("blkio::quantiles_are_those_of_the_samples", quantiles_are_those_of_the_samples),
    ]
}

fn point(agent: &Agent, path: &str, disk: &LoopDisk) -> Option<Point> {
    agent.point("cgroup_blkio", &[("cgroup", path), ("device", disk.name())])
}

/// The agent's own balance of the disk.
fn balance(agent: &Agent, disk: &LoopDisk) -> Option<Point> {
    agent.point("seismograf", &[("part", "blkio"), ("device", disk.name())])
}

/// The calls that the kernel left out, by the agent's account, of the probes while so many operations ended.
fn left_out(agent: &Agent, ops: u64) -> i64 {
    let calls = agent.part("ring").int("missed_runs");
    println!("blkio: {calls} calls were left out, {ops} operations");
    assert!(calls as f64 <= ops as f64 * LEFT_OUT, "{calls} calls of {ops} were left out");
    calls
}

/// Never too high, and at most a thousandth and what was left out too low.
fn check(what: &str, ours: i64, truth: u64, left_out: i64) {
    let low = (truth as f64 * (1.0 - LOW)).floor() as i64 - left_out;
    println!("blkio: {what}: {ours} of {truth}");
    assert!(ours <= truth.cast_signed() && ours >= low, "{what}: {ours} and not {truth}");
}

fn check_balance(agent: &Agent, disk: &LoopDisk, before: oracle::Disk, balance_before: Option<Point>) {
    let now = oracle::disk(disk.name());
    let balance = balance(agent, disk).expect("a balance of the disk");
    let change =
        |field: &str| balance.int(field) - balance_before.as_ref().map_or(0, |point| point.int(field));
    let (ops, bytes) = (now.ops() - before.ops(), now.bytes() - before.bytes());
    let overflow = agent.part("blkio");
    println!(
        "blkio: {}: rows {} + overflow {} + unseen {} = {} operations, diskstats {ops}; rows {} + unseen {} = {} bytes, diskstats {bytes}",
        disk.name(),
        change("rows_ops"),
        overflow.int("overflow_ops"),
        change("unseen_ops"),
        change("machine_ops"),
        change("rows_bytes"),
        change("unseen_bytes"),
        change("machine_bytes"),
    );
    assert_eq!(change("machine_ops"), ops.cast_signed());
    assert_eq!(change("machine_bytes"), bytes.cast_signed());
    assert_eq!(change("rows_ops") + overflow.int("overflow_ops") + change("unseen_ops"), ops.cast_signed());
    assert_eq!(
        change("rows_bytes") + overflow.int("overflow_bytes") + change("unseen_bytes"),
        bytes.cast_signed()
    );
    for unit in ["ops", "bytes"] {
        let of = |side: &str| overflow.int(&format!("{side}_{unit}"));
        assert_eq!(of("rows") + of("overflow") + of("unseen"), of("machine"), "{unit} of all disks");
    }
    let allowed = (ops as f64 * LOW).ceil() as i64 + left_out(agent, ops);
    assert!((0..=allowed).contains(&change("unseen_ops")), "unseen operations: {}", change("unseen_ops"));
}

const PROGRAMS: &[&str] = &["losetup", "mkfs.ext4", "mount", "truncate", "dd"];

fn direct_of_two_cgroups() -> Outcome {
    const BLOCK: u64 = 16 << 10;
    const N: u64 = 8_000;
    needs(PROGRAMS)?;
    let disk = LoopDisk::new();
    let files = [disk.file("read", 64), disk.file("write", 64)];
    run("sync", &[]);
    let agent = Agent::start("probes = [\"blkio\"]", 500)?;
    agent.next_gather();
    let (before, balance_before) = (oracle::disk(disk.name()), balance(&agent, &disk));
    let (reader, writer) = (Cgroup::new("reader"), Cgroup::new("writer"));
    let (block, n) = (BLOCK.to_string(), N.to_string());
    let mut workers = [
        Worker::start(&reader, "", &["read", &files[0], &block, &n]),
        Worker::start(&writer, "", &["write", &files[1], &block, &n]),
    ];
    workers.iter_mut().for_each(Worker::go);
    workers.into_iter().for_each(|worker| assert_eq!(worker.finish(), N * BLOCK));
    agent.next_gather();
    let read = point(&agent, &reader.path(), &disk).expect("a row of the reader");
    let written = point(&agent, &writer.path(), &disk).expect("a row of the writer");
    let left_out = left_out(&agent, 2 * N);
    for (whose, ops, bytes) in [
        ("reader", read.int("reads"), read.int("read_bytes")),
        ("writer", written.int("writes"), written.int("write_bytes")),
    ] {
        check(&format!("{whose}'s operations"), ops, N, left_out);
        check(&format!("{whose}'s bytes"), bytes, N * BLOCK, left_out * BLOCK.cast_signed());
    }
    assert_eq!((read.int("write_bytes"), written.int("read_bytes")), (0, 0));
    assert!(read.int("read_time_ns") > 0 && written.int("write_time_ns") > 0);
    check_balance(&agent, &disk, before, balance_before);
    Ok(())
}

fn buffered_with_fsync() -> Outcome {
    const BLOCK: u64 = 4 << 10;
    const N: u64 = 2_000;
    const WRITES_A_FLUSH: u64 = 10;
    needs(PROGRAMS)?;
    let disk = LoopDisk::new();
    let file = disk.file("buffered", 16);
    run("sync", &[]);
    let agent = Agent::start("probes = [\"blkio\"]", 500)?;
    agent.next_gather();
    let (before, balance_before) = (oracle::disk(disk.name()), balance(&agent, &disk));
    let writer = Cgroup::new("buffered");
    writer.count_written_bytes(&disk.numbers());
    let args = ["buffered", &file, &BLOCK.to_string(), &N.to_string(), &WRITES_A_FLUSH.to_string()];
    assert_eq!(Worker::start(&writer, "", &args).run(), N * BLOCK);
    run("sync", &[]);
    agent.next_gather();
    let now = oracle::disk(disk.name());
    println!("blkio: {} flushes on {}", now.flushes - before.flushes, disk.name());
    check_balance(&agent, &disk, before, balance_before);
    // Whoever the kernel itself charges: on v1 the root for what writeback does on its own, on v2 the writer.
    let kernel = writer.written_bytes(&disk.numbers());
    let rows = point(&agent, &writer.path(), &disk).map_or(0, |point| point.int("write_bytes"));
    let root = point(&agent, "/", &disk).map_or(0, |point| point.int("write_bytes"));
    println!(
        "blkio: the kernel charges {kernel} of {} bytes to the writer; to the root we have {root}",
        N * BLOCK
    );
    assert!(kernel > 0, "the kernel charged the writer nothing: this shows nothing");
    let largest = (WRITES_A_FLUSH * BLOCK).cast_signed();
    check("bytes of the writer", rows, kernel, left_out(&agent, N) * largest);
    Ok(())
}

/// Small and large reads, against each one's own time from its allocation to its end, as the kernel traces it.
fn quantiles_are_those_of_the_samples() -> Outcome {
    const SMALL: u64 = 3_000;
    const LARGE: u64 = 150;
    needs(PROGRAMS)?;
    let disk = LoopDisk::new();
    let file = disk.file("read", 64);
    run("sync", &[]);
    let agent = Agent::start("probes = [\"blkio\"]", 3_000)?;
    let reader = Cgroup::new("reader");
    let start =
        |block: u64, n: u64| Worker::start(&reader, "", &["read", &file, &block.to_string(), &n.to_string()]);
    let mut workers = [start(4 << 10, SMALL), start(512 << 10, LARGE)];
    let device = disk
        .numbers()
        .split_once(':')
        .map(|(major, minor)| (major.parse::<u64>().unwrap() << 20) | minor.parse::<u64>().unwrap());
    let trace = Trace::start(
        &["block/block_getrq", "block/block_rq_complete"],
        &format!("dev == {}", device.unwrap()),
    );
    agent.next_gather();
    workers.iter_mut().for_each(Worker::go);
    workers.into_iter().for_each(|worker| assert!(worker.finish() > 0));
    let mut began = HashMap::new();
    let mut samples = Vec::new();
    for Event { time_ns, name, text } in trace.events() {
        // `7,0 R 131072 + 8 [it]`; at its end with the command, `()`, and what kind it is.
        let words: Vec<&str> = text.split(' ').filter(|word| *word != "()").collect();
        let request = (words[1].to_owned(), words[2].to_owned());
        if name == "block_getrq" {
            began.insert(request, time_ns);
        } else if let Some(start) = began.remove(&request) {
            samples.push(time_ns - start);
        }
    }
    println!("blkio: {} reads were traced", samples.len());
    // The work fits into one interval, which began just before. A completion in the context of a task that the kernel hides from
    // programs may be in one of the two alone.
    let nearly_all = samples.len() as i64 * 995 / 1_000;
    let point = wait_for_some(
        || point(&agent, &reader.path(), &disk).filter(|point| point.int("reads") >= nearly_all),
        Duration::from_secs(10),
        "the reads",
    );
    for (q, field) in [(0.5, "read_p50_us"), (0.99, "read_p99_us")] {
        let ours = point.float(field);
        let truth = oracle::quantile(&mut samples, q) as f64 / 1e3;
        println!("blkio: {q} of the reads took at most {truth} us, by the agent {ours:.1}");
        assert!(ours > truth / 2.0 && ours < truth * 2.0, "{q}: {ours} us and not {truth}");
    }
    Ok(())
}
