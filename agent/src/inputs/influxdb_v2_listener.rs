//! `[[inputs.influxdb_v2_listener]]`: stands in for an InfluxDB 2, and passes on what is written to it.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::listener;
use super::listener::http::{Api, Auth, Dialect, MAX_BODY, READ_TIMEOUT, TagNames, admission, listen};
use super::{Input, InputPlugin, Shared, StartError};
use crate::host::Host;
use crate::listen::connections::Admission;
use crate::listen::listened_on;
use crate::options::OptionError;
use crate::options::secret::Secret;
use crate::options::tls::ServerTls;
use crate::service::budget::Budget;
use crate::service::privilege::Files;

/// The plugin's name.
const NAME: &str = "influxdb_v2_listener";

/// The section `[[inputs.influxdb_v2_listener]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// `:8086`, `localhost:8086`, `unix:///path`.
    pub service_address: String,
    /// Between two parts of a body; below a second means 10 s.
    #[serde(deserialize_with = "crate::options::duration::deserialize")]
    pub read_timeout: Duration,
    /// The largest body, packed and unpacked; 0 means 32 MiB.
    #[serde(deserialize_with = "crate::options::duration::deserialize_size_or::<_, MAX_BODY>")]
    pub max_body_size: u32,
    /// A tag with the bucket of a write; empty means none.
    pub bucket_tag: String,
    /// The token that allows to write; empty means that everybody may.
    pub token: Secret,
    /// TLS.
    pub server_tls: ServerTls,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            service_address: ":8086".into(),
            read_timeout: READ_TIMEOUT,
            max_body_size: MAX_BODY,
            bucket_tag: String::new(),
            token: Secret::default(),
            server_tls: ServerTls::default(),
        }
    }
}

impl Options {
    fn setup(&self) -> Result<(Admission, Api), OptionError> {
        let auth = if self.token.is_empty() { Auth::None } else { Auth::Token(self.token.clone()) };
        let tags = TagNames { bucket: self.bucket_tag.clone(), ..TagNames::default() };
        let admission = admission(&self.service_address, &self.server_tls)?;
        Ok((admission, Api::new(Dialect::V2, auth, tags, self.max_body_size, self.read_timeout)))
    }
}

impl InputPlugin for Options {
    fn budget(&self, _: u64) -> Budget {
        listener::budget::of_requests()
    }

    fn listens_on(&self) -> Option<String> {
        Some(self.service_address.clone())
    }

    fn files(&self) -> Files {
        listened_on(&self.service_address, &self.server_tls)
    }

    fn check(&self, _: &Host) -> Result<(), OptionError> {
        self.setup().map(drop)
    }

    fn build(self: Box<Self>, shared: &Arc<Shared>) -> Result<Box<dyn Input>, StartError> {
        listen(NAME, &self.service_address, self.setup()?, shared)
    }
}
