//! A moment that was recorded, and what can be done with it.

use std::time::Duration;

use seismograf_tests::cgroup::Cgroup;
use seismograf_tests::http::send;
use seismograf_tests::influxd::{Influxd, Setup};
use seismograf_tests::suite::Outcome;
use seismograf_tests::work::Worker;
use seismograf_tests::{needs, run, wait_for};

use super::{SIZE, SOON, Top, wait_for_bytes};

/// The heads of the gathers in a recording, as `zcat` shows it.
fn gathers(text: &str) -> usize {
    text.lines().filter(|line| line.starts_with("# gather ")).count()
}

pub(super) fn recorded_imported_replayed() -> Outcome {
    needs(&["zcat", "stty"])?;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("moment.gz");
    let path = file.display().to_string();
    let cgroup = Cgroup::new("top-recorded");
    let mut worker = Worker::start(&cgroup, "", &["spin", "60000"]);
    worker.go();
    let top = Top::start(SIZE, "", &format!("--interval 500ms --filter top-recorded --record {path}"))?;
    top.wait_for_rows("the row", |rows| rows.len() == 1);
    let enough = || {
        file.exists() && std::fs::metadata(&file).unwrap().len() > 0 && gathers(&run("zcat", &[&path])) >= 6
    };
    wait_for(enough, SOON, "six gathers in the file");
    top.terminal.press(&["q"]);
    top.wait_for("exit 0");
    drop(worker);
    let text = run("zcat", &[&path]);
    let n = gathers(&text);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let of_row = lines.filter(|line| line.starts_with("cgroup_cpu,cgroup=/top-recorded")).count();
    println!(
        "top: {n} gathers recorded in {} bytes, of {} unpacked",
        file.metadata().unwrap().len(),
        text.len()
    );
    assert!(of_row >= n - 1, "{of_row} lines of the row in {n} gathers");
    imported(&text, of_row)?;
    replayed(&path, n)?;
    damaged(&path, n)
}

/// InfluxDB takes all of it.
fn imported(text: &str, of_row: usize) -> Outcome {
    let influxd = Influxd::start(Setup::default())?;
    let made = influxd.query("", "CREATE DATABASE moment");
    assert_eq!(made.status, 200, "{made:?}");
    let head = "POST /write?db=moment HTTP/1.0\r\n";
    let answer = send(influxd.address(), head, text.as_bytes()).unwrap();
    assert_eq!(answer.status, 204, "{answer:?}");
    let query = "SELECT count(usage_ns) FROM cgroup_cpu WHERE \"cgroup\" =~ /top-recorded/";
    let answer = influxd.query("moment", query);
    assert!(answer.body.contains(&format!(",{of_row}]")), "{of_row} of the row: {answer:?}");
    Ok(())
}

/// Without root's help: forth, back, to its end, where it stays.
fn replayed(path: &str, n: usize) -> Outcome {
    let top = Top::start(SIZE, "", &format!("--sort cpu --filter top-recorded --replay {path}"))?;
    top.wait_for(&format!("/{n}"));
    top.terminal.press(&["0"]);
    top.wait_for(&format!(" 1/{n}"));
    top.terminal.press(&["Right", "Right"]);
    top.wait_for(&format!(" 3/{n}"));
    let third = top.wait_for_rows("the row of the third gather", |rows| rows.len() == 1);
    let cpu: f64 = third[0].split_whitespace().find_map(|word| word.parse().ok()).unwrap();
    assert!(cpu > 5.0, "one that spins: {third:?}");
    top.terminal.press(&["Right"]);
    top.wait_for(&format!(" 4/{n}"));
    top.terminal.press(&["Left"]);
    top.wait_for(&format!(" 3/{n}"));
    assert_eq!(top.rows(), third, "the same moment is the same");
    // The mode is left as it is, and it plays on to the end.
    top.terminal.press(&["+", "+", "+", "Space"]);
    top.wait_for(&format!(" {n}/{n}"));
    println!("top: at the end of a replay:\n{}", top.terminal.text());
    top.terminal.press(&["Enter"]);
    top.wait_for("CPU%      up to");
    top.terminal.press(&["q"]);
    top.wait_for("exit 0");
    Ok(())
}

/// A file that a crash cut off shows what is before.
fn damaged(path: &str, n: usize) -> Outcome {
    let bytes = std::fs::read(path).unwrap();
    let cut = format!("{path}.cut");
    std::fs::write(&cut, &bytes[..bytes.len() - 7]).unwrap();
    wait_for_bytes(cut.as_ref(), 1);
    let top = Top::start((120, 24), "", &format!("--replay {cut}"))?;
    top.wait_for("DAMAGED");
    top.terminal.press(&["$"]);
    top.wait_for(&format!(" {}/{}", n - 1, n - 1));
    top.terminal.press(&["C-c"]);
    top.wait_for("exit 0");
    let none = Top::start(SIZE, "", "--replay /etc/hostname")?;
    none.wait_for("/etc/hostname has no gather to show");
    none.wait_for("exit 1");
    drop(none);
    seismograf_tests::pause(Duration::ZERO);
    Ok(())
}
