//! The overlay under load: `chat-server overlay`, alone, in chains and in a ring, beside the least that a
//! relay can do.
//!
//! The floors are processes of their own: this executable, started with hidden arguments.
//! - The UDP relay: one thread, `recv_from`, `send_to` the other client. It does not parse, check, look up,
//!   remember or log, and has no thread for each client, which the overlay must have.
//! - The TCP forwarder: one thread, `read`, `write_all` to the next, with `TCP_NODELAY`. What five in a row
//!   take more than one, by four, is the bare hop: the least that one more server can cost.
//!
//! A TCP round is a message to a forwarder and back: twice the way of a link. Here both ends of it run on the
//! servers' processors, as both ends of a link do; between processors it takes several times as long.
//!
//! Where there are two processors, all servers share one: no link has to wake another processor, and what a
//! ring sends the other way round takes its time from the message that is waited for.
//!
//! All deliver the same datagrams of 48 bytes, `recvfrom ann …`. What ann says to a server is shorter by two
//! bytes, `sendto bob …`. All contenders take a turn in every round, and differences and ratios are taken
//! within a round.
//!
//! Run `cargo bench -p chat-tests --bench overlay -- --help`.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this measures: it prints, and what is wrong with it ends it"
)]

mod support;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use support::audience::{Audience, Wire, losses};
use support::contender::{Contender, program};
use support::floor::{self, READ};
use support::options::{self, Options};
use support::processors::Processors;
use support::report::{Figure, Report, Target};
use support::rounds::{Pair, Series, latencies, rotate};
use support::sides::{Side, WARM_UP};
use support::sockets::{self, ESTABLISHED, LISTENING};

/// Where the figures go in the workspace.
const CSV: &str = "bench-overlay.csv";

/// What the overlay says.
const OVERLAY: Wire = Wire {
    join: |name| format!("register {name}"),
    welcome: |name| format!("welcome {name}"),
    joined: |_| String::new(),
    say: |to, text| format!("sendto {to} {text}"),
    hear: |from, text| format!("recvfrom {from} {text}"),
};

/// What the relay says: back to a newcomer, and to the other client, what was said.
const RELAY: Wire = Wire {
    join: |name| format!("register {name}"),
    welcome: |name| format!("register {name}"),
    joined: |_| String::new(),
    say: |_, text| format!("recvfrom ann {text}"),
    hear: |from, text| format!("recvfrom {from} {text}"),
};

/// Which floor to be.
const UDP_RELAY: &str = "relay";
const TCP_FORWARDER: &str = "forwarder";

/// How long a line between servers is, `ann to bob: …` and its end: as long as what is delivered.
const LINE: usize = 48;

/// Sixteen messages in flight. Four bursts, so that the next is under way while the last is being received.
const BURSTS: u64 = 4;
const BURST: u64 = 4;

/// How many forwarders the long line has: as many as the longest chain has servers.
const LONG: usize = 5;

/// How long a server may take to listen, or a link to be there: a link that was asked for too early is tried
/// again after one second, and after two.
const START: Duration = Duration::from_secs(10);

/// How often to look whether it is so far.
const LOOK: Duration = Duration::from_millis(5);

/// How much is measured.
struct Size {
    rounds: usize,
    /// How long one contender is measured in one round: enough for a few hundred messages, one at a time.
    turn: Duration,
}

/// A full run: as many rounds as a minute in all allows.
const FULL: Size = Size { rounds: 60, turn: Duration::from_millis(60) };

/// A run that only proves that it works.
const SHORT: Size = Size { rounds: 3, turn: Duration::from_millis(30) };

fn main() -> ExitCode {
    options::run(CSV, measure, be_floor)
}

fn measure(options: &Options) -> io::Result<()> {
    let size = if options.short { SHORT } else { FULL };
    eprintln!("starting servers; the first of the ring finds nobody to link to, and tries again …");
    let mut sides = Sides::start(Processors::share_out()?)?;
    eprintln!("one by one …");
    let one_by_one = sides.one_by_one(&size)?;
    eprintln!("many in flight …");
    let in_flight = sides.in_flight(&size)?;
    let report = report(&one_by_one, in_flight);
    report.publish(&[sides.losses()], options)
}

