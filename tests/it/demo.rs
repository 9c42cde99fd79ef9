//! The demo: `make demo` plays the sample sessions of the sources with the real programs, and `make demo-tmux` opens them in
//! tmux. What the programs are to show is tested in the other modules; here it is that the demo shows it, tells when it is
//! something else, and leaves nothing behind.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use chat_tests::program::path;
use chat_tests::{DEADLINE, PROMPTLY, Process, Pty, Setup, Signal, until};
use portable_pty::CommandBuilder;
use tempfile::TempDir;

const DEMO: &str = env!("CARGO_BIN_EXE_demo");

/// How long a session may take that nobody watches. Far more than it takes: a busy machine must not fail a test.
const LONG: Duration = Duration::from_secs(30);

// ---------------------------------------------------------------- what it plays

/// Some lines of each session, in their order.
const SESSIONS: [(&str, &[&str]); 5] = [
    (
        "lobby",
        &[
            "Alice   > Enter JOIN followed by your username: JOIN Alice",
            "server  | Trudy Joined the Chatroom",
            "Alice   > BCST Hello",
            "Trudy   > LIST",
            "Trudy   | Alice,Bob,Alex,Mike,Trudy",
            "Alex    . ended",
        ],
    ),
    (
        "overlay",
        &[
            "client1 > sendto unknownClient message2",
            "server  | unknownClient is not registered with server",
            "client2 > sendto client1 message2",
            "server1 > ^C",
            "server1 | terminating server...",
        ],
    ),
    (
        "channels",
        &[
            "Panda   > [Me] Hello world!",
            "Panda   | Not currently in any channel. Must join a channel before sending messages.",
            "Alice   | 168_tas",
            "Panda   > [Me] ^C",
            "Alice   . ended with status 1",
        ],
    ),
    (
        "room",
        &[
            "-- ServerTCP and ClientTCP",
            "Bob     | Alice: hello",
            "-- ServerUDP and ClientUDP",
            "Bob     | Alice:hello",
            "Alice   . ended",
        ],
    ),
    (
        "bridge",
        &[
            "Alice   > >/bridge",
            "server  > /info",
            "Bob     > >Doing well, Alice. Time for coffee?",
            "Alice   | >Doing well, Alice. Time for coffee?",
            "Alice   > >/quit",
        ],
    ),
];

#[test]
fn it_plays_all_five_sessions() {
    let house = House::new();
    let mut demo = house.start(&["--fast"]);
    let status = demo.exit_code_within(LONG);
    assert_eq!((status, demo.stderr.rest()), (0, String::new()), "wanted on the right: a quiet success");
    let shown = demo.stdout.rest();
    let odd: Vec<&str> = shown.lines().filter(|line| !is_in_shape(line)).collect();
    assert!(odd.is_empty(), "wanted: whose line it is in front of every line\nhave: {odd:#?}");
    let mut lines = shown.lines();
    for (protocol, wanted) in SESSIONS {
        let headline = lines.find_map(|line| line.strip_prefix("== "));
        assert_eq!(headline.and_then(|text| text.split(':').next()), Some(protocol));
        for line in wanted {
            assert!(lines.any(|have| have == *line), "wanted: {line}, in its place\nhave: {shown}");
        }
    }
    house.expect_empty();
}

#[test]
fn on_a_terminal_it_is_coloured_unless_that_is_not_wanted() {
    for (no_colour, wanted) in [("", true), ("1", false)] {
        let house = House::new();
        let mut demo = house.start_on_terminal(&["--fast", "channels"], no_colour, 100);
        let status = until(LONG, || demo.exit_status().unwrap()).expect("an end");
        assert!(status.success(), "wanted: success\nhave: {status}");
        until(DEADLINE, || demo.output_ended().then_some(())).expect("the end of its output");
        let emulator = demo.emulator();
        let coloured =
            |row| emulator.screen().cell(row, 0).is_some_and(|cell| cell.fgcolor() != vt100::Color::Default);
        assert_eq!(
            (0..100).any(coloured),
            wanted,
            "NO_COLOR={no_colour:?}: {}",
            emulator.screen().contents()
        );
        let shown = emulator.screen().contents();
        assert!(shown.contains("\nAlice   | Panda has left\n"), "wanted: the session\nhave: {shown}");
        assert_eq!(shown.matches("== ").count(), 1, "wanted on the right: the one that was named");
    }
}

