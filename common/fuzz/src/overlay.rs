//! [`overlay`](chat_common::overlay): several servers, the links between them, and their clients.
//!
//! What each server does is held against the clauses in `docs/protocols/overlay.md`, and so is what comes of it
//! in the whole network: nobody gets a message twice, nothing circulates, and once things have settled
//! everything arrives.

use crate::input::{LineEnd, Name, Said, Wait, is_harmless};
use arbitrary::Arbitrary;
use chat_common::frame::{Lines, MAX_MESSAGE, MAX_RELAYED, Pauses, without_line_end};
use chat_common::overlay::{Effect, Error, MEMORY, NAME_KEPT, Node, PLACE_KEPT, Relay, Reply, Request, text};
use chat_common::text::{is_name, printable};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// How many servers there are at most.
const SERVERS: usize = 5;

/// How many addresses may speak to each server.
const ADDRESSES: u8 = 4;

/// How many links there are at most.
const LINKS: usize = 8;

/// The link of each server to a neighbour that does as it likes.
const STRANGE: usize = LINKS;

/// How many senders a server remembers.
const MAX_SENDERS: usize = 4096;

/// The moment zero of each input: long after anybody was ever heard.
const START: Duration = Duration::from_hours(1);

/// A network, and what happens to it.
#[derive(Arbitrary, Debug)]
pub struct Input<'a> {
    servers: u8,
    places: u8,
    links: [(u8, u8); LINKS],
    /// Which servers have a link to the stranger, a bit each.
    strangers: u8,
    steps: Vec<Step<'a>>,
}

#[derive(Arbitrary, Debug)]
struct Step<'a> {
    server: u8,
    happens: Event<'a>,
    /// Which of the lines under way arrives first, and so on.
    order: u8,
}

