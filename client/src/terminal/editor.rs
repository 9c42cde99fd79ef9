//! The line editor, for a terminal on stdin and stdout both.
//!
//! Two threads write on the screen: the one that edits lines, and the one that prints what comes. While a line is
//! edited, the editor does both: it is handed what is to be printed, wipes the line, prints, and draws the line again.
//! Between two lines it looks at nothing, and the printing thread waits for the next one ([`Turns`]).

use super::{Output, Prompt, Settings, complain};
use crate::events::{Event, EventSender};
use nix::sys::termios::{LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr};
use rustyline::config::Configurer;
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Config, ExternalPrinter};
use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::Receiver;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How the terminal was before, while it is otherwise.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Who writes on the screen.
static TURNS: Turns = Turns { state: Mutex::new(State::NEW), changed: Condvar::new() };

/// How long one of the two threads waits for the other at most. Far longer than it ever takes, unless the machine is
/// very busy: then a line may look odd, and nothing else is lost.
const PATIENCE: Duration = Duration::from_millis(100);

/// Prints nothing: the cursor goes up a line and down again.
const NOTHING: &str = "\x1b[A\n";

/// Removes what is left of the line that was being typed.
const WIPE: &[u8] = b"\r\x1b[J";

/// Reads lines from the terminal.
pub(super) struct Editor(rustyline::Editor<(), MemHistory>);

impl Editor {
    /// An editor and what prints above it; `None` where there is no terminal that can do that.
    pub(super) fn start() -> Option<(Self, impl ExternalPrinter + Send + use<>)> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return None;
        }
        // Pasted lines are lines: each is sent. No terminal is to wait for the end of a picture: the last one has
        // none.
        let mut config = Config::builder().bracketed_paste(false);
        config.enable_synchronized_output(false);
        let mut editor = rustyline::Editor::with_history(config.build(), MemHistory::new()).ok()?;
        let printer = editor.create_external_printer().ok()?;
        *lock(&BEFORE) = silence();
        Some((Self(editor), printer))
    }

    /// Reads lines until the user or a line ends it.
    ///
    /// Never waits for the main thread: while lines are to be printed, the editor must be there to do so.
    pub(super) fn read(mut self, settings: &Settings, events: &EventSender) {
        self.read_lines(settings, events);
        TURNS.end();
    }

    fn read_lines(&mut self, settings: &Settings, events: &EventSender) {
        let (mut prompt, next) = match settings.prompt {
            Prompt::Once(text) => (text, ""),
            Prompt::OnTerminal(text) | Prompt::Always { text, .. } => (text, text),
        };
        loop {
            match self.read_line(prompt) {
                Ok(line) if line.is_empty() => {}
                Ok(line) => {
                    prompt = next;
                    let last = (settings.is_last)(&line);
                    // Fails only for a history in a file.
                    let _ = self.0.add_history_entry(&line);
                    events.typed(line);
                    if last {
                        return;
                    }
                }
                Err(ReadlineError::Interrupted) => return events.interrupt(),
                Err(_) => return events.send(Event::Eof),
            }
        }
    }

    fn read_line(&mut self, prompt: &'static str) -> rustyline::Result<String> {
        TURNS.wait_while_printing();
        let line = self.0.readline(&Prefix(prompt));
        TURNS.end_line();
        line
    }
}

/// Prints what comes above the line that is being typed; returns when the last line is on the screen, and nothing else
/// will be.
pub(super) fn print(mut printer: impl ExternalPrinter, output: &Receiver<Output>) {
    // A terminal that is gone shows nothing, and SIGHUP tells.
    let mut show = |lines: String| TURNS.print(|| drop(printer.print(lines)));
    while let Ok(first) = output.recv() {
        let mut lines = String::new();
        for next in std::iter::once(first).chain(output.try_iter()) {
            match next {
                Output::Prompt => {}
                Output::Hint(hint) if !io::stderr().is_terminal() => complain(&hint),
                Output::Line(line) | Output::LastLine(line) | Output::Hint(line) => {
                    lines.push_str(&line);
                    lines.push('\n');
                }
            }
        }
        if !lines.is_empty() {
            show(lines);
        }
    }
    TURNS.close();
    // What the editor does behind this shows that it has done everything before.
    show(NOTHING.into());
    TURNS.wait_for_end();
}

/// Gives the terminal back as it was, in the middle of a line or not; from any thread, more than once.
pub(crate) fn restore() {
    let termios = lock(&BEFORE).take();
    if let Some(termios) = termios {
        let now = tcgetattr(io::stdin());
        let editing = now.is_ok_and(|now| !now.local_flags.contains(LocalFlags::ICANON));
        if editing {
            let _ = io::stdout().write_all(WIPE).and_then(|()| io::stdout().flush());
        }
        // A terminal that is gone needs nothing back.
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &termios);
    }
}

/// What stands in front of a line that is being typed. The editor asks for it whenever it is about to draw.
struct Prefix(&'static str);

impl rustyline::Prompt for Prefix {
    fn raw(&self) -> &str {
        TURNS.draw();
        self.0
    }
}

/// Keeps the two threads that write on the screen from each other's way.
struct Turns {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// A line is edited: what is printed goes through the editor.
    editing: bool,
    /// Something is handed to the editor, or written without it.
    printing: bool,
    /// The editor is to draw nothing any more.
    closing: bool,
    /// It does not.
    ended: bool,
}

impl State {
    const NEW: Self = Self { editing: false, printing: false, closing: false, ended: false };
}

impl Turns {
    /// For the editor, before it takes the screen for a line.
    fn wait_while_printing(&self) {
        drop(self.changed.wait_timeout_while(self.lock(), PATIENCE, |state| state.printing));
    }

    /// The editor is about to draw. At the end it rests here, so that no prompt is left behind the last line: the
    /// process ends its thread.
    fn draw(&self) {
        let closing = self.change(|state| {
            state.editing = true;
            state.ended |= state.closing;
            state.closing
        });
        if closing {
            loop {
                thread::park();
            }
        }
    }

    /// The editor has left the screen, until the next line.
    fn end_line(&self) {
        self.change(|state| state.editing = false);
    }

    /// The editor has left it for good.
    fn end(&self) {
        self.change(|state| state.ended = true);
    }

    /// Prints when the editor is there to do so, or has ended.
    fn print(&self, print: impl FnOnce()) {
        let away = |state: &mut State| !state.editing && !state.ended;
        let waited = self.changed.wait_timeout_while(self.lock(), PATIENCE, away);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.printing = true;
        drop(state);
        print();
        self.change(|state| state.printing = false);
    }

    /// From now on the editor ends as soon as it is about to draw.
    fn close(&self) {
        self.change(|state| state.closing = true);
    }

    fn wait_for_end(&self) {
        drop(self.changed.wait_while(self.lock(), |state| !state.ended));
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Turns off what the terminal does with keys by itself, but for Ctrl-C: what is typed while the editor is between two
/// lines, it finds as it was typed, Ctrl-D too, and shows it when it is back. How the terminal was before.
fn silence() -> Option<Termios> {
    let before = tcgetattr(io::stdin()).ok()?;
    let mut silent = before.clone();
    silent.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ECHONL);
    // Without lines, a read waits for so many keys.
    if let Some(least) = silent.control_chars.get_mut(SpecialCharacterIndices::VMIN as usize) {
        *least = 1;
    }
    tcsetattr(io::stdin(), SetArg::TCSADRAIN, &silent).ok()?;
    Some(before)
}

/// No code that holds one of these locks can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
