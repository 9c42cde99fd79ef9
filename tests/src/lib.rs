//! Black-box harness: runs the real programs, talks raw bytes to them, reads their terminals.
//!
//! It depends on none of this project's crates and knows no protocol. What it offers:
//!
//! - [`Server`] and [`Process`]: `chat-server` and `chat-client` with pipes on stdin, stdout and stderr ([`program`]);
//! - [`Raw`] and [`Listener`]: one TCP connection, byte by byte, from either end; [`Reserved`]: a port ([`wire`]);
//! - [`Datagrams`]: one UDP socket, likewise ([`datagram`]);
//! - [`Screen`]: a program on a pseudo-terminal, its output read by a terminal emulator ([`terminal`], on top of [`pty`]);
//! - [`Output`] and [`until`]: waiting ([`wait`]);
//! - [`Usage`]: what a process holds of memory, threads and descriptors ([`usage`]).
//!
//! Every wait is for an event and ends with it, or fails at a deadline ([`DEADLINE`] unless told). A failure says
//! `wanted: …` and `have: …` and shows the last lines that the programs printed. Nothing sleeps to synchronise.
//!
//! # Testing your own program
//!
//! The tests of suite `lobby` can be pointed at any other program for the same protocol by a command line in the
//! environment:
//!
//! ```text
//! CHAT_LOBBY_SERVER='python3 /home/me/server.py {port}'        cargo test -p chat-tests lobby::
//! CHAT_LOBBY_CLIENT='python3 /home/me/client.py {host} {port}' cargo test -p chat-tests lobby::
//! ```
//!
//! The command runs under `sh -c`. `{port}` becomes a free port (each test starts a server of its own), `{host}` becomes
//! `127.0.0.1`. A server counts as started when a connection succeeds. It may leave out line ends: there, the text
//! itself ends a message. Python programs run with `PYTHONUNBUFFERED=1`, so that their output is seen at once.
//! Each test names the clauses that it checks. Those of `lobby.md` are mostly the source's own; those of the common page
//! (`A…`: names refused, a half-closed connection, lines of any length) ask for more than the source does, so a program
//! that does just its assignment fails some of them. Tests that count lines need a server that sends line ends.
//! Tests that look at our own log, options or signals print `skipped: …` and pass while such a variable is set.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::missing_panics_doc,
    reason = "this is test code: it fails by panicking, and cargo shows what a failed test printed"
)]

pub mod datagram;
pub mod foreign;
pub mod program;
pub mod pty;
pub mod terminal;
pub mod usage;
pub mod wait;
pub mod wire;

pub use datagram::Datagrams;
pub use nix::sys::signal::Signal;
pub use program::{Process, Server, Setup};
pub use pty::Pty;
pub use terminal::Screen;
pub use usage::Usage;
pub use wait::{DEADLINE, Output, PROMPTLY, until};
pub use wire::{Listener, Raw, Reserved};
