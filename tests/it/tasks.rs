//! `docs/tasks.md`: every query, command and configuration of the page, as it is written.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use libtest_mimic::Trial;
use seismograf_tests::cgroup::Cgroup;
use seismograf_tests::docker::Docker;
use seismograf_tests::influxd::{Influxd, Setup};
use seismograf_tests::kubelet::Kubelet;
use seismograf_tests::netns::{ADDRESSES, Wire};
use seismograf_tests::running::Running;
use seismograf_tests::suite::Outcome;
use seismograf_tests::tmux::Tmux;
use seismograf_tests::work::Worker;
use seismograf_tests::{agent_binary, needs, needs_open_root, trial, wait_for};
use serde_json::{Value, json};

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("tasks::every_query_gives_rows", every_query_gives_rows),
        trial("tasks::every_command_ends_well", every_command_ends_well),
        trial("tasks::every_screen_comes_up", every_screen_comes_up),
        trial("tasks::every_configuration_is_taken", every_configuration_is_taken),
        trial("tasks::what_is_removed_is_what_was_put_there", what_is_removed),
        trial("tasks::the_first_screen_has_every_plugin_and_what_is_installed", first_screen),
    ]
}

const LIMIT: Duration = Duration::from_secs(90);
/// What every block of the page is marked with. `cargo xtask dist test switch` runs those of the switch.
const MARKS: &[&str] = &["influxql", "sh", "sh screen", "sh host", "sh switch", "toml"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The blocks of the page with a mark.
fn blocks(mark: &str) -> Vec<String> {
    let page = read("docs/tasks.md");
    let (mut found, mut rest) = (Vec::new(), page.as_str());
    while let Some((_, after)) = rest.split_once("\n```") {
        let (marked, after) = after.split_once('\n').unwrap();
        let (text, after) = after.split_once("\n```\n").unwrap_or_else(|| panic!("{marked}: not closed"));
        assert!(MARKS.contains(&marked), "a block is marked {marked:?}, which no test knows");
        if marked == mark {
            found.push(text.to_owned());
        }
        rest = after;
    }
    // What only looks like a command would not be run.
    assert!(!page.contains("\n    "), "a block of the page has no mark");
    assert!(!found.is_empty(), "the page has no block marked {mark}");
    found
}

const TOKEN: &str = "of-the-service-account";

/// A pod `web-0` in the namespace `shop`, as `/pods` lists it.
fn pod(uid: &str, id: &str) -> Value {
    json!({
        "metadata": {"name": "web-0", "namespace": "shop", "uid": uid},
        "spec": {"nodeName": "node1", "containers": [{"name": "app", "image": "registry/app:7"}]},
        "status": {"containerStatuses": [{
            "name": "app",
            "containerID": format!("containerd://{id}"),
            "state": {"running": {"startedAt": "2026-11-22T12:58:41Z"}},
            "lastState": {},
        }]},
    })
}

fn every_query_gives_rows() -> Outcome {
    needs(&["ip", "nsenter"])?;
    let server = Influxd::start(Setup::default())?;
    let docker = Docker::start()?;
    docker.run(
        "web",
        "while true; do dd if=/dev/zero of=/f bs=64k count=20 oflag=direct 2>/dev/null; dd if=/f of=/dev/null bs=64k iflag=direct 2>/dev/null; done",
        &Value::Null,
    );
    let process = std::process::id();
    let (uid, id) = (format!("00000000-2222-4333-8444-{process:012x}"), format!("{process:064x}"));
    let (wire, cgroup) = (Wire::new(), Cgroup::of_container("tasks-pod", &uid, &id));
    let to = format!("{}:9300", ADDRESSES[1]);
    let mut sender = Worker::start(&cgroup, &wire.names[0], &["udp-send", &to, "500", "100000000", "1"]);
    let unit = Cgroup::at(&format!("tasks.{process}/system.slice/nginx.service"));
    let mut spinner = Worker::start(&unit, "", &["spin", "600000"]);
    let kubelet = Kubelet::start(TOKEN);
    kubelet.set_pods(|pods| *pods = vec![pod(&uid, &id)]);
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), TOKEN).unwrap();
    let config = format!(
        r#"[agent]
  interval = "1s"
  flush_interval = "1s"
[[inputs.ebpf]]
{docker}[[inputs.kubernetes]]
  url = "{url}"
  bearer_token = "{token}"
  tls_ca = "{ca}"
[[outputs.influxdb]]
  urls = ["{server}"]
  database = "telegraf"
"#,
        docker = docker.section(),
        url = kubelet.url(),
        token = token.path().display(),
        ca = kubelet.ca().display(),
        server = server.url(),
    );
    let _agent = Running::start(&config)?;
    sender.go();
    spinner.go();
    for query in blocks("influxql") {
        // Of what may be 0, a row is enough.
        let may_be_zero = query.contains("unseen") || query.contains("dropped");
        let has_rows = || {
            let series = server.series("telegraf", &query);
            let values = series.iter().filter_map(|series| series["values"].as_array()).flatten();
            let mut values = values.filter_map(Value::as_array).flat_map(|row| {
                // The first column is the time, where there is one.
                row.iter().skip(usize::from(row.len() > 1)).filter_map(Value::as_f64)
            });
            values.any(|value| may_be_zero || value > 0.0)
        };
        wait_for(has_rows, LIMIT, &format!("rows of {query}"));
        println!("tasks: rows: {query}");
    }
    Ok(())
}

