//! What `cargo xtask bench probes` measures the probes against: an empty program at each hook, which is the price of
//! being called at all, and the design that everyone falls back to, a per-CPU hash map fed from a clock; and the policies that tests attach.
//! Built with the feature `bench` alone; never part of the agent.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{BPF_NOEXIST, BPF_RB_NO_WAKEUP},
    helpers::bpf_ktime_get_ns,
    macros::{btf_tracepoint, cgroup_skb, map},
    maps::{PerCpuArray, PerCpuHashMap, RingBuf},
    programs::{BtfTracePointContext, SkBuffContext},
};

use super::kernel::{TASK_PID, field, task_cgroup};

/// When the running task came in.
#[map]
static BENCH_CLOCKS: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Nanoseconds by cgroup.
#[map]
static BENCH_SUMS: PerCpuHashMap<u64, [u64; 2]> = PerCpuHashMap::with_max_entries(10_240, 0);

/// Records of [`bench_sched_switch_record`]: room for a round, since nobody reads them.
#[map]
static BENCH_RECORDS: RingBuf = RingBuf::with_byte_size(16 << 20, 0);

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
