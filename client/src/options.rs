//! The command line: what every client has, and how a wrong one is answered (A8).

use getopts::{Matches, Options};

/// Why the program ends in failure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The command line is wrong, and how: status 2, with the usage.
    Usage(String),
    /// What could not be done, or went wrong: status 1.
    Fatal(String),
    /// The same, and the source's own line has said so already.
    Said,
}

/// The options every client has.
pub(crate) fn common() -> Options {
    let mut options = Options::new();
    options.optflag("h", "help", "print this and end");
    options
}

/// The two arguments that are no options: host and port.
///
/// # Errors
/// One is missing, or wrong, or there are more.
pub(crate) fn host_and_port(matches: &Matches) -> Result<(String, u16), Failure> {
    match matches.free.as_slice() {
        [] => Err(Failure::Usage("host and port are missing".into())),
        [host] => Err(Failure::Usage(format!("the port behind '{host}' is missing"))),
        [host, value] => Ok((host.clone(), port(value)?)),
        [_, _, extra, ..] => Err(Failure::Usage(format!("one argument too many: '{extra}'"))),
    }
}

/// `value` as a port to connect to.
///
/// # Errors
/// It is none.
pub(crate) fn port(value: &str) -> Result<u16, Failure> {
    let number = value.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| Failure::Usage(format!("the port must be a number from 1 to 65535, not '{value}'")))
}
