//! Starts with less than everything: reports what is off and why, and gives the rest.

use std::process::Command;

use libtest_mimic::Trial;
use seismograf_tests::agent::Agent;
use seismograf_tests::suite::Outcome;
use seismograf_tests::{OWN_MOUNTS, agent_binary, needs, trial};

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("degraded::without_btf", without_btf),
        trial("degraded::without_privileges", without_privileges),
        trial("degraded::without_a_cgroup2_mount", without_cgroup2),
    ]
}

/// What `dump` logs and gives, started through `command`.
fn dump(command: Command) -> Agent {
    let agent = Agent::spawn(command, "probes = [\"cpu\", \"blkio\", \"net\"]", 300);
    agent.next_gather();
    println!("degraded: {}", agent.log().lines().next().unwrap_or_default());
    assert!(agent.point("mem", &[]).is_some_and(|point| point.int("total") > 0), "the rest is missing");
    agent
}

fn without_btf() -> Outcome {
    needs(&[])?;
    let empty = tempfile::tempdir().unwrap();
    let mut command = Command::new(agent_binary()?);
    command.env("HOST_SYS", empty.path());
    let agent = dump(command);
    assert!(agent.log().contains("cannot read the kernel's type information"), "{}", agent.log());
    assert!(agent.log().contains("CONFIG_DEBUG_INFO_BTF"), "no advice: {}", agent.log());
    assert!(agent.points("cgroup_cpu").is_empty());
    Ok(())
}

fn without_privileges() -> Outcome {
    needs(&["setpriv"])?;
    // A user that may not even read the build's folder: the binary goes where everybody can.
    let public = tempfile::tempdir().unwrap();
    let binary = public.path().join("seismograf");
    std::fs::copy(agent_binary()?, &binary).unwrap();
    for path in [public.path(), &binary] {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all"]).arg(&binary);
    let agent = dump(command);
    assert!(agent.log().contains("probe is off"), "{}", agent.log());
    assert!(agent.log().contains("capabilities BPF and PERFMON"), "no advice: {}", agent.log());
    Ok(())
}

fn without_cgroup2() -> Outcome {
    needs(&["unshare", "umount", "sh"])?;
    let layout = seismograf_tests::cgroup::Layout::read();
    if layout.unified == layout.cpu {
        return Err(seismograf_tests::Skip::because("cgroup2 is the only hierarchy here"));
    }
    let mut command = Command::new("unshare");
    let script = format!("{OWN_MOUNTS}umount {} && exec \"$0\" \"$@\"", layout.unified.display());
    command.args(["--mount", "--propagation", "unchanged", "sh", "-c", &script]).arg(agent_binary()?);
    let agent = dump(command);
    assert!(agent.log().contains("no cgroup2 hierarchy is mounted"), "{}", agent.log());
    assert!(agent.log().contains("mount -t cgroup2"), "no advice: {}", agent.log());
    assert!(!agent.points("cgroup_cpu").is_empty(), "CPU figures need no cgroup2 here");
    assert!(agent.points("cgroup_net").is_empty());
    Ok(())
}
