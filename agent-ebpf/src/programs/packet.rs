//! What a packet of the stack is on the wire: how many packets, and how many bytes with the headers that each of them gets.
//!
//! One `sk_buff` can stand for many: segments that the card splits (GSO) or has put together (GRO), and fragments of a
//! datagram above the MTU, which the stack splits after it was counted and has put together before.

use aya_ebpf::{Global, programs::SkBuffContext};

use super::kernel::{
    DEV_MTU, ROUTE_METRICS, SHARED_GSO_SEGS, SHARED_GSO_SIZE, SKB_DATA, SKB_DEV, SKB_END, SKB_HEAD,
    SKB_LARGEST_FRAGMENT, SKB_LARGEST_FRAGMENT6, SKB_LEN, SKB_ROUTE, probe, probe_at,
};

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
/// The header with that option, which is 4 + 2 bytes long and all that is in there.
const JUMBO_BYTES: u32 = 8;
/// More extension headers than this are not looked at; the stack itself sends one at the most.
const MOST_EXTENSIONS: u32 = 4;
const UDP_BYTES: u32 = 8;
/// A TCP header without options.
const TCP_BYTES: u32 = 20;
/// Offset of a TCP header's own length, in words of four bytes, in the upper half of the byte.
const TCP_DATA_OFFSET: u32 = 12;
/// What IPv6 puts before each fragment, after its header.
const FRAGMENT_BYTES: u32 = 8;
/// No link of IPv6 has a smaller MTU: what fits is not looked into.
const SMALLEST_MTU: u32 = 1280;
/// Where the MTU of a route is in its metrics (`RTAX_MTU`, `include/uapi/linux/rtnetlink.h`, counted from 0).
const METRIC_MTU: usize = 1;

/// What is needed of a packet, whichever way a program gets at it.
pub(super) trait Packet {
    /// Bytes from the IP header on.
    fn bytes(&self) -> u32;
    /// Bytes of payload in each segment, 0 where it is not segmented.
    fn segment_bytes(&self) -> u32;
    /// How many segments, 0 where nobody counted them.
    fn segments(&self) -> u32;
    /// Bytes of the packet at an offset.
    fn load<T: Copy>(&self, at: u32) -> Option<T>;
    /// The kernel's `sk_buff`.
    fn skb(&self) -> *const u8;
}

impl Packet for SkBuffContext {
    #[inline(always)]
    fn bytes(&self) -> u32 {
        self.len()
    }

    #[inline(always)]
    fn segment_bytes(&self) -> u32 {
        // SAFETY: the context is a `__sk_buff`.
        unsafe { (*self.skb.skb).gso_size }
    }

    #[inline(always)]
    fn segments(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.skb.skb).gso_segs }
    }

    #[inline(always)]
    fn load<T: Copy>(&self, at: u32) -> Option<T> {
        SkBuffContext::load(self, at as usize).ok()
    }

    #[inline(always)]
    fn skb(&self) -> *const u8 {
        // The verifier's view of the context is `__sk_buff`; the address is that of the `sk_buff` itself.
        self.skb.skb.cast_const().cast()
    }
}

/// A packet as a tracepoint gives it. Everything is read by helper.
pub(super) struct TracedPacket(pub(super) *const u8);

impl TracedPacket {
    #[inline(always)]
    fn shared(&self, field: &'static Global<u64>) -> Option<u32> {
        let head: *const u8 = probe(self.0, &SKB_HEAD)?;
        let end: u32 = probe(self.0, &SKB_END)?;
        probe::<u16>(head.wrapping_add(end as usize), field).map(u32::from)
    }
}

impl Packet for TracedPacket {
    #[inline(always)]
    fn bytes(&self) -> u32 {
        probe(self.0, &SKB_LEN).unwrap_or(0)
    }

    #[inline(always)]
    fn segment_bytes(&self) -> u32 {
        self.shared(&SHARED_GSO_SIZE).unwrap_or(0)
    }

    #[inline(always)]
    fn segments(&self) -> u32 {
        self.shared(&SHARED_GSO_SEGS).unwrap_or(0)
    }

    #[inline(always)]
    fn load<T: Copy>(&self, at: u32) -> Option<T> {
        let data: *const u8 = probe(self.0, &SKB_DATA)?;
        probe_at(data.wrapping_add(at as usize).cast())
    }

    #[inline(always)]
    fn skb(&self) -> *const u8 {
        self.0
    }
}

/// What a packet is on the wire.
pub(super) struct Wire {
    pub(super) bytes: u32,
    pub(super) packets: u32,
}

