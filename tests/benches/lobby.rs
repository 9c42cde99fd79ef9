//! The lobby under load: `chat-server lobby` beside the least that a relay can do.
//!
//! The least, here called the floor, is thread per client, read, `write_all` to each other client under one
//! lock. It does not parse, check, register, answer or log, and one client that stops reading stops it for
//! good. It runs in a process of its own: this executable, started with a hidden argument. So both are
//! measured by the same load, from outside, and what they use can be told apart.
//!
//! Both deliver the same lines of 48 bytes. The lobby's sender says a few bytes less, and gets one more line,
//! the echo `<name> is sending a broadcast`; the floor has none, and echoes are not counted as deliveries. So
//! of the server's writes for one message to nine, one in ten has no counterpart on the floor.
//!
//! Run `cargo bench -p chat-tests --bench lobby -- --help`, or `make bench`.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this measures: it prints, and what is wrong with it ends it"
)]

mod support;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use chat_tests::Usage;
use support::contender::{Contender, allow_descriptors, program};
use support::floor;
use support::options::{self, Options};
use support::party::{Party, SIXTY_FOUR, TEXT, Window, Wire};
use support::processors::Processors;
use support::report::{Figure, Report, Target};
use support::rounds::{Pair, Turn, interleave};
use support::sides::{Load, Side, Sides};

/// Where the figures go in the workspace.
const CSV: &str = "bench.csv";

/// What the lobby says.
const LOBBY: Wire = Wire {
    join: |name| format!("JOIN {name}\n"),
    welcome: |name| format!("{name} joined!Connected to server!\n"),
    joined: |name| format!("{name} joined!\n"),
    text: TEXT,
    say: |_, text| format!("BCST {text}\n"),
    hear: |name, text| format!("{name}: {text}\n"),
    echo: |name| format!("{name} is sending a broadcast\n"),
    tell: |to, text| format!("MESG {to} {text}\n"),
    left: |name| format!("{name} left\n"),
};

/// What the lobby says between two who talk in private: no echo.
const WHISPER: Wire =
    Wire { say: |_, text| format!("MESG c0001 {text}\n"), echo: |_| String::new(), ..LOBBY };

/// What the floor says: an empty line to who is connected, and to everyone else what was said.
const FLOOR: Wire = Wire {
    join: |_| String::new(),
    welcome: |_| "\n".into(),
    joined: |_| String::new(),
    text: TEXT,
    say: |name, text| format!("{name}: {text}\n"),
    hear: |name, text| format!("{name}: {text}\n"),
    echo: |_| String::new(),
    tell: |_, _| String::new(),
    left: |_| String::new(),
};

/// Sixty-four messages in flight, pasted: what a message costs a server beside its system calls shows here.
const PASTED: Window = Window { pasted: true, ..SIXTY_FOUR };

/// Sixty-four for each of ten who speak at once.
const TEN_SPEAKERS: Window = Window { speakers: 10, ..SIXTY_FOUR };

/// File descriptors beside those of the clients.
const SPARE_DESCRIPTORS: u64 = 50;

/// How much is measured with so many clients.
#[derive(Clone, Copy)]
struct Size {
    clients: usize,
    rounds: usize,
    /// How long one contender is measured in one round: enough for a few hundred messages, one at a time.
    turn: Duration,
}

/// A full run: the sizes that matter, each with as many rounds as three minutes in all allow.
const FULL: [Size; 4] = [
    Size { clients: 2, rounds: 30, turn: Duration::from_millis(100) },
    Size { clients: 10, rounds: 30, turn: Duration::from_millis(100) },
    Size { clients: 100, rounds: 16, turn: Duration::from_millis(200) },
    Size { clients: 1000, rounds: 8, turn: Duration::from_millis(400) },
];

/// A run that only proves that it works.
const SHORT: [Size; 3] = [
    Size { clients: 2, rounds: 2, turn: Duration::from_millis(20) },
    Size { clients: 10, rounds: 2, turn: Duration::from_millis(20) },
    Size { clients: 100, rounds: 2, turn: Duration::from_millis(50) },
];

/// From here on there are receivers enough for floods, and for ten who speak.
const CROWD: usize = 10;

/// From here on the memory per client is that of a client.
const FULL_HOUSE: usize = 1000;

fn main() -> ExitCode {
    options::run(CSV, measure, |_| floor::tcp())
}

fn measure(options: &Options) -> io::Result<()> {
    let sizes: &[Size] = if options.short { &SHORT } else { &FULL };
    let most = sizes.iter().map(|size| size.clients).max().unwrap_or_default();
    // A socket for each client of either contender.
    allow_descriptors(2 * most as u64 + SPARE_DESCRIPTORS)?;
    let processors = Processors::share_out()?;
    let mut report = Report::new("clients");
    for size in sizes {
        eprintln!("{} clients …", size.clients);
        measure_size(*size, processors, &mut report)?;
    }
    report.publish(&[], options)
}

/// All figures for so many clients.
fn measure_size(size: Size, processors: Processors, report: &mut Report) -> io::Result<()> {
    let clients = size.clients;
    let (mut sides, before) = start(clients, processors)?;
    report.add_all(clients, ONE_BY_ONE, sides.by_turns(size.rounds, |side| side.one_by_one(size.turn))?);
    if clients < CROWD {
        return Ok(());
    }
    for (window, figures) in [(SIXTY_FOUR, IN_FLIGHT), (PASTED, IN_PASTES), (TEN_SPEAKERS, TEN_SENDERS)] {
        let flood = |side: &mut Side<Party>| side.flood(|party| party.flood(window, size.turn));
        report.add_all(clients, figures, sides.by_turns(size.rounds, flood)?);
    }
    let sleeper = interleave(size.rounds, |turn| beside_a_sleeper(&mut sides.server, turn, size.turn))?;
    report.add_all(clients, BESIDE_A_SLEEPER, sleeper);
    let mut figures = USAGE;
    if clients < FULL_HOUSE {
        // Among few, what the whole server keeps at hand outweighs what it keeps for each.
        figures[2].target = None;
    }
    let (server, floor) = (usage(&sides.server, before.server)?, usage(&sides.floor, before.floor)?);
    report.add_all(clients, figures, std::array::from_fn(|n| Pair::once(server[n], floor[n])));
    Ok(())
}

