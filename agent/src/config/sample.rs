//! The default configuration and parts of it, and the names of plugins: what is printed as a starting point.

use std::path::Path;

use anyhow::bail;

use super::reading::PluginFilter;
use super::telegraf;
use crate::cli::{PrintArgs, SourceArgs};
use crate::plugins::{InputOptions, OutputOptions};

/// The default configuration, commented.
pub const DEFAULT_CONFIG: &str = include_str!("default.conf");

/// A section of the default configuration with the comment above it.
struct Section {
    /// `agent`, `global_tags`, `inputs`, `outputs`.
    kind: String,
    /// The plugin; empty if it is not a plugin's section.
    name: String,
    text: String,
}

/// The sections of [`DEFAULT_CONFIG`], and the text before the first.
fn sections() -> (String, Vec<Section>) {
    let (mut head, mut sections): (String, Vec<Section>) = (String::new(), Vec::new());
    // A comment that is not indented belongs to what follows it.
    let mut comment = String::new();
    for line in DEFAULT_CONFIG.lines() {
        let code = line.strip_prefix("# ").unwrap_or(line);
        let header = code.strip_prefix('[').map(|code| code.trim_start_matches('['));
        let header = header.and_then(|code| code.split(']').next());
        match (header, sections.last_mut()) {
            (Some(header), _) => {
                let (kind, name) = header.split_once('.').unwrap_or((header, ""));
                let text = format!("{}{line}\n", std::mem::take(&mut comment));
                sections.push(Section { kind: kind.to_owned(), name: name.to_owned(), text });
            }
            (None, Some(_)) if line.starts_with("##") || (line.is_empty() && comment.is_empty()) => {
                comment.push_str(line);
                comment.push('\n');
            }
            (None, Some(section)) => {
                section.text.push_str(&std::mem::take(&mut comment));
                section.text.push_str(line);
                section.text.push('\n');
            }
            (None, None) => {
                head.push_str(line);
                head.push('\n');
            }
        }
    }
    (head, sections)
}

/// The default configuration, as far as the filters select it.
#[must_use]
pub fn configuration(args: &SourceArgs) -> String {
    if args.section_filter.is_empty() && args.input_filter.is_empty() && args.output_filter.is_empty() {
        return DEFAULT_CONFIG.to_owned();
    }
    let (head, sections) = sections();
    let is_taken = |section: &&Section| {
        PluginFilter::takes(&args.section_filter, &section.kind)
            && match section.kind.as_str() {
                "inputs" => PluginFilter::takes(&args.input_filter, &section.name),
                "outputs" => PluginFilter::takes(&args.output_filter, &section.name),
                _ => true,
            }
    };
    let sections: String = sections.iter().filter(is_taken).map(|section| section.text.as_str()).collect();
    format!("{head}{sections}")
}

/// A default configuration in which the agent keeps in a directory what is to outlive it.
#[must_use]
pub fn with_state(text: &str, directory: &Path) -> String {
    let at = |name: &str| toml::Value::from(directory.join(name).display().to_string());
    let [spool, statefile] = [at("spool"), at("state.json")];
    text.replacen("\n  buffer_strategy = \"memory\"\n", "\n  buffer_strategy = \"disk_write_through\"\n", 1)
        .replacen("\n  buffer_directory = \"\"\n", &format!("\n  buffer_directory = {spool}\n"), 1)
        .replacen("\n  statefile = \"\"\n", &format!("\n  statefile = {statefile}\n"), 1)
}

/// What is gathered without a file. Where to, nobody has said.
#[must_use]
pub fn without_outputs() -> String {
    let section_filter = ["global_tags", "agent", "inputs"].map(str::to_owned).to_vec();
    configuration(&SourceArgs { section_filter, ..SourceArgs::default() })
}

