//! Telegraf's options of a TLS client. Files are read, and certificates checked, by `http`.

use serde::Deserialize;

use super::secret::Secret;

/// Telegraf's options of a TLS client. In a file they stand among the plugin's own; `config` collects them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// A PEM file with the authorities to believe, instead of the system's; empty means the system's.
    pub tls_ca: String,
    /// A PEM file with the client's certificate; empty means none.
    pub tls_cert: String,
    /// A PEM file with the key to it.
    pub tls_key: String,
    /// Of an encrypted key; refused, since such keys cannot be read.
    pub tls_key_pwd: Secret,
    /// `TLS10` to `TLS13`; nothing below 1.2 is spoken in any case.
    pub tls_min_version: String,
    /// Taken and not used: only suites that are safe are offered.
    pub tls_cipher_suites: Vec<String>,
    /// The name that the server's certificate must have, where it is not the URL's.
    pub tls_server_name: String,
    /// Taken and not used: there is no renegotiation.
    pub tls_renegotiation_method: String,
    /// Taken and not used: the URL says whether TLS is spoken.
    pub tls_enable: Option<bool>,
    /// The server's certificate is not checked at all.
    pub insecure_skip_verify: bool,
}

impl Tls {
    /// The options' names.
    pub const KEYS: &'static [&'static str] = &[
        "tls_ca",
        "tls_cert",
        "tls_key",
        "tls_key_pwd",
        "tls_min_version",
        "tls_cipher_suites",
        "tls_server_name",
        "tls_renegotiation_method",
        "tls_enable",
        "insecure_skip_verify",
    ];
}
