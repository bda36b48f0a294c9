//! `cargo xtask`: set up, build, test and measure Seismograf.

mod bench;
mod build;
mod cadvisor;
mod ci;
mod clients;
mod cluster;
mod codegen;
mod command;
mod dist;
mod fuzz;
mod go;
mod helm;
mod image;
mod influxd2;
mod kafka;
mod otelcol;
mod packages;
mod platform;
mod setup;
mod telegraf;
mod tidy;
mod victoria;
mod vm;

use clap::{Parser, Subcommand};

use self::platform::Platform;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Set up, build, test and measure Seismograf", version)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Find or install what the eBPF build needs.
    Setup,
    /// Build the BPF object and the agent that carries it.
    Build {
        /// Optimise fully: the agent is left at target/release/seismograf.
        #[arg(long)]
        release: bool,
        /// Build the object twice, from two directories, and compare.
        #[arg(long)]
        check_reproducible: bool,
        /// What for, where it is not this machine: target/static/TARGET has it.
        #[arg(long)]
        platform: Option<Platform>,
        /// Of the outputs that can be left out, only these: http, kafka, opentelemetry, prometheus_client; all by default, and
        /// without a name none.
        #[arg(long, value_delimiter = ',', num_args = 0..)]
        outputs: Option<Vec<String>>,
    },
    /// Build, and run the agent with these arguments.
    Run {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Build, and show this machine's figures; arguments go to `seismograf dump`.
    Dump {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Everything: format, lints, docs, unit tests, the BPF object, other kernels, end-to-end tests, a real Kubernetes.
    Test,
    /// What CI runs; the same as `test`.
    Ci,
    /// The end-to-end tests alone; arguments go to the test binary.
    E2e {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Check rules that no lint has.
    Tidy,
    /// Write the generated documents again, or check them.
    Codegen {
        /// Fail when one is stale.
        #[arg(long)]
        check: bool,
    },
    /// Measure; without a choice, everything of docs/overhead.md, which is written anew.
    Bench {
        #[command(subcommand)]
        cost: Option<bench::Cost>,
    },
    /// Write agent/layout.ld anew: follow a gather, and put the functions that it runs side by side in the program.
    Layout,
    /// Have a real influxd judge the parser of line protocol on generated lines.
    Judge {
        /// How many.
        #[arg(long, default_value_t = 20_000)]
        lines: usize,
    },
    /// Fuzz the parsers of foreign bytes with libFuzzer.
    Fuzz(fuzz::FuzzArgs),
    /// Run on other kernels in QEMU, from 5.10 to the newest, on x86-64 and arm64, with each layout of cgroups.
    Vm(vm::VmArgs),
    /// A real Kubernetes of one node, and the tests that need one.
    Cluster {
        #[command(subcommand)]
        action: cluster::Action,
    },
    /// Build a real InfluxDB 2 with Go, once, for the tests that need one: target/influxd2/influxd.
    Influxd2,
    /// Take a real Kafka from Maven's artifacts, once, for the tests that need one: target/kafka/lib.
    Kafka,
    /// Build the real Telegraf with Go, once, for the test of `migrate`: target/telegraf/telegraf.
    Telegraf,
    /// Build the real cAdvisor with Go, once, for the test that compares names: target/cadvisor/cadvisor.
    Cadvisor,
    /// Build a real OpenTelemetry collector with Go, once, for the tests that need one: target/otelcol/otelcol.
    Otelcol,
    /// Build a real cluster of VictoriaMetrics with Go, once, for the test that reads back: target/victoria has its programs.
    Victoria,
    /// Build a container image `FROM scratch`: target/image/seismograf.tar.
    Image {
        /// What it is for; this machine's by default, and an image of several has a manifest for each.
        #[arg(long, value_delimiter = ',')]
        platform: Vec<Platform>,
    },
    /// Build what others install: a tarball, a .deb, an .rpm, their bill of materials and sums: target/dist.
    Dist(dist::DistArgs),
}

fn main() -> std::process::ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> anyhow::Result<()> {
    std::env::set_current_dir(command::workspace())?;
    match task {
        Task::Setup => setup::setup().map(|_| ()),
        Task::Build { check_reproducible: true, .. } => build::check_reproducible(),
        Task::Build { release, platform, outputs, .. } => {
            let profile = if release { build::Profile::Release } else { build::Profile::Fast };
            let platform = platform.unwrap_or(Platform::host());
            println!("{}", build::agent_with(outputs.as_deref(), profile, platform)?.display());
            Ok(())
        }
        Task::Run { args } => build::exec(&[], &args),
        Task::Dump { args } => build::exec(&["dump"], &args),
        Task::Layout => ci::layout(),
        Task::Test | Task::Ci => ci::test(),
        Task::E2e { args } => ci::e2e(&args, &[]),
        Task::Tidy => tidy::tidy(),
        Task::Codegen { check } => codegen::codegen(check),
        Task::Bench { cost } => bench::bench(cost.as_ref()),
        Task::Judge { lines } => ci::judge(lines),
        Task::Fuzz(args) => fuzz::fuzz(&args),
        Task::Vm(args) => vm::vm(&args),
        Task::Cluster { action } => cluster::cluster(&action),
        Task::Influxd2 => {
            println!("{}", influxd2::build()?.display());
            Ok(())
        }
        Task::Kafka => {
            println!("{}", kafka::build()?.display());
            Ok(())
        }
        Task::Telegraf => {
            println!("{}", telegraf::build()?.display());
            Ok(())
        }
        Task::Cadvisor => {
            println!("{}", cadvisor::build()?.display());
            Ok(())
        }
        Task::Otelcol => {
            println!("{}", otelcol::build()?.display());
            Ok(())
        }
        Task::Victoria => {
            println!("{}", victoria::build()?.display());
            Ok(())
        }
        Task::Image { platform } if platform.is_empty() => image::image(&[Platform::host()]),
        Task::Image { platform } => image::image(&platform),
        Task::Dist(args) => dist::dist(&args),
    }
}
