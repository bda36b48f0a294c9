//! Starts with less than everything: reports what is off and why, and gives the rest.

use std::process::Command;
use std::time::Duration;

use libtest_mimic::Trial;
use seismograf_tests::agent::Agent;
use seismograf_tests::cgroup::{Cgroup, Layout};
use seismograf_tests::program::{self, AttachedProgram};
use seismograf_tests::suite::Outcome;
use seismograf_tests::work::Worker;
use seismograf_tests::{OWN_MOUNTS, agent_binary, needs, trial, wait_for};

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("degraded::without_btf", without_btf),
        trial("degraded::without_privileges", without_privileges),
        trial("degraded::without_a_cgroup2_mount", without_cgroup2),
        trial("degraded::in_a_cgroup_namespace_of_its_own", in_a_cgroup_namespace),
        trial("degraded::beside_a_program_that_lets_no_other_in", beside_an_exclusive_program),
        trial("degraded::removals_that_were_lost", removals_that_were_lost),
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
    // One cause is one line.
    assert_eq!(agent.log().matches("probe is off").count(), 1, "{}", agent.log());
    assert!(agent.log().contains("capabilities BPF and PERFMON"), "no advice: {}", agent.log());
    Ok(())
}

fn without_cgroup2() -> Outcome {
    needs(&["unshare", "umount", "sh"])?;
    let layout = Layout::read();
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

/// A mount that a cgroup namespace made shows its own cgroup as the root; its figures would be taken for the machine's.
fn in_a_cgroup_namespace() -> Outcome {
    needs(&["unshare", "mount", "umount", "sh"])?;
    let layout = Layout::read();
    let inside = Cgroup::new("namespace");
    let unified = layout.unified.display();
    let procs = format!("{unified}{}/cgroup.procs", inside.path());
    let own = format!("umount {unified} && mount -t cgroup2 cgroup2 {unified} && exec \"$0\" \"$@\"");
    let script =
        format!("{OWN_MOUNTS}echo $$ > {procs} && exec unshare --cgroup sh -c '{own}' \"$0\" \"$@\"");
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "unchanged", "sh", "-c", &script]).arg(agent_binary()?);
    let agent = dump(command);
    let log = agent.log();
    assert!(log.contains("shows the cgroups of a namespace"), "{log}");
    assert!(log.contains("--cgroupns=host"), "no advice: {log}");
    assert!(!log.contains("mount -t cgroup2"), "the advice leads back here: {log}");
    assert!(agent.points("cgroup_net").is_empty(), "{log}");
    Ok(())
}

fn beside_an_exclusive_program() -> Outcome {
    needs(&[])?;
    let layout = Layout::read();
    let other = AttachedProgram::exclusive(&layout.unified, program::PASS)?;
    let agent = Agent::start("probes = [\"cpu\", \"net\", \"tcp\"]", 300)?;
    let log = agent.log();
    assert!(log.contains(program::PASS) && log.contains("lets no other program beside it"), "{log}");
    assert!(!log.contains("run as root"), "the advice is about something else: {log}");
    assert!(!agent.points("cgroup_net").iter().any(|point| point.int("tx_packets") > 0));
    drop(other);
    let cgroup = Cgroup::new("after-exclusive");
    wait_for(
        || {
            Worker::start(&cgroup, "", &["udp-send", "127.0.0.1:9", "100", "10", "1"]).run();
            agent.next_gather();
            agent.points("cgroup_net").iter().any(|point| point.int("tx_packets") >= 10)
        },
        Duration::from_secs(30),
        "the network probe to be attached",
    );
    assert!(agent.log().contains("what was in the way is gone"), "{}", agent.log());
    Ok(())
}

/// The ring is full while cgroups come and go: their records are lost, and they are forgotten all the same.
fn removals_that_were_lost() -> Outcome {
    const CGROUPS: usize = 3_000;
    needs(&[])?;
    let agent = Agent::start("probes = [\"cpu\"]\nring_bytes = 4096", 500)?;
    let before = agent.part("identity").int("cgroups");
    agent.signal(libc::SIGSTOP);
    for n in 0..CGROUPS {
        Cgroup::new(&format!("lost-{n}")).remove();
    }
    agent.signal(libc::SIGCONT);
    agent.next_gather();
    let (ring, log) = (agent.part("ring"), agent.log());
    assert!(ring.int("lost_cgroup_events") > 0, "nothing was lost: {:?}", ring.fields);
    assert_eq!(log.matches("records of cgroups are lost").count(), 1, "{log}");
    let rows = agent.points("cgroup_cpu");
    let stale = rows.iter().filter(|point| point.tag("cgroup").contains("/lost-")).count();
    assert_eq!(stale, 0, "rows of cgroups that are gone");
    // What is removed without a release is kept for its last deltas, and nothing was counted here.
    let alive = agent.part("identity").int("cgroups") - before;
    println!("degraded: {} records lost, {alive} cgroups more are known", ring.int("lost_cgroup_events"));
    assert!(alive < CGROUPS as i64, "{alive}");
    Ok(())
}
