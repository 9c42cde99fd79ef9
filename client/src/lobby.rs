//! The lobby's client: a prompt, lines to the server, lines from it.
//!
//! [`Session`] says what each event does; [`Screen`] turns the server's lines into those of the terminal.

use crate::connection::{self, Connection};
use crate::events::{self, Event, EventSender, Events};
use crate::options;
use crate::signals::Watch;
use crate::terminal::{Prompt, Settings, Terminal};
use chat_cli::Failure;
use chat_common::frame::{Lines, MAX_MESSAGE, MAX_RELAYED, PAUSE, Pauses, TooLong};
use chat_common::lobby::{Error, Reply, Request};
use chat_common::text::printable;
use getopts::{Matches, Options};
use std::collections::VecDeque;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The source's own line (L2).
pub(crate) const USAGE: &str = "usage: chat-client lobby <host> <port>";

/// What stands in front of the first line (L28).
const PROMPT: &str = "Enter JOIN followed by your username: ";

/// How long to wait for a server that says nothing behind QUIT.
const FAREWELL: Duration = Duration::from_secs(5);

/// The same behind Ctrl-C, which ends everything within a second (A5).
const SHORT_FAREWELL: Duration = Duration::from_millis(500);

/// What is said of a line from the server that is longer than any of the protocol's (A14).
const TOO_LONG: &str = "a line from the server was too long, and is not shown";

/// How long after a name the answer to LIST is taken for complete. Longer than [`PAUSE`], which the next name
/// takes when no newline stands behind it.
const QUIET: Duration = PAUSE.saturating_mul(2);

/// The command line behind `chat-client lobby`.
pub(crate) fn options() -> Options {
    let mut options = chat_cli::options();
    options.optopt("n", "name", "join at once under this name", "NAME");
    options
}

/// Chats until the user, a signal or the server ends it.
///
/// # Errors
/// The command line is wrong, there is no connection, or it was lost.
pub(crate) fn run(matches: &Matches) -> Result<(), Failure> {
    let (host, port) = options::host_and_port(matches)?;
    chat(&host, port, matches.opt_str("name")).map_err(Failure::Fatal)
}

fn chat(host: &str, port: u16, name: Option<String>) -> Result<(), String> {
    let (sender, events) = events::channel();
    let watch = Watch::start(&sender)?;
    let Some(stream) = connection::connect(host, port, &events, &sender)? else { return Ok(()) };
    let connection = Connection::start(stream, &sender, receive).map_err(|error| error.to_string())?;
    let queue = connection.queue();
    let prompt = Prompt::Once(if name.is_some() { "" } else { PROMPT });
    let settings = Settings { prompt, is_last: is_quit };
    let terminal = Terminal::start(settings, &sender, move || queue.wait_for_room());
    let terminal = terminal.map_err(|error| error.to_string())?;
    let mut session = Session::new(&connection, &terminal);
    if let Some(name) = name {
        session.say(&Request::Join(&name).to_string());
    }
    let result = session.run(events);
    connection.close();
    terminal.close();
    watch.close();
    result
}

/// Cuts what the server sends into lines. Real servers send some of them without a newline (A19).
fn receive(stream: &TcpStream, events: &EventSender) {
    let lines = Lines::new(MAX_RELAYED, Pauses::Always);
    // However the stream ends: what that means depends on what was said before.
    let _ = connection::read_lines(stream, lines, |line| events.heard(line));
}

/// Whether a typed line is the exit command.
fn is_quit(line: &str) -> bool {
    Request::decode(line) == Some(Request::Quit)
}

/// One chat, from the first line to the last.
struct Session<'a> {
    connection: &'a Connection,
    terminal: &'a Terminal,
    screen: Screen,
    /// The next line typed is the first one (L28).
    at_prompt: bool,
    /// QUIT was sent.
    quitting: bool,
    /// The user does not wait for anything any more (A5).
    interrupted: bool,
    /// The server said that it is shutting down (L22).
    dismissed: bool,
    /// When the names that came are taken for all of a LIST answer.
    quiet: Option<Instant>,
    /// When waiting for the server's farewell ends, after QUIT.
    patience: Option<Instant>,
    /// What was still to be sent when patience was last looked at.
    unsent: usize,
}

impl<'a> Session<'a> {
    fn new(connection: &'a Connection, terminal: &'a Terminal) -> Self {
        Self {
            connection,
            terminal,
            screen: Screen::default(),
            at_prompt: true,
            quitting: false,
            interrupted: false,
            dismissed: false,
            quiet: None,
            patience: None,
            unsent: 0,
        }
    }

