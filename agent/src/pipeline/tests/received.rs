//! What others send to an input: handed on as it comes, and held back while no output takes it.

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::*;
use crate::inputs::listener::queue::{Parcel, Queue};
use crate::parsers::line_protocol::{self, Precision};
use crate::point::{FieldValue, Timestamp};

/// A running pipeline, and how it ends.
struct Run {
    shared: Arc<Shared>,
    orders: mpsc::Sender<Order>,
    end: oneshot::Sender<()>,
    done: tokio::task::JoinHandle<bool>,
}

impl Run {
    async fn start(config: &str) -> Self {
        let shared = Shared::new(Host::default());
        let pipeline =
            Pipeline::start(read(&[("t.conf", config)]).unwrap(), Arc::clone(&shared)).await.unwrap();
        let (orders, receive) = mpsc::channel(1);
        let (end, ended) = oneshot::channel();
        let done = tokio::spawn(async move { pipeline.run(receive, async { ended.await.unwrap() }).await });
        Self { shared, orders, end, done }
    }

    /// A figure of a part of the agent's own telemetry.
    fn figure(&self, part: &str, field: &str) -> u64 {
        let points = self.shared.telemetry.points(Timestamp(0));
        let point = points.iter().find(|point| point.tag_value("part") == Some(part)).unwrap();
        match point.field_value(field) {
            Some(FieldValue::UInt(n)) => *n,
            other => panic!("{field}: {other:?}"),
        }
    }

    fn address(&self) -> String {
        let points = self.shared.telemetry.points(Timestamp(0));
        let point = points.iter().find(|point| point.tag_value("part") == Some("listener")).unwrap();
        point.tag_value("address").unwrap().strip_prefix("tcp://").unwrap().to_owned()
    }

    async fn until(&self, part: &str, field: &str, n: u64) {
        let all = async {
            while self.figure(part, field) < n {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let limit = tokio::time::timeout(Duration::from_secs(10), all).await;
        assert!(limit.is_ok(), "{part} {field}: {} of {n}", self.figure(part, field));
    }

    async fn end(self) -> bool {
        self.end.send(()).unwrap();
        self.done.await.unwrap()
    }
}

const LISTENER: &str = "[[inputs.socket_listener]]\nservice_address = \"tcp://127.0.0.1:0\"\n";

fn config(listener: &str, path: &Path, agent: &str) -> String {
    let path = path.display();
    format!("[agent]\ninterval = \"1h\"\n{agent}\n{listener}\n[[outputs.file]]\nfiles = [\"{path}\"]\n")
}

/// Lines with the numbers of a range.
fn numbered(numbers: std::ops::Range<u64>) -> Vec<u8> {
    numbers.flat_map(|n| format!("app n={n}i {n}\n").into_bytes()).collect()
}

#[tokio::test]
async fn it_is_written_before_any_gather_with_its_own_time_and_all_of_it_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("points");
    let run = Run::start(&config(LISTENER, &path, "flush_interval = \"1h\"\nmetric_batch_size = 10")).await;
    let mut stream = TcpStream::connect(run.address()).await.unwrap();
    stream.write_all(&numbered(0..25)).await.unwrap();
    run.until("output", "written", 20).await;
    run.until("output", "waiting", 5).await;
    stream.write_all(&numbered(25..27)).await.unwrap();
    run.until("listener", "points", 27).await;
    assert!(run.end().await);
    let expected: Vec<String> = (0..27).map(|n| format!("app,host=h n={n}i {n}")).collect();
    assert_eq!(lines(&path, "app"), expected);
}

/// A pipeline that was sent `n` lines, many more than its buffer holds, and whose file cannot be written; and who sent them.
async fn flooded(path: &Path, n: u64) -> (Run, TcpStream) {
    let agent = "flush_interval = \"50ms\"\nmetric_batch_size = 100\nmetric_buffer_limit = 400";
    let run = Run::start(&config(LISTENER, path, agent)).await;
    let mut stream = TcpStream::connect(run.address()).await.unwrap();
    stream.write_all(&numbered(0..n)).await.unwrap();
    run.until("listener", "points", n).await;
    (run, stream)
}

#[tokio::test]
async fn it_is_held_back_while_no_output_takes_it_and_nothing_is_lost() {
    const N: u64 = 3_000;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("later/points");
    let (run, _stream) = flooded(&path, N).await;
    run.until("output", "failed_writes", 1).await;
    assert_eq!((run.figure("output", "waiting"), run.figure("output", "dropped_overflow")), (200, 0));
    std::fs::create_dir(directory.path().join("later")).unwrap();
    run.until("output", "written", N).await;
    assert_eq!(run.figure("output", "dropped_overflow"), 0);
    assert!(run.end().await);
    assert_eq!(lines(&path, "app").len() as u64, N);
}

#[tokio::test]
async fn what_no_output_takes_at_the_end_is_told() {
    const N: u64 = 3_000;
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let _log = logging::to_file(&log);
    let path = directory.path().join("not/there");
    let (run, _stream) = flooded(&path, N).await;
    run.until("output", "waiting", 200).await;
    assert!(!run.end().await);
    let log = std::fs::read_to_string(&log).unwrap();
    let told = "[inputs.socket_listener] received, but not taken by an output, and lost points=2800";
    assert!(log.contains(told), "{log}");
}

/// Others send to it, and it gathers until it is let go on.
#[derive(Default)]
pub(super) struct Gathering {
    queue: Arc<Queue>,
    pub(super) begun: Arc<Notify>,
    pub(super) gate: Arc<Notify>,
}

#[async_trait::async_trait]
impl Input for Gathering {
    fn name(&self) -> &'static str {
        "gathering"
    }

