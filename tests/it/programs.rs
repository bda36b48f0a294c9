//! Single programs on packets that were made up, by `BPF_PROG_TEST_RUN`: headers of every form, and any bytes at all.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use aya::maps::{MapData, RingBuf};
use aya::programs::{CgroupSkb, Program, ProgramError, RawTracePoint, RawTracePointRunOptions, TestRun as _};
use aya::{Ebpf, TestRunOptions};
use libtest_mimic::Trial;
use seismograf::host::Host;
use seismograf::host::hierarchies::Hierarchies;
use seismograf::kernel::load::Probes;
use seismograf::kernel::records::Record;
use seismograf_tests::bench::Form;
use seismograf_tests::cgroup::{Cgroup, unified_cpu_ns};
use seismograf_tests::suite::Outcome;
use seismograf_tests::work::Worker;
use seismograf_tests::{Skip, bench, extra, needs, trial, wait_for_some};

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("programs::packets_of_every_form", packets_of_every_form),
        trial("programs::any_bytes_are_a_packet", any_bytes),
        trial("programs::a_cpu_that_is_not_there", no_such_cpu),
        extra("programs::memory_of_all_cgroups_in_one_pass", memory_pass),
        trial("programs::cpu_time_by_the_kernels_own_sums", kernel_sums),
    ]
}

/// The network programs, loaded and not attached.
struct Loaded {
    ebpf: Ebpf,
    ring: RingBuf<MapData>,
}

/// Places in `struct __sk_buff` (`include/uapi/linux/bpf.h`), and its size.
const GSO_SEGS: usize = 164;
const GSO_SIZE: usize = 176;
const SK_BUFF: usize = 192;

impl Loaded {
    fn new() -> Result<Self, Skip> {
        let (mut ebpf, ..) = bench::load(Form::Folded)?;
        for name in ["net_ingress", "net_egress"] {
            let program: &mut CgroupSkb = ebpf.program_mut(name).unwrap().try_into().unwrap();
            program.load().unwrap();
        }
        let flush: &mut RawTracePoint = ebpf.program_mut("flush").unwrap().try_into().unwrap();
        flush.load().unwrap();
        let ring = RingBuf::try_from(ebpf.take_map("RECORDS").unwrap()).unwrap();
        Ok(Self { ebpf, ring })
    }

    /// Has a program see a packet from its IP header on, as one that is segmented where `gso` is not 0; gives what it returns.
    fn run(&self, name: &str, packet: &[u8], gso_size: u32, gso_segs: u32) -> u32 {
        let ether_type: [u8; 2] =
            if packet.first().is_some_and(|b| b >> 4 == 6) { [0x86, 0xdd] } else { [8, 0] };
        let frame = [&[2; 12], ether_type.as_slice(), packet].concat();
        let mut context = [0; SK_BUFF];
        context[GSO_SEGS..GSO_SEGS + 4].copy_from_slice(&gso_segs.to_ne_bytes());
        context[GSO_SIZE..GSO_SIZE + 4].copy_from_slice(&gso_size.to_ne_bytes());
        let Some(Program::CgroupSkb(program)) = self.ebpf.program(name) else { panic!("no {name}") };
        let options = TestRunOptions { data_in: Some(&frame), ctx_in: Some(&context), ..Default::default() };
        program.test_run(options).unwrap_or_else(|error| panic!("{error}: {packet:?}")).return_value
    }

    fn flush(&self, cpu: u32) -> Result<u32, ProgramError> {
        let Some(Program::RawTracePoint(program)) = self.ebpf.program("flush") else { panic!("no flush") };
        let options = RawTracePointRunOptions { cpu: Some(cpu), ..Default::default() };
        Ok(program.test_run(options)?.return_value)
    }

