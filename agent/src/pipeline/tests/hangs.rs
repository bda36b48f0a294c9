//! Files that give no answer, in real time: no clock of a test goes on while one is waited for.

use super::*;

/// A `/proc` whose `meminfo` hangs, as that of a user-space file system can: a pipe that nobody writes.
struct Hanging(tempfile::TempDir);

impl Hanging {
    fn new() -> Self {
        use rustix::fs::{CWD, FileType, mknodat};
        let directory = tempfile::tempdir().unwrap();
        std::fs::copy("/proc/stat", directory.path().join("stat")).unwrap();
        mknodat(CWD, directory.path().join("meminfo"), FileType::Fifo, 0o600.into(), 0).unwrap();
        Self(directory)
    }

    fn shared(&self) -> Arc<Shared> {
        let proc = self.0.path().display().to_string();
        Shared::new(Host::from_variables(|name| (name == "HOST_PROC").then(|| proc.clone())))
    }
}

impl Drop for Hanging {
    /// Gives the answer, without which the thread that waits for it would not end, and the test neither.
    fn drop(&mut self) {
        let file = std::fs::OpenOptions::new().read(true).write(true).open(self.0.path().join("meminfo"));
        drop(file.unwrap());
    }
}

fn hung_and_fine(points: &Path) -> Config {
    let text = format!(
        "[agent]\ninterval = \"200ms\"\n[[inputs.mem]]\n[[inputs.kernel]]\n[[outputs.file]]\nfiles = [\"{}\"]",
        points.display()
    );
    read(&[("t.conf", &text)]).unwrap()
}

#[tokio::test]
async fn an_input_that_hangs_is_named_once_and_the_others_go_on_and_the_agent_ends() {
    let directory = tempfile::tempdir().unwrap();
    let [points, log] = ["points", "log"].map(|name| directory.path().join(name));
    let _log = logging::to_file(&log);
    let proc = Hanging::new();
    let pipeline = Pipeline::start(hung_and_fine(&points), proc.shared()).await.unwrap();
    let shutdown = tokio::time::sleep(Duration::from_millis(2_500));
    let start = std::time::Instant::now();
    assert!(pipeline.run(no_orders(), shutdown).await);
    let took = start.elapsed();
    assert!(took < Duration::from_millis(2_500) + LAST_GATHER_LIMIT, "{took:?}");
    let gathers = lines(&points, "kernel,").len();
    assert!(gathers >= 10, "{gathers} gathers in 2.5 s, at five a second");
    let log = std::fs::read_to_string(&log).unwrap();
    assert_eq!(log.matches(" E! [inputs.mem] hangs: ").count(), 1, "{log}");
}

#[tokio::test]
async fn a_single_gather_leaves_out_the_input_that_hangs() {
    let directory = tempfile::tempdir().unwrap();
    let points = directory.path().join("points");
    let proc = Hanging::new();
    let once = Pipeline::once(hung_and_fine(&points), proc.shared(), std::future::pending());
    let is_whole = tokio::time::timeout(Duration::from_secs(5), once).await.unwrap().unwrap();
    assert!(!is_whole, "an input is missing");
    assert!(!lines(&points, "kernel,").is_empty());
}

#[tokio::test]
async fn an_input_that_hangs_can_be_replaced_by_a_reload() {
    let directory = tempfile::tempdir().unwrap();
    let points = directory.path().join("points");
    let proc = Hanging::new();
    let pipeline = Pipeline::start(hung_and_fine(&points), proc.shared()).await.unwrap();
    let (orders, receive) = mpsc::channel(1);
    let drive = async {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let (done, is_applied) = oneshot::channel();
        let mut config = hung_and_fine(&points);
        config.inputs.remove(0);
        let order = Order::Reload { loaded: Ok(Box::new(config)), done };
        assert!(orders.send(order).await.is_ok());
        assert!(tokio::time::timeout(Duration::from_secs(2), is_applied).await.unwrap().unwrap());
    };
    assert!(pipeline.run(receive, drive).await);
}
