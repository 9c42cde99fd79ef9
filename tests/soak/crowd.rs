//! Who comes and goes beside the steady pair: visitors, several at a time, each doing one random thing after
//! the other.

use std::panic::resume_unwind;
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;

/// How many visitors there are at a time. With the steady pair they never need all ten places.
const VISITORS: usize = 4;

/// How long a visitor rests between two deeds, at most: many come and go, but nobody measures the speed of
/// that.
const REST: Duration = Duration::from_millis(30);

/// A wave: the time in which visitors come and go. Behind it the server must be as it was before.
pub(crate) struct Wave {
    /// What makes it differ from others.
    pub(crate) rng: Rng,
    /// How long it lasts.
    pub(crate) length: Duration,
    /// How many deeds were done in it.
    pub(crate) deeds: u64,
}

/// A visitor, between two deeds.
pub(crate) struct Visitor {
    pub(crate) rng: Rng,
    /// Which of those who are there.
    pub(crate) number: usize,
    deeds: u64,
    /// How long the wave lasts.
    wave: Duration,
}

/// What a visitor may do at a place `H`.
pub(crate) type Deed<H> = fn(&H, &mut Visitor);

/// How long a wave is in which there is time for what takes five seconds.
const LONG: Duration = Duration::from_secs(5);

impl Visitor {
    /// A name that nobody has, and nobody has had for long.
    pub(crate) fn name(&self) -> String {
        format!("guest{}-{}", self.number, self.deeds % 1000)
    }

    /// A text as people type it, never empty, of up to 120 bytes.
    pub(crate) fn text(&mut self) -> String {
        let words = ["hello", "you", "there", "Grüße", "日本", "a\tb", "\u{1b}[2J", "x;y", "?"];
        let count = self.rng.usize(1..10);
        let words: Vec<&str> = (0..count).map(|_| words[self.rng.usize(..words.len())]).collect();
        format!("says {}", words.join(" "))
    }

    /// So many random bytes, at least one.
    pub(crate) fn noise(&mut self, most: usize) -> Vec<u8> {
        let count = self.rng.usize(1..=most);
        let mut bytes = vec![0; count];
        self.rng.fill(&mut bytes);
        bytes
    }

    /// Whether to do now what takes many seconds: rarely, and only in a long wave.
    pub(crate) fn is_patient(&mut self) -> bool {
        self.wave >= LONG && self.rng.u8(..16) == 0
    }
}

impl Wave {
    /// Lets visitors do what `deeds` has, until the wave is over and all have gone.
    pub(crate) fn crowd<H: Sync>(&mut self, hall: &H, deeds: &[Deed<H>]) {
        let end = Instant::now() + self.length;
        let visitors: Vec<Visitor> = (0..VISITORS)
            .map(|number| Visitor { rng: self.rng.fork(), number, deeds: 0, wave: self.length })
            .collect();
        thread::scope(|scope| {
            let visit = |mut visitor: Visitor| scope.spawn(move || visitor.visit(hall, deeds, end));
            let visits: Vec<_> = visitors.into_iter().map(visit).collect();
            for visit in visits {
                self.deeds += visit.join().unwrap_or_else(|panic| resume_unwind(panic));
            }
        });
    }

    /// Whether to do what is not done in every wave.
    pub(crate) fn sometimes(&mut self) -> bool {
        self.rng.bool()
    }
}

impl Visitor {
    /// One deed after the other until `end`. How many.
    fn visit<H>(&mut self, hall: &H, deeds: &[Deed<H>], end: Instant) -> u64 {
        while Instant::now() < end {
            let deed = deeds[self.rng.usize(..deeds.len())];
            deed(hall, self);
            self.deeds += 1;
            thread::sleep(REST.mul_f64(self.rng.f64()));
        }
        self.deeds
    }
}
