//! The overlay: clients that speak UDP to their server, servers that are linked by TCP.
//!
//! ```text
//! client -> server   register <name>            sendto <name> <message>
//! server -> client   welcome <name>             recvfrom <name> <message>
//! server -> server   <name> to <name>: <message>
//! ```
//!
//! One datagram is one message; a link's messages are lines. A message for a name that is not local goes out
//! on every link but the one it came in on. Servers may be linked in a ring, so each remembers for a short
//! while from which link it last heard a sender, and takes that sender's messages from there only: reverse
//! path forwarding. The clauses `O4` to `O16` are those of `docs/protocols/overlay.md`.
//!
//! Where the source is silent: there is no error reply, so an [`Error`] is for the server's stderr only. A
//! message that comes back to the server of a sender who just spoke has gone round a ring, and nobody is told.

use crate::frame::{MAX_MESSAGE, without_line_end};
use crate::roster::{Refusal, Roster};
use crate::text::{MAX_NAME, is_name, printable};
use alloc::borrow::Cow;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

/// How long it is remembered from where a sender was last heard (O12). While it is, a message that circulates
/// is dropped wherever it comes a second time; when it is not, another way can be found.
pub const MEMORY: Duration = Duration::from_secs(2);

/// A client that was silent for so long gives up its place to a newcomer when all are taken (O8).
pub const PLACE_KEPT: Duration = Duration::from_mins(5);

/// A client that was silent for so long gives up its name to one heard elsewhere in the overlay (O12).
pub const NAME_KEPT: Duration = Duration::from_mins(3);

/// How many senders are remembered. More than any lab has; a neighbour that invents names can not make us
/// remember more.
const MAX_SENDERS: usize = 4096;

/// The longest message as it is relayed. Replacing invalid UTF-8 can make it longer than it was said; it has
/// to fit a reader of twice [`MAX_MESSAGE`] all the same.
const MAX_TEXT: usize = 2 * MAX_MESSAGE - 2 * MAX_NAME - 16;

/// The text of a datagram, without its line end, and without what a terminal would obey (A15). What
/// [`Request::decode`] and [`Reply::decode`] read.
#[must_use]
pub fn text(datagram: &[u8]) -> Cow<'_, str> {
    printable(without_line_end(datagram))
}

/// What a client says to its server (O4, O5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// `register <clientName>`.
    Register(&'a str),
    /// `sendto <clientName> <message>`.
    SendTo(&'a str, &'a str),
}

/// What a server says to its client (O4, O5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// `welcome <clientName>`.
    Welcome(&'a str),
    /// `recvfrom <clientName> <message>`: the sender, and what it says.
    RecvFrom(&'a str, &'a str),
}

/// What crosses a link (O9): `<clientName1> to <clientName2>: <message>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relay<'a> {
    /// Who says it.
    pub from: &'a str,
    /// To whom.
    pub to: &'a str,
    /// What is said.
    pub message: &'a str,
}

/// Why something that came was dropped; its `Display` is a line for the server's stderr.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// It is none of the protocol's messages.
    NotUnderstood,
    /// A14: over 4,096 bytes.
    TooLong,
    /// A13: a name that cannot be one.
    InvalidName(String),
    /// O8: all places are taken by clients that were heard lately.
    Full(String),
    /// O6: `sendto` from an address that has not registered.
    Unregistered,
    /// O12: a message from a link, whose sender is registered here.
    LocalName(String),
    /// More senders than are remembered.
    TooManySenders,
}

/// What a server has to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect<A, L> {
    /// The client at this address is registered now, under this name (O14).
    Registered(A, String),
    /// The client at this address is registered no more.
    Gone(A),
    /// A datagram to the client at this address.
    Datagram(A, String),
    /// A line, without its end, to a link.
    Forward(L, String),
    /// A line on stdout (O15, O16).
    Log(String),
}

