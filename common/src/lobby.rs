//! The lobby: `JOIN`, `LIST`, `MESG`, `BCST`, `QUIT` over TCP, one line each.
//!
//! ```text
//! request  = "JOIN" SP name | "LIST" … | "MESG" SP name " " text | "BCST" " " text | "QUIT" … | anything
//! SP       = one or more spaces; "…" = whatever follows is ignored
//! text     = everything behind the one space, further spaces included
//! ```
//!
//! Commands are case-sensitive. An empty line is nothing. The clauses `L4` to `L24` are those of
//! `docs/protocols/lobby.md`.
//!
//! Where the source is silent: a text of spaces only counts as no text (L19), and a line that is too long is
//! refused with [`Error::TooLong`], registered or not (A14).

use crate::deliveries::Deliveries;
use crate::frame::{MAX_MESSAGE, MAX_RELAYED, TooLong};
use crate::roster::{Refusal, Roster};
use crate::text::{MAX_NAME, is_name};
use alloc::string::{String, ToString};
use core::fmt;

/// The longest text that still leaves room in [`MAX_RELAYED`] for a sender's name, or for the words of an
/// error, around it. Replacing invalid UTF-8 can make a text longer than it was said.
const MAX_TEXT: usize = MAX_RELAYED - 2 * MAX_NAME;

