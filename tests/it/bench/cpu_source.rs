//! CPU time by a program at each switch, and by the kernel's own sums: what each takes.

use std::time::Instant;

use seismograf::host::Host;
use seismograf::host::hierarchies::Hierarchies;
use seismograf::kernel::load::Probes;
use seismograf::kernel::plan::Probe;
use seismograf_tests::cgroup::Cgroup;
use seismograf_tests::report::{Table, quartiles};
use seismograf_tests::suite::Outcome;
use seismograf_tests::{bench, needs, number};

/// How often two processes hand a byte to each other, on one CPU: two switches each time.
const TURNS: f64 = 200_000.0;
/// Cgroups that a pass goes over, besides those that are there.
const CGROUPS: usize = 1_000;
/// Passes over them, of which the median counts.
const PASSES: usize = 50;

/// Nanoseconds that a switch takes more than without, in rounds, and a pass over the sums.
pub(super) fn cpu_source() -> Outcome {
    const ROUNDS: u64 = 9;
    needs(&["perf", "taskset"])?;
    let (mut by_probe, mut by_kernel, mut noise) = (Vec::new(), Vec::new(), Vec::new());
    switch_ns();
    for _ in 0..number("SEISMOGRAF_ROUNDS", ROUNDS) {
        let before = switch_ns();
        let probe = {
            let _probes = by_a_probe();
            switch_ns()
        };
        let kernel = {
            let _probes = bench::kernel_sums()?;
            switch_ns()
        };
        let after = switch_ns();
        let without = f64::midpoint(before, after);
        by_probe.push(probe - without);
        by_kernel.push(kernel - without);
        noise.push((after - before).abs());
    }
    let (mut with_sums, _ring) = bench::kernel_sums()?;
    let _cgroups: Vec<Cgroup> = (0..CGROUPS).map(|i| Cgroup::new(&format!("bench-sums-{i}"))).collect();
    let passes = (0..PASSES).map(|_| {
        let start = Instant::now();
        assert!(with_sums.run_times().is_some(), "no pass");
        start.elapsed().as_secs_f64() * 1e6
    });
    let [low, pass, high] = quartiles(&passes.collect::<Vec<_>>());
    let mut table = Table::new(
        &["CPU time by", "ns that a switch takes more", "µs for a pass over 1,000 cgroups"],
        "ns that a switch takes more",
    );
    let cpus = std::thread::available_parallelism().unwrap();
    for (what, samples, pass) in [
        ("a probe", &by_probe, "none".to_owned()),
        ("the kernel's sums", &by_kernel, format!("{pass:.0} ({low:.0} to {high:.0}), {cpus} CPUs")),
        ("neither: the noise", &noise, "none".to_owned()),
    ] {
        let [low, median, high] = quartiles(samples);
        table.row(&[what.to_owned(), format!("{median:.0} ({low:.0} to {high:.0})"), pass]);
        table.bar(what, median);
    }
    table.write("cpu_source");
    Ok(())
}

fn by_a_probe() -> Probes {
    let host = Host::default();
    let (opened, report) =
        Probes::open(&bench::options(&[Probe::Cpu]), &host, &Hierarchies::read(&host), None, || ());
    assert!(report.is_on(Probe::Cpu), "{:?}", report.groups);
    opened.expect("probes").0
}

/// Nanoseconds from one switch to the next.
fn switch_ns() -> f64 {
    let start = Instant::now();
    super::pipe("0", TURNS as u64);
    start.elapsed().as_secs_f64() * 1e9 / (2.0 * TURNS)
}