impl<'a> Request<'a> {
    /// Reads a datagram as the server does.
    ///
    /// # Errors
    /// It is no request, or too long.
    pub fn decode(datagram: &'a str) -> Result<Self, Error> {
        if datagram.len() > MAX_TEXT {
            return Err(Error::TooLong);
        }
        let (command, rest) = datagram.split_once(' ').ok_or(Error::NotUnderstood)?;
        match command {
            "register" => Ok(Self::Register(rest.trim_matches(' '))),
            "sendto" => match rest.split_once(' ') {
                Some((name, message)) if !name.is_empty() && !message.is_empty() => {
                    Ok(Self::SendTo(name, message))
                }
                _ => Err(Error::NotUnderstood),
            },
            _ => Err(Error::NotUnderstood),
        }
    }
}

impl fmt::Display for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Register(name) => write!(f, "register {name}"),
            Self::SendTo(name, message) => write!(f, "sendto {name} {message}"),
        }
    }
}

impl<'a> Reply<'a> {
    /// Reads a datagram as the client does; `None` if it is no reply. Real servers write `Welcome`, too.
    #[must_use]
    pub fn decode(datagram: &'a str) -> Option<Self> {
        let (command, rest) = datagram.split_once(' ')?;
        match command {
            "recvfrom" => rest.split_once(' ').map(|(name, message)| Self::RecvFrom(name, message)),
            word if word.eq_ignore_ascii_case("welcome") => Some(Self::Welcome(rest)),
            _ => None,
        }
    }
}

impl fmt::Display for Reply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Welcome(name) => write!(f, "welcome {name}"),
            Self::RecvFrom(name, message) => write!(f, "recvfrom {name} {message}"),
        }
    }
}

impl<'a> Relay<'a> {
    /// Reads a link's line, without its end.
    ///
    /// # Errors
    /// It is no relayed message, or too long.
    pub fn decode(line: &'a str) -> Result<Self, Error> {
        if line.len() > MAX_TEXT + 2 * MAX_NAME {
            return Err(Error::TooLong);
        }
        let (from, rest) = line.split_once(" to ").ok_or(Error::NotUnderstood)?;
        let (to, message) = rest.split_once(": ").ok_or(Error::NotUnderstood)?;
        if !is_name(from) || to.is_empty() || to.contains(' ') || message.is_empty() {
            return Err(Error::NotUnderstood);
        }
        Ok(Self { from, to, message })
    }
}

impl fmt::Display for Relay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}: {}", self.from, self.to, self.message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUnderstood => f.write_str("not understood"),
            Self::TooLong => write!(f, "longer than {MAX_MESSAGE} bytes"),
            Self::InvalidName(name) => write!(f, "'{name}' cannot be a name"),
            Self::Full(name) => write!(f, "no place for {name}: all are taken"),
            Self::Unregistered => f.write_str("sendto from an address that has not registered"),
            Self::LocalName(name) => write!(f, "someone elsewhere speaks as {name}, who is registered here"),
            Self::TooManySenders => f.write_str("too many senders at once"),
        }
    }
}

impl core::error::Error for Error {}

/// One server of the overlay: who is local, which links there are, and from where each sender was last
/// heard. `A` tells clients apart (an address), `L` tells links apart.
///
/// Time is a parameter, and never goes back.
#[derive(Debug)]
pub struct Node<A, L> {
    roster: Roster<A>,
    /// When each local client was last heard.
    heard: BTreeMap<A, Duration>,
    links: BTreeSet<L>,
    origins: BTreeMap<String, Origin<L>>,
}

/// Where a sender was last heard.
#[derive(Clone, Copy, Debug)]
struct Origin<L> {
    /// `None` is here: a local client.
    link: Option<L>,
    at: Duration,
}

impl<A: Copy + Ord, L: Copy + Ord> Node<A, L> {
    /// A server without clients and links, with so many places for clients.
    #[must_use]
    pub const fn new(places: usize) -> Self {
        Self {
            roster: Roster::new(places),
            heard: BTreeMap::new(),
            links: BTreeSet::new(),
            origins: BTreeMap::new(),
        }
    }

    /// From now on messages are forwarded to `link`: it is up, or it is being retried and somebody keeps them.
    pub fn add_link(&mut self, link: L) {
        self.links.insert(link);
    }

