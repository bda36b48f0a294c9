//! What Telegraf knows and this agent does not: the names of its plugins, its former options, and the options that have no
//! effect here.
//!
//! Data for `file`, which looks up names that are not the agent's own. Source: the plugins and deprecations of Telegraf 1.40.

/// What becomes of an option that Telegraf's plugin has or had, and the one here does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Legacy {
    /// It has another name now. A list is appended to the one under that name.
    Renamed(&'static str),
    /// It is accepted, and has no effect; why.
    Ignored(&'static str),
    /// Likewise, but nothing is said of this value, which is Telegraf's default and asks for nothing.
    IgnoredUnless(&'static str, &'static str),
    /// It is rejected; why, and what to do.
    Rejected(&'static str),
}

/// An option: kind of plugin, plugin, option. An empty plugin means all of the kind, an empty kind all there are.
type Key = (&'static str, &'static str, &'static str);

const GENERIC: &str = "Telegraf accepts it for every plugin, and it means nothing for this one";
const LINE_PROTOCOL: &str = "it is about the data format, which this plugin has only one of";
const CONNECTIONS: &str = "connections are kept for as long as the targets keep them";
const NO_NAMESPACES: &str =
    "a kubelet knows no namespaces: use monitor_kubernetes_pods_namespace or kubernetes_label_selector";
const NO_DISCOVERY: &str =
    "targets are not found that way here: name them in `urls` or `kubernetes_services`";
const SHORT_ANSWERS: &str = "answers are a few bytes, which are written at once";
const HTTP1: &str = "it is about HTTP/2, and requests are made by HTTP/1.1";
const GRPC_PROXY: &str =
    "gRPC goes through no proxy here: use an `http` address with http_proxy_url, or remove it";
const NO_LOGIN: &str = "logging in by OAuth2 or a cookie is not part of this agent: use username and password, or a token in `headers`";
const NO_CLOUD: &str = "requests are not signed for a cloud here: put a gateway between, and remove it";
const AGREED: &str = "a broker and this agent agree on versions when they connect";
const NO_SOCKS: &str = "brokers are reached without a proxy here: remove it";
const NO_MECHANISM: &str = "there are the mechanisms PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512: remove it";
const NO_GO: &str = "it is about the Go runtime, which is not here";

#[rustfmt::skip]
const OPTIONS: &[(Key, Legacy)] = &[
    (("inputs", "disk", "mountpoints"), Legacy::Renamed("mount_points")),
    (("inputs", "docker", "container_names"), Legacy::Renamed("container_name_include")),
    (("inputs", "internal", "collect_memstats"), Legacy::Ignored(NO_GO)),
    (("inputs", "internal", "collect_gostats"), Legacy::Ignored(NO_GO)),
    (("inputs", "prometheus", "cache_refresh_interval"), Legacy::Ignored("pods are listed every `pod_scrape_interval`")),
    (("inputs", "prometheus", "idle_conn_timeout"), Legacy::Ignored(CONNECTIONS)),
    (("inputs", "prometheus", "max_idle_conn"), Legacy::Ignored(CONNECTIONS)),
    (("inputs", "prometheus", "max_idle_conn_per_host"), Legacy::Ignored(CONNECTIONS)),
    (("inputs", "prometheus", "kube_config"), Legacy::Rejected("pods are listed by the kubelet of their node, not by the API server: remove it")),
    (("inputs", "prometheus", "kubernetes_field_selector"), Legacy::Rejected("the kubelet lists the pods of this node alone, without such a filter: remove it")),
    (("inputs", "prometheus", "namespace_annotation_pass"), Legacy::Rejected(NO_NAMESPACES)),
    (("inputs", "prometheus", "namespace_annotation_drop"), Legacy::Rejected(NO_NAMESPACES)),
    (("inputs", "prometheus", "consul"), Legacy::Rejected(NO_DISCOVERY)),
    (("inputs", "prometheus", "http_service_discovery"), Legacy::Rejected(NO_DISCOVERY)),
    (("inputs", "influxdb_listener", "max_line_size"), Legacy::Ignored("a line may have 1 MiB")),
    (("inputs", "influxdb_listener", "parser_type"), Legacy::Ignored(LINE_PROTOCOL)),
    (("inputs", "influxdb_listener", "write_timeout"), Legacy::IgnoredUnless("\"10s\"", SHORT_ANSWERS)),
    (("inputs", "influxdb_v2_listener", "max_undelivered_metrics"), Legacy::Ignored("what waits is bounded in bytes, and a write that finds no room is answered 503")),
    (("inputs", "influxdb_v2_listener", "parser_type"), Legacy::Ignored(LINE_PROTOCOL)),
    (("inputs", "influxdb_v2_listener", "use_internal_statistics"), Legacy::Ignored("the figures are in the measurement `seismograf`, part `listener`")),
    (("inputs", "influxdb_v2_listener", "write_timeout"), Legacy::IgnoredUnless("\"10s\"", SHORT_ANSWERS)),
    (("inputs", "socket_listener", "max_parallel_parsers"), Legacy::Ignored("lines are parsed as they come")),
    (("inputs", "socket_listener", "multicast_source"), Legacy::Rejected("a group is joined whatever the source: remove it, and name senders in `allowed_sources`")),
    (("inputs", "socket_listener", "max_tcp_connections"), Legacy::Renamed("max_connections")),
    (("inputs", "socket_listener", "udp_buffer_size"), Legacy::Renamed("read_buffer_size")),
    (("inputs", "socket_listener", "allowed_pending_messages"), Legacy::Ignored("Telegraf has ignored it since 1.3")),
    (("inputs", "socket_listener", "udp_packet_size"), Legacy::Ignored("Telegraf has ignored it since 1.3")),
    (("outputs", "influxdb", "url"), Legacy::Renamed("urls")),
    (("outputs", "influxdb", "precision"), Legacy::Ignored("Telegraf has ignored it since 1.0: timestamps are in nanoseconds")),
    (("outputs", "opentelemetry", "coralogix"), Legacy::Rejected("write `ApplicationName`, `ApiName` and `Authorization` into `headers`, and tls_enable = true")),
    (("outputs", "opentelemetry", "use_proxy"), Legacy::IgnoredUnless("false", GRPC_PROXY)),
    (("outputs", "opentelemetry", "proxy_url"), Legacy::Rejected(GRPC_PROXY)),
    (("outputs", "http", "idle_conn_timeout"), Legacy::IgnoredUnless("\"0s\"", CONNECTIONS)),
    (("outputs", "http", "max_idle_conn"), Legacy::IgnoredUnless("0", CONNECTIONS)),
    (("outputs", "http", "max_idle_conn_per_host"), Legacy::IgnoredUnless("0", CONNECTIONS)),
    (("outputs", "http", "response_timeout"), Legacy::IgnoredUnless("\"0s\"", "`timeout` is for the whole request")),
    (("outputs", "http", "google_application_credentials"), Legacy::Rejected(NO_CLOUD)),
    (("outputs", "http", "aws_service"), Legacy::Rejected(NO_CLOUD)),
    (("outputs", "http", "client_id"), Legacy::Rejected(NO_LOGIN)),
    (("outputs", "http", "client_secret"), Legacy::Rejected(NO_LOGIN)),
    (("outputs", "http", "token_url"), Legacy::Rejected(NO_LOGIN)),
    (("outputs", "http", "audience"), Legacy::Rejected(NO_LOGIN)),
    (("outputs", "http", "scopes"), Legacy::Rejected(NO_LOGIN)),
    (("outputs", "http", "cookie_auth_url"), Legacy::Rejected(NO_LOGIN)),
    (("outputs", "http", "json_timestamp_format"), Legacy::Rejected("times are numbers here: use json_timestamp_units")),
    (("outputs", "http", "json_transformation"), Legacy::Rejected("JSONata is not part of this agent: have the receiver do it, and remove it")),
    (("outputs", "http", "json_nested_fields_include"), Legacy::Rejected("texts stay texts: remove it")),
    (("outputs", "http", "json_nested_fields_exclude"), Legacy::Rejected("texts stay texts: remove it")),
    (("outputs", "file", "use_batch_format"), Legacy::IgnoredUnless("false", "lines are the same either way")),
    (("inputs", "processes", "use_sudo"), Legacy::IgnoredUnless("false", "it is for BSD: here processes are read from /proc")),
    (("inputs", "docker", "podman_cache_ttl"), Legacy::Ignored("podman's figures come from the kernel, as docker's do")),
    (("outputs", "influxdb_v2", "ping_timeout"), Legacy::IgnoredUnless("\"0s\"", HTTP1)),
    (("outputs", "influxdb_v2", "read_idle_timeout"), Legacy::IgnoredUnless("\"0s\"", HTTP1)),
    (("outputs", "influxdb_v3", "ping_timeout"), Legacy::IgnoredUnless("\"0s\"", HTTP1)),
    (("outputs", "influxdb_v3", "read_idle_timeout"), Legacy::IgnoredUnless("\"0s\"", HTTP1)),
    (("outputs", "influxdb_v2", "concurrent_writes"), Legacy::IgnoredUnless("1", "one request is under way at a time, so that the order is kept")),
    (("outputs", "kafka", "version"), Legacy::Ignored(AGREED)),
    (("outputs", "kafka", "metadata_full"), Legacy::Ignored("brokers are asked about the topics that are written to")),
    (("outputs", "kafka", "sasl_version"), Legacy::IgnoredUnless("1", AGREED)),
    (("outputs", "kafka", "sasl_extensions"), Legacy::Rejected(NO_MECHANISM)),
    (("outputs", "kafka", "sasl_access_token"), Legacy::Rejected(NO_MECHANISM)),
    (("outputs", "kafka", "sasl_gssapi_service_name"), Legacy::Rejected(NO_MECHANISM)),
    (("outputs", "kafka", "sasl_gssapi_auth_type"), Legacy::Rejected(NO_MECHANISM)),
    (("outputs", "kafka", "sasl_gssapi_kerberos_config_path"), Legacy::Rejected(NO_MECHANISM)),
    (("outputs", "kafka", "sasl_gssapi_realm"), Legacy::Rejected(NO_MECHANISM)),
    (("outputs", "kafka", "sasl_gssapi_key_tab_path"), Legacy::Rejected(NO_MECHANISM)),
    (("outputs", "kafka", "sasl_gssapi_disable_pafxfast"), Legacy::Rejected(NO_MECHANISM)),
    (("outputs", "kafka", "sasl_aws_msk_iam_region"), Legacy::Rejected(NO_MECHANISM)),
    (("outputs", "kafka", "socks5_enabled"), Legacy::IgnoredUnless("false", NO_SOCKS)),
    (("outputs", "kafka", "socks5_address"), Legacy::Rejected(NO_SOCKS)),
    (("outputs", "kafka", "socks5_username"), Legacy::Rejected(NO_SOCKS)),
    (("outputs", "kafka", "socks5_password"), Legacy::Rejected(NO_SOCKS)),
    (("outputs", "kafka", "certificate"), Legacy::Renamed("tls_cert")),
    (("outputs", "kafka", "key"), Legacy::Renamed("tls_key")),
    (("outputs", "kafka", "ca"), Legacy::Renamed("tls_ca")),
    (("", "", "ssl_ca"), Legacy::Renamed("tls_ca")),
    (("", "", "ssl_cert"), Legacy::Renamed("tls_cert")),
    (("", "", "ssl_key"), Legacy::Renamed("tls_key")),
    (("", "", "tls_cipher_suites"), Legacy::Ignored("only suites that are safe are offered")),
    (("", "", "tls_renegotiation_method"), Legacy::IgnoredUnless("\"never\"", "a connection is not negotiated anew")),
    (("", "", "metricpass"), Legacy::Rejected("its expressions are not part of this agent: use namepass, tagpass and fieldinclude")),
    (("", "", "time_source"), Legacy::Rejected("Telegraf rejects it too where the plugin has no such option: remove it")),
    (("", "", "data_format"), Legacy::Ignored(LINE_PROTOCOL)),
    (("", "", "data_type"), Legacy::Ignored(LINE_PROTOCOL)),
    (("", "", "influx_parser_type"), Legacy::Ignored(LINE_PROTOCOL)),
    (("", "", "interval"), Legacy::Ignored(GENERIC)),
    (("", "", "precision"), Legacy::Ignored(GENERIC)),
    (("", "", "collection_jitter"), Legacy::Ignored(GENERIC)),
    (("", "", "collection_offset"), Legacy::Ignored(GENERIC)),
    (("", "", "flush_interval"), Legacy::Ignored(GENERIC)),
    (("", "", "flush_jitter"), Legacy::Ignored(GENERIC)),
    (("", "", "metric_batch_size"), Legacy::Ignored(GENERIC)),
    (("", "", "metric_buffer_limit"), Legacy::Ignored(GENERIC)),
    (("", "", "tags"), Legacy::Ignored(GENERIC)),
    (("", "", "order"), Legacy::Ignored(GENERIC)),
    (("", "", "period"), Legacy::Ignored(GENERIC)),
    (("", "", "delay"), Legacy::Ignored(GENERIC)),
    (("", "", "grace"), Legacy::Ignored(GENERIC)),
    (("", "", "drop_original"), Legacy::Ignored(GENERIC)),
    (("", "", "buffer_strategy"), Legacy::Ignored(GENERIC)),
    (("", "", "buffer_directory"), Legacy::Ignored(GENERIC)),
    (("", "", "buffer_disk_sync"), Legacy::Ignored(GENERIC)),
    (("", "", "lvm"), Legacy::Ignored(GENERIC)),
    (("", "", "id"), Legacy::Ignored(GENERIC)),
];

/// Options of `[agent]` that are accepted and have no effect, and why.
#[rustfmt::skip]
pub(super) const AGENT_OPTIONS_WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("config_url_retry_attempts", "configurations are read from files"),
    ("flush_buffer_when_full", "always on: a whole batch is written at once"),
    ("skip_processors_after_aggregators", "there are no processors"),
    ("skip_processors_before_aggregators", "there are no processors"),
    ("snmp_translator", "there is no SNMP input"),
    ("utc", "times are always in UTC"),
];

/// Options in which Telegraf accepts a reference to a secret store, `@{store:key}`.
pub(super) const SECRETS: &[&str] = &[
    "basic_password",
    "basic_username",
    "bearer_token_string",
    "password",
    "sasl_password",
    "sasl_username",
    "token",
    "token_shared_secret",
    "token_username",
    "username",
];

/// Options whose values are not shown, besides [`SECRETS`].
const OTHER_SECRETS: &[&str] = &["headers", "http_headers", "tls_key_pwd"];

/// Whether nothing of an option's value may be shown.
pub(super) fn is_secret(key: &str) -> bool {
    SECRETS.contains(&key) || OTHER_SECRETS.contains(&key)
}

/// Names that plugins had before: kind, old name, name now.
const PLUGINS: &[(&str, &str, &str)] = &[
    ("inputs", "http_listener", "influxdb_listener"),
    ("inputs", "io", "diskio"),
    ("inputs", "tcp_listener", "socket_listener"),
    ("inputs", "udp_listener", "socket_listener"),
];

/// What becomes of an option that the plugin here does not have; `None` when Telegraf's plugin never had it.
#[must_use]
pub(super) fn option(kind: &str, plugin: &str, option: &str) -> Option<Legacy> {
    let is = |pattern: &str, name: &str| pattern.is_empty() || pattern == name;
    let known = OPTIONS.iter().find(|((k, p, o), _)| is(k, kind) && is(p, plugin) && *o == option);
    known.map(|(_, legacy)| *legacy)
}

/// What a plugin of an old name is called now.
#[must_use]
pub(super) fn renamed_plugin(kind: &str, name: &str) -> Option<&'static str> {
    PLUGINS.iter().find(|(k, old, _)| *k == kind && *old == name).map(|(.., new)| *new)
}

/// The old names and options that are still accepted, one per line: what `--deprecation-list` prints.
pub(super) fn deprecations() -> impl Iterator<Item = String> {
    let plugins = PLUGINS.iter().map(|(kind, old, new)| format!("{kind}.{old}: now {kind}.{new}"));
    let options = OPTIONS.iter().filter_map(|((kind, plugin, option), legacy)| match legacy {
        Legacy::Renamed(new) if plugin.is_empty() => Some(format!("*.{option}: now `{new}`")),
        Legacy::Renamed(new) => Some(format!("{kind}.{plugin}.{option}: now `{new}`")),
        Legacy::Ignored(why) if !plugin.is_empty() => Some(format!("{kind}.{plugin}.{option}: {why}")),
        Legacy::Ignored(_) | Legacy::IgnoredUnless(..) | Legacy::Rejected(_) => None,
    });
    plugins.chain(options)
}

/// The names of all of Telegraf's plugins of a kind, sorted; `None` when there is no such kind.
#[must_use]
pub(super) fn plugins(kind: &str) -> Option<&'static [&'static str]> {
    Some(match kind {
        "inputs" => INPUTS,
        "outputs" => OUTPUTS,
        "processors" => PROCESSORS,
        "aggregators" => AGGREGATORS,
        "secretstores" => SECRET_STORES,
        _ => return None,
    })
}