/// Figures of [`Side::one_by_one`] through one server.
const ONE_SERVER: [Figure; 3] = [
    Figure { target: Some(Target::RatioAtMost(1.3)), ..figure("latency, p50", "us", RELAY_NAME) },
    figure("latency, p99", "us", RELAY_NAME),
    figure("messages, 1 in flight", "1000/s", RELAY_NAME),
];

/// Figures of [`in_flight`] through one server.
const IN_FLIGHT: [Figure; 2] = [
    figure("messages, 16 in flight", "1000/s", RELAY_NAME),
    figure("processor time per message, 16 in flight", "ns", RELAY_NAME),
];

/// About one round. A hop does on the way what a server does; what waited for a timer would take a hundred
/// rounds.
const A_ROUND: Target = Target::RatioAtMost(2.0);

/// Figures of a chain.
const CHAIN: [Figure; 4] = [
    figure("latency, p50", "us", "one server"),
    figure("latency, p99", "us", "one server"),
    figure("more for each hop, p50", "us", "bare hop"),
    Figure { target: Some(A_ROUND), ..figure("more for each hop, p50", "us", "TCP round") },
];

/// Figures of the ring.
const RING: [Figure; 2] =
    [figure("latency in a ring, p50", "us", "chain"), figure("latency in a ring, p99", "us", "chain")];

/// What one server is compared with.
const RELAY_NAME: &str = "UDP relay";

const fn figure(name: &'static str, unit: &'static str, baseline: &'static str) -> Figure {
    Figure::new(name, unit, baseline)
}

/// All contenders, each with its two clients.
struct Sides {
    relay: Side<Audience>,
    one: Side<Audience>,
    /// Chains with one, two and four links.
    two: Side<Audience>,
    three: Side<Audience>,
    five: Side<Audience>,
    /// As many servers in either, and the clients two links apart.
    chain: Side<Audience>,
    ring: Side<Audience>,
    round: Line,
    /// Lines of one and of [`LONG`] forwarders.
    short: Line,
    long: Line,
}

/// Forwarders in a row, and our connections to the first and from the last.
struct Line {
    contenders: Vec<Contender>,
    first: TcpStream,
    last: TcpStream,
    /// Whoever measures does so on the contenders' processors, which are these.
    among_them: Option<Processors>,
}

