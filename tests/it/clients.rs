//! Clients that nobody here wrote, through the agent's listeners into a real influxd.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use libtest_mimic::Trial;
use seismograf_tests::http::{free_address, gzip, send};
use seismograf_tests::influxd::{Influxd, Setup};
use seismograf_tests::running::Running;
use seismograf_tests::suite::Outcome;
use seismograf_tests::{Skip, needs, trial, wait_for};
use serde_json::Value;

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("clients::python_of_version_1", python_v1),
        trial("clients::python_of_version_2", python_v2),
        trial("clients::node_of_both_versions", node),
        trial("clients::go_of_both_versions", go),
        trial("clients::curl_and_influx", curl_and_influx),
        trial("clients::requests_of_telegraf_proxmox_and_home_assistant", others),
    ]
}

const LIMIT: Duration = Duration::from_secs(60);
const TOKEN: &str = "token of the test";
const PASSWORD: &str = "password of the test";

/// An agent that stands in for an influxd of either version, before a real one.
struct Stage {
    influxd: Influxd,
    agent: Running,
    v1: SocketAddr,
    v2: SocketAddr,
}

impl Stage {
    fn start() -> Result<Self, Skip> {
        let influxd = Influxd::start(Setup::default())?;
        let (v1, v2) = (free_address(), free_address());
        let config = format!(
            r#"[agent]
  hostname = "h"
  flush_interval = "200ms"
[[inputs.influxdb_listener]]
  service_address = "{v1}"
  database_tag = "_database"
  retention_policy_tag = "_policy"
  basic_username = "me"
  basic_password = "{PASSWORD}"
[[inputs.influxdb_v2_listener]]
  service_address = "{v2}"
  bucket_tag = "_database"
  token = "{TOKEN}"
[[outputs.influxdb]]
  urls = ["{}"]
  namedrop = ["seismograf"]
  database_tag = "_database"
  exclude_database_tag = true
"#,
            influxd.url()
        );
        let agent = Running::start(&config)?;
        let is_up = |address| std::net::TcpStream::connect(address).is_ok();
        wait_for(|| is_up(v1) && is_up(v2), LIMIT, "the listeners");
        Ok(Self { influxd, agent, v1, v2 })
    }

    fn wait_for_points(&self, database: &str, measurement: &str, field: &str, n: u64) {
        let what = format!("{n} points of {measurement}\n{}", self.agent.log());
        wait_for(|| self.influxd.count(database, measurement, field) >= n, LIMIT, &what);
        assert_eq!(self.influxd.count(database, measurement, field), n, "{measurement}");
    }

    /// The columns of a measurement's rows, one text a row.
    fn rows(&self, database: &str, measurement: &str, columns: &str) -> Vec<String> {
        let series = self.influxd.series(database, &format!("SELECT {columns} FROM {measurement}"));
        let rows = series[0]["values"].as_array().unwrap();
        rows.iter().map(Value::to_string).collect()
    }
}

/// Where `cargo xtask e2e` installs what is from package registries.
pub(crate) fn clients(part: &str) -> Result<PathBuf, Skip> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/clients").join(part);
    if path.exists() {
        return Ok(path);
    }
    Err(Skip::because(format!("{} is not there: `cargo xtask e2e` installs it where it can", path.display())))
}

/// Runs a program, which must end well.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}\n{}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("it/clients").join(name)
}

fn python(name: &str) -> Result<Command, Skip> {
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", clients("python")?).env("PYTHONDONTWRITEBYTECODE", "1").arg(script(name));
    Ok(command)
}