#[derive(Arbitrary, Debug)]
enum Event<'a> {
    /// A client says `register <name>`.
    Register(u8, Name<'a>),
    /// A client says `sendto <name> <message>`.
    SendTo(u8, Name<'a>, Said<'a>),
    /// Any datagram.
    Datagram(u8, Said<'a>, LineEnd),
    /// The strange neighbour says `<name> to <name>: <message>`.
    Relay(Name<'a>, Name<'a>, Said<'a>),
    /// The strange neighbour says anything.
    Line(Said<'a>),
    /// The strange neighbour makes up as many senders as are remembered. That takes as long as a thousand other
    /// events, so only one number in 256 does.
    Invent(u8),
    /// A link ends, or is made.
    Toggle(u8),
    Wait(Wait),
}

impl Input<'_> {
    /// Lets it all happen, and holds what the servers do against the clauses.
    ///
    /// # Panics
    /// A clause is broken.
    pub fn check(&self) {
        let mut network = Network::new(self);
        for step in &self.steps {
            network.order = step.order.into();
            network.happen(usize::from(step.server) % network.servers.len(), &step.happens);
        }
    }
}

/// The servers, and what is under way between them.
struct Network {
    servers: Vec<Server>,
    /// The two ends of each link, and whether it is up.
    links: Vec<(usize, usize, bool)>,
    /// Lines, each with its link and the server that it comes from.
    under_way: VecDeque<(usize, usize, String)>,
    order: usize,
    now: Duration,
    /// When links or names last changed, or a stranger spoke.
    changed: Duration,
    /// The stranger has made up senders.
    invented: bool,
}

/// A message that a client or the stranger has sent, and what has become of it.
#[derive(Default)]
struct Journey {
    /// Server and address of everyone who has it.
    delivered: BTreeSet<(usize, u8)>,
    /// Each link that it has crossed, and from which end.
    crossed: BTreeSet<(usize, usize)>,
}

impl Network {
    fn new(input: &Input<'_>) -> Self {
        let count = 1 + usize::from(input.servers) % SERVERS;
        let ends = |&(one, other): &(u8, u8)| (usize::from(one) % count, usize::from(other) % count, true);
        let mut links: Vec<_> = input.links.iter().map(ends).collect();
        links.retain(|(one, other, _)| one != other);
        let places = usize::from(input.places % ADDRESSES);
        let mut servers: Vec<_> = (0..count).map(|_| Server::new(places)).collect();
        for (number, server) in servers.iter_mut().enumerate() {
            server.set_link(STRANGE, input.strangers >> number & 1 == 1);
        }
        for (link, (one, other, _)) in links.iter().enumerate() {
            servers[*one].set_link(link, true);
            servers[*other].set_link(link, true);
        }
        Self {
            servers,
            links,
            under_way: VecDeque::new(),
            order: 0,
            now: START,
            changed: START,
            invented: false,
        }
    }

    fn happen(&mut self, server: usize, event: &Event<'_>) {
        match event {
            Event::Register(from, name) => {
                self.datagram(server, *from, format!("register {}", name.text()).as_bytes());
            }
            Event::SendTo(from, to, said) => self.send_to(server, *from % ADDRESSES, to, said),
            Event::Datagram(from, said, end) => {
                self.datagram(server, *from, &[&*said.bytes(), end.bytes()].concat());
            }
            Event::Relay(from, to, said) => self.relay(server, from, to, said),
            Event::Line(said) => self.line(server, &said.bytes()),
            Event::Invent(number) => self.invent(server, *number),
            Event::Toggle(link) => self.toggle(usize::from(*link)),
            Event::Wait(wait) => self.now += wait.duration(),
        }
    }

    /// A message of a local client.
    fn send_to(&mut self, server: usize, from: u8, to: &Name<'_>, said: &Said<'_>) {
        let datagram = [format!("sendto {} ", to.text()).as_bytes(), &said.bytes()].concat();
        let sender = self.servers[server].node.name(from).map(ToString::to_string);
        let settled = self.is_settled();
        let (effects, error) = self.servers[server].datagram(from, &datagram, self.now);
        let mut journey = Journey::default();
        self.travel(server, effects, &mut journey);
        let Some(sender) = sender else {
            return assert!(error.is_some() && journey.delivered.is_empty(), "O6: an unregistered sender");
        };
        if error.is_none()
            && settled
            && self.holders(&sender) == [server]
            && let [there] = self.holders(to.text())[..]
            && self.reachable(server, there)
        {
            assert_eq!(
                journey.delivered.len(),
                1,
                "O11, O12: {sender} to {} in a settled network",
                to.text()
            );
        }
    }

    /// Any other datagram.
    fn datagram(&mut self, server: usize, from: u8, datagram: &[u8]) {
        let (effects, _) = self.servers[server].datagram(from % ADDRESSES, datagram, self.now);
        self.travel(server, effects, &mut Journey::default());
    }

    /// A message of the stranger.
    fn relay(&mut self, server: usize, from: &Name<'_>, to: &Name<'_>, said: &Said<'_>) {
        let front = format!("{} to {}: ", from.text(), to.text());
        self.line(server, &[front.as_bytes(), &said.bytes()].concat());
    }

    /// Bytes of the stranger: a line or several.
    fn line(&mut self, server: usize, bytes: &[u8]) {
        self.changed = self.now;
        for line in lines(&[bytes, b"\n"].concat()) {
            let (effects, _) = self.servers[server].line(STRANGE, &line, self.now);
            self.travel(server, effects, &mut Journey::default());
        }
    }

    fn invent(&mut self, server: usize, number: u8) {
        if number != u8::MAX || std::mem::replace(&mut self.invented, true) {
            return;
        }
        self.changed = self.now;
        for number in 0..MAX_SENDERS {
            let from = format!("x{number}");
            let relay = Relay { from: &from, to: "nobody", message: "x" };
            self.servers[server].invented(relay, self.now);
        }
    }

    fn toggle(&mut self, link: usize) {
        let Some((one, other, up)) = self.links.get_mut(link) else { return };
        *up = !*up;
        for server in [*one, *other] {
            self.servers[server].set_link(link, *up);
        }
        self.changed = self.now;
    }

    /// Everything arrives that comes of `effects`. Messages overtake each other, as they may on several links.
    fn travel(&mut self, server: usize, effects: Vec<Effect<u8, usize>>, journey: &mut Journey) {
        self.take(server, effects, journey);
        while !self.under_way.is_empty() {
            let Some((link, from, line)) = self.under_way.remove(self.order % self.under_way.len()) else {
                return;
            };
            let (one, other, _) = self.links[link];
            let server = if from == one { other } else { one };
            let line = check_line(&line);
            let (effects, _) = self.servers[server].line(link, &line, self.now);
            self.take(server, effects, journey);
        }
    }

    fn take(&mut self, server: usize, effects: Vec<Effect<u8, usize>>, journey: &mut Journey) {
        for effect in effects {
            match effect {
                Effect::Datagram(to, text) => {
                    let new = !text.starts_with("recvfrom ") || journey.delivered.insert((server, to));
                    assert!(new, "O12: {to} at {server} gets this twice: {text:?}");
                }
                Effect::Forward(link, line) => {
                    let new = journey.crossed.insert((link, server));
                    // What the stranger gets is lost.
                    assert!(new || link == STRANGE, "O12: this crosses link {link} again: {line:?}");
                    if link != STRANGE {
                        self.under_way.push_back((link, server, line));
                    }
                }
                Effect::Registered(..) | Effect::Gone(_) => self.changed = self.now,
                Effect::Log(line) => assert!(is_harmless(&line), "A15: {line:?}"),
            }
        }
    }

    /// Nothing has changed for so long that nothing else is remembered any more (O12).
    fn is_settled(&self) -> bool {
        self.now - self.changed >= MEMORY
    }

    /// The servers where somebody is registered under this name.
    fn holders(&self, name: &str) -> Vec<usize> {
        let holds = |server: &Server| server.node.members().any(|(_, other, _)| other == name);
        (0..self.servers.len()).filter(|server| holds(&self.servers[*server])).collect()
    }

    fn reachable(&self, from: usize, to: usize) -> bool {
        let mut seen = BTreeSet::from([from]);
        for _ in &self.servers {
            for (one, other, up) in &self.links {
                if *up && (seen.contains(one) || seen.contains(other)) {
                    seen.extend([one, other]);
                }
            }
        }
        seen.contains(&to)
    }
}

/// What a reader of a link makes of these bytes; what is too long is dropped.
fn lines(bytes: &[u8]) -> Vec<String> {
    let mut reader = Lines::new(MAX_RELAYED, Pauses::Always);
    reader.push(bytes, Duration::ZERO);
    let mut lines = Vec::new();
    while let Some(line) = reader.next(Duration::ZERO) {
        lines.extend(line.map(|line| printable(line).into_owned()));
    }
    lines
}

/// O9: a line crosses a link, and arrives as it is.
fn check_line(line: &str) -> String {
    assert!(is_harmless(line), "A15: {line:?}");
    assert_eq!(lines(format!("{line}\n").as_bytes()), [line], "O9, A14: what crosses a link");
    line.to_string()
}

/// One server beside what the clauses say about it.
struct Server {
    node: Node<u8, usize>,
    places: usize,
    links: BTreeSet<usize>,
    /// Who is registered, as told by the effects.
    members: BTreeMap<u8, String>,
    /// Where each sender was last heard, if not here, and when (O12).
    origins: BTreeMap<String, (Option<usize>, Duration)>,
}

/// What becomes of a message from a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It is delivered, or handed on.
    Taken,
    /// It has come round, and nobody is told.
    Dropped,
    /// It is dropped, and somebody should know.
    Refused,
}

impl Verdict {
    fn of(done: &Result<(), Error>, effects: &[Effect<u8, usize>]) -> Self {
        match done {
            Ok(()) if effects.is_empty() => Self::Dropped,
            Ok(()) => Self::Taken,
            Err(_) => Self::Refused,
        }
    }
}

/// When each member was last heard, and its name.
type Members = BTreeMap<u8, (String, Duration)>;

impl Server {
    fn new(places: usize) -> Self {
        Self {
            node: Node::new(places),
            places,
            links: BTreeSet::new(),
            members: BTreeMap::new(),
            origins: BTreeMap::new(),
        }
    }

    fn set_link(&mut self, link: usize, up: bool) {
        if up {
            self.node.add_link(link);
            self.links.insert(link);
        } else {
            self.node.remove_link(link);
            self.links.remove(&link);
        }
    }

    /// Handles a datagram as the server does.
    fn datagram(&mut self, from: u8, bytes: &[u8], now: Duration) -> (Vec<Effect<u8, usize>>, Option<Error>) {
        let mut effects = Vec::new();
        if without_line_end(bytes).len() > MAX_MESSAGE {
            return (effects, Some(Error::TooLong));
        }
        let text = text(bytes);
        assert!(is_harmless(&text), "A15: {text:?}");
        let before = self.heard();
        let request = Request::decode(&text);
        if let Ok(request) = request {
            assert_eq!(Request::decode(&request.to_string()), Ok(request), "O4, O5: what is written is read");
        }
        let done = request.clone().and_then(|request| self.node.apply(from, request, now, &mut effects));
        match (&request, &done) {
            (Ok(Request::Register(name)), Ok(())) => self.check_welcome(from, name, &effects),
            (Ok(Request::SendTo(to, message)), Ok(())) => {
                let sender = self.node.name(from).unwrap_or_default();
                let relay = Relay { from: sender, to, message };
                assert_eq!(effects, self.carried(None, relay), "O15: {relay}");
                self.origins.insert(sender.to_string(), (None, now));
            }
            _ => {}
        }
        self.check_members(&before, &effects, done.is_ok(), None, now);
        (effects, done.err())
    }

    /// Handles the line of a link as the server does.
    fn line(&mut self, link: usize, line: &str, now: Duration) -> (Vec<Effect<u8, usize>>, Option<Error>) {
        let mut effects = Vec::new();
        let before = self.heard();
        let relay = Relay::decode(line);
        let wanted = relay.as_ref().map_or(Verdict::Dropped, |relay| self.verdict(link, relay.from, now));
        let done = relay.clone().and_then(|relay| self.node.relay(link, relay, now, &mut effects));
        if let Ok(relay) = relay {
            assert_eq!(relay.to_string(), line, "O9: what is written is read");
            assert_eq!(Verdict::of(&done, &effects), wanted, "O12: {relay} from link {link}");
            if wanted == Verdict::Taken {
                let gone = usize::from(matches!(effects.first(), Some(Effect::Gone(_))));
                assert_eq!(effects[gone..], self.carried(Some(link), relay), "O16: {relay}");
                self.origins.insert(relay.from.to_string(), (Some(link), now));
            }
        }
        let moved = relay_sender(line);
        self.check_members(&before, &effects, done.is_ok(), moved, now);
        (effects, done.err())
    }

    /// O12: whether a message of `sender` is taken from `link`.
    fn verdict(&self, link: usize, sender: &str, now: Duration) -> Verdict {
        let origin = self.origins.get(sender).filter(|(_, heard)| now - *heard < MEMORY);
        if origin.is_some_and(|(from, _)| *from != Some(link)) {
            return Verdict::Dropped;
        }
        let mut members = self.node.members();
        let is_here = members.any(|(_, name, heard)| name == sender && now - heard <= NAME_KEPT);
        let remembered = || self.origins.values().filter(|(_, heard)| now - *heard < MEMORY).count();
        let has_room = origin.is_some() || remembered() < MAX_SENDERS;
        if is_here || !has_room { Verdict::Refused } else { Verdict::Taken }
    }

    /// Handles a message of a sender that nobody has heard of. Who is remembered already may leave no room for it.
    fn invented(&mut self, relay: Relay<'_>, now: Duration) {
        if self.node.relay(STRANGE, relay, now, &mut Vec::new()).is_ok() {
            self.origins.insert(relay.from.to_string(), (Some(STRANGE), now));
        }
    }

    /// O7: whoever is registered is welcome under that name.
    fn check_welcome(&self, from: u8, name: &str, effects: &[Effect<u8, usize>]) {
        let welcome = Effect::Datagram(from, format!("welcome {name}"));
        assert_eq!(effects.last(), Some(&welcome), "O7");
        assert_eq!(self.node.name(from), Some(name), "O7");
    }

    /// O11, O15, O16: what is done with a message that is taken.
    fn carried(&self, came_from: Option<usize>, relay: Relay<'_>) -> Vec<Effect<u8, usize>> {
        let log = |line: String| Effect::Log(line);
        let Relay { from, to, message } = relay;
        let received = if came_from.is_some() { "Received from overlay server: " } else { "" };
        let mut effects = vec![log(format!("{received}{from} to {to}: {message}"))];
        if let Some((address, ..)) = self.node.members().find(|(_, name, _)| *name == to) {
            let text = format!("recvfrom {from} {message}");
            assert_eq!(Reply::decode(&text), Some(Reply::RecvFrom(from, message)), "O5: what a client reads");
            effects.push(Effect::Datagram(address, text));
            return effects;
        }
        effects.push(log(format!("{to} is not registered with server")));
        let links: Vec<_> = self.links.iter().copied().filter(|link| Some(*link) != came_from).collect();
        if !links.is_empty() {
            effects.push(log(format!("Sending message to overlay server: {from} to {to}: {message}")));
        }
        effects.extend(
            links.into_iter().map(|link| Effect::Forward(link, format!("{from} to {to}: {message}"))),
        );
        effects
    }

    fn heard(&self) -> Members {
        self.node.members().map(|(address, name, heard)| (address, (name.to_string(), heard))).collect()
    }

    /// Who is registered behind a message. `moved` is its sender, if it came from a link.
    fn check_members(
        &mut self,
        before: &Members,
        effects: &[Effect<u8, usize>],
        done: bool,
        moved: Option<&str>,
        now: Duration,
    ) {
        assert!(done || effects.is_empty(), "what is dropped does nothing: {effects:?}");
        for effect in effects {
            match effect {
                Effect::Registered(address, name) => {
                    self.members.insert(*address, name.clone());
                }
                Effect::Gone(address) => {
                    let (name, heard) = &before[address];
                    let may_go = self.may_go(before.len(), now - *heard, moved == Some(name))
                        || effects.iter().any(|effect| is_registration(effect, name));
                    assert!(may_go, "O8, O12: {name}, last heard at {heard:?}, has to go at {now:?}");
                    self.members.remove(address);
                }
                Effect::Datagram(address, text) => {
                    assert!(self.members.contains_key(address), "O6: {text:?} to who is not registered");
                    assert!(is_harmless(text) && text.len() <= MAX_RELAYED, "A14, A15: {text:?}");
                }
                Effect::Forward(..) | Effect::Log(_) => {}
            }
        }
        self.check_names();
    }

    /// O8, O12: whose place or name may be given away, after such a silence.
    fn may_go(&self, members: usize, silence: Duration, has_moved: bool) -> bool {
        (members >= self.places && silence > PLACE_KEPT) || (has_moved && silence > NAME_KEPT)
    }

    /// A11, A13: so many at most, under names that differ.
    fn check_names(&self) {
        let members = self.node.members();
        let have: BTreeMap<_, _> = members.map(|(address, name, _)| (address, name.to_string())).collect();
        assert_eq!(have, self.members, "O14: who is registered was said");
        assert!(have.len() <= self.places, "A11: {have:?}");
        assert!(have.values().all(|name| is_name(name)), "A13: {have:?}");
        assert_eq!(have.values().collect::<BTreeSet<_>>().len(), have.len(), "A13: unique: {have:?}");
    }
}

/// Whether somebody registers under this name.
fn is_registration(effect: &Effect<u8, usize>, name: &str) -> bool {
    matches!(effect, Effect::Registered(_, new) if new == name)
}

/// Who says what a link's line says.
fn relay_sender(line: &str) -> Option<&str> {
    Relay::decode(line).ok().map(|relay| relay.from)
}
