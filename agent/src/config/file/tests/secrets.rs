//! Secrets do not show up in messages, nor in the debug output of a configuration.

use rstest::rstest;

use super::{problems, read};
use crate::config::telegraf;
use crate::plugins::{InputOptions, OutputOptions};

const SECRET: &str = "hunter2";

#[test]
fn no_secret_is_in_the_debug_output_of_a_configuration() {
    let kinds = [("inputs", InputOptions::NAMES), ("outputs", OutputOptions::NAMES)];
    let strings = telegraf::SECRETS.iter().map(|key| format!("{key} = \"{SECRET}\""));
    let headers = ["headers", "http_headers"];
    let headers = headers.map(|key| format!("{key} = {{ Authorization = \"{SECRET}\" }}"));
    let options: Vec<String> = strings.chain(headers).collect();
    let mut accepted = Vec::new();
    for (kind, names) in kinds {
        for (name, option) in names.iter().flat_map(|name| options.iter().map(move |option| (name, option))) {
            let Ok(config) = read(&format!("[[{kind}.{name}]]\n{option}")) else { continue };
            let debug = format!("{config:?}");
            assert!(!debug.contains(SECRET), "{kind}.{name}: {option}: {debug}");
            let (key, _) = option.split_once(' ').unwrap();
            assert!(debug.contains(key), "{kind}.{name}: {debug}");
            accepted.push(format!("{name} {key}"));
        }
    }
    let expected = [
        "influxdb_listener basic_password",
        "influxdb_listener basic_username",
        "influxdb_listener token_shared_secret",
        "influxdb_listener token_username",
        "influxdb_v2_listener token",
        "kubernetes bearer_token_string",
        "prometheus bearer_token_string",
        "prometheus password",
        "prometheus username",
        "prometheus http_headers",
        "http password",
        "http username",
        "http headers",
        "influxdb password",
        "influxdb username",
        "influxdb http_headers",
        "influxdb_v2 token",
        "influxdb_v2 http_headers",
        "influxdb_v3 token",
        "influxdb_v3 http_headers",
        "kafka sasl_password",
        "kafka sasl_username",
        "kafka headers",
        "opentelemetry token",
        "opentelemetry headers",
        "prometheus_client basic_password",
        "prometheus_client basic_username",
        "prometheus_client http_headers",
    ];
    assert_eq!(accepted, expected);
    let config = read(&format!("[[outputs.influxdb]]\ntls_key_pwd = \"{SECRET}\"")).unwrap();
    assert!(!format!("{config:?}").contains(SECRET));
}

#[rstest]
#[case("outputs.influxdb", "password = 1234", "`password` of output `influxdb`: must be text in quotes")]
#[case("outputs.influxdb", "username = 1234", "`username` of output `influxdb`: must be text in quotes")]
#[case(
    "outputs.influxdb",
    "tls_key_pwd = 1234",
    "`tls_key_pwd` of output `influxdb`: must be text in quotes"
)]
#[case(
    "outputs.influxdb",
    "http_headers = \"1234\"",
    "`http_headers` of output `influxdb`: must be a table, such as { key = \"value\" }"
)]
#[case(
    "outputs.influxdb",
    "http_headers = { a = 1234 }",
    "`http_headers` of output `influxdb`: must be text in quotes"
)]
#[case(
    "outputs.influxdb_v2",
    "token = [\"1234\"]",
    "`token` of output `influxdb_v2`: must be text in quotes"
)]
#[case("outputs.influxdb_v2", "token = 1234.5", "`token` of output `influxdb_v2`: must be text in quotes")]
#[case(
    "inputs.kubernetes",
    "bearer_token_string = 1234",
    "`bearer_token_string` of input `kubernetes`: must be text in quotes"
)]
fn a_secret_of_a_wrong_type_is_not_shown(
    #[case] section: &str,
    #[case] option: &str,
    #[case] expected: &str,
) {
    let problems = problems(&format!("[[{section}]]\n{option}"));
    assert_eq!(problems, [format!("t.conf:2:1: {expected}")]);
}
