//! TCP segments that each cgroup retransmitted (optional).
//!
//! Why: retransmits are the first sign of a network that drops packets; `/proc/net/snmp` has them by namespace only.
//! Hook: `tcp_retransmit_skb`, rare by nature, so everything here is read by helper. The amounts go into the
//! network cache, as one more column.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use seismograf_ebpf::abi::{NetAmounts, ROOT_CGROUP};

use super::kernel::{SKB_TCP_GSO_SEGS, probe, socket_cgroup};
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
