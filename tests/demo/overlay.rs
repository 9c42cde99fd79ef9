//! The overlay: the three sample executions of CSCI 353.
//!
//! Where the source says that client 2 shows `connected to server and registered <clientName1>`, it is its own name here.

use crate::script::{Act, Member, Script, ends, interrupts, shows, starts, types};

pub(crate) const SCRIPT: Script = Script {
    name: "overlay",
    about: "clients over UDP, and TCP links between servers",
    acts: &[
        Act {
            title: "Part 1: one client and one server",
            cast: &[&SERVER, &CLIENT1],
            cues: &[
                starts(&SERVER),
                shows(&SERVER, "server started on 127.0.0.1 at port {port1}"),
                starts(&CLIENT1),
                shows(&CLIENT1, "connected to server and registered client1"),
                shows(&SERVER, "client1 registered from host 127.0.0.1 port {}"),
                types(&CLIENT1, "exit"),
                shows(&CLIENT1, "terminating client..."),
                ends(&CLIENT1),
                interrupts(&SERVER),
                shows(&SERVER, "terminating server..."),
                ends(&SERVER),
            ],
        },
        Act {
            title: "Part 2: multiple clients and one server",
            cast: &[&SERVER, &CLIENT1, &NEIGHBOUR],
            cues: &[
                starts(&SERVER),
                shows(&SERVER, "server started on 127.0.0.1 at port {port1}"),
                starts(&CLIENT1),
                shows(&CLIENT1, "connected to server and registered client1"),
                shows(&SERVER, "client1 registered from host 127.0.0.1 port {}"),
                starts(&NEIGHBOUR),
                shows(&NEIGHBOUR, "connected to server and registered client2"),
                shows(&SERVER, "client2 registered from host 127.0.0.1 port {}"),
                types(&CLIENT1, "sendto client2 message1"),
                shows(&NEIGHBOUR, "client1: message1"),
                shows(&SERVER, "client1 to client2: message1"),
                types(&CLIENT1, "sendto unknownClient message2"),
                shows(&SERVER, "client1 to unknownClient: message2"),
                shows(&SERVER, "unknownClient is not registered with server"),
                types(&CLIENT1, "exit"),
                shows(&CLIENT1, "terminating client..."),
                ends(&CLIENT1),
                types(&NEIGHBOUR, "exit"),
                shows(&NEIGHBOUR, "terminating client..."),
                ends(&NEIGHBOUR),
                interrupts(&SERVER),
                shows(&SERVER, "terminating server..."),
                ends(&SERVER),
            ],
        },
        Act {
            title: "Part 3: multiple clients and multiple servers",
            cast: &[&SERVER1, &SERVER2, &CLIENT1, &CLIENT2],
            cues: &[
                starts(&SERVER1),
                shows(&SERVER1, "server started on 127.0.0.1 at port {port1}"),
                shows(&SERVER1, "server overlay started at port {link1}"),
                starts(&SERVER2),
                shows(&SERVER2, "server started on 127.0.0.1 at port {port2}"),
                shows(&SERVER2, "server overlay started at port {link2}"),
                shows(&SERVER2, "connected to overlay server at 127.0.0.1 port {link1}"),
                shows(&SERVER1, "server overlay connection from host 127.0.0.1 port {}"),
                starts(&CLIENT1),
                shows(&CLIENT1, "connected to server and registered client1"),
                shows(&SERVER1, "client1 registered from host 127.0.0.1 port {}"),
                starts(&CLIENT2),
                shows(&CLIENT2, "connected to server and registered client2"),
                shows(&SERVER2, "client2 registered from host 127.0.0.1 port {}"),
                types(&CLIENT1, "sendto client2 message1"),
                shows(&SERVER1, "client1 to client2: message1"),
                shows(&SERVER1, "client2 is not registered with server"),
                shows(&SERVER1, "Sending message to overlay server: client1 to client2: message1"),
                shows(&SERVER2, "Received from overlay server: client1 to client2: message1"),
                shows(&CLIENT2, "client1: message1"),
                types(&CLIENT2, "sendto client1 message2"),
                shows(&SERVER2, "client2 to client1: message2"),
                shows(&SERVER2, "client1 is not registered with server"),
                shows(&SERVER2, "Sending message to overlay server: client2 to client1: message2"),
                shows(&SERVER1, "Received from overlay server: client2 to client1: message2"),
                shows(&CLIENT1, "client2: message2"),
                types(&CLIENT1, "exit"),
                shows(&CLIENT1, "terminating client..."),
                ends(&CLIENT1),
                types(&CLIENT2, "exit"),
                shows(&CLIENT2, "terminating client..."),
                ends(&CLIENT2),
                // The one that made the link goes first: the other does not try to make it again.
                interrupts(&SERVER2),
                shows(&SERVER2, "terminating server..."),
                ends(&SERVER2),
                interrupts(&SERVER1),
                shows(&SERVER1, "terminating server..."),
                ends(&SERVER1),
            ],
        },
    ],
};

const SERVER: Member = Member::server("server", &["overlay", "-p", "{port1}"]);
const SERVER1: Member = Member::server("server1", &["overlay", "-p", "{port1}", "-o", "{link1}"]);
const SERVER2: Member = Member::server(
    "server2",
    &["overlay", "-p", "{port2}", "-s", "127.0.0.1", "-t", "{link1}", "-o", "{link2}"],
);
const CLIENT1: Member =
    Member::client("client1", &["overlay", "-s", "127.0.0.1", "-p", "{port1}", "-n", "client1"]);
const CLIENT2: Member =
    Member::client("client2", &["overlay", "-s", "127.0.0.1", "-p", "{port2}", "-n", "client2"]);
/// Client 2 of part 2, which has but one server.
const NEIGHBOUR: Member =
    Member::client("client2", &["overlay", "-s", "127.0.0.1", "-p", "{port1}", "-n", "client2"]);
