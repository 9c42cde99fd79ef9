//! The room: everyone hears everyone, over TCP or over UDP.
//!
//! ```text
//! TCP   first message = name        then  "exit" | text
//!       reply = "Welcome" | "User " name " joined" | "User " name " left" | name ": " text | "server-shutdown"
//! UDP   datagram = name ":" ("join" | "exit" | text)      or  "join:" name, then  "exit" | text
//!       reply = as over TCP, but that name ":" text is relayed as it came
//! ```
//!
//! A message has no frame: it is the bytes of one send. [`Messages`] tells clients that send lines from those
//! that do not; [`Room`] is the same for both transports. The clauses `R2` to `R13` are those of
//! `docs/protocols/room.md`.
//!
//! Where the source is silent: an empty text is nothing, for a byte stream can not carry it; a member that
//! joins by datagram under another name has left under the first; and who is given up for its silence (R10)
//! has left, too.

use crate::deliveries::Deliveries;
use crate::frame::{Lines, MAX_MESSAGE, MAX_RELAYED, Pauses, TooLong, without_line_end};
use crate::roster::{Refusal, Roster};
use crate::text::{MAX_NAME, is_name, printable};
use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

/// How long a UDP member that is silent keeps its name and its place (R10).
pub const KEPT: Duration = Duration::from_mins(5);

/// The longest text that still leaves room in [`MAX_RELAYED`] for a sender's name in front. Replacing invalid
/// UTF-8 can make a text longer than it was said.
const MAX_TEXT: usize = MAX_RELAYED - 2 * MAX_NAME;

/// What a client says in order to leave, and what a person types (R14).
pub const EXIT: &str = "exit";

const JOIN: &str = "join";
const WELCOME: &str = "Welcome";
const SHUTTING_DOWN: &str = "server-shutdown";

/// How the messages of one connection are told apart (R2, R3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Each read is one message, and each message one write.
    Bare,
    /// Each message ends at LF, both ways.
    Lines,
}

/// The bytes of one connection, cut into the messages of a client (R2, R3).
///
/// The first message, which is the client's name, decides: if LF ends it, LF ends every message; if a pause
/// does, each read is one.
///
/// ```
/// use chat_common::room::{Framing, Messages};
/// use core::time::Duration;
///
/// let now = Duration::ZERO;
/// let mut messages = Messages::default();
/// messages.push(b"Alice\nhel", now);
/// assert_eq!(messages.next(now), Some(Ok(&b"Alice"[..])));
/// assert_eq!(messages.framing(), Framing::Lines);
/// assert_eq!(messages.next(now), None);
/// ```
#[derive(Debug)]
pub struct Messages {
    /// The first message, and all further ones of a client that sends lines.
    lines: Lines,
    /// The first message has been taken.
    begun: bool,
    /// What the last read brought, of a client that sends no lines.
    read: Vec<u8>,
    /// That has been taken.
    taken: bool,
}

