//! The signals that end a client: Ctrl-C is ctrlc's, SIGTERM and SIGHUP are signal-hook's. They never share
//! one: the later of the two would silence the other.

use crate::events::EventSender;
use signal_hook::consts::{SIGHUP, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use std::thread::{self, JoinHandle};

/// The thread that waits for signals.
pub(crate) struct Watch {
    handle: Handle,
    thread: JoinHandle<()>,
}

impl Watch {
    /// From now on signals are events.
    ///
    /// # Errors
    /// One line: the system refused the handlers or their thread.
    pub(crate) fn start(events: &EventSender) -> Result<Self, String> {
        let refused = |error: &dyn std::error::Error| format!("cannot watch for signals: {error}");
        let interrupted = events.clone();
        ctrlc::set_handler(move || interrupted.interrupt()).map_err(|error| refused(&error))?;
        let mut signals = Signals::new([SIGTERM, SIGHUP]).map_err(|error| refused(&error))?;
        let handle = signals.handle();
        let events = events.clone();
        let watch = move || signals.forever().for_each(|_| events.interrupt());
        let thread = thread::Builder::new().name("signals".into()).spawn(watch);
        Ok(Self { handle, thread: thread.map_err(|error| refused(&error))? })
    }

    /// Ends the thread.
    pub(crate) fn close(self) {
        self.handle.close();
        // A panic of that thread has been printed; there is nothing else to tell.
        let _ = self.thread.join();
    }
}
