//! A system of its own, booted with its systemd as a container, for one script: `systemd-nspawn` gives it its own processes,
//! mounts and network. What it writes is forgotten.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, bail};

use crate::command::{command, run_quietly, workspace};

/// The longest that a script may take.
const LIMIT: &str = "600";
/// What a line of a script's report begins with.
const REPORT: &str = "dist: ";
/// What every script begins with.
const PRELUDE: &str = include_str!("guest.sh");
const UNIT: &str = "[Unit]\nAfter=multi-user.target\n\
    [Service]\nType=oneshot\nStandardOutput=file:/dev/console\nStandardError=file:/dev/console\n\
    ExecStart=/bin/sh /check/script\nTimeoutStartSec=infinity\n";

/// A script to run as root in a booted system.
pub(super) struct Guest<'a> {
    /// What it is called in the report.
    pub(super) name: &'a str,
    /// The system.
    pub(super) root: &'a Path,
    pub(super) script: &'a str,
    /// Files and folders that it can read, and where.
    pub(super) files: &'a [(PathBuf, &'a str)],
}

impl Guest<'_> {
    /// Boots, shows the report, and fails where the script did.
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let check = workspace().join("target/roots").join(format!("{}.check", self.name));
        fs::create_dir_all(&check)?;
        fs::write(check.join("script"), format!("{PRELUDE}{}\nfinish\n", self.script))?;
        fs::write(check.join("check.service"), UNIT)?;
        let bind = |from: &Path, to: &str| format!("--bind-ro={}:{to}", from.display());
        // Both of its streams in one, in the order of what happens.
        let mut nspawn = command("sh");
        nspawn.args([
            "-c",
            "exec timeout --kill-after=10 \"$@\" 2>&1",
            "sh",
            LIMIT,
            "systemd-nspawn",
            "--quiet",
        ]);
        nspawn.args(["--volatile=overlay", "--boot", "--private-network", "--console=read-only"]);
        if !Path::new("/run/systemd/system").exists() {
            // Nobody here could be told, or asked for a cgroup.
            nspawn.args(["--register=no", "--keep-unit"]);
        }
        // What the unit asks for, and no container has by itself; and the host's cgroups, as a machine has them.
        nspawn.args(["--capability=CAP_BPF,CAP_PERFMON,CAP_NET_ADMIN", "--system-call-filter=bpf"]);
        nspawn.env("SYSTEMD_NSPAWN_USE_CGNS", "0");
        // Whatever the hierarchies of this machine: newer ones of systemd take no other.
        nspawn.env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1");
        nspawn.arg("--directory").arg(self.root).arg(bind(&check, "/check"));
        nspawn.arg(bind(&check.join("check.service"), "/etc/systemd/system/check.service"));
        nspawn.args(self.files.iter().map(|(from, to)| bind(from, to)));
        nspawn.args(["systemd.wants=check.service", "systemd.show_status=0"]);
        // It would take the console for itself.
        nspawn.arg("systemd.mask=console-getty.service");
        let mut child = nspawn.stdout(Stdio::piped()).spawn()?;
        let (mut has_passed, mut all) = (false, Vec::new());
        for line in BufReader::new(child.stdout.take().context("no output")?).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).trim_end().to_owned();
            if let Some(report) = line.strip_prefix(REPORT) {
                println!("{}: {report}", self.name);
                has_passed |= report == "pass";
            }
            all.push(line);
        }
        let status = child.wait()?;
        fs::remove_dir_all(&check)?;
        remove_cgroups();
        if !has_passed {
            println!("{}", all[all.len().saturating_sub(120)..].join("\n"));
            bail!("{}: the checks in the system failed; it ended with {status}", self.name);
        }
        Ok(())
    }
}

/// Removes the cgroups that are left of a system where no systemd does it, below this process's own.
fn remove_cgroups() {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(kind), Some(path)) = (parts.next(), parts.next()) else { continue };
        let mounts: &[&str] = match kind {
            "" => &["", "unified"],
            "name=systemd" => &["systemd"],
            _ => continue,
        };
        for mount in mounts {
            let payload =
                Path::new("/sys/fs/cgroup").join(mount).join(path.trim_start_matches('/')).join("payload");
            if payload.exists() {
                let mut find = command("find");
                let _ = run_quietly(
                    find.arg(payload).args(["-depth", "-type", "d", "-exec", "rmdir", "{}", "+"]),
                );
            }
        }
    }
}
