//! The protocol lobby: what goes over the wire (L4-L24), what the server's terminal shows (L25, L26), and what the client
//! makes of both (L28-L30). Starting, stopping and limits are in the other modules.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use chat_tests::wire::kernel_sockets;
use chat_tests::{DEADLINE, Listener, Process, Raw, Screen, Server, Signal, needs_ours, until};

pub(crate) const PROTOCOL: &str = "lobby";
pub(crate) const PROMPT: &str = "Enter JOIN followed by your username: ";
pub(crate) const SHUTDOWN: &str = "Server is shutting down";
/// How one side ends a connection, and the name of that.
type Way = (&'static str, fn(Raw));

pub(crate) const UNREGISTERED: &str = "Unregistered User. Use JOIN <username> to register.";
const INVALID: &str = "Invalid Username. Use JOIN <username>, one word of letters and digits.";
const TEN: [&str; 10] = ["Ann", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hal", "Ida", "Jo"];

/// So many lines that no server takes them in one read.
const MUCH: usize = 20_000;

// ---------------------------------------------------------------- what the other modules use too

/// Our server, or the foreign one, on a free port.
#[track_caller]
pub(crate) fn server() -> Server {
    Server::any(PROTOCOL)
}

/// Our server with these options, on a free port.
#[track_caller]
pub(crate) fn server_with(options: &[&str]) -> Server {
    Server::start(PROTOCOL, options)
}

/// A new connection, registered under this name.
#[track_caller]
pub(crate) fn join(server: &Server, name: &str) -> Raw {
    register(server.connect(), name)
}

/// Registers a connection that has said nothing yet.
#[track_caller]
pub(crate) fn register(mut raw: Raw, name: &str) -> Raw {
    raw.send_line(&format!("JOIN {name}"));
    raw.expect(&welcome(name));
    raw
}

/// Connections registered under these names, one after the other; each has read who came after it.
#[track_caller]
pub(crate) fn joined<const N: usize>(server: &Server, names: [&str; N]) -> [Raw; N] {
    let mut all: Vec<Raw> = Vec::new();
    for name in names {
        let newcomer = join(server, name);
        for earlier in &mut all {
            earlier.expect(&format!("{name} joined!"));
        }
        all.push(newcomer);
    }
    all.try_into().unwrap_or_else(|_| unreachable!("one connection for each name"))
}

/// Asks for the list, and gets these names and nothing before them. That proves silence: whatever the server had sent here
/// because of requests it answered earlier would stand in front of them.
#[track_caller]
pub(crate) fn expect_list(raw: &mut Raw, names: &[&str]) {
    raw.send_line("LIST");
    raw.expect_all(names);
}

/// The list has these names, at once or soon: the end of a connection takes a moment to be noticed. Other lines are skipped.
#[track_caller]
pub(crate) fn expect_list_soon(raw: &mut Raw, names: &[&str]) {
    let same = until(DEADLINE, || {
        raw.send_line("LIST\nMESG nobody-here .");
        let mut lines = Vec::new();
        loop {
            let line = raw.line().expect("an answer to LIST");
            if line.starts_with("Unknown Recipient") {
                return (lines == names).then_some(());
            }
            if !line.contains([' ', ':']) {
                lines.push(line);
            }
        }
    });
    assert!(same.is_some(), "wanted: {names:?} as the list, soon\nhave: another one, all the time");
}

/// Lets a few of the pauses pass that end a message (A19). The clock is the server itself: three programs without newlines
/// are answered, one after the other.
#[track_caller]
pub(crate) fn let_pauses_pass(server: &Server) {
    for _ in 0..3 {
        let mut raw = server.connect();
        raw.send("LIST");
        raw.expect(UNREGISTERED);
    }
}

/// What the server says to one who has joined.
pub(crate) fn welcome(name: &str) -> String {
    format!("{name} joined!Connected to server!")
}

/// Our client, or the foreign one, connected to a server that is this test.
#[track_caller]
pub(crate) fn client_of_test() -> (Process, Raw) {
    let listener = Listener::new();
    let mut client = Process::client(PROTOCOL, listener.port());
    let server = listener.accept(&client);
    client.stdout.expect_text(PROMPT);
    (client, server)
}

/// The same, after the client has joined under the name Mike.
#[track_caller]
pub(crate) fn mike_of_test() -> (Process, Raw) {
    let (mut client, mut server) = client_of_test();
    client.type_line("JOIN Mike");
    server.expect("JOIN Mike");
    server.send_line(&welcome("Mike"));
    client.stdout.expect(&welcome("Mike"));
    (client, server)
}

// ---------------------------------------------------------------- requests

/// L4: "lines, case-sensitive, ASCII commands"; L18: "unknown command, registered: `Unknown Message (<first word>). Discarded.`"
#[test]
fn l04_l18_commands_are_case_sensitive_and_others_are_unknown() {
    let server = server();
    let mut alice = join(&server, "Alice");
    let table = [
        ("list", "list"),
        ("Bcst all", "Bcst"),
        ("MESGBob hi", "MESGBob"),
        ("hello there you", "hello"),
        ("LIST,", "LIST,"),
    ];
    for (line, word) in table {
        alice.send_line(line);
        alice.expect(&format!("Unknown Message ({word}). Discarded."));
    }
}

/// L4: "`LIST`, `MESG`, `BCST` need registration"; L17: "`Unregistered User. Use JOIN <username> to register.`"
#[test]
fn l04_l17_the_unregistered_are_told_how_to_register() {
    let server = server();
    let mut stranger = server.connect();
    for line in ["LIST", "MESG Alice hi", "MESG", "BCST hi", "BCST", "join Alice", "whatever"] {
        stranger.send_line(line);
        stranger.expect(UNREGISTERED);
    }
    stranger.send_line("JOIN Alice");
    stranger.expect(&welcome("Alice"));
}

/// L5: "Words are separated by one or more spaces; the text of MESG and BCST is everything behind the one space after the
/// recipient, or the command, further spaces included."
#[test]
fn l05_spaces_in_a_text_are_kept() {
    let server = server();
    let [mut alice, mut bob] = joined(&server, ["Alice", "Bob"]);
    let table = [
        ("MESG Bob one two", "Alice: one two"),
        ("MESG   Bob one two", "Alice: one two"),
        ("MESG Bob  one   two  ", "Alice:  one   two  "),
        ("BCST three  four ", "Alice: three  four "),
        ("BCST  five", "Alice:  five"),
        ("MESG Bob\ttab", ""),
        ("MESG Bob a\ttab", "Alice: a\ttab"),
    ];
    for (line, wanted) in table {
        alice.send_line(line);
        if !wanted.is_empty() {
            bob.expect(wanted);
        }
    }
}

/// L5: "Words behind LIST and QUIT are ignored … An empty line is nothing."
#[test]
fn l05_words_behind_list_and_quit_and_empty_lines_are_ignored() {
    let server = server();
    let mut alice = server.connect();
    alice.send("\n\r\n\nJOIN   Alice\n");
    alice.expect(&welcome("Alice"));
    alice.send("\n\nLIST Alice\nLIST all of them\n\nQUIT Alice now\n");
    alice.expect_all(&["Alice", "Alice", "Alice is quitting the chat server"]);
    alice.expect_end();
}

/// L5: "A JOIN is checked in this order: L8, L11, L9, L10."
#[test]
fn l05_join_is_checked_in_its_order() {
    let server = server();
    let mut all = joined(&server, TEN);
    // L8 before L11 and L9: the registered are told so, whatever name they ask for.
    for line in ["JOIN", "JOIN a!b", "JOIN Ben", "JOIN New"] {
        all[0].send_line(line);
        all[0].expect("Already registered as Ann. JOIN discarded.");
    }
    // L11 and L9 before L10: an eleventh who must choose another name anyway stays connected.
    let mut eleventh = server.connect();
    eleventh.send_line("JOIN a!b");
    eleventh.expect(INVALID);
    eleventh.send_line("JOIN Ben");
    eleventh.expect("Username Ben is already taken. Use JOIN <username> with another name.");
    eleventh.send_line("JOIN New");
    eleventh.expect("Too Many Users");
    eleventh.expect_end();
}

// ---------------------------------------------------------------- joining

/// L6: "`<name> joined!Connected to server!`" to the joiner; L7: "`<name> joined!`" to every other registered client
#[test]
fn l06_l07_a_join_is_told_to_all_registered() {
    let server = server();
    let mut stranger = server.connect();
    let [mut alice, mut bob, mut carol] = joined(&server, ["Alice", "Bob", "Carol"]);
    for raw in [&mut alice, &mut bob, &mut carol] {
        expect_list(raw, &["Alice", "Bob", "Carol"]);
    }
    // The unregistered saw nothing of all this.
    stranger.send_line("LIST");
    stranger.expect(UNREGISTERED);
}

/// L8: "JOIN from a client already registered: `Already registered as <name>. JOIN discarded.`"
#[test]
fn l08_a_second_join_is_discarded() {
    let server = server();
    let [mut alice, mut bob] = joined(&server, ["Alice", "Bob"]);
    alice.send_line("JOIN Carol");
    alice.expect("Already registered as Alice. JOIN discarded.");
    expect_list(&mut alice, &["Alice", "Bob"]);
    expect_list(&mut bob, &["Alice", "Bob"]);
}

/// L9: "`Username <name> is already taken. Use JOIN <username> with another name.`"; A13: "unique per server, compared exactly"
#[test]
fn l09_a13_a_name_in_use_is_refused() {
    let server = server();
    let mut alice = join(&server, "Alice");
    let mut other = server.connect();
    other.send_line("JOIN Alice");
    other.expect("Username Alice is already taken. Use JOIN <username> with another name.");
    expect_list(&mut alice, &["Alice"]);
    other.send_line("JOIN alice");
    other.expect(&welcome("alice"));
    alice.expect("alice joined!");
}

/// L10: "JOIN when ten are registered: `Too Many Users`, then its connection is closed"; A11: "The 11th gets the protocol's own
/// "full" text, *receives it* (no reset that eats it), and the others notice nothing."; S6
#[test]
fn l10_a11_s6_the_eleventh_is_told_and_nobody_else_notices() {
    let server = server();
    let mut all = joined(&server, TEN);
    let mut eleventh = server.connect();
    // What stands unread behind the JOIN would make a careless close a reset, which throws the last words away.
    eleventh.send(format!("JOIN Kay\n{}", "BCST still here\n".repeat(MUCH)));
    eleventh.expect("Too Many Users");
    eleventh.expect_end();
    for raw in &mut all {
        expect_list(raw, &TEN);
    }
}

/// A11: "The place of a client that leaves is free at once."
#[test]
fn a11_a_freed_place_is_taken_by_the_next() {
    let server = server();
    let mut all = Vec::from(joined(&server, TEN));
    for round in 0..5 {
        let mut last = all.pop().unwrap();
        last.send_line("QUIT");
        last.find("is quitting the chat server");
        last.expect_end();
        let name = format!("New{round}");
        all.push(join(&server, &name));
        all[0].find(" left");
        all[0].expect(&format!("{name} joined!"));
    }
}

/// L11: "JOIN without a name, or with one A13 refuses: `Invalid Username. …`"; A13: "one word: 1 to 32 characters, each an ASCII
/// letter, a digit, `-`, `_` or `.`"
#[test]
fn l11_a13_names_are_one_plain_word() {
    let server = server();
    let long = "x".repeat(33);
    let mut raw = server.connect();
    for name in ["", " ", "a!b", "a,b", "a:b", "(x)", "Zoë", "日本", "a\u{1b}[2J", "a\tb", &long] {
        raw.send_line(&format!("JOIN {name}"));
        raw.expect(INVALID);
    }
    for name in ["x", "7", "client1-37442", "a.b_c-d", "-", &long[..32]] {
        let mut raw = join(&server, name);
        expect_list(&mut raw, &[name]);
        raw.send_line("QUIT");
        raw.expect(&format!("{name} is quitting the chat server"));
        raw.expect_end();
    }
}

// ---------------------------------------------------------------- list and messages

/// L12: "every registered name, each on its own line, in order of joining"
#[test]
fn l12_list_is_in_order_of_joining() {
    let server = server();
    let [mut zoe, alice, mut mike] = joined(&server, ["Zoe", "Alice", "Mike"]);
    expect_list(&mut mike, &["Zoe", "Alice", "Mike"]);
    drop(alice);
    for raw in [&mut zoe, &mut mike] {
        raw.expect("Alice left");
    }
    let mut alice = join(&server, "Alice");
    expect_list(&mut alice, &["Zoe", "Mike", "Alice"]);
}

/// L13: "MESG to a registered client (itself too): the recipient: `<sender>: <text>`"
#[test]
fn l13_mesg_reaches_its_recipient_only() {
    let server = server();
    let [mut alice, mut bob, mut carol] = joined(&server, ["Alice", "Bob", "Carol"]);
    alice.send_line("MESG Bob How are you?");
    bob.expect("Alice: How are you?");
    alice.send_line("MESG Alice note to self");
    alice.expect("Alice: note to self");
    expect_list(&mut carol, &["Alice", "Bob", "Carol"]);
    expect_list(&mut alice, &["Alice", "Bob", "Carol"]);
}

/// L14: "MESG to anyone else: the sender: `Unknown Recipient (<name>). MESG discarded.`"
#[test]
fn l14_mesg_to_nobody_is_refused() {
    let server = server();
    let [mut alice, bob] = joined(&server, ["Alice", "Bob"]);
    for name in ["Zed", "bob", "Bob:", "*"] {
        alice.send_line(&format!("MESG {name} hi"));
        alice.expect(&format!("Unknown Recipient ({name}). MESG discarded."));
    }
    drop(bob);
    alice.expect("Bob left");
    alice.send_line("MESG Bob hi");
    alice.expect("Unknown Recipient (Bob). MESG discarded.");
}

/// L15: "BCST: every *other* registered client: `<sender>: <text>`"; L16: "the sender: `<sender> is sending a broadcast`"
#[test]
fn l15_l16_bcst_reaches_all_others() {
    let server = server();
    let mut stranger = server.connect();
    let [mut alice, mut bob, mut carol] = joined(&server, ["Alice", "Bob", "Carol"]);
    alice.send_line("BCST Hello");
    bob.expect("Alice: Hello");
    carol.expect("Alice: Hello");
    alice.expect("Alice is sending a broadcast");
    expect_list(&mut alice, &["Alice", "Bob", "Carol"]);
    stranger.send_line("LIST");
    stranger.expect(UNREGISTERED);
}

/// L19: "MESG without recipient or text; BCST without text: `Incomplete MESG. Use MESG <username> <message>.` / `Incomplete BCST.
/// Use BCST <message>.`" (blanks alone are no text)
#[test]
fn l19_incomplete_messages_are_refused() {
    let server = server();
    let [mut alice, mut bob] = joined(&server, ["Alice", "Bob"]);
    let mesg = "Incomplete MESG. Use MESG <username> <message>.";
    let bcst = "Incomplete BCST. Use BCST <message>.";
    let table = [
        ("MESG", mesg),
        ("MESG ", mesg),
        ("MESG Bob", mesg),
        ("MESG Bob ", mesg),
        ("MESG Bob    ", mesg),
        ("MESG Zed", mesg),
        ("BCST", bcst),
        ("BCST ", bcst),
        ("BCST     ", bcst),
    ];
    for (line, wanted) in table {
        alice.send_line(line);
        alice.expect(wanted);
    }
    expect_list(&mut bob, &["Alice", "Bob"]);
}

// ---------------------------------------------------------------- leaving

/// L20: "QUIT: `<name> is quitting the chat server`, then its connection is closed (nothing if unregistered)"; S6
#[test]
fn l20_s6_quit_is_answered_and_the_connection_closed() {
    let server = server();
    let mut alice = join(&server, "Alice");
    // What stands unread behind the QUIT is not handled, and does not turn the close into a reset.
    alice.send(format!("QUIT\n{}", "BCST still here\n".repeat(MUCH)));
    alice.expect("Alice is quitting the chat server");
    alice.expect_end();
    let mut stranger = server.connect();
    stranger.send_line("QUIT");
    stranger.expect_end();
}

/// L21: "a registered client quits, or its connection ends in any way: every other registered client: `<name> left`"
#[test]
fn l21_every_way_to_leave_is_told_and_frees_the_name() {
    let server = server();
    let mut bob = join(&server, "Bob");
    let ways: [Way; 4] = [
        ("QUIT", |mut raw| raw.send_line("QUIT")),
        ("close", drop),
        ("reset", Raw::abort),
        ("half close", |mut raw| {
            raw.half_close();
            raw.expect_end();
        }),
    ];
    for (way, leave) in ways {
        println!("leaving by {way}");
        let alice = join(&server, "Alice");
        bob.expect("Alice joined!");
        leave(alice);
        bob.expect("Alice left");
        expect_list(&mut bob, &["Bob"]);
    }
}

/// L21, A16: the name of a client that was killed is free again.
#[test]
fn l21_a_killed_client_process_frees_its_name() {
    let server = server();
    let mut bob = join(&server, "Bob");
    let mut client = Process::client(PROTOCOL, server.port());
    client.type_line("JOIN Alice");
    bob.expect("Alice joined!");
    client.signal(Signal::SIGKILL);
    bob.expect("Alice left");
    let mut alice = join(&server, "Alice");
    expect_list(&mut alice, &["Bob", "Alice"]);
}

/// A11: "The place of a client that leaves is free at once": when it sees the end of its connection, its name is free.
#[test]
fn a11_a_name_is_free_when_the_end_is_seen() {
    needs_ours!(PROTOCOL, "is about our order of doing things");
    let server = server();
    for quits in [true, false].repeat(150) {
        let mut alice = join(&server, "Alice");
        if quits {
            alice.send_line("QUIT");
            alice.expect("Alice is quitting the chat server");
        } else {
            alice.half_close();
        }
        alice.expect_end();
    }
}

// ---------------------------------------------------------------- order

/// L23: "A LIST answer is one uninterrupted run of lines: nobody's message stands inside it."
#[test]
fn l23_a_list_answer_is_never_interrupted() {
    let server = server();
    let names = ["Alice", "Bob", "Carol", "Dave"];
    let [mut alice, bob, carol, dave] = joined(&server, names);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for raw in [bob, carol, dave] {
            scope.spawn(|| broadcast_until(raw, &done));
        }
        let mut heard = 0;
        for _ in 0..200 {
            alice.send_line("LIST");
            heard += lines_before(&mut alice, "Alice");
            alice.expect_all(&names[1..]);
        }
        done.store(true, Ordering::Relaxed);
        assert!(
            heard > 0,
            "wanted: messages of the others between the answers\nhave: none, so this proved nothing"
        );
    });
}

