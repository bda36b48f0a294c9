//! `seismograf doctor`: what this host supports, each probe on or off and why, and what to do.
//!
//! Loads and attaches the probes for a moment, as a run would, and leaves nothing behind.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use super::host;
use crate::config::{Config, OutputSection};
use crate::exit::Exit;
use crate::host::Host;
use crate::host::hierarchies::{Hierarchies, HierarchyId, Layout};
use crate::host::proc::pid_status;
use crate::inputs::{docker, ebpf, kubernetes};
use crate::kernel::cpu_source::CpuSource;
use crate::kernel::load::{Probes, possible_cpus};
use crate::kernel::pins::Pins;
use crate::kernel::plan::{Group, GroupState, Probe, ProbeOptions, Report};
use crate::plugins::{InputOptions, OutputOptions};
use crate::service::privilege;

/// What the doctor found.
#[derive(Debug)]
pub struct Findings {
    /// The report, for a person to read.
    pub text: String,
    /// Whether everything that is configured is on and can be reached.
    pub is_healthy: bool,
}

/// The capabilities that the probes need, by bit (`include/uapi/linux/capability.h`).
const CAPABILITIES: &[(u32, &str)] = &[(12, "NET_ADMIN"), (38, "PERFMON"), (39, "BPF")];
/// The one that stands for all of them, and that alone lets the kernel measure what probes cost.
const SYS_ADMIN: (u32, &str) = (21, "SYS_ADMIN");

/// `seismograf doctor`
///
/// # Errors
/// The standard output cannot be written to.
pub async fn run(config: &Config) -> anyhow::Result<Exit> {
    let findings = examine(config, &host()).await;
    std::io::stdout().write_all(findings.text.as_bytes())?;
    Ok(if findings.is_healthy { Exit::Ok } else { Exit::Unhealthy })
}

impl Findings {
    fn line(&mut self, name: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.text, "{name:<14} {value}");
    }

    /// What something that is configured says of itself, or why it cannot be used.
    fn answer(&mut self, name: &str, answer: Result<String, String>) {
        self.is_healthy &= answer.is_ok();
        self.line(name, answer.unwrap_or_else(|problem| problem));
    }
}

/// Examines everything that a run with `config` would use.
pub async fn examine(config: &Config, host: &Host) -> Findings {
    let mut findings = Findings { text: String::new(), is_healthy: true };
    machine(&mut findings, host, wants_costs(config));
    privileges(&mut findings, config.agent.drops_privileges);
    let advices = probes(&mut findings, config, host);
    budgets(&mut findings, config);
    for section in &config.inputs {
        match &section.options {
            InputOptions::Docker(options) => findings.answer("input docker", docker(options).await),
            InputOptions::Kubernetes(options) => {
                findings.answer("input kubernetes", kubelet(options, host).await);
            }
            _ => {}
        }
    }
    for section in &config.outputs {
        let name = told_apart(section, &config.outputs);
        for (place, answer) in check(&section.options).await {
            let at = |text: String| format!("{place}: {text}");
            findings.answer(&format!("output {name}"), answer.map(at).map_err(at));
        }
    }
    for advice in advices {
        let _ = writeln!(findings.text, "to do: {advice}");
    }
    findings
}

/// The kernel, and the privileges of this process.
fn machine(findings: &mut Findings, host: &Host, wants_costs: bool) {
    let uname = rustix::system::uname();
    let (release, machine) = (uname.release().to_string_lossy(), uname.machine().to_string_lossy());
    findings.line("kernel", format_args!("{release} {machine}"));
    let btf = host.sys("kernel/btf/vmlinux");
    let btf =
        if btf.exists() { btf.display().to_string() } else { format!("none: {} is missing", btf.display()) };
    findings.line("BTF", btf);
    let lockdown = std::fs::read_to_string(host.sys("kernel/security/lockdown"));
    let lockdown =
        lockdown.ok().and_then(|modes| Some(modes.split('[').nth(1)?.split(']').next()?.to_owned()));
    findings.line("lockdown", lockdown.unwrap_or_else(|| "none".into()));
    findings
        .line("user", format_args!("{}{}", rustix::process::geteuid().as_raw(), capabilities(wants_costs)));
}

