//! The channels' client: `[Me] ` in front of what is typed, and what comes written over it.

use crate::connection::{self, Connection};
use crate::events::{self, Event, EventSender, Events};
use crate::options;
use crate::signals::Watch;
use crate::terminal::{Prompt, Settings, Terminal};
use chat_cli::Failure;
use chat_common::channels::{SIZE, typed};
use chat_common::frame::Fixed;
use chat_common::text::printable;
use getopts::{Matches, Options};
use std::io::{self, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The command line (C1).
pub(crate) const USAGE: &str = "usage: chat-client channels <name> <host> <port>";

/// What stands in front of every line that is typed (C21).
const PROMPT: &str = "[Me] ";

/// What wipes the prompt through a pipe (C21).
const WIPE: &str = "\r    \r";

/// How long to wait, when everything was sent, for what is still under way to us.
const FAREWELL: Duration = Duration::from_secs(5);

/// The same behind Ctrl-C, which ends everything within a second (A5).
const SHORT_FAREWELL: Duration = Duration::from_millis(500);

/// How many bytes one read takes.
const READ: usize = 16 << 10;

/// The command line behind `chat-client channels`.
pub(crate) fn options() -> Options {
    chat_cli::options()
}

/// Chats until the user, a signal or the server ends it.
///
/// # Errors
/// The command line is wrong, there is no connection, or it was lost.
pub(crate) fn run(matches: &Matches) -> Result<(), Failure> {
    let [name, host, port] = matches.free.as_slice() else {
        return Err(Failure::Usage("name, host and port are needed, and nothing else".into()));
    };
    chat(name, host, options::port(port)?)
}

fn chat(name: &str, host: &str, port: u16) -> Result<(), Failure> {
    let (sender, events) = events::channel();
    let watch = Watch::start(&sender).map_err(Failure::Fatal)?;
    let stream = match connection::connect(host, port, &events, &sender) {
        Ok(Some(stream)) => stream,
        Ok(None) => return Ok(()),
        Err(cause) => {
            // C23 wants this on stdout, the cause goes to stderr.
            print_quietly(&format!("Unable to connect to {host}:{port}\n"));
            return Err(Failure::Fatal(cause));
        }
    };
    let fatal = |error: io::Error| Failure::Fatal(error.to_string());
    let connection = Connection::start(stream, &sender, receive).map_err(fatal)?;
    connection.send(typed(name).as_bytes());
    let queue = connection.queue();
    let settings = Settings { prompt: Prompt::Always { text: PROMPT, wipe: WIPE }, is_last: |_| false };
    let terminal = Terminal::start(settings, &sender, move || queue.wait_for_room()).map_err(fatal)?;
    let lost = converse(&connection, events, &terminal);
    connection.close();
    if lost {
        terminal.last_line(format!("Server at {host}:{port} has disconnected"));
    }
    terminal.close();
    watch.close();
    if lost { Err(Failure::Said) } else { Ok(()) }
}

/// Cuts what the server sends into messages.
fn receive(stream: &TcpStream, events: &EventSender) {
    let mut frames = Fixed::<SIZE>::new();
    let mut buffer = vec![0; READ];
    while let Some(count) = connection::read(stream, &mut buffer, None) {
        frames.push(buffer.get(..count).unwrap_or_default());
        while let Some(message) = frames.next() {
            if !events.message(Ok(shown(&message))) {
                return;
            }
        }
    }
}

/// What a message looks like on the terminal: its padding and every CR are dropped, a line feed is a line break
/// (C21b), and all else that a terminal would obey is taken out (A15).
fn shown(message: &[u8; SIZE]) -> String {
    let lines = message.trim_ascii_end().split(|&byte| byte == b'\n');
    let line = |line: &[u8]| {
        let line: Vec<u8> = line.iter().copied().filter(|&byte| byte != b'\r').collect();
        printable(&line).into_owned()
    };
    lines.map(line).collect::<Vec<_>>().join("\n")
}

/// Handles events until one ends the chat. Whether it was the server that ended it.
fn converse(connection: &Connection, events: Events, terminal: &Terminal) -> bool {
    let mut patience: Option<Instant> = None;
    loop {
        match events.next(patience) {
            // C22.
            Some(Event::Line(line)) if patience.is_none() => {
                connection.send(typed(&line).as_bytes());
                terminal.prompt();
            }
            Some(Event::Message(Ok(text))) => terminal.line(text),
            Some(Event::Eof) => {
                connection.finish();
                patience = Some(Instant::now() + FAREWELL);
            }
            Some(Event::Interrupt) => {
                connection.finish();
                patience = Some(Instant::now() + SHORT_FAREWELL);
            }
            Some(Event::Closed) => return patience.is_none(),
            None => return false,
            Some(_) => {}
        }
    }
}

/// Prints without a panic where stdout is closed (A2).
fn print_quietly(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c21b_a15_what_a_message_looks_like() {
        let cases = [
            ("hello", "hello"),
            ("  hello \r\n", "  hello"),
            ("a\nb", "a\nb"),
            ("\r    \rAlice has joined", "    Alice has joined"),
            ("\x1b[2J", "?[2J"),
            ("", ""),
        ];
        for (said, wanted) in cases {
            let mut message = [b' '; SIZE];
            message[..said.len()].copy_from_slice(said.as_bytes());
            assert_eq!(shown(&message), wanted, "{said:?}");
        }
    }
}
