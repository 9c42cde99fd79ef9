//! A server under measurement: a process of its own, so that what it uses can be told from what the load
//! uses.

use std::env;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;
use std::time::Duration;

use chat_tests::Usage;
use chat_tests::usage::processor_time;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;

use super::options::CONTEND;
use super::processors::Processors;

/// A running server, killed when dropped.
pub(crate) struct Contender {
    child: Child,
    address: SocketAddr,
}

impl Contender {
    /// Starts `program` and waits for the line on its stderr that ends with the address where it listens.
    ///
    /// # Errors
    /// It cannot be started, or ends without such a line.
    pub(crate) fn start(program: &Path, arguments: &[&str], processors: Processors) -> io::Result<Self> {
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        let (mut contender, stderr) = Self::spawn(program, arguments, unknown, processors)?;
        match listening_on(program, stderr) {
            Some(address) => contender.address = address,
            None => return Err(cannot_start(program, &"it does not say \"listening on ADDRESS:PORT\"")),
        }
        Ok(contender)
    }

    /// Starts `program`, which does not say where it listens: its arguments told it to do so at `address`,
    /// and it may not yet do so when this returns.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn start_at(
        address: SocketAddr,
        program: &Path,
        arguments: &[&str],
        processors: Processors,
    ) -> io::Result<Self> {
        let (contender, stderr) = Self::spawn(program, arguments, address, processors)?;
        let name = file_name(program);
        thread::spawn(move || pass_on(&name, stderr));
        Ok(contender)
    }

    fn spawn(
        program: &Path,
        arguments: &[&str],
        address: SocketAddr,
        processors: Processors,
    ) -> io::Result<(Self, BufReader<ChildStderr>)> {
        let mut command = Command::new(env::current_exe()?);
        command
            .arg(CONTEND)
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let child = processors.apart(|| command.spawn()).map_err(|error| cannot_start(program, &error))?;
        // From here on it is killed, whatever is wrong with it.
        let mut contender = Self { child, address };
        let stderr = contender.child.stderr.take();
        let stderr = stderr.ok_or_else(|| cannot_start(program, &"it has no stderr"))?;
        Ok((contender, BufReader::new(stderr)))
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it holds now.
    pub(crate) fn usage(&self) -> io::Result<Usage> {
        Usage::of(self.child.id())
    }

    /// Ends it at once, without waiting until it has ended.
    pub(crate) fn kill(&mut self) {
        // Fails only where it has ended.
        let _ = self.child.kill();
    }

    /// The processor time that it has used so far, all its threads together.
    pub(crate) fn processor_time(&self) -> io::Result<Duration> {
        processor_time(self.child.id())
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}

/// Becomes the program of this command line, which the system kills when the bench ends, however that ends:
/// also when it is killed itself, and nobody is there to do it.
///
/// # Errors
/// There is no such program. Otherwise it does not return.
pub(crate) fn contend(command_line: &[String]) -> io::Result<()> {
    let (program, arguments) = command_line.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    set_pdeathsig(Signal::SIGKILL)?;
    Err(Command::new(program).args(arguments).exec())
}

/// The path of the program `name` that was built with this bench: `<target>/<profile>/name`, where this
/// executable is `<target>/<profile>/deps/…`.
///
/// # Errors
/// It has not been built.
pub(crate) fn program(name: &str) -> io::Result<PathBuf> {
    let executable = env::current_exe()?;
    let directory = executable.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    let path = directory.join(name);
    if path.exists() {
        return Ok(path);
    }
    let path = path.display();
    Err(io::Error::other(format!("{path} is not there; build it first: cargo build --release -p {name}")))
}

/// Lets this process, and the servers that it starts, have so many file descriptors.
///
/// # Errors
/// The system's hard limit is lower.
pub(crate) fn allow_descriptors(wanted: u64) -> io::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft >= wanted {
        return Ok(());
    }
    setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted)).map_err(|error| {
        let text = format!("needs {wanted} file descriptors, the limit is {hard} (ulimit -Hn): {error}");
        io::Error::other(text)
    })
}

/// The address behind the last blank of the line that says it. What comes behind that line goes to our own
/// stderr.
fn listening_on(program: &Path, mut stderr: BufReader<ChildStderr>) -> Option<SocketAddr> {
    loop {
        let mut line = String::new();
        if stderr.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.split_once("listening on ") {
            Some((_, address)) => {
                let name = file_name(program);
                thread::spawn(move || pass_on(&name, stderr));
                return address.trim().parse().ok();
            }
            None => eprint!("{line}"),
        }
    }
}

fn file_name(program: &Path) -> String {
    program.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn pass_on(name: &str, stderr: BufReader<ChildStderr>) {
    for line in stderr.lines().map_while(Result::ok) {
        eprintln!("{name}: {line}");
    }
}

fn cannot_start(program: &Path, cause: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("cannot start {}: {cause}", program.display()))
}