/// Who takes a turn.
enum Player<'a> {
    Side(&'a mut Side<Audience>),
    Line(&'a mut Line),
}

impl Sides {
    fn start(processors: Processors) -> io::Result<Self> {
        let chain = |name, links: &[Option<usize>], last| servers(name, links, last, processors);
        let line = [None, Some(0), Some(1), Some(2), Some(3)];
        Ok(Self {
            relay: relay(processors)?,
            one: chain("one server", &line[..1], 0)?,
            two: chain("a chain of 2", &line[..2], 1)?,
            three: chain("a chain of 3", &line[..3], 2)?,
            five: chain("a chain of 5", &line, 4)?,
            chain: chain("a chain of 4", &line[..4], 2)?,
            ring: chain("a ring of 4", &[Some(3), Some(0), Some(1), Some(2)], 2)?,
            round: Line::start(1, processors, Some(processors))?,
            short: Line::start(1, processors, None)?,
            long: Line::start(LONG, processors, None)?,
        })
    }

    /// All contenders by turns, in the order in which they stand here.
    fn one_by_one(&mut self, size: &Size) -> io::Result<[Series<3>; 10]> {
        let Self { relay, one, two, three, five, chain, ring, round, short, long } = self;
        let [relay, one, two, three, five, chain, ring] =
            [relay, one, two, three, five, chain, ring].map(Player::Side);
        let [round, short, long] = [round, short, long].map(Player::Line);
        let players = [relay, one, two, three, five, chain, ring, round, short, long];
        rotate(size.rounds, players, |player| match player {
            Player::Side(side) => side.one_by_one(size.turn),
            Player::Line(line) => line.one_by_one(size.turn),
        })
    }

    /// One server and the relay by turns.
    fn in_flight(&mut self, size: &Size) -> io::Result<[Pair; 2]> {
        let sides = [&mut self.one, &mut self.relay];
        let [one, relay] = rotate(size.rounds, sides, |side| in_flight(side, size.turn))?;
        Ok(pairs(&one, &relay))
    }

    /// What did not arrive, or came late, in words.
    fn losses(&self) -> String {
        let Self { relay, one, two, three, five, chain, ring, .. } = self;
        losses([relay, one, two, three, five, chain, ring].map(|side| (side.name, side.load.tally())))
    }
}

/// The rows of the report.
fn report(one_by_one: &[Series<3>; 10], in_flight: [Pair; 2]) -> Report {
    let [relay, one, two, three, five, chain, ring, round, short, long] = one_by_one;
    let bare_hop = for_each_hop(&long[0], &short[0], LONG - 1);
    let mut report = Report::new("servers");
    report.add_all(1, ONE_SERVER, pairs(one, relay));
    report.add_all(1, IN_FLIGHT, in_flight);
    for (links, chain) in [(1, two), (2, three), (4, five)] {
        let [p50, p99, _] = pairs(chain, one);
        let hop = for_each_hop(&chain[0], &one[0], links);
        let [bare, round] = [&bare_hop, &round[0]].map(|baseline| Pair::new(&hop, baseline));
        report.add_all(links + 1, CHAIN, [p50, p99, bare, round]);
    }
    let [p50, p99, _] = pairs(ring, chain);
    report.add_all(4, RING, [p50, p99]);
    report
}

/// The figures of two contenders, side by side.
fn pairs<const N: usize>(subject: &Series<N>, baseline: &Series<N>) -> [Pair; N] {
    std::array::from_fn(|figure| Pair::new(&subject[figure], &baseline[figure]))
}

/// How much more a chain takes than one server, for each of its links, in each round.
fn for_each_hop(chain: &[f64], one: &[f64], links: usize) -> Vec<f64> {
    chain.iter().zip(one).map(|(chain, one)| (chain - one) / links as f64).collect()
}

/// The relay and two clients.
fn relay(processors: Processors) -> io::Result<Side<Audience>> {
    let relay = floor::start(&[UDP_RELAY], processors)?;
    let couple = Audience::new(&RELAY, relay.address(), &[relay.address()])?;
    Ok(Side::new("the relay", vec![relay], couple))
}

/// Servers, each of which asks for a link to another, or for none, and two clients. The speaker is at the
/// first, the listener at `last`.
fn servers(
    name: &'static str,
    links: &[Option<usize>],
    last: usize,
    processors: Processors,
) -> io::Result<Side<Audience>> {
    let ports = free_ports(links.len())?;
    let server = |(number, link): (usize, &Option<usize>)| {
        start_server(ports[number], link.map(|link| ports[link].links), processors)
    };
    let contenders = links.iter().enumerate().map(server).collect::<io::Result<Vec<_>>>()?;
    links.iter().flatten().try_for_each(|link| wait_for(ports[*link].links, ESTABLISHED))?;
    let couple = Audience::new(&OVERLAY, contenders[0].address(), &[contenders[last].address()])?;
    Ok(Side::new(name, contenders, couple))
}

/// Many messages at a time: thousands per second, and the processor time for one, in nanoseconds.
fn in_flight(side: &mut Side<Audience>, time: Duration) -> io::Result<[f64; 2]> {
    side.flood(|couple| couple.flood(BURSTS, BURST, time))
}

impl Drop for Line {
    fn drop(&mut self) {
        self.contenders.iter_mut().for_each(Contender::kill);
    }
}

impl Line {
    fn start(length: usize, processors: Processors, among_them: Option<Processors>) -> io::Result<Self> {
        let end = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let mut contenders = Vec::new();
        let mut next = end.local_addr()?;
        for _ in 0..length {
            // The last is started first: each connects to the next before it listens.
            let forwarder = floor::start(&[TCP_FORWARDER, &next.to_string()], processors)?;
            next = forwarder.address();
            contenders.push(forwarder);
        }
        let (first, last) = (TcpStream::connect(next)?, end.accept()?.0);
        first.set_nodelay(true)?;
        last.set_read_timeout(Some(START))?;
        Ok(Self { contenders, first, last, among_them })
    }

    /// As [`Side::one_by_one`].
    fn one_by_one(&mut self, time: Duration) -> io::Result<[f64; 3]> {
        let measure = || {
            (0..WARM_UP).try_for_each(|_| self.latency().map(drop))?;
            latencies(time, || self.latency().map(Some))
        };
        match self.among_them {
            Some(processors) => processors.apart(measure),
            None => measure(),
        }
    }

    /// From before a line is said to the first until the last has said all of it.
    fn latency(&self) -> io::Result<Duration> {
        let mut line = [b'x'; LINE];
        let start = Instant::now();
        (&self.first).write_all(&line)?;
        (&self.last).read_exact(&mut line)?;
        Ok(start.elapsed())
    }
}

/// Where a server listens.
#[derive(Clone, Copy)]
struct Ports {
    clients: u16,
    links: u16,
}

/// So many servers' ports that nobody has now. The servers of a ring have to know each other's before they
/// are started.
fn free_ports(servers: usize) -> io::Result<Vec<Ports>> {
    let any = (Ipv4Addr::LOCALHOST, 0);
    let bind = |_| Ok((UdpSocket::bind(any)?, TcpListener::bind(any)?));
    // All are taken before the first is given back, so that none comes twice.
    let sockets = (0..servers).map(bind).collect::<io::Result<Vec<_>>>()?;
    let ports = |(clients, links): &(UdpSocket, TcpListener)| {
        Ok(Ports { clients: clients.local_addr()?.port(), links: links.local_addr()?.port() })
    };
    sockets.iter().map(ports).collect()
}

/// A server that others can link to, and that links to the one whose port is given.
fn start_server(ports: Ports, link: Option<u16>, processors: Processors) -> io::Result<Contender> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports.clients));
    let (clients, links) = (ports.clients.to_string(), ports.links.to_string());
    let mut arguments = vec!["overlay", "-p", &clients, "-o", &links];
    let link = link.map(|port| port.to_string());
    if let Some(port) = &link {
        arguments.extend(["-s", "127.0.0.1", "-t", port]);
    }
    let server = Contender::start_at(address, &program("chat-server")?, &arguments, processors)?;
    wait_for(ports.links, LISTENING)?;
    Ok(server)
}

/// Waits until there is a socket on this port in this state.
fn wait_for(port: u16, state: u8) -> io::Result<()> {
    let start = Instant::now();
    while start.elapsed() < START {
        if sockets::tcp()?.iter().any(|socket| (socket.local, socket.state) == (port, state)) {
            return Ok(());
        }
        thread::sleep(LOOK);
    }
    Err(io::Error::other(format!("nobody on port {port}, or no link to it, in {START:?}")))
}

/// Runs until it is killed.
fn be_floor(which: &[String]) -> io::Result<()> {
    match which {
        [which] if which == UDP_RELAY => floor::udp(),
        [which, next] if which == TCP_FORWARDER => forwarder(next),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// The TCP floor: one connection, and everything on to the next at once.
fn forwarder(next: &str) -> io::Result<()> {
    let mut next = TcpStream::connect(next)?;
    next.set_nodelay(true)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    eprintln!("listening on {}", listener.local_addr()?);
    let mut stream = listener.accept()?.0;
    let mut buffer = vec![0; READ];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => next.write_all(&buffer[..count])?,
        }
    }
}
