//! What every server has while it runs: the flag that ends it, its log, its connections, and the threads that
//! serve them all.
//!
//! A protocol opens a [`Service`], says with [`Service::watch`] what SIGUSR1 reports, serves until the flag is
//! set, and closes the service.

use crate::log::{self, Log};
use crate::peer::Flusher;
use crate::signals;
use crate::stop::Stop;
use crate::tcp::Connections;
use parking_lot::Mutex;
use std::fmt::{Display, Write as _};
use std::io;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A running server's means, shared by all its threads.
pub(crate) struct Service {
    /// Set when the server is to end.
    pub(crate) stop: Stop,
    /// The server's terminal.
    pub(crate) log: Log,
    /// Everyone connected by TCP.
    pub(crate) connections: Connections,
    /// Sends what waits for slow readers.
    pub(crate) flusher: Flusher,
    threads: Mutex<Threads>,
}

/// The threads that are there before the first client and after the last.
struct Threads {
    flusher: JoinHandle<()>,
    log: log::Writer,
    signals: Option<signals::Watch>,
}

impl Service {
    /// Starts the threads that write the log and flush outboxes.
    ///
    /// # Errors
    /// One line: the system has no threads to spare.
    pub(crate) fn open() -> Result<Self, String> {
        let refused = |error: io::Error| format!("cannot start a thread: {error}");
        let (log, writer) = Log::start().map_err(refused)?;
        let flusher = Flusher::default();
        let flushing = flusher.clone();
        let thread = thread::Builder::new().name("flush".into()).spawn(move || flushing.run());
        let threads = Threads { flusher: thread.map_err(refused)?, log: writer, signals: None };
        let connections = Connections::default();
        Ok(Self { stop: Stop::default(), log, connections, flusher, threads: Mutex::new(threads) })
    }

    /// From now on signals end the server, and SIGUSR1 calls `report`.
    ///
    /// # Errors
    /// One line: the system refused the handlers or their thread.
    pub(crate) fn watch(&self, report: impl Fn() + Send + 'static) -> Result<(), String> {
        self.threads.lock().signals = Some(signals::Watch::start(&self.stop, report)?);
        Ok(())
    }

    /// Ends the threads, when everything that they serve has ended. What was logged is on the terminal then.
    pub(crate) fn close(self) {
        let threads = self.threads.into_inner();
        self.flusher.close();
        // A panic of that thread has been printed; the server ends all the same.
        let _ = threads.flusher.join();
        if let Some(signals) = threads.signals {
            signals.close();
        }
        threads.log.close();
    }
}

/// What SIGUSR1 prints: who is registered, from where, and for how long each was silent (A6).
pub(crate) fn report<'a>(
    places: usize,
    members: impl Iterator<Item = (&'a str, impl Display, Duration)>,
) -> String {
    let mut lines = String::new();
    let mut count = 0;
    for (name, address, silent) in members {
        count += 1;
        // Writing to a String cannot fail.
        let _ = write!(lines, "\n{name} {address}, last heard {} s ago", silent.as_secs());
    }
    format!("{count} of {places} registered{lines}")
}