/// L24: "Everyone sees joins, broadcasts and leaves in one and the same order."; S2: "What the registry lock ordered, every
/// client sees in that order."
#[test]
fn l24_s2_everyone_sees_one_order() {
    const BROADCASTS: usize = 200;
    const GUESTS: usize = 15;
    let server = server();
    let speakers = ["Ann", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hal", "Ida"];
    let start = Barrier::new(speakers.len() + 1);
    let heard: Vec<Vec<String>> = thread::scope(|scope| {
        let speak = |(raw, name): (Raw, &'static str)| {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                speak(raw, name, BROADCASTS, speakers.len() * BROADCASTS + 2 * GUESTS)
            })
        };
        let threads: Vec<_> = joined(&server, speakers).into_iter().zip(speakers).map(speak).collect();
        start.wait();
        for guest in 0..GUESTS {
            let mut raw = join(&server, &format!("Guest{guest}"));
            raw.send_line("QUIT");
            raw.find("is quitting the chat server");
        }
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (name, lines) in speakers.iter().zip(&heard) {
        for (other, others) in speakers.iter().zip(&heard) {
            // Each sees its own broadcasts otherwise (L16), so those of both are left out of the comparison.
            let (lines, others) = (without(lines, [name, other]), without(others, [name, other]));
            let first = lines.iter().zip(&others).find(|(line, other)| line != other);
            assert_eq!(lines.len(), others.len(), "wanted: the same lines for {name} and {other}");
            assert!(
                first.is_none(),
                "wanted: one order for {name} and {other}\nhave: {first:?} at the first difference"
            );
        }
    }
}

// ---------------------------------------------------------------- the stream

/// A18: "TCP is a byte stream: a reader never assumes that one read is one message. … a message ends at LF; one CR before it is
/// dropped."
#[test]
fn a18_messages_may_come_split_anywhere() {
    let server = server();
    let [mut alice, mut bob, mut carol] = joined(&server, ["Alice", "Bob", "Carol"]);
    let bytes = b"MESG Bob \xc3\xa9in\r\nMESG Bob two\n";
    for at in 1..bytes.len() {
        alice.send(&bytes[..at]);
        // An answer to somebody else lies between the halves, so the first was read by itself, most likely.
        expect_list(&mut carol, &["Alice", "Bob", "Carol"]);
        alice.send(&bytes[at..]);
        bob.expect_all(&["Alice: éin", "Alice: two"]);
    }
    for byte in bytes {
        alice.send([*byte]);
    }
    bob.expect_all(&["Alice: éin", "Alice: two"]);
}

/// A18: merged messages, LF and CR LF in turn
#[test]
fn a18_messages_may_come_merged() {
    let server = server();
    let mut alice = server.connect();
    alice.send(
        "JOIN Alice\r\nLIST\nMESG Alice me\r\n\r\n\nBCST all\nMESG Alice a\rb\r\nnonsense\nQUIT\r\nLIST\n",
    );
    alice.expect_all(&[
        "Alice joined!Connected to server!",
        "Alice",
        "Alice: me",
        "Alice is sending a broadcast",
        "Alice: a?b",
        "Unknown Message (nonsense). Discarded.",
        "Alice is quitting the chat server",
    ]);
    alice.expect_end();
}

/// A19: "*until* a connection has sent its first newline, bytes that have stood 100 ms without one are taken as a whole message"
#[test]
fn a19_a_program_without_newlines_is_understood() {
    let server = server();
    let mut bob = join(&server, "Bob");
    let mut alice = server.connect();
    alice.send("JOIN Alice");
    alice.expect(&welcome("Alice"));
    bob.expect("Alice joined!");
    alice.send("LIST");
    alice.expect_all(&["Bob", "Alice"]);
    alice.send("MESG Bob hi there");
    bob.expect("Alice: hi there");
    alice.send("BCST to all");
    bob.expect("Alice: to all");
    alice.expect("Alice is sending a broadcast");
    alice.send("QUIT");
    alice.expect("Alice is quitting the chat server");
    alice.expect_end();
}

/// A19: "After its first newline, only newlines end its messages."
#[test]
fn a19_after_the_first_newline_a_pause_ends_nothing() {
    let server = server();
    let [mut alice, mut bob] = joined(&server, ["Alice", "Bob"]);
    alice.send("MESG Bob one half");
    let_pauses_pass(&server);
    alice.send(" and the other\n");
    bob.expect("Alice: one half and the other");
}

/// A19: "A peer that closes its sending half (`printf … | nc`) has its last message handled, finished by a newline or not, and
/// still gets what is under way to it"
#[test]
fn a19_the_last_words_before_a_half_close_are_handled() {
    for input in ["JOIN Alice\nLIST\n", "JOIN Alice\nLIST", "JOIN Alice\r\nLIST\r\n", "\nJOIN Alice\nLIST"] {
        let server = server();
        let mut alice = server.connect();
        alice.send(input);
        alice.half_close();
        alice.expect_all(&[&welcome("Alice"), "Alice"]);
        alice.expect_end();
    }
    let server = server();
    let mut bob = join(&server, "Bob");
    let mut alice = server.connect();
    alice.send("JOIN Alice");
    alice.half_close();
    alice.expect(&welcome("Alice"));
    bob.expect_all(&["Alice joined!", "Alice left"]);
}

/// A19: a client that does not read its answers before it closes its sending half still gets all of them.
#[test]
fn a19_a_half_closed_client_gets_a_long_answer_whole() {
    const MANY: usize = 20_000;
    let server = server();
    let mut alice = join(&server, "Alice");
    let requests = "MESG Alice 0123456789012345678901234567890123456789\n".repeat(MANY);
    let sending = alice.stream().try_clone().unwrap();
    let count = thread::scope(|scope| {
        scope.spawn(move || {
            std::io::Write::write_all(&mut &sending, requests.as_bytes()).unwrap();
            sending.shutdown(std::net::Shutdown::Write).unwrap();
        });
        alice.rest().lines().count()
    });
    assert_eq!(count, MANY, "wanted: an answer to every request");
}

// ---------------------------------------------------------------- the server's terminal

/// L25: "`The Chat Server Started` at start; for each connection `Connected with ('127.0.0.1', 50692)`; for each registration
/// `Alice Joined the Chatroom`"; L26: "one line per request except an accepted JOIN, one more for a refusal, one for the end of a
/// connection, with the number of the connection's descriptor"
#[test]
fn l25_l26_the_log_tells_every_request_with_its_descriptor() {
    needs_ours!(PROTOCOL, "reads our log");
    let mut server = server();
    server.stdout.expect("The Chat Server Started");
    let mut alice = server.connect();
    server.stdout.expect(&format!("Connected with ('127.0.0.1', {})", alice.port()));
    alice.send_line("JOIN Alice");
    server.stdout.expect("Alice Joined the Chatroom");
    alice.expect(&welcome("Alice"));
    let number = descriptor(&server, &alice);
    let requests = [
        ("LIST", None),
        ("MESG Alice How are you?", None),
        ("BCST Hello", None),
        ("MESG Zed hi", Some("Unknown Recipient (Zed). MESG discarded.")),
        ("MESG Zed", Some("Incomplete MESG. Use MESG <username> <message>.")),
        ("JOIN Bob", Some("Already registered as Alice. JOIN discarded.")),
        ("dance now", Some("Unknown Message (dance). Discarded.")),
    ];
    for (request, refusal) in requests {
        alice.send_line(request);
        server.stdout.expect(&format!("Client ({number}): {request}"));
        if let Some(refusal) = refusal {
            server.stdout.expect(&format!("Client ({number}): {refusal}"));
        }
    }
    alice.send_line("QUIT");
    server.stdout.expect(&format!("Client ({number}): QUIT"));
    server.stdout.expect(&format!("Client ({number}): Alice left"));
}

/// L26: "one for the end of a connection (`<name> left` if registered, else `disconnected`)", "`Client (5): Too Many Users`"
#[test]
fn l26_refusals_and_disconnections_are_logged() {
    needs_ours!(PROTOCOL, "reads our log");
    let mut server = server_with(&["--max-clients", "1"]);
    let _alice = join(&server, "Alice");
    let mut bob = server.connect();
    server.stdout.find(&format!("', {})", bob.port()));
    bob.send_line("LIST");
    bob.expect(UNREGISTERED);
    let number = descriptor(&server, &bob);
    bob.send_line("JOIN Bob");
    bob.expect("Too Many Users");
    bob.expect_end();
    drop(bob);
    for line in ["LIST", UNREGISTERED, "JOIN Bob", "Too Many Users", "disconnected"] {
        server.stdout.expect(&format!("Client ({number}): {line}"));
    }
}

/// The source's sample output: four test cases with five users, terminal by terminal (L25-L29).
#[test]
fn l25_l28_l29_the_sample_of_the_source() {
    needs_ours!(PROTOCOL, "runs our client on a terminal and reads our log");
    let mut server = server();
    let names = ["Alice", "Bob", "Alex", "Mike", "Trudy"];
    let mut screens: Vec<Screen> = Vec::new();
    let mut wanted: Vec<Vec<String>> = Vec::new();
    for name in names {
        let screen = terminal(&server);
        screens.push(screen);
        wanted.push(vec![format!("{PROMPT}JOIN {name}"), welcome(name)]);
        let newest = screens.len() - 1;
        screens[newest].expect_text(PROMPT.trim_end());
        screens[newest].type_keys(&format!("JOIN {name}\r"));
        for earlier in &mut wanted[..newest] {
            earlier.push(format!("{name} joined!"));
        }
        expect_screens(&screens, &wanted);
    }
    // Test case 1: Alice sends a broadcast.
    screens[0].type_keys("BCST Hello\r");
    add(&mut wanted[0], &["BCST Hello", "Alice is sending a broadcast", "Alice: Hello"]);
    for other in &mut wanted[1..] {
        add(other, &["Alice: Hello"]);
    }
    expect_screens(&screens, &wanted);
    // Test case 2: Mike sends a private message to Bob.
    screens[3].type_keys("MESG Bob How are you?\r");
    add(&mut wanted[3], &["MESG Bob How are you?"]);
    add(&mut wanted[1], &["Mike: How are you?"]);
    expect_screens(&screens, &wanted);
    // Test case 3: Trudy asks who is there.
    screens[4].type_keys("LIST\r");
    add(&mut wanted[4], &["LIST", "Alice,Bob,Alex,Mike,Trudy"]);
    expect_screens(&screens, &wanted);
    // Test case 4: Alex quits.
    screens[2].type_keys("QUIT\r");
    add(&mut wanted[2], &["QUIT", "Alex is quitting the chat server"]);
    for other in [0, 1, 3, 4] {
        add(&mut wanted[other], &["Alex left"]);
    }
    expect_screens(&screens, &wanted);
    screens[2].expect_exit(0);
    let joins =
        names.map(|name| format!("Connected with ('127.0.0.1', *)\n{name} Joined the Chatroom\n")).concat();
    let requests = ["BCST Hello", "MESG Bob How are you?", "LIST", "QUIT", "Alex left"];
    let requests = requests.map(|request| format!("Client (*): {request}\n")).concat();
    let wanted = format!("The Chat Server Started\n{joins}{requests}");
    let mut have = String::new();
    for _ in wanted.lines() {
        have += &(without_numbers(&server.stdout.line().unwrap_or_default()) + "\n");
    }
    assert_eq!(have, wanted, "wanted on the right: the server's terminal as in the sample (* for numbers)");
}

// ---------------------------------------------------------------- the client's terminal

/// L28: "Starts with the prompt … The first line typed may be `JOIN Mike` or just `Mike`: at this prompt one bare word that is no
/// command is sent as `JOIN Mike`. Anything else is sent as typed"
#[test]
fn l28_a_bare_name_at_the_prompt_joins() {
    let table = [
        ("JOIN Mike", "JOIN Mike"),
        ("Mike", "JOIN Mike"),
        ("client1-37442", "JOIN client1-37442"),
        ("LIST", "LIST"),
        ("JOIN", "JOIN"),
        ("MESG", "MESG"),
        ("BCST", "BCST"),
        ("QUIT", "QUIT"),
        ("hello there", "hello there"),
        ("join Mike", "join Mike"),
        ("BCST  two  spaces ", "BCST  two  spaces "),
    ];
    for (typed, wanted) in table {
        let (mut client, mut server) = client_of_test();
        client.type_line(typed);
        server.expect(wanted);
    }
}

/// L28: only "the first line typed" may be a bare name; all further ones are "sent as typed".
#[test]
fn l28_later_lines_are_sent_as_typed() {
    let (mut client, mut server) = mike_of_test();
    for line in ["Mike", "hello", "MESG Bob  hi ", "dance now", "JOIN Other"] {
        client.type_line(line);
        server.expect(line);
    }
}

/// L29: "Each line from the server is printed as it came"
#[test]
fn l29_lines_are_printed_as_they_came() {
    let (mut client, mut server) = mike_of_test();
    let lines = [
        "Bob joined!",
        "Bob: hello",
        "Bob:   spaces  ",
        "Bob: tab\tand é 日本",
        "Unknown Message (x). Discarded.",
    ];
    for line in lines {
        server.send_line(line);
        client.stdout.expect(line);
    }
    server.send("Bob: with CR LF\r\nBob: next\r\n");
    client.stdout.expect_all(&["Bob: with CR LF", "Bob: next"]);
}

/// L29: "after the client's own BCST was accepted (L16 came back) it prints `<me>: <text>` under that line"
#[test]
fn l29_an_accepted_broadcast_is_shown_to_its_sender() {
    let (mut client, mut server) = mike_of_test();
    client.type_line("BCST Hello");
    server.expect("BCST Hello");
    server.send_line("Mike is sending a broadcast");
    client.stdout.expect_all(&["Mike is sending a broadcast", "Mike: Hello"]);
    // Two on their way at once, one message of somebody else between their answers.
    client.type_bytes(b"BCST one\nBCST two  words\n");
    server.expect("BCST one");
    server.expect("BCST two  words");
    server.send("Mike is sending a broadcast\nBob: between\nMike is sending a broadcast\n");
    let wanted = [
        "Mike is sending a broadcast",
        "Mike: one",
        "Bob: between",
        "Mike is sending a broadcast",
        "Mike: two  words",
    ];
    client.stdout.expect_all(&wanted);
}

/// L29: a broadcast that was refused is not shown, and does not stand in for the next.
#[test]
fn l29_a_refused_broadcast_is_not_shown() {
    needs_ours!(PROTOCOL, "counts on our server's words");
    let server = server();
    let mut client = Process::client(PROTOCOL, server.port());
    client.type_bytes(b"BCST too early\nJOIN Mike\nBCST\nBCST   \nBCST in time\nLIST\n");
    client.stdout.expect_text(PROMPT);
    client.stdout.expect_all(&[
        UNREGISTERED,
        "Mike joined!Connected to server!",
        "Incomplete BCST. Use BCST <message>.",
        "Incomplete BCST. Use BCST <message>.",
        "Mike is sending a broadcast",
        "Mike: in time",
        "Mike",
    ]);
}

/// L29: "the answer to a LIST it sent (a run of bare names, in which none comes twice: a name that repeats begins the next answer)
/// is printed as one line with commas"
#[test]
fn l29_a_list_is_printed_as_one_line() {
    // (lines typed, what the server answers to all of them in one write, what is printed)
    check_list("LIST\n", "Alice\nBob\nAlex\nMike\nTrudy\n", &["Alice,Bob,Alex,Mike,Trudy"]);
    check_list("LIST\n", "Mike\n", &["Mike"]);
    check_list("LIST\n", "Bob\r\nMike\r\n", &["Bob,Mike"]);
    check_list("LIST\nLIST\n", "Bob\nMike\nBob\nMike\n", &["Bob,Mike", "Bob,Mike"]);
    check_list("LIST\n", "Bob\nMike\nBob: hello\n", &["Bob,Mike", "Bob: hello"]);
    check_list("LIST\n", "Bob: hello\nBob\nMike\n", &["Bob: hello", "Bob,Mike"]);
    check_list(
        "LIST\nLIST\n",
        "Bob\nMike\nBob joined!\nBob\nMike\n",
        &["Bob,Mike", "Bob joined!", "Bob,Mike"],
    );
    // No newline behind the last name, as some servers have it.
    check_list("LIST\n", "Bob\nMike", &["Bob,Mike"]);
}

/// L29: "Bare words that answer no LIST are printed as they came."
#[test]
fn l29_bare_words_without_a_list_are_printed_as_they_came() {
    check_list("", "hello\nworld\n", &["hello", "world"]);
    let (mut client, mut server) = mike_of_test();
    client.type_line("LIST");
    server.expect("LIST");
    server.send("Bob\nMike\n");
    client.stdout.expect("Bob,Mike");
    server.send("hello\nworld\n");
    client.stdout.expect_all(&["hello", "world"]);
}

/// L29, A18: a LIST answer may come in two pieces.
#[test]
fn l29_a_list_may_come_in_two_writes() {
    for split in [3, 5, 6] {
        let whole = b"Alice\nMike\n";
        // Between the pieces there must not be 100 ms (A19). On a busy machine there may be: then it is tried again.
        let in_time = (0..5).any(|_| {
            let (mut client, mut server) = mike_of_test();
            client.type_line("LIST");
            server.expect("LIST");
            let start = Instant::now();
            server.send(&whole[..split]);
            server.send(&whole[split..]);
            let in_time = start.elapsed() < Duration::from_millis(50);
            if in_time {
                client.stdout.expect("Alice,Mike");
            }
            in_time
        });
        assert!(in_time, "wanted: two writes within 50 ms in one of five attempts");
    }
}

/// A19: "The lobby *client* keeps the 100 ms rule for good: real servers there mix both." "a client prints an unfinished last line
/// of its server too"
#[test]
fn a19_a_server_without_newlines_is_understood() {
    let (mut client, mut server) = client_of_test();
    client.type_line("Mike");
    server.expect("JOIN Mike");
    for message in ["Mike joined!Connected to server!", "Bob joined!", "Bob: one\nBob: two"] {
        server.send(message);
        client.stdout.expect_all(&message.lines().collect::<Vec<_>>());
    }
    client.type_line("LIST");
    server.expect("LIST");
    server.send("Mike\nBob");
    client.stdout.expect("Mike,Bob");
    server.send("last words");
    drop(server);
    client.stdout.expect("last words");
    client.stdout.expect_end();
}

/// L30: "After QUIT it prints the server's farewell line and ends with 0."
#[test]
fn l30_quit_ends_with_the_farewell() {
    let server = server();
    let mut client = Process::client(PROTOCOL, server.port());
    client.type_line("JOIN Mike");
    client.stdout.expect(&format!("{PROMPT}{}", welcome("Mike")));
    client.type_line("QUIT");
    client.stdout.expect("Mike is quitting the chat server");
    client.expect_exit(0);
    client.stdout.expect_end();
}

/// L30: "When the server goes away: `Server closed the connection` on stderr, status 1 (0 after L22)."
#[test]
fn l30_a_server_that_goes_away_is_reported() {
    needs_ours!(PROTOCOL, "reads our client's stderr");
    let ways: [Way; 2] = [("close", drop), ("reset", Raw::abort)];
    for (way, leave) in ways {
        println!("the server goes by {way}");
        let (mut client, server) = mike_of_test();
        leave(server);
        client.stderr.find("Server closed the connection");
        client.expect_exit(1);
        client.stdout.expect_end();
    }
    let (mut client, mut server) = mike_of_test();
    server.send_line(SHUTDOWN);
    drop(server);
    client.stdout.expect(SHUTDOWN);
    client.expect_exit(0);
    client.stdout.expect_end();
}

/// A4: "1 when it failed (… name refused where no other can be tried …)"; L10: the eleventh client program
#[test]
fn a04_l10_a_client_turned_away_ends_with_1() {
    needs_ours!(PROTOCOL, "starts our server with an option");
    let server = server_with(&["--max-clients", "1"]);
    let _alice = join(&server, "Alice");
    let mut client = Process::client(PROTOCOL, server.port());
    client.type_line("Mike");
    client.stdout.expect(&format!("{PROMPT}Too Many Users"));
    client.expect_exit(1);
    client.stdout.expect_end();
}

/// A7: "End of input on a client does what the exit command does, after every line read before it has been sent."
#[test]
fn a07_the_end_of_input_sends_everything_and_then_quits() {
    for input in ["JOIN Mike\nBCST Hello\nLIST\n", "Mike\nBCST Hello\nLIST"] {
        let server = server();
        let mut bob = join(&server, "Bob");
        let mut client = Process::client(PROTOCOL, server.port());
        client.type_bytes(input.as_bytes());
        client.end_input();
        client.expect_exit(0);
        bob.expect_all(&["Mike joined!", "Mike: Hello", "Mike left"]);
        client.stdout.expect_all(&[
            &format!("{PROMPT}{}", welcome("Mike")),
            "Mike is sending a broadcast",
            "Mike: Hello",
            "Bob,Mike",
            "Mike is quitting the chat server",
        ]);
        client.stdout.expect_end();
    }
}

/// A7: a long file piped into the client arrives whole.
#[test]
fn a07_a_long_input_arrives_whole() {
    const MANY: usize = 10_000;
    let server = server();
    let mut bob = join(&server, "Bob");
    let mut client = Process::client(PROTOCOL, server.port());
    client.type_line("JOIN Mike");
    let lines: String = (0..MANY).map(|number| format!("MESG Bob {number}\n")).collect();
    client.type_bytes(lines.as_bytes());
    client.end_input();
    bob.expect("Mike joined!");
    for number in 0..MANY {
        bob.expect(&format!("Mike: {number}"));
    }
    bob.expect("Mike left");
    client.expect_exit(0);
}

/// A7: with no input at all the client still says QUIT.
#[test]
fn a07_no_input_at_all_is_a_quit() {
    let (mut client, mut server) = client_of_test();
    client.end_input();
    server.expect("QUIT");
    drop(server);
    client.expect_exit(0);
}

// ---------------------------------------------------------------- helpers

/// Types `typed` into a client that has joined, lets the server answer, and reads what the client prints.
#[track_caller]
fn check_list(typed: &str, answer: &str, wanted: &[&str]) {
    let (mut client, mut server) = mike_of_test();
    client.type_bytes(typed.as_bytes());
    for request in typed.lines() {
        server.expect(request);
    }
    server.send(answer);
    client.stdout.expect_all(wanted);
    // Nothing more: what comes next is what the server says next.
    server.send_line("Bob: the end");
    client.stdout.expect("Bob: the end");
}

/// Broadcasts, a few at a time, as fast as the server answers, until told to stop.
fn broadcast_until(mut raw: Raw, done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        raw.send("BCST let me interrupt\n".repeat(10));
        for _ in 0..10 {
            raw.find("is sending a broadcast");
        }
    }
}

