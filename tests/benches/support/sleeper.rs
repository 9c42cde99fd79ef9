//! A client that has stopped reading, and whose socket buffers are full on both sides.

use std::io;
use std::net::SocketAddr;

use super::client::Client;
use super::party::{Party, name};
use super::sockets::{self, ESTABLISHED};

/// A registered client that reads nothing.
pub(crate) struct Sleeper {
    client: Client,
    server: SocketAddr,
}

/// How much the sleeper is told between two looks at its socket: little beside what a server keeps for a
/// client before it takes measures.
const STEP: usize = 16 << 10;

/// How long a text is that fills the sleeper: as long as most protocols take it.
const FILLING: usize = 2 << 10;

/// How much a socket may hold before we give up: the system's own limit is a few MiB on either side.
const MAX_HELD: usize = 256 << 20;

impl Party {
    /// One more client joins, goes to sleep, and is told so much that its socket buffers are full.
    ///
    /// # Errors
    /// It cannot join, or they are never full.
    pub(crate) fn put_to_sleep(&mut self) -> io::Result<Sleeper> {
        let client = self.admit(Client::connect(self.address, name(self.clients.len()))?)?;
        self.collect_all()?;
        let sleeper = Sleeper { client, server: self.address };
        let mut held = 0;
        for _ in 0..MAX_HELD / STEP {
            self.tell(&sleeper.client.name)?;
            let holds = sleeper.unsent()?;
            if holds == held {
                return Ok(sleeper);
            }
            held = holds;
        }
        Err(io::Error::other("the socket of a client that does not read is never full"))
    }

    /// The sleeper is cut off, and everyone hears that it has gone.
    ///
    /// # Errors
    /// The server had dropped it before: it was not asleep all the time.
    pub(crate) fn wake(&mut self, sleeper: Sleeper) -> io::Result<()> {
        sleeper.unsent()?;
        self.owe_all((self.wire.left)(&sleeper.client.name).len());
        drop(sleeper);
        self.collect_all()
    }

    /// The last client tells the sleeper a [`STEP`], and then itself a word: when that arrives, the server
    /// has handled all of it.
    fn tell(&mut self, sleeper: &str) -> io::Result<()> {
        let teller = self.clients.last_mut().ok_or(io::ErrorKind::NotFound)?;
        let filling = (self.wire.tell)(sleeper, &"z".repeat(FILLING));
        let word = (self.wire.tell)(&teller.name, "done");
        let heard = (self.wire.hear)(&teller.name, "done");
        teller.owe(heard.len());
        teller.say((filling.repeat(STEP / FILLING) + &word).as_bytes())?;
        teller.expect(&heard)
    }
}

impl Sleeper {
    /// How many bytes the system keeps on the server's side that the sleeper's side has no room for.
    ///
    /// # Errors
    /// There is no such connection any more.
    fn unsent(&self) -> io::Result<usize> {
        let (server, client) = (self.server.port(), self.client.port()?);
        let connections = sockets::tcp()?;
        let theirs = connections
            .iter()
            .find(|socket| (socket.local, socket.remote) == (server, client) && socket.state == ESTABLISHED);
        theirs
            .map(|socket| socket.unsent)
            .ok_or_else(|| io::Error::other("the server has dropped the client that does not read"))
    }
}
