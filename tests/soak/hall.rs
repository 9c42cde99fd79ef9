//! What visitors do, well and badly, at any server that speaks TCP and has places.

use std::net::SocketAddr;
use std::time::Duration;

use chat_tests::wait::{Log, fail};
use chat_tests::{DEADLINE, Raw, Server};

use crate::crowd::{Deed, Visitor, Wave};
use crate::guest::Guest;
use crate::program::{End, Script};

/// What a protocol says over TCP, as far as visitors need it.
pub(crate) struct Wire {
    /// What a newcomer says to come in under a name, and to hear that it is in.
    pub(crate) join: fn(name: &str) -> Vec<u8>,
    /// What it hears then.
    pub(crate) welcome: &'static str,
    /// What it hears when every place is taken.
    pub(crate) full: &'static str,
    /// What it hears when the name is; nothing, where names need not be unique.
    pub(crate) taken: Option<&'static str>,
    /// What tells everyone a text.
    pub(crate) say: fn(text: &str) -> Vec<u8>,
    /// What tells the client of this name, and perhaps everyone, a text.
    pub(crate) tell: fn(to: &str, text: &str) -> Vec<u8>,
    /// What somebody else hears when the client of this name has gone.
    pub(crate) left: fn(name: &str) -> String,
    /// Everything else that can be asked, wrongly too.
    pub(crate) ask: fn() -> Vec<u8>,
    /// What says that one leaves; nothing, if only the end of the connection does.
    pub(crate) quit: &'static str,
    /// How our client is used.
    pub(crate) script: Script,
}

/// A server and what it speaks.
pub(crate) struct Hall {
    wire: &'static Wire,
    address: SocketAddr,
    /// The name of somebody who is always there.
    regular: &'static str,
    log: Log,
}

/// What there is to do.
pub(crate) const DEEDS: [Deed<Hall>; 15] = [
    Hall::chat_and_quit,
    Hall::leave_without_a_word,
    Hall::reset,
    Hall::come_and_go,
    Hall::make_noise,
    Hall::say_too_much,
    Hall::break_off,
    Hall::stutter,
    Hall::paste,
    Hall::half_close,
    Hall::take_a_name,
    Hall::flood,
    Hall::fall_asleep,
    Hall::use_our_client,
    Hall::use_our_client,
];

/// How many places a server has, the steady pair's among them.
const PLACES: usize = 10;
const STEADY: usize = 2;

/// How many connections may be without a place.
const UNREGISTERED: usize = 64;

/// What a message may not have: one byte more than 4,096.
const TOO_LONG: usize = 4097;

/// How many bytes a sleeper is told: more than the system keeps for a narrow connection, and less than what
/// makes it hopeless at once; or more than that.
const FILLINGS: [usize; 2] = [600_000, 2_500_000];

/// How much of that is said in one message.
const FILLING: usize = 2000;

/// How long a sleeper is kept, at most: five seconds, and what a busy machine takes.
const PATIENCE: Duration = Duration::from_secs(20);

impl Hall {
    /// Where `server` speaks `wire`, and a client named `regular` is always there.
    pub(crate) fn new(server: &Server, wire: &'static Wire, regular: &'static str) -> Self {
        Self { wire, address: server.address(), regular, log: server.log().clone() }
    }

    /// A wave of visitors, and in front of it what needs the server for itself.
    pub(crate) fn wave(&self, wave: &mut Wave, more: &[Deed<Self>]) {
        if wave.sometimes() {
            self.fill_every_place();
        }
        if wave.sometimes() {
            self.say_nothing_in_great_numbers(wave);
        }
        wave.crowd(self, &[&DEEDS, more].concat());
    }

    /// Where the server listens.
    pub(crate) const fn port(&self) -> u16 {
        self.address.port()
    }

    /// A new connection.
    pub(crate) fn connect(&self) -> Guest<Raw> {
        Guest::new(Raw::connect(self.address, &self.log))
    }

    /// A connection that has come in under this name. Nothing: it was turned away.
    pub(crate) fn enter(&self, name: &str) -> Option<Guest<Raw>> {
        self.come_in(self.connect(), name)
    }

