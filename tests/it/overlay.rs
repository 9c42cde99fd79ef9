//! The protocol overlay: datagrams between client and server (O4-O8), links between servers (O9-O13), what both terminals
//! show (O14-O19), threads (O20), and how far the common clauses reach it.
//!
//! Two rules are not tested here but in `common/src/overlay.rs`, where time is a parameter: the place of a client that
//! was silent for five minutes (O8), and the name of one that was silent for three (O12).

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::checks::{check_usages, check_wrong};
use chat_tests::wait::{fail, same};
use chat_tests::wire::never_accepting;
use chat_tests::{
    DEADLINE, Datagrams, Listener, Output, PROMPTLY, Process, Raw, Screen, Setup, Signal, until,
};

const PROTOCOL: &str = "overlay";
const LOCALHOST: &str = "127.0.0.1";
const SERVER_USAGE: &str = "usage: chat-server overlay -p <portNumber> [-s <overlayServerIP> -t <overlayServerPort>] [-o <overlayListeningPort>]";
const CLIENT_USAGE: &str = "usage: chat-client overlay -s <serverAddress> -p <serverPort> -n <clientName>";
const ENDING: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// Names like those of the course's own grader.
const NAMES: [&str; 5] =
    ["client1-37442", "client2-37443", "client-3-37444", "client4-37445", "client-5-37446"];

/// How long it is remembered where a sender was last heard (O12).
const MEMORY: Duration = Duration::from_secs(2);

/// What a busy machine may add to a time that the contract gives.
const SLACK: Duration = Duration::from_secs(2);

// ---------------------------------------------------------------- servers, clients, lines

/// One of our servers, on free ports.
struct Node {
    process: Process,
    address: SocketAddr,
    /// Where other servers link to it, with `-o`.
    links: u16,
}

impl Node {
    /// With these options beside `-p`. It has started, but made no link yet.
    #[track_caller]
    fn start(options: &[&str]) -> Node {
        Node::at("0", LOCALHOST, options)
    }

    /// The same, on this port, and expected to listen at this address.
    #[track_caller]
    fn at(port: &str, host: &str, options: &[&str]) -> Node {
        let mut process = Setup::server(&[&[PROTOCOL, "-p", port], options].concat()).start();
        let port = number(&mut process.stdout, &format!("server started on {host} at port "));
        let links = if options.contains(&"-o") {
            number(&mut process.stdout, "server overlay started at port ")
        } else {
            0
        };
        Node { process, address: SocketAddr::new(host.parse().unwrap(), port), links }
    }

    /// With a link to this port, which stands.
    #[track_caller]
    fn linked(options: &[&str], port: u16) -> Node {
        let mut node = Node::start(&[&["-s", LOCALHOST, "-t", &port.to_string()], options].concat());
        node.expect(&[&connected_to(port)]);
        node
    }

    /// The next lines of its terminal.
    #[track_caller]
    fn expect(&mut self, lines: &[&str]) {
        self.stdout.expect_all(lines);
    }

    /// It has so many threads, now or soon: one starts, or ends, behind the line that tells of it.
    #[track_caller]
    fn expect_threads(&self, wanted: usize) {
        if until(DEADLINE, || (self.threads().len() == wanted).then_some(())).is_none() {
            fail(&format!("{wanted} threads"), &format!("{:?}", self.threads()), self.log());
        }
    }

    /// A socket for a client that has not registered yet.
    fn stranger(&self) -> Datagrams {
        Datagrams::to(self.address, self.log())
    }

    /// A socket registered under this name.
    #[track_caller]
    fn join(&mut self, name: &str) -> Datagrams {
        let mut client = self.stranger();
        register(&mut client, name);
        self.stdout.expect(&registered(name, client.port()));
        client
    }

    /// One for each of these names.
    #[track_caller]
    fn joined<const N: usize>(&mut self, names: [&str; N]) -> [Datagrams; N] {
        names.map(|name| self.join(name))
    }

    /// One of our clients, registered under this name.
    #[track_caller]
    fn client(&mut self, name: &str) -> Process {
        let mut client = start_client(LOCALHOST, self.address.port(), name);
        client.stdout.expect(&format!("connected to server and registered {name}"));
        number(&mut self.stdout, &format!("{name} registered from host {LOCALHOST} port "));
        client
    }

    /// A link from a server that is this test.
    #[track_caller]
    fn link(&mut self) -> Raw {
        let link = Raw::connect((Ipv4Addr::LOCALHOST, self.links).into(), self.log());
        self.stdout.expect(&connection_from(link.port()));
        link
    }

    /// Ctrl-C: it says good-bye and nothing else.
    #[track_caller]
    fn end(mut self) {
        self.signal(Signal::SIGINT);
        self.expect(&["terminating server..."]);
        self.stdout.expect_end();
        self.expect_exit(0);
    }

    /// The same, and all that it ever printed.
    #[track_caller]
    fn end_with_text(mut self) -> String {
        self.signal(Signal::SIGINT);
        self.expect_exit(0);
        self.stdout.rest();
        let text = self.stdout.text();
        let last = text.lines().last();
        assert_eq!(last, Some("terminating server..."), "wanted on the right: the last line (O17)");
        text
    }
}

impl std::ops::Deref for Node {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl std::ops::DerefMut for Node {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// A server with these options and a link to another one, which is this test.
#[track_caller]
fn node_of_test(options: &[&str]) -> (Node, Listener, Raw) {
    let listener = Listener::new();
    let node = Node::linked(options, listener.port());
    let link = listener.accept(&node);
    (node, listener, link)
}

fn start_client(host: &str, port: u16, name: &str) -> Process {
    Setup::client(&[PROTOCOL, "-s", host, "-p", &port.to_string(), "-n", name]).start()
}

/// Our client under the name mike, welcome at a server that is this test.
#[track_caller]
fn mike_of_test() -> (Process, Datagrams) {
    let (mut client, server) = unwelcome_mike();
    server.send("welcome mike");
    client.stdout.expect("connected to server and registered mike");
    (client, server)
}

/// The same, not yet welcome.
#[track_caller]
fn unwelcome_mike() -> (Process, Datagrams) {
    let mut server = Datagrams::at("127.0.0.1:0");
    let client = start_client(LOCALHOST, server.port(), "mike");
    server.quote(client.log());
    server.expect("register mike");
    (client, server)
}

#[track_caller]
fn register(client: &mut Datagrams, name: &str) {
    client.send(format!("register {name}"));
    client.expect(format!("welcome {name}"));
}

/// The next line is `start` and a port.
#[track_caller]
fn number(output: &mut Output, start: &str) -> u16 {
    let line = output.line().unwrap_or_default();
    let number = line.strip_prefix(start).and_then(|number| number.parse().ok()).unwrap_or(0);
    assert_ne!(number, 0, "\nwanted: {start:?} and a port\n  have: {line:?}");
    number
}

fn registered(name: &str, port: u16) -> String {
    format!("{name} registered from host 127.0.0.1 port {port}")
}

fn connection_from(port: u16) -> String {
    format!("server overlay connection from host 127.0.0.1 port {port}")
}

fn connected_to(port: u16) -> String {
    format!("connected to overlay server at 127.0.0.1 port {port}")
}

fn unknown(name: &str) -> String {
    format!("{name} is not registered with server")
}

fn sending(message: &str) -> String {
    format!("Sending message to overlay server: {message}")
}

fn received(message: &str) -> String {
    format!("Received from overlay server: {message}")
}

/// How many lines of `text` are `line`.
fn count(text: &str, line: &str) -> usize {
    text.lines().filter(|have| *have == line).count()
}

#[track_caller]
fn expect_count(text: &str, line: &str, wanted: usize) {
    let have = count(text, line);
    assert!(
        have == wanted,
        "\nwanted: {wanted} lines {line:?}\n  have: {have}\n{}",
        &text[text.len().saturating_sub(2000)..].escape_debug()
    );
}

/// A port, UDP and TCP, that nobody has: below those that the system gives away by itself, so that it can be left and
/// taken again, and nobody's attempt to connect comes out there.
fn spare_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let turn = u32::from(NEXT.fetch_add(1, Ordering::SeqCst));
        let port = u16::try_from(10_000 + (std::process::id() * 61 + turn) % 20_000).unwrap();
        let address = (Ipv4Addr::LOCALHOST, port);
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return port;
        }
    }
}

/// Checks all of these at the same time: most of it is waiting.
fn side_by_side<T: Send>(items: impl IntoIterator<Item = T>, check: impl Fn(T) + Sync) {
    let check = &check;
    thread::scope(|scope| {
        for item in items {
            scope.spawn(move || check(item));
        }
    });
}

/// Bytes without any order, the same in every run.
fn random_bytes(seed: u32) -> impl Iterator<Item = u8> {
    std::iter::successors(Some(seed), |state| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)))
        .map(|state| state.to_be_bytes()[0])
}

// ---------------------------------------------------------------- the source's sample executions

/// Part 1 of the source; O14 "`server started on 127.0.0.1 at port <p>`" · "`<name> registered from host <ip> port <port>`",
/// O17 "`terminating server...` at the end", O18 "`connected to server and registered <clientName>` …, `terminating client...`
/// at the end"; A1 "stdout carries exactly the lines that the source specifies, nothing else"
#[test]
fn o14_o17_o18_a01_sample_of_part_1() {
    for by_exit in [true, false] {
        let mut server = Node::start(&[]);
        let mut client = server.client("client1-37442");
        if by_exit {
            client.type_line("exit");
        } else {
            client.signal(Signal::SIGINT);
        }
        expect_goodbye(&mut client);
        server.end();
    }
}

