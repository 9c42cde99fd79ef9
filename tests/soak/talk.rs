//! The steady pair: two well-behaved clients who talk all the time, and hear each other whatever others do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use chat_tests::DEADLINE;
use fastrand::Rng;

use crate::guest::{DIGITS, Guest, Source};

/// How late a message may be. It takes under a millisecond on an idle machine; a server that lets somebody
/// wait for a client that has stopped reading makes it seconds.
const LATE: Duration = DEADLINE;

/// The same where messages may be lost, and the loss is found by waiting.
const LOST: Duration = Duration::from_secs(2);

/// How long a pair rests between two things said.
const REST: Duration = Duration::from_millis(10);

/// How many messages are said at once, at most.
const BURST: u64 = 4;

/// How long a message is, at most: what fits every protocol's frame.
const LONGEST: usize = 120;

/// One of the pair.
pub(crate) struct Voice {
    /// What marks its messages, in front of their numbers.
    mark: String,
    guest: Guest<Box<dyn Source + Send>>,
    /// What it says, or types, to tell the other a text.
    phrase: Box<dyn Fn(&str) -> String + Send>,
    said: u64,
}

/// How a pair talks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Either says something, or several things, at any time.
    Freely,
    /// One thing each, by turns; the first begins.
    ByTurns,
}

/// A pair in conversation.
pub(crate) struct Talk {
    voices: [Voice; 2],
    manner: Manner,
    excuse: Option<Arc<Excuse>>,
    /// Up to which number messages of either may be lost, or come twice.
    excused: [u64; 2],
}

/// What excuses messages that are lost or come twice: somebody cuts the way that they take.
#[derive(Default)]
pub(crate) struct Excuse {
    state: Mutex<Excused>,
    changed: Condvar,
}

#[derive(Default)]
struct Excused {
    /// Until when it holds.
    end: Option<Instant>,
    /// The pair has heard all that was said before, and knows.
    noticed: bool,
}

/// What became of what a pair said.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Messages that were heard.
    pub(crate) heard: u64,
    /// Messages that were lost or came twice, and may.
    pub(crate) excused: u64,
    /// How long the slowest took.
    pub(crate) worst: Duration,
    /// How long all together took.
    pub(crate) total: Duration,
}

impl Voice {
    /// Speaks through `source`, where `phrase` tells the other a text.
    pub(crate) fn new(
        name: &str,
        source: impl Source + Send + 'static,
        phrase: impl Fn(&str) -> String + Send + 'static,
    ) -> Self {
        let guest = Guest::new(Box::new(source) as Box<dyn Source + Send>);
        Self { mark: format!("{name}#"), guest, phrase: Box::new(phrase), said: 0 }
    }

    /// Says its next message, of a random length.
    fn say(&mut self, rng: &mut Rng) {
        self.said += 1;
        let filler = " and on".repeat(rng.usize(..LONGEST / 8));
        let text = format!("{}{:0DIGITS$}{filler}", self.mark, self.said);
        let phrase = (self.phrase)(&text);
        assert!(self.guest.say(&phrase), "wanted: {} can speak\nhave: its connection is gone", self.mark);
    }
}

impl Source for Box<dyn Source + Send> {
    fn say(&mut self, bytes: &[u8]) -> bool {
        self.as_mut().say(bytes)
    }

    fn receive(&mut self, limit: Duration) -> Option<Vec<u8>> {
        self.as_mut().receive(limit)
    }
}

impl Talk {
    /// A pair that is connected and registered, and of whom everything that either says arrives.
    pub(crate) const fn new(voices: [Voice; 2], manner: Manner) -> Self {
        Self { voices, manner, excuse: None, excused: [0; 2] }
    }

    /// The same, but for what is said while `excuse` holds.
    pub(crate) fn excused(voices: [Voice; 2], excuse: &Arc<Excuse>) -> Self {
        Self { excuse: Some(Arc::clone(excuse)), ..Self::new(voices, Manner::Freely) }
    }

    /// Talks until `over`. It panics when a message does not arrive.
    pub(crate) fn run(&mut self, mut rng: Rng, tally: &Mutex<Tally>, over: &AtomicBool) {
        let mut speaker = 0;
        while !over.load(Ordering::Relaxed) {
            self.exchange(speaker, &mut rng, tally);
            speaker = if self.manner == Manner::ByTurns { 1 - speaker } else { rng.usize(..2) };
            thread::sleep(REST);
        }
    }

    /// One says something, the other hears it.
    pub(crate) fn exchange(&mut self, speaker: usize, rng: &mut Rng, tally: &Mutex<Tally>) {
        let [first, second] = &mut self.voices;
        let (from, to) = if speaker == 0 { (first, second) } else { (second, first) };
        let burst = if self.manner == Manner::ByTurns { 1 } else { rng.u64(1..=BURST) };
        let next = from.said + 1;
        if self.excuse.as_ref().is_some_and(|excuse| excuse.holds()) {
            self.excused[speaker] = from.said + burst;
        }
        let start = Instant::now();
        (0..burst).for_each(|_| from.say(rng));
        let limit = if self.excuse.is_some() { LOST } else { LATE };
        hear_all(to, &from.mark, next..=from.said, self.excused[speaker], |heard, excused| {
            let took = start.elapsed();
            tally.lock().unwrap().add(heard, excused, took);
            limit.saturating_sub(took)
        });
    }
}

