//! The plugins: the tables of all inputs and outputs, by Telegraf's name.
//!
//! A plugin is a module of `inputs` or `outputs` with the plugin's name. Its `Options` struct is the plugin's section of a file,
//! and builds the plugin. The line in the table here is all that the rest of the agent knows of it.

use std::sync::Arc;

use crate::host::Host;
use crate::inputs::{self, Input, InputPlugin, Shared, StartError};
use crate::options::{OptionError, Section};
use crate::outputs::{self, Output, OutputPlugin};
use crate::service::budget::Budget;
use crate::service::privilege::Files;

/// What `config` knows of a table of plugins.
pub(crate) trait PluginTable: Clone {
    /// What comes before the name in the header of a section: `inputs`.
    const KIND: &'static str;
    /// The names of all plugins.
    const NAMES: &'static [&'static str];

    /// One of the kind: `input`.
    fn singular() -> &'static str {
        Self::KIND.trim_end_matches('s')
    }

    /// Reads the options of the plugin `name`; `None` when they have problems, or when there is no such plugin.
    fn read(name: &str, section: &mut impl Section) -> Option<Self>;

    /// Checks the options as a start does, short of starting anything; nobody is contacted.
    ///
    /// # Errors
    /// An option that cannot be used, and what to do.
    fn check(&self, host: &Host) -> Result<(), OptionError>;

    /// Options that do nothing, or not what they seem to; without a host only what can be told of their text.
    fn remarks(&self, host: Option<&Host>) -> Vec<OptionError>;

    /// The address that the plugin listens on, if it does.
    fn listens_on(&self) -> Option<String>;

    /// Files that the options name and that are needed while the plugin runs.
    fn files(&self) -> Files;

    /// What the plugin takes at most on a machine on which there can be so many CPUs.
    fn budget(&self, cpus: u64) -> Budget;
}

/// Makes the table of one kind of plugins; each is listed by its module, which has the plugin's name. One that can be left out
/// has that name as its feature.
macro_rules! plugins {
    (
        $(#[$doc:meta])*
        $table:ident: $kind:ident, $plugin:ident;
        $($module:ident => $variant:ident $(if $feature:literal)?),* $(,)?
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        #[allow(clippy::large_enum_variant, reason = "there are a few, from one reading of a file to the next")]
        pub enum $table {
            $(
                $(#[cfg(feature = $feature)])?
                #[doc = concat!("`[[", stringify!($kind), ".", stringify!($module), "]]`")]
                $variant($kind::$module::Options),
            )*
        }

        impl $table {
            /// The names of all plugins that are built in, sorted.
            pub const NAMES: &'static [&'static str] =
                &[$($(#[cfg(feature = $feature)])? stringify!($module)),*];
            /// The names of those that can be left out, which are also the features that have them built in.
            pub const FEATURES: &'static [&'static str] = &[$($($feature,)?)*];

            /// The plugin's name.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $($(#[cfg(feature = $feature)])? Self::$variant(_) => stringify!($module)),* }
            }

            fn of_section(name: &str, section: &mut impl Section) -> Option<Self> {
                match name {
                    $($(#[cfg(feature = $feature)])? stringify!($module) => section.read().map(Self::$variant),)*
                    _ => None,
                }
            }

            fn plugin(self) -> Box<dyn $plugin> {
                match self { $($(#[cfg(feature = $feature)])? Self::$variant(options) => Box::new(options)),* }
            }

            fn as_plugin(&self) -> &dyn $plugin {
                match self { $($(#[cfg(feature = $feature)])? Self::$variant(options) => options),* }
            }
        }
    };
}

plugins! {
    /// The options of any input.
    InputOptions: inputs, InputPlugin;
    cgroup => Cgroup,
    cpu => Cpu,
    disk => Disk,
    diskio => Diskio,
    docker => Docker,
    ebpf => Ebpf,
    influxdb_listener => InfluxdbListener,
    influxdb_v2_listener => InfluxdbV2Listener,
    internal => Internal,
    kernel => Kernel,
    kubernetes => Kubernetes,
    mem => Mem,
    net => Net,
    processes => Processes,
    prometheus => Prometheus,
    socket_listener => SocketListener,
    swap => Swap,
    system => System,
}

plugins! {
    /// The options of any output.
    OutputOptions: outputs, OutputPlugin;
    file => File,
    http => Http if "http",
    influxdb => Influxdb,
    influxdb_v2 => InfluxdbV2,
    influxdb_v3 => InfluxdbV3,
    kafka => Kafka if "kafka",
    opentelemetry => Opentelemetry if "opentelemetry",
    prometheus_client => PrometheusClient if "prometheus_client",
}

impl InputOptions {
    /// The inputs that others send points to.
    pub(crate) const LISTENERS: &[&str] = &["influxdb_listener", "influxdb_v2_listener", "socket_listener"];

    /// Builds the input. Must be called within the runtime.
    ///
    /// # Errors
    /// Why it cannot start.
    pub fn build(self, shared: &Arc<Shared>) -> Result<Box<dyn Input>, StartError> {
        self.plugin().build(shared)
    }
}

impl OutputOptions {
    /// Builds the outputs of a section, usually one; nothing is contacted yet.
    ///
    /// # Errors
    /// An option that cannot be used, and what to do.
    pub fn build(self) -> Result<Vec<Box<dyn Output>>, OptionError> {
        self.plugin().build()
    }
}

impl PluginTable for InputOptions {
    const KIND: &'static str = "inputs";
    const NAMES: &'static [&'static str] = Self::NAMES;

    fn read(name: &str, section: &mut impl Section) -> Option<Self> {
        Self::of_section(name, section)
    }

    fn check(&self, host: &Host) -> Result<(), OptionError> {
        self.as_plugin().check(host)
    }

    fn remarks(&self, host: Option<&Host>) -> Vec<OptionError> {
        self.as_plugin().remarks(host)
    }

    fn listens_on(&self) -> Option<String> {
        self.as_plugin().listens_on()
    }

    fn files(&self) -> Files {
        self.as_plugin().files()
    }

    fn budget(&self, cpus: u64) -> Budget {
        self.as_plugin().budget(cpus)
    }
}

impl PluginTable for OutputOptions {
    const KIND: &'static str = "outputs";
    const NAMES: &'static [&'static str] = Self::NAMES;

    fn read(name: &str, section: &mut impl Section) -> Option<Self> {
        Self::of_section(name, section)
    }

    fn check(&self, _: &Host) -> Result<(), OptionError> {
        self.clone().build().map(drop)
    }

    fn remarks(&self, _: Option<&Host>) -> Vec<OptionError> {
        self.as_plugin().remarks()
    }

    fn listens_on(&self) -> Option<String> {
        self.as_plugin().listens_on()
    }

    fn files(&self) -> Files {
        self.as_plugin().files()
    }

    fn budget(&self, _: u64) -> Budget {
        self.as_plugin().budget()
    }
}
