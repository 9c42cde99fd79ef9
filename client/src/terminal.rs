//! What a person sees and types: a line editor on a terminal, plain lines through a pipe (A3).
//!
//! One thread reads, one prints; the main thread waits for neither. In the editor a half-typed line survives
//! an arriving message: the editor wipes it, prints the message, and draws it again.
//!
//! What lines mean is not known here.

#[cfg(feature = "line-editor")]
mod editor;

use crate::events::{Event, EventSender};
use chat_common::frame::{Lines, Pauses};
use std::io::{self, IsTerminal, Read, Write};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::Duration;

#[cfg(feature = "line-editor")]
use editor::Editor;
#[cfg(feature = "line-editor")]
pub(crate) use editor::restore;

/// How many lines may wait to be printed, before who has more waits.
const WAITING: usize = 256;

/// How long a line through a pipe may be. Longer than any server takes: what is too long is for it to say.
const MAX_LINE: usize = 64 << 10;

/// How long the line editor may take at the end to show what it was given last.
const LAST_LINES: Duration = Duration::from_millis(300);

/// How the terminal is used.
pub(crate) struct Settings {
    /// What stands in front of what is typed.
    pub(crate) prompt: Prompt,
    /// Whether a line ends the session, so that nothing is read behind it.
    pub(crate) is_last: fn(&str) -> bool,
}

/// What stands in front of what is typed.
#[derive(Clone, Copy)]
pub(crate) enum Prompt {
    /// This in front of the first line; may be empty.
    Once(&'static str),
    /// This in front of every line, but not through a pipe.
    OnTerminal(&'static str),
    /// `text` in front of every line. Through a pipe `wipe` removes it where a line is printed over it; the line
    /// editor needs no help with that.
    Always {
        /// The prompt.
        text: &'static str,
        /// What makes it invisible.
        wipe: &'static str,
    },
}

/// A terminal, or what is there in its place.
pub(crate) struct Terminal {
    output: SyncSender<Output>,
    /// Closed when everything is printed.
    printed: Receiver<()>,
    /// The editor may be waiting for a key when the end comes.
    edited: bool,
}

enum Output {
    /// For stdout: what the source specifies (A1).
    Line(String),
    /// The same, and no prompt behind it.
    LastLine(String),
    /// A prompt behind a line that was typed, if every line has one.
    Prompt,
    /// For stderr: everything else.
    Hint(String),
}

impl Terminal {
    /// Starts to read and to print. Lines from a pipe are read only as fast as `ready` returns.
    ///
    /// # Errors
    /// The system refuses the threads.
    pub(crate) fn start(
        settings: Settings,
        events: &EventSender,
        ready: impl Fn() + Send + 'static,
    ) -> io::Result<Self> {
        let (output, lines) = mpsc::sync_channel(WAITING);
        let (done, printed) = mpsc::sync_channel(0);
        #[cfg(feature = "line-editor")]
        if let Some((editor, printer)) = Editor::start() {
            spawn("print", move || {
                editor::print(printer, &lines);
                drop(done);
            })?;
            let events = events.clone();
            spawn("input", move || editor.read(&settings, &events))?;
            return Ok(Self { output, printed, edited: true });
        }
        let closed = events.clone();
        let prompt = settings.prompt;
        spawn("print", move || {
            print_plain(prompt, &lines).unwrap_or_else(|_| closed.send(Event::Interrupt));
            // Nobody reads what we print: the rest goes nowhere, quietly (A2).
            lines.iter().for_each(drop);
            drop(done);
        })?;
        // The one thread that is never joined: nothing wakes a read from stdin. The process ends it.
        let events = events.clone();
        spawn("input", move || read_plain(settings.is_last, &events, ready))?;
        Ok(Self { output, printed, edited: false })
    }

    /// Prints a line on stdout.
    pub(crate) fn line(&self, line: String) {
        self.print(Output::Line(line));
    }

    /// Prints a line on stdout, behind which nothing is typed any more.
    pub(crate) fn last_line(&self, line: String) {
        self.print(Output::LastLine(line));
    }

    /// A line was typed and handled: the next prompt, if every line has one.
    pub(crate) fn prompt(&self) {
        self.print(Output::Prompt);
    }

    /// Prints a line on stderr.
    pub(crate) fn hint(&self, hint: &str) {
        self.print(Output::Hint(hint.into()));
    }

    /// Everything printed is seen, and the terminal is as it was before.
    pub(crate) fn close(self) {
        drop(self.output);
        let seen = if self.edited {
            self.printed.recv_timeout(LAST_LINES)
        } else {
            self.printed.recv().map_err(|_| RecvTimeoutError::Disconnected)
        };
        debug_assert!(seen.is_err(), "nothing is ever sent");
        restore();
    }

    fn print(&self, output: Output) {
        // The printing thread outlives this; were it gone, there would be nobody to tell.
        let _ = self.output.send(output);
    }
}

/// Without a line editor the terminal is never in another state.
#[cfg(not(feature = "line-editor"))]
pub(crate) const fn restore() {}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.into()).spawn(work).map(drop)
}

/// Prints what comes, and flushes as soon as nothing more is there (A2).
fn print_plain(prompt: Prompt, output: &Receiver<Output>) -> io::Result<()> {
    let (first, each, wipe) = match prompt {
        Prompt::Once(text) => (text, "", ""),
        Prompt::OnTerminal(text) if io::stdin().is_terminal() && io::stdout().is_terminal() => {
            (text, text, "\r")
        }
        Prompt::OnTerminal(_) => ("", "", ""),
        Prompt::Always { text, wipe } => (text, text, wipe),
    };
    let mut stdout = io::BufWriter::new(io::stdout().lock());
    stdout.write_all(first.as_bytes())?;
    stdout.flush()?;
    while let Ok(first) = output.recv() {
        for next in std::iter::once(first).chain(output.try_iter()) {
            match next {
                Output::Line(line) => write!(stdout, "{wipe}{line}\n{each}")?,
                Output::LastLine(line) => writeln!(stdout, "{wipe}{line}")?,
                Output::Prompt => stdout.write_all(each.as_bytes())?,
                Output::Hint(hint) => complain(&hint),
            }
        }
        stdout.flush()?;
    }
    Ok(())
}

/// Reads lines until the input ends, or a line says so.
fn read_plain(is_last: fn(&str) -> bool, events: &EventSender, ready: impl Fn()) {
    // A person may pause in the middle of a line: time stands still here, and only line ends count.
    const NOW: Duration = Duration::ZERO;
    let mut lines = Lines::new(MAX_LINE, Pauses::UntilFirstNewline);
    let mut buffer = [0; 4096];
    let mut stdin = io::stdin().lock();
    let mut open = true;
    while open {
        match stdin.read(&mut buffer) {
            Ok(count) if count > 0 => lines.push(buffer.get(..count).unwrap_or_default(), NOW),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => {
                lines.end();
                open = false;
            }
        }
        while let Some(line) = lines.next(NOW) {
            let Ok(line) = line.map(|line| String::from_utf8_lossy(line).into_owned()) else {
                complain(&format!("a line of more than {MAX_LINE} bytes was not sent"));
                continue;
            };
            ready();
            let last = is_last(&line);
            if !events.line(line) || last {
                return;
            }
        }
    }
    events.send(Event::Eof);
}

/// A line on stderr, without a panic where it is closed.
fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
