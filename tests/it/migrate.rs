//! `seismograf migrate`: both this agent and the real Telegraf take what it writes.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use libtest_mimic::Trial;
use seismograf_tests::suite::Outcome;
use seismograf_tests::telegraf::Telegraf;
use seismograf_tests::{Skip, agent_binary, extra, trial};

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("migrate::a_host_is_split_and_nothing_is_overwritten", a_host_is_split),
        trial("migrate::this_agent_takes_its_half_of_every_configuration", this_agent_takes_its_half),
        extra("migrate::telegraf_takes_its_half_of_every_configuration", telegraf_takes_its_half),
    ]
}

/// What the configurations name.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("BATCH_SIZE", "250"),
    ("ENV", "prod"),
    ("HOSTIP", "10.0.0.7"),
    ("HOSTNAME", "node1"),
    ("HOST_NAME", "node1"),
    ("INFLUX_TOKEN", "token=="),
    ("INFLUX_URLS", "\"http://a:8086\", \"http://b:8086\""),
    ("INTERVAL", "20s"),
    ("RACK", "7"),
    ("MONITOR_DATABASE", "metrics"),
    ("MONITOR_HOST", "http://influxdb:8086"),
    ("MONITOR_PASSWORD", "secret"),
    ("MONITOR_RETENTION_POLICY", "week"),
    ("MONITOR_USERNAME", "writer"),
    ("PER_CPU", "false"),
];
/// The bar.
const FEWEST: usize = 40;

