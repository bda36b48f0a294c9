//! Containers whose cgroups are not seen here: the daemon is asked for their figures.

use std::collections::BTreeSet;

use super::*;
use crate::http::standin::{ok, serve};

/// So many containers' ids, of which the last digits tell them apart.
fn ids(n: usize) -> Vec<String> {
    (0..n).map(|n| format!("{n:064x}")).collect()
}

/// An input whose daemon answers `stats` of a container, by the number in its id, with this.
async fn asking(n: usize, answer: impl Fn(usize) -> String + Send + 'static) -> Docker {
    let url = serve(move |head| {
        let path = head.split(' ').nth(1).unwrap();
        let id = path.strip_prefix("/containers/").and_then(|rest| rest.split_once("/stats?"));
        let (id, query) = id.unwrap_or_else(|| panic!("{path}"));
        assert_eq!(query, "stream=false&one-shot=true");
        answer(usize::from_str_radix(id, 16).unwrap())
    })
    .await;
    let inspected = ids(n).into_iter().map(|id| {
        let name = format!("/{}", &id[60..]);
        running(&id, 7, serde_json::json!({"Name": name}))
    });
    let inspected: Vec<Value> = inspected.collect();
    Machine::new(false).docker(&format!("[[inputs.docker]]\nendpoint = \"{url}\""), inspected)
}

/// The names of containers that have figures.
fn with_figures(points: &[Point]) -> BTreeSet<String> {
    let figures = points.iter().filter(|point| &*point.measurement == "docker_container_cpu");
    figures.map(|point| point.tag_value("container_name").unwrap().to_owned()).collect()
}

/// Gathers until the answers are there, which on a busy machine may come late.
async fn gather_with_figures(docker: &mut Docker) -> Vec<Point> {
    let mut points = Vec::new();
    while with_figures(&points).is_empty() {
        points.append(&mut gather(docker).await.unwrap());
    }
    points
}

#[tokio::test]
async fn one_that_cannot_be_answered_keeps_none_of_the_others_from_their_figures() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let _log = crate::service::logging::to_file(log.path());
    let mut docker = asking(30, |n| match n {
        3 => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".into(),
        4 => ok("{\"cpu_stats\":7}"),
        // One that ended just now.
        5 => ok(r#"{"read":"0001-01-01T00:00:00Z","cpu_stats":{"cpu_usage":{"total_usage":0}},"memory_stats":{}}"#),
        _ => ok(&recorded("stats-limited.json")),
    })
    .await;
    let points = gather_with_figures(&mut docker).await;
    let expected: BTreeSet<String> =
        (0..30).filter(|n| ![3, 4, 5].contains(n)).map(|n| format!("{n:04x}")).collect();
    assert_eq!(with_figures(&points), expected);
    let states = points.iter().filter(|point| &*point.measurement == "docker_container_status").count();
    assert_eq!(states % 30, 0);
    gather_with_figures(&mut docker).await;
    let log = std::fs::read_to_string(log.path()).unwrap();
    let said = log.lines().filter(|line| line.contains("no figures of a container")).collect::<Vec<_>>();
    assert!(said.len() == 1 && said[0].contains(&ids(5)[4]), "{log}");
}

#[tokio::test]
async fn shares_of_a_cpu_are_those_of_the_daemons_machine() {
    // A fifth of the time of its four CPUs more at each answer, and then it is started anew.
    let n_asked = std::sync::atomic::AtomicU64::new(1);
    let mut docker = asking(1, move |_| {
        let n = n_asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        ok(&serde_json::json!({
            "cpu_stats": {"cpu_usage": {"total_usage": n * 200}, "system_cpu_usage": n * 1_000, "online_cpus": 4},
            "precpu_stats": {"cpu_usage": {"total_usage": 0}},
        })
        .to_string())
    })
    .await;
    let mut percent = async || {
        let points = gather_with_figures(&mut docker).await;
        let total =
            lines(&points).into_iter().find(|line| line.1.get("cpu").is_some_and(|cpu| cpu == "cpu-total"));
        total.unwrap().2.get("usage_percent").cloned()
    };
    assert_eq!([percent().await, percent().await], [None, Some("80".to_owned())]);
    let container = Arc::clone(&docker.daemon.known().containers[&ids(1)[0]]);
    let anew = Container { pid: Some(8), ..Container::clone(&container) };
    docker.daemon.known().containers.insert(container.id.clone(), Arc::new(anew));
    let points = gather_with_figures(&mut docker).await;
    let cpu = points.iter().find(|point| point.tag_value("cpu").is_some()).unwrap();
    assert_eq!(cpu.field_value("usage_percent"), None, "its CPU time began anew");
}
