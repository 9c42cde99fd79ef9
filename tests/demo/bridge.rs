//! The bridge: Example 1 of CSE 150's final project, at its three terminals.

use crate::script::{Act, Cue, Member, Script, ends, interrupts, says, shows, starts, types, types_at};

pub(crate) const SCRIPT: Script = Script {
    name: "bridge",
    about: "register, be introduced, then chat peer to peer",
    acts: &[Act {
        title: "Example 1: Alice and Bob",
        cast: &[&SERVER, &ALICE, &BOB],
        cues: &[
            starts(&SERVER),
            shows(&SERVER, ">Server listening on 127.0.0.1:{port}"),
            starts(&ALICE),
            shows(&ALICE, ">Alice running on 127.0.0.1:{alice}"),
            at_prompt(&ALICE, "/id"),
            shows(&ALICE, ">Alice"),
            at_prompt(&ALICE, "/register"),
            shows(&SERVER, ">REGISTER: Alice from 127.0.0.1:{alice} received"),
            at_prompt(&ALICE, "/bridge"),
            shows(&SERVER, ">BRIDGE: Alice 127.0.0.1:{alice}"),
            starts(&BOB),
            shows(&BOB, ">Bob running on 127.0.0.1:{bob}"),
            at_prompt(&BOB, "/id"),
            shows(&BOB, ">Bob"),
            at_prompt(&BOB, "/register"),
            shows(&SERVER, ">REGISTER: Bob from 127.0.0.1:{bob} received"),
            at_prompt(&BOB, "/bridge"),
            shows(&SERVER, ">BRIDGE: Bob 127.0.0.1:{bob} Alice 127.0.0.1:{alice}"),
            types(&SERVER, "/info"),
            shows(&SERVER, ">Alice 127.0.0.1:{alice}"),
            shows(&SERVER, ">Bob 127.0.0.1:{bob}"),
            says("Bob invites Alice for coffee, and the server is not needed any more"),
            at_prompt(&BOB, "/chat"),
            shows(&ALICE, ">Incoming chat request from Bob 127.0.0.1:{bob}"),
            at_prompt(&BOB, "Hello Alice"),
            shows(&ALICE, ">Hello Alice"),
            at_prompt(&ALICE, "How are you doing, Bob?"),
            shows(&BOB, ">How are you doing, Bob?"),
            at_prompt(&BOB, "Doing well, Alice. Time for coffee?"),
            shows(&ALICE, ">Doing well, Alice. Time for coffee?"),
            at_prompt(&ALICE, "Sorry Bob, I'm too busy."),
            shows(&BOB, ">Sorry Bob, I'm too busy."),
            at_prompt(&BOB, "Okay Alice, another time."),
            shows(&ALICE, ">Okay Alice, another time."),
            at_prompt(&ALICE, "/quit"),
            ends(&ALICE),
            ends(&BOB),
            interrupts(&SERVER),
            ends(&SERVER),
        ],
    }],
};

const SERVER: Member = Member::server("server", &["bridge", "--port={port}", "--bind=127.0.0.1"]);
const ALICE: Member =
    Member::client("Alice", &["bridge", "--id=Alice", "--port={alice}", "--server=127.0.0.1:{port}"]);
const BOB: Member =
    Member::client("Bob", &["bridge", "--id=Bob", "--port={bob}", "--server=127.0.0.1:{port}"]);

const fn at_prompt(who: &'static Member, text: &'static str) -> Cue {
    types_at(who, ">", text)
}