/// What a run gives up once it has started.
fn privileges(findings: &mut Findings, drops: bool) {
    if !drops {
        return findings.line("after start", "keeps all privileges, as `privileges` of [agent] says");
    }
    findings.line("after start", privilege::outlook());
}

/// The cgroup hierarchies and each probe. Returns what to do about probes that are off.
fn probes(findings: &mut Findings, config: &Config, host: &Host) -> Vec<String> {
    let ebpf = config.inputs.iter().find_map(|section| match &section.options {
        InputOptions::Ebpf(options) => Some(options.clone()),
        _ => None,
    });
    let configured = ebpf.as_ref().map(ebpf::Options::kernel);
    let hierarchies = Hierarchies::read(host);
    // Probes that are not configured are tried too, to find out whether they would work.
    let all = configured.clone().unwrap_or_else(|| ebpf::Options::default().kernel());
    let all = ProbeOptions { probes: Probe::ALL.to_vec(), ..all };
    let (opened, report) = Probes::open(&all, host, &hierarchies, None, || ());
    let probes = opened.map(|(probes, _)| probes).filter(|_| configured.is_some());
    sources(findings, host, probes.as_ref(), &report);
    let mut advices: Vec<String> = Vec::new();
    for (group, state) in &report.groups {
        let (value, is_fine) = said(*group, state, configured.as_ref());
        findings.is_healthy &= is_fine;
        if let GroupState::Off { advice, .. } = state
            && !advice.is_empty()
            && !advices.contains(advice)
        {
            advices.push(advice.clone());
        }
        findings.line(&format!("probe {}", group.name()), value);
    }
    if report.map_bytes > 0 && configured.is_some() {
        findings.line("kernel maps", format_args!("{} KiB", report.map_bytes / 1024));
    }
    if let Some(pins) = Pins::look(Path::new(ebpf.unwrap_or_default().pin_path())) {
        findings.line("pinned probes", pins);
    }
    advices
}

/// What is said of a group, and whether that is as it is `configured`; `None` where there is no `[[inputs.ebpf]]`.
fn said(group: Group, state: &GroupState, configured: Option<&ProbeOptions>) -> (String, bool) {
    let is_configured = configured.is_some_and(|options| match group {
        Group::Probe(probe) => options.probes.contains(&probe),
        Group::Lifecycle | Group::Oom => true,
    });
    match state {
        GroupState::On if is_configured => ("on".into(), true),
        GroupState::On if configured.is_none() => {
            ("available, not configured: there is no [[inputs.ebpf]]".into(), true)
        }
        GroupState::On => ("available, not configured: add it to `probes` of [[inputs.ebpf]]".into(), true),
        GroupState::NotAsked => ("not configured".into(), true),
        GroupState::Off { why, .. } => (format!("OFF: {why}"), !is_configured),
    }
}

/// Where figures of cgroups and processes come from.
fn sources(findings: &mut Findings, host: &Host, probes: Option<&Probes>, report: &Report) {
    let hierarchies = &report.hierarchies;
    findings.line("cgroups", layout(hierarchies.layout()));
    let place = |id: HierarchyId| match (hierarchies.mount(id), hierarchies.part(id)) {
        (Some(mount), _) => mount.display().to_string(),
        (None, Some((why, _))) => format!("NOT USABLE: {why}"),
        (None, None) => "not mounted".into(),
    };
    let source = match report.cpu_source {
        CpuSource::Probe => "",
        CpuSource::Kernel => ", by the kernel's own sums",
    };
    findings.line("  cpu in", format_args!("{}{source}", place(hierarchies.cpu().1)));
    findings.line("  blkio in", place(hierarchies.blkio()));
    let way = if probes.is_some_and(Probes::has_pass) { "in one pass" } else { "by a file of each cgroup" };
    findings.line("  memory in", format_args!("{}, {way}", place(hierarchies.memory())));
    findings.line("  net in", place(HierarchyId::UNIFIED));
    let counts = host.is_host_pid_namespace() && probes.is_some_and(|probes| probes.processes().is_some());
    let way = if counts { "by the kernel, beside [[inputs.ebpf]]" } else { "by a file of each" };
    findings.line("processes", format_args!("counted {way}"));
}

