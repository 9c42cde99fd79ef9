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

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use support::contender::{Contender, Usage, allow_descriptors, contend, program};
use support::options::{self, BASELINE, Command, Options};
use support::party::{Party, Window, Wire};
use support::processors::Processors;
use support::report::{Figure, Report, Target};
use support::rounds::{Pair, Turn, interleave, quantile};

/// Where the figures go in the workspace.
const CSV: &str = "bench.csv";

/// What the lobby says.
const LOBBY: Wire = Wire {
    join: |name| format!("JOIN {name}\n"),
    welcome: |name| format!("{name} joined!Connected to server!\n"),
    joined: |name| format!("{name} joined!\n"),
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
    say: |name, text| format!("{name}: {text}\n"),
    hear: |name, text| format!("{name}: {text}\n"),
    echo: |_| String::new(),
    tell: |_, _| String::new(),
    left: |_| String::new(),
};

/// How many bytes the floor takes in one read: as many as the server.
const READ: usize = 16 << 10;

/// Sixty-four messages in flight. Four bursts, so that the next is under way while the last is being
/// received.
const SIXTY_FOUR: Window = Window { speakers: 1, burst: 16, bursts: 4, pasted: false };

/// The same, pasted: what a message costs a server beside its system calls shows here.
const PASTED: Window = Window { pasted: true, ..SIXTY_FOUR };

/// Sixty-four for each of ten who speak at once.
const TEN_SPEAKERS: Window = Window { speakers: 10, ..SIXTY_FOUR };

