//! A program on a pseudo-terminal, and a terminal emulator that reads what it writes there.

use std::io::{self, Read, Write};
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};

use crate::wait::until;

/// How long a program may take to end after its terminal hung up on it (A5). Then it is killed.
const FAREWELL: Duration = Duration::from_secs(1);

/// A program that believes a person sits in front of it. Dropped, it hangs up, and leaves nothing running.
pub struct Pty {
    child: Box<dyn Child + Send + Sync>,
    keys: Box<dyn Write + Send>,
    shown: Arc<Shown>,
    // Closing it would hang up on the program.
    master: Box<dyn MasterPty + Send>,
}

struct Shown {
    emulator: Mutex<vt100::Parser>,
    ended: AtomicBool,
}

impl Pty {
    /// Starts a program on a terminal of its own, and calls `changed` whenever that shows something else, and at the end
    /// of all output.
    ///
    /// # Errors
    /// There is no such program, or the system gives no pseudo-terminal or no thread.
    pub fn start(
        mut command: CommandBuilder,
        rows: u16,
        columns: u16,
        changed: impl Fn() + Send + 'static,
    ) -> io::Result<Pty> {
        let size = PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 };
        let [rows, columns] = [rows, columns].map(NonZeroU16::try_from);
        let emulator =
            vt100::Parser::new(rows.map_err(io::Error::other)?, columns.map_err(io::Error::other)?, 0);
        let shown = Arc::new(Shown { emulator: Mutex::new(emulator), ended: AtomicBool::new(false) });
        let pair = native_pty_system().openpty(size).map_err(io::Error::other)?;
        let reader = pair.master.try_clone_reader().map_err(io::Error::other)?;
        let keys = pair.master.take_writer().map_err(io::Error::other)?;
        command.env("TERM", "xterm");
        let child = pair.slave.spawn_command(command).map_err(io::Error::other)?;
        let pty = Pty { child, keys, shown: Arc::clone(&shown), master: pair.master };
        thread::Builder::new().spawn(move || shown.collect(reader, changed))?;
        Ok(pty)
    }

    /// Types these keys. `"\r"` is Enter, `"\x03"` Ctrl-C, `"\x04"` Ctrl-D.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn type_keys(&mut self, keys: &str) -> io::Result<()> {
        self.keys.write_all(keys.as_bytes())?;
        self.keys.flush()
    }

    /// What the terminal shows. It stays like that while this is held.
    pub fn emulator(&self) -> MutexGuard<'_, vt100::Parser> {
        self.shown.emulator.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing more can be shown: every program on this terminal has ended.
    pub fn output_ended(&self) -> bool {
        self.shown.ended.load(Ordering::Acquire)
    }

    /// Whether the program takes keys one by one: its line editor is there. Otherwise the system collects a line, and
    /// shows it.
    pub fn takes_single_keys(&self) -> bool {
        // Of the local flags: the system collects a line (Linux; termios(3)).
        const ICANON: u32 = 2;
        self.master.get_termios().is_some_and(|termios| termios.local_flags.bits() & ICANON == 0)
    }

    /// How the program ended, if it has.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn exit_status(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Sends a signal to the program.
    ///
    /// # Errors
    /// It has ended before.
    pub fn signal(&mut self, signal: Signal) -> io::Result<()> {
        let runs = self.exit_status()?.is_none();
        let pid = self.pid().filter(|_| runs).ok_or(io::ErrorKind::NotFound)?;
        Ok(signal::kill(pid, signal)?)
    }

    /// Hangs up, and waits until the program has ended. One that does not is killed.
    pub fn end(&mut self) {
        self.signal_all(Signal::SIGHUP);
        until(FAREWELL, || self.exit_status().transpose());
        self.signal_all(Signal::SIGKILL);
        let _ = self.child.wait();
    }

    /// Sends a signal to everything on this terminal, if the program still runs: only then its number is surely its own.
    fn signal_all(&mut self, signal: Signal) {
        if let (Ok(None), Some(leader)) = (self.exit_status(), self.pid()) {
            let _ = signal::killpg(leader, signal);
        }
    }

    fn pid(&self) -> Option<Pid> {
        self.child.process_id().and_then(|pid| pid.try_into().ok()).map(Pid::from_raw)
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shown {
    /// Reads until the end, which is an error here: nobody has the terminal open any more.
    fn collect(&self, mut reader: impl Read, changed: impl Fn()) {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            self.emulator.lock().unwrap_or_else(PoisonError::into_inner).process(&buffer[..count]);
            changed();
        }
        self.ended.store(true, Ordering::Release);
        changed();
    }
}
