//! `seismograf dump --raw`: each record as it leaves the ring buffer, one JSON object per line.

use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::host::hierarchies::HierarchyId;
use crate::inputs::ebpf::Ebpf;
use crate::kernel::records::Record;

/// Prints each record as it leaves the ring buffer, one JSON object per line.
///
/// # Errors
/// The stream cannot be written to.
pub(super) async fn run(
    mut ebpf: Ebpf,
    interval: Duration,
    count: Option<u64>,
    shutdown: impl Future<Output = ()>,
    out: &mut impl Write,
) -> io::Result<()> {
    tokio::pin!(shutdown);
    let mut at = Instant::now() + interval;
    let mut n = 0;
    while count.is_none_or(|count| n < count) {
        tokio::select! {
            () = &mut shutdown => break,
            () = tokio::time::sleep_until(at) => {}
        }
        (at, n) = ((at + interval).max(Instant::now()), n + 1);
        let mut lines = Vec::new();
        if let Err(error) = ebpf.raw(|record| lines.push(json_of_record(record))) {
            tracing::error!(%error, "the cache was not completely written back");
        }
        let hierarchies = &ebpf.report().hierarchies;
        let (cpu, blkio) = (hierarchies.cpu().1, hierarchies.blkio());
        for line in &mut lines {
            let hierarchy = match line["record"].as_str() {
                Some("cpu" | "runqueue") => cpu,
                Some("blkio") => blkio,
                Some("net") => HierarchyId::UNIFIED,
                _ => continue,
            };
            line["path"] = json!(line["cgroup"].as_u64().and_then(|id| ebpf.path(hierarchy, id)));
        }
        let written = lines.iter().try_for_each(|line| writeln!(out, "{line}"));
        match written.and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            other => other?,
        }
    }
    Ok(())
}

fn json_of_record(record: &Record<'_>) -> Value {
    match record {
        Record::Cpu(row) => json!({
            "record": "cpu", "cpu": row.cpu, "cgroup": row.cgroup, "run_ns": row.run_ns, "switches": row.switches,
        }),
        Record::Runqueue(row) => json!({
            "record": "runqueue", "cpu": row.cpu, "cgroup": row.cgroup, "wait_ns": row.wait_ns, "waits": row.waits,
            "histogram": row.histogram,
        }),
        Record::Blkio(row) => json!({
            "record": "blkio", "cpu": row.cpu, "cgroup": row.cgroup, "device": format!("{}:{}", row.major, row.minor),
            "read_bytes": row.amounts.read_bytes, "write_bytes": row.amounts.write_bytes,
            "discard_bytes": row.amounts.discard_bytes, "reads": row.amounts.reads, "writes": row.amounts.writes,
            "discards": row.amounts.discards, "errors": row.amounts.errors,
            "read_time_ns": row.amounts.read_time_ns, "write_time_ns": row.amounts.write_time_ns,
            "read_histogram": row.read_histogram, "write_histogram": row.write_histogram,
        }),
        Record::Net(row) => json!({
            "record": "net", "cpu": row.cpu, "cgroup": row.cgroup,
            "rx_bytes": row.amounts.rx_bytes, "rx_packets": row.amounts.rx_packets,
            "tx_bytes": row.amounts.tx_bytes, "tx_packets": row.amounts.tx_packets,
            "tcp_retransmits": row.amounts.tcp_retransmits,
        }),
        Record::OomKill(kill) => json!({ "record": "oom_kill", "cgroup": kill.cgroup, "pid": kill.pid }),
        Record::Cgroup { change, hierarchy, cgroup, run_ns, path } => json!({
            "record": "cgroup", "change": format!("{change:?}").to_lowercase(), "hierarchy": hierarchy,
            "cgroup": cgroup, "run_ns": run_ns, "path": String::from_utf8_lossy(path),
        }),
    }
}
