//! Telegraf's options for TLS clients and servers. `http` and the listeners read the files and verify certificates.

use serde::Deserialize;

use super::OptionError;
use super::secret::Secret;

/// Telegraf's options for TLS clients. In a file they are among the plugin's own; `config` collects them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// A PEM file with the CA certificates to trust; empty means the system's.
    pub tls_ca: String,
    /// A PEM file with the client certificate; empty means none.
    pub tls_cert: String,
    /// A PEM file with the client certificate's key.
    pub tls_key: String,
    /// The password of an encrypted key; rejected, because such keys are not supported.
    pub tls_key_pwd: Secret,
    /// `TLS10` to `TLS13`; the minimum is 1.2 in any case.
    pub tls_min_version: String,
    /// The name that the server's certificate must have, if it is not the URL's.
    pub tls_server_name: String,
    /// Whether TLS is used, where the address does not say it (docker's `tcp`).
    pub tls_enable: Option<bool>,
    /// The server's certificate is not verified.
    pub insecure_skip_verify: bool,
}

/// What is said where `insecure_skip_verify` applies.
pub(crate) const UNCHECKED: &str = "the server's certificate is not checked, and passwords and tokens go to whoever answers: name its authority in `tls_ca`";

impl Tls {
    /// What the options do not do, or do at a risk; `is_used` is whether the address asks for TLS.
    pub(crate) fn remarks(&self, is_used: bool) -> Vec<OptionError> {
        let mut remarks = Vec::new();
        if self.insecure_skip_verify && is_used {
            remarks.push(OptionError::new("insecure_skip_verify", UNCHECKED));
        }
        if self.insecure_skip_verify && !self.tls_ca.is_empty() {
            remarks.push(OptionError::new(
                "tls_ca",
                "has no effect with `insecure_skip_verify`: remove one of them",
            ));
        }
        if self.tls_enable.is_some_and(|enable| enable != is_used) {
            remarks.push(OptionError::new(
                "tls_enable",
                "has no effect: the URL says whether TLS is used, by https",
            ));
        }
        remarks
    }

    /// The files that they name, or nothing.
    pub(crate) fn files(&self) -> impl Iterator<Item = &str> {
        [&self.tls_ca, &self.tls_cert, &self.tls_key].into_iter().map(String::as_str)
    }

    /// The options' names.
    pub const KEYS: &'static [&'static str] = &[
        "tls_ca",
        "tls_cert",
        "tls_key",
        "tls_key_pwd",
        "tls_min_version",
        "tls_server_name",
        "tls_enable",
        "insecure_skip_verify",
    ];
}

/// Telegraf's options for TLS servers, likewise. TLS is used where there is a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerTls {
    /// A PEM file with the server's certificate and those between it and its authority.
    pub tls_cert: String,
    /// A PEM file with its key.
    pub tls_key: String,
    /// The password of an encrypted key; rejected, because such keys are not supported.
    pub tls_key_pwd: Secret,
    /// PEM files with the authorities of the certificates that clients must have; empty means that clients need none.
    pub tls_allowed_cacerts: Vec<String>,
    /// Names of which a client's certificate must have one.
    pub tls_allowed_dns_names: Vec<String>,
    /// `TLS10` to `TLS13`; the minimum is 1.2 in any case.
    pub tls_min_version: String,
    /// `TLS12` or `TLS13`.
    pub tls_max_version: String,
}

impl ServerTls {
    /// The files that they name, or nothing.
    pub(crate) fn files(&self) -> impl Iterator<Item = &str> {
        [&self.tls_cert, &self.tls_key].into_iter().chain(&self.tls_allowed_cacerts).map(String::as_str)
    }

    /// The options' names.
    pub const KEYS: &'static [&'static str] = &[
        "tls_cert",
        "tls_key",
        "tls_key_pwd",
        "tls_allowed_cacerts",
        "tls_allowed_dns_names",
        "tls_min_version",
        "tls_max_version",
    ];
}
