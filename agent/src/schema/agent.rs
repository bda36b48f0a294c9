//! The agent about itself: Telegraf's `internal`, and the measurement `seismograf`.

use super::kinds::{Field, Measurement, int, tag, uint};
use super::losses::{n_with_losses, with_losses};

pub(super) const INTERNAL_AGENT: Measurement = Measurement {
    name: "internal_agent",
    input: "internal",
    help: "All inputs and outputs of the agent together, since its start, as Telegraf has it; also those that a reload took \
           away. What Telegraf tells of the Go runtime is not there.",
    tags: &[tag("version", "of the agent")],
    fields: &[
        int("metrics_gathered", "point", "gathered, after the inputs' filters"),
        int("gather_errors", "gather", "gathers that gave less than they should"),
        int("gather_timeouts", "gather", "gathers that were left out because the one before took too long"),
        int("metrics_written", "point", "stored on the other side"),
        int("metrics_rejected", "point", "refused by the other side for good"),
        int("metrics_dropped", "point", "pushed out of a full buffer, or lost with their output"),
        int("write_errors", "request", "writes that did not work"),
    ],
};

pub(super) const INTERNAL_GATHER: Measurement = Measurement {
    name: "internal_gather",
    input: "internal",
    help: "Each input, since the start; those of the same name and alias together, unless `per_instance` is set.",
    tags: &[
        tag("input", "the plugin"),
        tag("alias", "its alias, if it has one"),
        tag("_id", "tells instances apart, with `per_instance`"),
        tag("version", "of the agent"),
    ],
    fields: &[
        int("metrics_gathered", "point", "gathered, after the input's filters"),
        int("gather_time_ns", "ns", "time of a gather, mean since the gather of `internal` before"),
        int("gather_timeouts", "gather", "gathers that were left out because the one before took too long"),
        int("errors", "error", "`gather_errors` and `startup_errors` together"),
        int("gather_errors", "gather", "gathers that gave less than they should"),
        int("startup_errors", "start", "starts that did not work"),
    ],
};

pub(super) const INTERNAL_WRITE: Measurement = Measurement {
    name: "internal_write",
    input: "internal",
    help: "Each output, since the start; those of the same name and alias together, unless `per_instance` is set.",
    tags: &[
        tag("output", "the plugin"),
        tag("alias", "its alias, if it has one"),
        tag("_id", "tells instances apart, with `per_instance`"),
        tag("version", "of the agent"),
    ],
    fields: &[
        int("metrics_added", "point", "came in, after the output's filters"),
        int("metrics_written", "point", "of these, stored on the other side"),
        int("metrics_rejected", "point", "of these, refused by the other side for good"),
        int("metrics_dropped", "point", "of these, pushed out of the full buffer"),
        int("metrics_filtered", "point", "kept back by the output's filters"),
        int("buffer_size", "point", "wait in the buffer"),
        int("buffer_limit", "point", "how many may"),
        int("write_time_ns", "ns", "time of a write, mean since the gather of `internal` before"),
        int("errors", "error", "the same as `write_errors`"),
        int("write_errors", "request", "writes that did not work"),
        int("startup_errors", "start", "always 0: an output that cannot connect yet is tried again"),
    ],
};

pub(super) const INTERNAL_SERIALIZER: Measurement = Measurement {
    name: "internal_serializer",
    input: "internal",
    help: "The outputs that have the option `data_format`, all together, since the start; not there without one.",
    tags: &[tag("type", "the data format"), tag("version", "of the agent")],
    fields: &[
        int("metrics_serialized", "point", "encoded"),
        int("bytes_serialized", "byte", "that they became"),
        int("serialization_time_ns", "ns", "that it took, with the outputs' filters"),
        int("errors", "point", "that could not be encoded"),
    ],
};

pub(super) const SEISMOGRAF: Measurement = Measurement {
    name: "seismograf",
    input: "ebpf",
    help: "The agent about itself, one point for each `part`; `agent` and `output` come with every run, `input` with each input \
           whose series are limited, `listener` with each socket that an input listens on, the others with the input `ebpf`. For `cpu`, `blkio` and `net` that is the balance since the \
           probes started: what the machine counted is `rows_*` (in the rows of cgroups), `overflow_*` (seen, but the \
           row was lost) and `unseen_*` (no program was called) together. For `net` it is that of the host's own \
           network namespace (`*_host_*`), since no counter of the machine has the others; it is not there under \
           `lockdown=confidentiality`, nor where the agent may not tell that namespace.",
    tags: &[
        tag(
            "part",
            "`agent`, `input`, `output`, `listener`, and of the input `ebpf`: `cpu`, `blkio`, `net`, `runqueue`, `identity`, `ring`, `probe`",
        ),
        tag("output", "name or alias of the output, for `output`"),
        tag("input", "name or alias of the input, for `input`; the plugin, for `listener`"),
        tag("address", "what it listens on, for `listener`"),
        tag("device", "disk, in the balance of `blkio`"),
        tag("probe", "program, for `probe`"),
    ],
    fields: &with_losses::<{ n_with_losses(SEISMOGRAF_FIELDS) }>(SEISMOGRAF_FIELDS),
};

