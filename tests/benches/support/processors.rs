//! Who runs where: the load has the first processor for itself, a contender has all others.
//!
//! Left alone, the system puts the two on one processor or on two as it likes, and changes its mind every few
//! seconds. On one, a message to one receiver takes a sixth of the time that it takes on two, where each side
//! has to be woken from idleness; and many messages in flight take twice the time. So whoever measures
//! without saying who runs where measures the system's mood. Apart is how a server and its clients really
//! stand to each other, and what the load uses is not taken from the server.

use std::io;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The processors, shared out.
#[derive(Clone, Copy)]
pub(crate) struct Processors {
    load: CpuSet,
    contenders: CpuSet,
}

/// The calling thread, and what it starts from then on.
const SELF: Pid = Pid::from_raw(0);

impl Processors {
    /// Shares out the processors that this process may use, and moves the calling thread, which makes the
    /// load, to its own. If there is only one, everybody stays there.
    ///
    /// # Errors
    /// The system does not say or does not allow who runs where.
    pub(crate) fn share_out() -> io::Result<Self> {
        let all = sched_getaffinity(SELF)?;
        let mut numbers = (0..CpuSet::count()).filter(|number| all.is_set(*number) == Ok(true));
        let (mut load, mut contenders) = (CpuSet::new(), all);
        if let (Some(first), Some(_)) = (numbers.next(), numbers.next()) {
            load.set(first)?;
            contenders.unset(first)?;
        } else {
            load = all;
        }
        sched_setaffinity(SELF, &load)?;
        Ok(Self { load, contenders })
    }

    /// Calls `start`, which starts a process or a thread, so that what it starts runs on the contenders'
    /// processors.
    ///
    /// # Errors
    /// Those of `start`.
    pub(crate) fn apart<T>(self, start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        sched_setaffinity(SELF, &self.contenders)?;
        let started = start();
        sched_setaffinity(SELF, &self.load)?;
        started
    }
}
