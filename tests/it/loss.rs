//! Loss is counted, whatever is held back: rows + overflow = everything.

use std::time::Instant;

use libtest_mimic::Trial;
use seismograf_tests::agent::Agent;
use seismograf_tests::cgroup::Cgroup;
use seismograf_tests::netns::Wire;
use seismograf_tests::suite::Outcome;
use seismograf_tests::work::Worker;
use seismograf_tests::{needs, oracle, trial};

/// More cgroups than the cache has slots, so that slots are fought over.
const CGROUPS: usize = 400;
const SIZE: u64 = 100;
const DATAGRAMS: u64 = 50;

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("loss::a_stopped_reader_and_the_smallest_ring", stopped_reader)]
}

fn stopped_reader() -> Outcome {
    needs(&["ip", "nsenter", "sysctl"])?;
    let wire = Wire::new();
    let agent = Agent::start("probes = [\"cpu\", \"net\"]\nring_bytes = 4096", 500)?;
    // What no program is called for, such as a few of a hypervisor's own tasks, goes on at its own pace.
    let (quiet, quiet_start) = (agent.part("cpu"), Instant::now());
    for _ in 0..3 {
        agent.next_gather();
    }
    let unseen_a_second = (agent.part("cpu").int("unseen_ns") - quiet.int("unseen_ns")).max(0) as f64
        / quiet_start.elapsed().as_secs_f64();
    let start = Instant::now();
    // Before the gather that is compared with: what the agent has of the time in between is among it.
    let (machine_before, others_before) = (oracle::machine_cpu_ns(), other_packets());
    agent.next_gather();
    let (net_before, cpu_before) = (agent.part("net"), agent.part("cpu"));
    let cgroups: Vec<Cgroup> = (0..CGROUPS).map(|i| Cgroup::new(&format!("loss-{i}"))).collect();
    // Somebody listens, or each datagram would be answered by ICMP, which the kernel's own socket sends.
    let sink = Cgroup::new("loss-sink");
    let mut receiver =
        Worker::start(&sink, &wire.names[0], &["udp-receive", "127.0.0.1:9", &SIZE.to_string(), "1000000"]);
    receiver.go();
    agent.signal(libc::SIGSTOP);
    let (size, n) = (SIZE.to_string(), DATAGRAMS.to_string());
    // Twice over, so that a cgroup that lost its slot comes back for it.
    let kernel_before: u64 = cgroups.iter().map(Cgroup::cpu_ns).sum();
    for _ in 0..2 {
        for cgroup in &cgroups {
            let send = ["udp-send", "127.0.0.1:9", size.as_str(), n.as_str(), "1"];
            assert_eq!(Worker::start(cgroup, &wire.names[0], &send).run(), DATAGRAMS);
        }
    }
    let kernel: u64 = cgroups.iter().map(Cgroup::cpu_ns).sum::<u64>() - kernel_before;
    agent.signal(libc::SIGCONT);
    agent.next_gather();
    let (net, cpu) = (agent.part("net"), agent.part("cpu"));
    let change = |field: &str| net.int(field) - net_before.int(field);
    let packets = 2 * CGROUPS as u64 * DATAGRAMS;
    let bytes = packets * (SIZE + 28);
    println!(
        "loss: {packets} packets sent: rows {} + overflow {}; rx rows {} + {}; {bytes} bytes: rows {} + overflow {}; the ring refused {} rows",
        change("rows_tx_packets"),
        change("overflow_tx_packets"),
        change("rows_rx_packets"),
        change("overflow_rx_packets"),
        change("rows_tx_bytes"),
        change("overflow_tx_bytes"),
        agent.part("ring").int("refused"),
    );
    // The sums are the machine's. The test's own traffic is in a namespace of its own, so what this one sends is others'.
    let others = other_packets() - others_before;
    let sum = change("rows_tx_packets") + change("overflow_tx_packets");
    println!("loss: {sum} packets in rows and overflow, {others} of others");
    assert!(sum >= packets.cast_signed() && sum <= (packets + others).cast_signed());
    if others == 0 {
        assert_eq!(change("rows_tx_bytes") + change("overflow_tx_bytes"), bytes.cast_signed());
    }
    assert!(change("overflow_tx_packets") > 0, "nothing was lost: this shows nothing");
    assert!(agent.part("ring").int("refused") > 0);

    let machine = oracle::machine_cpu_ns() - machine_before;
    let change = |field: &str| cpu.int(field) - cpu_before.int(field);
    let ours = change("rows_ns") + change("overflow_ns");
    println!(
        "loss: CPU: rows {:.1} ms + overflow {:.1} ms = {:.1} ms; machine {:.1} ms, of it {:.1} ms in the cgroups; unseen {:.3} ms",
        change("rows_ns") as f64 / 1e6,
        change("overflow_ns") as f64 / 1e6,
        ours as f64 / 1e6,
        change("machine_ns") as f64 / 1e6,
        kernel as f64 / 1e6,
        change("unseen_ns") as f64 / 1e6,
    );
    assert!(change("overflow_ns") > 0, "no CPU time was lost: this shows nothing");
    let unseen = change("unseen_ns") as f64;
    let usual = unseen_a_second * start.elapsed().as_secs_f64();
    println!("loss: CPU: unseen in as long a time without any load: {:.3} ms", usual / 1e6);
    let allowed = 0.001 * change("machine_ns") as f64 + 2e6;
    // Interrupts are no task's, and a machine with a load has more of them: seen here were up to 2.5 times as many. If what the
    // ring refused were in no figure, all of it would be unseen.
    let refused = change("overflow_ns") as f64;
    assert!(
        unseen >= -allowed && unseen <= 2.0 * usual + allowed + 0.25 * refused,
        "{unseen} ns are neither in a row nor in overflow"
    );
    assert!(machine.cast_signed() >= change("machine_ns"));
    Ok(())
}

/// IP packets that this namespace sent so far.
fn other_packets() -> u64 {
    oracle::snmp(&std::fs::read_to_string("/proc/net/snmp").unwrap(), "Ip")["OutRequests"]
}