#[rustfmt::skip]
const INPUTS: &[&str] = &[
    "activemq", "aerospike", "aliyuncms", "amd_rocm_smi", "amqp_consumer", "apache", "apcupsd", "aurora",
    "azure_monitor", "azure_storage_queue", "bcache", "beanstalkd", "beat", "bind", "bond", "burrow",
    "cassandra", "ceph", "cgroup", "chrony", "cisco_telemetry_gnmi", "cisco_telemetry_mdt", "clickhouse",
    "cloud_pubsub", "cloud_pubsub_push", "cloudwatch", "cloudwatch_metric_streams", "conntrack", "consul",
    "consul_agent", "couchbase", "couchdb", "cpu", "csgo", "ctrlx_datalayer", "dcos", "directory_monitor",
    "disk", "diskio", "disque", "dmcache", "dns_query", "docker", "docker_log", "dovecot", "dpdk", "ecs",
    "elasticsearch", "elasticsearch_query", "ethtool", "eventhub_consumer", "exec", "execd", "fail2ban",
    "fibaro", "file", "filecount", "filestat", "fireboard", "firehose", "fluentd", "fritzbox", "github",
    "gnmi", "gnmi_listener", "google_cloud_storage", "graylog", "haproxy", "hddtemp", "http",
    "http_listener", "http_listener_v2", "http_response", "httpjson", "huebridge", "hugepages", "icinga2",
    "infiniband", "influxdb", "influxdb_listener", "influxdb_v2_listener", "intel_baseband", "intel_dlb",
    "intel_pmt", "intel_pmu", "intel_powerstat", "intel_rdt", "internal", "internet_speed", "interrupts",
    "io", "ipmi_sensor", "ipset", "iptables", "ipvs", "jenkins", "jolokia", "jolokia2_agent",
    "jolokia2_proxy", "jti_openconfig_telemetry", "kafka_consumer", "kafka_consumer_legacy", "kapacitor",
    "kernel", "kernel_vmstat", "kibana", "kinesis_consumer", "knx_listener", "kube_inventory",
    "kubernetes", "lanz", "ldap", "leofs", "libvirt", "linux_cpu", "linux_sysctl_fs", "logparser",
    "logql", "logstash", "lustre2", "lvm", "mailchimp", "marklogic", "mavlink", "mcrouter", "mdstat",
    "mem", "memcached", "mesos", "minecraft", "mock", "modbus", "mongodb", "monit", "mqtt_consumer",
    "multifile", "mysql", "nats", "nats_consumer", "neoom_beaam", "neptune_apex", "net", "net_response",
    "netflow", "netstat", "nfsclient", "nftables", "nginx", "nginx_plus", "nginx_plus_api", "nginx_sts",
    "nginx_upstream_check", "nginx_vts", "nomad", "nsd", "nsdp", "nsq", "nsq_consumer", "nstat", "ntpq",
    "nvidia_smi", "opcua", "opcua_listener", "openldap", "openntpd", "opensearch_query", "opensmtpd",
    "openstack", "opentelemetry", "openweathermap", "p4runtime", "passenger", "pf", "pgbouncer", "phpfpm",
    "ping", "postfix", "postgresql", "postgresql_extensible", "powerdns", "powerdns_recursor",
    "processes", "procstat", "prometheus", "promql", "proxmox", "puppetagent", "rabbitmq", "radius",
    "raindrops", "ras", "ravendb", "redfish", "redis", "redis_sentinel", "rethinkdb", "riak",
    "riemann_listener", "s7comm", "salesforce", "sensors", "sflow", "sip", "slab", "slurm", "smart",
    "smartctl", "snmp", "snmp_legacy", "snmp_trap", "socket_listener", "socketstat", "solr", "sql",
    "sqlserver", "stackdriver", "statsd", "supervisor", "suricata", "swap", "synproxy", "syslog",
    "sysstat", "system", "systemd_units", "tacacs", "tail", "tcp_listener", "teamspeak", "temp",
    "tengine", "timex", "tomcat", "trig", "turbostat", "twemproxy", "udp_listener", "unbound", "upsd",
    "uwsgi", "varnish", "vault", "vsphere", "webhooks", "whois", "win_eventlog", "win_perf_counters",
    "win_services", "win_wmi", "wireguard", "wireless", "x509_cert", "xtremio", "zfs", "zipkin",
    "zookeeper",
];