/// Figures of [`Side::one_by_one`].
const ONE_BY_ONE: [Figure; 3] = [
    Figure {
        name: "latency until the last receiver, p50",
        target: Some(Target::RatioAtMost(1.1)),
        ..figure("us", floor::NAME)
    },
    Figure { name: "latency until the last receiver, p99", ..figure("us", floor::NAME) },
    Figure { name: "delivered, 1 in flight", ..figure("1000/s", floor::NAME) },
];

/// Figures of [`Side::flood`] with [`SIXTY_FOUR`].
const IN_FLIGHT: [Figure; 2] = [
    Figure {
        name: "delivered, 64 in flight",
        target: Some(Target::RatioAtLeast(0.9)),
        ..figure("1000/s", floor::NAME)
    },
    Figure { name: "processor time per delivery, 64 in flight", ..figure("ns", floor::NAME) },
];

/// Figures of [`Side::flood`] with [`PASTED`].
const IN_PASTES: [Figure; 2] = [
    Figure { name: "delivered, 64 in flight, pasted", ..figure("1000/s", floor::NAME) },
    Figure { name: "processor time per delivery, pasted", ..figure("ns", floor::NAME) },
];

/// Figures of [`Side::flood`] with [`TEN_SPEAKERS`].
const TEN_SENDERS: [Figure; 2] = [
    Figure {
        name: "delivered, ten senders, 64 in flight each",
        target: Some(Target::RatioAtLeast(0.9)),
        ..figure("1000/s", floor::NAME)
    },
    Figure { name: "processor time per delivery, ten senders", ..figure("ns", floor::NAME) },
];

/// Figures of [`beside_a_sleeper`].
const BESIDE_A_SLEEPER: [Figure; 2] = [
    Figure { name: "latency beside a sleeper, p50", ..figure("us", "no sleeper") },
    Figure {
        name: "latency beside a sleeper, p99",
        target: Some(Target::RatioAtMost(1.2)),
        ..figure("us", "no sleeper")
    },
];

/// Figures of [`usage`].
const USAGE: [Figure; 4] = [
    Figure { name: "resident, nobody connected", ..figure("KiB", floor::NAME) },
    Figure { name: "resident per client, idle", ..figure("KiB", floor::NAME) },
    Figure {
        name: "resident per client, after traffic",
        target: Some(Target::AtMost(64.0)),
        ..figure("KiB", floor::NAME)
    },
    Figure { name: "threads per client", ..figure("", floor::NAME) },
];

const fn figure(unit: &'static str, baseline: &'static str) -> Figure {
    Figure::new("", unit, baseline)
}

/// What either side held before there was any traffic.
struct Before {
    server: Held,
    floor: Held,
}

/// What a contender held before anyone came, and when all were there but had said nothing.
struct Held {
    empty: Usage,
    idle: Usage,
}

/// Both sides, each with as many clients.
fn start(clients: usize, processors: Processors) -> io::Result<(Sides<Party>, Before)> {
    // One place more, for the sleeper.
    let places = (clients + 1).to_string();
    let arguments = ["lobby", "0", "--bind", "127.0.0.1", "--max-clients", &places];
    let server = Contender::start(&program("chat-server")?, &arguments, processors)?;
    let floor = floor::start(&[], processors)?;
    let wire = if clients < CROWD { &WHISPER } else { &LOBBY };
    let (server, server_held) = side("lobby", server, wire, clients)?;
    let (floor, floor_held) = side(floor::NAME, floor, &FLOOR, clients)?;
    Ok((Sides { server, floor }, Before { server: server_held, floor: floor_held }))
}

fn side(
    name: &'static str,
    contender: Contender,
    wire: &'static Wire,
    clients: usize,
) -> io::Result<(Side<Party>, Held)> {
    let empty = contender.usage()?;
    let party = Party::new(wire, contender.address(), clients)?;
    let idle = contender.usage()?;
    Ok((Side::new(name, vec![contender], party), Held { empty, idle }))
}

/// Latency (p50, p99) in microseconds while one more client sleeps, its buffers full, or while there is none.
fn beside_a_sleeper(side: &mut Side<Party>, turn: Turn, time: Duration) -> io::Result<[f64; 2]> {
    let sleeper = if turn == Turn::Subject { Some(side.load.put_to_sleep()?) } else { None };
    let [p50, p99, _] = side.one_by_one(time)?;
    sleeper.map_or(Ok(()), |sleeper| side.load.wake(sleeper))?;
    Ok([p50, p99])
}

/// What [`USAGE`] says, of this side.
fn usage(side: &Side<Party>, before: Held) -> io::Result<[f64; 4]> {
    let Held { empty, idle } = before;
    let now = side.contenders()[0].usage()?;
    let per_client = |more: u64, less: u64| (more as f64 - less as f64) / (side.load.receivers() + 1) as f64;
    Ok([
        empty.resident as f64,
        per_client(idle.resident, empty.resident),
        per_client(now.resident, empty.resident),
        per_client(now.threads, empty.threads),
    ])
}
