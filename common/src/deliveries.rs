//! What one client's messages made: the bytes that each recipient gets, in order.
//!
//! A protocol's state writes here what it has to say; the socket side then gives each recipient all of its
//! bytes in one write (S5). Nothing is sent from in here.
//!
//! Most of what is said goes to everyone but the one who says it. So that is kept once, however many they
//! are; only who gets something else, too, has bytes of its own.

use alloc::collections::BTreeMap;
use alloc::string::String;
use core::fmt::{Display, Write};

/// What the messages of the client `from` made.
#[derive(Debug)]
pub struct Deliveries<K> {
    from: K,
    /// What `from` itself gets.
    answers: String,
    /// What all others get, but for those in `special`.
    others: String,
    /// What some of the others get in its place.
    special: BTreeMap<K, String>,
}

impl<K: Copy + Ord> Deliveries<K> {
    /// Nothing for anybody yet.
    #[must_use]
    pub const fn new(from: K) -> Self {
        Self { from, answers: String::new(), others: String::new(), special: BTreeMap::new() }
    }

    /// Adds `message` behind what `to` gets already.
    pub fn push(&mut self, to: K, message: impl Display) {
        let buffer = if to == self.from {
            &mut self.answers
        } else {
            self.special.entry(to).or_insert_with(|| self.others.clone())
        };
        append(buffer, message);
    }

    /// Adds `message` behind what everyone but `from` gets already.
    pub fn push_others(&mut self, message: impl Display) {
        let start = self.others.len();
        append(&mut self.others, message);
        let written = self.others.get(start..).unwrap_or_default();
        for buffer in self.special.values_mut() {
            buffer.push_str(written);
        }
    }

    /// What `to` gets, who is `from`, or one of those that hear of each other.
    #[must_use]
    pub fn get(&self, to: K) -> &str {
        if to == self.from { &self.answers } else { self.special.get(&to).unwrap_or(&self.others) }
    }

    /// The only ones that get anything, `from` apart; `None` if all others do.
    pub fn few(&self) -> Option<impl Iterator<Item = K>> {
        self.others.is_empty().then(|| self.special.keys().copied())
    }

    /// How many bytes the recipient gets that gets most.
    #[must_use]
    pub fn largest(&self) -> usize {
        let special = self.special.values().map(String::len).max().unwrap_or(0);
        special.max(self.others.len()).max(self.answers.len())
    }
}

fn append(buffer: &mut String, message: impl Display) {
    // Writing to a String cannot fail.
    let _ = write!(buffer, "{message}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn s5_each_recipient_gets_its_bytes_once_and_in_order() {
        let mut out = Deliveries::new(1);
        assert_eq!(out.few().map(Iterator::count), Some(0));
        out.push(1, "answer\n");
        out.push(2, "a\n");
        assert_eq!(out.few().map(Iterator::collect::<Vec<_>>), Some([2].into()));
        out.push_others("b\n");
        out.push(3, "c\n");
        out.push_others("d\n");
        assert!(out.few().is_none());
        let have = [1, 2, 3, 4].map(|to| out.get(to));
        assert_eq!(have, ["answer\n", "a\nb\nd\n", "b\nc\nd\n", "b\nd\n"]);
        assert_eq!(out.largest(), 7);
    }
}