/// A directory with what the page's commands name, and the agent where everybody may run it.
fn desk() -> Result<tempfile::TempDir, seismograf_tests::Skip> {
    let directory = tempfile::tempdir().unwrap();
    let at = |path: &str| directory.path().join(path);
    std::fs::copy(agent_binary()?, at("seismograf")).unwrap();
    std::fs::create_dir(at("telegraf.d")).unwrap();
    let found = |name: &str| read(&format!("agent/testdata/config/shared/{name}.conf"));
    std::fs::write(at("telegraf.conf"), found("01-package-with-comments")).unwrap();
    std::fs::write(at("telegraf.d/bus.conf"), "[[inputs.net]]\n[[inputs.statsd]]\n").unwrap();
    let output = "[[outputs.file]]\n  files = [\"stdout\"]\n";
    std::fs::write(at("seismograf.conf"), format!("[[inputs.ebpf]]\n{output}")).unwrap();
    std::fs::write(at("host.conf"), format!("[[inputs.ebpf]]\n[[inputs.mem]]\n{output}")).unwrap();
    for (path, mode) in [("", 0o755), ("seismograf", 0o755), ("host.conf", 0o644)] {
        std::fs::set_permissions(at(path), PermissionsExt::from_mode(mode)).unwrap();
    }
    Ok(directory)
}

fn every_command_ends_well() -> Outcome {
    needs(&["setpriv", "sh"])?;
    let desk = desk()?;
    let path = format!("{}:{}", desk.path().display(), std::env::var("PATH").unwrap_or_default());
    let closed = needs_open_root().err();
    for line in blocks("sh").iter().flat_map(|block| block.lines()) {
        if let Some(reason) = closed.as_ref().filter(|_| line.starts_with("setpriv")) {
            println!("tasks: skipped: {line}: {reason}");
            continue;
        }
        let mut shell = Command::new("sh");
        shell.args(["-ec", line]).current_dir(desk.path()).env("PATH", &path).stdin(Stdio::null());
        let output = shell.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{line}: {said}{}", String::from_utf8_lossy(&output.stderr));
        // Without privileges the figures of /proc are there.
        let expected = if line.starts_with("setpriv") { "\nmem," } else { "\n" };
        assert!(format!("\n{said}").contains(expected) && !said.is_empty(), "{line}: {said}");
        println!("tasks: ends well: {line}");
    }
    Ok(())
}

/// What goes on until it is left, in a terminal.
fn every_screen_comes_up() -> Outcome {
    let desk = desk()?;
    for (n, line) in blocks("sh screen").iter().flat_map(|block| block.lines()).enumerate() {
        let at = desk.path().display();
        let command = format!("cd {at}; PATH={at}:$PATH; {line}; echo \"exit $?\"; exec cat");
        let terminal = Tmux::start(desk.path().join(format!("socket-{n}")), (80, 24), &command)?;
        let (shows, leaves) =
            if line.contains(" serve") { ("http://127.0.0.1:", "C-c") } else { ("CPU%", "q") };
        let shown =
            |what: &str| wait_for(|| terminal.text().contains(what), LIMIT, &format!("{what} of {line}"));
        shown(shows);
        terminal.press(&[leaves]);
        shown("exit 0");
        println!("tasks: comes up, and is left: {line}");
    }
    Ok(())
}

fn every_configuration_is_taken() -> Outcome {
    let directory = tempfile::tempdir().unwrap();
    for block in blocks("toml") {
        let path = directory.path().join("tasks.conf");
        // Beside what it is about, an agent needs an input and an output.
        let output = "[[outputs.file]]\n  files = [\"stdout\"]\n";
        std::fs::write(&path, format!("{block}\n[[inputs.mem]]\n{output}")).unwrap();
        let mut check = Command::new(agent_binary()?);
        let output = check.args(["config", "check", "--offline"]).arg(&path).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.trim().is_empty(), "{block}: {said}");
    }
    Ok(())
}

