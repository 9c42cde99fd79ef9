//! The server's terminal: what the source specifies on stdout, everything else on stderr (A1).
//!
//! A terminal can be slow or stopped (Ctrl-S), and nobody who chats may wait for it (S1). So a line is
//! queued, which never blocks and may be done under a lock; one thread writes. The order of the queue is the
//! order on the terminal.

use parking_lot::{Condvar, Mutex, MutexGuard};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How much may wait for a terminal that takes nothing. What comes beyond it is counted and lost.
const MAX_WAITING: usize = 1 << 20;

/// How long the writer rests after a write. A line that comes to a resting writer wakes nobody: under load
/// that saves a system call and a thread switch for every message, and no person sees five milliseconds.
const REST: Duration = Duration::from_millis(5);

/// How long the end of the server waits for a terminal that takes nothing.
const FAREWELL: Duration = Duration::from_millis(200);

/// Where lines are queued. Clones are the same queue.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Inner>);

/// The writing thread, which ends when this is closed.
pub(crate) struct Writer {
    log: Log,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Inner {
    queue: Mutex<Queue>,
    /// Lines have come, or the log is closed.
    lines: Condvar,
    /// The writer has ended.
    done: Condvar,
}

#[derive(Default)]
struct Queue {
    out: String,
    err: String,
    lost: usize,
    /// The writer waits in `lines`: only then has it to be woken.
    idle: bool,
    closed: bool,
    done: bool,
}

impl Log {
    /// An empty log, and the thread that writes it.
    ///
    /// # Errors
    /// The system has no thread to spare.
    pub(crate) fn start() -> io::Result<(Self, Writer)> {
        let log = Self::default();
        let queue = log.clone();
        let thread = thread::Builder::new().name("log".into()).spawn(move || queue.write_all())?;
        Ok((log.clone(), Writer { log, thread }))
    }

    /// Queues whole lines, each with its newline, for stdout.
    pub(crate) fn out(&self, lines: &str) {
        self.queue(lines, |queue| &mut queue.out);
    }

    /// Queues one line (without its newline) for stderr.
    pub(crate) fn err(&self, line: &str) {
        self.err_lines(&format!("{line}\n"));
    }

    /// Queues whole lines, each with its newline, for stderr.
    pub(crate) fn err_lines(&self, lines: &str) {
        self.queue(lines, |queue| &mut queue.err);
    }

    fn queue(&self, lines: &str, stream: impl Fn(&mut Queue) -> &mut String) {
        if lines.is_empty() {
            return;
        }
        let mut queue = self.0.queue.lock();
        if stream(&mut queue).len() + lines.len() > MAX_WAITING {
            queue.lost += lines.lines().count();
            return;
        }
        stream(&mut queue).push_str(lines);
        if queue.idle {
            self.0.lines.notify_one();
        }
    }

    /// What the writing thread does until the log is closed and empty.
    fn write_all(&self) {
        while let Some((out, err)) = self.take() {
            // A closed stdout or stderr does not end a server: it goes on in silence (A2).
            write_quietly(io::stdout(), &out);
            write_quietly(io::stderr(), &err);
            let mut queue = self.0.queue.lock();
            if !queue.closed {
                self.0.lines.wait_for(&mut queue, REST);
            }
        }
        self.0.queue.lock().done = true;
        self.0.done.notify_all();
    }

    /// Waits for lines, and takes them all; `None` at the end.
    fn take(&self) -> Option<(String, String)> {
        let mut queue = self.0.queue.lock();
        while queue.is_empty() {
            if queue.closed {
                return None;
            }
            self.wait_idle(&mut queue);
        }
        let lost = std::mem::take(&mut queue.lost);
        if lost > 0 {
            let _ = writeln!(queue.err, "{lost} lines are missing here: the terminal took nothing");
        }
        Some((std::mem::take(&mut queue.out), std::mem::take(&mut queue.err)))
    }

    fn wait_idle(&self, queue: &mut MutexGuard<'_, Queue>) {
        queue.idle = true;
        self.0.lines.wait(queue);
        queue.idle = false;
    }
}

impl Queue {
    const fn is_empty(&self) -> bool {
        self.out.is_empty() && self.err.is_empty() && self.lost == 0
    }
}

impl Writer {
    /// Writes what waits, and ends the thread. If the terminal takes nothing for a moment, the thread is left
    /// to the end of the process: the server must end all the same (A5).
    pub(crate) fn close(self) {
        let mut queue = self.log.0.queue.lock();
        queue.closed = true;
        self.log.0.lines.notify_one();
        let _ = self.log.0.done.wait_while_for(&mut queue, |queue| !queue.done, FAREWELL);
        let done = queue.done;
        drop(queue);
        if done {
            let _ = self.thread.join();
        }
    }
}

fn write_quietly(mut stream: impl Write, text: &str) {
    let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
}
