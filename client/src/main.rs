//! `chat-client PROTOCOL …`: the clients of five networking assignments in one program.
//!
//! - [`lobby`] and its like: one module per protocol, and one row in [`PROTOCOLS`].
//! - [`events`]: all that can happen, on one channel; [`connection`], [`listener`], [`udp`],
//!   [`terminal`], [`signals`]: where it comes from.
//! - [`options`]: the command line.

mod bridge;
mod channels;
mod connection;
mod events;
mod listener;
mod lobby;
mod options;
mod overlay;
mod room;
mod signals;
mod terminal;
mod udp;

use chat_cli::Protocol;
use std::process::ExitCode;

const PROTOCOLS: &[Protocol] = &[
    Protocol {
        name: "lobby",
        about: "JOIN, LIST, MESG, BCST and QUIT over TCP",
        usage: lobby::USAGE,
        options: lobby::options,
        run: lobby::run,
    },
    Protocol {
        name: "channels",
        about: "fixed messages of 200 bytes over TCP, one channel at a time",
        usage: channels::USAGE,
        options: channels::options,
        run: channels::run,
    },
    Protocol {
        name: "overlay",
        about: "messages by name over UDP, through linked servers",
        usage: overlay::USAGE,
        options: overlay::options,
        run: overlay::run,
    },
    Protocol {
        name: "room",
        about: "a broadcast chatroom, over TCP or over UDP",
        usage: room::USAGE,
        options: room::options,
        run: room::run,
    },
    Protocol {
        name: "bridge",
        about: "register, be introduced, then chat peer to peer",
        usage: bridge::USAGE,
        options: bridge::options,
        run: bridge::run,
    },
];

fn main() -> ExitCode {
    chat_cli::run("chat-client", PROTOCOLS)
}
