//! The protocol channels: messages of exactly 200 bytes (C2-C5), channels and errors (C6-C19), and what the two terminals
//! show (C20-C23). What lies in the code that all protocols share is tested beside the lobby; here, only that channels uses it.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::checks::{check_property, check_usages, check_wrong};
use chat_tests::wait::{fail, same};
use chat_tests::{DEADLINE, Listener, Process, Raw, Screen, Server, Setup, Signal, until};
use proptest::collection::vec;
use proptest::prelude::*;
use socket2::{Domain, Socket, Type};

const PROTOCOL: &str = "channels";

/// How many bytes every message has.
const SIZE: usize = 200;

/// The prompt, and what makes it invisible (C21).
const ME: &str = "[Me] ";
const WIPE: &str = "\r    \r";

/// The channel that the members of most tests are in.
const CHANNEL: &str = "AA";

const NOT_IN_ANY: &str = "Not currently in any channel. Must join a channel before sending messages.";
const JOIN_WHAT: &str = "/join command must be followed by the name of a channel to join.";
const CREATE_WHAT: &str = "/create command must be followed by the name of a channel to create";

/// What one message between two live clients may take, whatever others do.
const LIVELY: Duration = Duration::from_secs(1);

/// How one side ends a connection, and the name of that.
type Way = (&'static str, fn(Raw));

/// How a client program is ended.
type End = fn(&mut Process);

// ---------------------------------------------------------------- the sample of the source

/// The question that Alice asks in the sample.
const QUESTION: &str = "Hi everyone! Does anyone know what we're doing on the first day of lecture?";

/// The sample dialogue through pipes. C21: "Prints `[Me] ` at start and after each line typed. … through a pipe the bytes are
/// `\r    \r<text>\n[Me] `."
#[test]
fn c21_the_sample_through_pipes() {
    let server = server();
    let mut panda = client(&server, "Panda", "localhost");
    dialogue(
        &mut panda,
        &[
            ("Hello world!", &[NOT_IN_ANY]),
            ("/list", &[]),
            ("/create 168_tas", &[]),
            ("/list", &["168_tas"]),
            ("Hello world!", &[]),
        ],
    );
    let mut alice = client(&server, "Alice", "127.0.0.1");
    dialogue(&mut alice, &[("/list", &["168_tas"]), ("/join 168_tas", &[])]);
    panda.stdout.expect_text(&shown("Alice has joined"));
    dialogue(&mut alice, &[(QUESTION, &[])]);
    panda.stdout.expect_text(&shown(&format!("[Alice] {QUESTION}")));
    panda.signal(Signal::SIGINT);
    panda.expect_exit(0);
    alice.stdout.expect_text(&shown("Panda has left"));
    alice.end_input();
    alice.expect_exit(0);
    for mut process in [panda, alice] {
        process.stdout.expect_end();
        same(&String::new(), &process.stderr.rest(), process.log());
    }
}

/// The same at two terminals: each shows what the source shows.
#[test]
fn c21_the_sample_at_terminals() {
    let server = server();
    let (mut panda, mut alice) = (screen(&server, "Panda"), screen(&server, "Alice"));
    let (mut panda_sees, mut alice_sees) = (Vec::new(), Vec::new());
    // Each waits for the prompt before the next line: what is typed without one would be echoed twice.
    for (line, answer) in [
        ("Hello world!", &[NOT_IN_ANY][..]),
        ("/list", &[]),
        ("/create 168_tas", &[]),
        ("/list", &["168_tas"]),
        ("Hello world!", &[]),
    ] {
        type_and_see(&mut panda, line, &mut panda_sees, answer);
    }
    type_and_see(&mut alice, "/list", &mut alice_sees, &["168_tas"]);
    type_and_see(&mut alice, "/join 168_tas", &mut alice_sees, &[]);
    see(&panda, &mut panda_sees, &["Alice has joined"]);
    type_and_see(&mut alice, QUESTION, &mut alice_sees, &[]);
    see(&panda, &mut panda_sees, &[&format!("[Alice] {QUESTION}")]);
    panda.type_keys("\u{3}");
    panda.expect_exit(0);
    see(&alice, &mut alice_sees, &["Panda has left"]);
}

/// "The course's own test (two clients, stdout compared after taking out `[Me]` and trimming) fails on any acknowledgement, banner
/// or echo: print none."; A1: "stdout carries exactly the lines that the source specifies, nothing else."
#[test]
fn a01_what_the_test_of_the_course_compares() {
    let server = server();
    let mut alice = client(&server, "Alice", "127.0.0.1");
    dialogue(&mut alice, &[("/create tas", &[])]);
    let mut panda = client(&server, "Panda", "127.0.0.1");
    dialogue(&mut panda, &[("/join tas", &[])]);
    alice.stdout.expect_text(&shown("Panda has joined"));
    dialogue(&mut panda, &[("Hello!", &[])]);
    alice.stdout.expect_text(&shown("[Panda] Hello!"));
    alice.end_input();
    alice.expect_exit(0);
    panda.stdout.expect_text(&shown("Alice has left"));
    panda.end_input();
    panda.expect_exit(0);
    let texts = [alice, panda].map(|process| plain(&process.stdout.text()).trim().to_owned());
    assert_eq!(
        texts,
        ["Panda has joined\n[Panda] Hello!", "Alice has left"],
        "wanted on the right: what the test of the course sees"
    );
}

// ---------------------------------------------------------------- command line

/// C1: "`chat-server channels <port>`; `chat-client channels <name> <host> <port>`."; A8: "usage on stdout; bare calls exit 2, `--help`
/// exits 0. A wrong option or value: one line that says what is wrong …, then the usage, on stderr, exit 2."
#[test]
fn c01_a08_usage() {
    let (server, client) =
        ("usage: chat-server channels <port>", "usage: chat-client channels <name> <host> <port>");
    check_usages(PROTOCOL, server, client);
    check_wrong(Setup::server(&[PROTOCOL, "seventy"]), "seventy");
    check_wrong(Setup::server(&[PROTOCOL, "70000"]), "70000");
    check_wrong(Setup::server(&[PROTOCOL, "0", "extra"]), "extra");
    check_wrong(Setup::client(&[PROTOCOL, "Panda", "localhost", "seventy"]), "seventy");
    check_wrong(Setup::client(&[PROTOCOL, "Panda", "localhost"]), "name, host and port");
    check_wrong(Setup::client(&[PROTOCOL, "Panda", "localhost", "1", "extra"]), "name, host and port");
}

/// C1: "Binds all interfaces by default."
#[test]
fn c01_the_server_binds_all_interfaces_by_default() {
    let server = Setup::server(&[PROTOCOL, "0"]).listen();
    let have = server.address();
    assert!(have.ip().is_unspecified(), "wanted: all interfaces\nhave: {have}");
    let local = ([127, 0, 0, 1], server.port()).into();
    Member::new(Raw::connect(local, server.log()), "Panda").settle();
}

// ---------------------------------------------------------------- messages

/// C2: "A reader keeps a partial message until the rest is there": cut anywhere, with whatever pauses between the pieces.
#[test]
fn c02_a18_messages_may_be_cut_anywhere() {
    let server = server();
    let [alice, bob] = channel_of(&server, ["Alice", "Bob"]);
    let other = join(&server, "Other");
    let [alice, bob, other] = [alice, bob, other].map(RefCell::new);
    let texts = ["one", "/list", "é 日本 🦀", "", "four"];
    let bytes: Vec<u8> = texts.iter().flat_map(padded).collect();
    check_property(25, vec(0..bytes.len(), 0..6), |mut cuts| {
        cuts.sort_unstable();
        let mut sent = 0;
        for cut in cuts {
            alice.borrow_mut().raw.send(&bytes[sent..cut]);
            sent = cut;
            // An answer to somebody else lies between the pieces, so that each is read by itself, most likely.
            other.borrow_mut().settle();
        }
        alice.borrow_mut().raw.send(&bytes[sent..]);
        alice.borrow_mut().expect(CHANNEL);
        bob.borrow_mut().expect_all(&["[Alice] one", "[Alice] é 日本 🦀", "[Alice] four"]);
        quiet([&mut alice.borrow_mut(), &mut bob.borrow_mut()]);
    });
}

/// C2: one byte at a time, from the name on
#[test]
fn c02_a_client_may_send_byte_by_byte() {
    let server = server();
    let mut bob = creator(&server, "Bob");
    let mut raw = server.connect();
    for byte in ["Alice", "/join AA", "Grüße"].iter().flat_map(padded) {
        raw.send([byte]);
    }
    bob.expect_all(&["Alice has joined", "[Alice] Grüße"]);
}

/// C2: "… and takes several out of one read"
#[test]
fn c02_many_messages_may_come_in_one_segment() {
    const MANY: usize = 500;
    let server = server();
    let mut bob = creator(&server, "Bob");
    let mut bytes = [padded("Alice"), padded("/join AA")].concat();
    bytes.extend((0..MANY).flat_map(|number| padded(number.to_string())));
    server.connect().send(bytes);
    bob.expect("Alice has joined");
    for number in 0..MANY {
        bob.expect(&format!("[Alice] {number}"));
    }
    bob.expect("Alice has left");
}

/// C2: "It strips white space (spaces, CR, LF, tabs: many real clients leave their newline inside the frame) from the end."
#[test]
fn c02_white_space_at_the_end_is_stripped() {
    let server = server();
    let mut bob = creator(&server, "Bob");
    let mut alice = Member::new(server.connect(), "Alice\n");
    alice.say("/join AA\r\n");
    bob.expect("Alice has joined");
    for text in ["hello", "hello\n", "hello\r\n", "hello \t \r\n\n", "hello   \n"] {
        alice.say(text);
        bob.expect("[Alice] hello");
    }
    alice.say("/create BB\n");
    bob.expect("Alice has left");
    alice.say("/list\n");
    alice.expect("AA\nBB");
}

/// "The course's split-message client sends in random pieces with no pause and never reads."
#[test]
fn c02_a17_a_client_that_sends_in_pieces_and_never_reads_is_understood() {
    const MANY: usize = 300;
    let server = server();
    let mut bob = creator(&server, "Bob");
    let mut bytes = [padded("Split"), padded("/join AA")].concat();
    for number in 0..MANY {
        bytes.extend(padded(number.to_string()));
        // Its answers stay unread.
        bytes.extend(padded("/list"));
    }
    let mut raw = server.connect();
    let mut rest = bytes.as_slice();
    for length in [1, 7, 199, 50, 401, 3, 1000].into_iter().cycle() {
        let (piece, behind) = rest.split_at(length.min(rest.len()));
        raw.send(piece);
        rest = behind;
        if rest.is_empty() {
            break;
        }
    }
    bob.expect("Split has joined");
    for number in 0..MANY {
        bob.expect(&format!("[Split] {number}"));
    }
    // Nor does it read what others say.
    bob.say("anybody there?");
    bob.settle();
}

/// C3: "The first message is the client's name. Nothing is sent in answer. Names need not be unique, and here A13 is relaxed to 1 to
/// 100 characters of any kind that A15 leaves unchanged"
#[test]
fn c03_names_may_be_nearly_anything() {
    let server = server();
    let mut bob = creator(&server, "Bob");
    let (longest, wide) = ("x".repeat(100), "é".repeat(70));
    for name in
        ["Bob", "Panda", "two words", "  spaces in front", "/list", "日本 🦀", "[x] y", &longest, &wide]
    {
        let mut raw = server.connect();
        raw.send(padded(name));
        let mut guest = Member { raw };
        // The first that it hears is the answer to what it asks now.
        guest.settle();
        guest.say("/join AA");
        bob.expect(&format!("{name} has joined"));
        guest.say("hi");
        bob.expect(&format!("[{name}] hi"));
        guest.settle();
        drop(guest);
        bob.expect(&format!("{name} has left"));
    }
    // 100 characters of two bytes fill the message. The name's own line goes over it (C18).
    let full = "é".repeat(100);
    let mut guest = join(&server, &full);
    guest.say("/join AA");
    bob.expect_pieces("", &format!("{full} has joined"));
}

/// C3: "another name gets `Invalid name` and is closed."
#[test]
fn c03_other_names_are_invalid() {
    let server = server();
    let mut bob = creator(&server, "Bob");
    let long = "x".repeat(101);
    let names: [&[u8]; 9] = [
        b"",
        b"\n",
        b"a\x1b[2Jb",
        b"a\nb",
        b"a\0",
        b"caf\xe9",
        "evil \u{202e}".as_bytes(),
        "\u{9b}".as_bytes(),
        long.as_bytes(),
    ];
    for name in names {
        let mut raw = server.connect();
        // What stands behind it is not handled, and does not turn the close into a reset.
        raw.send([padded(name), padded("/join AA").repeat(50)].concat());
        let mut guest = Member { raw };
        guest.expect("Invalid name");
        guest.raw.expect_end();
    }
    bob.settle();
}

/// C4: "A message that begins with `/` is a control message; any other goes to everyone else in the sender's channel as
/// `[<name>] <text>`. Leading spaces are text."
#[test]
fn c04_text_reaches_everyone_else_in_the_channel() {
    let server = server();
    let [mut alice, mut bob, mut carol] = channel_of(&server, ["Alice", "Bob", "Carol"]);
    let mut dave = join(&server, "Dave");
    dave.say("/create BB");
    let mut eve = join(&server, "Eve");
    let full = "x".repeat(SIZE - "[Alice] ".len());
    for text in ["hello", "  leading", " /join BB", "a / b", "\ttab", "[Bob] hi", &full] {
        alice.say(text);
        for other in [&mut bob, &mut carol] {
            other.expect(&format!("[Alice] {text}"));
        }
    }
    quiet([&mut alice, &mut bob, &mut carol, &mut dave, &mut eve]);
}

/// C5: "An all-space message is nothing: no answer, no relay."
#[test]
fn c05_a_message_of_spaces_is_nothing() {
    let server = server();
    let [mut alice, mut bob] = channel_of(&server, ["Alice", "Bob"]);
    let mut eve = join(&server, "Eve");
    for blank in ["", "\n", "\r\n", " \t "] {
        alice.say(blank);
        // Without a channel, a text would be refused (C15).
        eve.say(blank);
        quiet([&mut alice, &mut bob, &mut eve]);
    }
}

// ---------------------------------------------------------------- channels

/// C6: "`/join <channel>`, it exists: members already there: `<name> has joined`"; C7: "joining or creating while in another channel:
/// members of that one: `<name> has left`"; C10: "`/create <channel>`: nobody; the sender is in it"
#[test]
fn c06_c07_c10_joining_creating_and_moving_are_told_to_members() {
    let server = server();
    let mut panda = join(&server, "Panda");
    panda.say("/create 168_tas");
    let mut alice = join(&server, "Alice");
    let mut bob = join(&server, "Bob");
    quiet([&mut panda, &mut alice, &mut bob]);
    alice.say("/join 168_tas");
    panda.expect("Alice has joined");
    bob.say("/create other");
    quiet([&mut panda, &mut alice, &mut bob]);
    panda.say("still two");
    alice.expect("[Panda] still two");
    alice.say("/join other");
    panda.expect("Alice has left");
    bob.expect("Alice has joined");
    alice.say("to the others");
    bob.expect("[Alice] to the others");
    alice.say("/create third");
    bob.expect("Alice has left");
    // Alone there: nobody hears her.
    alice.say("hello?");
    quiet([&mut panda, &mut alice, &mut bob]);
    bob.say("/join third");
    alice.expect("Bob has joined");
}

/// C8, C9, C11, C12, C14, and C17: "An error changes nothing: failing to join leaves the client where it was."
#[test]
fn c08_c09_c11_c12_c14_c17_errors_change_nothing() {
    let server = server();
    let [mut alice, mut bob] = channel_of(&server, ["Alice", "Bob"]);
    let mut carol = join(&server, "Carol");
    carol.say("/create BB");
    carol.settle();
    let unknown = |word| {
        format!("{word} is not a valid control message. Valid messages are /create, /list, and /join.")
    };
    let table = [
        ("/join nowhere", "No channel named nowhere exists. Try '/create nowhere'?".to_owned()),
        ("/join two words", "No channel named two words exists. Try '/create two words'?".to_owned()),
        ("/join aa", "No channel named aa exists. Try '/create aa'?".to_owned()),
        ("/join", JOIN_WHAT.to_owned()),
        ("/join    \n", JOIN_WHAT.to_owned()),
        ("/create AA", "Room AA already exists, so cannot be created.".to_owned()),
        ("/create BB", "Room BB already exists, so cannot be created.".to_owned()),
        ("/create", CREATE_WHAT.to_owned()),
        ("/create \t", CREATE_WHAT.to_owned()),
        ("/foo", unknown("/foo")),
        ("/foo bar", unknown("/foo")),
        ("/foo\tbar", unknown("/foo")),
        ("/", unknown("/")),
        ("/ join AA", unknown("/")),
        ("/JOIN BB", unknown("/JOIN")),
        ("/joinBB", unknown("/joinBB")),
        ("//", unknown("//")),
    ];
    for (line, wanted) in table {
        alice.say(line);
        alice.expect(&wanted);
        alice.say("still here");
        bob.expect("[Alice] still here");
        alice.say("/list");
        alice.expect("AA\nBB");
    }
    quiet([&mut alice, &mut bob, &mut carol]);
}

/// C15: "text while in no channel: `Not currently in any channel. Must join a channel before sending messages.`"; C17
#[test]
fn c15_c17_text_needs_a_channel() {
    let server = server();
    let mut panda = join(&server, "Panda");
    let mut alice = creator(&server, "Alice");
    for line in ["Hello world!", " /join AA"] {
        panda.say(line);
        panda.expect(NOT_IN_ANY);
    }
    // An error does not put her into a channel either.
    for line in ["/join", "/join nowhere", "/create", "/create AA", "/foo"] {
        panda.say(line);
        panda.text();
        panda.say("hello?");
        panda.expect(NOT_IN_ANY);
    }
    panda.say("/list");
    panda.expect(CHANNEL);
    quiet([&mut panda, &mut alice]);
}

/// C13: "`/list`: the names, one per line, in order of creation, no newline behind the last; no channels: nothing is sent"
#[test]
fn c13_the_list_is_in_order_of_creation() {
    let server = server();
    let mut panda = join(&server, "Panda");
    panda.say("/list");
    panda.settle();
    let mut wanted = String::new();
    for name in ["zebra", "168_tas", "two words", "Ärger", "aa"] {
        panda.say(format!("/create {name}"));
        wanted += if wanted.is_empty() { "" } else { "\n" };
        wanted += name;
        for line in ["/list", "/list all"] {
            panda.say(line);
            panda.expect(&wanted);
        }
    }
    panda.settle();
}

/// C16: "a client disconnects in any way: its channel: `<name> has left`"
#[test]
fn c16_every_end_of_a_connection_is_told_to_the_channel() {
    let server = server();
    let [mut bob, mut carol] = channel_of(&server, ["Bob", "Carol"]);
    let mut eve = join(&server, "Eve");
    let ways: [Way; 5] = [
        ("close", drop),
        ("reset", Raw::abort),
        ("half close", |mut raw| {
            raw.half_close();
            raw.expect_end();
        }),
        ("close within a message", |mut raw| raw.send("half a mess")),
        ("reset within a message", |mut raw| {
            raw.send(&padded("x")[..SIZE - 1]);
            raw.abort();
        }),
    ];
    let mut both_hear = |what: &str| {
        for member in [&mut bob, &mut carol] {
            member.expect(&format!("Alice has {what}"));
        }
    };
    for (way, leave) in ways {
        println!("leaving by {way}");
        let mut alice = join(&server, "Alice");
        alice.say("/join AA");
        both_hear("joined");
        leave(alice.raw);
        both_hear("left");
    }
    let ways: [(&str, End); 3] = [
        ("SIGKILL", |process| process.signal(Signal::SIGKILL)),
        ("SIGTERM", |process| process.signal(Signal::SIGTERM)),
        ("end of input", Process::end_input),
    ];
    for (way, leave) in ways {
        println!("a client leaves by {way}");
        let mut alice = client(&server, "Alice", "127.0.0.1");
        alice.type_line("/join AA");
        both_hear("joined");
        leave(&mut alice);
        both_hear("left");
    }
    // Who was in no channel leaves unheard, and half a message was none.
    drop(join(&server, "Frank"));
    quiet([&mut bob, &mut carol, &mut eve]);
}

/// C17: "`/join` of one's own channel does nothing and says nothing. A channel stays when its last member leaves. The operand is
/// everything behind the command, trimmed."
#[test]
fn c17_joining_twice_empty_channels_and_operands() {
    let server = server();
    let [mut alice, mut bob] = channel_of(&server, ["Alice", "Bob"]);
    alice.say("/join AA");
    quiet([&mut alice, &mut bob]);
    drop((alice, bob));
    let mut carol = join(&server, "Carol");
    for (create, name) in
        [("/create   two  words  ", "two  words"), ("/create\ttab", "tab"), ("/create /x", "/x")]
    {
        carol.say(create);
        carol.say(create);
        carol.expect(&format!("Room {name} already exists, so cannot be created."));
    }
    carol.say("/list");
    carol.expect("AA\ntwo  words\ntab\n/x");
    let mut dave = join(&server, "Dave");
    dave.say("/join \t /x\n");
    carol.expect("Dave has joined");
    dave.say("/join   two  words");
    carol.expect("Dave has left");
    dave.say("/join AA");
    quiet([&mut carol, &mut dave]);
}

// ---------------------------------------------------------------- what does not fit, and limits

/// C18: "A text over 200 bytes in a frame goes out as several messages, cut between characters …, never as one over-long frame and
/// never cut off; each further message of a relayed text begins with `[<name>] ` again"
#[test]
fn c18_what_does_not_fit_goes_out_as_several_messages() {
    let server = server();
    let long = "n".repeat(100);
    for name in ["Al", &long] {
        let mut bob = join(&server, "Bob");
        let channel = format!("of {name}");
        bob.say(format!("/create {channel}"));
        bob.settle();
        let mut alice = join(&server, name);
        alice.say(format!("/join {channel}"));
        bob.expect(&format!("{name} has joined"));
        let prefix = format!("[{name}] ");
        let room = SIZE - prefix.len();
        let texts = [
            "x".repeat(SIZE),
            "x".repeat(room),
            format!("{}y", "x".repeat(room)),
            // Characters of several bytes, at every place around the edge.
            format!("{}é", "x".repeat(room.min(SIZE - 2))),
            format!("{}é", "x".repeat(room - 1)),
            format!("{}é", "x".repeat(room - 2)),
            format!("{}🦀🦀", "x".repeat(room.min(SIZE - 8) - 1)),
            format!("{}🦀", "x".repeat(room - 3)),
            "日".repeat(66),
            // Spaces around the edge are no padding.
            format!("{}  y", "x".repeat(room - 2)),
            format!("{} y", "x".repeat(room - 1)),
            // It would be a forged line, were the name not repeated.
            format!("{}Bob has left", "x".repeat(room.min(SIZE - 12))),
        ];
        for text in &texts {
            alice.say(text);
            bob.expect_pieces(&prefix, text);
        }
        // Invalid bytes grow: each becomes a character of three (A15).
        alice.say([0xff; SIZE]);
        bob.expect_pieces(&prefix, &"\u{fffd}".repeat(SIZE));
        quiet([&mut alice, &mut bob]);
    }
}

/// C18 on any text of any name
#[test]
fn c18_any_text_arrives_whole() {
    let server = server();
    let bob = RefCell::new(creator(&server, "Bob"));
    let words = vec("[a-zé日🦀/?]{1,60}", 1..8).prop_map(|words| words.join("  "));
    let text = ("[a-z]", words).prop_map(|(first, words)| {
        let text = first + &words;
        text[..text.floor_char_boundary(SIZE)].trim_end().to_owned()
    });
    check_property(25, ("[A-Zé日🦀]{1,20}", text), |(name, text)| {
        let mut bob = bob.borrow_mut();
        let mut guest = join(&server, &name);
        guest.say("/join AA");
        bob.expect(&format!("{name} has joined"));
        guest.say(&text);
        bob.expect_pieces(&format!("[{name}] "), &text);
        drop(guest);
        bob.expect(&format!("{name} has left"));
    });
}

/// C18: the server's own lines and lists too; "lists: between names"
#[test]
fn c18_long_lists_and_long_errors_go_out_as_several_messages() {
    let server = server();
    let mut panda = join(&server, "Panda");
    let names: Vec<String> =
        (0..40).map(|number| format!("{number:0width$}", width = 1 + number * 4)).collect();
    for name in &names {
        panda.say(format!("/create {name}"));
    }
    panda.say("/list");
    let mut listed: Vec<String> = Vec::new();
    while listed.len() < names.len() {
        listed.extend(panda.text().split('\n').map(str::to_owned));
    }
    assert_eq!(listed, names, "wanted on the right: every name whole");
    let long = "é".repeat(97);
    panda.say(format!("/join {long}"));
    panda.expect_pieces("", &format!("No channel named {long} exists. Try '/create {long}'?"));
    panda.say(format!("/{long}"));
    panda.expect_pieces(
        "",
        &format!("/{long} is not a valid control message. Valid messages are /create, /list, and /join."),
    );
    panda.settle();
}

/// C19: "At most 10 clients (A11): the 11th gets `Server is full (10 clients)` and is closed."; A11: "*receives it* (no reset that eats
/// it), and the others notice nothing", "The place of a client that leaves is free at once."
#[test]
fn c19_a11_the_eleventh_is_told_and_nobody_else_notices() {
    let server = server();
    let mut all: Vec<Member> = vec![creator(&server, "n0")];
    for number in 1..10 {
        let mut next = join(&server, &format!("n{number}"));
        next.say("/join AA");
        next.settle();
        for earlier in &mut all {
            earlier.expect(&format!("n{number} has joined"));
        }
        all.push(next);
    }
    for behind in [0, 5000] {
        let mut raw = server.connect();
        raw.send([padded("n10"), padded("/join AA").repeat(behind)].concat());
        let mut eleventh = Member { raw };
        eleventh.expect("Server is full (10 clients)");
        eleventh.raw.expect_end();
        all.iter_mut().for_each(Member::settle);
    }
    let mut process = client(&server, "n10", "127.0.0.1");
    process.stdout.expect_text(&shown("Server is full (10 clients)"));
    process.expect_exit(1);
    for round in 0..3 {
        drop(all.pop());
        for member in &mut all {
            member.expect(&format!("{} has left", if round == 0 { "n9" } else { "next" }));
        }
        let mut next = join(&server, "next");
        next.say("/join AA");
        for member in &mut all {
            member.expect("next has joined");
        }
        all.push(next);
    }
}

/// C19, A9: `--max-clients 2`
#[test]
fn c19_a09_max_clients_sets_the_number_of_places() {
    let server = server_with(&["--max-clients", "2"]);
    let [_alice, _bob] = channel_of(&server, ["Alice", "Bob"]);
    let mut third = Member::new(server.connect(), "Carol");
    third.expect("Server is full (2 clients)");
    third.raw.expect_end();
}

/// C19: "At most 1,000 channels (`Too many channels.`)."
#[test]
fn c19_there_may_be_1000_channels() {
    let server = server();
    let mut panda = join(&server, "Panda");
    let create: Vec<u8> = (0..1000).flat_map(|number| padded(format!("/create {number}"))).collect();
    panda.raw.send(create);
    for _ in 0..2 {
        panda.say("/create one-more");
        panda.expect("Too many channels.");
    }
    let mut alice = join(&server, "Alice");
    alice.say("/join 999");
    // The refused one is where she was.
    panda.expect("Alice has joined");
    alice.say("/list");
    let mut listed: Vec<String> = Vec::new();
    while listed.len() < 1000 {
        listed.extend(alice.text().split('\n').map(str::to_owned));
    }
    assert!(listed.iter().enumerate().all(|(number, name)| *name == number.to_string()), "have: {listed:?}");
    quiet([&mut panda, &mut alice]);
}

/// A12: "Connections that never register are bounded too (64 beyond the registered): when all are taken, the one that has waited
/// longest without registering gives way."
#[test]
fn a12_who_says_no_name_gives_way() {
    let server = server();
    let [mut alice, mut bob] = channel_of(&server, ["Alice", "Bob"]);
    let mut waiting: Vec<Raw> = (0..64).map(|_| server.connect()).collect();
    let mut last = join(&server, "Carol");
    waiting[0].expect_gone(DEADLINE);
    last.say("/join AA");
    for member in [&mut alice, &mut bob] {
        member.expect("Carol has joined");
    }
}

// ---------------------------------------------------------------- bad input and slow readers

/// What a client may say, and what others get of it (A15).
const TEXTS: [(&[u8], &str); 10] = [
    (b"forged\nAlice has left", "forged?Alice has left"),
    (b"over\rAlice has left", "over?Alice has left"),
    (b"\x1b[2J\x1b[31mred", "?[2J?[31mred"),
    (b"bell\x07 nul\x00 del\x7f", "bell? nul? del?"),
    ("csi \u{9b}31m nel \u{85}.".as_bytes(), "csi ?31m nel ?."),
    ("evil \u{202e}txt.exe\u{2069}".as_bytes(), "evil ?txt.exe?"),
    (b"latin-1 caf\xe9.", "latin-1 caf\u{fffd}."),
    (b"cut \xe2\x82", "cut \u{fffd}"),
    (b"tab\there", "tab\there"),
    ("é ß 日本 🦀 e\u{301}\u{200f}".as_bytes(), "é ß 日本 🦀 e\u{301}\u{200f}"),
];

/// A15: "control characters … and bidirectional overrides become `?`, and invalid UTF-8 becomes U+FFFD, on the server before relaying,
/// in every log line"; C21b: "the server lets none through from a client (A15), so no client can forge a line."
#[test]
fn a15_c21b_the_server_relays_only_what_a_terminal_can_bear() {
    let mut server = server();
    let [mut mallory, mut alice] = channel_of(&server, ["Mallory", "Alice"]);
    let mut bob = client(&server, "Bob", "127.0.0.1");
    bob.type_line("/join AA");
    bob.stdout.expect_text(ME);
    for member in [&mut mallory, &mut alice] {
        member.expect("Bob has joined");
    }
    for (sent, wanted) in TEXTS {
        mallory.say(sent);
        alice.expect(&format!("[Mallory] {wanted}"));
        bob.stdout.expect_text(&shown(&format!("[Mallory] {wanted}")));
        mallory.say([b"/join ", sent].concat());
        mallory.expect(&format!("No channel named {wanted} exists. Try '/create {wanted}'?"));
        server.stderr.find(wanted);
    }
    // A channel's name cannot make two lines of a list.
    mallory.say("/create one\nAA\x1b[2J");
    alice.expect("Mallory has left");
    bob.stdout.expect_text(&shown("Mallory has left"));
    mallory.say("/list");
    mallory.expect("AA\none?AA?[2J");
    mallory.say(b"/a\x1bb c");
    mallory.expect("/a?b is not a valid control message. Valid messages are /create, /list, and /join.");
    server.stderr.find("/a?b");
    let log = server.stderr.text();
    let unbearable =
        |c: char| c.is_control() && !matches!(c, '\n' | '\t') || matches!(c, '\u{202e}' | '\u{2069}');
    assert!(!log.contains(unbearable), "wanted: a log that moves no cursor\nhave: {log:?}");
}

/// A16: "Random bytes, half messages, merged messages, NULs, and a connection that is cut anywhere never panic, never leak a
/// registration, never disturb another client."
#[test]
fn a16_noise_disturbs_nobody_and_keeps_no_place() {
    let server = server_with(&["--max-clients", "3"]);
    let both = RefCell::new(channel_of(&server, ["Alice", "Bob"]));
    let frame = prop_oneof![
        vec(any::<u8>(), SIZE),
        prop::sample::select(vec!["/create CC", "/join CC", "/list", "/join", "x", "", "/join \0", "\u{9b}"])
            .prop_map(padded),
    ];
    let noise = (vec(frame, 0..8), 0..SIZE, any::<bool>());
    check_property(25, noise, |(frames, short, reset)| {
        let [alice, bob] = &mut *both.borrow_mut();
        let mut guest = join_soon(&server);
        let mut bytes = frames.concat();
        bytes.truncate(bytes.len().saturating_sub(short));
        guest.raw.send(&bytes);
        if reset {
            guest.raw.abort();
        } else {
            drop(guest);
        }
        alice.say("hello");
        bob.expect("[Alice] hello");
        quiet([alice, bob]);
    });
    join_soon(&server);
}

/// A17: "A client that stops reading does not delay the others and is dropped when it is hopeless": after 5 s.
#[test]
fn a17_c16_a_sleeper_delays_nobody_and_is_dropped_after_5_seconds() {
    const BATCH: usize = 10;
    let mut server = server();
    let mut sleeper = Member::new(server.connect_narrow(4096), "Sleeper");
    sleeper.say("/create AA");
    sleeper.settle();
    let mut nine: Vec<Member> = Vec::new();
    for number in 0..9 {
        let mut next = join(&server, &format!("n{number}"));
        next.say("/join AA");
        next.settle();
        for earlier in &mut nine {
            earlier.expect(&format!("n{number} has joined"));
        }
        nine.push(next);
    }
    let start = Instant::now();
    // About 600 kB for the sleeper: far more than the kernel takes for it, less than what is dropped at once.
    let mut slowest = Duration::ZERO;
    for round in 0..300 {
        let speaker = round % nine.len();
        let texts: Vec<String> =
            (0..BATCH).map(|number| format!("{round}.{number} {}", "x".repeat(180))).collect();
        let sent = Instant::now();
        nine[speaker].raw.send(texts.iter().flat_map(padded).collect::<Vec<u8>>());
        for other in (0..nine.len()).filter(|&other| other != speaker) {
            for text in &texts {
                nine[other].expect(&format!("[n{speaker}] {text}"));
            }
        }
        slowest = slowest.max(sent.elapsed());
    }
    assert!(slowest < LIVELY, "wanted: messages in less than {LIVELY:?} beside a sleeper\nhave: {slowest:?}");
    for member in &mut nine {
        member.expect_within(Duration::from_secs(12), "Sleeper has left");
    }
    let patience = start.elapsed();
    assert!(patience > Duration::from_millis(4500), "wanted: 5 s of patience\nhave: {patience:?}");
    server.stderr.find(&format!("{} (Sleeper) has disconnected, cut off", sleeper.address()));
    sleeper.raw.expect_gone(DEADLINE);
    nine.iter_mut().for_each(Member::settle);
}

// ---------------------------------------------------------------- the server's terminal, and its end

/// C20: "The source specifies no output: stdout stays empty. On stderr: listening, connects, names, joins, disconnects."
#[test]
fn c20_the_server_tells_what_happens_on_stderr_only() {
    let mut server = server();
    let mut alice = Member::new(server.connect(), "Alice");
    let address = alice.address();
    let mut tells = |parts: &[&str]| {
        let line = server.stderr.find(&address);
        let all = parts.iter().all(|part| line.contains(part));
        assert!(all, "wanted: a line with {parts:?}\nhave: {line:?}");
    };
    tells(&["connected"]);
    tells(&["Alice"]);
    alice.say("/create AA");
    tells(&["/create AA"]);
    alice.say("/join AA");
    tells(&["/join AA"]);
    alice.say("what people say is not told");
    alice.say("/join nowhere");
    tells(&["No channel named nowhere exists."]);
    drop(alice);
    tells(&["Alice", "disconnected"]);
    let said = server.stderr.text().contains("what people say");
    assert!(!said, "wanted: no text of anybody in the log\nhave: some");
    server.signal(Signal::SIGTERM);
    server.expect_exit(0);
    server.stdout.expect_end();
}

/// A6: "SIGUSR1 makes a running server print who is registered (name, address, seconds since last heard) to stderr."
#[test]
fn a06_c20_sigusr1_reports_who_is_registered() {
    let mut server = server();
    let [mut alice, mut bob] = channel_of(&server, ["Alice", "two words"]);
    let stranger = server.connect();
    // The last line of the log so far.
    server.stderr.find(&format!("{}", stranger.stream().local_addr().unwrap()));
    let before = server.stderr.text().len();
    server.signal(Signal::SIGUSR1);
    for (name, member) in [("Alice", &alice), ("two words", &bob)] {
        let line = server.stderr.find(&format!("{name} {}", member.address()));
        let behind = line.split(&member.address()).last().unwrap();
        assert!(behind.contains(|c: char| c.is_ascii_digit()), "wanted: seconds\nhave: {line:?}");
    }
    let fresh = server.stderr.text()[before..].to_owned();
    assert_eq!(
        fresh.matches("127.0.0.1:").count(),
        2,
        "wanted on the right: so many in the report\nhave: {fresh}"
    );
    quiet([&mut alice, &mut bob]);
    same(&String::new(), &server.stdout.text(), server.log());
}

/// A5: "Ctrl-C, SIGTERM and SIGHUP all end server and client cleanly: …, sockets are closed, threads are joined, the exit status is 0,
/// within 1 s, also with stalled clients connected". No farewell is specified, so none is sent.
#[test]
fn a05_c20_signals_stop_the_server() {
    for (signal, with_stalled) in [(Signal::SIGINT, false), (Signal::SIGTERM, true), (Signal::SIGHUP, false)]
    {
        println!("stopped by {signal}");
        let mut server = server();
        let mut alice = creator(&server, "Alice");
        let stalled = with_stalled.then(|| {
            let mut stalled = Member::new(server.connect_narrow(4096), "Stalled");
            stalled.say("/join AA");
            alice.expect("Stalled has joined");
            // More than the kernel takes for the one who reads nothing, less than what gets it dropped.
            alice.raw.send(padded("x".repeat(190)).repeat(2000));
            alice.settle();
            stalled
        });
        let mut half = server.connect();
        half.send("half a na");
        let mut process = client(&server, "Bob", "127.0.0.1");
        server.signal(signal);
        alice.raw.expect_end();
        half.expect_end();
        process.expect_exit(1);
        process.stdout.expect_text(&gone("127.0.0.1", server.port()));
        server.expect_exit(0);
        server.stdout.expect_end();
        drop(stalled);
    }
}

// ---------------------------------------------------------------- the client's terminal: a pipe

/// C21: "On a message: `\r`, enough to wipe the prompt (`\r` and four spaces, then `\r`), the text, newline, `[Me] `: through a pipe the
/// bytes are `\r    \r<text>\n[Me] `."; C2 and the source: "The client should only write the message to stdout once all 200 characters
/// have been received."
#[test]
fn c21_c02_messages_are_printed_when_they_are_whole() {
    let (mut panda, mut server) = client_of_test();
    let table = [
        "Alice has joined",
        "[Alice]   two  spaces",
        "  leading",
        "é 日本 🦀",
        "tab\there",
        &"x".repeat(SIZE),
    ];
    for text in table {
        server.raw.send(padded(text));
        panda.stdout.expect_text(&shown(text));
    }
    // Several in one segment, and white space at the end that is no space.
    server.raw.send([padded("one\r\n"), padded("two\t\n"), padded("three")].concat());
    for text in ["one", "two", "three"] {
        panda.stdout.expect_text(&shown(text));
    }
    let message = padded("in two pieces");
    for cut in [1, 13, 150, 199] {
        server.raw.send(&message[..cut]);
        // A line typed meanwhile has its prompt, and nothing else is printed.
        panda.type_line("typed");
        server.expect("typed");
        panda.stdout.expect_text(ME);
        server.raw.send(&message[cut..]);
        panda.stdout.expect_text(&shown("in two pieces"));
    }
}

/// C21b: "CR inside a message is dropped (some real servers send their own wipe in front). A line feed inside a message from the server
/// (a list) is printed as a line break"; A15: "… **and** on the client before printing."
#[test]
fn c21b_a15_a_malicious_server_moves_no_cursor() {
    let (mut panda, mut server) = client_of_test();
    let table: [(&[u8], &str); 10] = [
        (b"one\ntwo\nthree", "one\ntwo\nthree"),
        (b"one\r\ntwo", "one\ntwo"),
        (b"\r    \rAlice has joined", "    Alice has joined"),
        (b"\rwritten over\rthe prompt", "written overthe prompt"),
        (b"\x1b[2J\x1b[1;1Hred\x07\x08", "?[2J?[1;1Hred??"),
        (b"first\n\x1b[Asecond", "first\n?[Asecond"),
        ("\u{9b}2J \u{85} \u{202e}evil\u{202c}".as_bytes(), "?2J ? ?evil?"),
        (b"caf\xe9 nul\0 del\x7f", "caf\u{fffd} nul? del?"),
        (b"cut \xf0\x9f", "cut \u{fffd}"),
        (b"\xe2\x82", "\u{fffd}"),
    ];
    for (sent, wanted) in table {
        server.raw.send(padded(sent));
        panda.stdout.expect_text(&shown(wanted));
    }
}

/// C22: "A typed line is sent as one message, over 200 bytes as several, cut between characters so that no later piece begins with `/` or
/// a space. An empty line is not sent."
#[test]
fn c22_typed_lines_are_sent_as_messages() {
    let (mut panda, mut server) = client_of_test();
    panda.type_bytes(b"\n\r\n\nbehind empty lines\n");
    server.expect("behind empty lines");
    // Each line typed has its prompt (C21), an empty one too.
    panda.stdout.expect_text(&ME.repeat(4));
    for line in ["hello", "  leading", "/join x", "a / b", "é 日本", "tab\there", &"x".repeat(SIZE)] {
        panda.type_line(line);
        server.expect(line);
    }
    let a = |count| "a".repeat(count);
    let table = [
        (a(201), vec![a(200), a(1)]),
        (a(1000), vec![a(200); 5]),
        (format!("{}é", a(199)), vec![a(199), "é".to_owned()]),
        (format!("{}🦀b", a(197)), vec![a(197), "🦀b".to_owned()]),
        ("日".repeat(100), vec!["日".repeat(66), "日".repeat(34)]),
        // The last character in front of the slash, or the space, goes with it.
        (format!("{}/join x", a(200)), vec![a(199), "a/join x".to_owned()]),
        (format!("{}//b", a(199)), vec![a(198), "a//b".to_owned()]),
        (format!("{} b", a(200)), vec![a(199), "a b".to_owned()]),
        (format!("{} /b", a(200)), vec![a(199), "a /b".to_owned()]),
        (format!("/create {}", a(300)), vec![format!("/create {}", a(192)), a(108)]),
    ];
    for (line, wanted) in table {
        panda.type_line(&line);
        for piece in wanted {
            server.expect(&piece);
        }
    }
    panda.type_bytes(b"without a line end");
    panda.end_input();
    server.expect("without a line end");
    server.raw.expect_end();
}

/// C22 on any line
#[test]
fn c22_any_line_is_sent_whole() {
    let both = RefCell::new(client_of_test());
    check_property(25, "[!-~é日]([!-~]|[é日🦀]|[ /]){0,600}[!-~é日]", |line| {
        let (panda, server) = &mut *both.borrow_mut();
        panda.type_line(&line);
        let solid = |text: &str| text.replace(' ', "");
        let mut have = String::new();
        while solid(&have).len() < solid(&line).len() {
            let piece = server.text();
            let begins = have.is_empty() || !piece.starts_with(['/', ' ']);
            assert!(begins && !piece.is_empty(), "wanted: a piece of {line:?}\nhave: {piece:?}");
            have += &piece;
        }
        assert_eq!(solid(&have), solid(&line), "wanted on the right");
    });
}

/// C23: "Cannot connect: `Unable to connect to <host>:<port>`. … on stdout, exit 1."
#[test]
fn c23_a_client_that_cannot_connect_says_so() {
    for host in ["127.0.0.1", "localhost"] {
        // It has the port, and does not listen there.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let port = socket.local_addr().unwrap().as_socket().unwrap().port();
        let mut panda = Setup::client(&[PROTOCOL, "Panda", host, &port.to_string()]).start();
        panda.stdout.expect(&format!("Unable to connect to {host}:{port}"));
        panda.stdout.expect_end();
        panda.expect_exit(1);
    }
}

/// C23: "The server goes: `\r    \rServer at <host>:<port> has disconnected` and a newline. … on stdout, exit 1."
#[test]
fn c23_a_server_that_goes_away_is_reported() {
    let ways: [Way; 3] = [
        ("close", drop),
        ("reset", Raw::abort),
        // Half a message is none.
        ("close within a message", |mut raw| raw.send("half")),
    ];
    for (way, leave) in ways {
        println!("the server goes by {way}");
        let listener = Listener::new();
        let (mut panda, server) = connect_to(&listener);
        leave(server.raw);
        panda.expect_exit(1);
        panda.stdout.expect_text(&gone("127.0.0.1", listener.port()));
        panda.stdout.expect_end();
    }
    // The last whole messages are printed first.
    let listener = Listener::new();
    let (mut panda, mut server) = connect_to(&listener);
    server.raw.send([padded("Server is full (10 clients)"), b"half".to_vec()].concat());
    drop(server);
    panda.stdout.expect_text(&shown("Server is full (10 clients)"));
    panda.stdout.expect_text(&gone("127.0.0.1", listener.port()));
    panda.stdout.expect_end();
    panda.expect_exit(1);
}

// ---------------------------------------------------------------- the end of the client

/// A7: "End of input … on a client does what the exit command does, after every line read before it has been sent."; answers under way
/// are printed; A4: "0 for every wanted end".
#[test]
fn a07_the_end_of_input_sends_everything_and_prints_the_answers() {
    const MANY: usize = 3000;
    let server = server();
    let mut bob = creator(&server, "Bob");
    let mut panda = Setup::client(&[PROTOCOL, "Panda", "127.0.0.1", &server.port().to_string()]).start();
    let said: String = (0..MANY).map(|number| format!("{number}\n")).collect();
    panda.type_bytes(format!("/join nowhere\n/join AA\n{said}/list\n/join").as_bytes());
    panda.end_input();
    bob.expect("Panda has joined");
    for number in 0..MANY {
        bob.expect(&format!("[Panda] {number}"));
    }
    bob.expect("Panda has left");
    panda.expect_exit(0);
    let wanted = format!("No channel named nowhere exists. Try '/create nowhere'?\n{CHANNEL}\n{JOIN_WHAT}\n");
    same(&wanted, &plain(&panda.stdout.rest()), panda.log());
    same(&String::new(), &panda.stderr.rest(), panda.log());
}

/// A7: what a server says after the end of the input is still printed, until it closes.
#[test]
fn a07_late_answers_are_printed() {
    let (mut panda, mut server) = client_of_test();
    panda.type_line("/list");
    panda.end_input();
    server.expect("/list");
    server.raw.expect_end();
    server.raw.send(padded("AA\nBB"));
    drop(server);
    panda.stdout.expect_text(&format!("{ME}{}", shown("AA\nBB")));
    panda.stdout.expect_end();
    panda.expect_exit(0);
}

/// A5: "Ctrl-C, SIGTERM and SIGHUP all end … client cleanly: …, the exit status is 0, within 1 s": also from a server that never closes.
#[test]
fn a05_signals_end_the_client_when_everything_is_sent() {
    for (signal, closes) in [(Signal::SIGINT, false), (Signal::SIGTERM, true), (Signal::SIGHUP, true)] {
        println!("ended by {signal}");
        let (mut panda, mut server) = client_of_test();
        let lines: String = (0..100).map(|number| format!("{number}\n")).collect();
        panda.type_bytes(lines.as_bytes());
        // Each prompt says that a line was handled.
        panda.stdout.expect_text(&ME.repeat(100));
        panda.signal(signal);
        for number in 0..100 {
            server.expect(&number.to_string());
        }
        server.raw.expect_end();
        let open = (!closes).then_some(server);
        panda.expect_exit(0);
        panda.stdout.expect_end();
        drop(open);
    }
}

/// A5 towards a server that sends without end and reads nothing; A2: a client ends quietly when nobody reads what it prints.
#[test]
fn a05_a02_the_client_ends_whatever_the_server_does() {
    let (mut panda, server) = client_of_test();
    let stream = server.raw.stream().try_clone().unwrap();
    let flood = std::thread::spawn(move || {
        let many = padded("x".repeat(190)).repeat(50);
        while (&stream).write_all(&many).is_ok() {}
    });
    panda.type_for_ever(&"y".repeat(190));
    panda.stdout.find("xxx");
    panda.signal(Signal::SIGINT);
    panda.expect_exit(0);
    flood.join().unwrap();

    let listener = Listener::new();
    let setup = Setup::client(&[PROTOCOL, "Panda", "127.0.0.1", &listener.port().to_string()]);
    let mut panda = setup.stdout_closed().start();
    let mut server = listener.accept(&panda);
    server.expect_gone(DEADLINE);
    panda.expect_exit(0);
    same(&String::new(), &panda.stderr.rest(), panda.log());
}

// ---------------------------------------------------------------- a person at a terminal

/// C21: "On a terminal a half-typed line is kept (A3)."; A3: "a client redraws its prompt and what was half typed when a message arrives."
#[test]
fn c21_a03_a_half_typed_line_survives_messages() {
    let (mut panda, mut server) = screen_of_test();
    server.raw.send(padded("Alice has joined"));
    panda.expect_rows(&["Alice has joined", ME]);
    panda.expect_typed(ME);
    panda.type_keys("hal");
    panda.expect_typed("[Me] hal");
    let wide = format!("[Alice] {}", "0123456789".repeat(15));
    server.raw.send([padded("one\ntwo"), padded(&wide)].concat());
    let rows = ["Alice has joined", "one", "two", &wide[..100], &wide[100..]];
    panda.expect_rows(&[&rows[..], &["[Me] hal"]].concat());
    panda.expect_typed("[Me] hal");
    // The line editor's own keys work on it: backspace.
    panda.type_keys("\u{7f}llo\r");
    server.expect("hallo");
    panda.expect_rows(&[&rows[..], &["[Me] hallo", ME]].concat());
    // An empty line is not sent, and has its prompt.
    panda.type_keys("\r");
    panda.expect_rows(&[&rows[..], &["[Me] hallo", ME, ME]].concat());
    panda.type_keys("next\r");
    server.expect("next");
    panda.expect_rows(&[&rows[..], &["[Me] hallo", ME, "[Me] next", ME]].concat());
    panda.expect_typed(ME);
}

/// A15, C21b at a terminal: what a malicious server sends neither clears it nor writes over other rows.
#[test]
fn a15_c21b_a_malicious_server_leaves_the_screen_alone() {
    let (mut panda, mut server) = screen_of_test();
    panda.type_keys("hal");
    panda.expect_typed("[Me] hal");
    server.raw.send(padded("first"));
    server.raw.send(padded("\x1b[2J\x1b[1;1Hsecond"));
    server.raw.send(padded("\rthird\r\n\x1b[A\x1b[Aforged"));
    panda.expect_rows(&["first", "?[2J?[1;1Hsecond", "third", "?[A?[Aforged", "[Me] hal"]);
    panda.expect_typed("[Me] hal");
}

/// A5, A7 at a terminal: the keys Ctrl-C and Ctrl-D
#[test]
fn a05_a07_keys_end_the_client() {
    for (typed, key) in [("", "\u{3}"), ("half", "\u{3}"), ("", "\u{4}")] {
        let (mut panda, mut server) = screen_of_test();
        panda.type_keys("hello\r");
        server.expect("hello");
        panda.expect_typed(ME);
        panda.type_keys(typed);
        panda.expect_typed(&format!("{ME}{typed}"));
        panda.type_keys(key);
        server.raw.expect_end();
        drop(server);
        panda.expect_exit(0);
    }
}

/// A7 at a terminal: Ctrl-D is heard also where it comes between two lines, when nobody reads keys.
#[test]
fn a07_ctrl_d_right_behind_a_line_ends_the_client() {
    for _ in 0..20 {
        let (mut panda, mut server) = screen_of_test();
        panda.type_keys("hello\r");
        // The line has left, and the editor is about to come back.
        server.expect("hello");
        panda.type_keys("\u{4}");
        server.raw.expect_end();
        drop(server);
        panda.expect_exit(0);
    }
}

/// C23 at a terminal, while a line is half typed
#[test]
fn c23_the_end_of_the_server_ends_the_client_at_a_terminal() {
    let listener = Listener::new();
    let (mut panda, server) = screen_connected_to(&listener);
    panda.type_keys("hal");
    panda.expect_typed("[Me] hal");
    drop(server);
    panda.expect_exit(1);
    panda.expect_text(&format!("Server at 127.0.0.1:{} has disconnected", listener.port()));
}

// ---------------------------------------------------------------- helpers

/// Our server on a free port.
#[track_caller]
fn server() -> Server {
    server_with(&[])
}

#[track_caller]
fn server_with(options: &[&str]) -> Server {
    Server::start(PROTOCOL, options)
}

/// A connection on which messages are spoken, from either end.
struct Member {
    raw: Raw,
}

impl Member {
    /// Says its name.
    #[track_caller]
    fn new(raw: Raw, name: &str) -> Member {
        let mut member = Member { raw };
        member.say(name);
        member
    }

    /// Sends one message.
    #[track_caller]
    fn say(&mut self, text: impl AsRef<[u8]>) {
        self.raw.send(padded(text));
    }

    /// The next message is `wanted`, padded with spaces, byte for byte.
    #[track_caller]
    fn expect(&mut self, wanted: &str) {
        self.expect_within(DEADLINE, wanted);
    }

    #[track_caller]
    fn expect_within(&mut self, limit: Duration, wanted: &str) {
        match self.frame(limit) {
            Ok(have) if have == *padded(wanted) => {}
            Ok(have) => fail(&format!("{wanted:?}, padded"), &lossy(&have), self.raw.log()),
            Err(have) => fail(&format!("{wanted:?}"), &have, self.raw.log()),
        }
    }

    #[track_caller]
    fn expect_all(&mut self, wanted: &[&str]) {
        for text in wanted {
            self.expect(text);
        }
    }

    /// The next messages, each behind `prefix`, make this text. None is more than it needs, and no character was cut.
    #[track_caller]
    fn expect_pieces(&mut self, prefix: &str, wanted: &str) {
        let mut have = String::new();
        while have.len() < wanted.len() {
            let text = self.text();
            match text.strip_prefix(prefix) {
                Some(piece) if !piece.is_empty() => have.push_str(piece),
                _ => fail(&format!("a piece behind {prefix:?}"), &format!("{text:?}"), self.raw.log()),
            }
        }
        same(&wanted, &have.as_str(), self.raw.log());
    }

    /// The next message, without its padding.
    #[track_caller]
    fn text(&mut self) -> String {
        match self.frame(DEADLINE).map(|frame| String::from_utf8(frame.to_vec())) {
            Ok(Ok(text)) => text.trim_end_matches(' ').to_owned(),
            Ok(Err(error)) => fail("valid UTF-8", &lossy(error.as_bytes()), self.raw.log()),
            Err(have) => fail("a message", &have, self.raw.log()),
        }
    }

    /// Asks what has a known answer, and hears nothing before it. What others did that were answered before is done.
    #[track_caller]
    fn settle(&mut self) {
        self.say("/?");
        self.expect("/? is not a valid control message. Valid messages are /create, /list, and /join.");
    }

    /// Its own address, as the server sees it.
    fn address(&self) -> String {
        self.raw.stream().local_addr().unwrap().to_string()
    }

    /// The next 200 bytes, and none behind them; or what there was instead.
    fn frame(&self, limit: Duration) -> Result<[u8; SIZE], String> {
        let mut stream = self.raw.stream();
        stream.set_read_timeout(Some(limit)).unwrap();
        let mut frame = [0; SIZE];
        let mut length = 0;
        while length < SIZE {
            let what = match stream.read(&mut frame[length..]) {
                Ok(count @ 1..) => {
                    length += count;
                    continue;
                }
                Ok(_) => "the end of the connection".to_owned(),
                Err(error) => error.to_string(),
            };
            return Err(format!("{}, then {what}", lossy(&frame[..length])));
        }
        Ok(frame)
    }
}

/// One message: 200 bytes.
fn padded(text: impl AsRef<[u8]>) -> Vec<u8> {
    let mut message = text.as_ref().to_vec();
    assert!(message.len() <= SIZE, "{} bytes do not fit into a message", message.len());
    message.resize(SIZE, b' ');
    message
}

fn lossy(bytes: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(bytes))
}

