//! What is typed into a server's terminal.
//!
//! A server takes no notice of the end of its input (A7), nor of being started in the background of a terminal, where
//! the system stops a program that reads.

use crate::stop::Stop;
use chat_common::frame::{Lines, Pauses};
use nix::sys::signal::{SigSet, Signal};
use std::io::{self, ErrorKind, Read};
use std::thread;
use std::time::Duration;

/// How long a typed line may be; longer ones are nothing.
const MAX_LINE: usize = 4096;

/// How often a server in the background looks whether it may read now.
const BACKGROUND: Duration = Duration::from_secs(1);

/// Calls `typed` for every line, on a thread of its own.
///
/// That thread is never joined: nothing wakes a read from stdin. The process ends it.
///
/// # Errors
/// The system has no thread to spare.
pub(crate) fn start(stop: &Stop, typed: impl Fn(&str) + Send + 'static) -> io::Result<()> {
    let stop = stop.clone();
    thread::Builder::new().name("input".into()).spawn(move || read(&stop, typed)).map(drop)
}

fn read(stop: &Stop, typed: impl Fn(&str)) {
    // With this signal blocked, reading in the background is an error and no longer stops the program.
    let mut background = SigSet::empty();
    background.add(Signal::SIGTTIN);
    // Fails only for a signal that does not exist.
    let _ = background.thread_block();
    let mut lines = Lines::new(MAX_LINE, Pauses::UntilFirstNewline);
    let mut buffer = [0; 1024];
    while !stop.requested() {
        match io::stdin().read(&mut buffer) {
            Ok(0) => return,
            // A person may pause in the middle of a line: time stands still here, and only line ends count.
            Ok(count) => lines.push(buffer.get(..count).unwrap_or_default(), Duration::ZERO),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.raw_os_error() == Some(libc::EIO) => stop.wait(BACKGROUND),
            Err(_) => return,
        }
        while let Some(line) = lines.next(Duration::ZERO) {
            if let Ok(Ok(line)) = line.map(str::from_utf8) {
                typed(line);
            }
        }
    }
}
