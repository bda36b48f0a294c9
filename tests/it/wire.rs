//! Packets that are not on the wire as a program sees them: fragments, BIG TCP, what a policy refuses, what is sent again; and
//! the balance beside other network namespaces.

use libtest_mimic::Trial;
use seismograf_tests::agent::{Agent, Point};
use seismograf_tests::cgroup::Cgroup;
use seismograf_tests::netns::{ADDRESSES, ADDRESSES6, INTERFACE, Wire};
use seismograf_tests::program::{AttachedProgram, Direction, LOSE, REFUSE};
use seismograf_tests::suite::Outcome;
use seismograf_tests::work::Worker;
use seismograf_tests::{Skip, needs, oracle, trial, try_run, wait_for};
use std::time::Duration;

/// Bytes of an Ethernet header.
const ETHERNET: u64 = 14;
const SECTION: &str = "probes = [\"net\", \"tcp\"]";

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("wire::fragments_of_datagrams_above_the_mtu", fragments),
        trial("wire::big_tcp", big_tcp),
        trial("wire::packets_that_a_policy_refuses", refused),
        trial("wire::segments_that_are_sent_again", sent_again),
        trial("wire::the_balance_beside_other_namespaces", balance),
    ]
}

fn row(agent: &Agent, cgroup: &Cgroup) -> Point {
    let row = agent.point("cgroup_net", &[("cgroup", &cgroup.path())]);
    row.unwrap_or_else(|| panic!("no row of {}", cgroup.path()))
}

/// Packets and bytes of a direction.
fn pair(point: &Point, direction: &str) -> [u64; 2] {
    ["packets", "bytes"].map(|what| point.int(&format!("{direction}_{what}")).cast_unsigned())
}

/// How many fragments a namespace made: of IPv4, and of IPv6.
fn made(wire: &Wire) -> [u64; 2] {
    let snmp6 = wire.proc(0, "net/snmp6");
    let v6 = snmp6.lines().find_map(|line| line.strip_prefix("Ip6FragCreates"));
    [oracle::snmp(&wire.proc(0, "net/snmp"), "Ip")["FragCreates"], v6.unwrap().trim().parse().unwrap()]
}

fn fragments() -> Outcome {
    const N: u64 = 200;
    /// A UDP header, and what each fragment has of headers.
    const UDP: u64 = 8;
    const HEADERS: [u64; 2] = [20, 48];
    needs(&["ip", "nsenter", "sysctl"])?;
    let wire = Wire::new();
    let agent = Agent::start(SECTION, 500)?;
    for version in 0..2 {
        if version == 1 {
            wire.add_ipv6();
        }
        // Of some the last fragment is as large as there is room for, and one fits.
        for size in [8_192_u64, 1_473, 2_952, 2_900, 60_000, 1_400] {
            let [from, to] =
                ["sender", "receiver"].map(|end| Cgroup::new(&format!("{end}-{size}-{version}")));
            let address = [format!("{}:9010", ADDRESSES[1]), format!("[{}]:9010", ADDRESSES6[1])];
            let (before, interface) = (made(&wire), oracle::interface(&wire.proc(0, "net/dev"), INTERFACE));
            let (size_text, n) = (size.to_string(), N.to_string());
            let receive = ["udp-receive", &address[version], &size_text, &n];
            let mut receives = Worker::start(&to, &wire.names[1], &receive);
            receives.go();
            let send = ["udp-send", &address[version], &size_text, &n, "1"];
            assert_eq!(Worker::start(&from, &wire.names[0], &send).run(), N);
            // One that arrives is counted, also where the receiver is too slow to take it.
            receives.finish();
            agent.next_gather();
            let expected = match made(&wire)[version] - before[version] {
                0 => [N, N * (size + UDP + [20, 40][version])],
                fragments => [fragments, N * (size + UDP) + fragments * HEADERS[version]],
            };
            let (sent, received) = (pair(&row(&agent, &from), "tx"), pair(&row(&agent, &to), "rx"));
            println!(
                "wire: {N} datagrams of {size} bytes, IPv{}: expected {expected:?}, sent {sent:?}, received {received:?}",
                [4, 6][version]
            );
            assert_eq!([sent, received], [expected; 2]);
            if version == 0 && size == 8_192 {
                assert_eq!(expected, [1_200, 1_664_000]);
                let now = oracle::interface(&wire.proc(0, "net/dev"), INTERFACE);
                let [_, _, packets, bytes] = [0, 1, 2, 3].map(|i| now[i] - interface[i]);
                assert_eq!([packets, bytes - ETHERNET * packets], expected, "the interface's own");
            }
        }
    }
    Ok(())
}

