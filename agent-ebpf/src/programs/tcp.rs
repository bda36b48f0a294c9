//! TCP segments that each cgroup retransmitted (optional).
//!
//! Why: retransmits are the first sign of a network that drops packets; `/proc/net/snmp` has them by namespace only.
//! Hooks: `tcp_retransmit_skb` and `tcp_retransmit_synack`, rare by nature, so everything here is read
//! by helper. The amounts go into the network cache, as one more column.

use aya_ebpf::{Global, macros::btf_tracepoint, programs::BtfTracePointContext};
use seismograf_ebpf::abi::{NetAmounts, ROOT_CGROUP};

use super::kernel::{SKB_TCP_GSO_SEGS, probe, socket_cgroup};
use super::net;

/// Whether `tcp_retransmit_skb` is also called when nothing was sent, with the error as its last argument.
#[unsafe(no_mangle)]
static RETRANSMITS_CAN_FAIL: Global<u64> = Global::new(0);

/// `tcp_retransmit_skb(sk, skb, err)`; `err` since Linux 6.17, before only where there is none.
#[btf_tracepoint(function = "tcp_retransmit_skb")]
fn tcp_retransmit_skb(ctx: BtfTracePointContext) -> i32 {
    if is_sent(&ctx) {
        count::<true>(ctx.arg(0), segments(ctx.arg(1)));
    }
    0
}

/// The same beside `net_ingress_nested`.
#[btf_tracepoint(function = "tcp_retransmit_skb")]
fn tcp_retransmit_skb_nested(ctx: BtfTracePointContext) -> i32 {
    if is_sent(&ctx) {
        count::<false>(ctx.arg(0), segments(ctx.arg(1)));
    }
    0
}

/// `tcp_retransmit_synack(sk, req)`: the answer to a connection, by the listening socket.
#[btf_tracepoint(function = "tcp_retransmit_synack")]
fn tcp_retransmit_synack(ctx: BtfTracePointContext) -> i32 {
    count::<true>(ctx.arg(0), 1);
    0
}

/// The same beside `net_ingress_nested`.
#[btf_tracepoint(function = "tcp_retransmit_synack")]
fn tcp_retransmit_synack_nested(ctx: BtfTracePointContext) -> i32 {
    count::<false>(ctx.arg(0), 1);
    0
}

/// A packet that waits for the device already, or finds no memory, is not sent again, and `RetransSegs` does not have it.
#[inline(always)]
fn is_sent(ctx: &BtfTracePointContext) -> bool {
    // The verifier takes the global for a constant: where there is no third argument, it is not asked for.
    RETRANSMITS_CAN_FAIL.load() == 0 || ctx.arg::<i32>(2) == 0
}

/// A packet in the retransmit queue can stand for many segments, and `RetransSegs` counts those.
#[inline(always)]
fn segments(skb: *const u8) -> u64 {
    u64::from(probe::<u16>(skb, &SKB_TCP_GSO_SEGS).unwrap_or(1).max(1))
}

#[inline(always)]
fn count<const PREEMPTIBLE: bool>(socket: *const u8, segments: u64) {
    let cgroup = socket_cgroup(socket).unwrap_or(ROOT_CGROUP);
    net::count::<PREEMPTIBLE>(cgroup, NetAmounts { tcp_retransmits: segments, ..NetAmounts::default() });
}