    /// Packets and bytes in and out since the last time.
    fn counted(&mut self) -> [u64; 4] {
        for cpu in aya::util::online_cpus().unwrap() {
            assert_eq!(self.flush(cpu).unwrap(), 0);
        }
        let mut sum = [0; 4];
        while let Some(item) = self.ring.next() {
            let Some(Record::Net(row)) = Record::decode(&item) else { panic!("not a row of the network") };
            let amounts = row.amounts;
            let counts = [amounts.rx_packets, amounts.rx_bytes, amounts.tx_packets, amounts.tx_bytes];
            sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        sum
    }
}

/// What one pass of the kernel has of each cgroup is what its file has.
fn memory_pass() -> Outcome {
    const CGROUPS: usize = 500;
    needs(&[])?;
    let host = Host::default();
    let (opened, report) = Probes::open(&bench::options(&[]), &host, &Hierarchies::read(&host), None, || ());
    let Some((mut probes, _ring)) = opened else { panic!("{:?}", report.groups) };
    let cgroups: Vec<Cgroup> = (0..CGROUPS).map(|i| Cgroup::new(&format!("memory-{i}"))).collect();
    let mut workers: Vec<Worker> =
        cgroups.iter().take(5).map(|cgroup| Worker::start(cgroup, "", &["idle", "60000"])).collect();
    workers.iter_mut().for_each(Worker::go);
    let read = || cgroups.iter().map(Cgroup::memory_bytes).collect::<Vec<u64>>();
    let same = wait_for_some(
        || {
            let before = read();
            let start = Instant::now();
            let usages = probes.memory_usages();
            let took = start.elapsed();
            let Some(usages) = usages else { return Some(None) };
            let passed: Vec<Option<u64>> = cgroups
                .iter()
                .map(|cgroup| usages.memory_bytes(cgroup.file("memory", "").metadata().unwrap().ino()))
                .collect();
            // Nothing was charged in the meantime.
            (before == read()).then_some(Some((before, passed, took)))
        },
        Duration::from_secs(20),
        "memory to stay as it is",
    );
    let (files, passed, took) =
        same.ok_or_else(|| Skip::because("the kernel has no iterator over cgroups"))?;
    println!("programs: one pass over {CGROUPS} cgroups and all others takes {took:?}");
    assert!(files.iter().filter(|bytes| **bytes > 0).count() >= 5, "nothing is charged: this shows nothing");
    assert_eq!(passed, files.into_iter().map(Some).collect::<Vec<_>>());
    Ok(())
}

/// The kernel's own sums of CPU time are what `cpu.stat` has, and a gather that reads them calls no other CPU and no program at a
/// switch. The figures are those of cgroup2, also where CPU time is accounted in v1.
fn kernel_sums() -> Outcome {
    needs(&[])?;
    let (mut probes, _ring) = bench::kernel_sums()?;
    let cgroup = Cgroup::new("sums");
    let usage_ns = || unified_cpu_ns(&cgroup.unified());
    let id = cgroup.unified().metadata().unwrap().ino();
    let mut sum = || {
        let figures = probes.run_times().expect("one pass");
        figures.run_times().find_map(|(cgroup, run_ns)| (cgroup == id).then_some(run_ns)).unwrap_or(0)
    };
    assert_eq!(sum(), 0);
    // The file has whole microseconds.
    let mut worker = Worker::start(&cgroup, "", &["spin", "400"]);
    worker.go();
    for _ in 0..20 {
        let (before, between, after) = (usage_ns(), sum(), usage_ns());
        assert!((before..=after + 1_000).contains(&between), "{before} {between} {after}");
    }
    worker.finish();
    // The last that it ran is added when it is switched out for good.
    let same = wait_for_some(
        || Some((usage_ns(), sum())).filter(|(file, sum)| sum / 1_000 * 1_000 == *file),
        Duration::from_secs(10),
        "the kernel's sum to be what cpu.stat has",
    );
    println!("programs: CPU time by cpu.stat and by the kernel's sums: {same:?} ns");
    assert!(same.0 >= 350_000_000, "nothing ran: this shows nothing");
    let programs: Vec<&str> = probes.activity(false).iter().map(|activity| activity.program).collect();
    assert!(!programs.is_empty() && !programs.contains(&"cpu_sched_switch"), "{programs:?}");
    Ok(())
}

/// An IPv4 packet of that protocol, with so many words of options and so long in all.
fn v4(protocol: u8, options: u8, len: usize) -> Vec<u8> {
    let mut packet = vec![0; len];
    packet[0] = 0x45 + options;
    packet[9] = protocol;
    packet
}

/// An IPv6 packet with these extension headers, each its own number and its bytes.
fn v6(extensions: &[(u8, Vec<u8>)], protocol: u8, len: usize) -> Vec<u8> {
    let mut packet = vec![0; 40];
    packet[0] = 0x60;
    packet[6] = extensions.first().map_or(protocol, |(number, _)| *number);
    for (i, (_, bytes)) in extensions.iter().enumerate() {
        let next = extensions.get(i + 1).map_or(protocol, |(number, _)| *number);
        packet.push(next);
        packet.extend(&bytes[1..]);
    }
    packet.resize(len, 0);
    packet
}

/// Sets the length of the TCP header at an offset, in words.
fn tcp(mut packet: Vec<u8>, at: usize, words: u8) -> Vec<u8> {
    packet[at + 12] = words << 4;
    packet
}

fn packets_of_every_form() -> Outcome {
    const TCP: u8 = 6;
    const UDP: u8 = 17;
    needs(&[])?;
    let mut loaded = Loaded::new()?;
    let jumbo = (0, vec![0, 0, 0xc2, 4, 0, 2, 0, 0]);
    let padding = (0, vec![0, 0, 1, 4, 0, 0, 0, 0]);
    let options = (60, vec![0; 8]);
    let routing = (43, [vec![0, 2], vec![0; 22]].concat());
    // A packet, its segments' payload and number; how many bytes each segment more has, and how many are on no wire.
    let forms: BTreeMap<&str, (Vec<u8>, u32, u32, u64, u64)> = BTreeMap::from([
        ("v4 alone", (v4(UDP, 0, 128), 0, 0, 0, 0)),
        ("v6 alone", (v6(&[], TCP, 128), 0, 0, 0, 0)),
        ("v4 tcp", (tcp(v4(TCP, 0, 900), 20, 8), 400, 3, 52, 0)),
        ("v4 tcp with options of both", (tcp(v4(TCP, 5, 900), 40, 15), 400, 3, 100, 0)),
        ("v4 udp", (v4(UDP, 0, 900), 400, 3, 28, 0)),
        ("v4 of another protocol", (v4(132, 0, 900), 400, 3, 20, 0)),
        ("v6 tcp", (tcp(v6(&[], TCP, 900), 40, 8), 400, 3, 72, 0)),
        ("v6 tcp, jumbo", (tcp(v6(std::slice::from_ref(&jumbo), TCP, 900), 48, 8), 400, 3, 72, 8)),
        ("v6 udp, hop by hop that is not jumbo", (v6(&[padding], UDP, 900), 400, 3, 56, 0)),
        ("v6 tcp, options and routing", (tcp(v6(&[options, routing], TCP, 900), 72, 5), 400, 3, 92, 0)),
        ("v6 udp, jumbo", (v6(&[jumbo], UDP, 900), 400, 3, 48, 8)),
        ("nobody counted the segments", (tcp(v4(TCP, 0, 40 + 1_000), 20, 5), 400, 0, 40, 0)),
    ]);
    for (what, (packet, size, segments, each, less)) in forms {
        let n = match (size, segments) {
            (0, _) => 1,
            (_, 0) => 3,
            (_, segments) => u64::from(segments),
        };
        let expected = [n, packet.len() as u64 - less + (n - 1) * each];
        for (name, at) in [("net_ingress", 0), ("net_egress", 2)] {
            assert_eq!(loaded.run(name, &packet, size, segments), 1, "{what}: it must pass");
            assert_eq!(loaded.counted()[at..at + 2], expected, "{name}: {what}");
        }
    }
    Ok(())
}

/// Whatever arrives is at least one packet of its length, and passes.
fn any_bytes() -> Outcome {
    const ROUNDS: u64 = 20_000;
    // The kernel makes no shorter packet of IPv6.
    const IP_BYTES: usize = 40;
    const MOST_BYTES: usize = 1_200;
    needs(&[])?;
    let mut loaded = Loaded::new()?;
    let seed =
        std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("programs: SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut bytes, mut packets) = (0, 0);
    for _ in 0..ROUNDS {
        let mut packet: Vec<u8> = (0..random.usize(IP_BYTES..MOST_BYTES)).map(|_| random.u8(..)).collect();
        packet[0] = *random.choice(&[0x45, 0x4f, 0x40, 0x60, 0x6f, 0, 0xff]).unwrap();
        packet[6] = *random.choice(&[0, 6, 17, 43, 44, 60, 59, 255]).unwrap();
        let (size, segments) =
            if random.bool() { (random.u32(1..1_400), random.u32(0..100)) } else { (0, 0) };
        assert_eq!(loaded.run("net_egress", &packet, size, segments), 1, "{packet:?}");
        (bytes, packets) = (bytes + packet.len() as u64, packets + u64::from(segments.max(1)));
    }
    let [_, _, tx_packets, tx_bytes] = loaded.counted();
    println!("programs: {ROUNDS} of any bytes: {tx_packets} packets, {tx_bytes} bytes");
    assert!(tx_packets >= packets, "{tx_packets} of {packets}");
    // Nothing wraps around: no header is longer than its packet, and a jumbo one is eight bytes.
    let most = bytes + tx_packets * MOST_BYTES as u64;
    assert!((bytes - ROUNDS * 8..most).contains(&tx_bytes), "{tx_bytes} of {bytes} to {most}");
    Ok(())
}

/// The write-back of a CPU that is offline or not there is refused with `ENXIO`, which the agent takes for just that.
fn no_such_cpu() -> Outcome {
    needs(&[])?;
    let loaded = Loaded::new()?;
    match loaded.flush(100_000) {
        Err(ProgramError::SyscallError(error)) => {
            assert_eq!(error.io_error.raw_os_error(), Some(libc::ENXIO));
        }
        other => panic!("{other:?}"),
    }
    Ok(())
}
