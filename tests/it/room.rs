//! The protocol room: bytes as they are and lines over TCP (R2-R6), datagrams (R7-R11), and what the client makes of both
//! (R12-R14). What lies in the code that all protocols share is tested beside the lobby.
//!
//! R10's five minutes are in the unit tests of the room's state, to which time is a parameter. R15 is a matter of code.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use crate::checks::{check_usages, check_wrong};
use chat_tests::wait::fail;
use chat_tests::{DEADLINE, Datagrams, Listener, PROMPTLY, Process, Raw, Screen, Server, Setup, Signal};

const PROTOCOL: &str = "room";
const LOCALHOST: &str = "127.0.0.1";
const SERVER_USAGE: &str = "usage: chat-server room [--udp] <server_port>";
const CLIENT_USAGE: &str =
    "usage: chat-client room [--udp] [--lines] --name NAME [--host HOST] [<server_port>]";

/// The port of the source's example.
const DEFAULT_PORT: u16 = 12345;

const WELCOME: &str = "Welcome";
const TAKEN: &str = "Name already taken";
const FULL: &str = "Room is full";
const INVALID: &str = "Invalid name";
const SHUTDOWN: &str = "server-shutdown";

/// What makes a message of a name without a newline (A19), and what stands between two bare sends (R3).
const PAUSE: Duration = Duration::from_millis(100);
const APART: Duration = Duration::from_millis(50);

const ENDING: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
const TEN: [&str; 10] = ["ann", "ben", "cleo", "dan", "eve", "finn", "gus", "hal", "ida", "jo"];