/// A client with this name, in no channel. It is registered: it had an answer.
#[track_caller]
fn join(server: &Server, name: &str) -> Member {
    let mut member = Member::new(server.connect(), name);
    member.settle();
    member
}

/// A client that takes the last place, at once or soon: the end of the one before takes a moment to be noticed.
#[track_caller]
fn join_soon(server: &Server) -> Member {
    let guest = until(DEADLINE, || {
        let mut guest = Member::new(server.connect(), "Guest");
        guest.say("/?");
        guest.text().starts_with("/?").then_some(guest)
    });
    guest.unwrap_or_else(|| fail("the place of one that left", "a server that stays full", server.log()))
}

/// A client with this name, in [`CHANNEL`], which it has created.
#[track_caller]
fn creator(server: &Server, name: &str) -> Member {
    let mut member = join(server, name);
    member.say(format!("/create {CHANNEL}"));
    member.settle();
    member
}

/// Clients with these names, in [`CHANNEL`]; each has heard who came after it.
#[track_caller]
fn channel_of<const N: usize>(server: &Server, names: [&str; N]) -> [Member; N] {
    let mut all = vec![creator(server, names[0])];
    for name in &names[1..] {
        let mut next = join(server, name);
        next.say(format!("/join {CHANNEL}"));
        next.settle();
        for earlier in &mut all {
            earlier.expect(&format!("{name} has joined"));
        }
        all.push(next);
    }
    all.try_into().unwrap_or_else(|_| unreachable!("one connection for each name"))
}

