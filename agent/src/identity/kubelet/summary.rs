//! The kubelet's answer to `/stats/summary`. Pure.
//!
//! Source: [stats/v1alpha1 `Summary`](https://github.com/kubernetes/kubelet/blob/v0.33.3/pkg/apis/stats/v1alpha1/types.go).
//! The rest of an answer is skipped by the parser. Every key may be missing or null. Names are truncated to a length that a
//! database accepts.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use super::json::{name, or_default};

/// Parses the answer to `/stats/summary`.
///
/// # Errors
/// What the parser reports.
pub fn parse(body: &[u8]) -> serde_json::Result<Summary> {
    serde_json::from_slice(body)
}

/// `/stats/summary`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// The node.
    #[serde(deserialize_with = "or_default")]
    pub node: NodeStats,
    /// Its pods.
    #[serde(deserialize_with = "or_default")]
    pub pods: Vec<PodStats>,
}

/// A node's figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NodeStats {
    /// The node's name.
    #[serde(deserialize_with = "name")]
    pub node_name: String,
    /// The kubelet, the runtime, all pods: the node's cgroups that the kubelet watches.
    #[serde(deserialize_with = "or_default")]
    pub system_containers: Vec<ContainerStats>,
    /// CPU time.
    #[serde(deserialize_with = "or_default")]
    pub cpu: CpuStats,
    /// Memory.
    #[serde(deserialize_with = "or_default")]
    pub memory: MemoryStats,
    /// Its main interface.
    #[serde(deserialize_with = "or_default")]
    pub network: NetworkStats,
    /// The file system of the kubelet's directory.
    #[serde(deserialize_with = "or_default")]
    pub fs: FsStats,
    /// The container runtime.
    #[serde(deserialize_with = "or_default")]
    pub runtime: RuntimeStats,
}

/// The container runtime's figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RuntimeStats {
    /// The file system of the images.
    #[serde(deserialize_with = "or_default")]
    pub image_fs: FsStats,
}

/// A pod's figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodStats {
    /// Which pod.
    #[serde(deserialize_with = "or_default")]
    pub pod_ref: PodRef,
    /// Its containers.
    #[serde(deserialize_with = "or_default")]
    pub containers: Vec<ContainerStats>,
    /// Its main interface.
    #[serde(deserialize_with = "or_default")]
    pub network: NetworkStats,
    /// Its volumes.
    #[serde(rename = "volume", deserialize_with = "or_default")]
    pub volumes: Vec<VolumeStats>,
}

/// Which pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PodRef {
    /// Its name.
    #[serde(deserialize_with = "name")]
    pub name: String,
    /// Its namespace.
    #[serde(deserialize_with = "name")]
    pub namespace: String,
}

/// A container's figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ContainerStats {
    /// Its name.
    #[serde(deserialize_with = "name")]
    pub name: String,
    /// CPU time.
    #[serde(deserialize_with = "or_default")]
    pub cpu: CpuStats,
    /// Memory.
    #[serde(deserialize_with = "or_default")]
    pub memory: MemoryStats,
    /// Its writable layer.
    #[serde(deserialize_with = "or_default")]
    pub rootfs: FsStats,
    /// Its logs.
    #[serde(deserialize_with = "or_default")]
    pub logs: FsStats,
}

/// CPU time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CpuStats {
    /// Billionths of a core, over the kubelet's last 10 s or so.
    pub usage_nano_cores: Figure,
    /// Nanoseconds since the start.
    pub usage_core_nano_seconds: Figure,
}

/// Memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MemoryStats {
    /// Limit less working set.
    pub available_bytes: Figure,
    /// All memory, page cache included.
    pub usage_bytes: Figure,
    /// All memory but the page cache that can be dropped at once.
    pub working_set_bytes: Figure,
    /// Anonymous memory.
    pub rss_bytes: Figure,
    /// Page faults since the start.
    pub page_faults: Figure,
    /// Of these, the ones that read from a disk.
    pub major_page_faults: Figure,
}

/// An interface's figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NetworkStats {
    /// Its name; empty when it has none.
    #[serde(deserialize_with = "name")]
    pub name: String,
    /// Bytes received.
    pub rx_bytes: Figure,
    /// Packets received with an error.
    pub rx_errors: Figure,
    /// Bytes sent.
    pub tx_bytes: Figure,
    /// Packets not sent because of an error.
    pub tx_errors: Figure,
}

/// A volume's figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct VolumeStats {
    /// Its name within the pod.
    #[serde(deserialize_with = "name")]
    pub name: String,
    /// Free space.
    pub available_bytes: Figure,
    /// Its size.
    pub capacity_bytes: Figure,
    /// Used space.
    pub used_bytes: Figure,
}

/// A file system's figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct FsStats {
    /// Free space.
    pub available_bytes: Figure,
    /// Its size.
    pub capacity_bytes: Figure,
    /// Used space, or the container's part of it.
    pub used_bytes: Figure,
}

/// A number from the kubelet. A missing one is 0, as in Telegraf. One that is too large for InfluxDB's integers is capped,
/// where Telegraf gives up the whole node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figure(pub i64);

impl<'de> Deserialize<'de> for Figure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FigureVisitor;
        impl Visitor<'_> for FigureVisitor {
            type Value = Figure;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Figure, E> {
                Ok(Figure(i64::try_from(number).unwrap_or(i64::MAX)))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Figure, E> {
                Ok(Figure(number))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Figure, E> {
                // The cast saturates.
                Ok(Figure(number as i64))
            }

            fn visit_unit<E: Error>(self) -> Result<Figure, E> {
                Ok(Figure::default())
            }
        }
        deserializer.deserialize_any(FigureVisitor)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::nothing("{}")]
    #[case::nulls(r#"{"node":null,"pods":null}"#)]
    #[case::null_leaves(
        r#"{"node":{"nodeName":null,"cpu":{"usageNanoCores":null},"systemContainers":null,"fs":null}}"#
    )]
    fn a_summary_of_nothing_is_zero(#[case] body: &str) {
        assert_eq!(parse(body.as_bytes()).unwrap(), Summary::default());
    }

    #[rstest]
    #[case("18446744073709551615", i64::MAX)]
    #[case("9223372036854775808", i64::MAX)]
    #[case("1e300", i64::MAX)]
    #[case("184467440737095516150", i64::MAX)]
    #[case("-5", -5)]
    #[case("12.9", 12)]
    #[case("null", 0)]
    fn a_number_saturates_at_the_limits_of_an_integer(#[case] number: &str, #[case] expected: i64) {
        let body = format!(r#"{{"node":{{"cpu":{{"usageNanoCores":{number}}}}}}}"#);
        assert_eq!(parse(body.as_bytes()).unwrap().node.cpu.usage_nano_cores, Figure(expected));
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        assert!(parse(br#"{"node":7}"#).is_err());
    }
}