/// Part 2 of the source: two clients, a message with hyphens, one to nobody; O15, O18 "(its own name)", O19 "Typed: `sendto
/// <clientName> <message>` and `exit`"
#[test]
fn o15_o18_o19_sample_of_part_2() {
    let [one, two, nobody] = ["client1-37442", "client2-37442", "unknown-client-1"];
    let mut server = Node::start(&[]);
    let mut client1 = server.client(one);
    let mut client2 = server.client(two);
    client1.type_line(&format!("sendto {two} message-1 from-37442 to: all-of-you"));
    client2.stdout.expect(&format!("{one}: message-1 from-37442 to: all-of-you"));
    client1.type_line(&format!("sendto {nobody} message-2"));
    server.expect(&[
        &format!("{one} to {two}: message-1 from-37442 to: all-of-you"),
        &format!("{one} to {nobody}: message-2"),
        &unknown(nobody),
    ]);
    for mut client in [client1, client2] {
        client.type_line("exit");
        expect_goodbye(&mut client);
    }
    server.end();
}

/// Part 3 of the source: two servers and a client at each; O14 "At start in this order, with `connected to` last", O15, O16
#[test]
fn o14_o15_o16_sample_of_part_3() {
    let [one, two] = ["client1-37442", "client2-37443"];
    let mut server1 = Node::start(&["-o", "0"]);
    let mut server2 = Node::linked(&["-o", "0"], server1.links);
    number(&mut server1.stdout, "server overlay connection from host 127.0.0.1 port ");
    let mut client1 = server1.client(one);
    let mut client2 = server2.client(two);

    client1.type_line(&format!("sendto {two} message-1"));
    client2.stdout.expect(&format!("{one}: message-1"));
    let message = format!("{one} to {two}: message-1");
    server1.expect(&[&message, &unknown(two), &sending(&message)]);
    server2.expect(&[&received(&message)]);

    client2.type_line(&format!("sendto {one} message-2"));
    client1.stdout.expect(&format!("{two}: message-2"));
    let message = format!("{two} to {one}: message-2");
    server2.expect(&[&message, &unknown(one), &sending(&message)]);
    server1.expect(&[&received(&message)]);

    for mut client in [client1, client2] {
        client.type_line("exit");
        expect_goodbye(&mut client);
    }
    server1.end();
    server2.end();
}

/// The client has been told to end: it says so, and nothing else.
#[track_caller]
fn expect_goodbye(client: &mut Process) {
    client.stdout.expect("terminating client...");
    client.stdout.expect_end();
    client.expect_exit(0);
}

// ---------------------------------------------------------------- command line

/// O1, O2, A8: "`chat-server PROTOCOL` with nothing behind it, … and `PROTOCOL --help` print usage on stdout; bare calls exit 2,
/// `--help` exits 0."
#[test]
fn o01_o02_a08_usage_is_the_line_of_the_source() {
    check_usages(PROTOCOL, SERVER_USAGE, CLIENT_USAGE);
}

/// O1: "`-p` is required; `-s` and `-t` only together."; A8: "A wrong option or value: one line that says what is wrong and with
/// what value, then the usage, on stderr, exit 2."
#[test]
fn o01_a08_a_wrong_command_line_of_the_server_is_explained() {
    let table: &[(&[&str], &str)] = &[
        (&["-o", "9101"], "-p"),
        (&["-p", "0", "-s", "localhost"], "localhost"),
        (&["-p", "0", "-t", "9101"], "9101"),
        (&["-p", "0", "-o", "0", "-s", "localhost"], "localhost"),
        (&["-p", "abc"], "abc"),
        (&["-p", "70000"], "70000"),
        (&["-p", "0", "-o", "-3"], "-3"),
        (&["-p", "0", "-s", "localhost", "-t", "abc"], "abc"),
        (&["-p", "0", "extra"], "extra"),
        (&["-p", "0", "-q"], "q"),
        (&["-p"], "p"),
        (&["-p", "0", "--max-clients", "many"], "many"),
    ];
    for (arguments, value) in table {
        check_wrong(Setup::server(&[&[PROTOCOL], *arguments].concat()), value);
    }
}

/// O2: "All three required."; A8; A13: "Names: `-n` with a space ("Tommy Trojan") is refused"
#[test]
fn o02_a08_a13_a_wrong_command_line_of_the_client_is_explained() {
    let long = "x".repeat(33);
    let table: &[(&[&str], &str)] = &[
        (&["-p", "9", "-n", "mike"], "-s"),
        (&["-s", "localhost", "-n", "mike"], "-p"),
        (&["-s", "localhost", "-p", "9"], "-n"),
        (&["-s", "localhost", "-p", "abc", "-n", "mike"], "abc"),
        (&["-s", "localhost", "-p", "0", "-n", "mike"], "0"),
        (&["-s", "localhost", "-p", "9", "-n", "mike", "extra"], "extra"),
        (&["-s", "localhost", "-p", "9", "-n", "Tommy Trojan"], "Tommy Trojan"),
        (&["-s", "localhost", "-p", "9", "-n", ""], "''"),
        (&["-s", "localhost", "-p", "9", "-n", "a:b"], "a:b"),
        (&["-s", "localhost", "-p", "9", "-n", "Zoë"], "Zoë"),
        (&["-s", "localhost", "-p", "9", "-n", &long], &long),
    ];
    for (arguments, value) in table {
        check_wrong(Setup::client(&[&[PROTOCOL], *arguments].concat()), value);
    }
}

/// O3: "Binds 127.0.0.1 by default (that is what its first line says); `--bind` widens it, and the line says the address bound."; A9
#[test]
fn o03_a09_it_listens_where_its_first_line_says() {
    let mut narrow = Node::start(&["-o", "0"]);
    let elsewhere = |port| SocketAddr::new([127, 0, 0, 2].into(), port);
    // A connected socket is told that nobody listens there.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.connect(elsewhere(narrow.address.port())).unwrap();
    socket.send(b"register ann").unwrap();
    let refused = socket.recv(&mut [0; 100]).expect_err("no answer from 127.0.0.2");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "wanted on the right");
    let linked = TcpStream::connect(elsewhere(narrow.links));
    assert!(linked.is_err(), "\nwanted: no link at 127.0.0.2\n  have: one");
    narrow.join("ann");
    narrow.end();

    let mut wide = Node::at("0", "0.0.0.0", &["--bind", "0.0.0.0", "-o", "0"]);
    let ann = Datagrams::to(elsewhere(wide.address.port()), wide.log());
    ann.send("register ann");
    // The answer may have another of our addresses as its sender: what counts is that it was heard.
    number(&mut wide.stdout, "ann registered from host 127.0.0.1 port ");
    TcpStream::connect(elsewhere(wide.links)).expect("wanted: a link at 127.0.0.2");
}

/// A9: "`--max-clients N` (default 10)"
#[test]
fn a09_a11_max_clients_sets_the_number_of_places() {
    let mut server = Node::start(&["--max-clients", "2"]);
    let _two = server.joined(["ann", "bob"]);
    let mut third = server.stranger();
    third.send("register carl");
    server.stderr.find("carl");
    third.expect_nothing();
    server.end();
}

/// A10: "Hosts may be names or addresses, IPv4 or IPv6 …; every address that a name resolves to is tried.", for `--bind`, for
/// `-s` of a client and `-s` of a server
#[test]
fn a10_o14_hosts_may_be_names_or_addresses() {
    let ipv6 = UdpSocket::bind("[::1]:0").is_ok();
    if !ipv6 {
        println!("skipped in part: this machine has no IPv6");
    }
    let localhost: Vec<SocketAddr> =
        std::net::ToSocketAddrs::to_socket_addrs("localhost:0").unwrap().collect();
    for address in ["127.0.0.1", "::1"].into_iter().take(if ipv6 { 2 } else { 1 }) {
        let mut server = Node::at("0", address, &["--bind", address, "-o", "0"]);
        let named = localhost.iter().any(|have| have.ip().to_string() == address);
        for host in [address, "localhost"].into_iter().take(if named { 2 } else { 1 }) {
            let mut client = start_client(host, server.address.port(), "mike");
            client.stdout.expect("connected to server and registered mike");
            number(&mut server.stdout, &format!("mike registered from host {address} port "));
            client.type_line("exit");
            expect_goodbye(&mut client);
            let mut other = Node::start(&["-s", host, "-t", &server.links.to_string()]);
            other.expect(&[&format!("connected to overlay server at {address} port {}", server.links)]);
            number(&mut server.stdout, &format!("server overlay connection from host {address} port "));
            other.end();
        }
        server.end();
    }
}

// ---------------------------------------------------------------- failing to start, ending

/// A4: "1 when it failed (cannot bind, …)": one line that names host, port and cause, nothing on stdout
#[test]
fn a04_a_start_that_fails_says_why_and_ends_with_1() {
    let datagrams = Datagrams::at("127.0.0.1:0");
    let (udp, listener) = (datagrams.port().to_string(), Listener::new());
    let tcp = listener.port().to_string();
    let servers: [(&[&str], &[&str]); 3] = [
        (&["-p", &udp], &[LOCALHOST, &udp, "in use"]),
        (&["-p", "0", "-o", &tcp], &[LOCALHOST, &tcp, "in use"]),
        (&["-p", "0", "--bind", "192.0.2.1"], &["192.0.2.1", "0", "assign"]),
    ];
    for (arguments, parts) in servers {
        check_failure(Setup::server(&[&[PROTOCOL], arguments].concat()), parts);
    }
    let host = "no-such-host.invalid";
    check_failure(Setup::client(&[PROTOCOL, "-s", host, "-p", "9001", "-n", "mike"]), &[host, "9001"]);
}

#[track_caller]
fn check_failure(setup: Setup, parts: &[&str]) {
    let mut process = setup.start();
    // Looking up a name may take the resolver a while.
    let code = process.exit_code_within(4 * DEADLINE);
    assert_eq!(code, 1, "wanted on the right: the exit status");
    let stderr = process.stderr.rest();
    assert_eq!(stderr.lines().count(), 1, "wanted on the right: one line\n  have: {stderr:?}");
    for part in parts {
        assert!(stderr.contains(part), "\nwanted: a line that names {part:?}\n  have: {stderr:?}");
    }
    assert_eq!(process.stdout.rest(), "", "wanted on the right: nothing on stdout");
}

