//! IP packets and bytes of each cgroup, as they are on the wire.
//!
//! Why: interface counters know no cgroup, and a container's namespace is gone with it. A socket's cgroup is
//! charged whoever is running when the packet passes, with hostNetwork and over loopback too.
//! Hook: `cgroup_skb` at the root of cgroup2. What one call stands for on the wire says `packet`.
//! These programs run in softirq and in task context, and a task can be preempted in the middle of one.
//!
//! A program at a cgroup below can refuse a packet; ours is called all the same, and is not told. What goes out and is
//! refused is a `kfree_skb` with that reason, since Linux 5.18, and is counted there once more, as dropped.

use core::ffi::c_void;
use core::mem::{MaybeUninit, transmute};
use core::ptr::addr_of_mut;

use aya_ebpf::{
    Global,
    bindings::bpf_sock,
    helpers::{
        bpf_skb_cgroup_id,
        generated::{bpf_probe_read_kernel, bpf_skc_to_tcp_sock},
    },
    macros::{btf_tracepoint, cgroup_skb, map},
    maps::{Array, PerCpuArray},
    programs::{BtfTracePointContext, SkBuffContext},
};
use seismograf_ebpf::abi::{
    CAST_TO_KERNEL_CONTEXT, HostBytes, Kind, NET_SLOTS, NetAmounts, NetRow, ROOT_CGROUP,
};

use super::cache::{
    Levels, Part, Row, add, claim_level, cpu, flush_levels, overflow, release, slot, table, take_over_in,
    write_back,
};
use super::kernel::{
    DROPPED_BY_CGROUP, NET_INUM, SKB_SK, SOCK_CGROUP_DATA, SOCK_LISTENER, SOCK_NET, SOCK_STATE, cgroup_id,
    field, probe, socket_cgroup,
};
use super::packet::{Packet as _, TracedPacket, Wire, on_the_wire};

/// Lets the packet pass: what a `cgroup_skb` program must return.
const PASS: i32 = 1;
/// A socket that stands for a connection that is being made (`include/net/tcp_states.h`).
const TCP_NEW_SYN_RECV: u8 = 12;
/// A socket's namespace is within its first bytes, in whole words.
const SOCK_WORDS: usize = 8;

#[map]
static NETS: Array<Levels<NetRow, NET_SLOTS>> = table();

/// The inode number of the host's network namespace, which the agent sets; 0 where it cannot be told.
#[unsafe(no_mangle)]
static HOST_NET_INUM: Global<u64> = Global::new(0);

/// The address of that namespace, which is only compared; 0 until this CPU has met it. It is there as long as the host is.
#[map]
static HOST_NETS: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

const NOTHING: NetAmounts = NetAmounts {
    rx_bytes: 0,
    rx_packets: 0,
    tx_bytes: 0,
    tx_packets: 0,
    tx_dropped_bytes: 0,
    tx_dropped_packets: 0,
    tcp_retransmits: 0,
};

impl Row for NetRow {
    #[inline(always)]
    fn cgroup(&mut self) -> &mut u64 {
        &mut self.cgroup
    }
}

/// Packets that come in.
#[cgroup_skb]
fn net_ingress(ctx: SkBuffContext) -> i32 {
    account::<true>(&ctx, &HelperSocket::of(&ctx), false);
    PASS
}

/// Packets that go out.
#[cgroup_skb]
fn net_egress(ctx: SkBuffContext) -> i32 {
    account::<true>(&ctx, &HelperSocket::of(&ctx), true);
    PASS
}

/// `net_ingress` with plain loads from the kernel's own structures, where programs at a cgroup can have these (Linux 6.2).
#[cgroup_skb]
fn net_ingress_typed(ctx: SkBuffContext) -> i32 {
    account::<true>(&ctx, &TypedSocket::of(&ctx), false);
    PASS
}

/// `net_egress`, likewise.
#[cgroup_skb]
fn net_egress_typed(ctx: SkBuffContext) -> i32 {
    account::<true>(&ctx, &TypedSocket::of(&ctx), true);
    PASS
}

/// `net_ingress` for kernels before 5.12, which have no atomic exchange, and do not preempt such programs.
#[cgroup_skb]
fn net_ingress_nested(ctx: SkBuffContext) -> i32 {
    account::<false>(&ctx, &HelperSocket::of(&ctx), false);
    PASS
}

/// `net_egress`, likewise.
#[cgroup_skb]
fn net_egress_nested(ctx: SkBuffContext) -> i32 {
    account::<false>(&ctx, &HelperSocket::of(&ctx), true);
    PASS
}

/// `kfree_skb(skb, location, reason, ...)`: packets that a program at a cgroup refused.
///
/// The kernel's verifier refuses it where there is no reason, before Linux 5.17, and the agent does without.
#[btf_tracepoint(function = "kfree_skb")]
fn net_kfree_skb(ctx: BtfTracePointContext) -> i32 {
    if u64::from(ctx.arg::<u32>(2)) == DROPPED_BY_CGROUP.load() {
        account_dropped(ctx.arg(0));
    }
    0
}

