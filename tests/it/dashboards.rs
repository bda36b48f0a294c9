//! The files of `deploy/dashboards`: each query in them, asked as Chronograf, Grafana or Kapacitor would, gets rows from a real
//! InfluxDB that the agent filled; and so do the queries of public dashboards for what Telegraf writes.

mod load;
mod picture;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use seismograf::dashboards::{ALERTS, AlertKind, chronograf, grafana};
use seismograf_tests::influxd::{Influxd, Setup};
use seismograf_tests::influxd2::{BUCKET, Influxd2, ORGANIZATION, TOKEN};
use seismograf_tests::kubelet::Kubelet;
use seismograf_tests::running::Running;
use seismograf_tests::suite::Outcome;
use seismograf_tests::{Skip, extra, needs, pause, trial};
use serde::de::DeserializeOwned;

use crate::pictures;

use self::load::{Load, TOKEN as KUBELETS_TOKEN};

/// The suite.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("dashboards::every_query_gets_rows", every_query_gets_rows),
        extra("dashboards::every_query_in_flux_gets_rows", every_query_in_flux_gets_rows),
    ]
}

const DATABASE: &str = "telegraf";
const HOST: &str = "h";
const CLUSTER: &str = "prod";
/// From the first gather to the last query that gets rows: Grafana's moments are 10 s, and a rate needs two of them.
const LIMIT: Duration = Duration::from_secs(120);

/// Before the picture of the documentation is drawn.
const PICTURE_PAUSE: Duration = Duration::from_secs(120);

/// A query that is to get rows, and where it is from.
struct Wanted {
    place: String,
    query: String,
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/dashboards")
}

/// The files of a folder, each as what it is to be.
fn files<T: DeserializeOwned>(folder: &str) -> Vec<(String, T)> {
    let entries = std::fs::read_dir(directory().join(folder)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|ending| ending == "json")).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{folder} is empty");
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = format!("{folder}/{}", path.file_name().unwrap().to_string_lossy());
        (name.clone(), serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}")))
    };
    paths.into_iter().map(read).collect()
}

/// A query as Chronograf sends it, once everything is chosen.
fn chronografs(query: &str, templates: &[chronograf::Template]) -> String {
    let mut query = query.to_owned();
    for template in templates {
        let value = match (template.temp_var.as_str(), template.r#type) {
            (":database:", chronograf::TemplateType::Databases) => format!("\"{DATABASE}\""),
            // Into a regular expression, in which a value is written as it is.
            (":env:", _) => CLUSTER.to_owned(),
            (":host:", chronograf::TemplateType::Influxql) => HOST.to_owned(),
            (_, chronograf::TemplateType::Text) => template.values[0].value.clone(),
            (name, kind) => panic!("{name}: a variable of type {kind:?} that the test does not know"),
        };
        query = query.replace(&template.temp_var, &value);
    }
    query.replace(":dashboardTime:", "now() - 15m").replace(":interval:", "2500ms")
}

fn of_chronograf() -> Vec<Wanted> {
    let mut all = Vec::new();
    for (file, chronograf::File { dashboard, .. }) in files::<chronograf::File>("chronograf") {
        let templates = &dashboard.templates;
        for cell in &dashboard.cells {
            let place = format!("{file}: {}", cell.name);
            let queries = cell.queries.iter().map(|query| chronografs(&query.query, templates));
            all.extend(queries.map(|query| Wanted { place: place.clone(), query }));
        }
        for template in templates {
            let Some(query) = &template.query else { continue };
            let place = format!("{file}: {}", template.temp_var);
            all.push(Wanted { place, query: chronografs(&query.influxql, templates) });
        }
    }
    for (file, layout) in files::<chronograf::Layout>("chronograf/canned") {
        for cell in &layout.cells {
            for query in &cell.queries {
                let mut text = query.query.replace(":db:", DATABASE).replace(":rp:", "autogen");
                text += &format!(" where time > now() - 15m and \"host\" = '{HOST}'");
                query.wheres.iter().for_each(|condition| text += &format!(" and {condition}"));
                text += &format!(" group by time(10s),{}", query.groupbys.join(","));
                all.push(Wanted { place: format!("{file}: {}", cell.name), query: text });
            }
        }
    }
    all
}

