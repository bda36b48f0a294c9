//! Against a stand-in that answers what docker 20.10, docker 29 and podman answer, as far as it is used: only 20.10 is there
//! to be run (`tests/it/docker.rs` does). The events are recorded.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use rstest::rstest;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast;
use tokio::task::JoinSet;

use super::*;
use crate::options::tls::Tls;

/// What the daemon answers now.
#[derive(Default)]
struct Script {
    /// Oldest and newest version of the API.
    versions: (&'static str, &'static str),
    containers: BTreeMap<String, Value>,
    requested: Vec<String>,
}

struct StandIn {
    directory: tempfile::TempDir,
    script: Arc<Mutex<Script>>,
    events: broadcast::Sender<String>,
    tasks: JoinSet<()>,
}

impl StandIn {
    fn start(versions: (&'static str, &'static str)) -> Self {
        let script = Arc::new(Mutex::new(Script { versions, ..Script::default() }));
        let directory = tempfile::tempdir().unwrap();
        let mut daemon = Self { directory, script, events: broadcast::channel(64).0, tasks: JoinSet::new() };
        daemon.resume();
        daemon
    }

    fn socket(&self) -> std::path::PathBuf {
        self.directory.path().join("socket")
    }

    fn resume(&mut self) {
        let _ = std::fs::remove_file(self.socket());
        let listener = UnixListener::bind(self.socket()).unwrap();
        let (script, events) = (Arc::clone(&self.script), self.events.clone());
        self.tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serve(stream, Arc::clone(&script), events.clone()));
            }
        });
    }

    async fn stop(&mut self) {
        self.tasks.shutdown().await;
    }

    fn put(&self, id: &str, name: &str, state: &str, pid: i64) {
        let container = json!({"Id": id, "Name": format!("/{name}"), "Config": {"Image": "bb:1"}, "State": {"Status": state, "Pid": pid}});
        self.script.lock().unwrap().containers.insert(id.into(), container);
    }

    fn tell(&self, action: &str, id: &str, name: &str) {
        let attributes = json!({"name": name, "image": "bb:1", "label": "x"});
        let event = json!({"Type": "container", "Action": action, "Actor": {"ID": id, "Attributes": attributes}, "time": 1});
        self.events.send(format!("{event}\n")).unwrap();
    }

    fn requested(&self, path: &str) -> usize {
        self.script.lock().unwrap().requested.iter().filter(|requested| requested.contains(path)).count()
    }
}

