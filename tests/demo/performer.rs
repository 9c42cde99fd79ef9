//! A program on its terminal, and which of its lines were seen.

use crate::failure::Failure;
use crate::printer::Label;
use crate::script::{Member, Program};
use chat_tests::Pty;
use portable_pty::{CommandBuilder, ExitStatus};
use std::fmt;

/// So many that nothing scrolls away.
const ROWS: u16 = 500;

/// So many that no line of a script goes on in the next row.
const COLUMNS: u16 = 200;

/// What Ctrl-C looks like where the system shows what is typed.
pub(crate) const CTRL_C: &str = "^C";

/// A member of the cast on stage.
pub(crate) struct Performer {
    pub(crate) label: Label,
    pty: Pty,
    edits: bool,
    /// How many rows were seen.
    seen: u16,
    /// What stood in the cursor's row when Ctrl-C was pressed: it stands in front of the next row that is whole.
    interrupted: Option<String>,
    ended: bool,
}

/// What can be seen of a performer.
pub(crate) enum Seen {
    Line(String),
    /// The program has ended like this.
    End(ExitStatus),
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => f.write_str(line),
            Self::End(status) if status.signal().is_none() => f.write_str(&end(status.exit_code())),
            Self::End(status) => write!(f, "ended: {status}"),
        }
    }
}

/// The words for a program that ended by itself.
pub(crate) fn end(status: u32) -> String {
    match status {
        0 => "ended".into(),
        _ => format!("ended with status {status}"),
    }
}

impl Performer {
    /// Starts the program by this command.
    pub(crate) fn start(
        who: &Member,
        place: usize,
        command: CommandBuilder,
        changed: impl Fn() + Send + 'static,
    ) -> Result<Self, Failure> {
        let label = Label { name: who.name, place };
        let pty = Pty::start(command, ROWS, COLUMNS, changed)
            .map_err(|error| Failure::Broken(format!("cannot start {}: {error}", who.program.file())))?;
        let edits = who.program == Program::Client;
        Ok(Self { label, pty, edits, seen: 0, interrupted: None, ended: false })
    }

    /// The next thing to be seen. A row is whole when the cursor has left it, or the program has ended.
    pub(crate) fn next(&mut self) -> Option<Seen> {
        let output_ended = self.pty.output_ended();
        if let Some(row) = self.next_row(output_ended) {
            return Some(Seen::Line(row));
        }
        if !output_ended || self.ended {
            return None;
        }
        let status = self.pty.exit_status().ok().flatten()?;
        self.ended = true;
        Some(Seen::End(status))
    }

    /// Whether the person may type: the terminal shows the prompt, and the cursor behind it.
    pub(crate) fn waits_at(&self, prompt: &str) -> bool {
        self.current() == prompt && (!self.edits || self.pty.takes_single_keys())
    }

    /// What stands in the cursor's row, up to the cursor.
    pub(crate) fn current(&self) -> String {
        let emulator = self.pty.emulator();
        let (row, column) = emulator.screen().cursor_position();
        let columns = usize::from(column);
        let text = emulator.screen().contents_between(row, 0, row, column);
        // A blank that nobody wrote is one, too.
        format!("{text:columns$}")
    }

    /// Types these keys.
    pub(crate) fn type_keys(&mut self, keys: &str) -> Result<(), Failure> {
        let typed = self.pty.type_keys(keys);
        typed.map_err(|error| Failure::Broken(format!("cannot type for {}: {error}", self.label.name)))
    }

    /// Presses Ctrl-C.
    pub(crate) fn interrupt(&mut self) -> Result<(), Failure> {
        self.interrupted = Some(self.current());
        self.type_keys("\x03")
    }

    fn next_row(&mut self, output_ended: bool) -> Option<String> {
        let row = self.whole_row(output_ended)?;
        self.seen += 1;
        let Some(before) = self.interrupted.take() else { return Some(row) };
        let behind = row.strip_prefix(before.trim_end()).unwrap_or(&row);
        match behind.strip_prefix(CTRL_C).unwrap_or(behind) {
            "" => self.next_row(output_ended),
            line => Some(line.to_owned()),
        }
    }

    fn whole_row(&self, output_ended: bool) -> Option<String> {
        let emulator = self.pty.emulator();
        let (cursor, _) = emulator.screen().cursor_position();
        let row = emulator.screen().contents_between(self.seen, 0, self.seen, COLUMNS);
        let last = output_ended && self.seen == cursor && !row.is_empty();
        (self.seen < cursor || last).then(|| row.trim_end().to_owned())
    }
}
