//! Channels: one channel at a time, and messages of exactly 200 bytes.
//!
//! ```text
//! message = text, padded at the end with spaces to 200 bytes, both ways
//! request = "/join" SP channel | "/create" SP channel | "/list" | "/" anything | text
//! ```
//!
//! The first message of a client is its name. A reader strips white space from the end of a message; leading
//! spaces are text. The clauses `C2` to `C19` are those of `docs/protocols/channels.md`.
//!
//! Where the source is silent: what does not fit into one message goes out as several, cut between characters
//! (C18); each further one of a relayed text begins with its sender's name again, so that nobody can write a
//! line that seems to come from the server.

use crate::deliveries::Deliveries;
use crate::text::printable;
use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

/// How many bytes every message has.
pub const SIZE: usize = 200;

/// The most characters a name may have (C3).
const MAX_NAME: usize = 100;

/// The most bytes of a name that stand in front of what is said: each message has to have room for some of that.
const MAX_PREFIX: usize = 150;

/// The most channels there may be (C19).
const MAX_CHANNELS: usize = 1000;

/// What a client says, once it has a name (C4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// `/join <channel>`: the operand, trimmed; perhaps none.
    Join(&'a str),
    /// `/create <channel>`: the operand, trimmed; perhaps none.
    Create(&'a str),
    /// `/list`.
    List,
    /// Another word behind a slash: the whole word.
    Unknown(&'a str),
    /// Text for everyone else in the channel.
    Text(&'a str),
}

/// What the server says (C4 to C16).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// C4: what a member says.
    Text(&'a str, &'a str),
    /// C6, to who is in the channel already.
    Joined(&'a str),
    /// C7, C16, to who stays.
    Left(&'a str),
    /// The request was refused.
    Refused(Error),
}

/// Why a request was refused; its `Display` is the text of the course's `utils.py`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// C3: a name that cannot be one. The connection is closed behind it.
    InvalidName,
    /// C19: so many clients are there already. The connection is closed behind it.
    Full(usize),
    /// C19: so many channels are there already.
    TooManyChannels,
    /// C8: to join, it would have to exist.
    NoSuchChannel(String),
    /// C9.
    JoinWhat,
    /// C11: to create it, it would have to be new.
    ChannelExists(String),
    /// C12.
    CreateWhat,
    /// C14.
    UnknownControl(String),
    /// C15.
    InNoChannel,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was the client's name, and it is registered now.
    Named,
    /// It was done.
    Done,
    /// It was refused, and nothing has changed.
    Refused(Error),
}

/// The text of a message: white space at the end is padding (C2), and what a terminal would obey is taken out
/// (A15).
#[must_use]
pub fn text(message: &[u8; SIZE]) -> Cow<'_, str> {
    printable(message.trim_ascii_end())
}

/// `text` as one or more messages, each behind `prefix`, each padded to [`SIZE`] bytes. Cut between
/// characters, and in front of spaces rather than behind them, where they would be taken for padding. No
/// message for no text.
///
/// `prefix` leaves room for a character.
#[must_use]
pub fn messages(prefix: &str, text: &str) -> String {
    let mut messages = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(cut(rest, SIZE.saturating_sub(prefix.len())));
        push_padded(&mut messages, &[prefix, piece]);
        rest = behind;
    }
    messages
}

/// What a client sends for a line that was typed: one message, or several, of which no later one begins with a
/// slash, which would make it a control message, or with a space (C22). None for an empty line.
#[must_use]
pub fn typed(line: &str) -> String {
    let mut messages = String::new();
    let mut rest = line;
    while !rest.is_empty() {
        let longest = floor_char_boundary(rest, SIZE);
        let starts_well = |at: &usize| rest.get(*at..).is_some_and(|next| !next.starts_with(['/', ' ']));
        // A line of slashes or spaces alone has no such place.
        let at = (1..=longest).rev().find(starts_well).unwrap_or(longest);
        let (piece, behind) = rest.split_at(at);
        push_padded(&mut messages, &[piece]);
        rest = behind;
    }
    messages
}

impl<'a> Request<'a> {
    /// Reads the [`text`] of a message as the server does; `None` for one of spaces alone (C5).
    #[must_use]
    pub fn decode(text: &'a str) -> Option<Self> {
        if text.is_empty() {
            return None;
        }
        if !text.starts_with('/') {
            return Some(Self::Text(text));
        }
        let word = text.split(char::is_whitespace).next().unwrap_or(text);
        let operand = text.get(word.len()..).unwrap_or_default().trim();
        Some(match word {
            "/join" => Self::Join(operand),
            "/create" => Self::Create(operand),
            "/list" => Self::List,
            unknown => Self::Unknown(unknown),
        })
    }
}

impl Reply<'_> {
    /// The messages that it is.
    fn encode(&self) -> String {
        match self {
            Self::Text(name, text) => {
                let shown = name.get(..name.floor_char_boundary(MAX_PREFIX)).unwrap_or(name);
                messages(&format!("[{shown}] "), text)
            }
            other => messages("", &other.to_string()),
        }
    }
}

