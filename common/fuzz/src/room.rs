//! [`room`](chat_common::room): several clients over TCP, with and without newlines, and over UDP.
//!
//! What everyone hears is held against the clauses in `docs/protocols/room.md`.

use crate::input::{LineEnd, Name, Said, Step, Wait, is_harmless};
use arbitrary::Arbitrary;
use chat_common::deliveries::Deliveries;
use chat_common::frame::{Lines, MAX_MESSAGE, MAX_RELAYED, Pauses, TooLong, without_line_end};
use chat_common::room::{
    Error, Framing, KEPT, Messages, Outcome, Reply, Request, Room, Way, split_farewell, split_welcome, text,
};
use chat_common::text::{is_name, printable};
use std::collections::BTreeMap;
use std::time::Duration;

/// How many clients there may be at once.
const CLIENTS: u8 = 5;

/// The longest text that a reader of relayed messages takes behind the longest name.
const MAX_TEXT: usize = MAX_RELAYED - 64;

/// A room, and what its clients do.
#[derive(Arbitrary, Debug)]
pub struct Input<'a> {
    places: u8,
    /// How many bytes arrive together the second time.
    piece: u8,
    udp: bool,
    steps: Vec<Step<Action<'a>>>,
}

#[derive(Arbitrary, Debug)]
enum Action<'a> {
    Say(Message<'a>, LineEnd),
    /// Over TCP, closes its sending half, and has left.
    Leave,
    Wait(Wait),
}

