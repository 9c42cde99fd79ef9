//! The bridge's client: what [`chat_common::bridge::client`] decides, done with sockets, threads and a terminal.
//!
//! It is a server, too: it listens from the start, for whom it is introduced to may call it. Each request to the
//! server has a connection and a thread of its own; the chat has one connection to its end.

use crate::connection::{self, Connection};
use crate::events::{self, Event, EventSender, Events};
use crate::listener::{self, Call, Listener, Opening};
use crate::options;
use crate::signals::Watch;
use crate::terminal::{Prompt, Settings, Terminal};
use crate::udp;
use chat_cli::Failure;
use chat_common::bridge::client::{self, Action, Client, Ending};
use chat_common::bridge::{Contact, REQUEST_TIME, Reply, Request, Said};
use chat_common::frame::{Block, Lines, MAX_MESSAGE, Pauses, TooLong};
use chat_common::text::unquoted;
use getopts::{Matches, Options};
use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

/// The command line (B1).
pub(crate) const USAGE: &str = "usage: chat-client bridge --id=<id> --port=<port> --server=<host>:<port>";

/// What stands in front of every line (B12).
const PROMPT: &str = ">";

/// The least time between two sends that the peer has not answered: real peers take one read for one message, and
/// would take CHAT and the first text for one (B16).
const APART: Duration = Duration::from_millis(200);

/// How long the peer may take to close behind QUIT. Ctrl-C ends everything within a second (A5).
const FAREWELL: Duration = Duration::from_millis(600);

/// How many lines of a pipe may be read before they can be acted on.
const AHEAD: usize = 64;

/// What is said of a line from the peer that is longer than any may be (A14).
const TOO_LONG: &str = "a line from your peer was too long, and is not shown";

/// The command line behind `chat-client bridge`.
pub(crate) fn options() -> Options {
    let mut options = chat_cli::options();
    options.optopt("i", "id", "your name; required", "ID");
    options.optopt("p", "port", "port to listen on for whom you chat with; required", "PORT");
    options.optopt("s", "server", "address of the server; required", "HOST:PORT");
    options
}

/// Registers, is introduced and chats as it is told, until the user, a signal or the peer ends it.
///
/// # Errors
/// The command line is wrong, the port cannot be listened on, or the peer has vanished.
pub(crate) fn run(matches: &Matches) -> Result<(), Failure> {
    chat_cli::only_options(matches)?;
    let value = |name| options::required(matches, name).map(|value| unquoted(&value).to_owned());
    let id = options::name(value("id")?)?;
    let port = chat_cli::port(&value("port")?, 0..=u16::MAX)?;
    let server = value("server")?;
    let address = server.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    let (host, server_port) = address
        .ok_or_else(|| Failure::Usage(format!("the server must be given as HOST:PORT, not '{server}'")))?;
    let server = (host.trim_matches(['[', ']']).to_owned(), options::port(server_port)?);
    chat(id, port, server).map_err(Failure::Fatal)
}

fn chat(id: String, port: u16, server: (String, u16)) -> Result<(), String> {
    let (sender, events) = events::channel();
    let watch = Watch::start(&sender)?;
    let ip = udp::local_ip(&server.0, server.1)?;
    let mut listener = Listener::bind(ip, port)?;
    let port = listener.port().map_err(|error| error.to_string())?;
    let (permit, permits) = mpsc::sync_channel(AHEAD);
    // A pipe is read no faster than its lines can be acted on.
    let ready = move || {
        // That nobody takes them any more is for the event to find out.
        let _ = permit.send(());
    };
    let settings = Settings { prompt: Prompt::OnTerminal(PROMPT), is_last: client::is_quit };
    let terminal = Terminal::start(settings, &sender, ready).map_err(|error| error.to_string())?;
    let me = Contact { id, ip: ip.to_string(), port };
    terminal.line(format!("{PROMPT}{} running on {}", me.id, me.address()));
    listener.start(&sender, receive_opening).map_err(|error| error.to_string())?;
    let mut session = Session::new(me, server, &terminal, sender, permits);
    let result = session.run(events);
    if let Some(connection) = session.connection {
        connection.close();
    }
    listener.close();
    terminal.close();
    watch.close();
    result
}

/// Reads the message that opens a chat; `None` if there is none in time, or no end of it.
fn receive_opening(stream: &TcpStream) -> Option<Opening> {
    let (block, message) = receive_block(stream);
    Some(Opening { message: message?, rest: block.rest().to_vec() })
}