/// How many lines come before the line `wanted`, which is taken too.
#[track_caller]
fn lines_before(raw: &mut Raw, wanted: &str) -> usize {
    let mut count = 0;
    loop {
        match raw.line() {
            Some(line) if line == wanted => return count,
            Some(_) => count += 1,
            None => panic!("wanted: a line {wanted:?}\nhave: none in time"),
        }
    }
}

/// Broadcasts so many numbered lines, each after the one before was acknowledged, so that they meet those of the others; gives
/// all that was heard, `total` lines, the acknowledgements among them.
fn speak(mut raw: Raw, name: &str, broadcasts: usize, total: usize) -> Vec<String> {
    let acknowledged = format!("{name} is sending a broadcast");
    let mut heard: Vec<String> = Vec::new();
    let mut said = 0;
    while heard.len() < total {
        if said < broadcasts && (said == 0 || heard.last() == Some(&acknowledged)) {
            raw.send_line(&format!("BCST {said}"));
            said += 1;
        }
        heard.push(raw.line().unwrap_or_else(|| panic!("{name}: wanted {total} lines")));
    }
    heard
}

/// The lines without those about broadcasts of these two.
fn without<'a>(lines: &'a [String], names: [&str; 2]) -> Vec<&'a String> {
    let of_them = |line: &String| {
        names
            .iter()
            .any(|name| line.starts_with(&format!("{name}: ")) || line.starts_with(&format!("{name} is ")))
    };
    lines.iter().filter(|line| !of_them(line)).collect()
}

