//! Waiting for events with a deadline, and failing in a way that tells what happened.

use std::io::Read;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for what must happen. Far more than it takes: a busy machine must not fail a test.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// How long what the contract gives one second may take here. The second one is for a machine that runs other tests too.
pub const PROMPTLY: Duration = Duration::from_secs(2);

/// Asks `probe` again and again until it gives something, at most for `limit`. For what has no event to wait on: the end
/// of a process, a file under `/proc`.
pub fn until<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        let found = probe();
        if found.is_some() || Instant::now() >= end {
            return found;
        }
        thread::sleep(Duration::from_millis(3));
    }
}

/// Fails the test with both sides of the disagreement, and with what the programs printed last.
#[track_caller]
pub fn fail(wanted: &str, have: &str, log: &Log) -> ! {
    panic!("\nwanted: {wanted}\n  have: {have}\n{}", log.tail());
}

/// Fails the test unless `have` equals `wanted`.
#[track_caller]
pub fn same<T: PartialEq + std::fmt::Debug>(wanted: &T, have: &T, log: &Log) {
    if wanted != have {
        fail(&format!("{wanted:?}"), &format!("{have:?}"), log);
    }
}

/// The outputs that a failure message quotes, each with its name.
#[derive(Clone, Default)]
pub struct Log(Vec<(String, Output)>);

impl Log {
    /// Adds one more output to quote.
    pub fn add(&mut self, name: &str, output: &Output) {
        self.0.push((name.to_owned(), output.clone()));
    }

    /// Adds all outputs of another log.
    pub fn join(&mut self, other: &Log) {
        self.0.extend(other.0.iter().cloned());
    }

    /// The last lines of every output.
    fn tail(&self) -> String {
        let quote = |(name, output): &(String, Output)| format!("--- {name}\n{}", output.tail());
        self.0.iter().map(quote).collect()
    }
}

/// How many bytes of what was forgotten a failure message can still quote.
const KEPT: usize = 4 << 10;

/// What a program writes to one of its outputs, collected by a thread, so that the program never waits for the test.
/// Each clone reads on from where the original stood.
#[derive(Clone)]
pub struct Output {
    shared: Arc<Shared>,
    /// How many bytes were taken here since the start.
    taken: usize,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    bytes: Vec<u8>,
    /// How many bytes stood before them and are forgotten.
    forgotten: usize,
    ended: bool,
}

impl State {
    /// What stands behind the first `taken` bytes.
    fn fresh(&self, taken: usize) -> &[u8] {
        &self.bytes[taken.saturating_sub(self.forgotten)..]
    }
}

