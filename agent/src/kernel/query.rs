//! Who else has programs at a cgroup: `BPF_PROG_QUERY` of bpf(2), which aya does not offer for `cgroup_skb`.

use std::io;
use std::os::fd::AsFd;

use aya::programs::{CgroupSkbAttachType, loaded_programs};
use aya_obj::generated::bpf_cmd;

use super::syscall::{bpf, raw};

/// `BPF_CGROUP_INET_INGRESS` (`include/uapi/linux/bpf.h`).
const INGRESS: u32 = 0;
/// `BPF_CGROUP_INET_EGRESS`, likewise.
const EGRESS: u32 = 1;
/// `BPF_F_ALLOW_MULTI`: programs of several owners side by side.
const ALLOW_MULTI: u32 = 1 << 1;
/// The kernel takes no more programs than this at one cgroup (`BPF_CGROUP_MAX_PROGS`).
const MOST_PROGRAMS: usize = 64;

/// The part of `union bpf_attr` that the command reads and writes.
#[repr(C)]
#[derive(Default)]
struct Query {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_count: u32,
    padding: u32,
}

/// The programs at a cgroup that let no other one beside them, as a person would look for them; `None` when there are none.
///
/// # Errors
/// When the kernel does not say.
pub(super) fn exclusive(cgroup: impl AsFd, direction: CgroupSkbAttachType) -> io::Result<Option<String>> {
    let mut ids = [0_u32; MOST_PROGRAMS];
    let mut query = Query {
        target_fd: raw(&cgroup),
        attach_type: match direction {
            CgroupSkbAttachType::Ingress => INGRESS,
            CgroupSkbAttachType::Egress => EGRESS,
        },
        prog_ids: ids.as_mut_ptr() as u64,
        prog_count: MOST_PROGRAMS as u32,
        ..Query::default()
    };
    // SAFETY: the kernel writes `attach_flags`, `prog_count`, and at most that many ids, all of which live here.
    unsafe { bpf(bpf_cmd::BPF_PROG_QUERY, &mut query) }?;
    let ids = ids.get(..query.prog_count as usize).unwrap_or_default();
    if ids.is_empty() || query.attach_flags & ALLOW_MULTI != 0 {
        return Ok(None);
    }
    Ok(Some(ids.iter().map(|id| named(*id)).collect::<Vec<_>>().join(", ")))
}

/// How many programs of this name, of the 15 bytes at most that the kernel keeps of one, are loaded on this machine; 0 also where
/// this process may not ask.
pub(super) fn n_loaded(name: &str) -> usize {
    loaded_programs().flatten().filter(|program| program.name_as_str() == Some(name)).count()
}

/// `program 42 (sd_fw_egress)`; without the name where this process may not ask for it.
fn named(id: u32) -> String {
    let info = loaded_programs().flatten().find(|program| program.id() == id);
    match info.as_ref().and_then(|info| info.name_as_str()).filter(|name| !name.is_empty()) {
        Some(name) => format!("program {id} ({name})"),
        None => format!("program {id}"),
    }
}
