//! IP packets and bytes of each cgroup, as they are on the wire.
//!
//! Why: interface counters know no cgroup, and a container's namespace is gone with it. A socket's cgroup is
//! charged whoever is running when the packet passes, with hostNetwork and over loopback too.
//! Hook: `cgroup_skb` at the root of cgroup2. One call can stand for many segments (GSO on the way out, GRO on
//! the way in): packets are the segments, and bytes include the headers that each of them gets.
//! These programs run in softirq and in task context, and a task can be preempted in the middle of one.

use core::ffi::c_void;
use core::ptr::addr_of_mut;

use aya_ebpf::{
    helpers::bpf_skb_cgroup_id,
    macros::{cgroup_skb, map},
    maps::PerCpuArray,
    programs::SkBuffContext,
};
use seismograf_ebpf::abi::{Kind, LEVELS, NET_SLOTS, NetAmounts, NetRow, ROOT_CGROUP};

use super::cache::{
    Level, Row, add, claim_level, clear, cpu, flush_level, overflow, release, slot, write_back,
};

/// Lets the packet pass: what a `cgroup_skb` program must return.
const PASS: i32 = 1;

const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;
const IPV4_VERSION: u8 = 4;
const IPV6_BYTES: u32 = 40;
/// IPv6 extension headers that have their length in their second byte, in words of eight bytes after the first.
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const DESTINATION_OPTIONS: u8 = 60;
/// The hop-by-hop option of a payload of more than 64 KiB.
const OPTION_JUMBO: u8 = 0xc2;
/// More extension headers than this are not looked at; the stack itself sends one at the most.
const MOST_EXTENSIONS: u32 = 4;
const UDP_BYTES: u32 = 8;
/// A TCP header without options.
const TCP_BYTES: u32 = 20;
/// Offset of a TCP header's own length, in words of four bytes, in the upper half of the byte.
const TCP_DATA_OFFSET: usize = 12;

/// Per CPU; one entry per level, as `BLKIOS`.
#[map]
static NETS: PerCpuArray<Level<NetRow, NET_SLOTS>> = PerCpuArray::with_max_entries(LEVELS, 0);

const NOTHING: NetAmounts =
    NetAmounts { rx_bytes: 0, rx_packets: 0, tx_bytes: 0, tx_packets: 0, tcp_retransmits: 0 };

impl Row for NetRow {
    #[inline(always)]
    fn is_used(&self) -> bool {
        self.cgroup != 0
    }
}

/// Packets that come in.
#[cgroup_skb]
fn net_ingress(ctx: SkBuffContext) -> i32 {
    account::<true>(&ctx, false);
    PASS
}

/// Packets that go out.
#[cgroup_skb]
fn net_egress(ctx: SkBuffContext) -> i32 {
    account::<true>(&ctx, true);
    PASS
}

/// `net_ingress` for kernels before 5.12, which have no atomic exchange, and do not preempt such programs.
#[cgroup_skb]
fn net_ingress_nested(ctx: SkBuffContext) -> i32 {
    account::<false>(&ctx, false);
    PASS
}

/// `net_egress`, likewise.
#[cgroup_skb]
fn net_egress_nested(ctx: SkBuffContext) -> i32 {
    account::<false>(&ctx, true);
    PASS
}

#[inline(always)]
fn account<const PREEMPTIBLE: bool>(ctx: &SkBuffContext, out: bool) {
    // SAFETY: the context is a `__sk_buff`; the helper is there for this program type.
    let (cgroup, gso_size) = unsafe { (bpf_skb_cgroup_id(ctx.skb.skb), (*ctx.skb.skb).gso_size) };
    let mut bytes = ctx.len();
    let mut packets = 1;
    if gso_size != 0 {
        let Headers { each, jumbo } = headers(ctx);
        bytes = bytes.wrapping_sub(jumbo);
        // SAFETY: the context is a `__sk_buff`.
        packets = unsafe { (*ctx.skb.skb).gso_segs };
        if packets == 0 {
            // From a guest that left the counting to the host (`SKB_GSO_DODGY`).
            packets = bytes.wrapping_sub(each).wrapping_add(gso_size - 1) / gso_size;
        }
        bytes += packets.wrapping_sub(1).wrapping_mul(each);
    }
    let (bytes, packets) = (u64::from(bytes), u64::from(packets));
    count::<PREEMPTIBLE>(
        if cgroup == 0 { ROOT_CGROUP } else { cgroup },
        if out {
            NetAmounts { tx_bytes: bytes, tx_packets: packets, ..NOTHING }
        } else {
            NetAmounts { rx_bytes: bytes, rx_packets: packets, ..NOTHING }
        },
    );
}