/// The commands that change a machine name what the manifests, the unit and the packages put there.
fn what_is_removed() -> Outcome {
    let commands: Vec<String> = blocks("sh host")
        .iter()
        .flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let has = |path: &str, text: &str| assert!(read(path).contains(text), "{path} does not have {text:?}");
    let unit = "deploy/systemd/seismograf.service";
    for command in &commands {
        let words: Vec<&str> = command.split(' ').collect();
        println!("tasks: looks at: {command}");
        match words.as_slice() {
            ["kubectl", "delete", "-n", namespace, kinds, "-l", label] => {
                let label = label.replace('=', ": ");
                has("deploy/kubernetes/base/kustomization.yaml", &format!("namespace: {namespace}\n"));
                has("deploy/kubernetes/base/kustomization.yaml", &label);
                for (kind, path, text) in [
                    ("all", "daemonset.yaml", "kind: DaemonSet"),
                    ("serviceaccount", "rbac.yaml", "kind: ServiceAccount"),
                    ("configmap", "kustomization.yaml", "configMapGenerator:"),
                    ("secret", "kustomization.yaml", "secretGenerator:"),
                ] {
                    assert!(kinds.split(',').any(|other| other == kind), "{command} leaves {kind}");
                    has(&format!("deploy/kubernetes/base/{path}"), text);
                    has(&format!("deploy/kubernetes/base/{path}"), &label);
                }
            }
            ["kubectl", "delete", kinds, name] => {
                let rbac = read("deploy/kubernetes/base/rbac.yaml").to_lowercase();
                for kind in kinds.split(',') {
                    assert!(
                        rbac.contains(&format!("kind: {kind}\n"))
                            && rbac.contains(&format!("name: {name}\n"))
                    );
                }
            }
            ["helm", "uninstall", "-n", _, name] => is_called("deploy/helm/seismograf/Chart.yaml", name),
            ["apt-get", "purge", name] | ["dnf", "remove", name] => {
                has("agent/Cargo.toml", &format!("name = \"{name}\"\n"));
            }
            ["systemctl", "disable", "--now", name] => drop(read(&format!("deploy/systemd/{name}.service"))),
            ["systemctl", "daemon-reload"] => {}
            ["rm", paths @ ..] => {
                // What the tarball has, and what systemd makes for the unit.
                let pins = read("agent/src/inputs/ebpf/options.rs");
                let said = [read(unit), read("xtask/src/dist/stage.rs"), pins].concat();
                for path in paths.iter().filter(|path| **path != "-r") {
                    let by_the_unit = path
                        .replace("/var/log/private/", "LogsDirectory=")
                        .replace("/var/lib/private/", "StateDirectory=");
                    let packed = match path.split_once('*') {
                        Some((before, _)) => before.rsplit_once('/').unwrap().0,
                        None => path,
                    };
                    let is_there =
                        said.contains(&by_the_unit) || said.contains(packed.trim_start_matches('/'));
                    assert!(is_there, "{command}: nothing puts {path} there");
                }
            }
            ["vagrant", "destroy"] => drop(read("Vagrantfile")),
            _ => panic!("no test looks at: {command}"),
        }
    }
    Ok(())
}

/// What the README says at its top is what there is.
fn first_screen() -> Outcome {
    let readme = read("README.md");
    let screen = readme.split("| what it costs").next().unwrap();
    assert!(screen.lines().count() <= 40, "{}", screen.lines().count());
    let output = Command::new(agent_binary()?).arg("plugins").output().unwrap();
    let plugins = String::from_utf8_lossy(&output.stdout).into_owned();
    let names: Vec<&str> = plugins.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    assert!(names.len() > 20, "{plugins}");
    for name in names {
        assert!(screen.contains(&format!("`{name}`")), "README.md does not name {name}");
    }
    let setup = read("xtask/src/setup.rs");
    let llvm =
        setup.split_once("const LLVM: &str = \"").and_then(|(_, after)| after.split('"').next()).unwrap();
    let setup = setup.replace("{LLVM}", llvm);
    for installed in ["rust-src", "bpf-linker", "llvm-22-dev", "g++", "libzstd-dev", "zlib1g-dev"] {
        assert!(
            screen.contains(&format!("`{installed}`")) && setup.contains(&format!("\"{installed}\"")),
            "{installed}"
        );
    }
    Ok(())
}

fn is_called(path: &str, name: &str) {
    if root().join(path).exists() {
        assert!(read(path).contains(&format!("name: {name}\n")), "{path} is not called {name}");
    } else {
        println!("tasks: there is no {path}");
    }
}
