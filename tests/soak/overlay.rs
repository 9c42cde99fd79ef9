//! The overlay: four servers in a ring, whose links are cut and stalled, and one of which is killed and
//! started again.
//!
//! ```text
//!     a ────── b          b makes the link to a, c that to b, d that to c, and a that to d.
//!     :        :          Those with dots pass through a relay, which can cut them.
//!     d ······ c          c is killed.
//! ```
//!
//! A pair at a must hear everything, whatever happens to the ring; a pair at b and d
//! everything that was said while the ring was whole, and once.
//!
//! The protocol has no word for leaving, so names stay. Every place of the watched servers belongs to a name;
//! visitors use these, and at the end of a wave a caretaker takes them all back.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use chat_tests::wait::{Log, fail};
use chat_tests::{Datagrams, Output, Process, Raw, Signal};

use crate::crowd::{Deed, Visitor, Wave};
use crate::guest::{Attentive, Guest, Source};
use crate::program::{self, End, Script};
use crate::relay::Relay;
use crate::scene::Scene;
use crate::talk::{Excuse, Manner, Talk, Voice};
use crate::watched::Watched;

const CLIENT: Script = Script {
    arguments: |port, name| {
        ["overlay", "-s", "127.0.0.1", "-p", &port.to_string(), "-n", name].map(str::to_owned).into()
    },
    join: |_| String::new(),
    inside: &["connected to server and registered"],
    refused: &[],
    say: |text| format!("sendto bob {text}\nsendto eve {text}\nsendto nobody {text}\ndance\n"),
    quit: Some("exit"),
};

/// How many places a server has.
const PLACES: usize = 10;

/// How many names visitors use at each server: two for each visitor.
const POOL: usize = 8;

/// How many datagrams are said before an answer is waited for: the system drops what the server has no room
/// for.
const BURST: usize = 15;

/// UDP may lose a datagram: how often it is said, and how long an answer to it is waited for.
const TRIES: usize = 5;
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a way is remembered on which somebody was heard (two seconds), and what a busy machine takes.
const MEMORY: Duration = Duration::from_secs(4);

/// How long a link is stalled: longer than a server waits for a link that takes nothing.
const STALL: Duration = Duration::from_secs(6);

/// How much is said meanwhile, and in which pieces: more than the system keeps for a link.
const FLOOD: usize = 4_000_000;
const PIECE: usize = 4000;

/// A wave that is long enough for [`STALL`].
const LONG: Duration = STALL;

/// A server that is watched, and never ends.
struct Node {
    address: SocketAddr,
    /// Where other servers link to it.
    links: u16,
    /// Who keeps the names that visitors use.
    caretakers: Vec<(String, Guest<Datagrams>)>,
    log: Log,
}

/// The ring.
struct Ring {
    /// a, b and d.
    nodes: [Node; 3],
    c: Process,
    /// Between a and d, c and b, d and c.
    relays: [Relay; 3],
    excuse: Arc<Excuse>,
}

const DEEDS: [Deed<[Node; 3]>; 9] = [
    chat,
    rename,
    make_noise,
    say_too_much,
    forge,
    link_and_make_noise,
    link_silently,
    use_our_client,
    use_our_client,
];

/// What may happen to the ring in a wave.
const DISTURBANCES: [fn(&mut Ring, &mut Wave); 5] =
    [Ring::cut, Ring::cut, Ring::kill, Ring::kill_and_wait, Ring::stall];