    /// Nothing more is forwarded to `link`. What was learnt from it is not forgotten before its time (O12).
    pub fn remove_link(&mut self, link: L) {
        self.links.remove(&link);
    }

    /// Does what a datagram from the client at `from` asks.
    ///
    /// # Errors
    /// It was dropped; its sender has been heard all the same.
    pub fn apply(
        &mut self,
        from: A,
        request: Request<'_>,
        now: Duration,
        out: &mut Vec<Effect<A, L>>,
    ) -> Result<(), Error> {
        match request {
            Request::Register(name) => self.register(from, name, now, out),
            Request::SendTo(to, message) => self.send_to(from, to, message, now, out),
        }
    }

    /// Does what a message from `link` asks: delivers it or hands it on (O11), unless it has come round (O12).
    ///
    /// # Errors
    /// It was dropped, and somebody should know.
    pub fn relay(
        &mut self,
        link: L,
        relay: Relay<'_>,
        now: Duration,
        out: &mut Vec<Effect<A, L>>,
    ) -> Result<(), Error> {
        if !self.accepts(link, relay.from, now, out)? {
            return Ok(());
        }
        out.push(Effect::Log(format!("Received from overlay server: {relay}")));
        if !self.deliver(relay, out) {
            self.forward(Some(link), relay, out);
        }
        Ok(())
    }

    /// The name of the client at `address`, if it is registered.
    #[must_use]
    pub fn name(&self, address: A) -> Option<&str> {
        self.roster.name(address)
    }

    /// Every local client in order of registration, and when it was last heard.
    pub fn members(&self) -> impl Iterator<Item = (A, &str, Duration)> {
        self.roster.iter().map(|(address, name)| {
            (address, name, self.heard.get(&address).copied().unwrap_or(Duration::ZERO))
        })
    }

    /// O7, O8: the same again is answered again; another name renames; another address moves the name there.
    fn register(
        &mut self,
        from: A,
        name: &str,
        now: Duration,
        out: &mut Vec<Effect<A, L>>,
    ) -> Result<(), Error> {
        if !is_name(name) {
            return Err(Error::InvalidName(name.into()));
        }
        if self.roster.name(from) != Some(name) {
            self.take_place(from, name, now, out)?;
            out.push(Effect::Registered(from, name.into()));
        }
        self.heard.insert(from, now);
        out.push(Effect::Datagram(from, Reply::Welcome(name).to_string()));
        Ok(())
    }

    fn take_place(
        &mut self,
        from: A,
        name: &str,
        now: Duration,
        out: &mut Vec<Effect<A, L>>,
    ) -> Result<(), Error> {
        if let Some(before) = self.roster.key(name) {
            self.give_up(before, out);
        }
        if self.roster.join(from, name) == Err(Refusal::Full) {
            let silent = self.most_silent(now).ok_or_else(|| Error::Full(name.into()))?;
            self.give_up(silent, out);
            self.roster.join(from, name).map_err(|_| Error::Full(name.into()))?;
        }
        Ok(())
    }

    /// The client that was silent longest, if it may be replaced.
    fn most_silent(&self, now: Duration) -> Option<A> {
        let (&address, &heard) = self.heard.iter().min_by_key(|(_, heard)| **heard)?;
        (now.saturating_sub(heard) > PLACE_KEPT).then_some(address)
    }

    fn give_up(&mut self, address: A, out: &mut Vec<Effect<A, L>>) {
        self.roster.leave(address);
        self.heard.remove(&address);
        out.push(Effect::Gone(address));
    }

    /// O15.
    fn send_to(
        &mut self,
        from: A,
        to: &str,
        message: &str,
        now: Duration,
        out: &mut Vec<Effect<A, L>>,
    ) -> Result<(), Error> {
        let sender = self.roster.name(from).ok_or(Error::Unregistered)?.to_string();
        self.heard.insert(from, now);
        self.remember(&sender, None, now)?;
        let relay = Relay { from: &sender, to, message };
        out.push(Effect::Log(relay.to_string()));
        if !self.deliver(relay, out) {
            self.forward(None, relay, out);
        }
        Ok(())
    }