/// What a client says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// R4, R7: the name to join under, and how the member will speak.
    Join(&'a str, Way),
    /// R5, R8: leave.
    Exit,
    /// R5: a text for all others.
    Text(&'a str),
    /// R8: a text that came behind the sender's own name and a colon.
    Named(&'a str),
    /// A14: more than [`MAX_MESSAGE`] bytes; what they were is not known any more.
    TooLong,
}

/// How a member speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// What it sends is its text: over TCP, and over UDP behind `join:<name>`.
    Plain,
    /// R7: each datagram begins with its name and a colon.
    Named,
}

/// What the server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// R4, R7, to who has joined.
    Welcome,
    /// R4, R7, to everyone else.
    Joined(&'a str),
    /// R5, R8, to everyone else.
    Left(&'a str),
    /// R5: who says what.
    Text(&'a str, &'a str),
    /// R8: the same as it came in a datagram.
    Named(&'a str, &'a str),
    /// R6, R9, to everyone.
    ShuttingDown,
    /// The request was refused.
    Refused(&'a Error),
}

/// Why a request was refused or ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// R4, R7: somebody else has this name.
    NameTaken,
    /// R4, R7: every place is taken.
    Full,
    /// A13: none that can be a name.
    InvalidName,
    /// A14: over 4,096 bytes.
    TooLong,
    /// R8: a datagram without a colon. Ignored.
    NotUnderstood,
    /// R8: from an address that has not joined. Ignored.
    Unregistered,
    /// R8: under a name that is not that address's. Ignored.
    ForeignName(String),
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<K> {
    /// The client is a member now; perhaps in the place of another, who was silent too long (R10).
    Joined(Option<K>),
    /// It was done.
    Done,
    /// It was refused or ignored, and nothing has changed.
    Refused(Error),
    /// The member wants to go. It is still one: see [`Room::leave`].
    Exit,
}

impl Messages {
    /// Stores what a read brought at the time `now`. The caller then takes every message with
    /// [`Messages::next`].
    pub fn push(&mut self, bytes: &[u8], now: Duration) {
        if self.framing() == Framing::Lines {
            return self.lines.push(bytes, now);
        }
        self.read.clear();
        self.read.extend_from_slice(bytes);
        self.taken = bytes.is_empty();
    }

    /// The stream has ended: what is unfinished is the last message (A19).
    pub const fn end(&mut self) {
        self.lines.end();
    }

    /// The next whole message without its line end, or that it was [`TooLong`]; `None` if there is none yet.
    // Not an Iterator: the message is borrowed from the buffer, and time is a parameter.
    #[allow(clippy::should_implement_trait, reason = "it lends its items and takes the time")]
    pub fn next(&mut self, now: Duration) -> Option<Result<&[u8], TooLong>> {
        if self.framing() == Framing::Lines {
            let message = self.lines.next(now)?;
            self.begun = true;
            return Some(message);
        }
        let new = !core::mem::replace(&mut self.taken, true);
        new.then(|| Ok(without_line_end(&self.read)))
    }

    /// When a pause will end the first message; `None` if only bytes can.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.lines.deadline()
    }

    /// How the client is spoken to; known when the first message has been taken.
    #[must_use]
    pub const fn framing(&self) -> Framing {
        if self.begun && !self.lines.newline_seen() { Framing::Bare } else { Framing::Lines }
    }
}

impl Default for Messages {
    fn default() -> Self {
        let lines = Lines::new(MAX_MESSAGE, Pauses::UntilFirstNewline);
        Self { lines, begun: false, read: Vec::new(), taken: true }
    }
}

/// The text of a datagram without its line end, and without what a terminal would obey (A15).
///
/// # Errors
/// More is said than a message may have (A14). The name and the colon in front do not count.
pub fn text(datagram: &[u8]) -> Result<Cow<'_, str>, TooLong> {
    let message = without_line_end(datagram);
    let colon = message.iter().take(MAX_NAME + 1).position(|&byte| byte == b':');
    let front = colon.map_or(0, |at| at + 1);
    if message.len() - front > MAX_MESSAGE { Err(TooLong) } else { Ok(printable(message)) }
}

impl<'a> Request<'a> {
    /// Reads a message of a member over TCP (R5). The first message of a connection is the name.
    #[must_use]
    pub fn decode(message: &'a str) -> Self {
        if message == EXIT { Self::Exit } else { Self::Text(message) }
    }

    /// Reads the text of a datagram (R7, R8), which means what it does by who sent it: name and way of the
    /// `sender`, if it is a member.
    ///
    /// # Errors
    /// It is to be ignored.
    pub fn decode_datagram(text: &'a str, sender: Option<(&str, Way)>) -> Result<Self, Error> {
        let Some((own, way)) = sender else { return Self::decode_stranger(text) };
        let (name, said) = text.split_once(':').unwrap_or(("", text));
        let plain = way == Way::Plain;
        match (name, said.trim_matches(' ')) {
            (name, JOIN) if name == own => Ok(Self::Join(name, way)),
            (name, EXIT) if name == own => Ok(Self::Exit),
            (name, _) if name == own => Ok(Self::Named(said)),
            (JOIN, again) if plain && again == own => Ok(Self::Join(again, way)),
            _ if plain && text.trim_matches(' ') == EXIT => Ok(Self::Exit),
            _ if plain => Ok(Self::Text(text)),
            _ if !text.contains(':') => Err(Error::NotUnderstood),
            (name, JOIN) => Ok(Self::Join(name, way)),
            (name, _) => Err(Error::ForeignName(name.into())),
        }
    }

    /// Who is no member can only join, in one way or the other.
    fn decode_stranger(text: &'a str) -> Result<Self, Error> {
        let (front, back) = text.split_once(':').ok_or(Error::NotUnderstood)?;
        match (front.trim_matches(' '), back.trim_matches(' ')) {
            (_, JOIN) => Ok(Self::Join(front, Way::Named)),
            (JOIN, name) => Ok(Self::Join(name, Way::Plain)),
            _ => Err(Error::Unregistered),
        }
    }

    /// The datagram that says this for the member `name` (R7).
    #[must_use]
    pub fn to_datagram(self, name: &str) -> String {
        alloc::format!("{name}:{self}")
    }
}

impl fmt::Display for Request<'_> {
    /// The message over TCP, where a join is the name alone; behind `name:` it is the one over UDP.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Join(name, Way::Plain) => f.write_str(name),
            Self::Join(_, Way::Named) => f.write_str(JOIN),
            Self::Exit => f.write_str(EXIT),
            Self::Text(text) | Self::Named(text) => f.write_str(text),
            Self::TooLong => Ok(()),
        }
    }
}

