//! The protocol bridge: a server that stores contacts and introduces clients (B1-B11), and clients that chat peer to peer
//! (B12-B18). What lies in the code that all protocols share is tested beside the lobby; here, only that bridge uses it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::checks::{check_bearable, check_property, check_usages, check_wrong};
use chat_tests::program::path;
use chat_tests::wait::{Log, fail, same};
use chat_tests::wire::{kernel_sockets, never_accepting};
use chat_tests::{
    DEADLINE, Listener, PROMPTLY, Process, Raw, Reserved, Screen, Server, Setup, Signal, until,
};
use portable_pty::CommandBuilder;
use proptest::collection::vec;
use proptest::prelude::*;

const PROTOCOL: &str = "bridge";

/// The contact of a client that has no port of its own: nobody connects to it.
const ALICE: Contact = Contact { id: "Alice", port: 3000 };
const BOB: Contact = Contact { id: "Bob", port: 3001 };

/// What a program waits for a server or for a client that says nothing may take: its patience is 5 s.
const PATIENTLY: Duration = Duration::from_secs(9);

/// How one side ends a connection, the name of that, and the exit status of the other side.
type Way = (&'static str, fn(Raw), i32);

/// How a client is ended by its own user, and the name of that.
type End = (&'static str, fn(&mut Client));

/// Brings a client into a state, and keeps open what keeps it there: the peer's connection, if there is one.
type State = (&'static str, fn() -> (Client, Option<Raw>));

/// Every state in which a client takes commands (B14).
const STATES: [State; 6] = [
    ("START", || (started().0, None)),
    ("REGISTERED", || (registered().0, None)),
    ("WAIT", || (waiting(), None)),
    ("BRIDGED", || (bridged(BOB.port), None)),
    ("CHAT writing", || opened(calling())),
    ("CHAT reading", || opened(called())),
];

// ---------------------------------------------------------------- the sample of the source

/// What Bob and Alice say in Example 1, Bob first.
const CONVERSATION: [&str; 5] = [
    "Hello Alice",
    "How are you doing, Bob?",
    "Doing well, Alice. Time for coffee?",
    "Sorry Bob, I'm too busy.",
    "Okay Alice, another time.",
];

/// Example 1 of the source on all three terminals, letter for letter.
#[test]
fn b10_b12_b15_b16_example_1_at_three_terminals() {
    let folder = Folder::new();
    let contacts = folder.contacts();
    let mut server = Screen::server(&[PROTOCOL, "--port=0", "--bind=127.0.0.1", "--contacts", &contacts]);
    let address = row_behind(&server, ">Server listening on ");
    let mut log = vec![format!(">Server listening on {address}")];
    let mut alice = Terminal::start("Alice", &address);
    alice.type_all(&[("/id", &[">Alice"]), ("/register", &[]), ("/bridge", &[])]);
    let a = format!("Alice {}", alice.address);
    log.extend([format!(">REGISTER: Alice from {} received", alice.address), format!(">BRIDGE: {a}")]);
    expect_log(&server, &log);
    let mut bob = Terminal::start("Bob", &address);
    bob.type_all(&[("/id", &[">Bob"]), ("/register", &[]), ("/bridge", &[])]);
    let b = format!("Bob {}", bob.address);
    log.extend([format!(">REGISTER: Bob from {} received", bob.address), format!(">BRIDGE: {b} {a}")]);
    expect_log(&server, &log);
    bob.type_all(&[("/chat", &[])]);
    alice.see(&[&format!(">Incoming chat request from {b}")]);
    for (number, text) in CONVERSATION.into_iter().enumerate() {
        let (writer, reader) = if number % 2 == 0 { (&mut bob, &mut alice) } else { (&mut alice, &mut bob) };
        writer.type_all(&[(text, &[])]);
        reader.see(&[&format!(">{text}")]);
    }
    server.type_keys("/info\r");
    log.extend([format!(">{a}"), format!(">{b}")]);
    expect_log(&server, &log);
    alice.screen.type_keys("/quit\r");
    alice.rows.push(">/quit".to_owned());
    for terminal in [&mut alice, &mut bob] {
        terminal.screen.expect_exit(0);
        terminal.expect_left();
    }
    server.type_keys("\u{3}");
    server.expect_exit(0);
}

/// Example 1 through pipes: what each program prints, all of it (A1).
#[test]
fn a01_b10_b12_b15_example_1_through_pipes() {
    let mut lab = lab();
    let (mut alice, mut bob) = (lab.client("Alice"), lab.client("Bob"));
    let mut log = vec![format!(">Server listening on {}", lab.address())];
    for client in [&mut alice, &mut bob] {
        // It types /id, and sees the answer.
        client.settle();
        client.type_bytes(b"/register\n/bridge\n");
        client.settle();
    }
    let (a, b) = (alice.contact_row(), bob.contact_row());
    bob.type_line("/chat");
    alice.stdout.expect(&format!(">Incoming chat request from {b}"));
    for (number, text) in CONVERSATION.into_iter().enumerate() {
        let (writer, reader) = if number % 2 == 0 { (&mut bob, &mut alice) } else { (&mut alice, &mut bob) };
        writer.type_line(text);
        reader.stdout.expect(&format!(">{text}"));
    }
    lab.type_line("/info");
    alice.type_line("/quit");
    for client in [&mut alice, &mut bob] {
        client.expect_exit(0);
        client.stdout.expect_end();
    }
    log.extend([format!(">REGISTER: Alice from 127.0.0.1:{} received", alice.port), format!(">BRIDGE: {a}")]);
    log.extend([format!(">REGISTER: Bob from 127.0.0.1:{} received", bob.port), format!(">BRIDGE: {b} {a}")]);
    log.extend([format!(">{a}"), format!(">{b}")]);
    let lines: Vec<&str> = log.iter().skip(1).map(String::as_str).collect();
    lab.stdout.expect_all(&lines);
    lab.signal(Signal::SIGINT);
    lab.expect_exit(0);
    same(&(log.join("\n") + "\n"), &lab.stdout.text(), lab.log());
}

/// Example 2 of the source: `/id`, then Ctrl-C, and the programs terminate.
#[test]
fn a05_example_2_ctrl_c_ends_a_client_at_its_terminal() {
    let lab = lab();
    let mut alice = Terminal::start("Alice", &lab.address().to_string());
    alice.type_all(&[("/id", &[">Alice"])]);
    alice.screen.type_keys("\u{3}");
    alice.screen.expect_exit(0);
    // The row where Ctrl-C was typed stays.
    alice.rows.push(">".to_owned());
    alice.expect_left();
}

// ---------------------------------------------------------------- command line

/// B1: "`chat-server bridge --port=5555` … `chat-client bridge --id=student1 --port=3000 --server=200.26.180.43:5555`"; A8: "usage on
/// stdout; bare calls exit 2, `--help` exits 0."
#[test]
fn b01_a08_usage() {
    check_usages(
        PROTOCOL,
        "usage: chat-server bridge --port=<port> [--contacts=<file>] [--resume]",
        "usage: chat-client bridge --id=<id> --port=<port> --server=<host>:<port>",
    );
}

/// A8: "A wrong option or value: one line that says what is wrong and with what value, then the usage, on stderr, exit 2."
#[test]
fn a08_a_wrong_command_line_is_explained() {
    let server =
        |arguments: &[&str], value| check_wrong(Setup::server(&[&[PROTOCOL], arguments].concat()), value);
    server(&["--port=seventy"], "seventy");
    server(&["--port=70000"], "70000");
    server(&["--port=-1"], "-1");
    server(&["--port="], "port");
    server(&["--port"], "port");
    server(&["--resume"], "port");
    server(&["--port=0", "--frobnicate"], "frobnicate");
    server(&["--port=0", "extra"], "extra");
    server(&["--port=0", "--contacts"], "contacts");
    server(&["--port=0", "--resume=yes"], "resume");
    server(&["--port=0", "--bind"], "bind");
    server(&["--port=0", "--max-clients=many"], "many");
    let client =
        |arguments: &[&str], value| check_wrong(Setup::client(&[&[PROTOCOL], arguments].concat()), value);
    let (id, port, address) = ("--id=Alice", "--port=0", "--server=127.0.0.1:5555");
    client(&[port, address], "id");
    client(&[id, address], "port");
    client(&[id, port], "server");
    client(&["--id=two words", port, address], "two words");
    client(&["--id=", port, address], "''");
    client(&["--id=Alice\u{1b}[2J", port, address], "Alice");
    client(&[id, "--port=seventy", address], "seventy");
    client(&[id, "--port=65536", address], "65536");
    client(&[id, port, "--server=127.0.0.1"], "127.0.0.1");
    client(&[id, port, "--server=127.0.0.1:"], "port");
    client(&[id, port, "--server=127.0.0.1:seventy"], "seventy");
    client(&[id, port, "--server=127.0.0.1:70000"], "70000");
    client(&[id, port, "--server=:5555"], ":5555");
    client(&[id, port, "--server"], "server");
    client(&[id, port, address, "extra"], "extra");
    client(&[id, port, address, "--frobnicate"], "frobnicate");
}

/// B1: "quotes around the values are the shell's; a leftover pair of quotes is dropped. Also `--port 5555`."
#[test]
fn b01_quotes_are_dropped_and_values_may_stand_apart() {
    let folder = Folder::new();
    let contacts = folder.contacts();
    for arguments in [
        &["--port", "0", "--bind", "127.0.0.1"][..],
        &["--port='0'", "--bind=127.0.0.1"],
        &["--port=\"0\"", "--bind", "127.0.0.1"],
        // As the course's own server is started
        &["-p=0", "--bind", "127.0.0.1"],
    ] {
        let all = [&[PROTOCOL, "--contacts", &contacts], arguments].concat();
        let server = Setup::server(&all).listen_on_stdout();
        let port = server.port();
        for arguments in [
            ["--id='Alice'", "--port='0'", &format!("--server='127.0.0.1:{port}'")],
            ["--id=\"Alice\"", "--port=\"0\"", &format!("--server=\"127.0.0.1:{port}\"")],
            // What a word processor makes of them (5.3 of the source)
            ["--id=‘Alice’", "--port=“0”", &format!("--server=‘127.0.0.1:{port}’")],
        ] {
            let mut alice = Client::from(Setup::client(&[&[PROTOCOL], &arguments[..]].concat()), "Alice");
            alice.type_line("/register");
            alice.settle();
        }
        let arguments = ["--id", "Bob", "--port", "0", "--server", &format!("127.0.0.1:{port}")];
        let mut bob = Client::from(Setup::client(&[&[PROTOCOL], &arguments[..]].concat()), "Bob");
        bob.type_bytes(b"/register\n/id\n");
        bob.stdout.expect(">Bob");
        expect_ids(&contacts, &["Alice", "Bob"]);
    }
}

/// B1: "binds all interfaces by default; B10 prints the address bound"; A9: "Port 0 asks for a free port; the port printed is the real
/// one."
#[test]
fn b01_a09_the_server_binds_all_interfaces_by_default() {
    let folder = Folder::new();
    let server = Setup::server(&[PROTOCOL, "--port=0", "--contacts", &folder.contacts()]).listen_on_stdout();
    let have = server.address();
    assert!(have.ip().is_unspecified(), "wanted: all interfaces\nhave: {have}");
    for host in ["127.0.0.1", "127.0.0.2"] {
        let address = format!("{host}:{}", server.port()).parse().unwrap();
        let mut raw = Raw::connect(address, server.log());
        raw.send(ALICE.register());
        same(&ALICE.regack(), &raw.rest(), server.log());
    }
}

/// A9: `--bind ADDR` narrows it
#[test]
fn a09_bind_narrows_it() {
    let lab = lab();
    let elsewhere = format!("127.0.0.2:{}", lab.port()).parse().unwrap();
    let refused = std::net::TcpStream::connect_timeout(&elsewhere, DEADLINE);
    assert!(refused.is_err(), "wanted: no connection to {elsewhere}\nhave: one");
}

/// B2: "The server also takes `--contacts FILE` (default `contacts.txt` in the current folder)"
#[test]
fn b02_contacts_are_in_the_current_folder_by_default() {
    let folder = Folder::new();
    let prelude = format!("cd '{}'", folder.0.display());
    let server =
        Setup::server(&[PROTOCOL, "--port=0", "--bind=127.0.0.1"]).shell(&prelude).listen_on_stdout();
    register(&server, ALICE);
    same(&"Alice 127.0.0.1:3000\n".to_owned(), &folder.text(), server.log());
}

/// A10: "Hosts may be names or addresses, IPv4 or IPv6"
#[test]
fn a10_the_server_may_be_a_name() {
    let lab = lab();
    let mut alice = Client::start("Alice", &format!("localhost:{}", lab.port()));
    alice.type_line("/register");
    alice.settle();
    expect_ids(&lab.folder.contacts(), &["Alice"]);
}

/// A10 on IPv6, from the registration to the chat; B12: "the ip is the one that the server reaches us by"
#[test]
fn a10_b12_all_of_it_works_on_ipv6() {
    if TcpListener::bind("[::1]:0").is_err() {
        println!("skipped: this machine has no IPv6");
        return;
    }
    let folder = Folder::new();
    let server = Setup::server(&[PROTOCOL, "--port=0", "--bind", "::1", "--contacts", &folder.contacts()]);
    let server = server.listen_on_stdout();
    let [mut alice, mut bob] =
        ["Alice", "Bob"].map(|id| Client::start(id, &format!("[::1]:{}", server.port())));
    assert!(alice.address.contains("::1"), "wanted: running on ::1\nhave: {}", alice.address);
    for client in [&mut alice, &mut bob] {
        client.type_bytes(b"/register\n/bridge\n");
        client.settle();
    }
    bob.type_bytes(b"/chat\nHello Alice\n");
    alice.stdout.find(">Incoming chat request from Bob ");
    alice.stdout.expect(">Hello Alice");
    // What is stored is understood again, colons and all.
    let server = restart(server, &folder, &["--bind=::1"]);
    let answer = ask(&server, Contact { id: "Bob", port: 1 }.bridge());
    let wanted = format!("BRIDGEACK\r\nclientID: Alice\r\nIP: ::1\r\nPort: {}\r\n\r\n", alice.port);
    same(&wanted, &answer, server.log());
}

// ---------------------------------------------------------------- messages: register, bridge

/// B3: "`REGISTER…` → `REGACK\r\nclientID: Alice\r\nIP: 127.0.0.1\r\nPort: 3000\r\nStatus: registered\r\n\r\n`."
#[test]
fn b03_a_registration_is_acknowledged_and_echoed() {
    let lab = lab();
    let bytes = "REGISTER\r\nclientID: Alice\r\nIP: 127.0.0.1\r\nPort: 3000\r\n\r\n";
    let answer = "REGACK\r\nclientID: Alice\r\nIP: 127.0.0.1\r\nPort: 3000\r\nStatus: registered\r\n\r\n";
    expect_answer(&lab, bytes, answer);
    // What it says is echoed, wherever it comes from; names and addresses are one word each.
    for (id, ip, port) in [
        ("student1", "200.26.180.43", 1),
        ("client1-37442", "::1", 65535),
        ("a.b_c-D", "some-host.example", 80),
        (&"x".repeat(32), "10.0.0.1", 3000),
    ] {
        let headers = format!("clientID: {id}\r\nIP: {ip}\r\nPort: {port}\r\n");
        let answer = format!("REGACK\r\n{headers}Status: registered\r\n\r\n");
        expect_answer(&lab, format!("REGISTER\r\n{headers}\r\n"), &answer);
    }
}

/// B4: "`BRIDGE…` → `BRIDGEACK\r\nclientID: Alice\r\nIP: 127.0.0.1\r\nPort: 3000\r\n\r\n`: the contact of the *other* client (never the
/// requester's own). None yet: the same three headers with empty values, `clientID: \r\n`."
#[test]
fn b04_a_bridge_names_the_other_client() {
    const NOBODY: &str = "BRIDGEACK\r\nclientID: \r\nIP: \r\nPort: \r\n\r\n";
    let lab = lab();
    // "With nobody registered the source wants empty values" (B8).
    expect_answer(&lab, "BRIDGE\r\nclientID: Bob\r\n\r\n", NOBODY);
    register(&lab, ALICE);
    for _ in 0..3 {
        expect_answer(&lab, "BRIDGE\r\nclientID: Alice\r\n\r\n", NOBODY);
    }
    register(&lab, BOB);
    let alice = "BRIDGEACK\r\nclientID: Alice\r\nIP: 127.0.0.1\r\nPort: 3000\r\n\r\n";
    expect_answer(&lab, "BRIDGE\r\nclientID: Bob\r\n\r\n", alice);
    let bob = "BRIDGEACK\r\nclientID: Bob\r\nIP: 127.0.0.1\r\nPort: 3001\r\n\r\n";
    expect_answer(&lab, "BRIDGE\r\nclientID: Alice\r\n\r\n", bob);
}

/// B5: "BRIDGE answers, in this order: with the partner the requester was introduced to, if neither has registered again since; with
/// another fresh client, one that waits (it got an empty BRIDGEACK) before one that registered last; else with empty values, and the
/// requester waits. An answer with a peer introduces the two to each other. Registering again makes a client fresh and ends its
/// introduction; its former partner stays not fresh until it registers again itself."
#[test]
fn b05_who_is_whose_peer() {
    let table = [
        ("the two of the source", "A registers, A: nobody, B registers, B: A, A: B, B: A, A: B"),
        ("both register first", "A registers, B registers, A: B, B: A, A: B"),
        ("who registered last", "A registers, B registers, C registers, A: C, C: A, B: nobody"),
        ("… not first", "A registers, B registers, C registers, D registers, B: D"),
        (
            "who waits goes before who registered last",
            "A registers, A: nobody, B registers, C registers, C: A, A: C, B: nobody",
        ),
        (
            "a pair, and one who waits for the next",
            "A registers, A: nobody, B registers, B: A, C registers, C: nobody, A: B, D registers, D: C",
        ),
        (
            "a demo repeated",
            "A registers, A: nobody, B registers, B: A, A registers, A: nobody, B registers, B: A, A: B",
        ),
        (
            "a demo repeated the other way round",
            "A registers, A: nobody, B registers, B: A, B registers, B: nobody, A registers, A: B, B: A",
        ),
        (
            "one who registers again is fresh, its former partner not",
            "A registers, B registers, B: A, A registers, A: nobody, B: A, A: B",
        ),
        (
            "a third finds the one who registered again",
            "A registers, B registers, B: A, C registers, C: nobody, A registers, C: A, A: C, B: nobody",
        ),
        (
            "who is not fresh is found by nobody, though it waits",
            "A registers, B registers, A: B, B registers, C registers, B: C, A: nobody, D registers, D: nobody, A: D",
        ),
        (
            "registering again before being introduced",
            "A registers, A registers, A: nobody, B registers, B registers, A: B, B: A",
        ),
    ];
    for (what, story) in table {
        println!("{what}: {story}");
        let lab = lab();
        for step in story.split(", ") {
            play(&lab, step);
        }
    }
}

/// B5: "here ten work": five pairs, however they ask at the same time.
#[test]
fn b05_ten_clients_that_ask_at_once_make_five_pairs() {
    let lab = lab();
    let ids: Vec<String> = (0..10).map(|number| format!("client{number}")).collect();
    thread::scope(|scope| {
        for (id, port) in ids.iter().zip(4000..) {
            let contact = Contact { id, port };
            let server = &lab;
            scope.spawn(move || register(server, contact));
        }
    });
    expect_ids(&lab.folder.contacts(), &ids.iter().map(String::as_str).collect::<Vec<_>>());
    let server = &*lab;
    let answers = thread::scope(|scope| {
        let ask = |id| scope.spawn(move || (id, ask(server, Contact { id, port: 1 }.bridge())));
        let asking: Vec<_> = ids.iter().map(|id| ask(id)).collect();
        asking.into_iter().map(|answer| answer.join().unwrap()).collect::<Vec<_>>()
    });
    let partners: BTreeMap<&str, &str> =
        answers.iter().map(|(id, answer)| (*id, answer.split("\r\n").nth(1).unwrap())).collect();
    for (id, header) in &partners {
        let partner = header.strip_prefix("clientID: ").unwrap();
        assert_ne!(partner, *id, "wanted: another client in {partners:?}");
        same(&Some(&&*format!("clientID: {id}")), &partners.get(partner), lab.log());
    }
}

/// B5, B4: who registers again with another port is introduced with that one.
#[test]
fn b04_b05_the_last_registration_counts() {
    let mut lab = lab();
    register(&lab, ALICE);
    let moved = Contact { id: "Alice", port: 4000 };
    register(&lab, moved);
    register(&lab, BOB);
    expect_peer(&lab, BOB, Some(moved));
    expect_info(&mut lab, &[">Alice 127.0.0.1:4000", ">Bob 127.0.0.1:3001"]);
    // In order of registration (B11): who registers again goes to the end.
    register(&lab, moved);
    expect_info(&mut lab, &[">Bob 127.0.0.1:3001", ">Alice 127.0.0.1:4000"]);
}

/// Ways to write one registration, all of which mean the same.
const WAYS: [&str; 8] = [
    "REGISTER\r\nclientID: Alice\r\nIP: 127.0.0.1\r\nPort: 3000\r\n\r\n",
    "REGISTER\r\nPort: 3000\r\nIP: 127.0.0.1\r\nclientID: Alice\r\n\r\n",
    "REGISTER\nclientID: Alice\nIP: 127.0.0.1\nPort: 3000\n\n",
    "REGISTER\r\nCLIENTID:Alice\r\nip:127.0.0.1\r\npORT:3000\r\n\r\n",
    "REGISTER\r\nHost: here\r\nclientID: Alice\r\nX-Note: a: b\r\nIP: 127.0.0.1\r\nPort: 3000\r\n\r\n",
    "REGISTER\nport:3000\r\nUnknown:\nclientid: Alice\r\nIp: 127.0.0.1\n\r\n",
    "REGISTER\r\nIP: 127.0.0.1\nStatus: registered\nPort: 3000\nclientID:Alice\r\n\n",
    "REGISTER\nIP:127.0.0.1\nclientID:Alice\nPort:3000\n\n",
];

/// B6: "Readers take headers in any order and case, with or without the space, LF alone as line end, unknown headers (ignored)". "Writers
/// write exactly the bytes above."
#[test]
fn b06_the_server_takes_headers_in_many_forms() {
    let lab = lab();
    for way in WAYS {
        expect_answer(&lab, way, &ALICE.regack());
    }
    for bridge in ["BRIDGE\nclientID:Alice\n\n", "BRIDGE\r\nPort: 1\r\nCLIENTid: Alice\r\n\r\n"] {
        expect_answer(&lab, bridge, &bridgeack(None));
    }
}

/// B6: "and a message split anywhere"; A18: "a reader never assumes that one read is one message."
#[test]
fn b06_a18_requests_may_be_cut_anywhere() {
    let lab = lab();
    let input = (prop::sample::select(WAYS.to_vec()), vec(any::<prop::sample::Index>(), 0..6));
    check_property(20, input, |(way, cuts)| {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(way.len())).collect();
        cuts.sort_unstable();
        let mut raw = lab.connect();
        let mut sent = 0;
        for cut in cuts {
            raw.send(&way[sent..cut]);
            sent = cut;
            // An answer to somebody else lies between the pieces, so that each is read by itself, most likely.
            ask(&lab, "BRIDGE\nclientID:Alice\n\n");
        }
        raw.send(&way[sent..]);
        same(&ALICE.regack(), &raw.rest(), lab.log());
    });
    let mut raw = lab.connect();
    send_byte_by_byte(&mut raw, &BOB.register());
    same(&BOB.regack(), &raw.rest(), lab.log());
}

/// "one request and one response per connection": what stands behind the first is not handled, and does not turn the close into a reset.
/// A19: "A peer that closes its sending half (`printf … | nc`) … still gets what is under way to it".
#[test]
fn b06_a19_one_connection_is_one_request() {
    let mut lab = lab();
    expect_answer(&lab, ALICE.register() + &BOB.register(), &ALICE.regack());
    expect_answer(&lab, ALICE.register() + &"noise ".repeat(2000), &ALICE.regack());
    let mut raw = lab.connect();
    raw.send(ALICE.bridge());
    raw.half_close();
    same(&bridgeack(None), &raw.rest(), lab.log());
    expect_info(&mut lab, &[">Alice 127.0.0.1:3000"]);
}

/// B6: "Writers write exactly the bytes above": what our client sends to a server, each on a connection of its own.
#[test]
fn b06_b03_b04_b18_what_the_client_sends() {
    let (mut alice, server) = started();
    let port = alice.port;
    alice.type_line("/register");
    let mut raw = server.accept(&alice);
    raw.expect_bytes(format!("REGISTER\r\nclientID: Alice\r\nIP: 127.0.0.1\r\nPort: {port}\r\n\r\n"));
    raw.send(alice.contact().regack());
    // It closes the connection, though the server does not (B18).
    raw.expect_end();
    alice.type_line("/bridge");
    let mut raw = server.accept(&alice);
    raw.expect_bytes("BRIDGE\r\nclientID: Alice\r\n\r\n");
    raw.send(bridgeack(None));
    raw.expect_end();
    alice.settle();
    // All of these print nothing of their own (B13).
    alice.end_input();
    alice.expect_exit(0);
    alice.stdout.expect_end();
}

/// B6 for the client, and "The course's own server leaves out `Status: registered` …, our client does not need it."
#[test]
fn b06_the_client_takes_answers_in_many_forms() {
    let peer = Listener::new();
    let port = peer.port();
    let regacks = [
        "REGACK\r\nclientID: Alice\r\nIP: 127.0.0.1\r\nPort: 3000\r\nStatus: registered\r\n\r\n",
        "REGACK\r\nclientID: Alice\r\nIP: 127.0.0.1\r\nPort: 3000\r\n\r\n",
        "REGACK\nstatus:registered\nport:3000\nip:127.0.0.1\nclientid:Alice\nX: y\n\n",
    ];
    let bridgeacks = [
        format!("BRIDGEACK\r\nclientID: Bob\r\nIP: 127.0.0.1\r\nPort: {port}\r\n\r\n"),
        format!("BRIDGEACK\nPORT:{port}\nIP:127.0.0.1\nclientID:Bob\n\n"),
        format!("BRIDGEACK\r\nX: y\r\nip: 127.0.0.1\nport: {port}\r\nclientid: Bob\n\r\n"),
    ];
    for (regack, bridgeack) in regacks.into_iter().zip(bridgeacks) {
        println!("{regack:?}, {bridgeack:?}");
        let (mut alice, server) = started();
        for (command, request, answer) in [
            ("/register", alice.contact().register(), regack),
            ("/bridge", alice.contact().bridge(), &bridgeack),
        ] {
            alice.type_line(command);
            let mut raw = server.accept(&alice);
            raw.expect_bytes(request);
            send_byte_by_byte(&mut raw, answer);
            raw.expect_end();
        }
        alice.type_line("/chat");
        peer.accept(&alice).expect_bytes(alice.contact().chat());
    }
}

/// B6, B4 for the client: empty values, with and without the space
#[test]
fn b06_b14_a_bridge_without_a_peer_makes_the_client_wait() {
    for nobody in [bridgeack(None), "BRIDGEACK\nport:\nip:\nclientid:\n\n".to_owned()] {
        let (mut alice, server) = registered();
        alice.type_line("/bridge");
        reply(&server, &alice, alice.contact().bridge(), nobody);
        alice.settle();
        call(&mut alice);
    }
}

// ---------------------------------------------------------------- messages: the chat

/// B7: "`CHAT\r\nclientID: Bob\r\nIP: 127.0.0.1\r\nPort: 3001\r\n\r\n` opens the chat; each line of text is the text and CR LF; `QUIT\r\n\r\n`
/// ends it. A text line that is exactly `QUIT` is sent with a space behind it."; B13: "Any other `/word` is ignored. … An empty line is
/// not sent."
#[test]
fn b07_b13_what_is_sent_in_a_chat() {
    let (mut alice, mut bob) = calling();
    let full = "x".repeat(4096);
    let table = [
        ("hello", "hello\r\n"),
        ("  leading", "  leading\r\n"),
        ("a / b", "a / b\r\n"),
        ("/nonsense", ""),
        ("", ""),
        // A command is "a sequence of lower case letters" behind the slash: these are none.
        ("/", "/\r\n"),
        ("/tmp/x is full", "/tmp/x is full\r\n"),
        ("/ID", "/ID\r\n"),
        ("QUIT", "QUIT \r\n"),
        ("QUIT!", "QUIT!\r\n"),
        ("quit", "quit\r\n"),
        ("tab\there", "tab\there\r\n"),
        ("é ß 日本 🦀", "é ß 日本 🦀\r\n"),
        (&full, &format!("{full}\r\n")),
        ("the last", "the last\r\n"),
    ];
    for (line, wanted) in table {
        alice.type_line(line);
        bob.expect_bytes(wanted);
        if !wanted.is_empty() {
            give_turn(&mut alice, &mut bob);
        }
    }
    alice.type_line("/quit");
    expect_hang_up(bob);
    alice.expect_exit(0);
    alice.stdout.expect_end();
}

/// B7: "each line of text is the text and CR LF"; A18: "a message ends at LF; one CR before it is dropped", in either direction of a
/// connection; A15 is tested below.
#[test]
fn b07_a18_text_is_read_in_lines() {
    for open in [called, calling] {
        let (mut alice, mut bob) = open();
        bob.send("one\r\ntwo\nthree\r\n");
        alice.stdout.expect_all(&[">one", ">two", ">three"]);
        for piece in ["fo", "ur\r", "\nfi", "ve\n"] {
            bob.send(piece);
        }
        alice.stdout.expect_all(&[">four", ">five"]);
        let full = "x".repeat(4096);
        bob.send(format!("{full}\r\n  spaces  \r\n"));
        alice.stdout.expect_all(&[&format!(">{full}"), ">  spaces  "]);
    }
}

/// A19: "*until* a connection has sent its first newline, bytes that have stood 100 ms without one are taken as a whole message (…; in a
/// bridge chat counted from behind the CHAT message)." "Real clients send text with no line end".
#[test]
fn b07_a19_a_peer_may_leave_out_line_ends() {
    for open in [called, calling] {
        let (mut alice, mut bob) = open();
        for text in ["Hello", "QUITE well"] {
            bob.send(text);
            alice.stdout.expect(&format!(">{text}"));
        }
        keep(bob, "QUIT");
        alice.expect_exit(0);
        alice.stdout.expect_end();
    }
    // Text that comes with the CHAT message, in one segment
    let mut alice = waiting();
    let _bob = alice.hear_from(BOB.chat() + "Hello");
    alice.stdout.expect_all(&[">Incoming chat request from Bob 127.0.0.1:3001", ">Hello"]);
}

/// A19: "After its first newline, only newlines end its messages."
#[test]
fn b07_a19_after_a_newline_only_newlines_end_messages() {
    for open in [called, calling] {
        let (mut alice, mut bob) = open();
        bob.send("first\r\n");
        alice.stdout.expect(">first");
        bob.send("half a ");
        // The pause is what is tested: it is not waited for anything.
        thread::sleep(Duration::from_millis(250));
        bob.send("line\r\n");
        alice.stdout.expect(">half a line");
    }
}

/// B6 in the CHAT message, which may come with text behind it (A18).
#[test]
fn b06_b07_a_call_may_come_in_many_forms() {
    let calls = [
        "CHAT\r\nclientID: Bob\r\nIP: 127.0.0.1\r\nPort: 3001\r\n\r\n",
        "CHAT\nport:3001\nip:127.0.0.1\nclientid:Bob\nX: y\n\n",
    ];
    let incoming = ">Incoming chat request from Bob 127.0.0.1:3001";
    for message in calls {
        let mut alice = waiting();
        let _bob = alice.hear_from(format!("{message}Hello\r\nHow are you?\n"));
        alice.stdout.expect_all(&[incoming, ">Hello", ">How are you?"]);
        let mut alice = waiting();
        let mut bob = Raw::connect(alice.listens_on(), alice.log());
        send_byte_by_byte(&mut bob, &format!("{message}Hello\r\n"));
        alice.stdout.expect_all(&[incoming, ">Hello"]);
    }
}

/// B7: "Received: `QUIT` alone on a line, whatever follows, or FIN, or a reset, ends the chat"; "QUIT as `QUIT`, `QUIT\r\n\r\n`,
/// `QUIT\r\n\r\n\r\n`: B7 takes them all"; B17: "the other end prints what had arrived and exits 0. A peer that vanishes without QUIT or
/// FIN (a reset): a line on stderr, exit 1."
#[test]
fn b07_b17_the_ends_of_a_chat() {
    let ways: [Way; 10] = [
        ("QUIT without a line end", |bob| keep(bob, "QUIT"), 0),
        ("QUIT, CR LF twice", |bob| keep(bob, "QUIT\r\n\r\n"), 0),
        ("QUIT, CR LF three times", |bob| keep(bob, "QUIT\r\n\r\n\r\n"), 0),
        ("QUIT, LF", |bob| keep(bob, "QUIT\n"), 0),
        ("QUIT behind text", |bob| keep(bob, "one\r\ntwo\r\nQUIT\r\n\r\nthree\r\n"), 0),
        ("QUIT, and then a reset", |mut bob| (bob.send("QUIT\r\n\r\n"), bob.abort()).1, 0),
        ("FIN", drop, 0),
        ("FIN behind text", |mut bob| bob.send("one\r\ntwo\r\n"), 0),
        ("FIN behind half a line", |mut bob| bob.send("one\r\ntwo"), 0),
        ("a reset", Raw::abort, 1),
    ];
    for (way, end, status) in ways {
        for (state, open) in [("reading", called as fn() -> (Client, Raw)), ("writing", calling)] {
            println!("{way}, {state}");
            let (mut alice, bob) = open();
            let has_text = way.contains("text") || way.contains("half");
            end(bob);
            if has_text {
                alice.stdout.expect_all(&[">one", ">two"]);
            }
            alice.expect_exit(status);
            alice.stdout.expect_end();
            let said = alice.stderr.rest();
            assert!(status == 0 || said.lines().count() == 1, "wanted: one line about it\nhave: {said:?}");
        }
    }
}

/// B7: what only looks like QUIT is text.
#[test]
fn b07_quit_is_a_line_of_its_own() {
    let (mut alice, mut bob) = called();
    for text in ["QUIT ", " QUIT", "quit", "QUITE", "I said QUIT", "QUIT QUIT"] {
        bob.send(format!("{text}\r\n"));
        alice.stdout.expect(&format!(">{text}"));
    }
}

// ---------------------------------------------------------------- bad requests

/// B8: "Bad requests …: the server closes the connection after `ERROR\r\nReason: <what is wrong>\r\n\r\n`, says it on stderr, stores
/// nothing, and goes on."
#[test]
fn b08_bad_requests_are_answered_and_change_nothing() {
    let mut lab = lab();
    register(&lab, ALICE);
    lab.stdout.expect(">REGISTER: Alice from 127.0.0.1:3000 received");
    let request =
        |id: &str, ip: &str, port: &str| format!("REGISTER\nclientID: {id}\nIP: {ip}\nPort: {port}\n\n");
    let mut table: Vec<String> = [
        "HELLO\nclientID: Alice\n\n",
        "REGACK\nclientID: Eve\nIP: 127.0.0.1\nPort: 3000\n\n",
        "CHAT\nclientID: Eve\nIP: 127.0.0.1\nPort: 3000\n\n",
        "REGISTER Eve\n\n",
        "REGISTER\n\n",
        "REGISTER\nIP: 127.0.0.1\nPort: 3000\n\n",
        "REGISTER\nclientID: Eve\nPort: 3000\n\n",
        "REGISTER\nclientID: Eve\nIP: 127.0.0.1\n\n",
        "REGISTER\nclientID Eve\nIP: 127.0.0.1\nPort: 3000\n\n",
        "BRIDGE\n\n",
        "BRIDGE\nclientID: \n\n",
        // It never registered, while others have; names are compared exactly (A13).
        "BRIDGE\nclientID: Eve\n\n",
        "BRIDGE\nclientID: alice\n\n",
    ]
    .map(str::to_owned)
    .into();
    let ids = ["", "two words", "a/b", "é", "Eve\u{1b}[2J", "a:b", &"x".repeat(33)];
    table.extend(ids.map(|id| request(id, "127.0.0.1", "3000")));
    table.extend(["", "127.0.0.1 or so", "a\tb"].map(|ip| request("Eve", ip, "3000")));
    let ports = ["", "0", "65536", "-1", "+80", "abc", "3000x", "30 00", "3.5", "99999999999999999999"];
    table.extend(ports.map(|port| request("Eve", "127.0.0.1", port)));
    for request in table {
        println!("{request:?}");
        expect_error(&ask(&lab, &request), "");
        lab.stderr.line().expect("a line about it on stderr");
    }
    // One that ends in the middle
    let mut raw = lab.connect();
    raw.send("REGISTER\nclientID: Eve\nIP: 127.0.0.1\nPort: 3000\n");
    raw.half_close();
    expect_error(&raw.rest(), "");
    // Nothing of it was stored, nothing is on stdout, and the next good request is served.
    same(&"Alice 127.0.0.1:3000\n".to_owned(), &lab.folder.text(), lab.log());
    lab.type_line("/info");
    lab.stdout.expect(">Alice 127.0.0.1:3000");
    register(&lab, BOB);
    lab.stdout.expect(">REGISTER: Bob from 127.0.0.1:3001 received");
    check_bearable(&lab.stderr.text());
}

/// B8, A14: "over 4,096 bytes". The answer arrives, whatever was sent (A11: "no reset that eats it").
#[test]
fn b08_a14_a_request_may_have_4096_bytes() {
    let lab = lab();
    let padded = |length: usize| {
        let request = ALICE.register().replace("\r\n\r\n", "\r\nX: \r\n\r\n");
        let padding = "x".repeat(length - request.len());
        request.replace("X: ", &format!("X: {padding}"))
    };
    expect_answer(&lab, padded(4000), &ALICE.regack());
    for length in [4200, 5000, 100_000] {
        expect_error(&ask(&lab, padded(length)), "");
        expect_error(&ask(&lab, "x".repeat(length)), "");
        expect_error(&ask(&lab, "x\r\n".repeat(length)), "");
    }
    register(&lab, BOB);
}

/// B8 and B13: nobody waits for ever. Both tests take 5 s, so they take them together.
#[test]
fn b08_b13_patience_is_5_seconds() {
    thread::scope(|scope| {
        scope.spawn(a_request_must_be_whole_within_5_seconds);
        a_server_that_says_nothing_is_a_hint();
    });
}

/// B8: "5 s without a whole request": said nothing, half of it, or a byte now and then
fn a_request_must_be_whole_within_5_seconds() {
    let lab = lab();
    let start = Instant::now();
    let mut silent = lab.connect();
    let mut half = lab.connect();
    half.send("REGISTER\r\nclientID: Eve\r\n");
    let mut slow = lab.connect();
    while start.elapsed() < Duration::from_millis(3500) {
        slow.send("x");
        // The pauses are what is tested.
        let early = slow.line_within(Duration::from_millis(300));
        assert_eq!(early, None, "wanted on the right: nothing so far");
    }
    for raw in [&mut silent, &mut half, &mut slow] {
        raw.stream().set_read_timeout(Some(PATIENTLY)).unwrap();
        expect_error(&raw.rest(), "");
        let took = start.elapsed();
        let in_time = Duration::from_millis(4500)..Duration::from_secs(7);
        assert!(in_time.contains(&took), "wanted: 5 s of patience\nhave: {took:?}");
    }
    register(&lab, ALICE);
}

/// B13: a server that takes the request and says nothing is given up after a while, and what was typed meanwhile is done then.
fn a_server_that_says_nothing_is_a_hint() {
    let (mut alice, server) = started();
    alice.type_bytes(b"/register\n/id\n");
    let mut raw = server.accept(&alice);
    raw.expect_bytes(alice.contact().register());
    raw.expect_gone(PATIENTLY);
    alice.hear_hint();
    alice.stdout.expect(">Alice");
    alice.register_at(&server);
}

/// B8: "An 11th client takes the place of the one whose registration is oldest among those already introduced; if all ten are fresh:
/// `Reason: too many clients`."; A11
#[test]
fn b08_a11_the_eleventh() {
    let mut lab = lab();
    let ids: Vec<String> = (0..10).map(|number| format!("n{number}")).collect();
    let contact = |number: usize| Contact { id: &ids[number], port: 4000 + u16::try_from(number).unwrap() };
    for number in 0..10 {
        register(&lab, contact(number));
    }
    for _ in 0..2 {
        expect_error(&ask(&lab, BOB.register()), "too many clients");
    }
    // One of the ten may always register again.
    register(&lab, contact(3));
    // Registered last before: n3.
    expect_peer(&lab, contact(5), Some(contact(3)));
    expect_peer(&lab, contact(7), Some(contact(9)));
    // Those introduced are n3, n5, n7, n9, of whom n5 registered first: n3 did it again.
    register(&lab, BOB);
    expect_error(&ask(&lab, contact(5).bridge()), "");
    // Its partner still has its contact.
    expect_peer(&lab, contact(3), Some(contact(5)));
    expect_peer(&lab, BOB, Some(contact(8)));
    register(&lab, ALICE);
    expect_error(&ask(&lab, contact(7).bridge()), "");
    let list = info(&mut lab, 10);
    let gone = list.iter().any(|line| line.contains("n5") || line.contains("n7"));
    assert!(!gone, "wanted: nobody whose place was taken\nhave: {list:?}");
}

/// A9: `--max-clients 2`
#[test]
fn a09_b08_max_clients_sets_the_number_of_places() {
    let mut lab = lab_with(&["--max-clients", "2"]);
    for contact in [ALICE, BOB] {
        register(&lab, contact);
    }
    let carol = Contact { id: "Carol", port: 3002 };
    expect_error(&ask(&lab, carol.register()), "too many clients");
    expect_peer(&lab, BOB, Some(ALICE));
    register(&lab, carol);
    expect_info(&mut lab, &[">Bob 127.0.0.1:3001", ">Carol 127.0.0.1:3002"]);
}

/// A12: "Connections that never register are bounded too (64 beyond the registered): when all are taken, the one that has waited longest
/// without registering gives way."
#[test]
fn a12_who_says_nothing_gives_way() {
    let lab = lab();
    let start = Instant::now();
    let mut silent: Vec<Raw> = (0..90).map(|_| lab.connect()).collect();
    silent[0].expect_gone(DEADLINE);
    register(&lab, ALICE);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(4), "wanted: not only after 5 s (B8)\nhave: {took:?}");
}

/// A15: "control characters … become `?` … in every log line (a log is a terminal too)"
#[test]
fn a15_no_request_moves_the_cursor_of_the_server() {
    let mut lab = lab();
    let evil: [&[u8]; 5] = [
        b"\x1b[2J\r\n\r\n",
        b"REGISTER\r\nclientID: \x1b[31mEve\r\nIP: 1\r\nPort: 1\r\n\r\n",
        b"REGISTER\r\nclientID: Eve\r\nIP: 1\r\nPort: \x1b]0;x\x07\r\n\r\n",
        "REGISTER\r\nclientID: Eve\r\nIP: \u{9b}2J\u{202e}\r\nPort: 1\r\n\r\n".as_bytes(),
        b"BRIDGE\r\nclientID: caf\xe9\x1b\r\n\r\n",
    ];
    for request in evil {
        let answer = ask(&lab, request);
        check_bearable(&answer.replace("\r\n", "\n"));
    }
    register(&lab, ALICE);
    lab.stdout.find("Alice");
    check_bearable(&lab.stdout.text());
    check_bearable(&lab.stderr.text());
}

/// A16: "Random bytes, half messages, merged messages, NULs, and a connection that is cut anywhere never panic, never leak a
/// registration, never disturb another client."
#[test]
fn a16_noise_disturbs_no_server() {
    let mut lab = lab();
    register(&lab, ALICE);
    let before = lab.descriptors().len();
    let noise = (vec(noise(), 0..8), any::<bool>());
    check_property(30, noise, |(pieces, reset)| {
        let mut raw = lab.connect();
        raw.try_send(&pieces.concat());
        if reset {
            raw.abort();
        } else {
            drop(raw);
        }
        expect_peer(&lab, ALICE, None);
    });
    let whole = BOB.register();
    for at in 0..whole.len() {
        let mut raw = lab.connect();
        raw.send(&whole[..at]);
        if at % 2 == 0 { drop(raw) } else { raw.abort() }
    }
    expect_peer(&lab, ALICE, None);
    let settled = until(DEADLINE, || (lab.descriptors().len() <= before).then_some(()));
    assert!(settled.is_some(), "wanted: {before} descriptors again\nhave: {:?}", lab.descriptors());
    expect_info(&mut lab, &[">Alice 127.0.0.1:3000"]);
}

// ---------------------------------------------------------------- the contacts file

/// B9: "each registration is in the file before the REGACK goes out, one line `<clientID> <IP>:<Port>` each, the last one for an id
/// counting."
#[test]
fn b09_a_registration_is_in_the_file_before_it_is_acknowledged() {
    let lab = lab();
    for number in 0..20_u16 {
        let id = format!("n{}", number % 10);
        let contact = Contact { id: &id, port: 4000 + number };
        let mut raw = lab.connect();
        raw.send(contact.register());
        raw.expect_bytes(contact.regack());
        let stored = contacts(&lab.folder.text());
        same(&Some(&contact.port), &stored.get(&id), lab.log());
        same(&usize::from(number + 1).min(10), &stored.len(), lab.log());
    }
}

/// B9: "The file is written so that a crash at any moment leaves a whole file (new file, sync, rename)": whoever has opened it keeps a
/// whole one, and whoever looks meanwhile finds one.
#[test]
fn b09_the_file_is_replaced_never_rewritten() {
    let lab = lab();
    register(&lab, ALICE);
    let mut opened = fs::File::open(lab.folder.contacts()).unwrap();
    register(&lab, BOB);
    let mut text = String::new();
    opened.read_to_string(&mut text).unwrap();
    same(&"Alice 127.0.0.1:3000\n".to_owned(), &text, lab.log());
    same(&"Alice 127.0.0.1:3000\nBob 127.0.0.1:3001\n".to_owned(), &lab.folder.text(), lab.log());
    same(&vec!["contacts.txt".to_owned()], &lab.folder.names(), lab.log());

    let acknowledged = AtomicUsize::new(2);
    let done = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            while done.load(Ordering::SeqCst) == 0 {
                let least = acknowledged.load(Ordering::SeqCst);
                // It panics if a line is not whole.
                let have = contacts(&lab.folder.text()).len();
                assert!(have >= least, "wanted: {least} contacts or more\nhave: {have}");
            }
        });
        for number in 0..40_usize {
            let id = format!("{}{}", "n".repeat(30), number % 8);
            let contact = Contact { id: &id, port: 4000 };
            // A reader that has failed already says why.
            let answer = ask(&lab, contact.register());
            acknowledged.fetch_max((3 + number).min(10), Ordering::SeqCst);
            if answer != contact.regack() {
                done.store(1, Ordering::SeqCst);
                same(&contact.regack(), &answer, lab.log());
            }
        }
        done.store(1, Ordering::SeqCst);
    });
}

