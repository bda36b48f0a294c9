//! What both inputs do to listen.

use std::sync::Arc;

use super::routes::Api;
use super::serve::receive;
use crate::inputs::listener::address::{Address, Transport};
use crate::inputs::listener::bind::{Wishes, bind};
use crate::inputs::listener::connections::Admission;
use crate::inputs::listener::tls::acceptor;
use crate::inputs::listener::{Listener, Receive};
use crate::inputs::{Input, Shared, StartError};
use crate::options::OptionError;
use crate::options::tls::ServerTls;

/// Who may connect to an address.
pub(in super::super::super) fn admission(address: &str, tls: &ServerTls) -> Result<Admission, OptionError> {
    if Address::parse(address)?.transport() == Transport::Datagram {
        let what = format!(
            "`{address}`: requests come by TCP or a unix socket; for datagrams there is socket_listener"
        );
        return Err(OptionError::new("service_address", what));
    }
    Ok(Admission { tls: acceptor(tls)?, ..Admission::default() })
}

/// An input that serves requests.
pub(in super::super::super) fn listen(
    name: &'static str,
    address: &str,
    (admission, api): (Admission, Api),
    shared: &Shared,
) -> Result<Box<dyn Input>, StartError> {
    let socket = bind(name, address, &Wishes::default(), shared)?;
    let api = Arc::new(api);
    let receive: Receive = Box::new(|inlet| Box::pin(receive(inlet, admission, api)));
    Ok(Box::new(Listener::new(name, socket, receive)))
}
