//! A program under watch: what it holds, and who is registered there.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chat_tests::usage::processor_time;
use chat_tests::wait::fail;
use chat_tests::{Process, Signal, Usage};

use crate::figures::Figures;

/// A program under watch.
pub(crate) struct Watched {
    pub(crate) name: &'static str,
    id: u32,
    /// A server can be asked who is registered, and what it prints has to be taken from it.
    server: Option<Process>,
    /// How many names are registered at rest.
    pub(crate) names: u64,
    /// The file that it keeps, if it keeps one.
    file: Option<PathBuf>,
    /// What `/info`, typed at rest, shows last.
    info: Option<&'static str>,
    /// The last clients that it has cut off, in its own words.
    cut_off: VecDeque<String>,
}

/// How many of those are remembered: enough to find one of the steady pair among sleepers.
const REMEMBERED: usize = 10;

/// How long a server may take to end.
const FAREWELL: Duration = Duration::from_secs(10);

impl Watched {
    /// A server, where so many names are registered at rest.
    pub(crate) fn server(name: &'static str, server: Process, names: u64) -> Self {
        let watched = Self::client(name, &server);
        Self { names, server: Some(server), ..watched }
    }

    /// One of our clients that stays.
    pub(crate) fn client(name: &'static str, client: &Process) -> Self {
        Self {
            name,
            id: client.id(),
            server: None,
            names: 0,
            file: None,
            info: None,
            cut_off: VecDeque::new(),
        }
    }

    /// The same, which keeps this file, and whose answer to `/info` at rest ends with a line that contains
    /// `last`.
    pub(crate) fn keeping(self, file: &Path, last: &'static str) -> Self {
        Self { file: Some(file.to_owned()), info: Some(last), ..self }
    }

    /// What it holds now.
    pub(crate) fn look(&mut self) -> Figures {
        let names = self.registered();
        let look = || -> io::Result<Figures> {
            let Usage { resident, peak, threads, descriptors, sockets } = Usage::of(self.id)?;
            let file = self.file.as_ref().map_or(Ok(0), |path| fs::metadata(path).map(|file| file.len()))?;
            let processor = processor_time(self.id)?;
            Ok(Figures { resident, peak, threads, descriptors, sockets, names, file, processor })
        };
        look().unwrap_or_else(|error| panic!("wanted: {} runs\nhave: {error}", self.name))
    }

    /// How many names are registered at a server, which says so when it gets SIGUSR1 (A6). What else it has
    /// printed is passed over and forgotten.
    fn registered(&mut self) -> u64 {
        let Some(server) = &mut self.server else { return 0 };
        if !server.runs() {
            fail("a server that runs", "it has ended", server.log());
        }
        server.signal(Signal::SIGUSR1);
        server.stdout.skip();
        server.stdout.forget();
        while let Some(line) = server.stderr.line() {
            if line.contains("panicked at") {
                fail("a server that does not panic", &line, server.log());
            }
            if let Some(count) = count_of(&line) {
                server.stderr.forget();
                return count;
            }
            if line.contains("cut off") {
                self.cut_off.push_back(line);
                self.cut_off.drain(..self.cut_off.len().saturating_sub(REMEMBERED));
            }
        }
        fail("the report of who is registered", "none in time", server.log());
    }

    /// Whom it has cut off lately: a hint, when somebody was not served.
    pub(crate) fn cut_off(&self) -> impl Iterator<Item = String> {
        self.cut_off.iter().map(|line| format!("{} said: {line}", self.name))
    }

    /// Asks what is registered by typing, at rest.
    pub(crate) fn ask(&mut self) {
        if let (Some(server), Some(last)) = (&mut self.server, self.info) {
            server.type_line("/info");
            server.stdout.find(last);
        }
    }

    /// It ends as it should.
    pub(crate) fn end(&mut self) {
        let Some(server) = &mut self.server else { return };
        server.signal(Signal::SIGTERM);
        let code = server.exit_code_within(FAREWELL);
        if code != 0 {
            fail("exit status 0", &format!("{code}"), server.log());
        }
        if server.stderr.text().contains("panicked at") {
            fail("a server that does not panic", "it panicked", server.log());
        }
    }
}

/// The first number of the line `2 of 10 registered`.
fn count_of(line: &str) -> Option<u64> {
    line.strip_suffix(" registered")?.split_once(" of ")?.0.parse().ok()
}
