//! The plugins: which inputs and outputs there are, by Telegraf's name.
//!
//! Two tables. A plugin is a module of `inputs` or `outputs` with its name, and an `Options` struct that is its section of a
//! file and can make it; its line here is all that the rest of the agent knows of it.

use std::sync::Arc;

use crate::inputs::{self, Input, InputPlugin, Shared, StartError};
use crate::options::{OptionError, Section};
use crate::outputs::{self, Output, OutputPlugin};

/// A table: the plugins of one kind, each by its module, whose name is the plugin's.
macro_rules! plugins {
    (
        $(#[$doc:meta])*
        $table:ident: $kind:ident, $plugin:ident;
        $($module:ident => $variant:ident),* $(,)?
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $table {
            $(
                #[doc = concat!("`[[", stringify!($kind), ".", stringify!($module), "]]`")]
                $variant($kind::$module::Options),
            )*
        }

        impl $table {
            /// The names of all, sorted.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($module)),*];

            /// The plugin's name.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => stringify!($module)),* }
            }

            /// Reads the options of the plugin `name`; `None` when they have problems or there is no such plugin.
            pub fn read(name: &str, section: &mut impl Section) -> Option<Self> {
                match name {
                    $(stringify!($module) => section.read().map(Self::$variant),)*
                    _ => None,
                }
            }

            fn plugin(self) -> Box<dyn $plugin> {
                match self { $(Self::$variant(options) => Box::new(options)),* }
            }
        }
    };
}

plugins! {
    /// The options of one input, whichever it is.
    InputOptions: inputs, InputPlugin;
    cgroup => Cgroup,
    cpu => Cpu,
    disk => Disk,
    diskio => Diskio,
    docker => Docker,
    ebpf => Ebpf,
    internal => Internal,
    kernel => Kernel,
    kubernetes => Kubernetes,
    mem => Mem,
    net => Net,
    processes => Processes,
    swap => Swap,
    system => System,
}

plugins! {
    /// The options of one output, whichever it is.
    OutputOptions: outputs, OutputPlugin;
    file => File,
    influxdb => Influxdb,
    influxdb_v2 => InfluxdbV2,
}

impl InputOptions {
    /// Makes the input. Call it within the runtime.
    ///
    /// # Errors
    /// Why it cannot start at all.
    pub fn build(self, shared: &Arc<Shared>) -> Result<Box<dyn Input>, StartError> {
        self.plugin().build(shared)
    }
}

impl OutputOptions {
    /// Makes the outputs of a section, mostly one; nothing is contacted yet.
    ///
    /// # Errors
    /// Which option it cannot work with, and what to do.
    pub fn build(self) -> Result<Vec<Box<dyn Output>>, OptionError> {
        self.plugin().build()
    }
}
