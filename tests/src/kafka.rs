//! A real Kafka of the test's own: one broker that is its own controller, on free ports of the loopback interface, with its data
//! in a temporary directory. `cargo xtask kafka` takes it from Maven's artifacts.

mod consumer;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

pub use self::consumer::{Consumer, Message};
use crate::http::{self, free_address};
use crate::{Skip, has, try_run};

/// The variable that names the directory of archives.
const ARCHIVES: &str = "SEISMOGRAF_KAFKA";
/// The user of the listener that asks for one.
pub const USER: &str = "alice";
/// The user's password.
pub const PASSWORD: &str = "alice's secret";
/// How many partitions a topic has that a write makes.
pub const PARTITIONS: usize = 4;

/// Files for a listener that speaks TLS and asks who somebody is, in PEM.
pub struct Certificate {
    /// The key, and after it the certificate.
    pub key_and_certificate: PathBuf,
}

/// A running broker. Dropping it ends the process and removes its data.
pub struct Kafka {
    directory: tempfile::TempDir,
    archives: PathBuf,
    address: SocketAddr,
    secure: Option<SocketAddr>,
    child: Option<Child>,
}

impl Kafka {
    /// Starts a broker, with a listener for anybody and, where there is a certificate, one for the user.
    ///
    /// # Errors
    /// Skips the test where there is no Kafka, or no Java.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(certificate: Option<&Certificate>) -> Result<Self, Skip> {
        let archives = std::env::var_os(ARCHIVES)
            .ok_or_else(|| Skip::because("there is no Kafka: take it by `cargo xtask kafka`"))?;
        if !has("java") {
            return Err(Skip::because("java is not installed: apt-get install default-jre-headless"));
        }
        let directory = tempfile::tempdir().expect("cannot make a temporary directory");
        let secure = certificate.map(|_| free_address());
        let mut broker =
            Self { directory, archives: archives.into(), address: free_address(), secure, child: None };
        std::fs::write(broker.config(), broker.config_text(certificate))
            .expect("cannot write the configuration of Kafka");
        let config = broker.config().display().to_string();
        let scram = |hash: &str| format!("SCRAM-SHA-{hash}=[name={USER},password={PASSWORD}]");
        let args = [
            "format",
            "-t",
            "AAAAAAAAQACAAAAAAAAAAQ",
            "-c",
            &config,
            "--add-scram",
            &scram("256"),
            "--add-scram",
            &scram("512"),
        ];
        broker.run("kafka.tools.StorageTool", &args);
        broker.resume();
        Ok(broker)
    }

    /// Starts a broker that was killed, over the same data and on the same ports.
    ///
    /// # Panics
    /// When it does not start; the message has the end of its log.
    pub fn resume(&mut self) {
        let mut command = self.java("kafka.Kafka");
        command.arg(self.config());
        let address = self.address;
        let is_up = || Consumer::connect(address).is_some_and(|mut consumer| consumer.has_broker());
        let log = self.directory.path().join("log");
        self.child =
            Some(http::start(&mut command, "default-jre-headless", &log, is_up).expect("java was there"));
    }

    /// Ends the broker with SIGKILL, and keeps its data.
    ///
    /// # Panics
    /// When it cannot be ended.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        child.kill().and_then(|()| child.wait()).expect("cannot kill Kafka");
    }

    /// Whether it was started and not killed since.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Its process id.
    ///
    /// # Panics
    /// It was killed.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Where anybody may write.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the user may write, as the certificate's name has it.
    ///
    /// # Panics
    /// It has no such listener.
    #[must_use]
    pub fn secure_address(&self) -> String {
        format!("localhost:{}", self.secure.expect("it has a certificate").port())
    }

    /// All messages of a topic, by Kafka's own consumer: topic's partition, key and value as text.
    ///
    /// # Panics
    /// It does not find so many.
    #[must_use]
    pub fn console_consumer(&self, topic: &str, n: usize) -> Vec<(String, String)> {
        let address = self.address.to_string();
        let n = n.to_string();
        let args = [
            "--bootstrap-server",
            &address,
            "--topic",
            topic,
            "--from-beginning",
            "--max-messages",
            &n,
            "--timeout-ms",
            "20000",
            "--property",
            "print.key=true",
            "--property",
            "key.separator=|",
        ];
        let text = self.run("org.apache.kafka.tools.consumer.ConsoleConsumer", &args);
        let pairs = text.lines().filter_map(|line| line.split_once('|'));
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    fn run(&self, class: &str, args: &[&str]) -> String {
        let output = self.java(class).args(args).output().expect("cannot run java");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{class}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    fn java(&self, class: &str) -> Command {
        let mut command = Command::new("java");
        // It starts sooner with less done to its code.
        command.args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]);
        command.arg(format!("{}/*", self.archives.display())).arg(class);
        command
    }

    fn config(&self) -> PathBuf {
        self.directory.path().join("server.properties")
    }

    fn config_text(&self, certificate: Option<&Certificate>) -> String {
        let (address, controller) = (self.address, free_address());
        let data = self.directory.path().join("data");
        let (mut listeners, mut advertised, mut more) = (
            format!("PLAINTEXT://{address},CONTROLLER://{controller}"),
            format!("PLAINTEXT://{address}"),
            String::new(),
        );
        if let (Some(secure), Some(certificate)) = (self.secure, certificate) {
            listeners += &format!(",SECURE://{secure}");
            advertised += &format!(",SECURE://localhost:{}", secure.port());
            more = secure_text(&certificate.key_and_certificate);
        }
        format!(
            "process.roles=broker,controller\nnode.id=1\n\
             controller.quorum.voters=1@{controller}\ncontroller.listener.names=CONTROLLER\n\
             listeners={listeners}\nadvertised.listeners={advertised}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL\n\
             inter.broker.listener.name=PLAINTEXT\nlog.dirs={}\nnum.partitions={PARTITIONS}\n\
             offsets.topic.replication.factor=1\noffsets.topic.num.partitions=1\n\
             transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
             share.coordinator.state.topic.replication.factor=1\nshare.coordinator.state.topic.min.isr=1\n\
             group.initial.rebalance.delay.ms=0\nnum.network.threads=2\nnum.io.threads=2\n{more}",
            data.display()
        )
    }
}

/// The listener that speaks TLS and asks for a user.
fn secure_text(key_and_certificate: &Path) -> String {
    let module = "org.apache.kafka.common.security";
    let listener = "listener.name.secure";
    format!(
        "{listener}.ssl.keystore.type=PEM\n{listener}.ssl.keystore.location={}\n\
         {listener}.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n\
         {listener}.plain.sasl.jaas.config={module}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";\n\
         {listener}.scram-sha-256.sasl.jaas.config={module}.scram.ScramLoginModule required;\n\
         {listener}.scram-sha-512.sasl.jaas.config={module}.scram.ScramLoginModule required;\n",
        key_and_certificate.display()
    )
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // The data is thrown away, so there is nothing to be written down in good order.
        self.kill();
    }
}

/// The major version of the Java that is here; 0 where there is none.
#[must_use]
pub fn java_version() -> u32 {
    let output = try_run("java", &["-version"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let version = text.split('"').nth(1).and_then(|version| version.split('.').next());
    version.and_then(|version| version.parse().ok()).unwrap_or(0)
}