fn big_tcp() -> Outcome {
    const BYTES: u64 = 512 << 20;
    /// IPv6, TCP, and its time stamps; the first segment has eight bytes of options more.
    const HEADERS: u64 = 40 + 20 + 12;
    const SYN_OPTIONS: u64 = 8;
    const MTU: u64 = 1_500;
    needs(&["ip", "nsenter", "sysctl", "ethtool"])?;
    let wire = Wire::new();
    wire.add_ipv6();
    wire.offload(true);
    for name in &wire.names {
        let namespace = format!("--net=/run/netns/{name}");
        let sizes = ["gso_max_size", "185000", "gro_max_size", "185000"];
        let set = [&[namespace.as_str(), "ip", "link", "set", INTERFACE], sizes.as_slice()].concat();
        if !try_run("nsenter", &set).status.success() {
            return Err(Skip::because("this kernel, or ip(8), has no segments of more than 64 KiB"));
        }
    }
    let agent = Agent::start(SECTION, 500)?;
    let (sender, receiver) = (Cgroup::new("big-sender"), Cgroup::new("big-receiver"));
    let segments = || {
        let tcp = oracle::snmp(&wire.proc(0, "net/snmp"), "Tcp");
        [tcp["OutSegs"], tcp["RetransSegs"]]
    };
    let (before, interface) = (segments(), oracle::interface(&wire.proc(0, "net/dev"), INTERFACE));
    let address = format!("[{}]:9011", ADDRESSES6[1]);
    let mut receives = Worker::start(&receiver, &wire.names[1], &["tcp-receive", &address]);
    receives.go();
    let send = ["tcp-send", &address, &BYTES.to_string()];
    assert_eq!(Worker::start(&sender, &wire.names[0], &send).run(), BYTES);
    assert_eq!(receives.finish(), BYTES);
    agent.next_gather();
    let [segments, again] = [0, 1].map(|i| segments()[i] - before[i]);
    let now = oracle::interface(&wire.proc(0, "net/dev"), INTERFACE);
    let [_, _, packets, bytes] = [0, 1, 2, 3].map(|i| now[i] - interface[i]);
    // What the interface has more than its packets' headers and the payload are the headers that say how long a packet of more
    // than 64 KiB is, eight bytes each; since Linux 7 there are none, and packets are that large in the mean.
    let jumbo = bytes.saturating_sub(packets * (ETHERNET + HEADERS) + BYTES + again * (MTU - HEADERS)) / 8;
    let is_big = jumbo > MTU / 8 || bytes / packets > 1 << 16;
    let (sent, received) = (pair(&row(&agent, &sender), "tx"), pair(&row(&agent, &receiver), "rx"));
    // What is sent again is whole segments, but for the last one.
    let expected = [segments + again, BYTES + segments * HEADERS + SYN_OPTIONS + again * MTU];
    println!(
        "wire: BIG TCP, {packets} packets of the interface, {jumbo} with a jumbo header: TCP's own {expected:?}, {again} sent again, sent {sent:?}, received {received:?}"
    );
    assert!(is_big, "no packet was that large: this shows nothing");
    assert_eq!(sent, received);
    assert_eq!(sent[0], expected[0]);
    let off = expected[1] - sent[1];
    assert!(off == 0 || again > 0 && off < MTU, "{off} bytes");
    Ok(())
}

