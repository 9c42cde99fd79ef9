//! A byte stream cut into messages.
//!
//! TCP keeps the order of bytes and nothing else: one read may bring half a message or three and a half
//! (A18). A reader therefore stores what arrives with `push`, takes whole messages out with `next` until
//! there are none, and never asks how many reads it took. Every frame is bounded, so that a peer cannot make
//! us remember more than the limit.
//!
//! Where a message ends is for the protocol to say. There are three ways here, and they are the usual ones: a mark
//! behind it ([`Lines`]), a size known beforehand ([`Fixed`]), and a header with a mark of its own ([`Block`]).
//!
//! This module does not read sockets and does not know what a message means.

use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

/// How many bytes a client may say in one message, without its line end (A14).
pub const MAX_MESSAGE: usize = 4096;

/// How many bytes a reader of relayed messages takes: what somebody said, and what wraps it (A14).
pub const MAX_RELAYED: usize = 2 * MAX_MESSAGE;

/// How long bytes without a newline must have stood to be taken as a whole message (A19).
///
/// Longer than any delay between two segments of one write on a local network, and short enough to go
/// unnoticed by a person.
pub const PAUSE: Duration = Duration::from_millis(100);

/// Whether a pause in the stream ends a message, as a newline does.
///
/// Many programs written for networking courses send no newline at all and take one `recv` for one message
/// (A19).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pauses {
    /// A pause ends a message until the first newline has come; from then on only newlines do.
    UntilFirstNewline,
    /// A pause always ends a message: for a reader whose peer mixes both ways.
    Always,
}

/// A line was longer than the limit. It is dropped as a whole; the next one is read right (A14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// A message that has no frame, without the line end that some programs send behind it (O4, R5). That does not
/// count as said.
#[must_use]
pub fn without_line_end(message: &[u8]) -> &[u8] {
    let message = message.strip_suffix(b"\n").unwrap_or(message);
    message.strip_suffix(b"\r").unwrap_or(message)
}

/// Lines of text: each ends at LF, and one CR in front of it is dropped (A18).
///
/// ```
/// use chat_common::frame::{Lines, Pauses};
/// use core::time::Duration;
///
/// let now = Duration::ZERO;
/// let mut lines = Lines::new(4096, Pauses::UntilFirstNewline);
/// lines.push(b"JOIN Alice\r\nLI", now);
/// assert_eq!(lines.next(now), Some(Ok(&b"JOIN Alice"[..])));
/// assert_eq!(lines.next(now), None);
/// lines.push(b"ST\n", now);
/// assert_eq!(lines.next(now), Some(Ok(&b"LIST"[..])));
/// ```
#[derive(Debug)]
pub struct Lines {
    /// Bytes of which some are already taken.
    buffer: Vec<u8>,
    /// Where the line that is being read begins in the buffer.
    start: usize,
    /// No LF stands between `start` and here: they are not searched twice.
    searched: usize,
    /// The most bytes a line may have, without its end.
    limit: usize,
    pauses: Pauses,
    newline_seen: bool,
    /// The line being read was too long; its bytes are dropped up to its end.
    dropping: bool,
    /// The stream has ended: what is unfinished is the last line.
    ended: bool,
    last_arrival: Duration,
}

