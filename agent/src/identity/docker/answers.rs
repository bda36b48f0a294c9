//! The answers of the docker daemon that are used, in types. Pure.
//!
//! Source: <https://docs.docker.com/reference/api/engine/>, which podman's socket speaks as well. A field that is missing or
//! `null` has its default, and what is not UTF-8 is replaced.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use super::error::ApiError;

/// The longest excerpt of an error message.
const MAX_ERROR_BYTES: usize = 300;

/// The start of an error message, however long that is.
pub(super) fn excerpt(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_ERROR_BYTES)]
}

/// Parses the answer to `path`.
pub(super) fn parse<T: DeserializeOwned>(path: &str, body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_str(&String::from_utf8_lossy(body)).map_err(|error| ApiError::Malformed {
        path: path.to_owned(),
        why: excerpt(&error.to_string()).to_owned(),
    })
}

/// A field that may be `null`, as Go writes what is empty.
pub(super) fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// `GET /version`
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Version {
    #[serde(rename = "ApiVersion")]
    pub(super) newest: String,
    #[serde(rename = "MinAPIVersion")]
    pub(super) oldest: String,
}

/// `GET /info`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Info {
    /// The machine's name.
    pub name: String,
    /// The daemon's version.
    pub server_version: String,
    /// Containers.
    pub containers: i64,
    /// Of these, the ones that run.
    pub containers_running: i64,
    /// Paused.
    pub containers_paused: i64,
    /// Neither.
    pub containers_stopped: i64,
    /// Images.
    pub images: i64,
    /// The daemon's open files.
    #[serde(rename = "NFd")]
    pub n_fd: i64,
    /// Its goroutines.
    #[serde(rename = "NGoroutines")]
    pub n_goroutines: i64,
    /// Clients that follow its events.
    #[serde(rename = "NEventsListener")]
    pub n_events_listener: i64,
    /// The machine's CPUs.
    #[serde(rename = "NCPU")]
    pub n_cpu: i64,
    /// Its memory in bytes.
    pub mem_total: i64,
    /// What the storage driver reports: name and value.
    #[serde(deserialize_with = "nullable")]
    pub driver_status: Vec<Vec<String>>,
}

/// An entry of `GET /containers/json`; the rest is in [`Inspected`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// Its names, each with a slash before it; one with two slashes is another container's link to it.
    #[serde(deserialize_with = "nullable")]
    pub names: Vec<String>,
    /// Its image, or the image's id where the name has moved to another one.
    pub image: String,
    /// `running`, `exited` …
    pub state: String,
}

/// `GET /containers/ID/json`, as far as it is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Inspected {
    /// Its id.
    pub id: String,
    /// Its name, with a slash before it.
    pub name: String,
    /// How often docker restarted it by itself.
    pub restart_count: i64,
    /// Its state.
    #[serde(deserialize_with = "nullable")]
    pub state: InspectedState,
    /// What it was created from.
    #[serde(deserialize_with = "nullable")]
    pub config: Config,
    /// How it is placed on the host.
    #[serde(deserialize_with = "nullable")]
    pub host_config: HostConfig,
}

/// A container's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct InspectedState {
    /// `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`.
    pub status: String,
    /// One of its processes was OOM-killed.
    #[serde(rename = "OOMKilled")]
    pub oom_killed: bool,
    /// Its first process; 0 when it does not run.
    pub pid: i64,
    /// The exit code of its last run.
    pub exit_code: i64,
    /// When it last started, in RFC 3339; year 1 for never.
    pub started_at: String,
    /// When it last ended, likewise.
    pub finished_at: String,
    /// Of a container with a health check.
    pub health: Option<Health>,
}

/// The state of a container's health check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Health {
    /// `starting`, `healthy` or `unhealthy`; empty or `none` without a check.
    pub status: String,
    /// How many checks in a row failed.
    pub failing_streak: i64,
}

/// What a container was created from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Config {
    /// The image as it was requested.
    pub image: String,
    /// The environment: `NAME=value`.
    #[serde(deserialize_with = "nullable")]
    pub env: Vec<String>,
    /// Labels.
    #[serde(deserialize_with = "nullable")]
    pub labels: BTreeMap<String, String>,
}

/// How a container is placed on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct HostConfig {
    /// `host`, `none`, `container:ID` or a network's name.
    pub network_mode: String,
}

/// An event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Event {
    /// What kind of object it happened to.
    #[serde(rename = "Type")]
    pub kind: String,
    /// What happened.
    pub action: String,
    /// To which object.
    pub actor: Actor,
}

/// The object of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Actor {
    /// Its id.
    #[serde(rename = "ID")]
    pub id: String,
    /// Of a container: its name and image.
    #[serde(deserialize_with = "nullable")]
    pub attributes: Attributes,
}

/// A container in an event; its labels are there too, but skipped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Attributes {
    /// Its name.
    pub name: String,
    /// Its image as it was requested.
    pub image: String,
}

/// `GET /system/df`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct DiskUsage {
    /// Bytes of all layers.
    pub layers_size: i64,
    /// By container.
    #[serde(deserialize_with = "nullable")]
    pub containers: Vec<ContainerUsage>,
    /// By image.
    #[serde(deserialize_with = "nullable")]
    pub images: Vec<ImageUsage>,
    /// By volume.
    #[serde(deserialize_with = "nullable")]
    pub volumes: Vec<Volume>,
}

/// A container's part of the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ContainerUsage {
    /// Its id.
    pub id: String,
    /// Its names, each with a slash before it.
    #[serde(deserialize_with = "nullable")]
    pub names: Vec<String>,
    /// Its image.
    pub image: String,
    /// Bytes that it wrote.
    pub size_rw: i64,
    /// Bytes of all its files, the image's included.
    pub size_root_fs: i64,
}

/// An image's part of the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ImageUsage {
    /// Its id, with the algorithm before it.
    pub id: String,
    /// Its names.
    #[serde(deserialize_with = "nullable")]
    pub repo_tags: Vec<String>,
    /// Bytes.
    pub size: i64,
    /// Of these, shared with other images.
    pub shared_size: i64,
}

/// A volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Its size.
    #[serde(deserialize_with = "nullable")]
    pub usage_data: VolumeUsage,
}

/// A volume's part of the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct VolumeUsage {
    /// Bytes; -1 when the driver does not know.
    pub size: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_missing_and_invalid_utf8_do_no_harm() {
        let body = b"{\"Id\":\"a\",\"Name\":\"/\xff\",\"Config\":{\"Env\":null,\"Labels\":null},\"State\":{\"Health\":null},\"HostConfig\":null}";
        let inspected: Inspected = parse("/x", body).unwrap();
        assert_eq!(inspected.name, "/\u{fffd}");
        assert_eq!(inspected.config, Config::default());
        for garbage in [&b"7"[..], b"", b"{\"State\":7}", b"\0\xff", b"{\"Id\":\"a\""] {
            let error = parse::<Inspected>("/x", garbage).unwrap_err().to_string();
            assert!(error.starts_with("cannot parse docker's answer to /x: "), "{error}");
        }
    }
}
