use std::time::{Duration, Instant};

use super::*;
use crate::identity::names::{ContainerName, Names, Source};
use crate::identity::workloads::Workload;
use crate::identity::{LISTED_WITHIN, path};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const UID: &str = "12345678-1234-1234-1234-123456789abc";

fn written(series: &Series) -> Vec<String> {
    series.tags().iter().map(|(tag, value)| format!("{tag}={value}")).collect()
}

fn tags(path: &str, names: &Names, since: Instant) -> Vec<String> {
    let identity = path::parse(path);
    let identity = path::parse(identity.owner_path());
    written(&Series::of_owner(&identity, &identity.named(names, since), SeriesOptions::default()))
}

fn pod() -> PodName {
    PodName { name: "web-1".into(), namespace: "shop".into(), node: "n1".into(), ..PodName::default() }
}

#[test]
fn a_container_has_its_own_name_and_its_pods() {
    let (names, now) = (Names::default(), Instant::now());
    let path = format!("/kubepods/burstable/pod{UID}/{ID}/nested");
    let lacks = |names: &Names| {
        let identity = path::parse(&path);
        identity.lacks(&identity.named(names, now))
    };
    assert!(lacks(&names));
    assert_eq!(tags(&path, &names, now)[0], format!("cgroup=/kubepods/burstable/pod{UID}/{ID}"));
    names.name_pod(Source::Kubelet, UID, PodName { has_all_containers: true, ..pod() }, now);
    assert!(lacks(&names), "it may still be listed");
    names.name_container(
        Source::Kubelet,
        ID,
        ContainerName { name: "main".into(), image: "bb:1".into() },
        now,
    );
    assert!(!lacks(&names));
    let expected = [
        "container_name=main",
        "container_image=bb:1",
        "pod_name=web-1",
        "namespace=shop",
        "node_name=n1",
        "runtime=cri",
    ];
    assert_eq!(tags(&path, &names, now), expected);
}

#[test]
fn what_the_kubelet_still_does_not_list_is_the_pause_container() {
    let (names, now) = (Names::default(), Instant::now());
    let path = format!("/kubepods/pod{UID}/{ID}");
    let later = now + LISTED_WITHIN + Duration::from_millis(1);
    // Its own containers may be among those that the kubelet says nothing of yet.
    names.name_pod(Source::Kubelet, UID, pod(), later);
    let identity = path::parse(&path);
    assert!(identity.lacks(&identity.named(&names, now)));
    names.name_pod(Source::Kubelet, UID, PodName { has_all_containers: true, ..pod() }, later);
    assert_eq!(tags(&path, &names, now)[0], "container_name=POD");
    assert!(!identity.lacks(&identity.named(&names, now)));
    let own = tags(&format!("/kubepods/pod{UID}"), &names, now);
    assert_eq!(own, ["pod_name=web-1", "namespace=shop", "node_name=n1"]);
}

#[test]
fn lxc_has_its_name_in_the_path() {
    let (names, now) = (Names::default(), Instant::now());
    let identity = path::parse("/lxc.payload.web/init.scope");
    assert!(!identity.lacks(&identity.named(&names, now)));
    assert_eq!(tags(&identity.path, &names, now), ["container_name=web", "runtime=lxc"]);
}

#[test]
fn no_tag_has_an_id_unless_it_is_asked_for() {
    let (names, now) = (Names::default(), Instant::now());
    names.name_container(Source::Docker, ID, ContainerName { name: "web".into(), image: "bb:1".into() }, now);
    let path = format!("/system.slice/docker-{ID}.scope");
    let named = ["container_name=web", "container_image=bb:1", "runtime=docker"];
    assert_eq!(tags(&path, &names, now), named);
    let session = tags("/user.slice/user-0.slice/session-7.scope", &names, now);
    assert_eq!(session, ["cgroup=/user.slice/user-0.slice/session-*.scope", "unit=session-*.scope"]);
    let identity = path::parse(&path);
    let include = ["cgroup".to_owned(), "container_id".to_owned()];
    let options = SeriesOptions { tag_include: &include, each_job_pod: false };
    let series = Series::of_owner(&identity, &identity.named(&names, now), options);
    assert!(!series.outlives_instance(&identity));
    let asked = written(&series);
    assert_eq!(asked[2..], [format!("cgroup={path}"), "runtime=docker".into(), format!("container_id={ID}")]);
}

#[test]
fn the_pods_of_a_job_are_one_unless_each_is_asked_for() {
    let (names, now) = (Names::default(), Instant::now());
    let workload = Some(Workload { name: "cronjob/short".into(), pods: Some("short-*".into()) });
    let pod = PodName { name: "short-29012345-x7k2p".into(), workload, ..pod() };
    names.name_pod(Source::Kubelet, UID, pod.clone(), now);
    let identity = path::parse(&format!("/kubepods/pod{UID}/{ID}"));
    let of = |each_job_pod| {
        let options = SeriesOptions { tag_include: &[], each_job_pod };
        written(&Series::of_pod(&identity, Some(&pod), options))
    };
    let rest = ["namespace=shop", "node_name=n1", "workload=cronjob/short"];
    assert_eq!(of(false)[0], "pod_name=short-*");
    assert_eq!(of(true)[0], "pod_name=short-29012345-x7k2p");
    assert_eq!(of(true)[1..], rest);
    let unnamed = written(&Series::of_pod(&identity, None, SeriesOptions::default()));
    assert_eq!(unnamed, [format!("cgroup=/kubepods/pod{UID}")]);
}

#[test]
fn only_what_can_come_again_outlives_its_instance() {
    let (names, now) = (Names::default(), Instant::now());
    let outlives = |path: &str, names: &Names| {
        let identity = path::parse(path);
        let series = Series::of_owner(&identity, &identity.named(names, now), SeriesOptions::default());
        let tags = series.tags().iter().map(|(tag, value)| ((*tag).into(), value.clone())).collect();
        assert_eq!(Series::from_tags(&tags), series);
        series.outlives_instance(&identity)
    };
    let container = format!("/docker/{ID}");
    assert!(outlives("/a", &names) && outlives("/system.slice/ssh.service", &names));
    assert!(!outlives(&container, &names), "its path has its id");
    let name = ContainerName { name: "web".into(), image: String::new() };
    names.name_container(Source::Docker, ID, name, now);
    assert!(outlives(&container, &names));
}
