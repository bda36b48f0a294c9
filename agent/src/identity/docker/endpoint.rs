//! Where the docker daemon is: the option `endpoint`, and the variables of docker's own client.

use std::net::IpAddr;

use super::version::ApiVersion;
use crate::options::OptionError;
use crate::options::tls::Tls;

/// Where the daemon is unless the configuration says otherwise.
pub const DEFAULT_ENDPOINT: &str = "unix:///var/run/docker.sock";

/// Where a daemon is, and how to connect to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DockerEndpoint {
    /// As it is configured.
    pub(super) shown: String,
    /// The path of a unix socket.
    pub(super) socket: Option<String>,
    /// The URL that paths are appended to.
    pub(super) base: String,
    pub(super) tls: Tls,
    /// The version that `DOCKER_API_VERSION` sets.
    pub(super) version: Option<ApiVersion>,
}

impl DockerEndpoint {
    /// Parses the option `endpoint`; `variable` looks up the variables of docker's own client, which count with `ENV` only.
    pub(super) fn resolve(
        endpoint: &str,
        tls: &Tls,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, OptionError> {
        let variable = |name| variable(name).filter(|value| !value.is_empty());
        let wrong = |what: String| OptionError::new("endpoint", what);
        let (mut tls, mut version) = (tls.clone(), None);
        let mut shown = endpoint.to_owned();
        if endpoint == "ENV" {
            shown = variable("DOCKER_HOST").unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned());
            if let Some(directory) = variable("DOCKER_CERT_PATH") {
                let file = |name: &str| format!("{}/{name}", directory.trim_end_matches('/'));
                tls = Tls {
                    tls_ca: file("ca.pem"),
                    tls_cert: file("cert.pem"),
                    tls_key: file("key.pem"),
                    insecure_skip_verify: variable("DOCKER_TLS_VERIFY").is_none(),
                    ..tls
                };
            }
            if let Some(text) = variable("DOCKER_API_VERSION") {
                let parsed = ApiVersion::parse(&text);
                let parsed =
                    parsed.ok_or_else(|| wrong(format!("DOCKER_API_VERSION is not a version: `{text}`")))?;
                version = Some(parsed);
            }
        }
        let (socket, base) = match shown.split_once("://") {
            _ if let Some(path) = relative_socket(&shown) => (Some(path), "http://docker".to_owned()),
            Some(("unix", path)) if path.starts_with('/') => {
                (Some(path.to_owned()), "http://docker".to_owned())
            }
            Some(("tcp", address)) => {
                let scheme = if is_given(&tls) { "https" } else { "http" };
                (None, format!("{scheme}://{address}"))
            }
            Some(("http" | "https", _)) => (None, shown.clone()),
            _ => {
                let what = "it is ENV, or begins with unix:///, tcp://, http:// or https://";
                return Err(wrong(format!("`{shown}`: {what}")));
            }
        };
        let base = base.trim_end_matches('/').to_owned();
        if base.parse::<reqwest::Url>().is_err() {
            return Err(wrong(format!("`{shown}` is not an address")));
        }
        Ok(Self { shown, socket, base, tls, version })
    }
}

/// The path of a socket that is written with two slashes, `unix://var/run/docker.sock`: from `/`, where services run, it leads
/// there.
#[must_use]
pub fn relative_socket(endpoint: &str) -> Option<String> {
    let path = endpoint.strip_prefix("unix://")?;
    (!path.is_empty() && !path.starts_with('/')).then(|| format!("/{path}"))
}

/// Whether the daemon is reached by TLS without a check of its certificate.
pub fn is_unchecked(endpoint: &str, tls: &Tls, variable: impl Fn(&str) -> Option<String>) -> bool {
    DockerEndpoint::resolve(endpoint, tls, variable)
        .is_ok_and(|endpoint| endpoint.base.starts_with("https") && endpoint.tls.insecure_skip_verify)
}

/// Whether the daemon is reached over a network, and so may be another host's.
pub fn is_remote(endpoint: &str, tls: &Tls, variable: impl Fn(&str) -> Option<String>) -> bool {
    let Ok(DockerEndpoint { socket: None, base, .. }) = DockerEndpoint::resolve(endpoint, tls, variable)
    else {
        return false;
    };
    let url = base.parse::<reqwest::Url>().ok();
    // The brackets of an address of IPv6 belong to the URL.
    let host = url.as_ref().and_then(|url| url.host_str()).map(|host| host.trim_matches(['[', ']']));
    let is_here = |address: IpAddr| address.is_loopback() || address.is_unspecified();
    host.is_some_and(|host| host != "localhost" && !host.parse().is_ok_and(is_here))
}

