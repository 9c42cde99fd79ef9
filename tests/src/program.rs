//! The programs on pipes: start, type, read, signal, wait for the end.

use std::env;
use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::wait::{DEADLINE, Log, Output, fail, same, until};
use crate::{Raw, foreign};

/// The path of one of our programs (`chat-server`, `chat-client`), built before its first use in this test process.
pub fn path(name: &str) -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY
        .get_or_init(|| {
            do_not_pass_on_nohup();
            build()
        })
        .join(name)
}

/// Under `nohup` SIGHUP is ignored, and so it would be by every program that is started here. A handler, even one that
/// does nothing, is not inherited.
fn do_not_pass_on_nohup() {
    signal_hook::flag::register(Signal::SIGHUP as i32, Arc::default()).expect("a handler for SIGHUP");
}

/// Sends a signal to the process with this number, which must be one that this test started and knows to be running.
pub fn send_signal(process: i32, signal: Signal) {
    signal::kill(Pid::from_raw(process), signal).unwrap();
}

/// What stands in front of the address in the line by which a server says that it listens.
const READY: &str = "listening on ";

/// How to start a program.
pub struct Setup {
    program: PathBuf,
    arguments: Vec<String>,
    variables: Vec<(&'static str, &'static str)>,
    shell: Option<String>,
    stdout: Reading,
}

/// What becomes of what a program prints.
#[derive(Clone, Copy)]
enum Reading {
    Collected,
    /// Nobody takes it, and sooner or later the program cannot print any more.
    Stalled,
    /// There is nobody: printing fails.
    Closed,
}

impl Reading {
    /// What the program gets as its stdout. A pipe that nobody reads is closed before the program starts: it could print
    /// a line in the moment until then.
    fn pipe(self) -> Stdio {
        match self {
            Reading::Collected | Reading::Stalled => Stdio::piped(),
            Reading::Closed => std::io::pipe().expect("a pipe").1.into(),
        }
    }
}

impl Setup {
    /// `chat-server` with these arguments.
    pub fn server(arguments: &[&str]) -> Setup {
        Setup::program(path("chat-server"), arguments)
    }

    /// `chat-client` with these arguments.
    pub fn client(arguments: &[&str]) -> Setup {
        Setup::program(path("chat-client"), arguments)
    }

    /// Any program, with these arguments.
    pub fn program(program: impl Into<PathBuf>, arguments: &[&str]) -> Setup {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let (program, variables) = (program.into(), Vec::new());
        Setup { program, arguments, variables, shell: None, stdout: Reading::Collected }
    }

    /// Sets these variables of its environment.
    #[must_use]
    pub fn variables(mut self, variables: &[(&'static str, &'static str)]) -> Setup {
        self.variables.extend(variables);
        self
    }

    /// Lets a shell run `prelude` in the process before the program takes its place: `ulimit -n 20`, `trap '' HUP`.
    #[must_use]
    pub fn shell(mut self, prelude: &str) -> Setup {
        self.shell = Some(format!("{prelude}; exec \"$0\" \"$@\""));
        self
    }

    /// Gives the program a stdout that nobody reads: it is closed at the other end, and every write to it fails.
    #[must_use]
    pub fn stdout_closed(mut self) -> Setup {
        self.stdout = Reading::Closed;
        self
    }

    /// Gives the program a stdout that nobody reads, though it is open: when it is full, printing waits for ever.
    #[must_use]
    pub fn stdout_stalled(mut self) -> Setup {
        self.stdout = Reading::Stalled;
        self
    }

    /// Starts it.
    pub fn start(self) -> Process {
        let mut command = match &self.shell {
            Some(script) => shell(script, &self.program),
            None => Command::new(&self.program),
        };
        command.args(&self.arguments).envs(self.variables);
        let name = self.program.file_name().unwrap_or_default().to_string_lossy();
        Process::spawn(&name, command, self.stdout)
    }

    /// Starts it and waits until it says on stderr which port it listens on.
    #[track_caller]
    pub fn listen(self) -> Server {
        let mut process = self.start();
        let line = process.stderr.find(READY);
        Server::ready(process, &line)
    }

    /// The same for a protocol whose source has that line on stdout.
    #[track_caller]
    pub fn listen_on_stdout(self) -> Server {
        let mut process = self.start();
        let line = process.stdout.find(READY);
        Server::ready(process, &line)
    }
}

/// A program that runs, or ran, with pipes on all three sides. It is killed when dropped. A panic inside it fails the test.
pub struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    /// What it prints.
    pub stdout: Output,
    /// What it says beside that.
    pub stderr: Output,
    log: Log,
    exit_code: Option<i32>,
    /// Whether it is a foreign program, under a shell of its own.
    foreign: bool,
    _unread: Option<ChildStdout>,
}

