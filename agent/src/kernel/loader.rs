//! Opens the BPF object for this kernel: its globals, its maps, and what of it an agent before this one has pinned.

use std::borrow::Cow;
use std::sync::Arc;

use aya::{Btf as AyaBtf, EbpfLoader};
use landlock::{AccessFs, RulesetAttr as _};
use seismograf_ebpf::abi::TABLES;

use super::btf::{Btf, CGROUP_ITERATOR, TASK_ITERATOR, TRACEPOINTS};
use super::cpu_source::{self, CpuSource};
use super::fold::{Values, fold};
use super::held::{Held, Origin, Pinning};
use super::object::OBJECT;
use super::offsets::Offsets;
use super::pins::{self, Found, Pinned, Pins, PinsError, RING};
use super::plan::{GroupState, Probe, ProbeOptions};
use super::refusal::{off, refused};
use super::tables;
use crate::host::Host;
use crate::host::hierarchies::{Hierarchies, HierarchyId};
use crate::service::memory;

/// The value that aya-log-ebpf's level global takes for "nothing".
const LOG_NOTHING: u8 = 0;
/// The level of the messages that report a cgroup's life cycle.
const LOG_DEBUG: u8 = aya_log::Level::Debug as u8;

/// Where to pin, and the number of the ring buffer whose records are remembered.
pub type PinsAndRing<'a> = (&'a Arc<Pins>, Option<u32>);

/// How the programs have the offsets of this kernel's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// In their instructions.
    Folded,
    /// In globals, as they were built.
    Plain,
}

/// The object with its maps.
pub(super) struct Loaded {
    pub(super) held: Held,
    pub(super) origin: Origin,
    pub(super) offsets: Offsets,
    pub(super) btf: AyaBtf,
    pub(super) cpu_source: CpuSource,
}

/// Opens the object and makes the maps, or takes over those that are pinned.
pub(super) fn load(
    options: &ProbeOptions,
    host: &Host,
    hierarchies: &Hierarchies,
    host_net: Option<u64>,
    pins: Option<PinsAndRing<'_>>,
    form: Form,
) -> Result<Loaded, GroupState> {
    if OBJECT.is_empty() {
        return Err(off("this agent was built without its BPF object", "build it with: cargo xtask build"));
    }
    let (offsets, btf) = types(host, hierarchies)?;
    raise_memlock();

    let log_level = if logs() { LOG_DEBUG } else { LOG_NOTHING };
    let ring_bytes = ring_bytes(options.ring_bytes);
    let mut globals = vec![
        ("WAKEUP_BYTES", u64::from(ring_bytes / 2)),
        ("MAY_READ_KERNEL", u64::from(!is_confidential(host))),
        ("HOST_NET_INUM", host_net.unwrap_or(0)),
    ];
    globals.extend(offsets.globals());
    let n_cpus = tables::entries().map_err(|error| refused("list of CPUs", &error))?;
    let cpu_source = find_cpu_source(options, host, hierarchies, (&offsets, &btf));
    globals.push(("POSSIBLE_CPUS", if cpu_source == CpuSource::Kernel { n_cpus.into() } else { 0 }));
    let start_ns = monotonic_ns();
    let mut loader = new_loader();
    loader.btf(Some(&btf)).map_max_entries(RING, ring_bytes);
    for table in TABLES {
        loader.map_max_entries(table, n_cpus);
    }
    loader.override_global("AYA_LOG_LEVEL", &log_level, true);
    loader.override_global("START_NS", &start_ns, true);
    for (global, value) in &globals {
        loader.override_global(global, value, true);
    }
    let version = version(options, ring_bytes, &globals, host);
    let (pinned, origin) = find(pins, &version);
    for (map, path) in &pinned.maps {
        loader.map_pin_path(map, path);
    }
    let object = match form {
        Form::Folded => folded(&Values { globals: &globals, functions: offsets.functions() }),
        Form::Plain => Cow::Borrowed(OBJECT),
    };
    let ebpf = loader.load(&object).map_err(|error| refused("maps", &error))?;
    drop(loader);
    let pinning = match &origin {
        Origin::TakenOver => pins.map(|(pins, _)| Pinning::taken_over(pins, version, &pinned)),
        _ => {
            pins.and_then(|(pins, _)| Pinning::begin(pins, version, &ebpf).map_err(|error| log(&error)).ok())
        }
    };
    Ok(Loaded { held: Held::new(ebpf, pinned, pinning), origin, offsets, btf, cpu_source })
}

/// Where CPU time is to come from: the kernel's own sums only where they can be read.
fn find_cpu_source(
    options: &ProbeOptions,
    host: &Host,
    hierarchies: &Hierarchies,
    types: (&Offsets, &AyaBtf),
) -> CpuSource {
    if options.cpu_source == CpuSource::Probe || !options.probes.contains(&Probe::Cpu) {
        return CpuSource::Probe;
    }
    if let Some(why) = cpu_source::obstacle(hierarchies, types, is_confidential(host)) {
        tracing::warn!(why, "the kernel's sums of CPU time cannot be used: a probe counts it");
        return CpuSource::Probe;
    }
    CpuSource::Kernel
}