/// The options of a plugin, for `--usage`; `inputs.NAME` or only the name.
fn usage(plugin: &str) -> anyhow::Result<String> {
    let is_it = |section: &Section| {
        section.name == plugin
            || plugin.split_once('.') == Some((section.kind.as_str(), section.name.as_str()))
    };
    if let Some(section) = sections().1.into_iter().find(is_it) {
        let bare = |line: &str| format!("{}\n", line.strip_prefix("# ").unwrap_or(line));
        return Ok(section.text.trim_start().lines().map(bare).collect());
    }
    let name = plugin.rsplit('.').next().unwrap_or(plugin);
    let is_telegrafs = |kind| telegraf::plugins(kind).is_some_and(|names| names.contains(&name));
    if ["inputs", "outputs", "processors", "aggregators", "secretstores"].into_iter().any(is_telegrafs) {
        bail!("Telegraf's `{plugin}` is not part of this agent: `seismograf plugins` lists what is");
    }
    bail!("there is no plugin `{plugin}`: `seismograf plugins` lists all of them")
}

/// The names of all plugins, or of those of one kind.
#[must_use]
pub fn plugins(kind: Option<&str>) -> String {
    let list = |title: &str, names: &[&str]| {
        let names: String = names.iter().map(|name| format!("  {name}\n")).collect();
        format!("Available {title} Plugins:\n{names}")
    };
    let mut text = String::new();
    if kind.is_none_or(|kind| kind == "inputs") {
        text.push_str(&list("Input", InputOptions::NAMES));
    }
    if kind.is_none_or(|kind| kind == "outputs") {
        text.push_str(&list("Output", OutputOptions::NAMES));
    }
    text
}