/// The headers of a packet that stands for several segments.
struct Headers {
    /// Bytes of the IP and transport headers that each segment gets.
    each: u32,
    /// Bytes of the one header that no segment gets: a packet of more than 64 KiB has its length there (RFC 2675).
    jumbo: u32,
}

#[inline(always)]
fn headers(ctx: &SkBuffContext) -> Headers {
    let first = ctx.load::<u8>(0).unwrap_or(0);
    if first >> 4 == IPV4_VERSION {
        let (ip, protocol) = (u32::from(first & 0xf) * 4, ctx.load::<u8>(9).unwrap_or(0));
        return Headers { each: ip + transport(ctx, ip, protocol), jumbo: 0 };
    }
    let (mut at, mut next, mut jumbo) = (IPV6_BYTES, ctx.load::<u8>(6).unwrap_or(0), 0);
    for _ in 0..MOST_EXTENSIONS {
        if !matches!(next, HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS) {
            break;
        }
        let bytes = (u32::from(ctx.load::<u8>(at as usize + 1).unwrap_or(0)) + 1) * 8;
        // The option of a jumbo payload is 4 + 2 bytes long, and is all that is in there.
        if next == HOP_BY_HOP && ctx.load::<u8>(at as usize + 2) == Ok(OPTION_JUMBO) {
            jumbo = bytes;
        }
        next = ctx.load::<u8>(at as usize).unwrap_or(0);
        at += bytes;
    }
    Headers { each: at - jumbo + transport(ctx, at, next), jumbo }
}

/// Bytes of the transport header at an offset.
#[inline(always)]
fn transport(ctx: &SkBuffContext, at: u32, protocol: u8) -> u32 {
    match protocol {
        IPPROTO_TCP => match ctx.load::<u8>(at as usize + TCP_DATA_OFFSET) {
            Ok(offset) => u32::from(offset >> 4) * 4,
            Err(_) => TCP_BYTES,
        },
        IPPROTO_UDP => UDP_BYTES,
        _ => 0,
    }
}

/// Adds amounts to a cgroup's row.
#[inline(always)]
pub(super) fn count<const PREEMPTIBLE: bool>(cgroup: u64, amounts: NetAmounts) {
    let level = claim_level::<_, NET_SLOTS, PREEMPTIBLE>(&NETS);
    // SAFETY: the level is ours until it is released, and `add` is atomic.
    unsafe {
        if !level.is_null() {
            let slot: &mut NetRow = slot(level, cgroup);
            let ours = slot.cgroup == cgroup;
            if ours || !slot.is_used() || write_back(slot) {
                if !ours {
                    clear(slot);
                    slot.kind = Kind::Net as u32;
                    slot.cpu = cpu();
                    slot.cgroup = cgroup;
                }
                slot.amounts.rx_bytes += amounts.rx_bytes;
                slot.amounts.rx_packets += amounts.rx_packets;
                slot.amounts.tx_bytes += amounts.tx_bytes;
                slot.amounts.tx_packets += amounts.tx_packets;
                slot.amounts.tcp_retransmits += amounts.tcp_retransmits;
                release(level);
                return;
            }
            release(level);
        }
        overflow(|o| {
            add(addr_of_mut!((*o).net.rx_bytes), amounts.rx_bytes);
            add(addr_of_mut!((*o).net.rx_packets), amounts.rx_packets);
            add(addr_of_mut!((*o).net.tx_bytes), amounts.tx_bytes);
            add(addr_of_mut!((*o).net.tx_packets), amounts.tx_packets);
            add(addr_of_mut!((*o).net.tcp_retransmits), amounts.tcp_retransmits);
        });
    }
}

/// Writes the cache of this CPU back; run by the agent, never attached.
#[unsafe(no_mangle)]
#[unsafe(link_section = "raw_tp")]
extern "C" fn net_flush(_ctx: *mut c_void) -> u32 {
    flush_all::<true>()
}

/// `net_flush` beside the `_nested` programs.
#[unsafe(no_mangle)]
#[unsafe(link_section = "raw_tp")]
extern "C" fn net_flush_nested(_ctx: *mut c_void) -> u32 {
    flush_all::<false>()
}

#[inline(always)]
fn flush_all<const PREEMPTIBLE: bool>() -> u32 {
    let mut answer = 0;
    for level in 0..LEVELS {
        answer |= flush_level::<_, NET_SLOTS, PREEMPTIBLE>(&NETS, level);
    }
    answer
}
