//! The life of the programs, whatever they speak: command line, start, terminals, signals, end (A1-A10, L1-L3, L22, L27).

use std::io::Write;
use std::net::{TcpListener, TcpStream, ToSocketAddrs};

use crate::checks::check_wrong;
use chat_tests::program::send_signal;
use chat_tests::wire::{kernel_sockets, never_accepting};
use chat_tests::{
    DEADLINE, Listener, PROMPTLY, Process, Raw, Screen, Server, Setup, Signal, needs_ours, until,
};

use crate::lobby::{
    PROMPT, PROTOCOL, SHUTDOWN, client_of_test, expect_list, join, joined, mike_of_test, register,
    server_with, welcome,
};

const ENDING: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

// ---------------------------------------------------------------- command line

/// A8: "`chat-server`, `chat-client`, `chat-server PROTOCOL` with nothing behind it, `--help` and `PROTOCOL --help` print usage on
/// stdout; bare calls exit 2, `--help` exits 0."
#[test]
fn a08_usage_is_on_stdout() {
    needs_ours!(PROTOCOL, "reads our usage");
    for setup in [Setup::server, Setup::client] {
        check_usage(setup(&[]), 2);
        check_usage(setup(&["lobby"]), 2);
        check_usage(setup(&["--help"]), 0);
        check_usage(setup(&["lobby", "--help"]), 0);
    }
}

/// L1: "Without the port: `usage: chat-server lobby <svr_port>` (and exit 2, A8)"; L2: "`chat-client lobby <host> <port>`"
#[test]
fn l01_l02_usage_is_the_line_of_the_source() {
    needs_ours!(PROTOCOL, "reads our usage");
    let mut server = Setup::server(&["lobby"]).start();
    server.stdout.expect("usage: chat-server lobby <svr_port>");
    server.expect_exit(2);
    let mut client = Setup::client(&["lobby"]).start();
    client.stdout.expect("usage: chat-client lobby <host> <port>");
    client.expect_exit(2);
}

/// A8: "A wrong option or value: one line that says what is wrong and with what value, then the usage, on stderr, exit 2."; A4
#[test]
fn a08_a04_a_wrong_command_line_is_explained() {
    needs_ours!(PROTOCOL, "reads our words");
    let server = |arguments: &[&str], value| check_wrong(Setup::server(arguments), value);
    server(&["telegraph", "8001"], "telegraph");
    server(&["lobby", "abc"], "abc");
    server(&["lobby", "70000"], "70000");
    server(&["lobby", "-1"], "1");
    server(&["lobby", "0", "extra"], "extra");
    server(&["lobby", "0", "--frobnicate"], "frobnicate");
    server(&["lobby", "0", "--max-clients", "many"], "many");
    server(&["lobby", "0", "--max-clients", "-3"], "-3");
    server(&["lobby", "0", "--max-clients"], "max-clients");
    server(&["lobby", "0", "--bind"], "bind");
    let client = |arguments: &[&str], value| check_wrong(Setup::client(arguments), value);
    client(&["telegraph", "localhost", "8001"], "telegraph");
    client(&["lobby", "localhost", "abc"], "abc");
    client(&["lobby", "localhost", "70000"], "70000");
    client(&["lobby", "localhost", "1", "extra"], "extra");
    client(&["lobby", "localhost", "1", "--frobnicate"], "frobnicate");
    client(&["lobby", "localhost", "1", "--name"], "name");
}

/// A9: "`--bind ADDR`, `--max-clients N` (default 10). Port 0 asks for a free port; the port printed is the real one."; L27: "The
/// real port goes to stderr (`listening on 0.0.0.0:8001`)."; L3: "Binds all interfaces by default; `--bind` narrows it."
#[test]
fn a09_l03_l27_the_address_printed_is_the_real_one() {
    needs_ours!(PROTOCOL, "reads our stderr");
    let everywhere = Setup::server(&["lobby", "0"]).listen();
    assert!(everywhere.address().ip().is_unspecified(), "wanted: 0.0.0.0\nhave: {}", everywhere.address());
    // All of 127.0.0.0/8 leads here: an address that a narrower server does not have.
    let other = |server: &Server| format!("127.0.0.2:{}", server.port()).parse().unwrap();
    register(Raw::connect(other(&everywhere), everywhere.log()), "Alice");
    let narrow = server_with(&[]);
    let refused = TcpStream::connect_timeout(&other(&narrow), DEADLINE);
    assert!(refused.is_err(), "wanted: no connection to 127.0.0.2 with --bind 127.0.0.1\nhave: one");
    join(&narrow, "Alice");
}

