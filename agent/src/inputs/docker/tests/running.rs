//! Containers that run, under cgroup2.

use std::collections::BTreeSet;

use super::*;

impl Machine {
    /// A container under cgroup2.
    fn unified(&self, id: &str) {
        let file = |name: &str, text: &str| {
            write(self.root.path(), &format!("sys/unified/docker/{id}/{name}"), text);
        };
        file("memory.current", "5000\n");
        file("memory.max", "max\n");
        file("memory.stat", "anon 10\nfile 20\ninactive_file 1000\nactive_anon 7\npgfault 9\nsock 3\n");
        file("cpu.stat", "usage_usec 1000\nuser_usec 600\nsystem_usec 400\n");
        file(
            "io.stat",
            "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n259:0 rbytes=10 wbytes=20 rios=30 wios=40 dbytes=0 dios=0\n",
        );
        write(self.root.path(), "proc/stat", "cpu  1 1 1 1 1 1 1 1\ncpu0 1\n");
    }
}

#[tokio::test]
async fn what_cgroup2_does_not_say_is_absent() {
    let machine = Machine::new(false);
    machine.unified(ID);
    machine.process(7, ID, "\n\n");
    let config = "[[inputs.docker]]\nperdevice_include = [\"cpu\", \"blkio\", \"network\"]\n";
    let mut docker = machine.docker(config, [running(ID, 7, Value::Object(Default::default()))]);
    let actual = lines(&gather(&mut docker).await.unwrap());
    let fields = |measurement: &str, tag: (&str, &str)| -> BTreeMap<String, String> {
        let mut found = actual
            .iter()
            .filter(|line| line.0 == measurement && line.1.get(tag.0).is_some_and(|v| v == tag.1));
        let fields = found.next().unwrap().2.clone();
        assert!(found.next().is_none());
        fields.into_iter().filter(|(key, _)| key != "container_id").collect()
    };
    let expect = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
    };
    let name = ("container_name", "n0123");
    assert_eq!(
        fields("docker_container_mem", name),
        expect(&[
            ("usage", "4000i"),
            ("limit", "25276502016i"),
            ("usage_percent", &format!("{}", 100.0 * 4000.0 / 25276502016.0)),
            ("inactive_file", "1000i"),
            ("active_anon", "7i"),
            ("pgfault", "9i"),
        ])
    );
    // No CPU by itself, no quota, and no difference yet.
    assert_eq!(
        fields("docker_container_cpu", name),
        expect(&[
            ("usage_total", "1000000i"),
            ("usage_in_usermode", "600000i"),
            ("usage_in_kernelmode", "400000i"),
            ("usage_system", "70000000i"),
        ])
    );
    let io = [("read", "11i", "33i"), ("write", "22i", "44i"), ("discard", "5i", "6i")];
    let mut total = BTreeMap::new();
    for (kind, bytes, operations) in io {
        total.insert(format!("io_service_bytes_recursive_{kind}"), bytes.to_owned());
        total.insert(format!("io_serviced_recursive_{kind}"), operations.to_owned());
    }
    assert_eq!(fields("docker_container_blkio", ("device", "total")), total);
    assert_eq!(fields("docker_container_blkio", ("device", "259:0"))["io_serviced_recursive_write"], "40i");
    assert!(actual.iter().all(|line| line.0 != "docker_container_net"), "no interface of its own");
    let tags = &actual.iter().find(|line| line.0 == "docker_container_status").unwrap().1;
    assert_eq!((tags["container_image"].as_str(), tags["container_version"].as_str()), ("r:5000/a/b", "1.2"));
}

#[tokio::test]
async fn networks_are_those_of_the_namespace_and_the_hosts_are_left_out() {
    let machine = Machine::new(false);
    let none = || Value::Object(Default::default());
    let net_dev = "\n\n  eth0: 1 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0\n    lo: 9 9 9 9 0 0 0 0 9 9 9 9 0 0 0 0\neth1:10 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n";
    machine.unified(ID);
    machine.unified(OTHER_ID);
    machine.process(7, ID, net_dev);
    machine.process(8, OTHER_ID, net_dev);
    let proc = machine.root.path().join("proc");
    let config = "[[inputs.docker]]\nperdevice_include = [\"network\"]\n";
    let networks = async |inspected: Vec<Value>| -> Vec<(String, String, String)> {
        let actual = lines(&gather(&mut machine.docker(config, inspected)).await.unwrap());
        let of = actual.iter().filter(|line| line.0 == "docker_container_net");
        of.map(|(_, tags, fields)| {
            (
                tags["container_name"].clone(),
                tags["network"].clone(),
                format!("{} {}", fields["rx_bytes"], fields["tx_dropped"]),
            )
        })
        .collect()
    };
    let of = |name: &str| {
        [("eth0", "1i 8i"), ("eth1", "10i 0i"), ("total", "11i 8i")]
            .map(|(network, counts)| (name.to_owned(), network.to_owned(), counts.to_owned()))
    };
    assert_eq!(networks(vec![running(ID, 7, none())]).await, of("n0123"));
    let host = serde_json::json!({"HostConfig": {"NetworkMode": "host"}});
    assert_eq!(networks(vec![running(ID, 7, host)]).await, []);
    // Two containers of a pod: read once, and both have it.
    std::fs::remove_file(proc.join("8/ns/net")).unwrap();
    std::fs::hard_link(proc.join("7/ns/net"), proc.join("8/ns/net")).unwrap();
    std::fs::remove_file(proc.join("8/net/dev")).unwrap();
    std::fs::hard_link(proc.join("7/net/dev"), proc.join("8/net/dev")).unwrap();
    assert_eq!(networks(vec![running(ID, 7, none()), running(OTHER_ID, 8, none())]).await.len(), 6);
    // In the network of a container that has the host's.
    std::fs::remove_file(proc.join("7/ns/net")).unwrap();
    std::fs::hard_link(proc.join("1/ns/net"), proc.join("7/ns/net")).unwrap();
    assert_eq!(networks(vec![running(ID, 7, none())]).await, []);
    // A process of the same number that is not the container's.
    write(machine.root.path(), "proc/7/cgroup", "0::/user.slice\n");
    std::fs::remove_file(proc.join("7/ns/net")).unwrap();
    write(machine.root.path(), "proc/7/ns/net", "");
    assert_eq!(networks(vec![running(ID, 7, none())]).await, []);
}