/// What a client says (L4, L5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// `JOIN <username>`: register. What stands behind the command, trimmed: perhaps no name at all.
    Join(&'a str),
    /// `LIST`: who is registered?
    List,
    /// `MESG <username> <text>`: a text for one. Either may be empty.
    Mesg(&'a str, &'a str),
    /// `BCST <text>`: a text for everyone else. May be empty.
    Bcst(&'a str),
    /// `QUIT`: leave.
    Quit,
    /// Anything else; its first word.
    Unknown(&'a str),
    /// More than [`MAX_MESSAGE`] bytes; what they were is not known any more.
    TooLong,
}

/// What the server says (L6 to L22), a line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// L6, to who has joined under this name.
    Welcome(&'a str),
    /// L7, to everyone else.
    Joined(&'a str),
    /// L12: one of the names that answer LIST.
    Member(&'a str),
    /// L13, L15: what a sender says.
    Text(&'a str, &'a str),
    /// L16, to who sent a BCST.
    Broadcasting(&'a str),
    /// L20, to who quits.
    Quitting(&'a str),
    /// L21, to everyone else.
    Left(&'a str),
    /// L22, to everyone connected.
    ShuttingDown,
    /// The request was refused.
    Refused(Error),
}

/// Why a request was refused; its `Display` is the line that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// L8: JOIN from a client that has this name already.
    AlreadyRegistered(String),
    /// L9: somebody else has this name.
    NameTaken(String),
    /// L10: every place is taken. The connection is closed behind it.
    Full,
    /// L11: no name, or none that can be one.
    InvalidName,
    /// L14: nobody has this name.
    UnknownRecipient(String),
    /// L17: only JOIN and QUIT are for everybody.
    Unregistered,
    /// L18: no such command.
    UnknownMessage(String),
    /// L19: no recipient or no text.
    IncompleteMesg,
    /// L19: no text.
    IncompleteBcst,
    /// A14: over 4,096 bytes.
    TooLong,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The client is registered now.
    Joined,
    /// It was done.
    Done,
    /// It was refused, and nothing has changed.
    Refused(Error),
    /// The client wants to go. It is still registered: see [`Lobby::leave`].
    Quit,
}

impl<'a> Request<'a> {
    /// Reads one line (without its end) as the server does. Every line means something, but for an empty one.
    #[must_use]
    pub fn decode(line: &'a str) -> Option<Self> {
        if line.len() > MAX_TEXT {
            return Some(Self::TooLong);
        }
        let (command, rest) = split_word(line);
        Some(match command {
            "" => return None,
            "JOIN" => Self::Join(rest.trim_matches(' ')),
            "LIST" => Self::List,
            "MESG" => {
                let (recipient, text) = split_word(rest);
                Self::Mesg(recipient, text)
            }
            "BCST" => Self::Bcst(rest),
            "QUIT" => Self::Quit,
            unknown => Self::Unknown(unknown),
        })
    }
}

impl From<TooLong> for Request<'_> {
    fn from(_: TooLong) -> Self {
        Self::TooLong
    }
}

impl fmt::Display for Request<'_> {
    /// The line, without its end, that [`Request::decode`] reads as this request.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Join(name) => write!(f, "JOIN {name}"),
            Self::List => f.write_str("LIST"),
            Self::Mesg(recipient, text) => write!(f, "MESG {recipient} {text}"),
            Self::Bcst(text) => write!(f, "BCST {text}"),
            Self::Quit => f.write_str("QUIT"),
            Self::Unknown(word) => f.write_str(word),
            Self::TooLong => Ok(()),
        }
    }
}

impl<'a> Reply<'a> {
    /// Reads one line (without its end) as the client does; `None` if it is none of the protocol's.
    ///
    /// A bare name is taken for a [`Reply::Member`].
    #[must_use]
    pub fn decode(line: &'a str) -> Option<Self> {
        let named = |suffix| line.strip_suffix(suffix).filter(|name| is_name(name));
        if line == SHUTTING_DOWN {
            return Some(Self::ShuttingDown);
        }
        if let Some(error) = Error::decode(line) {
            return Some(Self::Refused(error));
        }
        if is_name(line) {
            return Some(Self::Member(line));
        }
        if let Some((sender, text)) = line.split_once(": ").filter(|(sender, _)| is_name(sender)) {
            return Some(Self::Text(sender, text));
        }
        named(WELCOME)
            .map(Self::Welcome)
            .or_else(|| named(JOINED).map(Self::Joined))
            .or_else(|| named(BROADCASTING).map(Self::Broadcasting))
            .or_else(|| named(QUITTING).map(Self::Quitting))
            .or_else(|| named(LEFT).map(Self::Left))
    }
}

impl fmt::Display for Reply<'_> {
    /// The line, without its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Welcome(name) => write!(f, "{name}{WELCOME}"),
            Self::Joined(name) => write!(f, "{name}{JOINED}"),
            Self::Member(name) => f.write_str(name),
            // By far the most frequent line, and this is faster than formatting.
            Self::Text(sender, text) => {
                f.write_str(sender)?;
                f.write_str(": ")?;
                f.write_str(text)
            }
            Self::Broadcasting(name) => write!(f, "{name}{BROADCASTING}"),
            Self::Quitting(name) => write!(f, "{name}{QUITTING}"),
            Self::Left(name) => write!(f, "{name}{LEFT}"),
            Self::ShuttingDown => f.write_str(SHUTTING_DOWN),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

const WELCOME: &str = " joined!Connected to server!";
const JOINED: &str = " joined!";
const BROADCASTING: &str = " is sending a broadcast";
const QUITTING: &str = " is quitting the chat server";
const LEFT: &str = " left";
const SHUTTING_DOWN: &str = "Server is shutting down";

impl Error {
    /// Reads the line that says why; `None` if it is none of them.
    #[must_use]
    pub fn decode(line: &str) -> Option<Self> {
        let fixed = [
            Self::Full,
            Self::InvalidName,
            Self::Unregistered,
            Self::IncompleteMesg,
            Self::IncompleteBcst,
            Self::TooLong,
        ];
        // What stands around the word that such a line carries is found by writing it around a mark.
        let around: [fn(String) -> Self; 4] =
            [Self::AlreadyRegistered, Self::NameTaken, Self::UnknownRecipient, Self::UnknownMessage];
        let carried = |error: fn(String) -> Self| {
            let template = error("\0".into()).to_string();
            let (before, after) = template.split_once('\0')?;
            Some(error(line.strip_prefix(before)?.strip_suffix(after)?.into()))
        };
        fixed
            .into_iter()
            .find(|error| error.to_string() == line)
            .or_else(|| around.into_iter().find_map(carried))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyRegistered(name) => write!(f, "Already registered as {name}. JOIN discarded."),
            Self::NameTaken(name) => {
                write!(f, "Username {name} is already taken. Use JOIN <username> with another name.")
            }
            Self::Full => f.write_str("Too Many Users"),
            Self::InvalidName => {
                f.write_str("Invalid Username. Use JOIN <username>, one word of letters and digits.")
            }
            Self::UnknownRecipient(name) => write!(f, "Unknown Recipient ({name}). MESG discarded."),
            Self::Unregistered => f.write_str("Unregistered User. Use JOIN <username> to register."),
            Self::UnknownMessage(word) => write!(f, "Unknown Message ({word}). Discarded."),
            Self::IncompleteMesg => f.write_str("Incomplete MESG. Use MESG <username> <message>."),
            Self::IncompleteBcst => f.write_str("Incomplete BCST. Use BCST <message>."),
            Self::TooLong => write!(f, "Message too long (at most {MAX_MESSAGE} bytes). Discarded."),
        }
    }
}

impl core::error::Error for Error {}

/// Who is registered, and what every request does. `K` tells connections apart.
#[derive(Debug)]
pub struct Lobby<K> {
    roster: Roster<K>,
}

impl<K: Copy + Ord> Lobby<K> {
    /// An empty lobby with so many places (A11).
    #[must_use]
    pub const fn new(places: usize) -> Self {
        Self { roster: Roster::new(places) }
    }

    /// Does what `request` of the connection `from` asks, and writes to `out`, which is for its requests, what
    /// everyone is to be told.
    pub fn apply(&mut self, from: K, request: Request<'_>, out: &mut Deliveries<K>) -> Outcome {
        match self.attempt(from, request, out) {
            Ok(outcome) => outcome,
            Err(error) => {
                tell(out, from, &Reply::Refused(error.clone()));
                Outcome::Refused(error)
            }
        }
    }

    /// Removes `from`, whose connection has ended or is about to, and tells everyone else (L21). Its name, if
    /// it was registered.
    pub fn leave(&mut self, from: K, out: &mut Deliveries<K>) -> Option<String> {
        let name = self.roster.leave(from)?;
        tell_others(out, &Reply::Left(&name));
        Some(name)
    }

    /// The name of `key`, if it is registered.
    #[must_use]
    pub fn name(&self, key: K) -> Option<&str> {
        self.roster.name(key)
    }

    /// Everyone registered but `from`: those that hear what it says to others.
    pub fn others(&self, from: K) -> impl Iterator<Item = K> {
        self.roster.others(from)
    }

    /// Everyone registered, in order of joining.
    pub fn members(&self) -> impl Iterator<Item = (K, &str)> {
        self.roster.iter()
    }

    fn attempt(&mut self, from: K, request: Request<'_>, out: &mut Deliveries<K>) -> Result<Outcome, Error> {
        match request {
            Request::TooLong => Err(Error::TooLong),
            Request::Join(name) => self.join(from, name, out),
            Request::Quit => Ok(self.quit(from, out)),
            other => {
                let sender = self.roster.name(from).ok_or(Error::Unregistered)?;
                self.chat(from, sender, other, out)
            }
        }
    }

    /// L8, L11, L9, L10 are looked at in this order.
    fn join(&mut self, from: K, name: &str, out: &mut Deliveries<K>) -> Result<Outcome, Error> {
        if let Some(own) = self.roster.name(from) {
            return Err(Error::AlreadyRegistered(own.into()));
        }
        if !is_name(name) {
            return Err(Error::InvalidName);
        }
        self.roster.join(from, name).map_err(|refusal| match refusal {
            Refusal::NameTaken => Error::NameTaken(name.into()),
            Refusal::Full => Error::Full,
        })?;
        tell(out, from, &Reply::Welcome(name));
        tell_others(out, &Reply::Joined(name));
        Ok(Outcome::Joined)
    }

    fn quit(&self, from: K, out: &mut Deliveries<K>) -> Outcome {
        if let Some(name) = self.roster.name(from) {
            tell(out, from, &Reply::Quitting(name));
        }
        Outcome::Quit
    }

    /// What only registered clients may do.
    fn chat(
        &self,
        from: K,
        sender: &str,
        request: Request<'_>,
        out: &mut Deliveries<K>,
    ) -> Result<Outcome, Error> {
        match request {
            Request::List => self.list(from, out),
            Request::Mesg(recipient, text) => {
                if recipient.is_empty() || is_blank(text) {
                    return Err(Error::IncompleteMesg);
                }
                let to = self.roster.key(recipient);
                let to = to.ok_or_else(|| Error::UnknownRecipient(recipient.into()))?;
                tell(out, to, &Reply::Text(sender, text));
            }
            Request::Bcst(text) => {
                if is_blank(text) {
                    return Err(Error::IncompleteBcst);
                }
                tell_others(out, &Reply::Text(sender, text));
                tell(out, from, &Reply::Broadcasting(sender));
            }
            Request::Unknown(word) => return Err(Error::UnknownMessage(word.into())),
            Request::Join(_) | Request::Quit | Request::TooLong => {}
        }
        Ok(Outcome::Done)
    }

    /// All names in one piece, so that nobody's message can stand between them (L23).
    fn list(&self, from: K, out: &mut Deliveries<K>) {
        for (_, name) in self.roster.iter() {
            tell(out, from, &Reply::Member(name));
        }
    }
}

/// Adds the line that `reply` is to what `to` gets.
fn tell<K: Copy + Ord>(out: &mut Deliveries<K>, to: K, reply: &Reply<'_>) {
    out.push(to, format_args!("{reply}\n"));
}

/// Adds the line that `reply` is to what everyone gets but the one whose requests these are.
fn tell_others<K: Copy + Ord>(out: &mut Deliveries<K>, reply: &Reply<'_>) {
    out.push_others(format_args!("{reply}\n"));
}

/// The first word of `line`, and what stands behind the one space that ends it.
fn split_word(line: &str) -> (&str, &str) {
    let line = line.trim_start_matches(' ');
    line.split_once(' ').unwrap_or((line, ""))
}

fn is_blank(text: &str) -> bool {
    text.bytes().all(|byte| byte == b' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Lines, Pauses};
    use crate::text::printable;
    use alloc::vec::Vec;
    use core::time::Duration;
    use proptest::prelude::*;

    /// Lines that read as a request, and write back as they stand.
    const REQUESTS: &[(&str, Request<'_>)] = &[
        ("JOIN Alice", Request::Join("Alice")),
        ("LIST", Request::List),
        ("MESG Bob hi", Request::Mesg("Bob", "hi")),
        ("MESG Bob  two  spaces ", Request::Mesg("Bob", " two  spaces ")),
        ("BCST Hello", Request::Bcst("Hello")),
        ("BCST  x", Request::Bcst(" x")),
        ("QUIT", Request::Quit),
        ("list", Request::Unknown("list")),
    ];

    /// Lines that read as a request, but are written otherwise (L5).
    const OTHER_SPELLINGS: &[(&str, Request<'_>)] = &[
        ("JOIN", Request::Join("")),
        ("JOIN   Alice  ", Request::Join("Alice")),
        ("JOIN Alice Smith", Request::Join("Alice Smith")),
        ("  LIST", Request::List),
        ("LIST Alice", Request::List),
        ("QUIT Alice", Request::Quit),
        ("MESG", Request::Mesg("", "")),
        ("MESG Bob", Request::Mesg("Bob", "")),
        ("MESG   Bob  hi", Request::Mesg("Bob", " hi")),
        ("BCST", Request::Bcst("")),
        ("LIST\tx", Request::Unknown("LIST\tx")),
        ("hello there", Request::Unknown("hello")),
    ];

    #[test]
    fn l05_requests_read_and_write() {
        for (line, request) in REQUESTS {
            assert_eq!(Request::decode(line), Some(*request), "{line:?}");
            assert_eq!(request.to_string(), *line);
        }
        for (line, request) in OTHER_SPELLINGS {
            assert_eq!(Request::decode(line), Some(*request), "{line:?}");
        }
        for nothing in ["", " ", "    "] {
            assert_eq!(Request::decode(nothing), None, "{nothing:?}");
        }
    }

    fn replies() -> Vec<(&'static str, Reply<'static>)> {
        let refused = Reply::Refused;
        [
            ("Alice joined!Connected to server!", Reply::Welcome("Alice")),
            ("Alice joined!", Reply::Joined("Alice")),
            ("Alice", Reply::Member("Alice")),
            ("Alice: Hello", Reply::Text("Alice", "Hello")),
            ("Alice: Bob left", Reply::Text("Alice", "Bob left")),
            ("Alice: x is sending a broadcast", Reply::Text("Alice", "x is sending a broadcast")),
            ("Alice is sending a broadcast", Reply::Broadcasting("Alice")),
            ("Alice is quitting the chat server", Reply::Quitting("Alice")),
            ("Alice left", Reply::Left("Alice")),
            ("Server is shutting down", Reply::ShuttingDown),
            (
                "Already registered as Alice. JOIN discarded.",
                refused(Error::AlreadyRegistered("Alice".into())),
            ),
            (
                "Username Bob is already taken. Use JOIN <username> with another name.",
                refused(Error::NameTaken("Bob".into())),
            ),
            ("Too Many Users", refused(Error::Full)),
            (
                "Invalid Username. Use JOIN <username>, one word of letters and digits.",
                refused(Error::InvalidName),
            ),
            ("Unknown Recipient (Zed). MESG discarded.", refused(Error::UnknownRecipient("Zed".into()))),
            ("Unregistered User. Use JOIN <username> to register.", refused(Error::Unregistered)),
            ("Unknown Message (HELO). Discarded.", refused(Error::UnknownMessage("HELO".into()))),
            ("Incomplete MESG. Use MESG <username> <message>.", refused(Error::IncompleteMesg)),
            ("Incomplete BCST. Use BCST <message>.", refused(Error::IncompleteBcst)),
            ("Message too long (at most 4096 bytes). Discarded.", refused(Error::TooLong)),
        ]
        .into()
    }

    #[test]
    fn replies_read_and_write() {
        for (line, reply) in replies() {
            assert_eq!(reply.to_string(), line);
            assert_eq!(Reply::decode(line), Some(reply), "{line:?}");
        }
        for other in ["", "two words", "Alice,Bob", "joined!", " joined!"] {
            assert_eq!(Reply::decode(other), None, "{other:?}");
        }
    }

    /// A lobby and the connections 1, 2, 3 …: what one says, and what everyone then hears.
    struct Scenario {
        lobby: Lobby<u8>,
    }

    impl Scenario {
        fn with(names: &[&str]) -> Self {
            let mut scenario = Self { lobby: Lobby::new(10) };
            for (key, name) in (1..).zip(names) {
                scenario.lobby.apply(key, Request::Join(name), &mut Deliveries::new(key));
            }
            scenario
        }

        /// `from` says `line`; wanted is each recipient with the lines it gets.
        #[track_caller]
        fn check(&mut self, from: u8, line: &str, wanted: &[(u8, &str)]) {
            let mut out = Deliveries::new(from);
            if let Some(request) = Request::decode(line) {
                self.lobby.apply(from, request, &mut out);
            }
            self.check_out(line, from, &out, wanted);
        }

        #[track_caller]
        fn check_out(&self, what: &str, from: u8, out: &Deliveries<u8>, wanted: &[(u8, &str)]) {
            let mut recipients: Vec<u8> = self.lobby.others(from).chain([from]).collect();
            recipients.sort_unstable();
            let heard = |key: &u8| (*key, out.get(*key));
            let have: Vec<_> = recipients.iter().map(heard).filter(|(_, text)| !text.is_empty()).collect();
            assert_eq!(have, wanted, "{what}");
        }
    }

    #[test]
    fn l06_l07_joining() {
        let mut scenario = Scenario::with(&["Alice", "Bob"]);
        scenario.check(
            3,
            "JOIN Alex",
            &[(1, "Alex joined!\n"), (2, "Alex joined!\n"), (3, "Alex joined!Connected to server!\n")],
        );
    }

    #[test]
    fn l08_to_l11_refused_joins_are_asked_in_order() {
        let mut scenario = Scenario::with(&["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]);
        let registered = "Already registered as a. JOIN discarded.\n";
        scenario.check(1, "JOIN", &[(1, registered)]);
        scenario.check(1, "JOIN b", &[(1, registered)]);
        let invalid = "Invalid Username. Use JOIN <username>, one word of letters and digits.\n";
        scenario.check(11, "JOIN", &[(11, invalid)]);
        scenario.check(11, "JOIN b b", &[(11, invalid)]);
        let taken = "Username b is already taken. Use JOIN <username> with another name.\n";
        scenario.check(11, "JOIN b", &[(11, taken)]);
        scenario.check(11, "JOIN k", &[(11, "Too Many Users\n")]);
        assert_eq!(scenario.lobby.leave(4, &mut Deliveries::new(4)).as_deref(), Some("d"));
        let outcome = scenario.lobby.apply(11, Request::Join("d"), &mut Deliveries::new(11));
        assert_eq!(outcome, Outcome::Joined);
    }

    #[test]
    fn l12_list_in_order_of_joining() {
        let mut scenario = Scenario::with(&["Zed", "Ann"]);
        scenario.check(2, "LIST", &[(2, "Zed\nAnn\n")]);
    }

    #[test]
    fn l13_l14_messages() {
        let mut scenario = Scenario::with(&["Alice", "Bob"]);
        scenario.check(1, "MESG Bob How are you?", &[(2, "Alice: How are you?\n")]);
        scenario.check(1, "MESG Alice me", &[(1, "Alice: me\n")]);
        scenario.check(1, "MESG bob hi", &[(1, "Unknown Recipient (bob). MESG discarded.\n")]);
    }

    #[test]
    fn l15_l16_broadcasts() {
        let mut scenario = Scenario::with(&["Alice", "Bob", "Alex"]);
        scenario.check(
            1,
            "BCST Hello",
            &[(1, "Alice is sending a broadcast\n"), (2, "Alice: Hello\n"), (3, "Alice: Hello\n")],
        );
    }

    #[test]
    fn l17_only_join_and_quit_are_for_everybody() {
        let mut scenario = Scenario::with(&["Alice"]);
        for line in ["LIST", "MESG", "MESG Alice hi", "BCST", "BCST hi", "hello"] {
            scenario.check(9, line, &[(9, "Unregistered User. Use JOIN <username> to register.\n")]);
        }
        scenario.check(9, "QUIT", &[]);
    }

    #[test]
    fn l18_l19_unknown_and_incomplete() {
        let mut scenario = Scenario::with(&["Alice"]);
        scenario.check(1, "hello there", &[(1, "Unknown Message (hello). Discarded.\n")]);
        for line in ["MESG", "MESG Alice", "MESG Alice ", "MESG Alice   "] {
            scenario.check(1, line, &[(1, "Incomplete MESG. Use MESG <username> <message>.\n")]);
        }
        for line in ["BCST", "BCST ", "BCST    "] {
            scenario.check(1, line, &[(1, "Incomplete BCST. Use BCST <message>.\n")]);
        }
    }

    #[test]
    fn l20_l21_quitting_and_leaving() {
        let mut scenario = Scenario::with(&["Alice", "Bob"]);
        scenario.check(1, "QUIT", &[(1, "Alice is quitting the chat server\n")]);
        let mut out = Deliveries::new(1);
        assert_eq!(scenario.lobby.leave(1, &mut out).as_deref(), Some("Alice"));
        scenario.check_out("leaving", 1, &out, &[(2, "Alice left\n")]);
        assert_eq!(scenario.lobby.leave(1, &mut out), None, "once only");
        scenario.check_out("leaving again", 1, &out, &[(2, "Alice left\n")]);
    }

    #[test]
    fn a14_a_long_line_is_refused_as_a_whole() {
        let mut scenario = Scenario::with(&[]);
        let mut out = Deliveries::new(1);
        scenario.lobby.apply(1, Request::from(TooLong), &mut out);
        scenario.check_out(
            "too long",
            1,
            &out,
            &[(1, "Message too long (at most 4096 bytes). Discarded.\n")],
        );
        let grown = printable(&[0xff; MAX_MESSAGE]).into_owned();
        assert_eq!(Request::decode(&grown), Some(Request::TooLong), "as it would be relayed");
    }

    proptest! {
        #[test]
        fn any_bytes_do_no_harm(bytes: Vec<u8>) {
            let mut scenario = Scenario::with(&["Alice", "Bob"]);
            let mut out = Deliveries::new(1);
            let mut lines = Lines::new(MAX_MESSAGE, Pauses::UntilFirstNewline);
            lines.push(&bytes, Duration::ZERO);
            lines.end();
            while let Some(line) = lines.next(Duration::ZERO) {
                let text = line.map(printable).unwrap_or_default();
                let _ = Reply::decode(&text);
                if let Some(request) = Request::decode(&text) {
                    scenario.lobby.apply(1, request, &mut out);
                }
            }
            prop_assert_eq!(scenario.lobby.members().count(), 2);
        }

        #[test]
        fn every_line_a_server_says_fits_a_reader(text in "[^\\n]{0,4096}", name in "[a-z]{1,32}") {
            let mut scenario = Scenario::with(&[&name, "Bob"]);
            for command in ["BCST ", "MESG Bob ", "MESG ", ""] {
                let line = alloc::format!("{command}{text}");
                let mut out = Deliveries::new(1);
                if let Some(request) = Request::decode(&line) {
                    scenario.lobby.apply(1, request, &mut out);
                }
                for line in [1, 2].iter().flat_map(|&to| out.get(to).split('\n')) {
                    prop_assert!(line.len() <= MAX_RELAYED);
                }
            }
        }
    }
}