impl Reply<'_> {
    /// Whether the first answer of a server admits (R13). Real servers wrap the word in others.
    #[must_use]
    pub fn is_welcome(answer: &str) -> bool {
        answer.contains(WELCOME)
    }

    /// Whether a message of a server is its farewell (R6, R9).
    #[must_use]
    pub fn is_farewell(message: &str) -> bool {
        message == SHUTTING_DOWN
    }
}

impl fmt::Display for Reply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Welcome => f.write_str(WELCOME),
            Self::Joined(name) => write!(f, "User {name} joined"),
            Self::Left(name) => write!(f, "User {name} left"),
            // By far the most frequent message, and this is faster than formatting.
            Self::Text(name, text) => {
                f.write_str(name)?;
                f.write_str(": ")?;
                f.write_str(text)
            }
            Self::Named(name, text) => {
                f.write_str(name)?;
                f.write_str(":")?;
                f.write_str(text)
            }
            Self::ShuttingDown => f.write_str(SHUTTING_DOWN),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

/// Cuts the first read of a client behind the word that admits it: what follows in the same read is the next
/// message (R13). A read without that word stays whole.
#[must_use]
pub fn split_welcome(read: &[u8]) -> (&[u8], &[u8]) {
    let at = read.windows(WELCOME.len()).position(|window| window == WELCOME.as_bytes());
    let (answer, rest) = at.and_then(|at| read.split_at_checked(at + WELCOME.len())).unwrap_or((read, b""));
    let rest = rest.strip_prefix(b"\r").filter(|rest| rest.starts_with(b"\n")).unwrap_or(rest);
    (answer, rest.strip_prefix(b"\n").unwrap_or(rest))
}

/// Cuts a client's read in front of the server's farewell, if it ends in that (R13).
///
/// Right behind a sender's colon it is that sender's text: nobody ends another's client with one word.
#[must_use]
pub fn split_farewell(read: &[u8]) -> (&[u8], &[u8]) {
    let message = without_line_end(read);
    match message.strip_suffix(SHUTTING_DOWN.as_bytes()) {
        Some(front) if !front.ends_with(b": ") => (front, SHUTTING_DOWN.as_bytes()),
        _ => (read, b""),
    }
}

impl Error {
    /// Whether the client is told. What is ignored is for the server's stderr only (R8).
    #[must_use]
    pub const fn is_told(&self) -> bool {
        matches!(self, Self::NameTaken | Self::Full | Self::InvalidName | Self::TooLong)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NameTaken => Self::NameTaken,
            Refusal::Full => Self::Full,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NameTaken => f.write_str("Name already taken"),
            Self::Full => f.write_str("Room is full"),
            Self::InvalidName => f.write_str("Invalid name"),
            Self::TooLong => write!(f, "Message too long (at most {MAX_MESSAGE} bytes)"),
            Self::NotUnderstood => f.write_str("not understood"),
            Self::Unregistered => f.write_str("a datagram from an address that has not joined"),
            Self::ForeignName(name) => {
                write!(f, "a datagram under the name '{name}', which is not its sender's")
            }
        }
    }
}

impl core::error::Error for Error {}

/// Who is in the room, and what every request does. `K` tells clients apart: the number of a connection, or
/// an address.
///
/// Time is a parameter, and never goes back.
#[derive(Debug)]
pub struct Room<K> {
    roster: Roster<K>,
    members: BTreeMap<K, Member>,
    /// How long a silent member keeps its name and place; `None` where its end is always seen.
    kept: Option<Duration>,
}

#[derive(Debug)]
struct Member {
    way: Way,
    heard: Duration,
}

impl<K: Copy + Ord> Room<K> {
    /// An empty room with so many places (A11), whose members keep theirs until they leave.
    #[must_use]
    pub const fn new(places: usize) -> Self {
        Self { roster: Roster::new(places), members: BTreeMap::new(), kept: None }
    }

