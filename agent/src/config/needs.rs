//! The files that a configuration needs once it runs. All others are out of the agent's reach then.

use std::path::{Path, PathBuf};

use super::Config;
use super::loader::{DEFAULT, STDIN};
use crate::host::Host;
use crate::listen::endpoint::Endpoint;
use crate::plugins::PluginTable as _;
use crate::service::privilege::Files;

/// Where every agent reads, wherever the host's files are: about itself and its CPUs, names and addresses, authorities of
/// certificates, time zones, libraries and their settings, tokens.
const OF_ALL: [&str; 8] = ["/proc", "/sys", "/etc", "/usr", "/lib", "/lib64", "/run", "/var/run"];
/// Devices that libraries read.
const DEVICES: [&str; 3] = ["/dev/null", "/dev/urandom", "/dev/random"];
/// Variables with files and directories of the system's that are elsewhere.
const VARIABLES: [&str; 3] = ["SSL_CERT_FILE", "SSL_CERT_DIR", "CREDENTIALS_DIRECTORY"];

impl Config {
    /// The files that are needed to run this on a host; `variable` gives one of the environment.
    #[must_use]
    pub fn files(&self, host: &Host, variable: impl Fn(&str) -> Option<String>) -> Files {
        let mut files = Files::default();
        host.roots().for_each(|root| files.read_below(root));
        OF_ALL.into_iter().chain(DEVICES).for_each(|path| files.read_below(path));
        let elsewhere = VARIABLES.into_iter().filter_map(variable);
        elsewhere.for_each(|path| files.read(path));
        let is_file = |path: &&PathBuf| ![DEFAULT, STDIN].map(Path::new).contains(&path.as_path());
        self.sources.iter().filter(is_file).for_each(|path| files.read(path));
        let agent = [&self.agent.log.file, &self.agent.statefile];
        agent.into_iter().flatten().for_each(|path| files.write(path));
        self.secret_directories.iter().for_each(|directory| files.read_below(directory));
        self.agent.health_address.iter().for_each(|address| files.add(Endpoint::files(address)));
        for section in &self.inputs {
            files.add(section.options.files());
        }
        for section in &self.outputs {
            files.add(section.options.files());
            section.common.spool.iter().for_each(|spool| files.write_below(&spool.directory));
        }
        files
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::env::Environment;
    use crate::config::file;
    use crate::config::reading::{Reading, Source};

    #[test]
    fn what_a_configuration_names_is_needed() {
        let text = "[agent]\nstatefile = \"/data/state\"\nlogfile = \"/logs/agent\"\nhealth_address = \"unix:///health/a.sock\"\n[[inputs.cgroup]]\npaths = [\"/groups/*/a\"]\n\
             [[inputs.socket_listener]]\nservice_address = \"unix:///sockets/a.sock\"\n\
             [[inputs.kubernetes]]\nbearer_token = \"/tokens/a\"\n\
             [[outputs.file]]\nfiles = [\"stdout\", \"/points/a\"]\n\
             [[outputs.influxdb]]\ntls_ca = \"/keys/ca.pem\"\nbuffer_strategy = \"disk\"\nbuffer_directory = \"/spool\"\n";
        let source = Source { path: DEFAULT.into(), text: text.into() };
        let config = file::load(&[source], &Reading::of_text(Environment::strict(&|_| None), "h")).unwrap();
        let files =
            config.files(&Host::default(), |name| (name == "SSL_CERT_DIR").then(|| "/certs/dir".into()));
        let mut expected = Files::default();
        for path in [
            "/proc", "/sys", "/run", "/var/run", "/etc", "/usr", "/lib", "/lib64", "/groups", "/tokens",
            "/keys", "/certs",
        ] {
            expected.read_below(path);
        }
        DEVICES.into_iter().for_each(|path| expected.read_below(path));
        for path in ["/data", "/logs", "/health", "/sockets", "/points", "/spool"] {
            expected.write_below(path);
        }
        assert_eq!(files, expected);
    }
}
