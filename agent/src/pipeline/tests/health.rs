//! Whether others can tell that the agent is alive.

use std::os::unix::net::UnixStream;

use super::received::Gathering;
use super::*;

/// A pipeline with one input and an output that takes nothing more after one gather.
fn stuck(input: Box<dyn Input>) -> (Pipeline, mpsc::Receiver<Message>) {
    let mut pipeline = Pipeline::empty(Shared::new(Host::default()));
    let (messages, receive) = mpsc::channel(1);
    let fan = Fan { keeps: false, outputs: vec![(messages, Arc::default())], global_tags: Arc::default() };
    let agent = agent();
    let work = Work { common: agent.input_common(), round: false, fan, places: None, telemetry: None };
    let counts = pipeline.shared.telemetry.input(input.name(), None);
    pipeline.spawn_input(input, None, work, Some(counts), false);
    (pipeline, receive)
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_stuck_is_overdue_after_three_intervals_and_fine_when_it_goes_on() {
    let (pipeline, mut receive) = stuck(Box::new(Counter(0)));
    let overdue = || pipeline.shared.telemetry.overdue(Instant::now());
    tokio::time::sleep(Duration::from_secs(25)).await;
    assert_eq!(overdue(), None);
    // The second gather of 10 s is not taken.
    tokio::time::sleep(Duration::from_secs(25)).await;
    let why = overdue().unwrap();
    assert!(why.starts_with("input counter: a gather is overdue by "), "{why}");
    while receive.try_recv().is_ok() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(overdue(), None);
}

#[tokio::test(start_paused = true)]
async fn a_gather_that_hangs_is_not_overdue() {
    let input = Gathering::default();
    let [begun, gate] = [&input.begun, &input.gate].map(Arc::clone);
    let (pipeline, _receive) = stuck(Box::new(input));
    begun.notified().await;
    tokio::time::advance(Duration::from_secs(300)).await;
    assert_eq!(pipeline.shared.telemetry.overdue(Instant::now()), None);
    gate.notify_one();
}

/// The status and body of an answer; 0 where nobody listens.
async fn ask(socket: &Path, path: &str) -> (u16, String) {
    let (socket, request) = (socket.to_owned(), format!("GET {path} HTTP/1.0\r\n\r\n"));
    let asked = off_thread::run(move || {
        use std::io::{Read as _, Write as _};
        let mut stream = UnixStream::connect(socket)?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    });
    let answer = asked.await.unwrap_or_default();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    (head.split(' ').nth(1).map_or(0, |status| status.parse().unwrap()), body.to_owned())
}

#[tokio::test]
async fn it_is_asked_over_http_for_as_long_as_the_configuration_says() {
    let directory = tempfile::tempdir().unwrap();
    let [points, socket] = ["points", "socket"].map(|name| directory.path().join(name));
    let config = |address: &str| {
        let text = format!(
            "[agent]\ninterval = \"200ms\"\nhealth_address = \"{address}\"\n[[inputs.mem]]\n[[outputs.file]]\nfiles = [\"{}\"]",
            points.display()
        );
        read(&[("t.conf", &text)]).unwrap()
    };
    let address = format!("unix://{}", socket.display());
    let pipeline = Pipeline::start(config(&address), Shared::new(Host::default())).await.unwrap();
    let (orders, receive) = mpsc::channel(1);
    let reload = async |config: Config| {
        let (done, is_applied) = oneshot::channel();
        assert!(orders.send(Order::Reload { loaded: Ok(Box::new(config)), done }).await.is_ok());
        assert!(is_applied.await.unwrap());
    };
    let drive = async {
        let is_ready = async {
            while ask(&socket, "/readyz").await.0 != 200 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), is_ready).await.unwrap();
        for _ in 0..2 {
            assert_eq!(ask(&socket, "/healthz").await, (200, "ok\n".to_owned()));
            let (status, page) = ask(&socket, "/metrics").await;
            assert!(
                status == 200 && page.contains("\nseismograf_output_written_total{output=\"file\"} "),
                "{page}"
            );
            // The same socket goes on.
            reload(config(&address)).await;
        }
        assert_eq!(ask(&socket, "/other").await.0, 404);
        reload(config("")).await;
        let is_gone = async {
            while ask(&socket, "/healthz").await.0 != 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), is_gone).await.unwrap();
    };
    assert!(pipeline.run(receive, drive).await);
}
