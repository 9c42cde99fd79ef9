//! The room's clients: they join, then pass on what is typed and what comes.
//!
//! [`ClientTcp`] and [`ClientUdp`] have the operations of the source under its names (R15), in its order. The
//! threads that read only send events; the main thread shows them, and what the source calls `exit_run` and
//! `exit_receive` is the end of that thread's loop and of the [`Events`].

use crate::connection::{self, Connection};
use crate::events::{self, Event, EventSender, Events};
use crate::options;
use crate::signals::Watch;
use crate::terminal::{Prompt, Settings, Terminal};
use crate::udp::{Asked, Sockets};
use chat_cli::Failure;
use chat_common::frame::{Lines, MAX_MESSAGE, MAX_RELAYED, Pauses, TooLong, without_line_end};
use chat_common::room::{EXIT, Reply, Request, Way, split_farewell, split_welcome};
use chat_common::text::printable;
use getopts::{Matches, Options};
use std::io::{self, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use std::{mem, thread};

/// The source's arguments, and what chooses the transport (R1).
pub(crate) const USAGE: &str =
    "usage: chat-client room [--udp] [--lines] --name NAME [--host HOST] [<server_port>]";

/// This machine, and the port of the source's example (R1).
const HOST: &str = "127.0.0.1";
const PORT: u16 = 12345;

/// The time between two sends to a server that takes one read for one message (R3).
const APART: Duration = Duration::from_millis(50);

/// How often `join` is sent until the server answers, for UDP may lose it, and how long that may take (R11).
const REPEAT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// How long the server may take to close the connection behind `exit`, or to take more of what comes before
/// it.
const FAREWELL: Duration = Duration::from_millis(500);

/// A pipe is read no faster than a line in this time over UDP, where nothing else slows who says too much:
/// what the server has no room for is lost.
const DATAGRAM_PACE: Duration = Duration::from_millis(1);

/// What is said when the connection has ended without a farewell, and when nobody listens at a UDP server's
/// port any more.
const CLOSED: &str = "Server closed the connection";
const GONE: &str = "nobody listens there any more; what was said is lost";

/// What is said of a line from the server that is longer than any of the protocol's (A14).
const TOO_LONG: &str = "a line from the server was too long, and is not shown";

/// How many bytes one read takes: over TCP without newlines, that is one message.
const READ: usize = MAX_RELAYED;

/// The command line behind `chat-client room`.
pub(crate) fn options() -> Options {
    let mut options = chat_cli::options();
    options.optopt("n", "name", "the name to join under; required", "NAME");
    options.optopt("", "host", &format!("name or address of the server (default {HOST})"), "HOST");
    options.optflag("", "udp", "speak UDP in place of TCP");
    options.optflag("", "lines", "over TCP: end each message with a newline");
    options
}

/// Chats until the user, a signal or the server ends it.
///
/// # Errors
/// The command line is wrong, the server cannot be reached or does not admit, or the connection was lost.
pub(crate) fn run(matches: &Matches) -> Result<(), Failure> {
    let name = options::name(options::required(matches, "name")?)?;
    let host = matches.opt_str("host").unwrap_or_else(|| HOST.into());
    let port = match matches.free.as_slice() {
        [] => PORT,
        [port] => options::port(port)?,
        [_, extra, ..] => return Err(chat_cli::one_too_many(extra)),
    };
    let ended = if matches.opt_present("udp") {
        ClientUdp::new(name, host, port).run()
    } else {
        ClientTcp::new(name, host, port, matches.opt_present("lines")).run()
    };
    ended.map_err(Failure::Fatal)
}

/// The client over TCP.
struct ClientTcp {
    client_name: String,
    /// The source's `server_addr`.
    host: String,
    server_port: u16,
    /// Messages end with a newline (R3).
    lines: bool,
}

/// The client over UDP.
struct ClientUdp {
    client_name: String,
    /// The source's `server_addr`.
    host: String,
    server_port: u16,
}

impl ClientTcp {
    /// A client that is not connected yet.
    const fn new(client_name: String, host: String, server_port: u16, lines: bool) -> Self {
        Self { client_name, host, server_port, lines }
    }

    /// Connects to the server, sends it the client's name, and waits for its answer. If that contains
    /// `Welcome`, the client has joined. `None`: the user or the server ended it.
    ///
    /// # Errors
    /// There is no connection, or the server does not admit; what it says is shown (R13).
    fn connect_server(&self, sender: &EventSender, events: &Events) -> Result<Option<Connection>, String> {
        let (host, port, lines) = (&self.host, self.server_port, self.lines);
        let Some(stream) = connection::connect(host, port, events, sender)? else { return Ok(None) };
        let receive = move |stream: &TcpStream, events: &EventSender| Self::receive(lines, stream, events);
        let connection = Connection::start(stream, sender, receive).map_err(|error| error.to_string())?;
        if !lines {
            connection.keep_apart(APART);
        }
        let join = Request::Join(&self.client_name, Way::Plain);
        self.send(&connection, &join.to_string());
        loop {
            match events.next(None) {
                Some(Event::Message(Ok(answer))) => {
                    return admitted(&answer).map(|joined| joined.then_some(connection));
                }
                Some(Event::Message(Err(TooLong)) | Event::Closed) => return Err(CLOSED.into()),
                Some(Event::Interrupt) => {
                    return self.leave(&connection, events, drop).map(|()| None);
                }
                _ => {}
            }
        }
    }

    /// Sends `text` to the server: the bare bytes, or a line (R3).
    fn send(&self, connection: &Connection, text: &str) {
        let end = if self.lines { "\n" } else { "" };
        connection.send(format!("{text}{end}").as_bytes());
    }

    /// Listens for the server's messages until the connection ends, and hands each to the main thread, which
    /// shows it: each read is one, or each line.
    fn receive(lines: bool, stream: &TcpStream, events: &EventSender) {
        if lines {
            receive_lines(stream, events);
        } else {
            receive_reads(stream, events);
        }
    }

    /// Joins; then sends what is typed and shows what comes, until the user, a signal or the server ends it.
    fn run(&self) -> Result<(), String> {
        let (sender, events) = events::channel();
        let watch = Watch::start(&sender)?;
        let Some(connection) = self.connect_server(&sender, &events)? else { return Ok(()) };
        let queue = connection.queue();
        let settings =
            Settings { prompt: Prompt::Once(""), is_last: |line| Request::decode(line) == Request::Exit };
        let terminal = Terminal::start(settings, &sender, move || queue.wait_for_room());
        let terminal = terminal.map_err(|error| error.to_string())?;
        let result = self.converse(&connection, events, &terminal);
        connection.close();
        terminal.close();
        watch.close();
        result
    }

    /// Handles events until one ends the chat. The events end with it, so no thread waits to send one more.
    fn converse(&self, connection: &Connection, events: Events, terminal: &Terminal) -> Result<(), String> {
        loop {
            match events.next(None) {
                Some(Event::Line(line)) if Request::decode(&line) == Request::Exit => break,
                Some(Event::Line(line)) if line.len() > MAX_MESSAGE => too_long(terminal),
                Some(Event::Line(line)) if line.is_empty() => {}
                Some(Event::Line(line)) => self.send(connection, &line),
                Some(Event::Eof) => break,
                Some(Event::Interrupt) => {
                    connection.forget_queued();
                    break;
                }
                Some(Event::Message(Ok(text))) if Reply::is_farewell(&text) => return Ok(()),
                Some(Event::Message(Ok(text))) => terminal.line(text),
                Some(Event::Message(Err(TooLong))) => terminal.hint(TOO_LONG),
                Some(Event::Closed) => return Err(CLOSED.into()),
                _ => {}
            }
        }
        self.leave(connection, &events, |text| terminal.line(text))
    }

    /// R14: tells the server, behind everything that was typed, and waits for a moment that it closes the
    /// connection. What comes meanwhile is for `show`.
    fn leave(&self, connection: &Connection, events: &Events, show: impl Fn(String)) -> Result<(), String> {
        self.send(connection, EXIT);
        connection.finish();
        let mut unsent = connection.unsent();
        let mut patience = Instant::now() + FAREWELL;
        loop {
            match events.next(Some(patience)) {
                Some(Event::Closed) => return Ok(()),
                Some(Event::Message(Ok(text))) if !Reply::is_farewell(&text) => show(text),
                Some(Event::Interrupt) => {
                    connection.forget_queued();
                    self.send(connection, EXIT);
                }
                _ => {}
            }
            if Instant::now() < patience {
                continue;
            }
            let before = mem::replace(&mut unsent, connection.unsent());
            match unsent {
                0 => return Ok(()),
                // A slow server is given every line that was typed (A7).
                _ if unsent < before => patience = Instant::now() + FAREWELL,
                _ => return Err("the server takes nothing any more".into()),
            }
        }
    }
}

/// Each read is a message. What stands behind the `Welcome` in the first, and a farewell at the end of any,
/// are messages of their own (R13).
fn receive_reads(stream: &TcpStream, events: &EventSender) {
    let mut buffer = vec![0; READ];
    let mut first = true;
    while let Some(count) = connection::read(stream, &mut buffer, None) {
        let read = buffer.get(..count).unwrap_or_default();
        let (answer, rest) = if mem::take(&mut first) { split_welcome(read) } else { (&[][..], read) };
        let (message, farewell) = split_farewell(rest);
        if ![answer, message, farewell].into_iter().all(|message| pass_on(message, events)) {
            return;
        }
    }
}

/// Each line is a message. A server that sends none is read by its pauses (A19).
fn receive_lines(stream: &TcpStream, events: &EventSender) {
    let mut first = true;
    let take = |line: Result<&[u8], TooLong>| match line {
        Ok(line) if mem::take(&mut first) => {
            let (answer, rest) = split_welcome(line);
            pass_on(answer, events) && pass_on(rest, events)
        }
        Ok(line) => pass_on(line, events),
        Err(TooLong) => events.heard(Err(TooLong)),
    };
    // However the stream ends: what that means depends on what was said before.
    let _ = connection::read_lines(stream, Lines::new(MAX_RELAYED, Pauses::Always), take);
}

/// Hands a message of the server to the main thread, if there is anything in it. False: nobody takes it.
fn pass_on(message: &[u8], events: &EventSender) -> bool {
    let message = without_line_end(message);
    message.is_empty() || events.heard(Ok(message))
}

impl ClientUdp {
    /// A client that has not joined yet.
    const fn new(client_name: String, host: String, server_port: u16) -> Self {
        Self { client_name, host, server_port }
    }

    /// Sends `join` until the server answers. If that is `Welcome`, the client has joined. False: the user or
    /// the server ended it.
    ///
    /// # Errors
    /// Nobody answers, or the server does not admit; what it says is shown (R13).
    fn connect_server(&self, sockets: &mut Sockets, events: &Events) -> Result<bool, String> {
        let join = Request::Join(&self.client_name, Way::Named).to_datagram(&self.client_name);
        match sockets.ask(events, &join, REPEAT, Self::receive) {
            Asked::Answer(answer) => admitted(&answer),
            Asked::Silence => Err(format!("no server answers at {} port {}", self.host, self.server_port)),
            Asked::Interrupted => {
                // It may have heard us.
                self.send(sockets, EXIT);
                Ok(false)
            }
        }
    }

    /// Sends `text` to the server, behind the client's name (R7).
    fn send(&self, sockets: &Sockets, text: &str) {
        sockets.send(&Request::Text(text).to_datagram(&self.client_name));
    }

    /// What a datagram of the server says, if anything. The sockets' threads listen for them.
    fn receive(datagram: &[u8]) -> Option<String> {
        let message = without_line_end(datagram);
        (!message.is_empty()).then(|| printable(message).into_owned())
    }

    /// Joins; then sends what is typed and shows what comes, until the user, a signal or the server ends it.
    fn run(&self) -> Result<(), String> {
        let (sender, events) = events::channel();
        let watch = Watch::start(&sender)?;
        let mut sockets = Sockets::open(&self.host, self.server_port, &sender)?;
        if !self.connect_server(&mut sockets, &events)? {
            return Ok(());
        }
        let settings = Settings { prompt: Prompt::Once(""), is_last: is_exit };
        let terminal = Terminal::start(settings, &sender, || thread::sleep(DATAGRAM_PACE));
        let terminal = terminal.map_err(|error| error.to_string())?;
        self.converse(&sockets, events, &terminal);
        terminal.close();
        sockets.close();
        watch.close();
        Ok(())
    }

    /// Handles events until one ends the chat. The events end with it, so no thread waits to send one more.
    fn converse(&self, sockets: &Sockets, events: Events, terminal: &Terminal) {
        loop {
            match events.next(None) {
                Some(Event::Line(line)) if is_exit(&line) => break,
                Some(Event::Line(line)) if line.len() > MAX_MESSAGE => too_long(terminal),
                Some(Event::Line(line)) if line.is_empty() => {}
                Some(Event::Line(line)) => self.send(sockets, &line),
                Some(Event::Datagram(route, datagram)) if sockets.is_current(route) => {
                    match Self::receive(&datagram) {
                        Some(text) if Reply::is_farewell(&text) => return,
                        // A late answer to a repeated `join`.
                        Some(text) if text == Reply::Welcome.to_string() => {}
                        Some(text) => terminal.line(text),
                        None => {}
                    }
                }
                Some(Event::Refused(route)) if sockets.is_current(route) => terminal.hint(GONE),
                Some(Event::Eof | Event::Interrupt) => break,
                _ => {}
            }
        }
        self.send(sockets, EXIT);
    }
}

/// A14: the server would refuse it, or take it for several.
fn too_long(terminal: &Terminal) {
    terminal.hint(&format!("longer than {MAX_MESSAGE} bytes; not sent"));
}

/// Over UDP the server takes it with spaces around it, too (R7).
fn is_exit(line: &str) -> bool {
    line.trim_matches(' ') == EXIT
}

/// R13: whether the first answer of a server admits; false if it is the farewell.
///
/// # Errors
/// It refuses. What it says is on stdout then; no terminal has started yet.
fn admitted(answer: &str) -> Result<bool, String> {
    if Reply::is_welcome(answer) || Reply::is_farewell(answer) {
        return Ok(!Reply::is_farewell(answer));
    }
    // A closed stdout is no reason for anything (A2).
    let _ = writeln!(io::stdout(), "{answer}");
    Err("the server did not admit this client".into())
}
