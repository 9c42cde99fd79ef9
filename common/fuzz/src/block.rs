//! [`Block`](chat_common::frame::Block): the same blocks, however the bytes arrive (B6, B8, A18).

use arbitrary::Arbitrary;
use chat_common::frame::Block;

/// The least limit: the empty line at the end of a block has to fit.
const LEAST: usize = 2;

/// Limits are less than this more: short blocks reach them.
const LIMITS: u8 = 64;

/// A reader of blocks, and what the reads bring.
#[derive(Arbitrary, Debug)]
pub struct Input<'a> {
    limit: u8,
    /// How many bytes arrive together the second time.
    piece: u8,
    reads: Vec<Lines<'a>>,
}

/// What a block is made of.
#[derive(Arbitrary, Debug)]
enum Lines<'a> {
    Text(&'a [u8]),
    Lf,
    CrLf,
    Empty,
}

/// What a block is: `None` if it was too long.
type Taken = Option<Vec<u8>>;

impl Input<'_> {
    /// Feeds the reads whole and in pieces, and holds what comes out against the clauses.
    ///
    /// # Panics
    /// A clause is broken.
    pub fn check(&self) {
        let reads: Vec<_> = self.reads.iter().map(Lines::bytes).collect();
        self.check_reads(reads.iter().copied());
        let all = reads.concat();
        self.check_reads(all.chunks(usize::from(self.piece) + 1));
        self.check_reads([&*all].into_iter());
    }

    fn check_reads<'r>(&self, reads: impl Iterator<Item = &'r [u8]>) {
        let mut reader = Block::new(self.limit());
        let mut model = Model::new(self.limit());
        let mut have = Vec::new();
        for read in reads {
            reader.push(read);
            while let Some(block) = reader.next() {
                have.push(block.ok().map(<[u8]>::to_vec));
            }
            model.read(read);
            assert_eq!(have, model.taken, "B6, B8");
            assert!(model.said_too_long || reader.rest() == model.block, "B7: what comes behind a block");
            self.check_memory(&reader, read.len());
        }
    }

    /// No more is remembered than a block and what one read brought. Its `Debug` form tells.
    fn check_memory(&self, reader: &Block, read: usize) {
        const PER_BYTE: usize = "255, ".len();
        const AROUND: usize = 400;
        let bound = AROUND + PER_BYTE * (self.limit() + read);
        assert!(format!("{reader:?}").len() <= bound, "B8: what a reader remembers is bounded");
    }

    fn limit(&self) -> usize {
        LEAST + usize::from(self.limit % LIMITS)
    }
}

impl Lines<'_> {
    const fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(bytes) => bytes,
            Self::Lf => b"\n",
            Self::CrLf => b"\r\n",
            Self::Empty => b"\r\n\r\n",
        }
    }
}

/// The clauses as they stand, one byte after the other, with no regard for speed or memory.
struct Model {
    limit: usize,
    /// The block that is being read, and where its last line begins.
    block: Vec<u8>,
    line: usize,
    /// It was said already that this block is too long.
    said_too_long: bool,
    taken: Vec<Taken>,
}

impl Model {
    const fn new(limit: usize) -> Self {
        Self { limit, block: Vec::new(), line: 0, said_too_long: false, taken: Vec::new() }
    }

    fn read(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.block.push(byte);
            if byte == b'\n' {
                self.end_line();
            }
        }
        // A block that is too long is reported as soon as it is.
        if self.block.len() > self.limit && !self.said_too_long {
            self.said_too_long = true;
            self.taken.push(None);
        }
    }

    fn end_line(&mut self) {
        let is_empty = matches!(self.block[self.line..], [b'\n'] | [b'\r', b'\n']);
        let end = std::mem::replace(&mut self.line, self.block.len());
        if !is_empty {
            return;
        }
        let fits = self.block.len() <= self.limit;
        let mut block = std::mem::take(&mut self.block);
        block.truncate(end);
        self.line = 0;
        // Empty lines in front of a block are nothing.
        if !std::mem::take(&mut self.said_too_long) && !block.is_empty() {
            self.taken.push(fits.then_some(block));
        }
    }
}