/// A9: `--max-clients 2`
#[test]
fn a09_a11_max_clients_sets_the_number_of_places() {
    needs_ours!(PROTOCOL, "gives our server an option");
    let server = server_with(&["--max-clients", "2"]);
    let [mut alice, bob] = joined(&server, ["Alice", "Bob"]);
    let mut third = server.connect();
    third.send_line("JOIN Carol");
    third.expect("Too Many Users");
    third.expect_end();
    drop(bob);
    alice.expect("Bob left");
    join(&server, "Carol");
}

/// A9 in the other direction: more than ten.
#[test]
fn a09_max_clients_may_be_more_than_ten() {
    needs_ours!(PROTOCOL, "gives our server an option");
    let server = server_with(&["--max-clients", "30"]);
    let names: Vec<String> = (0..30).map(|number| format!("user{number}")).collect();
    let mut all: Vec<Raw> = names.iter().map(|name| join(&server, name)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    expect_list(all.last_mut().unwrap(), &names);
}

/// A10: "Hosts may be names or addresses, IPv4 or IPv6"
#[test]
fn a10_hosts_may_be_names_or_addresses() {
    needs_ours!(PROTOCOL, "gives our client other hosts");
    let server = server_with(&[]);
    for host in ["localhost", "127.0.0.1"] {
        check_host(host, server.port());
    }
}

/// A10, L25 on IPv6: `Connected with ('::1', PORT)`
#[test]
fn a10_l25_ipv6_works_on_both_sides() {
    needs_ours!(PROTOCOL, "gives our programs other addresses");
    if TcpListener::bind("[::1]:0").is_err() {
        println!("skipped: this machine has no IPv6");
        return;
    }
    let mut server = Setup::server(&["lobby", "0", "--bind", "::1"]).listen();
    let raw = register(server.connect(), "Alice");
    server.stdout.find(&format!("Connected with ('::1', {})", raw.port()));
    drop(raw);
    check_host("::1", server.port());
}

/// A10: "every address that a name resolves to is tried"
#[test]
fn a10_every_address_of_a_name_is_tried() {
    needs_ours!(PROTOCOL, "gives our client other hosts");
    let addresses: Vec<_> = ("localhost", 0).to_socket_addrs().unwrap().collect();
    let (Some(four), Some(six)) = (
        addresses.iter().find(|address| address.is_ipv4()),
        addresses.iter().find(|address| address.is_ipv6()),
    ) else {
        println!("skipped: localhost has one kind of address only: {addresses:?}");
        return;
    };
    // Whichever is tried first, one of the two is not the only one that answers.
    for address in [four, six] {
        let server = Setup::server(&["lobby", "0", "--bind", &address.ip().to_string()]).listen();
        check_host("localhost", server.port());
    }
}

/// The client's `--name`: it joins at once, without a prompt.
#[test]
fn l28_a_name_on_the_command_line_joins_at_once() {
    needs_ours!(PROTOCOL, "gives our client an option");
    let listener = Listener::new();
    let port = listener.port().to_string();
    let mut client = Setup::client(&["lobby", "127.0.0.1", &port, "--name", "Mike"]).start();
    let mut server = listener.accept(&client);
    server.expect("JOIN Mike");
    server.send_line(&welcome("Mike"));
    client.stdout.expect(&welcome("Mike"));
    client.type_line("Mike");
    server.expect("Mike");
}

// ---------------------------------------------------------------- failing to start

/// A4: "1 when it failed (cannot bind, cannot connect …)": one line that names host, port and cause
#[test]
fn a04_a_start_that_fails_says_why_and_ends_with_1() {
    needs_ours!(PROTOCOL, "reads our words");
    let taken = Listener::new();
    let port = taken.port().to_string();
    check_failure(Setup::server(&["lobby", &port, "--bind", "127.0.0.1"]), &["127.0.0.1", &port, "in use"]);
    // An address that no machine has: reserved for documentation.
    check_failure(Setup::server(&["lobby", "0", "--bind", "192.0.2.1"]), &["192.0.2.1", "0", "assign"]);
    let free = Listener::new().port().to_string();
    check_failure(Setup::client(&["lobby", "127.0.0.1", &free]), &["127.0.0.1", &free, "refused"]);
    check_failure(
        Setup::client(&["lobby", "no-such-host.invalid", "8001"]),
        &["no-such-host.invalid", "8001"],
    );
}

/// A port can be used again as soon as its server has stopped, also with connections that the server closed first.
#[test]
fn a05_the_port_is_free_at_once_after_a_stop() {
    needs_ours!(PROTOCOL, "signals our server");
    let mut first = server_with(&[]);
    let mut alice = join(&first, "Alice");
    first.signal(Signal::SIGINT);
    alice.expect(SHUTDOWN);
    alice.expect_end();
    first.expect_exit(0);
    let port = first.port().to_string();
    let second = Setup::server(&["lobby", &port, "--bind", "127.0.0.1"]).listen();
    join(&second, "Alice");
}

// ---------------------------------------------------------------- the end of the server

/// A5: "Ctrl-C, SIGTERM and SIGHUP all end server and client cleanly: the farewell the protocol has is sent, sockets are closed,
/// threads are joined, the exit status is 0, within 1 s, also with stalled clients connected and also while a line is half typed."
/// L22: "the server stops: everyone connected: `Server is shutting down`, then close"; S6
#[test]
fn a05_l22_s6_ctrl_c_stops_the_server() {
    check_server_stop(Signal::SIGINT);
}

/// A5, L22: the same by SIGTERM
#[test]
fn a05_l22_s6_sigterm_stops_the_server() {
    check_server_stop(Signal::SIGTERM);
}

/// A5, L22: the same by SIGHUP
#[test]
fn a05_l22_s6_sighup_stops_the_server() {
    check_server_stop(Signal::SIGHUP);
}

/// A5 with nobody connected, and L25: after the first line nothing more is printed.
#[test]
fn a05_a01_an_idle_server_stops() {
    needs_ours!(PROTOCOL, "signals our server");
    for signal in ENDING {
        let mut server = server_with(&[]);
        server.signal(signal);
        server.expect_exit(0);
        assert_eq!(
            server.stdout.rest(),
            "The Chat Server Started\n",
            "wanted on the right: all of stdout (A1)"
        );
    }
}

/// A5: "A second Ctrl-C ends at once (130)."
#[test]
fn a05_a_second_ctrl_c_ends_the_server_at_once() {
    needs_ours!(PROTOCOL, "signals our server");
    let mut server = server_with(&[]);
    // It does not close its side when it is told to: the server waits for that, up to 500 ms.
    let mut lingering = join(&server, "Alice");
    server.signal(Signal::SIGINT);
    lingering.expect(SHUTDOWN);
    server.signal(Signal::SIGINT);
    let code = server.exit_code_within(PROMPTLY);
    if code == 0 {
        println!("skipped: the server was through before the second signal");
    } else {
        assert_eq!(code, 130, "wanted on the right: the exit status");
    }
}

/// A5, A7: "it may run under `nohup`": a SIGHUP that was ignored at the start stays ignored.
#[test]
fn a07_nohup_keeps_the_server_running() {
    needs_ours!(PROTOCOL, "signals our server");
    let mut server = Setup::server(&["lobby", "0", "--bind", "127.0.0.1"]).shell("trap '' HUP").listen();
    let mut alice = join(&server, "Alice");
    server.signal(Signal::SIGHUP);
    for _ in 0..20 {
        expect_list(&mut alice, &["Alice"]);
    }
    let _bob = join(&server, "Bob");
    alice.expect("Bob joined!");
    server.signal(Signal::SIGTERM);
    alice.expect(SHUTDOWN);
    server.expect_exit(0);
}

/// A7: "A server does not care about the end of its stdin (it may run under `nohup` or with `</dev/null`)."
#[test]
fn a07_the_server_does_not_need_its_stdin() {
    needs_ours!(PROTOCOL, "starts our server in special ways");
    for prelude in ["exec </dev/null", "exec <&-", ":"] {
        let mut server = Setup::server(&["lobby", "0", "--bind", "127.0.0.1"]).shell(prelude).listen();
        server.end_input();
        let mut alice = join(&server, "Alice");
        for _ in 0..20 {
            expect_list(&mut alice, &["Alice"]);
        }
        assert!(server.runs(), "wanted: a server that runs after {prelude:?} and the end of its input");
    }
}

/// A6: "SIGUSR1 makes a running server print who is registered (name, address, seconds since last heard) to stderr."
#[test]
fn a06_sigusr1_reports_who_is_registered() {
    needs_ours!(PROTOCOL, "signals our server");
    let mut server = server_with(&[]);
    let [alice, bob] = joined(&server, ["Alice", "Bob"]);
    let _stranger = server.connect();
    for _ in 0..2 {
        server.signal(Signal::SIGUSR1);
        for (name, raw) in [("Alice", &alice), ("Bob", &bob)] {
            let line = server.stderr.find(name);
            assert!(
                line.contains(&raw.port().to_string()),
                "wanted: the address, port {}\nhave: {line}",
                raw.port()
            );
            let behind = line.split(&raw.port().to_string()).last().unwrap();
            assert!(
                behind.contains(|c: char| c.is_ascii_digit()),
                "wanted: seconds behind the address\nhave: {line}"
            );
        }
    }
    expect_list(&mut join(&server, "Carol"), &["Alice", "Bob", "Carol"]);
    let printed = server.stdout.text();
    assert!(!printed.contains("127.0.0.1:"), "wanted: no report on stdout (A1)\nhave: {printed}");
}

/// A2: "Nothing panics when stdout is closed (`chat-server … | head -1`): the server goes on serving in silence"
#[test]
fn a02_the_server_outlives_its_stdout() {
    needs_ours!(PROTOCOL, "starts our server in special ways");
    let mut server = Setup::server(&["lobby", "0", "--bind", "127.0.0.1"]).stdout_closed().listen();
    for _ in 0..3 {
        let [mut alice, mut bob] = joined(&server, ["Alice", "Bob"]);
        alice.send_line("BCST Hello");
        bob.expect("Alice: Hello");
        alice.send_line("QUIT");
        bob.expect("Alice left");
        bob.send_line("QUIT");
        bob.expect("Bob is quitting the chat server");
        bob.expect_end();
    }
    server.signal(Signal::SIGTERM);
    server.expect_exit(0);
}

/// S1, A5: a server whose own terminal takes nothing (stopped by Ctrl-S, a pager) serves on, and ends when it is told to.
#[test]
fn s01_a05_the_server_does_not_wait_for_its_terminal() {
    needs_ours!(PROTOCOL, "starts our server in special ways");
    let mut server = Setup::server(&["lobby", "0", "--bind", "127.0.0.1"]).stdout_stalled().listen();
    let [mut alice, mut bob] = joined(&server, ["Alice", "Bob"]);
    // Each request is logged: far more than the 64 KiB that a pipe holds.
    let text = "x".repeat(4000);
    for _ in 0..100 {
        alice.send_line(&format!("BCST {text}"));
        alice.expect("Alice is sending a broadcast");
        bob.expect(&format!("Alice: {text}"));
    }
    server.signal(Signal::SIGTERM);
    alice.expect(SHUTDOWN);
    server.expect_exit(0);
}

/// A5 in the middle of a flood, and while others connect
#[test]
fn a05_a_flood_does_not_delay_the_end_of_the_server() {
    needs_ours!(PROTOCOL, "signals our server");
    let mut server = server_with(&[]);
    let [alice, mut bob] = joined(&server, ["Alice", "Bob"]);
    let address = server.address();
    let flooding = alice.stream().try_clone().unwrap();
    let flood =
        std::thread::spawn(move || while (&flooding).write_all(&b"MESG Bob flood\n".repeat(1000)).is_ok() {});
    let crowd = std::thread::spawn(move || while TcpStream::connect(address).is_ok() {});
    bob.find("Alice: flood");
    server.signal(Signal::SIGINT);
    bob.find(SHUTDOWN);
    server.expect_exit(0);
    drop(alice);
    flood.join().unwrap();
    crowd.join().unwrap();
}

// ---------------------------------------------------------------- the end of the client

/// A2: "Nothing panics when stdout is closed: … a client ends quietly."
#[test]
fn a02_the_client_ends_quietly_without_stdout() {
    needs_ours!(PROTOCOL, "starts our client in special ways");
    let listener = Listener::new();
    let mut client =
        Setup::client(&["lobby", "127.0.0.1", &listener.port().to_string()]).stdout_closed().start();
    let mut server = listener.accept(&client);
    // It may have noticed before, or notice only now.
    let _ = server.stream().write_all(b"Bob: hello\nBob: hello again\n");
    server.expect_gone(DEADLINE);
    let code = client.exit_code();
    assert!(code < 100, "wanted: a quiet end, not by a signal or a panic\nhave: status {code}");
    assert_eq!(client.stderr.rest(), "", "wanted on the right: a quiet end");
}

/// A2: "Each line is flushed at once, also when stdout is a pipe or a file."; A3: "Through a pipe it prints plain lines."
#[test]
fn a02_a03_through_a_pipe_lines_are_plain_and_come_at_once() {
    let (mut client, mut server) = mike_of_test();
    // Each is waited for before the next is sent.
    for number in 0..20 {
        server.send_line(&format!("Bob: {number}"));
        client.stdout.expect(&format!("Bob: {number}"));
    }
    assert!(!client.stdout.text().contains(['\r', '\u{1b}']), "wanted: no control characters");
}

/// A1: "stdout carries exactly the lines that the source specifies, nothing else."
#[test]
fn a01_the_client_prints_nothing_of_its_own() {
    needs_ours!(PROTOCOL, "reads all that our client prints");
    let server = server_with(&[]);
    let mut client = Process::client(PROTOCOL, server.port());
    client.type_bytes(b"Mike\nBCST Hello\nLIST\ndance\nQUIT\n");
    client.expect_exit(0);
    let wanted = "Enter JOIN followed by your username: Mike joined!Connected to server!\n\
                  Mike is sending a broadcast\nMike: Hello\nMike\nUnknown Message (dance). Discarded.\n\
                  Mike is quitting the chat server\n";
    assert_eq!(client.stdout.rest(), wanted, "wanted on the right: all of stdout");
    assert_eq!(client.stderr.rest(), "", "wanted on the right: nothing on stderr");
}

/// A5: "Ctrl-C, SIGTERM and SIGHUP all end server and client cleanly: the farewell the protocol has is sent, …, the exit status
/// is 0, within 1 s, … also while a line is half typed."
#[test]
fn a05_signals_end_the_client_with_a_quit() {
    needs_ours!(PROTOCOL, "expects what our client does on a signal");
    for signal in ENDING {
        for half in ["", "BCST hal"] {
            let (mut client, mut server) = mike_of_test();
            client.type_bytes(half.as_bytes());
            client.signal(signal);
            server.expect("QUIT");
            server.send_line("Mike is quitting the chat server");
            drop(server);
            client.expect_exit(0);
        }
    }
}

/// A5 at the prompt, and from a server that never answers the farewell
#[test]
fn a05_ctrl_c_does_not_wait_for_the_server() {
    needs_ours!(PROTOCOL, "expects what our client does on a signal");
    let (mut client, mut server) = client_of_test();
    client.signal(Signal::SIGINT);
    server.expect("QUIT");
    client.expect_exit(0);
}

/// A5 towards a server that does not read: the client is in the middle of sending.
#[test]
fn a05_ctrl_c_ends_a_client_that_cannot_send() {
    needs_ours!(PROTOCOL, "expects what our client does on a signal");
    let (mut client, mut server) = client_of_test();
    client.type_line("JOIN Mike");
    server.expect("JOIN Mike");
    client.type_for_ever(&"x".repeat(1000));
    // The client's own buffer and this side's are full when nothing more arrives here.
    wait_until_full(&server);
    client.signal(Signal::SIGINT);
    client.expect_exit(0);
}

/// A5 towards a server that sends without end
#[test]
fn a05_ctrl_c_ends_a_client_that_is_flooded() {
    needs_ours!(PROTOCOL, "expects what our client does on a signal");
    let (mut client, server) = mike_of_test();
    let stream = server.stream().try_clone().unwrap();
    let flood =
        std::thread::spawn(move || while (&stream).write_all(&b"Bob: flood\n".repeat(1000)).is_ok() {});
    client.stdout.find("Bob: flood");
    client.signal(Signal::SIGINT);
    client.expect_exit(0);
    drop(server);
    flood.join().unwrap();
}

/// A5 with an output that takes nothing: a terminal stopped by Ctrl-S, a pager
#[test]
fn a05_ctrl_c_ends_a_client_that_cannot_print() {
    needs_ours!(PROTOCOL, "expects what our client does on a signal");
    let listener = Listener::new();
    let port = listener.port().to_string();
    let mut client = Setup::client(&["lobby", "127.0.0.1", &port]).stdout_stalled().start();
    let mut server = listener.accept(&client);
    // A pipe holds 64 KiB.
    server.send(b"Bob: flood\n".repeat(20_000));
    client.signal(Signal::SIGINT);
    client.expect_exit(0);
}

/// A5 while the client still connects
#[test]
fn a05_ctrl_c_ends_a_client_that_still_connects() {
    needs_ours!(PROTOCOL, "expects what our client does on a signal");
    let (port, _full) = never_accepting();
    let mut client = Setup::client(&["lobby", "127.0.0.1", &port.to_string()]).start();
    let mine = client.descriptors();
    let connecting = until(DEADLINE, || {
        kernel_sockets().into_iter().find(|socket| socket.connecting && socket.remote_port == port)
    });
    assert!(connecting.is_some(), "wanted: a client that connects\nhave: {mine:?}");
    client.signal(Signal::SIGINT);
    client.expect_exit(0);
}

// ---------------------------------------------------------------- a person at a terminal

/// A3: "On a terminal a client redraws its prompt and what was half typed when a message arrives."
#[test]
fn a03_what_was_half_typed_survives_a_message() {
    needs_ours!(PROTOCOL, "runs our client on a terminal");
    let (mut screen, mut server) = screen_of_test();
    screen.type_keys("JOIN Mi");
    screen.expect_typed(&format!("{PROMPT}JOIN Mi"));
    server.send_line("Welcome to the test");
    screen.expect_rows(&["Welcome to the test", &format!("{PROMPT}JOIN Mi")]);
    screen.expect_typed(&format!("{PROMPT}JOIN Mi"));
    screen.type_keys("ke\r");
    server.expect("JOIN Mike");
    server.send_line(&welcome("Mike"));
    let mut rows = vec!["Welcome to the test".to_owned(), format!("{PROMPT}JOIN Mike"), welcome("Mike")];
    expect_rows(&screen, &rows);
    screen.type_keys("BCST hal");
    screen.expect_typed("BCST hal");
    for number in 0..3 {
        server.send_line(&format!("Bob: {number}"));
        rows.push(format!("Bob: {number}"));
        let typed = [rows.as_slice(), &["BCST hal".to_owned()]].concat();
        expect_rows(&screen, &typed);
        screen.expect_typed("BCST hal");
    }
    // The line editor's own keys work on it: backspace.
    screen.type_keys("\u{7f}llo\r");
    server.expect("BCST hallo");
}

/// A3 with a message that comes without a newline, and one that is wider than the terminal
#[test]
fn a03_wide_messages_leave_the_half_typed_line_whole() {
    needs_ours!(PROTOCOL, "runs our client on a terminal");
    let (mut screen, mut server) = screen_of_test();
    screen.type_keys("JOIN Mi");
    screen.expect_typed(&format!("{PROMPT}JOIN Mi"));
    let wide = format!("Bob: {}", "0123456789".repeat(15));
    server.send_line(&wide);
    screen.expect_rows(&[&wide[..100], &wide[100..], &format!("{PROMPT}JOIN Mi")]);
    screen.expect_typed(&format!("{PROMPT}JOIN Mi"));
    server.send("no newline");
    screen.expect_text("no newline");
    screen.expect_typed(&format!("{PROMPT}JOIN Mi"));
}

/// A3: lines that are pasted are lines: each is sent, and each stands on the screen before its answer.
#[test]
fn a03_pasted_lines_are_all_sent() {
    needs_ours!(PROTOCOL, "runs our client on a terminal");
    let (mut screen, mut server) = screen_of_test();
    screen.type_keys("JOIN Mike\rLIST\rBCST one\rBCST two\r");
    server.expect_all(&["JOIN Mike", "LIST", "BCST one", "BCST two"]);
    screen.type_keys("QUIT\r");
    server.expect("QUIT");
    drop(server);
    screen.expect_exit(0);
}

/// A5 at a terminal: the key Ctrl-C, also while a line is half typed
#[test]
fn a05_the_key_ctrl_c_ends_the_client() {
    needs_ours!(PROTOCOL, "runs our client on a terminal");
    for half in ["", "JOIN Mi"] {
        let (mut screen, mut server) = screen_of_test();
        screen.type_keys(half);
        screen.expect_typed(&format!("{PROMPT}{half}"));
        screen.type_keys("\u{3}");
        server.expect("QUIT");
        drop(server);
        screen.expect_exit(0);
    }
}

/// A7 at a terminal: the key Ctrl-D
#[test]
fn a07_the_key_ctrl_d_ends_the_client() {
    needs_ours!(PROTOCOL, "runs our client on a terminal");
    let (mut screen, mut server) = screen_of_test();
    screen.type_keys("Mike\r");
    server.expect("JOIN Mike");
    server.send_line(&welcome("Mike"));
    screen.expect_text(&welcome("Mike"));
    screen.type_keys("\u{4}");
    server.expect("QUIT");
    server.send_line("Mike is quitting the chat server");
    drop(server);
    screen.expect_text("Mike is quitting the chat server");
    screen.expect_exit(0);
}

/// A5, A3: however the client ends, the terminal is left as it was found.
#[test]
fn a05_a03_the_terminal_is_left_as_it_was() {
    needs_ours!(PROTOCOL, "runs our client on a terminal");
    check_terminal("SIGTERM", |_, pid| send_signal(pid, Signal::SIGTERM));
    check_terminal("SIGHUP", |_, pid| send_signal(pid, Signal::SIGHUP));
    check_terminal("Ctrl-C", |screen, _| screen.type_keys("\u{3}"));
}

/// L30 at a terminal: the server goes away while a line is half typed.
#[test]
fn l30_the_end_of_the_server_ends_the_client_at_a_terminal() {
    needs_ours!(PROTOCOL, "runs our client on a terminal");
    let (mut screen, mut server) = screen_of_test();
    screen.type_keys("JOIN Mi");
    screen.expect_typed(&format!("{PROMPT}JOIN Mi"));
    server.send_line(SHUTDOWN);
    drop(server);
    screen.expect_text(SHUTDOWN);
    screen.expect_exit(0);
}

// ---------------------------------------------------------------- helpers

#[track_caller]
fn check_usage(setup: Setup, status: i32) {
    let mut process = setup.start();
    process.expect_exit(status);
    let (stdout, stderr) = (process.stdout.rest(), process.stderr.rest());
    assert!(stdout.starts_with("usage: chat-"), "wanted: usage on stdout\nhave: {stdout:?}");
    assert_eq!(stderr, "", "wanted on the right: nothing on stderr");
}

#[track_caller]
fn check_failure(setup: Setup, parts: &[&str]) {
    let mut process = setup.start();
    // Looking up a name may take the resolver a while.
    assert_eq!(process.exit_code_within(4 * DEADLINE), 1, "wanted on the right: the exit status");
    let stderr = process.stderr.rest();
    assert_eq!(stderr.lines().count(), 1, "wanted on the right: one line\nhave: {stderr:?}");
    for part in parts {
        assert!(stderr.contains(part), "wanted: a line that names {part:?}\nhave: {stderr:?}");
    }
    assert!(!process.stdout.rest().contains('\n'), "wanted: no line on stdout");
}

/// Our client reaches a server under this name.
#[track_caller]
fn check_host(host: &str, port: u16) {
    let mut client = Setup::client(&["lobby", host, &port.to_string()]).start();
    client.type_bytes(b"JOIN Mike\nQUIT\n");
    client.stdout.find(&welcome("Mike"));
    client.expect_exit(0);
}

/// A server with every kind of connection is told to stop.
#[track_caller]
fn check_server_stop(signal: Signal) {
    needs_ours!(PROTOCOL, "signals our server");
    let mut server = server_with(&[]);
    let mut stalled = register(server.connect_narrow(4096), "Stalled");
    let mut alice = join(&server, "Alice");
    let mut half = join(&server, "Half");
    half.send("BCST half a li");
    let mut stranger = server.connect();
    let mut half_stranger = server.connect();
    half_stranger.send("\nJOIN hal");
    // More than the kernel takes for the one who reads nothing, less than what gets it dropped.
    alice.send(format!("MESG Stalled {}\n", "x".repeat(4000)).repeat(100));
    stalled.expect("Alice joined!");
    alice.expect("Half joined!");
    expect_list(&mut alice, &["Stalled", "Alice", "Half"]);
    stranger.send_line("LIST");
    stranger.line();
    server.signal(signal);
    for raw in [&mut alice, &mut half, &mut stranger, &mut half_stranger] {
        raw.expect(SHUTDOWN);
        raw.expect_end();
    }
    server.expect_exit(0);
}

/// Waits until the data that waits in the kernel on this side no longer grows.
fn wait_until_full(raw: &Raw) {
    let mut last = 0;
    let mut same = 0;
    let mut buffer = vec![0; 16 << 20];
    let full = until(DEADLINE, || {
        let now = raw.stream().peek(&mut buffer).unwrap();
        same = if now == last { same + 1 } else { 0 };
        last = now;
        (same > 30 && now > 100_000).then_some(())
    });
    assert!(full.is_some(), "wanted: a client that fills the connection\nhave: {last} bytes");
}

/// Our client on a terminal, connected to a server that is this test; its prompt is there.
#[track_caller]
fn screen_of_test() -> (Screen, Raw) {
    let listener = Listener::new();
    let screen = Screen::client(&["lobby", "127.0.0.1", &listener.port().to_string()]);
    let server = listener.accept_any();
    screen.expect_cursor(0, PROMPT.len().try_into().unwrap());
    (screen, server)
}

#[track_caller]
fn expect_rows(screen: &Screen, rows: &[String]) {
    screen.expect_rows(&rows.iter().map(String::as_str).collect::<Vec<_>>());
}

/// Ends a client by `end`, which is given its process number, and compares the terminal's settings with those before.
#[track_caller]
fn check_terminal(way: &str, end: impl Fn(&mut Screen, i32)) {
    println!("ended by {way}");
    let listener = Listener::new();
    let script = r#"before=$(stty -g)
        sh -c 'echo "process $$."; exec "$0" "$@"' "$0" "$@"
        echo "status $?."
        test "$before" = "$(stty -g)" && echo "settings restored" || stty -a"#;
    let mut screen = Screen::shell(script, &["lobby", "127.0.0.1", &listener.port().to_string()]);
    let mut server = listener.accept_any();
    screen.expect_text(PROMPT.trim_end());
    screen.type_keys("JOIN Mi");
    screen.expect_typed(&format!("{PROMPT}JOIN Mi"));
    let pid = screen.rows()[0].trim_start_matches("process ").trim_end_matches('.').parse().unwrap();
    end(&mut screen, pid);
    server.expect("QUIT");
    drop(server);
    screen.expect_text("status 0.");
    screen.expect_text("settings restored");
}