impl Process {
    /// The client for `protocol`, ours or the foreign one, connected to this port on 127.0.0.1.
    pub fn client(protocol: &str, port: u16) -> Process {
        let port = port.to_string();
        match foreign::client(protocol) {
            Some(command) => foreign_program(&command, &port),
            None => Setup::client(&[protocol, "127.0.0.1", &port]).start(),
        }
    }

    fn spawn(name: &str, mut command: Command, reading: Reading) -> Process {
        command.stdin(Stdio::piped()).stdout(reading.pipe()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let mut unread = child.stdout.take();
        let stdout = match reading {
            Reading::Collected => unread.take().map(Output::collect),
            Reading::Stalled | Reading::Closed => None,
        };
        let stdout = stdout.unwrap_or_else(|| Output::collect(std::io::empty()));
        let stderr = Output::collect(child.stderr.take().unwrap());
        let mut log = Log::default();
        log.add(&format!("stdout of {name}"), &stdout);
        log.add(&format!("stderr of {name}"), &stderr);
        let stdin = child.stdin.take();
        Process { child, stdin, stdout, stderr, log, exit_code: None, foreign: false, _unread: unread }
    }

    /// Types a line.
    #[track_caller]
    pub fn type_line(&mut self, line: &str) {
        self.type_bytes(format!("{line}\n").as_bytes());
    }

    /// Types exactly these bytes.
    #[track_caller]
    pub fn type_bytes(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("the input was ended before");
        if let Err(error) = stdin.write_all(bytes) {
            fail("a program that reads its input", &error.to_string(), &self.log);
        }
    }

    /// Types these bytes, if the program still reads them. Whether it does.
    pub fn try_type(&mut self, bytes: &[u8]) -> bool {
        self.stdin.as_mut().is_some_and(|stdin| stdin.write_all(bytes).is_ok())
    }

    /// Types without end, by a thread, as much as the program takes.
    pub fn type_for_ever(&mut self, line: &str) {
        let mut stdin = self.stdin.take().expect("the input was ended before");
        let many = format!("{line}\n").repeat(100);
        std::thread::spawn(move || while stdin.write_all(many.as_bytes()).is_ok() {});
    }

    /// Ends the input, as Ctrl-D or the end of a pipe does.
    pub fn end_input(&mut self) {
        self.stdin = None;
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) {
        assert!(self.exit_code.is_none(), "the process has ended before: its number may be another's by now");
        if self.foreign {
            signal::killpg(self.pid(), signal).unwrap();
        } else {
            signal::kill(self.pid(), signal).unwrap();
        }
    }

    /// Waits for the end: the exit status as a shell gives it (128 + the signal's number, for one killed by a signal).
    #[track_caller]
    pub fn exit_code(&mut self) -> i32 {
        self.exit_code_within(DEADLINE)
    }

    /// The same, with a deadline of its own.
    #[track_caller]
    pub fn exit_code_within(&mut self, limit: Duration) -> i32 {
        match until(limit, || self.ended()) {
            Some(code) => code,
            None => fail(&format!("the end of the program within {limit:?}"), "it runs", &self.log),
        }
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.ended().is_none()
    }

    /// It ends with this status, promptly, and nobody had to kill it.
    #[track_caller]
    pub fn expect_exit(&mut self, wanted: i32) {
        let have = self.exit_code_within(crate::PROMPTLY);
        same(&format!("exit status {wanted}"), &format!("exit status {have}"), &self.log);
    }

    /// Whether it is the program of somebody else, named in the environment.
    pub fn is_foreign(&self) -> bool {
        self.foreign
    }

    /// What a failure message about this process quotes.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The processor time that it has used so far, in ticks of 10 ms.
    pub fn processor_ticks(&self) -> u64 {
        let stat = fs::read_to_string(self.proc("stat")).unwrap();
        // The fields behind the name, which may hold spaces itself. 11 and 12 behind it are user and system time.
        let behind = stat.rsplit(')').next().unwrap();
        behind.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }

    /// How many system calls of the kind of `write` it has made so far.
    pub fn write_calls(&self) -> u64 {
        let table = fs::read_to_string(self.proc("io")).unwrap();
        let count = table.lines().find_map(|line| line.strip_prefix("syscw: "));
        count.and_then(|count| count.parse().ok()).expect("syscw in /proc/PID/io")
    }

    /// What each of its open file descriptors leads to: `(5, "socket:[4711]")`.
    pub fn descriptors(&self) -> Vec<(u32, String)> {
        let entries = fs::read_dir(self.proc("fd")).unwrap().flatten();
        let describe = |entry: fs::DirEntry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            Some((number, fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned()))
        };
        entries.filter_map(describe).collect()
    }