fn refused() -> Outcome {
    const N: u64 = 1_000;
    const SIZE: u64 = 100;
    const HEADERS: u64 = 28;
    needs(&["ip", "nsenter", "sysctl"])?;
    let wire = Wire::new();
    let agent = Agent::start(SECTION, 500)?;
    let (sender, receiver) = (Cgroup::new("refused-sender"), Cgroup::new("refused-receiver"));
    let address = format!("{}:9012", ADDRESSES[1]);
    let send = |size: u64| {
        let work = ["udp-send-any", &address, &size.to_string(), &N.to_string()];
        Worker::start(&sender, &wire.names[0], &work).run()
    };
    let receive = |n: u64| {
        let work = ["udp-receive", &address, &SIZE.to_string(), &n.to_string()];
        let mut worker = Worker::start(&receiver, &wire.names[1], &work);
        worker.go();
        worker
    };
    let receives = receive(N);
    assert_eq!(send(SIZE), N);
    receives.finish();
    let policy = AttachedProgram::policy(&sender.unified(), REFUSE, Direction::Out)?;
    // On the way out the sender is told.
    assert_eq!(send(SIZE), 0);
    assert_eq!(send(8_192), 0);
    drop(policy);
    agent.next_gather();
    let sent = row(&agent, &sender);
    println!("wire: {N} packets sent and {N} + {N} datagrams refused: {:?}", sent.fields);
    assert_eq!(pair(&sent, "tx"), [N, N * (SIZE + HEADERS)]);
    assert_eq!(pair(&sent, "tx_dropped"), [N + 6 * N, N * (SIZE + HEADERS) + 8_320 * N]);
    // On the way in they have been on the wire, whoever refuses them.
    let policy = AttachedProgram::policy(&receiver.unified(), REFUSE, Direction::In)?;
    let receives = receive(1);
    assert_eq!(send(SIZE), N);
    drop(receives);
    drop(policy);
    agent.next_gather();
    let received = row(&agent, &receiver);
    assert_eq!(pair(&received, "rx"), [2 * N, 2 * N * (SIZE + HEADERS)]);
    Ok(())
}

/// How many segments TCP has sent again in the namespace of an end.
fn retransmits(wire: &Wire, end: usize) -> i64 {
    oracle::snmp(&wire.proc(end, "net/snmp"), "Tcp")["RetransSegs"].cast_signed()
}

/// Has no answer to a connection arrive, so that both ends try again. Returns how often each did, by the kernel and by the agent.
fn unanswered(agent: &Agent, wire: &Wire, ends: &[Cgroup; 2], address: &str) -> Result<[[i64; 2]; 2], Skip> {
    let line = AttachedProgram::policy(&ends[0].unified(), REFUSE, Direction::In)?;
    let again = || [0, 1].map(|i| retransmits(wire, i));
    let rows = || ends.each_ref().map(|end| row(agent, end).int("tcp_retransmits"));
    let (before, rows_before) = (again(), rows());
    let mut receives = Worker::start(&ends[1], &wire.names[1], &["tcp-receive", address]);
    receives.go();
    let mut sends = Worker::start(&ends[0], &wire.names[0], &["tcp-send", address, "1"]);
    sends.go();
    let both = || again().iter().zip(before).all(|(now, before)| *now > before);
    wait_for(both, Duration::from_secs(30), "both ends to try again");
    drop((sends, receives));
    drop(line);
    // The listening socket is gone, and with it what it would have sent.
    let now = again();
    let kernel = [0, 1].map(|i| now[i] - before[i]);
    let mut ours = [0, 0];
    // On a slow machine a gather can be late.
    for _ in 0..5 {
        agent.next_gather();
        let now = rows();
        ours = [0, 1].map(|i| now[i] - rows_before[i]);
        if ours == kernel {
            break;
        }
    }
    Ok([kernel, ours])
}

