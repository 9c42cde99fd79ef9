//! The overlay's client: registers until it is welcome, then passes on what is typed and what comes.

use crate::events::{self, Event, Events};
use crate::options;
use crate::signals::Watch;
use crate::terminal::{Prompt, Settings, Terminal};
use crate::udp::{Asked, Sockets};
use chat_cli::Failure;
use chat_common::frame::MAX_MESSAGE;
use chat_common::overlay::{Reply, Request, text};
use getopts::{Matches, Options};
use std::time::Duration;

/// The source's own line (O2).
pub(crate) const USAGE: &str =
    "usage: chat-client overlay -s <serverAddress> -p <serverPort> -n <clientName>";

/// How often `register` is sent until the server answers: UDP may lose it (O7).
const REPEAT: Duration = Duration::from_secs(1);

/// How long the server may take to answer (O7).
const PATIENCE: Duration = Duration::from_secs(10);

/// What ends the client (O19).
const EXIT: &str = "exit";

/// What can be typed (O19).
const HINT: &str = "type: sendto <clientName> <message>, or: exit";

/// The command line behind `chat-client overlay`.
pub(crate) fn options() -> Options {
    let mut options = chat_cli::options();
    options.optopt("s", "", "name or address of the server; required", "HOST");
    options.optopt("p", "", "its port for clients (UDP); required", "PORT");
    options.optopt("n", "", "the name to register; required", "NAME");
    options
}

/// Chats until the user or a signal ends it.
///
/// # Errors
/// The command line is wrong, or no server answers.
pub(crate) fn run(matches: &Matches) -> Result<(), Failure> {
    chat_cli::only_options(matches)?;
    let host = options::required(matches, "s")?;
    let port = options::port(&options::required(matches, "p")?)?;
    let name = options::name(options::required(matches, "n")?)?;
    chat(&host, port, &name).map_err(Failure::Fatal)
}

fn chat(host: &str, port: u16, name: &str) -> Result<(), String> {
    let (sender, events) = events::channel();
    let watch = Watch::start(&sender)?;
    let mut sockets = Sockets::open(host, port, &sender)?;
    let request = Request::Register(name).to_string();
    let is_welcome =
        |datagram: &[u8]| (Reply::decode(&text(datagram)) == Some(Reply::Welcome(name))).then_some(());
    let asked = sockets.ask(&events, &request, (REPEAT, PATIENCE), is_welcome);
    if matches!(asked, Asked::Silence) {
        return Err(format!("no server answers at {host} port {port}"));
    }
    let settings = Settings { prompt: Prompt::Once(""), is_last: |line| line == EXIT };
    let terminal = Terminal::start(settings, &sender, || ()).map_err(|error| error.to_string())?;
    if let Asked::Answer(()) = asked {
        terminal.line(format!("connected to server and registered {name}"));
        converse(&sockets, events, &terminal, name);
    } else {
        drop(events);
    }
    terminal.line("terminating client...".into());
    terminal.close();
    sockets.close();
    watch.close();
    Ok(())
}

/// Handles events until the user ends it.
fn converse(sockets: &Sockets, events: Events, terminal: &Terminal, name: &str) {
    loop {
        match events.next(None) {
            Some(Event::Line(line)) if line == EXIT => return,
            Some(Event::Line(line)) => typed(&line, sockets, terminal),
            Some(Event::Datagram(route, datagram)) if sockets.is_current(route) => {
                let datagram = text(&datagram);
                match Reply::decode(&datagram) {
                    Some(Reply::RecvFrom(sender, message)) => terminal.line(format!("{sender}: {message}")),
                    // A late answer to a repeated `register`.
                    Some(Reply::Welcome(own)) if own == name => {}
                    _ if datagram.is_empty() => {}
                    _ => terminal.line(datagram.into_owned()),
                }
            }
            Some(Event::Eof | Event::Interrupt) => return,
            _ => {}
        }
    }
}

/// O19: a sendto is sent, anything else gets a hint.
fn typed(line: &str, sockets: &Sockets, terminal: &Terminal) {
    if line.is_empty() {
        return;
    }
    match Request::decode(line) {
        Ok(Request::SendTo(..)) if line.len() <= MAX_MESSAGE => sockets.send(line),
        Ok(Request::SendTo(..)) => terminal.hint(&format!("longer than {MAX_MESSAGE} bytes; not sent")),
        _ => terminal.hint(HINT),
    }
}