/// A5: "Ctrl-C, SIGTERM and SIGHUP all end server and client cleanly: … sockets are closed, …, the exit status is 0, within 1 s,
/// also with stalled clients connected"; O17; O20: "A client's thread ends … when the server stops."
#[test]
fn a05_o17_o20_a_server_with_clients_and_links_stops() {
    side_by_side(ENDING, |signal| {
        let (mut server, _listener, mut own) = node_of_test(&["-o", "0"]);
        let address = (Ipv4Addr::LOCALHOST, server.links).into();
        let stalled = Raw::connect_narrow(address, 4096, server.log());
        server.expect(&[&connection_from(stalled.port())]);
        let mut half = server.link();
        half.send("eve to ann: hal");
        let [ann, mut bob] = server.joined(["ann", "bob"]);
        // More than the kernel takes for the one who reads nothing, less than what gets it dropped.
        let text = "x".repeat(4000);
        for number in 0..60 {
            ann.send(format!("sendto zed {number}{text}"));
            server.stdout.find(&format!("Sending message to overlay server: ann to zed: {number}x"));
        }
        ann.send("sendto bob ready");
        bob.expect("recvfrom ann ready");
        server.signal(signal);
        server.expect_exit(0);
        own.rest();
        half.rest();
        let stdout = server.stdout.rest();
        let last = stdout.lines().last();
        assert_eq!(last, Some("terminating server..."), "wanted on the right: the last line");
    });
}

/// A5 while a link is not there: nobody listens at the other end, or nobody answers
#[test]
fn a05_o13_a_server_that_waits_for_its_link_stops() {
    let (hanging, _full) = never_accepting();
    for port in [spare_port(), hanging] {
        let mut server = Node::start(&["-s", LOCALHOST, "-t", &port.to_string()]);
        server.stderr.find(&port.to_string());
        server.end();
    }
}

/// A7: "A server does not care about the end of its stdin"; A2: "Nothing panics when stdout is closed (`chat-server … | head -1`):
/// the server goes on serving in silence"; A2 also: "Each line is flushed at once"
#[test]
fn a02_a07_the_server_outlives_its_stdin_and_its_stdout() {
    let port = spare_port();
    let mut server = Setup::server(&[PROTOCOL, "-p", &port.to_string()]).stdout_closed().start();
    server.end_input();
    let mut ann = Datagrams::to((Ipv4Addr::LOCALHOST, port).into(), server.log());
    let welcome = until(DEADLINE, || {
        ann.send("register ann");
        ann.receive(Duration::from_millis(50))
    });
    assert_eq!(welcome.as_deref(), Some(&b"welcome ann"[..]), "wanted on the right");
    for number in 0..20 {
        ann.send(format!("sendto ann {number}"));
        while ann.receive(DEADLINE).expect("an answer") == b"welcome ann" {}
    }
    server.signal(Signal::SIGTERM);
    server.expect_exit(0);
}

/// A6: "SIGUSR1 makes a running server print who is registered (name, address, seconds since last heard) to stderr."
#[test]
fn a06_sigusr1_reports_who_is_registered() {
    let mut server = Node::start(&["-o", "0"]);
    let [ann, bob] = server.joined(["ann", "bob"]);
    let link = server.link();
    for _ in 0..2 {
        server.signal(Signal::SIGUSR1);
        for (name, client) in [("ann", &ann), ("bob", &bob)] {
            let line = server.stderr.find(name);
            let behind = line.split_once(&format!("127.0.0.1:{}", client.port())).map(|(_, behind)| behind);
            let seconds = behind.is_some_and(|behind| behind.contains(|c: char| c.is_ascii_digit()));
            assert!(seconds, "\nwanted: {name}, port {}, seconds\n  have: {line:?}", client.port());
        }
    }
    drop(link);
    server.end();
}

// ---------------------------------------------------------------- datagrams

/// O4: "client → server `register <clientName>`; server → client `welcome <clientName>`."; O7: "Registering again from the same
/// address is answered again and changes nothing; with another name it renames that client."; O8: "the server prints O14 only
/// for a *new* name or address"
#[test]
fn o04_o07_o08_registering_again_is_answered_again() {
    let mut server = Node::start(&[]);
    let [mut ann, bob] = server.joined(["ann", "bob"]);
    for _ in 0..3 {
        register(&mut ann, "ann");
    }
    register(&mut ann, "Ann.2_x-7");
    server.expect(&[&registered("Ann.2_x-7", ann.port())]);
    bob.send("sendto ann old name");
    bob.send("sendto Ann.2_x-7 new name");
    ann.expect("recvfrom bob new name");
    server.expect(&["bob to ann: old name", &unknown("ann"), "bob to Ann.2_x-7: new name"]);
    server.end();
}

/// O4: "a trailing newline that arrives is dropped"
#[test]
fn o04_a_newline_behind_a_datagram_is_dropped() {
    let mut server = Node::start(&[]);
    let mut bob = server.join("bob");
    for (number, end) in ["\n", "\r\n"].into_iter().enumerate() {
        let name = format!("ann{number}");
        let mut ann = server.stranger();
        ann.send(format!("register {name}{end}"));
        ann.expect(format!("welcome {name}"));
        server.expect(&[&registered(&name, ann.port())]);
        ann.send(format!("sendto bob hi there{end}"));
        bob.expect(format!("recvfrom {name} hi there"));
        server.expect(&[&format!("{name} to bob: hi there")]);
    }
    server.end();
}

/// O5: "client → server `sendto <clientName> <message>`; server → client `recvfrom <clientName> <message>`, the name being the
/// sender's."; A15: "Every other character passes unchanged, letter for letter."
#[test]
fn o05_a15_a_message_reaches_its_recipient_letter_for_letter() {
    let mut server = Node::start(&[]);
    let [mut ann, mut bob, mut carl] = server.joined(["ann", "bob", "carl"]);
    let texts = [
        "hi",
        "two  spaces",
        " a: b to c: d",
        "sendto carl hi",
        "exit",
        "a\ttab",
        "Grüße, 世界 👋",
        "-",
        "%s {}",
    ];
    for text in texts {
        ann.send(format!("sendto bob {text}"));
        bob.expect(format!("recvfrom ann {text}"));
        server.expect(&[&format!("ann to bob: {text}")]);
    }
    ann.send("sendto ann note to self");
    ann.expect("recvfrom ann note to self");
    carl.expect_nothing();
    server.expect(&["ann to ann: note to self"]);
    server.end();
}

/// O6: "The sender is known by the address it registered from, never by what the datagram claims. `sendto` from an address that
/// has not registered is ignored (a line on stderr)."
#[test]
fn o06_sendto_from_an_address_that_has_not_registered_is_ignored() {
    let mut server = Node::start(&[]);
    let [ann, mut bob] = server.joined(["ann", "bob"]);
    let mut stranger = server.stranger();
    for claim in ["sendto bob hi", "sendto bob recvfrom ann hi", "recvfrom ann hi", "ann to bob: hi"] {
        stranger.send(claim);
        server.stderr.find(&stranger.port().to_string());
    }
    stranger.expect_nothing();
    ann.send("sendto bob mine");
    bob.expect("recvfrom ann mine");
    server.expect(&["ann to bob: mine"]);
    server.end();
}

/// O8: "a name registered again *from another address* moves to that address (a client that was restarted)"; O6: the old one is
/// an address that has not registered; O20: "A client's thread ends when its place is given away"
#[test]
fn o08_o20_a_name_moves_to_the_address_that_registers_it() {
    let mut server = Node::start(&[]);
    let threads = server.threads().len();
    let [mut before, mut bob] = server.joined(["ann", "bob"]);
    server.expect_threads(threads + 2);
    let mut after = server.join("ann");
    server.expect_threads(threads + 2);
    bob.send("sendto ann moved");
    after.expect("recvfrom bob moved");
    before.send("sendto bob from nowhere");
    server.stderr.find(&before.port().to_string());
    after.send("sendto bob from here");
    bob.expect("recvfrom ann from here");
    before.expect_nothing();
    server.expect(&["bob to ann: moved", "ann to bob: from here"]);
    // And back again.
    register(&mut before, "ann");
    server.expect(&[&registered("ann", before.port())]);
    server.end();
}

/// O8 with real clients: one that was killed comes back
#[test]
fn o08_a_client_that_was_killed_comes_back() {
    let mut server = Node::start(&[]);
    let mut bob = server.client("client2-37443");
    for round in 0..3 {
        let mut client = server.client("client1-37442");
        bob.type_line(&format!("sendto client1-37442 round-{round}"));
        client.stdout.expect(&format!("client2-37443: round-{round}"));
        server.expect(&[&format!("client2-37443 to client1-37442: round-{round}")]);
        client.signal(Signal::SIGKILL);
        assert_eq!(client.exit_code(), 137, "wanted on the right: killed");
    }
    server.end();
}

/// O8, A11: "otherwise it gets no welcome and the server says so on stderr"; the others notice nothing, and a name that moves needs
/// no place of its own.
#[test]
fn o08_a11_the_eleventh_is_not_welcome() {
    let mut server = Node::start(&[]);
    let names: Vec<String> = (0..10).map(|number| format!("client{number}-37442")).collect();
    let mut all: Vec<Datagrams> = names.iter().map(|name| server.join(name)).collect();
    let mut eleventh = server.stranger();
    eleventh.send("register kay");
    server.stderr.find("kay");
    eleventh.send("sendto client0-37442 hi");
    server.stderr.find(&eleventh.port().to_string());
    eleventh.expect_nothing();
    for number in 0..10 {
        let next = (number + 1) % 10;
        all[number].send(format!("sendto {} still here", names[next]));
        all[next].expect(format!("recvfrom {} still here", names[number]));
        server.expect(&[&format!("{} to {}: still here", names[number], names[next])]);
    }
    register(&mut eleventh, &names[4]);
    server.expect(&[&registered(&names[4], eleventh.port())]);
    server.end();
}