/// The number of the descriptor that this connection has in the server, as the kernel tells it.
#[track_caller]
pub(crate) fn descriptor(server: &Server, raw: &Raw) -> u32 {
    let theirs = |socket: &chat_tests::wire::KernelSocket| {
        socket.local_port == server.port() && socket.remote_port == raw.port()
    };
    let socket = kernel_sockets().into_iter().find(theirs).expect("the connection in /proc/net/tcp");
    let name = format!("socket:[{}]", socket.inode);
    let found = server.descriptors().into_iter().find(|(_, target)| *target == name);
    found.expect("the connection among the server's descriptors").0
}

/// A terminal on which a person has started our client.
fn terminal(server: &Server) -> Screen {
    Screen::client(&[PROTOCOL, "127.0.0.1", &server.port().to_string()])
}

fn add(rows: &mut Vec<String>, more: &[&str]) {
    rows.extend(more.iter().map(ToString::to_string));
}

#[track_caller]
fn expect_screens(screens: &[Screen], wanted: &[Vec<String>]) {
    for (screen, rows) in screens.iter().zip(wanted) {
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        screen.expect_rows(&rows);
    }
}

/// The line with `*` for the number in its parentheses: a port, a descriptor.
fn without_numbers(line: &str) -> String {
    let port = line.rsplit_once(", ").filter(|(_, rest)| rest.trim_end_matches(')').parse::<u16>().is_ok());
    if let (Some((start, _)), true) = (port, line.starts_with("Connected with")) {
        return format!("{start}, *)");
    }
    match line.strip_prefix("Client (").and_then(|rest| rest.split_once(')')) {
        Some((number, rest)) if number.parse::<u32>().is_ok() => format!("Client (*){rest}"),
        _ => line.to_owned(),
    }
}