fn seismograf(args: &[&str]) -> Result<Output, Skip> {
    let mut command = Command::new(agent_binary()?);
    command.args(args).env_clear().envs(ENVIRONMENT.iter().copied()).stdin(Stdio::null());
    Ok(command.output().unwrap())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn a_host_is_split() -> Outcome {
    let root = tempfile::tempdir().unwrap();
    let at = |path: &str| root.path().join(path);
    std::fs::create_dir(at("telegraf.d")).unwrap();
    let files = [
        ("telegraf.conf", "[agent]\n  interval = \"10s\"\n[[outputs.influxdb]]\n  password = \"secret\"\n"),
        ("telegraf.d/host.conf", "# The host.\n[[inputs.cpu]]\n[[inputs.mem]]\n"),
        ("telegraf.d/web.conf", "[[inputs.nginx]]\n  urls = [\"http://localhost/status\"]\n"),
    ];
    for (path, text) in files {
        std::fs::write(at(path), text).unwrap();
    }
    std::fs::set_permissions(at("telegraf.conf"), PermissionsExt::from_mode(0o640)).unwrap();
    std::fs::set_permissions(at("telegraf.d/host.conf"), PermissionsExt::from_mode(0o644)).unwrap();
    let paths = ["telegraf.conf", "telegraf.d", "split"].map(|path| at(path).display().to_string());
    let args = ["migrate", &paths[0], &paths[1], "--split", &paths[2]];
    let output = seismograf(&args)?;
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}{}", text(&output.stderr));
    assert!(said.contains("2 of 3 inputs come here, 1 stay with Telegraf."), "{said}");
    assert!(
        said.contains(&format!(
            "nothing of it stays with Telegraf: {}",
            at("telegraf.d/host.conf").display()
        ))
    );
    let written = |path: &str| std::fs::read_to_string(at("split").join(path)).ok();
    let own = written("seismograf/seismograf.conf").unwrap();
    assert!(own.starts_with(files[0].1) && own.ends_with("[[inputs.ebpf]]\n"), "{own}");
    assert_eq!(written("seismograf/conf.d/host.conf").as_deref(), Some(files[1].1));
    assert_eq!(written("seismograf/conf.d/web.conf"), None);
    assert_eq!(written("telegraf/telegraf.conf").as_deref(), Some(files[0].1));
    assert_eq!(written("telegraf/telegraf.d/host.conf"), None);
    assert_eq!(written("telegraf/telegraf.d/web.conf").as_deref(), Some(files[2].1));
    let mode = |path: &str| std::fs::metadata(at("split").join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!([mode("seismograf/seismograf.conf"), mode("telegraf/telegraf.conf")], [0o640; 2]);
    assert_eq!(mode("seismograf/conf.d/host.conf"), 0o644);
    // Where the service of this agent looks.
    let config = at("split/seismograf/seismograf.conf").display().to_string();
    let directory = at("split/seismograf/conf.d").display().to_string();
    let checked = seismograf(&["--config", &config, "--config-directory", &directory, "config", "check"])?;
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    let again = seismograf(&args)?;
    assert_eq!(again.status.code(), Some(1));
    let refused = text(&again.stderr);
    assert!(refused.contains("split/seismograf is there already: nothing is written"), "{refused}");
    std::fs::write(at("telegraf.conf"), "[agent]\n  intervall = \"1s\"\n").unwrap();
    let output = seismograf(&["migrate", &paths[0]])?;
    assert_eq!((output.status.code(), output.stdout.len()), (Some(78), 0));
    assert!(text(&output.stderr).contains("telegraf.conf:2:3: unknown option `intervall`"));
    Ok(())
}

/// A configuration as it was found, and its two halves.
struct Split {
    name: String,
    whole: Vec<PathBuf>,
    here: Vec<PathBuf>,
    telegraf: Vec<PathBuf>,
}

/// The configurations of `testdata`: each file, and the fragments of one together.
fn configurations() -> Vec<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent/testdata/config");
    let mut files: Vec<PathBuf> = ["hosts", "shared", "wild"]
        .iter()
        .flat_map(|name| std::fs::read_dir(folder.join(name)).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let is_fragment = |path: &PathBuf| path.to_string_lossy().contains("/fragment-");
    let (fragments, files): (Vec<_>, Vec<_>) = files.into_iter().partition(is_fragment);
    files.into_iter().map(|file| vec![file]).chain([fragments]).collect()
}

/// Splits all of them into a directory.
fn splits(directory: &Path) -> Result<Vec<Split>, Skip> {
    let mut splits = Vec::new();
    for whole in configurations() {
        let name = whole[0].file_stem().unwrap().to_string_lossy().into_owned();
        let to = directory.join(&name);
        let files: Vec<String> = whole.iter().map(|path| path.display().to_string()).collect();
        let to_text = to.display().to_string();
        let args: Vec<&str> =
            ["migrate", "--split", &to_text].into_iter().chain(files.iter().map(String::as_str)).collect();
        let output = seismograf(&args)?;
        assert!(output.status.success(), "{name}: {}", text(&output.stderr));
        let written = |side: &str| -> Vec<PathBuf> {
            let entries = std::fs::read_dir(to.join(side)).into_iter().flatten();
            let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
            files.sort();
            files
        };
        splits.push(Split { here: written("seismograf"), telegraf: written("telegraf"), name, whole });
    }
    Ok(splits)
}

fn this_agent_takes_its_half() -> Outcome {
    let directory = tempfile::tempdir().unwrap();
    let splits = splits(directory.path())?;
    let (mut taken, mut in_two) = (0, 0);
    for split in splits.iter().filter(|split| !split.here.is_empty()) {
        let files: Vec<String> = split.here.iter().map(|path| path.display().to_string()).collect();
        let mut args = vec!["config", "check", "--offline", "--non-strict-env-handling"];
        args.extend(files.iter().map(String::as_str));
        let output = seismograf(&args)?;
        assert!(output.status.success(), "{}: {}", split.name, text(&output.stderr));
        taken += 1;
        in_two += usize::from(!split.telegraf.is_empty());
    }
    println!(
        "migrate: of {} configurations this agent takes its part of {taken}, of which {in_two} are in two",
        splits.len()
    );
    assert!(in_two >= FEWEST);
    Ok(())
}

/// What some plugins only look for when they are initialized.
const SOUGHT: &[&str] = &["fail2ban-client", "ipmitool", "sadf", "sensors", "smartctl"];

fn telegraf_takes_its_half() -> Outcome {
    let telegraf = Telegraf::find()?;
    let directory = tempfile::tempdir().unwrap();
    let programs = tempfile::tempdir().unwrap();
    for name in SOUGHT {
        let path = programs.path().join(name);
        std::fs::write(&path, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", std::env::var("PATH").unwrap_or_default(), programs.path().display());
    let environment: Vec<_> = ENVIRONMENT.iter().copied().chain([("PATH", path.as_str())]).collect();
    let check = |files: &[PathBuf]| telegraf.check(files, &environment);
    let (mut in_two, mut whole_here, mut whole_there) = (0, 0, 0);
    for split in splits(directory.path())? {
        if split.telegraf.is_empty() {
            whole_here += 1;
        } else if let Err(refused) = check(&split.telegraf) {
            // What this Telegraf does not take as it was found, it cannot take in part.
            assert!(check(&split.whole).is_err(), "{}: {refused}", split.name);
            let why = refused.lines().last().unwrap_or_default();
            println!("migrate: {} is refused in part, as it was found: {why}", split.name);
        } else if split.here.is_empty() {
            whole_there += 1;
        } else {
            in_two += 1;
        }
    }
    println!(
        "migrate: Telegraf takes its part of {in_two} in two; {whole_here} need it no more, {whole_there} stay with it"
    );
    assert!(in_two >= FEWEST);
    Ok(())
}