/// A13: "A name is one word: 1 to 32 characters, each an ASCII letter, a digit, `-`, `_` or `.`"; "a refused name … said on the
/// server's stderr only"; A15: "in every log line (a log is a terminal too)"
#[test]
fn a13_a15_names_are_one_plain_word() {
    let mut server = Node::start(&[]);
    let long = "x".repeat(33);
    let mut client = server.stranger();
    for name in
        ["", " ", "Tommy Trojan", "a:b", "a!b", "Zoë", "日本", "a\u{1b}[2J", "a\tb", "\u{202e}a", &long]
    {
        client.send(format!("register {name}"));
        server.stderr.find(&client.port().to_string());
    }
    client.expect_nothing();
    for name in ["x", "7", "client1-37442", "a.b_c-d", "-", &long[..32]] {
        let mut client = server.join(name);
        client.send(format!("sendto {name} hi"));
        client.expect(format!("recvfrom {name} hi"));
        server.expect(&[&format!("{name} to {name}: hi")]);
    }
    let stderr = server.stderr.text();
    assert!(!stderr.contains(['\u{1b}', '\u{202e}']), "\nwanted: a harmless log\n  have: {stderr:?}");
    server.end();
}

/// A14: "What a client says in one line or message may be 4,096 bytes …; what wraps it … comes on top …. Longer is refused as a
/// whole … and the next message is read right."; "a message too long … said on the server's stderr only"
#[test]
fn a14_a_datagram_may_have_4096_bytes() {
    let (mut server, _listener, mut link) = node_of_test(&[]);
    let [ann, mut bob] = server.joined(["ann", "client2-37443"]);
    for length in [4097, 5000, 8192, 65_507] {
        let mut datagram = b"sendto client2-37443 ".to_vec();
        datagram.resize(length, b'x');
        ann.send(&datagram);
        let line = server.stderr.find(&ann.port().to_string());
        assert!(line.contains("4096"), "\nwanted: a line that names the limit\n  have: {line:?}");
    }
    for to in ["client2-37443", "zed"] {
        let mut datagram = format!("sendto {to} ").into_bytes();
        datagram.resize(4096, b'x');
        ann.send(&datagram);
    }
    bob.expect(format!("recvfrom ann {}", "x".repeat(4096 - 21)));
    link.expect(&format!("ann to zed: {}", "x".repeat(4096 - 11)));
    // Who has not registered is told as little.
    server.stranger().send(vec![b'x'; 65_507]);
    ann.send("sendto client2-37443 short");
    bob.expect("recvfrom ann short");
}

/// A14, O4: "a trailing newline that arrives is dropped", so it is none of the 4,096 bytes
#[test]
fn a14_o04_the_newline_that_is_dropped_does_not_count() {
    let mut server = Node::start(&[]);
    let [ann, mut bob] = server.joined(["ann", "bob"]);
    for end in ["\n", "\r\n"] {
        ann.send(format!("sendto bob {}{end}", "x".repeat(4096 - 11)));
        bob.expect(format!("recvfrom ann {}", "x".repeat(4096 - 11)));
    }
}

/// A14 from one of our clients through two servers to another: both take as much as they may
#[test]
fn a14_o11_the_longest_message_crosses_a_link() {
    let mut one = Node::start(&["-o", "0"]);
    let mut two = Node::linked(&[], one.links);
    number(&mut one.stdout, "server overlay connection from host 127.0.0.1 port ");
    let long = "n".repeat(32);
    let mut client1 = one.client(&long);
    let mut client2 = two.client("bob");
    for text in ["x".repeat(4096 - 11), "ü".repeat(2042)] {
        client1.type_line(&format!("sendto bob {text}"));
        client2.stdout.expect(&format!("{long}: {text}"));
    }
}

/// A15: "control characters … and bidirectional overrides … become `?`, and invalid UTF-8 becomes U+FFFD, on the server before
/// relaying, in every log line", to a client and on a link
#[test]
fn a15_what_a_terminal_would_obey_is_taken_out() {
    let (mut server, listener, mut link) = node_of_test(&[]);
    let [ann, mut bob] = server.joined(["ann", "bob"]);
    for (bytes, text) in DANGEROUS {
        ann.send([&b"sendto bob "[..], bytes].concat());
        bob.expect(format!("recvfrom ann {text}"));
        server.expect(&[&format!("ann to bob: {text}")]);
        ann.send([&b"sendto zed "[..], bytes].concat());
        link.expect(&format!("ann to zed: {text}"));
        let message = format!("ann to zed: {text}");
        server.expect(&[&message, &unknown("zed"), &sending(&message)]);
        link.send([&b"eve to bob: "[..], bytes, &b"\n"[..]].concat());
        bob.expect(format!("recvfrom eve {text}"));
        server.expect(&[&received(&format!("eve to bob: {text}"))]);
    }
    drop((listener, link));
    server.end();
}

/// Bytes, and what becomes of them. (A newline in the middle is another matter on a link, and not here.)
const DANGEROUS: &[(&[u8], &str)] = &[
    (b"\x1b[2Jclear", "?[2Jclear"),
    (b"a\rBob: forged", "a?Bob: forged"),
    (b"nul\0 bell\x07 del\x7f", "nul? bell? del?"),
    ("c1 \u{85}\u{9b}31m".as_bytes(), "c1 ??31m"),
    ("\u{202e}abc\u{2066}".as_bytes(), "?abc?"),
    (b"caf\xe9 \xff\xfe", "caf\u{fffd} \u{fffd}\u{fffd}"),
    ("a\ttab, Grüße 👋".as_bytes(), "a\ttab, Grüße 👋"),
];

/// A15: a newline in the middle of a datagram forges no line, on no terminal
#[test]
fn a15_o09_a_newline_in_a_datagram_forges_no_line() {
    let (mut server, _listener, mut link) = node_of_test(&[]);
    let [ann, mut bob] = server.joined(["ann", "bob"]);
    ann.send("sendto bob a\nbob: forged\r\n\n");
    bob.expect("recvfrom ann a?bob: forged??");
    ann.send("sendto zed a\neve to bob: forged");
    link.expect("ann to zed: a?eve to bob: forged");
    server.expect(&["ann to bob: a?bob: forged??", "ann to zed: a?eve to bob: forged"]);
}

/// A16: "Random bytes, half messages, …, NULs … never panic, never leak a registration, never disturb another client."
#[test]
fn a16_datagrams_without_sense_do_no_harm() {
    let mut server = Node::start(&["--max-clients", "3"]);
    let [ann, mut bob] = server.joined(["ann", "bob"]);
    let mut stranger = server.stranger();
    let mut datagrams: Vec<Vec<u8>> = [
        "",
        " ",
        "\n",
        "\r\n",
        "\0",
        "register",
        "register ",
        "sendto",
        "sendto ",
        "sendto bob",
        "sendto bob ",
        "sendto  bob",
    ]
    .map(Into::into)
    .to_vec();
    datagrams
        .extend(["REGISTER eve", "registereve", "hello", "welcome ann", "sendto bob \n"].map(Into::into));
    let mut random = random_bytes(37442);
    datagrams.extend((1..60).map(|length| random.by_ref().take(length * 29).collect::<Vec<u8>>()));
    for datagram in &datagrams {
        stranger.send(datagram);
        ann.send(datagram);
    }
    ann.send("sendto bob still here");
    bob.expect("recvfrom ann still here");
    server.expect(&["ann to bob: still here"]);
    stranger.expect_nothing();
    // The third place was not taken by any of this.
    register(&mut stranger, "carl");
    server.expect(&[&registered("carl", stranger.port())]);
    server.end();
}

// ---------------------------------------------------------------- threads

/// O20: "One thread receives datagrams and hands each to the thread of the client it came from, made at registration …; a
/// client's messages keep their order"
#[test]
fn o20_a_client_has_one_thread_and_its_messages_keep_their_order() {
    let mut server = Node::start(&[]);
    let before = server.threads().len();
    let mut all = server.joined(NAMES);
    for number in 0..60 {
        for (client, name) in all.iter().zip(NAMES.iter().cycle().skip(1)) {
            client.send(format!("sendto {name} message-{number}"));
        }
    }
    for (client, name) in all.iter_mut().zip(NAMES.iter().cycle().skip(4)) {
        for number in 0..60 {
            client.expect(format!("recvfrom {name} message-{number}"));
        }
    }
    server.expect_threads(before + 5);
    server.signal(Signal::SIGINT);
    server.expect_exit(0);
}

/// O20: "a slow link delays no other client"; S4: "a reader that takes nothing for 5 s while something waits for it, or for which
/// 1 MiB waits, is dropped: …, a line on stderr"
#[test]
fn o20_a17_s04_a_link_that_takes_nothing_delays_nobody_and_is_cut() {
    let mut server = Node::start(&["-o", "0"]);
    let mut link = Raw::connect_narrow((Ipv4Addr::LOCALHOST, server.links).into(), 4096, server.log());
    server.expect(&[&connection_from(link.port())]);
    let [ann, mut bob, carl] = server.joined(["ann", "bob", "carl"]);
    let text = "x".repeat(4000);
    let mut number = 0;
    let cut = until(3 * DEADLINE, || {
        ann.send(format!("sendto zed {text}"));
        number += 1;
        carl.send(format!("sendto bob {number}"));
        let wanted = format!("recvfrom carl {number}");
        let have = bob.receive(PROMPTLY).map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(have, Some(wanted), "wanted on the right: a message among others, promptly");
        server.stderr.text().contains("cut").then_some(())
    });
    if cut.is_none() {
        fail("a line on stderr that the link was cut", "none", server.log());
    }
    link.expect_gone(PROMPTLY);
    // It is no link any more.
    ann.send("sendto zed after");
    server.stdout.find("ann to zed: after");
    server.expect(&[&unknown("zed")]);
    carl.send("sendto bob after");
    let next = server.stdout.line();
    assert_eq!(next.as_deref(), Some("carl to bob: after"), "wanted on the right: no link to send on");
    server.end();
}

// ---------------------------------------------------------------- links