#[tokio::test]
async fn one_whose_cgroup_is_gone_is_left_out_and_one_that_is_never_seen_has_its_state() {
    let machine = Machine::new(false);
    machine.unified(ID);
    machine.process(7, ID, "\n\n");
    let none = || Value::Object(Default::default());
    let mut docker =
        machine.docker("[[inputs.docker]]", [running(ID, 7, none()), running(OTHER_ID, 8, none())]);
    let count = async |docker: &mut Docker| {
        let actual = lines(&gather(docker).await.unwrap());
        ["n0123", "nfedc"].map(|name| actual.iter().filter(|line| line.1["container_name"] == name).count())
    };
    assert_eq!(count(&mut docker).await, [4, 1]);
    docker.daemon.known().is_up = false;
    assert_eq!(count(&mut docker).await, [4, 0], "what is seen goes on while the daemon is away");
    std::fs::remove_dir_all(machine.root.path().join("sys")).unwrap();
    assert_eq!(count(&mut docker).await, [0, 0]);
    std::fs::remove_dir_all(machine.root.path().join("proc")).unwrap();
    assert_eq!(count(&mut docker).await, [0, 0]);
}

#[tokio::test]
async fn that_no_cgroup_is_seen_is_said_once() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let _log = crate::service::logging::to_file(log.path());
    let machine = Machine::new(false);
    let none = || Value::Object(Default::default());
    let mut docker = machine.docker("[[inputs.docker]]", [running(ID, 7, none())]);
    let mut n_said = async || {
        gather(&mut docker).await.unwrap();
        let log = std::fs::read_to_string(log.path()).unwrap();
        log.lines()
            .filter(|line| line.contains("no cgroup of a container") && line.contains("container=n0123"))
            .count()
    };
    assert_eq!(
        [n_said().await, n_said().await, n_said().await],
        [0, 1, 1],
        "at first it may have ended just now"
    );
}

#[tokio::test]
async fn a_label_cannot_pass_for_a_tag_of_the_agents_own() {
    let machine = Machine::new(false);
    machine.unified(ID);
    machine.process(7, ID, "\n\n eth0: 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n");
    let mut labels = serde_json::Map::new();
    for key in ["container_name", "engine_host", "cpu", "device", "network", "host", "container_status"] {
        labels.insert(key.into(), "forged".into());
    }
    labels.insert("app\n,x=y f=1i 1\n".into(), "a\n\"b\",c d=\\".into());
    labels.insert("empty".into(), "".into());
    labels.insert("source".into(), "mine".into());
    let config =
        serde_json::json!({"Config": {"Image": "a", "Labels": labels, "Env": ["JAVA_HOME=/x", "B= ", "C"]}});
    let mut docker = machine
        .docker("[[inputs.docker]]\ntag_env = [\"JAVA_HOME\", \"B\", \"C\"]", [running(ID, 7, config)]);
    let points = gather(&mut docker).await.unwrap();
    assert_eq!(points.len(), 5);
    for point in &points {
        let mut text = Vec::new();
        assert!(line_protocol::encode(point, &mut text));
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.contains("forged") && !text.contains("empty"), "{text}");
        for tag in [
            "container_name=n0123",
            "engine_host=vm",
            "source=mine",
            "JAVA_HOME=/x",
            "container_version=unknown",
        ] {
            assert!(text.contains(&format!(",{tag}")), "{tag}: {text}");
        }
        assert!(!text.contains(",B=") && !text.contains(",C="), "{text}");
    }
}

#[tokio::test]
async fn names_and_states_are_chosen() {
    let machine = Machine::new(false);
    let with = |id: &str, status: &str| {
        let state = serde_json::json!({"State": {"Status": status, "Pid": 0}});
        running(id, 0, state)
    };
    let containers = [with(ID, "exited"), with(OTHER_ID, "created")];
    let names = async |text: &str| -> Vec<String> {
        let mut docker = machine.docker(&format!("[[inputs.docker]]\n{text}"), containers.clone());
        let points = gather(&mut docker).await.unwrap();
        let names = points.iter().map(|point| point.tag_value("container_name").unwrap().to_owned());
        names.collect::<BTreeSet<_>>().into_iter().collect()
    };
    assert_eq!(names("").await, [""; 0]);
    assert_eq!(names("container_state_include = [\"e*\"]").await, ["n0123"]);
    assert_eq!(names("container_state_exclude = [\"created\", \"running\"]").await, ["n0123"]);
    let all = "container_state_include = [\"*\"]\n";
    assert_eq!(names(all).await, ["n0123", "nfedc"]);
    assert_eq!(names(&format!("{all}container_name_include = [\"n0*\"]")).await, ["n0123"]);
    assert_eq!(names(&format!("{all}container_name_exclude = [\"n0*\"]")).await, ["nfedc"]);
    assert_eq!(names(&format!("{all}container_names = [\"nfedc\"]")).await, ["nfedc"]);
}
