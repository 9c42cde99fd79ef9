//! Who is registered: which key has which name. Names are unique, and places are limited (A11, A13).
//!
//! A key is whatever tells two clients apart: the number of a connection, or an address. The roster does not
//! know which names are well formed; see [`crate::text::is_name`].

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};

/// Why a registration was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Somebody else has that name.
    NameTaken,
    /// Every place is taken.
    Full,
}

/// The registered clients, by key and by name, in order of joining.
#[derive(Debug)]
pub struct Roster<K> {
    members: BTreeMap<K, Member>,
    keys: BTreeMap<String, K>,
    /// Keys by the number that each joined with: the order of joining.
    joined: BTreeMap<u64, K>,
    next_number: u64,
    places: usize,
}

#[derive(Debug)]
struct Member {
    name: String,
    number: u64,
}

impl<K: Copy + Ord> Roster<K> {
    /// An empty roster with so many places.
    #[must_use]
    pub const fn new(places: usize) -> Self {
        Self {
            members: BTreeMap::new(),
            keys: BTreeMap::new(),
            joined: BTreeMap::new(),
            next_number: 0,
            places,
        }
    }

    /// Registers `key` as `name`, in place of the name that it had, if any.
    ///
    /// # Errors
    /// The name is taken, or else every place is; then nothing has changed.
    pub fn join(&mut self, key: K, name: &str) -> Result<(), Refusal> {
        if self.keys.contains_key(name) {
            return Err(Refusal::NameTaken);
        }
        if self.members.len() >= self.places && !self.members.contains_key(&key) {
            return Err(Refusal::Full);
        }
        self.leave(key);
        let number = self.next_number;
        self.next_number += 1;
        self.joined.insert(number, key);
        self.keys.insert(name.to_string(), key);
        self.members.insert(key, Member { name: name.to_string(), number });
        Ok(())
    }

    /// Removes `key`; its place and its name are free at once. The name, if it had one.
    pub fn leave(&mut self, key: K) -> Option<String> {
        let member = self.members.remove(&key)?;
        self.joined.remove(&member.number);
        self.keys.remove(&member.name);
        Some(member.name)
    }

    /// The name of `key`, if it is registered.
    #[must_use]
    pub fn name(&self, key: K) -> Option<&str> {
        self.members.get(&key).map(|member| member.name.as_str())
    }

    /// Who has `name`.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<K> {
        self.keys.get(name).copied()
    }

    /// Everyone, in order of joining.
    pub fn iter(&self) -> impl Iterator<Item = (K, &str)> {
        self.joined.values().filter_map(|&key| Some((key, self.name(key)?)))
    }

    /// Everyone's keys but that of `one`.
    pub fn others(&self, one: K) -> impl Iterator<Item = K> {
        self.members.keys().copied().filter(move |&key| key != one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn names(roster: &Roster<u8>) -> Vec<&str> {
        roster.iter().map(|(_, name)| name).collect()
    }

    #[test]
    fn a13_names_are_unique_and_compared_exactly() {
        let mut roster = Roster::new(10);
        assert_eq!(roster.join(1, "Alice"), Ok(()));
        assert_eq!(roster.join(2, "Alice"), Err(Refusal::NameTaken));
        assert_eq!(roster.join(2, "alice"), Ok(()));
        assert_eq!((roster.key("Alice"), roster.key("alice")), (Some(1), Some(2)));
        assert_eq!((roster.name(1), roster.name(3)), (Some("Alice"), None));
    }

    #[test]
    fn a11_a_place_that_is_left_is_free_at_once() {
        let mut roster = Roster::new(2);
        assert_eq!(roster.join(1, "a"), Ok(()));
        assert_eq!(roster.join(2, "b"), Ok(()));
        assert_eq!(roster.join(3, "a"), Err(Refusal::NameTaken), "asked before the places");
        assert_eq!(roster.join(3, "c"), Err(Refusal::Full));
        assert_eq!(roster.join(2, "z"), Ok(()), "a new name needs no new place");
        assert_eq!(roster.leave(1).as_deref(), Some("a"));
        assert_eq!(roster.leave(1), None);
        assert_eq!(roster.join(3, "a"), Ok(()));
    }

    #[test]
    fn everyone_stands_in_order_of_joining() {
        let mut roster = Roster::new(10);
        for (key, name) in [(9, "Zed"), (3, "Ann"), (5, "Bob")] {
            assert_eq!(roster.join(key, name), Ok(()));
        }
        assert_eq!(names(&roster), ["Zed", "Ann", "Bob"]);
        roster.leave(9);
        assert_eq!(roster.join(1, "Zed"), Ok(()));
        assert_eq!(names(&roster), ["Ann", "Bob", "Zed"]);
        assert_eq!(roster.others(3).collect::<Vec<_>>(), [1, 5]);
    }
}
