//! What messages made: the bytes that each recipient gets, in order.
//!
//! A protocol's state writes here what it has to say; the socket side then gives each recipient all of its
//! bytes in one write (S5). Nothing is sent from in here.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Bytes for each recipient, in the order in which they were said.
#[derive(Debug, Default)]
pub struct Deliveries<K> {
    bytes: BTreeMap<K, Vec<u8>>,
    largest: usize,
}

impl<K: Copy + Ord> Deliveries<K> {
    /// Nothing for anybody.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: BTreeMap::new(), largest: 0 }
    }

    /// Adds `bytes` behind what `to` gets already.
    pub fn push(&mut self, to: K, bytes: &[u8]) {
        let waiting = self.bytes.entry(to).or_default();
        waiting.extend_from_slice(bytes);
        self.largest = self.largest.max(waiting.len());
    }

    /// How many bytes the recipient gets that gets most.
    #[must_use]
    pub const fn largest(&self) -> usize {
        self.largest
    }

    /// Takes everything out: each recipient once, with all of its bytes.
    pub fn take(&mut self) -> impl Iterator<Item = (K, Vec<u8>)> + use<K> {
        self.largest = 0;
        core::mem::take(&mut self.bytes).into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s5_each_recipient_gets_its_bytes_once_and_in_order() {
        let mut out = Deliveries::new();
        out.push(2, b"a\n");
        out.push(1, b"b\n");
        out.push(2, b"c\n");
        assert_eq!(out.largest(), 4);
        let taken: Vec<_> = out.take().collect();
        assert_eq!(taken, [(1, b"b\n".to_vec()), (2, b"a\nc\n".to_vec())]);
        assert_eq!((out.largest(), out.take().count()), (0, 0));
    }
}