impl fmt::Display for Reply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(name, text) => write!(f, "[{name}] {text}"),
            Self::Joined(name) => write!(f, "{name} has joined"),
            Self::Left(name) => write!(f, "{name} has left"),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidName => f.write_str("Invalid name"),
            Self::Full(places) => write!(f, "Server is full ({places} clients)"),
            Self::TooManyChannels => f.write_str("Too many channels."),
            Self::NoSuchChannel(channel) => {
                write!(f, "No channel named {channel} exists. Try '/create {channel}'?")
            }
            Self::JoinWhat => f.write_str("/join command must be followed by the name of a channel to join."),
            Self::ChannelExists(channel) => {
                write!(f, "Room {channel} already exists, so cannot be created.")
            }
            Self::CreateWhat => {
                f.write_str("/create command must be followed by the name of a channel to create")
            }
            Self::UnknownControl(word) => write!(
                f,
                "{word} is not a valid control message. Valid messages are /create, /list, and /join."
            ),
            Self::InNoChannel => {
                f.write_str("Not currently in any channel. Must join a channel before sending messages.")
            }
        }
    }
}

impl core::error::Error for Error {}

/// Who is there, and in which channel. `K` tells connections apart.
#[derive(Debug)]
pub struct Hub<K> {
    clients: BTreeMap<K, Client>,
    /// In order of creation; a channel stays when its last member leaves (C17).
    channels: Vec<String>,
    places: usize,
}

#[derive(Debug)]
struct Client {
    name: String,
    /// The number of its channel in the order of creation.
    channel: Option<usize>,
}

impl<K: Copy + Ord> Hub<K> {
    /// A hub without channels, with so many places for clients (A11).
    #[must_use]
    pub const fn new(places: usize) -> Self {
        Self { clients: BTreeMap::new(), channels: Vec::new(), places }
    }

    /// Does what a message of `from` asks, and writes to `out`, which is for its messages, what everyone is to be
    /// told. The first is the client's name (C3).
    pub fn apply(&mut self, from: K, message: &[u8; SIZE], out: &mut Deliveries<K>) -> Outcome {
        let text = text(message);
        let done = match self.clients.get(&from) {
            // A name is taken as it is, or not at all.
            None if text.as_bytes() == message.trim_ascii_end() => self.register(from, &text),
            None => Err(Error::InvalidName),
            Some(_) => self.attempt(from, &text, out),
        };
        done.unwrap_or_else(|error| {
            out.push(from, Reply::Refused(error.clone()).encode());
            Outcome::Refused(error)
        })
    }

    /// Removes `from`, whose connection has ended, and tells its channel (C16). Its name, if it had one.
    pub fn leave(&mut self, from: K, out: &mut Deliveries<K>) -> Option<String> {
        self.leave_channel(from, out);
        self.clients.remove(&from).map(|client| client.name)
    }