#[rustfmt::skip]
const OUTPUTS: &[&str] = &[
    "amqp", "application_insights", "arc", "azure_data_explorer", "azure_monitor", "bigquery", "clarify",
    "cloud_pubsub", "cloudwatch", "cloudwatch_logs", "cratedb", "datadog", "discard", "dynatrace",
    "elasticsearch", "event_hubs", "exec", "execd", "file", "graphite", "graylog", "groundwork", "health",
    "heartbeat", "http", "influxdb", "influxdb_v2", "influxdb_v3", "inlong", "instrumental", "iotdb",
    "kafka", "kinesis", "librato", "logzio", "loki", "microsoft_fabric", "mongodb", "mqtt", "nats",
    "nebius_cloud_monitoring", "newrelic", "nsq", "opensearch", "opentelemetry", "opentsdb", "parquet",
    "postgresql", "prometheus_client", "quix", "redistimeseries", "remotefile", "riemann",
    "riemann_legacy", "sensu", "signalfx", "socket_writer", "sql", "stackdriver", "stomp", "sumologic",
    "syslog", "timestream", "warp10", "wavefront", "websocket", "yandex_cloud_monitoring", "zabbix",
    "zerobus",
];

#[rustfmt::skip]
const PROCESSORS: &[&str] = &[
    "aws_ec2", "batch", "clone", "converter", "cumulative_sum", "date", "dedup", "defaults", "enum",
    "execd", "filepath", "filter", "ifname", "lookup", "noise", "override", "parser", "pivot",
    "port_name", "printer", "processors", "regex", "rename", "reverse_dns", "round", "s2geo", "scale",
    "snmp_lookup", "split", "starlark", "strings", "tag_limit", "template", "topk", "unpivot",
];