/// The Makefile's own default for PROTOCOL is not a choice of the user's.
#[test]
fn make_plays_all_unless_one_is_named() {
    for (variables, wanted) in [(&[][..], "--bin demo --"), (&["PROTOCOL=overlay"], "--bin demo -- overlay")]
    {
        let mut make = Command::new("make");
        make.args(["--dry-run", "demo"])
            .args(variables)
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        for variable in ["PROTOCOL", "ARGS", "MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES"] {
            make.env_remove(variable);
        }
        let commands = String::from_utf8(make.output().unwrap().stdout).unwrap();
        let last = commands.lines().last().unwrap_or_default();
        let words: Vec<&str> = last.split_whitespace().collect();
        assert!(words.join(" ").ends_with(wanted), "wanted: {wanted}\nhave: {commands}");
    }
}

// ---------------------------------------------------------------- how it fails

#[test]
fn a_wrong_command_line_is_told() {
    for (arguments, wanted) in [
        (&["nonsense"][..], "there is no protocol 'nonsense'"),
        (&["lobby", "Lobby"], "there is no protocol 'Lobby'"),
        (&["--slow"], "'slow'"),
        (&["--tmux"], "--tmux takes one protocol"),
        (&["--tmux", "lobby", "room"], "--tmux takes one protocol"),
    ] {
        let mut demo = Setup::program(DEMO, arguments).start();
        demo.expect_exit(2);
        let said = demo.stderr.rest();
        let first = said.lines().next().unwrap_or_default();
        assert!(first.contains(wanted), "wanted: {wanted}\nhave: {said}");
        assert!(said.contains("usage: demo "), "wanted: the usage\nhave: {said}");
    }
    let mut help = Setup::program(DEMO, &["--help"]).start();
    help.expect_exit(0);
    help.stdout.find("usage: demo ");
}

#[test]
fn it_tells_what_is_not_as_the_source_says() {
    let started = "echo The Chat Server Started";
    let cases = [
        ("listening on 127.0.0.1:*", "listening on port 80", format!("{started}; echo listening on port 80")),
        ("The Chat Server Started", "ended with status 3", "exit 3".into()),
        ("The Chat Server Started", "ended: Terminated by Killed", "kill -9 $$".into()),
        ("listening on 127.0.0.1:*", "nothing more in 5s", started.into()),
        ("The Chat Server Started", "\"The Chat\", and nothing more in 5s", "printf 'The Chat'".into()),
    ];
    // All at once: two of them fail because they wait in vain.
    let start = |(wanted, have, script)| {
        let house = House::new();
        house.add_program("chat-server", &format!("#!/bin/sh\n{script}\nsleep 100\n"));
        let demo = house.start(&["--fast", "--programs", house.name(), "lobby"]);
        (house, demo, wanted, have)
    };
    let demos: Vec<_> = cases.into_iter().map(start).collect();
    for (house, mut demo, wanted, have) in demos {
        assert_eq!(demo.exit_code_within(LONG), 1, "wanted on the right: the status of a failure");
        let behind = "server $ chat-server lobby 0 --bind 127.0.0.1";
        let said = format!(
            "demo: server's terminal is not as the source says, behind: {behind}\nwanted: {wanted}\n  have: {have}\n"
        );
        assert_eq!(demo.stderr.rest(), said, "wanted on the right");
        house.expect_empty();
    }
}

