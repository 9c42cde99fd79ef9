//! The room: the messages of the assignment "TCP & UDP chatroom", which shows no sample, in one conversation for each
//! transport.

use crate::script::{Act, Member, Script, ends, fails, interrupts, shows, starts, types};

pub(crate) const SCRIPT: Script = Script {
    name: "room",
    about: "a broadcast chatroom, over TCP or over UDP",
    acts: &[
        Act {
            title: "ServerTCP and ClientTCP",
            cast: &[&SERVER, &ALICE, &BOB],
            cues: &[
                starts(&SERVER),
                shows(&SERVER, "listening on 127.0.0.1:{port}"),
                starts(&ALICE),
                shows(&SERVER, "Alice joined from 127.0.0.1:{}"),
                starts(&BOB),
                shows(&ALICE, "User Bob joined"),
                shows(&SERVER, "Bob joined from 127.0.0.1:{}"),
                types(&ALICE, "hello"),
                shows(&BOB, "Alice: hello"),
                types(&BOB, "hi Alice"),
                shows(&ALICE, "Bob: hi Alice"),
                starts(&OTHER),
                shows(&OTHER, "Name already taken"),
                shows(&OTHER, "the server did not admit this client"),
                fails(&OTHER),
                shows(&SERVER, "127.0.0.1:{other}: Name already taken"),
                shows(&SERVER, "127.0.0.1:{other} is gone"),
                types(&BOB, "exit"),
                ends(&BOB),
                shows(&ALICE, "User Bob left"),
                shows(&SERVER, "Bob left"),
                // "server-shutdown" is heard, and not shown.
                interrupts(&SERVER),
                ends(&ALICE),
                shows(&SERVER, "Alice left"),
                shows(&SERVER, "terminated, with 0 in the room"),
                ends(&SERVER),
            ],
        },
        Act {
            title: "ServerUDP and ClientUDP",
            cast: &[&UDP_SERVER, &UDP_ALICE, &UDP_BOB],
            cues: &[
                starts(&UDP_SERVER),
                shows(&UDP_SERVER, "listening on 127.0.0.1:{port}"),
                starts(&UDP_ALICE),
                shows(&UDP_SERVER, "Alice joined from 127.0.0.1:{}"),
                starts(&UDP_BOB),
                shows(&UDP_ALICE, "User Bob joined"),
                shows(&UDP_SERVER, "Bob joined from 127.0.0.1:{}"),
                types(&UDP_ALICE, "hello"),
                shows(&UDP_BOB, "Alice:hello"),
                types(&UDP_BOB, "hi Alice"),
                shows(&UDP_ALICE, "Bob:hi Alice"),
                starts(&UDP_OTHER),
                shows(&UDP_OTHER, "Name already taken"),
                shows(&UDP_OTHER, "the server did not admit this client"),
                fails(&UDP_OTHER),
                shows(&UDP_SERVER, "127.0.0.1:{}: Name already taken"),
                types(&UDP_BOB, "exit"),
                ends(&UDP_BOB),
                shows(&UDP_ALICE, "User Bob left"),
                shows(&UDP_SERVER, "Bob left"),
                interrupts(&UDP_SERVER),
                ends(&UDP_ALICE),
                shows(&UDP_SERVER, "terminated, with 0 in the room"),
                ends(&UDP_SERVER),
            ],
        },
    ],
};

const SERVER: Member = Member::server("server", &["room", "{port}", "--bind", "127.0.0.1"]);
const ALICE: Member = Member::client("Alice", &["room", "--name", "Alice", "{port}"]);
const BOB: Member = Member::client("Bob", &["room", "--name", "Bob", "{port}"]);
/// One more who wants to be Bob.
const OTHER: Member = Member::client("other", &["room", "--name", "Bob", "{port}"]);

const UDP_SERVER: Member = Member::server("server", &["room", "--udp", "{port}", "--bind", "127.0.0.1"]);
const UDP_ALICE: Member = Member::client("Alice", &["room", "--udp", "--name", "Alice", "{port}"]);
const UDP_BOB: Member = Member::client("Bob", &["room", "--udp", "--name", "Bob", "{port}"]);
const UDP_OTHER: Member = Member::client("other", &["room", "--udp", "--name", "Bob", "{port}"]);
