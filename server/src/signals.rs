//! The signals that reach a server.
//!
//! A signal interrupts a program anywhere, in the middle of an allocation or with a lock held, so its handler may do
//! next to nothing. Both libraries' handlers only write a byte into a pipe, and a thread that reads the other end does
//! the work, where everything is allowed. Nor does a signal end a blocked call here: [`Stop`] wakes those.
//!
//! Ctrl-C (SIGINT) is ctrlc's; SIGTERM, SIGHUP and SIGUSR1 are signal-hook's. They never share one: the
//! later of the two would silence the other.

use crate::stop::Stop;
use signal_hook::consts::{SIGHUP, SIGTERM, SIGUSR1};
use signal_hook::iterator::{Handle, Signals};
use std::thread::{self, JoinHandle};

/// What the shell reports of a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// The thread that waits for signals.
pub(crate) struct Watch {
    handle: Handle,
    thread: JoinHandle<()>,
}

impl Watch {
    /// Ctrl-C, SIGTERM and SIGHUP end the server (A5), a second Ctrl-C at once; SIGUSR1 calls `report` (A6).
    ///
    /// # Errors
    /// One line: the system refused the handlers or their thread.
    pub(crate) fn start(stop: &Stop, report: impl Fn() + Send + 'static) -> Result<Self, String> {
        let refused = |error: &dyn std::error::Error| format!("cannot watch for signals: {error}");
        let interrupted = stop.clone();
        ctrlc::set_handler(move || {
            if !interrupted.request() {
                std::process::exit(INTERRUPTED);
            }
        })
        .map_err(|error| refused(&error))?;
        // Under nohup the hang-up of the terminal is ignored, and must stay so.
        let watched: &[i32] =
            if is_hangup_ignored() { &[SIGTERM, SIGUSR1] } else { &[SIGTERM, SIGHUP, SIGUSR1] };
        let mut signals = Signals::new(watched).map_err(|error| refused(&error))?;
        let handle = signals.handle();
        let stop = stop.clone();
        let watch = move || {
            for signal in signals.forever() {
                if signal == SIGUSR1 {
                    report();
                } else {
                    stop.request();
                }
            }
        };
        let thread = thread::Builder::new().name("signals".into()).spawn(watch);
        Ok(Self { handle, thread: thread.map_err(|error| refused(&error))? })
    }

    /// Ends the thread.
    pub(crate) fn close(self) {
        self.handle.close();
        // A panic in a report has been printed; the server ends all the same.
        let _ = self.thread.join();
    }
}

/// Whether this process was started with SIGHUP ignored. Only Linux tells without system calls of our own.
fn is_hangup_ignored() -> bool {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return false };
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask & (1 << (SIGHUP - 1)) != 0
}
