//! `cargo xtask test`: everything, in the order of what fails soonest, and the end-to-end tests last.

mod parts;

use std::ffi::OsStr;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::build::{self, Profile};
use crate::command::{command, run, run_quietly, workspace};
use crate::packages;
use crate::platform::Platform;
use crate::{cadvisor, clients, cluster, fuzz, influxd2, kafka, otelcol, telegraf, tidy, victoria, vm};

/// What the end-to-end tests use: program, Debian package.
const PROGRAMS: &[(&str, &str)] = &[
    ("ip", "iproute2"),
    ("ethtool", "ethtool"),
    ("sysctl", "procps"),
    ("mkfs.ext4", "e2fsprogs"),
    ("losetup", "mount"),
    ("mount", "mount"),
    ("setpriv", "util-linux"),
    ("taskset", "util-linux"),
    ("influxd", "influxdb"),
    ("influx", "influxdb-client"),
    ("curl", "curl"),
    ("etcd", "etcd-server"),
    ("victoria-metrics", "victoria-metrics"),
    ("prometheus", "prometheus"),
    ("prometheus-node-exporter", "prometheus-node-exporter"),
    ("dockerd", "docker.io"),
    ("iptables", "iptables"),
    ("busybox", "busybox-static"),
    ("perf", "linux-perf"),
    ("strace", "strace"),
    ("valgrind", "valgrind"),
    ("tmux", "tmux"),
    ("chromium", "chromium"),
];

/// How long after the start Kubernetes has to be built, which a new machine does not reach: the tests in it take ten minutes more.
/// What is compiled by then is not compiled again in the next run.
const KUBERNETES_LIMIT: Duration = Duration::from_secs(10 * 60);
/// Set to 1, it has the tests in a cluster wait for Kubernetes however long that takes.
const CLUSTER: &str = "SEISMOGRAF_CLUSTER";