/// B9: "a crash at any moment leaves a whole file": a loop of kills, from before the REGISTER is read until after the REGACK. The file
/// holds what was acknowledged, and the next server still knows everyone.
#[test]
fn b09_a_kill_at_any_moment_leaves_a_whole_file() {
    const KILLS: u32 = 24;
    let folder = Folder::new();
    drop(serve(&folder, &[]));
    let mut acknowledged: BTreeMap<String, u16> = BTreeMap::new();
    for round in 0..KILLS {
        let mut server = serve(&folder, &["--resume"]);
        expect_known(&mut server, &acknowledged);
        let id = |number| format!("client{}", (number + round) % 10);
        let port = 4000 + u16::try_from(round).unwrap();
        let start = Instant::now();
        register(&server, Contact { id: &id(0), port });
        let took = start.elapsed();
        acknowledged.insert(id(0), port);
        let (last, port) = (id(1), port + 1000);
        let mut raw = server.connect();
        raw.send(Contact { id: &last, port }.register());
        // The moment of the kill is what is varied: from at once to when the answer has long been there.
        thread::sleep(took * round * 3 / 2 / KILLS);
        server.signal(Signal::SIGKILL);
        same(&137, &server.exit_code(), server.log());
        let mut answer = Vec::new();
        // The kill may cut the connection in any way.
        let _ = raw.stream().read_to_end(&mut answer);
        let stored = contacts(&folder.text());
        let was_stored = stored.get(&last) == Some(&port);
        if was_stored || answer.starts_with(b"REGACK") {
            acknowledged.insert(last, port);
        }
        same(&acknowledged, &stored, server.log());
        let names = folder.names();
        assert!(names.len() <= 2, "wanted: the file and at most one that was being written\nhave: {names:?}");
    }
}