    fn queue(&self) -> Option<Arc<Queue>> {
        Some(Arc::clone(&self.queue))
    }

    async fn gather(&mut self, _: &mut Gathered) -> Result<(), GatherError> {
        self.begun.notify_one();
        self.gate.notified().await;
        Ok(())
    }
}

#[tokio::test]
async fn it_is_handed_on_while_a_gather_is_under_way() {
    let directory = tempfile::tempdir().unwrap();
    let (path, agent) = (directory.path().join("points"), agent());
    let mut pipeline = Pipeline::empty(Shared::new(Host::default()));
    let outputs = pipeline.prepare_outputs(&[output(&path, &agent)]).await.unwrap();
    let fan = pipeline.apply_outputs(outputs, Tags::new()).await;
    let input = Gathering::default();
    let [begun, gate] = [&input.begun, &input.gate].map(Arc::clone);
    let queue = Arc::clone(&input.queue);
    let work = Work { common: agent.input_common(), round: false, fan, places: None, telemetry: None };
    pipeline.spawn_input(Box::new(input), None, work, None, false);
    begun.notified().await;
    let text = "app n=1i 1\n";
    let good = line_protocol::parse(text, Precision::Nanoseconds).map(|line| line.unwrap().outline(text));
    let good = good.collect();
    let parcel =
        Parcel { text: text.into(), lines: good, received: Timestamp(0), tags: [].into(), receipt: None };
    queue.push(parcel, Instant::now()).await.unwrap();
    let counts = Arc::clone(&pipeline.outputs[0].entry.counts);
    let arrival = async {
        while counts.taken.load(Ordering::Relaxed) == 0 {
            counts.changed.notified().await;
        }
    };
    let arrived = tokio::time::timeout(Duration::from_secs(10), arrival).await;
    gate.notify_one();
    assert!(arrived.is_ok(), "the gather has not ended");
    assert!(pipeline.run(no_orders(), async {}).await);
    assert_eq!(lines(&path, "app"), ["app n=1i 1"]);
}

#[tokio::test]
async fn a_reload_that_changes_the_input_keeps_its_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("points");
    let run = Run::start(&config(LISTENER, &path, "")).await;
    let address = run.address();
    let mut before = TcpStream::connect(&address).await.unwrap();
    before.write_all(b"app n=0i 0\n").await.unwrap();
    run.until("listener", "points", 1).await;
    let changed = config(&format!("{LISTENER}max_connections = 7"), &path, "");
    let (done, is_done) = oneshot::channel();
    let loaded = Ok(Box::new(read(&[("t.conf", &changed)]).unwrap()));
    run.orders.send(Order::Reload { loaded, done }).await.unwrap();
    assert!(is_done.await.unwrap());
    assert_eq!(run.address(), address);
    let mut after = TcpStream::connect(&address).await.unwrap();
    after.write_all(b"app n=1i 1\n").await.unwrap();
    run.until("listener", "points", 2).await;
    assert_eq!(run.figure("listener", "connections"), 2);
    assert!(run.end().await);
    assert_eq!(lines(&path, "app").len(), 2);
}
