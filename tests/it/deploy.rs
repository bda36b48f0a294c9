//! The manifests: that they build, and that the agent works with exactly what the DaemonSet gives it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use seismograf_tests::influxd::{Influxd, Setup};
use seismograf_tests::suite::Outcome;
use seismograf_tests::{
    OWN_MOUNTS, Skip, agent_binary, confine, extra, has, needs, run, terminate, trial, wait_for,
};
use serde_json::Value;

/// Three intervals of the DaemonSet's configuration, and some more for the start.
const LIMIT: Duration = Duration::from_secs(60);

/// Any authority stands for that of a cluster.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("deploy::runs_with_what_the_daemonset_gives", runs_with_what_the_daemonset_gives),
        trial("deploy::the_side_car_has_what_its_configuration_asks_for", side_car_has_all),
        extra("deploy::kubectl_builds_the_kustomization", kubectl_builds_the_kustomization),
        extra("deploy::kubectl_builds_both_forms_of_the_side_car", kubectl_builds_the_side_car),
    ]
}

fn manifests(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes").join(name).canonicalize().unwrap()
}

fn base() -> PathBuf {
    manifests("base")
}

fn yaml(name: &str) -> Value {
    let path = base().join(name);
    serde_yaml_ng::from_str(&fs::read_to_string(&path).unwrap())
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// The agent in a root directory of its own; ended when it is dropped.
struct Container {
    child: Child,
    log: PathBuf,
    root: tempfile::TempDir,
}

impl Drop for Container {
    fn drop(&mut self) {
        terminate(&mut self.child);
    }
}

/// Starts the DaemonSet's one container: its arguments, environment, mounts and capabilities, and nothing else.
fn start(daemonset: &Value, secret: &BTreeMap<&str, String>) -> Result<Container, Skip> {
    let pod = &daemonset["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let context = &container["securityContext"];
    assert_eq!(context["capabilities"]["drop"], serde_json::json!(["ALL"]));
    assert_eq!(context["allowPrivilegeEscalation"], false);
    let capabilities: Vec<String> = list(&context["capabilities"]["add"]).iter().map(text).collect();

    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let root = directory.path().join("root");
    let place = |path: &str| root.join(path.trim_start_matches('/'));
    for folder in ["/usr/bin", "/bin", "/proc", "/sys", "/tmp"] {
        fs::create_dir_all(place(folder)).unwrap();
    }
    fs::copy(agent_binary()?, place("/usr/bin/seismograf")).unwrap();
    fs::copy(std::env::current_exe().unwrap(), place("/bin/it")).unwrap();
    if pod["automountServiceAccountToken"] == true {
        let account = place("/var/run/secrets/kubernetes.io/serviceaccount");
        fs::create_dir_all(&account).unwrap();
        fs::write(account.join("token"), "a token").unwrap();
        fs::copy(CERTIFICATES, account.join("ca.crt"))
            .unwrap_or_else(|error| panic!("{CERTIFICATES}: {error}"));
    }
    let mut script = format!("{OWN_MOUNTS}set -e\n");
    let mut mount = |line: String| {
        script.push_str(&line);
        script.push('\n');
    };
    let shown = root.display();
    // These two are the container runtime's own.
    mount(format!("mount --bind {shown} {shown}"));
    mount(format!("mount -t proc proc {shown}/proc && mount -t sysfs -o ro sys {shown}/sys"));
    for volume_mount in list(&container["volumeMounts"]) {
        let (name, at) = (text(&volume_mount["name"]), text(&volume_mount["mountPath"]));
        let volumes = list(&pod["volumes"]);
        let volume = volumes.iter().find(|volume| volume["name"] == name.as_str()).expect("a volume");
        fs::create_dir_all(place(&at)).unwrap();
        let at = place(&at);
        let host = &volume["hostPath"];
        if host["type"] == "DirectoryOrCreate" {
            let path = directory.path().join(&name);
            fs::create_dir(&path).unwrap();
            mount(format!("mount --bind {} {}", path.display(), at.display()));
        } else if let Some(path) = host["path"].as_str() {
            mount(format!("mount --rbind {path} {0} && mount --make-rslave {0}", at.display()));
            if volume_mount["readOnly"] == true {
                mount(format!("mount -o remount,bind,ro {}", at.display()));
            }
        } else {
            assert_eq!(volume["configMap"]["name"], "seismograf");
            fs::copy(base().join("seismograf.conf"), at.join("seismograf.conf")).unwrap();
        }
    }
    if context["readOnlyRootFilesystem"] == true {
        mount(format!("mount -o remount,bind,ro {shown}"));
    }
    mount(format!("exec unshare --root={shown} /bin/it {} {} \"$@\"", confine::FLAG, capabilities.join(",")));

    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "unchanged", "sh", "-c", &script, "sh", "/usr/bin/seismograf"]);
    command.args(list(&container["args"]).iter().map(text)).env_clear();
    // For the script's own tools; the image sets none, and the agent runs no program.
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    for variable in list(&container["env"]) {
        let value = match (&variable["value"], &variable["valueFrom"]) {
            (Value::String(value), _) => value.clone(),
            (_, from) if from["fieldRef"]["fieldPath"] == "spec.nodeName" => "node-1".into(),
            // No kubelet is here: its figures are missing, and all others are not.
            (_, from) if from["fieldRef"]["fieldPath"] == "status.hostIP" => "127.0.0.1".into(),
            (_, from) => secret[from["secretKeyRef"]["key"].as_str().expect("a key of the secret")].clone(),
        };
        command.env(text(&variable["name"]), value);
    }
    let log = directory.path().join("log");
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    Ok(Container { child, log, root: directory })
}

