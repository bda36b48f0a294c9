//! `[[inputs.socket_listener]]`: line protocol by UDP, TCP and unix sockets.
//!
//! A stream is read as long as there is room; the sender waits. Datagrams are taken as long as there is room; those that the
//! kernel drops meanwhile are counted.

mod datagrams;
mod framing;
mod options;
mod streams;

use std::sync::Arc;

pub use self::options::SocketListenerOptions as Options;
use self::options::SocketSetup;
use super::listener::{self, Listener, bind};
use super::{Input, InputPlugin, Shared, StartError};
use crate::host::Host;
use crate::listen::listened_on;
use crate::options::OptionError;
use crate::service::budget::Budget;
use crate::service::privilege::Files;

/// The plugin's name.
const NAME: &str = "socket_listener";

impl InputPlugin for Options {
    fn budget(&self, _: u64) -> Budget {
        match self.setup() {
            Ok(SocketSetup::Datagrams(..)) => listener::budget::of_datagrams(),
            Ok(SocketSetup::Streams(setup, _)) => streams::budget(self.max_connections, setup.packing),
            // It is refused before it starts.
            Err(_) => Budget::default(),
        }
    }

    fn listens_on(&self) -> Option<String> {
        Some(self.service_address.clone())
    }

    fn files(&self) -> Files {
        listened_on(&self.service_address, &self.server_tls)
    }

    fn check(&self, _: &Host) -> Result<(), OptionError> {
        self.setup().map(drop)
    }

    fn remarks(&self, _: Option<&Host>) -> Vec<OptionError> {
        self.without_effect()
    }

    fn build(self: Box<Self>, shared: &Arc<Shared>) -> Result<Box<dyn Input>, StartError> {
        let setup = self.setup()?;
        let socket = bind(NAME, &self.service_address, setup.wishes(), shared)?;
        let receive: listener::Receive = match setup {
            SocketSetup::Streams(setup, _) => Box::new(|inlet| Box::pin(streams::receive(inlet, setup))),
            SocketSetup::Datagrams(setup, _) => Box::new(|inlet| Box::pin(datagrams::receive(inlet, setup))),
        };
        Ok(Box::new(Listener::new(NAME, socket, receive)))
    }
}

#[cfg(test)]
mod tests;