/// The ring, and two pairs: ann and bob at a, where bob is our client; eve at b and fay at d.
pub(crate) fn open() -> Scene {
    let relays = [Relay::new(), Relay::new(), Relay::new()];
    let (mut a, a_links) = server(relays[0].port());
    let (b, b_links) = server(a_links);
    relays[1].lead_to(b_links);
    let (c, c_links) = server(relays[1].port());
    relays[2].lead_to(c_links);
    let (d, d_links) = server(relays[2].port());
    relays[0].lead_to(d_links);
    relays.iter().for_each(|relay| relay.expect_standing(1));
    a.0.stdout.find("connected to overlay server");

    let servers = [(&a, a_links), (&b, b_links), (&d, d_links)];
    let mut nodes = servers.map(|((server, address), links)| {
        let log = server.log().clone();
        Node { address: *address, links, caretakers: Vec::new(), log }
    });
    let ann = Attentive::from(nodes[0].enter("ann").source);
    let bob = CLIENT.start(nodes[0].address.port(), "bob").expect("a place for bob").source;
    let [eve, fay] =
        [nodes[1].enter("eve"), nodes[2].enter("fay")].map(|guest| Attentive::from(guest.source));
    for (node, (letter, steady)) in nodes.iter_mut().zip([("a", 2), ("b", 1), ("d", 1)]) {
        node.hire(letter, PLACES - steady);
    }
    let watched = vec![
        Watched::server("overlay a", a.0, PLACES as u64),
        Watched::server("overlay b", b.0, PLACES as u64),
        Watched::server("overlay d", d.0, PLACES as u64),
        Watched::client("overlay client", &bob),
    ];
    let excuse = Arc::new(Excuse::default());
    let talks = vec![
        Talk::new([voice("ann", ann, "bob", ""), voice("bob", bob, "ann", "\n")], Manner::Freely),
        Talk::excused([voice("eve", eve, "fay", ""), voice("fay", fay, "eve", "")], &excuse),
    ];
    let mut ring = Ring { nodes, c: c.0, relays, excuse };
    Scene::new(watched, talks, move |wave| ring.wave(wave))
}

fn voice(name: &str, source: impl Source + Send + 'static, to: &'static str, end: &'static str) -> Voice {
    Voice::new(name, source, move |text| format!("sendto {to} {text}{end}"))
}

/// A server that makes a link to this port: where clients find it, and its port for links.
fn server(neighbour: u16) -> ((Process, SocketAddr), u16) {
    let neighbour = neighbour.to_string();
    let arguments = ["overlay", "-p", "0", "-o", "0", "-s", "127.0.0.1", "-t", &neighbour];
    let mut process = program::server(&arguments).start();
    let port = port_behind(&mut process.stdout, "server started on 127.0.0.1 at port ");
    let links = port_behind(&mut process.stdout, "server overlay started at port ");
    ((process, (Ipv4Addr::LOCALHOST, port).into()), links)
}

fn port_behind(output: &mut Output, words: &str) -> u16 {
    output.find(words).replace(words, "").parse().expect("a port")
}

impl Ring {
    /// Visitors come and go, and mostly something happens to the ring.
    fn wave(&mut self, wave: &mut Wave) {
        let mut others = Wave { rng: wave.rng.fork(), length: wave.length, deeds: 0 };
        let happens = wave.rng.usize(..=DISTURBANCES.len());
        let nodes = self.nodes.each_ref().map(Node::without_caretakers);
        thread::scope(|scope| {
            scope.spawn(|| others.crowd(&nodes, &DEEDS));
            if let Some(disturbance) = DISTURBANCES.get(happens) {
                self.disturb(wave, *disturbance);
            }
        });
        wave.deeds += others.deeds;
        self.forget_what_c_printed();
        self.nodes.iter_mut().for_each(Node::take_back);
    }

    fn forget_what_c_printed(&mut self) {
        if self.c.stderr.text().contains("panicked at") {
            fail("a server that does not panic", "it panicked", self.c.log());
        }
        for output in [&mut self.c.stdout, &mut self.c.stderr] {
            output.skip();
            output.forget();
        }
    }

    /// What is said from before the disturbance until its end may be lost.
    fn disturb(&mut self, wave: &mut Wave, disturbance: fn(&mut Self, &mut Wave)) {
        self.excuse.begin();
        disturbance(self, wave);
        self.excuse.end_in(MEMORY);
    }

