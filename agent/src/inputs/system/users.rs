//! Who is logged in, from utmp(5).

use std::collections::HashSet;

use crate::host::Host;

/// Logged-in users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UserCounts {
    /// Sessions.
    pub(super) sessions: usize,
    /// Different users in these.
    pub(super) unique: usize,
}

/// Counts them; `None` where utmp cannot be read, as on systems that have none.
pub(super) fn count(host: &Host) -> Option<UserCounts> {
    let path = host.var("run/utmp");
    // `/var/run` is mostly a link to `/run`, which from a container leads to the container's own.
    match std::fs::read(&path).or_else(|_| std::fs::read(host.run("utmp"))) {
        Ok(utmp) => {
            let users: Vec<_> = users(&utmp).collect();
            let sessions = users.len();
            Some(UserCounts { sessions, unique: users.into_iter().collect::<HashSet<_>>().len() })
        }
        Err(error) => {
            tracing::debug!(path = %path.display(), %error, "no number of users");
            None
        }
    }
}

/// The user of each session in a utmp file.
///
/// The records are as glibc writes them, utmp(5), whatever C library the agent itself has: the type at the start, the
/// user's name in 32 bytes from byte 44. A partial record at the end is left out.
fn users(utmp: &[u8]) -> impl Iterator<Item = &[u8]> {
    /// Size of a record. Where glibc never had to share the file with 32-bit programs, its times are longer.
    const RECORD: usize = if cfg!(target_arch = "aarch64") { 400 } else { 384 };
    const USER_PROCESS: i16 = 7;
    let sessions =
        utmp.chunks_exact(RECORD).filter(|record| i16::from_ne_bytes([record[0], record[1]]) == USER_PROCESS);
    sessions.map(|record| record[44..76].split(|byte| *byte == 0).next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::testing::write;

    fn record(kind: i16, user: &str) -> Vec<u8> {
        let mut record = vec![0; if cfg!(target_arch = "aarch64") { 400 } else { 384 }];
        record[..2].copy_from_slice(&kind.to_ne_bytes());
        record[44..44 + user.len()].copy_from_slice(user.as_bytes());
        record
    }

    #[test]
    fn users_are_the_sessions_in_utmp() {
        let root = tempfile::tempdir().unwrap();
        let long = "a_name_that_fills_the_whole_field";
        let piece = &record(7, "half")[..100];
        let utmp = [
            &record(2, "reboot")[..],
            &record(7, "ann"),
            &record(7, "bob"),
            &record(7, "ann"),
            &record(7, &long[..32]),
            &record(8, "gone"),
            piece,
        ];
        write(root.path(), "var/run/utmp", utmp.concat());
        assert_eq!(count(&Host::at(root.path())), Some(UserCounts { sessions: 4, unique: 3 }));
    }

    #[test]
    fn users_are_found_where_var_run_leads_elsewhere() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "run/utmp", record(7, "ann"));
        std::fs::create_dir(root.path().join("var")).unwrap();
        std::os::unix::fs::symlink("/not/there", root.path().join("var/run")).unwrap();
        assert_eq!(count(&Host::at(root.path())), Some(UserCounts { sessions: 1, unique: 1 }));
    }
}
