//! The bridge: requests good and bad, one for each connection, and clients that are introduced and chat peer
//! to peer.
//!
//! The protocol has no word for leaving, so registrations stay. All ten places belong to names that visitors
//! use; at the end of a wave a caretaker registers them all again, and has them introduced to each other:
//! nobody is left that a newcomer could be introduced to.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::{env, fs, process};

use chat_tests::wait::{Log, fail};
use chat_tests::{DEADLINE, Process, Raw, Signal, until};
use fastrand::Rng;

use crate::crowd::{Deed, Visitor, Wave};
use crate::guest::Guest;
use crate::program::{launch, server};
use crate::scene::Scene;
use crate::talk::{Manner, Talk, Voice};
use crate::watched::Watched;

/// The names that there is a place for: two for each visitor, and two more.
const PLACES: usize = 10;

/// How many visitors come under one more name each, and take a place from somebody who was introduced.
const NEWCOMERS: usize = 4;

/// Where those can be called that nobody shall call: no program listens there.
const NOWHERE: u16 = 9;

/// How many connections may say nothing.
const UNREGISTERED: usize = 64;

/// What the server answers.
const REGISTERED: &str = "REGACK\r\n";
const INTRODUCED: &str = "BRIDGEACK\r\n";
const REFUSED: &str = "ERROR\r\nReason: ";
const FULL: &str = "ERROR\r\nReason: too many clients\r\n\r\n";

/// Requests that must be refused.
const WRONG: [&str; 8] = [
    "DANCE\r\nclientID: p0\r\n\r\n",
    "REGISTER\r\nclientID: p0\r\nIP: 127.0.0.1\r\n\r\n",
    "REGISTER\r\nclientID: two words\r\nIP: 127.0.0.1\r\nPort: 9\r\n\r\n",
    "REGISTER\r\nclientID: p0\r\nIP: 127.0.0.1 p1\r\nPort: 9\r\n\r\n",
    "REGISTER\r\nclientID: p0\r\nIP: 127.0.0.1\r\nPort: 65536\r\n\r\n",
    "REGISTER\r\nclientID: p0\r\nIP: 127.0.0.1\r\nPort: \u{1b}[2J\r\n\r\n",
    "BRIDGE\r\n\r\n",
    "BRIDGE\r\nclientID: nobody\r\n\r\n",
];

/// A server.
struct Broker {
    address: SocketAddr,
    log: Log,
    _folder: Folder,
}

/// A folder for the contacts file, removed with what is in it.
struct Folder(PathBuf);

const DEEDS: [Deed<Broker>; 10] = [
    Broker::register,
    Broker::bridge,
    Broker::take_a_place,
    Broker::stutter,
    Broker::ask_wrongly,
    Broker::make_noise,
    Broker::break_off,
    Broker::say_too_much,
    Broker::keep_silent,
    Broker::use_our_clients,
];

/// A server, and a steady pair of our clients.
pub(crate) fn open() -> Scene {
    let folder = Folder::new();
    let file = folder.0.join("contacts.txt");
    let mut server = start(&file);
    let line = server.stdout.find("listening on ");
    let address = line.split("listening on ").last().unwrap_or_default().parse().expect("an address");
    let broker = Broker { address, log: server.log().clone(), _folder: folder };
    let [ann, bob] = broker.introduce(["ann", "bob"], &mut server);
    broker.take_back();
    let watched = vec![
        Watched::client("bridge client", &ann.source),
        Watched::server("bridge", server, PLACES as u64).keeping(&file, ">p9 127.0.0.1:9"),
    ];
    let voices = [("ann", ann), ("bob", bob)]
        .map(|(name, client)| Voice::new(name, client.source, |text| format!("{text}\n")));
    let talk = Talk::new(voices, Manner::ByTurns);
    Scene::new(watched, vec![talk], move |wave| broker.wave(wave))
}

fn start(file: &Path) -> Process {
    let file = file.to_str().expect("a path that is text");
    server(&["bridge", "--port", "0", "--bind", "127.0.0.1", "--contacts", file]).start()
}