    /// Everyone registered.
    pub fn members(&self) -> impl Iterator<Item = (K, &str)> {
        self.clients.iter().map(|(key, client)| (*key, client.name.as_str()))
    }

    fn register(&mut self, from: K, name: &str) -> Result<Outcome, Error> {
        if !(1..=MAX_NAME).contains(&name.chars().count()) {
            return Err(Error::InvalidName);
        }
        if self.clients.len() >= self.places {
            return Err(Error::Full(self.places));
        }
        self.clients.insert(from, Client { name: name.into(), channel: None });
        Ok(Outcome::Named)
    }

    fn attempt(&mut self, from: K, text: &str, out: &mut Deliveries<K>) -> Result<Outcome, Error> {
        match Request::decode(text) {
            None => {}
            Some(Request::Join("")) => return Err(Error::JoinWhat),
            Some(Request::Join(channel)) => self.join(from, channel, out)?,
            Some(Request::Create("")) => return Err(Error::CreateWhat),
            Some(Request::Create(channel)) => self.create(from, channel, out)?,
            Some(Request::List) => self.list(from, out),
            Some(Request::Unknown(word)) => return Err(Error::UnknownControl(word.into())),
            Some(Request::Text(text)) => self.say(from, text, out)?,
        }
        Ok(Outcome::Done)
    }

    /// C6, C8, C17: joining the channel one is in does nothing.
    fn join(&mut self, from: K, channel: &str, out: &mut Deliveries<K>) -> Result<(), Error> {
        let number = self.channels.iter().position(|name| name == channel);
        let number = number.ok_or_else(|| Error::NoSuchChannel(channel.into()))?;
        if self.channel(from) != Some(number) {
            self.enter(from, number, out);
        }
        Ok(())
    }

    /// C10, C11.
    fn create(&mut self, from: K, channel: &str, out: &mut Deliveries<K>) -> Result<(), Error> {
        if self.channels.iter().any(|name| name == channel) {
            return Err(Error::ChannelExists(channel.into()));
        }
        if self.channels.len() >= MAX_CHANNELS {
            return Err(Error::TooManyChannels);
        }
        self.channels.push(channel.into());
        self.enter(from, self.channels.len() - 1, out);
        Ok(())
    }

    fn enter(&mut self, from: K, number: usize, out: &mut Deliveries<K>) {
        self.leave_channel(from, out);
        if let Some(client) = self.clients.get_mut(&from) {
            client.channel = Some(number);
            let reply = Reply::Joined(&client.name.clone()).encode();
            self.tell_channel(from, &reply, out);
        }
    }

    /// C7.
    fn leave_channel(&mut self, from: K, out: &mut Deliveries<K>) {
        if let Some(client) = self.clients.get(&from) {
            self.tell_channel(from, &Reply::Left(&client.name).encode(), out);
        }
        if let Some(client) = self.clients.get_mut(&from) {
            client.channel = None;
        }
    }

    /// C13, C18: names are cut between lines, so that each is whole.
    fn list(&self, from: K, out: &mut Deliveries<K>) {
        let mut page = String::new();
        for channel in &self.channels {
            if !page.is_empty() && page.len() + 1 + channel.len() > SIZE {
                out.push(from, messages("", &page));
                page.clear();
            }
            if !page.is_empty() {
                page.push('\n');
            }
            page.push_str(channel);
        }
        out.push(from, messages("", &page));
    }

    fn say(&self, from: K, text: &str, out: &mut Deliveries<K>) -> Result<(), Error> {
        let client = self.clients.get(&from).filter(|client| client.channel.is_some());
        let client = client.ok_or(Error::InNoChannel)?;
        self.tell_channel(from, &Reply::Text(&client.name, text).encode(), out);
        Ok(())
    }

    /// Everyone else in the channel of `from`, if it is in one.
    fn tell_channel(&self, from: K, messages: &str, out: &mut Deliveries<K>) {
        let Some(channel) = self.channel(from) else { return };
        for (&key, client) in &self.clients {
            if key != from && client.channel == Some(channel) {
                out.push(key, messages);
            }
        }
    }