/// Messages before a turn counts: whoever comes on has slept while the other was measured.
const WARM_UP: usize = 20;

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
    let done = match options::parse(CSV) {
        Ok(Command::Measure(options)) => measure(&options),
        Ok(Command::Baseline(_)) => floor(),
        Ok(Command::Contend(command_line)) => contend(&command_line),
        Ok(Command::Help) => io::stdout().write_all(options::usage(CSV).as_bytes()),
        Err(wrong) => {
            eprint!("{wrong}\n{}", options::usage(CSV));
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
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
    println!("{report}");
    if options.short {
        println!("A short run: it proves that the bench works, and nothing else.");
    }
    report.write_csv(&options.csv)?;
    println!("also in {}", options.csv.display());
    Ok(())
}

/// All figures for so many clients.
fn measure_size(size: Size, processors: Processors, report: &mut Report) -> io::Result<()> {
    let clients = size.clients;
    let mut sides = Sides::start(clients, processors)?;
    report.add_all(clients, ONE_BY_ONE, sides.by_turns(size, Side::one_by_one)?);
    if clients < CROWD {
        return Ok(());
    }
    report.add_all(clients, IN_FLIGHT, sides.by_turns(size, |side, time| side.flood(SIXTY_FOUR, time))?);
    report.add_all(clients, IN_PASTES, sides.by_turns(size, |side, time| side.flood(PASTED, time))?);
    report.add_all(clients, TEN_SENDERS, sides.by_turns(size, |side, time| side.flood(TEN_SPEAKERS, time))?);
    let sleeper = interleave(size.rounds, |turn| sides.server.beside_a_sleeper(turn, size.turn))?;
    report.add_all(clients, BESIDE_A_SLEEPER, sleeper);
    let mut usage = USAGE;
    if clients < FULL_HOUSE {
        // Among few, what the whole server keeps at hand outweighs what it keeps for each.
        usage[2].target = None;
    }
    report.add_all(clients, usage, sides.usage()?);
    Ok(())
}

/// Figures of [`Side::one_by_one`].
const ONE_BY_ONE: [Figure; 3] = [
    Figure {
        name: "latency until the last receiver, p50",
        target: Some(Target::RatioAtMost(1.1)),
        ..figure("us", FLOOR_NAME)
    },
    Figure { name: "latency until the last receiver, p99", ..figure("us", FLOOR_NAME) },
    Figure { name: "delivered, 1 in flight", ..figure("1000/s", FLOOR_NAME) },
];

/// Figures of [`Side::flood`] with [`SIXTY_FOUR`].
const IN_FLIGHT: [Figure; 2] = [
    Figure {
        name: "delivered, 64 in flight",
        target: Some(Target::RatioAtLeast(0.9)),
        ..figure("1000/s", FLOOR_NAME)
    },
    Figure { name: "processor time per delivery, 64 in flight", ..figure("ns", FLOOR_NAME) },
];

/// Figures of [`Side::flood`] with [`PASTED`].
const IN_PASTES: [Figure; 2] = [
    Figure { name: "delivered, 64 in flight, pasted", ..figure("1000/s", FLOOR_NAME) },
    Figure { name: "processor time per delivery, pasted", ..figure("ns", FLOOR_NAME) },
];

/// Figures of [`Side::flood`] with [`TEN_SPEAKERS`].
const TEN_SENDERS: [Figure; 2] = [
    Figure {
        name: "delivered, ten senders, 64 in flight each",
        target: Some(Target::RatioAtLeast(0.9)),
        ..figure("1000/s", FLOOR_NAME)
    },
    Figure { name: "processor time per delivery, ten senders", ..figure("ns", FLOOR_NAME) },
];

/// Figures of [`Side::beside_a_sleeper`].
const BESIDE_A_SLEEPER: [Figure; 2] = [
    Figure { name: "latency beside a sleeper, p50", ..figure("us", "no sleeper") },
    Figure {
        name: "latency beside a sleeper, p99",
        target: Some(Target::RatioAtMost(1.2)),
        ..figure("us", "no sleeper")
    },
];

/// Figures of [`Sides::usage`].
const USAGE: [Figure; 4] = [
    Figure { name: "resident, nobody connected", ..figure("KiB", FLOOR_NAME) },
    Figure { name: "resident per client, idle", ..figure("KiB", FLOOR_NAME) },
    Figure {
        name: "resident per client, after traffic",
        target: Some(Target::AtMost(64.0)),
        ..figure("KiB", FLOOR_NAME)
    },
    Figure { name: "threads per client", ..figure("", FLOOR_NAME) },
];

/// What most figures are compared with.
const FLOOR_NAME: &str = "floor";

const fn figure(unit: &'static str, baseline: &'static str) -> Figure {
    Figure { name: "", unit, baseline, target: None }
}

/// Both contenders, each with as many clients.
struct Sides {
    server: Side,
    floor: Side,
}

/// One contender and its clients.
struct Side {
    contender: Contender,
    party: Party,
    /// What it held before anyone came, and when all were there but had said nothing.
    empty: Usage,
    idle: Usage,
}

impl Sides {
    fn start(clients: usize, processors: Processors) -> io::Result<Self> {
        // One place more, for the sleeper.
        let places = (clients + 1).to_string();
        let arguments = ["lobby", "0", "--bind", "127.0.0.1", "--max-clients", &places];
        let server = Contender::start(&program("chat-server")?, &arguments, processors)?;
        let floor = Contender::start(&std::env::current_exe()?, &[BASELINE], processors)?;
        let wire = if clients < CROWD { &WHISPER } else { &LOBBY };
        Ok(Self { server: Side::new(server, wire, clients)?, floor: Side::new(floor, &FLOOR, clients)? })
    }

    fn by_turns<const N: usize>(
        &mut self,
        size: Size,
        measure: impl Fn(&mut Side, Duration) -> io::Result<[f64; N]>,
    ) -> io::Result<[Pair; N]> {
        interleave(size.rounds, |turn| match turn {
            Turn::Subject => measure(&mut self.server, size.turn),
            Turn::Baseline => measure(&mut self.floor, size.turn),
        })
    }

    fn usage(&self) -> io::Result<[Pair; 4]> {
        let (server, floor) = (self.server.usage()?, self.floor.usage()?);
        Ok(std::array::from_fn(|figure| Pair::once(server[figure], floor[figure])))
    }
}

impl Side {
    fn new(contender: Contender, wire: &'static Wire, clients: usize) -> io::Result<Self> {
        let empty = contender.usage()?;
        let party = Party::new(wire, contender.address(), clients)?;
        let idle = contender.usage()?;
        Ok(Self { contender, party, empty, idle })
    }

    /// One message at a time: latency (p50, p99) in microseconds, and thousands delivered per second.
    fn one_by_one(&mut self, time: Duration) -> io::Result<[f64; 3]> {
        self.warm_up()?;
        let start = Instant::now();
        let mut latencies = Vec::new();
        while start.elapsed() < time {
            latencies.push(self.party.latency()?.as_secs_f64() * 1e6);
        }
        let delivered = latencies.len() * self.party.receivers();
        let rate = delivered as f64 / start.elapsed().as_secs_f64();
        Ok([quantile(&latencies, 0.5), quantile(&latencies, 0.99), rate / 1e3])
    }

    /// Many messages at a time: thousands delivered per second, and the contender's processor time for one,
    /// in nanoseconds.
    fn flood(&mut self, window: Window, time: Duration) -> io::Result<[f64; 2]> {
        self.warm_up()?;
        let before = self.contender.processor_time()?;
        let (delivered, elapsed) = self.party.flood(window, time)?;
        let used = self.contender.processor_time()? - before;
        let delivered = delivered as f64;
        Ok([delivered / elapsed.as_secs_f64() / 1e3, used.as_secs_f64() * 1e9 / delivered])
    }

    /// Latency (p50, p99) in microseconds while one more client sleeps, its buffers full, or while there is
    /// none.
    fn beside_a_sleeper(&mut self, turn: Turn, time: Duration) -> io::Result<[f64; 2]> {
        let sleeper = if turn == Turn::Subject { Some(self.party.put_to_sleep()?) } else { None };
        let [p50, p99, _] = self.one_by_one(time)?;
        sleeper.map_or(Ok(()), |sleeper| self.party.wake(sleeper))?;
        Ok([p50, p99])
    }

    /// What [`USAGE`] says, of this side.
    fn usage(&self) -> io::Result<[f64; 4]> {
        let now = self.contender.usage()?;
        let per_client = |more: f64, less: f64| (more - less) / (self.party.receivers() + 1) as f64;
        Ok([
            self.empty.resident,
            per_client(self.idle.resident, self.empty.resident),
            per_client(now.resident, self.empty.resident),
            per_client(now.threads, self.empty.threads),
        ])
    }

    fn warm_up(&mut self) -> io::Result<()> {
        (0..WARM_UP).try_for_each(|_| self.party.latency().map(drop))
    }
}

/// The floor: a thread for each client reads, and writes to each other client under one lock. Runs until it
/// is killed.
fn floor() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    eprintln!("listening on {}", listener.local_addr()?);
    let clients = Arc::new(Mutex::new(Vec::new()));
    for stream in listener.incoming() {
        let stream = Arc::new(stream?);
        stream.set_nodelay(true)?;
        clients.lock().unwrap().push(Arc::clone(&stream));
        (&*stream).write_all(b"\n")?;
        let clients = Arc::clone(&clients);
        thread::spawn(move || relay(&stream, &clients));
    }
    Ok(())
}

fn relay(client: &Arc<TcpStream>, clients: &Mutex<Vec<Arc<TcpStream>>>) {
    let mut buffer = [0; READ];
    while let Ok(count @ 1..) = (&**client).read(&mut buffer) {
        for other in clients.lock().unwrap().iter().filter(|other| !Arc::ptr_eq(other, client)) {
            // Whoever has gone is found by its own thread.
            let _ = (&**other).write_all(&buffer[..count]);
        }
    }
    clients.lock().unwrap().retain(|other| !Arc::ptr_eq(other, client));
}
