//! What both inputs do to listen.

use std::sync::Arc;

use super::routes::Api;
use crate::inputs::listener::{Listener, OPTION, Receive, address, bind};
use crate::inputs::{Input, Shared, StartError};
use crate::listen::address::Transport;
use crate::listen::bind::Wishes;
use crate::listen::connections::Admission;
use crate::listen::serve::receive;
use crate::listen::tls::acceptor;
use crate::options::OptionError;
use crate::options::tls::ServerTls;

/// Who may connect to an address.
pub(in super::super::super) fn admission(at: &str, tls: &ServerTls) -> Result<Admission, OptionError> {
    if address(at)?.transport() == Transport::Datagram {
        let what =
            format!("`{at}`: requests come by TCP or a unix socket; for datagrams there is socket_listener");
        return Err(OptionError::new(OPTION, what));
    }
    Ok(Admission { tls: acceptor(tls)?, ..Admission::default() })
}

/// An input that serves requests.
pub(in super::super::super) fn listen(
    name: &'static str,
    at: &str,
    (admission, api): (Admission, Api),
    shared: &Shared,
) -> Result<Box<dyn Input>, StartError> {
    let socket = bind(name, at, &Wishes::default(), shared)?;
    let api = Arc::new(api);
    let receive: Receive = Box::new(|inlet| Box::pin(receive(inlet, admission, api)));
    Ok(Box::new(Listener::new(name, socket, receive)))
}