impl Output {
    /// Starts to collect from `reader`, until its end.
    pub fn collect(mut reader: impl Read + Send + 'static) -> Output {
        let state = Mutex::new(State { bytes: Vec::new(), forgotten: 0, ended: false });
        let shared = Arc::new(Shared { state, changed: Condvar::new() });
        let writer = Arc::clone(&shared);
        thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            loop {
                let count = reader.read(&mut buffer).unwrap_or(0);
                let mut state = writer.state.lock().unwrap();
                state.bytes.extend_from_slice(&buffer[..count]);
                state.ended = count == 0;
                writer.changed.notify_all();
                if count == 0 {
                    return;
                }
            }
        });
        Output { shared, taken: 0 }
    }

    /// The next line, without its end. `None`: the output ended, or no whole line came in time.
    pub fn line(&mut self) -> Option<String> {
        let line = self.wait(DEADLINE, |fresh, _| {
            let end = fresh.iter().position(|&byte| byte == b'\n')?;
            Some(fresh[..end].to_vec())
        })?;
        self.taken += line.len() + 1;
        Some(utf8(line))
    }

    /// The next line is `wanted`.
    #[track_caller]
    pub fn expect(&mut self, wanted: &str) {
        let before = self.clone();
        let have = self.line();
        if have.as_deref() != Some(wanted) {
            fail(&format!("{wanted:?}"), &before.state_of_affairs(), &self.as_log());
        }
    }

    /// The next lines are `wanted`.
    #[track_caller]
    pub fn expect_all(&mut self, wanted: &[&str]) {
        for line in wanted {
            self.expect(line);
        }
    }

    /// What comes next, with or without a line end behind it, is `wanted`: a prompt.
    #[track_caller]
    pub fn expect_text(&mut self, wanted: &str) {
        let length = wanted.len();
        let have = self.wait(DEADLINE, |fresh, _| fresh.get(..length).map(<[u8]>::to_vec));
        if have.as_deref() != Some(wanted.as_bytes()) {
            fail(&format!("{wanted:?}"), &self.state_of_affairs(), &self.as_log());
        }
        self.taken += length;
    }

    /// Skips to the first line that contains `part`, and gives it.
    #[track_caller]
    pub fn find(&mut self, part: &str) -> String {
        let before = self.clone();
        while let Some(line) = self.line() {
            if line.contains(part) {
                return line;
            }
        }
        fail(&format!("a line with {part:?}"), &before.state_of_affairs(), &self.as_log());
    }

    /// The output ends, and nothing stands before its end.
    #[track_caller]
    pub fn expect_end(&mut self) {
        let rest = self.rest();
        if !rest.is_empty() {
            fail("the end of the output", &format!("{rest:?}"), &self.as_log());
        }
    }

    /// All that comes until the output ends.
    #[track_caller]
    pub fn rest(&mut self) -> String {
        match self.wait(DEADLINE, |fresh, ended| ended.then(|| fresh.to_vec())) {
            Some(rest) => {
                self.taken += rest.len();
                utf8(rest)
            }
            None => fail("the end of the output", &self.state_of_affairs(), &self.as_log()),
        }
    }

    /// What comes next, whatever it is, if anything comes within `limit`; nothing at the end.
    pub fn receive(&mut self, limit: Duration) -> Option<Vec<u8>> {
        let bytes = self.wait(limit, |fresh, _| Some(fresh.to_vec()).filter(|fresh| !fresh.is_empty()))?;
        self.taken += bytes.len();
        Some(bytes)
    }

    /// Takes all that has come so far, and looks at none of it.
    pub fn skip(&mut self) {
        let state = self.shared.state.lock().unwrap();
        self.taken = state.forgotten + state.bytes.len();
    }

    /// Gives the memory back of what was taken here: it has never been, for clones too, but for a few last lines. For
    /// programs that run long.
    pub fn forget(&mut self) {
        let mut state = self.shared.state.lock().unwrap();
        let old = self.taken.saturating_sub(state.forgotten).saturating_sub(KEPT);
        // What stays has to be moved: that is only worth it when it is less than what goes.
        if old < state.bytes.len() / 2 {
            return;
        }
        state.bytes.drain(..old);
        state.bytes.shrink_to(2 * KEPT);
        state.forgotten += old;
    }

    /// All that was ever written here, so far, whoever has read it, and is not forgotten.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.shared.state.lock().unwrap().bytes).into_owned()
    }

    /// Waits until `probe` gives something for the bytes not yet taken; it is told whether more can come.
    fn wait<T>(&self, limit: Duration, mut probe: impl FnMut(&[u8], bool) -> Option<T>) -> Option<T> {
        let end = Instant::now() + limit;
        let mut state = self.shared.state.lock().unwrap();
        loop {
            let found = probe(state.fresh(self.taken), state.ended);
            let left = end.saturating_duration_since(Instant::now());
            if found.is_some() || state.ended || left.is_zero() {
                return found;
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap().0;
        }
    }

    fn state_of_affairs(&self) -> String {
        let state = self.shared.state.lock().unwrap();
        let fresh = String::from_utf8_lossy(state.fresh(self.taken));
        let start: String = fresh.chars().take(400).collect();
        format!("{start:?}, {}", if state.ended { "then the end" } else { "and nothing more in time" })
    }

    fn as_log(&self) -> Log {
        Log(vec![("the whole output".to_owned(), self.clone())])
    }

    fn tail(&self) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        let cut =
            |line: &&str| format!("    {}\n", line.chars().take(160).collect::<String>().escape_debug());
        lines[lines.len().saturating_sub(15)..].iter().map(cut).collect()
    }
}

/// Text that a program wrote. It is always valid UTF-8, whatever it was fed (A15).
#[track_caller]
pub(crate) fn utf8(bytes: Vec<u8>) -> String {
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let have = error.as_bytes().escape_ascii().to_string();
            fail("valid UTF-8", &have, &Log::default())
        }
    }
}
