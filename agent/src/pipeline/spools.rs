//! Where the spool of each output is, and its opening.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use crate::options::common::OutputCommon;
use crate::outputs::sender::Sender;
use crate::service::off_thread;
use crate::spool::files::Folder;
use crate::spool::is_spool;
use crate::spool::log::{Limits, Log};

/// For a look at what else is there.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

/// A segment of a spool: what is freed at a time.
const SEGMENT: u64 = 8 << 20;
/// The parts of a limit that a segment may be, so that the oldest of it goes and not all.
const SEGMENTS: u64 = 8;

/// An output's spool.
pub(super) struct Spool {
    pub(super) directory: PathBuf,
    pub(super) limits: Limits,
    /// `None` where the output that runs has it; an error where the disk is full, or fails.
    log: Option<anyhow::Result<Log>>,
}

/// What the options of an output say of its spool.
pub(super) fn limits(common: &OutputCommon) -> Limits {
    let spool = common.spool.as_ref();
    let bytes = spool.map_or(0, |spool| spool.limit);
    Limits {
        bytes,
        age: spool.map(|spool| spool.max_age).unwrap_or_default(),
        segment_bytes: SEGMENT.min(bytes / SEGMENTS),
        sync: spool.is_none_or(|spool| spool.sync),
    }
}

/// The directory of an output's spool. Its name says where the points go, so that it is the same after any other change of the
/// configuration; a second output that writes to the same place has a number besides.
pub(super) fn directory<'a>(
    common: &OutputCommon,
    plugin: &str,
    destination: &str,
    taken: impl Iterator<Item = &'a Spool>,
) -> Option<PathBuf> {
    let parent = &common.spool.as_ref()?.directory;
    let digest = ring::digest::digest(&ring::digest::SHA256, destination.as_bytes());
    let digest: String = digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let taken: Vec<&Path> = taken.map(|spool| spool.directory.as_path()).collect();
    let name = |n: usize| if n == 1 { String::new() } else { format!("-{n}") };
    (1..)
        .map(|n| parent.join(format!("{plugin}-{digest}{}", name(n))))
        .find(|path| !taken.contains(&path.as_path()))
}

impl Spool {
    /// Opens a spool, or leaves that to the output that has it open. A disk that is full or fails does not keep the agent from
    /// starting, as it would not end one that runs.
    ///
    /// # Errors
    /// The directory cannot be used, whatever the disk does, or another process has it.
    pub(super) fn open(directory: PathBuf, limits: Limits, is_new: bool) -> anyhow::Result<Self> {
        let log = match is_new.then(|| open(&directory, limits)) {
            Some(Err(error)) if !is_of_disk(&error) => return Err(error),
            log => log,
        };
        Ok(Self { directory, limits, log })
    }

    /// Hands it to its output.
    pub(super) fn give(self, sender: Sender) -> Sender {
        let Self { directory, limits, log } = self;
        match log {
            None => sender,
            Some(Ok(log)) => sender.with_spool(log),
            Some(Err(error)) => {
                sender.with_unopened_spool(Arc::new(move || open(&directory, limits)), &error)
            }
        }
    }

    /// Says what there is of earlier runs.
    pub(super) fn report(&self) {
        let directory = self.directory.display();
        if let Some(Ok(log)) = &self.log {
            let (points, bytes) = (log.len(), log.bytes());
            tracing::info!(%directory, points, bytes, "points are kept on the disk until they are written");
        }
    }
}

/// The directories beside these that are spools, too.
fn abandoned(used: &[PathBuf]) -> Vec<PathBuf> {
    let parents: BTreeSet<&Path> = used.iter().filter_map(|directory| directory.parent()).collect();
    let beside = parents.into_iter().filter_map(|parent| std::fs::read_dir(parent).ok()).flatten();
    let beside = beside.filter_map(|entry| Some(entry.ok()?.path()));
    beside.filter(|path| is_spool(path) && !used.contains(path)).collect()
}