#[test]
fn it_tells_that_there_are_no_programs() {
    let house = House::new();
    let mut demo = house.start(&["--fast", "--programs", house.name(), "lobby"]);
    demo.expect_exit(1);
    demo.stderr.find("demo: cannot start chat-server: ");
    let mut demo = house.start(&["--fast", "--programs", "/no/such/folder", "lobby"]);
    demo.expect_exit(1);
    demo.stderr.find("demo: no folder /no/such/folder: ");
    house.expect_empty();
}

// ---------------------------------------------------------------- what it leaves behind

#[test]
fn ctrl_c_ends_everything() {
    let house = House::new();
    let mut demo = house.start_on_terminal(&["lobby"], "", 100);
    let typing = || demo.emulator().screen().contents().contains("\nAlice   > ").then_some(());
    until(LONG, typing).expect("Alice at her prompt");
    assert_eq!(house.programs(), ["chat-client", "chat-server"], "wanted on the right: who is on stage");
    demo.type_keys("\x03").unwrap();
    let status = until(PROMPTLY, || demo.exit_status().unwrap()).expect("an end");
    assert_eq!(
        (status.exit_code(), status.signal()),
        (130, None),
        "wanted on the right: the status of Ctrl-C"
    );
    house.expect_empty();
}

/// A signal in a pause, from somebody who waits for the end.
#[test]
fn a_signal_ends_everything() {
    for (signal, wanted) in [(Signal::SIGTERM, 143), (Signal::SIGHUP, 129)] {
        let house = House::new();
        let mut demo = house.start(&["overlay"]);
        demo.stdout.find("client1 $ ");
        demo.signal(signal);
        demo.expect_exit(wanted);
        house.expect_empty();
    }
}

#[test]
fn a_closed_stdout_ends_everything_quietly() {
    let house = House::new();
    let setup = Setup::program(DEMO, &["--fast", "lobby"]).stdout_closed();
    let mut demo = setup.shell(&house.prelude()).start();
    demo.expect_exit(0);
    demo.stderr.expect_end();
    house.expect_empty();
    // After some lines.
    let script = format!("{}; ( \"$0\" lobby; echo \"status $?\" >&2 ) | head -n 4; exit", house.prelude());
    let mut demo = Setup::program(DEMO, &[]).shell(&script).start();
    assert_eq!(demo.stdout.rest().lines().count(), 4, "wanted on the right: the lines that head takes");
    assert_eq!(demo.stderr.rest(), "status 0\n", "wanted on the right: a quiet end");
    house.expect_empty();
}

// ---------------------------------------------------------------- in tmux

#[test]
fn without_tmux_one_line_says_so() {
    let mut demo = Setup::program(DEMO, &["--tmux", "lobby"]).shell("export PATH=").start();
    demo.expect_exit(1);
    demo.stderr.expect("demo: tmux is not installed; without --tmux it works as well");
    demo.stderr.expect_end();
    demo.stdout.expect_end();
}

#[test]
fn tmux_has_a_pane_for_each_program() {
    if Command::new("tmux").arg("-V").output().is_err() {
        println!("skipped: tmux is not installed");
        return;
    }
    let house = House::new();
    let mut demo = house.start(&["--tmux", "overlay"]);
    demo.stdout.expect("overlay runs in tmux.");
    demo.expect_exit(0);
    assert_eq!(
        house.tmux("list-windows -t overlay -F '#{window_name}#{?window_active, *,}'"),
        "Part 1\nPart 2\nPart 3 *"
    );
    let panes = "list-panes -t overlay -F '#{pane_title} #{pane_current_command} #{pane_active}'";
    assert_eq!(
        house.tmux(panes),
        "server1 chat-server 0\nserver2 chat-server 0\nclient1 chat-client 1\nclient2 chat-client 0"
    );
    // The audience types: Client 1 has the cursor.
    house.tmux("send-keys -t overlay 'sendto client2 hello' Enter");
    let pane = house.tmux("list-panes -t overlay -F '#{pane_id}'").lines().last().unwrap().to_owned();
    let shown = || {
        Some(house.tmux(&format!("capture-pane -p -t {pane}"))).filter(|rows| rows.contains("client1: hello"))
    };
    let rows = until(DEADLINE, shown).expect("what client 1 said on the terminal of client 2");
    assert!(
        rows.starts_with("$ chat-client overlay -s 127.0.0.1 -p "),
        "wanted: the command line\nhave: {rows}"
    );
    let mut again = house.start(&["--tmux", "overlay"]);
    again.expect_exit(1);
    again.stderr.find("it is open already");
    house.tmux("kill-session -t overlay");
    house.expect_nobody();
}

