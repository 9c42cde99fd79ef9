//! The room over UDP, where nobody sees that somebody has vanished: who does must be buried.

use std::net::SocketAddr;
use std::sync::RwLock;
use std::time::Duration;

use chat_tests::wait::{Log, fail};
use chat_tests::wire::kernel_datagram_sockets;
use chat_tests::{DEADLINE, Datagrams, Process, until};

use crate::crowd::{Deed, Visitor, Wave};
use crate::guest::{Attentive, Guest};
use crate::program::{End, Script, launch, serve};
use crate::scene::Scene;
use crate::talk::{Manner, Talk, Voice};
use crate::watched::Watched;

/// Our client says nothing when it is admitted, but hears the steady pair.
const CLIENT: Script = Script {
    arguments: |port, name| ["room", "--udp", "--name", name, &port.to_string()].map(str::to_owned).into(),
    join: |_| String::new(),
    inside: &["ann#", "bob#"],
    refused: &[TAKEN, FULL],
    say: |text| format!("{text}\n"),
    quit: Some("exit"),
};

const WELCOME: &str = "Welcome";
const TAKEN: &str = "Name already taken";
const FULL: &str = "Room is full";
const INVALID: &str = "Invalid name";
const TOO_LONG: &str = "Message too long";

/// How many places there are beside the steady pair's.
const PLACES: usize = 8;

/// How many datagrams are said before an answer is waited for: the system drops what the server has no room
/// for.
const BURST: usize = 20;

/// UDP may lose a datagram: how often it is said, and how long an answer to it is waited for.
const TRIES: usize = 5;
const PATIENCE: Duration = Duration::from_secs(1);

/// A room over UDP.
struct Room {
    address: SocketAddr,
    /// Locked for writing while a port is free that the server still takes for a member's: who was given it
    /// would hear what is said to that member, and take it for the answer to its join. Locked for reading
    /// while somebody is given one.
    ports: RwLock<()>,
    log: Log,
}

const DEEDS: [Deed<Room>; 10] = [
    Room::chat_and_exit,
    Room::chat_in_the_other_way,
    Room::come_again,
    Room::forge,
    Room::make_noise,
    Room::say_too_much,
    Room::take_a_name,
    Room::vanish,
    Room::use_our_client,
    Room::kill_our_client,
];

/// A server, and a steady pair: ann by hand, and bob through our client.
pub(crate) fn open() -> Scene {
    let server = serve("room", &["--udp"]);
    let room = Room { address: server.address(), ports: RwLock::default(), log: server.log().clone() };
    let mut ann = room.enter("ann").expect("a place for ann");
    let bob = launch(&(CLIENT.arguments)(server.port(), "bob"));
    ann.hear(&["User bob joined"]).expect("a place for bob");
    let watched =
        vec![Watched::server("room (UDP)", server.into(), 2), Watched::client("room (UDP) client", &bob)];
    let ann = Voice::new("ann", Attentive::from(ann.source), |text| format!("ann:{text}"));
    let bob = Voice::new("bob", bob, |text| format!("{text}\n"));
    let talk = Talk::new([ann, bob], Manner::Freely);
    Scene::new(watched, vec![talk], move |wave| room.wave(wave))
}

impl Room {
    fn wave(&self, wave: &mut Wave) {
        if wave.sometimes() {
            self.fill_every_place();
        }
        wave.crowd(self, &DEEDS);
    }

    /// A socket that has not said anything.
    fn stranger(&self) -> Guest<Datagrams> {
        let _given = self.ports.read().unwrap();
        Guest::new(Datagrams::to(self.address, &self.log))
    }

    /// A member of this name. Nothing: it was refused.
    fn enter(&self, name: &str) -> Option<Guest<Datagrams>> {
        let mut guest = self.stranger();
        (self.ask(&mut guest, &format!("{name}:join")) == WELCOME).then_some(guest)
    }

