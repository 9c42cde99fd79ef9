//! The front of both programs, `PROGRAM PROTOCOL …`: a table of protocols, and how a wrong command line is answered (A4,
//! A8).
//!
//! What a protocol's own arguments mean is not known here.

use getopts::{Matches, Options};
use std::ffi::OsString;
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::process::ExitCode;

/// The status of a wrong command line (A4).
const WRONG_USAGE: u8 = 2;

/// A protocol is a row.
pub struct Protocol {
    /// What it is called on the command line.
    pub name: &'static str,
    /// A line about it.
    pub about: &'static str,
    /// The source's own line, behind `usage: `.
    pub usage: &'static str,
    /// Its options, `--help` among them.
    pub options: fn() -> Options,
    /// Runs it to its end.
    pub run: fn(&Matches) -> Result<(), Failure>,
}

/// Why a program ends in failure.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// The command line is wrong, and how: status 2, with the usage.
    Usage(String),
    /// What could not be done, and why: status 1.
    Fatal(String),
    /// The same, and the source's own line has said so already.
    Said,
}

/// The program `program`: finds the row of [`Protocol`] that the arguments of this process name, and runs it. The
/// status of its end (A4).
#[must_use]
pub fn run(program: &str, protocols: &[Protocol]) -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        say(io::stdout(), &overview(program, protocols));
        return ExitCode::from(WRONG_USAGE);
    };
    if name == "--help" || name == "-h" {
        say(io::stdout(), &overview(program, protocols));
        return ExitCode::SUCCESS;
    }
    match protocols.iter().find(|protocol| name == protocol.name) {
        Some(protocol) => protocol.start(rest),
        None => {
            let name = name.to_string_lossy();
            complain(&Failure::Usage(format!("there is no protocol '{name}'")), &overview(program, protocols))
        }
    }
}

/// The options that every protocol has.
#[must_use]
pub fn options() -> Options {
    let mut options = Options::new();
    options.optflag("h", "help", "print this and end");
    options
}

/// `value` as a port in `range`.
///
/// # Errors
/// It is none.
pub fn port(value: &str, range: RangeInclusive<u16>) -> Result<u16, Failure> {
    let number = value.parse().ok().filter(|number| range.contains(number));
    let (first, last) = (range.start(), range.end());
    number.ok_or_else(|| {
        Failure::Usage(format!("the port must be a number from {first} to {last}, not '{value}'"))
    })
}

/// `extra` is an argument where none is wanted.
#[must_use]
pub fn one_too_many(extra: &str) -> Failure {
    Failure::Usage(format!("one argument too many: '{extra}'"))
}

/// For a protocol whose arguments are all options.
///
/// # Errors
/// There is an argument that is none.
pub fn only_options(matches: &Matches) -> Result<(), Failure> {
    matches.free.first().map_or(Ok(()), |extra| Err(one_too_many(extra)))
}

impl Protocol {
    /// Reads the command line behind the protocol's name, and runs it to its end.
    fn start(&self, arguments: &[OsString]) -> ExitCode {
        let options = (self.options)();
        let usage = options.usage(self.usage);
        if arguments.is_empty() {
            say(io::stdout(), self.usage);
            return ExitCode::from(WRONG_USAGE);
        }
        let result = match options.parse(arguments) {
            Ok(matches) if matches.opt_present("help") => {
                say(io::stdout(), &usage);
                return ExitCode::SUCCESS;
            }
            Ok(matches) => (self.run)(&matches),
            Err(error) => Err(Failure::Usage(error.to_string())),
        };
        result.map_or_else(|failure| complain(&failure, &usage), |()| ExitCode::SUCCESS)
    }
}

/// Says what failed, and the status that it has (A4).
fn complain(failure: &Failure, usage: &str) -> ExitCode {
    match failure {
        Failure::Usage(text) => {
            say(io::stderr(), &format!("{text}\n\n{usage}"));
            ExitCode::from(WRONG_USAGE)
        }
        Failure::Fatal(text) => {
            say(io::stderr(), text);
            ExitCode::FAILURE
        }
        Failure::Said => ExitCode::FAILURE,
    }
}

fn overview(program: &str, protocols: &[Protocol]) -> String {
    let rows = protocols.iter().map(|row| format!("    {:<10}{}\n", row.name, row.about));
    let rows: String = rows.collect();
    format!(
        "usage: {program} PROTOCOL [ARGUMENT...]\n\nProtocols:\n{rows}\n`{program} PROTOCOL --help` tells more."
    )
}

/// Prints without a panic where the stream is closed (A2).
fn say(mut stream: impl Write, text: &str) {
    let _ = writeln!(stream, "{}", text.trim_end());
}