// ---------------------------------------------------------------- helpers

/// A folder for all temporary files of a demo. Whatever it starts runs in there.
struct House(TempDir);

impl House {
    fn new() -> House {
        House(tempfile::tempdir().unwrap())
    }

    fn name(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    /// What makes a shell's programs live in here.
    fn prelude(&self) -> String {
        format!("export TMPDIR={0} TMUX_TMPDIR={0} NO_COLOR=; unset TMUX", self.name())
    }

    fn start(&self, arguments: &[&str]) -> Process {
        path("chat-server");
        Setup::program(DEMO, arguments).shell(&self.prelude()).start()
    }

    fn start_on_terminal(&self, arguments: &[&str], no_colour: &str, rows: u16) -> Pty {
        path("chat-server");
        let mut command = CommandBuilder::new(DEMO);
        command.args(arguments);
        command.env("TMPDIR", self.name());
        command.env("NO_COLOR", no_colour);
        Pty::start(command, rows, 200, || ()).unwrap()
    }

    fn add_program(&self, name: &str, script: &str) {
        let file = self.0.path().join(name);
        fs::write(&file, script).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o755)).unwrap();
    }

    /// The names of the programs that run in here, sorted.
    fn programs(&self) -> Vec<String> {
        let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        // Those that have ended meanwhile are nowhere.
        let in_here = |process: &PathBuf| {
            fs::read_link(process.join("cwd")).is_ok_and(|folder| folder.starts_with(self.0.path()))
        };
        let names =
            processes.filter(in_here).filter_map(|process| fs::read_to_string(process.join("comm")).ok());
        let mut names: Vec<String> = names.map(|name| name.trim_end().to_owned()).collect();
        names.sort();
        names
    }

    /// Nothing runs in here any more.
    #[track_caller]
    fn expect_nobody(&self) {
        if until(PROMPTLY, || self.programs().is_empty().then_some(())).is_none() {
            panic!("wanted: no program left behind\nhave: {:?}", self.programs());
        }
    }

    /// The same, and no file of a demo is left either.
    #[track_caller]
    fn expect_empty(&self) {
        self.expect_nobody();
        let files = fs::read_dir(self.0.path()).unwrap().flatten().map(|entry| entry.file_name());
        let left: Vec<_> = files.filter(|name| name.to_string_lossy().starts_with("chat-demo-")).collect();
        assert!(left.is_empty(), "wanted: no folder left behind\nhave: {left:?}");
    }

    /// Runs a command line of the demo's own tmux.
    #[track_caller]
    fn tmux(&self, command: &str) -> String {
        let script = format!("{}; tmux -L chat-demo {command}", self.prelude());
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert!(output.status.success(), "wanted: tmux {command}\nhave: {said:?}");
        said[0].trim_end().to_owned()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if thread::panicking() {
            // What tmux runs is not a child of the test.
            let script = format!("{}; tmux -L chat-demo kill-server", self.prelude());
            let _ = Command::new("sh").args(["-c", &script]).output();
        }
    }
}

/// A headline, a gap, or a name, a mark and a text, without anything that a terminal would obey.
fn is_in_shape(line: &str) -> bool {
    let headed = line.is_empty() || line.starts_with("== ") || line.starts_with("-- ");
    let named = line.split_at_checked(8).is_some_and(|(name, rest)| {
        let marked = ["$ ", "> ", "| ", ". "].iter().any(|mark| rest.starts_with(mark));
        marked && name.starts_with(char::is_alphabetic)
    });
    (headed || named) && !line.contains(char::is_control)
}