    fn channel(&self, key: K) -> Option<usize> {
        self.clients.get(&key)?.channel
    }
}

/// Where to cut `text`, so that the piece in front has at most `limit` bytes, and at least one character.
fn cut(text: &str, limit: usize) -> usize {
    if text.len() <= limit {
        return text.len();
    }
    let longest = floor_char_boundary(text, limit);
    let piece = text.get(..longest).unwrap_or(text);
    let solid = piece.trim_ascii_end().len();
    if solid > 0 { solid } else { longest }
}

/// The end of the last character that ends within `limit` bytes, but of one character at least.
fn floor_char_boundary(text: &str, limit: usize) -> usize {
    let first = text.chars().next().map_or(0, char::len_utf8);
    text.floor_char_boundary(limit).max(first)
}

fn push_padded(messages: &mut String, parts: &[&str]) {
    let start = messages.len();
    parts.iter().for_each(|part| messages.push_str(part));
    let padding = SIZE.saturating_sub(messages.len() - start);
    messages.extend(core::iter::repeat_n(' ', padding));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Fixed;
    use proptest::prelude::*;

    /// A message with this text, as a client sends it.
    fn message(text: &str) -> [u8; SIZE] {
        let mut bytes = [b' '; SIZE];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        bytes
    }

    /// The texts of the messages in `bytes`, which are whole.
    fn texts(bytes: &str) -> Vec<String> {
        let (messages, rest) = bytes.as_bytes().as_chunks::<SIZE>();
        assert!(rest.is_empty(), "every message has {SIZE} bytes");
        // A list has line ends inside, which only a server may send.
        messages.iter().map(|message| str::from_utf8(message.trim_ascii_end()).unwrap().into()).collect()
    }

    #[test]
    fn c02_c04_requests() {
        let cases = [
            ("hello", Some(Request::Text("hello"))),
            ("  hello", Some(Request::Text("  hello"))),
            (" /join x", Some(Request::Text(" /join x"))),
            ("", None),
            ("/join", Some(Request::Join(""))),
            ("/join  a b", Some(Request::Join("a b"))),
            ("/join\tx", Some(Request::Join("x"))),
            ("/joinx", Some(Request::Unknown("/joinx"))),
            ("/create 168_tas", Some(Request::Create("168_tas"))),
            ("/list", Some(Request::List)),
            ("/list all", Some(Request::List)),
            ("/foo bar", Some(Request::Unknown("/foo"))),
            ("/", Some(Request::Unknown("/"))),
        ];
        for (line, wanted) in cases {
            assert_eq!(Request::decode(line), wanted, "{line:?}");
            let padded = message(line);
            assert_eq!(Request::decode(&text(&padded)), wanted, "{line:?}, padded");
        }
    }

    #[test]
    fn c02_a15_the_text_of_a_message() {
        for (bytes, wanted) in
            [("a\r\n", "a"), ("a \t\n", "a"), (" a", " a"), ("a\nb", "a?b"), ("\x1b[2J", "?[2J")]
        {
            assert_eq!(text(&message(bytes)), wanted, "{bytes:?}");
        }
    }

    #[test]
    fn c18_what_does_not_fit_goes_out_as_several() {
        assert_eq!(texts(&messages("", "")), [""; 0]);
        assert_eq!(texts(&messages("[A] ", "hi")), ["[A] hi"]);
        let long = "x".repeat(SIZE);
        assert_eq!(texts(&messages("", &long)), [&*long]);
        assert_eq!(texts(&messages("[A] ", &long)), [format!("[A] {}", "x".repeat(196)), "[A] xxxx".into()]);
        // Neither a character of several bytes nor a space is lost at the cut.
        let text = format!("{}é{}", "x".repeat(195), "y");
        assert_eq!(texts(&messages("[A] ", &text)), [format!("[A] {}", "x".repeat(195)), "[A] éy".into()]);
        let text = format!("{}  {}", "x".repeat(194), "y");
        assert_eq!(texts(&messages("[A] ", &text)), [format!("[A] {}", "x".repeat(194)), "[A]   y".into()]);
    }

    #[test]
    fn c22_a_typed_line_is_cut_so_that_no_piece_is_a_control_message() {
        assert_eq!(texts(&typed("")), [""; 0]);
        assert_eq!(texts(&typed("/join x")), ["/join x"]);
        let line = format!("{}/join x", "a".repeat(SIZE));
        assert_eq!(texts(&typed(&line)), ["a".repeat(SIZE - 1), "a/join x".into()]);
        let line = format!("{} b", "a".repeat(SIZE));
        assert_eq!(texts(&typed(&line)), ["a".repeat(SIZE - 1), "a b".into()]);
        let line = format!("{}é", "a".repeat(SIZE - 1));
        assert_eq!(texts(&typed(&line)), ["a".repeat(SIZE - 1), "é".into()]);
    }

    /// A hub and the connections 1, 2, 3 …, each with its name: what one says, and what everyone then hears.
    struct Scenario(Hub<u8>);

    impl Scenario {
        fn with(names: &[&str]) -> Self {
            let mut scenario = Self(Hub::new(10));
            for (key, name) in (1..).zip(names) {
                assert_eq!(scenario.0.apply(key, &message(name), &mut Deliveries::new(key)), Outcome::Named);
            }
            scenario
        }

        /// Everyone in the channel "c", which the first has created.
        fn in_channel(names: &[&str]) -> Self {
            let mut scenario = Self::with(names);
            scenario.say(1, "/create c");
            for key in 2..=u8::try_from(names.len()).unwrap() {
                scenario.say(key, "/join c");
            }
            scenario
        }

        fn say(&mut self, from: u8, line: &str) -> Vec<(u8, String)> {
            let mut out = Deliveries::new(from);
            self.0.apply(from, &message(line), &mut out);
            Self::heard(&out)
        }

        fn heard(out: &Deliveries<u8>) -> Vec<(u8, String)> {
            (1..=12).flat_map(|key| texts(out.get(key)).into_iter().map(move |text| (key, text))).collect()
        }

        /// `from` says `line`; wanted is each message, and who hears it.
        #[track_caller]
        fn check(&mut self, from: u8, line: &str, wanted: &[(u8, &str)]) {
            let have = self.say(from, line);
            let have: Vec<(u8, &str)> = have.iter().map(|(key, text)| (*key, text.as_str())).collect();
            assert_eq!(have, wanted, "{from} says {line:?}");
        }
    }

    #[test]
    fn c03_the_first_message_is_the_name() {
        let mut scenario = Scenario::with(&["Panda", "Panda", "two words"]);
        scenario.check(4, "who?", &[]);
        for (key, name) in [(5, ""), (6, "a\x1bb"), (7, "a\nb"), (8, &*"a".repeat(101))] {
            scenario.check(key, name, &[(key, "Invalid name")]);
        }
    }

    #[test]
    fn c03_c18_a_wide_name_leaves_room_for_what_it_says() {
        let wide = "é".repeat(MAX_NAME);
        let mut scenario = Scenario::in_channel(&["Panda", &wide]);
        scenario.check(2, "hi", &[(1, &format!("[{}] hi", "é".repeat(75)))]);
    }

    #[test]
    fn c04_c06_c07_text_reaches_the_channel_and_no_other() {
        let mut scenario = Scenario::with(&["Panda", "Alice", "Bob"]);
        scenario.check(1, "/create 168_tas", &[]);
        scenario.check(2, "/join 168_tas", &[(1, "Alice has joined")]);
        scenario.check(3, "/create other", &[]);
        scenario.check(2, "Hi everyone!", &[(1, "[Alice] Hi everyone!")]);
        scenario.check(3, "alone", &[]);
        scenario.check(2, "/join other", &[(1, "Alice has left"), (3, "Alice has joined")]);
        scenario.check(2, "/join other", &[]);
        scenario.check(2, "/create third", &[(3, "Alice has left")]);
        scenario.check(1, "", &[]);
    }

    #[test]
    fn c08_to_c15_errors_change_nothing() {
        let mut scenario = Scenario::in_channel(&["Panda", "Alice"]);
        let cases = [
            ("/join x", "No channel named x exists. Try '/create x'?"),
            ("/join", "/join command must be followed by the name of a channel to join."),
            ("/create c", "Room c already exists, so cannot be created."),
            ("/create", "/create command must be followed by the name of a channel to create"),
            (
                "/foo bar",
                "/foo is not a valid control message. Valid messages are /create, /list, and /join.",
            ),
        ];
        for (line, wanted) in cases {
            scenario.check(2, line, &[(2, wanted)]);
            scenario.check(2, "still here", &[(1, "[Alice] still here")]);
        }
        let mut scenario = Scenario::with(&["Panda"]);
        let lost = "Not currently in any channel. Must join a channel before sending messages.";
        scenario.check(1, "Hello world!", &[(1, lost)]);
    }

    #[test]
    fn c13_c17_channels_are_listed_in_order_of_creation_and_stay() {
        let mut scenario = Scenario::with(&["Panda"]);
        scenario.check(1, "/list", &[]);
        scenario.check(1, "/create b", &[]);
        scenario.check(1, "/create a", &[]);
        scenario.check(1, "/list", &[(1, "b\na")]);
        for number in 0..30 {
            scenario.check(1, &format!("/create channel-{number:02}"), &[]);
        }
        let listed = scenario.say(1, "/list");
        let names: Vec<&str> = listed.iter().flat_map(|(_, text)| text.split('\n')).collect();
        assert_eq!((names.len(), names[2], names[31]), (32, "channel-00", "channel-29"));
        assert_eq!(listed.len(), 2, "cut between names");
    }

    #[test]
    fn c16_leaving() {
        let mut scenario = Scenario::in_channel(&["Panda", "Alice"]);
        let mut out = Deliveries::new(1);
        assert_eq!(scenario.0.leave(1, &mut out).as_deref(), Some("Panda"));
        assert_eq!(Scenario::heard(&out), [(2, "Panda has left".into())]);
        assert_eq!(scenario.0.leave(1, &mut out), None);
    }

    #[test]
    fn c19_limits() {
        let mut scenario = Scenario::with(&["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]);
        scenario.check(11, "k", &[(11, "Server is full (10 clients)")]);
        for number in 0..MAX_CHANNELS {
            scenario.check(1, &format!("/create {number}"), &[]);
        }
        scenario.check(1, "/create one-more", &[(1, "Too many channels.")]);
        scenario.check(1, "still here", &[]);
    }

    proptest! {
        #[test]
        fn any_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..4 * SIZE)) {
            let mut scenario = Scenario::in_channel(&["Panda", "Alice"]);
            let mut frames = Fixed::<SIZE>::new();
            frames.push(&bytes);
            while let Some(message) = frames.next() {
                let mut out = Deliveries::new(1);
                scenario.0.apply(1, &message, &mut out);
                for (_, heard) in Scenario::heard(&out) {
                    prop_assert!(heard.len() <= SIZE);
                }
            }
            prop_assert_eq!(scenario.0.members().count(), 2);
        }

        #[test]
        fn a_text_in_pieces_is_the_same_text(name in "[^ ?\\p{Cc}]{1,20}", said in "[^ \\p{Cc}][^\\p{Cc}]{0,600}") {
            let prefix = format!("[{name}] ");
            let mut joined = String::new();
            for piece in texts(&messages(&prefix, said.trim_end())) {
                joined.push_str(piece.strip_prefix(&prefix).unwrap_or(&piece));
            }
            prop_assert_eq!(joined.replace(char::is_whitespace, ""), said.replace(char::is_whitespace, ""));
        }
    }
}
