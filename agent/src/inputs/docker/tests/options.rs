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
#[case("endpoint = \"docker\"", "`endpoint`: `docker`: it is ENV, or begins with unix:///")]
#[case("container_name_include = [\"a[*\"]", "`container_name_include`: error parsing glob")]
#[case("docker_label_exclude = [\"a[*\"]", "`docker_label_exclude`: error parsing glob")]
#[case("tls_key = \"/k\"\nendpoint = \"https://d:1\"", "`tls_key`: needs `tls_cert`")]
#[tokio::test]
async fn refuses_what_it_cannot_work_with(#[case] text: &str, #[case] expected: &str) {
    let options = options(&format!("[[inputs.docker]]\n{text}")).unwrap();
    let error = Docker::new(options, &Shared::new(Host::default())).err().unwrap().to_string();
    assert!(error.starts_with(expected), "{error}");
}

#[rstest]
#[case(
    "perdevice_include = [\"memory\"]",
    "t:2:1: `perdevice_include` of input `docker`: there is no `memory`; there are: cpu, blkio, network"
)]
#[case(
    "storage_objects = [\"network\"]",
    "t:2:1: `storage_objects` of input `docker`: there is no `network`; there are: container, image, volume"
)]
#[case(
    "container_state_includes = []",
    "t:2:1: unknown option `container_state_includes` of input `docker`: did you mean `container_state_include`?"
)]
fn refuses_it_by_line(#[case] text: &str, #[case] expected: &str) {
    let error = options(&format!("[[inputs.docker]]\n{text}")).unwrap_err();
    assert!(error.starts_with(expected), "{error}");
}

#[rstest]
#[case("gather_services = true", "gather_services", "has no effect: services of a swarm are not gathered")]
#[case("endpoint = \"unix://var/run/docker.sock\"", "endpoint", "was taken for unix:///PATH")]
#[case(
    "endpoint = \"https://127.0.0.1:1\"\ninsecure_skip_verify = true",
    "insecure_skip_verify",
    "the server's certificate is not"
)]
#[case(
    "endpoint = \"tcp://d:1\"",
    "endpoint",
    "leads to a network: of each container whose cgroup this host does not have"
)]
#[case("container_names = [\"a\"]", "container_names", "is now called `container_name_include`")]
#[case("perdevice = true", "perdevice", "is gone from Telegraf: write `perdevice_include`")]
#[case("total = true", "total", "is gone from Telegraf: write `total_include`")]
#[case(
    "container_state_include = [\"runing\"]",
    "container_state_include",
    "there is no state `runing`: did you mean `running`?"
)]
#[tokio::test]
async fn an_extra_that_is_not_here_or_an_old_name_is_said_and_the_rest_goes_on(
    #[case] text: &str,
    #[case] option: &str,
    #[case] expected: &str,
) {
    let options = options(&format!("[[inputs.docker]]\n{text}")).unwrap();
    let remarks = options.remarks();
    let remark = remarks.iter().find(|remark| remark.option == option).unwrap();
    assert!(remark.what.starts_with(expected), "{remark}");
    assert_eq!(remarks.len(), 1);
    assert!(Docker::new(options, &Shared::new(Host::default())).is_ok());
}
