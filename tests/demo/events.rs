//! All that the stage waits for, on one channel.

use crate::failure::Failure;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// For what is no event: a program that ends, or takes keys one by one from now on.
const TICK: Duration = Duration::from_millis(5);

enum Event {
    /// A terminal shows something else.
    Changed,
    /// This signal came.
    Signal(i32),
}

/// The channel, from both ends.
pub(crate) struct Events {
    sender: Sender<Event>,
    receiver: Receiver<Event>,
}

impl Events {
    /// Starts to listen to the signals that end programs: everything on stage must end before the demo does.
    pub(crate) fn with_signals() -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel();
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        let heard = sender.clone();
        thread::Builder::new().name("signals".into()).spawn(move || {
            for signal in signals.forever() {
                // The stage, gone, has nothing more to end.
                let _ = heard.send(Event::Signal(signal));
            }
        })?;
        Ok(Self { sender, receiver })
    }

    /// What a terminal calls when it shows something else.
    pub(crate) fn changed(&self) -> impl Fn() + Send + 'static {
        let sender = self.sender.clone();
        move || {
            let _ = sender.send(Event::Changed);
        }
    }

    /// Asks `probe` whenever something may have happened, until it gives something, at most for `limit`.
    pub(crate) fn until<T>(
        &self,
        limit: Duration,
        mut probe: impl FnMut() -> Result<Option<T>, Failure>,
    ) -> Result<Option<T>, Failure> {
        let end = Instant::now() + limit;
        loop {
            let found = probe()?;
            let left = end.saturating_duration_since(Instant::now());
            if found.is_some() || left.is_zero() {
                return Ok(found);
            }
            if let Ok(Event::Signal(signal)) = self.receiver.recv_timeout(left.min(TICK)) {
                return Err(Failure::Interrupted(signal));
            }
        }
    }

    /// Lets the audience read. Only a signal ends that sooner.
    pub(crate) fn pause(&self, length: Duration) -> Result<(), Failure> {
        self.until(length, || Ok(None::<()>)).map(drop)
    }
}
