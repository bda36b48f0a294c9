//! Bytes of the ring buffer to typed records: the one place that trusts the ABI.
//!
//! Pure. The bytes come from the kernel, so what does not fit is the agent's own fault, not a peer's. It is counted all
//! the same, and nothing is read past the end.

use seismograf_ebpf::abi::{
    BlkioRow, CGROUP_EVENT_HEAD, CgroupChange, CpuRow, Kind, NetRow, OomKill, RunqueueRow,
};

/// One record of the ring buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// CPU time.
    Cpu(CpuRow),
    /// Block I/O.
    Blkio(BlkioRow),
    /// IP traffic.
    Net(NetRow),
    /// Waiting for a CPU.
    Runqueue(RunqueueRow),
    /// A process was OOM-killed.
    OomKill(OomKill),
    /// A cgroup was made, removed or released.
    Cgroup {
        /// What happened.
        change: CgroupChange,
        /// The hierarchy's number.
        hierarchy: u32,
        /// The cgroup's id in it.
        cgroup: u64,
        /// When it goes, how long its tasks have run by the kernel's own sum, in nanoseconds; 0 where a probe counts that.
        run_ns: u64,
        /// Its path from the hierarchy's root; empty when the kernel could not read it.
        path: &'a [u8],
    },
}

impl<'a> Record<'a> {
    /// Decodes one record. `None` for bytes that are not one.
    #[must_use]
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let kind = u32_at(bytes, 0)?;
        if kind == Kind::Cpu as u32 {
            Some(Self::Cpu(row(bytes)?))
        } else if kind == Kind::Blkio as u32 {
            Some(Self::Blkio(row(bytes)?))
        } else if kind == Kind::Net as u32 {
            Some(Self::Net(row(bytes)?))
        } else if kind == Kind::Runqueue as u32 {
            Some(Self::Runqueue(row(bytes)?))
        } else if kind == Kind::OomKill as u32 {
            Some(Self::OomKill(row(bytes)?))
        } else if kind == Kind::Cgroup as u32 {
            let change = match u32_at(bytes, 4)? {
                x if x == CgroupChange::Made as u32 => CgroupChange::Made,
                x if x == CgroupChange::Removed as u32 => CgroupChange::Removed,
                x if x == CgroupChange::Released as u32 => CgroupChange::Released,
                x if x == CgroupChange::Renamed as u32 => CgroupChange::Renamed,
                _ => return None,
            };
            let cgroup = u64::from_ne_bytes(bytes.get(8..16)?.try_into().ok()?);
            let (hierarchy, path_bytes) = (u32_at(bytes, 16)?, u32_at(bytes, 20)? as usize);
            let run_ns = u64::from_ne_bytes(bytes.get(24..32)?.try_into().ok()?);
            let path = bytes.get(CGROUP_EVENT_HEAD..CGROUP_EVENT_HEAD.checked_add(path_bytes)?)?;
            Some(Self::Cgroup { change, hierarchy, cgroup, run_ns, path })
        } else {
            None
        }
    }
}

/// Rows of the ABI: any bytes of the right length are a valid one.
trait Row: Copy {}
impl Row for CpuRow {}
impl Row for BlkioRow {}
impl Row for NetRow {}
impl Row for RunqueueRow {}
impl Row for OomKill {}

fn row<R: Row>(bytes: &[u8]) -> Option<R> {
    if bytes.len() < size_of::<R>() {
        return None;
    }
    // SAFETY: long enough, read unaligned, and a `Row` is integers without padding: any bytes are one.
    Some(unsafe { bytes.as_ptr().cast::<R>().read_unaligned() })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    #[test]
    fn reads_rows() {
        let bytes = words(&[u64::from(Kind::Cpu as u32) | 3 << 32, 42, 1_000, 7]);
        let row = CpuRow { kind: 1, cpu: 3, cgroup: 42, run_ns: 1_000, switches: 7 };
        assert_eq!(Record::decode(&bytes), Some(Record::Cpu(row)));
    }

    #[test]
    fn reads_a_cgroup_with_its_path() {
        let mut bytes = words(&[u64::from(Kind::Cgroup as u32) | 2 << 32, 42, 5 | 4 << 32, 9]);
        bytes.extend(b"/a b");
        let change = CgroupChange::Removed;
        let record = Record::Cgroup { change, hierarchy: 5, cgroup: 42, run_ns: 9, path: b"/a b" };
        assert_eq!(Record::decode(&bytes), Some(record));
    }

    #[test]
    fn refuses_what_is_too_short_or_unknown() {
        let mut cgroup = words(&[u64::from(Kind::Cgroup as u32) | 1 << 32, 42, 5 | 9 << 32, 0]);
        cgroup.extend(b"short");
        assert_eq!(Record::decode(&cgroup), None);
        for kind in 0..=u64::from(Kind::OomKill as u32) + 1 {
            let bytes = words(&[kind, 0]);
            // One byte less than the shortest of them.
            for end in 0..bytes.len() {
                assert_eq!(Record::decode(&bytes[..end]), None, "kind {kind}, {end} bytes");
            }
        }
    }
}
