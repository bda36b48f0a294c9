use rstest::rstest;

use super::invariants::{check, fill};
use super::*;

const TABLE: &str = include_str!("../../../testdata/cgroup-paths.txt");

/// The lines of the table, each in its columns, without its note.
fn rows() -> impl Iterator<Item = (usize, Vec<&'static str>)> {
    let lines = TABLE.lines().map(|line| line.split('#').next().unwrap_or(""));
    let columns = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
    columns.enumerate().filter(|(_, columns)| !columns.is_empty()).map(|(line, columns)| (line + 1, columns))
}

/// A path without its marks, and where they were.
fn marked(text: &str) -> (String, Option<String>, Option<String>) {
    let text = fill(text);
    let until = |mark| text.split_once(mark).map(|(before, _)| before.replace(['^', '%'], ""));
    (text.replace(['^', '%'], ""), until('^'), until('%'))
}

fn known(column: &str) -> Option<String> {
    (column != "-").then(|| fill(column))
}

#[test]
fn known_layouts() {
    let mut n = 0;
    for (line, columns) in rows() {
        let [path, runtime, id, pod, unit] = columns[..] else { panic!("line {line}: {columns:?}") };
        let (path, container_path, pod_path) = marked(path);
        let identity = parse(&path);
        let pod = known(pod);
        let (qos, uid) = pod.as_deref().and_then(|pod| pod.split_once(':')).unzip();
        assert_eq!(identity.runtime, Some(runtime).filter(|name| !["-", "?"].contains(name)), "line {line}");
        assert_eq!(identity.container_id, known(id), "line {line}");
        assert_eq!(identity.container_path(), container_path.as_deref(), "line {line}");
        assert_eq!(identity.is_container_root(), container_path.as_ref() == Some(&path), "line {line}");
        assert_eq!(identity.pod_uid.as_deref(), uid, "line {line}");
        assert_eq!(identity.qos, qos, "line {line}");
        assert_eq!(identity.pod_path(), pod_path.as_deref(), "line {line}");
        assert_eq!(identity.unit, known(unit), "line {line}");
        check(&path);
        n += 1;
    }
    assert!(n >= 100, "{n} paths");
}

/// Nearly an id, nearly a layout.
#[rstest]
#[case::short_id("/docker/0a0a0a0a0a0a")]
#[case::one_digit_more("/docker/{A}0")]
#[case::one_digit_less("/system.slice/docker-{H}5a0d5ceddf6c44c1928d367a815d890.scope")]
#[case::capitals("/docker/{H}5A0D5CEDDF6C44C1928D367A815D890F")]
#[case::no_digit("/docker/{H}5g0d5ceddf6c44c1928d367a815d890f")]
#[case::multibyte("/docker/{H}5é0d5ceddf6c44c1928d367a815d89")]
#[case::unknown_prefix("/system.slice/rocket-{A}.scope")]
#[case::two_prefixes("/system.slice/docker-docker-{A}.scope")]
#[case::no_prefix("/system.slice/-{A}.scope")]
#[case::one_colon("/docker:{A}")]
#[case::other_suffix("/system.slice/docker-{A}.mount")]
#[case::no_names("/.scope/.slice/.service/pod/kubepods-pod.slice/lxc.payload./lxc")]
#[case::no_machine("/machine-.scope/systemd-nspawn@.service")]
#[case::bad_machine(r"/machine.slice/machine-a\x00b.scope")]
#[case::file_names("/lxc.payload/")]
#[case::nul("/system.slice/docker-\0{A}.scope")]
#[case::space("/docker /{A}\n")]
#[case::dots("/../..")]
#[case::fargate_without_number("/ecs/{H}/{H}-")]
#[case::fargate_elsewhere("/tasks/{H}/{H}-1")]
fn nearly_a_container(#[case] path: &str) {
    let path = fill(path);
    let identity = parse(&path);
    assert_eq!((identity.container_id, identity.runtime), (None, None));
    check(&path);
}

#[rstest]
#[case::not_of_kubernetes("/pod{U}")]
#[case::of_a_class_of_nobody("/burstable/pod{U}")]
#[case::no_uid("/kubepods/pod")]
#[case::no_uid_in_a_slice("/kubepods.slice/kubepods-pod.slice")]
#[case::no_uid_of_anybody("/kubepods/poda b")]
#[case::dashes_in_a_slice("/kubepods.slice/kubepods-pod{U}.slice")]
#[case::other_slice("/podkube.slice/podkube-pod{U_}.slice")]
#[case::nearly_kubepods("/mykubepods.slice/mykubepods-pod{U_}.slice")]
fn nearly_a_pod(#[case] path: &str) {
    let path = fill(path);
    let identity = parse(&path);
    assert_eq!((identity.pod_uid, identity.qos), (None, None));
    check(&path);
}