/// What Grafana puts for variables, longest names first: all where all can be chosen, else the value there is.
fn grafanas(query: &str, variables: &[grafana::Variable]) -> String {
    let mut values: BTreeMap<&str, String> = BTreeMap::new();
    for variable in variables {
        let all = variable.all_value.clone().filter(|_| variable.include_all);
        values.insert(&variable.name, all.unwrap_or_else(|| HOST.to_owned()));
    }
    // Before `$name`, of which it is the longer form.
    let mut query = query.to_owned();
    for (name, value) in values.iter().rev() {
        query = query.replace(&format!("${{{name}:regex}}"), value).replace(&format!("${name}"), value);
    }
    query
}

fn of_grafana(language: &str, finish: impl Fn(&str) -> String) -> Vec<Wanted> {
    let mut all = Vec::new();
    for (file, dashboard) in files::<grafana::GrafanaDashboard>(&format!("grafana/{language}")) {
        let variables = &dashboard.templating.list;
        for panel in &dashboard.panels {
            for target in &panel.targets {
                let query = finish(&grafanas(&target.query, variables));
                all.push(Wanted { place: format!("{file}: {} {}", panel.title, target.ref_id), query });
            }
        }
        for variable in variables.iter().filter(|variable| variable.r#type == grafana::VariableType::Query) {
            let query = finish(&grafanas(&variable.query, variables));
            all.push(Wanted { place: format!("{file}: ${}", variable.name), query });
        }
    }
    all
}

/// What Grafana puts into InfluxQL.
fn influxql(query: &str) -> String {
    query.replace("$timeFilter", "time >= now() - 15m and time <= now()").replace("$__interval", "10s")
}

/// What Grafana puts into Flux.
fn flux(query: &str) -> String {
    let query = query.replace("v.defaultBucket", &format!("\"{BUCKET}\"")).replace("v.windowPeriod", "10s");
    query.replace("v.timeRangeStart", "-15m").replace("v.timeRangeStop", "now()")
}

/// What Kapacitor asks for, from the scripts as they are.
fn of_kapacitor() -> Vec<Wanted> {
    let wanted = ALERTS.iter().map(|alert| {
        let path = directory().join(format!("kapacitor/{}.tick", alert.file));
        let script = std::fs::read_to_string(&path).unwrap();
        let groups = script.split_once(".groupBy(").unwrap().1.split_once(')').unwrap().0.replace('\'', "\"");
        let query = match alert.kind {
            AlertKind::Above { .. } | AlertKind::Lost(..) => script.split("'''").nth(1).unwrap().to_owned(),
            AlertKind::Silence => {
                let from = script.split_once(".measurement('").unwrap().1.split_once('\'').unwrap().0;
                format!("SELECT * FROM \"{DATABASE}\".\"autogen\".\"{from}\"")
            }
        };
        let joined = if query.contains(" WHERE ") { "AND" } else { "WHERE" };
        let query = format!("{query} {joined} time > now() - 5m GROUP BY {groups}");
        Wanted { place: format!("kapacitor/{}.tick", alert.file), query }
    });
    wanted.collect()
}

/// The queries of public dashboards; and those among them that ask for what this agent does not have.
fn of_the_public() -> (Vec<Wanted>, Vec<Wanted>) {
    let fixtures = [
        ("Grafana's 928", include_str!("dashboards/grafana-928.influxql")),
        ("Chronograf's System", include_str!("dashboards/chronograf-system.influxql")),
    ];
    let (mut wanted, mut absent) = (Vec::new(), Vec::new());
    for (place, text) in fixtures {
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let query = influxql(line.trim_start_matches('!')).replace("$interval", "10s");
            let query = query.replace("$server", HOST).replace("$cpu", "cpu0");
            let query = query.replace("$netif", ".*").replace("$disk$", ".*$").replace("$mountpoint", ".*");
            let query = query.replace(":db:", DATABASE).replace(":rp:", "autogen");
            let query = query.replace(":host:", &format!("'{HOST}'")).replace(":interval:", "10s");
            let query = query.replace(":dashboardTime:", "now() - 15m");
            let list = if line.starts_with('!') { &mut absent } else { &mut wanted };
            list.push(Wanted { place: place.to_owned(), query });
        }
    }
    (wanted, absent)
}