/// None of these has been sent anything because of what any of them said before.
#[track_caller]
fn quiet<const N: usize>(mut members: [&mut Member; N]) {
    // What one of them said last may only be handled now: after the first round it is, and the second hears of it.
    for _ in 0..2 {
        for member in &mut members {
            member.settle();
        }
    }
}

/// Our client, connected; its first prompt is there.
#[track_caller]
fn client(server: &Server, name: &str, host: &str) -> Process {
    let mut client = Setup::client(&[PROTOCOL, name, host, &server.port().to_string()]).start();
    client.stdout.expect_text(ME);
    client
}

/// Our client, whose name is Panda, connected to a server that is this test.
#[track_caller]
fn client_of_test() -> (Process, Member) {
    connect_to(&Listener::new())
}

#[track_caller]
fn connect_to(listener: &Listener) -> (Process, Member) {
    let port = listener.port().to_string();
    let mut client = Setup::client(&[PROTOCOL, "Panda", "127.0.0.1", &port]).start();
    let mut server = Member { raw: listener.accept(&client) };
    server.expect("Panda");
    client.stdout.expect_text(ME);
    (client, server)
}

/// Our client, whose name is Panda, on a terminal, connected to a server that is this test.
#[track_caller]
fn screen_of_test() -> (Screen, Member) {
    screen_connected_to(&Listener::new())
}

