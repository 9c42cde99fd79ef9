//! [`frame`](chat_common::frame): the same messages, however the bytes arrive (A14, A18, A19).

use crate::input::Wait;
use arbitrary::Arbitrary;
use chat_common::frame::{Fixed, Lines, PAUSE, Pauses, without_line_end};
use std::time::Duration;

/// How many bytes [`Fixed`] has here: more than most reads bring, and no divisor of them.
const SIZE: usize = 5;

/// Limits are less than this: short lines reach them.
const LIMITS: u8 = 32;

/// A reader of lines, and what happens to it.
#[derive(Arbitrary, Debug)]
pub struct Input<'a> {
    limit: u8,
    pauses_always: bool,
    /// How many bytes arrive together the second time.
    piece: u8,
    steps: Vec<Step<'a>>,
}

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    Read(&'a [u8]),
    Wait(Wait),
}

/// What a line is: `None` if it was too long.
type Line = Option<Vec<u8>>;

impl Input<'_> {
    /// Feeds the reads whole and in pieces, and holds what comes out against the clauses.
    ///
    /// # Panics
    /// A clause is broken.
    pub fn check(&self) {
        self.check_lines(usize::MAX);
        self.check_lines(usize::from(self.piece) + 1);
        self.check_fixed();
        for read in self.reads() {
            check_line_end(read);
        }
    }

    fn check_lines(&self, piece: usize) {
        let mut reader = self.reader();
        let mut model = Model::new(self);
        let mut now = Duration::ZERO;
        let mut have = Vec::new();
        for step in &self.steps {
            match step {
                Step::Read(bytes) => {
                    for bytes in bytes.chunks(piece.min(bytes.len()).max(1)) {
                        reader.push(bytes, now);
                        have.extend(take(&mut reader, now));
                        self.check_memory(&reader, bytes.len());
                    }
                    model.read(bytes, now);
                }
                Step::Wait(wait) => {
                    now += wait.duration();
                    have.extend(take(&mut reader, now));
                    model.wait(now);
                }
            }
            assert_eq!(have, model.lines, "A14, A18, A19");
            assert_eq!(reader.deadline(), model.deadline(), "A19: when a pause ends the line");
            assert_eq!(reader.newline_seen(), model.newline_seen, "A19");
        }
        reader.end();
        have.extend(take(&mut reader, now));
        model.end();
        assert_eq!(have, model.lines, "A19: the last line");
        assert_eq!(take(&mut reader, now), Vec::<Line>::new(), "once only");
    }

    /// No more is remembered than a line, the CR behind it, and what one read brought. Its `Debug` form tells.
    fn check_memory(&self, reader: &Lines, read: usize) {
        const PER_BYTE: usize = "255, ".len();
        const AROUND: usize = 400;
        let bound = AROUND + PER_BYTE * (self.limit() + 1 + read);
        assert!(format!("{reader:?}").len() <= bound, "A14: what a reader remembers is bounded");
    }

    fn check_fixed(&self) {
        let whole = self.reads().collect::<Vec<_>>().concat();
        let (wanted, _) = whole.as_chunks::<SIZE>();
        let mut reader = Fixed::<SIZE>::new();
        let mut have = Vec::new();
        for read in self.reads() {
            reader.push(read);
            have.extend(std::iter::from_fn(|| reader.next()));
        }
        assert_eq!(have, wanted, "A18: messages of one size");
    }

    fn reads(&self) -> impl Iterator<Item = &[u8]> {
        self.steps.iter().filter_map(|step| if let Step::Read(bytes) = step { Some(*bytes) } else { None })
    }

    const fn reader(&self) -> Lines {
        let pauses = if self.pauses_always { Pauses::Always } else { Pauses::UntilFirstNewline };
        Lines::new(self.limit(), pauses)
    }

    const fn limit(&self) -> usize {
        (self.limit % LIMITS) as usize
    }
}

/// A message without its line end is what stands in front of one LF, CR or CR LF.
fn check_line_end(message: &[u8]) {
    let said = without_line_end(message);
    let end = message.strip_prefix(said);
    assert!(matches!(end, Some(b"" | b"\r" | b"\n" | b"\r\n")), "the line end of {message:?} is {end:?}");
    assert!(
        !end.is_some_and(<[u8]>::is_empty) || !message.ends_with(b"\n"),
        "{message:?} keeps its line end"
    );
}

/// Every line there is at the time `now`.
fn take(reader: &mut Lines, now: Duration) -> Vec<Line> {
    let mut lines = Vec::new();
    while let Some(line) = reader.next(now) {
        lines.push(line.ok().map(<[u8]>::to_vec));
    }
    lines
}

/// The clauses as they stand, one byte after the other, with no regard for speed or memory.
struct Model {
    limit: usize,
    pauses_always: bool,
    /// The line that is being read.
    line: Vec<u8>,
    /// It was said already that this line is too long.
    said_too_long: bool,
    newline_seen: bool,
    last_arrival: Duration,
    lines: Vec<Line>,
}

impl Model {
    fn new(input: &Input<'_>) -> Self {
        Self {
            limit: input.limit(),
            pauses_always: input.pauses_always,
            line: Vec::new(),
            said_too_long: false,
            newline_seen: false,
            last_arrival: Duration::ZERO,
            lines: Vec::new(),
        }
    }

    fn read(&mut self, bytes: &[u8], now: Duration) {
        for &byte in bytes {
            self.last_arrival = now;
            if byte == b'\n' {
                self.newline_seen = true;
                self.finish();
            } else {
                self.line.push(byte);
            }
        }
        // A line that is too long is reported as soon as it is.
        if self.is_too_long() && !self.said_too_long {
            self.said_too_long = true;
            self.lines.push(None);
        }
    }

    fn wait(&mut self, now: Duration) {
        if self.deadline().is_some_and(|deadline| now >= deadline) {
            self.finish();
        }
    }

    fn end(&mut self) {
        if !self.line.is_empty() {
            self.finish();
        }
    }

    fn deadline(&self) -> Option<Duration> {
        let pauses = self.pauses_always || !self.newline_seen;
        (pauses && !self.line.is_empty()).then(|| self.last_arrival + PAUSE)
    }

    fn finish(&mut self) {
        let line = if self.is_too_long() { None } else { Some(self.without_cr().to_vec()) };
        self.line.clear();
        if !std::mem::take(&mut self.said_too_long) {
            self.lines.push(line);
        }
    }

    fn is_too_long(&self) -> bool {
        self.said_too_long || self.without_cr().len() > self.limit
    }

    fn without_cr(&self) -> &[u8] {
        self.line.strip_suffix(b"\r").unwrap_or(&self.line)
    }
}