/// A loader that is to be given the types. aya's reads all of the kernel's as it is made, which takes 15 MB for nothing: here a
/// thread that can open no file makes it, which Landlock has for a thread alone. Where it is not there, memory is all that this
/// costs.
fn new_loader<'a>() -> EbpfLoader<'a> {
    let open_nothing = || -> Result<_, landlock::RulesetError> {
        let reads = AccessFs::from_read(landlock::ABI::V1);
        landlock::Ruleset::default().handle_access(reads)?.create()?.restrict_self()
    };
    let made = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let _ = open_nothing();
            EbpfLoader::new()
        });
        thread.join()
    });
    made.unwrap_or_else(|_| EbpfLoader::new())
}

/// The object with all that is known in its instructions.
fn folded(values: &Values<'_>) -> Cow<'static, [u8]> {
    match fold(OBJECT, values) {
        Ok(folded) => Cow::Owned(folded),
        Err(error) => {
            tracing::debug!(%error, "the programs are loaded as they were built, and cost somewhat more");
            Cow::Borrowed(OBJECT)
        }
    }
}

/// Where this kernel has each field, and the types of what programs are attached to: all of its types would take 30 MB.
fn types(host: &Host, hierarchies: &Hierarchies) -> Result<(Offsets, AyaBtf), GroupState> {
    let path = host.sys("kernel/btf/vmlinux");
    // The start takes most of its memory here, where the code that has read the configuration is needed no more.
    memory::unmap_code();
    let data = std::fs::read(&path).map_err(|error| {
        off(
            format!("cannot read the kernel's type information {}: {error}", path.display()),
            "use a kernel with CONFIG_DEBUG_INFO_BTF=y (every current distribution has it)",
        )
    })?;
    let unreadable = |error: &dyn std::fmt::Display| {
        off(format!("cannot parse {}: {error}", path.display()), "report this kernel's version")
    };
    let (offsets, tracepoints) = {
        let btf = Btf::parse(&data).map_err(|error| unreadable(&error))?;
        let offsets = Offsets::find(&btf, hierarchies.cpu().0, hierarchies.memory() != HierarchyId::UNIFIED);
        (offsets, btf.typedefs_and(TRACEPOINTS, &[CGROUP_ITERATOR, TASK_ITERATOR]))
    };
    drop(data);
    let btf = AyaBtf::parse(&tracepoints, aya::Endianness::default()).map_err(|error| unreadable(&error))?;
    Ok((offsets, btf))
}

/// Whether the programs are to log, to which end a ring of their own is read.
pub(super) fn logs() -> bool {
    tracing::enabled!(target: "seismograf_ebpf", tracing::Level::DEBUG)
}

/// What is pinned and can be taken over. What another input of this process has goes on without this one.
fn find(pins: Option<PinsAndRing<'_>>, version: &str) -> (Pinned, Origin) {
    let Some((pins, ring)) = pins.filter(|(pins, _)| !pins.is_shared()) else {
        return (Pinned::default(), Origin::New);
    };
    match pins.find(version, ring) {
        Ok(Found::Nothing) => (Pinned::default(), Origin::New),
        Ok(Found::Same(pinned)) => (pinned, Origin::TakenOver),
        Ok(Found::Other(why)) => (Pinned::default(), Origin::Replaces(why)),
        Err(error) => (Pinned::default(), Origin::Replaces(error.to_string())),
    }
}

/// Says that nothing is pinned.
pub(super) fn log(error: &PinsError) {
    tracing::warn!(%error, "the probes are not pinned: they end with this agent");
}

/// The version of what is loaded: other programs, or the same ones made for something else, have another one. Pins do not
/// outlive a boot, and with it the kernel; its number keeps apart what a checkpoint of the machine brings back.
fn version(options: &ProbeOptions, ring_bytes: u32, globals: &[(&str, u64)], host: &Host) -> String {
    let boot = std::fs::read(host.proc("sys/kernel/random/boot_id")).unwrap_or_default();
    let globals: Vec<String> = globals.iter().map(|(name, value)| format!("{name} {value}")).collect();
    let mut probes: Vec<&str> = options.probes.iter().map(|probe| probe.name()).collect();
    probes.sort_unstable();
    let settings = [ring_bytes.to_string(), globals.join("\n"), probes.join("\n")];
    pins::digest([OBJECT, boot.as_slice()].into_iter().chain(settings.iter().map(String::as_bytes)))
}

/// The clock that BPF programs read (`bpf_ktime_get_ns`).
fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (s, ns) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    s.unwrap_or(0) * 1_000_000_000 + ns.unwrap_or(0)
}

/// A size that the kernel takes: a power of two of whole pages.
fn ring_bytes(requested: u32) -> u32 {
    let page = u32::try_from(rustix::param::page_size()).unwrap_or(4096);
    requested.clamp(page, 1 << 30).next_power_of_two()
}

/// Before Linux 5.11 maps count against the limit of locked memory, which is 64 KiB by default. Where this may
/// not be raised, making the maps fails, and that is reported.
fn raise_memlock() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
}

/// Whether lockdown keeps even root from reading kernel memory by BPF.
pub(super) fn is_confidential(host: &Host) -> bool {
    std::fs::read_to_string(host.sys("kernel/security/lockdown"))
        .is_ok_and(|modes| modes.contains("[confidentiality]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_is_a_power_of_two_of_pages() {
        let page = u32::try_from(rustix::param::page_size()).unwrap();
        assert_eq!(ring_bytes(0), page);
        assert_eq!(ring_bytes(page + 1), 2 * page);
        assert_eq!(ring_bytes(1 << 20), 1 << 20);
        assert_eq!(ring_bytes(u32::MAX), 1 << 30);
    }
}
