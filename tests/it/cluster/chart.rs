//! The chart: that it makes what the kustomization makes, that it understands the values of `telegraf-ds`, and its life on the
//! node.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Command, Output};

use seismograf_tests::influxd::{Influxd, Setup};
use seismograf_tests::suite::Outcome;
use seismograf_tests::{Skip, agent_binary, try_run, wait_for};
use serde_json::{Value, json};

use super::{LIMIT, agent_log, file, kubectl, manifests, node, pods, repository, system, text};

const RELEASE: [&str; 3] = ["seismograf", "--namespace", "monitoring"];
/// Labels and annotations that are Helm's own.
const OF_HELM: [&str; 5] = [
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/version",
    "helm.sh/chart",
    "checksum/config",
];

/// Helm's answer.
fn helm(args: &[&str]) -> Result<Output, Skip> {
    let helm = std::env::var_os("SEISMOGRAF_HELM")
        .ok_or_else(|| Skip::because("Helm is not built; `cargo xtask cluster test` builds it"))?;
    let home = tempfile::tempdir().unwrap();
    Ok(Command::new(helm).args(args).env("HELM_CACHE_HOME", home.path()).output().unwrap())
}

/// What it prints; anything but success fails the test.
fn succeed(args: &[&str]) -> Result<String, Skip> {
    let output = helm(args)?;
    assert!(output.status.success(), "helm {args:?}: {output:?}\n{}", agent_log());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn chart() -> String {
    repository("deploy/helm/seismograf").display().to_string()
}

/// The objects that the chart makes of some values, each of the API's types.
fn rendered(values: &[&str]) -> Result<Vec<Value>, Skip> {
    let text = succeed(&[&["template"], &RELEASE[..1], &[&chart()], &RELEASE[1..], values].concat())?;
    let objects = manifests::documents(&text);
    for object in &objects {
        let wrong = manifests::wrong(object);
        assert!(wrong.is_empty(), "{}: {wrong:?}", manifests::what(object));
    }
    Ok(objects)
}

pub(super) fn same() -> Outcome {
    succeed(&["lint", "--strict", &chart()])?;
    let ours = |object: &Value| object["metadata"]["annotations"].get("helm.sh/hook").is_none();
    let made = comparable(rendered(&[])?.into_iter().filter(ours).collect());
    let folder = manifests::built("base").into_iter().filter(|object| object["kind"] != "Namespace");
    let folder = comparable(folder.collect());
    assert_eq!(made.keys().collect::<Vec<_>>(), folder.keys().collect::<Vec<_>>());
    for (name, object) in &made {
        assert_eq!(object, &folder[name], "{name}:\n{object:#}\n{:#}", folder[name]);
    }
    // What the components change, values do.
    let role = |objects: &[Value]| {
        let role = objects.iter().find(|object| object["kind"] == "ClusterRole").unwrap();
        role["rules"].clone()
    };
    let before = manifests::built("overlays/cluster-before-1.33");
    assert_eq!(role(&rendered(&["--set", "rbac.nodesProxy=true"])?), role(&before));
    let context = |objects: &[Value]| daemonset(objects)["containers"][0]["securityContext"].clone();
    let privileged = manifests::built("overlays/privileged");
    assert_eq!(context(&rendered(&["--set", "privileged=true"])?), context(&privileged));
    let typo = helm(&["template", &chart(), "--set", "tolerationz=1"])?;
    assert!(String::from_utf8_lossy(&typo.stderr).contains("tolerationz"), "{typo:?}");
    println!("cluster: chart and kustomization make the same {} objects", made.len());
    Ok(())
}

/// The pod of the DaemonSet.
fn daemonset(objects: &[Value]) -> Value {
    let set = objects.iter().find(|object| object["kind"] == "DaemonSet").unwrap();
    set["spec"]["template"]["spec"].clone()
}

/// Objects by kind and name, without what is of the one tool or the other: Helm's labels, and the hash in the name of a
/// ConfigMap. A configuration counts for what it says.
fn comparable(objects: Vec<Value>) -> BTreeMap<String, Value> {
    let hashed = objects.iter().find(|object| object["kind"] == "ConfigMap").unwrap();
    let hashed = text(&hashed["metadata"]["name"]);
    let plain = |mut object: Value| {
        strip(&mut object, &hashed);
        if object["kind"] == "ConfigMap" {
            let config: toml::Value =
                toml::from_str(object["data"]["seismograf.conf"].as_str().unwrap()).unwrap();
            object["data"] = json!(config);
        }
        (manifests::what(&object), object)
    };
    objects.into_iter().map(plain).collect()
}

fn strip(value: &mut Value, hashed: &str) {
    match value {
        Value::String(text) if text == hashed && hashed.starts_with("seismograf-") => {
            "seismograf".clone_into(text);
        }
        Value::Array(values) => values.iter_mut().for_each(|value| strip(value, hashed)),
        Value::Object(fields) => {
            fields.retain(|key, _| !OF_HELM.contains(&key.as_str()));
            fields.values_mut().for_each(|value| strip(value, hashed));
            fields.retain(|key, value| {
                key != "annotations" || value.as_object().is_some_and(|all| !all.is_empty())
            });
        }
        _ => {}
    }
}

pub(super) fn values_of_telegraf_ds() -> Outcome {
    let objects = rendered(&["--values", &file("telegraf-ds-values.yaml")])?;
    let map = objects.iter().find(|object| object["kind"] == "ConfigMap").unwrap();
    let config = map["data"]["seismograf.conf"].as_str().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("seismograf.conf");
    std::fs::write(&path, config).unwrap();
    let pod = daemonset(&objects);
    let container = &pod["containers"][0];
    let mut check = Command::new(agent_binary()?);
    check.args(["config", "check", "--offline"]).arg(&path).env_clear().env("INFLUX_TOKEN", "token");
    for variable in container["env"].as_array().unwrap() {
        check.env(text(&variable["name"]), variable["value"].as_str().unwrap_or("10.0.0.1"));
    }
    let answer = check.output().unwrap();
    assert!(answer.status.success(), "{config}\n{answer:?}");
    let config: Value = json!(toml::from_str::<toml::Value>(config).unwrap());
    assert_eq!(config["agent"]["metric_buffer_limit"], 20_000);
    assert_eq!(config["global_tags"]["cluster"], "east");
    assert_eq!(config["inputs"]["prometheus"][0]["tagdrop"], json!({"device": ["lo"]}));
    assert_eq!(config["inputs"]["docker"][0]["endpoint"], "unix:///rootfs/run/docker.sock");
    assert!(config["inputs"].get("internal").is_some() && config["inputs"].get("ebpf").is_none());
    let variable = |name: &str| {
        let all = container["env"].as_array().unwrap();
        let found: Vec<&Value> = all.iter().filter(|variable| variable["name"] == name).collect();
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        found[0].clone()
    };
    assert_eq!(variable("HOST_PROC")["value"], "/rootfs/proc");
    assert_eq!(variable("REGION")["value"], "eu");
    assert_eq!(variable("HOSTIP")["valueFrom"]["fieldRef"]["fieldPath"], "status.hostIP");
    assert_eq!(container["args"], json!(["--config", "/etc/telegraf/telegraf.conf"]));
    assert_eq!(container["envFrom"][0]["secretRef"]["name"], "influx-token");
    let paths: Vec<String> =
        container["volumeMounts"].as_array().unwrap().iter().map(|mount| text(&mount["mountPath"])).collect();
    for path in ["/etc/telegraf/telegraf.conf", "/etc/telegraf/conf.d", "/rootfs"] {
        assert!(paths.iter().any(|mount| mount == path), "{path} in {paths:?}");
    }
    assert_eq!((&pod["hostNetwork"], &pod["serviceAccountName"]), (&json!(true), &json!("telegraf")));
    assert_eq!(pod["nodeSelector"]["disktype"], "ssd");
    // Helm has read it as a fraction by then.
    let refused =
        helm(&["template", "seismograf", &chart(), "--set", "secret.data.monitor_password=12345678"])?;
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && why.contains("monitor_password': got number, want string"), "{why}");
    println!("cluster: values of telegraf-ds make a configuration that the agent takes");
    Ok(())
}

