//! What the audience sees: every line with its terminal's name in front, each terminal in a colour of its own.

use std::env;
use std::io::{self, IsTerminal, Write};

const RESET: &str = "\x1b[0m";
const BOLD: &str = "\x1b[1m";

/// Cyan, green, yellow, magenta, blue, red: readable on dark and on light.
const COLOURS: [&str; 6] = ["\x1b[36m", "\x1b[32m", "\x1b[33m", "\x1b[35m", "\x1b[34m", "\x1b[31m"];

/// The widest name that a script has.
pub(crate) const NAME_WIDTH: usize = 8;

/// Whose terminal a line is of.
#[derive(Clone, Copy)]
pub(crate) struct Label {
    pub(crate) name: &'static str,
    /// Its place on stage, counted from 0.
    pub(crate) place: usize,
}

/// What a line is.
#[derive(Clone, Copy)]
pub(crate) enum Mark {
    /// A command line: the program is started.
    Started,
    /// Typed by the person.
    Typed,
    /// Shown by the program.
    Shown,
    /// A word about the program: it has ended.
    Ended,
}

/// Prints to stdout; in colour on a terminal, if `NO_COLOR` is not set.
pub(crate) struct Printer {
    stdout: io::Stdout,
    coloured: bool,
    /// A line has begun, and not ended.
    open: bool,
    /// Something was printed.
    begun: bool,
}

impl Printer {
    pub(crate) fn new() -> Self {
        let stdout = io::stdout();
        let forbidden = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { coloured: stdout.is_terminal() && !forbidden, stdout, open: false, begun: false }
    }

    /// A headline: a protocol.
    ///
    /// # Errors
    /// Nobody watches any more. So with all the others.
    pub(crate) fn headline(&mut self, text: &str) -> io::Result<()> {
        self.plain(&format!("== {text}"))
    }

    /// A line about what comes next.
    pub(crate) fn caption(&mut self, text: &str) -> io::Result<()> {
        self.plain(&format!("-- {text}"))
    }

    /// A whole line of a terminal.
    pub(crate) fn line(&mut self, label: Label, mark: Mark, text: &str) -> io::Result<()> {
        self.begin(label, mark, text)?;
        self.end()
    }

    /// The first part of a line that is being typed.
    pub(crate) fn begin(&mut self, label: Label, mark: Mark, text: &str) -> io::Result<()> {
        self.open = true;
        let sign = mark.sign();
        let head = format!("{:<NAME_WIDTH$}{sign} ", label.name);
        if self.coloured {
            let colour = COLOURS.iter().cycle().nth(label.place).copied().unwrap_or_default();
            let weight = if matches!(mark, Mark::Typed) { BOLD } else { "" };
            write!(self.stdout, "{colour}{head}{RESET}{weight}{text}")?;
        } else {
            write!(self.stdout, "{head}{text}")?;
        }
        self.stdout.flush()
    }

    /// What was typed next.
    pub(crate) fn add(&mut self, text: &str) -> io::Result<()> {
        self.stdout.write_all(text.as_bytes())?;
        self.stdout.flush()
    }

    /// The end of a line, if one has begun.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.open) {
            let reset = if self.coloured { RESET } else { "" };
            writeln!(self.stdout, "{reset}")?;
        }
        self.stdout.flush()
    }

    fn plain(&mut self, text: &str) -> io::Result<()> {
        let (bold, reset) = if self.coloured { (BOLD, RESET) } else { ("", "") };
        let gap = if std::mem::replace(&mut self.begun, true) { "\n" } else { "" };
        writeln!(self.stdout, "{gap}{bold}{text}{reset}")?;
        self.stdout.flush()
    }
}

impl Drop for Printer {
    /// What is said next on stderr begins a line of its own.
    fn drop(&mut self) {
        let _ = self.end();
    }
}

impl Mark {
    const fn sign(self) -> char {
        match self {
            Self::Started => '$',
            Self::Typed => '>',
            Self::Shown => '|',
            Self::Ended => '.',
        }
    }
}