/// O9: "A message crosses a link as the line `<clientName1> to <clientName2>: <message>`, LF at its end …. One write per message:
/// real servers take one read for one message."
#[test]
fn o09_o15_a_message_crosses_a_link_as_one_line_in_one_write() {
    let (mut server, listener, mut link) = node_of_test(&[]);
    let ann = server.join("ann");
    for text in ["hi", " two  spaces ", "a to b: c", &"x".repeat(4000)] {
        ann.send(format!("sendto zed {text}"));
        link.sip(64 << 10);
        let message = format!("ann to zed: {text}");
        let have = link.buffered_line();
        assert_eq!(have.as_deref(), Some(&*message), "wanted on the right: the line in one piece");
        server.expect(&[&message, &unknown("zed"), &sending(&message)]);
    }
    drop((listener, link));
    server.end();
}

/// O10: "With `-o` the server accepts any number of links there; with `-s -t` it makes one. One thread per link."; O11: "A message
/// for a name that is not local goes out on every link but the one it came in on."; O15: "(once, however many links)"
#[test]
fn o10_o11_o15_o16_a_message_goes_out_on_every_link_but_its_own() {
    let (mut server, listener, own) = node_of_test(&["-o", "0"]);
    let before = server.threads().len();
    let mut ann = server.join("ann");
    let mut links = vec![own];
    links.extend((0..20).map(|_| server.link()));
    server.expect_threads(before + 1 + 20);

    ann.send("sendto zed from ann");
    server.expect(&["ann to zed: from ann", &unknown("zed"), &sending("ann to zed: from ann")]);
    links[7].send_line("eve to zed: from eve");
    let message = "eve to zed: from eve";
    server.expect(&[&received(message), &unknown("zed"), &sending(message)]);
    links[7].send_line("eve to ann: local");
    ann.expect("recvfrom eve local");
    server.expect(&[&received("eve to ann: local")]);
    ann.send("sendto zed last");
    for (number, link) in links.iter_mut().enumerate() {
        link.expect("ann to zed: from ann");
        if number != 7 {
            link.expect(message);
        }
        link.expect("ann to zed: last");
    }
    server.expect(&["ann to zed: last", &unknown("zed"), &sending("ann to zed: last")]);
    drop((listener, links));
    server.end();
}

/// O16: "if there are none, only `<to> is not registered with server`"; O13: "A link that an *other* server made is simply closed
/// when it ends."; O15 without links
#[test]
fn o13_o15_o16_a_link_that_another_made_is_no_link_when_it_ends() {
    let mut server = Node::start(&["-o", "0"]);
    let mut link = server.link();
    let ann = server.join("ann");
    link.send_line("eve to zed: hi");
    server.expect(&[&received("eve to zed: hi"), &unknown("zed")]);
    ann.send("sendto zed hi");
    link.expect("ann to zed: hi");
    server.expect(&["ann to zed: hi", &unknown("zed"), &sending("ann to zed: hi")]);
    link.half_close();
    link.expect_end();
    ann.send("sendto zed gone");
    server.expect(&["ann to zed: gone", &unknown("zed")]);
    server.end();
}

/// A19: "bytes that have stood 100 ms without one are taken as a whole message …. (… the reader of an overlay link keep[s] the
/// 100 ms rule for good: real servers there mix both.)", on links that others make and on the one it makes
#[test]
fn o09_a19_a_link_without_newlines_is_understood() {
    let (mut server, _listener, own) = node_of_test(&["-o", "0"]);
    let other = server.link();
    let mut bob = server.join("bob");
    for (mut link, name) in [(own, "eve"), (other, "finn-37442")] {
        // Each is waited for before the next is sent.
        for number in 0..2 {
            link.send(format!("{name} to bob: {number}"));
            bob.expect(format!("recvfrom {name} {number}"));
        }
        link.send_line(&format!("{name} to bob: a line"));
        bob.expect(format!("recvfrom {name} a line"));
        link.send(format!("{name} to bob: a line and\n{name} to bob: none"));
        bob.expect(format!("recvfrom {name} a line and"));
        bob.expect(format!("recvfrom {name} none"));
    }
}

/// A18: "a reader never assumes that one read is one message …: a message ends at LF; one CR before it is dropped."
#[test]
fn o09_a18_merged_and_split_lines_of_a_link_are_read_right() {
    let (mut server, _listener, own) = node_of_test(&["-o", "0"]);
    let other = server.link();
    let mut bob = server.join("bob");
    for (mut link, name) in [(own, "eve"), (other, "finn-37442")] {
        let merged: String = (0..50)
            .map(|number| format!("{name} to bob: {number}{}", if number % 2 == 0 { "\n" } else { "\r\n" }))
            .collect();
        link.send(format!("\n\r\n{merged}\n"));
        for number in 0..50 {
            bob.expect(format!("recvfrom {name} {number}"));
        }
        // Byte by byte. A machine that stops us for 100 ms in the middle has ended the message (A19): once more, then.
        let split = until(DEADLINE, || {
            let start = Instant::now();
            for byte in format!("{name} to bob: byte by byte\n").bytes() {
                link.send([byte]);
            }
            let quick = start.elapsed() < Duration::from_millis(90);
            let limit = if quick { DEADLINE } else { Duration::from_millis(300) };
            let have = bob.receive(limit).map(|bytes| String::from_utf8(bytes).unwrap());
            let right = have == Some(format!("recvfrom {name} byte by byte"));
            assert!(right || !quick, "\nwanted: the message of many pieces\n  have: {have:?}");
            right.then_some(())
        });
        assert!(split.is_some(), "\nwanted: a quiet moment of this machine\n  have: none");
    }
}

/// A19: "A peer that closes its sending half (`printf … | nc`) has its last message handled, finished by a newline or not, and still
/// gets what is under way to it"
#[test]
fn a19_a_link_that_is_half_closed_is_read_to_its_end() {
    let mut server = Node::start(&["-o", "0"]);
    let [ann, mut bob] = server.joined(["ann", "bob"]);
    for (name, end) in [("eve", ""), ("finn", "\n"), ("gus", "\r\n")] {
        let mut link = server.link();
        ann.send("sendto zed under way");
        let message = "ann to zed: under way";
        server.expect(&[message, &unknown("zed"), &sending(message)]);
        link.send(format!("{name} to bob: 1\n{name} to bob: 2{end}"));
        link.half_close();
        bob.expect(format!("recvfrom {name} 1"));
        bob.expect(format!("recvfrom {name} 2"));
        link.expect(message);
        link.expect_end();
        server.expect(&[&received(&format!("{name} to bob: 1")), &received(&format!("{name} to bob: 2"))]);
    }
    server.end();
}

/// A14: "readers of that take twice as much. Longer is refused as a whole …; the connection lives on and the next message is read
/// right."
#[test]
fn a14_a_line_of_a_link_that_is_too_long_is_dropped_whole() {
    let mut server = Node::start(&["-o", "0"]);
    let mut link = server.link();
    let mut bob = server.join("bob");
    for length in [8300, 10_000, 3 << 20] {
        link.send(format!("eve to bob: {}\neve to bob: behind it\n", "x".repeat(length)));
        bob.expect("recvfrom eve behind it");
        let line = server.stderr.find("4096");
        assert!(
            line.contains(&link.port().to_string()),
            "\nwanted: a line that names the limit and the link\n  have: {line:?}"
        );
    }
    let long = "x".repeat(4096);
    link.send_line(&format!("eve to bob: {long}"));
    bob.expect(format!("recvfrom eve {long}"));
    bob.expect_nothing();
}

/// A16: "Random bytes, half messages, merged messages, NULs, and a connection that is cut anywhere never panic, …, never disturb
/// another client."
#[test]
fn a16_a_link_that_sends_garbage_does_no_harm() {
    let mut server = Node::start(&["-o", "0"]);
    let mut bob = server.join("bob");
    let mut link = server.link();
    let table = [
        "eve",
        "eve to",
        "eve to bob",
        "eve to bob:",
        "eve to bob: ",
        "eve to : hi",
        " to bob: hi",
        "to bob: hi",
        "a b to bob: hi",
        "a:b to bob: hi",
        "eve to a b: hi",
        "sendto bob hi",
        "register eve",
        "recvfrom eve hi",
        "eve TO bob: hi",
        "\0\0\0",
        "\u{1b}[2J to bob: hi",
    ];
    for line in table {
        link.send_line(line);
        server.stderr.find(&link.port().to_string());
    }
    for seed in 1..20 {
        // The newline keeps what is behind it from being a part of it.
        let mut bytes: Vec<u8> = random_bytes(seed).take(3000).collect();
        bytes.extend(format!("\neve to bob: behind {seed}\n").bytes());
        link.send(&bytes);
        bob.expect(format!("recvfrom eve behind {seed}"));
        server.expect(&[&received(&format!("eve to bob: behind {seed}"))]);
    }
    for cut in ["", "h", "hal to bo", "hal to zed\nhal to b", "\n\n"] {
        let mut link = server.link();
        link.send(cut);
        link.abort();
    }
    link.send_line("eve to bob: last");
    bob.expect("recvfrom eve last");
    let stderr = server.stderr.text();
    assert!(!stderr.contains('\u{1b}'), "\nwanted: a harmless log (A15)\n  have: {stderr:?}");
}

// ---------------------------------------------------------------- loops

/// O12: "A message whose sender is local, or that was sent by us, is never taken from a link (a line on stderr: someone elsewhere
/// uses a name registered here)"
#[test]
fn o12_a_local_name_is_not_taken_from_a_link() {
    let mut server = Node::start(&["-o", "0"]);
    let [mut link, mut other] = [server.link(), server.link()];
    let [_ann, mut bob, _carl] = server.joined(["ann", "bob", "carl"]);
    for name in ["ann", "carl", "bob"] {
        link.send_line(&format!("{name} to bob: forged"));
        server.stderr.find(name);
        link.send_line(&format!("{name} to zed: forged"));
        server.stderr.find(name);
    }
    link.send_line("eve to bob: true");
    bob.expect("recvfrom eve true");
    link.send_line("eve to zed: true");
    other.expect("eve to zed: true");
    server.expect(&[&received("eve to bob: true"), &received("eve to zed: true"), &unknown("zed")]);
    server.expect(&[&sending("eve to zed: true")]);
    drop((link, other));
    server.end();
}