/// B9: "A server starts with an empty one (yesterday's contacts would spoil today's demo: the first client must get an empty BRIDGEACK);
/// with `--resume` it reads the file and still knows everyone."
#[test]
fn b09_a_server_starts_anew_or_resumes() {
    let folder = Folder::new();
    let server = serve(&folder, &[]);
    for contact in [ALICE, BOB] {
        register(&server, contact);
    }
    let mut server = restart(server, &folder, &[]);
    server.type_line("/info");
    server.stdout.expect_all(&[">Alice 127.0.0.1:3000", ">Bob 127.0.0.1:3001"]);
    expect_peer(&server, BOB, Some(ALICE));
    expect_peer(&server, ALICE, Some(BOB));
    // A registration adds to what is known, and all of it is stored again.
    let carol = Contact { id: "Carol", port: 3002 };
    register(&server, carol);
    expect_ids(&folder.contacts(), &["Alice", "Bob", "Carol"]);
    drop(server);
    let server = serve(&folder, &[]);
    same(&String::new(), &folder.text(), server.log());
    register(&server, ALICE);
    expect_peer(&server, ALICE, None);
    same(&"Alice 127.0.0.1:3000\n".to_owned(), &folder.text(), server.log());
}

/// B9: "A broken line in it: the line is named on stderr, the rest is used."; "the last one for an id counting"
#[test]
fn b09_broken_lines_are_named_and_the_rest_is_used() {
    let table: [&[u8]; 8] = [
        b"no contact at all",
        b"Eve",
        b"Eve 127.0.0.1",
        b"Eve 127.0.0.1:70000",
        b"Eve 127.0.0.1:0",
        b"E/ve 127.0.0.1:3000",
        b"caf\xe9 \x1b[2J:3000",
        b"\0\0\0\0",
    ];
    for broken in table {
        println!("{}", broken.escape_ascii());
        let folder = Folder::new();
        let text = [b"Alice 127.0.0.1:1\n", broken, b"\nAlice 127.0.0.1:3000\nBob 127.0.0.1:3001\n"].concat();
        fs::write(folder.contacts(), text).unwrap();
        let mut server = serve(&folder, &["--resume"]);
        let said = server.stderr.line().expect("a line about it on stderr");
        let quoted = String::from_utf8_lossy(broken).replace(['\u{1b}', '\0'], "?");
        assert!(
            said.contains('2') || said.contains(&quoted),
            "wanted: the second line named\nhave: {said:?}"
        );
        check_bearable(&said);
        expect_peer(&server, BOB, Some(ALICE));
    }
}

