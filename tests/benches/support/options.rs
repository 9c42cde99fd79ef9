//! The command line of a bench.

use std::env;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::contender::contend;

/// What stands behind the name of the bench.
enum Command {
    /// Measure.
    Measure(Options),
    /// Be the baseline that is measured against: the bench starts itself as that. If it has several, what
    /// follows says which.
    Baseline(Vec<String>),
    /// Become a contender: the program and its arguments. The bench starts itself as that, too.
    Contend(Vec<String>),
    /// Say what can be given.
    Help,
}

/// How to measure.
pub(crate) struct Options {
    /// Only prove that it works: a few seconds, no figures worth reading.
    pub(crate) short: bool,
    /// Where the figures go as CSV.
    pub(crate) csv: PathBuf,
}

/// What `--help` prints, where the figures go to the file `csv` of the workspace if nothing else is said.
fn usage(csv: &str) -> String {
    format!(
        "\
usage: cargo bench -p chat-tests --bench NAME -- [--short] [--csv FILE]

  --short      only prove that it works, in a few seconds
  --csv FILE   where to write the figures as CSV (default: {csv} in the workspace)
  --help       print this
"
    )
}

/// The argument, told to nobody, that makes this process the baseline.
pub(crate) const BASELINE: &str = "--floor";

/// The argument, told to nobody, that makes this process the contender whose command line follows.
pub(crate) const CONTEND: &str = "--contend";

/// Does what the arguments of this process say: `measure`, or be the `baseline` that its arguments name. `csv`
/// is the file of the workspace where the figures go.
pub(crate) fn run(
    csv: &str,
    measure: fn(&Options) -> io::Result<()>,
    baseline: fn(&[String]) -> io::Result<()>,
) -> ExitCode {
    let done = match parse(csv) {
        Ok(Command::Measure(options)) => measure(&options),
        Ok(Command::Baseline(which)) => baseline(&which),
        Ok(Command::Contend(command_line)) => contend(&command_line),
        Ok(Command::Help) => io::stdout().write_all(usage(csv).as_bytes()),
        Err(wrong) => {
            eprint!("{wrong}\n{}", usage(csv));
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

/// Reads the arguments of this process. `csv` is as in [`usage`].
///
/// # Errors
/// One line that says which argument is wrong.
fn parse(csv: &str) -> Result<Command, String> {
    let mut options = Options { short: false, csv: workspace().join(csv) };
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--short" => options.short = true,
            "--csv" => options.csv = arguments.next().ok_or("--csv needs a file")?.into(),
            "--help" | "-h" => return Ok(Command::Help),
            CONTEND => return Ok(Command::Contend(arguments.collect())),
            BASELINE => return Ok(Command::Baseline(arguments.collect())),
            // cargo says this to every bench.
            "--bench" => {}
            other => return Err(format!("unknown argument: {other}")),
        }
    }
    Ok(Command::Measure(options))
}

fn workspace() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests)
}