/// Hears the messages with these numbers, in order and once each, but for those up to `excused`. `note` is
/// told how many were heard and how many excused just now, and says how long to wait.
fn hear_all(
    to: &mut Voice,
    mark: &str,
    numbers: std::ops::RangeInclusive<u64>,
    excused: u64,
    mut note: impl FnMut(u64, u64) -> Duration,
) {
    let (mut next, last) = numbers.into_inner();
    let mut left = note(0, 0);
    while next <= last {
        match to.guest.hear_number(left, mark) {
            Some(number) if number == next => left = note(1, 0),
            // Those between were lost.
            Some(number) if (next..=last).contains(&number) && number - 1 <= excused => {
                left = note(1, number - next);
                next = number;
            }
            // It comes late, or again.
            Some(number) if number < next && number <= excused => {
                left = note(0, 1);
                continue;
            }
            None if last <= excused => {
                note(0, last + 1 - next);
                return;
            }
            have => {
                let have = have.map_or("nothing in time".to_owned(), |number| format!("message {number}"));
                panic!("\nwanted: message {next} of {mark} at the steady pair\n  have: {have}");
            }
        }
        next += 1;
    }
}

impl Excuse {
    /// From now on, until further notice; returns when nothing is under way that was said before.
    pub(crate) fn begin(&self) {
        let mut state = self.state.lock().unwrap();
        *state = Excused { end: Some(Instant::now() + Duration::from_hours(24)), noticed: false };
        // A pair that does not notice has failed, and says so itself.
        drop(self.changed.wait_timeout_while(state, DEADLINE, |state| !state.noticed).unwrap());
    }

    /// Only for so long from now on.
    pub(crate) fn end_in(&self, time: Duration) {
        self.state.lock().unwrap().end = Some(Instant::now() + time);
    }

    /// Whether what is said now may be lost. The pair asks, and has heard everything before.
    fn holds(&self) -> bool {
        let mut state = self.state.lock().unwrap();
        state.noticed = true;
        self.changed.notify_all();
        state.end.is_some_and(|end| Instant::now() < end)
    }
}

impl Tally {
    fn add(&mut self, heard: u64, excused: u64, took: Duration) {
        self.heard += heard;
        self.excused += excused;
        if heard > 0 {
            self.worst = self.worst.max(took);
            self.total += took;
        }
    }

    /// How long a message took on average.
    pub(crate) fn mean(&self) -> Duration {
        self.total / u32::try_from(self.heard.max(1)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::Tape;

    /// What is heard of the messages 3 to 5 in a recording, where those up to `excused` may be lost: how many
    /// were heard, and how many excused.
    fn heard(recording: &'static str, excused: u64) -> [u64; 2] {
        let mut voice = Voice::new("bob", Tape(vec![recording]), str::to_owned);
        let mut counts = [0; 2];
        hear_all(&mut voice, "ann#", 3..=5, excused, |heard, excused| {
            counts[0] += heard;
            counts[1] += excused;
            Duration::ZERO
        });
        counts
    }

    #[test]
    fn all_is_heard_in_order() {
        assert_eq!(heard("ann#0000003 x ann#0000004ann#0000005", 0), [3, 0]);
    }

    #[test]
    fn what_is_excused_may_be_lost_or_come_twice() {
        assert_eq!(heard("ann#0000004 ann#0000005", 3), [2, 1], "the first is lost");
        assert_eq!(heard("ann#0000003", 5), [1, 2], "the last are lost");
        assert_eq!(heard("ann#0000005", 5), [1, 2], "all but the last are lost");
        assert_eq!(heard("", 5), [0, 3], "all are lost");
        let again = "ann#0000002 ann#0000003 ann#0000003 ann#0000004 ann#0000002 ann#0000005";
        assert_eq!(heard(again, 3), [3, 3], "some come late or again");
    }

    #[test]
    #[should_panic(expected = "have: nothing in time")]
    fn a_loss_at_the_end_is_none_to_excuse() {
        heard("ann#0000003 ann#0000004", 4);
    }

    #[test]
    #[should_panic(expected = "have: message 5")]
    fn a_loss_in_the_middle_is_none_to_excuse() {
        heard("ann#0000003 ann#0000005", 3);
    }

    #[test]
    #[should_panic(expected = "have: message 3")]
    fn what_comes_twice_is_not_excused() {
        heard("ann#0000003 ann#0000003 ann#0000004 ann#0000005", 2);
    }
}
