//! Two clients that speak UDP: one says, the other hears. Each has its own server, or both have the same.
//!
//! As a [`super::party`], they cost little: one thread, blocking sockets, the same buffer for every message.
//! But UDP may lose a message, so every message has a number, and nothing waits for long. What has not come
//! in time is counted and given up; so is everything before a message that came.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

/// What a protocol says, one datagram each.
pub(crate) struct Wire {
    /// What the client of this name says to register.
    pub(crate) join: fn(name: &str) -> String,
    /// What it receives when it is registered.
    pub(crate) welcome: fn(name: &str) -> String,
    /// What a client says to tell another a text.
    pub(crate) say: fn(to: &str, text: &str) -> String,
    /// What the other receives then. The text is its end, as it is the end of `say`.
    pub(crate) hear: fn(from: &str, text: &str) -> String,
}

/// The two, registered.
pub(crate) struct Couple {
    speaker: UdpSocket,
    listener: UdpSocket,
    /// The datagrams, and where their numbers are.
    say: Numbered,
    hear: Numbered,
    /// How many messages were said.
    said: u64,
    /// How many of them have been heard or given up.
    settled: u64,
    /// How many timeouts there were behind the last message that was heard.
    silences: u32,
    tally: Tally,
    buffer: Vec<u8>,
}

/// What became of the messages.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Messages that were said.
    pub(crate) said: u64,
    /// Messages that were given up.
    pub(crate) lost: u64,
    /// Messages that came when they had been given up, or a second time.
    pub(crate) late: u64,
}

/// A datagram that says the same each time, but for a number.
struct Numbered {
    bytes: Vec<u8>,
    /// Where the number begins.
    at: usize,
}

/// Who says.
pub(crate) const SPEAKER: &str = "ann";

/// Who hears.
pub(crate) const LISTENER: &str = "bob";

/// What is said. As `recvfrom ann …` it makes 48 bytes, such a line as people type.
const TEXT: &str = "00000000 the quick brown fox jumps ";

/// How many digits of it are the number.
const DIGITS: usize = 8;

/// How long to wait for a datagram. A busy machine may let a server wait for hundreds of milliseconds, and
/// what comes then is late, not lost.
const PATIENCE: Duration = Duration::from_secs(1);

/// After so many timeouts in a row a server is broken, not busy.
const SILENCES: u32 = 3;

/// How long to try to register with a server that may not even have started.
const JOINING: Duration = Duration::from_secs(10);

/// How long to wait where nobody listens yet.
const PAUSE: Duration = Duration::from_millis(10);

/// More than any datagram that is expected.
const BUFFER: usize = 4 << 10;

impl Couple {
    /// Registers two clients, the speaker with one server, the listener with another or the same; and tells a
    /// message from the one to the other.
    ///
    /// # Errors
    /// A server does not say what is expected, or the message does not arrive.
    pub(crate) fn new(wire: &Wire, speaker: SocketAddr, listener: SocketAddr) -> io::Result<Self> {
        let mut couple = Self {
            speaker: register(wire, SPEAKER, speaker)?,
            listener: register(wire, LISTENER, listener)?,
            say: Numbered::new(&(wire.say)(LISTENER, TEXT)),
            hear: Numbered::new(&(wire.hear)(SPEAKER, TEXT)),
            said: 0,
            settled: 0,
            silences: 0,
            tally: Tally::default(),
            buffer: vec![0; BUFFER],
        };
        // Until the first arrives: a link may still be on its way.
        while couple.latency()?.is_none() {}
        Ok(couple)
    }

    /// What became of all messages so far.
    pub(crate) const fn tally(&self) -> Tally {
        Tally { said: self.said, ..self.tally }
    }

    /// One message: the time from before it is said until it is heard. `None` if it was lost.
    ///
    /// # Errors
    /// Something else arrives, or nothing for several times.
    pub(crate) fn latency(&mut self) -> io::Result<Option<Duration>> {
        let start = Instant::now();
        self.say()?;
        Ok(self.hear()?.then(|| start.elapsed()))
    }