fn sent_again() -> Outcome {
    const BYTES: u64 = 16 << 20;
    needs(&["ip", "nsenter", "sysctl", "ethtool"])?;
    let agent = Agent::start(SECTION, 500)?;
    for offload in [true, false] {
        let wire = Wire::new();
        wire.offload(offload);
        let ends = [0, 1].map(|i| Cgroup::new(&format!("again-{offload}-{i}")));
        let again = |i| retransmits(&wire, i);
        let line = AttachedProgram::policy(&ends[1].unified(), LOSE, Direction::In)?;
        let address = format!("{}:9013", ADDRESSES[1]);
        let mut receives = Worker::start(&ends[1], &wire.names[1], &["tcp-receive", &address]);
        receives.go();
        let send = ["tcp-send", &address, &BYTES.to_string()];
        assert_eq!(Worker::start(&ends[0], &wire.names[0], &send).run(), BYTES);
        assert_eq!(receives.finish(), BYTES);
        drop(line);
        agent.next_gather();
        let ours = row(&agent, &ends[0]).int("tcp_retransmits");
        println!(
            "wire: a line that loses packets, offload {offload}: RetransSegs {}, agent {ours}",
            again(0)
        );
        assert!(again(0) > 0, "nothing was lost: this shows nothing");
        assert_eq!(ours, again(0), "offload {offload}");

        // Both ends try again in timers of one moment. Once in many runs no program was told of any of it, on a kernel that
        // hides some tasks from programs, and so perhaps what interrupts them. That is tried again; a part of it is a fault.
        let mut tries = 1..3;
        loop {
            let [kernel, ours] = unanswered(&agent, &wire, &ends, &address)?;
            println!("wire: no answer to a connection: RetransSegs {kernel:?}, agent {ours:?}");
            if ours == [0, 0] && tries.next().is_some() {
                continue;
            }
            assert_eq!(ours, kernel, "offload {offload}");
            break;
        }
    }
    Ok(())
}

/// What other namespaces have is in rows, and not in the machine's own counters.
fn balance() -> Outcome {
    const N: u64 = 50_000;
    const SIZE: u64 = 1_000;
    const BYTES: i64 = (N * (SIZE + 28)).cast_signed();
    needs(&["ip", "nsenter", "sysctl"])?;
    let wire = Wire::new();
    let agent = Agent::start(SECTION, 500)?;
    let cgroups = ["pod", "host", "sink"].map(Cgroup::new);
    let fields =
        ["rows_tx_bytes", "rows_host_tx_bytes", "machine_tx_bytes", "unseen_tx_bytes", "unseen_rx_bytes"];
    let before = agent.part("net");
    let mut sinks = Vec::new();
    for (cgroup, name, address) in
        [(&cgroups[0], &*wire.names[0], "127.0.0.1:9014"), (&cgroups[1], "", "127.0.0.1:9015")]
    {
        let (size, n) = (SIZE.to_string(), N.to_string());
        let mut sink = Worker::start(&cgroups[2], name, &["udp-receive", address, &size, "1000000000"]);
        sink.go();
        sinks.push(sink);
        assert_eq!(Worker::start(cgroup, name, &["udp-send", address, &size, &n, "1"]).run(), N);
    }
    agent.next_gather();
    let now = agent.part("net");
    let [rows, host, machine, unseen_tx, unseen_rx] = fields.map(|field| now.int(field) - before.int(field));
    println!(
        "wire: {BYTES} bytes in another namespace and {BYTES} in the host's: rows {rows}, host {host}, machine {machine}, unseen {unseen_tx} out, {unseen_rx} in"
    );
    assert!(rows >= 2 * BYTES, "{rows}");
    assert!((BYTES..BYTES + BYTES / 2).contains(&host), "{host}");
    // Others use this machine too, between one reading and the other.
    for unseen in [unseen_tx, unseen_rx] {
        assert!(unseen.abs() < BYTES / 100, "{unseen}");
    }
    Ok(())
}