impl Lines {
    /// A reader of lines of at most `limit` bytes each, line ends not counted.
    #[must_use]
    pub const fn new(limit: usize, pauses: Pauses) -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            searched: 0,
            limit,
            pauses,
            newline_seen: false,
            dropping: false,
            ended: false,
            last_arrival: Duration::ZERO,
        }
    }

    /// Stores what a read brought at the time `now`. The caller then takes every line with [`Lines::next`],
    /// so that no more than one unfinished line and one read are ever remembered.
    pub fn push(&mut self, bytes: &[u8], now: Duration) {
        if bytes.is_empty() {
            return;
        }
        self.forget_taken();
        self.buffer.extend_from_slice(bytes);
        self.last_arrival = now;
    }

    /// The stream has ended: the next calls of [`Lines::next`] give what is left, an unfinished line too
    /// (A19).
    pub const fn end(&mut self) {
        self.ended = true;
    }

    /// The next whole line without its end, or that it was [`TooLong`]; `None` if there is none yet.
    ///
    /// A line that is too long is reported once, as soon as it is.
    // Not an Iterator: the line is borrowed from the buffer, and time is a parameter.
    #[allow(clippy::should_implement_trait, reason = "it lends its items and takes the time")]
    pub fn next(&mut self, now: Duration) -> Option<Result<&[u8], TooLong>> {
        while let Some(end) = self.find_newline() {
            let line = self.start..end;
            self.newline_seen = true;
            self.take_up_to(end + 1);
            if !core::mem::take(&mut self.dropping) {
                return Some(self.line(line));
            }
        }
        self.unfinished(now)
    }

    /// When a pause will end the line that is being read; `None` if only bytes can.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let pauses = self.pauses == Pauses::Always || !self.newline_seen;
        let unfinished = self.dropping || self.start < self.buffer.len();
        (pauses && unfinished).then(|| self.last_arrival + PAUSE)
    }

    /// Whether a newline has ended a line: the peer sends lines.
    #[must_use]
    pub const fn newline_seen(&self) -> bool {
        self.newline_seen
    }

    /// Looks at what stands behind the last LF: is it too long already, or whole by a pause or the end?
    fn unfinished(&mut self, now: Duration) -> Option<Result<&[u8], TooLong>> {
        let rest = self.start..self.buffer.len();
        let whole = self.ended || self.deadline().is_some_and(|deadline| now >= deadline);
        if self.dropping {
            self.take_up_to(rest.end);
            self.dropping = !whole;
            return None;
        }
        if self.without_cr(rest.clone()).len() > self.limit {
            self.take_up_to(rest.end);
            self.dropping = !whole;
            return Some(Err(TooLong));
        }
        if !whole || rest.is_empty() {
            return None;
        }
        self.take_up_to(rest.end);
        Some(self.line(rest))
    }

    fn line(&self, range: Range<usize>) -> Result<&[u8], TooLong> {
        let line = self.without_cr(range);
        if line.len() > self.limit { Err(TooLong) } else { Ok(line) }
    }

    /// A CR at the end belongs to the line end, also when a pause stands between it and its LF.
    fn without_cr(&self, range: Range<usize>) -> &[u8] {
        let line = self.buffer.get(range).unwrap_or_default();
        line.strip_suffix(b"\r").unwrap_or(line)
    }

    fn find_newline(&mut self) -> Option<usize> {
        let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
        let found = unsearched.iter().position(|&byte| byte == b'\n').map(|at| self.searched + at);
        self.searched = self.buffer.len();
        found
    }

    const fn take_up_to(&mut self, end: usize) {
        self.start = end;
        self.searched = end;
    }

    fn forget_taken(&mut self) {
        self.buffer.drain(..self.start.min(self.buffer.len()));
        self.searched -= self.start;
        self.start = 0;
    }
}

/// Messages that all have the same size, `N` bytes: nothing in them says where one ends.
///
/// ```
/// use chat_common::frame::Fixed;
///
/// let mut frames = Fixed::<4>::new();
/// frames.push(b"ab  cd");
/// assert_eq!(frames.next(), Some(*b"ab  "));
/// assert_eq!(frames.next(), None);
/// frames.push(b"  ");
/// assert_eq!(frames.next(), Some(*b"cd  "));
/// ```
#[derive(Debug, Default)]
pub struct Fixed<const N: usize> {
    /// Bytes of which some are already taken.
    buffer: Vec<u8>,
    /// Where the message that is being read begins in the buffer.
    start: usize,
}

impl<const N: usize> Fixed<N> {
    /// A reader that has got nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { buffer: Vec::new(), start: 0 }
    }

    /// Stores what a read brought. The caller then takes every message with [`Fixed::next`], so that no more than
    /// one unfinished message and one read are ever remembered.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message; `None` if there is none yet.
    // Not an Iterator: `None` is not the end.
    #[allow(clippy::should_implement_trait, reason = "more messages may come after None")]
    pub fn next(&mut self) -> Option<[u8; N]> {
        let message = self.buffer.get(self.start..)?.first_chunk::<N>().copied()?;
        self.start += N;
        Some(message)
    }
}

/// Blocks of text: a line that says what it is, header lines, and an empty line that ends it, as at the head of
/// an HTTP message. Lines end at LF, and one CR in front of it is dropped.
///
/// What comes behind a block may be something else entirely: [`Block::rest`] hands it out as it came.
///
/// ```
/// use chat_common::frame::Block;
///
/// let mut block = Block::new(4096);
/// block.push(b"CHAT\r\nclientID: Bob\r\n");
/// assert_eq!(block.next(), None);
/// block.push(b"\r\nHello");
/// assert_eq!(block.next(), Some(Ok(&b"CHAT\r\nclientID: Bob\r\n"[..])));
/// assert_eq!(block.rest(), b"Hello");
/// ```
#[derive(Debug)]
pub struct Block {
    /// Bytes of which some are already taken.
    buffer: Vec<u8>,
    /// Where the block that is being read begins in the buffer, and where its last line does.
    start: usize,
    line: usize,
    /// No LF stands between `line` and here: they are not searched twice.
    searched: usize,
    /// The most bytes a block may have, its empty line included.
    limit: usize,
    /// The block being read was too long; its lines are dropped up to its end.
    dropping: bool,
}

