//! `seismograf serve`: the page, by plain requests and in a real browser.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use seismograf_tests::cgroup::Cgroup;
use seismograf_tests::chromium::{Chromium, Page};
use seismograf_tests::suite::Outcome;
use seismograf_tests::work::Worker;
use seismograf_tests::{Skip, agent_binary, extra, needs, oracle, pause, terminate, trial, wait_for};
use serde_json::{Value, json};

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("serve::a_client_gets_rows_and_nobody_else_gets_any", by_requests),
        extra("serve::in_a_browser_who_burns_is_first_and_a_hidden_page_is_free", in_a_browser),
    ]
}

/// From the begin to the first place.
const FIRST_LIMIT: Duration = Duration::from_secs(3);
/// What the agent may take while nobody looks, of 10 s: what the probes collected is written back once.
const HIDDEN_LIMIT: Duration = Duration::from_millis(50);
const LIMIT: Duration = Duration::from_secs(60);
/// A file for a picture of the page.
const PICTURE: &str = "SEISMOGRAF_PICTURE";

/// The agent, serving.
struct Served {
    child: Child,
    url: String,
    address: SocketAddr,
    _config: tempfile::NamedTempFile,
}

impl Served {
    fn start() -> Result<Self, Skip> {
        needs(&[])?;
        let mut config = tempfile::NamedTempFile::with_suffix(".conf").unwrap();
        let inputs = ["cpu", "mem", "swap", "system", "disk", "diskio", "net", "processes", "ebpf"];
        inputs.iter().for_each(|input| writeln!(config, "[[inputs.{input}]]").unwrap());
        let mut child = Command::new(agent_binary()?)
            .args(["serve", "--listen", "127.0.0.1:0", "--config"])
            .arg(config.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        let url = url.trim_end().to_owned();
        let address = url.strip_prefix("http://").and_then(|url| url.strip_suffix('/'));
        let address = address.and_then(|address| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("the agent printed {url:?}"));
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
    let served = Served::start()?;
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

    let idle = served.cpu_time(Duration::from_secs(3));
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
    let watched = served.cpu_time(Duration::from_secs(3));
    println!("serve: CPU time in 3 s: {idle:?} while nobody looks, {watched:?} for one client");
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

fn in_a_browser() -> Outcome {
    let served = Served::start()?;
    let mut browser = Chromium::start()?;
    let page = browser.open(&served.url);
    browser.wait_for(&page, "document.querySelectorAll('#rows tr').length > 2");
    // The second view, by its key: containers.
    browser.press(&page, "2");
    browser
        .wait_for(&page, "document.querySelector('#views [aria-pressed=true]').textContent == 'Containers'");

    let id = format!("{:032x}{:032x}", std::process::id(), 0x5e15);
    let uid = format!("5e15e7e0-2222-4333-8444-{:012x}", std::process::id());
    let cgroup = Cgroup::of_container("serve", &uid, &id);
    let mut workers: Vec<Worker> = (0..2).map(|_| Worker::start(&cgroup, "", &["spin", "60000"])).collect();
    let short = &id[..12];
    // It is there, and rests.
    browser.wait_for(&page, "document.querySelector('#machine li') != null");
    let start = Instant::now();
    workers.iter_mut().for_each(Worker::go);
    let is_first = format!("document.querySelector('#rows tr td')?.textContent.includes('{short}') ?? false");
    browser.wait_for(&page, &is_first);
    let took = start.elapsed();
    println!("serve: first of the containers {:.2} s after it began to burn", took.as_secs_f64());
    assert!(took < FIRST_LIMIT, "{took:?}");
    by_the_keyboard(&mut browser, &page, short);
    picture(&mut browser, &page);
    hidden(&served, &mut browser, &page);
    assert_clean(&browser.events, &served.url);
    Ok(())
}

/// The keyboard alone finds a row, and opens and closes its detail.
fn by_the_keyboard(browser: &mut Chromium, page: &Page, name: &str) {
    browser.press(page, "/");
    assert_eq!(browser.evaluate(page, "document.activeElement.id"), "filter");
    browser.of(page, "Input.insertText", &json!({ "text": name }));
    browser.wait_for(page, "document.querySelectorAll('#rows tr').length == 1");
    browser.press(page, "Escape");
    browser.press(page, "ArrowDown");
    browser.wait_for(page, "document.activeElement.dataset.row !== undefined");
    browser.evaluate(page, "document.activeElement.click()");
    browser.wait_for(
        page,
        "document.getElementById('detail').open && document.querySelectorAll('#detail-rows tr').length > 5",
    );
    browser.press(page, "Escape");
    browser.evaluate(page, "document.getElementById('detail').close()");
    browser.evaluate(
        page,
        "(() => { const filter = document.getElementById('filter'); filter.value = ''; filter.dispatchEvent(new Event('input')); })()",
    );
}

/// A picture of all rows, where one is asked for.
fn picture(browser: &mut Chromium, page: &Page) {
    let Some(path) = std::env::var_os(PICTURE) else { return };
    browser.press(page, "1");
    browser.wait_for(page, "document.querySelectorAll('#rows tr').length > 2");
    pause(Duration::from_secs(15));
    let shot = browser.of(page, "Page.captureScreenshot", &json!({ "format": "png" }));
    std::fs::write(&path, shot["data"].as_str().unwrap()).unwrap();
    println!("serve: a picture in base64 at {}", path.display());
}

/// A page that is hidden asks for nothing, and goes on when it is shown again.
fn hidden(served: &Served, browser: &mut Chromium, page: &Page) {
    let shown = served.cpu_time(Duration::from_secs(5));
    let other = browser.open("about:blank");
    browser.of(&other, "Page.bringToFront", &json!({}));
    browser.wait_for(page, "document.hidden && source === null");
    // The last gather may be under way.
    pause(Duration::from_secs(2));
    let hidden = served.cpu_time(Duration::from_secs(10));
    println!(
        "serve: CPU time of the agent: {shown:?} in 5 s of a page that is shown, {hidden:?} in 10 s of one that is hidden"
    );
    assert!(hidden < HIDDEN_LIMIT, "{hidden:?}");
    browser.of(page, "Page.bringToFront", &json!({}));
    browser.evaluate(page, "histories.clear()");
    browser.wait_for(page, "!document.hidden && histories.size > 0");
}

/// No error on the page, and no request to anybody else.
fn assert_clean(events: &[Value], url: &str) {
    let mut n_requests = 0;
    for event in events {
        let params = &event["params"];
        match event["method"].as_str().unwrap() {
            "Runtime.exceptionThrown" => panic!("{params}"),
            "Runtime.consoleAPICalled" => assert_ne!(params["type"], "error", "{params}"),
            "Log.entryAdded" => assert_ne!(params["entry"]["level"], "error", "{params}"),
            "Network.requestWillBeSent" => {
                let asked = params["request"]["url"].as_str().unwrap();
                assert!(
                    asked.starts_with(url) || asked.starts_with("data:") || asked == "about:blank",
                    "{asked}"
                );
                n_requests += 1;
            }
            _ => {}
        }
    }
    println!("serve: {n_requests} requests, all to the agent, and no error");
    assert!(n_requests > 1, "no request was seen: this shows nothing");
}