#[rustfmt::skip]
const AGGREGATORS: &[&str] = &[
    "basicstats", "derivative", "final", "histogram", "merge", "minmax", "quantile", "starlark",
    "valuecounter",
];

#[rustfmt::skip]
const SECRET_STORES: &[&str] = &[
    "docker", "googlecloud", "http", "jose", "oauth2", "os", "systemd", "vault",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_matching_entry_is_the_most_specific() {
        assert_eq!(option("inputs", "disk", "mountpoints"), Some(Legacy::Renamed("mount_points")));
        assert_eq!(option("outputs", "influxdb", "ssl_ca"), Some(Legacy::Renamed("tls_ca")));
        assert!(
            matches!(option("outputs", "influxdb", "precision"), Some(Legacy::Ignored(why)) if why != GENERIC)
        );
        assert_eq!(option("outputs", "file", "precision"), Some(Legacy::Ignored(GENERIC)));
        assert_eq!(option("inputs", "cpu", "percpus"), None);
    }

    #[test]
    fn names_are_sorted_and_every_old_name_leads_to_an_existing_one() {
        for kind in ["inputs", "outputs", "processors", "aggregators", "secretstores"] {
            assert!(plugins(kind).unwrap().is_sorted(), "{kind}");
        }
        for (kind, old, new) in PLUGINS {
            assert!(plugins(kind).unwrap().contains(old) && plugins(kind).unwrap().contains(new), "{old}");
        }
        assert_eq!(plugins("parsers"), None);
    }

    #[test]
    fn deprecations_name_the_replacement() {
        let lines: Vec<String> = deprecations().collect();
        assert!(lines.contains(&"inputs.io: now inputs.diskio".to_owned()), "{lines:?}");
        assert!(lines.contains(&"inputs.disk.mountpoints: now `mount_points`".to_owned()), "{lines:?}");
        assert!(lines.contains(&"*.ssl_ca: now `tls_ca`".to_owned()), "{lines:?}");
    }
}