/// B9: what a crash of something else may leave: a last line that is not whole, and a file that is not there.
#[test]
fn b09_a_server_resumes_from_little() {
    let folder = Folder::new();
    fs::write(folder.contacts(), "Alice 127.0.0.1:3000\nBob 127.0.").unwrap();
    let server = serve(&folder, &["--resume"]);
    expect_peer(&server, ALICE, None);
    drop(server);
    fs::remove_file(folder.contacts()).unwrap();
    let server = serve(&folder, &["--resume"]);
    register(&server, ALICE);
    same(&"Alice 127.0.0.1:3000\n".to_owned(), &folder.text(), server.log());
}

/// B9: "A file that cannot be written: REGISTER gets `Reason: cannot store the contact`, nothing is registered"
#[test]
fn b09_what_cannot_be_stored_is_not_registered() {
    let mut lab = lab();
    for contact in [ALICE, BOB] {
        register(&lab, contact);
    }
    fs::remove_dir_all(&lab.folder.0).unwrap();
    for contact in [Contact { id: "Alice", port: 4000 }, Contact { id: "Carol", port: 4001 }] {
        expect_error(&ask(&lab, contact.register()), "cannot store the contact");
    }
    lab.stderr.line().expect("a line about it on stderr");
    expect_peer(&lab, BOB, Some(ALICE));
    fs::create_dir(&lab.folder.0).unwrap();
    let carol = Contact { id: "Carol", port: 4001 };
    register(&lab, carol);
    expect_ids(&lab.folder.contacts(), &["Alice", "Bob", "Carol"]);
    expect_info(&mut lab, &[">Alice 127.0.0.1:3000", ">Bob 127.0.0.1:3001", ">Carol 127.0.0.1:4001"]);
}

/// B9: "at start, one line and status 1"; A4: "1 when it failed (cannot bind …)"
#[test]
fn b09_a04_a_start_that_fails_says_why() {
    let folder = Folder::new();
    let nowhere = folder.0.join("nowhere").join("contacts.txt");
    let nowhere = nowhere.to_str().unwrap();
    check_failure(Setup::server(&[PROTOCOL, "--port=0", "--contacts", nowhere]), nowhere);
    check_failure(Setup::server(&[PROTOCOL, "--port=0", "--resume", "--contacts", nowhere]), nowhere);
    // A folder is no file.
    let path = folder.0.to_str().unwrap();
    check_failure(Setup::server(&[PROTOCOL, "--port=0", "--contacts", path]), path);
    let holder = Listener::new();
    let (taken, port) = (holder.port().to_string(), format!("--port={}", holder.port()));
    let contacts = folder.contacts();
    fs::write(&contacts, "Alice 127.0.0.1:3000\n").unwrap();
    check_failure(Setup::server(&[PROTOCOL, &port, "--bind=127.0.0.1", "--contacts", &contacts]), &taken);
    // The one that runs already keeps its contacts.
    assert_eq!(folder.text(), "Alice 127.0.0.1:3000\n", "wanted on the right: the file as it was");
}

// ---------------------------------------------------------------- the server's terminal

/// B11: "Typed `/info`: one `><clientID> <ip>:<port>` per registered client, in order of registration. Anything else typed is ignored. End
/// of stdin changes nothing (A7)."
#[test]
fn b11_a07_info_lists_who_is_registered() {
    let mut lab = lab();
    lab.type_bytes(b"/nonsense\n\nhello\n/info Bob\n/INFO\n\xff\xfe\n");
    let all = ["Zoe", "Alice", "Bob"];
    for (id, port) in all.into_iter().zip(3000..) {
        let contact = Contact { id, port };
        register(&lab, contact);
        lab.stdout.expect(&format!(">REGISTER: {id} from 127.0.0.1:{port} received"));
    }
    for end in ["\n", "\r\n"] {
        lab.type_bytes(format!("/inf{0}/info{end}", "\n").as_bytes());
        lab.stdout.expect_all(&[">Zoe 127.0.0.1:3000", ">Alice 127.0.0.1:3001", ">Bob 127.0.0.1:3002"]);
    }
    lab.end_input();
    expect_peer(&lab, ALICE, Some(Contact { id: "Bob", port: 3002 }));
    lab.stdout.expect(">BRIDGE: Alice 127.0.0.1:3001 Bob 127.0.0.1:3002");
}

/// A7: "A server does not care about the end of its stdin (it may run under `nohup` or with `</dev/null`)."
#[test]
fn a07_the_server_does_not_need_its_stdin() {
    for prelude in ["exec </dev/null", "exec <&-"] {
        let folder = Folder::new();
        let arguments = [PROTOCOL, "--port=0", "--bind=127.0.0.1", "--contacts", &folder.contacts()];
        let mut server = Setup::server(&arguments).shell(prelude).listen_on_stdout();
        let before = server.processor_ticks();
        for _ in 0..5 {
            register(&server, ALICE);
        }
        assert!(server.runs(), "wanted: a server that runs after {prelude:?}");
        let ticks = server.processor_ticks() - before;
        assert!(ticks < 30, "wanted: a server that does not spin after {prelude:?}\nhave: {ticks} ticks");
        server.signal(Signal::SIGTERM);
        server.expect_exit(0);
    }
}

