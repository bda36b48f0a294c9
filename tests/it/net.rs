//! IP traffic of cgroups, against known work and the counters of the protocols and the interfaces.

use libtest_mimic::Trial;
use seismograf_tests::agent::{Agent, Point};
use seismograf_tests::cgroup::Cgroup;
use seismograf_tests::netns::{ADDRESSES, INTERFACE, Wire};
use seismograf_tests::suite::Outcome;
use seismograf_tests::work::Worker;
use seismograf_tests::{needs, oracle, trial};

/// Bytes of an IPv4 and a UDP header.
const UDP_HEADERS: u64 = 28;
/// Bytes of an IPv4 and a TCP header with time stamps.
const TCP_HEADERS: u64 = 52;
/// Bytes of an Ethernet header.
const ETHERNET: u64 = 14;
const SECTION: &str = "probes = [\"net\"]";

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("net::datagrams_over_a_wire", datagrams_over_a_wire),
        trial("net::datagrams_over_loopback_of_two_cgroups_and_eight_threads", datagrams_over_loopback),
        trial("net::tcp_with_segmentation_offload", tcp_with_offload),
        trial("net::tcp_without_segmentation_offload", tcp_without_offload),
    ]
}

/// The row of a cgroup.
fn row(agent: &Agent, cgroup: &Cgroup) -> Point {
    agent
        .point("cgroup_net", &[("cgroup", &cgroup.path())])
        .unwrap_or_else(|| panic!("no row of {}", cgroup.path()))
}

fn datagrams_over_a_wire() -> Outcome {
    const N: u64 = 20_000;
    const SIZE: u64 = 300;
    needs(&["ip", "nsenter", "sysctl"])?;
    let wire = Wire::new();
    let agent = Agent::start(SECTION, 500)?;
    let (sender, receiver) = (Cgroup::new("udp-sender"), Cgroup::new("udp-receiver"));
    let (address, size, n) = (format!("{}:9000", ADDRESSES[1]), SIZE.to_string(), N.to_string());
    let mut receives = Worker::start(&receiver, &wire.names[1], &["udp-receive", &address, &size, &n]);
    receives.go();
    assert_eq!(Worker::start(&sender, &wire.names[0], &["udp-send", &address, &size, &n, "1"]).run(), N);
    receives.finish();
    agent.next_gather();
    let (sent, received) = (row(&agent, &sender), row(&agent, &receiver));
    println!(
        "net: {N} datagrams over a wire: {} packets and {} bytes sent, {} and {} received",
        sent.int("tx_packets"),
        sent.int("tx_bytes"),
        received.int("rx_packets"),
        received.int("rx_bytes")
    );
    let expected = [N.cast_signed(), (N * (SIZE + UDP_HEADERS)).cast_signed()];
    assert_eq!([sent.int("tx_packets"), sent.int("tx_bytes")], expected);
    assert_eq!([received.int("rx_packets"), received.int("rx_bytes")], expected);
    assert_eq!([sent.int("rx_packets"), received.int("tx_packets")], [0, 0]);
    Ok(())
}

fn datagrams_over_loopback() -> Outcome {
    const N: u64 = 400_000;
    const THREADS: &str = "4";
    needs(&["ip", "nsenter", "sysctl"])?;
    let wire = Wire::new();
    let agent = Agent::start(SECTION, 500)?;
    let cgroups = [Cgroup::new("loop-1"), Cgroup::new("loop-2")];
    let sizes = [64_u64, 900];
    let mut workers: Vec<Worker> = Vec::new();
    for (i, cgroup) in cgroups.iter().enumerate() {
        let (to, size) = (format!("127.0.0.1:{}", 9100 + i), sizes[i].to_string());
        workers.push(Worker::start(
            cgroup,
            &wire.names[0],
            &["udp-send", &to, &size, &N.to_string(), THREADS],
        ));
    }
    // The receivers are slower than eight senders: a datagram is charged as it arrives, also one that is then dropped.
    let sinks = [Cgroup::new("sink-1"), Cgroup::new("sink-2")];
    let mut receivers: Vec<Worker> = Vec::new();
    for (i, cgroup) in sinks.iter().enumerate() {
        let (on, size) = (format!("127.0.0.1:{}", 9100 + i), sizes[i].to_string());
        receivers.push(Worker::start(cgroup, &wire.names[0], &["udp-receive", &on, &size, &N.to_string()]));
    }
    receivers.iter_mut().for_each(Worker::go);
    workers.iter_mut().for_each(Worker::go);
    workers.into_iter().for_each(|worker| assert_eq!(worker.finish(), N));
    let read: Vec<u64> = receivers.into_iter().map(Worker::finish).collect();
    agent.next_gather();
    for (i, (cgroup, sink)) in cgroups.iter().zip(&sinks).enumerate() {
        let (sent, received) = (row(&agent, cgroup), row(&agent, sink));
        let bytes = N * (sizes[i] + UDP_HEADERS);
        println!(
            "net: loopback, 4 threads of {}: {} of {N} packets, {} of {bytes} bytes sent; {} and {} arrived, {} were read",
            cgroup.path(),
            sent.int("tx_packets"),
            sent.int("tx_bytes"),
            received.int("rx_packets"),
            received.int("rx_bytes"),
            read[i]
        );
        assert_eq!([sent.int("tx_packets"), sent.int("tx_bytes")], [N.cast_signed(), bytes.cast_signed()]);
        assert_eq!(
            [received.int("rx_packets"), received.int("rx_bytes")],
            [N.cast_signed(), bytes.cast_signed()]
        );
    }
    Ok(())
}

