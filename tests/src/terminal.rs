//! A program on a pseudo-terminal: what a person in front of it types and sees.

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use crate::program::path;
use crate::wait::{DEADLINE, Log, PROMPTLY, fail, until};

const ROWS: u16 = 24;
const COLUMNS: u16 = 100;

/// A terminal of 24 rows and 100 columns, with a program that believes a person sits there.
pub struct Screen {
    child: Box<dyn Child + Send + Sync>,
    keys: Box<dyn Write + Send>,
    shown: Arc<Shown>,
    // Closing it would hang up on the program.
    master: Box<dyn MasterPty + Send>,
}

struct Shown {
    emulator: Mutex<vt100::Parser>,
    changed: Condvar,
}

impl Screen {
    /// `chat-client` with these arguments.
    pub fn client(arguments: &[&str]) -> Screen {
        let mut command = CommandBuilder::new(path("chat-client"));
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

    fn open(mut command: CommandBuilder) -> Screen {
        command.env("TERM", "xterm");
        let size = PtySize { rows: ROWS, cols: COLUMNS, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).expect("a pseudo-terminal");
        let child = pair.slave.spawn_command(command).expect("start the program");
        let reader = pair.master.try_clone_reader().unwrap();
        let keys = pair.master.take_writer().unwrap();
        Screen { child, keys, shown: Shown::collect(reader), master: pair.master }
    }

    /// Types these keys. `"\r"` is Enter, `"\x03"` Ctrl-C, `"\x04"` Ctrl-D.
    pub fn type_keys(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
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
        // Of the local flags: the system collects a line, and shows it (Linux; termios(3)).
        const ICANON: u32 = 2;
        let edited = || self.master.get_termios().filter(|termios| termios.local_flags.bits() & ICANON == 0);
        if until(DEADLINE, edited).is_none() {
            fail("a line editor", &format!("none, {}", self.shown.describe()), &Log::default());
        }
    }

    /// The rows as they are now.
    pub fn rows(&self) -> Vec<String> {
        rows(self.shown.emulator.lock().unwrap().screen())
    }

    /// Sends a signal to the program.
    pub fn signal(&mut self, signal: Signal) {
        assert!(self.child.try_wait().unwrap().is_none(), "the program has ended before");
        let pid = self.child.process_id().unwrap();
        signal::kill(Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
    }

    /// The program ends with this status, promptly, and not by a signal.
    #[track_caller]
    pub fn expect_exit(&mut self, wanted: u32) {
        let have = match until(PROMPTLY, || self.child.try_wait().unwrap()) {
            Some(status) => status.to_string(),
            None => "it runs".to_owned(),
        };
        let wanted = portable_pty::ExitStatus::with_exit_code(wanted).to_string();
        if have != wanted {
            fail(&wanted, &format!("{have}, {}", self.shown.describe()), &Log::default());
        }
    }

    #[track_caller]
    fn wait(&self, wanted: &str, probe: impl Fn(&vt100::Screen) -> bool) {
        if !self.shown.wait(DEADLINE, probe) {
            fail(wanted, &self.shown.describe(), &Log::default());
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !thread::panicking() && self.rows().iter().any(|row| row.contains("panicked at")) {
            fail("a program that does not panic", &self.shown.describe(), &Log::default());
        }
    }
}

impl Shown {
    fn collect(mut reader: Box<dyn Read + Send>) -> Arc<Shown> {
        let (rows, columns) = (NonZeroU16::new(ROWS).unwrap(), NonZeroU16::new(COLUMNS).unwrap());
        let emulator = Mutex::new(vt100::Parser::new(rows, columns, 0));
        let shown = Arc::new(Shown { emulator, changed: Condvar::new() });
        let writer = Arc::clone(&shown);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // A closed terminal is an error here, not an end.
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                writer.emulator.lock().unwrap().process(&buffer[..count]);
                writer.changed.notify_all();
            }
        });
        shown
    }

    fn wait(&self, limit: Duration, probe: impl Fn(&vt100::Screen) -> bool) -> bool {
        let end = Instant::now() + limit;
        let mut emulator = self.emulator.lock().unwrap();
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
        let emulator = self.emulator.lock().unwrap();
        let screen = emulator.screen();
        format!("the rows {:#?}, the cursor at {:?}", rows(screen), screen.cursor_position())
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
