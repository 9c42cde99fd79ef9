//! A socket whose every datagram is one message.
//!
//! UDP has no connections: one socket serves everybody, and the sender's address, which comes with each datagram, is
//! all that tells one client from another. Nobody hears that a client has gone, so who says nothing for long is given
//! up; datagrams may be lost, doubled or overtaken, and nothing here repairs that.
//!
//! One thread receives, and must never wait for anything else: the system drops what does not fit its buffer
//! meanwhile. What datagrams mean is not known here.

use crate::log::Log;
use crate::stop::Stop;
use crate::tcp::reachable;
use socket2::SockRef;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

/// How many bytes may wait to be received. The system gives less where it allows less.
const RECEIVE_BUFFER: usize = 4 << 20;

/// The largest datagram has 65,507 bytes; none is ever cut.
const LARGEST: usize = 64 << 10;

/// How long to wait after an error that is none of a datagram's, so that nothing spins.
const BACKOFF: Duration = Duration::from_millis(100);

/// A socket on `port` of `host`, a name or an address, trying every address that a name has (A10).
///
/// # Errors
/// One line with host, port and cause.
pub(crate) fn bind(host: &str, port: u16) -> Result<UdpSocket, String> {
    let failed = |error: io::Error| format!("cannot listen on {host} port {port}: {error}");
    let socket = UdpSocket::bind((host, port)).map_err(failed)?;
    // A smaller buffer loses more in a burst, and works.
    let _ = SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER);
    Ok(socket)
}

/// Hands every datagram and its sender to `handle`, until `stop`. Empty datagrams say nothing.
///
/// # Errors
/// One line: the socket is of no use.
pub(crate) fn receive(
    socket: &Arc<UdpSocket>,
    stop: &Stop,
    log: &Log,
    mut handle: impl FnMut(SocketAddr, &[u8]),
) -> Result<(), String> {
    wake_on_stop(socket, stop).map_err(|error| format!("cannot receive: {error}"))?;
    let mut buffer = vec![0; LARGEST];
    while !stop.requested() {
        match socket.recv_from(&mut buffer) {
            Ok((count, from)) if count > 0 => handle(from, buffer.get(..count).unwrap_or_default()),
            Ok(_) => {}
            Err(error) if is_passing(&error) => {}
            Err(error) => {
                log.err(&format!("cannot receive a datagram: {error}"));
                stop.wait(BACKOFF);
            }
        }
    }
    Ok(())
}

/// Sends a datagram, without ever waiting. UDP may lose it anywhere, here too.
pub(crate) fn send(socket: &UdpSocket, to: SocketAddr, datagram: &[u8]) {
    let _ = SockRef::from(socket).send_to_with_flags(datagram, &to.into(), libc::MSG_DONTWAIT);
}

/// A blocked receive does not see a flag: an empty datagram to ourselves wakes it.
fn wake_on_stop(socket: &Arc<UdpSocket>, stop: &Stop) -> io::Result<()> {
    let address = reachable(socket.local_addr()?);
    let socket = Arc::clone(socket);
    stop.on_stop(move || send(&socket, address, &[]));
    Ok(())
}

/// A signal, or some systems' word that an earlier datagram found nobody: not of the socket.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset)
}
