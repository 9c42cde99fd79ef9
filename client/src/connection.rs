//! A TCP connection to a server, for a main thread that never waits.
//!
//! One thread connects and then receives; another sends what is queued. What the bytes mean is not known
//! here: a protocol hands in the function that reads.

use crate::events::{Event, EventSender, Events};
use chat_common::frame::{Lines, TooLong};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long one address may take to answer. A host that is switched off would take minutes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How many bytes one read of lines takes.
const READ: usize = 16 << 10;

/// Who reads from a pipe waits while more than this is queued for the server.
const QUEUE: usize = 64 << 10;

/// Connects to `port` of `host`, trying every address that a name has (A10). `None` if the user ended it.
///
/// # Errors
/// One line with host, port and cause.
pub(crate) fn connect(
    host: &str,
    port: u16,
    events: &Events,
    sender: &EventSender,
) -> Result<Option<TcpStream>, String> {
    start_connecting(host, port, sender, Event::Connected);
    loop {
        match events.next(None) {
            Some(Event::Connected(result)) => return result.map(Some),
            Some(Event::Interrupt) => return Ok(None),
            _ => {}
        }
    }
}

/// Connects to `port` of `host` on a thread of its own, trying every address that a name has (A10); the event is what
/// `then` makes of the connection, or of one line with host, port and cause.
pub(crate) fn start_connecting(
    host: &str,
    port: u16,
    sender: &EventSender,
    then: impl FnOnce(Result<TcpStream, String>) -> Event + Send + 'static,
) {
    let (target, results) = (host.to_owned(), sender.clone());
    let attempt = move || {
        let result = connect_to_any(&target, port);
        results.send(then(result.map_err(|error| cannot_connect(&target, port, &error))));
    };
    // Looking up a name cannot be interrupted: a user who does not want to wait leaves this thread behind.
    if let Err(error) = thread::Builder::new().name("connect".into()).spawn(attempt) {
        sender.send(Event::Connected(Err(cannot_connect(host, port, &error))));
    }
}

fn cannot_connect(host: &str, port: u16, error: &io::Error) -> String {
    format!("cannot connect to {host} port {port}: {error}")
}

fn connect_to_any(host: &str, port: u16) -> io::Result<TcpStream> {
    try_addresses(host, port, |address| TcpStream::connect_timeout(&address, CONNECT_TIMEOUT))
}