/// A7, B11: the server reads its terminal, and is not stopped for that where the terminal is another program's.
#[test]
fn a07_b11_the_server_serves_in_the_background_of_a_terminal() {
    let folder = Folder::new();
    let mut command = CommandBuilder::new("sh");
    // Jobs of their own process groups, as in a shell that people type into.
    command.args(["-c", "set -m; \"$0\" \"$@\" & read line; kill $!; wait $!; echo status $?"]);
    command.arg(path("chat-server"));
    command.args([PROTOCOL, "--port=0", "--bind=127.0.0.1", "--contacts", &folder.contacts()]);
    let mut screen = Screen::open(command);
    let address = row_behind(&screen, ">Server listening on ").parse().unwrap();
    let mut raw = Raw::connect(address, &Log::default());
    raw.send(ALICE.register());
    raw.expect_bytes(ALICE.regack());
    screen.expect_text(">REGISTER: Alice from 127.0.0.1:3000 received");
    screen.type_keys("\r");
    screen.expect_text("status 0");
}

/// A2: "Nothing panics when stdout is closed (`chat-server … | head -1`): the server goes on serving in silence"
#[test]
fn a02_the_server_outlives_its_stdout() {
    let folder = Folder::new();
    let reserved = Reserved::new();
    let port = reserved.port();
    let option = format!("--port={port}");
    let arguments = [PROTOCOL, &option, "--bind=127.0.0.1", "--contacts", &folder.contacts()];
    let mut server = Setup::server(&arguments).stdout_closed().start();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let listens = until(DEADLINE, || std::net::TcpStream::connect(address).ok());
    assert!(listens.is_some(), "wanted: a server that listens on {address}");
    for _ in 0..3 {
        server.type_line("/info");
        let mut raw = Raw::connect(address, server.log());
        raw.send(ALICE.register());
        same(&ALICE.regack(), &raw.rest(), server.log());
    }
    server.signal(Signal::SIGTERM);
    server.expect_exit(0);
}

/// A6: "SIGUSR1 makes a running server print who is registered (name, address, seconds since last heard) to stderr."
#[test]
fn a06_sigusr1_reports_who_is_registered() {
    let mut lab = lab();
    for contact in [ALICE, BOB] {
        register(&lab, contact);
    }
    lab.signal(Signal::SIGUSR1);
    for address in ["Alice 127.0.0.1:3000", "Bob 127.0.0.1:3001"] {
        let line = lab.stderr.find(address);
        let behind = line.split(address).last().unwrap();
        assert!(behind.contains(|c: char| c.is_ascii_digit()), "wanted: seconds\nhave: {line:?}");
    }
    expect_peer(&lab, BOB, Some(ALICE));
    let printed = lab.stdout.text();
    assert!(!printed.contains(">Alice"), "wanted: no report on stdout (A1)\nhave: {printed}");
}

/// A5: "Ctrl-C, SIGTERM and SIGHUP all end server and client cleanly: …, sockets are closed, threads are joined, the exit status is 0,
/// within 1 s, also with stalled clients connected"
#[test]
fn a05_signals_stop_the_server() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        println!("stopped by {signal}");
        let mut lab = lab();
        let silent = lab.connect();
        let mut half = lab.connect();
        half.send("REGISTER\r\nclientID: Eve\r\n");
        register(&lab, ALICE);
        lab.signal(signal);
        for mut raw in [silent, half] {
            raw.expect_gone(PROMPTLY);
        }
        lab.expect_exit(0);
        // The port is free at once, and what was stored is there.
        let port = format!("--port={}", lab.port());
        let contacts = lab.folder.contacts();
        let arguments = [PROTOCOL, &port, "--bind=127.0.0.1", "--resume", "--contacts", &contacts];
        let mut next = Setup::server(&arguments).listen_on_stdout();
        next.type_line("/info");
        next.stdout.expect(">Alice 127.0.0.1:3000");
    }
}

// ---------------------------------------------------------------- the client's terminal

/// B12: "`><clientID> running on <ip>:<port>` at start; the ip is the one that the server reaches us by"; A9: port 0
#[test]
fn b12_the_client_says_where_it_runs() {
    let lab = lab();
    let mut alice = lab.client("Alice");
    alice.type_line("/register");
    lab.folder.wait_for(&format!("Alice 127.0.0.1:{}\n", alice.port));
    assert_ne!(alice.port, 0, "wanted: the real port");
    // With the port given, and with nobody who serves: it starts all the same.
    let reserved = Reserved::new();
    let port = reserved.port();
    let setup =
        Setup::client(&[PROTOCOL, "--id=student1", &format!("--port={port}"), "--server=127.0.0.1:1"]);
    let mut student = setup.start();
    student.stdout.expect(&format!(">student1 running on 127.0.0.1:{port}"));
}

/// B13: "`/id` → `><clientID>`; `/register`, `/bridge`, `/chat`, `/quit` print nothing of their own. Any other `/word` is ignored."
#[test]
fn b13_commands_print_nothing_of_their_own() {
    let (mut alice, bob) = calling();
    alice.type_bytes(b"/nonsense\n/idle\n/i\n/registers\n");
    alice.settle();
    alice.type_line("/quit");
    expect_hang_up(bob);
    alice.expect_exit(0);
    alice.stdout.expect_end();
}

/// B13: "Out of order (`/bridge` before `/register`, `/chat` before a bridge that named a peer) …: a hint on stderr, the program goes on."
/// "Text typed in START, REGISTERED or BRIDGED is dropped with a hint."
#[test]
fn b13_out_of_order_is_a_hint() {
    let (mut alice, server) = started();
    for line in ["/bridge", "/chat", "Hello"] {
        alice.type_and_hear_hint(line);
    }
    // None of it reached the server: its first connection is this.
    alice.register_at(&server);
    for line in ["/chat", "Hello"] {
        alice.type_and_hear_hint(line);
    }
    alice.bridge_at(&server, None);
    alice.type_and_hear_hint("/chat");
    let peer = Listener::new();
    alice.bridge_at(&server, Some(Contact { id: "Bob", port: peer.port() }));
    alice.type_and_hear_hint("Hello");
    alice.type_line("/chat");
    let mut bob = peer.accept(&alice);
    bob.expect_bytes(alice.contact().chat());
    // Nothing that was dropped is sent now.
    alice.type_line("the first");
    bob.expect_bytes("the first\r\n");
    alice.end_input();
    alice.expect_exit(0);
    alice.stdout.expect_end();
}

/// B13: "or nobody answers: a hint on stderr, the program goes on."
#[test]
fn b13_a_server_that_is_not_there_is_a_hint() {
    let server = Reserved::new();
    let mut alice = Client::start("Alice", &format!("127.0.0.1:{}", server.port()));
    for _ in 0..2 {
        alice.type_line("/register");
        alice.stderr.find(&server.port().to_string());
        alice.settle();
    }
    // It is started late.
    alice.register_at(&server.listen());
}

/// B13 towards a server that is broken: what is no answer is a hint; the next attempt may succeed.
#[test]
fn b13_a16_a_server_that_answers_badly_is_a_hint() {
    let long = "x".repeat(100_000);
    let answers: [&[u8]; 8] = [
        b"",
        b"\xff\xfe\0\x1b[2J\r\n\r\n",
        b"HELLO\r\n\r\n",
        b"\r\n\r\n",
        b"ERROR\r\nReason: too many clients\r\n\r\n",
        b"ERROR\r\n\r\n",
        b"BRIDGE\r\nclientID: Bob\r\n\r\n",
        long.as_bytes(),
    ];
    // The second would answer another question.
    let of_register: [&[u8]; 2] =
        [b"REG", b"BRIDGEACK\r\nclientID: Bob\r\nIP: 127.0.0.1\r\nPort: 3001\r\n\r\n"];
    let of_bridge: [&[u8]; 3] = [
        b"BRIDGEACK\r\nclientID: Bob\r\nIP: 127.0.0.1\r\nPort: 70000\r\n\r\n",
        b"BRIDGEACK\r\nclientID: Bob\r\n\r\n",
        b"REGACK\r\nclientID: Alice\r\nIP: 127.0.0.1\r\nPort: 3000\r\n\r\n",
    ];
    let (mut alice, server) = started();
    for answer in answers.into_iter().chain(of_register) {
        alice.type_and_hear_hint_at(&server, "/register", answer);
    }
    alice.type_and_hear_hint("/bridge");
    alice.register_at(&server);
    for answer in answers.into_iter().chain(of_bridge) {
        alice.type_and_hear_hint_at(&server, "/bridge", answer);
    }
    alice.type_and_hear_hint("/chat");
    alice.bridge_at(&server, None);
    call(&mut alice);
}

/// B13, B8: the reason that the server gives is shown, as far as a terminal can bear it (A15).
#[test]
fn b13_a15_the_reason_of_an_error_is_shown() {
    let (mut alice, server) = started();
    for (reason, shown) in
        [("too many clients", "too many clients"), ("no \u{1b}[2J\u{202e}way", "no ?[2J?way")]
    {
        alice.type_line("/register");
        reply(&server, &alice, alice.contact().register(), format!("ERROR\r\nReason: {reason}\r\n\r\n"));
        alice.stderr.find(shown);
        alice.settle();
    }
    check_bearable(&alice.stderr.text());
}

/// B13, B14: a peer that is not there is a hint, and may be called again.
#[test]
fn b13_b14_a_peer_that_is_not_there_is_a_hint() {
    let peer = Reserved::new();
    let mut alice = bridged(peer.port());
    for _ in 0..2 {
        alice.type_and_hear_hint("/chat");
    }
    let peer = peer.listen();
    alice.type_line("/chat");
    peer.accept(&alice).expect_bytes(alice.contact().chat());
}

// ---------------------------------------------------------------- states

/// B14: "WAIT and BRIDGED accept an incoming chat (both may have bridged before either called)"; B15: "`>Incoming chat request from <peer>
/// <ip>:<port>` when CHAT arrives; then each text line as `><text>`."
#[test]
fn b14_b15_wait_and_bridged_accept_a_call() {
    for mut alice in [waiting(), bridged(BOB.port)] {
        // What counts is what the message says, not where it comes from.
        let mut bob = alice.hear_from("CHAT\r\nclientID: Bob\r\nIP: 10.1.2.3\r\nPort: 1500\r\n\r\n");
        alice.stdout.expect(">Incoming chat request from Bob 10.1.2.3:1500");
        bob.send("Hello Alice\r\n");
        alice.stdout.expect(">Hello Alice");
        alice.type_line("Hello Bob");
        bob.expect_bytes("Hello Bob\r\n");
    }
}

/// B14: "any other state … is refused: its connection is closed." The client goes on.
#[test]
fn b14_start_and_registered_refuse_a_call() {
    let (mut alice, server) = started();
    alice.expect_refusal();
    alice.settle();
    alice.register_at(&server);
    alice.expect_refusal();
    alice.bridge_at(&server, None);
    call(&mut alice);
}

/// B14: "and a second peer, is refused: its connection is closed", and the first notices nothing.
#[test]
fn b14_a_second_peer_is_refused() {
    for open in [called, calling] {
        let (mut alice, mut bob) = open();
        alice.expect_refusal();
        bob.send("one\r\n");
        alice.stdout.expect(">one");
        alice.type_line("two");
        bob.expect_bytes("two\r\n");
        alice.expect_refusal();
        // A silent one, too, cannot disturb it.
        let _silent = Raw::connect(alice.listens_on(), alice.log());
        bob.send("three\r\n");
        alice.stdout.expect(">three");
        alice.type_line("/quit");
        expect_hang_up(bob);
        alice.expect_exit(0);
        alice.stdout.expect_end();
    }
}

/// B14: who waits may ask again, and is told a peer then (B5).
#[test]
fn b14_who_waits_may_bridge_again() {
    let (mut alice, server) = registered();
    let peer = Listener::new();
    for named in [None, None, Some(Contact { id: "Bob", port: peer.port() })] {
        alice.bridge_at(&server, named);
    }
    alice.type_line("/chat");
    peer.accept(&alice).expect_bytes(alice.contact().chat());
}

/// A16 at a waiting client: noise and silence on its port neither end it nor keep the real peer out.
#[test]
fn a16_b14_noise_disturbs_no_waiting_client() {
    let mut alice = waiting();
    let _silent: Vec<Raw> = (0..30).map(|_| Raw::connect(alice.listens_on(), alice.log())).collect();
    let noise = (vec(noise(), 0..8), any::<bool>());
    check_property(30, noise, |(pieces, reset)| {
        let raw = alice.hear_from(pieces.concat());
        if reset {
            raw.abort();
        }
    });
    for nonsense in [
        "GET / HTTP/1.0\r\n\r\n",
        "QUIT\r\n\r\n",
        "REGISTER\r\nclientID: Bob\r\nIP: 1\r\nPort: 1\r\n\r\n",
        &"x".repeat(20_000),
    ] {
        alice.hear_from(nonsense).expect_gone(PATIENTLY);
    }
    let mut bob = call(&mut alice);
    bob.send("Hello\r\n");
    alice.stdout.expect(">Hello");
    check_bearable(&alice.stderr.text());
}

