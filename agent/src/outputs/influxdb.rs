//! `[[outputs.influxdb]]`: the v1 write API of InfluxDB.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

/// The section `[[outputs.influxdb]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Servers, tried in turn.
    pub urls: Vec<String>,
    /// The database to write to.
    pub database: String,
    /// The retention policy; empty means the database's default.
    pub retention_policy: String,
    /// `any`, `one`, `quorum`, `all`; empty means the server's default.
    pub write_consistency: String,
    /// User name; empty means none.
    pub username: String,
    /// Password.
    pub password: String,
    /// For a whole request.
    #[serde(deserialize_with = "crate::config::duration::deserialize")]
    pub timeout: Duration,
    /// `gzip` or `identity`.
    pub content_encoding: String,
    /// The database is not created at start or when it is missing.
    pub skip_database_creation: bool,
    /// Headers added to each request.
    pub http_headers: BTreeMap<String, String>,
    /// The `User-Agent`; empty means Seismograf's own.
    pub user_agent: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            urls: vec!["http://localhost:8086".into()],
            database: "telegraf".into(),
            retention_policy: String::new(),
            write_consistency: String::new(),
            username: String::new(),
            password: String::new(),
            timeout: Duration::from_secs(5),
            content_encoding: "gzip".into(),
            skip_database_creation: false,
            http_headers: BTreeMap::new(),
            user_agent: String::new(),
        }
    }
}
/// stub
pub async fn ping(_: &str, _: &Options) -> Result<String, String> {
    Err("stub".into())
}
