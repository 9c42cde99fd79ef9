//! `chat-server PROTOCOL …`: the servers of five networking assignments in one program.
//!
//! - [`lobby`] and its like: one module per protocol, and one row in [`PROTOCOLS`].
//! - [`tcp`]: bind, accept, a thread per client; [`peer`]: one client's socket and outbox. [`udp`]: datagrams.
//! - [`service`]: what every server has while it runs. [`stop`], [`signals`]: how it ends; [`log`]: its terminal.
//! - [`input`]: what is typed into its terminal. [`replace`]: a file that is always whole.
//! - [`options`]: the command line.

mod bridge;
mod channels;
mod input;
mod lobby;
mod log;
mod options;
mod overlay;
mod peer;
mod replace;
mod room;
mod service;
mod signals;
mod stop;
mod tcp;
mod udp;

use chat_cli::Protocol;
use std::process::ExitCode;

const PROTOCOLS: &[Protocol] = &[
    Protocol {
        name: "lobby",
        about: "JOIN, LIST, MESG, BCST and QUIT over TCP, ten seats",
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
        about: "clients over UDP, and TCP links between servers",
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
    chat_cli::run("chat-server", PROTOCOLS)
}