#[derive(Arbitrary, Debug)]
enum Message<'a> {
    /// `ann`
    Name(Name<'a>),
    /// `ann:join`
    Join(Name<'a>),
    /// `join:ann`
    OtherJoin(Name<'a>),
    /// `exit`
    Exit,
    /// `ann:exit`
    NamedExit(Name<'a>),
    /// `ann:hello`
    Named(Name<'a>, Said<'a>),
    /// The word that admits, and anything behind it.
    Welcome(Said<'a>),
    /// The word that ends it, behind anything.
    Farewell(Said<'a>),
    Text(Said<'a>),
}

/// What each client has heard since the beginning.
type Heard = BTreeMap<u8, String>;

impl Input<'_> {
    /// Lets the clients do what they do, and holds what everyone hears against the clauses.
    ///
    /// # Panics
    /// A clause is broken.
    pub fn check(&self) {
        if self.udp {
            self.play(&mut Udp::new(self.places()));
        } else {
            let mut whole = Tcp::new(self.places(), usize::MAX);
            let mut split = Tcp::new(self.places(), usize::from(self.piece) + 1);
            self.play(&mut whole);
            self.play(&mut split);
            assert_eq!(whole.side.heard, split.side.heard, "A18, R3: lines are the same in pieces");
        }
    }

    fn play(&self, server: &mut impl Server) {
        for step in &self.steps {
            let who = step.who % CLIENTS;
            match &step.does {
                Action::Say(message, end) => {
                    let bytes = [&message.bytes(), end.bytes()].concat();
                    check_client(&bytes);
                    server.read(who, &bytes);
                }
                Action::Leave => server.end(who),
                Action::Wait(wait) => server.wait(wait.duration()),
            }
        }
    }

    fn places(&self) -> usize {
        usize::from(self.places % CLIENTS)
    }
}

impl Message<'_> {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Name(name) => name.text().into(),
            Self::Join(name) => format!("{}:join", name.text()).into(),
            Self::OtherJoin(name) => format!("join:{}", name.text()).into(),
            Self::Exit => b"exit".into(),
            Self::NamedExit(name) => format!("{}: exit ", name.text()).into(),
            Self::Named(name, said) => [name.text().as_bytes(), b":", &said.bytes()].concat(),
            Self::Welcome(said) => [b"Welcome", &*said.bytes()].concat(),
            Self::Farewell(said) => [&*said.bytes(), b"server-shutdown"].concat(),
            Self::Text(said) => said.bytes(),
        }
    }
}

/// R13: what a client cuts off a read is nothing but a line end; a farewell is one word at its end.
fn check_client(read: &[u8]) {
    let (answer, rest) = split_welcome(read);
    let end = read.strip_prefix(answer).and_then(|behind| behind.strip_suffix(rest));
    assert!(matches!(end, Some(b"" | b"\n" | b"\r\n")), "R13: between {answer:?} and {rest:?}");
    let welcome = Reply::is_welcome(&printable(answer));
    assert_eq!(welcome, Reply::is_welcome(&printable(read)), "R13: {read:?} admits");
    assert!(welcome || rest.is_empty(), "R13: a read that does not admit stays whole");
    let (front, farewell) = split_farewell(read);
    assert!(read.starts_with(&[front, farewell].concat()), "R13: {front:?} and {farewell:?}");
    match farewell {
        b"" => assert_eq!(front, read, "R13: a read without a farewell stays whole"),
        word => assert!(Reply::is_farewell(&printable(word)) && !front.ends_with(b": "), "R13: {read:?}"),
    }
}

/// A server, as far as its clients see it.
trait Server {
    fn read(&mut self, from: u8, bytes: &[u8]);
    fn end(&mut self, from: u8);
    fn wait(&mut self, time: Duration);
}

/// The room beside what the clauses say about it.
struct Side {
    room: Room<u8>,
    model: Model,
    heard: Heard,
    now: Duration,
}

impl Side {
    fn new(room: Room<u8>, places: usize, kept: Option<Duration>) -> Self {
        let model = Model { places, kept, members: Vec::new() };
        // Long after the beginning: nobody was ever heard then.
        Self { room, model, heard: Heard::new(), now: 2 * KEPT }
    }

    /// Applies a request. Whether the client is to go: it has said `exit`, or was refused.
    fn apply(&mut self, from: u8, request: Request<'_>) -> Outcome<u8> {
        let mut out = Deliveries::new(from);
        let outcome = self.room.apply(from, request, self.now, &mut out);
        let wanted = self.model.apply(from, request, self.now);
        assert_eq!(outcome, wanted.outcome, "{request:?} of {from}");
        self.deliver(from, &out, &wanted);
        outcome
    }

    fn leave(&mut self, from: u8) {
        let mut out = Deliveries::new(from);
        let name = self.room.leave(from, &mut out);
        let mut wanted = Wanted::new(Outcome::Done);
        assert_eq!(name, self.model.leave(from, &mut wanted), "R5, R8: who left");
        self.deliver(from, &out, &wanted);
        assert_eq!(self.room.leave(from, &mut Deliveries::new(from)), None, "once only");
    }

    fn deliver(&mut self, from: u8, out: &Deliveries<u8>, wanted: &Wanted) {
        let have: Vec<_> = self.room.members().map(|(key, name, _)| (key, name)).collect();
        assert_eq!(have, self.model.members(), "who is a member, in order of joining");
        assert!(have.len() <= self.model.places, "A11");
        assert_eq!(out.get(from), wanted.answer, "what {from} hears of itself");
        let others: Vec<_> = self.room.others(from).collect();
        assert!(!others.contains(&from) && others.iter().all(|to| self.room.member(*to).is_some()));
        for to in others.into_iter().chain([from]) {
            let heard = out.get(to);
            assert!(
                to == from || heard == wanted.others,
                "what {to} hears of {from}: {heard:?}, not {wanted:?}"
            );
            heard.lines().for_each(|line| {
                assert!(is_harmless(line), "A15: {line:?}");
                assert!(line.len() < MAX_RELAYED, "A14: {} bytes and a line end", line.len());
            });
            self.heard.entry(to).or_default().push_str(heard);
        }
    }
}

/// The room over TCP.
struct Tcp {
    side: Side,
    talks: BTreeMap<u8, Talk>,
    /// How many bytes arrive together, of clients that send lines.
    piece: usize,
}

impl Tcp {
    fn new(places: usize, piece: usize) -> Self {
        Self { side: Side::new(Room::new(places), places, None), talks: BTreeMap::new(), piece }
    }

    /// Handles every message there is.
    fn batch(&mut self, from: u8) {
        let Some(mut talk) = self.talks.remove(&from) else { return };
        let mut goes_on = true;
        while goes_on && let Some(message) = talk.next(self.side.now) {
            goes_on = Self::handle(&mut self.side, from, message.as_deref());
        }
        self.talks.insert(from, talk);
        if !goes_on {
            self.talks.remove(&from);
            self.side.leave(from);
        }
    }

    /// Handles a message as the server does: the first is the name. Whether the connection goes on.
    fn handle(side: &mut Side, from: u8, message: Result<&[u8], &TooLong>) -> bool {
        assert!(message.is_ok_and(|message| message.len() <= MAX_MESSAGE) || message.is_err(), "A14");
        let text = message.map(printable);
        if side.room.member(from).is_none() {
            let name = text.unwrap_or_default();
            return matches!(side.apply(from, Request::Join(&name, Way::Plain)), Outcome::Joined(_));
        }
        let request = text.as_ref().map_or(Request::TooLong, |text| Request::decode(text));
        if request != Request::TooLong {
            assert_eq!(Request::decode(&request.to_string()), request, "R5: what is written is read");
        }
        side.apply(from, request) != Outcome::Exit
    }

    /// Whether all that matters of the bytes of `from` is their order: it sends lines.
    fn sends_lines(&self, from: u8, bytes: &[u8]) -> bool {
        self.talks.get(&from).is_some_and(|talk| !talk.is_bare()) && bytes.contains(&b'\n')
    }
}

impl Server for Tcp {
    fn read(&mut self, from: u8, bytes: &[u8]) {
        self.talks.entry(from).or_default();
        // Without newlines each read is one message, of up to so many bytes.
        let piece = if self.sends_lines(from, bytes) { self.piece } else { MAX_MESSAGE };
        for bytes in bytes.chunks(piece.min(bytes.len()).max(1)) {
            let Some(talk) = self.talks.get_mut(&from) else { return };
            talk.push(bytes, self.side.now);
            self.batch(from);
        }
    }

    fn end(&mut self, from: u8) {
        if let Some(talk) = self.talks.get_mut(&from) {
            talk.messages.end();
            talk.lines.end();
            self.batch(from);
        }
        if self.talks.remove(&from).is_some() {
            self.side.leave(from);
        }
    }

    fn wait(&mut self, time: Duration) {
        self.side.now += time;
        for from in 0..CLIENTS {
            self.batch(from);
        }
    }
}

/// The bytes of one connection beside what the clauses say about them.
struct Talk {
    messages: Messages,
    /// The same as lines.
    lines: Lines,
    /// The first message has been taken.
    begun: bool,
    /// What the last read brought, as a message.
    read: Option<Vec<u8>>,
}

impl Talk {
    fn push(&mut self, bytes: &[u8], now: Duration) {
        self.messages.push(bytes, now);
        if self.is_bare() {
            self.read = Some(without_line_end(bytes).to_vec());
        } else {
            self.lines.push(bytes, now);
        }
    }

    /// R2, R3: lines, or whole reads of who sends its name without a newline.
    fn next(&mut self, now: Duration) -> Option<Result<Vec<u8>, TooLong>> {
        let wanted = if self.is_bare() {
            self.read.take().map(Ok)
        } else {
            self.lines.next(now).map(|line| line.map(<[u8]>::to_vec))
        };
        let have = self.messages.next(now).map(|message| message.map(<[u8]>::to_vec));
        assert_eq!(have, wanted, "R2, R3");
        self.begun |= wanted.is_some();
        assert_eq!(self.messages.framing() == Framing::Bare, self.is_bare(), "R3: how it is spoken to");
        wanted
    }

    /// Its first message was ended by a pause, not by a newline.
    const fn is_bare(&self) -> bool {
        self.begun && !self.lines.newline_seen()
    }
}

impl Default for Talk {
    fn default() -> Self {
        let lines = Lines::new(MAX_MESSAGE, Pauses::UntilFirstNewline);
        Self { messages: Messages::default(), lines, begun: false, read: None }
    }
}

/// The room over UDP.
struct Udp {
    side: Side,
}

impl Udp {
    fn new(places: usize) -> Self {
        Self { side: Side::new(Room::giving_way(places, KEPT), places, Some(KEPT)) }
    }
}

impl Server for Udp {
    /// Handles a datagram as the server does.
    fn read(&mut self, from: u8, datagram: &[u8]) {
        let text = text(datagram);
        let sender = self.side.room.member(from);
        let known = sender.map(|(name, way)| (name.to_string(), way));
        let request =
            text.as_ref().map_or(Ok(Request::TooLong), |text| Request::decode_datagram(text, sender));
        if let Ok(text) = &text {
            check_datagram(text, request.as_ref(), known);
        }
        let Ok(request) = request else { return };
        if self.side.apply(from, request) == Outcome::Exit {
            self.side.leave(from);
        }
    }

    /// Nobody sees a UDP client go.
    fn end(&mut self, _from: u8) {}

    fn wait(&mut self, time: Duration) {
        self.side.now += time;
    }
}

/// R7, R8: a stranger can only join; a member speaks under its own name, or plainly if it joined that way.
fn check_datagram(text: &str, request: Result<&Request<'_>, &Error>, sender: Option<(String, Way)>) {
    assert!(is_harmless(text), "A15: {text:?}");
    let join = matches!(request, Ok(Request::Join(..)));
    let Some((own, way)) = sender else {
        return assert!(join || request.is_err(), "R8: {request:?} of an unknown address");
    };
    let plain = way == Way::Plain;
    let is_own = text.strip_prefix(&*own).is_some_and(|behind| behind.starts_with(':'));
    assert!(plain || is_own || join || request.is_err(), "R8: {request:?} under another's name");
    assert!(!plain || request.is_ok(), "R8: {request:?}: who speaks plainly is always heard");
    if let Ok(Request::Named(said)) = request {
        assert_eq!(Request::Named(said).to_datagram(&own), text, "R8: as it came");
    }
    if let Ok(Request::Text(said)) = request {
        assert!(plain && *said == text, "R8: a plain text is taken as it is");
    }
}

/// What the clauses want everyone to hear, one message each on a line, and what becomes of it.
#[derive(Debug)]
struct Wanted {
    outcome: Outcome<u8>,
    answer: String,
    others: String,
}

impl Wanted {
    const fn new(outcome: Outcome<u8>) -> Self {
        Self { outcome, answer: String::new(), others: String::new() }
    }

    fn refused(error: Error, answer: &str) -> Self {
        Self { answer: answer.into(), ..Self::new(Outcome::Refused(error)) }
    }
}

/// The clauses as they stand.
struct Model {
    places: usize,
    /// How long who is silent keeps name and place.
    kept: Option<Duration>,
    /// In order of joining: key, name, when it was last heard.
    members: Vec<(u8, String, Duration)>,
}

impl Model {
    fn apply(&mut self, from: u8, request: Request<'_>, now: Duration) -> Wanted {
        if let Request::Join(name, _) = request {
            return self.join(from, name, now);
        }
        let Some(member) = self.members.iter_mut().find(|(key, ..)| *key == from) else {
            return Wanted::refused(Error::Unregistered, "");
        };
        member.2 = now;
        let name = &member.1;
        let mut wanted = Wanted::new(Outcome::Done);
        match request {
            Request::Exit => wanted.outcome = Outcome::Exit,
            Request::Text(text) | Request::Named(text) if text.is_empty() => {}
            Request::Text(text) if text.len() <= MAX_TEXT => wanted.others = format!("{name}: {text}\n"),
            Request::Named(text) if text.len() <= MAX_TEXT => wanted.others = format!("{name}:{text}\n"),
            _ => {
                let long = "Message too long (at most 4096 bytes)\n";
                wanted = Wanted::refused(Error::TooLong, long);
            }
        }
        wanted
    }

    fn join(&mut self, from: u8, name: &str, now: Duration) -> Wanted {
        if !is_name(name) {
            return Wanted::refused(Error::InvalidName, "Invalid name\n");
        }
        let before = self.members.iter().find(|(key, ..)| *key == from).map(|(_, name, _)| name.clone());
        if before.as_deref() == Some(name) {
            self.members.iter_mut().filter(|(key, ..)| *key == from).for_each(|member| member.2 = now);
            return Wanted { answer: "Welcome\n".into(), ..Wanted::new(Outcome::Done) };
        }
        let mut wanted = Wanted { answer: "Welcome\n".into(), ..Wanted::new(Outcome::Joined(None)) };
        match self.make_room(name, before.is_some(), now) {
            Ok(None) => {}
            Ok(Some(gone)) => {
                self.leave(gone, &mut wanted);
                wanted.outcome = Outcome::Joined(Some(gone));
            }
            Err(refused) => return refused,
        }
        self.leave(from, &mut wanted);
        wanted.others += &format!("User {name} joined\n");
        self.members.push((from, name.into(), now));
        wanted
    }

    /// R4, R10: who has to go, if anybody, for `name` to join.
    fn make_room(&self, name: &str, has_place: bool, now: Duration) -> Result<Option<u8>, Wanted> {
        let gives_way = |heard: Duration| self.kept.is_some_and(|kept| now - heard > kept);
        if let Some((key, _, heard)) = self.members.iter().find(|(_, other, _)| other == name) {
            let taken = || Wanted::refused(Error::NameTaken, "Name already taken\n");
            return if gives_way(*heard) { Ok(Some(*key)) } else { Err(taken()) };
        }
        if has_place || self.members.len() < self.places {
            return Ok(None);
        }
        // Of several that were silent equally long, any.
        let silent = self.members.iter().min_by_key(|(key, _, heard)| (*heard, *key));
        match silent {
            Some((key, _, heard)) if gives_way(*heard) => Ok(Some(*key)),
            _ => Err(Wanted::refused(Error::Full, "Room is full\n")),
        }
    }

    fn leave(&mut self, from: u8, wanted: &mut Wanted) -> Option<String> {
        let at = self.members.iter().position(|(key, ..)| *key == from)?;
        let (_, name, _) = self.members.remove(at);
        wanted.others += &format!("User {name} left\n");
        Some(name)
    }

    fn members(&self) -> Vec<(u8, &str)> {
        self.members.iter().map(|(key, name, _)| (*key, name.as_str())).collect()
    }
}