    /// Whether the recipient is local; then it gets the message.
    fn deliver(&self, relay: Relay<'_>, out: &mut Vec<Effect<A, L>>) -> bool {
        let Some(address) = self.roster.key(relay.to) else { return false };
        let reply = Reply::RecvFrom(relay.from, relay.message);
        out.push(Effect::Datagram(address, reply.to_string()));
        true
    }

    /// O11, O15, O16: on every link but the one it came in on.
    fn forward(&self, came_from: Option<L>, relay: Relay<'_>, out: &mut Vec<Effect<A, L>>) {
        out.push(Effect::Log(format!("{} is not registered with server", relay.to)));
        let mut links = self.links.iter().copied().filter(|link| Some(*link) != came_from).peekable();
        if links.peek().is_some() {
            out.push(Effect::Log(format!("Sending message to overlay server: {relay}")));
        }
        out.extend(links.map(|link| Effect::Forward(link, relay.to_string())));
    }

    /// O12: whether a message of `sender` is taken from `link`.
    fn accepts(
        &mut self,
        link: L,
        sender: &str,
        now: Duration,
        out: &mut Vec<Effect<A, L>>,
    ) -> Result<bool, Error> {
        let origin = self.origins.get(sender).copied().filter(|origin| !origin.is_forgotten(now));
        if origin.is_some_and(|origin| origin.link != Some(link)) {
            return Ok(false);
        }
        let local = self.roster.key(sender);
        let heard = local.and_then(|address| self.heard.get(&address).copied());
        if heard.is_some_and(|heard| now.saturating_sub(heard) <= NAME_KEPT) {
            return Err(Error::LocalName(sender.into()));
        }
        self.remember(sender, Some(link), now)?;
        if let Some(address) = local {
            self.give_up(address, out);
        }
        Ok(true)
    }

    fn remember(&mut self, sender: &str, link: Option<L>, now: Duration) -> Result<(), Error> {
        let origin = Origin { link, at: now };
        if let Some(known) = self.origins.get_mut(sender) {
            *known = origin;
            return Ok(());
        }
        if self.origins.len() >= MAX_SENDERS {
            self.origins.retain(|_, origin| !origin.is_forgotten(now));
        }
        if self.origins.len() >= MAX_SENDERS {
            return Err(Error::TooManySenders);
        }
        self.origins.insert(sender.into(), origin);
        Ok(())
    }
}

