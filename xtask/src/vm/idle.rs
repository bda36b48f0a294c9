//! `cargo xtask vm idle`: whether the agent interrupts a CPU that has nothing to say.
//!
//! A machine of two CPUs, all of whose processes are on the first one, so that the second has nothing to do. `idle.sh` compares the
//! second one's interrupts in `/proc/interrupts` without the agent, with it for an hour, and while something runs there; then
//! again where the second is to run a single task without end, and where the kernel is locked down.

use std::path::Path;
use std::time::Duration;

use anyhow::bail;

use super::machine::{BOOKWORM, Disk, LIMIT, Machine, kernel};
use crate::platform::Platform;

/// How long the agent runs beside the idle CPU, unless [`SECONDS`] says otherwise; it gathers every five seconds.
const HOUR: Duration = Duration::from_secs(3_600);
/// How long in the other ways to boot.
const SHORT: Duration = Duration::from_secs(120);
/// The variable with another time.
const SECONDS: &str = "SEISMOGRAF_IDLE_SECONDS";

/// The platform, which the archive is of.
pub(super) const PLATFORM: Platform = Platform::Amd64;

/// Boots, and looks.
pub(super) fn idle(directory: &Path, initramfs: &Path) -> anyhow::Result<()> {
    let seconds = std::env::var(SECONDS).ok().and_then(|seconds| seconds.parse().ok());
    let time = seconds.map_or(HOUR, Duration::from_secs);
    println!("-- an idle CPU, for {time:?}");
    let kernel = &kernel(&directory.join(BOOKWORM), BOOKWORM, PLATFORM)?;
    let limit = 2 * time + LIMIT;
    // Its own disk: others may be booted within the hour.
    let own = directory.join("idle");
    std::fs::create_dir_all(&own)?;
    let machine = Machine { platform: PLATFORM, kernel, initramfs, disk: Disk::Scratch(&own), limit };
    // Out of the scheduler's reach: it wakes an idle CPU to look for work whenever the other has two who want to run. And once
    // more as a CPU that is to run a single task without end, for a shorter time.
    let isolated = ("isolcpus=1", time);
    let nohz_full = ("isolcpus=1 nohz_full=1 rcu_nocbs=1", time.min(SHORT));
    // Where helpers may not read the kernel's memory, the running task's time is told all the same.
    let locked_down = ("isolcpus=1 lockdown=confidentiality", time.min(SHORT));
    for (how, time) in [isolated, nohz_full, locked_down] {
        let options = format!("idle seconds={} irqaffinity=0 {how}", time.as_secs());
        if machine.boot(&options)?.is_none() {
            bail!(
                "a CPU was interrupted that has nothing to say, or one that has more than once a gather: {how}"
            );
        }
    }
    Ok(())
}