fn runs_with_what_the_daemonset_gives() -> Outcome {
    needs(&["unshare", "mount", "sh"])?;
    let server = Influxd::start(Setup::default())?;
    let secret = BTreeMap::from([
        ("env", "prod".to_owned()),
        ("monitor_host", server.url()),
        ("monitor_database", "metrics".to_owned()),
        ("monitor_username", "user".to_owned()),
        ("monitor_password", "password".to_owned()),
    ]);
    // Every key of the Secret that is shipped is one that the DaemonSet asks for.
    let shipped = fs::read_to_string(base().join("secret.env")).unwrap();
    for line in shipped.lines().filter(|line| !line.starts_with('#')) {
        assert!(secret.contains_key(line.split('=').next().unwrap()), "{line}");
    }
    let daemonset = yaml("daemonset.yaml");
    let container = start(&daemonset, &secret)?;
    let log = || fs::read_to_string(&container.log).unwrap();
    let measurements = ["cgroup_cpu", "cgroup_net", "cpu", "disk", "mem", "system", "seismograf"];
    let there = || -> Vec<&str> {
        let series = |name: &&str| {
            !server
                .series("metrics", &format!("SELECT * FROM \"{name}\" WHERE host = 'node-1' LIMIT 1"))
                .is_empty()
        };
        measurements.iter().filter(|name| series(name)).copied().collect()
    };
    for _ in 0..10 {
        // Something has to cross the network to be counted.
        let _ = server.query("", "SHOW DATABASES");
    }
    let start = Instant::now();
    wait_for(
        || {
            assert!(!log().contains("probe is off"), "{}", log());
            let there = there();
            assert!(start.elapsed() < LIMIT, "only {there:?} arrived; the log:\n{}", log());
            there.len() == measurements.len()
        },
        2 * LIMIT,
        "all measurements",
    );
    let tag = |measurement: &str, key: &str| -> Vec<String> {
        let query = format!("SHOW TAG VALUES FROM \"{measurement}\" WITH KEY = \"{key}\"");
        let rows = server.series("metrics", &query);
        rows.first()
            .map(|row| list(&row["values"]).iter().map(|row| text(&row[1])).collect())
            .unwrap_or_default()
    };
    let (paths, cgroups) = (tag("disk", "path"), tag("cgroup_cpu", "cgroup"));
    println!(
        "deploy: as in the DaemonSet: {measurements:?} arrive; disks {paths:?}; {} cgroups",
        cgroups.len()
    );
    assert!(paths.contains(&"/".to_owned()), "the host's root file system: {paths:?}");
    assert!(!paths.iter().any(|path| path.starts_with("/rootfs")), "paths as the host has them: {paths:?}");
    assert_eq!(tag("mem", "env"), ["prod"]);
    let state = container.root.path().join("state");
    let spools: Vec<_> = fs::read_dir(state.join("spool")).unwrap().collect();
    assert_eq!(spools.len(), 1, "points wait on the disk: {spools:?}");
    Ok(())
}