/// What both ends counted, and what the protocol and the interface say, for one transfer over the wire.
struct Transfer {
    sent: Point,
    received: Point,
    segments: u64,
    interface: [u64; 4],
}

fn transfer(offload: bool, bytes: u64) -> Result<Transfer, seismograf_tests::Skip> {
    needs(&["ip", "nsenter", "ethtool", "sysctl"])?;
    let wire = Wire::new();
    wire.offload(offload);
    let agent = Agent::start(SECTION, 500)?;
    let (sender, receiver) = (Cgroup::new("tcp-sender"), Cgroup::new("tcp-receiver"));
    let counters = || {
        let tcp = oracle::snmp(&wire.proc(0, "net/snmp"), "Tcp");
        (tcp["OutSegs"] + tcp["RetransSegs"], oracle::interface(&wire.proc(0, "net/dev"), INTERFACE))
    };
    let (segments_before, interface_before) = counters();
    let address = format!("{}:9001", ADDRESSES[1]);
    let mut receives = Worker::start(&receiver, &wire.names[1], &["tcp-receive", &address]);
    receives.go();
    let sends = Worker::start(&sender, &wire.names[0], &["tcp-send", &address, &bytes.to_string()]);
    assert_eq!(sends.run(), bytes);
    assert_eq!(receives.finish(), bytes);
    // The last acknowledgements are under way for a moment after both ends are done.
    agent.next_gather();
    let (segments, interface) = counters();
    let mut change = interface;
    change.iter_mut().zip(interface_before).for_each(|(now, before)| *now -= before);
    Ok(Transfer {
        sent: row(&agent, &sender),
        received: row(&agent, &receiver),
        segments: segments - segments_before,
        interface: change,
    })
}

fn check_both_ends(t: &Transfer) {
    let pair = |point: &Point, direction: &str| {
        [point.int(&format!("{direction}_packets")), point.int(&format!("{direction}_bytes"))]
    };
    println!(
        "net: sender {:?} out {:?} in, receiver {:?} in {:?} out (packets, bytes)",
        pair(&t.sent, "tx"),
        pair(&t.sent, "rx"),
        pair(&t.received, "rx"),
        pair(&t.received, "tx")
    );
    assert_eq!(pair(&t.sent, "tx"), pair(&t.received, "rx"), "what was sent is what was received");
    assert_eq!(pair(&t.sent, "rx"), pair(&t.received, "tx"), "and so back");
}

fn tcp_with_offload() -> Outcome {
    const BYTES: u64 = 1 << 30;
    let t = transfer(true, BYTES)?;
    println!(
        "net: 1 GiB with offload: {} packets, the namespace's TcpOutSegs + RetransSegs {}, the interface's {}",
        t.sent.int("tx_packets"),
        t.segments,
        t.interface[2]
    );
    assert_eq!(t.sent.int("tx_packets"), t.segments.cast_signed());
    assert!(t.interface[2] < t.segments / 2, "offload was not on: this shows nothing");
    // The interface counts a super-packet once, with one set of headers. On the wire each segment has its own: 20 bytes
    // of IP, 20 of TCP and 12 of time stamps.
    let [_, _, super_packets, super_bytes] = t.interface;
    let bytes = super_bytes - ETHERNET * super_packets + (t.segments - super_packets) * TCP_HEADERS;
    println!("net: {} bytes, the segments' own {bytes}", t.sent.int("tx_bytes"));
    assert_eq!(t.sent.int("tx_bytes"), bytes.cast_signed());
    check_both_ends(&t);
    Ok(())
}

fn tcp_without_offload() -> Outcome {
    let t = transfer(false, 256 << 20)?;
    let [rx_packets, rx_bytes, tx_packets, tx_bytes] = t.interface;
    let interface =
        [tx_packets, tx_bytes - ETHERNET * tx_packets, rx_packets, rx_bytes - ETHERNET * rx_packets];
    let fields = ["tx_packets", "tx_bytes", "rx_packets", "rx_bytes"];
    println!(
        "net: 256 MiB without offload: agent {:?}, interface less link headers {interface:?}",
        fields.map(|f| t.sent.int(f))
    );
    assert_eq!(fields.map(|field| t.sent.int(field)), interface.map(u64::cast_signed));
    check_both_ends(&t);
    Ok(())
}
