//! TCP segments that each cgroup retransmitted (optional).
//!
//! Why: retransmits are the first sign of a network that drops packets; `/proc/net/snmp` has them by namespace only.
//! Hook: `tcp_retransmit_skb`, rare by nature, so everything here is read by helper. The amounts go into the
//! network cache, as one more column.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use seismograf_ebpf::abi::{NetAmounts, ROOT_CGROUP};

use super::kernel::{CGROUP_KN, KERNFS_ID, SKB_TCP_GSO_SEGS, SOCK_CGROUP_DATA, probe};
use super::net;

/// `tcp_retransmit_skb(sk, skb, ...)`
#[btf_tracepoint(function = "tcp_retransmit_skb")]
fn tcp_retransmit_skb(ctx: BtfTracePointContext) -> i32 {
    account::<true>(&ctx);
    0
}

/// The same beside `net_ingress_nested`.
#[btf_tracepoint(function = "tcp_retransmit_skb")]
fn tcp_retransmit_skb_nested(ctx: BtfTracePointContext) -> i32 {
    account::<false>(&ctx);
    0
}

#[inline(always)]
fn account<const PREEMPTIBLE: bool>(ctx: &BtfTracePointContext) {
    // A packet in the retransmit queue can stand for many segments, and `RetransSegs` counts those.
    let segments = probe::<u16>(ctx.arg(1), &SKB_TCP_GSO_SEGS).unwrap_or(1).max(1);
    let cgroup = socket_cgroup(ctx.arg(0)).unwrap_or(ROOT_CGROUP);
    let amounts = NetAmounts { tcp_retransmits: u64::from(segments), ..NetAmounts::default() };
    net::count::<PREEMPTIBLE>(cgroup, amounts);
}

#[inline(always)]
fn socket_cgroup(sock: *const u8) -> Option<u64> {
    // `sock_cgroup_data` is a pointer to the cgroup. Before Linux 5.17 its lowest bit says that net_cls or
    // net_prio took the field over for their own data; such a socket counts for the root.
    let data: u64 = probe(sock, &SOCK_CGROUP_DATA)?;
    if data == 0 || data & 1 == 1 {
        return None;
    }
    let node: *const u8 = probe(data as *const u8, &CGROUP_KN)?;
    probe(node, &KERNFS_ID)
}
