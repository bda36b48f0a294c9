//! The options, as they are written in a file.

use rstest::rstest;

use super::*;

#[test]
fn options_of_old_mean_what_they_meant() {
    let modern = |text: &str| {
        let Options { perdevice_include, total_include, .. } =
            options(&format!("[[inputs.docker]]\n{text}")).unwrap().modern();
        (perdevice_include, total_include)
    };
    let (cpu, all) = (vec![Area::Cpu], vec![Area::Cpu, Area::Blkio, Area::Network]);
    assert_eq!(modern(""), (cpu.clone(), all.clone()));
    assert_eq!(modern("perdevice = true"), (vec![Area::Cpu, Area::Network, Area::Blkio], all.clone()));
    assert_eq!(modern("perdevice = false\ntotal = true"), (cpu.clone(), all.clone()));
    assert_eq!(modern("total = false"), (cpu.clone(), cpu.clone()));
    assert_eq!(modern("total = false\ntotal_include = [\"network\"]"), (cpu, vec![]));
    assert_eq!(
        modern("perdevice = true\nperdevice_include = [\"blkio\"]"),
        (vec![Area::Blkio, Area::Network], all)
    );
}

#[rstest]
#[case("gather_services = true", "`gather_services`: services of a swarm are not gathered: leave this out")]
#[case("endpoint = \"docker\"", "`endpoint`: `docker`: it is ENV, or begins with unix:///")]
#[case("container_name_include = [\"a[*\"]", "`container_name_include`: error parsing glob")]
#[case("docker_label_exclude = [\"a[*\"]", "`docker_label_exclude`: error parsing glob")]
#[case("tls_key = \"/k\"\nendpoint = \"https://d:1\"", "`tls_cert`: is missing")]
#[tokio::test]
async fn refuses_what_it_cannot_work_with(#[case] text: &str, #[case] expected: &str) {
    let options = options(&format!("[[inputs.docker]]\n{text}")).unwrap();
    let error = Docker::new(options, &Shared::new(Host::default())).err().unwrap().to_string();
    assert!(error.starts_with(expected), "{error}");
}

#[rstest]
#[case(
    "perdevice_include = [\"memory\"]",
    "t:2:1: `perdevice_include` of input `docker`: unknown variant `memory`, expected one of `cpu`, `blkio`, `network`"
)]
#[case(
    "storage_objects = [\"network\"]",
    "t:2:1: `storage_objects` of input `docker`: unknown variant `network`"
)]
#[case(
    "container_state_includes = []",
    "t:2:1: unknown option `container_state_includes` of input `docker`: did you mean `container_state_include`?"
)]
fn refuses_it_by_line(#[case] text: &str, #[case] expected: &str) {
    let error = options(&format!("[[inputs.docker]]\n{text}")).unwrap_err();
    assert!(error.starts_with(expected), "{error}");
}
