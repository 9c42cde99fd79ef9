//! A program on a pseudo-terminal: what a person in front of it types and sees.

use std::sync::{Arc, Condvar};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use portable_pty::CommandBuilder;

use crate::program::path;
use crate::pty::Pty;
use crate::wait::{DEADLINE, Log, PROMPTLY, fail, until};

const ROWS: u16 = 24;
const COLUMNS: u16 = 100;

/// A terminal of 24 rows and 100 columns, with a program that believes a person sits there.
pub struct Screen {
    pty: Pty,
    changed: Arc<Condvar>,
}

impl Screen {
    /// `chat-client` with these arguments.
    pub fn client(arguments: &[&str]) -> Screen {
        Screen::program("chat-client", arguments)
    }

    /// `chat-server` with these arguments.
    pub fn server(arguments: &[&str]) -> Screen {
        Screen::program("chat-server", arguments)
    }

    fn program(name: &str, arguments: &[&str]) -> Screen {
        let mut command = CommandBuilder::new(path(name));
        command.args(arguments);
        Screen::open(command)
    }

    /// A shell that runs `script`, in which `"$0" "$@"` is `chat-client` with these arguments.
    pub fn shell(script: &str, arguments: &[&str]) -> Screen {
        let mut command = CommandBuilder::new("sh");
        command.args(["-c", script]);
        command.arg(path("chat-client"));
        command.args(arguments);
        Screen::open(command)
    }

    /// Any program.
    pub fn open(command: CommandBuilder) -> Screen {
        let changed = Arc::new(Condvar::new());
        let waiting = Arc::clone(&changed);
        let pty = Pty::start(command, ROWS, COLUMNS, move || waiting.notify_all());
        Screen { pty: pty.expect("the program on a pseudo-terminal"), changed }
    }

    /// Types these keys. `"\r"` is Enter, `"\x03"` Ctrl-C, `"\x04"` Ctrl-D.
    pub fn type_keys(&mut self, keys: &str) {
        self.pty.type_keys(keys).unwrap();
    }

    /// The screen shows exactly these rows, from its top; below them it is empty. Blanks at the end of a row are not seen.
    #[track_caller]
    pub fn expect_rows(&self, wanted: &[&str]) {
        let wanted: Vec<&str> = wanted.iter().map(|row| row.trim_end()).collect();
        self.wait(&format!("exactly the rows {wanted:#?}"), |screen| rows(screen) == wanted);
    }

    /// Some row of the screen contains `part`.
    #[track_caller]
    pub fn expect_text(&self, part: &str) {
        self.wait(&format!("{part:?}"), |screen| screen.contents().contains(part));
    }

    /// The last row that is not empty is `wanted`, and the cursor stands right behind its end.
    #[track_caller]
    pub fn expect_typed(&self, wanted: &str) {
        self.wait(&format!("{wanted:?} as the last row, and the cursor behind it"), |screen| {
            let (row, column) = screen.cursor_position();
            let rows = rows(screen);
            let last = rows.len().saturating_sub(1) == usize::from(row);
            last && rows.last().is_some_and(|row| row == wanted.trim_end())
                && usize::from(column) == wanted.chars().count()
        });
    }

    /// The cursor stands in this row and column, both counted from 0.
    #[track_caller]
    pub fn expect_cursor(&self, row: u16, column: u16) {
        let wanted = format!("the cursor at {:?}", (row, column));
        self.wait(&wanted, |screen| screen.cursor_position() == (row, column));
    }

    /// The program takes keys one by one: its line editor is there. What is typed before is shown by the system itself.
    #[track_caller]
    pub fn expect_editor(&self) {
        if until(DEADLINE, || self.pty.takes_single_keys().then_some(())).is_none() {
            fail("a line editor", &format!("none, {}", self.describe()), &Log::default());
        }
    }

    /// The rows as they are now.
    pub fn rows(&self) -> Vec<String> {
        rows(self.pty.emulator().screen())
    }

    /// Sends a signal to the program.
    pub fn signal(&mut self, signal: Signal) {
        self.pty.signal(signal).expect("a program that has not ended before");
    }

    /// The program ends with this status, promptly, and not by a signal.
    #[track_caller]
    pub fn expect_exit(&mut self, wanted: u32) {
        let have = match until(PROMPTLY, || self.pty.exit_status().unwrap()) {
            Some(status) => status.to_string(),
            None => "it runs".to_owned(),
        };
        let wanted = portable_pty::ExitStatus::with_exit_code(wanted).to_string();
        if have != wanted {
            fail(&wanted, &format!("{have}, {}", self.describe()), &Log::default());
        }
    }

    #[track_caller]
    fn wait(&self, wanted: &str, probe: impl Fn(&vt100::Screen) -> bool) {
        if !self.becomes(DEADLINE, probe) {
            fail(wanted, &self.describe(), &Log::default());
        }
    }

    fn becomes(&self, limit: Duration, probe: impl Fn(&vt100::Screen) -> bool) -> bool {
        let end = Instant::now() + limit;
        let mut emulator = self.pty.emulator();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if probe(emulator.screen()) {
                return true;
            }
            if left.is_zero() {
                return false;
            }
            emulator = self.changed.wait_timeout(emulator, left).unwrap().0;
        }
    }

    fn describe(&self) -> String {
        let emulator = self.pty.emulator();
        let screen = emulator.screen();
        format!("the rows {:#?}, the cursor at {:?}", rows(screen), screen.cursor_position())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.pty.end();
        if !thread::panicking() && self.rows().iter().any(|row| row.contains("panicked at")) {
            fail("a program that does not panic", &self.describe(), &Log::default());
        }
    }
}

/// The rows of the screen without the blanks at their ends, and without the empty ones at its bottom.
fn rows(screen: &vt100::Screen) -> Vec<String> {
    let mut rows: Vec<String> = screen.rows(0, COLUMNS).map(|row| row.trim_end().to_owned()).collect();
    while rows.last().is_some_and(String::is_empty) {
        rows.pop();
    }
    rows
}
