//! [`lobby`](chat_common::lobby): several connections, their bytes cut into lines, read, and applied.
//!
//! What everyone hears is held against the table of clauses in `docs/protocols/lobby.md`, once with each read
//! whole and once in pieces.

use crate::input::{LineEnd, Name, Said, Step, is_harmless};
use arbitrary::Arbitrary;
use chat_common::deliveries::Deliveries;
use chat_common::frame::{Lines, MAX_MESSAGE, MAX_RELAYED, PAUSE, Pauses, TooLong};
use chat_common::lobby::{Error, Lobby, Outcome, Reply, Request};
use chat_common::text::{is_name, printable};
use std::collections::BTreeMap;
use std::time::Duration;

/// How many connections there may be at once.
const CONNECTIONS: u8 = 5;

/// A lobby, and what its clients do.
#[derive(Arbitrary, Debug)]
pub struct Input<'a> {
    places: u8,
    /// How many bytes arrive together the second time.
    piece: u8,
    steps: Vec<Step<Action<'a>>>,
}

#[derive(Arbitrary, Debug)]
enum Action<'a> {
    Say(Line<'a>, LineEnd),
    Send(Said<'a>),
    /// Closes its sending half, and has left.
    Leave,
    /// Nothing, for so long that its unfinished line is whole, and everybody else's.
    Pause,
}

#[derive(Arbitrary, Debug)]
enum Line<'a> {
    Join(Name<'a>),
    List,
    Mesg(Name<'a>, Said<'a>),
    Bcst(Said<'a>),
    Quit,
    Other(Said<'a>),
}

/// What each connection has heard since the beginning.
type Heard = BTreeMap<u8, String>;

impl Input<'_> {
    /// Lets the clients do what they do, and holds what everyone hears against the clauses.
    ///
    /// # Panics
    /// A clause is broken.
    pub fn check(&self) {
        let pieces = self.play(usize::from(self.piece) + 1);
        assert_eq!(self.play(usize::MAX), pieces, "A18: whole reads, and the same in pieces");
    }

    fn play(&self, piece: usize) -> Heard {
        let mut server = Server::new(usize::from(self.places % CONNECTIONS));
        for step in &self.steps {
            let who = step.who % CONNECTIONS;
            match &step.does {
                Action::Say(line, end) => server.read(who, &[&line.bytes(), end.bytes()].concat(), piece),
                Action::Send(said) => server.read(who, &said.bytes(), piece),
                Action::Leave => server.end(who),
                Action::Pause => server.pause(),
            }
        }
        server.heard
    }
}

impl Line<'_> {
    fn bytes(&self) -> Vec<u8> {
        let behind = |front: &str, said: &Said<'_>| [front.as_bytes(), &said.bytes()].concat();
        match self {
            Self::Join(name) => format!("JOIN {}", name.text()).into(),
            Self::List => b"LIST".into(),
            Self::Mesg(name, said) => behind(&format!("MESG {} ", name.text()), said),
            Self::Bcst(said) => behind("BCST ", said),
            Self::Quit => b"QUIT".into(),
            Self::Other(said) => said.bytes(),
        }
    }
}

/// The lobby beside what the clauses say about it.
struct Server {
    lobby: Lobby<u8>,
    model: Model,
    readers: BTreeMap<u8, Lines>,
    heard: Heard,
    now: Duration,
}

impl Server {
    fn new(places: usize) -> Self {
        Self {
            lobby: Lobby::new(places),
            model: Model { places, members: Vec::new() },
            readers: BTreeMap::new(),
            heard: Heard::new(),
            now: Duration::ZERO,
        }
    }

    /// `from`, which is connected now, sends bytes. What comes behind its end is for nobody.
    fn read(&mut self, from: u8, bytes: &[u8], piece: usize) {
        self.readers.entry(from).or_insert_with(|| Lines::new(MAX_MESSAGE, Pauses::UntilFirstNewline));
        for bytes in bytes.chunks(piece.min(bytes.len()).max(1)) {
            let Some(reader) = self.readers.get_mut(&from) else { return };
            reader.push(bytes, self.now);
            self.batch(from);
        }
    }

    fn end(&mut self, from: u8) {
        if let Some(reader) = self.readers.get_mut(&from) {
            reader.end();
            self.batch(from);
            self.leave(from);
        }
    }

    fn pause(&mut self) {
        self.now += PAUSE;
        for from in 0..CONNECTIONS {
            self.batch(from);
        }
    }

    /// Handles every line there is, and delivers what they made together.
    fn batch(&mut self, from: u8) {
        let Some(mut reader) = self.readers.remove(&from) else { return };
        let mut out = Deliveries::new(from);
        let mut wanted = Wanted::new(from);
        let mut goes_on = true;
        while goes_on && let Some(line) = reader.next(self.now) {
            goes_on = self.apply(from, line, &mut out, &mut wanted);
        }
        self.readers.insert(from, reader);
        if out.largest() > 0 || wanted.is_anything() {
            self.deliver(from, &out, &wanted);
        }
        if !goes_on {
            self.leave(from);
        }
    }

    /// Handles a line as the server does. Whether the connection goes on.
    fn apply(
        &mut self,
        from: u8,
        line: Result<&[u8], TooLong>,
        out: &mut Deliveries<u8>,
        wanted: &mut Wanted,
    ) -> bool {
        let text = line.map(printable).unwrap_or_default();
        let request = line.map_or_else(|error| Some(error.into()), |_| Request::decode(&text));
        if line.is_ok() {
            check_line(&text, request);
        }
        let Some(request) = request else { return true };
        let outcome = self.lobby.apply(from, request, out);
        let goes_on = self.model.apply(request, wanted);
        let ends = matches!(outcome, Outcome::Quit | Outcome::Refused(Error::Full));
        assert_eq!(!ends, goes_on, "L10, L20: {request:?} ends the connection");
        goes_on
    }

    fn leave(&mut self, from: u8) {
        self.readers.remove(&from);
        let mut out = Deliveries::new(from);
        let mut wanted = Wanted::new(from);
        let name = self.lobby.leave(from, &mut out);
        assert_eq!(name, self.model.leave(&mut wanted), "L21: who left");
        self.deliver(from, &out, &wanted);
        assert_eq!(self.lobby.leave(from, &mut Deliveries::new(from)), None, "once only");
    }

    fn deliver(&mut self, from: u8, out: &Deliveries<u8>, wanted: &Wanted) {
        let have: Vec<_> = self.lobby.members().collect();
        assert_eq!(have, self.model.members(), "L12: who is registered, in order of joining");
        let others: Vec<_> = self.lobby.others(from).collect();
        let mut model: Vec<_> = self.model.others(from).collect();
        model.sort_unstable();
        assert_eq!(others, model, "those who hear of each other");
        for to in others.into_iter().chain([from]) {
            assert_eq!(out.get(to), wanted.get(to), "what {to} hears of {from}");
            out.get(to).lines().for_each(check_reply);
            self.heard.entry(to).or_default().push_str(out.get(to));
        }
    }
}

/// L5: what the words of a line are, and what is behind them. What is written is read, in both directions.
fn check_line(line: &str, request: Option<Request<'_>>) {
    let mut words = line.split(' ').filter(|word| !word.is_empty());
    let command = words.next();
    match request {
        None => assert_eq!(command, None, "L5: an empty line is nothing"),
        Some(Request::TooLong) => assert!(line.len() > MAX_MESSAGE, "A14: {} bytes", line.len()),
        Some(Request::Join(name)) => {
            assert_eq!((command, name.trim_matches(' ')), (Some("JOIN"), name), "L5: {line:?}");
            assert!(name.split(' ').filter(|word| !word.is_empty()).eq(words), "L5: {line:?}");
        }
        Some(Request::List) => assert_eq!(command, Some("LIST"), "L5: {line:?}"),
        Some(Request::Quit) => assert_eq!(command, Some("QUIT"), "L5: {line:?}"),
        Some(Request::Mesg(name, said)) => {
            assert_eq!((command, words.next().unwrap_or("")), (Some("MESG"), name), "L5: {line:?}");
            assert!(said.is_empty() || line.ends_with(&format!(" {name} {said}")), "L5: {line:?}");
        }
        Some(Request::Bcst(said)) => {
            let wanted = line.trim_start_matches(' ').strip_prefix("BCST");
            assert_eq!(wanted.map(|said| said.strip_prefix(' ').unwrap_or("")), Some(said), "L5: {line:?}");
        }
        Some(Request::Unknown(word)) => assert_eq!(command, Some(word), "L18: {line:?}"),
    }
    if let Some(request) = request.filter(|request| *request != Request::TooLong) {
        let written = request.to_string();
        let too_long = written.len() > MAX_MESSAGE;
        assert!(too_long || Request::decode(&written) == Some(request), "L5: {written:?} of {request:?}");
    }
    let reply = Reply::decode(line).map(|reply| reply.to_string());
    assert!(reply.is_none_or(|written| written == line), "L6 to L22: {line:?}");
}

/// A line of a server is harmless, fits its reader, and tells it what was meant.
fn check_reply(line: &str) {
    assert!(is_harmless(line), "A15: {line:?}");
    assert!(line.len() <= MAX_RELAYED, "A14: a line of {} bytes", line.len());
    let reply = Reply::decode(line);
    assert_eq!(reply.map(|reply| reply.to_string()).as_deref(), Some(line), "what a client reads");
}

/// What the clauses want everyone to hear of the requests of `from`.
struct Wanted {
    from: u8,
    answers: String,
    others: String,
    /// What a few have heard in the place of `others`.
    special: BTreeMap<u8, String>,
}

impl Wanted {
    const fn new(from: u8) -> Self {
        Self { from, answers: String::new(), others: String::new(), special: BTreeMap::new() }
    }

    fn answer(&mut self, line: &str) {
        self.answers += &format!("{line}\n");
    }

    fn tell_others(&mut self, line: &str) {
        let line = format!("{line}\n");
        self.others += &line;
        self.special.values_mut().for_each(|heard| *heard += &line);
    }

    fn tell(&mut self, to: u8, line: &str) {
        if to == self.from {
            return self.answer(line);
        }
        *self.special.entry(to).or_insert_with(|| self.others.clone()) += &format!("{line}\n");
    }

    fn is_anything(&self) -> bool {
        !(self.answers.is_empty() && self.others.is_empty() && self.special.is_empty())
    }

    fn get(&self, to: u8) -> &str {
        if to == self.from { &self.answers } else { self.special.get(&to).unwrap_or(&self.others) }
    }
}

/// The clauses as they stand.
struct Model {
    places: usize,
    /// In order of joining.
    members: Vec<(u8, String)>,
}

impl Model {
    /// What `request` makes everyone hear. Whether the connection goes on.
    fn apply(&mut self, request: Request<'_>, wanted: &mut Wanted) -> bool {
        let own = self.name(wanted.from).map(ToString::to_string);
        match (request, own) {
            (Request::Join(name), own) => return self.join(name, own.as_deref(), wanted),
            (Request::Quit, own) => {
                if let Some(own) = own {
                    wanted.answer(&format!("{own} is quitting the chat server"));
                }
                return false;
            }
            (Request::TooLong, _) => {
                wanted.answer("Message too long (at most 4096 bytes). Discarded.");
            }
            (_, None) => wanted.answer("Unregistered User. Use JOIN <username> to register."),
            (request, Some(own)) => self.chat(request, &own, wanted),
        }
        true
    }

    fn join(&mut self, name: &str, own: Option<&str>, wanted: &mut Wanted) -> bool {
        if let Some(own) = own {
            wanted.answer(&format!("Already registered as {own}. JOIN discarded."));
        } else if !is_name(name) {
            wanted.answer("Invalid Username. Use JOIN <username>, one word of letters and digits.");
        } else if self.key(name).is_some() {
            wanted
                .answer(&format!("Username {name} is already taken. Use JOIN <username> with another name."));
        } else if self.members.len() == self.places {
            wanted.answer("Too Many Users");
            return false;
        } else {
            wanted.answer(&format!("{name} joined!Connected to server!"));
            wanted.tell_others(&format!("{name} joined!"));
            self.members.push((wanted.from, name.into()));
        }
        true
    }

    fn chat(&self, request: Request<'_>, own: &str, wanted: &mut Wanted) {
        let is_blank = |text: &str| text.trim_matches(' ').is_empty();
        match request {
            Request::List => self.members.iter().for_each(|(_, name)| wanted.answer(name)),
            Request::Mesg(name, text) if name.is_empty() || is_blank(text) => {
                wanted.answer("Incomplete MESG. Use MESG <username> <message>.");
            }
            Request::Mesg(name, text) => match self.key(name) {
                Some(to) => wanted.tell(to, &format!("{own}: {text}")),
                None => wanted.answer(&format!("Unknown Recipient ({name}). MESG discarded.")),
            },
            Request::Bcst(text) if is_blank(text) => {
                wanted.answer("Incomplete BCST. Use BCST <message>.");
            }
            Request::Bcst(text) => {
                wanted.tell_others(&format!("{own}: {text}"));
                wanted.answer(&format!("{own} is sending a broadcast"));
            }
            Request::Unknown(word) => wanted.answer(&format!("Unknown Message ({word}). Discarded.")),
            Request::Join(_) | Request::Quit | Request::TooLong => {}
        }
    }

    fn leave(&mut self, wanted: &mut Wanted) -> Option<String> {
        let at = self.members.iter().position(|(key, _)| *key == wanted.from)?;
        let (_, name) = self.members.remove(at);
        wanted.tell_others(&format!("{name} left"));
        Some(name)
    }

    fn members(&self) -> Vec<(u8, &str)> {
        self.members.iter().map(|(key, name)| (*key, name.as_str())).collect()
    }

    fn others(&self, from: u8) -> impl Iterator<Item = u8> {
        self.members.iter().map(|(key, _)| *key).filter(move |key| *key != from)
    }

    fn name(&self, key: u8) -> Option<&str> {
        self.members.iter().find(|(other, _)| *other == key).map(|(_, name)| name.as_str())
    }

    fn key(&self, name: &str) -> Option<u8> {
        self.members.iter().find(|(_, other)| other == name).map(|(key, _)| *key)
    }
}