/// The agent at work for an output, and everything happening that a dashboard shows.
struct Filling {
    agent: Running,
    start: Instant,
    _load: Load,
    _kubelet: Kubelet,
}

impl Filling {
    fn start(output: &str) -> Result<Self, Skip> {
        let kubelet = Kubelet::start(KUBELETS_TOKEN);
        let load = Load::start(&kubelet)?;
        let agent = Running::start(&config(&kubelet, load.token(), output))?;
        Ok(Self { agent, start: Instant::now(), _load: load, _kubelet: kubelet })
    }

    /// Asks until each query had rows.
    fn ask(&self, whose: &str, wanted: Vec<Wanted>, mut rows: impl FnMut(&str) -> usize) {
        let (n, mut left) = (wanted.len(), wanted);
        loop {
            left.retain(|wanted| rows(&wanted.query) == 0);
            if left.is_empty() || self.start.elapsed() > LIMIT {
                break;
            }
            pause(Duration::from_secs(1));
        }
        let list: Vec<String> =
            left.iter().map(|wanted| format!("{}\n    {}", wanted.place, wanted.query)).collect();
        let log = self.agent.log();
        assert!(left.is_empty(), "{} without rows:\n{}\nthe agent:\n{log}", left.len(), list.join("\n"));
        let seconds = self.start.elapsed().as_secs_f64();
        println!("dashboards: {whose}: {n} queries, each with rows, {seconds:.0} s after the start");
    }
}

fn config(kubelet: &Kubelet, token: &Path, output: &str) -> String {
    format!(
        r#"[global_tags]
  env = "{CLUSTER}"
[agent]
  interval = "1s"
  flush_interval = "1s"
  hostname = "{HOST}"
  metric_series_limit = 100000
[[inputs.cpu]]
[[inputs.mem]]
[[inputs.swap]]
[[inputs.system]]
[[inputs.kernel]]
  collect = ["psi"]
[[inputs.processes]]
[[inputs.disk]]
[[inputs.diskio]]
[[inputs.net]]
[[inputs.ebpf]]
  probes = ["cpu", "blkio", "net", "runqueue", "tcp"]
  probe_costs = true
[[inputs.kubernetes]]
  url = "{kubelet}"
  bearer_token = "{token}"
  tls_ca = "{ca}"
[[inputs.influxdb_listener]]
  service_address = "127.0.0.1:0"
{output}"#,
        kubelet = kubelet.url(),
        token = token.display(),
        ca = kubelet.ca().display(),
    )
}

fn every_query_gets_rows() -> Outcome {
    needs(&["influxd"])?;
    let influxd = Influxd::start(Setup::default())?;
    let url = influxd.url();
    let filling =
        Filling::start(&format!("[[outputs.influxdb]]\nurls = [\"{url}\"]\ndatabase = \"{DATABASE}\"\n"))?;
    let (public, absent) = of_the_public();
    for (whose, wanted) in [
        ("Chronograf", of_chronograf()),
        ("Grafana, InfluxQL", of_grafana("influxql", influxql)),
        ("Kapacitor", of_kapacitor()),
        ("public dashboards", public),
    ] {
        filling.ask(whose, wanted, |query| influxd.series(DATABASE, query).len());
    }
    if pictures::are_asked_for() {
        // Some minutes of it, so that there are lines.
        pause(PICTURE_PAUSE);
    }
    picture::draw(|query| influxd.series(DATABASE, query));
    for Wanted { place, query } in &absent {
        assert!(influxd.series(DATABASE, query).is_empty(), "{place}: there are rows now: {query}");
    }
    Ok(())
}

fn every_query_in_flux_gets_rows() -> Outcome {
    needs(&[])?;
    let influxd = Influxd2::start(0)?;
    let url = influxd.url();
    let filling = Filling::start(&format!(
        "[[outputs.influxdb_v2]]\nurls = [\"{url}\"]\ntoken = \"{TOKEN}\"\norganization = \"{ORGANIZATION}\"\nbucket = \"{BUCKET}\"\n"
    ))?;
    filling.ask("Grafana, Flux", of_grafana("flux", flux), |query| influxd.flux(query).len());
    Ok(())
}
