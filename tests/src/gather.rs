//! What a gather of the host inputs costs, among a known number of processes: `it --gather N`.
//!
//! The gatherer is process 1 of a pid namespace of its own, with the requested number of processes in it, and reads the proc
//! of that namespace as a container reads its host's; its mount namespace lacks the file systems of containers. So neither
//! depends on what else the machine runs. The inputs are the library's own, with the options of the default configuration.

use std::collections::BTreeMap;
use std::os::fd::AsRawFd as _;
use std::process::Command;

use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, UnmountFlags, fsconfig_create, fsmount,
    fsopen, mount_change, unmount,
};
use seismograf::config::env::Environment;
use seismograf::config::file;
use seismograf::config::reading::{PluginFilter, Reading, Source};
use seismograf::config::sample::DEFAULT_CONFIG;
use seismograf::host::Host;
use seismograf::inputs::{Gathered, Shared};
use seismograf::point::Timestamp;

/// The first argument.
const FLAG: &str = "--gather";
/// The inputs that read the host.
const INPUTS: &[&str] = &["cpu", "disk", "diskio", "kernel", "mem", "net", "processes", "swap", "system"];

/// CPU time in nanoseconds of one gather of each host input.
///
/// # Panics
/// With its output, when the gatherer fails.
pub fn cost(n_processes: u64) -> BTreeMap<String, u64> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args([FLAG, &n_processes.to_string()]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}{text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Gathers when this process was started for it; `None` when it was not.
pub fn main_if_gatherer() -> Option<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [flag, n_processes] = args.as_slice() else { return None };
    if flag != FLAG {
        return None;
    }
    let n_processes: u64 = n_processes.parse().unwrap();
    let namespaces = libc::CLONE_NEWPID | libc::CLONE_NEWNS;
    // SAFETY: this process has one thread, and no other process depends on its namespaces.
    assert_eq!(unsafe { libc::unshare(namespaces) }, 0, "{}", std::io::Error::last_os_error());
    unmount_containers();
    // SAFETY: this process has one thread, so that the child is whole.
    match unsafe { libc::fork() } {
        0 => {
            for _ in 1..n_processes {
                sleep_in_a_child();
            }
            println!("{}", serde_json::to_string(&measure()).unwrap());
        }
        child => {
            let mut status = 0;
            // SAFETY: waits for the child just made; when it ends, the kernel ends its whole namespace.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert_eq!(status, 0, "the gatherer failed");
        }
    }
    Some(())
}

/// Each container has a file system with a long line in the mount table, which takes the kernel microseconds to write.
fn unmount_containers() {
    // Where this cannot be said, as in a root directory that is no mount, unmounting would be felt by others.
    if mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC).is_err() {
        return;
    }
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let columns = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    for overlay in columns.filter(|columns| columns[2] == "overlay" && columns[1] != "/") {
        let _ = unmount(overlay[1], UnmountFlags::DETACH);
    }
}

fn sleep_in_a_child() {
    // SAFETY: the child does nothing but sleep, until process 1 of its namespace ends.
    match unsafe { libc::fork() } {
        0 => loop {
            // SAFETY: as above.
            unsafe { libc::pause() };
        },
        child => assert!(child > 0, "cannot fork: {}", std::io::Error::last_os_error()),
    }
}

/// The least of some rounds: other work of the machine can only make one slower.
fn measure() -> BTreeMap<&'static str, u64> {
    const ROUNDS: usize = 20;
    // A detached mount: no other process sees it, and nothing is left behind.
    let proc = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
    fsconfig_create(&proc).unwrap();
    let proc = fsmount(&proc, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).unwrap();
    let path = format!("/proc/self/fd/{}", proc.as_raw_fd());
    let host = Host::from_variables(|name| (name == "HOST_PROC").then(|| path.clone()));

    let text = format!("{DEFAULT_CONFIG}\n[[inputs.net]]\n");
    let filter =
        PluginFilter { inputs: INPUTS.iter().map(|name| (*name).to_owned()).collect(), outputs: vec![] };
    let reading = Reading { filter, ..Reading::of_text(Environment::strict(&|_| None), "host") };
    let source = Source { path: "default".into(), text };
    let config = file::load(&[source], &reading).unwrap();
    assert_eq!(config.inputs.len(), INPUTS.len());

    let shared = Shared::new(host);
    let runtime = crate::runtime();
    runtime.block_on(async {
        let mut costs = BTreeMap::new();
        for section in config.inputs {
            let mut input = section.options.build(&shared).unwrap();
            let mut least = u64::MAX;
            for _ in 0..ROUNDS {
                let mut gathered = Gathered::at(Timestamp::now());
                let before = cpu_ns();
                input.gather(&mut gathered).await.unwrap();
                least = least.min(cpu_ns() - before);
            }
            costs.insert(input.name(), least);
        }
        costs
    })
}

/// CPU time of this process, all threads.
fn cpu_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    (time.tv_sec * 1_000_000_000 + time.tv_nsec).cast_unsigned()
}
