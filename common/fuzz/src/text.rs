//! [`text`](chat_common::text): what a terminal is shown (A15), and what may be a name (A13).

use arbitrary::Arbitrary;
use chat_common::text::{is_name, printable};
use std::borrow::Cow;

/// Any bytes, and a place to cut them.
#[derive(Arbitrary, Debug)]
pub struct Input<'a> {
    cut: u8,
    bytes: &'a [u8],
}

impl Input<'_> {
    /// Holds the text of the bytes, and of both their parts, against the clauses.
    ///
    /// # Panics
    /// A clause is broken.
    pub fn check(&self) {
        let (front, back) = self.bytes.split_at_checked(self.cut.into()).unwrap_or((self.bytes, b""));
        for bytes in [self.bytes, front, back] {
            check_printable(bytes);
            check_name(bytes);
        }
        // Between two characters a cut changes nothing.
        if std::str::from_utf8(front).is_ok() {
            let parts = [printable(front), printable(back)].concat();
            assert_eq!(parts, printable(self.bytes), "A15: {:?} cut at {}", self.bytes, front.len());
        }
    }
}

/// A15: "control characters other than tab, and bidirectional overrides, become `?`; invalid UTF-8 becomes U+FFFD".
fn check_printable(bytes: &[u8]) {
    let replace = |c: char| if is_obeyed(c) { '?' } else { c };
    let wanted: String = String::from_utf8_lossy(bytes).chars().map(replace).collect();
    let have = printable(bytes);
    assert_eq!(have, wanted, "A15: {bytes:?}");
    assert_eq!(printable(have.as_bytes()), have, "A15: what is harmless stays as it is");
    let unchanged = have.as_bytes() == bytes;
    assert_eq!(matches!(have, Cow::Borrowed(_)), unchanged, "copied only when changed: {bytes:?}");
    assert!(have.len() <= 3 * bytes.len(), "a byte becomes at most the three of U+FFFD");
}

/// A13: "one word of 1 to 32 characters, each an ASCII letter, a digit, `-`, `_` or `.`".
fn check_name(bytes: &[u8]) {
    let Ok(word) = std::str::from_utf8(bytes) else { return };
    let allowed = |c| matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.');
    let wanted = (1..=32).contains(&word.chars().count()) && word.chars().all(allowed);
    assert_eq!(is_name(word), wanted, "A13: {word:?}");
    assert!(!wanted || printable(bytes) == word, "a name passes as it is");
}

/// The characters that the clause names, as Unicode has them.
fn is_obeyed(c: char) -> bool {
    let overrides = ('\u{202a}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c);
    (c.is_control() && c != '\t') || overrides
}
