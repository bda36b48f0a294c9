//! The interfaces in a container's network namespace, from proc(5) `PID/net/dev`.

use std::collections::HashMap;
use std::sync::Arc;

use crate::host::cgroupfs::reader::Reader;
use crate::host::proc::net_dev::{self, InterfaceLine};

/// Fields of an interface.
pub(super) const NET_FIELDS: [&str; 8] = [
    "rx_bytes",
    "rx_packets",
    "rx_errors",
    "rx_dropped",
    "tx_bytes",
    "tx_packets",
    "tx_errors",
    "tx_dropped",
];
/// Interfaces that the kernel creates in every namespace by itself.
const OWN_INTERFACES: [&str; 10] =
    ["lo", "erspan0", "gre0", "gretap0", "ip6_vti0", "ip6gre0", "ip6tnl0", "ip_vti0", "sit0", "tunl0"];

/// An interface in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Network {
    pub(super) name: String,
    /// By [`NET_FIELDS`].
    pub(super) counts: [u64; NET_FIELDS.len()],
}

/// The interfaces of a network namespace; containers of a pod share one, and it is read once in a gather.
pub(super) fn read_network(
    proc: &mut Reader,
    namespaces: &mut HashMap<u64, Option<Arc<[Network]>>>,
    (namespace, pid): (u64, u32),
) -> Option<Arc<[Network]>> {
    let read = || Some(networks(proc.read(&pid.to_string(), "net/dev")?));
    namespaces.entry(namespace).or_insert_with(read).clone()
}

/// The interfaces in `/proc/PID/net/dev` that docker has made, which are `eth` and a number. Where there is none, as in a network
/// of another program's, all but those that the kernel creates by itself.
///
/// What a container makes in its own namespace, such as a tunnel or the bridge of a docker within it, docker knows nothing of:
/// its traffic would be counted twice.
fn networks(text: &str) -> Arc<[Network]> {
    let interfaces: Vec<_> = text.lines().filter_map(net_dev::parse_line).collect();
    let is_dockers = |line: &InterfaceLine<'_>| {
        let number = line.name.strip_prefix("eth");
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let has_dockers = interfaces.iter().any(is_dockers);
    interfaces
        .into_iter()
        .filter(|line| if has_dockers { is_dockers(line) } else { !OWN_INTERFACES.contains(&line.name) })
        .map(|InterfaceLine { name, rx, tx }| Network {
            name: name.to_owned(),
            counts: [
                rx.bytes, rx.packets, rx.errors, rx.dropped, tx.bytes, tx.packets, tx.errors, tx.dropped,
            ],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_that_a_container_made_itself_are_not_dockers() {
        let names = |interfaces: &[&str]| {
            let line = |name: &&str| format!("{name:>6}: 1 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0\n");
            let text: String = interfaces.iter().map(line).collect();
            networks(&text).iter().map(|network| network.name.clone()).collect::<Vec<_>>().join(" ")
        };
        let own = ["lo", "tunl0", "docker0", "br-0a1b", "veth12", "wg0", "tun0", "ethernet", "eth"];
        assert_eq!(names(&[&own[..], &["eth0", "eth10"]].concat()), "eth0 eth10");
        assert_eq!(names(&["lo", "tunl0", "tap0", "net1"]), "tap0 net1");
    }
}