/// What is needed of a packet's socket. Programs at a cgroup are called for whole sockets alone: of a request for a connection,
/// for its listener's (`BPF_CGROUP_RUN_PROG_INET_INGRESS`, `include/linux/bpf-cgroup.h`).
pub(super) trait Socket {
    /// The id of its cgroup, 0 where it has none.
    fn cgroup(&self) -> u64;
    /// Its address, which is only compared; 0 where there is no socket.
    fn address(&self) -> u64;
    /// The address of its network namespace.
    fn net(&self) -> u64;
}

/// A socket whose fields helpers read.
pub(super) struct HelperSocket {
    cgroup: u64,
    socket: *mut bpf_sock,
}

impl HelperSocket {
    #[inline(always)]
    pub(super) fn of(ctx: &SkBuffContext) -> Self {
        // SAFETY: the context is a `__sk_buff`; the helper is there for this program type.
        unsafe { Self { cgroup: bpf_skb_cgroup_id(ctx.skb.skb), socket: (*ctx.skb.skb).__bindgen_anon_2.sk } }
    }
}

impl Socket for HelperSocket {
    #[inline(always)]
    fn cgroup(&self) -> u64 {
        self.cgroup
    }

    #[inline(always)]
    fn address(&self) -> u64 {
        self.socket as u64
    }

    #[inline(always)]
    fn net(&self) -> u64 {
        if self.socket.is_null() {
            return 0;
        }
        // SAFETY: the verifier checks that the socket is one, and the pointer that is loaded from; a helper writes the
        // array, also where it fails.
        unsafe {
            let tcp = bpf_skc_to_tcp_sock(self.socket.cast());
            if !tcp.is_null() {
                return field(tcp.cast_const().cast(), &SOCK_NET);
            }
            // Other sockets have no such helper. From the start, since the verifier allows no arithmetic here.
            let mut words = MaybeUninit::<[u64; SOCK_WORDS]>::uninit();
            bpf_probe_read_kernel(words.as_mut_ptr().cast(), size_of_val(&words) as u32, self.socket.cast());
            let word = (SOCK_NET.load() / 8) as usize & (SOCK_WORDS - 1);
            words.as_ptr().cast::<u64>().add(word).read_volatile()
        }
    }
}

/// A socket that the verifier has typed.
pub(super) struct TypedSocket(*const u8);

impl TypedSocket {
    #[inline(always)]
    pub(super) fn of(ctx: &SkBuffContext) -> Self {
        // SAFETY: before the program is loaded, the call is made one of the kernel's function, which takes the context and
        // gives the kernel's own, a typed `sk_buff`.
        unsafe {
            let cast: unsafe extern "C" fn(*mut c_void) -> *const u8 =
                transmute(CAST_TO_KERNEL_CONTEXT as usize);
            Self(field(cast(ctx.skb.skb.cast()), &SKB_SK))
        }
    }
}

impl Socket for TypedSocket {
    #[inline(always)]
    fn cgroup(&self) -> u64 {
        if self.0.is_null() {
            return 0;
        }
        // SAFETY: a typed pointer. Since Linux 5.17 `sock_cgroup_data` is one to the cgroup, and nothing else.
        unsafe { cgroup_id(field(self.0, &SOCK_CGROUP_DATA)) }
    }

    #[inline(always)]
    fn address(&self) -> u64 {
        self.0 as u64
    }

    #[inline(always)]
    fn net(&self) -> u64 {
        if self.0.is_null() {
            return 0;
        }
        // SAFETY: as above.
        unsafe { field(self.0, &SOCK_NET) }
    }
}

#[inline(always)]
fn account<const PREEMPTIBLE: bool>(ctx: &SkBuffContext, socket: &impl Socket, out: bool) {
    let cgroup = socket.cgroup();
    let Wire { bytes, packets } = on_the_wire(ctx, out);
    let (bytes, packets) = (u64::from(bytes), u64::from(packets));
    add_to_row::<PREEMPTIBLE>(
        if cgroup == 0 { ROOT_CGROUP } else { cgroup },
        if out {
            NetAmounts { tx_bytes: bytes, tx_packets: packets, ..NOTHING }
        } else {
            NetAmounts { rx_bytes: bytes, rx_packets: packets, ..NOTHING }
        },
        |slot| {
            let bytes = if is_of_host(socket, slot) { u64::from(ctx.bytes()) } else { 0 };
            if out {
                HostBytes { rx_bytes: 0, tx_bytes: bytes }
            } else {
                HostBytes { rx_bytes: bytes, tx_bytes: 0 }
            }
        },
    );
}

/// Whether a socket is in the host's own network namespace.
///
/// To look that up costs more than all the rest, so a row remembers its latest socket. An address that is handed out again
/// is a mistake only when both sockets are of one cgroup and one interval, and in different namespaces.
#[inline(always)]
fn is_of_host(socket: &impl Socket, slot: Option<&mut NetRow>) -> bool {
    let inum = HOST_NET_INUM.load();
    let address = socket.address();
    if inum == 0 || address == 0 {
        return false;
    }
    match slot {
        Some(slot) => {
            if slot.socket != address {
                slot.socket = address;
                slot.socket_is_of_host = u64::from(is_host_net(socket.net(), inum));
            }
            slot.socket_is_of_host != 0
        }
        None => is_host_net(socket.net(), inum),
    }
}

