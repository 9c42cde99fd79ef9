//! One client of a party: a blocking socket, and how many bytes it has yet to receive.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long to wait for what must come. Beyond it something is broken, not slow.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client, connected.
pub(crate) struct Client {
    /// Its name.
    pub(crate) name: String,
    stream: TcpStream,
    /// How many bytes have been sent to it, or are about to be, that it has not received yet.
    owed: usize,
}

impl Client {
    /// Connects a client; it has said nothing yet.
    ///
    /// # Errors
    /// Nobody listens there.
    pub(crate) fn connect(address: SocketAddr, name: String) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { name, stream, owed: 0 })
    }

    /// Says something, in one write.
    ///
    /// # Errors
    /// The connection is gone.
    pub(crate) fn say(&mut self, write: &[u8]) -> io::Result<()> {
        self.stream.write_all(write).map_err(|error| self.broken(&error))
    }

    /// It will be sent so many bytes more.
    pub(crate) const fn owe(&mut self, bytes: usize) {
        self.owed += bytes;
    }

    /// Reads until at most `rest` of the bytes owed to it are still to come.
    ///
    /// # Errors
    /// They do not come, or the connection ends, or more comes than is owed.
    pub(crate) fn collect(&mut self, rest: usize, buffer: &mut [u8]) -> io::Result<()> {
        while self.owed > rest {
            let count = self.stream.read(buffer).map_err(|error| self.broken(&error))?;
            self.owed = match self.owed.checked_sub(count) {
                Some(owed) if count > 0 => owed,
                Some(_) => return Err(self.broken(&"the server closed the connection")),
                None => return Err(self.broken(&String::from_utf8_lossy(&buffer[..count]))),
            };
        }
        Ok(())
    }

    /// Reads exactly `wanted`.
    ///
    /// # Errors
    /// Something else comes.
    pub(crate) fn expect(&mut self, wanted: &str) -> io::Result<()> {
        let mut have = vec![0; wanted.len()];
        self.stream.read_exact(&mut have).map_err(|error| self.broken(&error))?;
        if have != wanted.as_bytes() {
            let have = String::from_utf8_lossy(&have);
            return Err(self.broken(&format!("wanted {wanted:?}, have {have:?}")));
        }
        self.owed -= wanted.len();
        Ok(())
    }

    /// The port on its own side.
    ///
    /// # Errors
    /// The connection is gone.
    pub(crate) fn port(&self) -> io::Result<u16> {
        Ok(self.stream.local_addr()?.port())
    }

    fn broken(&self, cause: &dyn std::fmt::Display) -> io::Error {
        io::Error::other(format!("client {}, {} bytes to come: {cause}", self.name, self.owed))
    }
}