/// O12: what "was sent by us" comes round a ring: it is not taken, not printed, not sent on.
#[test]
fn o12_what_was_sent_by_us_is_not_taken_when_it_comes_round() {
    let mut server = Node::start(&["-o", "0"]);
    let [mut left, mut right] = [server.link(), server.link()];
    let ann = server.join("ann");
    for number in 0..5 {
        ann.send(format!("sendto zed {number}"));
        let message = format!("ann to zed: {number}");
        for link in [&mut left, &mut right] {
            link.expect(&message);
            link.send_line(&message);
        }
        server.expect(&[&message, &unknown("zed"), &sending(&message)]);
    }
    // Both have been read to here: what another sender says behind it has arrived.
    left.send_line("eve to zed: end");
    right.expect("eve to zed: end");
    right.send_line("finn to zed: end");
    left.expect("finn to zed: end");
    for message in ["eve to zed: end", "finn to zed: end"] {
        server.expect(&[&received(message), &unknown("zed"), &sending(message)]);
    }
    drop((left, right));
    server.end();
}

/// O12: "A message is accepted from the link on which its sender was last heard and dropped from any other (reverse path
/// forwarding; what is learnt is forgotten 2 s after the sender was last heard, and not before, also when that link ends …)."
#[test]
fn o12_a_sender_is_heard_on_one_link_until_2_s_after() {
    let mut server = Node::start(&["-o", "0"]);
    let [mut standing, mut ending, mut other] = [server.link(), server.link(), server.link()];
    let mut bob = server.join("bob");
    // Taken before the last time that each is heard: the server cannot have forgotten sooner.
    let start = Instant::now();
    for number in 0..3 {
        for (link, name) in [(&mut standing, "eve"), (&mut ending, "finn")] {
            link.send_line(&format!("{name} to bob: {number}"));
            bob.expect(format!("recvfrom {name} {number}"));
        }
    }
    ending.half_close();
    ending.expect_end();
    let mut heard = [None, None];
    let all = until(MEMORY + DEADLINE, || {
        // The pause behind the last one (A19) is the pace, and its arrival proves that the first two were handled.
        other.send("eve to bob: again\nfinn to bob: again\ngus to bob: tick");
        loop {
            let datagram = String::from_utf8(bob.receive(DEADLINE).expect("a datagram")).unwrap();
            match &*datagram {
                "recvfrom eve again" => _ = heard[0].get_or_insert_with(|| start.elapsed()),
                "recvfrom finn again" => _ = heard[1].get_or_insert_with(|| start.elapsed()),
                "recvfrom gus tick" => return (heard[0].is_some() && heard[1].is_some()).then_some(()),
                _ => fail("a message from the other link", &datagram, server.log()),
            }
        }
    });
    assert!(all.is_some(), "\nwanted: both senders accepted from the other link\n  have: {heard:?}");
    for time in heard.into_iter().flatten() {
        let right = (MEMORY..MEMORY + SLACK).contains(&time);
        assert!(right, "\nwanted: accepted from another link after 2 s\n  have: after {time:?}");
    }
    // Now that one is where it is heard.
    standing.send_line("eve to bob: too late");
    standing.send_line("hal to bob: sync");
    bob.expect("recvfrom hal sync");
}

// ---------------------------------------------------------------- networks

/// O11: "It reaches the client wherever it is in the overlay, any number of servers away."; O14-O17 on all terminals of a chain
#[test]
fn o11_o14_o15_o16_a_chain_of_three() {
    let mut one = Node::start(&["-o", "0"]);
    let mut two = Node::linked(&["-o", "0"], one.links);
    number(&mut one.stdout, "server overlay connection from host 127.0.0.1 port ");
    let mut three = Node::linked(&[], two.links);
    number(&mut two.stdout, "server overlay connection from host 127.0.0.1 port ");
    let [first, second, third, ..] = NAMES;
    let mut ann = one.join(first);
    let bob = two.join(second);
    let mut carl = three.join(third);

    for number in 0..3 {
        ann.send(format!("sendto {third} message-{number}"));
        carl.expect(format!("recvfrom {first} message-{number}"));
        let message = format!("{first} to {third}: message-{number}");
        one.expect(&[&message, &unknown(third), &sending(&message)]);
        two.expect(&[&received(&message), &unknown(third), &sending(&message)]);
        three.expect(&[&received(&message)]);

        carl.send(format!("sendto {first} answer-{number}"));
        ann.expect(format!("recvfrom {third} answer-{number}"));
        let message = format!("{third} to {first}: answer-{number}");
        three.expect(&[&message, &unknown(first), &sending(&message)]);
        two.expect(&[&received(&message), &unknown(first), &sending(&message)]);
        one.expect(&[&received(&message)]);

        // To both sides, and at one of them it dies.
        bob.send(format!("sendto {third} middle-{number}"));
        carl.expect(format!("recvfrom {second} middle-{number}"));
        let message = format!("{second} to {third}: middle-{number}");
        two.expect(&[&message, &unknown(third), &sending(&message)]);
        one.expect(&[&received(&message), &unknown(third)]);
        three.expect(&[&received(&message)]);

        // To nobody: once through all, and no more.
        ann.send("sendto nobody-37442 hi");
        let message = format!("{first} to nobody-37442: hi");
        one.expect(&[&message, &unknown("nobody-37442"), &sending(&message)]);
        two.expect(&[&received(&message), &unknown("nobody-37442"), &sending(&message)]);
        three.expect(&[&received(&message), &unknown("nobody-37442")]);
    }
    for server in [one, two, three] {
        server.end();
    }
    for mut client in [ann, bob, carl] {
        client.expect_nothing();
    }
}

/// O12: "Servers may be linked in a ring. … In a ring of any size, while its links stand, each message is delivered exactly once;
/// whatever happens to links and servers, nothing circulates. When a link of the ring dies, messages take the other way, after
/// at most 2 s."; O13: "Starting the servers in any order works."
#[test]
fn o12_o13_a_ring_of_four() {
    // The ring is closed by the first server, to the last one, which does not exist yet.
    let last = spare_port();
    let mut ring = vec![Node::start(&["-o", "0", "-s", LOCALHOST, "-t", &last.to_string()])];
    for listening in ["0", "0", &last.to_string()] {
        let before = ring.last_mut().unwrap();
        let next = Node::linked(&["-o", listening], before.links);
        number(&mut before.stdout, "server overlay connection from host 127.0.0.1 port ");
        ring.push(next);
    }
    ring[0].expect(&[&connected_to(last)]);
    number(&mut ring[3].stdout, "server overlay connection from host 127.0.0.1 port ");
    let mut clients: Vec<Datagrams> =
        ring.iter_mut().zip(NAMES).map(|(node, name)| node.join(name)).collect();

    exchange(&mut clients, "first");
    let nobody = format!("{} to nobody-37442: hi", NAMES[0]);
    clients[0].send("sendto nobody-37442 hi");
    for node in &mut ring[1..] {
        node.stdout.find(&received(&nobody));
    }
    exchange(&mut clients, "second");

    // A server dies: its neighbours find the other way.
    let mut dead = ring.remove(1);
    dead.signal(Signal::SIGKILL);
    dead.exit_code();
    ring[1].stderr.find("has ended");
    let start = Instant::now();
    let mut number = 0;
    let arrived = until(MEMORY + DEADLINE, || {
        number += 1;
        clients[0].send(format!("sendto {} again-{number}", NAMES[2]));
        clients[2].receive(Duration::from_millis(50))
    });
    let time = start.elapsed();
    assert!(arrived.is_some(), "\nwanted: the other way round\n  have: nothing for {time:?}");
    assert!(time < MEMORY + SLACK, "\nwanted: the other way after at most 2 s\n  have: after {time:?}");
    // Some of those behind it may have arrived, too: each once, in order.
    let rest = std::iter::from_fn(|| clients[2].receive(Duration::ZERO));
    let all: Vec<String> =
        arrived.into_iter().chain(rest).map(|bytes| String::from_utf8(bytes).unwrap()).collect();
    let number = |text: &String| text.rsplit('-').next().and_then(|number| number.parse::<u32>().ok());
    let ordered = all.is_sorted_by(|one, other| number(one) < number(other));
    assert!(ordered, "\nwanted: each once, in order\n  have: {all:?}");
    clients.drain(1..=2);
    for (number, node) in ring.into_iter().enumerate() {
        let text = node.end_with_text();
        expect_count(&text, &received(&nobody), usize::from(number > 0));
        let mut said =
            text.lines().filter(|line| [": first ", ": second "].iter().any(|part| line.contains(part)));
        let twice = said.find(|line| count(&text, line) != 1);
        assert_eq!(twice, None, "wanted on the right: each line once");
    }
    clients.iter_mut().for_each(Datagrams::expect_nothing);
}

/// O11, O12: a star of five servers: every client to every other, exactly once; what is for nobody dies out.
#[test]
fn o11_o12_a_star_of_five() {
    let mut star = vec![Node::start(&["-o", "0"])];
    for _ in 1..5 {
        let leaf = Node::linked(&[], star[0].links);
        number(&mut star[0].stdout, "server overlay connection from host 127.0.0.1 port ");
        star.push(leaf);
    }
    let mut clients: Vec<Datagrams> =
        star.iter_mut().zip(NAMES).map(|(node, name)| node.join(name)).collect();
    exchange(&mut clients, "first");
    let nobody = format!("{} to nobody-37442: hi", NAMES[1]);
    clients[1].send("sendto nobody-37442 hi");
    for number in [0, 2, 3, 4] {
        star[number].stdout.find(&received(&nobody));
    }
    exchange(&mut clients, "second");
    for (number, node) in star.into_iter().enumerate() {
        let text = node.end_with_text();
        expect_count(&text, &received(&nobody), usize::from(number != 1));
        expect_count(&text, &sending(&nobody), usize::from(number < 2));
    }
    clients.iter_mut().for_each(Datagrams::expect_nothing);
}

