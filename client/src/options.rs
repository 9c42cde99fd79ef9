//! The command line: what several clients have.

use chat_cli::Failure;
use chat_common::text::{MAX_NAME, is_name};
use getopts::Matches;

/// The two arguments that are no options: host and port.
///
/// # Errors
/// One is missing, or wrong, or there are more.
pub(crate) fn host_and_port(matches: &Matches) -> Result<(String, u16), Failure> {
    match matches.free.as_slice() {
        [] => Err(Failure::Usage("host and port are missing".into())),
        [host] => Err(Failure::Usage(format!("the port behind '{host}' is missing"))),
        [host, value] => Ok((host.clone(), port(value)?)),
        [_, _, extra, ..] => Err(chat_cli::one_too_many(extra)),
    }
}

/// The value of the option `name`, which has to be there.
///
/// # Errors
/// It is not.
pub(crate) fn required(matches: &Matches, name: &str) -> Result<String, Failure> {
    let dashes = if name.len() == 1 { "-" } else { "--" };
    matches.opt_str(name).ok_or_else(|| Failure::Usage(format!("{dashes}{name} is missing")))
}

/// `value` as the name of a client (A13).
///
/// # Errors
/// It can be none.
pub(crate) fn name(value: String) -> Result<String, Failure> {
    if is_name(&value) {
        return Ok(value);
    }
    Err(Failure::Usage(format!(
        "the name must be one word of at most {MAX_NAME} letters, digits, '-', '_' and '.', not '{value}'"
    )))
}

/// `value` as a port to connect to.
///
/// # Errors
/// It is none.
pub(crate) fn port(value: &str) -> Result<u16, Failure> {
    chat_cli::port(value, 1..=u16::MAX)
}
