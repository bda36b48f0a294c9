//! `[[inputs.influxdb_listener]]`: stands in for an InfluxDB 1, and passes on what is written to it.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::listener;
use super::listener::http::{Api, Auth, Dialect, Jwt, MAX_BODY, READ_TIMEOUT, TagNames, admission, listen};
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
const NAME: &str = "influxdb_listener";

/// The section `[[inputs.influxdb_listener]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// `:8186`, `localhost:8086`, `unix:///path`.
    pub service_address: String,
    /// Between two parts of a body; below a second means 10 s.
    #[serde(deserialize_with = "crate::options::duration::deserialize")]
    pub read_timeout: Duration,
    /// The largest body, packed and unpacked; 0 means 32 MiB.
    #[serde(deserialize_with = "crate::options::duration::deserialize_size_or::<_, MAX_BODY>")]
    pub max_body_size: u32,
    /// A tag with the database of a write; empty means none.
    pub database_tag: String,
    /// A tag with its retention policy.
    pub retention_policy_tag: String,
    /// The user that may write; empty means everybody.
    pub basic_username: Secret,
    /// Its password.
    pub basic_password: Secret,
    /// The secret that tokens (JWT) are signed with.
    pub token_shared_secret: Secret,
    /// The user that these must be for.
    pub token_username: Secret,
    /// TLS.
    pub server_tls: ServerTls,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            service_address: ":8186".into(),
            read_timeout: READ_TIMEOUT,
            max_body_size: MAX_BODY,
            database_tag: String::new(),
            retention_policy_tag: String::new(),
            basic_username: Secret::default(),
            basic_password: Secret::default(),
            token_shared_secret: Secret::default(),
            token_username: Secret::default(),
            server_tls: ServerTls::default(),
        }
    }
}

/// A pair of options of which one is missing.
fn both(names: (&'static str, &'static str), values: (&Secret, &Secret)) -> Result<bool, OptionError> {
    match (values.0.is_empty(), values.1.is_empty()) {
        (false, true) => Err(OptionError::new(names.0, format!("needs `{}`", names.1))),
        (true, false) => Err(OptionError::new(names.1, format!("needs `{}`", names.0))),
        (is_unset, _) => Ok(!is_unset),
    }
}

impl Options {
    fn auth(&self) -> Result<Auth, OptionError> {
        let basic = (&self.basic_username, &self.basic_password);
        let token = (&self.token_shared_secret, &self.token_username);
        let has_basic = both(("basic_username", "basic_password"), basic)?;
        let has_token = both(("token_shared_secret", "token_username"), token)?;
        match (has_basic, has_token) {
            (true, true) => {
                let what = "cannot be used together with `basic_username`: remove one of them";
                Err(OptionError::new("token_shared_secret", what))
            }
            (true, false) => Ok(Auth::User(basic.0.clone(), basic.1.clone())),
            (false, true) => Ok(Auth::Jwt(Jwt { secret: token.0.clone(), username: token.1.clone() })),
            (false, false) => Ok(Auth::None),
        }
    }

    fn setup(&self) -> Result<(Admission, Api), OptionError> {
        let tags = TagNames {
            database: self.database_tag.clone(),
            retention_policy: self.retention_policy_tag.clone(),
            bucket: String::new(),
        };
        let admission = admission(&self.service_address, &self.server_tls)?;
        let auth = self.auth()?;
        Ok((admission, Api::new(Dialect::V1, auth, tags, self.max_body_size, self.read_timeout)))
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