/// Every client sends to every other, and each gets each message once: before the next one, and nothing behind the last.
#[track_caller]
fn exchange(clients: &mut [Datagrams], text: &str) {
    let count = clients.len();
    for from in 0..count {
        for to in (0..count).filter(|to| *to != from) {
            clients[from].send(format!("sendto {} {text} message-{from}-{to}", NAMES[to]));
            clients[to].expect(format!("recvfrom {} {text} message-{from}-{to}", NAMES[from]));
        }
    }
}

// ---------------------------------------------------------------- links that die

/// O13: "A link that `-s -t` asked for and that fails, at start or later, is tried again …; meanwhile up to 1,000 messages bound for
/// it wait and then go out in order"; O14: "(each time the link is made)"; O15: "if there are links, up or being retried"
#[test]
fn o13_o14_o15_a_link_that_dies_in_mid_traffic_loses_nothing_said_meanwhile() {
    let (mut server, listener, mut link) = node_of_test(&[]);
    let port = listener.port();
    let ann = server.join("ann");
    let say = |server: &mut Node, numbers: std::ops::Range<usize>| {
        for number in numbers.clone() {
            ann.send(format!("sendto zed message-{number}"));
        }
        for number in numbers {
            server.stdout.find(&sending(&format!("ann to zed: message-{number}")));
        }
    };
    say(&mut server, 0..20);
    for number in 0..20 {
        link.expect(&format!("ann to zed: message-{number}"));
    }
    // These are under way when the link is cut: some of them may be lost.
    for number in 20..40 {
        ann.send(format!("sendto zed message-{number}"));
    }
    drop(listener);
    link.abort();
    server.stderr.find("has ended");
    say(&mut server, 20..100);
    let listener = Listener::at(&format!("127.0.0.1:{port}"));
    let mut link = listener.accept(&server);
    say(&mut server, 100..120);
    let mut numbers = Vec::new();
    while numbers.last() != Some(&119) {
        let line = link.line().unwrap_or_default();
        let number =
            line.strip_prefix("ann to zed: message-").and_then(|number| number.parse::<usize>().ok());
        let Some(number) = number else {
            fail("all messages", &format!("{numbers:?}, then {line:?}"), server.log())
        };
        numbers.push(number);
    }
    // What was said twice here comes first: a part of 20 to 39, in order.
    let resumed = numbers.len() - 100;
    assert_eq!(numbers[resumed..], (20..120).collect::<Vec<_>>(), "wanted on the right: all, in order");
    assert!(numbers[..resumed].is_sorted(), "\nwanted: in order\n  have: {numbers:?}");
    expect_count(&server.end_with_text(), &connected_to(port), 2);
}

/// O13: three stories that wait for the next attempt.
#[test]
fn o13_what_waits_goes_out_in_order_when_the_link_is_there() {
    let stories: [fn(); 3] = [check_killed_server, check_more_than_a_thousand, check_any_order];
    side_by_side(stories, |story| story());
}

/// O13 with real servers: the middle one of three is killed, and comes back. (More than 2 s after its sender was last heard
/// there, the last server takes it from a new link, O12.)
fn check_killed_server() {
    let mut last = Node::start(&["-o", "0"]);
    let (port, last_port) = (spare_port().to_string(), last.links.to_string());
    let options = ["-o", &port, "-s", LOCALHOST, "-t", &last_port];
    let mut middle = Node::start(&options);
    middle.expect(&[&connected_to(last.links)]);
    number(&mut last.stdout, "server overlay connection from host 127.0.0.1 port ");
    let mut first = Node::linked(&[], middle.links);
    let [ann, mut bob] = [first.join("ann"), last.join("bob")];
    for number in 0..5 {
        ann.send(format!("sendto bob before-{number}"));
        bob.expect(format!("recvfrom ann before-{number}"));
    }
    for number in 0..20 {
        ann.send(format!("sendto bob meanwhile-{number}"));
    }
    middle.signal(Signal::SIGKILL);
    middle.exit_code();
    first.stderr.find("has ended");
    for number in 0..50 {
        ann.send(format!("sendto bob down-{number}"));
    }
    first.stdout.find(&sending("ann to bob: down-49"));
    // It has tried again, a second later, and will two seconds after that.
    first.stderr.find(&port);
    let mut middle = Node::start(&options);
    middle.expect(&[&connected_to(last.links)]);
    first.stdout.find(&connected_to(middle.links));
    ann.send("sendto bob up-0");
    let mut numbers = Vec::new();
    for wanted in
        (0..50).map(|number| format!("recvfrom ann down-{number}")).chain(["recvfrom ann up-0".into()])
    {
        loop {
            let datagram = String::from_utf8(bob.receive(DEADLINE).unwrap_or_default()).unwrap();
            match datagram.strip_prefix("recvfrom ann meanwhile-") {
                Some(number) if wanted.ends_with("down-0") => numbers.push(number.parse::<usize>().unwrap()),
                _ => {
                    assert_eq!(
                        datagram, wanted,
                        "wanted on the right: all that was said meanwhile, in order"
                    );
                    break;
                }
            }
        }
    }
    assert!(numbers.is_sorted(), "\nwanted: in order\n  have: {numbers:?}");
}

/// O13: "is tried again after 1, 2, 4 … 30 s until it is there; meanwhile up to 1,000 messages bound for it wait and then go out in
/// order (the oldest is given up first, said on stderr)."
fn check_more_than_a_thousand() {
    let port = spare_port();
    let start = Instant::now();
    let mut server = Node::start(&["-s", LOCALHOST, "-t", &port.to_string()]);
    let ann = server.join("ann");
    // Fewer at a time than may wait for a client's thread.
    for batch in 0..21 {
        for number in 0..48 {
            ann.send(format!("sendto zed message-{}", batch * 48 + number));
        }
        server.stdout.find(&sending(&format!("ann to zed: message-{}", batch * 48 + 47)));
    }
    let given_up = |text: &str| text.lines().filter(|line| line.contains("given up")).count();
    let said = until(DEADLINE, || (given_up(&server.stderr.text()) == 8).then_some(()));
    assert!(said.is_some(), "\nwanted: 8 lines on stderr\n  have: {}", given_up(&server.stderr.text()));
    // The second attempt, after 1 s, fails as the first one did; the third, 2 s later, does not.
    for _ in 0..2 {
        server.stderr.find(&port.to_string());
    }
    let second = start.elapsed();
    let listener = Listener::at(&format!("127.0.0.1:{port}"));
    let mut link = listener.accept(&server);
    let third = start.elapsed();
    for number in 8..1008 {
        link.expect(&format!("ann to zed: message-{number}"));
    }
    server.expect(&[&connected_to(port)]);
    let right = second >= Duration::from_secs(1) && third >= Duration::from_secs(3);
    assert!(right, "\nwanted: attempts after 1 s and 2 s more\n  have: after {second:?} and {third:?}");
    ann.send("sendto zed after");
    link.expect("ann to zed: after");
    assert_eq!(given_up(&server.stderr.text()), 8, "wanted on the right: no more of them");
}

/// O13: "Starting the servers in any order works."; here the last of a chain comes first, and what is said there waits.
fn check_any_order() {
    let (first_port, middle_port) = (spare_port().to_string(), spare_port().to_string());
    let mut last = Node::start(&["-s", LOCALHOST, "-t", &middle_port]);
    let ann = last.join("ann");
    ann.send("sendto bob early");
    last.expect(&["ann to bob: early", &unknown("bob"), &sending("ann to bob: early")]);
    let mut first = Node::start(&["-o", &first_port]);
    let mut bob = first.join("bob");
    let mut middle = Node::start(&["-o", &middle_port, "-s", LOCALHOST, "-t", &first_port]);
    middle.expect(&[&connected_to(first.links)]);
    bob.expect("recvfrom ann early");
    last.expect(&[&connected_to(middle.links)]);
    bob.send("sendto ann late");
    last.expect(&[&received("bob to ann: late")]);
}

// ---------------------------------------------------------------- the client

/// O7, O8, O19, A4: three stories of a client that is not answered at once, all of them long.
#[test]
fn o07_o08_o19_a04_a_client_registers_until_it_is_answered_or_gives_up() {
    let stories: [fn(); 3] = [check_lost_register, check_no_answer, check_server_started_later];
    side_by_side(stories, |story| story());
}

/// O7: "The client sends `register` at start by itself and again every second (UDP may lose it)"; O8: "Our client registers no
/// second time once it is welcome"; O19: "It takes datagrams from its server's address alone."
fn check_lost_register() {
    let start = Instant::now();
    let (mut client, mut server) = unwelcome_mike();
    // Not from its server, and not for it: neither is a welcome.
    let forger = Datagrams::to(server.peer(), client.log());
    forger.send("welcome mike");
    server.send("welcome bob");
    server.expect("register mike");
    let again = start.elapsed();
    assert!(again >= Duration::from_secs(1), "\nwanted: again after a second\n  have: after {again:?}");
    server.send("welcome mike");
    client.stdout.expect("connected to server and registered mike");
    // For longer than a second all that comes is what is typed.
    let welcome = Instant::now();
    let mut number = 0;
    while welcome.elapsed() < Duration::from_millis(1300) {
        number += 1;
        client.type_line(&format!("sendto bob {number}"));
        server.expect(format!("sendto bob {number}"));
        forger.send("recvfrom eve forged");
        server.send(format!("recvfrom bob {number}"));
        client.stdout.expect(&format!("bob: {number}"));
    }
    client.type_line("exit");
    expect_goodbye(&mut client);
}

/// O7: "without a welcome in 10 s it says on stderr that no server answers at that address and ends with 1", where nobody answers
/// and where nobody listens
fn check_no_answer() {
    let start = Instant::now();
    let nobody = spare_port();
    let (mut client, mut server) = unwelcome_mike();
    let mut other = start_client(LOCALHOST, nobody, "mike");
    let mut registers = 1;
    while client.runs() {
        assert!(
            start.elapsed() < Duration::from_secs(14),
            "\nwanted: it gives up after 10 s\n  have: it runs"
        );
        if let Some(datagram) = server.receive(Duration::from_millis(100)) {
            assert_eq!(datagram, b"register mike", "wanted on the right");
            registers += 1;
        }
    }
    let time = start.elapsed();
    assert!(time >= Duration::from_secs(10), "\nwanted: it waits for 10 s\n  have: {time:?}");
    assert!((8..=11).contains(&registers), "\nwanted: one register a second\n  have: {registers}");
    for (client, port) in [(&mut client, server.port()), (&mut other, nobody)] {
        assert_eq!(client.exit_code(), 1, "wanted on the right: the exit status");
        let stderr = client.stderr.rest();
        let named = stderr.contains(LOCALHOST) && stderr.contains(&port.to_string());
        assert!(named, "\nwanted: a line that names the address\n  have: {stderr:?}");
        let stdout = client.stdout.rest();
        assert!(!stdout.contains("connected"), "\nwanted: no success on stdout\n  have: {stdout:?}");
    }
}