async fn serve(stream: UnixStream, script: Arc<Mutex<Script>>, events: broadcast::Sender<String>) {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut line, mut header) = (String::new(), String::new());
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        while header != "\r\n" {
            header.clear();
            if stream.read_line(&mut header).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let path = line.split(' ').nth(1).unwrap().to_owned();
        let answer = answer(&path, &mut script.lock().unwrap());
        if let Some((status, body)) = answer {
            let text = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            if stream.write_all(text.as_bytes()).await.is_err() {
                return;
            }
            continue;
        }
        let mut receiver = events.subscribe();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        while let Ok(event) = receiver.recv().await {
            // In two pieces: a chunk need not be a line.
            for piece in [&event[..event.len() / 2], &event[event.len() / 2..]] {
                let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
                if stream.write_all(chunk.as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// The answer to a request; `None` for the stream of events.
fn answer(path: &str, script: &mut Script) -> Option<(u16, String)> {
    script.requested.push(path.to_owned());
    let (oldest, newest) = script.versions;
    if path == "/version" {
        return Some((
            200,
            json!({"ApiVersion": newest, "MinAPIVersion": oldest, "Version": "x"}).to_string(),
        ));
    }
    let (version, path) = path.strip_prefix("/v").unwrap().split_once('/').unwrap();
    let number = |version: &str| version.split('.').map(|part| part.parse().unwrap()).collect::<Vec<u32>>();
    if number(version) < number(oldest) || number(version) > number(newest) {
        let message = format!("client version {version} is not supported");
        return Some((400, json!({"message": message}).to_string()));
    }
    Some(match path.split('?').next().unwrap() {
        "info" => (
            200,
            json!({"Name": "vm", "ServerVersion": newest, "MemTotal": 1024, "Containers": 1}).to_string(),
        ),
        "containers/json" => {
            let entry = |container: &Value| json!({"Id": container["Id"], "Names": [container["Name"]], "Image": "bb:1", "State": container["State"]["Status"]});
            (200, script.containers.values().map(entry).collect::<Value>().to_string())
        }
        "events" => return None,
        path => match script.containers.get(path.split('/').nth(1).unwrap_or_default()) {
            Some(container) => (200, container.to_string()),
            None => (404, json!({"message": "No such container"}).to_string()),
        },
    })
}

struct Watched {
    daemon: Arc<Daemon>,
    names: Arc<Names>,
    _task: JoinSet<Infallible>,
}

fn watch(socket: &Path) -> Watched {
    let endpoint = format!("unix://{}", socket.display());
    let client = DockerClient::new(&endpoint, &Tls::default(), Duration::from_secs(5), |_| None).unwrap();
    let names = Arc::<Names>::default();
    let daemon = Arc::new(Daemon::default());
    let watch = Watch::new(Arc::new(client), Arc::clone(&daemon), &names, Selection::default());
    let mut task = JoinSet::new();
    task.spawn(watch.run());
    Watched { daemon, names, _task: task }
}

impl Watched {
    async fn until(&self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        for _ in 0..1000 {
            if condition(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("waited for {what}, in vain");
    }

    fn name(&self, id: &str) -> Option<String> {
        self.names.container(id).map(|container| container.name.clone())
    }

    fn status(&self, id: &str) -> Option<String> {
        self.daemon.known().containers.get(id).map(|container| container.status.clone())
    }
}

#[rstest]
#[case::docker_20_10(("1.12", "1.41"), "/v1.41/")]
#[case::docker_29(("1.44", "1.52"), "/v1.44/")]
#[case::podman(("1.24", "1.41"), "/v1.41/")]
#[tokio::test]
async fn follows_a_container_from_its_start_to_its_end(
    #[case] versions: (&'static str, &'static str),
    #[case] prefix: &str,
) {
    let daemon = StandIn::start(versions);
    daemon.put("aa", "first", "running", 7);
    daemon.put("bb", "ended", "exited", 0);
    let watched = watch(&daemon.socket());
    watched.daemon.ready(Duration::from_secs(10)).await;
    assert_eq!((watched.name("aa").as_deref(), watched.name("bb")), (Some("first"), None));
    assert_eq!(watched.status("bb").as_deref(), Some("exited"));
    let engine = watched.daemon.known().engine.clone().unwrap();
    assert_eq!(
        (engine.host.as_str(), engine.server_version.as_str(), engine.memory_bytes),
        ("vm", versions.1, Some(1024))
    );
    assert!(daemon.requested(prefix) >= 5 && daemon.requested("/stats") == 0);
    let inspected = daemon.requested("/aa/json");
    assert_eq!(inspected, 1);

    let n_events = watched.daemon.known().n_events;
    // One that is gone before anybody can inspect it has its name.
    daemon.tell("start", "cc", "short");
    watched.until("a name", |watched| watched.name("cc").is_some()).await;
    assert_eq!(watched.status("cc"), None);
    daemon.put("aa", "second", "paused", 7);
    daemon.tell("rename", "aa", "second");
    watched.until("a new name", |watched| watched.name("aa").as_deref() == Some("second")).await;
    watched.until("a new state", |watched| watched.status("aa").as_deref() == Some("paused")).await;
    daemon.put("aa", "second", "exited", 0);
    daemon.tell("die", "aa", "second");
    watched.until("its end", |watched| watched.status("aa").as_deref() == Some("exited")).await;
    assert_eq!(watched.name("aa").as_deref(), Some("second"), "kept for its last figures");
    daemon.script.lock().unwrap().containers.remove("aa");
    daemon.tell("destroy", "aa", "second");
    watched.until("its removal", |watched| watched.status("aa").is_none()).await;
    // An image is counted by the daemon, and no container to be inspected.
    let event = json!({"Type": "image", "Action": "pull", "Actor": {"ID": "busybox"}});
    daemon.events.send(format!("{event}\n")).unwrap();
    watched.until("an event", |watched| watched.daemon.known().n_events == n_events + 5).await;
    assert_eq!(daemon.requested("/busybox/json"), 0);
    assert_eq!(daemon.requested("containers/json"), 1, "nothing is listed again");
    assert!(daemon.requested("/aa/json") <= inspected + 2);
}

#[tokio::test]
async fn what_was_known_stays_while_the_daemon_is_down_and_is_corrected_when_it_is_back() {
    let mut daemon = StandIn::start(("1.12", "1.41"));
    daemon.put("aa", "stays", "running", 7);
    daemon.put("bb", "goes", "running", 8);
    let watched = watch(&daemon.socket());
    watched.daemon.ready(Duration::from_secs(10)).await;
    assert!(watched.daemon.known().is_up);
    let n_events = watched.daemon.known().n_events;
    daemon.stop().await;
    watched.until("its absence to be seen", |watched| !watched.daemon.known().is_up).await;
    assert_eq!(watched.status("aa").as_deref(), Some("running"));
    daemon.script.lock().unwrap().containers.remove("bb");
    daemon.put("cc", "new", "running", 9);
    daemon.resume();
    watched.until("the new one", |watched| watched.status("cc").is_some()).await;
    assert!(watched.daemon.known().is_up);
    assert!(watched.daemon.known().n_events > n_events, "nobody told what happened meanwhile");
    assert_eq!((watched.status("aa").is_some(), watched.status("bb")), (true, None));
    assert_eq!(watched.name("bb").as_deref(), Some("goes"), "kept for its last figures");
}

#[tokio::test]
async fn a_malformed_event_makes_it_list_again() {
    let daemon = StandIn::start(("1.12", "1.41"));
    daemon.put("aa", "first", "running", 7);
    let watched = watch(&daemon.socket());
    watched.daemon.ready(Duration::from_secs(10)).await;
    daemon.put("bb", "unreported", "running", 8);
    daemon.events.send("{\"Action\": 7}\n".into()).unwrap();
    watched.until("the one that no event reported", |watched| watched.status("bb").is_some()).await;
    daemon.events.send("x".repeat(5 << 20)).unwrap();
    daemon.put("cc", "unreported", "running", 9);
    watched.until("the next one", |watched| watched.status("cc").is_some()).await;
    // An invalid id is not requested.
    daemon.tell("start", "../../info", "odd");
    daemon.put("dd", "last", "running", 10);
    daemon.tell("start", "dd", "last");
    watched.until("the last one", |watched| watched.status("dd").is_some()).await;
    assert_eq!((watched.name("../../info"), daemon.requested("..")), (None, 0));
}

#[tokio::test]
async fn dockers_recorded_events_are_parsed() {
    let daemon = StandIn::start(("1.12", "1.41"));
    let watched = watch(&daemon.socket());
    watched.daemon.ready(Duration::from_secs(10)).await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/docker/events.ndjson");
    for line in std::fs::read_to_string(path).unwrap().lines() {
        daemon.events.send(format!("{line}\n")).unwrap();
    }
    let (started, renamed) = (
        "431d085c51f5eb0ea19facc88ccfe42314ab545d2d6ef36861813c3982b0b04d",
        "770bcda4d0ce71e8f10ba6c9ab5efd606342157e478869bd9d4690e736ff42e0",
    );
    watched.until("the last event", |watched| watched.name(renamed).is_some()).await;
    assert_eq!(
        (watched.name(started).as_deref(), watched.name(renamed).as_deref()),
        (Some("ev"), Some("ended2"))
    );
}