    /// Says that somebody wants to join, again and again. What the server answers.
    fn ask(&self, guest: &mut Guest<Datagrams>, join: &str) -> &'static str {
        const ANSWERS: [&str; 3] = [WELCOME, TAKEN, FULL];
        for _ in 0..TRIES {
            guest.say(join);
            if let Some(answer) = guest.hear_within(PATIENCE, &ANSWERS) {
                return ANSWERS[answer];
            }
        }
        fail(&format!("an answer to {join:?}"), "none in time", &self.log)
    }

    /// Says `exit`, and waits until it is done.
    fn leave(&self, guest: &mut Guest<Datagrams>, name: &str) {
        guest.say(format!("{name}:exit"));
        self.expect_strange(guest);
    }

    /// The server has handled all that was said, and takes this address for a stranger's: nothing more is
    /// sent there.
    fn expect_strange(&self, guest: &mut Guest<Datagrams>) {
        let heard = (0..TRIES).any(|_| {
            guest.say("?:join");
            guest.hear_within(PATIENCE, &[INVALID]).is_some()
        });
        if !heard {
            fail(INVALID, "no answer in time", &self.log);
        }
    }

    /// The next member is refused when there are ten.
    fn fill_every_place(&self) {
        let name = |number| format!("crowd-{number}");
        let guests: Vec<_> = (0..PLACES).filter_map(|number| self.enter(&name(number))).collect();
        if guests.len() < PLACES {
            fail(&format!("{PLACES} places"), &format!("{} places", guests.len()), &self.log);
        }
        let answer = self.ask(&mut self.stranger(), "surplus:join");
        if answer != FULL {
            fail(FULL, answer, &self.log);
        }
        for (number, mut guest) in guests.into_iter().enumerate() {
            self.leave(&mut guest, &name(number));
        }
    }

    fn chat_and_exit(&self, visitor: &mut Visitor) {
        let name = visitor.name();
        let Some(mut guest) = self.enter(&name) else { return };
        for _ in 0..visitor.rng.usize(1..BURST) {
            guest.say(format!("{name}:{}", visitor.text()));
        }
        self.leave(&mut guest, &name);
    }

    /// As two real clients do it: `join:<name>`, then bare texts.
    fn chat_in_the_other_way(&self, visitor: &mut Visitor) {
        let mut guest = self.stranger();
        if self.ask(&mut guest, &format!("join:{}", visitor.name())) == WELCOME {
            guest.say(visitor.text());
            guest.say("exit");
            self.expect_strange(&mut guest);
        }
    }

    /// Joins several times, and under another name.
    fn come_again(&self, visitor: &mut Visitor) {
        let name = visitor.name();
        let Some(mut guest) = self.enter(&name) else { return };
        self.ask(&mut guest, &format!("{name}:join"));
        let other = format!("{name}-too");
        let last = if self.ask(&mut guest, &format!("{other}:join")) == WELCOME { other } else { name };
        self.leave(&mut guest, &last);
    }

    /// Speaks in the name of those who are there: from an address that has not joined, and from one that has.
    fn forge(&self, visitor: &mut Visitor) {
        let name = visitor.name();
        for member in [false, true] {
            let guest = if member { self.enter(&name) } else { Some(self.stranger()) };
            let Some(mut guest) = guest else { return };
            for said in ["ann:ann#9999999", "bob:bob#9999999", "ann:exit", "bob:exit", "server-shutdown"] {
                guest.say(said);
            }
            self.leave(&mut guest, &name);
        }
    }

    fn make_noise(&self, visitor: &mut Visitor) {
        let name = visitor.name();
        let guest = if visitor.rng.bool() { self.enter(&name) } else { Some(self.stranger()) };
        let Some(mut guest) = guest else { return };
        for _ in 0..visitor.rng.usize(1..BURST) {
            let noise = visitor.noise(1400);
            guest.say(noise);
        }
        for said in ["", ":", "join", "join:", "exit", "\n", "a:b:c"] {
            guest.say(said);
        }
        self.leave(&mut guest, &name);
    }

    fn say_too_much(&self, visitor: &mut Visitor) {
        let name = visitor.name();
        let Some(mut guest) = self.enter(&name) else { return };
        guest.say(format!("{name}:{}", "x".repeat(visitor.rng.usize(5000..60_000))));
        if guest.hear(&[TOO_LONG]).is_none() {
            fail(TOO_LONG, "no answer in time", &self.log);
        }
        self.leave(&mut guest, &name);
    }

    fn take_a_name(&self, _: &mut Visitor) {
        let answer = self.ask(&mut self.stranger(), "ann:join");
        if answer == WELCOME {
            fail(TAKEN, answer, &self.log);
        }
    }

    /// Is there no more without having said so.
    fn vanish(&self, visitor: &mut Visitor) {
        let name = visitor.name();
        let Some(guest) = self.enter(&name) else { return };
        let port = guest.source.port();
        let _free = self.ports.write().unwrap();
        drop(guest);
        self.bury(port, &name);
    }

    fn start_our_client(&self, name: &str) -> Option<Guest<Process>> {
        let _given = self.ports.read().unwrap();
        CLIENT.start(self.address.port(), name)
    }

    fn use_our_client(&self, visitor: &mut Visitor) {
        let Some(mut client) = self.start_our_client(&visitor.name()) else { return };
        for _ in 0..visitor.rng.usize(..5) {
            CLIENT.say(&mut client, &visitor.text());
        }
        let end = Some(End::any(&mut visitor.rng)).filter(|end| *end != End::Kill);
        CLIENT.end(client, end.unwrap_or(End::Quit));
    }

    fn kill_our_client(&self, visitor: &mut Visitor) {
        let name = visitor.name();
        let Some(client) = self.start_our_client(&name) else { return };
        let port = port_of(&client.source);
        let _free = self.ports.write().unwrap();
        CLIENT.end(client, End::Kill);
        self.bury(port, &name);
    }

    /// Says `exit` for somebody who cannot any more, from the port that was its: else it would be a member
    /// for five minutes.
    fn bury(&self, port: u16, name: &str) {
        // Somebody else may have been given the port, for a moment.
        let socket = until(DEADLINE, || Datagrams::from_port(port, self.address, &self.log).ok());
        let mut guest = Guest::new(socket.unwrap_or_else(|| panic!("port {port} is taken")));
        self.leave(&mut guest, name);
    }
}

/// The port of the one UDP socket that a client has. The system's table, read while others come and go, may
/// lack a row.
fn port_of(client: &Process) -> u16 {
    let descriptors = client.descriptors();
    let is_its = |inode: &str| descriptors.iter().any(|(_, target)| *target == format!("socket:[{inode}]"));
    let socket =
        until(DEADLINE, || kernel_datagram_sockets().into_iter().find(|socket| is_its(&socket.inode)));
    socket.unwrap_or_else(|| fail("a UDP socket", "none", client.log())).local_port
}