/// What a run takes of this machine at most.
fn budgets(findings: &mut Findings, config: &Config) {
    let budgets = config.budgets(possible_cpus() as u64);
    findings.line("memory", format_args!("at most {}", budgets.memory()));
    findings.line("disk", format_args!("at most {}", budgets.disk()));
    findings.line("connections", format_args!("at most {}", budgets.sum().connections));
    findings.line("open files", format_args!("at most {}", budgets.files));
    findings.line("series", budgets.series());
}

fn layout(layout: Layout) -> &'static str {
    match layout {
        Layout::Unified => "v2",
        Layout::Hybrid => "v1 controllers, with cgroup2 beside them",
        Layout::Legacy => "v1 alone: no network figures",
        Layout::None => "none mounted",
    }
}

/// Whether the kernel is to measure what the probes cost.
fn wants_costs(config: &Config) -> bool {
    config.inputs.iter().any(
        |section| matches!(&section.options, InputOptions::Ebpf(options) if options.kernel().probe_costs),
    )
}

/// The capabilities that this process has, and those that it lacks (`CapEff` in proc(5) `PID/status`).
fn capabilities(wants_costs: bool) -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let Some(bits) = pid_status::effective_capabilities(&status) else { return String::new() };
    let (held, missing) = held_and_missing(bits, wants_costs);
    format!("; capabilities {}; missing {}", or_none(&held.join(" ")), or_none(&missing.join(" ")))
}

