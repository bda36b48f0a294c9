//! The kernel fields that the programs read: the one list of them.
//!
//! The programs get a global for each (`programs/kernel.rs`), the agent finds its offset in the running kernel's type
//! information and, where a kernel lacks one, says which area is off for want of it.

/// An area that is on or off as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// CPU time.
    Cpu,
    /// Block I/O.
    Blkio,
    /// Waiting for a CPU.
    Runqueue,
    /// TCP retransmits.
    Tcp,
    /// Cgroups that come and go.
    Lifecycle,
    /// OOM kills.
    Oom,
    /// IP traffic, which gives less without a field, but can do without any.
    Net,
}

/// When a field is needed at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// By every kernel.
    Always,
    /// Only by a kernel that lacks this other one.
    Lacks(&'static str),
    /// Only by a kernel that has this other one.
    Has(&'static str),
}

/// A field of the kernel, and the global that holds its offset.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The global.
    pub global: &'static str,
    /// The struct that it is in.
    pub structure: &'static str,
    /// Its path in there.
    pub path: &'static str,
    /// The areas that cannot do without it.
    pub needed_by: &'static [Area],
    /// When they need it.
    pub when: When,
}

/// Hands the list to a macro: `GLOBAL: "struct" . "path" needed by [areas] (when);`, each with its documentation.
#[macro_export]
macro_rules! kernel_fields {
    ($with:ident) => {
        $with! {
            /// ns of run time so far, what the scheduler charges (`include/linux/sched.h`).
            TASK_SUM_EXEC_RUNTIME: "task_struct" . "se.sum_exec_runtime" needed by [Cpu] (Always);
            /// The same when the fair class last picked it.
            TASK_PREV_SUM_EXEC_RUNTIME: "task_struct" . "se.prev_sum_exec_runtime" needed by [Cpu] (Always);
            /// ns of waiting on a run queue so far.
            TASK_RUN_DELAY: "task_struct" . "sched_info.run_delay" needed by [Runqueue] (Always);
            /// `PF_*` (`include/linux/sched.h`).
            TASK_FLAGS: "task_struct" . "flags" needed by [Cpu] (Always);
            /// How often it was switched out to wait.
            TASK_NVCSW: "task_struct" . "nvcsw" needed by [Cpu] (Always);
            /// How often it was switched out for another.
            TASK_NIVCSW: "task_struct" . "nivcsw" needed by [Cpu] (Always);
            /// 0 for each CPU's idle task.
            TASK_PID: "task_struct" . "pid" needed by [Cpu, Runqueue] (Always);
            /// The pid of its process, which is that of its first thread.
            TASK_TGID: "task_struct" . "tgid" needed by [] (Always);
            /// `TASK_*` (`include/linux/sched.h`); `state` before Linux 5.14.
            TASK_STATE: "task_struct" . "__state" needed by [] (Always);
            /// `EXIT_*`, likewise.
            TASK_EXIT_STATE: "task_struct" . "exit_state" needed by [] (Always);
            /// What the threads of a process share.
            TASK_SIGNAL: "task_struct" . "signal" needed by [] (Always);
            /// How many threads there are.
            SIGNAL_NR_THREADS: "signal_struct" . "nr_threads" needed by [] (Always);
            /// 100 and above is the fair class, or an extensible one.
            TASK_PRIO: "task_struct" . "prio" needed by [Cpu] (Always);
            /// Which state a task has in an extensible scheduler; since Linux 6.12.
            TASK_SCX_FLAGS: "task_struct" . "scx.flags" needed by [] (Always);
            /// The `css_set`.
            TASK_CGROUPS: "task_struct" . "cgroups" needed by [Cpu, Runqueue, Oom] (Always);
            /// `dfl_cgrp`, or `subsys[i]` where CPU time is accounted in a v1 hierarchy.
            CSS_SET_MEMBER: "css_set" . "dfl_cgrp" needed by [Cpu, Runqueue] (Always);
            /// Absent where `CSS_SET_MEMBER` is a cgroup already.
            CSS_CGROUP: "cgroup_subsys_state" . "cgroup" needed by [] (Always);
            /// As `CSS_SET_MEMBER`, for the hierarchy that memory is accounted in.
            MEMORY_CSS_SET_MEMBER: "css_set" . "dfl_cgrp" needed by [Oom] (Always);
            /// As `CSS_CGROUP`, likewise.
            MEMORY_CSS_CGROUP: "cgroup_subsys_state" . "cgroup" needed by [] (Always);
            /// Of the controller of memory; its part of the cgroup is the head of a `mem_cgroup`.
            CGROUP_MEMORY: "cgroup" . "subsys" needed by [] (Always);
            /// What each CPU has of it; `rstat_base_cpu` since Linux 6.17.
            CGROUP_CPU_SUMS: "cgroup" . "rstat_cpu" needed by [] (Always);
            /// In there, ns of run time so far, without what is below the cgroup; of `cgroup_rstat_base_cpu` since Linux 6.17.
            CPU_SUM_RUN_NS: "cgroup_rstat_cpu" . "bstat.cputime.sum_exec_runtime" needed by [] (Always);
            /// What the kernel calls the entry of a table that each CPU has one of, from which that of a CPU is as far as its memory.
            MAP_PER_CPU: "bpf_array" . "pptrs" needed by [] (Always);
            /// Pages that are charged to it.
            MEMORY_PAGES: "mem_cgroup" . "memory.usage.counter" needed by [] (Always);
            /// Its directory.
            CGROUP_KN: "cgroup" . "kn" needed by [Cpu, Runqueue, Tcp, Lifecycle, Oom, Blkio] (Always);
            /// The inode number, which is the cgroup's id (`include/linux/kernfs.h`).
            KERNFS_ID: "kernfs_node" . "id" needed by [Cpu, Runqueue, Tcp, Lifecycle, Oom, Blkio] (Always);
            /// Its hierarchy.
            CGROUP_ROOT: "cgroup" . "root" needed by [Lifecycle] (Always);
            /// 0 for cgroup2.
            ROOT_HIERARCHY_ID: "cgroup_root" . "hierarchy_id" needed by [Lifecycle] (Always);
            /// The first bio; the block layer does not merge across block cgroups.
            REQUEST_BIO: "request" . "bio" needed by [Blkio] (Always);
            /// The operation in the low 8 bits (`include/linux/blk_types.h`).
            REQUEST_CMD_FLAGS: "request" . "cmd_flags" needed by [Blkio] (Always);
            /// Who owns the request.
            REQUEST_RQ_FLAGS: "request" . "rq_flags" needed by [Blkio] (Always);
            /// Bytes still to be completed.
            REQUEST_DATA_LEN: "request" . "__data_len" needed by [Blkio] (Always);
            /// When it was allocated; 0 where the queue keeps no statistics.
            REQUEST_START_TIME_NS: "request" . "start_time_ns" needed by [Blkio] (Always);
            /// Before Linux 5.17.
            REQUEST_RQ_DISK: "request" . "rq_disk" needed by [] (Always);
            /// Its queue.
            REQUEST_Q: "request" . "q" needed by [Blkio] (Lacks("REQUEST_RQ_DISK"));
            /// Since Linux 5.15.
            QUEUE_DISK: "request_queue" . "disk" needed by [Blkio] (Lacks("REQUEST_RQ_DISK"));
            /// The disk's numbers.
            DISK_MAJOR: "gendisk" . "major" needed by [Blkio] (Always);
            /// Likewise.
            DISK_FIRST_MINOR: "gendisk" . "first_minor" needed by [Blkio] (Always);
            /// The block cgroup that is charged; without it, everything is the root's.
            BIO_BLKG: "bio" . "bi_blkg" needed by [] (Always);
            /// Its controller's part.
            BLKG_BLKCG: "blkcg_gq" . "blkcg" needed by [Blkio] (Has("BIO_BLKG"));
            /// Its cgroup.
            BLKCG_CGROUP: "blkcg" . "css.cgroup" needed by [Blkio] (Has("BIO_BLKG"));
            /// The socket's cgroup.
            SOCK_CGROUP_DATA: "sock" . "sk_cgrp_data" needed by [Tcp] (Always);
            /// Its network namespace.
            SOCK_NET: "sock" . "__sk_common.skc_net.net" needed by [] (Always);
            /// `TCP_NEW_SYN_RECV` for one that stands for a connection that is being made.
            SOCK_STATE: "sock" . "__sk_common.skc_state" needed by [] (Always);
            /// The listening socket of such a one.
            SOCK_LISTENER: "sock" . "__sk_common.skc_listener" needed by [] (Always);
            /// The inode number of the namespace, as of `/proc/PID/ns/net`.
            NET_INUM: "net" . "ns.inum" needed by [] (Always);
            /// Within `sk_buff.cb`: segments that a queued packet stands for.
            SKB_TCP_GSO_SEGS: "tcp_skb_cb" . "tcp_gso_segs" needed by [Tcp] (Always);
            /// Within `sk_buff.cb`: bytes of the largest fragment that a datagram of IPv4 was put together from.
            SKB_LARGEST_FRAGMENT: "inet_skb_parm" . "frag_max_size" needed by [] (Always);
            /// The same of IPv6.
            SKB_LARGEST_FRAGMENT6: "inet6_skb_parm" . "frag_max_size" needed by [] (Always);
            /// The socket.
            SKB_SK: "sk_buff" . "sk" needed by [] (Always);
            /// Bytes, with what is in pages and further packets.
            SKB_LEN: "sk_buff" . "len" needed by [] (Always);
            /// Its first byte; that of the IP header where IP hands a packet on.
            SKB_DATA: "sk_buff" . "data" needed by [] (Always);
            /// Start of the buffer.
            SKB_HEAD: "sk_buff" . "head" needed by [] (Always);
            /// From there, `skb_shared_info`.
            SKB_END: "sk_buff" . "end" needed by [] (Always);
            /// Bytes of a segment's payload; 0 for a packet that is not segmented.
            SHARED_GSO_SIZE: "skb_shared_info" . "gso_size" needed by [] (Always);
            /// Segments.
            SHARED_GSO_SEGS: "skb_shared_info" . "gso_segs" needed by [] (Always);
            /// The device that it leaves by.
            SKB_DEV: "sk_buff" . "dev" needed by [] (Always);
            /// The device's MTU.
            DEV_MTU: "net_device" . "mtu" needed by [] (Always);
            /// The route that it takes, a pointer with a flag in its lowest bit.
            SKB_ROUTE: "sk_buff" . "_skb_refdst" needed by [] (Always);
            /// The route's own metrics, a pointer with flags in its lowest two bits.
            ROUTE_METRICS: "dst_entry" . "_metrics" needed by [] (Always);
        }
    };
}

macro_rules! table {
    ($($(#[$doc:meta])* $global:ident: $structure:literal . $path:literal needed by [$($area:ident),*] ($when:expr);)*) => {
        /// Every field.
        pub const FIELDS: &[Field] = &[$(Field {
            global: stringify!($global),
            structure: $structure,
            path: $path,
            needed_by: &[$(Area::$area),*],
            when: $when,
        }),*];
    };
}

use When::{Always, Has, Lacks};

kernel_fields!(table);
