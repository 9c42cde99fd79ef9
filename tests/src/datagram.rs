//! One UDP socket, datagram by datagram, from the client's end or from the server's.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::wait::{DEADLINE, Log, fail};

/// The largest datagram has 65,507 bytes.
const LARGEST: usize = 64 << 10;

/// A raw UDP socket. It receives only when it is asked to.
pub struct Datagrams {
    socket: UdpSocket,
    /// Where it sends to: the address it was made for, or else whoever was heard last.
    peer: Option<SocketAddr>,
    /// Whether datagrams may come from that address only.
    fixed: bool,
    log: Log,
}

impl Datagrams {
    /// A client's end, on a free port: what comes from elsewhere than `address` fails the test. Failures will quote `log`.
    pub fn to(address: SocketAddr, log: &Log) -> Datagrams {
        let here = if address.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
        Datagrams { peer: Some(address), fixed: true, log: log.clone(), ..Datagrams::at(here) }
    }

    /// A client's end again, on a port that it had before.
    ///
    /// # Errors
    /// Somebody else has that port now.
    pub fn from_port(port: u16, address: SocketAddr, log: &Log) -> io::Result<Datagrams> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port))?;
        Ok(Datagrams { socket, peer: Some(address), fixed: true, log: log.clone() })
    }

    /// A server's end, at this address: `127.0.0.1:0` is a free port.
    pub fn at(address: &str) -> Datagrams {
        let socket = UdpSocket::bind(address).unwrap();
        Datagrams { socket, peer: None, fixed: false, log: Log::default() }
    }

    /// The socket itself, for what this type does not offer.
    pub fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// This end's port.
    pub fn port(&self) -> u16 {
        self.socket.local_addr().unwrap().port()
    }

    /// Where it sends to.
    pub fn peer(&self) -> SocketAddr {
        self.peer.expect("somebody was heard before")
    }

    /// Adds to what a failure message quotes.
    pub fn quote(&mut self, log: &Log) {
        self.log.join(log);
    }

    /// Sends exactly these bytes, in one datagram.
    #[track_caller]
    pub fn send(&self, bytes: impl AsRef<[u8]>) {
        if let Err(error) = self.socket.send_to(bytes.as_ref(), self.peer()) {
            fail("a datagram is sent", &error.to_string(), &self.log);
        }
    }

    /// The next datagram, if one comes within `limit`.
    #[track_caller]
    pub fn receive(&mut self, limit: Duration) -> Option<Vec<u8>> {
        let end = Instant::now() + limit;
        let mut buffer = vec![0; LARGEST];
        loop {
            // Zero would mean for ever.
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.socket.set_read_timeout(Some(left)).unwrap();
            match self.socket.recv_from(&mut buffer) {
                Ok((count, from)) => {
                    self.heard(from);
                    buffer.truncate(count);
                    return Some(buffer);
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return None;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => fail("a datagram", &error.to_string(), &self.log),
            }
        }
    }

    /// The next datagram is `wanted`, byte for byte.
    #[track_caller]
    pub fn expect(&mut self, wanted: impl AsRef<[u8]>) {
        match self.receive(DEADLINE) {
            Some(have) if have == wanted.as_ref() => {}
            Some(have) => fail(&quoted(wanted.as_ref()), &quoted(&have), &self.log),
            None => fail(&quoted(wanted.as_ref()), "nothing in time", &self.log),
        }
    }

    /// Nothing has come. It means something when what would have sent it has done something else since.
    #[track_caller]
    pub fn expect_nothing(&mut self) {
        if let Some(have) = self.receive(Duration::ZERO) {
            fail("no datagram", &quoted(&have), &self.log);
        }
    }

    #[track_caller]
    fn heard(&mut self, from: SocketAddr) {
        let peer = *self.peer.get_or_insert(from);
        if self.fixed && peer != from {
            fail(&format!("datagrams from {peer}"), &format!("one from {from}"), &self.log);
        }
        self.peer = Some(from);
    }
}

/// The start of a datagram, as a failure message shows it.
fn quoted(bytes: &[u8]) -> String {
    let start: String = String::from_utf8_lossy(bytes).chars().take(200).collect();
    format!("{start:?}, {} bytes", bytes.len())
}