/// A15: "**and** on the client before printing. No one can move another's cursor, recolour another's terminal, or forge a line."
#[test]
fn a15_the_client_prints_only_what_a_terminal_can_bear() {
    let table: [(&[u8], &str); 9] = [
        (b"\x1b[2J\x1b[31mred", "?[2J?[31mred"),
        (b"bell\x07 back\x08 nul\x00 del\x7f", "bell? back? nul? del?"),
        (b"over\rwritten", "over?written"),
        ("csi \u{9b}31m nel \u{85}".as_bytes(), "csi ?31m nel ?"),
        ("evil \u{202e}txt.exe\u{2069}".as_bytes(), "evil ?txt.exe?"),
        (b"latin-1 caf\xe9.", "latin-1 caf\u{fffd}."),
        (b"cut \xe2\x82", "cut \u{fffd}"),
        (b"tab\there", "tab\there"),
        ("é ß 日本 🦀 e\u{301}\u{200f}".as_bytes(), "é ß 日本 🦀 e\u{301}\u{200f}"),
    ];
    for open in [called, calling] {
        let (mut alice, mut bob) = open();
        for (sent, wanted) in table {
            bob.send([sent, b"\r\n"].concat());
            alice.stdout.expect(&format!(">{wanted}"));
        }
        // Without a line end it is not otherwise.
        let (mut alice, mut bob) = open();
        bob.send("\u{1b}[2J");
        alice.stdout.expect(">?[2J");
        check_bearable(&alice.stdout.text());
    }
}

/// A15 in headers: of a call, and of an answer that names a peer.
#[test]
fn a15_headers_move_no_cursor() {
    let calls = [
        "CHAT\r\nclientID: B\u{1b}[2Job\r\nIP: 127.0.0.1\r\nPort: 3001\r\n\r\n",
        "CHAT\r\nclientID: Bob\r\nIP: \u{1b}[2J\u{202e}\r\nPort: 3001\r\n\r\n",
        "CHAT\r\nclientID: Bob\r\nIP: 127.0.0.1\r\nPort: \u{9b}31m\r\n\r\n",
    ];
    for message in calls {
        let mut alice = waiting();
        let _bob = alice.hear_from(format!("{message}Hello\r\n"));
        alice.stdout.find(">Incoming chat request from ");
        alice.stdout.expect(">Hello");
        check_bearable(&alice.stdout.text());
    }
    let (mut alice, server) = registered();
    for (id, ip) in [("B\u{1b}[2Job", "127.0.0.1"), ("Bob", "\u{1b}[2J\u{9b}"), ("Bob", "evil\u{202e}")] {
        alice.type_line("/bridge");
        let answer = format!("BRIDGEACK\r\nclientID: {id}\r\nIP: {ip}\r\nPort: 3001\r\n\r\n");
        reply(&server, &alice, alice.contact().bridge(), answer);
        // Whatever it thinks of the peer, it cannot call it.
        alice.type_line("/chat");
        alice.hear_hint();
        alice.settle();
    }
    check_bearable(&alice.stderr.text());
}

/// The source: "You design this message (and headers if needed)": a call without headers is one, from where it comes from.
#[test]
fn b07_b15_a_call_needs_no_headers() {
    let mut alice = waiting();
    let mut bob = alice.hear_from("CHAT\r\n\r\nHello\r\n");
    let incoming = alice.stdout.find(">Incoming chat request from ");
    assert!(
        incoming.ends_with(&format!(" 127.0.0.1:{}", bob.port())),
        "wanted: its address\nhave: {incoming:?}"
    );
    alice.stdout.expect(">Hello");
    alice.type_line("Hello");
    bob.expect_bytes("Hello\r\n");
}

/// A14: "readers of that take twice as much. Longer is refused as a whole …; the connection lives on and the next message is read right."
#[test]
fn a14_long_lines_of_a_peer() {
    for open in [called, calling] {
        let (mut alice, mut bob) = open();
        bob.send(format!("{}\r\nnext\r\n", "x".repeat(100_000)));
        alice.stdout.find(">next");
        let printed = alice.stdout.text();
        let longest = printed.lines().map(str::len).max().unwrap();
        assert!(longest <= 8193, "wanted: nothing of a line that is too long\nhave: {longest} bytes");
        alice.type_line("and back");
        bob.expect_bytes("and back\r\n");
    }
}

/// A14: "What a client says in one line or message may be 4,096 bytes …. Longer is refused as a whole with a clear reply". The turn is
/// not lost for it.
#[test]
fn a14_a_line_typed_that_is_too_long_is_refused() {
    let (mut alice, mut bob) = calling();
    for length in [4097, 50_000] {
        alice.type_line(&"y".repeat(length));
        alice.hear_hint();
    }
    alice.type_line("short");
    bob.expect_bytes("short\r\n");
}

// ---------------------------------------------------------------- walkie-talkie

/// B16: "the one who typed /chat writes first …; a line sent gives the turn away, a message received takes it."; "In WAIT and CHAT a line
/// typed out of turn is kept and sent when the turn comes (a hint on stderr says so)".
#[test]
fn b16_the_caller_writes_first_and_turns_alternate() {
    let (mut alice, mut bob) = calling();
    alice.type_line("one");
    bob.expect_bytes("one\r\n");
    for (number, text) in ["two", "three", "four"].into_iter().enumerate() {
        alice.type_line(text);
        alice.hear_hint();
        expect_nothing_sent(&mut bob);
        bob.send(format!("answer {number}\r\n"));
        alice.stdout.expect(&format!(">answer {number}"));
        bob.expect_bytes(format!("{text}\r\n"));
    }
}

/// B16: the one who was called reads first.
#[test]
fn b16_who_was_called_reads_first() {
    let (mut alice, mut bob) = called();
    alice.type_line("too early");
    alice.hear_hint();
    expect_nothing_sent(&mut bob);
    bob.send("Hello\r\n");
    alice.stdout.expect(">Hello");
    bob.expect_bytes("too early\r\n");
    // That was the turn.
    alice.type_line("again");
    alice.hear_hint();
    expect_nothing_sent(&mut bob);
}

/// B16 in WAIT: a line typed is kept for whoever calls.
#[test]
fn b16_a_line_typed_in_wait_is_kept() {
    let mut alice = waiting();
    alice.type_line("for later");
    alice.hear_hint();
    let mut bob = call(&mut alice);
    expect_nothing_sent(&mut bob);
    bob.send("Hello\r\n");
    alice.stdout.expect(">Hello");
    bob.expect_bytes("for later\r\n");
}

/// B16: "A peer that sends twice in a row is simply shown twice": it gives one turn, not two.
#[test]
fn b16_a_peer_may_send_twice_in_a_row() {
    let (mut alice, mut bob) = called();
    bob.send("one\r\n");
    bob.send("two\r\nthree\r\n");
    alice.stdout.expect_all(&[">one", ">two", ">three"]);
    alice.type_line("first");
    bob.expect_bytes("first\r\n");
    alice.type_line("second");
    alice.hear_hint();
    expect_nothing_sent(&mut bob);
    bob.send("four\r\n");
    bob.expect_bytes("second\r\n");
    // The caller, whose turn it is, may hear something, too.
    let (mut alice, mut bob) = calling();
    bob.send("zero\r\n");
    alice.stdout.expect(">zero");
    alice.type_line("one");
    bob.expect_bytes("one\r\n");
}

/// B16: "not sooner than 200 ms behind the CHAT message: two real peers take both in one read for one message"
#[test]
fn b16_the_first_text_keeps_its_distance_from_the_call() {
    let peer = Listener::new();
    let mut alice = bridged(peer.port());
    let start = Instant::now();
    alice.type_bytes(b"/chat\nHello\n");
    let mut bob = peer.accept(&alice);
    bob.expect_bytes(alice.contact().chat());
    bob.expect_bytes("Hello\r\n");
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(200), "wanted: 200 ms or more\nhave: {took:?}");
    // It is a matter of the first text only.
    let mut fastest = DEADLINE;
    for _ in 0..5 {
        give_turn(&mut alice, &mut bob);
        let start = Instant::now();
        alice.type_line("quick");
        bob.expect_bytes("quick\r\n");
        fastest = fastest.min(start.elapsed());
    }
    assert!(fastest < Duration::from_millis(100), "wanted: no pause before later texts\nhave: {fastest:?}");
}

/// B16: "Through a pipe, input is taken strictly in order: a kept line waits, and what stands behind it, /quit and the end of input too,
/// waits with it."
#[test]
fn b16_through_a_pipe_input_is_taken_in_order() {
    let mut alice = waiting();
    alice.type_bytes(b"one\n/id\n/nonsense\ntwo\n/id\n/quit\nnever\n");
    alice.end_input();
    alice.hear_hint();
    let mut bob = call(&mut alice);
    expect_nothing_sent(&mut bob);
    alice.expect_last(">Incoming chat request");
    bob.send("Hello\r\n");
    alice.stdout.expect(">Hello");
    bob.expect_bytes("one\r\n");
    alice.stdout.expect(">Alice");
    expect_nothing_sent(&mut bob);
    bob.send("Go on\r\n");
    alice.stdout.expect(">Go on");
    bob.expect_bytes("two\r\nQUIT\r\n\r\n");
    bob.expect_end();
    alice.stdout.expect(">Alice");
    alice.expect_exit(0);
    alice.stdout.expect_end();
}

/// B16, A7: the end of the input waits behind a kept line, too.
#[test]
fn b16_a07_the_end_of_input_waits_behind_a_kept_line() {
    // More lines than a program would read ahead, with empty ones between, and the last without a line end
    const MANY: usize = 200;
    let mut alice = waiting();
    let lines: Vec<String> = (0..MANY).map(|number| number.to_string()).collect();
    alice.type_bytes(lines.join("\n\n").as_bytes());
    alice.end_input();
    let mut bob = call(&mut alice);
    for line in lines {
        bob.send("go\r\n");
        alice.stdout.expect(">go");
        bob.expect_bytes(format!("{line}\r\n"));
    }
    expect_hang_up(bob);
    alice.expect_exit(0);
}

/// B16: "`printf '/register\n/bridge\na\nb\n/quit\n'` piped into the waiting end and its counterpart into the other give the same
/// conversation every time, with no sleeps."
#[test]
fn b16_two_pipes_give_the_same_conversation_every_time() {
    for round in 0..3 {
        let mut lab = lab();
        let (mut alice, mut bob) = (lab.client("Alice"), lab.client("Bob"));
        alice.type_bytes(b"/register\n/bridge\na\nb\n/quit\n");
        alice.end_input();
        lab.stdout.find(">BRIDGE: Alice");
        bob.type_bytes(b"/register\n/bridge\n/chat\nx\ny\n");
        for process in [&mut alice, &mut bob] {
            assert_eq!(
                process.exit_code_within(DEADLINE),
                0,
                "wanted on the right: the exit status in round {round}"
            );
        }
        let incoming = format!(">Incoming chat request from {}\n", bob.contact_row());
        same(&format!("{incoming}>x\n>y\n"), &alice.stdout.rest(), alice.log());
        same(&">a\n>b\n".to_owned(), &bob.stdout.rest(), bob.log());
    }
}

/// B16, B17: both ends of two pipes at once. Whoever is first, nothing is lost that was sent before, and both were ended as wanted.
#[test]
fn b16_b17_both_may_quit_at_once() {
    for _ in 0..3 {
        let mut lab = lab();
        let (mut alice, mut bob) = (lab.client("Alice"), lab.client("Bob"));
        alice.type_bytes(b"/register\n/bridge\na\nb\n/quit\n");
        lab.stdout.find(">BRIDGE: Alice");
        bob.type_bytes(b"/register\n/bridge\n/chat\nx\ny\n");
        bob.end_input();
        alice.stdout.find(">Incoming chat request");
        alice.stdout.expect_all(&[">x", ">y"]);
        bob.stdout.expect(">a");
        for process in [&mut alice, &mut bob] {
            process.expect_exit(0);
        }
        alice.stdout.expect_end();
    }
}

/// B5, B16: "here ten work": ten programs make five pairs, and chat all at once.
#[test]
fn b05_b16_ten_clients_pair_up() {
    let mut lab = lab();
    let ids = ["a1", "a2", "a3", "a4", "a5", "b1", "b2", "b3", "b4", "b5"];
    let mut all: Vec<Client> = ids.iter().map(|id| lab.client(id)).collect();
    let mut callers = all.split_off(5);
    for (waiter, caller) in all.iter_mut().zip(&mut callers) {
        waiter.type_bytes(b"/register\n/bridge\n");
        lab.stdout.find(&format!(">BRIDGE: {}", waiter.contact_row()));
        caller.type_bytes(b"/register\n/bridge\n/chat\n");
        lab.stdout.find(&format!(">BRIDGE: {} {}", caller.contact_row(), waiter.contact_row()));
    }
    for (waiter, caller) in all.iter_mut().zip(&mut callers) {
        waiter.stdout.expect(&format!(">Incoming chat request from {}", caller.contact_row()));
    }
    for round in 0..5 {
        for caller in &mut callers {
            let text = format!("{} says {round}", caller.id);
            caller.type_line(&text);
        }
        for (waiter, caller) in all.iter_mut().zip(&mut callers) {
            waiter.stdout.expect(&format!(">{} says {round}", caller.id));
            let text = format!("{} hears {round}", waiter.id);
            waiter.type_line(&text);
            caller.stdout.expect(&format!(">{} hears {round}", waiter.id));
        }
    }
    for client in callers.iter_mut().chain(&mut all) {
        // The other of a pair has ended with the first.
        client.end_input();
        client.expect_exit(0);
        client.stdout.expect_end();
    }
}

// ---------------------------------------------------------------- ends

/// B17: "/quit, Ctrl-C or end of input in a chat: QUIT is sent, the sockets close, exit 0"; A5, A7, in every state; B13: outside of a chat
/// `/quit` "exits the program" and sends nothing.
#[test]
fn b17_a05_a07_every_end_in_every_state() {
    let ends: [End; 5] = [
        ("/quit", |alice| alice.type_line("/quit")),
        ("the end of input", |alice| alice.end_input()),
        ("Ctrl-C", |alice| alice.signal(Signal::SIGINT)),
        ("SIGTERM", |alice| alice.signal(Signal::SIGTERM)),
        ("SIGHUP and half a line", |alice| {
            alice.type_bytes(b"half a li");
            alice.signal(Signal::SIGHUP);
        }),
    ];
    for (state, open) in STATES {
        for (way, end) in ends {
            println!("{way} in {state}");
            let (mut alice, bob) = open();
            end(&mut alice);
            if let Some(bob) = bob {
                expect_hang_up(bob);
            }
            alice.expect_exit(0);
            alice.stdout.expect_end();
        }
    }
}

