use super::*;
use crate::schema::views::view;

fn sampled(key: &str, gathers: [Vec<Point>; 2]) -> Table {
    let mut sampler = Sampler::default();
    for (second, mut points) in (1..).zip(gathers) {
        assert!(sampler.table(view(key).unwrap()).is_none());
        points.iter_mut().for_each(|point| point.time = Timestamp(second * 2_000_000_000));
        sampler.push(points);
    }
    sampler.table(view(key).unwrap()).unwrap()
}

fn point(measurement: &'static str, tags: &[(&str, &str)]) -> Point {
    tags.iter().fold(Point::new(measurement, Timestamp(0)), |point, (key, value)| {
        point.tag(Name::new(key), Name::new(value))
    })
}

fn cpu(cgroup: &str, usage_ns: i64) -> Point {
    point("cgroup_cpu", &[("cgroup", cgroup)]).field("usage_ns", usage_ns)
}

fn value(table: &Table, row: &str, column: &str) -> Option<f64> {
    let row = table.rows.iter().find(|found| found.name == row).unwrap_or_else(|| panic!("no row {row}"));
    table.value(row, column)
}

#[test]
fn rates_are_per_second_and_of_what_is_measured_as_well() {
    let table = sampled("all", [vec![cpu("/a", 7)], vec![cpu("/a", 1_000_000_007)]]);
    assert_eq!(value(&table, "/a", "cpu"), Some(50.0));
    assert_eq!(value(&table, "/a", "mem"), None);
    assert_eq!(value(&table, "/a", "nothing"), None);
}

#[test]
fn a_counter_that_went_backwards_is_new_and_a_new_series_has_no_rate() {
    let before = vec![cpu("/back", 5_000_000_000)];
    let table = sampled("all", [before, vec![cpu("/back", 1_000_000_000), cpu("/new", 9_000_000_000)]]);
    assert_eq!(value(&table, "/back", "cpu"), Some(50.0));
    assert_eq!(value(&table, "/new", "cpu"), None);
}

#[test]
fn series_of_a_row_are_added_up_or_their_highest_is_taken() {
    let gather = |bytes: i64, p99: f64| {
        let on = |device, bytes: i64, p99: f64| {
            let point = point("cgroup_blkio", &[("cgroup", "/a"), ("device", device)]);
            point.field("read_bytes", bytes).field("read_p99_us", p99).field("write_p99_us", p99 / 2.0)
        };
        vec![on("sda", bytes, p99), on("sdb", 3 * bytes, 2.0 * p99)]
    };
    let table = sampled("all", [gather(0, 1.0), gather(1000, 20.0)]);
    assert_eq!(value(&table, "/a", "read"), Some(2000.0));
    assert_eq!(value(&table, "/a", "io_p99"), Some(40.0));
}

#[test]
fn a_share_is_of_the_points_that_have_both() {
    let gather = |n: i64| {
        let container = |name| point("cgroup_cpu", &[("container_name", name)]).field("usage_ns", 1_i64);
        vec![
            container("a").tag("workload", "w").field("nr_throttled", n).field("nr_periods", 4 * n),
            container("b").field("nr_throttled", 0_i64).field("nr_periods", 0_i64),
            container("c").field("nr_throttled", n),
            point("cgroup_mem", &[("container_name", "a")])
                .field("working_set_bytes", 30_i64)
                .field("limit_bytes", 40_i64),
            point("cgroup_mem", &[("container_name", "b")]).field("working_set_bytes", 30_i64),
        ]
    };
    let table = sampled("containers", [gather(1), gather(9)]);
    let shares = ["a", "b", "c"].map(|name| value(&table, name, "throttled"));
    assert_eq!(shares, [Some(25.0), None, None]);
    assert_eq!([value(&table, "a", "mem_limit"), value(&table, "b", "mem_limit")], [Some(75.0), None]);
}

#[test]
fn what_only_adds_to_rows_makes_none() {
    let pressure = |resource, cgroup, avg: f64| {
        point("cgroup_pressure", &[("cgroup", cgroup), ("resource", resource)]).field("some_avg10", avg)
    };
    // Before the row itself.
    let gather = || {
        vec![pressure("cpu", "/a", 3.0), pressure("io", "/a", 4.0), pressure("io", "/b", 5.0), cpu("/a", 1)]
    };
    let table = sampled("all", [gather(), gather()]);
    assert_eq!(table.rows.len(), 1);
    let values = ["psi_cpu", "psi_io", "psi_mem"].map(|key| value(&table, "/a", key));
    assert_eq!(values, [Some(3.0), Some(4.0), None]);
}

#[test]
fn pods_of_a_workload_are_one_row_of_its_view() {
    let gather = |ns: i64| {
        let pod = |name| {
            let tags = [("namespace", "n"), ("pod_name", name), ("workload", "deployment/web")];
            point("pod_cpu", &tags).field("usage_ns", ns)
        };
        let wait = point("cgroup_cpu", &[("namespace", "n"), ("pod_name", "p1"), ("container_name", "c")]);
        vec![pod("p1"), pod("p2"), wait.field("runqueue_wait_p99_us", 7.0)]
    };
    let gathers = || [gather(0), gather(1_000_000_000)];
    let workloads = sampled("workloads", gathers());
    assert_eq!(value(&workloads, "n/deployment/web", "cpu"), Some(100.0));
    let pods = sampled("pods", gathers());
    assert_eq!(pods.rows.len(), 2);
    assert_eq!(value(&pods, "n/p1", "cpu"), Some(50.0));
    assert_eq!([value(&pods, "n/p1", "wait_p99"), value(&pods, "n/p2", "wait_p99")], [Some(7.0), None]);
}

#[test]
fn the_machine_is_one_row() {
    let gather = || {
        let cpu = |name, idle: f64| point("cpu", &[("cpu", name), ("host", "h")]).field("usage_idle", idle);
        let mem = point("mem", &[("host", "h")]).field("used", 5_u64).field("total", 9_u64);
        vec![cpu("cpu0", 10.0), cpu("cpu-total", 60.0), mem]
    };
    let table = sampled("machine", [gather(), gather()]);
    assert_eq!(table.rows.len(), 1);
    assert_eq!(
        ["busy", "used", "total"].map(|key| value(&table, "h", key)),
        [Some(40.0), Some(5.0), Some(9.0)]
    );
}
