//! `cargo xtask cluster`: a real Kubernetes of one node, and the tests that need one.
//!
//! `tests/cluster` has what it is made of: Kubernetes as one Go binary, and `node.sh`, which starts it in namespaces of its
//! own. This file builds the binary once, starts and ends the node, and runs the suite `cluster` of the end-to-end tests there.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Subcommand;

use crate::build::{self, Profile};
use crate::command::{command, find, go, is_root, output, run_quietly, workspace};
use crate::helm;
use crate::image;
use crate::packages::{self, is_debian};
use crate::platform::Platform;

/// What a node consists of, besides Kubernetes: program, Debian package.
const PROGRAMS: &[(&str, &str)] = &[
    ("etcd", "etcd-server"),
    ("containerd", "containerd"),
    ("runc", "runc"),
    ("/usr/lib/cni/bridge", "containernetworking-plugins"),
    ("iptables", "iptables"),
    ("ip", "iproute2"),
    ("openssl", "openssl"),
    ("busybox", "busybox-static"),
    ("mount", "mount"),
    ("influxd", "influxdb"),
    ("influx", "influxdb-client"),
];
/// The names that the one binary answers to.
const PARTS: &[&str] = &[
    "kubelet",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kube-dns",
    "kubectl",
];
/// What the kubelet sets for the whole machine, and what is as it was when the node is gone.
const SYSCTLS: &[&str] = &[
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
];
/// The oldest Go, 1.N, that builds this Kubernetes.
const OLDEST_GO: u32 = 24;
/// The tests that run on a node.
pub(crate) const SUITE: &str = "cluster::";
/// The node's address, as `tests/cluster/node.sh` sets it.
const ADDRESS: &str = "192.0.2.1";
/// A start takes about 15 s, and several times that on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(240);
/// For the kernel to end what runs on a node.
const END_LIMIT: Duration = Duration::from_secs(60);

/// How much of the suite runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// What has its place in every run of all tests; each test that is left out says so.
    Short,
    /// All of it, with Helm, which is built for it.
    Whole,
}

/// What to do with the node.
#[derive(Subcommand)]
pub(crate) enum Action {
    /// Build Kubernetes with Go, once: target/cluster/bin.
    Build,
    /// Start the node.
    Up,
    /// Build the agent's image, start the node unless it is up, run the suite `cluster` there, whole, and end the node again.
    Test {
        /// Leave the node as it is after the tests.
        #[arg(long)]
        keep: bool,
        /// Only tests whose names contain this.
        #[arg(default_value = SUITE)]
        filter: String,
    },
    /// Run a command on the node: `cluster exec kubectl get pods -A`.
    Exec {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        args: Vec<String>,
    },
    /// End the node and everything that runs there.
    Down,
}

pub(crate) fn cluster(action: &Action) -> anyhow::Result<()> {
    match action {
        Action::Build => Build::start(0)?.finish(None).map(|_| ()),
        Action::Up => {
            let node = Node::up()?;
            println!("the node is up, as process {}: cargo xtask cluster exec kubectl get pods -A", node.pid);
            Ok(())
        }
        Action::Test { keep, filter } => test(*keep, filter, Extent::Whole),
        Action::Exec { args } => {
            let node = Node::running()?.context("no node is up: cargo xtask cluster up")?;
            run_quietly(node.command(&args[0])?.args(&args[1..]).stdin(Stdio::inherit()))
        }
        Action::Down => down(),
    }
}

/// Why there can be no node on this machine.
pub(crate) fn unavailable() -> Option<String> {
    if !is_root() {
        return Some("needs root".into());
    }
    if let Err(error) = recent_go() {
        return Some(format!("{error:#}"));
    }
    let missing: Vec<&str> =
        PROGRAMS.iter().map(|(program, _)| *program).filter(|program| find(program).is_none()).collect();
    if !missing.is_empty() && !is_debian() {
        return Some(format!("not installed: {}", missing.join(", ")));
    }
    let mut namespaces = Command::new("unshare");
    namespaces.args(["--mount", "--net", "--uts", "--pid", "--fork", "true"]);
    // Such as in a root directory that is no mount.
    output(&mut namespaces).err().map(|error| format!("cannot make namespaces: {error:#}"))
}