/// What `attempt` makes of the first address of `host` with which it succeeds (A10).
///
/// # Errors
/// There is no address, or what the last attempt failed of.
pub(crate) fn try_addresses<T>(
    host: &str,
    port: u16,
    attempt: impl Fn(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut result = Err(io::Error::new(ErrorKind::NotFound, "the name has no address"));
    for address in (host, port).to_socket_addrs()? {
        result = attempt(address);
        if result.is_ok() {
            break;
        }
    }
    result
}

/// An open connection with its two threads.
pub(crate) struct Connection {
    stream: Arc<TcpStream>,
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

/// What is to be sent.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    /// Bytes have come or gone, or the queue is closed.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// How many bytes are on their way into the socket, besides those that wait.
    leaving: usize,
    /// Each message is a write of its own, with so much time between two.
    pause: Option<Duration>,
    /// The peer has said something since: it has read what was sent.
    answered: bool,
    /// The lengths of the messages in `waiting`, if so.
    messages: VecDeque<usize>,
    /// Nothing more comes: when all is sent, the server is told so.
    finished: bool,
    closed: bool,
}

impl Connection {
    /// Starts the threads: `receive` reads from the stream and sends events until it ends; then
    /// [`Event::Closed`] is sent.
    ///
    /// # Errors
    /// The system refuses the option or the threads.
    pub(crate) fn start(
        stream: impl Into<Arc<TcpStream>>,
        events: &EventSender,
        receive: impl FnOnce(&TcpStream, &EventSender) + Send + 'static,
    ) -> io::Result<Self> {
        let stream = stream.into();
        stream.set_nodelay(true)?;
        let mut connection = Self { stream, queue: Arc::default(), threads: Vec::new() };
        let (stream, events) = (Arc::clone(&connection.stream), events.clone());
        connection.spawn("receive", move || {
            receive(&stream, &events);
            events.send(Event::Closed);
        })?;
        let (stream, queue) = (Arc::clone(&connection.stream), Arc::clone(&connection.queue));
        connection.spawn("send", move || queue.drain_into(&stream))?;
        Ok(connection)
    }

    /// From now on each [`Connection::send`] is a write of its own, and two of them are at least `pause` apart:
    /// for a server that takes one read for one message.
    pub(crate) fn keep_apart(&self, pause: Duration) {
        self.queue.lock().pause = Some(pause);
    }

    /// The peer has said something: what is sent next need not be kept apart from what was sent before.
    pub(crate) fn answered(&self) {
        self.queue.lock().answered = true;
        self.queue.changed.notify_all();
    }

    /// Queues `bytes`; never waits.
    pub(crate) fn send(&self, bytes: &[u8]) {
        let mut state = self.queue.lock();
        state.waiting.extend_from_slice(bytes);
        if state.pause.is_some() {
            state.messages.push_back(bytes.len());
        }
        self.queue.changed.notify_all();
    }

    /// Drops what is queued and not on its way yet.
    pub(crate) fn forget_queued(&self) {
        let mut state = self.queue.lock();
        state.waiting.clear();
        state.messages.clear();
        self.queue.changed.notify_all();
    }

    /// Nothing more will be sent; when all is, the server is told so (FIN), and can still be heard.
    pub(crate) fn finish(&self) {
        self.queue.lock().finished = true;
        self.queue.changed.notify_all();
    }

    /// How many bytes the system has not taken yet.
    pub(crate) fn unsent(&self) -> usize {
        let state = self.queue.lock();
        state.waiting.len() + state.leaving
    }

    /// What is to be sent, for who wants to wait while it is much.
    pub(crate) fn queue(&self) -> Arc<Queue> {
        Arc::clone(&self.queue)
    }

    /// Ends the connection and its threads.
    pub(crate) fn close(self) {
        self.queue.close();
        // Fails only where there is no connection any more.
        let _ = self.stream.shutdown(Shutdown::Both);
        for thread in self.threads {
            // A panic of that thread has been printed; there is nothing else to tell.
            let _ = thread.join();
        }
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.threads.push(thread::Builder::new().name(name.into()).spawn(work)?);
        Ok(())
    }
}

impl Queue {
    /// Waits until there is room for more.
    pub(crate) fn wait_for_room(&self) {
        let state = self.lock();
        let full = |state: &mut State| state.waiting.len() > QUEUE && !state.closed;
        drop(self.changed.wait_while(state, full));
    }

    /// What the sending thread does: everything that waits goes out in one write, unless messages are to be
    /// kept apart.
    fn drain_into(&self, mut stream: &TcpStream) {
        while let Some(bytes) = self.take() {
            if stream.write_all(&bytes).is_err() {
                // The receiving thread meets the same end, and tells.
                return self.close();
            }
            self.rest();
        }
        // Fails only where there is no connection any more.
        let _ = stream.shutdown(Shutdown::Write);
    }

    fn take(&self) -> Option<Vec<u8>> {
        let mut state = self.lock();
        state.leaving = 0;
        let empty = |state: &mut State| state.waiting.is_empty() && !state.finished && !state.closed;
        let mut state = self.changed.wait_while(state, empty).unwrap_or_else(PoisonError::into_inner);
        let bytes = state.take_write();
        state.leaving = bytes.len();
        self.changed.notify_all();
        (!bytes.is_empty() && !state.closed).then_some(bytes)
    }

    /// What was taken has left; waits for the time between two messages, if there is to be one.
    fn rest(&self) {
        let mut state = self.lock();
        state.leaving = 0;
        if let Some(pause) = state.pause {
            let ended = |state: &State| state.closed || (state.finished && state.waiting.is_empty());
            drop(self.changed.wait_timeout_while(state, pause, |state| !ended(state) && !state.answered));
        }
    }

    fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// No code that holds this lock can panic.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes the bytes of the next write.
    fn take_write(&mut self) -> Vec<u8> {
        self.answered = false;
        match self.messages.pop_front() {
            Some(count) => self.waiting.drain(..count.min(self.waiting.len())).collect(),
            None => std::mem::take(&mut self.waiting),
        }
    }
}

/// Hands the lines of a stream to `take`, those that `lines` holds already first, until the stream ends, or `take` says
/// that nobody wants more. Its moment zero is now.
///
/// # Errors
/// The stream broke, which is more than an end.
pub(crate) fn read_lines(
    stream: &TcpStream,
    mut lines: Lines,
    mut take: impl FnMut(Result<&[u8], TooLong>) -> bool,
) -> io::Result<()> {
    let start = Instant::now();
    let mut buffer = vec![0; READ];
    let mut ended = None;
    loop {
        while let Some(line) = lines.next(start.elapsed()) {
            if !take(line) {
                return Ok(());
            }
        }
        if let Some(ended) = ended {
            return ended;
        }
        match try_read(stream, &mut buffer, lines.deadline().map(|deadline| start + deadline)) {
            Ok(Some(count)) => lines.push(buffer.get(..count).unwrap_or_default(), start.elapsed()),
            end => {
                // What is unfinished is the last line.
                lines.end();
                ended = Some(end.map(drop));
            }
        }
    }
}

/// Reads once, at most until `deadline`. `Some(0)` is nothing until then; `None` is the end of the stream,
/// for whatever reason.
pub(crate) fn read(stream: &TcpStream, buffer: &mut [u8], deadline: Option<Instant>) -> Option<usize> {
    try_read(stream, buffer, deadline).ok().flatten()
}

/// The same, but that a stream which broke is an error.
fn try_read(
    mut stream: &TcpStream,
    buffer: &mut [u8],
    deadline: Option<Instant>,
) -> io::Result<Option<usize>> {
    loop {
        // A timeout of zero would be no timeout.
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        let timeout = deadline.map(|deadline| left(deadline).max(Duration::from_millis(1)));
        stream.set_read_timeout(timeout)?;
        match stream.read(buffer) {
            Ok(0) => return Ok(None),
            Ok(count) => return Ok(Some(count)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok(Some(0));
            }
            Err(error) => return Err(error),
        }
    }
}
