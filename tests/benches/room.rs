//! The room over UDP under load: `chat-server room --udp` beside the least that a relay can do.
//!
//! The floor is a process of its own, this executable, started with a hidden argument: one thread, `recv_from`,
//! `send_to` each other client. It does not parse, check, remember or log, and has no thread for each client,
//! which the room must have.
//!
//! One says to nine, and what is said and heard is the same datagram of 39 bytes on both sides, `ann:…`. What
//! is lost is counted, and nothing waits for it for long. A message to nine counts as nine.
//!
//! Run `cargo bench -p chat-tests --bench room -- --help`.

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

use support::audience::{Audience, LISTENERS, SPEAKER, Wire, losses};
use support::contender::{Contender, program};
use support::floor;
use support::options::{self, Options};
use support::processors::Processors;
use support::report::{Figure, Report, Target};
use support::sides::{Side, Sides};

/// Where the figures go in the workspace.
const CSV: &str = "bench-room.csv";

/// What the room says.
const ROOM: Wire = Wire {
    join: |name| format!("{name}:join"),
    welcome: |_| "Welcome".into(),
    joined: |name| format!("User {name} joined"),
    say: |_, text| format!("{SPEAKER}:{text}"),
    hear: |from, text| format!("{from}:{text}"),
};

/// What the floor says: back to a newcomer, and to all other clients, what was said.
const FLOOR: Wire = Wire { welcome: ROOM.join, joined: |_| String::new(), ..ROOM };

/// One speaks and nine hear: all that the server admits if nothing else is said.
const CLIENTS: usize = LISTENERS.len() + 1;

/// Sixteen messages in flight. Four bursts, so that the next is under way while the last is being received.
const BURSTS: u64 = 4;
const BURST: u64 = 4;

/// How much is measured.
struct Size {
    rounds: usize,
    /// How long one contender is measured in one round: enough for a few hundred messages, one at a time.
    turn: Duration,
}

/// A full run: as many rounds as twenty seconds in all allow.
const FULL: Size = Size { rounds: 50, turn: Duration::from_millis(100) };

/// A run that only proves that it works.
const SHORT: Size = Size { rounds: 5, turn: Duration::from_millis(50) };

/// Figures of [`Side::one_by_one`]. A datagram goes through two threads of the server.
const ONE_BY_ONE: [Figure; 3] = [
    Figure { target: Some(Target::RatioAtMost(1.3)), ..figure("latency until the last receiver, p50", "us") },
    figure("latency until the last receiver, p99", "us"),
    figure("delivered, 1 in flight", "1000/s"),
];

/// Figures of [`Side::flood`].
const IN_FLIGHT: [Figure; 2] =
    [figure("delivered, 16 in flight", "1000/s"), figure("processor time per delivery, 16 in flight", "ns")];

const fn figure(name: &'static str, unit: &'static str) -> Figure {
    Figure::new(name, unit, "UDP fan-out")
}

fn main() -> ExitCode {
    options::run(CSV, measure, |_| floor::udp())
}

fn measure(options: &Options) -> io::Result<()> {
    let Size { rounds, turn } = if options.short { SHORT } else { FULL };
    let mut sides = start(Processors::share_out()?)?;
    let mut report = Report::new("clients");
    eprintln!("one by one …");
    report.add_all(CLIENTS, ONE_BY_ONE, sides.by_turns(rounds, |side| side.one_by_one(turn))?);
    eprintln!("many in flight …");
    let flood = |side: &mut Side<Audience>| side.flood(|audience| audience.flood(BURSTS, BURST, turn));
    report.add_all(CLIENTS, IN_FLIGHT, sides.by_turns(rounds, flood)?);
    let losses = losses([&sides.server, &sides.floor].map(|side| (side.name, side.load.tally())));
    report.publish(&[losses], options)
}

/// Both sides, each with its ten clients.
fn start(processors: Processors) -> io::Result<Sides<Audience>> {
    let arguments = ["room", "--udp", "0", "--bind", "127.0.0.1"];
    let server = Contender::start(&program("chat-server")?, &arguments, processors)?;
    let floor = floor::start(&[], processors)?;
    let side = |name, contender: Contender, wire| {
        let address = contender.address();
        let audience = Audience::new(wire, address, &[address; LISTENERS.len()])?;
        io::Result::Ok(Side::new(name, vec![contender], audience))
    };
    Ok(Sides { server: side("the room", server, &ROOM)?, floor: side("the fan-out", floor, &FLOOR)? })
}
