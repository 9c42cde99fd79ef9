//! Everything that can happen to a client, on one channel.
//!
//! The main thread takes one event after the other and never waits for anything else, so whatever it is
//! doing, Ctrl-C is heard. Threads that read (the terminal's and the connection's) only send events. Lines and
//! messages are gated: when many wait, their thread waits, and so does who feeds it.

use crate::listener::Call;
use crate::terminal;
use chat_common::frame::TooLong;
use chat_common::text::printable;
use std::net::TcpStream;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

/// How many typed lines, and how many messages, may wait to be handled.
const WAITING: usize = 64;

/// After Ctrl-C the program is over at the latest by then, whatever it waits for, such as an output that
/// takes nothing (A5).
const LAST_MOMENT: Duration = Duration::from_millis(900);

/// What the shell reports of a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Something has happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// The attempt to connect has ended: with a connection, or with why there is none.
    Connected(Result<TcpStream, String>),
    /// A line was typed, or came through a pipe.
    Line(String),
    /// The input has ended.
    Eof,
    /// The server said this; what a terminal would obey is taken out of it (A15). Or it said more than a
    /// message may be.
    Message(Result<String, TooLong>),
    /// The answer to a request that had a connection of its own, or why there is none.
    Answer(Result<Vec<u8>, String>),
    /// Somebody has connected to us.
    Call(Call),
    /// The connection broke, which is more than an end: it is about to be [`Event::Closed`].
    Broken,
    /// The connection has ended.
    Closed,
    /// A datagram, and by which of the server's addresses it came.
    Datagram(usize, Vec<u8>),
    /// Nobody listens at that one of the server's addresses.
    Refused(usize),
    /// Ctrl-C, SIGTERM or SIGHUP, or nobody reads our output any more: the client is to end.
    Interrupt,
}

/// The receiving end, for the main thread.
pub(crate) struct Events {
    events: Receiver<Event>,
    lines: Receiver<()>,
    messages: Receiver<()>,
}

/// A sending end. Clones send to the same main thread.
#[derive(Clone)]
pub(crate) struct EventSender {
    events: Sender<Event>,
    /// One unit stands in here for each line that waits; so too for messages.
    lines: SyncSender<()>,
    messages: SyncSender<()>,
    interrupted: Arc<AtomicBool>,
}

/// The two ends.
pub(crate) fn channel() -> (EventSender, Events) {
    let (events, receiver) = mpsc::channel();
    let (lines, waiting_lines) = mpsc::sync_channel(WAITING);
    let (messages, waiting_messages) = mpsc::sync_channel(WAITING);
    let sender = EventSender { events, lines, messages, interrupted: Arc::default() };
    (sender, Events { events: receiver, lines: waiting_lines, messages: waiting_messages })
}

impl Events {
    /// The next event; `None` at `deadline`, if there is one.
    pub(crate) fn next(&self, deadline: Option<Instant>) -> Option<Event> {
        let event = match deadline {
            None => self.events.recv().unwrap_or(Event::Closed),
            Some(deadline) => {
                match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                    Ok(event) => event,
                    Err(RecvTimeoutError::Timeout) => return None,
                    Err(RecvTimeoutError::Disconnected) => Event::Closed,
                }
            }
        };
        match &event {
            Event::Line(_) => drop(self.lines.try_recv()),
            Event::Message(_) | Event::Datagram(..) => drop(self.messages.try_recv()),
            _ => {}
        }
        Some(event)
    }
}

impl EventSender {
    /// Sends an event that need not wait. An event for a program that is ending goes nowhere.
    pub(crate) fn send(&self, event: Event) {
        let _ = self.events.send(event);
    }

    /// Sends a typed line, waiting while many do. False: nobody takes it any more.
    pub(crate) fn line(&self, line: String) -> bool {
        self.lines.send(()).is_ok() && self.events.send(Event::Line(line)).is_ok()
    }

    /// Sends a line that a person typed, and never waits: the line editor has to be there for what is to be
    /// printed.
    #[cfg(feature = "line-editor")]
    pub(crate) fn typed(&self, line: String) {
        let _ = self.lines.try_send(());
        self.send(Event::Line(line));
    }

    /// Sends what the other side said, without what a terminal would obey (A15); waits as [`EventSender::message`] does.
    pub(crate) fn heard(&self, message: Result<&[u8], TooLong>) -> bool {
        self.message(message.map(|message| printable(message).into_owned()))
    }

    /// Sends a message of the server, waiting while many do. False: nobody takes it any more.
    pub(crate) fn message(&self, message: Result<String, TooLong>) -> bool {
        self.messages.send(()).is_ok() && self.events.send(Event::Message(message)).is_ok()
    }

    /// Sends a datagram of the server, waiting while many do. False: nobody takes it any more.
    pub(crate) fn datagram(&self, route: usize, datagram: Vec<u8>) -> bool {
        self.messages.send(()).is_ok() && self.events.send(Event::Datagram(route, datagram)).is_ok()
    }

    /// The user, or the system, wants the program to end; the second time at once (A5).
    pub(crate) fn interrupt(&self) {
        if self.interrupted.swap(true, Ordering::SeqCst) {
            terminal::restore();
            process::exit(INTERRUPTED);
        }
        self.send(Event::Interrupt);
        // Refused a thread, the program still ends as soon as the main thread can.
        let _ = thread::Builder::new().name("last-moment".into()).spawn(|| {
            thread::sleep(LAST_MOMENT);
            terminal::restore();
            process::exit(0);
        });
    }
}