/// The text that a flag requests.
///
/// # Errors
/// A plugin that does not exist.
pub fn requested(args: &PrintArgs) -> anyhow::Result<Option<String>> {
    Ok(if let Some(plugin) = &args.usage {
        Some(usage(plugin)?)
    } else if args.input_list {
        Some(plugins(Some("inputs")))
    } else if args.output_list {
        Some(plugins(Some("outputs")))
    } else if args.deprecation_list {
        Some(telegraf::deprecations().map(|line| line + "\n").collect())
    } else if args.sample_config {
        Some(DEFAULT_CONFIG.to_owned())
    } else {
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::env::Environment;
    use crate::config::file;
    use crate::config::reading::Reading;
    use crate::config::reading::Source;
    use crate::config::{Agent, Config, InputSection, OutputSection};

    #[test]
    fn the_sections_are_the_whole() {
        let (head, sections) = sections();
        let text: String = sections.iter().map(|section| section.text.as_str()).collect();
        assert_eq!(format!("{head}{text}"), DEFAULT_CONFIG);
        for name in InputOptions::NAMES.iter().chain(OutputOptions::NAMES) {
            assert!(sections.iter().any(|section| section.name == *name), "{name}");
        }
    }

    #[test]
    fn filters_choose_sections() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let args = SourceArgs {
            section_filter: list(&["agent", "inputs"]),
            input_filter: list(&["mem", "cpu"]),
            ..SourceArgs::default()
        };
        let text = configuration(&args);
        let headers: Vec<&str> = text.lines().filter(|line| line.starts_with('[')).collect();
        assert_eq!(headers, ["[agent]", "[[inputs.cpu]]", "[[inputs.mem]]"]);
        assert!(!text.contains("outputs"), "{text}");
    }

    #[test]
    fn a_file_writes_to_an_influxdb_here_and_no_file_to_nothing() {
        let outputs = |text: String| -> Vec<&str> {
            load(text).outputs.iter().map(|section| section.options.name()).collect()
        };
        assert_eq!(outputs(DEFAULT_CONFIG.into()), ["influxdb"]);
        assert_eq!(outputs(without_outputs()), [""; 0]);
        assert_eq!(load(without_outputs()).inputs.len(), load(DEFAULT_CONFIG.into()).inputs.len());
    }

    #[test]
    fn with_a_directory_what_outlives_the_agent_is_there() {
        let text = with_state(DEFAULT_CONFIG, Path::new("/var/lib/a \"b\""));
        let Agent { buffering, statefile, .. } = load(text).agent;
        assert_eq!(statefile.unwrap(), Path::new("/var/lib/a \"b\"/state.json"));
        assert!(buffering.is_on_disk, "{buffering:?}");
        assert_eq!(buffering.directory.unwrap(), Path::new("/var/lib/a \"b\"/spool"));
    }

    #[test]
    fn usage_is_what_can_be_pasted() {
        let text = usage("outputs.influxdb").unwrap();
        assert!(text.contains("\n[[outputs.influxdb]]\n") && text.contains("\n  urls = "), "{text}");
        assert!(!text.contains("[[outputs.file]]"), "{text}");
        assert!(usage("mem").unwrap().contains("[[inputs.mem]]"));
        assert!(usage("mysql").unwrap_err().to_string().starts_with("Telegraf's `mysql` is not part"));
        assert!(usage("nothing").is_err());
    }

    #[test]
    fn names_are_listed_by_kind() {
        assert!(plugins(Some("inputs")).contains("  cpu\n") && !plugins(Some("inputs")).contains("Output"));
        assert!(plugins(None).contains("Available Output Plugins:\n  file\n"));
    }

    fn load(text: String) -> Config {
        let source = Source { path: "default".into(), text };
        file::load(&[source], &Reading::of_text(Environment::strict(&|_| None), "h")).unwrap()
    }

    /// Telegraf's sample leaves out some file systems and the protocols' counters; its code does not. The sample is what people
    /// want.
    const OTHER_THAN_DEFAULT: &[&str] = &["disk", "net", "socket_listener"];

    fn is_default_input(options: &InputOptions) -> bool {
        let config = load(format!("[[inputs.{}]]", options.name()));
        config.inputs.iter().any(|section| section.options == *options)
    }

    #[test]
    fn the_default_configuration_says_what_the_defaults_are() {
        let config = load(DEFAULT_CONFIG.into());
        assert_eq!(config.agent, Agent { hostname: Some("h".into()), ..Default::default() });
        for InputSection { options, .. } in &config.inputs {
            assert_eq!(
                is_default_input(options),
                !OTHER_THAN_DEFAULT.contains(&options.name()),
                "{options:?}"
            );
        }
        // Every input is listed; those that few need are commented out.
        let (text, n_inputs) = (DEFAULT_CONFIG, InputOptions::NAMES.len());
        assert_eq!(text.lines().filter(|line| line.contains("[[inputs.")).count(), n_inputs);
    }

    #[test]
    fn the_commented_plugins_are_valid_too() {
        let text: String = DEFAULT_CONFIG
            .lines()
            .map(|line| format!("{}\n", line.strip_prefix("# ").unwrap_or(line)))
            .collect();
        let text = text
            .lines()
            .filter(|l| l.trim_start().starts_with(['[', '#']) || l.contains(" = "))
            .collect::<Vec<_>>()
            .join("\n");
        let config = load(text);
        let is_default = |options: &OutputOptions| {
            let config = load(format!("[[outputs.{}]]", options.name()));
            config.outputs.iter().any(|section| section.options == *options)
        };
        let mut names: Vec<&str> = config.outputs.iter().map(|section| section.options.name()).collect();
        names.sort_unstable();
        assert_eq!(names, OutputOptions::NAMES);
        for OutputSection { options, .. } in config.outputs {
            assert!(is_default(&options), "{options:?}");
            assert!(options.build().is_ok());
        }
        let names: Vec<&str> = config.inputs.iter().map(|section| section.options.name()).collect();
        assert_eq!(names.len(), InputOptions::NAMES.len());
        for InputSection { options, .. } in &config.inputs {
            assert_eq!(
                is_default_input(options),
                !OTHER_THAN_DEFAULT.contains(&options.name()),
                "{options:?}"
            );
        }
    }
}
