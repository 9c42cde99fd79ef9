//! Clients of one server, and the load that they make: messages one by one, or many in flight.
//!
//! The load shares the machine with the server that it measures, so it is built to cost little: **one thread,
//! blocking sockets, whole buffers, and no look at the text.** How many bytes every client must receive is
//! known beforehand, so counting bytes is enough, and the clients can be read in turn: everyone receives
//! everything, nothing is complete before the slowest has it, and while one is waited for, the others' bytes
//! wait in their sockets, where they hinder nobody. They are read in the order in which they came, which is
//! the order in which a server most likely writes: so they are read while it writes. A thread for each client
//! would pay a wake-up for every delivery, and a poll a system call for every round, for bytes that are
//! mostly there already; both would take from the server the processor time that is being measured.
//!
//! What is received is compared letter by letter once, when a party begins.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::client::Client;
use super::sides::Load;

/// What a protocol says on the wire, as far as making load and counting bytes needs it: whole lines, or
/// whatever its messages are. All names are equally long.
pub(crate) struct Wire {
    /// What the client of this name says to register; may be empty.
    pub(crate) join: fn(name: &str) -> String,
    /// What it receives when it is registered; not empty.
    pub(crate) welcome: fn(name: &str) -> String,
    /// What everyone else receives then.
    pub(crate) joined: fn(name: &str) -> String,
    /// What everyone says. All messages are equally long, so it is always the same.
    pub(crate) text: &'static str,
    /// What the client of this name says to tell everyone else a text.
    pub(crate) say: fn(name: &str, text: &str) -> String,
    /// What everyone else receives then.
    pub(crate) hear: fn(name: &str, text: &str) -> String,
    /// What it receives itself then.
    pub(crate) echo: fn(name: &str) -> String,
    /// What a client says to tell one other, or itself, a text that nobody else receives. It is heard as
    /// `hear` says.
    pub(crate) tell: fn(to: &str, text: &str) -> String,
    /// What everyone else receives when the client of this name has gone.
    pub(crate) left: fn(name: &str) -> String,
}

/// The clients of one server. The first of them speaks, or the first few do.
pub(crate) struct Party {
    pub(super) wire: &'static Wire,
    pub(super) address: SocketAddr,
    pub(super) clients: Vec<Client>,
    /// How many bytes a message makes for each receiver.
    heard: usize,
    /// How many bytes it makes for the speaker.
    echo: usize,
    /// What a read takes.
    pub(super) buffer: Vec<u8>,
}

/// How many messages may be on their way: those that have not yet reached the slowest receiver.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    /// How many clients speak.
    pub(crate) speakers: usize,
    /// How many messages a speaker says when it may say some.
    pub(crate) burst: usize,
    /// How many bursts of each speaker may be on their way.
    pub(crate) bursts: usize,
    /// Whether a burst is one write, as of somebody who pastes, rather than a write for each message.
    pub(crate) pasted: bool,
}

/// What is said where lines are short. With name and line end it makes 48 bytes, such a line as people type.
pub(crate) const TEXT: &str = "the quick brown fox jumps over a lazy do";

/// Sixty-four messages in flight. Four bursts, so that the next is under way while the last is being
/// received.
pub(crate) const SIXTY_FOUR: Window = Window { speakers: 1, burst: 16, bursts: 4, pasted: false };

/// What one read takes at most: many bursts.
const BUFFER: usize = 256 << 10;

impl Party {
    /// Connects and registers `count` clients, one by one, and waits until each has received everything about
    /// all.
    ///
    /// # Errors
    /// The server refuses one, or does not say what is expected.
    pub(crate) fn new(wire: &'static Wire, address: SocketAddr, count: usize) -> io::Result<Self> {
        let (heard, echo) = ((wire.hear)(&name(0), wire.text).len(), (wire.echo)(&name(0)).len());
        let mut party = Self { wire, address, clients: Vec::new(), heard, echo, buffer: vec![0; BUFFER] };
        for number in 0..count {
            let newcomer = party.admit(Client::connect(address, name(number))?)?;
            party.clients.push(newcomer);
        }
        party.collect_all()?;
        party.check()?;
        Ok(party)
    }

