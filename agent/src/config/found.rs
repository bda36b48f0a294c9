//! What the default configuration has besides: the docker daemon and the kubelet of this machine, where they answer, so that
//! containers and pods have their names.

use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::host::Host;
use crate::identity::docker::DEFAULT_ENDPOINT;
use crate::identity::kubelet::{TOKEN_FILE, node_url};

/// A kubelet on this machine answers at once.
const CONNECT_LIMIT: Duration = Duration::from_millis(300);

/// The sections of the inputs that answer here, each with its default options.
pub(super) fn sections(host: &Host) -> String {
    let socket = DEFAULT_ENDPOINT.strip_prefix("unix://").unwrap_or(DEFAULT_ENDPOINT);
    let kubelet = node_url(host.node_ip());
    sections_of(Path::new(socket), Path::new(TOKEN_FILE), kubelet.trim_start_matches("https://"))
}

/// The kubelet has nothing to say without a token.
fn sections_of(docker: &Path, token: &Path, kubelet: &str) -> String {
    let mut sections = String::new();
    if UnixStream::connect(docker).is_ok() {
        sections.push_str("[[inputs.docker]]\n");
    }
    let connects = || {
        let mut addresses = kubelet.to_socket_addrs().into_iter().flatten();
        addresses.any(|address| TcpStream::connect_timeout(&address, CONNECT_LIMIT).is_ok())
    };
    if token.exists() && connects() {
        sections.push_str("[[inputs.kubernetes]]\n");
    }
    sections
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_what_answers_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let [socket, token] = ["docker.sock", "token"].map(|name| folder.path().join(name));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let sections = || sections_of(&socket, &token, &address);
        assert_eq!(sections(), "", "nobody may ask the kubelet without a token");
        std::fs::write(&token, "t").unwrap();
        assert_eq!(sections(), "[[inputs.kubernetes]]\n");
        let docker = UnixListener::bind(&socket).unwrap();
        assert_eq!(sections(), "[[inputs.docker]]\n[[inputs.kubernetes]]\n");
        drop((docker, listener));
        assert_eq!(sections(), "", "a socket that is left over, and a port where nobody is");
    }
}
