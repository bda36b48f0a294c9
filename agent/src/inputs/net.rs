//! `[[inputs.net]]`: traffic of each network interface, from proc(5) `net/dev` and sysfs `class/net/IF/speed`.
//!
//! Where `HOST_PROC` is set the network namespace is that of the host's process 1, if it can be read. Telegraf follows
//! the link `net` there, which leads to the namespace of the reader, and so shows a container its own interfaces.

mod flags;

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use self::flags::InterfaceFlags;
use super::{GatherError, Gathered, Input, InputPlugin, Shared, StartError, read_again, read_text};
use crate::host::Host;
use crate::host::file::KernelFile;
use crate::host::proc::net_dev::{self, InterfaceLine};
use crate::options::OptionError;
use crate::options::filter::GlobList;
use crate::point::Name;

/// The section `[[inputs.net]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Globs on interfaces: exactly these, whatever their state. Empty means all that are up, without the loopback;
    /// and where `HOST_PROC` is set, all there are.
    pub(super) interfaces: GlobList,
    /// Without effect, as in Telegraf since 1.37: there are no protocol counters any more.
    pub(super) ignore_protocol_stats: Option<bool>,
}

/// The input.
#[derive(Debug)]
pub(super) struct Net {
    options: Options,
    host: Host,
    /// The host's `net/dev`, where that is another than the agent's own.
    of_host: Option<KernelFile>,
    own: KernelFile,
    /// Whether it was logged that these are the agent's own interfaces and not the host's.
    has_warned: bool,
}

impl Net {
    /// An input for the interfaces of this host.
    #[must_use]
    pub(super) fn new(options: Options, host: &Host) -> Self {
        let of_host = host.proc_net("dev").map(KernelFile::new);
        let own = KernelFile::new(host.proc("net/dev"));
        Self { options, host: host.clone(), of_host, own, has_warned: false }
    }

    /// The host's `net/dev`, or else the agent's own; and where it is.
    fn read(&mut self) -> Result<(PathBuf, String), GatherError> {
        if let Some(file) = &mut self.of_host {
            match read_again(file) {
                Ok(text) => return Ok((file.path().to_owned(), text)),
                Err(error) => self.warn_once(&error),
            }
        }
        read_again(&mut self.own).map(|text| (self.own.path().to_owned(), text))
    }

    /// Warns that these are not the host's interfaces. Where there is no process 1, `HOST_PROC` is a part of `/proc` on purpose.
    fn warn_once(&mut self, error: &GatherError) {
        let is_missing =
            matches!(error, GatherError::Read { error, .. } if error.kind() == ErrorKind::NotFound);
        if !is_missing && !self.has_warned {
            self.has_warned = true;
            tracing::warn!(%error, "the interfaces are the agent's own and not the host's");
        }
    }

    /// The speed in Mbit/s; -1 where the kernel does not know it.
    fn speed(&self, interface: &str) -> i64 {
        let text = read_text(&self.host.sys("class/net").join(interface).join("speed"));
        text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(-1)
    }
}

impl InputPlugin for Options {
    fn remarks(&self, host: Option<&Host>) -> Vec<OptionError> {
        let mut remarks = Vec::new();
        if self.ignore_protocol_stats == Some(false) {
            let what = "has no effect: Telegraf has no counters of protocols since 1.37";
            remarks.push(OptionError::new("ignore_protocol_stats", what));
        }
        let Some(Ok((path, text))) = host.map(|host| Net::new(self.clone(), host).read()) else {
            return remarks;
        };
        let names: Vec<&str> =
            text.lines().skip(2).filter_map(|l| Some(net_dev::parse_line(l)?.name)).collect();
        for name in self.interfaces.without_match(|pattern| names.iter().any(|name| pattern.matches(name))) {
            let what = format!("`{name}` matches no interface in {}", path.display());
            remarks.push(OptionError::local("interfaces", what));
        }
        remarks
    }

