//! Clients that speak UDP: one says, the others hear. Each has its own server, or all have the same.
//!
//! As a [`super::party`], they cost little: one thread, blocking sockets, the same buffer for every message,
//! and who hears is read in turn. But UDP may lose a message, so every message has a number, and nothing
//! waits for long. What has not come in time is counted and given up; so is everything before a message that
//! came.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use super::sides::Load;

/// What a protocol says, one datagram each.
pub(crate) struct Wire {
    /// What the client of this name says to register.
    pub(crate) join: fn(name: &str) -> String,
    /// What it receives when it is registered.
    pub(crate) welcome: fn(name: &str) -> String,
    /// What everyone who was registered before receives then; nothing if it is empty.
    pub(crate) joined: fn(name: &str) -> String,
    /// What the speaker says to tell another, or all others, a text.
    pub(crate) say: fn(to: &str, text: &str) -> String,
    /// What who hears it receives then. The text is its end, as it is the end of `say`.
    pub(crate) hear: fn(from: &str, text: &str) -> String,
}

/// The speaker and those who hear, registered.
pub(crate) struct Audience {
    speaker: UdpSocket,
    listeners: Vec<Listener>,
    /// The datagrams, and where their numbers are.
    say: Numbered,
    hear: Numbered,
    /// How many messages were said.
    said: u64,
    tally: Tally,
    buffer: Vec<u8>,
}

/// Who hears.
struct Listener {
    socket: UdpSocket,
    /// How many messages have been heard or given up.
    settled: u64,
    /// How many timeouts there were behind the last message that was heard.
    silences: u32,
}

/// What became of the messages. One that is said to several counts as often.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Messages that were said.
    said: u64,
    /// Messages that were given up.
    lost: u64,
    /// Messages that came when they had been given up, or a second time.
    late: u64,
}

/// A datagram that says the same each time, but for a number.
struct Numbered {
    bytes: Vec<u8>,
    /// Where the number begins.
    at: usize,
}

/// Who says.
pub(crate) const SPEAKER: &str = "ann";

/// Who may hear: the first of them, or so many of them as there are.
pub(crate) const LISTENERS: [&str; 9] = ["bob", "cat", "dan", "eve", "fay", "gus", "hal", "ida", "joe"];

/// What is said. As `recvfrom ann …` it makes 48 bytes, such a line as people type.
const TEXT: &str = "00000000 the quick brown fox jumps ";

/// How many digits of it are the number.
const DIGITS: usize = 8;

/// How long to wait for a datagram. A busy machine may let a server wait for hundreds of milliseconds, and
/// what comes then is late, not lost.
const PATIENCE: Duration = Duration::from_secs(1);

/// After so many timeouts in a row of one listener a server is broken, not busy. Listeners are waited for one
/// behind the other: when nobody hears anything any more, it takes so many seconds for each of them, at most.
const SILENCES: u32 = 3;

/// How long to try to register with a server that may not even have started.
const JOINING: Duration = Duration::from_secs(10);

/// How long to wait where nobody listens yet.
const PAUSE: Duration = Duration::from_millis(10);

/// More than any datagram that is expected.
const BUFFER: usize = 4 << 10;

impl Audience {
    /// Registers who hears, each with its server in `listeners`, then the speaker with its own; and tells a
    /// message from the speaker to all others.
    ///
    /// # Errors
    /// There are more listeners than [`LISTENERS`], a server does not say what is expected, or the message
    /// does not arrive.
    pub(crate) fn new(wire: &Wire, speaker: SocketAddr, listeners: &[SocketAddr]) -> io::Result<Self> {
        if listeners.len() > LISTENERS.len() {
            return Err(ErrorKind::InvalidInput.into());
        }
        let mut sockets = sockets(listeners.len() + 1)?;
        let mine = sockets.pop().ok_or(ErrorKind::InvalidInput)?;
        let mut audience = Self {
            speaker: mine,
            listeners: Vec::new(),
            say: Numbered::new(&(wire.say)(LISTENERS[0], TEXT)),
            hear: Numbered::new(&(wire.hear)(SPEAKER, TEXT)),
            said: 0,
            tally: Tally::default(),
            buffer: vec![0; BUFFER],
        };
        for ((socket, name), server) in sockets.into_iter().zip(LISTENERS).zip(listeners) {
            register(wire, name, &socket, *server)?;
            audience.hear_of(&(wire.joined)(name))?;
            audience.listeners.push(Listener { socket, settled: 0, silences: 0 });
        }
        register(wire, SPEAKER, &audience.speaker, speaker)?;
        audience.hear_of(&(wire.joined)(SPEAKER))?;
        // Until the first arrives: a link may still be on its way.
        while audience.latency()?.is_none() {}
        Ok(audience)
    }

    /// What became of all messages so far.
    pub(crate) const fn tally(&self) -> Tally {
        Tally { said: self.said * self.listeners.len() as u64, ..self.tally }
    }

