//! What a process holds, as the system tells it (`/proc`).

use std::fs;
use std::io;
use std::time::Duration;

use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

/// What a process holds at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Resident memory in KiB. What the kernel keeps for its sockets is not in it.
    pub resident: u64,
    /// The most that it has ever been, in KiB.
    pub peak: u64,
    /// Threads, the main thread among them.
    pub threads: u64,
    /// Open file descriptors.
    pub descriptors: u64,
    /// How many of them are sockets.
    pub sockets: u64,
}

impl Usage {
    /// Of the process with this number.
    ///
    /// # Errors
    /// There is none.
    pub fn of(process: u32) -> io::Result<Usage> {
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let entries = fs::read_dir(format!("/proc/{process}/fd"))?.flatten();
        // One that was closed meanwhile leads nowhere.
        let targets: Vec<_> = entries.filter_map(|entry| fs::read_link(entry.path()).ok()).collect();
        let sockets = targets.iter().filter(|target| target.to_string_lossy().starts_with("socket:")).count();
        Ok(Usage {
            resident: field(&status, "VmRSS:")?,
            peak: field(&status, "VmHWM:")?,
            threads: field(&status, "Threads:")?,
            descriptors: targets.len() as u64,
            sockets: sockets as u64,
        })
    }
}

/// The processor time that the process with this number has used so far, all its threads together.
///
/// # Errors
/// There is none.
pub fn processor_time(process: u32) -> io::Result<Duration> {
    let process = i32::try_from(process).map_err(io::Error::other)?;
    Ok(clock_getcpuclockid(Pid::from_raw(process))?.now()?.into())
}

/// The number behind `name` in the text of `/proc/PID/status`.
fn field(status: &str, name: &str) -> io::Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| io::Error::other(format!("no number behind {name} in /proc/PID/status")))
}