    fn cut(&mut self, wave: &mut Wave) {
        let relay = &self.relays[wave.rng.usize(..self.relays.len())];
        let made = relay.made();
        relay.cut(wave.rng.bool());
        relay.expect_standing(made + 1);
    }

    fn kill(&mut self, _: &mut Wave) {
        self.replace_c(Duration::ZERO);
    }

    /// The ring is a chain for as long as the wave.
    fn kill_and_wait(&mut self, wave: &mut Wave) {
        self.replace_c(wave.length);
    }

    fn replace_c(&mut self, pause: Duration) {
        let made = self.relays.each_ref().map(Relay::made);
        self.c.signal(Signal::SIGKILL);
        self.c.exit_code();
        thread::sleep(pause);
        let (c, links) = server(self.relays[1].port());
        self.c = c.0;
        self.relays[2].lead_to(links);
        self.relays[1].expect_standing(made[1] + 1);
        self.relays[2].expect_standing(made[2] + 1);
    }

    /// The link between a and d takes nothing, while much is said there. It is cut, and made again.
    fn stall(&mut self, wave: &mut Wave) {
        if wave.length < LONG {
            return self.cut(wave);
        }
        let relay = &self.relays[0];
        relay.stall(true);
        let node = &mut self.nodes[0];
        let piece = format!("sendto nobody {}", "z".repeat(PIECE));
        for _ in 0..FLOOD / PIECE / BURST {
            let (name, caretaker) = &mut node.caretakers[POOL - 1];
            (0..BURST).for_each(|_| caretaker.source.send(&piece));
            ask(caretaker, name, &node.log);
        }
        thread::sleep(STALL);
        relay.stall(false);
        relay.expect_standing(1);
    }
}

impl Node {
    /// Somebody registers so many names that nobody else has.
    fn hire(&mut self, letter: &str, count: usize) {
        let name = |number| format!("{letter}-{number}");
        self.caretakers = (0..count).map(|number| (name(number), self.enter(&name(number)))).collect();
    }

    /// Every name goes back to its caretaker.
    fn take_back(&mut self) {
        for (name, caretaker) in &mut self.caretakers {
            ask(caretaker, name, &self.log);
        }
    }

    /// The same for visitors, who need no more than the names.
    fn without_caretakers(&self) -> Self {
        Self { address: self.address, links: self.links, caretakers: Vec::new(), log: self.log.clone() }
    }

    fn stranger(&self) -> Guest<Datagrams> {
        Guest::new(Datagrams::to(self.address, &self.log))
    }

    /// A client registered under this name.
    fn enter(&self, name: &str) -> Guest<Datagrams> {
        let mut guest = self.stranger();
        ask(&mut guest, name, &self.log);
        guest
    }

    /// A connection as from another server.
    fn link(&self) -> Raw {
        Raw::connect((Ipv4Addr::LOCALHOST, self.links).into(), &self.log)
    }
}

/// Registers a name, which must succeed.
fn ask(guest: &mut Guest<Datagrams>, name: &str, log: &Log) {
    let welcome = format!("welcome {name}");
    for _ in 0..TRIES {
        guest.say(format!("register {name}"));
        if guest.hear_within(PATIENCE, &[&welcome]).is_some() {
            return;
        }
    }
    fail(&welcome, "no answer in time", log);
}

/// One of the servers, and two of the names that belong to it and to this visitor.
fn any<'a>(nodes: &'a [Node; 3], visitor: &mut Visitor) -> (&'a Node, [String; 2]) {
    let which = visitor.rng.usize(..nodes.len());
    let names = [0, 1].map(|name| format!("{}-{}", ["a", "b", "d"][which], 2 * visitor.number + name));
    (&nodes[which], names)
}

