//! Files of the kinds that people have for a host: each starts, some without the plugins that are not here, and says how.

use super::*;
use crate::config::loader::files_in;
use crate::config::reading::{Depth, Reading};

fn files() -> Vec<Source> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/config/hosts");
    let (paths, _) = files_in(&folder).unwrap();
    paths.into_iter().map(|path| Source { text: std::fs::read_to_string(&path).unwrap(), path }).collect()
}

fn load(source: &Source, skips_unknown: bool) -> Result<Config, Problems> {
    let variable = |name: &str| std::env::var(name).ok();
    let host = Host::from_variables(variable);
    let reading = Reading {
        depth: Depth::Here(&host),
        needs_inputs: true,
        needs_outputs: true,
        skips_unknown,
        without_unknown: "to start the rest: seismograf --skip-unknown-plugins".into(),
        ..Reading::of_text(Environment::strict(&|_| None), "h")
    };
    config_file::load(std::slice::from_ref(source), &reading)
}

#[test]
fn every_file_of_a_host_starts_and_says_how() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut whole, mut in_part) = (0, 0);
    for source in files() {
        let name = source.path.file_name().unwrap().to_string_lossy().into_owned();
        let config = match load(&source, false) {
            Ok(config) => {
                whole += 1;
                config
            }
            Err(problems) => {
                in_part += 1;
                let said = problems.to_string();
                let mut lines: Vec<&str> = said.lines().collect();
                let last = lines.pop().unwrap();
                assert!(
                    last.starts_with("to start the rest: ") && last.contains("--skip-unknown-plugins"),
                    "{name}: {said}"
                );
                // Nothing else is wrong with it.
                assert!(
                    lines.iter().all(|line| line.ends_with("is not part of this agent")),
                    "{name}: {said}"
                );
                let config = load(&source, true).unwrap_or_else(|problems| panic!("{name}: {problems}"));
                let left_out =
                    config.warnings.iter().filter(|warning| warning.contains("left out: ")).count();
                assert_eq!(left_out, lines.len(), "{name}: one warning a section: {:?}", config.warnings);
                config
            }
        };
        let sections = (config.inputs.len(), config.outputs.len());
        runtime.block_on(async {
            let started = Pipeline::start(config, Shared::new(Host::default())).await;
            let pipeline = started.unwrap_or_else(|error| panic!("{name}: {error:#}"));
            // The agent's own figures are an input too.
            assert_eq!((pipeline.inputs.len() - 1, pipeline.outputs.len()), sections, "{name}");
        });
    }
    // A name that is being looked up is not waited for.
    runtime.shutdown_background();
    assert_eq!((whole, in_part), (24, 37), "of 61");
}