/// Runs everything.
pub(crate) fn test() -> anyhow::Result<()> {
    let start = Instant::now();
    let kubernetes = match cluster::unavailable() {
        // The lowest priority: it takes what the other steps leave of the CPUs.
        None => Some(cluster::Build::start(19)?),
        Some(reason) => {
            skip_cluster(&reason);
            None
        }
    };
    let clippy = ["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"];
    let steps: &[(&str, &dyn Fn() -> anyhow::Result<()>)] = &[
        ("format", &|| run(command("cargo").args(["fmt", "--all", "--check"]))),
        ("tidy", &tidy::tidy),
        ("BPF object", &build::check_reproducible),
        ("lints", &|| run(command("cargo").args(clippy))),
        // Outputs are left out by whoever builds without them.
        ("lints without outputs", &|| {
            let bare = ["clippy", "--quiet", "-p", "seismograf", "--no-default-features", "--"];
            run(command("cargo").args(bare).args(["-D", "warnings"]))
        }),
        ("docs", &|| {
            let mut doc = command("cargo");
            doc.args(["doc", "--quiet", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
            run(&mut doc)
        }),
        // Those named `docs_` hold the generated documents against the code.
        ("unit tests", &|| {
            let crates = ["seismograf", "seismograf-ebpf", "xtask"].map(|name| ["-p", name]);
            run(command("cargo").args(["test", "--quiet"]).args(crates.as_flattened()))
        }),
        ("fuzz targets", &fuzz::check),
        ("other kernels", &vm::among_all_tests),
    ];
    for (name, step) in steps {
        timed(name, step)?;
    }
    // What is measured from here on is measured alone.
    let has_kubernetes = match kubernetes {
        Some(build) => {
            let waits = std::env::var(CLUSTER).is_ok_and(|value| value == "1");
            let deadline = (!waits).then(|| start + KUBERNETES_LIMIT);
            let is_built = timed("Kubernetes", || build.finish(deadline))?;
            if !is_built {
                skip_cluster(&format!("Kubernetes is not built after {KUBERNETES_LIMIT:?}"));
            }
            is_built
        }
        None => false,
    };
    timed("end to end", || parts::run(&e2e_test(Profile::Fast)?))?;
    if has_kubernetes {
        eprintln!("== cluster");
        cluster::test(false, cluster::SUITE, cluster::Extent::Short)?;
    }
    Ok(())
}

fn skip_cluster(reason: &str) {
    println!(
        "skipped: the tests in a Kubernetes: {reason}; by themselves they run by `cargo xtask cluster test`"
    );
}

/// Says which step begins, and how long it took.
fn timed<T>(name: &str, step: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let start = Instant::now();
    eprintln!("== {name}");
    let result = step()?;
    eprintln!("== {name}: {:.0} s", start.elapsed().as_secs_f64());
    Ok(result)
}

/// The number of lines that the test of the parser generates.
const JUDGED_LINES: &str = "SEISMOGRAF_JUDGED_LINES";

/// The variable that names a Telegraf.
const TELEGRAF: &str = "SEISMOGRAF_TELEGRAF";

/// Runs that test alone, with so many lines.
pub(crate) fn judge(n_lines: usize) -> anyhow::Result<()> {
    packages::install(PROGRAMS)?;
    let mut test = command(build::tests(Platform::host())?);
    run(test.args(["--test-threads=1", "--nocapture", "lines"]).env(JUDGED_LINES, n_lines.to_string()))
}

/// The variable that names the file that the layout of the program is written to.
const LAYOUT: &str = "SEISMOGRAF_LAYOUT";

/// Writes it.
pub(crate) fn layout() -> anyhow::Result<()> {
    let file = workspace().join("agent/layout.ld").display().to_string();
    e2e_of(Profile::Symbols, &["layout::".to_owned()], &[(LAYOUT, file)])
}

/// Runs the end-to-end tests against the agent, with these variables; their own last line is the last.
pub(crate) fn e2e(args: &[String], variables: &[(&str, String)]) -> anyhow::Result<()> {
    e2e_of(Profile::Fast, args, variables)
}

/// As [`e2e`], of the agent as that profile has it built.
pub(crate) fn e2e_of(profile: Profile, args: &[String], variables: &[(&str, String)]) -> anyhow::Result<()> {
    let mut test = e2e_test(profile)?(&[]);
    test.args(args).envs(variables.iter().map(|(name, value)| (name, value)));
    run_quietly(&mut test)
}

/// What makes the command that runs the end-to-end tests, one after the other, against the agent as that profile has it built. It
/// is given the words of another command that runs this one, if any.
fn e2e_test(profile: Profile) -> anyhow::Result<impl Fn(&[&str]) -> Command> {
    packages::install(PROGRAMS)?;
    clients::install();
    let agent = build::agent(profile, Platform::host())?;
    let tests = build::tests(Platform::host())?;
    let bench_object = build::bench_object()?;
    let kafka = kafka::install();
    Ok(move |before: &[&str]| {
        let mut words = before.iter().map(OsStr::new).chain([tests.as_os_str()]);
        let mut test = command(words.next().unwrap_or_default());
        test.args(words);
        test.args(["--test-threads=1", "--nocapture"]);
        test.env("SEISMOGRAF_BIN", &agent).env("SEISMOGRAF_BENCH_OBJECT", &bench_object);
        if let Some(influxd2) = influxd2::built() {
            test.env("SEISMOGRAF_INFLUXD2", influxd2);
        }
        if let Some(cadvisor) = cadvisor::built() {
            test.env("SEISMOGRAF_CADVISOR", cadvisor);
        }
        if let Some(otelcol) = otelcol::built() {
            test.env("SEISMOGRAF_OTELCOL", otelcol);
        }
        if let Some(victoria) = victoria::built() {
            test.env("SEISMOGRAF_VICTORIA", victoria);
        }
        if let Some(kafka) = &kafka {
            test.env("SEISMOGRAF_KAFKA", kafka);
        }
        // Somebody may want another one to be compared with.
        if let Some(telegraf) = telegraf::built().filter(|_| std::env::var_os(TELEGRAF).is_none()) {
            test.env(TELEGRAF, telegraf);
        }
        test.env("RUST_BACKTRACE", "0");
        test
    })
}