/// Kubernetes, being built.
pub(crate) struct Build {
    child: Option<Child>,
    start: Instant,
}

impl Build {
    /// Starts it at this niceness, unless it was built before.
    pub(crate) fn start(niceness: u32) -> anyhow::Result<Self> {
        let start = Instant::now();
        let source = source()?;
        if std::fs::read(built_from()).is_ok_and(|built| built == source) {
            return Ok(Self { child: None, start });
        }
        let text = String::from_utf8_lossy(&source);
        let version = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes v"))
            .context("tests/cluster/go.mod does not require k8s.io/kubernetes")?;
        let minor = version.split('.').nth(1).unwrap_or_default();
        // The API server answers for this version, and reports it to clients.
        let flags = format!(
            "-s -w -X k8s.io/component-base/version.gitVersion=v{version} \
             -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor={minor} \
             -X k8s.io/client-go/pkg/version.gitVersion=v{version}"
        );
        std::fs::create_dir_all(bin())?;
        let log = std::fs::File::create(build_log())?;
        let mut build = command("nice");
        build.arg("-n").arg(niceness.to_string()).arg(recent_go()?).current_dir(directory());
        build.args(["build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags", &flags, "-o"]);
        build.arg(bin().join("kubernetes")).arg(".").stdout(log.try_clone()?).stderr(log);
        // No C compiler is needed, and the Go that is installed is the one that builds.
        build.env("CGO_ENABLED", "0").env("GOTOOLCHAIN", "local");
        eprintln!("Kubernetes {version} is being built, once, which takes several minutes");
        let child = build.spawn().context("cannot start go")?;
        Ok(Self { child: Some(child), start })
    }

    /// Waits for it, not for longer than to a point in time when there is one. Returns whether it is there.
    pub(crate) fn finish(mut self, deadline: Option<Instant>) -> anyhow::Result<bool> {
        let Some(child) = &mut self.child else { return Ok(true) };
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if deadline.is_some_and(|deadline| Instant::now() > deadline) {
                return Ok(false);
            }
            pause();
        };
        if !status.success() {
            let log = std::fs::read_to_string(build_log())?;
            let lines: Vec<&str> = log.lines().collect();
            bail!(
                "cannot build Kubernetes: {status}\n{}",
                lines[lines.len().saturating_sub(20)..].join("\n")
            );
        }
        for part in PARTS {
            let link = bin().join(part);
            let _ = std::fs::remove_file(&link);
            std::os::unix::fs::symlink("kubernetes", &link)?;
        }
        std::fs::write(built_from(), source()?)?;
        eprintln!("Kubernetes: built in {:.0} s", self.start.elapsed().as_secs_f64());
        Ok(true)
    }
}

impl Drop for Build {
    /// Ends a build that is no longer waited for; what it has compiled is not compiled again.
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Go, of a version that builds this Kubernetes.
fn recent_go() -> anyhow::Result<PathBuf> {
    let go = go()?;
    let version = output(command(&go).args(["env", "GOVERSION"]).env("GOTOOLCHAIN", "local"))?;
    let minor = version.trim().strip_prefix("go1.").and_then(|rest| rest.split('.').next()?.parse().ok());
    if minor.is_none_or(|minor: u32| minor < OLDEST_GO) {
        bail!("{} is {}, and Kubernetes needs Go 1.{OLDEST_GO}", go.display(), version.trim());
    }
    Ok(go)
}

fn directory() -> PathBuf {
    workspace().join("tests/cluster")
}

fn bin() -> PathBuf {
    workspace().join("target/cluster/bin")
}

fn state() -> PathBuf {
    workspace().join("target/cluster/state")
}

/// What the parts of the node say: kept until the next one starts.
fn logs() -> PathBuf {
    workspace().join("target/cluster/log")
}

fn build_log() -> PathBuf {
    workspace().join("target/cluster/build.log")
}

/// A copy of what the binary was built from.
fn built_from() -> PathBuf {
    bin().join("built-from")
}

/// What the binary depends on.
fn source() -> anyhow::Result<Vec<u8>> {
    let mut source = Vec::new();
    for file in ["go.mod", "go.sum", "main.go", "names.go"] {
        let path = directory().join(file);
        source.extend(std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?);
    }
    Ok(source)
}

/// A running node.
struct Node {
    /// The first process of its namespaces, as this machine numbers it.
    pid: u32,
}

impl Node {
    /// The one that is up.
    fn running() -> anyhow::Result<Option<Self>> {
        let Ok(text) = std::fs::read_to_string(state().join("pid")) else { return Ok(None) };
        let (pid, started) = text.trim().split_once(' ').context("target/cluster/state/pid is broken")?;
        let pid = pid.parse()?;
        // Another process may have the number by now.
        Ok((start_time(pid).as_deref() == Some(started)).then_some(Self { pid }))
    }

