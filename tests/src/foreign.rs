//! Programs of other people, named by an environment variable, in the place of ours.

use std::env;

/// The command line of the foreign server for `protocol`, if one is set: `CHAT_LOBBY_SERVER` for `lobby`.
pub fn server(protocol: &str) -> Option<String> {
    command(protocol, "SERVER")
}

/// The command line of the foreign client for `protocol`, if one is set: `CHAT_LOBBY_CLIENT` for `lobby`.
pub fn client(protocol: &str) -> Option<String> {
    command(protocol, "CLIENT")
}

/// Whether any foreign program for `protocol` is set.
pub fn is_set(protocol: &str) -> bool {
    server(protocol).is_some() || client(protocol).is_some()
}

/// Ends a test, as passed, while a foreign program is set: `needs_ours!("lobby", "reads our log")`.
#[macro_export]
macro_rules! needs_ours {
    ($protocol:expr, $why:expr) => {
        if $crate::foreign::is_set($protocol) {
            println!("skipped: a foreign program is set, and this test {}", $why);
            return;
        }
    };
}

fn command(protocol: &str, role: &str) -> Option<String> {
    let name = format!("CHAT_{}_{role}", protocol.to_uppercase());
    env::var(name).ok().filter(|command| !command.trim().is_empty())
}
