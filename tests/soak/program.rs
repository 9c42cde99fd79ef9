//! Our own programs: how a server is started; and clients among the visitors, which come, chat, and end in
//! every way that there is.

use std::time::Duration;

use chat_tests::wait::fail;
use chat_tests::{Process, Server, Setup, Signal};
use fastrand::Rng;

use crate::guest::Guest;

/// How long a client may take to end. A second is allowed; the rest is for a machine that does much else.
const FAREWELL: Duration = Duration::from_secs(10);

/// Lets glibc's allocator give back what is freed, so that memory at rest is what a program holds, and not
/// what it once needed. As it is, it keeps a heap for each of sixteen threads, and in each what the worst
/// moment of any client needed: some twenty megabytes that come and go by half, in which a leak would not be
/// seen for hours.
const ALLOCATOR: [(&str, &str); 3] =
    [("MALLOC_ARENA_MAX", "1"), ("MALLOC_MMAP_THRESHOLD_", "65536"), ("MALLOC_TRIM_THRESHOLD_", "131072")];

/// What is typed at one of our clients, and what it shows.
pub(crate) struct Script {
    /// Its command line.
    pub(crate) arguments: fn(port: u16, name: &str) -> Vec<String>,
    /// What is typed first; may be empty.
    pub(crate) join: fn(name: &str) -> String,
    /// What it shows when it is in.
    pub(crate) inside: &'static [&'static str],
    /// What it shows when it is refused, and ends.
    pub(crate) refused: &'static [&'static str],
    /// What is typed to say a text.
    pub(crate) say: fn(text: &str) -> String,
    /// What is typed to leave; nothing, if only the end of the input does it.
    pub(crate) quit: Option<&'static str>,
}

/// A server under watch with these arguments, to be started.
pub(crate) fn server(arguments: &[&str]) -> Setup {
    Setup::server(arguments).variables(&ALLOCATOR)
}

/// A server for `protocol` with these options, on a free port of 127.0.0.1.
pub(crate) fn serve(protocol: &str, options: &[&str]) -> Server {
    server(&[&[protocol, "0", "--bind", "127.0.0.1"], options].concat()).listen()
}

/// Starts one of our clients.
pub(crate) fn launch(arguments: &[String]) -> Process {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Setup::client(&arguments).variables(&ALLOCATOR).start()
}

/// How a client program ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Quit,
    Eof,
    Interrupt,
    Terminate,
    HangUp,
    Kill,
}

const ENDS: [End; 6] = [End::Quit, End::Eof, End::Interrupt, End::Terminate, End::HangUp, End::Kill];

impl End {
    /// One of them.
    pub(crate) fn any(rng: &mut Rng) -> Self {
        ENDS[rng.usize(..ENDS.len())]
    }
}

impl Script {
    /// Starts a client under this name. Nothing, if it was refused and has ended.
    pub(crate) fn start(&self, port: u16, name: &str) -> Option<Guest<Process>> {
        let mut client = Guest::new(launch(&(self.arguments)(port, name)));
        client.say((self.join)(name));
        let words = [self.inside, self.refused].concat();
        match client.hear(&words) {
            Some(word) if word < self.inside.len() => Some(client),
            Some(_) => None,
            None => fail(&format!("one of {words:?}"), "nothing in time", client.source.log()),
        }
    }

    /// The client says a text.
    pub(crate) fn say(&self, client: &mut Guest<Process>, text: &str) {
        client.say((self.say)(text));
    }

    /// Ends the client in this way. A killed one has said nothing to anyone.
    pub(crate) fn end(&self, mut client: Guest<Process>, end: End) {
        let process = &mut client.source;
        match (end, self.quit) {
            (End::Quit, Some(quit)) => process.type_line(quit),
            (End::Quit, None) | (End::Eof, _) => process.end_input(),
            (End::Interrupt, _) => process.signal(Signal::SIGINT),
            (End::Terminate, _) => process.signal(Signal::SIGTERM),
            (End::HangUp, _) => process.signal(Signal::SIGHUP),
            (End::Kill, _) => process.signal(Signal::SIGKILL),
        }
        let wanted = if end == End::Kill { 128 + Signal::SIGKILL as i32 } else { 0 };
        let have = process.exit_code_within(FAREWELL);
        if have != wanted {
            fail(&format!("exit status {wanted}"), &format!("{have}"), process.log());
        }
    }
}