/// Says where points are that no output of the configuration will write.
pub(super) async fn report_abandoned(used: Vec<PathBuf>) {
    if used.is_empty() {
        return;
    }
    let found = tokio::time::timeout(LOOK_LIMIT, off_thread::run(move || abandoned(&used))).await;
    for directory in found.unwrap_or_default() {
        let directory = directory.display();
        tracing::warn!(%directory, "a spool of an output that is not configured: its points stay there until it is, or somebody removes them");
    }
}

fn open(directory: &Path, limits: Limits) -> anyhow::Result<Log> {
    let cannot = || format!("`buffer_directory`: cannot use {}", directory.display());
    let folder = Folder::lock(directory).with_context(cannot)?.with_context(|| {
        format!("{}: another agent has it: end that one, or name another `buffer_directory`", cannot())
    })?;
    let is_in_memory = folder.is_in_memory();
    let log = Log::open(Box::new(folder), limits).with_context(cannot)?;
    if is_in_memory {
        let directory = directory.display();
        tracing::warn!(%directory, "`buffer_directory` is in memory: points in it are lost when the machine stops");
    }
    Ok(log)
}

/// Whether an error is of the disk, which may work later. Others are of the configuration, or of who runs the agent, and are said
/// at the start: a path that cannot be, missing rights, an agent that has the directory, files of another version.
fn is_of_disk(error: &anyhow::Error) -> bool {
    let is = |error: &io::Error| {
        matches!(
            error.kind(),
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        ) || error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
    };
    error.chain().filter_map(|cause| cause.downcast_ref()).any(is)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::common::SpoolOptions;

    fn common(directory: &Path) -> OutputCommon {
        let directory = directory.to_owned();
        let spool = SpoolOptions { directory, sync: true, limit: 1 << 20, max_age: Duration::ZERO };
        OutputCommon { spool: Some(spool), ..OutputCommon::default() }
    }

    #[test]
    fn each_output_has_a_directory_that_another_agent_cannot_have() {
        let parent = tempfile::tempdir().unwrap();
        let common = common(parent.path());
        let limits = limits(&common);
        assert_eq!((limits.bytes, limits.segment_bytes), (1 << 20, 128 << 10));
        let directory = |taken: &[Spool]| directory(&common, "influxdb", "http://a/x", taken.iter()).unwrap();
        let first = Spool::open(directory(&[]), limits, true).unwrap();
        let name = first.directory.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(name.starts_with("influxdb-") && name.len() == 25, "{name}");
        let error = Spool::open(first.directory.clone(), limits, true).err().unwrap().to_string();
        assert!(error.contains("another agent has it") && error.contains(&name), "{error}");
        assert!(Spool::open(first.directory.clone(), limits, false).unwrap().log.is_none());
        let taken = [first];
        assert_eq!(directory(&taken), parent.path().join(format!("{name}-2")));
        let second = Spool::open(directory(&taken), limits, true).unwrap();
        std::fs::create_dir(parent.path().join("other")).unwrap();
        let used = taken[0].directory.clone();
        assert_eq!(abandoned(std::slice::from_ref(&used)), std::slice::from_ref(&second.directory));
        assert_eq!(abandoned(&[used, second.directory]), [] as [PathBuf; 0]);
        drop(taken);
        assert!(Spool::open(directory(&[]), limits, true).is_ok());
        assert_eq!(super::directory(&OutputCommon::default(), "file", "a", [].iter()), None);
    }

    #[test]
    fn a_directory_that_cannot_be_used_is_named() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = Spool::open(file.join("x"), limits(&common(&file)), true).err().unwrap();
        let error = format!("{error:#}");
        assert!(error.starts_with(&format!("`buffer_directory`: cannot use {}", file.display())), "{error}");
    }

    #[rstest::rstest]
    #[case(30, true, "read-only")]
    #[case(28, true, "full")]
    #[case(122, true, "a quota")]
    #[case(5, true, "a bad sector")]
    #[case(13, false, "no right")]
    #[case(1, false, "not permitted")]
    #[case(20, false, "a file on the way")]
    fn a_disk_that_fails_is_no_error_of_the_start(
        #[case] errno: i32,
        #[case] starts: bool,
        #[case] what: &str,
    ) {
        let error = anyhow::Error::from(io::Error::from_raw_os_error(errno)).context("cannot use");
        assert_eq!(is_of_disk(&error), starts, "{what}");
    }
}