/// Names that are none (A13), and some that are.
const NO_NAMES: [&str; 8] =
    ["", "a b", "a!b", "a:b", "Zoë", "日本", "a\tb", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"];
const NAMES: [&str; 6] = ["x", "7", "client1-37442", "a.b_c-d", "join", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"];

/// Text, and what becomes of it (A15).
const OBEYED: [(&[u8], &str); 9] = [
    (b"plain", "plain"),
    (b"a\x1b[2Jb", "a?[2Jb"),
    (b"a\tb\0c\x7f", "a\tb?c?"),
    (b"a\rforged", "a?forged"),
    (b"bell\x07 back\x08", "bell? back?"),
    ("csi\u{9b}1m".as_bytes(), "csi?1m"),
    ("\u{202e}olleh\u{2066}".as_bytes(), "?olleh?"),
    (b"in\xffvalid", "in\u{fffd}valid"),
    ("Zoë 日本 🎉 'quoted' %s \\n".as_bytes(), "Zoë 日本 🎉 'quoted' %s \\n"),
];

/// How one side ends a connection, and the name of that.
type Way = (&'static str, fn(Talker));

/// How a client program is ended, and the name of that.
type End = (&'static str, fn(&mut Process));

/// How the two sides speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// Over TCP: a message is the bytes of one send.
    Bare,
    /// Over TCP: a message ends at LF.
    Lines,
    Udp,
}

use How::{Bare, Lines, Udp};

const TCP: [How; 2] = [Bare, Lines];
const ALL: [How; 3] = [Bare, Lines, Udp];

impl How {
    /// What asks our client for it.
    fn options(self) -> &'static [&'static str] {
        match self {
            Bare => &[],
            Lines => &["--lines"],
            Udp => &["--udp"],
        }
    }

    /// What stands behind each message.
    fn end(self) -> &'static str {
        if self == Lines { "\n" } else { "" }
    }
}

// ---------------------------------------------------------------- one end of a TCP connection

/// One end of a connection over TCP, a client's or a server's.
struct Talker {
    raw: Raw,
    how: How,
}

impl Talker {
    /// A client that has said nothing yet.
    #[track_caller]
    fn connect(server: &Server, how: How) -> Talker {
        Talker { raw: server.connect(), how }
    }

    /// A client whose name was said, and taken.
    #[track_caller]
    fn join(server: &Server, how: How, name: &str) -> Talker {
        let mut talker = Talker::connect(server, how);
        talker.says(name);
        talker.reads(WELCOME);
        talker
    }

    /// Sends a message, in one write.
    #[track_caller]
    fn says(&mut self, text: &str) {
        self.raw.send(format!("{text}{}", self.how.end()));
    }

    /// The next read gives exactly this message. (For one that is alone on its way.)
    #[track_caller]
    fn reads(&mut self, text: &str) {
        let wanted = format!("{text}{}", self.how.end());
        let have = self.read(64 << 10);
        if have != wanted.as_bytes() {
            fail(&format!("{wanted:?} in one read"), &shown(&have), self.raw.log());
        }
    }

    /// The next bytes are exactly this message, however they are cut and whatever follows.
    #[track_caller]
    fn hears(&mut self, text: &str) {
        let wanted = format!("{text}{}", self.how.end());
        let mut have = Vec::new();
        while have.len() < wanted.len() {
            let more = self.read(wanted.len() - have.len());
            have.extend_from_slice(&more);
            if more.is_empty() || !wanted.as_bytes().starts_with(&have) {
                fail(&format!("{wanted:?}"), &shown(&have), self.raw.log());
            }
        }
    }

    #[track_caller]
    fn hears_all(&mut self, texts: &[&str]) {
        for text in texts {
            self.hears(text);
        }
    }

    /// The other side ends the connection, without a reset, and says nothing before.
    #[track_caller]
    fn ends(&mut self) {
        self.raw.expect_end();
    }

    /// What one read gives: nothing at the end of the connection.
    #[track_caller]
    fn read(&mut self, limit: usize) -> Vec<u8> {
        let mut stream = self.raw.stream();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut buffer = vec![0; limit];
        loop {
            match stream.read(&mut buffer) {
                Ok(count) => {
                    buffer.truncate(count);
                    return buffer;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => fail("a message", &error.to_string(), self.raw.log()),
            }
        }
    }
}

/// The start of what came, as a failure message shows it.
fn shown(bytes: &[u8]) -> String {
    let start: String = String::from_utf8_lossy(bytes).chars().take(200).collect();
    format!("{start:?}, {} bytes", bytes.len())
}

/// Members who joined one after the other; each has heard who came after it.
#[track_caller]
fn joined<const N: usize>(server: &Server, members: [(&str, How); N]) -> [Talker; N] {
    let mut all: Vec<Talker> = Vec::new();
    for (name, how) in members {
        let newcomer = Talker::join(server, how, name);
        for earlier in &mut all {
            earlier.hears(&format!("User {name} joined"));
        }
        all.push(newcomer);
    }
    all.try_into().unwrap_or_else(|_| unreachable!("one connection for each member"))
}

/// Lets more than one of the pauses pass that end a first message. The clock is the server itself: programs whose name is
/// none are answered, one after the other.
#[track_caller]
fn let_pauses_pass(server: &Server) {
    for _ in 0..2 {
        let mut talker = Talker::connect(server, Bare);
        talker.says("no name");
        talker.hears(INVALID);
        talker.ends();
    }
}

fn tcp_server() -> Server {
    Server::start(PROTOCOL, &[])
}

// ---------------------------------------------------------------- UDP

fn udp_server() -> Server {
    Server::start(PROTOCOL, &["--udp"])
}

/// A socket that the server has not heard of.
fn stranger(server: &Server) -> Datagrams {
    Datagrams::to(server.address(), server.log())
}

/// Members who joined one after the other, as the source says; each has heard who came after it.
#[track_caller]
fn udp_joined<const N: usize>(server: &Server, names: [&str; N]) -> [Datagrams; N] {
    let mut all: Vec<Datagrams> = Vec::new();
    for name in names {
        let mut newcomer = stranger(server);
        newcomer.send(format!("{name}:join"));
        newcomer.expect(WELCOME);
        tell_of(&mut all, &format!("User {name} joined"));
        all.push(newcomer);
    }
    all.try_into().unwrap_or_else(|_| unreachable!("one socket for each name"))
}

/// All of these hear this next.
#[track_caller]
fn tell_of<'a>(all: impl IntoIterator<Item = &'a mut Datagrams>, wanted: &str) {
    for member in all {
        member.expect(wanted);
    }
}

// ---------------------------------------------------------------- our client, and a server that is the test

/// A server that is this test, seen by one client whose name is mike.
enum Host {
    Tcp(Talker),
    Udp(Datagrams),
}

impl Host {
    /// The client's next message is this one, exactly.
    #[track_caller]
    fn hears(&mut self, text: &str) {
        match self {
            Host::Tcp(talker) => talker.hears(text),
            Host::Udp(socket) => socket.expect(format!("mike:{text}")),
        }
    }

    #[track_caller]
    fn says(&mut self, text: &str) {
        self.sends(text.as_bytes());
    }

    #[track_caller]
    fn sends(&mut self, text: &[u8]) {
        match self {
            Host::Tcp(talker) => talker.raw.send([text, talker.how.end().as_bytes()].concat()),
            Host::Udp(socket) => socket.send(text),
        }
    }

    /// The client says nothing more and ends well. Over TCP both sides close the connection, the client first.
    #[track_caller]
    fn ends(self, client: &mut Process) {
        match self {
            Host::Tcp(mut talker) => {
                talker.ends();
                drop(talker);
                client.expect_exit(0);
            }
            Host::Udp(mut socket) => {
                client.expect_exit(0);
                socket.expect_nothing();
            }
        }
        client.stdout.expect_end();
    }
}

/// What waits for a client.
enum Door {
    Tcp(Listener, How),
    Udp(Datagrams),
}

impl Door {
    fn open(how: How) -> Door {
        match how {
            Bare | Lines => Door::Tcp(Listener::new(), how),
            Udp => Door::Udp(Datagrams::at("127.0.0.1:0")),
        }
    }

    fn port(&self) -> String {
        match self {
            Door::Tcp(listener, _) => listener.port(),
            Door::Udp(socket) => socket.port(),
        }
        .to_string()
    }

    /// The client mike comes, and asks to join.
    #[track_caller]
    fn admit(self, client: Option<&Process>) -> Host {
        match self {
            Door::Tcp(listener, how) => {
                let raw = client.map_or_else(|| listener.accept_any(), |client| listener.accept(client));
                let mut talker = Talker { raw, how };
                talker.reads("mike");
                Host::Tcp(talker)
            }
            Door::Udp(mut socket) => {
                if let Some(client) = client {
                    socket.quote(client.log());
                }
                socket.expect("mike:join");
                Host::Udp(socket)
            }
        }
    }
}

fn start_client(how: How, name: &str, port: u16) -> Process {
    Setup::client(&[&[PROTOCOL, "--name", name], how.options(), &[&port.to_string()]].concat()).start()
}

/// Our client mike, who waits for the answer of a server that is this test.
#[track_caller]
fn unwelcome_mike(how: How) -> (Process, Host) {
    let door = Door::open(how);
    let client = Setup::client(
        &[&[PROTOCOL, "--name", "mike"], how.options(), &["--host", LOCALHOST, &door.port()]].concat(),
    )
    .start();
    let host = door.admit(Some(&client));
    (client, host)
}

/// The same, welcome, and with one message shown.
#[track_caller]
fn mike(how: How) -> (Process, Host) {
    let (mut client, mut host) = unwelcome_mike(how);
    host.says(WELCOME);
    // The bare client takes one read for one message: the next must not be under way before it has read.
    client.type_line("hello");
    host.hears("hello");
    host.says("User bob joined");
    client.stdout.expect("User bob joined");
    (client, host)
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

/// Bytes without any order, the same in every run, of which no name can be made.
fn random_bytes(seed: u32, count: usize) -> Vec<u8> {
    let next = |state: &u32| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    let random = std::iter::successors(Some(seed), next).map(|state| state.to_be_bytes()[0]);
    std::iter::once(0xff).chain(random).take(count).collect()
}

// ---------------------------------------------------------------- command line

/// R1: "`chat-server room [--udp] <server_port>`; `chat-client room [--udp] --name NAME [--host HOST] [<server_port>]`"; A8: "print
/// usage on stdout; bare calls exit 2, `--help` exits 0."
#[test]
fn r01_a08_usage_is_on_stdout() {
    check_usages(PROTOCOL, SERVER_USAGE, CLIENT_USAGE);
}

/// R1, A8: "A wrong option or value: one line that says what is wrong and with what value, then the usage, on stderr, exit 2."; A13
#[test]
fn r01_a08_a13_a_wrong_command_line_is_explained() {
    let server: &[(&[&str], &str)] = &[
        (&["abc"], "abc"),
        (&["70000"], "70000"),
        (&["--udp"], ""),
        (&["--udp", "abc"], "abc"),
        (&["0", "extra"], "extra"),
        (&["0", "--lines"], "lines"),
        (&["0", "--max-clients", "many"], "many"),
        (&["--udp", "0", "--max-clients", "-3"], "-3"),
    ];
    for (arguments, value) in server {
        check_wrong(Setup::server(&[&[PROTOCOL], *arguments].concat()), value);
    }
    let client: &[(&[&str], &str)] = &[
        (&["9"], "name"),
        (&["--udp", "9"], "name"),
        (&["--name"], "name"),
        (&["--name", "mike", "abc"], "abc"),
        (&["--name", "mike", "70000"], "70000"),
        (&["--name", "mike", "0"], "0"),
        (&["--name", "mike", "9", "extra"], "extra"),
        (&["--name", "mike", "9", "--frobnicate"], "frobnicate"),
        (&["--name", "mike", "--host"], "host"),
        (&["--udp", "--name", "Tommy Trojan", "9"], "Tommy Trojan"),
    ];
    for (arguments, value) in client {
        check_wrong(Setup::client(&[&[PROTOCOL], *arguments].concat()), value);
    }
    for name in NO_NAMES {
        check_wrong(Setup::client(&[PROTOCOL, "--name", name, "9"]), &format!("'{name}'"));
    }
}

/// R1: "(`-n NAME`; host 127.0.0.1, port 12345 by default, as in the source's example)"
#[test]
fn r01_the_client_goes_where_the_example_of_the_source_goes() {
    let address = SocketAddr::from(([127, 0, 0, 1], DEFAULT_PORT));
    if TcpListener::bind(address).is_ok() {
        let listener = Listener::at(&address.to_string());
        let client = Setup::client(&[PROTOCOL, "-n", "mike"]).start();
        Door::Tcp(listener, Bare).admit(Some(&client));
    } else {
        println!("skipped: somebody has TCP port {DEFAULT_PORT}");
    }
    if UdpSocket::bind(address).is_ok() {
        let socket = Datagrams::at(&address.to_string());
        let client = Setup::client(&[PROTOCOL, "--udp", "-n", "mike"]).start();
        Door::Udp(socket).admit(Some(&client));
    } else {
        println!("skipped: somebody has UDP port {DEFAULT_PORT}");
    }
}

/// R1: "Binds all interfaces by default."; A9: "`--bind ADDR`"; A10: "Hosts may be names or addresses"
#[test]
fn r01_a09_a10_the_server_binds_all_interfaces() {
    // All of 127.0.0.0/8 leads here: an address that a narrower server does not have.
    let other = |server: &Server| SocketAddr::from(([127, 0, 0, 2], server.port()));
    let everywhere = Setup::server(&[PROTOCOL, "0"]).listen();
    assert!(everywhere.address().ip().is_unspecified(), "wanted: 0.0.0.0\n  have: {}", everywhere.address());
    let mut talker = Talker { raw: Raw::connect(other(&everywhere), everywhere.log()), how: Lines };
    talker.says("ann");
    talker.hears(WELCOME);
    let mike =
        Setup::client(&[PROTOCOL, "-n", "mike", "--host", "localhost", &everywhere.port().to_string()]);
    let _mike = mike.start();
    talker.hears("User mike joined");

    let everywhere = Setup::server(&[PROTOCOL, "--udp", "0"]).listen();
    assert!(everywhere.address().ip().is_unspecified(), "wanted: 0.0.0.0\n  have: {}", everywhere.address());
    let mut member = Datagrams::to(SocketAddr::from(([127, 0, 0, 1], everywhere.port())), everywhere.log());
    member.send("ann:join");
    member.expect(WELCOME);
    let narrow = udp_server();
    assert!(narrow.address().ip().is_loopback(), "wanted: 127.0.0.1\n  have: {}", narrow.address());
    udp_joined(&narrow, ["ann"]);
}

/// A4: "1 when it failed (cannot bind, cannot connect, …)": one line that names the port, nothing on stdout
#[test]
fn a04_a_start_that_fails_says_why_and_ends_with_1() {
    let taken = Listener::new();
    let taken_udp = Datagrams::at("127.0.0.1:0");
    let free = Listener::new().port().to_string();
    let (tcp, udp) = (taken.port().to_string(), taken_udp.port().to_string());
    for (setup, port) in [
        (Setup::server(&[PROTOCOL, "--bind", LOCALHOST, &tcp]), &tcp),
        (Setup::server(&[PROTOCOL, "--udp", "--bind", LOCALHOST, &udp]), &udp),
        (Setup::client(&[PROTOCOL, "--name", "mike", &free]), &free),
        (Setup::client(&[PROTOCOL, "--lines", "--name", "mike", &free]), &free),
    ] {
        let mut process = setup.start();
        process.expect_exit(1);
        assert_eq!(process.stdout.rest(), "", "wanted on the right: nothing on stdout");
        let stderr = process.stderr.rest();
        assert!(
            stderr.contains(port.as_str()),
            "\nwanted: a line that names port {port}\n  have: {stderr:?}"
        );
    }
}

// ---------------------------------------------------------------- the server over TCP

/// R2: "toward a client that sends no newlines each message is one write of exactly the text, with no newline"; R3: "is spoken to in
/// lines: LF ends every message both ways"; R4: "`Welcome` to it, then `User <name> joined` to all others"; R5: "`<name>: <text>` to
/// all others. The sender gets nothing."; "some compare `== "Welcome"`, so nothing may be in the same write (R4: the joiner gets
/// only that)"
#[test]
fn r02_r03_r04_r05_two_members_talk_bare_in_lines_and_mixed() {
    side_by_side([(Bare, Bare), (Lines, Lines), (Bare, Lines), (Lines, Bare)], |(one, other)| {
        let server = tcp_server();
        // Each message is alone on its way to a member, so each read is one.
        let mut ann = Talker::join(&server, one, "ann");
        let mut ben = Talker::join(&server, other, "ben");
        ann.reads("User ben joined");
        for (text, answer) in
            [("hello", "hi"), (" two  spaces ", "a: b"), ("exit now", "Exit"), ("join", "/quit")]
        {
            ann.says(text);
            ben.reads(&format!("ann: {text}"));
            ben.says(answer);
            ann.reads(&format!("ben: {answer}"));
        }
        ben.says("exit");
        ann.reads("User ben left");
        ben.ends();
        ann.says("exit");
        ann.ends();
    });
}

/// R4, R5, more than two: all others hear a message, its sender does not; and each has its own framing.
#[test]
fn r02_r03_r05_each_member_is_spoken_to_in_its_own_way() {
    let server = tcp_server();
    let [mut ann, mut ben, mut cleo, mut dan] =
        joined(&server, [("ann", Bare), ("ben", Lines), ("cleo", Bare), ("dan", Lines)]);
    ann.says("one");
    for other in [&mut ben, &mut cleo, &mut dan] {
        other.reads("ann: one");
    }
    // Several messages in one segment of a client that sends lines: bare members get the same texts, without newlines.
    ben.raw.send("two\nthree\n");
    for other in [&mut ann, &mut cleo, &mut dan] {
        other.hears_all(&["ben: two", "ben: three"]);
    }
    dan.says("four");
    for other in [&mut ann, &mut ben, &mut cleo] {
        other.reads("dan: four");
    }
}

/// R2: "TCP_NODELAY on; and each read is one message", so none waits; R3: a name that has "stood 100 ms without LF" is taken as the
/// whole, one that ends in LF is taken at once
#[test]
fn r02_r03_the_pause_is_for_the_first_message_only() {
    let server = tcp_server();
    let start = Instant::now();
    let mut ann = Talker::join(&server, Bare, "ann");
    let took = start.elapsed();
    assert!(took >= PAUSE, "\nwanted: a name without a newline is taken after {PAUSE:?}\n  have: {took:?}");
    let mut ben = Talker::join(&server, Lines, "ben");
    ann.hears("User ben joined");
    expect_quick("a text of a bare member", || {
        ann.says("from ann");
        ben.reads("ann: from ann");
    });
    expect_quick("a text of a member that sends lines", || {
        ben.says("from ben");
        ann.reads("ben: from ben");
    });
    expect_quick("a name that ends in LF", || {
        drop(Talker::join(&server, Lines, "cleo"));
        ann.hears_all(&["User cleo joined", "User cleo left"]);
    });
}

/// This takes much less than a pause. The quickest of ten attempts counts: a busy machine must not fail a test.
#[track_caller]
fn expect_quick(what: &str, mut step: impl FnMut()) {
    let mut best = DEADLINE;
    for _ in 0..10 {
        let start = Instant::now();
        step();
        best = best.min(start.elapsed());
    }
    assert!(best < PAUSE / 2, "\nwanted: {what} in less than {:?}\n  have: {best:?}", PAUSE / 2);
}

/// R3: "bytes that have stood 100 ms without LF are taken as the whole"; A18: "a message ends at LF; one CR before it is dropped",
/// and no pause ends the message of a client that sends lines
#[test]
fn r03_a18_merged_and_split_lines_are_read_right() {
    let server = tcp_server();
    let [mut watcher] = joined(&server, [("watcher", Lines)]);
    let mut ann = Talker::connect(&server, Lines);
    ann.raw.send("ann\r\nhello\r\nhow are");
    ann.hears(WELCOME);
    watcher.hears_all(&["User ann joined", "ann: hello"]);
    let_pauses_pass(&server);
    ann.raw.send(" you?\n");
    watcher.hears("ann: how are you?");
    for byte in "one byte\nat a time\r\n".bytes() {
        ann.raw.send([byte]);
    }
    watcher.hears_all(&["ann: one byte", "ann: at a time"]);
    // A bare name in two pieces is one name.
    let mut ben = Talker::connect(&server, Bare);
    ben.raw.send("be");
    ben.raw.send("n");
    ben.hears(WELCOME);
    watcher.hears("User ben joined");
}

/// R3: "So `nc` works"; A19: "A peer that closes its sending half (`printf … | nc`) has its last message handled, finished by a newline
/// or not, and still gets what is under way to it"
#[test]
fn r03_r05_a19_a_half_closed_connection_is_read_to_its_end() {
    let server = tcp_server();
    let [mut watcher] = joined(&server, [("watcher", Bare)]);
    for (bytes, answer, heard) in [
        ("ann\nhello\nexit\n", "Welcome\n", &["ann: hello"][..]),
        ("ann\nhello\nlast words", "Welcome\n", &["ann: hello", "ann: last words"]),
        ("ann\n", "Welcome\n", &[]),
        ("ann", "Welcome", &[]),
    ] {
        let mut ann = server.connect();
        ann.send(bytes);
        ann.half_close();
        watcher.hears("User ann joined");
        watcher.hears_all(heard);
        watcher.hears("User ann left");
        assert_eq!(ann.rest(), answer, "wanted on the right, for {bytes:?}");
    }
    // A bare member's last read is a message as all others were.
    let mut ann = Talker::join(&server, Bare, "ann");
    watcher.hears("User ann joined");
    ann.says("bye");
    ann.raw.half_close();
    ann.ends();
    watcher.hears_all(&["ann: bye", "User ann left"]);
}

/// R4: "Taken: `Name already taken`, then close. Full: `Room is full`, then close. Bad name: `Invalid name`, then close."; A13: "one
/// word: 1 to 32 characters, each an ASCII letter, a digit, `-`, `_` or `.`"
#[test]
fn r04_a13_a_name_that_is_taken_or_none_is_refused() {
    let server = tcp_server();
    let [mut ann] = joined(&server, [("ann", Lines)]);
    for how in TCP {
        check_refused(&server, how, "ann", TAKEN);
    }
    for name in NO_NAMES {
        check_refused(&server, Lines, name, INVALID);
    }
    check_refused(&server, Bare, "a b", INVALID);
    check_refused(&server, Lines, &"x".repeat(5000), INVALID);
    for name in NAMES {
        let mut other = Talker::join(&server, Lines, name);
        other.says("exit");
        other.ends();
        ann.hears_all(&[&format!("User {name} joined"), &format!("User {name} left")]);
    }
    // Names are compared exactly.
    Talker::join(&server, Bare, "Ann");
    ann.hears_all(&["User Ann joined", "User Ann left"]);
}

/// One who asks for this name is refused, gets the reply, and the end without a reset.
#[track_caller]
fn check_refused(server: &Server, how: How, name: &str, reply: &str) {
    let mut refused = Talker::connect(server, how);
    refused.says(name);
    refused.hears(reply);
    refused.ends();
}

/// R4, A11: "The 11th gets the protocol's own "full" text, *receives it* (no reset that eats it), and the others notice nothing."; "The
/// place of a client that leaves is free at once."
#[test]
fn r04_a11_the_eleventh_is_told_and_nobody_else_notices() {
    let server = tcp_server();
    let mut all = joined(&server, TEN.map(|name| (name, Lines)));
    check_refused(&server, Bare, "kay", FULL);
    // What stands unread behind the name would make a careless close a reset, which throws the last words away.
    let mut eleventh = Talker::connect(&server, Lines);
    eleventh.raw.send(format!("kay\n{}", "still here\n".repeat(20_000)));
    eleventh.hears(FULL);
    eleventh.ends();
    all[0].says("nobody came");
    for other in &mut all[1..] {
        other.hears("ann: nobody came");
    }
    all[9].says("exit");
    all[9].ends();
    all[0].hears("User jo left");
    Talker::join(&server, Bare, "kay");
    all[0].hears_all(&["User kay joined", "User kay left"]);
}

/// A11: "The place of a client that leaves is free at once": when it sees the end of its connection, its name is free.
#[test]
fn a11_a_name_is_free_when_the_end_is_seen() {
    let server = tcp_server();
    for _ in 0..300 {
        let mut ann = Talker::join(&server, Lines, "ann");
        ann.says("exit");
        ann.ends();
    }
}

/// R5: "`exit`: the connection is closed and `User <name> left` goes to all others; so too when the connection ends any other way."
#[test]
fn r05_every_way_to_leave_is_told_once() {
    let server = tcp_server();
    let [mut ann, mut ben] = joined(&server, [("ann", Bare), ("ben", Lines)]);
    let ways: [Way; 6] = [
        ("exit", |mut talker| {
            talker.says("exit");
            talker.ends();
        }),
        ("exit and a line end", |mut talker| {
            talker.raw.send("exit\r\n");
            talker.ends();
        }),
        ("exit, and the end of what is sent", |mut talker| {
            talker.says("exit");
            talker.raw.half_close();
            talker.ends();
        }),
        ("a closed connection", drop),
        ("a half-closed connection", |mut talker| {
            talker.raw.half_close();
            talker.ends();
        }),
        ("a reset", |talker| talker.raw.abort()),
    ];
    let more: Way = ("exit, and more behind it in one segment", |mut talker| {
        talker.raw.send("exit\nmore\nand more\n");
        talker.ends();
    });
    let bare = ways.into_iter().map(|way| (Bare, way));
    let lines = ways.into_iter().chain([more]).map(|way| (Lines, way));
    for (how, (what, leave)) in bare.chain(lines) {
        println!("{what}, {how:?}");
        let eve = Talker::join(&server, how, "eve");
        for other in [&mut ann, &mut ben] {
            other.hears("User eve joined");
        }
        leave(eve);
        for other in [&mut ann, &mut ben] {
            other.hears("User eve left");
        }
    }
    // Nothing else was said.
    ann.says("still here");
    ben.hears("ann: still here");
}

/// R5 with real clients: those that are killed, and those that are asked to end
#[test]
fn r05_r14_a_real_client_that_ends_has_left() {
    let server = tcp_server();
    let [mut ann] = joined(&server, [("ann", Bare)]);
    for how in TCP {
        for signal in [Signal::SIGKILL, Signal::SIGTERM] {
            let client = start_client(how, "mike", server.port());
            ann.hears("User mike joined");
            client.signal(signal);
            ann.hears("User mike left");
        }
    }
}

/// R5: "One line end behind a message that arrives is dropped before anything else is done with it."
#[test]
fn r05_one_line_end_behind_a_bare_message_is_dropped() {
    let server = tcp_server();
    let [mut ann, mut ben] = joined(&server, [("ann", Bare), ("ben", Bare)]);
    for (bytes, wanted) in [
        ("hi\n", "hi"),
        ("hi\r\n", "hi"),
        ("hi\n\n", "hi?"),
        ("two\nlines\n", "two?lines"),
        (" exit\n", " exit"),
        ("hi", "hi"),
    ] {
        ann.raw.send(bytes);
        ben.reads(&format!("ann: {wanted}"));
    }
    ann.raw.send("exit\n");
    ben.hears("User ann left");
    ann.ends();
}

/// A14: "What a client says in one line or message may be 4,096 bytes …. Longer is refused as a whole with a clear reply; the
/// connection lives on and the next message is read right. (… a read of up to 4,096 bytes is one.)"
#[test]
fn r02_a14_a_message_may_have_4096_bytes() {
    let server = tcp_server();
    let [mut ann, mut ben] = joined(&server, [("ann", Lines), ("ben", Bare)]);
    let long = "x".repeat(4096);
    for end in ["\n", "\r\n"] {
        ann.raw.send(format!("{long}{end}"));
        ben.hears(&format!("ann: {long}"));
    }
    ben.says(&long);
    ann.hears(&format!("ben: {long}"));
    ann.raw.send(format!("{long}x\nnext\n"));
    ben.hears("ann: next");
    let reply = ann.raw.line().expect("a reply");
    assert!(reply.contains("4096"), "\nwanted: a reply that names the limit\n  have: {reply:?}");
    ben.says("still here");
    assert_eq!(ann.raw.line().as_deref(), Some("ben: still here"));
}

/// R6: "The server ends: `server-shutdown` to everyone, then close."; A5: "Ctrl-C, SIGTERM and SIGHUP all end server and client cleanly:
/// …, the exit status is 0, within 1 s, also with stalled clients connected"; R12, A1: "stdout stays empty"
#[test]
fn r06_r12_a05_everyone_hears_of_the_end() {
    side_by_side(ENDING, |signal| {
        let mut server = tcp_server();
        // It is waited for like everyone, and says nothing.
        let mut unregistered = Talker::connect(&server, Lines);
        let mut all = joined(&server, [("ann", Bare), ("ben", Lines), ("cleo", Bare), ("dan", Lines)]);
        all[1].raw.send("half a line");
        server.signal(signal);
        for member in &mut all[..3] {
            member.hears(SHUTDOWN);
            member.ends();
        }
        // Dan reads nothing until the server has ended.
        server.expect_exit(0);
        all[3].hears(SHUTDOWN);
        all[3].ends();
        let rest = unregistered.raw.rest();
        let farewell = ["", SHUTDOWN].contains(&rest.trim_end());
        assert!(farewell, "\nwanted: the end, or the farewell before it\n  have: {rest:?}");
        assert_eq!(server.stdout.rest(), "", "wanted on the right: nothing on stdout (R12)");
        let stderr = server.stderr.rest();
        assert!(stderr.contains("ann"), "\nwanted: stderr tells what happened\n  have: {stderr:?}");
    });
}

/// A15: "control characters … and bidirectional overrides … become `?`, and invalid UTF-8 becomes U+FFFD, on the server before
/// relaying, in every log line"; "Every other character passes unchanged, letter for letter."
#[test]
fn a15_what_a_terminal_would_obey_is_taken_out_over_tcp() {
    let mut server = tcp_server();
    let [mut ann, mut ben] = joined(&server, [("ann", Bare), ("ben", Lines)]);
    for (bytes, wanted) in OBEYED {
        ann.raw.send(bytes);
        ben.reads(&format!("ann: {wanted}"));
        ben.raw.send([bytes, b"\n"].concat());
        ann.reads(&format!("ben: {wanted}"));
    }
    check_refused(&server, Lines, "\u{1b}[2Jeve", INVALID);
    check_log(&mut server);
}

/// Ends the server: its log has nothing that a terminal would obey, its stdout has nothing.
#[track_caller]
fn check_log(server: &mut Server) {
    server.signal(Signal::SIGINT);
    server.expect_exit(0);
    assert_eq!(server.stdout.rest(), "", "wanted on the right: nothing on stdout (R12)");
    let stderr = server.stderr.rest();
    let obeyed = |c: char| c.is_control() && c != '\n' && c != '\t';
    assert!(!stderr.contains(obeyed), "\nwanted: a log without control characters\n  have: {stderr:?}");
}

/// A16: "Random bytes, half messages, merged messages, NULs, and a connection that is cut anywhere never panic, never leak a
/// registration, never disturb another client."
#[test]
fn a16_connections_that_send_garbage_do_no_harm() {
    let mut server = Server::start(PROTOCOL, &["--max-clients", "3"]);
    let [mut ann, mut ben] = joined(&server, [("ann", Lines), ("ben", Bare)]);
    let ends: [fn(Raw); 3] = [drop, Raw::abort, |mut raw| {
        raw.half_close();
        raw.expect_gone(DEADLINE);
    }];
    for (seed, end) in (1..30).zip(ends.into_iter().cycle()) {
        let mut stranger = server.connect();
        stranger.try_send(&random_bytes(seed, 150 * (seed as usize % 5) + 1));
        end(stranger);
    }
    // Nobody was admitted, and the third place is free. Now a member says such things, in lines and without.
    for how in TCP {
        let mut eve = Talker::join(&server, how, "eve");
        assert_eq!(ann.raw.line().as_deref(), Some("User eve joined"));
        ben.hears("User eve joined");
        eve.raw.send(random_bytes(37442, 5000));
        eve.raw.abort();
        loop {
            let line = ann.raw.line().expect("a message");
            if line == "User eve left" {
                break;
            }
            let harmless = line.starts_with("eve: ") && !line.contains(|c: char| c.is_control() && c != '\t');
            assert!(harmless, "\nwanted: texts of eve, without control characters\n  have: {line:?}");
        }
        let mut heard = Vec::new();
        while !heard.ends_with(b"User eve left") {
            let more = ben.read(4096);
            assert!(!more.is_empty(), "wanted: that eve has left\n  have: the end");
            heard.extend(more);
        }
    }
    ann.says("still here");
    ben.reads("ann: still here");
    server.signal(Signal::SIGINT);
    server.expect_exit(0);
}

/// A6: "SIGUSR1 makes a running server print who is registered (name, address, seconds since last heard) to stderr."
#[test]
fn a06_sigusr1_reports_who_is_registered() {
    let mut tcp = tcp_server();
    let [ann, ben] = joined(&tcp, [("ann", Bare), ("ben", Lines)]);
    check_report(&mut tcp, [("ann", ann.raw.port()), ("ben", ben.raw.port())]);
    let mut udp = udp_server();
    let [ann, ben] = udp_joined(&udp, ["ann", "ben"]);
    check_report(&mut udp, [("ann", ann.port()), ("ben", ben.port())]);
}

#[track_caller]
fn check_report(server: &mut Server, members: [(&str, u16); 2]) {
    // What was said of their joining has its own line; the report comes behind all that.
    for (name, _) in members {
        server.stderr.find(name);
    }
    for _ in 0..2 {
        server.signal(Signal::SIGUSR1);
        for (name, port) in members {
            let line = server.stderr.find(name);
            let behind = line.split_once(&format!("127.0.0.1:{port}")).map(|(_, behind)| behind);
            let seconds = behind.is_some_and(|behind| behind.contains(|c: char| c.is_ascii_digit()));
            assert!(seconds, "\nwanted: {name}, port {port}, seconds\n  have: {line:?}");
        }
    }
}

// ---------------------------------------------------------------- the server over UDP

/// R7: "`<name>:join` → `Welcome`, then `User <name> joined` to all others"; "a line end behind it is dropped; `join` and `exit` are
/// recognised with or without spaces around them"; R8: "`<name>:exit` removes it and sends `User <name> left` to all others."
#[test]
fn r07_r08_join_and_exit() {
    let server = udp_server();
    let mut others = udp_joined(&server, ["ann", "ben"]);
    for (join, exit) in [
        ("eve:join", "eve:exit"),
        ("eve:join\n", "eve:exit\n"),
        ("eve:join\r\n", "eve:exit\r\n"),
        ("eve: join", "eve: exit"),
        ("eve:  join  \n", "eve:  exit  \n"),
    ] {
        let mut eve = stranger(&server);
        eve.send(join);
        eve.expect(WELCOME);
        tell_of(&mut others, "User eve joined");
        eve.send(exit);
        tell_of(&mut others, "User eve left");
        // She has no place any more, and hears nothing of what follows.
        eve.send("eve:hi");
        others[0].send("ann:she is gone");
        others[1].expect("ann:she is gone");
        eve.expect_nothing();
        // From the same address, as from any other.
        eve.send("eve:join");
        eve.expect(WELCOME);
        tell_of(&mut others, "User eve joined");
        eve.send("eve:exit");
        tell_of(&mut others, "User eve left");
    }
}

/// R7: "name in use from another address → `Name already taken`; full → `Room is full`; bad name → `Invalid name`"; R10: "Joining again
/// under its name from another address is refused while it was heard in the last 5 minutes"; A11: "free at once"
#[test]
fn r07_r10_a11_a13_who_is_refused_is_told_and_nobody_else_notices() {
    let server = udp_server();
    let mut all = udp_joined(&server, ["ann"]).into_iter().collect::<Vec<_>>();
    let mut other = stranger(&server);
    for name in NO_NAMES.into_iter().filter(|name| !name.contains(':')) {
        other.send(format!("{name}:join"));
        other.expect(INVALID);
    }
    for name in ["ann:join", "join:ann", "ann: join "] {
        other.send(name);
        other.expect(TAKEN);
    }
    for name in NAMES {
        let mut member = stranger(&server);
        member.send(format!("{name}:join"));
        member.expect(WELCOME);
        member.send(format!("{name}:exit"));
        tell_of(&mut all, &format!("User {name} joined"));
        tell_of(&mut all, &format!("User {name} left"));
    }
    for name in &TEN[1..] {
        let mut member = stranger(&server);
        member.send(format!("{name}:join"));
        member.expect(WELCOME);
        tell_of(&mut all, &format!("User {name} joined"));
        all.push(member);
    }
    for join in ["kay:join", "join:kay"] {
        other.send(join);
        other.expect(FULL);
    }
    let jo = all.pop().unwrap();
    jo.send("jo:exit");
    tell_of(&mut all, "User jo left");
    other.send("kay:join");
    other.expect(WELCOME);
    tell_of(&mut all, "User kay joined");
}

/// R8: "Any other text goes to all others as `<name>:<text>`, as it came."; R7: "split at the first colon; a line end behind it is
/// dropped"
#[test]
fn r07_r08_a_text_goes_to_all_others_as_it_came() {
    let server = udp_server();
    let [mut ann, mut ben, mut cleo] = udp_joined(&server, ["ann", "ben", "cleo"]);
    for (datagram, wanted) in [
        ("ann:hi", "ann:hi"),
        ("ann: hi  there ", "ann: hi  there "),
        ("ann:a:b::c", "ann:a:b::c"),
        ("ann:ben:hi", "ann:ben:hi"),
        ("ann:hi\n", "ann:hi"),
        ("ann:hi\r\n", "ann:hi"),
        ("ann:exit now", "ann:exit now"),
        ("ann:Join", "ann:Join"),
        ("ann:server-shutdown", "ann:server-shutdown"),
    ] {
        ann.send(datagram);
        ben.expect(wanted);
        cleo.expect(wanted);
    }
    ben.send("ben:and you?");
    // The sender has heard nothing of its own.
    ann.expect("ben:and you?");
    cleo.expect("ben:and you?");
}

/// R8: "The name is the one registered for that address; a datagram from an unknown address, without a colon, or under a name that is
/// not that address's is ignored (stderr)."
#[test]
fn r08_forged_and_unknown_senders_are_ignored() {
    let mut server = udp_server();
    let [ann, mut ben, mut cleo] = udp_joined(&server, ["ann", "ben", "cleo"]);
    server.stderr.find("cleo");
    for forged in ["ben:I never said this", "ben:exit", "mallory:hi", "no colon", "exit", "join", ""] {
        ann.send(forged);
    }
    server.stderr.find("ben");
    server.stderr.find("mallory");
    ann.send("ann:in my own name");
    ben.expect("ann:in my own name");
    cleo.expect("ann:in my own name");
    // One who has not joined.
    let mut eve = stranger(&server);
    for said in
        ["ben:I never said this", "ann:exit", "eve:hi", "no colon", "hi", "exit", "join", "join eve", ""]
    {
        eve.send(said);
    }
    server.stderr.find(&eve.port().to_string());
    eve.send("eve:join");
    eve.expect(WELCOME);
    ben.expect("User eve joined");
    cleo.expect("User eve joined");
    // Nobody was taken for gone.
    for (member, name) in [(&ben, "ben"), (&ann, "ann")] {
        member.send(format!("{name}:I am here"));
        cleo.expect(format!("{name}:I am here"));
    }
}

/// R8: "Two real clients join with `join:<name>` instead: from an unknown address that is a join too, and from then on what that
/// address sends without its own `<name>:` in front is its text, relayed as `<name>: <text>`."
#[test]
fn r08_clients_that_join_the_other_way_round() {
    let server = udp_server();
    let [mut ann] = udp_joined(&server, ["ann"]);
    for (join, exit) in
        [("join:ben", "exit"), ("join: ben", "ben:exit"), ("join:ben\n", "exit\n"), ("join:ben ", " exit ")]
    {
        let mut ben = stranger(&server);
        ben.send(join);
        ben.expect(WELCOME);
        ann.expect("User ben joined");
        for (datagram, wanted) in [
            ("hi", "ben: hi"),
            ("hi\n", "ben: hi"),
            ("a: b", "ben: a: b"),
            ("ann:not ann", "ben: ann:not ann"),
            ("ben:hi", "ben:hi"),
            ("exit now", "ben: exit now"),
        ] {
            ben.send(datagram);
            ann.expect(wanted);
        }
        ann.send("ann:hello");
        ben.expect("ann:hello");
        // R11 holds for them too: a repeat is answered, and not announced.
        ben.send(join);
        ben.expect(WELCOME);
        ben.send("again");
        ann.expect("ben: again");
        ben.send(exit);
        ann.expect("User ben left");
    }
}

/// R11: "a repeat from the same address is answered with `Welcome` again and not announced again"
#[test]
fn r11_a_repeated_join_is_answered_and_not_announced() {
    let server = udp_server();
    let [ann, mut ben] = udp_joined(&server, ["ann", "ben"]);
    let mut ann = ann;
    for _ in 0..3 {
        ann.send("ann:join");
        ann.expect(WELCOME);
    }
    ann.send("ann:hi");
    ben.expect("ann:hi");
    ann.expect_nothing();
}

/// R9: "The server ends: `server-shutdown` to each (no `User <name> left`)."; A5: "the exit status is 0, within 1 s"; R12
#[test]
fn r09_r12_a05_every_member_hears_of_the_end() {
    for signal in ENDING {
        let mut server = udp_server();
        let mut all = udp_joined(&server, ["ann", "ben", "cleo"]);
        let mut dan = stranger(&server);
        dan.send("join:dan");
        dan.expect(WELCOME);
        tell_of(&mut all, "User dan joined");
        server.signal(signal);
        server.expect_exit(0);
        for member in all.iter_mut().chain([&mut dan]) {
            member.expect(SHUTDOWN);
            member.expect_nothing();
        }
        assert_eq!(server.stdout.rest(), "", "wanted on the right: nothing on stdout (R12)");
        let stderr = server.stderr.rest();
        assert!(stderr.contains("ann"), "\nwanted: stderr tells what happened\n  have: {stderr:?}");
    }
}

/// A14: "What a client says in one line or message may be 4,096 bytes; what wraps it (`<sender>: `, …) comes on top …. Longer is
/// refused as a whole with a clear reply …, and the next message is read right."
#[test]
fn a14_a_datagram_may_have_4096_bytes() {
    let server = udp_server();
    let [mut ann, mut ben] = udp_joined(&server, ["ann", "ben"]);
    let long = "x".repeat(4096);
    for end in ["", "\n", "\r\n"] {
        ann.send(format!("ann:{long}{end}"));
        ben.expect(format!("ann:{long}"));
    }
    for count in [4097, 5000, 60_000] {
        ann.send(format!("ann:{}", "y".repeat(count)));
        let reply = String::from_utf8(ann.receive(DEADLINE).expect("a reply")).unwrap();
        assert!(reply.contains("4096"), "\nwanted: a reply that names the limit\n  have: {reply:?}");
        ann.send("ann:next");
        ben.expect("ann:next");
    }
}

/// A15 over UDP
#[test]
fn a15_what_a_terminal_would_obey_is_taken_out_over_udp() {
    let mut server = udp_server();
    let [ann, mut ben] = udp_joined(&server, ["ann", "ben"]);
    for (bytes, wanted) in OBEYED {
        ann.send([b"ann:", bytes].concat());
        ben.expect(format!("ann:{wanted}"));
    }
    ann.send("ann:two\nlines\n");
    ben.expect("ann:two?lines");
    let mut eve = stranger(&server);
    eve.send("\u{1b}[2Jeve:join");
    eve.expect(INVALID);
    ann.send("\u{1b}[2Jeve:hi");
    ann.send("ann:done");
    ben.expect("ann:done");
    check_log(&mut server);
}

/// A16: random, empty and huge datagrams, of strangers and of members
#[test]
fn a16_datagrams_without_sense_do_no_harm() {
    let mut server = Server::start(PROTOCOL, &["--udp", "--max-clients", "3"]);
    let [ann, mut ben] = udp_joined(&server, ["ann", "ben"]);
    let mut eve = stranger(&server);
    let fixed =
        ["", "\n", "\0", ":", "::", "exit", "join", "JOIN:eve", "ann", "ann:hi", "eve:", "eve: exit "];
    let random = (1..40).map(|seed| random_bytes(seed, 40 * seed as usize));
    let huge = random_bytes(7, 65_000);
    for datagram in fixed.map(|text| text.as_bytes().to_vec()).into_iter().chain(random).chain([huge]) {
        eve.send(&datagram);
        if !datagram.starts_with(b"ann") {
            ann.send(&datagram);
        }
    }
    ann.send("ann:still here");
    ben.expect("ann:still here");
    // The third place was not taken by any of this, and whoever has it may say such things.
    eve.send("eve:join");
    while eve.receive(DEADLINE).expect("an answer") != WELCOME.as_bytes() {}
    ben.expect("User eve joined");
    for seed in 1..20 {
        eve.send([b"eve:".to_vec(), random_bytes(seed, 200)].concat());
        let text = String::from_utf8(ben.receive(DEADLINE).expect("a text")).expect("valid UTF-8");
        let harmless = text.starts_with("eve:") && !text.contains(|c: char| c.is_control() && c != '\t');
        assert!(harmless, "\nwanted: a text of eve, without control characters\n  have: {text:?}");
    }
    check_log(&mut server);
}

// ---------------------------------------------------------------- our client

/// R2, R3: "Without `--lines` our client sends the bare bytes that the source says"; R7: "`<name>:<text>`"; R13: "each message as it
/// came, one per line; nothing else. `Welcome` is not shown"; R14: "`exit`"; R1
#[test]
fn r03_r07_r13_r14_a_dialogue_of_the_client() {
    side_by_side(ALL, |how| {
        let (mut client, mut host) = mike(how);
        for (typed, answer) in [("hello", "bob: hi"), (" two  spaces ", " as it came "), ("a: b", "bob:hi")] {
            client.type_line(typed);
            host.hears(typed);
            host.says(answer);
            client.stdout.expect(answer);
        }
        client.type_line("exit");
        host.hears("exit");
        host.ends(&mut client);
    });
}

/// R3: "it then leaves at least 50 ms between two sends (lines from a pipe, the last words and `exit`), because to such programs two
/// sends in one read are one message"
#[test]
fn r03_bare_sends_are_50_ms_apart() {
    // The clock is on the receiving side: when this test is kept from running, it sees a gap that is too short. What the
    // client does wrong, it does wrong each time.
    let attempts = (0..3).find_map(|_| match bare_sends() {
        Ok(()) => Some(()),
        Err(error) => {
            println!("{error}");
            None
        }
    });
    assert!(
        attempts.is_some(),
        "wanted: sends at least {APART:?} apart, each in a read of its own\n  have: see above"
    );
}

fn bare_sends() -> Result<(), String> {
    let (mut client, host) = mike(Bare);
    let Host::Tcp(mut host) = host else { unreachable!("over TCP") };
    client.type_bytes(b"one\ntwo\nthree\nfour");
    client.end_input();
    let mut times = Vec::new();
    for wanted in ["one", "two", "three", "four", "exit"] {
        let have = host.read(4096);
        times.push(Instant::now());
        if have != wanted.as_bytes() {
            return Err(format!("{wanted:?} wanted in a read, have {}", shown(&have)));
        }
    }
    host.ends();
    client.expect_exit(0);
    let gaps: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let whole: Duration = gaps.iter().sum();
    // A little is for what this side needs to wake up.
    let enough = whole >= APART * 4 - APART / 5 && gaps.iter().all(|&gap| gap >= APART / 2);
    if enough { Ok(()) } else { Err(format!("the gaps were {gaps:?}")) }
}

/// R3: "`chat-client room --lines` asks for it": each message in a line, without gaps
#[test]
fn r03_a07_everything_typed_is_sent_before_the_end() {
    for how in [Lines, Udp] {
        let (mut client, mut host) = mike(how);
        let many: Vec<String> = (0..20).map(|number| format!("line {number}")).collect();
        client.type_bytes(many.join("\n").as_bytes());
        client.end_input();
        for line in &many {
            host.hears(line);
        }
        host.hears("exit");
        host.ends(&mut client);
    }
}

/// R13: "a first answer that *contains* it admits, any other is shown, exit 1"; "a refusal is shown, exit 1"; A4
#[test]
fn r13_a04_a_refusal_is_shown_and_ends_with_1() {
    for how in ALL {
        for refusal in [TAKEN, FULL, INVALID, "go away"] {
            let (mut client, mut host) = unwelcome_mike(how);
            host.says(refusal);
            client.stdout.expect(refusal);
            client.expect_exit(1);
            client.stdout.expect_end();
        }
    }
}

/// R13: "`Welcome` is not shown (a first answer that *contains* it admits, …; over TCP what stands behind it in the same read is the
/// next message, and is shown)"
#[test]
fn r13_the_welcome_is_not_shown_and_what_stands_behind_it_is() {
    let table: [(How, &str, &[&str]); 9] = [
        (Bare, "Welcome\n", &[]),
        (Bare, ">> Welcome", &[]),
        (Bare, "WelcomeUser bob joined", &["User bob joined"]),
        (Bare, "Welcome\nUser bob joined", &["User bob joined"]),
        (Bare, "Welcome\r\nUser bob joined\r\n", &["User bob joined"]),
        (Lines, "Welcome\nUser bob joined", &["User bob joined"]),
        (Lines, "Welcome\r\nbob: hi", &["bob: hi"]),
        (Udp, "Welcome\n", &[]),
        (Udp, ">> Welcome <<", &[]),
    ];
    side_by_side(table, |(how, answer, shown)| {
        let (mut client, mut host) = unwelcome_mike(how);
        host.says(answer);
        client.type_line("hello");
        host.hears("hello");
        client.stdout.expect_all(shown);
        host.says("carl: hi");
        client.stdout.expect("carl: hi");
        client.end_input();
        host.hears("exit");
        host.ends(&mut client);
    });
}

/// R13: "`server-shutdown`, alone or at the end of a read, is not shown: exit 0 at once, also while input is open."
#[test]
fn r13_the_farewell_ends_the_client() {
    let table: [(How, &str, &[&str]); 8] = [
        (Bare, "server-shutdown", &[]),
        (Bare, "server-shutdown\n", &[]),
        (Bare, "bob: hiserver-shutdown", &["bob: hi"]),
        (Bare, "User bob leftserver-shutdown", &["User bob left"]),
        (Lines, "server-shutdown", &[]),
        (Lines, "bob: hi\nserver-shutdown", &["bob: hi"]),
        (Udp, "server-shutdown", &[]),
        (Udp, "server-shutdown\n", &[]),
    ];
    side_by_side(table, |(how, last, shown)| {
        let (mut client, mut host) = mike(how);
        host.says(last);
        client.expect_exit(0);
        client.stdout.expect_all(shown);
        client.stdout.expect_end();
    });
}

/// R6, R9, R13: our server ends, and so do all our clients, with nothing more shown
#[test]
fn r06_r09_r13_the_end_of_our_server_ends_our_clients() {
    for (options, hows) in [(&[][..], &TCP[..]), (&["--udp"], &[Udp, Udp])] {
        let mut server = Server::start(PROTOCOL, options);
        let mut ann = start_client(hows[0], "ann", server.port());
        server.stderr.find("ann");
        let mut ben = start_client(hows[1], "ben", server.port());
        ann.stdout.expect("User ben joined");
        server.signal(Signal::SIGINT);
        for process in [&mut ann, &mut ben] {
            process.expect_exit(0);
            process.stdout.expect_end();
        }
        server.expect_exit(0);
        server.stdout.expect_end();
    }
}

/// R14: "`exit`, end of input or Ctrl-C sends `exit` and ends with 0."; A5: "within 1 s", also when the server does not close its side
#[test]
fn r14_a05_a07_every_end_says_exit() {
    let ends: [End; 5] = [
        ("exit", |client| client.type_line("exit")),
        ("the end of input", Process::end_input),
        ("SIGINT", |client| client.signal(Signal::SIGINT)),
        ("SIGTERM", |client| client.signal(Signal::SIGTERM)),
        ("SIGHUP", |client| client.signal(Signal::SIGHUP)),
    ];
    side_by_side(ALL.iter().flat_map(|&how| ends.map(|end| (how, end))), |(how, (what, end))| {
        println!("{what}, {how:?}");
        let (mut client, mut host) = mike(how);
        end(&mut client);
        host.hears("exit");
        client.expect_exit(0);
        match &mut host {
            Host::Tcp(talker) => talker.ends(),
            Host::Udp(socket) => socket.expect_nothing(),
        }
        client.stdout.expect_end();
    });
}

/// A5: before the server has answered, too
#[test]
fn r14_a05_a_client_that_waits_for_its_welcome_can_be_ended() {
    side_by_side(ALL, |how| {
        let (mut client, mut host) = unwelcome_mike(how);
        client.signal(Signal::SIGINT);
        host.hears("exit");
        host.ends(&mut client);
    });
}

/// A4: "1 when it failed (…, connection lost)", before the welcome and after it
#[test]
fn a04_a_lost_connection_ends_with_1() {
    for how in TCP {
        let (mut client, host) = mike(how);
        drop(host);
        client.expect_exit(1);
        client.stdout.expect_end();
        let (mut client, host) = unwelcome_mike(how);
        drop(host);
        client.expect_exit(1);
        client.stdout.expect_end();
    }
}

/// R11: "The client repeats `join` every second"; and an answer to each repeat is not shown (R13)
#[test]
fn r11_r13_the_client_repeats_its_join() {
    let (mut client, host) = unwelcome_mike(Udp);
    let Host::Udp(mut host) = host else { unreachable!("over UDP") };
    let start = Instant::now();
    host.expect("mike:join");
    let gap = start.elapsed();
    let second = Duration::from_millis(700)..Duration::from_millis(2500);
    assert!(second.contains(&gap), "\nwanted: the next `join` after a second\n  have: after {gap:?}");
    for _ in 0..2 {
        host.send(WELCOME);
    }
    client.type_line("hello");
    host.expect("mike:hello");
    host.send("bob:hi");
    client.stdout.expect("bob:hi");
    client.end_input();
    host.expect("mike:exit");
    client.expect_exit(0);
    client.stdout.expect_end();
}

/// R11: "The client repeats `join` every second, up to 10 s without an answer (then: no server answers there, status 1)"
#[test]
fn r11_a04_no_answer_in_10_s_ends_with_1() {
    let start = Instant::now();
    let (mut client, host) = unwelcome_mike(Udp);
    let Host::Udp(mut host) = host else { unreachable!("over UDP") };
    assert_eq!(client.exit_code_within(Duration::from_secs(10) + PROMPTLY), 1);
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(9500), "\nwanted: patience for 10 s\n  have: {took:?}");
    let mut joins = 1;
    while let Some(datagram) = host.receive(Duration::ZERO) {
        joins += 1;
        assert_eq!(String::from_utf8_lossy(&datagram), "mike:join");
    }
    assert!((9..=11).contains(&joins), "\nwanted: a `join` each second\n  have: {joins} in {took:?}");
    assert_eq!(client.stdout.rest(), "", "wanted on the right: nothing on stdout");
    assert!(!client.stderr.rest().is_empty(), "wanted: a word on stderr\n  have: nothing");
}

/// A14: "Longer is refused as a whole with a clear reply; the connection lives on and the next message is read right.", on the client:
/// what no server takes is not sent
#[test]
fn a14_a_line_that_is_too_long_is_not_sent() {
    for how in ALL {
        let (mut client, mut host) = mike(how);
        client.type_line(&"x".repeat(4097));
        client.type_line(&"y".repeat(4096));
        client.type_line("next");
        host.hears(&"y".repeat(4096));
        host.hears("next");
        client.stderr.find("4096");
        // And what others say may be as long, with a name in front.
        let long = format!("{}: {}", "b".repeat(32), "z".repeat(4096));
        host.says(&long);
        client.stdout.expect(&long);
    }
}

/// A15: "**and** on the client before printing"; R13: "each message as it came (A15), one per line"
#[test]
fn r13_a15_the_client_prints_nothing_that_a_terminal_would_obey() {
    for how in ALL {
        let (mut client, mut host) = mike(how);
        for (bytes, wanted) in OBEYED {
            host.sends(bytes);
            client.stdout.expect(wanted);
        }
    }
}

/// A15, R13: a bare message or a datagram with a newline in it forges no line
#[test]
fn a15_a_newline_in_a_message_forges_no_line() {
    for how in [Bare, Udp] {
        let (mut client, mut host) = mike(how);
        host.says("bob: hi\nann: forged");
        client.stdout.expect("bob: hi?ann: forged");
    }
}

/// A3: "On a terminal a client redraws its prompt and what was half typed when a message arrives."; A5: "also while a line is half
/// typed"
#[test]
fn a03_a05_r14_a_half_typed_line_survives_a_message() {
    side_by_side(ALL, |how| {
        let door = Door::open(how);
        let port = door.port();
        let mut screen = Screen::client(&[&[PROTOCOL, "--name", "mike"], how.options(), &[&port]].concat());
        let mut host = door.admit(None);
        host.says(WELCOME);
        screen.expect_editor();
        host.says("User bob joined");
        screen.expect_rows(&["User bob joined"]);
        screen.type_keys("hel");
        screen.expect_typed("hel");
        host.says("bob: good morning");
        screen.expect_rows(&["User bob joined", "bob: good morning", "hel"]);
        screen.expect_typed("hel");
        screen.type_keys("lo\r");
        host.hears("hello");
        screen.type_keys("half");
        screen.expect_typed("half");
        screen.type_keys("\u{3}");
        host.hears("exit");
        screen.expect_exit(0);
    });
}

// ---------------------------------------------------------------- our client and our server

/// R2-R9, R13, R14 with real programs on both sides, over TCP: each output is exactly what the others did.
#[test]
fn r12_r13_a01_a_conversation_of_real_programs_over_tcp() {
    let mut server = tcp_server();
    let [mut carl] = joined(&server, [("carl", Bare)]);
    let mut ann = start_client(Bare, "ann", server.port());
    carl.hears("User ann joined");
    let mut ben = start_client(Lines, "ben", server.port());
    carl.hears("User ben joined");
    ann.stdout.expect("User ben joined");
    ann.type_line("hello all");
    carl.hears("ann: hello all");
    ben.stdout.expect("ann: hello all");
    ben.type_line("hi ann");
    carl.hears("ben: hi ann");
    ann.stdout.expect("ben: hi ann");
    carl.says("a raw hello");
    ann.stdout.expect("carl: a raw hello");
    ben.stdout.expect("carl: a raw hello");
    // The name is taken, for a real client as well.
    let mut other = start_client(Bare, "ben", server.port());
    other.stdout.expect(TAKEN);
    other.expect_exit(1);
    ann.type_line("exit");
    ann.expect_exit(0);
    ann.stdout.expect_end();
    carl.hears("User ann left");
    ben.stdout.expect("User ann left");
    ben.end_input();
    ben.expect_exit(0);
    ben.stdout.expect_end();
    carl.hears("User ben left");
    server.signal(Signal::SIGTERM);
    carl.hears(SHUTDOWN);
    carl.ends();
    server.expect_exit(0);
    server.stdout.expect_end();
}

/// The same over UDP. R8: "Real UDP relays are mostly raw `Alice:hi`."
#[test]
fn r12_r13_a01_a_conversation_of_real_programs_over_udp() {
    let mut server = udp_server();
    let [mut carl] = udp_joined(&server, ["carl"]);
    let mut ann = start_client(Udp, "ann", server.port());
    carl.expect("User ann joined");
    let mut ben = start_client(Udp, "ben", server.port());
    carl.expect("User ben joined");
    ann.stdout.expect("User ben joined");
    ann.type_line("hello all");
    carl.expect("ann:hello all");
    ben.stdout.expect("ann:hello all");
    carl.send("carl:a raw hello");
    ann.stdout.expect("carl:a raw hello");
    ben.stdout.expect("carl:a raw hello");
    let mut other = start_client(Udp, "ben", server.port());
    other.stdout.expect(TAKEN);
    other.expect_exit(1);
    ann.type_line("exit");
    ann.expect_exit(0);
    ann.stdout.expect_end();
    carl.expect("User ann left");
    ben.stdout.expect("User ann left");
    ben.signal(Signal::SIGINT);
    carl.expect("User ben left");
    ben.expect_exit(0);
    ben.stdout.expect_end();
    server.signal(Signal::SIGTERM);
    carl.expect(SHUTDOWN);
    server.expect_exit(0);
    server.stdout.expect_end();
}