    /// Handles events until one ends the chat. The events end with it, so no thread waits to send one more.
    fn run(&mut self, events: Events) -> Result<(), String> {
        loop {
            let deadline = self.quiet.into_iter().chain(self.patience).min();
            match events.next(deadline) {
                Some(Event::Line(line)) => self.typed(&line),
                Some(Event::Eof) => self.quit(FAREWELL),
                Some(Event::Interrupt) => {
                    self.interrupted = true;
                    self.quit(SHORT_FAREWELL);
                }
                Some(Event::Message(Ok(line))) => self.heard(&line),
                Some(Event::Message(Err(TooLong))) => self.terminal.hint(TOO_LONG),
                Some(Event::Closed) => return self.closed(),
                Some(_) => {}
                None => {
                    if let Some(result) = self.time_is_up(Instant::now()) {
                        return result;
                    }
                }
            }
        }
    }

    /// L28: at the prompt one bare word that is no command is a name; anything else goes as typed.
    fn typed(&mut self, line: &str) {
        if line.is_empty() || self.quitting {
            return;
        }
        let at_prompt = std::mem::replace(&mut self.at_prompt, false);
        match Request::decode(line) {
            Some(Request::Unknown(word)) if at_prompt && word == line.trim_matches(' ') => {
                self.say(&Request::Join(word).to_string());
            }
            Some(Request::Quit) => {
                self.say(line);
                self.await_farewell(FAREWELL);
            }
            _ => self.say(line),
        }
    }

    fn say(&mut self, line: &str) {
        self.at_prompt = false;
        self.screen.sent(line);
        self.connection.send(format!("{line}\n").as_bytes());
    }

    /// Ends as the exit command does (A5, A7).
    fn quit(&mut self, patience: Duration) {
        if !self.quitting {
            self.say(&Request::Quit.to_string());
        }
        self.await_farewell(patience);
    }

    fn await_farewell(&mut self, patience: Duration) {
        self.quitting = true;
        self.patience = Some(Instant::now() + patience);
        self.unsent = self.connection.unsent();
    }

    fn heard(&mut self, line: &str) {
        self.dismissed = Reply::decode(line) == Some(Reply::ShuttingDown);
        for line in self.screen.show(line) {
            self.terminal.line(line);
        }
        self.quiet = self.screen.is_collecting().then(|| Instant::now() + QUIET);
    }

    /// L30: after QUIT, or the server's farewell, the end was wanted.
    fn closed(&mut self) -> Result<(), String> {
        self.settle();
        if self.quitting || self.dismissed { Ok(()) } else { Err("Server closed the connection".into()) }
    }

    fn time_is_up(&mut self, now: Instant) -> Option<Result<(), String>> {
        if self.quiet.is_some_and(|quiet| now >= quiet) {
            self.settle();
        }
        if self.patience.is_none_or(|patience| now < patience) {
            return None;
        }
        let unsent = self.connection.unsent();
        let slow = unsent > 0 && !self.interrupted;
        if slow && unsent != self.unsent {
            // A slow server is given every line that was typed (A7).
            self.await_farewell(FAREWELL);
            return None;
        }
        self.settle();
        Some(if slow { Err("the server takes nothing any more".into()) } else { Ok(()) })
    }

    /// Nothing more belongs to the names that came.
    fn settle(&mut self) {
        self.quiet = None;
        if let Some(line) = self.screen.settle() {
            self.terminal.line(line);
        }
    }
}

/// What a server's lines look like on the terminal: as they came, with two turns to match the source's
/// sample (L29).
///
/// - After one's own broadcast was accepted, it is shown, too.
/// - The names that answer one's LIST are shown on one line.
#[derive(Debug, Default)]
struct Screen {
    /// The requests whose answers matter, and have not come.
    sent: VecDeque<Sent>,
    /// The names of an answer to LIST so far.
    names: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Sent {
    Join,
    List,
    Broadcast(String),
}

impl Screen {
    /// `line` was sent to the server.
    fn sent(&mut self, line: &str) {
        if line.len() > MAX_MESSAGE {
            return;
        }
        let sent = match Request::decode(line) {
            Some(Request::Join(_)) => Sent::Join,
            Some(Request::List) => Sent::List,
            Some(Request::Bcst(text)) => Sent::Broadcast(printable(text.as_bytes()).into()),
            _ => return,
        };
        self.sent.push_back(sent);
    }

    /// The server said `line`. What is to be shown now.
    fn show(&mut self, line: &str) -> Vec<String> {
        let reply = Reply::decode(line);
        let mut shown = Vec::new();
        if let Some(Reply::Member(name)) = reply {
            // A name that repeats begins the next answer.
            if self.names.iter().any(|other| other == name) {
                shown.extend(self.settle());
            }
            if self.sent.contains(&Sent::List) {
                self.names.push(name.into());
                return shown;
            }
        }
        shown.extend(self.settle());
        shown.push(line.into());
        match reply {
            Some(Reply::Broadcasting(name)) => {
                if let Some(Sent::Broadcast(text)) = self.answered(|sent| matches!(sent, Sent::Broadcast(_)))
                {
                    shown.push(Reply::Text(name, &text).to_string());
                }
            }
            Some(Reply::Welcome(_)) => drop(self.answered(|sent| *sent == Sent::Join)),
            Some(Reply::Refused(error)) => self.refused(&error),
            _ => {}
        }
        shown
    }

