//! The lobby: the sample output of CSC/CPE 138, with its five users and four test cases.
//!
//! What the source shows of `BCST Hello` in two ways (`Alice: BCST Hello`, `Alice: Hello`) is the second here.

use crate::script::{Act, Member, Script, ends, interrupts, says, shows, starts, types, types_at};

pub(crate) const SCRIPT: Script = Script {
    name: "lobby",
    about: "JOIN, LIST, MESG, BCST and QUIT over TCP, ten seats",
    acts: &[Act {
        title: "The sample output: five users",
        cast: &[&SERVER, &ALICE, &BOB, &ALEX, &MIKE, &TRUDY],
        cues: &[
            starts(&SERVER),
            shows(&SERVER, "The Chat Server Started"),
            shows(&SERVER, "listening on 127.0.0.1:{port}"),
            starts(&ALICE),
            shows(&SERVER, "Connected with ('127.0.0.1', {})"),
            types_at(&ALICE, PROMPT, "JOIN Alice"),
            shows(&ALICE, "Alice joined!Connected to server!"),
            shows(&SERVER, "Alice Joined the Chatroom"),
            starts(&BOB),
            shows(&SERVER, "Connected with ('127.0.0.1', {})"),
            types_at(&BOB, PROMPT, "JOIN Bob"),
            shows(&BOB, "Bob joined!Connected to server!"),
            shows(&ALICE, "Bob joined!"),
            shows(&SERVER, "Bob Joined the Chatroom"),
            starts(&ALEX),
            shows(&SERVER, "Connected with ('127.0.0.1', {})"),
            types_at(&ALEX, PROMPT, "JOIN Alex"),
            shows(&ALEX, "Alex joined!Connected to server!"),
            shows(&ALICE, "Alex joined!"),
            shows(&BOB, "Alex joined!"),
            shows(&SERVER, "Alex Joined the Chatroom"),
            starts(&MIKE),
            shows(&SERVER, "Connected with ('127.0.0.1', {})"),
            // As in the source's first sample: at this prompt the name will do.
            types_at(&MIKE, PROMPT, "Mike"),
            shows(&MIKE, "Mike joined!Connected to server!"),
            shows(&ALICE, "Mike joined!"),
            shows(&BOB, "Mike joined!"),
            shows(&ALEX, "Mike joined!"),
            shows(&SERVER, "Mike Joined the Chatroom"),
            starts(&TRUDY),
            shows(&SERVER, "Connected with ('127.0.0.1', {})"),
            types_at(&TRUDY, PROMPT, "JOIN Trudy"),
            shows(&TRUDY, "Trudy joined!Connected to server!"),
            shows(&ALICE, "Trudy joined!"),
            shows(&BOB, "Trudy joined!"),
            shows(&ALEX, "Trudy joined!"),
            shows(&MIKE, "Trudy joined!"),
            shows(&SERVER, "Trudy Joined the Chatroom"),
            says("Test case 1: Alice sends a broadcast"),
            types(&ALICE, "BCST Hello"),
            shows(&ALICE, "Alice is sending a broadcast"),
            shows(&ALICE, "Alice: Hello"),
            shows(&BOB, "Alice: Hello"),
            shows(&ALEX, "Alice: Hello"),
            shows(&MIKE, "Alice: Hello"),
            shows(&TRUDY, "Alice: Hello"),
            shows(&SERVER, "Client ({alice}): BCST Hello"),
            says("Test case 2: Mike sends a private message to Bob"),
            types(&MIKE, "MESG Bob How are you?"),
            shows(&BOB, "Mike: How are you?"),
            shows(&SERVER, "Client ({mike}): MESG Bob How are you?"),
            says("Test case 3: Trudy asks who is there"),
            types(&TRUDY, "LIST"),
            shows(&TRUDY, "Alice,Bob,Alex,Mike,Trudy"),
            shows(&SERVER, "Client ({trudy}): LIST"),
            says("Test case 4: Alex quits"),
            types(&ALEX, "QUIT"),
            shows(&ALEX, "Alex is quitting the chat server"),
            ends(&ALEX),
            shows(&ALICE, "Alex left"),
            shows(&BOB, "Alex left"),
            shows(&MIKE, "Alex left"),
            shows(&TRUDY, "Alex left"),
            shows(&SERVER, "Client ({alex}): QUIT"),
            shows(&SERVER, "Client ({alex}): Alex left"),
            says("The server stops"),
            interrupts(&SERVER),
            shows(&ALICE, "Server is shutting down"),
            ends(&ALICE),
            shows(&BOB, "Server is shutting down"),
            ends(&BOB),
            shows(&MIKE, "Server is shutting down"),
            ends(&MIKE),
            shows(&TRUDY, "Server is shutting down"),
            ends(&TRUDY),
            // Each client has a thread in the server, and they end in any order.
            shows(&SERVER, "Client ({}): {} left"),
            shows(&SERVER, "Client ({}): {} left"),
            shows(&SERVER, "Client ({}): {} left"),
            shows(&SERVER, "Client ({}): {} left"),
            ends(&SERVER),
        ],
    }],
};

const PROMPT: &str = "Enter JOIN followed by your username: ";

const SERVER: Member = Member::server("server", &["lobby", "{port}", "--bind", "127.0.0.1"]);
const ALICE: Member = client("Alice", &["--name", "Alice"]);
const BOB: Member = client("Bob", &["--name", "Bob"]);
const ALEX: Member = client("Alex", &["--name", "Alex"]);
const MIKE: Member = client("Mike", &["--name", "Mike"]);
const TRUDY: Member = client("Trudy", &["--name", "Trudy"]);

const fn client(name: &'static str, unscripted: &'static [&'static str]) -> Member {
    Member::client(name, &["lobby", "127.0.0.1", "{port}"]).unscripted(unscripted)
}
