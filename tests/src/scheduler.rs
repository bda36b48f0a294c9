//! An extensible scheduler (sched_ext, Linux 6.12 and later), for machines of a test's own: what the kernel makes of operations of
//! which there are none, one queue for all tasks. So it needs no BPF program.

use std::ffi::{c_long, c_uint};
use std::os::fd::RawFd;

use aya::Btf as AyaBtf;
use aya_obj::btf::BtfKind;
use seismograf::kernel::btf::Btf;

/// What the kernel keeps the operations in (`kernel/bpf/bpf_struct_ops.c`).
const VALUE: &str = "bpf_struct_ops_sched_ext_ops";
const BPF_MAP_CREATE: c_uint = 0;
const BPF_MAP_UPDATE_ELEM: c_uint = 2;
const BPF_BTF_LOAD: c_uint = 18;
const BPF_MAP_TYPE_STRUCT_OPS: u32 = 26;
/// No structure of the kernel's of this kind comes near.
const MAX_SIZE: u32 = 16 << 10;

/// `union bpf_attr` of `BPF_MAP_CREATE`.
#[repr(C)]
#[derive(Default)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    map_name: [u8; 16],
    map_ifindex: u32,
    btf_fd: u32,
    btf_key_type_id: u32,
    btf_value_type_id: u32,
    btf_vmlinux_value_type_id: u32,
}

/// `union bpf_attr` of `BPF_BTF_LOAD`.
#[repr(C)]
#[derive(Default)]
struct BtfLoad {
    btf: u64,
    log: u64,
    size: u32,
    log_size: u32,
    log_level: u32,
}

/// `union bpf_attr` of `BPF_MAP_UPDATE_ELEM`.
#[repr(C)]
struct MapUpdate {
    map_fd: u64,
    key: u64,
    value: u64,
    flags: u64,
}

/// Has the kernel schedule by it from now on, after this process too.
///
/// # Panics
/// The kernel takes none.
pub fn start() {
    let types = AyaBtf::from_sys_fs().unwrap();
    let id = types.id_by_type_name_kind(VALUE, BtfKind::Struct).expect("a kernel with sched_ext");
    // The kernel refuses every size but that of the type.
    let own = load_types();
    let map = (8..MAX_SIZE).step_by(8).find_map(|size| Some((create(id, size, own)?, size)));
    let (map, size) = map.expect("a map of operations");
    let blob = std::fs::read("/sys/kernel/btf/vmlinux").unwrap();
    let name_at = Btf::parse(&blob).unwrap().offset(VALUE, "data.name").unwrap() as usize;
    let (key, mut value) = (0_u32, vec![0_u8; size as usize]);
    value[name_at..][..4].copy_from_slice(b"test");
    let update = MapUpdate {
        map_fd: u64::try_from(map).unwrap(),
        key: (&raw const key).addr() as u64,
        value: value.as_ptr().addr() as u64,
        flags: 0,
    };
    let result = bpf(BPF_MAP_UPDATE_ELEM, &update);
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// Types of our own, of which the kernel wants some with every such map, be it just `int`.
fn load_types() -> RawFd {
    const INT: [u32; 4] = [1, 1 << 24, 4, 32];
    const NAMES: &[u8] = b"\0int\0";
    let header = [0x0001_eb9f, 24, 0, size_of_val(&INT) as u32, size_of_val(&INT) as u32, NAMES.len() as u32];
    let mut blob: Vec<u8> = header.iter().chain(&INT).flat_map(|word| word.to_ne_bytes()).collect();
    blob.extend(NAMES);
    let load = BtfLoad { btf: blob.as_ptr().addr() as u64, size: blob.len() as u32, ..BtfLoad::default() };
    let types = bpf(BPF_BTF_LOAD, &load);
    assert!(types >= 0, "{}", std::io::Error::last_os_error());
    RawFd::try_from(types).unwrap()
}

fn create(type_id: u32, value_size: u32, own: RawFd) -> Option<RawFd> {
    let map = MapCreate {
        map_type: BPF_MAP_TYPE_STRUCT_OPS,
        key_size: 4,
        value_size,
        max_entries: 1,
        btf_fd: own.cast_unsigned(),
        btf_vmlinux_value_type_id: type_id,
        ..MapCreate::default()
    };
    RawFd::try_from(bpf(BPF_MAP_CREATE, &map)).ok().filter(|fd| *fd >= 0)
}

fn bpf<T>(command: c_uint, attributes: &T) -> c_long {
    // SAFETY: the structure is as large as is said, and what it points to outlives the call.
    unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) }
}
