//! Why a demo does not come to its end.

use std::fmt;
use std::io;

/// Why a demo stopped.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A terminal shows something else than the source says, or nothing in time.
    Differs {
        /// What was done before.
        behind: String,
        /// Whose terminal it is.
        who: &'static str,
        wanted: String,
        have: String,
    },
    /// What could not be done at all, and why.
    Broken(String),
    /// A signal asked for the end.
    Interrupted(i32),
    /// Nobody reads what is printed. That is no failure of what was shown.
    Unwatched,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Differs { behind, who, wanted, have } => {
                writeln!(f, "{who}'s terminal is not as the source says, behind: {behind}")?;
                write!(f, "wanted: {wanted}\n  have: {have}")
            }
            Self::Broken(what) => f.write_str(what),
            Self::Interrupted(signal) => write!(f, "ended by signal {signal}"),
            Self::Unwatched => f.write_str("stdout is closed"),
        }
    }
}

/// From what printing says.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Unwatched,
            _ => Self::Broken(format!("cannot print: {error}")),
        }
    }
}