fn kubectl_builds_the_kustomization() -> Outcome {
    if !has("kubectl") {
        return Err(Skip::because("kubectl is not installed"));
    }
    let built = run("kubectl", &["kustomize", base().to_str().unwrap()]);
    let kinds: Vec<String> = serde_yaml_ng::Deserializer::from_str(&built)
        .map(|document| {
            let value: Value = serde::Deserialize::deserialize(document).unwrap();
            text(&value["kind"])
        })
        .collect();
    println!("deploy: kubectl kustomize: {kinds:?}");
    let all = [
        "Namespace",
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
        "ConfigMap",
        "Secret",
        "DaemonSet",
    ];
    for kind in all {
        assert!(kinds.iter().any(|built| built == kind), "no {kind}");
    }
    Ok(())
}

/// The configuration of the side-car in the article.
const ARTICLE: &str = include_str!("../../agent/testdata/config/wild/article-sidecar.conf");

fn side_car_has_all() -> Outcome {
    let read = |name: &str| fs::read_to_string(manifests("sidecar/two-containers").join(name)).unwrap();
    let lines = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    };
    let config = read("seismograf.conf");
    assert_eq!(lines(&config), lines(ARTICLE), "the article's, unchanged");
    let documents = read("etcd.yaml");
    let set = serde_yaml_ng::Deserializer::from_str(&documents)
        .map(|document| -> Value { serde::Deserialize::deserialize(document).unwrap() })
        .find(|document| document["kind"] == "StatefulSet")
        .unwrap();
    let pod = &set["spec"]["template"]["spec"];
    let agent = &pod["containers"][0];
    assert_eq!(agent["name"], "seismograf", "the side-car's patch moves the first container");
    let variables: Vec<String> = list(&agent["env"]).iter().map(|variable| text(&variable["name"])).collect();
    let used = config
        .split('$')
        .skip(1)
        .map(|rest| rest.split(|c: char| !(c.is_ascii_uppercase() || c == '_')).next().unwrap());
    for name in used {
        assert!(variables.iter().any(|variable| variable == name), "no {name}");
    }
    let keys = lines(&read("secret.env"));
    for variable in list(&agent["env"]) {
        if let Some(key) = variable["valueFrom"]["secretKeyRef"]["key"].as_str() {
            assert!(keys.iter().any(|line| line.starts_with(&format!("{key}="))), "no {key} in secret.env");
        }
    }
    let members = set["spec"]["replicas"].as_u64().unwrap();
    let flags: Vec<String> = list(&pod["containers"][1]["args"]).iter().map(text).collect();
    let cluster = flags.iter().find(|flag| flag.starts_with("--initial-cluster=")).unwrap();
    assert_eq!(cluster.matches("http://").count() as u64, members, "{cluster}");
    Ok(())
}

fn kubectl_builds_the_side_car() -> Outcome {
    if !has("kubectl") {
        return Err(Skip::because("kubectl is not installed"));
    }
    let pod = |folder: &str| -> Value {
        let built = run("kubectl", &["kustomize", manifests(folder).to_str().unwrap()]);
        let mut documents = serde_yaml_ng::Deserializer::from_str(&built)
            .map(|document| -> Value { serde::Deserialize::deserialize(document).unwrap() });
        documents.find(|document| document["kind"] == "StatefulSet").unwrap()["spec"]["template"]["spec"]
            .clone()
    };
    let names = |containers: &Value| -> Vec<String> {
        list(containers).iter().map(|container| text(&container["name"])).collect()
    };
    let (native, plain) = (pod("sidecar"), pod("sidecar/two-containers"));
    assert_eq!(names(&native["initContainers"]), ["seismograf"]);
    assert_eq!(native["initContainers"][0]["restartPolicy"], "Always");
    assert_eq!(names(&native["containers"]), ["etcd"]);
    assert_eq!(names(&plain["containers"]), ["seismograf", "etcd"]);
    assert!(plain.get("initContainers").is_none());
    Ok(())
}