/// On the way out, or in.
#[inline(always)]
pub(super) fn on_the_wire(packet: &impl Packet, out: bool) -> Wire {
    let bytes = packet.bytes();
    let whole = Wire { bytes, packets: 1 };
    let segment_bytes = packet.segment_bytes();
    if segment_bytes == 0 && bytes <= SMALLEST_MTU {
        return whole;
    }
    // The version, and where IPv4 and IPv6 have the protocol of their payload.
    let [first, _, _, _, _, _, next6, _, _, next4] = packet.load::<[u8; 10]>(0).unwrap_or([0; 10]);
    let is_v4 = first >> 4 == IPV4_VERSION;
    let (header, next) = if is_v4 { (u32::from(first & 0xf) * 4, next4) } else { (IPV6_BYTES, next6) };
    if segment_bytes != 0 {
        return segmented(packet, is_v4, header, next, segment_bytes);
    }
    // TCP keeps below the MTU by itself.
    if next == IPPROTO_TCP {
        return whole;
    }
    let each = if is_v4 { header } else { IPV6_BYTES + FRAGMENT_BYTES };
    let payload = bytes.wrapping_sub(header);
    let (largest, is_split) = if out {
        let mtu = mtu(packet.skb());
        (mtu, bytes > mtu)
    } else {
        let field = if is_v4 { &SKB_LARGEST_FRAGMENT } else { &SKB_LARGEST_FRAGMENT6 };
        let largest = probe::<u16>(packet.skb(), field).map_or(0, u32::from);
        (largest, payload > largest.wrapping_sub(each))
    };
    if largest <= each + FRAGMENT_BYTES || !is_split {
        return whole;
    }
    let packets = fragments(payload, largest - each, is_v4);
    Wire { bytes: payload + packets * each, packets }
}

/// The largest packet that goes the way of an outgoing one unsplit; 0 where it cannot be read.
///
/// The device's, or the route's own where that is less: a route of IPv6 has also what was learned of its path; that of IPv4
/// keeps this where it is not looked for.
#[inline(always)]
fn mtu(skb: *const u8) -> u32 {
    let device = probe::<*const u8>(skb, &SKB_DEV).and_then(|device| probe::<u32>(device, &DEV_MTU));
    let route = probe::<u64>(skb, &SKB_ROUTE).and_then(|route| {
        let metrics: u64 = probe((route & !1) as *const u8, &ROUTE_METRICS)?;
        probe_at(((metrics & !3) as *const u32).wrapping_add(METRIC_MTU))
    });
    match (device.unwrap_or(0), route.unwrap_or(0)) {
        (device, route) if route != 0 && route < device => route,
        (device, _) => device,
    }
}

/// How many fragments a payload makes that is more than has `room` in one.
///
/// All but the last are a multiple of eight bytes long (RFC 791, RFC 8200); IPv6 sockets keep the last one to that too.
#[inline(always)]
fn fragments(payload: u32, room: u32, is_v4: bool) -> u32 {
    let each = room & !7;
    let last = if is_v4 { room } else { each };
    1 + divided_up(payload.wrapping_sub(last), each)
}

/// Rounded up. By 0 it is 0: a division that may panic does not get past the verifier.
#[inline(always)]
fn divided_up(bytes: u32, by: u32) -> u32 {
    bytes.wrapping_add(by.wrapping_sub(1)).checked_div(by).unwrap_or(0)
}

/// A packet that is split before it is on the wire, or was put together from what was there.
#[inline(always)]
fn segmented(packet: &impl Packet, is_v4: bool, header: u32, next: u8, segment_bytes: u32) -> Wire {
    let Headers { each, jumbo } = if is_v4 {
        Headers { each: header + transport(packet, header, next), jumbo: 0 }
    } else {
        headers6(packet, next)
    };
    let bytes = packet.bytes().saturating_sub(jumbo);
    // Headers say themselves how long they are.
    let each = each.min(bytes);
    let packets = match packet.segments() {
        // From a guest that left the counting to the host (`SKB_GSO_DODGY`).
        0 => divided_up(bytes.wrapping_sub(each), segment_bytes),
        segments => segments,
    };
    Wire { bytes: bytes + packets.wrapping_sub(1).wrapping_mul(each), packets }
}

/// The headers of a packet that stands for several segments.
struct Headers {
    /// Bytes of the IP and transport headers that each segment gets.
    each: u32,
    /// Bytes of the one header that no segment gets: a packet of more than 64 KiB has its length there (RFC 2675).
    jumbo: u32,
}

#[inline(always)]
fn headers6(packet: &impl Packet, mut next: u8) -> Headers {
    let (mut at, mut jumbo) = (IPV6_BYTES, 0);
    for _ in 0..MOST_EXTENSIONS {
        if !matches!(next, HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS) {
            break;
        }
        let [following, words, option] = packet.load::<[u8; 3]>(at).unwrap_or([0; 3]);
        let bytes = (u32::from(words) + 1) * 8;
        if next == HOP_BY_HOP && option == OPTION_JUMBO && bytes == JUMBO_BYTES {
            jumbo = JUMBO_BYTES;
        }
        next = following;
        at += bytes;
    }
    Headers { each: at - jumbo + transport(packet, at, next), jumbo }
}

/// Bytes of the transport header at an offset.
#[inline(always)]
fn transport(packet: &impl Packet, at: u32, protocol: u8) -> u32 {
    match protocol {
        IPPROTO_TCP => match packet.load::<u8>(at + TCP_DATA_OFFSET) {
            Some(offset) => u32::from(offset >> 4) * 4,
            None => TCP_BYTES,
        },
        IPPROTO_UDP => UDP_BYTES,
        _ => 0,
    }
}