    /// Starts one, unless one is up.
    fn up() -> anyhow::Result<Self> {
        if Self::running()?.is_some() {
            // Somebody may have lost patience while it started.
            return Self::ready(|| Ok(Self::running()?.is_some()));
        }
        if let Some(reason) = unavailable() {
            bail!("no cluster here: {reason}");
        }
        packages::install(PROGRAMS)?;
        Build::start(0)?.finish(None)?;
        // What one left that was not ended in good order.
        down()?;
        if let Some(cgroup) = cgroups()?.first() {
            bail!("{} is there: a kubelet that is not ours runs on this machine", cgroup.display());
        }
        let _ = std::fs::remove_dir_all(logs());
        std::fs::create_dir_all(logs())?;
        std::fs::create_dir_all(state())?;
        let sysctls: Vec<String> =
            SYSCTLS.iter().filter_map(|name| Some(format!("{name} {}", sysctl(name)?))).collect();
        std::fs::write(state().join("sysctls"), sysctls.join("\n"))?;
        let log = std::fs::File::create(logs().join("node.sh"))?;
        // A session of its own: it outlives this process, and no terminal interrupts it.
        let mut node = command("setsid");
        node.args(["unshare", "--mount", "--propagation", "slave", "--net", "--uts", "--pid", "--fork"]);
        node.arg("--kill-child");
        node.arg(directory().join("node.sh")).args([state(), logs(), bin()]);
        let mut node = node.stdout(log.try_clone()?).stderr(log).spawn().context("cannot start the node")?;
        let result = Self::ready(|| Ok(node.try_wait()?.is_none()));
        if result.is_err() {
            let _ = node.kill();
            node.wait()?;
            down()?;
        }
        result.with_context(|| format!("the node did not start; its logs: {}", logs().display()))
    }

    /// Brings it the images, and waits until it takes pods.
    fn ready(mut is_alive: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<Self> {
        let start = Instant::now();
        let mut wait = |what: &str, holds: &dyn Fn() -> anyhow::Result<bool>| {
            until(what, START_LIMIT, || {
                if !is_alive()? {
                    bail!("node.sh ended");
                }
                holds()
            })
        };
        wait("node.sh to begin", &|| Ok(Self::running()?.is_some()))?;
        let node = Self::running()?.context("node.sh ended")?;
        let succeeds = |args: &[&str]| Ok(output(node.command(args[0])?.args(&args[1..])).is_ok());
        wait("containerd", &|| succeeds(&["ctr", "version"]))?;
        let images = state().join("images.tar");
        run_quietly(command(directory().join("images.sh")).arg(&images))?;
        node.import(&images)?;
        let ready = ["kubectl", "wait", "--for=condition=Ready", "node/node-1", "--timeout=10s"];
        wait("the node to be ready", &|| succeeds(&ready))?;
        // Pods are refused as long as it is missing.
        let account = ["kubectl", "get", "serviceaccount", "default"];
        wait("the service account of pods", &|| succeeds(&account))?;
        eprintln!("the node is ready, after {:.0} s", start.elapsed().as_secs_f64());
        Ok(node)
    }

    /// A command that runs on the node, as its administrator.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> anyhow::Result<Command> {
        let mut enter = command("nsenter");
        enter
            .args(["--target", &self.pid.to_string(), "--mount", "--net", "--uts", "--pid", "--"])
            .arg(program);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::iter::once(bin()).chain(std::env::split_paths(&path)))?;
        enter.env("PATH", path).env("KUBECONFIG", state().join("admin.conf"));
        Ok(enter)
    }

    fn import(&self, image: &Path) -> anyhow::Result<()> {
        output(self.command("ctr")?.args(["--namespace", "k8s.io", "images", "import"]).arg(image))
            .map(|_| ())
    }
}

