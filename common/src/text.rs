//! What may be shown on a terminal, and what may be a name.
//!
//! A terminal obeys what it is shown: a line break forges a line, an escape sequence moves the cursor, a
//! bidirectional override turns words around. [`printable`] takes all of that out, and is called three
//! times: before relaying, before logging, and by the client before printing (A15).

use alloc::borrow::Cow;
use alloc::string::String;

/// The most characters a name may have (A13).
pub const MAX_NAME: usize = 32;

/// `bytes` as text that can do nothing to a terminal (A15).
///
/// Invalid UTF-8 becomes U+FFFD; control characters other than tab, and bidirectional overrides, become
/// `?`. Every other character passes unchanged, and text that needs no change is not copied.
#[must_use]
pub fn printable(bytes: &[u8]) -> Cow<'_, str> {
    // Nearly every text is plain ASCII, and that is seen faster byte by byte.
    let plain = bytes.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) if plain => Cow::Borrowed(text),
        Cow::Borrowed(text) if !text.contains(is_dangerous) => Cow::Borrowed(text),
        text => Cow::Owned(text.replace(is_dangerous, "?")),
    }
}

/// Whether `word` can be a name: 1 to 32 characters, each an ASCII letter, a digit, `-`, `_` or `.` (A13).
#[must_use]
pub fn is_name(word: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=MAX_NAME).contains(&word.len()) && word.bytes().all(allowed)
}

/// `value` without the pair of quotes around it, if there is one: straight ones that no shell took away, or the
/// angled ones that a text processor makes of them (B1).
#[must_use]
pub fn unquoted(value: &str) -> &str {
    const PAIRS: [(char, char); 4] =
        [('\'', '\''), ('"', '"'), ('\u{2018}', '\u{2019}'), ('\u{201c}', '\u{201d}')];
    let inner = |(open, close)| value.strip_prefix(open)?.strip_suffix(close);
    PAIRS.into_iter().find_map(inner).unwrap_or(value)
}

/// Whether a terminal would act on `c` rather than show it.
const fn is_dangerous(c: char) -> bool {
    matches!(c,
        '\0'..='\u{8}' | '\u{a}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(bytes: &[u8], wanted: &str) {
        assert_eq!(printable(bytes), wanted, "{bytes:?}");
    }

    #[test]
    fn a15_what_a_terminal_obeys_is_taken_out() {
        check(b"hello", "hello");
        check(b"a\tb", "a\tb");
        check(b"\x1b[2J", "?[2J");
        check(b"a\r\nBob: forged", "a??Bob: forged");
        check(b"nul\0", "nul?");
        check(b"\x7f", "?");
        check("\u{80}\u{85}\u{9b}31m\u{9f}".as_bytes(), "???31m?");
        check("\u{202a}\u{202e}\u{2066}\u{2069}".as_bytes(), "????");
        check("\u{2029}\u{202f}\u{2065}\u{206a}\u{a0}".as_bytes(), "\u{2029}\u{202f}\u{2065}\u{206a}\u{a0}");
        check("Grüße, 世界 👋".as_bytes(), "Grüße, 世界 👋");
        check(b"caf\xe9", "caf\u{fffd}");
        check(b"\xe4\xb8", "\u{fffd}");
    }

    #[test]
    fn a13_names() {
        for name in ["A", "client1-37442", "a_b.c-9", "abcdefghijklmnopqrstuvwxyz012345"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "two words", "abcdefghijklmnopqrstuvwxyz0123456", "a\0", "Zoë", "a:", "a,b"] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn b1_a_leftover_pair_of_quotes_is_dropped() {
        for (value, wanted) in [
            ("ann", "ann"),
            ("'ann'", "ann"),
            ("\"ann\"", "ann"),
            ("\u{2018}ann\u{2019}", "ann"),
            ("\u{201c}ann\u{201d}", "ann"),
            ("'ann", "'ann"),
            ("'ann\"", "'ann\""),
            ("''ann''", "'ann'"),
            ("''", ""),
            ("'", "'"),
            ("", ""),
        ] {
            assert_eq!(unquoted(value), wanted, "{value}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_out_harmless_and_stay_so(bytes: alloc::vec::Vec<u8>) {
            let text = printable(&bytes);
            prop_assert!(!text.contains(is_dangerous));
            prop_assert_eq!(printable(text.as_bytes()), text.as_ref());
        }
    }
}