    fn build(self: Box<Self>, shared: &Arc<Shared>) -> Result<Box<dyn Input>, StartError> {
        Ok(Box::new(Net::new(*self, &shared.host)))
    }
}

#[async_trait::async_trait]
impl Input for Net {
    fn name(&self) -> &'static str {
        "net"
    }

    /// Adds a point for each interface; a malformed line costs only itself.
    async fn gather(&mut self, gathered: &mut Gathered) -> Result<(), GatherError> {
        let (path, text) = self.read()?;
        let patterns = self.options.interfaces.patterns();
        // The flags here are not those of another namespace.
        let flags = match patterns {
            None if !self.host.is_proc_named() => Some(InterfaceFlags::open()?),
            _ => None,
        };
        let mut malformed = None;
        // Two lines of headings.
        for line in text.lines().skip(2) {
            let Some(InterfaceLine { name: interface, rx, tx }) = net_dev::parse_line(line) else {
                malformed = malformed.or_else(|| Some(line.to_owned()));
                continue;
            };
            let is_wanted = match (patterns, &flags) {
                (Some(patterns), _) => patterns.matches(interface),
                (None, Some(flags)) => flags.is_up_and_no_loopback(interface),
                (None, None) => true,
            };
            if !is_wanted {
                continue;
            }
            let mut point = gathered.point("net").tag("interface", Name::new(interface));
            point.set_field("bytes_recv", rx.bytes);
            point.set_field("packets_recv", rx.packets);
            point.set_field("err_in", rx.errors);
            point.set_field("drop_in", rx.dropped);
            point.set_field("bytes_sent", tx.bytes);
            point.set_field("packets_sent", tx.packets);
            point.set_field("err_out", tx.errors);
            point.set_field("drop_out", tx.dropped);
            point.set_field("speed", self.speed(interface));
            gathered.push(point);
        }
        match malformed {
            Some(what) => Err(GatherError::Malformed { path, what }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, fields, gather, tags, write};
    use super::*;
    use crate::point::FieldValue;

    #[tokio::test]
    async fn matches_telegraf() {
        let options = Options { ignore_protocol_stats: Some(true), ..Options::default() };
        for case in testing::CASES {
            let expected = testing::expected(case, "net");
            let actual = testing::replay(case, expected.len(), |host| Net::new(options.clone(), host)).await;
            assert!(actual.iter().all(|round| round.len() >= 16), "{case}");
            // Also in Telegraf's order.
            assert_eq!(actual, expected, "{case}");
        }
    }

    const HEADINGS: &str = "Inter-|   Receive  |  Transmit\n face |bytes    packets\n";

    fn machine(lines: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "proc/net/dev", format!("{HEADINGS}{lines}"));
        root
    }

    fn options(globs: &[&str]) -> Options {
        let globs: Vec<_> = globs.iter().map(|glob| (*glob).to_owned()).collect();
        Options { interfaces: globs.try_into().unwrap(), ignore_protocol_stats: None }
    }

    #[tokio::test]
    async fn each_interface_is_a_point() {
        let root = machine("  eth0:1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n");
        write(root.path(), "sys/class/net/eth0:1/speed", "25000\n");
        let mut input = Net::new(Options::default(), &Host::at(root.path()));
        let points = gather(&mut input).await.unwrap();
        assert_eq!(points.iter().map(tags).collect::<Vec<_>>(), ["interface=eth0:1"]);
        let uint = [
            ("bytes_recv", 1),
            ("packets_recv", 2),
            ("err_in", 3),
            ("drop_in", 4),
            ("bytes_sent", 9),
            ("packets_sent", 10),
            ("err_out", 11),
            ("drop_out", 12),
        ]
        .map(|(key, value)| (key, FieldValue::UInt(value)));
        let mut expected = uint.to_vec();
        expected.push(("speed", FieldValue::Int(25000)));
        assert_eq!(fields(&points[0]), expected);
        for unknown in ["-1\n", "fast\n", ""] {
            write(root.path(), "sys/class/net/eth0:1/speed", unknown);
            let points = gather(&mut input).await.unwrap();
            assert_eq!(points[0].field_value("speed"), Some(&FieldValue::Int(-1)), "{unknown:?}");
        }
    }

    #[tokio::test]
    async fn interfaces_are_chosen_by_globs_whatever_their_state() {
        let zeros = "0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0";
        let lines: String = ["lo", "eth0", "eth10", "veth1", "wlan0"]
            .iter()
            .map(|name| format!("{name}: {zeros}\n"))
            .collect();
        let root = machine(&lines);
        for (globs, expected) in [
            (&["eth*", "lo"][..], vec!["lo", "eth0", "eth10"]),
            (&["*eth[0-9]"], vec!["eth0", "veth1"]),
            (&["eth0"], vec!["eth0"]),
            (&["none*"], vec![]),
            (&[], vec!["lo", "eth0", "eth10", "veth1", "wlan0"]),
        ] {
            let points = gather(&mut Net::new(options(globs), &Host::at(root.path()))).await.unwrap();
            let actual: Vec<_> = points.iter().map(|point| point.tag_value("interface").unwrap()).collect();
            assert_eq!(actual, expected, "{globs:?}");
        }
    }

    #[tokio::test]
    async fn the_namespace_is_that_of_process_1() {
        let line = |name: &str| format!("{HEADINGS}{name}: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n");
        let root = machine("mine: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n");
        let mut input = Net::new(Options::default(), &Host::at(root.path()));
        assert_eq!(tags(&gather(&mut input).await.unwrap()[0]), "interface=mine");
        assert!(!input.has_warned, "there is no process 1, as below HOST_PROC=/host/proc/1");
        write(root.path(), "proc/1/net/dev", line("hosts"));
        assert_eq!(tags(&gather(&mut input).await.unwrap()[0]), "interface=hosts");
        // It exists, and no user can read it.
        std::fs::remove_file(root.path().join("proc/1/net/dev")).unwrap();
        std::fs::create_dir(root.path().join("proc/1/net/dev")).unwrap();
        assert_eq!(tags(&gather(&mut input).await.unwrap()[0]), "interface=mine");
        assert!(input.has_warned);
    }

    #[tokio::test]
    async fn without_host_proc_an_interface_must_be_up_and_no_loopback() {
        let points = gather(&mut Net::new(Options::default(), &Host::default())).await.unwrap();
        assert!(points.iter().all(|point| point.tag_value("interface") != Some("lo")));
        let lo = gather(&mut Net::new(options(&["lo"]), &Host::default())).await.unwrap();
        assert_eq!(lo.iter().map(tags).collect::<Vec<_>>(), ["interface=lo"]);
    }

    #[tokio::test]
    async fn a_malformed_line_costs_only_itself() {
        for line in
            ["eth1 1 2 3", "eth1: 1 2 3", "eth1: 1 2 3 4 5 6 7 8 9 10 11 x", ": 1 2 3 4 5 6 7 8 9 10 11 12"]
        {
            let root = machine(&format!("{line}\neth0: 1 2 3 4 5 6 7 8 9 10 11 12\n"));
            let (error, points) =
                gather(&mut Net::new(Options::default(), &Host::at(root.path()))).await.unwrap_err();
            assert!(error.ends_with(&format!("/proc/net/dev: {line}")), "{error}");
            assert_eq!(points.len(), 1);
        }
    }

    #[tokio::test]
    async fn a_missing_file_is_named() {
        let root = tempfile::tempdir().unwrap();
        let (error, points) =
            gather(&mut Net::new(Options::default(), &Host::at(root.path()))).await.unwrap_err();
        assert!(error.contains("/proc/net/dev: No such file"), "{error}");
        assert_eq!(points, []);
    }
}