/// Runs the suite `cluster` on a node.
pub(crate) fn test(keep: bool, filter: &str, extent: Extent) -> anyhow::Result<()> {
    if extent == Extent::Whole
        && let Err(error) = helm::build()
    {
        eprintln!("the tests with Helm will skip: {error:#}");
    }
    let host = Platform::host();
    let tests = build::tests(host)?;
    let image = image::build(Profile::Fast, &[host], &workspace().join("target/cluster/image"))?;
    let keep = keep || Node::running()?.is_some();
    let node = Node::up()?;
    let result = (|| {
        node.import(&image)?;
        let mut suite = node.command(tests)?;
        suite.args([filter, "--test-threads=1", "--nocapture"]);
        suite.env("SEISMOGRAF_NODE", ADDRESS).env("RUST_BACKTRACE", "0");
        suite.env("SEISMOGRAF_BIN", build::agent(Profile::Fast, host)?);
        // What a user builds at leisure is built as the tests' own.
        suite.env(image::PROFILE, "fast");
        if extent == Extent::Whole {
            suite.env("SEISMOGRAF_WHOLE_CLUSTER", "1");
        }
        if let Some(helm) = helm::built() {
            suite.env("SEISMOGRAF_HELM", helm);
        }
        run_quietly(&mut suite)
    })();
    if !keep {
        let end = down();
        return result.and(end);
    }
    result
}

/// Ends the node, and puts back what it changed on this machine.
fn down() -> anyhow::Result<()> {
    if let Some(node) = Node::running()? {
        // The kernel ends whatever runs in the namespaces of this one process: containers and their shims too. Mounts,
        // interfaces and iptables rules go with the namespaces.
        run_quietly(command("sh").args(["-c", &format!("kill -KILL {}", node.pid)]))?;
        until("the node's processes to end", END_LIMIT, || Ok(Node::running()?.is_none()))?;
    }
    if !state().exists() {
        return Ok(());
    }
    until("the pods' cgroups to be empty", END_LIMIT, || {
        for cgroup in cgroups()? {
            remove_cgroup(&cgroup);
        }
        Ok(cgroups()?.is_empty())
    })?;
    for line in std::fs::read_to_string(state().join("sysctls")).unwrap_or_default().lines() {
        let (name, value) = line.split_once(' ').context("target/cluster/state/sysctls is broken")?;
        if sysctl(name).is_some_and(|now| now != value) {
            std::fs::write(Path::new("/proc/sys").join(name), value)
                .with_context(|| format!("cannot set {name} back"))?;
        }
    }
    for made in std::fs::read_to_string(state().join("made")).unwrap_or_default().lines() {
        let _ = std::fs::remove_dir(made);
    }
    std::fs::remove_dir_all(state()).context("cannot remove target/cluster/state")
}

/// Where a kubelet keeps its pods, in each hierarchy that has such a cgroup.
fn cgroups() -> anyhow::Result<Vec<PathBuf>> {
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let roots = mounts.lines().filter_map(|line| {
        let mut columns = line.split(' ').skip(1);
        let (path, kind) = (columns.next()?, columns.next()?);
        ["cgroup", "cgroup2"].contains(&kind).then(|| Path::new(path).join("kubepods"))
    });
    Ok(roots.filter(|cgroup| cgroup.exists()).collect())
}

/// Removes it with those below it, as far as the kernel lets them go.
fn remove_cgroup(cgroup: &Path) {
    for entry in std::fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&entry.path());
        }
    }
    let _ = std::fs::remove_dir(cgroup);
}

fn sysctl(name: &str) -> Option<String> {
    Some(std::fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?.trim().to_owned())
}

/// When a process started, in the kernel's own unit; what tells it from a later one of the same number.
fn start_time(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, can have spaces; the start time is the 22nd of all, and the 20th after the name.
    Some(stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.to_owned())
}

fn until(what: &str, limit: Duration, mut done: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let start = Instant::now();
    while !done()? {
        if start.elapsed() > limit {
            bail!("timed out after {limit:?} waiting for {what}");
        }
        pause();
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the one place that waits between two looks at a condition")]
fn pause() {
    std::thread::sleep(Duration::from_millis(200));
}