    /// Speaks for `time` with `bursts` of `burst` messages on their way; the next burst is said when one has
    /// been settled by all. Returns the number of messages heard by all together, and the time until the last
    /// one.
    ///
    /// # Errors
    /// Something else arrives, or nothing for several times.
    pub(crate) fn flood(&mut self, bursts: u64, burst: u64, time: Duration) -> io::Result<(usize, Duration)> {
        let start = Instant::now();
        let mut heard = 0;
        while start.elapsed() < time {
            while self.said - self.settled() <= (bursts - 1) * burst {
                (0..burst).try_for_each(|_| self.say())?;
            }
            heard += self.settle((bursts - 1) * burst)?;
        }
        heard += self.settle(0)?;
        Ok((heard, start.elapsed()))
    }

    /// How many messages all have heard or given up.
    fn settled(&self) -> u64 {
        self.listeners.iter().map(|listener| listener.settled).min().unwrap_or(self.said)
    }

    /// Hears until at most `rest` messages are on their way to anyone. How many were heard.
    fn settle(&mut self, rest: u64) -> io::Result<usize> {
        let mut heard = 0;
        for listener in 0..self.listeners.len() {
            while self.said - self.listeners[listener].settled > rest {
                heard += usize::from(self.hear(listener)?);
            }
        }
        Ok(heard)
    }

    fn say(&mut self) -> io::Result<()> {
        self.speaker.send(self.say.number(self.said)).map_err(|error| self.broken(&error))?;
        self.said += 1;
        Ok(())
    }

    /// Waits for one of the messages on their way to a listener. Whether one came.
    fn hear(&mut self, listener: usize) -> io::Result<bool> {
        loop {
            let Listener { socket, settled, silences } = &mut self.listeners[listener];
            let count = match socket.recv(&mut self.buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.give_up(listener),
                Err(error) => return Err(self.broken(&error)),
            };
            match self.hear.number_of(&self.buffer[..count]) {
                Some(number) if number < *settled => self.tally.late += 1,
                Some(number) if number < self.said => {
                    self.tally.lost += number - *settled;
                    *settled = number + 1;
                    *silences = 0;
                    return Ok(true);
                }
                _ => return Err(self.broken(&String::from_utf8_lossy(&self.buffer[..count]))),
            }
        }
    }

    /// Nothing comes to a listener: all that is on its way there is lost.
    fn give_up(&mut self, listener: usize) -> io::Result<bool> {
        let Listener { settled, silences, .. } = &mut self.listeners[listener];
        self.tally.lost += self.said - *settled;
        *settled = self.said;
        *silences += 1;
        if *silences < SILENCES { Ok(false) } else { Err(self.broken(&"nothing arrives")) }
    }

    /// Everyone who is there receives this about a newcomer, if it is anything.
    fn hear_of(&mut self, joined: &str) -> io::Result<()> {
        if joined.is_empty() {
            return Ok(());
        }
        for listener in &self.listeners {
            let count = listener.socket.recv(&mut self.buffer).map_err(|error| self.broken(&error))?;
            if self.buffer[..count] != *joined.as_bytes() {
                return Err(self.broken(&String::from_utf8_lossy(&self.buffer[..count])));
            }
        }
        Ok(())
    }

    fn broken(&self, cause: &dyn Display) -> io::Error {
        io::Error::other(format!("messages {} to {}: {cause}", self.settled(), self.said))
    }
}

impl Load for Audience {
    fn receivers(&self) -> usize {
        self.listeners.len()
    }

    /// `None` if anyone did not hear it.
    fn latency(&mut self) -> io::Result<Option<Duration>> {
        let start = Instant::now();
        self.say()?;
        let heard = self.settle(0)?;
        Ok((heard == self.listeners.len()).then(|| start.elapsed()))
    }
}

/// What did not arrive, or came late, in words: of each side that this happened to.
pub(crate) fn losses<const N: usize>(sides: [(&str, Tally); N]) -> String {
    let mut text = String::new();
    let mut total = 0;
    for (name, Tally { said, lost, late }) in sides {
        total += said;
        if lost + late > 0 {
            text += &format!("{name}: of {said} messages {lost} were lost, {late} came late or twice\n");
        }
    }
    if text.is_empty() { format!("All {total} messages arrived, none late or twice.\n") } else { text }
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

/// So many sockets, in the order of their ports. That is the order in which clients join: a server that keeps
/// them by address writes to them in the same order as one that keeps them as they came.
fn sockets(count: usize) -> io::Result<Vec<UdpSocket>> {
    let socket = |_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
    let mut sockets = (0..count).map(socket).collect::<io::Result<Vec<_>>>()?;
    sockets.sort_by_key(|socket| socket.local_addr().map_or(0, |address| address.port()));
    Ok(sockets)
}

/// Registers a client of this name at `server`, which may still be about to start.
fn register(wire: &Wire, name: &str, socket: &UdpSocket, server: SocketAddr) -> io::Result<()> {
    socket.connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let welcome = (wire.welcome)(name);
    let mut buffer = [0; BUFFER];
    let start = Instant::now();
    while start.elapsed() < JOINING {
        let answer = socket.send((wire.join)(name).as_bytes()).and_then(|_| socket.recv(&mut buffer));
        match answer {
            Ok(count) if buffer[..count] == *welcome.as_bytes() => return Ok(()),
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
