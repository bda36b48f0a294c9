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

/// The interfaces in `/proc/PID/net/dev`, without those that the kernel creates by itself.
fn networks(text: &str) -> Arc<[Network]> {
    let interfaces = text.lines().filter_map(net_dev::parse_line);
    interfaces
        .filter(|line| !OWN_INTERFACES.contains(&line.name))
        .map(|InterfaceLine { name, rx, tx }| Network {
            name: name.to_owned(),
            counts: [
                rx.bytes, rx.packets, rx.errors, rx.dropped, tx.bytes, tx.packets, tx.errors, tx.dropped,
            ],
        })
        .collect()
}