/// What is not a loss.
const SEISMOGRAF_FIELDS: &[Field] = &[
    int("rows_ns", "ns", "`cpu`: CPU time in rows"),
    int("machine_ns", "ns", "`cpu`: busy time of the machine"),
    int(
        "unseen_ns",
        "ns",
        "`cpu`: what remains; may be negative by what ran between the two readings, and, on cgroup2 alone, by what the machine's sum is off: of the root cgroup the kernel only counts who runs at each timer tick",
    ),
    int("rows_wait_ns", "ns", "`runqueue`: time that tasks waited for a CPU, in rows"),
    int("rows_bytes", "byte", "`blkio`: bytes in rows"),
    int("machine_bytes", "byte", "`blkio`: bytes of the disk, or of all, `/proc/diskstats`"),
    int(
        "unseen_bytes",
        "byte",
        "`blkio`: what remains; of a single disk only while nothing overflowed, which knows no disk",
    ),
    int("rows_ops", "operation", "`blkio`: operations in rows"),
    int("machine_ops", "operation", "`blkio`: operations of the disk, or of all, `/proc/diskstats`"),
    int("unseen_ops", "operation", "`blkio`: likewise"),
    int("rows_rx_bytes", "byte", "`net`: bytes received, in rows, in all network namespaces"),
    int(
        "rows_host_rx_bytes",
        "byte",
        "`net`: of these, what passed in the host's own network namespace, as IP counts it there: several segments that are one packet as one",
    ),
    int(
        "machine_rx_bytes",
        "byte",
        "`net`: what IP itself counted as received in that namespace: `InOctets` of `netstat`, `Ip6InOctets` of `snmp6`",
    ),
    int(
        "unseen_rx_bytes",
        "byte",
        "`net`: what remains of the namespace: what is forwarded, as for pods, and what no socket took; less what several \
         sockets got, which is below 0 where that is more",
    ),
    int("rows_tx_bytes", "byte", "`net`: bytes sent, likewise"),
    int("rows_host_tx_bytes", "byte", "`net`: likewise; without what a policy refused"),
    int("machine_tx_bytes", "byte", "`net`: likewise sent: `OutOctets`, `Ip6OutOctets`"),
    int(
        "unseen_tx_bytes",
        "byte",
        "`net`: what remains of the namespace: what is forwarded, and what a policy refused before Linux 6.6",
    ),
    int("rows_rx_packets", "packet", "`net`: packets received, in rows"),
    int("rows_tx_packets", "packet", "`net`: packets sent, in rows"),
    int("rows_tcp_retransmits", "segment", "`net`: TCP segments sent again, in rows; with the probe `tcp`"),
    int("cgroups", "cgroup", "`identity`: cgroups whose path is known"),
    int("unresolved_cgroups", "row", "`identity`: rows of the interval whose cgroup has no path"),
    int("unresolved_containers", "container", "`identity`: of the containers that run, those without a name"),
    int("waiting_rows", "row", "`identity`: rows that wait for their container's name, some seconds at most"),
    int(
        "named_containers",
        "container",
        "`identity`: containers that have a name, some minutes after they ended too",
    ),
    int("named_pods", "pod", "`identity`: pods likewise"),
    int("unresolved_cpu_ns", "ns", "`identity`: CPU time in these"),
    int("unresolved_blkio_bytes", "byte", "`identity`: block I/O in these"),
    int("unresolved_net_bytes", "byte", "`identity`: IP traffic in these"),
    int("records", "record", "`ring`: records read from the ring buffer"),
    int("bytes", "byte", "`ring`: their bytes"),
    int("rows", "row", "`ring`: rows that the ledger took in"),
    int("oom_kills", "process", "`ring`: processes that were OOM-killed"),
    int("map_bytes", "byte", "`ring`: kernel memory of all maps"),
    uint("gathered", "point", "`agent`: points gathered since the start, after the inputs' filters"),
    uint("gather_errors", "gather", "`agent`: gathers that gave less than they should; the log says why"),
    uint("reloads", "reload", "`agent`: reloads that were carried out"),
    uint(
        "reload_errors",
        "reload",
        "`agent`: reloads whose configuration could not be used; the log says why",
    ),
    uint("rss_bytes", "byte", "`agent`: resident memory"),
    uint("cpu_ns", "ns", "`agent`: CPU time"),
    uint(
        "series",
        "series",
        "`input`: series now, with the rows `other`, of which `metric_series_limit` lets no more in",
    ),
    uint("series_limit", "series", "`input`: the limit, its own or that of all inputs"),
    uint(
        "collapsed",
        "point",
        "`input`: points of series beyond the limit, which were added up in rows `other`; the log names the tag that grows",
    ),
    uint("taken", "point", "`output`: points that came in, after the output's filters"),
    uint("written", "point", "`output`: of these, stored on the other side"),
    uint("waiting", "point", "`output`: of these, in the buffer and the spool"),
    uint("spooled", "point", "`output`: of `waiting`, in the spool; 0 without one"),
    uint("spool_bytes", "byte", "`output`: what the spool takes of the disk; 0 without one"),
    uint("failed_writes", "request", "`output`: writes that did not work"),
    uint("datagrams", "datagram", "`listener`: datagrams that were taken"),
    uint("points", "point", "`listener`: valid lines"),
    uint("connections", "connection", "`listener`: connections that were accepted"),
    uint("run_time_ns", "ns", "`probe`: time the program ran; with `probe_costs`"),
    uint("runs", "call", "`probe`: how often; with `probe_costs`"),
];
