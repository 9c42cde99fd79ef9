//! The same programs in the panes of tmux, left running for the audience to type into.

use crate::events::Events;
use crate::failure::Failure;
use crate::known::Known;
use crate::script::{Act, Member, Program, Script};
use chat_tests::DEADLINE;
use std::cmp::Reverse;
use std::fmt::Display;
use std::fs;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::Command;

/// The name of our own tmux: the user's sessions are in another.
const SOCKET: &str = "chat-demo";

/// Names above the panes, and what a program said last when it has ended. Until a terminal is attached, and tmux takes
/// its size, there is room for all panes.
const SETTINGS: &str = "\
set -g remain-on-exit on
set -g pane-border-status top
set -g pane-border-format ' #{pane_title} '
set -g mouse on
set -g status-right-length 60
set -g status-right ' to leave: Ctrl-b d, to end: Ctrl-b :kill-session '
set -g default-size 200x50
";

/// What a pane runs: it shows the command line, and then the program takes its place.
const SHOW_AND_RUN: [&str; 4] = ["sh", "-c", r#"printf '$ %s\n' "$1"; shift; exec "$@""#, "sh"];

/// Opens a session with a window for each act, and shows it if stdout is a terminal.
pub(crate) fn open(script: &Script, programs: &Path, events: &Events) -> Result<(), Failure> {
    let session = Session::new(script)?;
    let folder = tempfile::Builder::new().prefix("chat-demo-").tempdir();
    let folder = folder.map_err(|error| broken("cannot make a temporary folder", error))?;
    let opened = session.open(script, programs, folder.path(), events);
    opened.and_then(|()| session.attach()).inspect_err(|_| session.end())?;
    if session.is_open() {
        // The programs go on, and have their files there.
        let _ = folder.keep();
        session.say_how_to_go_on()?;
    }
    Ok(())
}

/// A session of our own tmux.
struct Session(&'static str);

impl Session {
    fn new(script: &Script) -> Result<Self, Failure> {
        let session = Self(script.name);
        tmux(&["-V"])?;
        if session.is_open() {
            let [attach, end] = session.commands();
            return Err(Failure::Broken(format!("it is open already: `{attach}` shows it, `{end}` ends it")));
        }
        Ok(session)
    }

    fn open(&self, script: &Script, programs: &Path, folder: &Path, events: &Events) -> Result<(), Failure> {
        let settings = folder.join("tmux.conf");
        fs::write(&settings, SETTINGS).map_err(|error| broken("cannot write a file for tmux", error))?;
        let mut windows = Vec::new();
        for act in script.acts {
            let mut window = Window { session: self, act, programs, folder, panes: Vec::new() };
            window.open(&settings, events)?;
            windows.push(window);
        }
        // The first of those with the most panes.
        windows.iter().min_by_key(|window| Reverse(window.panes.len())).map_or(Ok(()), Window::select)
    }

    /// Shows it on a terminal, until the user leaves it.
    fn attach(&self) -> Result<(), Failure> {
        if io::stdout().is_terminal() {
            let attached = command().args(["attach", "-t", &self.target()]).status();
            attached.map_err(|error| broken("cannot run tmux", error))?;
        }
        Ok(())
    }

    fn is_open(&self) -> bool {
        tmux(&["has-session", "-t", &self.target()]).is_ok()
    }

    fn end(&self) {
        // What is not there needs no end.
        let _ = tmux(&["kill-session", "-t", &self.target()]);
    }

    fn say_how_to_go_on(&self) -> Result<(), Failure> {
        let [attach, end] = self.commands();
        let mut stdout = io::stdout();
        writeln!(stdout, "{} runs in tmux.\nto see it: {attach}\nto end it: {end}", self.0)?;
        Ok(stdout.flush()?)
    }

    /// What shows it, and what ends it.
    fn commands(&self) -> [String; 2] {
        ["attach", "kill-session"].map(|command| format!("tmux -L {SOCKET} {command} -t {}", self.0))
    }

    /// It, and no other whose name begins so.
    fn target(&self) -> String {
        format!("={}:", self.0)
    }
}

/// The cast of an act in its panes.
struct Window<'a> {
    session: &'a Session,
    act: &'a Act,
    programs: &'a Path,
    folder: &'a Path,
    /// Each pane's member, and what tmux calls it.
    panes: Vec<(&'static Member, String)>,
}

impl Window<'_> {
    /// Starts the programs one after the other: a server listens before a client comes.
    fn open(&mut self, settings: &Path, events: &Events) -> Result<(), Failure> {
        let mut known = Known::default();
        choose_ports(self.act, &mut known).map_err(|error| broken("no free ports", error))?;
        for &member in self.act.cast {
            let arguments = member.arguments.iter().chain(member.unscripted);
            let arguments: Vec<String> = arguments.map(|argument| known.fill(argument, "0")).collect();
            let pane = self.open_pane(member, &arguments, settings)?;
            tmux(&["select-pane", "-t", &pane, "-T", member.name])?;
            tmux(&["select-layout", "-t", &pane, "tiled"])?;
            self.wait_for_greeting(member, &pane, &mut known, events)?;
            self.panes.push((member, pane));
        }
        Ok(())
    }

    /// A pane in which this member's program runs, below the command line that started it.
    fn open_pane(&self, member: &Member, arguments: &[String], settings: &Path) -> Result<String, Failure> {
        let program = self.programs.join(member.program.file());
        let line = format!("{} {}", member.program.file(), arguments.join(" "));
        let [settings, folder, program] = [settings, self.folder, &program].map(Path::to_string_lossy);
        let target = self.session.target();
        let title = self.act.title.split(':').next().unwrap_or_default();
        let mut command = match self.panes.last() {
            Some((_, pane)) => vec!["split-window", "-t", pane],
            None if self.session.is_open() => vec!["new-window", "-t", &target, "-n", title],
            None => vec!["-f", &settings, "new-session", "-d", "-s", self.session.0, "-n", title],
        };
        command.extend(["-c", &folder, "-P", "-F", "#{pane_id}"]);
        command.extend(SHOW_AND_RUN);
        command.extend([line.as_str(), &program]);
        command.extend(arguments.iter().map(String::as_str));
        tmux(&command)
    }

    /// Waits until the pane shows what the script says of this program's start.
    fn wait_for_greeting(
        &self,
        member: &Member,
        pane: &str,
        known: &mut Known,
        events: &Events,
    ) -> Result<(), Failure> {
        let mut wanted = self.act.greeting(member).peekable();
        let mut rows = String::new();
        events.until(DEADLINE, || {
            rows = tmux(&["capture-pane", "-p", "-J", "-S", "-", "-t", pane])?;
            for row in rows.lines() {
                wanted.next_if(|line| known.learn_from(row.trim_end(), line));
            }
            Ok(wanted.peek().is_none().then_some(()))
        })?;
        match wanted.next() {
            None => Ok(()),
            Some(line) => Err(Failure::Differs {
                behind: "its start".into(),
                who: member.name,
                wanted: known.fill(line, "*"),
                have: rows.trim_end().to_owned(),
            }),
        }
    }

    /// Brings it to the front, with the first client ready to type into.
    fn select(&self) -> Result<(), Failure> {
        let client = self.panes.iter().find(|(member, _)| member.program == Program::Client);
        if let Some((_, pane)) = client {
            tmux(&["select-window", "-t", pane])?;
            tmux(&["select-pane", "-t", pane])?;
        }
        Ok(())
    }
}

/// Ports that are free over TCP and UDP, for all holes in the command lines. All are held until all are chosen.
fn choose_ports(act: &Act, known: &mut Known) -> io::Result<()> {
    let mut held = Vec::new();
    for argument in act.cast.iter().flat_map(|member| member.arguments) {
        let names: Vec<&str> = known.unknown(argument).collect();
        for name in names {
            let (port, sockets) = free_port()?;
            known.learn(name, port.to_string());
            held.push(sockets);
        }
    }
    Ok(())
}

fn free_port() -> io::Result<(u16, impl Sized)> {
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        match UdpSocket::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(socket) => return Ok((port, (listener, socket))),
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
}

/// What our tmux says to a command.
fn tmux(arguments: &[&str]) -> Result<String, Failure> {
    let output = command().args(arguments).output().map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            Failure::Broken("tmux is not installed; without --tmux it works as well".into())
        }
        _ => broken("cannot run tmux", error),
    })?;
    let [said, complained] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).trim_end().to_owned());
    match output.status.success() {
        true => Ok(said),
        false => Err(broken("tmux", complained)),
    }
}

/// A command of our tmux, which may be called from within the user's.
fn command() -> Command {
    let mut command = Command::new("tmux");
    command.args(["-L", SOCKET]).env_remove("TMUX");
    command
}

fn broken(what: &str, cause: impl Display) -> Failure {
    Failure::Broken(format!("{what}: {cause}"))
}