fn python_v1() -> Outcome {
    needs(&["influxd", "python3"])?;
    let mut script = python("v1.py")?;
    let stage = Stage::start()?;
    run(script.args([&stage.v1.ip().to_string(), &stage.v1.port().to_string(), PASSWORD, "my db"]));
    stage.wait_for_points("my db", "python1", "i", 5_000);
    stage.wait_for_points("my db", "python1lines", "f", 3);
    let rows = stage.rows("my db", "python1", "i, f, s, b, n, odd");
    assert_eq!(rows[0], r#"[1000000,1,0.5,"quo\"te",false,"1","a b,c=d"]"#);
    assert_eq!(rows[4_999], r#"[5000000000,5000,2500,"quo\"te",true,"2","a b,c=d"]"#);
    Ok(())
}

fn python_v2() -> Outcome {
    needs(&["influxd", "python3"])?;
    let mut script = python("v2.py")?;
    let stage = Stage::start()?;
    run(script.args([&format!("http://{}", stage.v2), TOKEN, "bucket2"]));
    stage.wait_for_points("bucket2", "python2", "i", 5_000);
    stage.wait_for_points("bucket2", "python2lines", "f", 1);
    stage.wait_for_points("bucket2", "python2batched", "i", 2_000);
    let rows = stage.rows("bucket2", "python2", "i, f, s, n");
    assert_eq!(rows[2], r#"[3,3,1.5,"quo\"te","3"]"#);
    Ok(())
}

fn node() -> Outcome {
    needs(&["influxd", "node"])?;
    let modules = clients("node_modules")?;
    let stage = Stage::start()?;
    let mut node = Command::new("node");
    node.env("NODE_PATH", modules).arg(script("clients.js"));
    let (host, port) = (stage.v1.ip().to_string(), stage.v1.port().to_string());
    run(node.args([&host, &port, PASSWORD, "nodes", &format!("http://{}", stage.v2), TOKEN, "bucket3"]));
    stage.wait_for_points("nodes", "node1", "i", 2_000);
    stage.wait_for_points("bucket3", "node2", "i", 2_000);
    assert_eq!(stage.rows("nodes", "node1", "i, s, n")[6], r#"[7000000,7,"quo\"te","6"]"#);
    Ok(())
}

fn go() -> Outcome {
    needs(&["influxd"])?;
    let program = clients("go")?;
    let stage = Stage::start()?;
    let (v1, v2) = (stage.v1.to_string(), format!("http://{}", stage.v2));
    run(Command::new(program).args([&v1, PASSWORD, "gophers", &v2, TOKEN, "bucket4"]));
    stage.wait_for_points("gophers", "go1", "i", 2_000);
    stage.wait_for_points("bucket4", "go2", "i", 2_000);
    stage.wait_for_points("bucket4", "go2lines", "f", 1);
    assert_eq!(
        stage.rows("gophers", "go1", "i, b, s, n, odd")[6],
        r#"[7000000,7,false,"quo\"te","0","a b,c=d"]"#
    );
    Ok(())
}

/// What programs send whose clients are not to be had as libraries: their requests, line by line.
fn others() -> Outcome {
    needs(&["influxd"])?;
    let stage = Stage::start()?;
    let sent = |address: SocketAddr, head: &str, body: &[u8]| {
        let head = format!("{head}\nHost: localhost\nConnection: close\n").replace('\n', "\r\n");
        send(address, &head, body).unwrap()
    };
    // base64 of `me` and the password.
    let basic = "Authorization: Basic bWU6cGFzc3dvcmQgb2YgdGhlIHRlc3Q=";

    // Telegraf's `outputs.influxdb`: the database at each connect, then batches.
    let telegraf = format!("User-Agent: Telegraf/1.39.0 Go/1.26.0\nAccept-Encoding: gzip\n{basic}");
    let form = "Content-Type: application/x-www-form-urlencoded";
    let query = b"q=CREATE+DATABASE+%22shapes%22";
    let created = sent(stage.v1, &format!("POST /query HTTP/1.1\n{telegraf}\n{form}"), query);
    assert_eq!((created.status, created.body.trim()), (200, r#"{"results":[{"statement_id":0}]}"#));
    let text = "Content-Type: text/plain; charset=utf-8\nContent-Encoding: gzip";
    let write = format!("POST /write?consistency=any&db=shapes HTTP/1.1\n{telegraf}\n{text}");
    let lines: String = (1..=1_000).map(|n| format!("shape,by=telegraf i={n}i {n}\n")).collect();
    assert_eq!(sent(stage.v1, &write, &gzip(lines.as_bytes())).status, 204);

    // Proxmox VE: whether it is there, then all of a node at once, within a second, not packed.
    let token = format!("Authorization: Token {TOKEN}");
    let health = sent(stage.v2, &format!("GET /health HTTP/1.1\n{token}"), b"");
    assert!(health.status == 200 && health.body.contains("\"pass\""), "{health:?}");
    let write = format!("POST /api/v2/write?org=proxmox&bucket=shapes HTTP/1.1\n{token}");
    let lines: String =
        (1..=1_000).map(|n| format!("shape,by=proxmox,vmid={n} i={n}i {}000000\n", n + 1)).collect();
    let start = std::time::Instant::now();
    assert_eq!(sent(stage.v2, &write, lines.as_bytes()).status, 204);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());

    // Home Assistant: an empty write to see that it may, to either version.
    let empty = format!("POST /write?db=shapes&precision=s HTTP/1.1\n{basic}");
    assert_eq!(sent(stage.v1, &empty, b"").status, 204);
    let empty = format!("POST /api/v2/write?org=o&bucket=shapes&precision=ns HTTP/1.1\n{token}");
    let answer = sent(stage.v2, &empty, b"");
    assert!(matches!(answer.status, 204 | 400), "{answer:?}");
    let shows = format!("POST /query?q=SHOW+DATABASES HTTP/1.1\n{basic}");
    assert!(sent(stage.v1, &shows, b"").body.contains("[\"shapes\"]"));

    stage.wait_for_points("shapes", "shape", "i", 2_000);
    Ok(())
}

/// A large body, whole and packed and in chunks; and a file by `influx -import`.
fn curl_and_influx() -> Outcome {
    needs(&["influxd", "curl", "influx", "gzip"])?;
    let stage = Stage::start()?;
    let directory = tempfile::tempdir().unwrap();
    let body = directory.path().join("body");
    let text = "x".repeat(200);
    // 25 MB, as Proxmox sends at most, within its second.
    let lines: String =
        (1..=100_000).map(|n| format!("curl,n={} i={n}i,s=\"{text}\" {n}\n", n % 10)).collect();
    std::fs::write(&body, &lines[..]).unwrap();
    assert!(lines.len() > 22_000_000);
    let url = format!("http://{}/write?db=curl&u=me&p=password%20of%20the%20test", stage.v1);
    let curl = |args: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-w", "%{http_code}", "--data-binary", &format!("@{}", body.display())]).args(args);
        assert_eq!(run(curl.arg(&url)), "204", "{args:?}");
    };
    let start = std::time::Instant::now();
    curl(&[]);
    println!(
        "clients: 100,000 points in {:.1} MB answered within {:?}",
        lines.len() as f64 / 1e6,
        start.elapsed()
    );
    stage.wait_for_points("curl", "curl", "i", 100_000);
    run(Command::new("gzip").arg(&body));
    // The same points again, which changes nothing.
    std::fs::rename(body.with_extension("gz"), &body).unwrap();
    curl(&["-H", "Content-Encoding: gzip"]);
    curl(&["-H", "Content-Encoding: gzip", "-H", "Transfer-Encoding: chunked", "-H", "Expect:"]);
    stage.wait_for_points("curl", "curl", "i", 100_000);

    let dump = directory.path().join("dump");
    let head = "# DDL\nCREATE DATABASE imported\n# DML\n# CONTEXT-DATABASE: imported\n";
    let lines: String = (1..=2_000).map(|n| format!("import i={n}i {n}\n")).collect();
    std::fs::write(&dump, format!("{head}{lines}")).unwrap();
    let mut influx = Command::new("influx");
    influx.args(["-host", &stage.v1.ip().to_string(), "-port", &stage.v1.port().to_string()]);
    influx.args(["-username", "me", "-password", PASSWORD, "-import", "-path"]).arg(&dump);
    run(&mut influx);
    stage.wait_for_points("imported", "import", "i", 2_000);
    Ok(())
}
