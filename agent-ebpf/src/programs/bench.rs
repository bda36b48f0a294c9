//! What `cargo xtask bench probes` measures the probes against: an empty program at each hook, which is the price of
//! being called at all, and the design that everyone falls back to, a per-CPU hash map fed from a clock; and the policies that tests attach.
//! Built with the feature `bench` alone; never part of the agent.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext as _,
    bindings::{BPF_NOEXIST, BPF_RB_NO_WAKEUP},
    helpers::bpf_ktime_get_ns,
    macros::{btf_tracepoint, cgroup_skb, map},
    maps::{PerCpuArray, PerCpuHashMap, RingBuf},
    programs::{BtfTracePointContext, SkBuffContext},
};

use seismograf_ebpf::abi::{CpuRow, FLUSH_ARGUMENT, Kind};

use super::blkio::completion;
use super::kernel::{TASK_PID, TASK_SUM_EXEC_RUNTIME, field, task_cgroup};
use super::net::{HelperSocket, Socket as _, TypedSocket};

/// When the running task came in.
#[map]
static BENCH_CLOCKS: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Nanoseconds by cgroup.
#[map]
static BENCH_SUMS: PerCpuHashMap<u64, [u64; 2]> = PerCpuHashMap::with_max_entries(10_240, 0);

/// Records of [`bench_sched_switch_record`] and [`bench_ring`]: room for a round, since nobody reads them.
#[map]
static BENCH_RECORDS: RingBuf = RingBuf::with_byte_size(16 << 20, 0);

/// Those of [`bench_ring`] in a second ring.
#[map]
static BENCH_OTHER_RECORDS: RingBuf = RingBuf::with_byte_size(16 << 20, 0);

#[btf_tracepoint(function = "sched_switch")]
fn bench_sched_switch_empty(_ctx: BtfTracePointContext) -> i32 {
    0
}

#[btf_tracepoint(function = "block_rq_complete")]
fn bench_block_rq_complete_empty(_ctx: BtfTracePointContext) -> i32 {
    0
}

#[cgroup_skb]
fn bench_skb_empty(_ctx: SkBuffContext) -> i32 {
    1
}

/// Looks at what `cpu_sched_switch` needs of the two tasks, and keeps nothing: what no program that tells whose time it was can
/// do without.
#[btf_tracepoint(function = "sched_switch")]
fn bench_sched_switch_look(ctx: BtfTracePointContext) -> i32 {
    let args = ctx.as_ptr() as *const *const u8;
    // SAFETY: arguments 1 and 2 are task_structs. The loads are volatile, and so are made.
    unsafe {
        let (prev, next) = (args.add(1).read_volatile(), args.add(2).read_volatile());
        let _: u64 = field(prev, &TASK_SUM_EXEC_RUNTIME);
        let _: u64 = field(next, &TASK_SUM_EXEC_RUNTIME);
        let _: i32 = field(prev, &TASK_PID);
        let _ = task_cgroup(prev);
    }
    0
}

/// Likewise, at the request, its disk and its owner, with the clock.
#[btf_tracepoint(function = "block_rq_complete")]
fn bench_block_rq_complete_look(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: `ctx` is that of block_rq_complete.
    let _ = unsafe { completion(&ctx) };
    0
}

/// Likewise, at the socket's cgroup.
#[cgroup_skb]
fn bench_skb_look(ctx: SkBuffContext) -> i32 {
    let _ = HelperSocket::of(&ctx).cgroup();
    1
}

/// `bench_skb_look` with plain loads, as the agent's programs have where they can.
#[cgroup_skb]
fn bench_skb_look_typed(ctx: SkBuffContext) -> i32 {
    let _ = TypedSocket::of(&ctx).cgroup();
    1
}

/// Refuses every packet, as a policy of a cgroup does.
#[cgroup_skb]
fn bench_skb_refuse(_ctx: SkBuffContext) -> i32 {
    0
}

/// Packets that [`bench_skb_lose`] saw.
#[map]
static BENCH_PACKETS: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Refuses one packet of a hundred, as a bad line does.
#[cgroup_skb]
fn bench_skb_lose(_ctx: SkBuffContext) -> i32 {
    const EVERY: u64 = 100;
    let Some(packets) = BENCH_PACKETS.get_ptr_mut(0) else { return 1 };
    // SAFETY: this CPU's; one that is missed in an interruption does not matter.
    unsafe {
        *packets += 1;
        i32::from(*packets % EVERY != 0)
    }
}

#[btf_tracepoint(function = "sched_switch")]
fn bench_sched_switch_hash(ctx: BtfTracePointContext) -> i32 {
    // SAFETY: `ctx` is that of sched_switch.
    unsafe { try_bench_sched_switch_hash(&ctx) };
    0
}

/// A record for each event, with the time of the clock.
#[btf_tracepoint(function = "sched_switch")]
fn bench_sched_switch_record(ctx: BtfTracePointContext) -> i32 {
    let args = ctx.as_ptr() as *const *const u8;
    // SAFETY: argument 1 is a task_struct; helpers without arguments.
    let record = unsafe { [task_cgroup(args.add(1).read_volatile()), bpf_ktime_get_ns()] };
    let _ = BENCH_RECORDS.output::<[u64; 2]>(record, u64::from(BPF_RB_NO_WAKEUP));
    0
}

/// Records of one run of [`bench_ring`].
const RECORDS_A_RUN: usize = 256;

/// Writes rows as a write-back of full caches does, into the second ring where the argument is not 0. Returns how many found no
/// room. Run on several CPUs at one time, for what they do to each other.
#[unsafe(no_mangle)]
#[unsafe(link_section = "raw_tp")]
extern "C" fn bench_ring(args: *const c_void) -> u32 {
    // SAFETY: the context of a raw tracepoint.
    let is_other = unsafe { args.cast::<u64>().add(FLUSH_ARGUMENT).read_volatile() } != 0;
    let row = CpuRow { kind: Kind::Cpu as u32, cpu: 0, cgroup: 1, run_ns: 1, switches: 1 };
    let mut refused = 0;
    for _ in 0..RECORDS_A_RUN {
        let written = if is_other {
            BENCH_OTHER_RECORDS.output::<CpuRow>(row, u64::from(BPF_RB_NO_WAKEUP))
        } else {
            BENCH_RECORDS.output::<CpuRow>(row, u64::from(BPF_RB_NO_WAKEUP))
        };
        refused += u32::from(written.is_err());
    }
    refused
}

#[inline(always)]
unsafe fn try_bench_sched_switch_hash(ctx: &BtfTracePointContext) -> Option<()> {
    let args = ctx.as_ptr() as *const *const u8;
    // SAFETY: argument 1 is a task_struct; the maps are per CPU, and interrupts are off.
    unsafe {
        let prev = args.add(1).read_volatile();
        let clock = BENCH_CLOCKS.get_ptr_mut(0)?;
        let now = bpf_ktime_get_ns();
        let run_ns = now - *clock;
        *clock = now;
        if field::<i32>(prev, &TASK_PID) == 0 {
            return None;
        }
        let cgroup = task_cgroup(prev);
        match BENCH_SUMS.get_ptr_mut(&cgroup) {
            Some(sum) => {
                (*sum)[0] += run_ns;
                (*sum)[1] += 1;
            }
            None => BENCH_SUMS.insert(&cgroup, &[run_ns, 1], u64::from(BPF_NOEXIST)).ok()?,
        }
    }
    Some(())
}