/// Reads one block within [`REQUEST_TIME`]: what was read, and the block if it is whole.
fn receive_block(stream: &TcpStream) -> (Block, Option<Vec<u8>>) {
    let deadline = Instant::now() + REQUEST_TIME;
    let mut block = Block::new(MAX_MESSAGE);
    let mut buffer = [0; MAX_MESSAGE];
    while let Some(count @ 1..) = connection::read(stream, &mut buffer, Some(deadline)) {
        block.push(buffer.get(..count).unwrap_or_default());
        if let Some(whole) = block.next() {
            let message = whole.ok().map(<[u8]>::to_vec);
            return (block, message);
        }
    }
    (block, None)
}

/// Asks the server on a connection of its own, which is closed behind the answer (B18). A server that closes without
/// the empty line has said all the same what it has said.
fn exchange(mut stream: &TcpStream, request: &str) -> Result<Vec<u8>, String> {
    stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
    let (block, answer) = receive_block(stream);
    listener::hang_up(stream);
    answer
        .or_else(|| Some(block.rest().to_vec()).filter(|rest| !rest.is_empty()))
        .ok_or_else(|| "no answer".into())
}

/// Cuts what the peer says behind CHAT into lines; `rest` has come already. Real peers send no line ends (A19).
fn receive(stream: &TcpStream, events: &EventSender, rest: &[u8]) {
    let mut lines = Lines::new(MAX_MESSAGE, Pauses::UntilFirstNewline);
    lines.push(rest, Duration::ZERO);
    if connection::read_lines(stream, lines, |line| events.heard(line)).is_err() {
        events.send(Event::Broken);
    }
}

/// The program from its first event to its last.
struct Session<'a> {
    client: Client,
    me: Contact,
    /// Host and port.
    server: (String, u16),
    terminal: &'a Terminal,
    events: EventSender,
    /// One for each line of a pipe that waits.
    permits: Receiver<()>,
    /// Who calls, until it is decided what becomes of them.
    calls: BTreeMap<u64, Call>,
    /// The connection to the peer that we call, before it is the chat's.
    line: Option<TcpStream>,
    /// The chat's.
    connection: Option<Connection>,
    /// The chat's has ended.
    closed: bool,
    /// How the program is to end, and when it does not wait for the peer any more.
    end: Option<(Ending, Instant)>,
}

impl<'a> Session<'a> {
    fn new(
        me: Contact,
        server: (String, u16),
        terminal: &'a Terminal,
        events: EventSender,
        permits: Receiver<()>,
    ) -> Self {
        let client = Client::new(me.id.clone(), !io::stdin().is_terminal());
        Self {
            client,
            me,
            server,
            terminal,
            events,
            permits,
            calls: BTreeMap::new(),
            line: None,
            connection: None,
            closed: false,
            end: None,
        }
    }

    /// Handles events until one ends the program. The events end with it, so no thread waits to send one more.
    fn run(&mut self, events: Events) -> Result<(), String> {
        loop {
            match self.end {
                Some((ending, _)) if self.connection.is_none() || self.closed => return self.ended(ending),
                Some((ending, deadline)) if Instant::now() >= deadline => return self.ended(ending),
                _ => {}
            }
            if let Some(event) = events.next(self.end.map(|(_, deadline)| deadline)) {
                self.handle(event);
            }
        }
    }

    fn ended(&self, ending: Ending) -> Result<(), String> {
        match ending {
            Ending::Wanted => Ok(()),
            Ending::Lost => {
                let peer = self.client.peer().map_or("your peer", |peer| peer.id.as_str());
                Err(format!("{peer} has vanished: the connection broke"))
            }
        }
    }

    fn handle(&mut self, event: Event) {
        let typed = matches!(event, Event::Line(_));
        let waited = self.client.waiting() + usize::from(typed);
        if let Some(event) = self.translate(event) {
            let actions = self.client.handle(event);
            actions.into_iter().for_each(|action| self.carry_out(action));
        }
        if typed {
            self.terminal.prompt();
        }
        for _ in self.client.waiting()..waited {
            let _ = self.permits.try_recv();
        }
    }