/// Whether a network namespace is the host's, which has this number.
#[inline(always)]
fn is_host_net(net: u64, inum: u64) -> bool {
    let Some(known) = HOST_NETS.get_ptr_mut(0) else { return false };
    // SAFETY: this CPU's.
    unsafe {
        if known.read_volatile() == 0
            && probe::<u32>(net as *const u8, &NET_INUM).map(u64::from) == Some(inum)
        {
            known.write_volatile(net);
        }
        known.read_volatile() == net
    }
}

#[inline(always)]
fn account_dropped(skb: *const u8) -> Option<()> {
    let mut socket: *const u8 = probe(skb, &SKB_SK)?;
    // Programs were called for the listener of one that stands for a connection.
    if probe::<u8>(socket, &SOCK_STATE)? == TCP_NEW_SYN_RECV {
        socket = probe(socket, &SOCK_LISTENER)?;
    }
    let packet = TracedPacket(skb);
    let Wire { bytes, packets } = on_the_wire(&packet, true);
    let amounts =
        NetAmounts { tx_dropped_bytes: u64::from(bytes), tx_dropped_packets: u64::from(packets), ..NOTHING };
    let mut host = HostBytes { rx_bytes: 0, tx_bytes: 0 };
    let inum = HOST_NET_INUM.load();
    if inum != 0 && is_host_net(probe(socket, &SOCK_NET)?, inum) {
        // IP counts what leaves, and this did not.
        host.tx_bytes = u64::from(packet.bytes()).wrapping_neg();
    }
    add_to_row::<true>(socket_cgroup(socket).unwrap_or(ROOT_CGROUP), amounts, |_| host);
    Some(())
}

/// Adds amounts to a cgroup's row.
#[inline(always)]
pub(super) fn count<const PREEMPTIBLE: bool>(cgroup: u64, amounts: NetAmounts) {
    add_to_row::<PREEMPTIBLE>(cgroup, amounts, |_| HostBytes { rx_bytes: 0, tx_bytes: 0 });
}

/// Adds amounts to a cgroup's row, and what `host` says of them, which may use what the row remembers.
#[inline(always)]
fn add_to_row<const PREEMPTIBLE: bool>(
    cgroup: u64,
    amounts: NetAmounts,
    host: impl Fn(Option<&mut NetRow>) -> HostBytes,
) {
    let level = claim_level::<_, NET_SLOTS, PREEMPTIBLE>(&NETS);
    // SAFETY: the level is ours until it is released, and `add` is atomic.
    unsafe {
        if !level.is_null() {
            let slot: &mut NetRow = slot(level, cgroup);
            let ours = slot.cgroup == cgroup;
            if ours || slot.cgroup == 0 || write_back(slot) {
                if !ours {
                    take_over_in(level, slot, Part::NET);
                    slot.kind = Kind::Net as u32;
                    slot.cpu = cpu();
                    slot.cgroup = cgroup;
                }
                let host = host(Some(slot));
                slot.amounts.rx_bytes += amounts.rx_bytes;
                slot.amounts.rx_packets += amounts.rx_packets;
                slot.amounts.tx_bytes += amounts.tx_bytes;
                slot.amounts.tx_packets += amounts.tx_packets;
                slot.amounts.tx_dropped_bytes += amounts.tx_dropped_bytes;
                slot.amounts.tx_dropped_packets += amounts.tx_dropped_packets;
                slot.amounts.tcp_retransmits += amounts.tcp_retransmits;
                slot.host.rx_bytes += host.rx_bytes;
                slot.host.tx_bytes += host.tx_bytes;
                release(level);
                return;
            }
            release(level);
        }
        let host = host(None);
        overflow(|o| {
            add(addr_of_mut!((*o).net.rx_bytes), amounts.rx_bytes);
            add(addr_of_mut!((*o).net.rx_packets), amounts.rx_packets);
            add(addr_of_mut!((*o).net.tx_bytes), amounts.tx_bytes);
            add(addr_of_mut!((*o).net.tx_packets), amounts.tx_packets);
            add(addr_of_mut!((*o).net.tx_dropped_bytes), amounts.tx_dropped_bytes);
            add(addr_of_mut!((*o).net.tx_dropped_packets), amounts.tx_dropped_packets);
            add(addr_of_mut!((*o).net.tcp_retransmits), amounts.tcp_retransmits);
            add(addr_of_mut!((*o).host.rx_bytes), host.rx_bytes);
            add(addr_of_mut!((*o).host.tx_bytes), host.tx_bytes);
        });
    }
}

/// Writes the rows of this CPU back.
#[inline(always)]
pub(super) fn flush_net() -> u32 {
    flush_levels(&NETS)
}
