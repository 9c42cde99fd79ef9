//! The soak itself (`make soak`): a few seconds of it, and that it can fail.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use chat_tests::program::{path, send_signal};
use chat_tests::{DEADLINE, Signal, until};

/// A soak with these arguments, whose samples go to a file of this name, to be started. What it starts is
/// built before.
fn soak(samples: &str, arguments: &[&str]) -> (Command, PathBuf) {
    path("chat-server");
    let csv = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(samples);
    let mut command = Command::new(env!("CARGO_BIN_EXE_soak"));
    command.arg("--csv").arg(&csv).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    (command, csv)
}

/// All is well: status 0, a line for each program with its figures, a line that tells what happened, and the
/// samples.
#[test]
fn a_short_soak_finds_everything_flat() {
    let (mut command, csv) = soak("short.csv", &["--minutes", "0.04", "--seed", "7", "lobby", "room"]);
    let output = command.output().unwrap();
    let report = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success(), "wanted: status 0\nhave: {}", told(&output));
    assert!(report.starts_with("seed 7\n"), "wanted: the seed that was given\nhave: {}", told(&output));
    for program in ["lobby", "lobby client", "room (TCP)", "room (UDP)", "room (UDP) client"] {
        let start = format!("{program:<22}");
        let line = report.lines().find_map(|line| line.strip_prefix(&start));
        let figures = line.unwrap_or_default().split_whitespace().filter_map(|word| word.parse::<u64>().ok());
        // Four moments of four figures, and the peak.
        assert_eq!(figures.count(), 17, "wanted on the right: figures of {program}\nhave: {}", told(&output));
    }
    for protocol in ["lobby", "room (TCP)", "room (UDP)"] {
        let wanted = |line: &str| line.starts_with(&format!("{protocol}: ")) && line.ends_with(": flat");
        assert!(report.lines().any(wanted), "wanted: {protocol} is flat\nhave: {}", told(&output));
    }
    let samples = fs::read_to_string(csv).unwrap();
    let columns: Vec<usize> = samples.lines().map(|line| line.split(',').count()).collect();
    assert!(columns.len() > 10 && columns.iter().all(|count| *count == 15), "have: {samples}");
}

/// A server that ends in the middle of it fails it: status 1, and the report says so.
#[test]
fn a_soak_whose_server_dies_fails() {
    let (mut command, csv) = soak("dies.csv", &["--minutes", "0.2", "lobby"]);
    let soak = command.spawn().unwrap();
    // The first samples are there when the steady pair is.
    let begun = || fs::read_to_string(&csv).ok().filter(|samples| samples.contains(",rest,"));
    let server = until(3 * DEADLINE, || begun().and_then(|_| server_of(&soak)));
    if let Some(server) = server {
        send_signal(server, Signal::SIGKILL);
    }
    let output = soak.wait_with_output().unwrap();
    assert!(server.is_some(), "wanted: a soak with a server\nhave: {}", told(&output));
    assert_eq!(
        output.status.code(),
        Some(1),
        "wanted on the right: the status of a failure\nhave: {}",
        told(&output)
    );
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(report.contains("NOT FLAT, OR NOT SERVED"), "wanted: a verdict\nhave: {}", told(&output));
}

#[test]
fn a_wrong_command_line_of_the_soak_is_refused() {
    for wrong in
        [&["telegraph"][..], &["--minutes", "0"], &["--minutes", "soon"], &["--seed", "x"], &["--dry"]]
    {
        let output = soak("wrong.csv", wrong).0.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {}", told(&output));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("usage: soak"), "wanted: the usage\nhave: {said}");
    }
}

/// The server that the soak has started: the one of its processes with that name.
fn server_of(soak: &Child) -> Option<i32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_it = |number: &i32| {
        let stat = fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
        // The name in brackets, its state, and its parent.
        let parent = stat.split_whitespace().nth(3).and_then(|parent| parent.parse().ok());
        stat.contains("(chat-server)") && parent == Some(soak.id())
    };
    numbers.into_iter().find(is_it)
}

/// All that a soak has said.
fn told(output: &Output) -> String {
    let [report, complaints] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{}\n{report}\n{complaints}", output.status)
}
