//! How fast the parsers are, in bytes per second: line protocol beside the crate `influxdb-line-protocol`, and pages.
//!
//! `cargo bench -p seismograf --bench parsers --profile fast`

#![allow(missing_docs, reason = "criterion's macros make functions without")]

use std::hint::black_box;
use std::io::Read as _;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use seismograf::parsers::exposition::{self, Format};
use seismograf::parsers::line_protocol::{self, Precision};
use seismograf::point::Timestamp;

fn unpacked(name: &str) -> String {
    let path = format!("{}/testdata/prometheus/{name}.gz", env!("CARGO_MANIFEST_DIR"));
    let file = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(file)
        .read_to_string(&mut text)
        .unwrap_or_else(|error| panic!("{path}: {error}"));
    text
}

/// Points as a host's agent sends them: seven fields, six tags.
fn host_lines() -> String {
    let line = |n: i64| {
        format!(
            "cpu,cpu=cpu{},host=node1,env=prod,region=eu-west-1,rack=7,team=a usage_user=1.5,usage_system=0.25,\
             usage_idle=98.12345678901234,usage_iowait=0,usage_irq=0,usage_softirq=0.125,n=7i {}\n",
            n % 96,
            1_700_000_000_000_000_000 + n
        )
    };
    (0..5_000).map(line).collect()
}

fn lines(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("line_protocol");
    for (name, text) in [("host", host_lines()), ("telegraf_v2", unpacked("kubelet-v2.lp"))] {
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_with_input(BenchmarkId::new("seismograf: lines", name), &text, |bench, text| {
            bench.iter(|| line_protocol::parse(text, Precision::Nanoseconds).filter(Result::is_ok).count());
        });
        group.bench_with_input(BenchmarkId::new("seismograf: every part", name), &text, |bench, text| {
            bench.iter(|| {
                for line in line_protocol::parse(text, Precision::Nanoseconds).flatten() {
                    black_box(line.measurement());
                    line.tags().for_each(|tag| drop(black_box(tag)));
                    line.fields().for_each(|field| drop(black_box(field)));
                }
            });
        });
        group.bench_with_input(BenchmarkId::new("seismograf: points", name), &text, |bench, text| {
            bench.iter(|| {
                let lines = line_protocol::parse(text, Precision::Nanoseconds).flatten();
                lines.for_each(|line| drop(black_box(line.point(Timestamp(0)))));
            });
        });
        group.bench_with_input(BenchmarkId::new("influxdb-line-protocol", name), &text, |bench, text| {
            bench.iter(|| {
                influxdb_line_protocol::parse_lines(text).for_each(|line| drop(black_box(line)));
            });
        });
    }
    group.finish();
}

fn pages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("exposition");
    for name in ["etcd", "kubelet-cadvisor", "node-exporter"] {
        let page = unpacked(&format!("{name}.metrics"));
        group.throughput(Throughput::Bytes(page.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(name), &page, |bench, page| {
            bench.iter(|| exposition::parse(page, Format::Text).for_each(|sample| drop(black_box(sample))));
        });
    }
    group.finish();
}

criterion_group!(benches, lines, pages);
criterion_main!(benches);