    /// Speaks for `time` with `bursts` of `burst` messages on their way; the next burst is said when one has
    /// been settled. Returns the number of messages heard, and the time until the last one.
    ///
    /// # Errors
    /// Something else arrives, or nothing for several times.
    pub(crate) fn flood(&mut self, bursts: u64, burst: u64, time: Duration) -> io::Result<(u64, Duration)> {
        let start = Instant::now();
        let mut heard = 0;
        while start.elapsed() < time {
            while self.said - self.settled <= (bursts - 1) * burst {
                (0..burst).try_for_each(|_| self.say())?;
            }
            heard += self.settle((bursts - 1) * burst)?;
        }
        heard += self.settle(0)?;
        Ok((heard, start.elapsed()))
    }

    /// Hears until at most `rest` messages are on their way. How many were heard.
    fn settle(&mut self, rest: u64) -> io::Result<u64> {
        let mut heard = 0;
        while self.said - self.settled > rest {
            heard += u64::from(self.hear()?);
        }
        Ok(heard)
    }

    fn say(&mut self) -> io::Result<()> {
        self.speaker.send(self.say.number(self.said)).map_err(|error| self.broken(&error))?;
        self.said += 1;
        Ok(())
    }

    /// Waits for one of the messages on their way. Whether one came.
    fn hear(&mut self) -> io::Result<bool> {
        loop {
            let count = match self.listener.recv(&mut self.buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.give_up(),
                Err(error) => return Err(self.broken(&error)),
            };
            match self.hear.number_of(&self.buffer[..count]) {
                Some(number) if number < self.settled => self.tally.late += 1,
                Some(number) if number < self.said => {
                    self.tally.lost += number - self.settled;
                    self.settled = number + 1;
                    self.silences = 0;
                    return Ok(true);
                }
                _ => return Err(self.broken(&String::from_utf8_lossy(&self.buffer[..count]))),
            }
        }
    }

    /// Nothing comes: all that is on its way is lost.
    fn give_up(&mut self) -> io::Result<bool> {
        self.tally.lost += self.said - self.settled;
        self.settled = self.said;
        self.silences += 1;
        if self.silences < SILENCES { Ok(false) } else { Err(self.broken(&"nothing arrives")) }
    }

    fn broken(&self, cause: &dyn Display) -> io::Error {
        io::Error::other(format!("messages {} to {}: {cause}", self.settled, self.said))
    }
}

impl Numbered {
    /// The datagram, which ends with [`TEXT`].
    fn new(datagram: &str) -> Self {
        Self { bytes: datagram.into(), at: datagram.len() - TEXT.len() }
    }

    /// The datagram with this number.
    fn number(&mut self, number: u64) -> &[u8] {
        let mut digits = &mut self.bytes[self.at..self.at + DIGITS];
        // It fits: a hundred million messages are more than any run says.
        let _ = write!(digits, "{number:0DIGITS$}");
        &self.bytes
    }

    /// The number of a datagram, if that is this one but for its number.
    fn number_of(&mut self, datagram: &[u8]) -> Option<u64> {
        let digits = datagram.get(self.at..self.at + DIGITS)?;
        let number = str::from_utf8(digits).ok()?.parse().ok()?;
        (self.number(number) == datagram).then_some(number)
    }
}

/// A client of this name, registered at `server`, which may still be about to start.
fn register(wire: &Wire, name: &str, server: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let welcome = (wire.welcome)(name);
    let mut buffer = [0; BUFFER];
    let start = Instant::now();
    while start.elapsed() < JOINING {
        let answer = socket.send((wire.join)(name).as_bytes()).and_then(|_| socket.recv(&mut buffer));
        match answer {
            Ok(count) if buffer[..count] == *welcome.as_bytes() => return Ok(socket),
            Ok(count) => return Err(unwelcome(server, &String::from_utf8_lossy(&buffer[..count]))),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => thread::sleep(PAUSE),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Err(unwelcome(server, &"no answer"))
}

fn unwelcome(server: SocketAddr, cause: &dyn Display) -> io::Error {
    io::Error::other(format!("not welcome at {server}: {cause}"))
}