fn held_and_missing(bits: u64, wants_costs: bool) -> (Vec<&'static str>, Vec<&'static str>) {
    let has = |(bit, _): &&(u32, &str)| bits >> bit & 1 == 1;
    let has_all = has(&&SYS_ADMIN);
    let needed = CAPABILITIES.iter().filter(|_| !has_all);
    let needed = needed.chain(wants_costs.then_some(&SYS_ADMIN));
    let missing = needed.filter(|capability| !has(capability));
    let held = CAPABILITIES.iter().chain([&SYS_ADMIN]).filter(has);
    (held.map(|(_, name)| *name).collect(), missing.map(|(_, name)| *name).collect())
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

/// The kubelet, and which requests it allows.
async fn kubelet(options: &kubernetes::Options, host: &Host) -> Result<String, String> {
    let client = options.client(host).map_err(|error| format!("NOT USABLE: {error}"))?;
    // Each needs its own permission.
    let pods = client.pods().await;
    let summary = client.summary().await;
    let is_whole = pods.is_ok() && summary.is_ok();
    let pods = pods.map_or_else(|error| format!("NO PODS: {error}"), |pods| format!("{} pods", pods.len()));
    let summary = summary.map_or_else(|error| format!("NO STATISTICS: {error}"), |_| "statistics".to_owned());
    let text = format!("{}: {pods}, {summary}", client.url());
    if is_whole { Ok(text) } else { Err(text) }
}

/// Whether a docker daemon can be reached, and what it reports about itself.
async fn docker(options: &docker::Options) -> Result<String, String> {
    let client = options.client(|name| std::env::var(name).ok());
    let client = client.map_err(|error| format!("NOT USABLE: {error}"))?;
    let info = async {
        client.negotiate().await?;
        client.info().await
    };
    let info = info.await.map_err(|error| format!("NOT REACHED: {error}"))?;
    let version = client.version().map_or_else(String::new, |version| version.to_string());
    let (n, server) = (info.containers, info.server_version);
    Ok(format!("{}: docker {server}, API {version}, {n} containers", client.endpoint()))
}

/// The name of an output among others: with its alias, or else with its place where there are several of the name.
fn told_apart(section: &OutputSection, all: &[OutputSection]) -> String {
    let name = section.options.name();
    let of_one_name = |other: &&OutputSection| other.options.name() == name && other.common.alias.is_none();
    match &section.common.alias {
        Some(alias) => format!("{name}::{alias}"),
        None if all.iter().filter(of_one_name).count() > 1 => format!("{name} ({})", section.place),
        None => name.to_owned(),
    }
}

/// Each place that an output writes to, and what it reports about itself.
async fn check(options: &OutputOptions) -> Vec<(String, Result<String, String>)> {
    let outputs = match options.clone().build() {
        Ok(outputs) => outputs,
        Err(error) => return vec![("the section".into(), Err(format!("NOT USABLE: {error}")))],
    };
    let mut answers = Vec::new();
    for output in outputs {
        for (place, answer) in output.check().await {
            answers.push((place, answer.map_err(|error| format!("NOT USABLE: {error}"))));
        }
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::env::Environment;
    use crate::config::file;
    use crate::config::reading::{Reading, Source};

    const BPF: u64 = 1 << 39 | 1 << 38 | 1 << 12;
    const ADMIN: u64 = 1 << 21;

    #[test]
    fn nothing_is_missing_that_is_not_needed() {
        assert_eq!(held_and_missing(BPF, false), (vec!["NET_ADMIN", "PERFMON", "BPF"], vec![]));
        assert_eq!(held_and_missing(BPF, true).1, ["SYS_ADMIN"]);
        assert_eq!(held_and_missing(ADMIN, true), (vec!["SYS_ADMIN"], vec![]));
        assert_eq!(held_and_missing(1 << 39, false).1, ["NET_ADMIN", "PERFMON"]);
        assert_eq!(held_and_missing(0, false), (vec![], vec!["NET_ADMIN", "PERFMON", "BPF"]));
    }

    #[tokio::test]
    async fn what_cannot_be_reached_is_not_healthy() {
        let mut findings = Findings { text: String::new(), is_healthy: true };
        findings.answer("input docker", Ok("fine".into()));
        assert!(findings.is_healthy);
        let options = OutputOptions::Influxdb(crate::outputs::influxdb::Options {
            // Nobody listens at the discard port.
            urls: vec!["http://127.0.0.1:9".into()],
            ..Default::default()
        });
        for (place, answer) in check(&options).await {
            findings.answer(&place, answer);
        }
        assert!(!findings.is_healthy);
        assert!(findings.text.contains("NOT USABLE: "), "{}", findings.text);
    }

    fn config(text: &str) -> Config {
        let source = Source { path: "a.conf".into(), text: text.into() };
        file::load(&[source], &Reading::of_text(Environment::strict(&|_| None), "h")).unwrap()
    }

    #[test]
    fn outputs_are_told_apart_by_alias_or_by_place() {
        let text = "[[outputs.influxdb]]\n[[outputs.influxdb]]\nalias = \"a\"\n[[outputs.influxdb]]\n[[outputs.file]]\n";
        let outputs = config(text).outputs;
        let names: Vec<String> = outputs.iter().map(|section| told_apart(section, &outputs)).collect();
        assert_eq!(names, ["influxdb (a.conf:1:1)", "influxdb::a", "influxdb (a.conf:4:1)", "file"]);
    }

    #[test]
    fn probes_are_not_on_without_a_section_that_asks_for_them() {
        let off = GroupState::Off { why: "no BTF".into(), advice: String::new() };
        let without = [(Group::Lifecycle, &GroupState::On), (Group::Probe(Probe::Cpu), &off)]
            .map(|(group, state)| said(group, state, None));
        assert_eq!(
            without,
            [
                ("available, not configured: there is no [[inputs.ebpf]]".to_owned(), true),
                ("OFF: no BTF".to_owned(), true)
            ]
        );
        let cpu = ProbeOptions { probes: vec![Probe::Cpu], ..ebpf::Options::default().kernel() };
        let with = [
            (Group::Oom, &GroupState::On),
            (Group::Probe(Probe::Cpu), &off),
            (Group::Probe(Probe::Net), &GroupState::On),
        ]
        .map(|(group, state)| said(group, state, Some(&cpu)));
        assert_eq!(
            with,
            [
                ("on".to_owned(), true),
                ("OFF: no BTF".to_owned(), false),
                ("available, not configured: add it to `probes` of [[inputs.ebpf]]".to_owned(), true)
            ]
        );
    }
}