    fn come_in(&self, mut guest: Guest<Raw>, name: &str) -> Option<Guest<Raw>> {
        guest.say((self.wire.join)(name));
        (self.answer(&mut guest) == self.wire.welcome).then_some(guest)
    }

    /// What the server answers to who wants to come in. It always answers.
    fn answer(&self, guest: &mut Guest<Raw>) -> &'static str {
        let Wire { welcome, full, taken, .. } = self.wire;
        let answers = [welcome, full, taken.unwrap_or(welcome)];
        match guest.hear(&answers) {
            Some(answer) => answers[answer],
            None => fail(&format!("one of {answers:?}"), "no answer in time", &self.log),
        }
    }

    /// The next place is refused when ten are taken, and free again when they are left.
    fn fill_every_place(&self) {
        let name = |number| format!("crowd-{number}");
        let places = PLACES - STEADY;
        let guests: Vec<_> = (0..places).filter_map(|number| self.enter(&name(number))).collect();
        if guests.len() < places {
            fail(&format!("{places} places"), &format!("{} places", guests.len()), &self.log);
        }
        let mut surplus = self.connect();
        surplus.say((self.wire.join)(&name(places)));
        let answer = self.answer(&mut surplus);
        if answer != self.wire.full {
            fail(self.wire.full, answer, &self.log);
        }
        surplus.source.expect_gone(DEADLINE);
        for mut guest in guests {
            self.quit(&mut guest);
        }
    }

    /// Beyond 64 of them, who has waited longest gives way; and one more can come in.
    fn say_nothing_in_great_numbers(&self, wave: &mut Wave) {
        let count = UNREGISTERED + wave.rng.usize(1..10);
        let mut silent: Vec<_> = (0..count).map(|_| self.connect()).collect();
        silent[0].source.expect_gone(DEADLINE);
        let mut guest = self.enter("crowd");
        guest.iter_mut().for_each(|guest| self.quit(guest));
    }

    /// Leaves as one should, and waits until that is done.
    fn quit(&self, guest: &mut Guest<Raw>) {
        if self.wire.quit.is_empty() {
            guest.source.half_close();
        } else {
            guest.say(self.wire.quit);
        }
        guest.source.expect_gone(DEADLINE);
    }

    /// All that one can say, in order.
    fn conversation(&self, visitor: &mut Visitor) -> Vec<u8> {
        let join = (self.wire.join)(&visitor.name());
        let said = [(self.wire.say)(&visitor.text()), (self.wire.ask)(), (self.wire.say)(&visitor.text())];
        [join, said.concat(), self.wire.quit.into()].concat()
    }

    /// Says a few things.
    fn chat(&self, guest: &mut Guest<Raw>, visitor: &mut Visitor) {
        for _ in 0..visitor.rng.usize(1..10) {
            guest.say((self.wire.say)(&visitor.text()));
        }
        guest.say((self.wire.ask)());
    }

    fn chat_and_quit(&self, visitor: &mut Visitor) {
        let Some(mut guest) = self.enter(&visitor.name()) else { return };
        self.chat(&mut guest, visitor);
        self.quit(&mut guest);
    }

    fn leave_without_a_word(&self, visitor: &mut Visitor) {
        let Some(mut guest) = self.enter(&visitor.name()) else { return };
        self.chat(&mut guest, visitor);
    }

    fn reset(&self, visitor: &mut Visitor) {
        let Some(mut guest) = self.enter(&visitor.name()) else { return };
        self.chat(&mut guest, visitor);
        guest.source.abort();
    }

    fn come_and_go(&self, visitor: &mut Visitor) {
        let guest = self.connect();
        if visitor.rng.bool() {
            guest.source.abort();
        }
    }

    /// Random bytes, from somebody who is in or is not.
    fn make_noise(&self, visitor: &mut Visitor) {
        let guest = if visitor.rng.bool() { self.enter(&visitor.name()) } else { Some(self.connect()) };
        let Some(mut guest) = guest else { return };
        for _ in 0..visitor.rng.usize(1..5) {
            let noise = visitor.noise(3000);
            guest.say(noise);
        }
        if visitor.rng.bool() {
            guest.source.abort();
        }
    }

    /// A message that is too long, and one that is not.
    fn say_too_much(&self, visitor: &mut Visitor) {
        let Some(mut guest) = self.enter(&visitor.name()) else { return };
        let text = "x".repeat(visitor.rng.usize(TOO_LONG..50_000));
        guest.say((self.wire.say)(&text));
        self.chat(&mut guest, visitor);
        self.quit(&mut guest);
    }

    /// Half a conversation, cut anywhere.
    fn break_off(&self, visitor: &mut Visitor) {
        let mut guest = self.connect();
        let talk = self.conversation(visitor);
        guest.say(&talk[..visitor.rng.usize(..talk.len())]);
        if visitor.rng.bool() {
            guest.source.abort();
        }
    }

    /// A conversation in many small pieces.
    fn stutter(&self, visitor: &mut Visitor) {
        let mut guest = self.connect();
        let talk = self.conversation(visitor);
        let size = visitor.rng.usize(1..5);
        if talk.chunks(size).all(|piece| guest.say(piece)) {
            self.answer(&mut guest);
        }
    }

    /// A conversation in one write.
    fn paste(&self, visitor: &mut Visitor) {
        let mut guest = self.connect();
        guest.say(self.conversation(visitor));
        self.answer(&mut guest);
        guest.source.half_close();
        guest.source.expect_gone(DEADLINE);
    }

    /// A conversation whose end is the end of what is sent, as `printf … | nc` has it.
    fn half_close(&self, visitor: &mut Visitor) {
        let mut guest = self.connect();
        guest.say((self.wire.join)(&visitor.name()));
        guest.say((self.wire.say)(&visitor.text()));
        guest.source.half_close();
        self.answer(&mut guest);
        guest.source.expect_gone(DEADLINE);
    }

    /// Wants to be called as somebody who is there.
    fn take_a_name(&self, visitor: &mut Visitor) {
        let Some(taken) = self.wire.taken else { return self.come_and_go(visitor) };
        let mut guest = self.connect();
        guest.say((self.wire.join)(self.regular));
        let answer = self.answer(&mut guest);
        if answer == self.wire.welcome {
            fail(&format!("{taken:?} or {:?}", self.wire.full), answer, &self.log);
        }
    }

    /// Many messages at once.
    fn flood(&self, visitor: &mut Visitor) {
        let Some(mut guest) = self.enter(&visitor.name()) else { return };
        let message = (self.wire.say)(&visitor.text());
        guest.say(message.repeat(visitor.rng.usize(10..300)));
        self.quit(&mut guest);
    }

    /// One stops reading, and is told much by another until it is cut off. The other hears of that.
    fn fall_asleep(&self, visitor: &mut Visitor) {
        if !visitor.is_patient() {
            return;
        }
        let (name, teller) = (visitor.name() + "-asleep", visitor.name() + "-awake");
        let narrow = Guest::new(Raw::connect_narrow(self.address, 4096, &self.log));
        let (Some(sleeper), Some(mut teller)) = (self.come_in(narrow, &name), self.enter(&teller)) else {
            return;
        };
        let filling = (self.wire.tell)(&name, &"z".repeat(FILLING));
        let amount = FILLINGS[visitor.rng.usize(..FILLINGS.len())];
        for _ in 0..amount / FILLING {
            teller.say(&filling);
        }
        let left = (self.wire.left)(&name);
        if teller.hear_within(PATIENCE, &[&left]).is_none() {
            fail(&format!("{left:?}, for it does not read"), "it is still there", &self.log);
        }
        drop(sleeper);
        self.quit(&mut teller);
    }

    /// One of our clients comes, chats, and leaves or is killed.
    fn use_our_client(&self, visitor: &mut Visitor) {
        let script = &self.wire.script;
        let Some(mut client) = script.start(self.address.port(), &visitor.name()) else { return };
        for _ in 0..visitor.rng.usize(..5) {
            script.say(&mut client, &visitor.text());
        }
        script.end(client, End::any(&mut visitor.rng));
    }
}
