//! Telegraf's options for TLS clients. `http` reads the files and verifies certificates.

use serde::Deserialize;

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
    /// Accepted and ignored: only safe suites are offered.
    pub tls_cipher_suites: Vec<String>,
    /// The name that the server's certificate must have, if it is not the URL's.
    pub tls_server_name: String,
    /// Accepted and ignored: there is no renegotiation.
    pub tls_renegotiation_method: String,
    /// Accepted and ignored: the URL says whether TLS is used.
    pub tls_enable: Option<bool>,
    /// The server's certificate is not verified.
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