/// A7: "after every line read before it has been sent": commands, too. B16: "End of input right behind /bridge ends the program before
/// anyone can call".
#[test]
fn a07_everything_before_the_end_of_input_is_done() {
    let mut lab = lab();
    let mut alice = lab.client("Alice");
    alice.type_bytes(b"/id\n/register\n/bridge");
    alice.end_input();
    alice.expect_exit(0);
    alice.stdout.expect(">Alice");
    alice.stdout.expect_end();
    let row = alice.contact_row();
    lab.stdout.expect_all(&[
        &format!(">REGISTER: Alice from 127.0.0.1:{} received", alice.port),
        &format!(">BRIDGE: {row}"),
    ]);
}

/// A5 while the client waits for a server that says nothing, or for a peer that does not take its call
#[test]
fn a05_ctrl_c_does_not_wait_for_the_network() {
    let (mut alice, server) = started();
    alice.type_line("/register");
    let mut raw = server.accept(&alice);
    raw.expect_bytes(alice.contact().register());
    alice.signal(Signal::SIGINT);
    alice.expect_exit(0);
    raw.expect_gone(DEADLINE);

    let (port, _full) = never_accepting();
    let mut alice = bridged(port);
    alice.type_line("/chat");
    expect_connecting(port);
    alice.signal(Signal::SIGINT);
    alice.expect_exit(0);
}

/// A5: "within 1 s, also with stalled": a peer that reads nothing does not hold up the end; "A second Ctrl-C ends at once (130)."
#[test]
fn a05_ctrl_c_ends_a_client_whose_peer_is_stalled() {
    for signals in [1, 2] {
        let mut alice = waiting();
        let mut bob = Raw::connect_narrow(alice.listens_on(), 4096, alice.log());
        bob.send(BOB.chat());
        alice.type_for_ever(&"y".repeat(4000));
        // Each gives a turn: far more is sent than the kernel takes for one who reads nothing.
        bob.send("go\r\n".repeat(2000));
        for _ in 0..=200 {
            alice.stdout.line().expect("more of what the peer said");
        }
        for _ in 0..signals {
            alice.signal(Signal::SIGINT);
        }
        let code = alice.exit_code_within(PROMPTLY);
        // Two signals in a row may be one, or the first may be through before the second.
        assert!(code == 0 || signals == 2 && code == 130, "wanted: status 0, or 130 at once\nhave: {code}");
    }
}

/// A5 in the middle of a flood from the peer
#[test]
fn a05_ctrl_c_ends_a_client_that_is_flooded() {
    let (mut alice, bob) = called();
    let stream = bob.stream().try_clone().unwrap();
    let flood = thread::spawn(move || while (&stream).write_all(&b"flood\r\n".repeat(1000)).is_ok() {});
    alice.stdout.find(">flood");
    alice.signal(Signal::SIGINT);
    alice.expect_exit(0);
    drop(bob);
    flood.join().unwrap();
}

/// A2: "Nothing panics when stdout is closed: … a client ends quietly."
#[test]
fn a02_the_client_ends_quietly_without_stdout() {
    let setup = Setup::client(&[PROTOCOL, "--id=Alice", "--port=0", "--server=127.0.0.1:1"]);
    let mut alice = setup.stdout_closed().start();
    alice.expect_exit(0);
    same(&String::new(), &alice.stderr.rest(), alice.log());
}

/// B17 for what is under way: the last line typed arrives before QUIT does, also when the peer talks all the time.
#[test]
fn b17_the_last_line_arrives_before_quit() {
    let (mut alice, mut bob) = calling();
    bob.send("talk\r\n".repeat(2000));
    alice.type_bytes(b"the last\n/quit\n");
    bob.try_send("talk\r\n".repeat(100).as_bytes());
    bob.expect_bytes("the last\r\nQUIT\r\n\r\n");
    bob.expect_end();
    alice.expect_exit(0);
}

// ---------------------------------------------------------------- connections

/// B18: "The client listens on its --port from the start; a port in use is said at once (exit 1)."
#[test]
fn b18_a04_a_port_in_use_is_said_at_once() {
    let taken = Listener::new();
    let port = format!("--port={}", taken.port());
    let arguments = [PROTOCOL, "--id=Alice", &port, "--server=127.0.0.1:1"];
    check_failure(Setup::client(&arguments), &taken.port().to_string());
}

/// B18: two clients cannot have one port; it is free at once when the first has ended, with a chat behind it, too.
#[test]
fn b18_the_port_is_free_at_once_after_a_chat() {
    let (mut alice, bob) = called();
    let port = format!("--port={}", alice.port);
    let arguments = [PROTOCOL, "--id=Alice", &port, "--server=127.0.0.1:1"];
    check_failure(Setup::client(&arguments), &alice.port.to_string());
    alice.type_line("/quit");
    expect_hang_up(bob);
    alice.expect_exit(0);
    let mut again = Setup::client(&arguments).start();
    again.stdout.expect(&format!(">Alice running on {}", alice.address));
}

/// B18: "The server's connection is closed after each request, by the client when it has its answer and by the server behind it
/// (non-persistent), the peer's stays (persistent)."
#[test]
fn b18_who_closes() {
    let mut lab = lab();
    for request in [ALICE.register(), ALICE.bridge(), "nonsense\r\n\r\n".to_owned()] {
        let mut raw = lab.connect();
        raw.send(request);
        let start = Instant::now();
        // It does not wait for this side to close.
        assert!(!raw.rest().is_empty(), "wanted: an answer, then the end");
        let took = start.elapsed();
        assert!(took < PROMPTLY, "wanted: a close behind the answer\nhave: {took:?}");
    }
    lab.stdout.find("BRIDGE");
    // The client's side of it is in `reply`; here, the chat's connection outlives any number of turns.
    let (mut alice, mut bob) = calling();
    for _ in 0..50 {
        alice.type_line("ping");
        bob.expect_bytes("ping\r\n");
        give_turn(&mut alice, &mut bob);
    }
}

// ---------------------------------------------------------------- a person at a terminal

/// A3: "On a terminal a client redraws its prompt and what was half typed when a message arrives."
#[test]
fn a03_a_half_typed_line_survives_messages() {
    let server = Listener::new();
    let mut alice = Terminal::waiting_at(&server);
    let mut bob = alice.call();
    alice.screen.type_keys("hal");
    alice.screen.expect_typed(">hal");
    for text in ["one", "two"] {
        bob.send(format!("{text}\r\n"));
        alice.rows.push(format!(">{text}"));
        alice.expect_rows(">hal");
    }
    alice.screen.type_keys("\u{7f}llo\r");
    bob.expect_bytes("hallo\r\n");
    alice.rows.push(">hallo".to_owned());
    alice.expect_rows(">");
    // What a malicious peer sends neither clears the screen nor writes over other rows (A15).
    bob.send("\u{1b}[2J\u{1b}[1;1Hcleared\rforged\r\n");
    alice.see(&[">?[2J?[1;1Hcleared?forged"]);
}

/// B16 at a terminal: "In WAIT and CHAT a line typed out of turn is kept and sent when the turn comes (a hint on stderr says so); /quit
/// acts at once."
#[test]
fn b16_at_a_terminal_lines_are_kept_and_quit_acts_at_once() {
    let server = Listener::new();
    let mut alice = Terminal::waiting_at(&server);
    // /id, too, is answered at once, though lines are kept.
    alice.screen.type_keys("first\rsecond\r/id\r");
    alice.screen.expect_text(">Alice\n");
    let mut bob = alice.dial();
    alice.screen.expect_text(">Incoming chat request from Bob 127.0.0.1:3001");
    expect_nothing_sent(&mut bob);
    for text in ["first", "second"] {
        bob.send("go\r\n");
        bob.expect_bytes(format!("{text}\r\n"));
    }
    alice.screen.type_keys("third\r/quit\r");
    expect_hang_up(bob);
    alice.screen.expect_exit(0);
}

/// A5, A7 at a terminal: the keys Ctrl-C and Ctrl-D, also while a line is half typed; B17
#[test]
fn a05_a07_b17_keys_end_the_client() {
    for (typed, key) in [("", "\u{3}"), ("half", "\u{3}"), ("", "\u{4}")] {
        let server = Listener::new();
        let mut alice = Terminal::waiting_at(&server);
        let bob = alice.call();
        alice.screen.type_keys(typed);
        alice.screen.expect_typed(&format!(">{typed}"));
        alice.screen.type_keys(key);
        expect_hang_up(bob);
        alice.screen.expect_exit(0);
        // In WAIT there is nobody to tell.
        let mut alice = Terminal::waiting_at(&server);
        alice.screen.type_keys(typed);
        alice.screen.expect_typed(&format!(">{typed}"));
        alice.screen.type_keys(key);
        alice.screen.expect_exit(0);
    }
}

// ---------------------------------------------------------------- helpers: messages

/// What a client says of itself. All are on 127.0.0.1.
#[derive(Clone, Copy)]
struct Contact<'a> {
    id: &'a str,
    port: u16,
}

impl Contact<'_> {
    fn register(self) -> String {
        format!("REGISTER\r\n{}\r\n", self.headers())
    }

    fn regack(self) -> String {
        format!("REGACK\r\n{}Status: registered\r\n\r\n", self.headers())
    }

    fn bridge(self) -> String {
        format!("BRIDGE\r\nclientID: {}\r\n\r\n", self.id)
    }

    fn chat(self) -> String {
        format!("CHAT\r\n{}\r\n", self.headers())
    }

    fn headers(self) -> String {
        format!("clientID: {}\r\nIP: 127.0.0.1\r\nPort: {}\r\n", self.id, self.port)
    }
}

/// The answer that names this peer, or nobody.
fn bridgeack(peer: Option<Contact>) -> String {
    let nobody = "clientID: \r\nIP: \r\nPort: \r\n".to_owned();
    format!("BRIDGEACK\r\n{}\r\n", peer.map_or(nobody, Contact::headers))
}

/// Sends a request; gives all that comes until the server closes the connection, which it does properly.
#[track_caller]
fn ask(server: &Server, request: impl AsRef<[u8]>) -> String {
    let mut raw = server.connect();
    raw.send(request);
    raw.rest()
}

#[track_caller]
fn expect_answer(server: &Server, request: impl AsRef<[u8]>, wanted: &str) {
    let have = ask(server, request);
    same(&wanted, &have.as_str(), server.log());
}

/// A registration that succeeds (B3).
#[track_caller]
fn register(server: &Server, contact: Contact) {
    expect_answer(server, contact.register(), &contact.regack());
}

/// Who asks is told of this peer, or of nobody (B4).
#[track_caller]
fn expect_peer(server: &Server, asking: Contact, peer: Option<Contact>) {
    expect_answer(server, asking.bridge(), &bridgeack(peer));
}

/// It is exactly an error, and its reason contains this (B8).
#[track_caller]
fn expect_error(answer: &str, part: &str) {
    let reason = answer.strip_prefix("ERROR\r\nReason: ").and_then(|rest| rest.strip_suffix("\r\n\r\n"));
    let is_error = reason.is_some_and(|reason| !reason.is_empty() && reason.contains(part));
    assert!(is_error, "wanted: an error with a reason that contains {part:?}\nhave: {answer:?}");
    check_bearable(&answer.replace("\r\n", "\n"));
}

/// One step of a story: `A registers`, `A: B` (A asks, and is told B), `A: nobody`.
#[track_caller]
fn play(server: &Server, step: &str) {
    let contact = |id: &'static str| Contact { id, port: 3000 + u16::from(id.as_bytes()[0]) };
    let named = |id: &str| ["A", "B", "C", "D"].into_iter().find(|&known| known == id).map(contact);
    println!("  {step}");
    match step.split_once(": ") {
        Some((asking, peer)) => {
            expect_peer(server, named(asking).unwrap(), named(peer));
        }
        None => register(server, named(step.split(' ').next().unwrap()).unwrap()),
    }
}

fn send_byte_by_byte(raw: &mut Raw, message: &str) {
    for byte in message.bytes() {
        raw.send([byte]);
    }
}

/// Bytes of all kinds, and pieces of messages; no call that could be taken (B7).
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        "REGISTER\r\n",
        "BRIDGE\n",
        "CHA",
        "clientID: Eve\r\n",
        "\r\n\r\n",
        "\0",
        "Port: 1\n",
        ":",
        "QUIT\r\n",
    ];
    prop_oneof![
        vec(any::<u8>(), 0..200),
        prop::sample::select(pieces.to_vec()).prop_map(|piece| piece.as_bytes().to_vec())
    ]
}

// ---------------------------------------------------------------- helpers: the server and its file

