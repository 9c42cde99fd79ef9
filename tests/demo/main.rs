//! Plays the sample sessions of the course texts with the real programs, on terminals, for an audience.
//!
//! - [`lobby`] and its like: a script for each protocol, as data ([`script`], [`known`]).
//! - [`stage`]: plays one, and compares every line that a terminal shows with it. [`performer`]: a program on its terminal.
//! - [`printer`]: what the audience sees. [`events`]: what is waited for. [`failure`]: why a demo stops.

mod bridge;
mod channels;
mod events;
mod failure;
mod known;
mod lobby;
mod overlay;
mod performer;
mod printer;
mod room;
mod script;
mod stage;
mod tmux;

use crate::events::Events;
use crate::failure::Failure;
use crate::printer::Printer;
use crate::script::Script;
use crate::stage::{Pace, Stage};
use getopts::{Matches, Options};
use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// In the order in which they are played.
const SCRIPTS: &[&Script] =
    &[&lobby::SCRIPT, &overlay::SCRIPT, &channels::SCRIPT, &room::SCRIPT, &bridge::SCRIPT];

const USAGE: &str = "usage: demo [--fast] [--programs DIR] [PROTOCOL...]
       demo --tmux [--programs DIR] PROTOCOL";

/// The status of a wrong command line.
const WRONG_USAGE: u8 = 2;

/// The status of a program that a signal ended, without the signal's number.
const SIGNALLED: u8 = 128;

fn main() -> ExitCode {
    let options = options();
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let complain = |wrong: String| {
        say(io::stderr(), &format!("{wrong}\n\n{}", usage(&options)));
        ExitCode::from(WRONG_USAGE)
    };
    match options.parse(arguments) {
        Ok(matches) if matches.opt_present("help") => {
            say(io::stdout(), &usage(&options));
            ExitCode::SUCCESS
        }
        Ok(matches) => scripts(&matches).map_or_else(complain, |scripts| run(&scripts, &matches)),
        Err(error) => complain(error.to_string()),
    }
}

fn options() -> Options {
    let mut options = Options::new();
    options.optflag("", "fast", "type and read without pauses");
    options.optflag("", "tmux", "open the programs in tmux, to type into them yourself");
    options.optopt(
        "",
        "programs",
        "take chat-server and chat-client from here, not from beside this one",
        "DIR",
    );
    options.optflag("h", "help", "print this and end");
    options
}

fn usage(options: &Options) -> String {
    let rows: String =
        SCRIPTS.iter().map(|script| format!("    {:<10}{}\n", script.name, script.about)).collect();
    format!("{}\nProtocols (all of them, if none is named):\n{rows}", options.usage(USAGE))
}

/// The scripts of the protocols on the command line, or why there are none.
fn scripts(matches: &Matches) -> Result<Vec<&'static Script>, String> {
    let script = |name: &String| {
        let found = SCRIPTS.iter().copied().find(|script| script.name == name);
        found.ok_or_else(|| format!("there is no protocol '{name}'"))
    };
    let names = &matches.free;
    if matches.opt_present("tmux") && names.len() != 1 {
        return Err("--tmux takes one protocol".into());
    }
    if names.is_empty() { Ok(SCRIPTS.to_vec()) } else { names.iter().map(script).collect() }
}

/// Does what the command line says, and gives the status of how that ended.
fn run(scripts: &[&'static Script], matches: &Matches) -> ExitCode {
    match perform(scripts, matches) {
        Ok(()) | Err(Failure::Unwatched) => ExitCode::SUCCESS,
        Err(Failure::Interrupted(signal)) => {
            ExitCode::from(u8::try_from(signal).map_or(u8::MAX, |signal| SIGNALLED.saturating_add(signal)))
        }
        Err(failure) => {
            say(io::stderr(), &format!("demo: {failure}"));
            ExitCode::FAILURE
        }
    }
}

fn perform(scripts: &[&'static Script], matches: &Matches) -> Result<(), Failure> {
    let programs = programs(matches)?;
    let events = Events::with_signals()
        .map_err(|error| Failure::Broken(format!("cannot listen to signals: {error}")))?;
    if matches.opt_present("tmux") {
        return scripts.iter().try_for_each(|script| tmux::open(script, &programs, &events));
    }
    let pace = if matches.opt_present("fast") { Pace::FAST } else { Pace::HUMAN };
    let mut printer = Printer::new();
    for script in scripts {
        printer.headline(&format!("{}: {}", script.name, script.about))?;
        for act in script.acts {
            printer.caption(act.title)?;
            Stage::new(&programs, pace, &mut printer, &events)?.play(act)?;
        }
    }
    Ok(())
}

/// The folder with the programs.
fn programs(matches: &Matches) -> Result<PathBuf, Failure> {
    let own = || env::current_exe().ok().and_then(|demo| Some(demo.parent()?.to_owned()));
    let folder = matches.opt_str("programs").map(PathBuf::from).or_else(own).unwrap_or_default();
    // They are started in a folder of their own.
    folder.canonicalize().map_err(|error| Failure::Broken(format!("no folder {}: {error}", folder.display())))
}

/// Prints without a panic where the stream is closed.
fn say(mut stream: impl Write, text: &str) {
    let _ = writeln!(stream, "{}", text.trim_end());
}

#[cfg(test)]
mod tests {
    use super::SCRIPTS;
    use crate::printer::NAME_WIDTH;
    use crate::script::{Action, Cue, Effect};

    #[test]
    fn every_program_that_starts_ends_and_the_cast_is_on_stage() {
        for act in SCRIPTS.iter().flat_map(|script| script.acts) {
            let mut on_stage = Vec::new();
            let mut seen = Vec::new();
            for cue in act.cues {
                match cue {
                    Cue::Action(Action::Start(who)) => {
                        assert!(who.name.len() <= NAME_WIDTH, "{}: {} is too long", act.title, who.name);
                        on_stage.push(who.name);
                        seen.push(who.name);
                    }
                    Cue::Effect(Effect::Ends(who, _)) => on_stage.retain(|name| *name != who.name),
                    _ => {}
                }
            }
            assert!(on_stage.is_empty(), "{}: no end of {on_stage:?}", act.title);
            assert!(
                act.cast.iter().all(|who| seen.contains(&who.name)),
                "{}: who is never there?",
                act.title
            );
        }
    }
}
