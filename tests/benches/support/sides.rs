//! A server beside a floor, each with its own load, and what is measured of either.

use std::io;
use std::time::Duration;

use super::contender::Contender;
use super::rounds::{Pair, Turn, interleave, latencies};

/// Clients that speak and hear.
pub(crate) trait Load {
    /// How many hear a message.
    fn receivers(&self) -> usize;

    /// One message: the time from before it is said until the last receiver has all of it. `None` if it was
    /// lost.
    ///
    /// # Errors
    /// Something is broken.
    fn latency(&mut self) -> io::Result<Option<Duration>>;
}

/// One contender, which may be several servers, and its load.
pub(crate) struct Side<L> {
    /// What it is called where it is told of.
    pub(crate) name: &'static str,
    contenders: Vec<Contender>,
    pub(crate) load: L,
}

/// What is measured, and what it is compared with.
pub(crate) struct Sides<L> {
    pub(crate) server: Side<L>,
    pub(crate) floor: Side<L>,
}

/// Messages before a turn counts: whoever comes on has slept while the others were measured.
pub(crate) const WARM_UP: usize = 20;

impl<L: Load> Sides<L> {
    /// The two by turns, in so many rounds.
    ///
    /// # Errors
    /// Those of `measure`.
    pub(crate) fn by_turns<const N: usize>(
        &mut self,
        rounds: usize,
        measure: impl Fn(&mut Side<L>) -> io::Result<[f64; N]>,
    ) -> io::Result<[Pair; N]> {
        interleave(rounds, |turn| match turn {
            Turn::Subject => measure(&mut self.server),
            Turn::Baseline => measure(&mut self.floor),
        })
    }
}

impl<L: Load> Side<L> {
    /// Servers that run, at least one, and the load that is connected to them.
    pub(crate) const fn new(name: &'static str, contenders: Vec<Contender>, load: L) -> Self {
        Self { name, contenders, load }
    }

    /// One message at a time: latency (p50, p99) in microseconds, and thousands delivered per second.
    ///
    /// # Errors
    /// Something is broken.
    pub(crate) fn one_by_one(&mut self, time: Duration) -> io::Result<[f64; 3]> {
        self.warm_up()?;
        let [p50, p99, messages] = latencies(time, || self.load.latency())?;
        Ok([p50, p99, messages * self.load.receivers() as f64])
    }

    /// Many messages at a time, as `flood` says them: thousands delivered per second, and the contenders'
    /// processor time for one, in nanoseconds. `flood` gives the number of deliveries, and their time.
    ///
    /// # Errors
    /// Something is broken.
    pub(crate) fn flood(
        &mut self,
        flood: impl FnOnce(&mut L) -> io::Result<(usize, Duration)>,
    ) -> io::Result<[f64; 2]> {
        self.warm_up()?;
        let before = self.processor_time()?;
        let (delivered, elapsed) = flood(&mut self.load)?;
        let used = self.processor_time()? - before;
        let delivered = delivered as f64;
        Ok([delivered / elapsed.as_secs_f64() / 1e3, used.as_secs_f64() * 1e9 / delivered])
    }

    /// The contenders, in the order in which they were started.
    pub(crate) fn contenders(&self) -> &[Contender] {
        &self.contenders
    }

    fn processor_time(&self) -> io::Result<Duration> {
        self.contenders.iter().map(Contender::processor_time).sum()
    }

    fn warm_up(&mut self) -> io::Result<()> {
        (0..WARM_UP).try_for_each(|_| self.load.latency().map(drop))
    }
}

impl<L> Drop for Side<L> {
    fn drop(&mut self) {
        // All at once, the last first: so none complains that the server it is linked to has gone.
        self.contenders.iter_mut().rev().for_each(Contender::kill);
    }
}
