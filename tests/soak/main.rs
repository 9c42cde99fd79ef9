//! A soak: the servers with clients that come, chat, misbehave and are killed, for minutes, while a steady
//! pair talks.
//!
//! It proves two things. **Service:** everything that the steady pair says arrives, once, in order and soon,
//! whatever the visitors do; who comes is always answered. **No leak:** behind each wave of visitors the
//! server has as many threads, descriptors and names as before the first, and its memory at rest does not
//! grow.
//!
//! - [`scene`]: one protocol under soak, wave by wave; what each module of a protocol opens;
//! - [`watched`]: a program under watch; [`figures`]: what it holds at rest, and the verdict;
//! - [`talk`]: the steady pair;
//! - [`crowd`]: visitors; [`hall`]: what they do at a server with places, over TCP; [`program`]: our clients
//!   among them; [`guest`]: who speaks by hand;
//! - [`lobby`], [`overlay`], [`channels`], [`room_tcp`], [`room_udp`], [`bridge`]: a protocol's servers,
//!   steady pair and visitors; [`relay`]: what cuts the overlay's links.
//!
//! Run `make soak`, or `soak --help`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is test code: it prints, and what is wrong ends it by a panic"
)]

mod bridge;
mod channels;
mod crowd;
mod figures;
mod guest;
mod hall;
mod lobby;
mod overlay;
mod program;
mod relay;
mod room_tcp;
mod room_udp;
mod scene;
mod talk;
mod watched;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use getopts::Options;
use scene::{Csv, Outcome, Plan, Scene, soak};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// What is soaked: a protocol's name, what it is called in the report, and how it is set up.
type Row = (&'static str, &'static str, fn() -> Scene);

const SCENES: &[Row] = &[
    ("lobby", "lobby", lobby::open),
    ("overlay", "overlay", overlay::open),
    ("bridge", "bridge", bridge::open),
    ("channels", "channels", channels::open),
    ("room", "room (TCP)", room_tcp::open),
    ("room", "room (UDP)", room_udp::open),
];

/// The status of a wrong command line.
const WRONG_USAGE: u8 = 2;

/// How long a soak takes if nothing else is said.
const MINUTES: f64 = 10.0;

/// Where the samples go if nothing else is said.
const CSV: &str = "soak.csv";

/// What the command line says.
struct Command {
    scenes: Vec<Row>,
    minutes: f64,
    seed: u64,
    csv: PathBuf,
}

fn main() -> ExitCode {
    match parse() {
        Ok(Some(command)) => match run(&command) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("soak: {error}");
                ExitCode::FAILURE
            }
        },
        Ok(None) => ExitCode::SUCCESS,
        Err(wrong) => {
            eprintln!("{wrong}");
            ExitCode::from(WRONG_USAGE)
        }
    }
}

/// Reads the command line; nothing, if it asked for help and got it.
fn parse() -> Result<Option<Command>, String> {
    let mut options = Options::new();
    options.optflag("h", "help", "print this");
    options.optopt("", "minutes", "how long; fractions count (default 10)", "MINUTES");
    options.optopt("", "seed", "repeat what the visitors of another run did", "NUMBER");
    options.optopt("", "csv", "where the samples go (default soak.csv)", "FILE");
    let names: Vec<_> = SCENES.iter().map(|(name, ..)| *name).collect();
    let usage = options.usage(&format!(
        "usage: soak [OPTION...] [PROTOCOL...]\n\nAll protocols side by side, or those that are named: {}.",
        names.join(", ")
    ));
    let matches = options.parse(env::args_os().skip(1)).map_err(|wrong| format!("{wrong}\n\n{usage}"))?;
    if matches.opt_present("help") {
        print!("{usage}");
        return Ok(None);
    }
    let wrong = |wrong: String| format!("{wrong}\n\n{usage}");
    if let Some(unknown) = matches.free.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(wrong(format!("there is no protocol '{unknown}'")));
    }
    let minutes =
        matches.opt_get_default("minutes", MINUTES).map_err(|error| wrong(format!("--minutes: {error}")))?;
    if !(minutes > 0.0 && minutes <= 7.0 * 24.0 * 60.0) {
        return Err(wrong(format!("--minutes must be more than 0 and at most a week, not {minutes}")));
    }
    let seed = matches.opt_get("seed").map_err(|error| wrong(format!("--seed: {error}")))?;
    let chosen = |row: &&Row| matches.free.is_empty() || matches.free.iter().any(|name| name == row.0);
    Ok(Some(Command {
        scenes: SCENES.iter().filter(chosen).copied().collect(),
        minutes,
        seed: seed.unwrap_or_else(|| fastrand::u64(..)),
        csv: matches.opt_str("csv").unwrap_or_else(|| CSV.into()).into(),
    }))
}