    /// Whether names of an answer have come that are not shown yet.
    const fn is_collecting(&self) -> bool {
        !self.names.is_empty()
    }

    /// The answer to LIST is complete; its line, if there is one.
    fn settle(&mut self) -> Option<String> {
        if self.names.is_empty() {
            return None;
        }
        self.answered(|sent| *sent == Sent::List);
        Some(std::mem::take(&mut self.names).join(","))
    }

    fn refused(&mut self, error: &Error) {
        match error {
            Error::AlreadyRegistered(_) | Error::NameTaken(_) | Error::InvalidName | Error::Full => {
                self.answered(|sent| *sent == Sent::Join);
            }
            Error::IncompleteBcst => drop(self.answered(|sent| matches!(sent, Sent::Broadcast(_)))),
            // Whatever it was that came first, unless that was a JOIN, whose answer is another.
            Error::Unregistered if self.sent.front() != Some(&Sent::Join) => drop(self.sent.pop_front()),
            _ => {}
        }
    }

    /// Answers come in the order of the requests: takes out the first that `is_it`, and all before it.
    fn answered(&mut self, is_it: impl Fn(&Sent) -> bool) -> Option<Sent> {
        let at = self.sent.iter().position(is_it)?;
        self.sent.drain(..at);
        self.sent.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After `sent`, the server's lines are shown like this, up to a pause.
    #[track_caller]
    fn check(sent: &[&str], heard: &[&str], wanted: &[&str]) {
        let mut screen = Screen::default();
        sent.iter().for_each(|line| screen.sent(line));
        let mut have: Vec<String> = heard.iter().flat_map(|line| screen.show(line)).collect();
        have.extend(screen.settle());
        assert_eq!(have, wanted, "sent {sent:?}, heard {heard:?}");
    }

    const WELCOME: &str = "Alice joined!Connected to server!";
    const UNREGISTERED: &str = "Unregistered User. Use JOIN <username> to register.";

    #[test]
    fn l29_an_accepted_broadcast_is_shown() {
        check(
            &["JOIN Alice", "BCST Hello", "BCST  two"],
            &[WELCOME, "Alice is sending a broadcast", "Bob: x", "Alice is sending a broadcast"],
            &[
                WELCOME,
                "Alice is sending a broadcast",
                "Alice: Hello",
                "Bob: x",
                "Alice is sending a broadcast",
                "Alice:  two",
            ],
        );
        check(
            &["BCST", "BCST a"],
            &["Incomplete BCST. Use BCST <message>.", "Alice is sending a broadcast"],
            &["Incomplete BCST. Use BCST <message>.", "Alice is sending a broadcast", "Alice: a"],
        );
        check(
            &["BCST a", "JOIN Alice", "BCST b"],
            &[UNREGISTERED, WELCOME, "Alice is sending a broadcast"],
            &[UNREGISTERED, WELCOME, "Alice is sending a broadcast", "Alice: b"],
        );
    }

    #[test]
    fn l29_names_that_answer_a_list_stand_on_one_line() {
        check(&["LIST"], &["Alice", "Bob", "Alex"], &["Alice,Bob,Alex"]);
        check(&["LIST"], &["Alice", "Bob", "Bob: hi"], &["Alice,Bob", "Bob: hi"]);
        check(&["LIST", "LIST"], &["Alice", "Bob", "Alice", "Bob"], &["Alice,Bob", "Alice,Bob"]);
        check(&["LIST", "LIST"], &["Alice", "Bob", "Bob left", "Alice"], &["Alice,Bob", "Bob left", "Alice"]);
        check(&["LIST"], &["Alice", "Alice"], &["Alice", "Alice"]);
        check(&["LIST"], &["Alice,Bob"], &["Alice,Bob"]);
    }

    #[test]
    fn l29_bare_words_that_answer_no_list_are_printed_as_they_came() {
        check(&[], &["Alice", "Bob"], &["Alice", "Bob"]);
        check(&["JOIN Alice"], &["Hello", "Alice"], &["Hello", "Alice"]);
        check(
            &["LIST", "JOIN Alice"],
            &[UNREGISTERED, WELCOME, "one", "two"],
            &[UNREGISTERED, WELCOME, "one", "two"],
        );
        check(
            &["foo", "LIST", "JOIN Alice", "LIST"],
            &[UNREGISTERED, UNREGISTERED, WELCOME, "Alice", "Bob"],
            &[UNREGISTERED, UNREGISTERED, WELCOME, "Alice,Bob"],
        );
    }
}