/// A folder of this test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("chat-bridge-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    /// The path of the contacts file.
    fn contacts(&self) -> String {
        self.0.join("contacts.txt").to_str().unwrap().to_owned()
    }

    /// What is in the contacts file.
    #[track_caller]
    fn text(&self) -> String {
        fs::read_to_string(self.contacts()).unwrap()
    }

    /// The names of all files in the folder.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    /// The contacts file is this, soon.
    #[track_caller]
    fn wait_for(&self, wanted: &str) {
        let found = until(DEADLINE, || (self.text() == wanted).then_some(()));
        assert!(found.is_some(), "wanted: {wanted:?} in the file\nhave: {:?}", self.text());
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // One test removes it itself.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server whose contacts are in a folder of its own.
struct Lab {
    server: Server,
    folder: Folder,
}

impl Lab {
    /// Our client, of this server.
    #[track_caller]
    fn client(&self, id: &str) -> Client {
        Client::start(id, &self.address().to_string())
    }
}

impl Deref for Lab {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for Lab {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

#[track_caller]
fn lab() -> Lab {
    lab_with(&[])
}

#[track_caller]
fn lab_with(options: &[&str]) -> Lab {
    let folder = Folder::new();
    Lab { server: serve(&folder, options), folder }
}

/// Our server on a free port of 127.0.0.1, its contacts in this folder.
#[track_caller]
fn serve(folder: &Folder, options: &[&str]) -> Server {
    let contacts = folder.contacts();
    let arguments = [PROTOCOL, "--port=0", "--contacts", &contacts];
    let bind = if options.iter().any(|option| option.starts_with("--bind")) {
        &[][..]
    } else {
        &["--bind=127.0.0.1"]
    };
    Setup::server(&[&arguments[..], bind, options].concat()).listen_on_stdout()
}

/// Kills a server; gives the next one, which resumes.
#[track_caller]
fn restart(mut server: Server, folder: &Folder, options: &[&str]) -> Server {
    server.signal(Signal::SIGKILL);
    server.exit_code();
    serve(folder, &[&["--resume"], options].concat())
}

/// The contacts in the text of a file, every line of which is whole.
#[track_caller]
fn contacts(text: &str) -> BTreeMap<String, u16> {
    assert!(text.is_empty() || text.ends_with('\n'), "wanted: whole lines\nhave: {text:?}");
    let contact = |line: &str| {
        let (id, address) = line.split_once(' ')?;
        let port = address.strip_prefix("127.0.0.1:")?.parse().ok()?;
        Some((id.to_owned(), port))
    };
    text.lines()
        .map(|line| contact(line).unwrap_or_else(|| panic!("wanted: a contact\nhave: {line:?}")))
        .collect()
}

/// The file at `path` holds contacts of just these.
#[track_caller]
fn expect_ids(path: &str, wanted: &[&str]) {
    let text = fs::read_to_string(path).unwrap();
    let have: Vec<String> = contacts(&text).into_keys().collect();
    assert_eq!(have, wanted, "wanted on the right: who is in the file");
}

/// `/info` lists just these, in this order.
#[track_caller]
fn expect_info(server: &mut Server, wanted: &[&str]) {
    same(&wanted.iter().map(ToString::to_string).collect(), &info(server, wanted.len()), server.log());
}

/// `/info` lists just these, who were acknowledged.
#[track_caller]
fn expect_known(server: &mut Server, wanted: &BTreeMap<String, u16>) {
    let list = info(server, wanted.len()).join("\n").replace('>', "") + "\n";
    same(wanted, &contacts(list.trim_start_matches('\n')), server.log());
}

/// The lines that `/info` lists, which are so many. It is asked twice: what is too much would be the start of the second list.
#[track_caller]
fn info(server: &mut Server, count: usize) -> Vec<String> {
    let mut list = || -> Vec<String> {
        server.type_line("/info");
        // What else is on stdout has a colon behind its first word (B10).
        let lines = std::iter::from_fn(|| server.stdout.line()).filter(|line| !line.contains(": "));
        lines.take(count).collect()
    };
    let (first, second) = (list(), list());
    same(&first, &second, server.log());
    first
}

// ---------------------------------------------------------------- helpers: the client

/// Our client, on pipes. It is a [`Process`] first of all.
struct Client {
    process: Process,
    id: String,
    /// Where it says that it runs.
    address: String,
    port: u16,
}

impl Client {
    /// On a free port; its server is said to be at this address.
    #[track_caller]
    fn start(id: &str, server: &str) -> Client {
        let options = [&format!("--id={id}"), "--port=0", &format!("--server={server}")];
        Client::from(Setup::client(&[&[PROTOCOL], &options[..]].concat()), id)
    }

    /// Starts it and waits until it says where it runs.
    #[track_caller]
    fn from(setup: Setup, id: &str) -> Client {
        let mut process = setup.start();
        let line = process.stdout.line().unwrap_or_default();
        let address = line.strip_prefix(&format!(">{id} running on ")).map(str::to_owned);
        let Some(address) = address else { fail("IP:PORT where it runs", &line, process.log()) };
        let port = address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        Client { process, id: id.to_owned(), address, port }
    }

    fn contact(&self) -> Contact<'_> {
        Contact { id: &self.id, port: self.port }
    }

    /// What a server and a peer show of it.
    fn contact_row(&self) -> String {
        format!("{} {}", self.id, self.address)
    }

    fn listens_on(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Types what has a known answer, and reads nothing before it: what was typed before is done.
    #[track_caller]
    fn settle(&mut self) {
        self.process.type_line("/id");
        self.process.stdout.expect(&format!(">{}", self.id));
    }

    /// Something is said on stderr.
    #[track_caller]
    fn hear_hint(&mut self) {
        let hint = self.stderr.line();
        let said = hint.as_deref().is_some_and(|hint| !hint.trim().is_empty());
        assert!(said, "wanted: a hint on stderr\nhave: {hint:?}, and on stdout {:?}", self.stdout.text());
        check_bearable(&hint.unwrap_or_default());
    }

    /// A line for which there is a hint, and nothing else; the client goes on.
    #[track_caller]
    fn type_and_hear_hint(&mut self, line: &str) {
        self.type_line(line);
        self.hear_hint();
        self.settle();
    }

    /// The same for a command that this server answers badly.
    #[track_caller]
    fn type_and_hear_hint_at(&mut self, server: &Listener, command: &str, answer: &[u8]) {
        println!("{command} is answered by {:.90}", answer.escape_ascii().to_string());
        self.type_line(command);
        let mut raw = server.accept(self);
        raw.find("clientID");
        raw.try_send(answer);
        raw.half_close();
        self.hear_hint();
        self.settle();
        raw.expect_gone(DEADLINE);
    }

    /// Types `/register`, which succeeds.
    #[track_caller]
    fn register_at(&mut self, server: &Listener) {
        self.type_line("/register");
        reply(server, self, self.contact().register(), self.contact().regack());
        self.settle();
    }

    /// Types `/bridge`, and is told of this peer.
    #[track_caller]
    fn bridge_at(&mut self, server: &Listener, peer: Option<Contact>) {
        self.type_line("/bridge");
        reply(server, self, self.contact().bridge(), bridgeack(peer));
        self.settle();
    }

    /// Somebody connects, and says this.
    #[track_caller]
    fn hear_from(&self, message: impl AsRef<[u8]>) -> Raw {
        let mut raw = Raw::connect(self.listens_on(), self.log());
        // It may have been hung up already.
        raw.try_send(message.as_ref());
        raw
    }

    /// Somebody's call is refused.
    #[track_caller]
    fn expect_refusal(&self) {
        self.hear_from(Contact { id: "Eve", port: 6666 }.chat()).expect_gone(DEADLINE);
    }

    /// The last line that was printed so far begins so: nothing came behind it.
    #[track_caller]
    fn expect_last(&self, start: &str) {
        let text = self.stdout.text();
        let last = text.lines().last().unwrap_or_default();
        assert!(last.starts_with(start), "wanted: {start:?} as the last line\nhave: {text:?}");
    }
}

impl Deref for Client {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// The server, which is this test, gets this request of a client on a new connection, and answers; then the client closes it (B18).
#[track_caller]
fn reply(server: &Listener, client: &Process, request: impl AsRef<[u8]>, answer: impl AsRef<[u8]>) {
    let mut raw = server.accept(client);
    raw.expect_bytes(request);
    raw.send(answer);
    raw.expect_end();
}

/// Alice in START; her server is this test.
#[track_caller]
fn started() -> (Client, Listener) {
    let server = Listener::new();
    (Client::start("Alice", &format!("127.0.0.1:{}", server.port())), server)
}

/// Alice in REGISTERED; her server is this test.
#[track_caller]
fn registered() -> (Client, Listener) {
    let (mut alice, server) = started();
    alice.register_at(&server);
    (alice, server)
}

/// Alice in WAIT.
#[track_caller]
fn waiting() -> Client {
    let (mut alice, server) = registered();
    alice.bridge_at(&server, None);
    alice
}

/// Alice in BRIDGED; her peer is Bob, who listens on this port.
#[track_caller]
fn bridged(port: u16) -> Client {
    let (mut alice, server) = registered();
    alice.bridge_at(&server, Some(Contact { id: "Bob", port }));
    alice
}

/// Alice in CHAT, reading: she was called by Bob, who is this test.
#[track_caller]
fn called() -> (Client, Raw) {
    let mut alice = waiting();
    let bob = call(&mut alice);
    (alice, bob)
}

/// Alice in CHAT, writing: she has called Bob, who is this test.
#[track_caller]
fn calling() -> (Client, Raw) {
    let peer = Listener::new();
    let mut alice = bridged(peer.port());
    alice.type_line("/chat");
    let mut bob = peer.accept(&alice);
    bob.expect_bytes(alice.contact().chat());
    (alice, bob)
}

/// A chat as one of the [`STATES`].
fn opened((alice, bob): (Client, Raw)) -> (Client, Option<Raw>) {
    (alice, Some(bob))
}

/// Bob calls; Alice shows it.
#[track_caller]
fn call(alice: &mut Client) -> Raw {
    let bob = alice.hear_from(BOB.chat());
    alice.stdout.expect(">Incoming chat request from Bob 127.0.0.1:3001");
    bob
}

/// Bob says something, so that it is Alice's turn.
#[track_caller]
fn give_turn(alice: &mut Client, bob: &mut Raw) {
    bob.send("go\r\n");
    alice.stdout.expect(">go");
}

/// The client says QUIT, and closes the connection (B17). So does Bob, for whom it would wait a moment.
#[track_caller]
fn expect_hang_up(mut bob: Raw) {
    bob.expect_bytes("QUIT\r\n\r\n");
    bob.expect_end();
}

/// Nothing has come from a client that has done something else since.
#[track_caller]
fn expect_nothing_sent(bob: &mut Raw) {
    let have = bob.line_within(Duration::from_millis(20));
    assert_eq!(have, None, "wanted on the right: nothing sent");
}

/// The peer says this, and leaves it to the client to close the connection.
fn keep(mut bob: Raw, text: &str) {
    bob.send(text);
    bob.expect_gone(DEADLINE);
}

/// Somebody connects to this port, and is not accepted.
#[track_caller]
fn expect_connecting(port: u16) {
    let connecting =
        || kernel_sockets().into_iter().find(|socket| socket.connecting && socket.remote_port == port);
    assert!(until(DEADLINE, connecting).is_some(), "wanted: a client that connects to port {port}");
}

// ---------------------------------------------------------------- helpers: terminals

/// Our client on a terminal, and what the terminal is to show.
struct Terminal {
    screen: Screen,
    rows: Vec<String>,
    id: &'static str,
    address: String,
}

impl Terminal {
    #[track_caller]
    fn start(id: &'static str, server: &str) -> Terminal {
        let screen =
            Screen::client(&[PROTOCOL, &format!("--id={id}"), "--port=0", &format!("--server={server}")]);
        let start = format!(">{id} running on ");
        let address = row_behind(&screen, &start);
        let terminal = Terminal { screen, rows: vec![start + &address], id, address };
        terminal.expect_rows(">");
        terminal
    }

    /// In WAIT; the server is this test.
    #[track_caller]
    fn waiting_at(server: &Listener) -> Terminal {
        let mut alice = Terminal::start("Alice", &format!("127.0.0.1:{}", server.port()));
        let contact = Contact { id: alice.id, port: alice.port() };
        for (command, request, answer) in [
            ("/register", contact.register(), contact.regack()),
            ("/bridge", contact.bridge(), bridgeack(None)),
        ] {
            alice.type_all(&[(command, &[])]);
            let mut raw = server.accept_any();
            raw.expect_bytes(request);
            raw.send(answer);
            raw.expect_end();
        }
        alice.type_all(&[("/id", &[">Alice"])]);
        alice
    }

    fn port(&self) -> u16 {
        self.address.rsplit(':').next().unwrap().parse().unwrap()
    }

    /// Bob calls.
    #[track_caller]
    fn dial(&self) -> Raw {
        let mut bob = Raw::connect(([127, 0, 0, 1], self.port()).into(), &Log::default());
        bob.send(BOB.chat());
        bob
    }

    /// Bob calls; it is shown.
    #[track_caller]
    fn call(&mut self) -> Raw {
        let bob = self.dial();
        self.see(&[">Incoming chat request from Bob 127.0.0.1:3001"]);
        bob
    }

    /// Types each line, which stands behind the prompt then, and sees the answer below it.
    #[track_caller]
    fn type_all(&mut self, lines: &[(&str, &[&str])]) {
        for (line, answer) in lines {
            self.screen.type_keys(&format!("{line}\r"));
            self.rows.push(format!(">{line}"));
            self.see(answer);
        }
    }

    /// These rows come below the others, and then the prompt, with the cursor behind it.
    #[track_caller]
    fn see(&mut self, more: &[&str]) {
        self.rows.extend(more.iter().map(ToString::to_string));
        self.expect_rows(">");
    }

    /// Exactly the rows so far, and this below them, with the cursor behind it.
    #[track_caller]
    fn expect_rows(&self, typed: &str) {
        let wanted: Vec<&str> = self.rows.iter().map(String::as_str).chain([typed]).collect();
        self.screen.expect_rows(&wanted);
        self.screen.expect_typed(typed);
    }

    /// The program has ended: its rows are left, and nothing else, no prompt either.
    #[track_caller]
    fn expect_left(&self) {
        let rows: Vec<&str> = self.rows.iter().map(String::as_str).collect();
        self.screen.expect_rows(&rows);
    }
}

/// What stands behind `start` in the row that begins so.
#[track_caller]
fn row_behind(screen: &Screen, start: &str) -> String {
    let behind = || screen.rows().iter().find_map(|row| row.strip_prefix(start).map(str::to_owned));
    until(DEADLINE, behind).unwrap_or_else(|| fail(start, &format!("{:?}", screen.rows()), &Log::default()))
}

/// A server's terminal shows exactly these lines, and what was typed there.
#[track_caller]
fn expect_log(screen: &Screen, wanted: &[String]) {
    let shown = || -> Vec<String> {
        let mut rows = screen.rows();
        rows.retain(|row| row.starts_with('>') && row.len() > 1 && !row.contains('/'));
        rows
    };
    let equal = until(DEADLINE, || (shown() == wanted).then_some(()));
    assert!(equal.is_some(), "wanted: {wanted:#?}\nhave: {:#?}", screen.rows());
}

// ---------------------------------------------------------------- helpers: checks

/// It cannot start: one line on stderr, which names this, and status 1 (A4).
#[track_caller]
fn check_failure(setup: Setup, part: &str) {
    let mut process = setup.start();
    process.expect_exit(1);
    let (stdout, stderr) = (process.stdout.rest(), process.stderr.rest());
    assert_eq!(stdout, "", "wanted on the right: nothing on stdout");
    let one = stderr.lines().count() == 1;
    assert!(one && stderr.contains(part), "wanted: one line that names {part:?}\nhave: {stderr:?}");
}
