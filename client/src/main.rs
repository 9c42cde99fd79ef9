//! `chat-client PROTOCOL …`: the clients of five networking assignments in one program.
//!
//! - [`lobby`] and its like: one module per protocol, and one row in [`PROTOCOLS`].
//! - [`events`]: all that can happen, on one channel; [`connection`], [`listener`], [`udp`],
//!   [`terminal`], [`signals`]: where it comes from.
//! - [`options`]: the command line.

mod bridge;
mod channels;
mod connection;
mod events;
mod listener;
mod lobby;
mod options;
mod overlay;
mod room;
mod signals;
mod terminal;
mod udp;

use getopts::{Matches, Options};
use options::Failure;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

/// A protocol is a row: its name, a line about it, its command line, and what runs it.
struct Protocol {
    name: &'static str,
    about: &'static str,
    usage: &'static str,
    options: fn() -> Options,
    run: fn(&Matches) -> Result<(), Failure>,
}

const PROTOCOLS: &[Protocol] = &[
    Protocol {
        name: "lobby",
        about: "JOIN, LIST, MESG, BCST and QUIT over TCP",
        usage: lobby::USAGE,
        options: lobby::options,
        run: lobby::run,
    },
    Protocol {
        name: "channels",
        about: "fixed messages of 200 bytes over TCP, one channel at a time",
        usage: channels::USAGE,
        options: channels::options,
        run: channels::run,
    },
    Protocol {
        name: "overlay",
        about: "messages by name over UDP, through linked servers",
        usage: overlay::USAGE,
        options: overlay::options,
        run: overlay::run,
    },
    Protocol {
        name: "room",
        about: "a broadcast chatroom, over TCP or over UDP",
        usage: room::USAGE,
        options: room::options,
        run: room::run,
    },
    Protocol {
        name: "bridge",
        about: "register, be introduced, then chat peer to peer",
        usage: bridge::USAGE,
        options: bridge::options,
        run: bridge::run,
    },
];

/// The status of a wrong command line (A4).
const WRONG_USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        say(io::stdout(), &overview());
        return ExitCode::from(WRONG_USAGE);
    };
    if name == "--help" || name == "-h" {
        say(io::stdout(), &overview());
        return ExitCode::SUCCESS;
    }
    match PROTOCOLS.iter().find(|protocol| name == protocol.name) {
        Some(protocol) => protocol.start(rest),
        None => {
            let name = name.to_string_lossy();
            complain(&Failure::Usage(format!("there is no protocol '{name}'")), &overview())
        }
    }
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

fn overview() -> String {
    let rows = PROTOCOLS.iter().map(|row| format!("    {:<10}{}\n", row.name, row.about));
    let rows: String = rows.collect();
    format!(
        "usage: chat-client PROTOCOL [ARGUMENT...]\n\nProtocols:\n{rows}\n`chat-client PROTOCOL --help` tells more."
    )
}

/// Prints without a panic where the stream is closed (A2).
fn say(mut stream: impl Write, text: &str) {
    let _ = writeln!(stream, "{}", text.trim_end());
}