    /// The names of its threads.
    pub fn threads(&self) -> Vec<String> {
        let entries = fs::read_dir(self.proc("task")).unwrap().flatten();
        // One that has ended meanwhile has no name any more.
        let names = entries.filter_map(|entry| fs::read_to_string(entry.path().join("comm")).ok());
        names.map(|name| name.trim_end().to_owned()).collect()
    }

    fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.child.id()))
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    fn ended(&mut self) -> Option<i32> {
        if self.exit_code.is_none() {
            let status = self.child.try_wait().unwrap()?;
            self.exit_code = status.code().or(status.signal().map(|signal| 128 + signal));
        }
        self.exit_code
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.foreign {
            // The shell, and whatever it started: they got a process group of their own.
            let _ = signal::killpg(self.pid(), Signal::SIGKILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let panicked = self.stderr.text().contains("panicked at");
        if panicked && !self.foreign && !std::thread::panicking() {
            fail("a program that does not panic", "it panicked", &self.log);
        }
    }
}

/// A server that listens. It is a [`Process`] first of all.
pub struct Server {
    process: Process,
    address: SocketAddr,
}

impl Server {
    /// The server for `protocol`, ours or the foreign one, on a free port of 127.0.0.1.
    #[track_caller]
    pub fn any(protocol: &str) -> Server {
        match foreign::server(protocol) {
            Some(command) => foreign_server(&command),
            None => Server::start(protocol, &[]),
        }
    }

    /// Our server for `protocol` with more options, on a free port of 127.0.0.1.
    #[track_caller]
    pub fn start(protocol: &str, options: &[&str]) -> Server {
        let arguments = [&[protocol, "0", "--bind", "127.0.0.1"], options].concat();
        Setup::server(&arguments).listen()
    }

    /// A process that has said in this line where it listens.
    #[track_caller]
    fn ready(process: Process, line: &str) -> Server {
        let address = line.split(READY).last().and_then(|address| address.trim().parse().ok());
        let Some(address) = address else { fail("listening on ADDRESS:PORT", line, &process.log) };
        Server { process, address }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Connects to it.
    #[track_caller]
    pub fn connect(&self) -> Raw {
        let raw = Raw::connect(self.address, &self.log);
        if self.foreign { raw.lenient() } else { raw }
    }

    /// Connects to it with a receive buffer so small (in bytes) that this side's laziness is soon felt at the other.
    #[track_caller]
    pub fn connect_narrow(&self, receive_buffer: usize) -> Raw {
        Raw::connect_narrow(self.address, receive_buffer, &self.log)
    }
}

impl std::ops::Deref for Server {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl std::ops::DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// The process alone: where it listens is known elsewhere.
impl From<Server> for Process {
    fn from(server: Server) -> Process {
        server.process
    }
}

/// Builds both programs with the profile and into the directory of this executable, and gives the directory where they
/// are then. A test is `<target directory>/<profile's directory>/deps/it-…`; a program stands where they do.
fn build() -> PathBuf {
    let executable = env::current_exe().expect("the path of this executable");
    let beside = executable.parent().expect("<target>/<profile>");
    let directory =
        if beside.ends_with("deps") { beside.parent().expect("<target>/<profile>") } else { beside };
    let directory = directory.to_owned();
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let mut cargo = Command::new(env!("CARGO"));
    // Of the whole workspace, as `cargo test` and make do it: other selections have other features, and build anew.
    cargo.args(["build", "--quiet", "--workspace", "--bin", "chat-server", "--bin", "chat-client"]);
    cargo.args(["--profile", profile]);
    cargo.arg("--target-dir").arg(directory.parent().expect("<target>"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    match cargo.output() {
        Ok(output) if output.status.success() => directory,
        Ok(output) => {
            panic!("the programs under test do not build:\n{}", String::from_utf8_lossy(&output.stderr))
        }
        Err(error) => panic!("cannot run {} to build the programs under test: {error}", env!("CARGO")),
    }
}

fn shell(script: &str, zeroth: &Path) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).arg(zeroth);
    command
}

fn foreign_server(command: &str) -> Server {
    // Taken and given back: nobody else gets it in the next moments.
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap();
    let mut process = foreign_program(command, &address.port().to_string());
    let ready = until(DEADLINE, || TcpStream::connect(address).ok());
    if ready.is_none() {
        let have = if process.runs() { "it runs, but does not" } else { "it has ended" };
        fail(&format!("a server that listens on {address}: {command}"), have, &process.log);
    }
    Server { process, address }
}

fn foreign_program(command: &str, port: &str) -> Process {
    let host = IpAddr::from(Ipv4Addr::LOCALHOST).to_string();
    let script = command.replace("{port}", port).replace("{host}", &host);
    let mut command = shell(&script, Path::new("sh"));
    command.env("PYTHONUNBUFFERED", "1").process_group(0);
    let mut process = Process::spawn(&script, command, Reading::Collected);
    process.foreign = true;
    process
}
