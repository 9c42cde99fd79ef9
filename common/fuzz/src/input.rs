//! What the inputs of several targets are made of.

use arbitrary::Arbitrary;
use chat_common::frame::{MAX_MESSAGE, MAX_RELAYED, PAUSE};
use chat_common::{channels, overlay, room};
use std::borrow::Cow;
use std::time::Duration;

/// One of several clients does something.
#[derive(Arbitrary, Debug)]
pub struct Step<A> {
    /// Which one.
    pub who: u8,
    /// What it does.
    pub does: A,
}

/// Some bytes, perhaps over and over: so a short input reaches every limit.
#[derive(Arbitrary, Clone, Debug)]
pub struct Said<'a> {
    piece: &'a [u8],
    length: Length,
}

/// How long something is.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Length {
    /// As it stands.
    Own,
    /// As long as may be.
    Exactly(Limit),
    /// A byte longer than may be.
    Over(Limit),
    /// So many bytes more or less.
    About(Limit, i8),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Limit {
    /// A message of the channels.
    Frame,
    /// What a client may say.
    Message,
    /// What a reader of relayed messages takes.
    Relayed,
}

/// A name: mostly one that somebody else uses, too.
#[derive(Arbitrary, Clone, Debug)]
pub enum Name<'a> {
    /// `ann`
    Ann,
    /// `bob`
    Bob,
    /// `cleo`
    Cleo,
    /// As long as a name may be (A13).
    Longest,
    /// Anything, be it a name or not.
    Other(&'a str),
}

/// What stands behind a line.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum LineEnd {
    /// LF.
    Lf,
    /// CR LF.
    CrLf,
    /// Nothing: only a pause ends it.
    Missing,
}

/// How much time passes: as much as something lasts, or some milliseconds more or less.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Wait {
    /// Just as long.
    Exactly(Span),
    /// So many milliseconds more or less.
    About(Span, i8),
}

/// How long something lasts.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Span {
    /// No time at all.
    Nothing,
    /// The pause that ends a message (A19).
    Pause,
    /// What the overlay remembers of a sender (O12).
    Memory,
    /// The silence behind which a name of the overlay moves (O12).
    NameKept,
    /// The silence behind which a place of the overlay is given away (O8).
    PlaceKept,
    /// The silence behind which a member of the room gives way (R10).
    RoomKept,
}

impl Said<'_> {
    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        match self.length {
            Length::Own => self.piece.to_vec(),
            Length::Exactly(limit) => self.cycled(limit, 0),
            Length::Over(limit) => self.cycled(limit, 1),
            Length::About(limit, more) => self.cycled(limit, more.into()),
        }
    }

    fn cycled(&self, limit: Limit, more: isize) -> Vec<u8> {
        self.piece.iter().copied().cycle().take(limit.bytes().saturating_add_signed(more)).collect()
    }
}

impl Limit {
    const fn bytes(self) -> usize {
        match self {
            Self::Frame => channels::SIZE,
            Self::Message => MAX_MESSAGE,
            Self::Relayed => MAX_RELAYED,
        }
    }
}

impl Name<'_> {
    /// The name.
    #[must_use]
    pub const fn text(&self) -> &str {
        match self {
            Self::Ann => "ann",
            Self::Bob => "bob",
            Self::Cleo => "cleo",
            Self::Longest => "a.name_of-32-letters.abcdefghijk",
            Self::Other(name) => name,
        }
    }
}

impl LineEnd {
    /// The bytes.
    #[must_use]
    pub const fn bytes(self) -> &'static [u8] {
        match self {
            Self::Lf => b"\n",
            Self::CrLf => b"\r\n",
            Self::Missing => b"",
        }
    }
}

impl Wait {
    /// How long.
    #[must_use]
    pub fn duration(self) -> Duration {
        let (span, more) = match self {
            Self::Exactly(span) => (span, 0),
            Self::About(span, more) => (span, more),
        };
        let nudge = Duration::from_millis(more.unsigned_abs().into());
        if more < 0 { span.duration().saturating_sub(nudge) } else { span.duration() + nudge }
    }
}

impl Span {
    const fn duration(self) -> Duration {
        match self {
            Self::Nothing => Duration::ZERO,
            Self::Pause => PAUSE,
            Self::Memory => overlay::MEMORY,
            Self::NameKept => overlay::NAME_KEPT,
            Self::PlaceKept => overlay::PLACE_KEPT,
            Self::RoomKept => room::KEPT,
        }
    }
}

/// Whether a terminal can be shown `text` as it is (A15).
#[must_use]
pub fn is_harmless(text: &str) -> bool {
    matches!(chat_common::text::printable(text.as_bytes()), Cow::Borrowed(_))
}