/// Soaks, and prints the report. Whether all is well.
fn run(command: &Command) -> Result<bool, String> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted)).map_err(|error| error.to_string())?;
    }
    let csv = Csv::create(&command.csv)
        .map_err(|error| format!("cannot write {}: {error}", command.csv.display()))?;
    let length = Duration::from_secs_f64(60.0 * command.minutes);
    let plan = Plan { length, seed: command.seed, interrupted, csv };
    println!("seed {}", command.seed);
    eprintln!("{} minutes, {} side by side …", command.minutes, command.scenes.len());
    let outcomes = all(&command.scenes, &plan);
    print!("{}", report(&outcomes));
    println!("all samples are in {}", command.csv.display());
    if plan.interrupted.load(Ordering::Relaxed) {
        return Err("interrupted".into());
    }
    Ok(outcomes.iter().all(|(_, outcome)| outcome.failures.is_empty()))
}

/// All scenes side by side.
fn all(scenes: &[Row], plan: &Plan) -> Vec<(&'static str, Outcome)> {
    thread::scope(|scope| {
        let begin = |(_, name, open): &Row| {
            let (name, open) = (*name, *open);
            (name, scope.spawn(move || soak(name, open, plan)))
        };
        let running: Vec<_> = scenes.iter().map(begin).collect();
        running.into_iter().map(|(name, soak)| (name, soak.join().expect("a soak ends"))).collect()
    })
}

/// A line for each program, one for what happened, and what was wrong.
fn report(outcomes: &[(&'static str, Outcome)]) -> String {
    let mut text = String::from("at rest, at the start, after one third, after two thirds and at the end:\n");
    text += &format!(
        "{:<22}{:<32}{:<20}{:<20}{:<16}peak KiB\n",
        "program", "resident KiB", "threads", "descriptors", "names"
    );
    for (_, outcome) in outcomes {
        outcome.series.iter().for_each(|(name, series)| text += &line(name, series));
    }
    for (name, outcome) in outcomes {
        text += &story(name, outcome);
    }
    text
}

fn line(name: &str, series: &figures::Series) -> String {
    let thirds = series.by_thirds();
    let row = |figure: fn(&figures::Figures) -> u64, width: usize| {
        thirds.iter().map(|figures| format!("{:<width$}", figure(figures))).collect::<String>()
    };
    let (resident, threads) = (row(|figures| figures.resident, 8), row(|figures| figures.threads, 5));
    let (descriptors, names) = (row(|figures| figures.descriptors, 5), row(|figures| figures.names, 4));
    format!("{name:<22}{resident}{threads}{descriptors}{names}{}\n", thirds[3].peak)
}

/// What happened in a soak, in words.
fn story(name: &str, outcome: &Outcome) -> String {
    let Outcome { tally, waves, deeds, failures, series } = outcome;
    let [worst, mean] = [tally.worst, tally.mean()].map(|time| time.as_secs_f64() * 1000.0);
    let mut text =
        format!("{name}: {waves} waves, {deeds} visits; the steady pair heard {} messages", tally.heard);
    text += &format!(", in {mean:.1} ms on average and {worst:.0} ms at worst");
    if tally.excused > 0 {
        text += &format!("; {} were lost or came twice while their way was cut", tally.excused);
    }
    if !series.iter().all(|(_, series)| series.is_long_enough()) {
        text += "; too short to judge memory";
    }
    text += if failures.is_empty() { ": flat\n" } else { ": NOT FLAT, OR NOT SERVED\n" };
    failures.iter().for_each(|failure| text += &format!("{name}: {failure}\n"));
    text
}