#[track_caller]
fn screen_connected_to(listener: &Listener) -> (Screen, Member) {
    let screen = Screen::client(&[PROTOCOL, "Panda", "127.0.0.1", &listener.port().to_string()]);
    let mut server = Member { raw: listener.accept_any() };
    server.expect("Panda");
    screen.expect_typed(ME);
    (screen, server)
}

/// Our client on a terminal; its first prompt is there.
#[track_caller]
fn screen(server: &Server, name: &str) -> Screen {
    let screen = Screen::client(&[PROTOCOL, name, "127.0.0.1", &server.port().to_string()]);
    screen.expect_typed(ME);
    screen
}

/// Types a line at a terminal, which then shows it behind the prompt, and the answer, below what it showed before.
#[track_caller]
fn type_and_see(screen: &mut Screen, line: &str, rows: &mut Vec<String>, answer: &[&str]) {
    screen.type_keys(&format!("{line}\r"));
    rows.push(format!("{ME}{line}"));
    see(screen, rows, answer);
}

/// A terminal shows these rows below the others, and then the prompt, with the cursor behind it.
#[track_caller]
fn see(screen: &Screen, rows: &mut Vec<String>, more: &[&str]) {
    rows.extend(more.iter().map(ToString::to_string));
    let wanted: Vec<&str> = rows.iter().map(String::as_str).chain([ME]).collect();
    screen.expect_rows(&wanted);
    screen.expect_typed(ME);
}

/// Types each line into a client, and reads what it prints, byte for byte: the prompt, and the answers, before the next is typed.
#[track_caller]
fn dialogue(client: &mut Process, lines: &[(&str, &[&str])]) {
    for (line, answers) in lines {
        client.type_line(line);
        client.stdout.expect_text(ME);
        for answer in *answers {
            client.stdout.expect_text(&shown(answer));
        }
    }
}

/// What a client prints through a pipe for this message (C21).
fn shown(text: &str) -> String {
    format!("{WIPE}{text}\n{ME}")
}

/// What a client prints through a pipe when its server goes (C23).
fn gone(host: &str, port: u16) -> String {
    format!("{WIPE}Server at {host}:{port} has disconnected\n")
}

/// What a client printed, without prompts and wipes.
fn plain(text: &str) -> String {
    text.replace(ME, "").replace(WIPE, "")
}
