//! Channels: the interaction of Panda and Alice in the bonus question of CEG 4188.

use crate::script::{
    Act, Cue, Member, Script, ends, fails, interrupts, interrupts_at, shows, starts, types_at,
};

pub(crate) const SCRIPT: Script = Script {
    name: "channels",
    about: "fixed messages of 200 bytes over TCP, one channel at a time",
    acts: &[Act {
        title: "The example of a client's interaction",
        cast: &[&SERVER, &PANDA, &ALICE],
        cues: &[
            starts(&SERVER),
            shows(&SERVER, "listening on 127.0.0.1:{port}"),
            starts(&PANDA),
            shows(&SERVER, "127.0.0.1:{panda} has connected"),
            shows(&SERVER, "127.0.0.1:{panda} is Panda"),
            me(&PANDA, "Hello world!"),
            shows(&PANDA, NOT_IN_ANY),
            shows(
                &SERVER,
                "127.0.0.1:{panda}: Hello world!: Not currently in any channel. Must join a channel before sending messages.",
            ),
            me(&PANDA, "/list"),
            shows(&SERVER, "127.0.0.1:{panda}: /list"),
            me(&PANDA, "/create 168_tas"),
            shows(&SERVER, "127.0.0.1:{panda}: /create 168_tas"),
            me(&PANDA, "/list"),
            shows(&PANDA, "168_tas"),
            shows(&SERVER, "127.0.0.1:{panda}: /list"),
            me(&PANDA, "Hello world!"),
            // Not in the source. Nobody hears a line in an empty channel; this one's answer tells that it was taken.
            me(&PANDA, "/list"),
            shows(&PANDA, "168_tas"),
            shows(&SERVER, "127.0.0.1:{panda}: /list"),
            starts(&ALICE),
            shows(&SERVER, "127.0.0.1:{alice} has connected"),
            shows(&SERVER, "127.0.0.1:{alice} is Alice"),
            me(&ALICE, "/list"),
            shows(&ALICE, "168_tas"),
            shows(&SERVER, "127.0.0.1:{alice}: /list"),
            me(&ALICE, "/join 168_tas"),
            shows(&PANDA, "Alice has joined"),
            shows(&SERVER, "127.0.0.1:{alice}: /join 168_tas"),
            me(&ALICE, "Hi everyone! Does anyone know what we're doing on the first day of lecture?"),
            shows(
                &PANDA,
                "[Alice] Hi everyone! Does anyone know what we're doing on the first day of lecture?",
            ),
            // "After seeing Alice's message, Panda stopped his client."
            interrupts_at(&PANDA, ME),
            ends(&PANDA),
            shows(&ALICE, "Panda has left"),
            shows(&SERVER, "127.0.0.1:{panda} (Panda) has disconnected"),
            interrupts(&SERVER),
            shows(&ALICE, "Server at 127.0.0.1:{port} has disconnected"),
            fails(&ALICE),
            shows(&SERVER, "127.0.0.1:{alice} (Alice) has disconnected"),
            ends(&SERVER),
        ],
    }],
};

const ME: &str = "[Me] ";

const NOT_IN_ANY: &str = "Not currently in any channel. Must join a channel before sending messages.";

const SERVER: Member = Member::server("server", &["channels", "{port}", "--bind", "127.0.0.1"]);
const PANDA: Member = Member::client("Panda", &["channels", "Panda", "localhost", "{port}"]);
const ALICE: Member = Member::client("Alice", &["channels", "Alice", "127.0.0.1", "{port}"]);

const fn me(who: &'static Member, text: &'static str) -> Cue {
    types_at(who, ME, text)
}