    /// The same for members that may vanish unseen: who is silent for longer than `kept` gives way (R10).
    #[must_use]
    pub const fn giving_way(places: usize, kept: Duration) -> Self {
        Self { roster: Roster::new(places), members: BTreeMap::new(), kept: Some(kept) }
    }

    /// Does what `request` of the client `from` asks, and writes to `out`, which is for its requests, what
    /// everyone is to be told: each message ends at LF there, and has none in it.
    pub fn apply(
        &mut self,
        from: K,
        request: Request<'_>,
        now: Duration,
        out: &mut Deliveries<K>,
    ) -> Outcome<K> {
        let attempt = match request {
            Request::Join(name, way) => self.join(from, name, way, now, out),
            request => self.chat(from, request, now, out),
        };
        attempt.unwrap_or_else(|error| {
            if error.is_told() {
                tell(out, from, Reply::Refused(&error));
            }
            Outcome::Refused(error)
        })
    }

    /// Removes `from`, who leaves or has left, and tells everyone else (R5, R8). Its name, if it was a
    /// member.
    pub fn leave(&mut self, from: K, out: &mut Deliveries<K>) -> Option<String> {
        let name = self.roster.leave(from)?;
        self.members.remove(&from);
        tell_others(out, Reply::Left(&name));
        Some(name)
    }

    /// Name and way of `key`, if it is a member.
    #[must_use]
    pub fn member(&self, key: K) -> Option<(&str, Way)> {
        Some((self.roster.name(key)?, self.members.get(&key)?.way))
    }

    /// Everyone but `from`: those that hear what it says.
    pub fn others(&self, from: K) -> impl Iterator<Item = K> {
        self.roster.others(from)
    }

    /// Everyone in order of joining, and when each was last heard.
    pub fn members(&self) -> impl Iterator<Item = (K, &str, Duration)> {
        self.roster.iter().map(|(key, name)| {
            (key, name, self.members.get(&key).map_or(Duration::ZERO, |member| member.heard))
        })
    }

    /// R4, R7, R11: the same again is answered again.
    fn join(
        &mut self,
        from: K,
        name: &str,
        way: Way,
        now: Duration,
        out: &mut Deliveries<K>,
    ) -> Result<Outcome<K>, Error> {
        if !is_name(name) {
            return Err(Error::InvalidName);
        }
        let before = self.roster.name(from).map(ToString::to_string);
        let again = before.as_deref() == Some(name);
        let gone = if again { None } else { self.take_place(from, name, now, out)? };
        self.members.insert(from, Member { way, heard: now });
        tell(out, from, Reply::Welcome);
        if again {
            return Ok(Outcome::Done);
        }
        if let Some(before) = before {
            tell_others(out, Reply::Left(&before));
        }
        tell_others(out, Reply::Joined(name));
        Ok(Outcome::Joined(gone))
    }

    /// R10: who was silent too long gives way.
    fn take_place(
        &mut self,
        from: K,
        name: &str,
        now: Duration,
        out: &mut Deliveries<K>,
    ) -> Result<Option<K>, Error> {
        let Err(refusal) = self.roster.join(from, name) else { return Ok(None) };
        let holder = match refusal {
            Refusal::NameTaken => self.roster.key(name),
            Refusal::Full => self.members.iter().min_by_key(|(_, member)| member.heard).map(|(&key, _)| key),
        };
        let gone = holder.filter(|&key| self.gives_way(key, now)).ok_or(refusal)?;
        self.leave(gone, out);
        self.roster.join(from, name)?;
        Ok(Some(gone))
    }

    fn gives_way(&self, key: K, now: Duration) -> bool {
        let silence = self.members.get(&key).map(|member| now.saturating_sub(member.heard));
        silence.zip(self.kept).is_some_and(|(silence, kept)| silence > kept)
    }

    /// What only members may do.
    fn chat(
        &mut self,
        from: K,
        request: Request<'_>,
        now: Duration,
        out: &mut Deliveries<K>,
    ) -> Result<Outcome<K>, Error> {
        let name = self.roster.name(from).ok_or(Error::Unregistered)?;
        if let Some(member) = self.members.get_mut(&from) {
            member.heard = now;
        }
        match request {
            Request::TooLong => return Err(Error::TooLong),
            Request::Text(text) | Request::Named(text) if text.len() > MAX_TEXT => {
                return Err(Error::TooLong);
            }
            Request::Text("") | Request::Named("") | Request::Join(..) => {}
            Request::Text(text) => tell_others(out, Reply::Text(name, text)),
            Request::Named(text) => tell_others(out, Reply::Named(name, text)),
            Request::Exit => return Ok(Outcome::Exit),
        }
        Ok(Outcome::Done)
    }
}