/// Somebody somewhere, or nobody.
fn anybody(visitor: &mut Visitor) -> String {
    const STEADY: [&str; 5] = ["ann", "bob", "eve", "fay", "nobody"];
    let number = visitor.rng.usize(..POOL);
    let pool = ["a", "b", "d"][visitor.rng.usize(..3)];
    if visitor.rng.bool() { format!("{pool}-{number}") } else { STEADY[visitor.rng.usize(..5)].into() }
}

/// Registers, talks to many, and vanishes.
fn chat(nodes: &[Node; 3], visitor: &mut Visitor) {
    let (node, [name, _]) = any(nodes, visitor);
    let mut guest = node.enter(&name);
    for _ in 0..visitor.rng.usize(1..BURST) {
        guest.say(format!("sendto {} {}", anybody(visitor), visitor.text()));
    }
    ask(&mut guest, &name, &node.log);
}

fn rename(nodes: &[Node; 3], visitor: &mut Visitor) {
    let (node, [one, other]) = any(nodes, visitor);
    let mut guest = node.enter(&one);
    ask(&mut guest, &other, &node.log);
    guest.say(format!("sendto {} {}", anybody(visitor), visitor.text()));
    ask(&mut guest, &one, &node.log);
}

/// From somebody who is registered or is not.
fn make_noise(nodes: &[Node; 3], visitor: &mut Visitor) {
    let (node, [name, _]) = any(nodes, visitor);
    let mut guest = if visitor.rng.bool() { node.enter(&name) } else { node.stranger() };
    for _ in 0..visitor.rng.usize(1..BURST) {
        let noise = visitor.noise(1400);
        guest.say(noise);
    }
    for said in ["", "register", "register two words", "sendto", "sendto bob", "welcome ann", "\n", "\0"] {
        guest.say(said);
    }
    ask(&mut guest, &name, &node.log);
}

fn say_too_much(nodes: &[Node; 3], visitor: &mut Visitor) {
    let (node, [name, _]) = any(nodes, visitor);
    let mut guest = node.enter(&name);
    guest.say(format!("sendto bob {}", "x".repeat(visitor.rng.usize(5000..60_000))));
    ask(&mut guest, &name, &node.log);
}

/// Speaks in the name of those who are registered: as another server, which the pair would hear if it were
/// believed; and as one who is not registered. (That one says nothing that the pair would take for its own: its
/// port may have been that of somebody who vanished, and then it speaks in the name of that one, as O6 has it.)
fn forge(nodes: &[Node; 3], visitor: &mut Visitor) {
    let (node, _) = any(nodes, visitor);
    let mut link = node.link();
    link.try_send(b"ann to bob: ann#9999999\nbob to ann: bob#9999999\n");
    let mut stranger = node.stranger();
    stranger.say("sendto bob forged");
    stranger.say("recvfrom ann forged");
}

/// As another server that is broken, and breaks off.
fn link_and_make_noise(nodes: &[Node; 3], visitor: &mut Visitor) {
    let (node, _) = any(nodes, visitor);
    let mut link = node.link();
    let noise = visitor.noise(5000);
    link.try_send(&noise);
    link.try_send(b"\nstranger to nobody: hello\nstranger to bob");
    link.try_send(&b"x".repeat(visitor.rng.usize(1..20_000)));
    if visitor.rng.bool() {
        link.abort();
    }
}

/// As many other servers that say nothing.
fn link_silently(nodes: &[Node; 3], visitor: &mut Visitor) {
    let (node, _) = any(nodes, visitor);
    drop((0..visitor.rng.usize(1..10)).map(|_| node.link()).collect::<Vec<_>>());
}

fn use_our_client(nodes: &[Node; 3], visitor: &mut Visitor) {
    let (node, [name, _]) = any(nodes, visitor);
    let mut client = CLIENT.start(node.address.port(), &name).expect("a client that is registered");
    for _ in 0..visitor.rng.usize(..5) {
        CLIENT.say(&mut client, &visitor.text());
    }
    CLIENT.end(client, End::any(&mut visitor.rng));
}