pub(super) fn lives() -> Outcome {
    let server = Influxd::start(Setup { listen: Some(SocketAddr::new(node(), 8086)), ..Setup::default() })?;
    let host = format!("secret.data.monitor_host={}", server.url());
    let values = [
        "--set=secret.data.env=prod,secret.data.monitor_database=metrics,secret.data.monitor_username=user",
        "--set",
        &host,
        "--wait",
        "--timeout=120s",
    ];
    let chart = chart();
    let install =
        [&["install"], &RELEASE[..1], &[&chart], &RELEASE[1..], &["--create-namespace"], &values].concat();
    let notes = succeed(&install)?;
    // The one value that was left as it is.
    assert!(notes.contains("secret.data.monitor_password is still"), "{notes}");
    assert_eq!(notes.matches("is still").count(), 1, "{notes}");
    let tested = succeed(&[&["test"], &RELEASE[..], &["--timeout=60s"]].concat())?;
    assert!(tested.contains("Succeeded"), "{tested}");
    let agent =
        pods().iter().map(|pod| text(&pod["metadata"]["name"])).find(|pod| pod.starts_with("seismograf-"));
    let agent = agent.expect("the agent's pod");
    let query = format!(
        "SELECT last(usage_ns) FROM cgroup_cpu WHERE pod_name = '{agent}' AND env = 'prod' GROUP BY *"
    );
    wait_for(|| !server.series("metrics", &query).is_empty(), LIMIT, "the agent's own row, with its name");
    // Another configuration: the pods are new ones.
    let upgrade = ["--set=config.global_tags.rack=r1", "--reuse-values", "--wait", "--timeout=120s"];
    succeed(&[&["upgrade"], &RELEASE[..1], &[&chart], &RELEASE[1..], &upgrade].concat())?;
    wait_for(
        || !server.series("metrics", "SELECT last(total) FROM mem WHERE rack = 'r1'").is_empty(),
        LIMIT,
        "points of the new configuration",
    );
    // One that the agent refuses fails the test of the release, which says why.
    let broken = ["--set=config.agent.interval=often", "--reuse-values"];
    succeed(&[&["upgrade"], &RELEASE[..1], &[&chart], &RELEASE[1..], &broken].concat())?;
    let failed = helm(&[&["test"], &RELEASE[..], &["--timeout=60s"]].concat())?;
    assert!(!failed.status.success(), "{failed:?}");
    let why = try_run("kubectl", &["logs", "--namespace=monitoring", "seismograf-test"]);
    let why = String::from_utf8_lossy(&[why.stdout, why.stderr].concat()).into_owned();
    assert!(why.contains("often"), "{why}");

    succeed(&[&["uninstall"], &RELEASE[..], &["--wait"]].concat())?;
    kubectl(&["delete", "namespace", "monitoring", "--timeout=90s"]);
    system::nothing_remains();
    println!("cluster: the chart was installed, tested, upgraded and removed");
    Ok(())
}
