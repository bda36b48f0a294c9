//! `cargo xtask test`: everything, in the order of what fails soonest, and the end-to-end tests last.

use std::time::Instant;

use crate::build::{self, Profile};
use crate::command::{apt_install, command, find, is_debian, is_root, run, run_quietly};
use crate::{codegen, tidy, vm};

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
    ("dockerd", "docker.io"),
    ("iptables", "iptables"),
    ("busybox", "busybox-static"),
    ("perf", "linux-perf"),
];

/// Runs everything.
pub(crate) fn test() -> anyhow::Result<()> {
    let clippy = ["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"];
    let steps: &[(&str, &dyn Fn() -> anyhow::Result<()>)] = &[
        ("format", &|| run(command("cargo").args(["fmt", "--all", "--check"]))),
        ("tidy", &tidy::tidy),
        ("BPF object", &build::check_reproducible),
        ("lints", &|| run(command("cargo").args(clippy))),
        ("docs", &|| {
            let mut doc = command("cargo");
            doc.args(["doc", "--quiet", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
            run(&mut doc)
        }),
        ("unit tests", &|| {
            run(command("cargo").args([
                "test",
                "--quiet",
                "-p",
                "seismograf",
                "-p",
                "seismograf-ebpf",
                "-p",
                "xtask",
            ]))
        }),
        ("generated documents", &|| codegen::codegen(true)),
        ("other kernels", &|| vm::vm(&[])),
        ("end to end", &|| e2e(&[])),
    ];
    for (name, step) in steps {
        let start = Instant::now();
        eprintln!("== {name}");
        step()?;
        if *name != "end to end" {
            eprintln!("== {name}: {:.0} s", start.elapsed().as_secs_f64());
        }
    }
    Ok(())
}

/// Runs the end-to-end tests against the agent; their own last line is the last.
pub(crate) fn e2e(args: &[String]) -> anyhow::Result<()> {
    install(PROGRAMS)?;
    let agent = build::agent(Profile::Fast)?;
    let mut test = command(build::tests()?);
    test.args(["--test-threads=1", "--nocapture"]).args(args);
    test.env("SEISMOGRAF_BIN", agent).env("SEISMOGRAF_BENCH_OBJECT", build::bench_object()?);
    run_quietly(test.env("RUST_BACKTRACE", "0"))
}

/// Installs the Debian packages of programs that are missing; elsewhere the tests that need them skip, and say so.
pub(crate) fn install(programs: &[(&str, &str)]) -> anyhow::Result<()> {
    let mut packages: Vec<&str> =
        programs.iter().filter(|(program, _)| find(program).is_none()).map(|(_, package)| *package).collect();
    packages.dedup();
    if !packages.is_empty() && is_debian() && is_root() {
        eprintln!("the tests need {}: installing", packages.join(", "));
        apt_install(&packages)?;
    }
    Ok(())
}
