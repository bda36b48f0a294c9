//! Memory of this process: what the allocator holds, and the pages of the program itself.

use std::convert::Infallible;
use std::time::Duration;

/// So long after the start all that belongs to it is over: inputs have gathered, outputs have written.
const START: Duration = Duration::from_secs(30);

/// What is at least so large gets pages of its own, which the system has back when it is freed: glibc's own choice at the start.
/// Left to itself, it raises that to the size of what was freed last.
#[cfg(target_env = "gnu")]
const OWN_PAGES_BYTES: libc::c_int = 128 << 10;

/// Has all threads use the same memory. The agent's hardly ever run at the same time, and glibc would keep free memory for each.
/// Call it before there is a second thread.
pub fn keep_together() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets parameters of the allocator.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, OWN_PAGES_BYTES);
    }
}

/// Returns free memory to the system. glibc keeps memory that was freed in small pieces, to use it again; after a rare event there
/// is no next use. Takes about a millisecond.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: releases free memory of the allocator and touches nothing in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Waits until the start is over, and takes what only the start needed out of this process's memory. Does not return.
pub async fn settle() -> Infallible {
    tokio::time::sleep(START).await;
    give_back();
    unmap_code();
    std::future::pending().await
}

/// Takes the pages of the program's own file out of this process's memory. Most of them were read once, at the start:
/// configuration, BTF, ELF, the set-up of TLS. What is used again comes back from the page cache, 16 pages at a time, without a
/// read.
pub(crate) fn unmap_code() {
    /// Called for each object that is loaded, the program first; ends there.
    unsafe extern "C" fn unmap(
        info: *mut libc::dl_phdr_info,
        _: libc::size_t,
        _: *mut libc::c_void,
    ) -> libc::c_int {
        let page = rustix::param::page_size();
        // SAFETY: the loader passes a valid object, whose headers are as many as it says.
        let (base, headers) = unsafe {
            let info = &*info;
            (info.dlpi_addr as usize, std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()))
        };
        // What can be written to has been: its pages are not those of the file any more.
        let is_code =
            |header: &&libc::Elf64_Phdr| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0;
        for header in headers.iter().filter(is_code) {
            let start = (base + header.p_vaddr as usize) / page * page;
            let end = (base + (header.p_vaddr + header.p_filesz) as usize).next_multiple_of(page);
            // SAFETY: a private mapping of a file that nothing was written to: the next access finds the same bytes.
            unsafe {
                libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED);
            }
        }
        1
    }
    // SAFETY: the callback keeps no pointer.
    unsafe {
        libc::dl_iterate_phdr(Some(unmap), std::ptr::null_mut());
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::unmap_code;

    /// Resident pages of files, in KiB (proc(5) `PID/status`).
    fn rss_file() -> u64 {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssFile:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    #[test]
    fn code_that_is_not_used_leaves_memory_and_comes_back() {
        // All of it, so that there is something to leave.
        let program = fs::read_link("/proc/self/exe").unwrap();
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        for line in
            maps.lines().filter(|line| line.ends_with(program.to_str().unwrap()) && line.contains(" r-xp "))
        {
            let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
            let [start, end] = [start, end].map(|hex| usize::from_str_radix(hex, 16).unwrap());
            for page in (start..end).step_by(4096) {
                // SAFETY: within a readable mapping.
                std::hint::black_box(unsafe { std::ptr::read_volatile(page as *const u8) });
            }
        }
        let before = rss_file();
        unmap_code();
        let after = rss_file();
        assert!(after + 1024 < before, "{before} KiB, then {after}");
    }
}
