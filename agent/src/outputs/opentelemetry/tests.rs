use rstest::rstest;

use super::*;

fn at(service_address: &str) -> Options {
    Options { service_address: service_address.into(), ..Options::default() }
}

#[rstest]
#[case(at("localhost"), "`service_address`: `localhost`: write it as host:4317 for gRPC")]
#[case(at("unix:///run/otel.sock"), "`service_address`: `unix:///run/otel.sock`: write it as")]
#[case(at("http://"), "`service_address`: ")]
#[case(Options { encoding_type: "json".into(), ..at("h:1") }, "`encoding_type`: `json` is not written here")]
#[case(Options { encoding_type: "xml".into(), ..at("h:1") }, "`encoding_type`: `xml`: it is protobuf")]
#[case(Options { compression: "zstd".into(), ..at("h:1") }, "`compression`: `zstd`: it is gzip or none")]
#[case(Options { names: "otel".into(), ..at("h:1") }, "`names`: `otel`: it is telegraf or semantic")]
#[case(Options { token: "hun\nter2".into(), ..at("h:1") }, "`token`: has characters")]
fn rejects_what_it_cannot_use(#[case] options: Options, #[case] expected: &str) {
    let error = Opentelemetry::new(options).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.starts_with(expected) && !error.contains("ter2"), "{error}");
}

fn tls(tls: Tls) -> Options {
    Options { tls, ..at("h:4317") }
}

#[rstest]
#[case(at(""), "http://localhost:4317", false)]
#[case(at("[::1]:4317"), "http://[::1]:4317", false)]
#[case(at("dns:///h:4317"), "http://h:4317", false)]
#[case(tls(Tls { tls_enable: Some(true), ..Tls::default() }), "https://h:4317", true)]
#[case(tls(Tls { tls_ca: "ca.pem".into(), ..Tls::default() }), "https://h:4317", true)]
#[case(tls(Tls { insecure_skip_verify: true, tls_enable: Some(false), ..Tls::default() }), "http://h:4317", false)]
fn grpc_has_tls_where_its_options_say_so(
    #[case] mut options: Options,
    #[case] expected: &str,
    #[case] is_tls: bool,
) {
    if options.service_address.is_empty() {
        options.service_address = Options::default().service_address;
    }
    assert_eq!(options.url().unwrap(), format!("{expected}{}", grpc::PATH));
    assert_eq!(options.is_tls(), is_tls);
}

#[rstest]
#[case("http://h:4318", "http://h:4318/v1/metrics")]
#[case("https://h/otlp/v1/metrics?x=1", "https://h/otlp/v1/metrics?x=1")]
#[case("http://h/", "http://h/")]
fn http_has_its_path(#[case] address: &str, #[case] expected: &str) {
    assert_eq!(at(address).url().unwrap(), expected);
}

#[test]
fn what_has_no_effect_is_said() {
    let remarks = |options: Options| options.remarks().iter().map(|remark| remark.option).collect::<Vec<_>>();
    assert_eq!(remarks(Options { use_system_proxy: true, ..at("h:1") }), ["use_system_proxy"]);
    assert_eq!(remarks(Options { use_system_proxy: true, ..at("http://h:1") }), [""; 0]);
    assert_eq!(
        remarks(Options { tls: Tls { tls_enable: Some(true), ..Tls::default() }, ..at("h:1") }),
        [""; 0]
    );
}

#[test]
fn lines_are_in_order_and_whole() {
    let encoding = Opentelemetry::new(at("h:1")).unwrap().encoding();
    assert!(encoding.in_order && encoding.format.uint_support && !encoding.format.omit_timestamp);
}