/// A static pod has the UID that its manifest says.
#[rstest]
#[case("/kubepods/podmy-proxy", "my-proxy")]
#[case("/kubepods/burstable/pod0e51ac4b", "0e51ac4b")]
#[case("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podmy_proxy.slice", "my-proxy")]
fn a_pod_with_a_uid_of_its_own(#[case] path: &str, #[case] uid: &str) {
    assert_eq!(parse(path).pod_uid.as_deref(), Some(uid));
    assert_eq!(parse(path).pod_path(), Some(path));
    check(path);
}

#[rstest]
#[case::space("/system.slice/a b.service")]
#[case::only_a_suffix("/system.slice/.service")]
#[case::control("/system.slice/a\u{1b}.service")]
#[case::other("/system.slice/a.device")]
fn nearly_a_unit(#[case] path: &str) {
    assert_eq!(parse(path).unit, None);
    check(path);
}

#[rstest]
#[case("/a/b/c", &["/a/b", "/a", "/"])]
#[case("/a", &["/"])]
#[case("/", &[])]
#[case("", &[])]
fn the_paths_above_end_with_the_root(#[case] path: &str, #[case] expected: &[&str]) {
    assert_eq!(above(path).collect::<Vec<_>>(), expected);
}

#[test]
fn doubled_and_trailing_slashes_are_nothing() {
    let identity = parse(&fill("//docker//{A}//x/"));
    assert_eq!(identity.container_path(), Some(&*fill("//docker//{A}")));
    assert_eq!(identity.runtime, Some("docker"));
}

#[test]
fn a_path_that_the_kernel_truncated_tells_nothing() {
    let (deep, whole) = ("/a".repeat(500), fill("/docker/{A}"));
    let path = format!("{whole}{deep}");
    assert_eq!(parse_record(whole.as_bytes()), parse(&whole));
    assert!(
        parse_record(&path.as_bytes()[..PATH_BYTES - 2]).container_id.is_some(),
        "the longest that is whole"
    );
    let cut = parse_record(&path.as_bytes()[..PATH_BYTES - 1]);
    assert_eq!(cut, Identity { path: path[..PATH_BYTES - 1].to_owned(), ..Identity::default() });
}

#[test]
fn a_record_of_any_bytes_has_a_result() {
    let identity = parse_record(b"/lxc/\xff\xfe");
    assert_eq!(identity.container_id.as_deref(), Some("\u{fffd}\u{fffd}"));
    assert_eq!(parse_record(b""), parse(""));
}

#[test]
fn long_paths() {
    for part in
        ["/", "/a", "/kubepods", "/lxc", "/lxc.payload.a", "a", "-", ":", ".scope", "\\x2d", "é", "\0"]
    {
        check(&part.repeat(65_536 / part.len()));
    }
    check(&fill(&"/docker/{A}".repeat(900)));
    check(&fill(&"/kubepods/pod{U}".repeat(1_200)));
}

/// Pieces of the table's paths in another order, with characters changed. `SEISMOGRAF_MUTATIONS` says how many.
#[test]
fn invariants_hold_for_mutations_of_the_table() {
    let n = std::env::var("SEISMOGRAF_MUTATIONS").map_or(50_000, |n| n.parse().unwrap());
    let mut random = fastrand::Rng::with_seed(16);
    let paths: Vec<String> = rows().map(|(_, columns)| marked(columns[0]).0).collect();
    let names: Vec<&str> = paths.iter().flat_map(|path| path.split('/')).collect();
    let mut containers = 0;
    for _ in 0..n {
        let mut path = paths[random.usize(..paths.len())].clone();
        for _ in 0..random.usize(..4) {
            let name = names[random.usize(..names.len())];
            let mut place = || path.floor_char_boundary(random.usize(..=path.len()));
            let (from, to) = (place(), place());
            match random.u8(..5) {
                0 => path.insert(from, random.char(..)),
                1 => path.insert_str(from, name),
                2 => path = format!("{path}/{name}"),
                3 if from < to => drop(path.drain(from..to)),
                _ => path = format!("{}/{}", &path[..from], &path[to..]),
            }
        }
        check(&path);
        containers += usize::from(parse(&path).container_id.is_some());
    }
    assert!(containers > n / 5, "{containers} of {n}: little of the table is left in the mutations");
}