/// Whether any option asks for TLS; `tcp://` itself does not tell.
fn is_given(tls: &Tls) -> bool {
    let is_off = Tls { tls_enable: tls.tls_enable, ..Tls::default() } == *tls;
    tls.tls_enable.unwrap_or(!is_off)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn resolve(endpoint: &str, variables: &[(&str, &str)]) -> Result<DockerEndpoint, String> {
        let variable =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        DockerEndpoint::resolve(endpoint, &Tls::default(), variable).map_err(|error| error.to_string())
    }

    #[rstest]
    #[case::socket("unix:///run/docker.sock", Some("/run/docker.sock"), "http://docker")]
    #[case::two_slashes("unix://var/run/docker.sock", Some("/var/run/docker.sock"), "http://docker")]
    #[case::tcp("tcp://10.0.0.1:2375", None, "http://10.0.0.1:2375")]
    #[case::http("http://d:2375/", None, "http://d:2375")]
    #[case::https("https://d:2376/proxy/", None, "https://d:2376/proxy")]
    fn endpoints(#[case] endpoint: &str, #[case] socket: Option<&str>, #[case] base: &str) {
        let resolved = resolve(endpoint, &[("DOCKER_HOST", "tcp://other:1")]).unwrap();
        assert_eq!((resolved.socket.as_deref(), resolved.base.as_str()), (socket, base));
        assert_eq!(resolved.shown, endpoint);
    }

    #[rstest]
    #[case("/var/run/docker.sock", "`endpoint`: `/var/run/docker.sock`: it is ENV, or begins with unix:///")]
    #[case("unix://", "`endpoint`: `unix://`: it is ENV")]
    #[case("npipe:////./pipe/docker_engine", "`endpoint`: `npipe:")]
    #[case("tcp://", "`endpoint`: `tcp://` is not an address")]
    fn rejected_endpoints(#[case] endpoint: &str, #[case] expected: &str) {
        let error = resolve(endpoint, &[]).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn env_is_what_dockers_own_client_takes_from_the_environment() {
        assert_eq!(resolve("ENV", &[]).unwrap().socket.as_deref(), Some("/var/run/docker.sock"));
        let host = ("DOCKER_HOST", "tcp://d:2376");
        let certs = ("DOCKER_CERT_PATH", "/certs/");
        let endpoint = resolve("ENV", &[host, certs, ("DOCKER_TLS_VERIFY", "1")]).unwrap();
        assert_eq!(endpoint.base, "https://d:2376");
        assert_eq!(endpoint.tls.tls_ca, "/certs/ca.pem");
        assert_eq!(
            (endpoint.tls.tls_cert.as_str(), endpoint.tls.tls_key.as_str()),
            ("/certs/cert.pem", "/certs/key.pem")
        );
        assert!(!endpoint.tls.insecure_skip_verify);
        assert!(resolve("ENV", &[host, certs]).unwrap().tls.insecure_skip_verify);
        let version = resolve("ENV", &[host, ("DOCKER_API_VERSION", "1.40")]).unwrap();
        assert_eq!((version.base.as_str(), version.version), ("http://d:2376", Some(ApiVersion(1, 40))));
        let error = resolve("ENV", &[("DOCKER_API_VERSION", "new")]).unwrap_err();
        assert!(error.contains("DOCKER_API_VERSION"), "{error}");
    }

    #[test]
    fn tcp_is_encrypted_where_a_tls_option_is_given() {
        let base = |tls: Tls| DockerEndpoint::resolve("tcp://d:1", &tls, |_| None).unwrap().base;
        assert_eq!(base(Tls { insecure_skip_verify: true, ..Tls::default() }), "https://d:1");
        assert_eq!(base(Tls { tls_enable: Some(true), ..Tls::default() }), "https://d:1");
        assert_eq!(
            base(Tls { tls_ca: "/ca".into(), tls_enable: Some(false), ..Tls::default() }),
            "http://d:1"
        );
    }

    #[rstest]
    #[case("unix:///var/run/docker.sock", false)]
    #[case("unix://var/run/docker.sock", false)]
    #[case("tcp://127.0.0.1:2375", false)]
    #[case("https://[::1]:2376", false)]
    #[case("http://localhost:2375", false)]
    #[case("tcp://10.0.0.1:2375", true)]
    #[case("https://[fd00::1]:2376", true)]
    #[case("tcp://docker.example:2376", true)]
    #[case("ENV", true)]
    #[case("docker", false)]
    fn a_daemon_at_another_address_may_be_another_hosts(#[case] endpoint: &str, #[case] expected: bool) {
        let variable = |name: &str| (name == "DOCKER_HOST").then(|| "tcp://10.0.0.1:2375".to_owned());
        assert_eq!(is_remote(endpoint, &Tls::default(), variable), expected);
    }
}