    /// Speaks for `time` with a full window. Returns the number of messages received by all clients together,
    /// echoes not counted, and the time until the last one.
    ///
    /// # Errors
    /// Something does not arrive.
    pub(crate) fn flood(&mut self, window: Window, time: Duration) -> io::Result<(usize, Duration)> {
        let together = if window.pasted { window.burst } else { 1 };
        let writes: Vec<_> =
            (0..window.speakers).map(|speaker| self.message(speaker).repeat(together)).collect();
        let start = Instant::now();
        let mut rounds = 0;
        while start.elapsed() < time {
            for (speaker, write) in writes.iter().enumerate() {
                (0..window.burst / together).try_for_each(|_| self.say(speaker, together, write))?;
            }
            self.collect_but(window)?;
            rounds += 1;
        }
        self.collect_all()?;
        Ok((rounds * window.burst * window.speakers * self.receivers(), start.elapsed()))
    }

    /// Waits until everyone has everything.
    ///
    /// # Errors
    /// Something does not arrive.
    pub(super) fn collect_all(&mut self) -> io::Result<()> {
        self.clients.iter_mut().try_for_each(|client| client.collect(0, &mut self.buffer))
    }

    /// Registers a newcomer, of whom everyone else will hear.
    ///
    /// # Errors
    /// It is not welcome.
    pub(super) fn admit(&mut self, mut newcomer: Client) -> io::Result<Client> {
        let welcome = (self.wire.welcome)(&newcomer.name);
        newcomer.say((self.wire.join)(&newcomer.name).as_bytes())?;
        newcomer.owe(welcome.len());
        newcomer.expect(&welcome)?;
        self.owe_all((self.wire.joined)(&newcomer.name).len());
        Ok(newcomer)
    }

    /// Everyone will receive so many bytes more.
    pub(super) fn owe_all(&mut self, bytes: usize) {
        self.clients.iter_mut().for_each(|client| client.owe(bytes));
    }

    /// One message from the first client, which everyone else must receive letter by letter.
    fn check(&mut self) -> io::Result<()> {
        self.say(0, 1, &self.message(0))?;
        let wanted = (self.wire.hear)(&self.clients[0].name, self.wire.text);
        self.clients[1..].iter_mut().try_for_each(|receiver| receiver.expect(&wanted))?;
        self.collect_all()
    }

    fn message(&self, speaker: usize) -> Vec<u8> {
        (self.wire.say)(&self.clients[speaker].name, self.wire.text).into_bytes()
    }

    /// A speaker says `messages` in one write.
    fn say(&mut self, speaker: usize, messages: usize, write: &[u8]) -> io::Result<()> {
        for (number, client) in self.clients.iter_mut().enumerate() {
            client.owe(messages * if number == speaker { self.echo } else { self.heard });
        }
        self.clients[speaker].say(write)
    }

    /// Waits until everyone has everything, but for the bursts that may still be on their way when the next
    /// is said.
    ///
    /// The speakers come last: the echo to a speaker may be the last thing that a server writes, and whoever
    /// waited for it first would not read while the server writes.
    fn collect_but(&mut self, window: Window) -> io::Result<()> {
        let messages = window.burst * (window.bursts - 1);
        let listener_rest = messages * window.speakers * self.heard;
        let speaker_rest = messages * ((window.speakers - 1) * self.heard + self.echo);
        let (speakers, listeners) = self.clients.split_at_mut(window.speakers);
        listeners.iter_mut().try_for_each(|client| client.collect(listener_rest, &mut self.buffer))?;
        speakers.iter_mut().try_for_each(|client| client.collect(speaker_rest, &mut self.buffer))
    }
}

impl Load for Party {
    fn receivers(&self) -> usize {
        self.clients.len() - 1
    }

    /// From the first client. Nothing is ever lost.
    fn latency(&mut self) -> io::Result<Option<Duration>> {
        let message = self.message(0);
        let start = Instant::now();
        self.say(0, 1, &message)?;
        for receiver in &mut self.clients[1..] {
            receiver.collect(0, &mut self.buffer)?;
        }
        let elapsed = start.elapsed();
        // Nobody waits for the echo to the speaker, but it must not count for the next message.
        self.clients[0].collect(0, &mut self.buffer)?;
        Ok(Some(elapsed))
    }
}

/// The name of a client: five characters, so that all messages are equally long.
pub(crate) fn name(number: usize) -> String {
    format!("c{number:04}")
}
