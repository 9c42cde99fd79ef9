//! The TCP sockets of this machine, as the system sees them.

use std::fs;
use std::io;

/// A TCP socket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Socket {
    /// The port on its own side.
    pub(crate) local: u16,
    /// The port on the other side; 0 if there is none.
    pub(crate) remote: u16,
    /// The number of its state.
    pub(crate) state: u8,
    /// How many bytes it holds that the other side has not taken.
    pub(crate) unsent: usize,
}

/// The state of a socket that is connected.
pub(crate) const ESTABLISHED: u8 = 0x01;

/// The state of a socket that others can connect to.
pub(crate) const LISTENING: u8 = 0x0A;

/// All of them, those of IPv4.
///
/// # Errors
/// The system does not say.
pub(crate) fn tcp() -> io::Result<Vec<Socket>> {
    Ok(fs::read_to_string("/proc/net/tcp")?.lines().filter_map(socket).collect())
}

/// The socket of a line of that file. Its fields are `number: ADDRESS:PORT ADDRESS:PORT state
/// send_queue:receive_queue …`, all hexadecimal.
fn socket(line: &str) -> Option<Socket> {
    let mut fields = line.split_whitespace().skip(1);
    let mut port = || u16::from_str_radix(fields.next()?.rsplit_once(':')?.1, 16).ok();
    let (local, remote) = (port()?, port()?);
    let state = u8::from_str_radix(fields.next()?, 16).ok()?;
    let unsent = usize::from_str_radix(fields.next()?.split_once(':')?.0, 16).ok()?;
    Some(Socket { local, remote, state, unsent })
}