    /// What an event is to the client; `None`: nothing.
    fn translate(&mut self, event: Event) -> Option<client::Event> {
        Some(match event {
            Event::Line(line) => client::Event::Typed(line),
            Event::Eof => client::Event::EndOfInput,
            Event::Interrupt => client::Event::Interrupted,
            Event::Answer(answer) => self.understand(answer),
            Event::Connected(Ok(stream)) => {
                self.line = Some(stream);
                client::Event::Connected
            }
            Event::Connected(Err(cause)) => client::Event::Failed(cause),
            Event::Call(call) => return self.called(call),
            Event::Message(Ok(line)) => {
                self.connection.as_ref().inspect(|connection| connection.answered());
                client::Event::Heard(line)
            }
            Event::Message(Err(TooLong)) => {
                self.terminal.hint(TOO_LONG);
                return None;
            }
            Event::Broken => client::Event::Reset,
            Event::Closed => {
                self.closed = true;
                client::Event::HungUp
            }
            Event::Datagram(..) | Event::Refused(_) => return None,
        })
    }

    /// What the server answered.
    fn understand(&self, answer: Result<Vec<u8>, String>) -> client::Event {
        let (host, port) = &self.server;
        match answer.map(|answer| Reply::decode(&answer)) {
            Ok(Some(Reply::Registered(_))) => client::Event::Registered,
            Ok(Some(Reply::Bridged(contact))) => client::Event::Bridged(contact),
            Ok(Some(Reply::Refused(reason))) => client::Event::Failed(format!("refused: {reason}")),
            Ok(None) => client::Event::Failed(format!("{host} port {port} answers what is no answer")),
            Err(cause) => client::Event::Failed(cause),
        }
    }

    /// Who opens with anything but CHAT is not listened to.
    fn called(&mut self, call: Call) -> Option<client::Event> {
        let Some(caller) = Said::decode_chat(&call.opening.message, call.address) else {
            listener::hang_up(&call.stream);
            return None;
        };
        let number = call.number;
        self.calls.insert(number, call);
        Some(client::Event::Called(number, caller))
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::AskRegister => {
                let me = self.me.clone();
                self.ask(move |stream| Request::Register(reachable(me, stream)));
            }
            Action::AskBridge => {
                let id = self.me.id.clone();
                self.ask(move |_| Request::Bridge(id));
            }
            Action::Connect(peer) => {
                connection::start_connecting(&peer.ip, peer.port, &self.events, Event::Connected);
            }
            Action::OpenChat => self.open_chat(),
            Action::Accept(call) => self.accept(call),
            Action::Refuse(call) => {
                self.calls.remove(&call).inspect(|call| listener::hang_up(&call.stream));
            }
            Action::Say(text) => self.say(&text),
            Action::Print(line) => self.terminal.line(format!("{PROMPT}{line}")),
            Action::Hint(hint) => self.terminal.hint(&hint),
            Action::End(ending) => {
                self.connection.as_ref().inspect(|connection| connection.finish());
                self.end = Some((ending, Instant::now() + FAREWELL));
            }
        }
    }

    /// Sends the server what `request` makes of the connection to it.
    fn ask(&self, request: impl FnOnce(&TcpStream) -> Request + Send + 'static) {
        let (host, port) = &self.server;
        connection::start_connecting(host, *port, &self.events, move |connected| {
            Event::Answer(connected.and_then(|stream| {
                let request = request(&stream).to_string();
                exchange(&stream, &request)
            }))
        });
    }

    fn open_chat(&mut self) {
        let Some(stream) = self.line.take() else { return };
        let chat = reachable(self.me.clone(), &stream);
        self.start_chat(stream, Vec::new());
        self.say(&Said::Chat(&chat).to_string());
    }

    fn accept(&mut self, call: u64) {
        if let Some(Call { stream, opening, .. }) = self.calls.remove(&call) {
            self.start_chat(stream, opening.rest);
        }
    }

    /// The connection is the chat's from now on.
    fn start_chat(&mut self, stream: impl Into<Arc<TcpStream>>, rest: Vec<u8>) {
        let receive = move |stream: &TcpStream, events: &EventSender| receive(stream, events, &rest);
        match Connection::start(stream, &self.events, receive) {
            Ok(connection) => {
                connection.keep_apart(APART);
                self.connection = Some(connection);
            }
            // It was gone before it began, or there is no thread for it.
            Err(_) => self.events.send(Event::Broken),
        }
    }

    fn say(&self, text: &str) {
        self.connection.as_ref().inspect(|connection| connection.send(text.as_bytes()));
    }
}

/// `me`, with the address by which the other end of `stream` reaches us (B12).
fn reachable(me: Contact, stream: &TcpStream) -> Contact {
    match stream.local_addr() {
        Ok(address) => Contact { ip: address.ip().to_canonical().to_string(), ..me },
        Err(_) => me,
    }
}
