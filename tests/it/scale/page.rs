//! The configurations of `docs/scale.md`, each run as it stands there but for addresses, directories and times.

use std::time::Duration;

use seismograf_tests::http::free_address;
use seismograf_tests::influxd::{Influxd, Setup};
use seismograf_tests::kafka::Kafka;
use seismograf_tests::running::Running;
use seismograf_tests::suite::Outcome;
use seismograf_tests::victoria::Victoria;
use seismograf_tests::{needs, wait_for};

const PAGE: &str = include_str!("../../../docs/scale.md");
const LIMIT: Duration = Duration::from_secs(30);

/// The configurations below a heading.
fn blocks(heading: &str) -> Vec<&'static str> {
    let (_, section) =
        PAGE.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    let section = section.split("\n## ").next().unwrap();
    section.split("```toml\n").skip(1).map(|block| block.split("```").next().unwrap()).collect()
}

/// What stands for the addresses of the page.
struct Addresses(Vec<(String, String)>);

impl Addresses {
    /// Starts an agent of a configuration, which is known by a name.
    fn start(&self, block: &str, host: &str) -> Result<Running, seismograf_tests::Skip> {
        let mut text = block.replace("\"/var/lib/seismograf\"", "\"{directory}/spool\"");
        for (of_page, here) in &self.0 {
            text = text.replace(of_page, here);
        }
        text = text.replace("interval = \"10s\"", "interval = \"250ms\"").replace("\"5s\"", "\"0s\"");
        let own =
            if text.contains("omit_hostname") { String::new() } else { format!("  hostname = \"{host}\"\n") };
        let text = text.replacen("[agent]\n", &format!("[agent]\n  flush_interval = \"250ms\"\n{own}"), 1);
        for left in ["10s", "influx-", "relay-", "kafka-", "victoria-", "/var/lib"] {
            assert!(!text.contains(left), "{left}: {text}");
        }
        Running::start(&text)
    }
}

/// How many points of `mem` a server has of a host.
fn points(server: &Influxd, host: &str) -> u64 {
    let query = format!("SELECT count(total) FROM mem WHERE host = '{host}'");
    let series = server.series("telegraf", &query);
    series.first().map_or(0, |series| series["values"][0][1].as_u64().unwrap_or(0))
}

/// Each shape brings points to where it says.
pub(super) fn run() -> Outcome {
    needs(&["influxd"])?;
    let mut servers = Vec::new();
    for _ in 0..4 {
        servers.push(Influxd::start(Setup::default())?);
    }
    let relay = free_address();
    let mut addresses = vec![("relay-0:8186".to_owned(), relay.to_string())];
    addresses.push(("\":8186\"".into(), format!("\"{relay}\"")));
    addresses.extend(
        servers
            .iter()
            .enumerate()
            .map(|(n, server)| (format!("influx-{n}:8086"), server.address().to_string())),
    );
    let addresses = Addresses(addresses);
    let [one] = blocks("One InfluxDB")[..] else { panic!("one InfluxDB") };
    let agent = addresses.start(one, "one")?;
    wait_for(|| points(&servers[0], "one") > 2, LIMIT, &agent.log());

    let [agents, relays] = blocks("A relay for each cluster")[..] else { panic!("a relay") };
    let relay = addresses.start(relays, "")?;
    relay.wait_for_log("listen");
    let agent = addresses.start(agents, "behind")?;
    wait_for(|| points(&servers[0], "behind") > 2, LIMIT, &format!("{}{}", agent.log(), relay.log()));

    let [several] = blocks("Several servers")[..] else { panic!("several servers") };
    let mut have = [0; 4];
    for host in ["a", "b", "c", "d"] {
        let agent = addresses.start(several, host)?;
        let with = || servers.iter().filter(|server| points(server, host) > 2).count();
        wait_for(|| with() == 1, LIMIT, &agent.log());
        servers.iter().zip(&mut have).for_each(|(server, n)| *n += usize::from(points(server, host) > 0));
    }
    println!("scale: one InfluxDB, a relay and four servers ({have:?} hosts) have what they should");
    assert_eq!(have.iter().sum::<usize>(), 4);
    drop(servers);
    kafka(addresses)?;
    clustered()
}

fn kafka(mut addresses: Addresses) -> Outcome {
    let broker = Kafka::start(None)?;
    addresses.0.push(("kafka-0:9092".into(), broker.address().to_string()));
    let [block] = blocks("Kafka")[..] else { panic!("Kafka") };
    let agent = addresses.start(block, "kafkas")?;
    agent.wait_for_log("first points written");
    let read = broker.console_consumer("telegraf", 3);
    println!("scale: Kafka has {} messages of the agent", read.len());
    let of_mem = |(_, line): &(String, String)| line.starts_with("mem,host=kafkas ");
    assert!(read.iter().all(|(key, _)| key == "kafkas") && read.iter().any(of_mem));
    Ok(())
}

fn clustered() -> Outcome {
    let server = Victoria::start()?;
    let address = server.url().replace("http://", "");
    let [block] = blocks("A clustered store")[..] else { panic!("a clustered store") };
    let agent = Addresses(vec![("victoria-0:8428".into(), address)]).start(block, "v")?;
    wait_for(|| !server.series("mem_total").is_empty(), LIMIT, &agent.log());
    Ok(())
}