impl<L> Origin<L> {
    fn is_forgotten(&self, now: Duration) -> bool {
        now.saturating_sub(self.at) >= MEMORY
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::VecDeque;
    use proptest::prelude::*;
    use std::println;

    extern crate std;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn o04_o05_requests_read_and_write() {
        let cases = [
            ("register ann", Request::Register("ann")),
            ("sendto bob hi", Request::SendTo("bob", "hi")),
            ("sendto bob  two  spaces ", Request::SendTo("bob", " two  spaces ")),
            ("sendto client1-37442 a-b", Request::SendTo("client1-37442", "a-b")),
        ];
        for (line, request) in cases {
            assert_eq!(Request::decode(line), Ok(request), "{line:?}");
            assert_eq!(request.to_string(), line);
        }
        for line in [
            "",
            "register",
            "sendto",
            "sendto ",
            "sendto bob",
            "sendto bob ",
            "sendto  x",
            "exit",
            "hello you",
        ] {
            assert_eq!(Request::decode(line), Err(Error::NotUnderstood), "{line:?}");
        }
    }

    #[test]
    fn o04_o05_replies_read_and_write() {
        let cases =
            [("welcome ann", Reply::Welcome("ann")), ("recvfrom ann a b", Reply::RecvFrom("ann", "a b"))];
        for (line, reply) in cases {
            assert_eq!(Reply::decode(line), Some(reply), "{line:?}");
            assert_eq!(reply.to_string(), line);
        }
        assert_eq!(Reply::decode("Welcome ann"), Some(Reply::Welcome("ann")), "as real servers write it");
        for line in ["", "welcome", "recvfrom ann", "ann: hi"] {
            assert_eq!(Reply::decode(line), None, "{line:?}");
        }
    }

    #[test]
    fn o09_relays_read_and_write() {
        let cases = [
            ("ann to bob: hi", ("ann", "bob", "hi")),
            ("ann to bob: x to y: z", ("ann", "bob", "x to y: z")),
            ("ann to bob:  hi", ("ann", "bob", " hi")),
        ];
        for (line, (from, to, message)) in cases {
            let relay = Relay { from, to, message };
            assert_eq!(Relay::decode(line), Ok(relay), "{line:?}");
            assert_eq!(relay.to_string(), line);
        }
        for line in [
            "",
            "ann",
            "ann to bob",
            "ann to bob: ",
            "ann to : x",
            " to bob: x",
            "a b to c: x",
            "ann to b c: x",
        ] {
            assert_eq!(Relay::decode(line), Err(Error::NotUnderstood), "{line:?}");
        }
    }

    #[test]
    fn o04_a15_the_text_of_a_datagram() {
        for (datagram, wanted) in
            [("a\n", "a"), ("a\r\n", "a"), ("a", "a"), ("a\nb\n", "a?b"), ("", ""), ("\n", "")]
        {
            assert_eq!(text(datagram.as_bytes()), wanted, "{datagram:?}");
        }
    }

    /// One server with the clients 1, 2, 3 … and the links 'a', 'b', 'c' …
    struct Scenario {
        node: Node<u8, char>,
        now: Duration,
    }

    impl Scenario {
        fn with(links: &str, names: &[&str]) -> Self {
            let mut scenario = Self { node: Node::new(10), now: 1000 * SECOND };
            links.chars().for_each(|link| scenario.node.add_link(link));
            for (address, name) in (1..).zip(names) {
                scenario.datagram(address, &format!("register {name}"));
            }
            scenario
        }

        fn datagram(&mut self, from: u8, line: &str) -> Vec<String> {
            let mut out = Vec::new();
            let done =
                Request::decode(line).and_then(|request| self.node.apply(from, request, self.now, &mut out));
            Self::written(&out, done)
        }

        fn line(&mut self, link: char, line: &str) -> Vec<String> {
            let mut out = Vec::new();
            let done = Relay::decode(line).and_then(|relay| self.node.relay(link, relay, self.now, &mut out));
            Self::written(&out, done)
        }

        fn written(out: &[Effect<u8, char>], done: Result<(), Error>) -> Vec<String> {
            let effect = |effect: &Effect<u8, char>| match effect {
                Effect::Registered(address, name) => format!("{name} registered from {address}"),
                Effect::Gone(address) => format!("{address} gone"),
                Effect::Datagram(address, text) => format!("{address} < {text}"),
                Effect::Forward(link, line) => format!("{link} < {line}"),
                Effect::Log(line) => line.clone(),
            };
            out.iter().map(effect).chain(done.err().map(|error| format!("! {error}"))).collect()
        }
    }

    #[test]
    fn o07_registering_again_from_the_same_address() {
        let mut scenario = Scenario::with("", &["ann"]);
        assert_eq!(scenario.datagram(1, "register ann"), ["1 < welcome ann"]);
        assert_eq!(scenario.datagram(1, "register eve"), ["eve registered from 1", "1 < welcome eve"]);
        assert_eq!(scenario.datagram(1, "sendto ann x").get(1).unwrap(), "ann is not registered with server");
        assert_eq!(scenario.datagram(2, "register a b"), ["! 'a b' cannot be a name"]);
    }

    #[test]
    fn o08_a_name_moves_to_another_address() {
        let mut scenario = Scenario::with("", &["ann", "bob"]);
        assert_eq!(
            scenario.datagram(9, "register ann"),
            ["1 gone", "ann registered from 9", "9 < welcome ann"]
        );
        assert_eq!(
            scenario.datagram(1, "sendto bob x"),
            ["! sendto from an address that has not registered"]
        );
        assert_eq!(scenario.datagram(2, "sendto ann x"), ["bob to ann: x", "9 < recvfrom bob x"]);
    }

    #[test]
    fn o08_a_newcomer_takes_the_place_of_who_was_silent_for_five_minutes() {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
        let mut scenario = Scenario::with("", &names);
        scenario.now += PLACE_KEPT;
        scenario.datagram(1, "sendto b still here");
        assert_eq!(scenario.datagram(11, "register k"), ["! no place for k: all are taken"]);
        scenario.now += SECOND;
        assert_eq!(scenario.datagram(11, "register k"), ["2 gone", "k registered from 11", "11 < welcome k"]);
    }

    #[test]
    fn o15_what_a_local_client_says() {
        let mut scenario = Scenario::with("", &["ann", "bob"]);
        assert_eq!(scenario.datagram(1, "sendto bob hi"), ["ann to bob: hi", "2 < recvfrom ann hi"]);
        assert_eq!(scenario.datagram(1, "sendto ann me"), ["ann to ann: me", "1 < recvfrom ann me"]);
        assert_eq!(
            scenario.datagram(1, "sendto zed x"),
            ["ann to zed: x", "zed is not registered with server"]
        );
        scenario.node.add_link('a');
        scenario.node.add_link('b');
        assert_eq!(
            scenario.datagram(1, "sendto zed x"),
            [
                "ann to zed: x",
                "zed is not registered with server",
                "Sending message to overlay server: ann to zed: x",
                "a < ann to zed: x",
                "b < ann to zed: x"
            ]
        );
    }

    #[test]
    fn o16_what_comes_from_a_link() {
        let mut scenario = Scenario::with("ab", &["ann"]);
        assert_eq!(
            scenario.line('a', "bob to ann: hi"),
            ["Received from overlay server: bob to ann: hi", "1 < recvfrom bob hi"]
        );
        assert_eq!(
            scenario.line('a', "bob to zed: hi"),
            [
                "Received from overlay server: bob to zed: hi",
                "zed is not registered with server",
                "Sending message to overlay server: bob to zed: hi",
                "b < bob to zed: hi"
            ]
        );
        scenario.node.remove_link('b');
        assert_eq!(
            scenario.line('a', "bob to zed: hi"),
            ["Received from overlay server: bob to zed: hi", "zed is not registered with server"]
        );
    }

    #[test]
    fn o12_a_sender_is_heard_from_one_link_at_a_time() {
        let mut scenario = Scenario::with("ab", &["ann"]);
        assert_eq!(scenario.line('a', "bob to ann: 1").len(), 2);
        assert_eq!(scenario.line('b', "bob to ann: 1").len(), 0, "it came round");
        scenario.now += SECOND;
        scenario.node.remove_link('a');
        assert_eq!(scenario.line('b', "bob to ann: 2").len(), 0, "remembered, also when that link has ended");
        scenario.now += SECOND;
        assert_eq!(scenario.line('b', "bob to ann: 3").len(), 2, "two seconds after it was last heard");
    }

    #[test]
    fn o12_a_local_name_is_not_taken_from_a_link() {
        let mut scenario = Scenario::with("ab", &["ann", "bob"]);
        let impostor = ["! someone elsewhere speaks as ann, who is registered here"];
        assert_eq!(scenario.line('a', "ann to bob: forged"), impostor);
        scenario.datagram(1, "sendto zed hi");
        assert_eq!(scenario.line('a', "ann to zed: hi").len(), 0, "one's own message came round");
        scenario.now += NAME_KEPT;
        assert_eq!(scenario.line('a', "ann to bob: forged"), impostor);
        scenario.now += SECOND;
        assert_eq!(
            scenario.line('a', "ann to bob: moved"),
            ["1 gone", "Received from overlay server: ann to bob: moved", "2 < recvfrom ann moved"]
        );
    }

    #[test]
    fn o12_what_was_sent_by_us_is_not_taken_when_its_sender_has_gone() {
        let mut scenario = Scenario::with("ab", &["ann", "bob"]);
        scenario.datagram(1, "sendto zed hi");
        scenario.datagram(1, "register eve");
        assert_eq!(scenario.line('a', "ann to zed: hi").len(), 0);
    }

    #[test]
    fn o12_a_neighbour_that_invents_senders_is_not_remembered_without_bound() {
        let mut scenario = Scenario::with("ab", &["ann"]);
        for number in 0..MAX_SENDERS {
            assert_eq!(scenario.line('a', &format!("s{number} to ann: x")).len(), 2);
        }
        assert_eq!(scenario.line('a', "one-more to ann: x"), ["! too many senders at once"]);
        scenario.now += MEMORY;
        assert_eq!(scenario.line('a', "one-more to ann: x").len(), 2);
        assert_eq!(scenario.node.origins.len(), 1);
    }

    #[test]
    fn o12_a_message_that_is_dropped_takes_nobodys_name() {
        let mut scenario = Scenario::with("ab", &["ann"]);
        scenario.now += NAME_KEPT + SECOND;
        for number in 0..MAX_SENDERS {
            assert_ne!(scenario.line('a', &format!("s{number} to zed: x")).len(), 0);
        }
        assert_eq!(scenario.line('b', "ann to zed: x"), ["! too many senders at once"]);
        assert_eq!(scenario.node.name(1), Some("ann"), "she keeps her place");
    }

    /// A network of servers, each with one client, whose links take one step for every message.
    struct Network {
        nodes: Vec<Node<usize, usize>>,
        /// The two ends of each link, and whether it is up.
        links: Vec<(usize, usize, bool)>,
        under_way: VecDeque<(usize, usize, String)>,
        now: Duration,
        delivered: Vec<(usize, String)>,
        crossings: usize,
    }

    impl Network {
        fn new(size: usize, links: &[(usize, usize)]) -> Self {
            let mut network = Self {
                nodes: (0..size).map(|_| Node::new(10)).collect(),
                links: Vec::new(),
                under_way: VecDeque::new(),
                now: 1000 * SECOND,
                delivered: Vec::new(),
                crossings: 0,
            };
            for &(one, other) in links {
                network.links.push((one, other, false));
                network.set_link(network.links.len() - 1, true);
            }
            for client in 0..size {
                let name = format!("client{client}");
                let request = Request::Register(&name);
                let mut out = Vec::new();
                network.nodes[client].apply(client, request, network.now, &mut out).unwrap();
            }
            network
        }

        fn set_link(&mut self, link: usize, up: bool) {
            let (one, other, _) = self.links[link];
            self.links[link].2 = up;
            for node in [one, other] {
                if up {
                    self.nodes[node].add_link(link);
                } else {
                    self.nodes[node].remove_link(link);
                }
            }
            self.under_way.retain(|(on, ..)| up || *on != link);
        }

        /// Lets `from` send, and everything arrive that follows; messages overtake each other as `dice` says.
        fn send(&mut self, from: usize, to: usize, message: &str, dice: &mut impl FnMut(usize) -> usize) {
            let name = format!("client{to}");
            let mut out = Vec::new();
            let request = Request::SendTo(&name, message);
            self.nodes[from].apply(from, request, self.now, &mut out).unwrap();
            self.take(from, out);
            let most = self.crossings + 4 * self.links.len() + 4;
            while !self.under_way.is_empty() {
                assert!(self.crossings <= most, "the message circulates");
                let chosen = dice(self.under_way.len());
                let Some((link, at, line)) = self.under_way.remove(chosen) else { continue };
                let (one, other, _) = self.links[link];
                let node = if at == one { other } else { one };
                let mut out = Vec::new();
                let relay = Relay::decode(&line).unwrap();
                // An error is a message that was dropped.
                let _ = self.nodes[node].relay(link, relay, self.now, &mut out);
                self.take(node, out);
            }
        }

        fn take(&mut self, node: usize, out: Vec<Effect<usize, usize>>) {
            for effect in out {
                match effect {
                    Effect::Datagram(client, text) => self.delivered.push((client, text)),
                    Effect::Forward(link, line) => {
                        self.crossings += 1;
                        self.under_way.push_back((link, node, line));
                    }
                    _ => {}
                }
            }
        }

        fn reachable(&self, from: usize, to: usize) -> bool {
            let mut seen = BTreeSet::from([from]);
            let mut before = 0;
            while before < seen.len() {
                before = seen.len();
                for &(one, other, up) in &self.links {
                    if up && (seen.contains(&one) || seen.contains(&other)) {
                        seen.extend([one, other]);
                    }
                }
            }
            seen.contains(&to)
        }
    }

    /// A connected graph: a random tree, and some more links.
    fn graphs() -> impl Strategy<Value = (usize, Vec<(usize, usize)>)> {
        (2_usize..=30).prop_flat_map(|size| {
            let tree: Vec<_> = (1..size).map(|node| (0..node, Just(node))).collect();
            let more = prop::collection::vec((0..size, 0..size), 0..size);
            (Just(size), tree, more).prop_map(|(size, mut links, more)| {
                links.extend(more.into_iter().filter(|(one, other)| one != other));
                (size, links)
            })
        })
    }

    /// What happens to a network: somebody sends, a link dies or comes back, time passes.
    fn steps() -> impl Strategy<Value = Vec<(u8, usize, usize)>> {
        prop::collection::vec((0_u8..8, any::<usize>(), any::<usize>()), 1..40)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn o11_o12_any_network_delivers_exactly_once_and_nothing_circulates(
            (size, links) in graphs(),
            steps in steps(),
            seed: usize,
        ) {
            let mut network = Network::new(size, &links);
            let mut state = seed;
            let mut dice = |sides: usize| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) % sides
            };
            let mut changed = network.now;
            for (number, (what, one, other)) in steps.into_iter().enumerate() {
                match what {
                    0 => {
                        let link = one % links.len();
                        let up = network.links[link].2;
                        network.set_link(link, !up);
                        changed = network.now;
                    }
                    1 => network.now += MEMORY,
                    2 => network.now += SECOND / 4,
                    _ => {
                        let (from, to) = (one % size, other % size);
                        let message = format!("message{number}");
                        network.delivered.clear();
                        network.send(from, to, &message, &mut dice);
                        let wanted = (to, format!("recvfrom client{from} {message}"));
                        let copies = network.delivered.iter().filter(|delivery| **delivery == wanted).count();
                        prop_assert_eq!(copies, network.delivered.len(), "nobody else gets it");
                        prop_assert!(copies <= 1, "{} copies", copies);
                        let settled = network.now.saturating_sub(changed) >= MEMORY;
                        if settled && network.reachable(from, to) {
                            prop_assert_eq!(copies, 1, "from {} to {}", from, to);
                        }
                    }
                }
            }
        }

