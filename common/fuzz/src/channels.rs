//! [`channels`](chat_common::channels): several connections, their bytes cut into messages of 200, and applied.
//!
//! What everyone hears is held against the table of clauses in `docs/protocols/channels.md`, once with each read
//! whole and once in pieces.

use crate::input::{Name, Said, Step, is_harmless};
use arbitrary::Arbitrary;
use chat_common::channels::{Error, Hub, Outcome, Request, SIZE, messages, text, typed};
use chat_common::deliveries::Deliveries;
use chat_common::frame::Fixed;
use std::collections::BTreeMap;

/// How many connections there may be at once.
const CONNECTIONS: u8 = 5;

/// The most bytes of a name that stand in front of what it says.
const MAX_PREFIX: usize = 150;

/// A hub, and what its clients do.
#[derive(Arbitrary, Debug)]
pub struct Input<'a> {
    places: u8,
    /// How many bytes arrive together the second time.
    piece: u8,
    steps: Vec<Step<Action<'a>>>,
}

#[derive(Arbitrary, Debug)]
enum Action<'a> {
    /// One message, padded.
    Say(Message<'a>),
    /// A line as our client sends it: as many messages as it takes (C22).
    Type(Said<'a>),
    /// Bytes, perhaps no whole message.
    Send(Said<'a>),
    Leave,
}

#[derive(Arbitrary, Debug)]
enum Message<'a> {
    Name(Name<'a>),
    Join(Name<'a>),
    Create(Name<'a>),
    CreateLong(Said<'a>),
    List,
    Text(Said<'a>),
}

/// The messages that each connection has heard since the beginning.
type Heard = BTreeMap<u8, String>;

impl Input<'_> {
    /// Lets the clients do what they do, and holds what everyone hears against the clauses.
    ///
    /// # Panics
    /// A clause is broken.
    pub fn check(&self) {
        let pieces = self.play(usize::from(self.piece) + 1);
        assert_eq!(self.play(usize::MAX), pieces, "A18, C2: whole reads, and the same in pieces");
    }

    fn play(&self, piece: usize) -> Heard {
        let mut server = Server::new(usize::from(self.places % CONNECTIONS));
        for step in &self.steps {
            let who = step.who % CONNECTIONS;
            match &step.does {
                Action::Say(message) => server.read(who, &message.bytes(), piece),
                Action::Type(said) => server.read(who, typed_line(&said.bytes()).as_bytes(), piece),
                Action::Send(said) => server.read(who, &said.bytes(), piece),
                Action::Leave => server.leave(who),
            }
        }
        server.heard
    }
}

impl Message<'_> {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = match self {
            Self::Name(name) => name.text().into(),
            Self::Join(name) => format!("/join {}", name.text()).into(),
            Self::Create(name) => format!("/create {}", name.text()).into(),
            Self::CreateLong(said) => [b"/create ", &*said.bytes()].concat(),
            Self::List => b"/list".into(),
            Self::Text(said) => said.bytes(),
        };
        bytes.resize(SIZE, b' ');
        bytes
    }
}

/// What our client sends for a line that was typed (C22).
fn typed_line(line: &[u8]) -> String {
    // The client shows and sends what can be typed: text, without line breaks.
    let line = String::from_utf8_lossy(line).replace('\n', "");
    let sent = typed(&line);
    let (pieces, rest) = sent.as_bytes().as_chunks::<SIZE>();
    assert!(rest.is_empty(), "C22: every message has {SIZE} bytes");
    let pieces: Vec<_> = pieces.iter().map(|piece| String::from_utf8_lossy(piece)).collect();
    assert!(
        !pieces.iter().any(|piece| piece.contains('\u{fffd}')) || line.contains('\u{fffd}'),
        "between characters"
    );
    assert_eq!(without_spaces(&sent), without_spaces(&line), "C22: nothing is lost");
    // A stretch of slashes and spaces that is longer than a message has no better place.
    let longest = line.split(|c| c != '/' && c != ' ').map(str::len).max().unwrap_or(0);
    let bad = pieces.iter().skip(1).any(|piece| piece.starts_with(['/', ' ']));
    assert!(!bad || longest >= SIZE - 4, "C22: no later piece begins with a slash or a space: {line:?}");
    sent
}

fn without_spaces(text: &str) -> String {
    text.replace(' ', "")
}

/// The hub beside what the clauses say about it.
struct Server {
    hub: Hub<u8>,
    model: Model,
    readers: BTreeMap<u8, Fixed<SIZE>>,
    heard: Heard,
}

impl Server {
    fn new(places: usize) -> Self {
        let model = Model { places, clients: BTreeMap::new(), channels: Vec::new() };
        Self { hub: Hub::new(places), model, readers: BTreeMap::new(), heard: Heard::new() }
    }

    /// `from`, which is connected now, sends bytes. What comes behind its end is for nobody.
    fn read(&mut self, from: u8, bytes: &[u8], piece: usize) {
        self.readers.entry(from).or_default();
        for bytes in bytes.chunks(piece.min(bytes.len()).max(1)) {
            let Some(mut reader) = self.readers.remove(&from) else { return };
            reader.push(bytes);
            let mut goes_on = true;
            while goes_on && let Some(message) = reader.next() {
                goes_on = self.apply(from, &message);
            }
            self.readers.insert(from, reader);
            if !goes_on {
                self.leave(from);
            }
        }
    }

    /// Handles a message as the server does. Whether the connection goes on.
    fn apply(&mut self, from: u8, message: &[u8; SIZE]) -> bool {
        let text = text(message);
        assert!(is_harmless(&text), "A15: {text:?}");
        assert!(!text.ends_with([' ', '\t']), "C2: white space is stripped from the end of {text:?}");
        let mut out = Deliveries::new(from);
        let outcome = self.hub.apply(from, message, &mut out);
        let unchanged = message.starts_with(text.as_bytes());
        let (wanted, goes_on) = self.model.apply(from, &text, unchanged);
        let ends = matches!(outcome, Outcome::Refused(Error::InvalidName | Error::Full(_)));
        assert_eq!(!ends, goes_on, "C3, C19: {text:?} ends the connection");
        self.deliver(&out, &wanted);
        goes_on
    }

    fn leave(&mut self, from: u8) {
        self.readers.remove(&from);
        let mut out = Deliveries::new(from);
        let name = self.hub.leave(from, &mut out);
        let (wanted, model) = self.model.leave(from);
        assert_eq!(name, model, "C16: who left");
        self.deliver(&out, &wanted);
    }

    fn deliver(&mut self, out: &Deliveries<u8>, wanted: &[Wanted]) {
        let have: Vec<_> = self.hub.members().collect();
        let model: Vec<_> = self.model.clients.iter().map(|(key, client)| (*key, &*client.name)).collect();
        assert_eq!(have, model, "who is registered");
        let mut left = wanted.to_vec();
        for to in 0..CONNECTIONS {
            let heard = out.get(to);
            let own = left.iter().position(|wanted| wanted.to == to).map(|at| left.remove(at));
            check_heard(to, heard, own.as_ref());
            self.heard.entry(to).or_default().push_str(heard);
        }
        assert_eq!(left, [], "each hears one thing at a time");
    }
}

/// What one hears of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    to: u8,
    /// What stands in front of each of its messages.
    prefix: String,
    text: String,
    /// It is a list of names, one on each line.
    list: bool,
}

/// C18: as many messages as it takes, each of 200 bytes and behind the prefix, and nothing lost.
fn check_heard(to: u8, heard: &str, wanted: Option<&Wanted>) {
    let Some(Wanted { prefix, text, list, .. }) = wanted else {
        return assert_eq!(heard, "", "{to} hears nothing");
    };
    let (pieces, rest) = heard.as_bytes().as_chunks::<SIZE>();
    assert!(rest.is_empty(), "every message has {SIZE} bytes");
    let mut all = String::new();
    for piece in pieces {
        let piece = str::from_utf8(piece.trim_ascii_end()).expect("C18: cut between characters");
        assert!(is_harmless(&piece.replace('\n', "")), "A15: {piece:?}");
        assert!(*list || !piece.contains('\n'), "C21b: only a list has line ends");
        let said = piece.strip_prefix(&**prefix).or_else(|| prefix.trim_end().eq(piece).then_some(""));
        all += said.unwrap_or_else(|| panic!("C18: {piece:?} does not begin with {prefix:?}"));
        all += if *list { "\n" } else { "" };
    }
    let whole = if *list { format!("{text}\n") } else { text.clone() };
    let (have, wanted) = if is_cut_well(prefix, text, *list) {
        (all, whole)
    } else {
        (all.split_whitespace().collect(), whole.split_whitespace().collect())
    };
    assert_eq!(have, wanted, "what {to} hears");
}

/// Whether nothing at all is lost at the cuts. White space is, where a stretch of it fills a message, or all of it that
/// a wide character leaves; and names that fit into no message are cut anywhere.
fn is_cut_well(prefix: &str, text: &str, list: bool) -> bool {
    let wide = " ".repeat(SIZE - prefix.len() - (char::MAX_LEN_UTF8 - 1));
    let fits = |name: &str| name.len() <= SIZE;
    if list { text.split('\n').all(fits) } else { !text.contains(&wide) && !text.contains('\t') }
}

/// The clauses as they stand.
struct Model {
    places: usize,
    clients: BTreeMap<u8, Client>,
    /// In order of creation.
    channels: Vec<String>,
}

struct Client {
    name: String,
    channel: Option<String>,
}

impl Model {
    /// What a message makes everyone hear, and whether the connection goes on.
    fn apply(&mut self, from: u8, text: &str, unchanged: bool) -> (Vec<Wanted>, bool) {
        if self.clients.contains_key(&from) {
            return (self.attempt(from, text), true);
        }
        if !unchanged || !(1..=100).contains(&text.chars().count()) {
            return (answer(from, "Invalid name"), false);
        }
        if self.clients.len() >= self.places {
            return (answer(from, &format!("Server is full ({} clients)", self.places)), false);
        }
        self.clients.insert(from, Client { name: text.into(), channel: None });
        (Vec::new(), true)
    }

    fn attempt(&mut self, from: u8, text: &str) -> Vec<Wanted> {
        match Request::decode(text) {
            None => Vec::new(),
            Some(Request::Join("")) => {
                answer(from, "/join command must be followed by the name of a channel to join.")
            }
            Some(Request::Create("")) => {
                answer(from, "/create command must be followed by the name of a channel to create")
            }
            Some(Request::Join(channel)) => self.join(from, channel),
            Some(Request::Create(channel)) => self.create(from, channel),
            Some(Request::List) => self.list(from),
            Some(Request::Unknown(word)) => answer(
                from,
                &format!(
                    "{word} is not a valid control message. Valid messages are /create, /list, and /join."
                ),
            ),
            Some(Request::Text(said)) => {
                assert_eq!(said, text, "C4: text is taken as it is");
                self.say(from, said)
            }
        }
    }

    fn join(&mut self, from: u8, channel: &str) -> Vec<Wanted> {
        if !self.channels.iter().any(|name| name == channel) {
            return answer(from, &format!("No channel named {channel} exists. Try '/create {channel}'?"));
        }
        if self.channel(from) == Some(channel) {
            return Vec::new();
        }
        let mut wanted = self.part(from);
        wanted.extend(self.enter(from, channel));
        wanted
    }

    fn create(&mut self, from: u8, channel: &str) -> Vec<Wanted> {
        if self.channels.iter().any(|name| name == channel) {
            return answer(from, &format!("Room {channel} already exists, so cannot be created."));
        }
        self.channels.push(channel.into());
        let wanted = self.part(from);
        assert!(self.enter(from, channel).is_empty(), "C10: nobody is in a new channel");
        wanted
    }

    fn enter(&mut self, from: u8, channel: &str) -> Vec<Wanted> {
        let Some(client) = self.clients.get_mut(&from) else { return Vec::new() };
        client.channel = Some(channel.into());
        let text = format!("{} has joined", client.name);
        self.others(from, "", &text)
    }

    fn part(&mut self, from: u8) -> Vec<Wanted> {
        let Some(client) = self.clients.get(&from) else { return Vec::new() };
        let wanted = self.others(from, "", &format!("{} has left", client.name));
        self.clients.entry(from).and_modify(|client| client.channel = None);
        wanted
    }

    fn list(&self, from: u8) -> Vec<Wanted> {
        let text = self.channels.join("\n");
        let list = Wanted { to: from, prefix: String::new(), text, list: true };
        if self.channels.is_empty() { Vec::new() } else { vec![list] }
    }

    fn say(&self, from: u8, text: &str) -> Vec<Wanted> {
        if self.channel(from).is_none() {
            let lost = "Not currently in any channel. Must join a channel before sending messages.";
            return answer(from, lost);
        }
        let name = self.clients.get(&from).map_or("", |client| &client.name);
        let shown = name.get(..name.floor_char_boundary(MAX_PREFIX)).unwrap_or(name);
        self.others(from, &format!("[{shown}] "), text)
    }

    fn leave(&mut self, from: u8) -> (Vec<Wanted>, Option<String>) {
        let wanted = self.part(from);
        (wanted, self.clients.remove(&from).map(|client| client.name))
    }

    /// Everyone else in the channel of `from` hears this; nobody, if it is in none.
    fn others(&self, from: u8, prefix: &str, text: &str) -> Vec<Wanted> {
        let Some(channel) = self.channel(from) else { return Vec::new() };
        let there = |to: &u8| *to != from && self.channel(*to) == Some(channel);
        let wanted = |to| Wanted { to, prefix: prefix.into(), text: text.into(), list: false };
        self.clients.keys().copied().filter(there).map(wanted).collect()
    }

    fn channel(&self, key: u8) -> Option<&str> {
        self.clients.get(&key)?.channel.as_deref()
    }
}

fn answer(to: u8, text: &str) -> Vec<Wanted> {
    assert!(messages("", text).len() >= SIZE, "an answer is one message at least");
    vec![Wanted { to, prefix: String::new(), text: text.into(), list: false }]
}
