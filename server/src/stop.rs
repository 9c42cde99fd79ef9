//! The end of the server: one flag, and what it wakes.
//!
//! A thread that blocks in the kernel does not see a flag. Whoever blocks says with [`Stop::on_stop`] how it
//! is woken; whoever sleeps does so in [`Stop::wait`].

use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The flag. Clones are the same flag.
#[derive(Clone, Default)]
pub(crate) struct Stop(Arc<Inner>);

#[derive(Default)]
struct Inner {
    requested: AtomicBool,
    wakers: Mutex<Vec<Box<dyn Fn() + Send>>>,
    changed: Condvar,
}

impl Stop {
    /// Sets the flag and wakes everybody. Whether this was the first time.
    pub(crate) fn request(&self) -> bool {
        let wakers = self.0.wakers.lock();
        let first = !self.0.requested.swap(true, Ordering::SeqCst);
        if first {
            wakers.iter().for_each(|wake| wake());
            self.0.changed.notify_all();
        }
        first
    }

    /// Whether the server is to end.
    pub(crate) fn requested(&self) -> bool {
        self.0.requested.load(Ordering::SeqCst)
    }

    /// `wake` is called once when the flag is set; at once if it is set already. It must not block.
    pub(crate) fn on_stop(&self, wake: impl Fn() + Send + 'static) {
        let mut wakers = self.0.wakers.lock();
        if self.requested() {
            wake();
        } else {
            wakers.push(Box::new(wake));
        }
    }

    /// Sleeps for `time`, or until the flag is set.
    pub(crate) fn wait(&self, time: Duration) {
        let end = Instant::now() + time;
        let mut wakers = self.0.wakers.lock();
        while !self.requested() && !self.0.changed.wait_until(&mut wakers, end).timed_out() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn every_waker_is_called_once_also_one_that_comes_late() {
        let calls = Arc::new(AtomicUsize::new(0));
        let count = || {
            let calls = Arc::clone(&calls);
            move || {
                calls.fetch_add(1, Ordering::SeqCst);
            }
        };
        let stop = Stop::default();
        stop.on_stop(count());
        assert!(stop.request(), "the first time");
        assert!(!stop.request(), "the second time");
        stop.on_stop(count());
        assert_eq!(calls.load(Ordering::SeqCst), 2);
        stop.wait(Duration::from_secs(60));
    }
}
