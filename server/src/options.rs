//! The command line: what every server has (A9).

use chat_cli::Failure;
use getopts::{Matches, Options};

/// Places for registered clients, if `--max-clients` does not say otherwise (A11).
const MAX_CLIENTS: usize = 10;

/// One thread per client: more would hardly fit a machine.
const MOST_CLIENTS: usize = 10_000;

/// The options every server has; `bind` is where this one listens by default.
pub(crate) fn common(bind: &str) -> Options {
    let mut options = chat_cli::options();
    options.optopt("", "bind", &format!("name or address to listen on (default {bind})"), "ADDR");
    options.optopt("", "max-clients", &format!("registered clients (default {MAX_CLIENTS})"), "N");
    options
}

/// `--max-clients`.
///
/// # Errors
/// It is no number in its range.
pub(crate) fn max_clients(matches: &Matches) -> Result<usize, Failure> {
    let Some(value) = matches.opt_str("max-clients") else { return Ok(MAX_CLIENTS) };
    let number = value.parse().ok().filter(|number| (1..=MOST_CLIENTS).contains(number));
    number.ok_or_else(|| {
        Failure::Usage(format!("--max-clients must be a number from 1 to {MOST_CLIENTS}, not '{value}'"))
    })
}

/// Where a server with one port listens, by default on `bind`: host and port, and its places for clients.
///
/// # Errors
/// The port is missing or wrong, or the number of places is.
pub(crate) fn one_port(matches: &Matches, bind: &str) -> Result<(String, u16, usize), Failure> {
    let port = only_port(matches)?;
    let host = matches.opt_str("bind").unwrap_or_else(|| bind.into());
    Ok((host, port, max_clients(matches)?))
}

/// The port that the option `name` gives, if it is given.
///
/// # Errors
/// It is no port.
pub(crate) fn port(matches: &Matches, name: &str) -> Result<Option<u16>, Failure> {
    matches.opt_str(name).map(|value| parse_port(&value)).transpose()
}

/// The one argument that is no option: the port. Port 0 asks the system for a free one.
///
/// # Errors
/// There is none, or it is no port, or there are more arguments.
fn only_port(matches: &Matches) -> Result<u16, Failure> {
    match matches.free.as_slice() {
        [] => Err(Failure::Usage("the port is missing".into())),
        [port] => parse_port(port),
        [_, extra, ..] => Err(chat_cli::one_too_many(extra)),
    }
}

/// `value` as a port to listen on.
///
/// # Errors
/// It is none.
pub(crate) fn parse_port(value: &str) -> Result<u16, Failure> {
    chat_cli::port(value, 0..=u16::MAX)
}