        #[test]
        fn any_bytes_do_no_harm(bytes: Vec<u8>, link in prop::char::range('a', 'c')) {
            let mut scenario = Scenario::with("ab", &["ann", "bob"]);
            let text = text(&bytes);
            let _ = Reply::decode(&text);
            scenario.datagram(9, &text);
            scenario.line(link, &text);
            prop_assert_eq!(scenario.node.members().count(), 2);
        }
    }

    /// `cargo test -p chat-common crossings -- --nocapture` prints the table.
    #[test]
    fn o12_crossings_of_a_message_grow_as_the_links_do() {
        println!("servers  links  crossings of one message, first and later");
        for size in [4, 8, 16, 30] {
            let ring: Vec<_> = (0..size).map(|node| (node, (node + 1) % size)).collect();
            let chords: Vec<_> = (0..size).map(|node| (node, (node + size / 2 + 1) % size)).collect();
            for links in [ring[1..].to_vec(), ring.clone(), [ring.clone(), chords].concat()] {
                let mut network = Network::new(size, &links);
                network.send(0, size / 2, "first", &mut |_| 0);
                let first = network.crossings;
                network.send(0, size / 2, "second", &mut |_| 0);
                println!("{size:7}  {:5}  {first:5} {:5}", links.len(), network.crossings - first);
                assert!(network.crossings <= 4 * links.len(), "each link at most once each way");
                assert_eq!(network.delivered.len(), 2);
            }
        }
    }
}
