//! `seismograf serve`: the page, by plain requests and in a real browser.

mod browser;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use seismograf_tests::cgroup::Cgroup;
use seismograf_tests::suite::Outcome;
use seismograf_tests::work::Worker;
use seismograf_tests::{Skip, agent_binary, extra, needs, oracle, pause, terminate, trial, wait_for};
use serde_json::Value;

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("serve::a_client_gets_rows_and_nobody_else_gets_any", by_requests),
        extra("serve::in_a_browser_who_burns_is_first_and_a_hidden_page_is_free", browser::in_a_browser),
        extra("serve::four_troubles_are_first_and_marked_and_said", browser::four_troubles),
    ]
}

const LIMIT: Duration = Duration::from_secs(60);

/// The agent, serving.
struct Served {
    child: Child,
    url: String,
    address: SocketAddr,
    _config: tempfile::NamedTempFile,
}

impl Served {
    /// Starts it on an address; port 0 is any.
    fn start(listen: &str) -> Result<Self, Skip> {
        needs(&[])?;
        let mut config = tempfile::NamedTempFile::with_suffix(".conf").unwrap();
        let inputs = ["cpu", "mem", "swap", "system", "disk", "diskio", "net", "processes", "ebpf"];
        inputs.iter().for_each(|input| writeln!(config, "[[inputs.{input}]]").unwrap());
        let mut child = Command::new(agent_binary()?)
            .args(["serve", "--listen", listen, "--config"])
            .arg(config.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        let url = url.trim_end().to_owned();
        let port = url.rsplit_once(':').and_then(|(_, rest)| rest.split_once('/')?.0.parse().ok());
        let port: u16 = port.unwrap_or_else(|| panic!("the agent printed {url:?}"));
        // Whatever name it has elsewhere, it is reached here.
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let page = url.rsplit_once('/').map_or("", |(_, page)| page);
        let url = format!("http://{address}/{page}");
        Ok(Self { child, url, address, _config: config })
    }

    /// A request and its answer, up to the end of the head; the rest can be read.
    fn ask(&self, request: &str) -> (String, BufReader<TcpStream>) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        write!(stream, "{request}\r\n").unwrap();
        let (mut head, mut lines) = (String::new(), BufReader::new(stream));
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(lines.read_line(&mut head).unwrap(), 0, "{request}: {head}");
        }
        (head, lines)
    }

    /// The CPU time that it takes in so long.
    fn cpu_time(&self, time: Duration) -> Duration {
        let cpu = || oracle::process(self.child.id()).1;
        let before = cpu();
        pause(time);
        Duration::from_nanos(cpu().saturating_sub(before))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        terminate(&mut self.child);
    }
}

/// Where others can connect, the token is asked for.
fn for_others() -> Outcome {
    let served = Served::start("0.0.0.0:0")?;
    let (_, token) = served.url.split_once("?token=").unwrap_or_else(|| panic!("{}: no token", served.url));
    for (query, status) in
        [(String::new(), "401"), (format!("?token=x{token}"), "401"), (format!("?token={token}"), "200")]
    {
        for path in ["/", "/events"] {
            let (head, _) = served.ask(&format!("GET {path}{query} HTTP/1.1\r\nHost: any.example\r\n"));
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{path}{query}: {head}");
        }
    }
    Ok(())
}

/// The data of the next event of this name.
fn event(events: &mut impl std::io::BufRead, name: &str) -> Value {
    let mut lines = events.lines().map(Result::unwrap);
    loop {
        if lines.next().expect("the events ended") == format!("event: {name}") {
            let data = lines.find(|line| line.starts_with("data: ")).unwrap();
            return serde_json::from_str(&data["data: ".len()..]).unwrap();
        }
    }
}

/// The body of a chunked answer, as it comes.
struct Chunks(BufReader<TcpStream>, usize);

impl std::io::Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.1 == 0 {
            let mut size = String::new();
            while size.trim().is_empty() {
                size.clear();
                self.0.read_line(&mut size)?;
            }
            self.1 = usize::from_str_radix(size.trim(), 16).map_err(std::io::Error::other)?;
        }
        let n = buffer.len().min(self.1);
        let n = self.0.read(&mut buffer[..n])?;
        self.1 -= n;
        Ok(n)
    }
}

fn by_requests() -> Outcome {
    let served = Served::start("127.0.0.1:0")?;
    let (head, mut rest) =
        served.ask(&format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", served.address));
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let lower = head.to_ascii_lowercase();
    for header in [
        "default-src 'none'",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "cache-control: no-store",
    ] {
        assert!(lower.contains(header), "{header}: {head}");
    }
    assert!(!lower.contains("unsafe"), "{head}");
    let mut page = String::new();
    rest.read_to_string(&mut page).unwrap();
    assert!(page.contains("<title>seismograf</title>"), "{page}");
    // Another name, another site's page, another method, another path.
    for (request, status) in [
        ("GET /events HTTP/1.1\r\nHost: evil.example\r\n", "421"),
        ("GET /events HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\n", "403"),
        ("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n", "405"),
        ("GET /etc/passwd HTTP/1.1\r\nHost: localhost\r\n", "404"),
    ] {
        let (head, _) = served.ask(request);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {head}");
    }

    for_others()?;
    let idle = served.cpu_time(Duration::from_secs(2));
    let (head, rest) = served.ask("GET /events?view=all HTTP/1.1\r\nHost: localhost\r\n");
    assert!(head.to_ascii_lowercase().contains("content-type: text/event-stream"), "{head}");
    let mut events = BufReader::new(Chunks(rest, 0));
    let views = event(&mut events, "views");
    let columns: Vec<&Value> =
        views[0]["columns"].as_array().unwrap().iter().map(|column| &column["key"]).collect();
    let cgroup = Cgroup::new("served");
    let mut worker = Worker::start(&cgroup, "", &["spin", "60000"]);
    worker.go();
    let start = Instant::now();
    let value = loop {
        let rows = event(&mut events, "rows");
        assert!(
            rows["rows"]
                .as_array()
                .unwrap()
                .iter()
                .all(|row| row[1].as_array().unwrap().len() == columns.len())
        );
        let all = rows["rows"].as_array().unwrap();
        let ours = all.iter().find(|row| row[0] == cgroup.path());
        let cpu = columns.iter().position(|key| **key == "cpu").unwrap();
        if let Some(value) = ours.and_then(|row| row[1][cpu].as_f64()).filter(|value| *value > 5.0) {
            break value;
        }
        assert!(start.elapsed() < LIMIT, "no row of {}: {rows}", cgroup.path());
    };
    println!(
        "serve: {value:.1} % of a CPU for what spins, {:.1} s after it began",
        start.elapsed().as_secs_f64()
    );
    let watched = served.cpu_time(Duration::from_secs(2));
    println!("serve: CPU time in 2 s: {idle:?} while nobody looks, {watched:?} for one client");
    assert!(idle < watched, "an idle page costs as much as one that is watched");

    // Those that stay are told so, and those that leave make room.
    let mut open: Vec<_> =
        (0..15).map(|_| served.ask("GET /events HTTP/1.1\r\nHost: localhost\r\n")).collect();
    let (head, _) = served.ask("GET /events HTTP/1.1\r\nHost: localhost\r\n");
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    open.clear();
    let has_room =
        || served.ask("GET /events HTTP/1.1\r\nHost: localhost\r\n").0.starts_with("HTTP/1.1 200 ");
    wait_for(has_room, LIMIT, "room for another page");
    Ok(())
}