/// Adds the message that `reply` is to what `to` gets.
fn tell<K: Copy + Ord>(out: &mut Deliveries<K>, to: K, reply: Reply<'_>) {
    out.push(to, format_args!("{reply}\n"));
}

/// Adds the message that `reply` is to what everyone gets but the one whose requests these are.
fn tell_others<K: Copy + Ord>(out: &mut Deliveries<K>, reply: Reply<'_>) {
    out.push_others(format_args!("{reply}\n"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::PAUSE;
    use alloc::format;
    use alloc::vec;
    use proptest::prelude::*;

    const ZERO: Duration = Duration::ZERO;
    const SECOND: Duration = Duration::from_secs(1);

    /// Every message there is at the time `now`, as text; `None` for one that was too long.
    fn take(messages: &mut Messages, now: Duration) -> Vec<Option<String>> {
        let mut taken = Vec::new();
        while let Some(message) = messages.next(now) {
            taken.push(message.ok().map(|message| String::from_utf8_lossy(message).into_owned()));
        }
        taken
    }

    fn some(message: &str) -> Option<String> {
        Some(message.into())
    }

    #[test]
    fn r02_r03_each_read_is_a_message_of_who_sends_its_name_without_a_newline() {
        let mut messages = Messages::default();
        messages.push(b"Ali", ZERO);
        messages.push(b"ce", PAUSE / 2);
        assert_eq!(messages.deadline(), Some(PAUSE / 2 + PAUSE));
        assert_eq!(take(&mut messages, PAUSE), []);
        assert_eq!(take(&mut messages, PAUSE * 2), [some("Alice")]);
        assert_eq!(messages.framing(), Framing::Bare);
        assert_eq!(messages.deadline(), None, "nothing is unfinished");
        let cases: [(&[u8], &str); 7] = [
            (b"hi", "hi"),
            (b"hi\n", "hi"),
            (b"hi\r\n", "hi"),
            (b"hi\n\n", "hi\n"),
            (b"a\nb", "a\nb"),
            (b"\n", ""),
            (b"hi", "hi"),
        ];
        for (read, wanted) in cases {
            messages.push(read, PAUSE * 2);
            assert_eq!(take(&mut messages, PAUSE * 2), [some(wanted)], "{read:?}");
        }
        messages.end();
        assert_eq!(take(&mut messages, PAUSE * 2), [], "every read was taken");
    }

    #[test]
    fn r03_a18_newlines_end_the_messages_of_who_sends_its_name_with_one() {
        let bytes = b"Alice\r\nhi\n\nexit\ntail";
        let wanted = [some("Alice"), some("hi"), some(""), some("exit")];
        let mut whole = Messages::default();
        whole.push(bytes, ZERO);
        assert_eq!(take(&mut whole, ZERO), wanted);
        assert_eq!(whole.framing(), Framing::Lines);
        assert_eq!(take(&mut whole, PAUSE * 9), [], "a pause ends nothing any more");
        whole.end();
        assert_eq!(take(&mut whole, ZERO), [some("tail")]);

        let mut single = Messages::default();
        let mut have = Vec::new();
        for byte in bytes {
            single.push(&[*byte], ZERO);
            have.extend(take(&mut single, ZERO));
        }
        assert_eq!(have, wanted, "byte by byte");
    }

    #[test]
    fn a14_a_long_line_is_refused_and_the_next_is_read_right() {
        let mut messages = Messages::default();
        messages.push(b"Alice\n", ZERO);
        messages.push(&[b'x'; MAX_MESSAGE + 1], ZERO);
        messages.push(b"x\nhi\n", ZERO);
        assert_eq!(take(&mut messages, ZERO), [some("Alice"), None, some("hi")]);
    }

    #[test]
    fn r05_messages_over_tcp() {
        for (message, request) in [
            ("exit", Request::Exit),
            ("hi", Request::Text("hi")),
            (" exit", Request::Text(" exit")),
            ("join", Request::Text("join")),
            ("", Request::Text("")),
        ] {
            assert_eq!(Request::decode(message), request, "{message:?}");
            assert_eq!(request.to_string(), message);
        }
    }

    #[test]
    fn r07_r08_datagrams() {
        let named = |name| Request::Join(name, Way::Named);
        let plain = |name| Request::Join(name, Way::Plain);
        let foreign = |name: &str| Err(Error::ForeignName(name.into()));
        // Of whom, what, and what it means.
        let stranger = [
            ("ann:join", Ok(named("ann"))),
            ("ann: join ", Ok(named("ann"))),
            ("a b:join", Ok(named("a b"))),
            (":join", Ok(named(""))),
            ("join:ann", Ok(plain("ann"))),
            ("join: ann", Ok(plain("ann"))),
            ("join:join", Ok(named("join"))),
            ("ann:hi", Err(Error::Unregistered)),
            ("ann:exit", Err(Error::Unregistered)),
            ("hi", Err(Error::NotUnderstood)),
            ("", Err(Error::NotUnderstood)),
        ];
        let source = [
            ("ann:join", Ok(named("ann"))),
            ("ann:exit", Ok(Request::Exit)),
            ("ann: exit ", Ok(Request::Exit)),
            ("ann:hi", Ok(Request::Named("hi"))),
            ("ann: a:b ", Ok(Request::Named(" a:b "))),
            ("ann:exit now", Ok(Request::Named("exit now"))),
            ("ann:", Ok(Request::Named(""))),
            ("eve:join", Ok(named("eve"))),
            ("eve:hi", foreign("eve")),
            ("eve:exit", foreign("eve")),
            ("join:ann", foreign("join")),
            ("hi", Err(Error::NotUnderstood)),
            ("exit", Err(Error::NotUnderstood)),
        ];
        let other = [
            ("hi", Ok(Request::Text("hi"))),
            ("a:b", Ok(Request::Text("a:b"))),
            ("eve:join", Ok(Request::Text("eve:join"))),
            ("join:ann", Ok(plain("ann"))),
            ("exit", Ok(Request::Exit)),
            ("ann:exit", Ok(Request::Exit)),
            ("ann:hi", Ok(Request::Named("hi"))),
        ];
        let senders = [None, Some(("ann", Way::Named)), Some(("ann", Way::Plain))];
        for (sender, cases) in senders.into_iter().zip([&stranger[..], &source, &other]) {
            for (text, wanted) in cases {
                assert_eq!(Request::decode_datagram(text, sender), *wanted, "{text:?} of {sender:?}");
            }
        }
        for (request, wanted) in
            [(named("ann"), "ann:join"), (Request::Exit, "ann:exit"), (Request::Text("hi"), "ann:hi")]
        {
            assert_eq!(request.to_datagram("ann"), wanted);
        }
    }

    #[test]
    fn r07_a14_the_text_of_a_datagram() {
        for (datagram, wanted) in
            [("ann:hi\n", "ann:hi"), ("ann:hi\r\n", "ann:hi"), ("ann:a\nb", "ann:a?b"), ("\n", "")]
        {
            assert_eq!(text(datagram.as_bytes()).as_deref(), Ok(wanted), "{datagram:?}");
        }
        let said = |count| format!("ann:{}\n", "x".repeat(count));
        assert!(text(said(MAX_MESSAGE).as_bytes()).is_ok(), "the name in front does not count");
        assert_eq!(text(said(MAX_MESSAGE + 1).as_bytes()), Err(TooLong));
        assert_eq!(text(&[b'x'; MAX_MESSAGE + 1]), Err(TooLong));
    }

    #[test]
    fn r13_what_stands_behind_a_welcome_is_a_message() {
        let cases: [(&str, (&str, &str)); 6] = [
            ("Welcome", ("Welcome", "")),
            ("Welcome\r\n", ("Welcome", "")),
            ("WelcomeUser Bob joined", ("Welcome", "User Bob joined")),
            ("Welcome\nUser Bob joined\n", ("Welcome", "User Bob joined\n")),
            (">> Welcome", (">> Welcome", "")),
            ("Name already taken", ("Name already taken", "")),
        ];
        for (read, (answer, rest)) in cases {
            assert_eq!(split_welcome(read.as_bytes()), (answer.as_bytes(), rest.as_bytes()), "{read:?}");
            assert_eq!(Reply::is_welcome(answer), read.contains("Welcome"));
        }
    }

    #[test]
    fn r13_a_farewell_may_stand_at_the_end_of_a_read() {
        let end = "server-shutdown";
        let cases: [(&str, (&str, &str)); 7] = [
            ("server-shutdown", ("", end)),
            ("server-shutdown\n", ("", end)),
            ("Bob: hiserver-shutdown", ("Bob: hi", end)),
            ("Bob: hi\nserver-shutdown\n", ("Bob: hi\n", end)),
            ("Bob: server-shutdown", ("Bob: server-shutdown", "")),
            ("server-shutdown soon", ("server-shutdown soon", "")),
            ("", ("", "")),
        ];
        for (read, (message, farewell)) in cases {
            let wanted = (message.as_bytes(), farewell.as_bytes());
            assert_eq!(split_farewell(read.as_bytes()), wanted, "{read:?}");
        }
        assert!(Reply::is_farewell(&Reply::ShuttingDown.to_string()));
    }

    /// A room and the clients 1, 2, 3 …: what one says, and what everyone then hears.
    struct Scenario {
        room: Room<u8>,
        now: Duration,
    }

    impl Scenario {
        /// Over UDP, with these names; each joins as the source says.
        fn with(names: &[&str]) -> Self {
            let mut scenario = Self { room: Room::giving_way(10, KEPT), now: 1000 * SECOND };
            for (key, name) in (1..).zip(names) {
                scenario.datagram(key, &format!("{name}:join"));
            }
            scenario
        }

        /// What everyone hears of a request: `1 < Welcome`, and how it was refused.
        fn apply(&mut self, from: u8, request: Request<'_>) -> Vec<String> {
            let mut out = Deliveries::new(from);
            let outcome = self.room.apply(from, request, self.now, &mut out);
            let mut heard = self.heard(from, &out);
            match outcome {
                Outcome::Joined(Some(gone)) => heard.push(format!("! {gone} gone")),
                Outcome::Refused(error) if !error.is_told() => heard.push(format!("! {error}")),
                Outcome::Exit => {
                    let mut out = Deliveries::new(from);
                    self.room.leave(from, &mut out);
                    heard.extend(self.heard(from, &out));
                }
                _ => {}
            }
            heard
        }

        fn heard(&self, from: u8, out: &Deliveries<u8>) -> Vec<String> {
            let mut recipients: Vec<u8> = self.room.others(from).chain([from]).collect();
            recipients.sort_unstable();
            let messages = |to: u8| out.get(to).lines().map(move |message| format!("{to} < {message}"));
            recipients.into_iter().flat_map(messages).collect()
        }

        fn datagram(&mut self, from: u8, datagram: &str) -> Vec<String> {
            match Request::decode_datagram(datagram, self.room.member(from)) {
                Ok(request) => self.apply(from, request),
                Err(error) => vec![format!("! {error}")],
            }
        }
    }

    #[test]
    fn r04_r05_over_tcp() {
        let mut scenario = Scenario { room: Room::new(2), now: ZERO };
        let join = |name| Request::Join(name, Way::Plain);
        assert_eq!(scenario.apply(1, join("Alice")), ["1 < Welcome"]);
        assert_eq!(scenario.apply(2, join("Alice")), ["2 < Name already taken"]);
        assert_eq!(scenario.apply(2, join("")), ["2 < Invalid name"]);
        assert_eq!(scenario.apply(2, join("Bob")), ["1 < User Bob joined", "2 < Welcome"]);
        scenario.now += KEPT * 2;
        assert_eq!(scenario.apply(3, join("Eve")), ["3 < Room is full"], "a connection is no silence");
        assert_eq!(scenario.apply(3, join("Bob")), ["3 < Name already taken"]);
        assert_eq!(scenario.apply(1, Request::decode("hi")), ["2 < Alice: hi"]);
        assert_eq!(scenario.apply(1, Request::decode("")), [""; 0], "nothing");
        assert_eq!(
            scenario.apply(1, Request::TooLong),
            ["1 < Message too long (at most 4096 bytes)"],
            "and nobody else hears of it"
        );
        assert_eq!(scenario.apply(1, Request::decode("exit")), ["2 < User Alice left"]);
        assert_eq!(scenario.apply(3, join("Alice")), ["2 < User Alice joined", "3 < Welcome"]);
    }

    #[test]
    fn r07_r08_over_udp() {
        let mut scenario = Scenario::with(&["ann", "bob"]);
        assert_eq!(
            scenario.datagram(3, "cat:join"),
            ["1 < User cat joined", "2 < User cat joined", "3 < Welcome"]
        );
        assert_eq!(scenario.datagram(3, "cat: hi:ho"), ["1 < cat: hi:ho", "2 < cat: hi:ho"]);
        assert_eq!(scenario.datagram(4, "cat:join"), ["4 < Name already taken"]);
        assert_eq!(scenario.datagram(4, "a b:join"), ["4 < Invalid name"]);
        assert_eq!(scenario.datagram(4, "cat:hi"), ["! a datagram from an address that has not joined"]);
        assert_eq!(
            scenario.datagram(1, "cat:exit"),
            ["! a datagram under the name 'cat', which is not its sender's"]
        );
        assert_eq!(scenario.datagram(3, "cat:exit"), ["1 < User cat left", "2 < User cat left"]);
        assert_eq!(scenario.room.members().count(), 2);
    }

    #[test]
    fn r08_who_joins_the_other_way_speaks_without_its_name() {
        let mut scenario = Scenario::with(&["ann"]);
        assert_eq!(scenario.datagram(2, "join:bob"), ["1 < User bob joined", "2 < Welcome"]);
        assert_eq!(scenario.datagram(2, "hi: you"), ["1 < bob: hi: you"]);
        assert_eq!(scenario.datagram(2, "bob:hi"), ["1 < bob:hi"]);
        assert_eq!(scenario.datagram(1, "ann:hi"), ["2 < ann:hi"]);
        assert_eq!(scenario.datagram(2, "exit"), ["1 < User bob left"]);
    }

    #[test]
    fn r11_a_repeated_join_is_answered_and_not_announced() {
        let mut scenario = Scenario::with(&["ann", "bob"]);
        assert_eq!(scenario.datagram(1, "ann:join"), ["1 < Welcome"]);
        assert_eq!(
            scenario.datagram(1, "eve:join"),
            ["1 < Welcome", "2 < User ann left", "2 < User eve joined"],
            "another name is not the same again"
        );
        assert_eq!(scenario.datagram(1, "bob:join"), ["1 < Name already taken"]);
        assert_eq!(scenario.datagram(1, "eve:hi"), ["2 < eve:hi"], "still a member");
    }

    #[test]
    fn r10_a_name_is_kept_for_five_minutes() {
        let mut scenario = Scenario::with(&["ann", "bob"]);
        scenario.now += KEPT;
        assert_eq!(scenario.datagram(3, "ann:join"), ["3 < Name already taken"]);
        scenario.datagram(2, "bob:still here");
        scenario.now += SECOND;
        assert_eq!(
            scenario.datagram(3, "ann:join"),
            ["2 < User ann left", "2 < User ann joined", "3 < Welcome", "! 1 gone"]
        );
        assert_eq!(scenario.datagram(3, "bob:join"), ["3 < Name already taken"]);
        assert_eq!(scenario.datagram(1, "ann:hi"), ["! a datagram from an address that has not joined"]);
    }

    #[test]
    fn r10_a_full_room_gives_up_the_one_silent_longest() {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
        let mut scenario = Scenario::with(&names);
        scenario.now += KEPT;
        scenario.datagram(1, "a:still here");
        assert_eq!(scenario.datagram(11, "k:join"), ["11 < Room is full"]);
        scenario.now += SECOND;
        assert_eq!(scenario.datagram(11, "k:join").last().unwrap(), "! 2 gone");
        assert_eq!(scenario.room.member(2), None);
    }

    proptest! {
        #[test]
        fn any_bytes_do_no_harm(pieces: Vec<Vec<u8>>, name in "[a-z]{1,32}") {
            let mut scenario = Scenario::with(&["ann", "bob"]);
            let mut messages = Messages::default();
            messages.push(name.as_bytes(), ZERO);
            let _ = take(&mut messages, PAUSE);
            for piece in &pieces {
                let _ = (split_welcome(piece), split_farewell(piece));
                messages.push(piece, PAUSE);
                for message in take(&mut messages, PAUSE) {
                    let message = message.unwrap();
                    let text = printable(message.as_bytes());
                    let Request::Text(text) = Request::decode(&text) else { continue };
                    prop_assert!(scenario.apply(1, Request::Text(text)).len() <= 1);
                }
                if let Ok(text) = text(piece) {
                    scenario.datagram(9, &text);
                }
            }
            prop_assert_eq!(scenario.room.member(1).map(|(name, _)| name), Some("ann"));
        }

        #[test]
        fn every_message_a_server_says_fits_a_reader(bytes in prop::collection::vec(any::<u8>(), 0..=4096)) {
            let mut scenario = Scenario::with(&["ann", "bob"]);
            let text = printable(&bytes);
            for message in [Request::Text(&text), Request::Named(&text)] {
                for heard in scenario.apply(1, message) {
                    prop_assert!(heard.len() <= MAX_RELAYED);
                    prop_assert!(!heard.contains('\n'), "one message, whatever is in it");
                }
            }
        }
    }
}