/// O7: a client may be started before its server
fn check_server_started_later() {
    let (mut client, mut server) =
        until(DEADLINE, server_started_later).expect("a port that nobody else takes");
    client.stdout.expect("connected to server and registered mike");
    number(&mut server.stdout, "mike registered from host 127.0.0.1 port ");
    client.type_line("exit");
    expect_goodbye(&mut client);
    server.signal(Signal::SIGINT);
    server.expect_exit(0);
}

/// A client, and then its server; nothing, if somebody else has taken the server's port before it was started.
fn server_started_later() -> Option<(Process, Process)> {
    let (client, early) = unwelcome_mike();
    let port = early.port().to_string();
    drop(early);
    let mut server = Setup::server(&[PROTOCOL, "-p", &port]).start();
    let Some(line) = server.stdout.line() else {
        let stderr = server.stderr.rest();
        assert!(stderr.contains("in use"), "\nwanted: a server that starts\n  have: {stderr:?}");
        return None;
    };
    same(&format!("server started on {LOCALHOST} at port {port}"), &line, server.log());
    Some((client, server))
}

/// "Real servers are of two kinds: `welcome X` / `recvfrom X msg`, and `Welcome X` / bare `X: msg\n`. … our client takes both: any
/// `welcome <own name>` whatever its case, and it prints a datagram that is no `recvfrom` as it came."; O18
#[test]
fn o18_servers_of_both_kinds_are_understood() {
    side_by_side(
        ["welcome mike", "Welcome mike", "WELCOME mike", "Welcome mike\n", "welcome mike\r\n"],
        |welcome| {
            let (mut client, server) = unwelcome_mike();
            server.send(welcome);
            client.stdout.expect("connected to server and registered mike");
            // The answer to a register that was only slow.
            server.send(welcome);
            let table = [
                ("recvfrom bob hello", "bob: hello"),
                ("recvfrom bob hello\n", "bob: hello"),
                ("recvfrom client1-37442 a: b  c", "client1-37442: a: b  c"),
                ("bob: bare\n", "bob: bare"),
                ("bob: bare", "bob: bare"),
                ("user is not registered\r\n", "user is not registered"),
            ];
            for (datagram, line) in table {
                server.send(datagram);
                client.stdout.expect(line);
            }
            client.type_line("exit");
            expect_goodbye(&mut client);
        },
    );
}

/// A15: "**and** on the client before printing"; A14: "readers of that take twice as much"; A16 for what a server sends
#[test]
fn a14_a15_a16_the_client_prints_nothing_that_a_terminal_would_obey() {
    let (mut client, server) = mike_of_test();
    for (bytes, text) in DANGEROUS {
        server.send([&b"recvfrom bob "[..], bytes].concat());
        client.stdout.expect(&format!("bob: {text}"));
        server.send([&b"bare "[..], bytes].concat());
        client.stdout.expect(&format!("bare {text}"));
    }
    server.send("recvfrom bob a\nbob: forged\r\n");
    client.stdout.expect("bob: a?bob: forged");
    let long = "x".repeat(4096);
    server.send(format!("recvfrom client1-37442 {long}"));
    client.stdout.expect(&format!("client1-37442: {long}"));
    let mut random = random_bytes(7);
    for length in [0, 1, 100, 1000, 65_507] {
        server.send(random.by_ref().take(length).collect::<Vec<u8>>());
    }
    server.send("recvfrom bob still here");
    client.stdout.find("bob: still here");
    client.type_line("exit");
    client.stdout.find("terminating client...");
    client.expect_exit(0);
}

/// O19: "It takes datagrams from its server's address alone."
#[test]
fn o19_datagrams_from_elsewhere_are_not_taken() {
    let (mut client, server) = mike_of_test();
    let forger = Datagrams::to(server.peer(), client.log());
    for number in 0..20 {
        forger.send(format!("recvfrom bob forged-{number}"));
        server.send(format!("recvfrom bob true-{number}"));
        client.stdout.expect(&format!("bob: true-{number}"));
    }
    client.type_line("exit");
    expect_goodbye(&mut client);
}

/// O19: "An empty line is nothing. Anything else, or a sendto without text: a hint on stderr, nothing sent."; A14
#[test]
fn o19_a14_wrong_input_gets_a_hint_and_is_not_sent() {
    let (mut client, mut server) = mike_of_test();
    let long = format!("sendto bob {}", "x".repeat(4096 - 11));
    let too_long = format!("{long}x");
    let wrong = [
        "hello",
        "sendto",
        "sendto ",
        "sendto bob",
        "sendto bob ",
        "SENDTO bob hi",
        "sendtobob hi",
        "register eve",
        "exit now",
        "Exit",
        "quit",
        &too_long,
    ];
    for line in wrong {
        client.type_line(line);
        let hint = client.stderr.line();
        assert!(hint.is_some_and(|hint| !hint.is_empty()), "\nwanted: a hint for {line:?}\n  have: none");
        client.type_bytes(b"\n\r\n");
        client.type_line("sendto bob hi");
        server.expect("sendto bob hi");
    }
    client.type_line(&long);
    server.expect(&long);
    client.type_line("exit");
    expect_goodbye(&mut client);
    assert_eq!(client.stderr.rest(), "", "wanted on the right: one hint for each, none for an empty line");
    server.expect_nothing();
}

/// A4, A7: "End of input (Ctrl-D, or the end of a pipe) on a client does what the exit command does, after every line read before
/// it has been sent."; O18, O19
#[test]
fn a07_o18_o19_exit_and_the_end_of_input_come_behind_the_lines_before_them() {
    for (last, by_exit) in [("exit\nsendto bob too late\n", true), ("", false)] {
        let (mut client, mut server) = mike_of_test();
        let lines: String = (0..100).map(|number| format!("sendto bob line-{number}\n")).collect();
        client.type_bytes(format!("{lines}{last}").as_bytes());
        client.end_input();
        for number in 0..100 {
            server.expect(format!("sendto bob line-{number}"));
        }
        expect_goodbye(&mut client);
        server.expect_nothing();
        assert_eq!(client.stderr.rest(), "", "wanted on the right: quietly, by exit: {by_exit}");
    }
}

/// A7 from a pipe that is full before anybody is welcome: what was typed waits for the welcome.
#[test]
fn a07_o07_what_is_typed_before_the_welcome_is_sent_after_it() {
    let (mut client, mut server) = unwelcome_mike();
    client.type_bytes(b"sendto bob one\nsendto bob two\nexit\n");
    client.end_input();
    server.send("welcome mike");
    server.expect("sendto bob one");
    server.expect("sendto bob two");
    client.stdout.expect("connected to server and registered mike");
    expect_goodbye(&mut client);
}

/// A5: "Ctrl-C, SIGTERM and SIGHUP all end server and client cleanly: …, the exit status is 0, within 1 s, … also while a line is
/// half typed", and while it is not yet welcome; O18
#[test]
fn a05_o18_signals_end_the_client() {
    side_by_side(ENDING, |signal| {
        let (mut client, mut server) = unwelcome_mike();
        client.signal(signal);
        expect_goodbye(&mut client);
        server.expect_nothing();
        let (mut client, mut server) = mike_of_test();
        client.type_bytes(b"sendto bob hal");
        client.signal(signal);
        expect_goodbye(&mut client);
        server.expect_nothing();
    });
}

/// A2: "Nothing panics when stdout is closed: … a client ends quietly."
#[test]
fn a02_the_client_ends_quietly_without_stdout() {
    let mut server = Datagrams::at("127.0.0.1:0");
    let port = server.port().to_string();
    let arguments = [PROTOCOL, "-s", LOCALHOST, "-p", &port, "-n", "mike"];
    let mut client = Setup::client(&arguments).stdout_closed().start();
    server.expect("register mike");
    server.send("welcome mike");
    // What it prints first may still find a reader: a copy of it, in a program that is just being started by another test.
    until(DEADLINE, || {
        server.send("recvfrom bob hello");
        (!client.runs()).then_some(())
    });
    let code = client.exit_code();
    assert!(code < 100, "\nwanted: a quiet end, not by a signal or a panic\n  have: status {code}");
    assert_eq!(client.stderr.rest(), "", "wanted on the right: a quiet end");
}

/// A3: "On a terminal a client redraws its prompt and what was half typed when a message arrives."; A5 there
#[test]
fn a03_a05_o18_a_half_typed_line_survives_a_message() {
    let mut server = Datagrams::at("127.0.0.1:0");
    let port = server.port().to_string();
    let mut screen = Screen::client(&[PROTOCOL, "-s", LOCALHOST, "-p", &port, "-n", "mike"]);
    server.expect("register mike");
    server.send("welcome mike");
    screen.expect_rows(&["connected to server and registered mike"]);
    screen.expect_editor();
    screen.type_keys("sendto bob hel");
    screen.expect_typed("sendto bob hel");
    server.send("recvfrom bob good morning");
    screen.expect_rows(&["connected to server and registered mike", "bob: good morning", "sendto bob hel"]);
    screen.expect_typed("sendto bob hel");
    screen.type_keys("lo\r");
    server.expect("sendto bob hello");
    screen.expect_editor();
    screen.type_keys("sendto bob hal");
    screen.expect_typed("sendto bob hal");
    screen.type_keys("\u{3}");
    screen.expect_text("terminating client...");
    screen.expect_exit(0);
}