impl Block {
    /// A reader of blocks of at most `limit` bytes each.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { buffer: Vec::new(), start: 0, line: 0, searched: 0, limit, dropping: false }
    }

    /// Stores what a read brought. The caller then takes every block with [`Block::next`], so that no more than
    /// one unfinished block and one read are ever remembered.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start.min(self.buffer.len()));
        self.line -= self.start;
        self.searched -= self.start;
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole block without its empty line, or that it is [`TooLong`], which is reported once, as soon
    /// as it is so; `None` if there is none yet. Empty lines in front of a block are nothing.
    // Not an Iterator: the block is borrowed from the buffer.
    #[allow(clippy::should_implement_trait, reason = "it lends its items")]
    pub fn next(&mut self) -> Option<Result<&[u8], TooLong>> {
        while let Some(end) = self.find_newline() {
            let line = self.buffer.get(self.line..end).unwrap_or_default();
            let is_empty = line.is_empty() || line == b"\r";
            let block = self.start..self.line;
            self.line = end + 1;
            if !is_empty {
                continue;
            }
            let length = self.line - self.start;
            self.start = self.line;
            if !core::mem::take(&mut self.dropping) && !block.is_empty() {
                let fits = length <= self.limit;
                return Some(if fits {
                    Ok(self.buffer.get(block).unwrap_or_default())
                } else {
                    Err(TooLong)
                });
            }
        }
        self.drop_if_too_long()
    }

    /// The bytes that came behind the last block: of another one, or of what the connection is used for now.
    #[must_use]
    pub fn rest(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Forgets the lines of a block that is too long already, but for the one that is being read: it may be the
    /// empty one.
    fn drop_if_too_long(&mut self) -> Option<Result<&[u8], TooLong>> {
        if self.rest().len() <= self.limit {
            return None;
        }
        // Of a line that is no empty one, a byte tells so.
        let unfinished = self.buffer.len() - self.line;
        self.line = self.buffer.len() - unfinished.min(2);
        self.searched = self.buffer.len();
        self.start = self.line;
        let reported = core::mem::replace(&mut self.dropping, true);
        (!reported).then_some(Err(TooLong))
    }

    fn find_newline(&mut self) -> Option<usize> {
        let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
        let found = unsearched.iter().position(|&byte| byte == b'\n').map(|at| self.searched + at);
        self.searched = found.map_or(self.buffer.len(), |at| at + 1);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec;
    use proptest::prelude::*;

    const ZERO: Duration = Duration::ZERO;

    /// Every line there is at the time `now`, as text; `None` for one that was too long.
    fn take(lines: &mut Lines, now: Duration) -> Vec<Option<String>> {
        let mut taken = Vec::new();
        while let Some(line) = lines.next(now) {
            taken.push(line.ok().map(|line| String::from_utf8_lossy(line).into_owned()));
        }
        taken
    }

    fn some(line: &str) -> Option<String> {
        Some(line.into())
    }

    /// Bytes with at least one newline, and the lines in them; the limit is eight bytes.
    fn cases() -> Vec<(&'static [u8], Vec<Option<String>>)> {
        vec![
            (b"LIST\n", vec![some("LIST")]),
            (b"LIST\r\n", vec![some("LIST")]),
            (b"LIST\r\r\n", vec![some("LIST\r")]),
            (b"\n", vec![some("")]),
            (b"\r\n", vec![some("")]),
            (b"a\nb\r\nc\n", vec![some("a"), some("b"), some("c")]),
            (b"12345678\n", vec![some("12345678")]),
            (b"12345678\r\n", vec![some("12345678")]),
            (b"123456789\na\n", vec![None, some("a")]),
            (b"123456789\r\na\n", vec![None, some("a")]),
            (b"12345678\r\r\na\n", vec![None, some("a")]),
            (b"1234567890123456789012\na\n", vec![None, some("a")]),
            (b"123456789\n123456789\na\n", vec![None, None, some("a")]),
            (b"\0\xff\n", vec![some("\0\u{fffd}")]),
        ]
    }

    #[test]
    fn lines_arrive_whole_byte_by_byte_and_with_bytes_behind() {
        for pauses in [Pauses::UntilFirstNewline, Pauses::Always] {
            for (bytes, wanted) in cases() {
                let mut whole = Lines::new(8, pauses);
                whole.push(bytes, ZERO);
                assert_eq!(take(&mut whole, ZERO), wanted, "whole: {bytes:?}");

                let mut single = Lines::new(8, pauses);
                let mut have = Vec::new();
                for byte in bytes {
                    single.push(&[*byte], ZERO);
                    have.extend(take(&mut single, ZERO));
                }
                assert_eq!(have, wanted, "byte by byte: {bytes:?}");

                let mut tailed = Lines::new(8, pauses);
                tailed.push(&[bytes, b"tail"].concat(), ZERO);
                assert_eq!(take(&mut tailed, ZERO), wanted, "with bytes behind: {bytes:?}");
                tailed.push(b"\n", ZERO);
                assert_eq!(take(&mut tailed, ZERO), [some("tail")], "bytes behind: {bytes:?}");
            }
        }
    }

    #[test]
    fn a19_a_pause_ends_a_message_until_the_first_newline() {
        let mut lines = Lines::new(64, Pauses::UntilFirstNewline);
        lines.push(b"JOIN Al", ZERO);
        lines.push(b"ice", PAUSE / 2);
        assert_eq!(lines.deadline(), Some(PAUSE / 2 + PAUSE), "counted from the last byte");
        assert_eq!(take(&mut lines, PAUSE), [], "not yet");
        lines.push(b"", PAUSE);
        assert_eq!(lines.deadline(), Some(PAUSE / 2 + PAUSE), "nothing is no byte");
        assert_eq!(take(&mut lines, PAUSE * 3 / 2), [some("JOIN Alice")]);
        assert_eq!(lines.deadline(), None, "nothing is unfinished");

        lines.push(b"LIST\nMESG", PAUSE * 2);
        assert_eq!(take(&mut lines, PAUSE * 9), [some("LIST")], "only newlines count from here on");
        assert_eq!(lines.deadline(), None);
        lines.push(b" Bob hi\n", PAUSE * 9);
        assert_eq!(take(&mut lines, PAUSE * 9), [some("MESG Bob hi")]);
    }

    #[test]
    fn a19_a_client_and_a_link_keep_the_pause_for_good() {
        let mut lines = Lines::new(64, Pauses::Always);
        lines.push(b"Bob joined!\nBob: hi", ZERO);
        assert_eq!(take(&mut lines, ZERO), [some("Bob joined!")]);
        assert_eq!(take(&mut lines, PAUSE), [some("Bob: hi")]);
    }

    #[test]
    fn a19_the_end_of_the_stream_ends_the_last_line() {
        let mut lines = Lines::new(64, Pauses::UntilFirstNewline);
        lines.push(b"JOIN Alice\nQUIT\r", ZERO);
        lines.end();
        assert_eq!(take(&mut lines, ZERO), [some("JOIN Alice"), some("QUIT")]);
        assert_eq!(take(&mut lines, ZERO), [], "once only");
    }

    #[test]
    fn a14_a_pause_ends_a_line_that_is_too_long_too() {
        let mut lines = Lines::new(8, Pauses::UntilFirstNewline);
        lines.push(b"123456789", ZERO);
        assert_eq!(take(&mut lines, ZERO), [None], "said at once");
        lines.push(b"more of it", PAUSE / 2);
        assert_eq!(take(&mut lines, PAUSE / 2), [], "said once");
        assert_eq!(take(&mut lines, PAUSE * 2), [], "the pause ends it");
        lines.push(b"LIST", PAUSE * 2);
        assert_eq!(take(&mut lines, PAUSE * 3), [some("LIST")]);
    }

    #[test]
    fn a18_a_line_end_split_by_a_pause_is_one_line_end() {
        let mut lines = Lines::new(8, Pauses::UntilFirstNewline);
        lines.push(b"LIST\r", ZERO);
        assert_eq!(take(&mut lines, PAUSE), [some("LIST")]);
        lines.push(b"\n", PAUSE);
        assert_eq!(take(&mut lines, PAUSE), [some("")], "an empty line is nothing to a protocol");
    }

    #[test]
    fn fixed_messages_arrive_whole_byte_by_byte_and_with_bytes_behind() {
        let bytes = b"one tw  threfour";
        let wanted = [*b"one ", *b"tw  ", *b"thre", *b"four"];
        for tail in [&b""[..], b"t", b"tai"] {
            let all = [bytes, tail].concat();
            for size in [1, 2, 3, 4, 5, 7, 16, 19] {
                let mut frames = Fixed::<4>::new();
                let mut have = Vec::new();
                for piece in all.chunks(size) {
                    frames.push(piece);
                    have.extend(core::iter::from_fn(|| frames.next()));
                }
                assert_eq!(have, wanted, "in pieces of {size}, with {tail:?} behind");
                frames.push(b"....");
                let kept = frames.next().map(|message| message[..tail.len()].to_vec());
                assert_eq!(kept.as_deref(), Some(tail), "the tail is kept");
            }
        }
    }

    /// Every block there is, as text; `None` for one that was too long.
    fn take_blocks(reader: &mut Block) -> Vec<Option<String>> {
        let mut taken = Vec::new();
        while let Some(block) = reader.next() {
            taken.push(block.ok().map(|block| String::from_utf8_lossy(block).into_owned()));
        }
        taken
    }

    #[test]
    fn b6_blocks_arrive_whole_byte_by_byte_and_with_bytes_behind() {
        let long = None;
        for (bytes, wanted) in [
            ("A\r\nb: c\r\n\r\n", vec![some("A\r\nb: c\r\n")]),
            ("A\nb: c\n\n", vec![some("A\nb: c\n")]),
            ("A\nb: c\r\n\n", vec![some("A\nb: c\r\n")]),
            ("\r\n\n\r\nA\r\n\r\n", vec![some("A\r\n")]),
            ("A\n\nB\n\n", vec![some("A\n"), some("B\n")]),
            ("\n\n\n", vec![]),
            ("A\n\r\r\n\n", vec![some("A\n\r\r\n")]),
            ("A\n 23456789abc\n\n", vec![some("A\n 23456789abc\n")]),
            ("A\n 23456789abcd\n\nB\n\n", vec![long.clone(), some("B\n")]),
            ("A\n 23456789abc\n\r\nB\n\n", vec![long.clone(), some("B\n")]),
            ("123456789abcdefghijk\n\nB\n\n", vec![long.clone(), some("B\n")]),
            ("123456789abcdefghijklmnopqrs\nx\r\r\nB\n\nC\n\n", vec![long.clone(), some("C\n")]),
            ("1\n2\n3\n4\n5\n6\n7\n8\n9\na\nb\nc\nd\n\nB\n\n", vec![long.clone(), some("B\n")]),
        ] {
            for size in 1..=bytes.len() {
                for tail in ["", "x", "\r"] {
                    let mut reader = Block::new(16);
                    let mut have = Vec::new();
                    for piece in [bytes, tail].concat().as_bytes().chunks(size) {
                        reader.push(piece);
                        have.extend(take_blocks(&mut reader));
                    }
                    assert_eq!(have, wanted, "{bytes:?} in pieces of {size}, {tail:?} behind");
                    assert_eq!(reader.rest(), tail.as_bytes(), "{bytes:?} in pieces of {size}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_give_the_same_blocks(pieces in proptest::collection::vec("[a\r\n]{0,9}", 0..30)) {
            let mut whole = Block::new(16);
            whole.push(pieces.concat().as_bytes());
            let wanted = take_blocks(&mut whole);

            let mut split = Block::new(16);
            let mut have = Vec::new();
            for piece in &pieces {
                split.push(piece.as_bytes());
                have.extend(take_blocks(&mut split));
                prop_assert!(split.rest().len() <= 16, "an unfinished block is bounded");
            }
            prop_assert_eq!(have, wanted);
        }

        #[test]
        fn any_bytes_in_any_pieces_give_the_same_messages(pieces: Vec<Vec<u8>>) {
            let whole: Vec<[u8; 5]> = pieces.concat().as_chunks().0.to_vec();
            let mut frames = Fixed::<5>::new();
            let mut have = Vec::new();
            for piece in &pieces {
                frames.push(piece);
                have.extend(core::iter::from_fn(|| frames.next()));
                prop_assert!(frames.buffer.len() - frames.start < 5, "an unfinished message is bounded");
            }
            prop_assert_eq!(have, whole);
        }

        #[test]
        fn any_bytes_in_any_pieces_give_the_same_lines(pieces: Vec<Vec<u8>>) {
            let mut whole = Lines::new(8, Pauses::UntilFirstNewline);
            whole.push(&pieces.concat(), ZERO);
            whole.end();
            let wanted = take(&mut whole, ZERO);

            let mut split = Lines::new(8, Pauses::UntilFirstNewline);
            let mut have = Vec::new();
            for piece in &pieces {
                split.push(piece, ZERO);
                have.extend(take(&mut split, ZERO));
                prop_assert!(split.buffer.len() - split.start <= 9, "an unfinished line is bounded");
            }
            split.end();
            have.extend(take(&mut split, ZERO));
            prop_assert_eq!(have, wanted);
        }
    }
}
