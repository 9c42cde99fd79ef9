//! The channels under load: `chat-server channels` beside the least that a relay can do.
//!
//! The floor is that of the lobby: thread per client, read, `write_all` to each other client under one lock,
//! in a process of its own. It knows neither frames nor names.
//!
//! Ten clients are in one channel, and one speaks to nine. Both contenders deliver the same 200 bytes, and the
//! text fills them: what a server does for each byte of a text shows most. What is said to either is 200 bytes,
//! too; the sender gets nothing back from either.
//!
//! Run `cargo bench -p chat-tests --bench channels -- --help`.

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

use support::contender::{Contender, program};
use support::floor;
use support::options::{self, Options};
use support::party::{self, Party, SIXTY_FOUR, Wire};
use support::processors::Processors;
use support::report::{Figure, Report, Target};
use support::sides::{Side, Sides};

/// Where the figures go in the workspace.
const CSV: &str = "bench-channels.csv";

/// How long every message is, both ways.
const FRAME: usize = 200;

/// What everyone says: with `[c0000] ` in front it fills a frame.
const TEXT: &str = "\
    the quick brown fox jumps over a lazy dog, the quick brown fox jumps over a lazy dog, \
    the quick brown fox jumps over a lazy dog, the quick brown fox jumps over a lazy dog, \
    and rests by a river";

/// The channel where everyone is.
const CHANNEL: &str = "hall";

/// What the server says. A join has no answer, so who has joined asks for the list of channels, and is told
/// the only one.
const CHANNELS: Wire = Wire {
    join: |name| frame(name) + &frame(&enter(name)) + &frame("/list"),
    welcome: |_| frame(CHANNEL),
    joined: |name| frame(&format!("{name} has joined")),
    text: TEXT,
    say: |_, text| frame(text),
    hear: |name, text| frame(&format!("[{name}] {text}")),
    echo: |_| String::new(),
    tell: |_, _| String::new(),
    left: |name| frame(&format!("{name} has left")),
};

/// What the floor says: an empty line to who is connected, and to everyone else what was said.
const FLOOR: Wire = Wire {
    join: |_| String::new(),
    welcome: |_| "\n".into(),
    joined: |_| String::new(),
    say: CHANNELS.hear,
    left: |_| String::new(),
    ..CHANNELS
};

/// One speaks and nine hear: all that the server admits if nothing else is said.
const CLIENTS: usize = 10;

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

/// Figures of [`Side::one_by_one`].
const ONE_BY_ONE: [Figure; 3] = [
    Figure { target: Some(Target::RatioAtMost(1.1)), ..figure("latency until the last receiver, p50", "us") },
    figure("latency until the last receiver, p99", "us"),
    figure("delivered, 1 in flight", "1000/s"),
];

/// Figures of [`Side::flood`].
const IN_FLIGHT: [Figure; 2] = [
    Figure { target: Some(Target::RatioAtLeast(0.9)), ..figure("delivered, 64 in flight", "1000/s") },
    figure("processor time per delivery, 64 in flight", "ns"),
];

const fn figure(name: &'static str, unit: &'static str) -> Figure {
    Figure::new(name, unit, floor::NAME)
}

fn main() -> ExitCode {
    options::run(CSV, measure, |_| floor::tcp())
}

fn measure(options: &Options) -> io::Result<()> {
    let Size { rounds, turn } = if options.short { SHORT } else { FULL };
    let mut sides = start(Processors::share_out()?)?;
    let mut report = Report::new("clients");
    eprintln!("one by one …");
    report.add_all(CLIENTS, ONE_BY_ONE, sides.by_turns(rounds, |side| side.one_by_one(turn))?);
    eprintln!("many in flight …");
    let flood = |side: &mut Side<Party>| side.flood(|party| party.flood(SIXTY_FOUR, turn));
    report.add_all(CLIENTS, IN_FLIGHT, sides.by_turns(rounds, flood)?);
    report.publish(&[], options)
}

/// Both sides, each with its ten clients.
fn start(processors: Processors) -> io::Result<Sides<Party>> {
    let arguments = ["channels", "0", "--bind", "127.0.0.1"];
    let server = Contender::start(&program("chat-server")?, &arguments, processors)?;
    let floor = floor::start(&[], processors)?;
    let side = |name, contender: Contender, wire| {
        let party = Party::new(wire, contender.address(), CLIENTS)?;
        io::Result::Ok(Side::new(name, vec![contender], party))
    };
    Ok(Sides { server: side("channels", server, &CHANNELS)?, floor: side(floor::NAME, floor, &FLOOR)? })
}

/// How a client comes into the channel: the first makes it.
fn enter(name: &str) -> String {
    let command = if name == party::name(0) { "/create" } else { "/join" };
    format!("{command} {CHANNEL}")
}

/// A message as it is sent.
fn frame(text: &str) -> String {
    format!("{text:<FRAME$}")
}