impl Folder {
    fn new() -> Self {
        let path = env::temp_dir().join(format!("chat-soak-{}", process::id()));
        fs::create_dir_all(&path).expect("a folder for the contacts");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn registration(id: &str, port: u16) -> String {
    format!("REGISTER\r\nclientID: {id}\r\nIP: 127.0.0.1\r\nPort: {port}\r\n\r\n")
}

fn place(number: usize) -> String {
    format!("p{number}")
}

/// One of the names that belong to this visitor.
fn own(visitor: &mut Visitor) -> String {
    place(2 * visitor.number + visitor.rng.usize(..2))
}

fn newcomer(number: usize) -> String {
    format!("newcomer{number}")
}

impl Broker {
    fn wave(&self, wave: &mut Wave) {
        if wave.sometimes() {
            self.say_nothing_in_great_numbers(wave);
        }
        if wave.sometimes() {
            self.chat(&mut wave.rng);
        }
        wave.crowd(self, &DEEDS);
        self.take_back();
    }

    fn connect(&self) -> Guest<Raw> {
        Guest::new(Raw::connect(self.address, &self.log))
    }

    /// The whole answer to a request. The server closes the connection behind it.
    fn ask(&self, request: &str) -> String {
        let mut guest = self.connect();
        guest.say(request);
        guest.source.rest()
    }

    /// The same, where the answer must begin so.
    fn expect(&self, request: &str, wanted: &[&str]) -> String {
        let have = self.ask(request);
        if !wanted.iter().any(|wanted| have.starts_with(wanted)) {
            fail(&format!("one of {wanted:?}, to {request:?}"), &format!("{have:?}"), &self.log);
        }
        have
    }

    /// Whether the server has a place for this name.
    fn has_place_for(&self, id: &str) -> bool {
        self.expect(&registration(id, NOWHERE), &[REGISTERED, FULL]) != FULL
    }

    /// Everyone is registered again, in order, and has been introduced to somebody.
    fn take_back(&self) {
        const ROUNDS: usize = 4;
        // One round, if nobody else holds a place; another for each who has to be introduced before it gives
        // way.
        let complete = (0..ROUNDS).any(|_| {
            let places = (0..PLACES).filter(|number| self.has_place_for(&place(*number))).count();
            (0..NEWCOMERS).for_each(|number| drop(self.ask(&request_to_bridge(&newcomer(number)))));
            places == PLACES
        });
        if !complete {
            fail("a place for everyone, when all are introduced", "too many clients", &self.log);
        }
        for number in 0..PLACES {
            self.expect(&registration(&place(number), NOWHERE), &[REGISTERED]);
        }
        for number in 0..PLACES {
            self.expect(&request_to_bridge(&place(number)), &[INTRODUCED]);
        }
    }

    /// Beyond 64 of them, who has waited longest gives way; and one more is served.
    fn say_nothing_in_great_numbers(&self, wave: &mut Wave) {
        let count = UNREGISTERED + wave.rng.usize(1..10);
        let mut silent: Vec<_> = (0..count).map(|_| self.connect()).collect();
        silent[0].source.expect_gone(DEADLINE);
        self.expect(&registration(&place(0), NOWHERE), &[REGISTERED]);
        // It is fresh now, and has to be introduced before anyone else is.
        self.take_back();
    }

    /// Two of our clients, nobody else being there: the second is introduced to the first, which waits, and
    /// calls it.
    fn introduce(&self, names: [&str; 2], server: &mut Process) -> [Guest<Process>; 2] {
        let [mut calling, mut waiting] = names.map(|name| self.client(name));
        waiting.say("/register\n/bridge\n");
        server.stdout.find(&format!(">BRIDGE: {}", names[1]));
        calling.say("/register\n/bridge\n/chat\n");
        if waiting.hear(&["Incoming chat request"]).is_none() {
            fail("a call", "none in time", waiting.source.log());
        }
        [calling, waiting]
    }

    fn client(&self, name: &str) -> Guest<Process> {
        let server = format!("--server={}", self.address);
        let mut client =
            Guest::new(launch(&["bridge", "--port=0", &format!("--id={name}"), &server].map(str::to_owned)));
        if client.hear(&["running on"]).is_none() {
            fail("a client that runs", "it says nothing", client.source.log());
        }
        client
    }

    /// Two of our clients are introduced by hand, chat by turns, and one of them ends it.
    fn chat(&self, rng: &mut Rng) {
        let [mut waiting, mut calling] = [0, 1].map(|number| self.client(&place(number)));
        waiting.say("/register\n/bridge\n");
        // Until the first waits, the second would be told of nobody; so it asks until it is told of somebody.
        calling.say("/register\n");
        let introduced = until(DEADLINE, || {
            let answer = self.ask(&request_to_bridge(&place(1)));
            answer.contains("clientID: p0\r\n").then_some(())
        });
        if introduced.is_none() {
            fail("p1 is introduced to p0", "it is not", &self.log);
        }
        calling.say("/bridge\n/chat\n");
        for turn in 0..rng.usize(..6) {
            let (from, to) =
                if turn % 2 == 0 { (&mut calling, &mut waiting) } else { (&mut waiting, &mut calling) };
            let text = format!("turn {turn}.");
            from.say(format!("{text}\n"));
            if to.hear(&[&text]).is_none() {
                fail(&text, "nothing in time", to.source.log());
            }
        }
        end(calling, rng);
        end(waiting, rng);
    }

    fn register(&self, visitor: &mut Visitor) {
        self.has_place_for(&own(visitor));
    }

    fn bridge(&self, visitor: &mut Visitor) {
        self.expect(&request_to_bridge(&own(visitor)), &[INTRODUCED, REFUSED]);
    }

    fn take_a_place(&self, visitor: &mut Visitor) {
        self.has_place_for(&newcomer(visitor.number));
    }

    /// A request in many small pieces.
    fn stutter(&self, visitor: &mut Visitor) {
        let mut guest = self.connect();
        let request = registration(&own(visitor), NOWHERE);
        for piece in request.as_bytes().chunks(visitor.rng.usize(1..5)) {
            guest.say(piece);
        }
        let have = guest.source.rest();
        if !have.starts_with(REGISTERED) && have != FULL {
            fail(REGISTERED, &have, &self.log);
        }
    }

    fn ask_wrongly(&self, visitor: &mut Visitor) {
        self.expect(WRONG[visitor.rng.usize(..WRONG.len())], &[REFUSED]);
    }

    fn make_noise(&self, visitor: &mut Visitor) {
        let mut guest = self.connect();
        let noise = visitor.noise(3000);
        guest.say(noise);
        if visitor.rng.bool() {
            guest.source.abort();
        }
    }

    /// Half a request, cut anywhere.
    fn break_off(&self, visitor: &mut Visitor) {
        let mut guest = self.connect();
        let request = registration(&own(visitor), NOWHERE);
        guest.say(&request[..visitor.rng.usize(..request.len())]);
        match visitor.rng.usize(..3) {
            0 => guest.source.abort(),
            1 => guest.source.half_close(),
            _ => {}
        }
    }

    fn say_too_much(&self, visitor: &mut Visitor) {
        let mut guest = self.connect();
        guest.say("REGISTER\r\nclientID: p0\r\nNote: ");
        guest.say("x".repeat(visitor.rng.usize(5000..50_000)));
        if guest.hear(&[REFUSED]).is_none() {
            fail(REFUSED, "no answer in time", &self.log);
        }
    }

    /// Says half a request, or nothing, for longer than the server waits.
    fn keep_silent(&self, visitor: &mut Visitor) {
        if !visitor.is_patient() {
            return;
        }
        let mut guest = self.connect();
        if visitor.rng.bool() {
            guest.say("REGISTER\r\n");
        }
        if guest.hear_within(2 * DEADLINE, &[REFUSED]).is_none() {
            fail(REFUSED, "no answer in time", &self.log);
        }
    }

    /// Two of our clients want to be introduced to somebody, call whoever that is, and end in any way.
    fn use_our_clients(&self, visitor: &mut Visitor) {
        let mut clients = [0, 1].map(|name| self.client(&place(2 * visitor.number + name)));
        for client in &mut clients {
            client.say("/id\n/register\n/bridge\n");
            client.hear(&[">p"]);
        }
        for mut client in clients {
            if visitor.rng.bool() {
                client.say(format!("/chat\n{}\n", visitor.text()));
            }
            end(client, &mut visitor.rng);
        }
    }
}

fn request_to_bridge(id: &str) -> String {
    format!("BRIDGE\r\nclientID: {id}\r\n\r\n")
}

/// Ends a client by a signal: it says QUIT to its peer, or is killed. Its peer may have ended it before, or
/// vanished.
fn end(client: Guest<Process>, rng: &mut Rng) {
    let mut client = client.source;
    let signals = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGKILL];
    if client.runs() {
        client.signal(signals[rng.usize(..signals.len())]);
    }
    let wanted = [0, 1, 128 + Signal::SIGKILL as i32];
    let have = client.exit_code();
    if !wanted.contains(&have) {
        fail(&format!("exit status {wanted:?}"), &format!("{have}"), client.log());
    }
}
