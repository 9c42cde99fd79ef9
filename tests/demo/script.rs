//! What a script is made of: who is on stage, and what happens, line by line, as it is shown.

/// The sample session of one protocol's source.
pub(crate) struct Script {
    /// The protocol, as the programs call it.
    pub(crate) name: &'static str,
    /// A line about it.
    pub(crate) about: &'static str,
    /// Its parts, each with programs of its own.
    pub(crate) acts: &'static [Act],
}

/// A part of a session: from the start of its programs to their end.
pub(crate) struct Act {
    /// Where the source has it.
    pub(crate) title: &'static str,
    /// Who is there for the audience to play with ([`crate::tmux`]).
    pub(crate) cast: &'static [&'static Member],
    /// What happens.
    pub(crate) cues: &'static [Cue],
}

/// A program on a terminal of its own.
pub(crate) struct Member {
    /// What stands in front of every line of its terminal.
    pub(crate) name: &'static str,
    pub(crate) program: Program,
    /// The command line behind the program. Holes are filled with what is known then, and a port that is not is left to
    /// the system ([`crate::known`]).
    pub(crate) arguments: &'static [&'static str],
    /// More arguments where no script types for it: the name that it would have typed.
    pub(crate) unscripted: &'static [&'static str],
}

/// One of our two programs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Server,
    Client,
}

/// A line of a script. Nothing more is done before all effects of what was done last are seen. What one terminal shows
/// comes in this order; what two show may come in any.
pub(crate) enum Cue {
    Action(Action),
    Effect(Effect),
}

/// What is done.
pub(crate) enum Action {
    /// A word to the audience: where in the source this is.
    Say(&'static str),
    /// A program is started.
    Start(&'static Member),
    /// A line is typed, with Enter behind it, where the terminal shows this prompt.
    Type { who: &'static Member, prompt: &'static str, text: &'static str },
    /// Ctrl-C is pressed where the terminal shows this prompt.
    Interrupt { who: &'static Member, prompt: &'static str },
}

/// What comes of it.
pub(crate) enum Effect {
    /// A terminal shows this line, which may have holes ([`crate::known`]).
    Shows(&'static Member, &'static str),
    /// A program ends, with this status.
    Ends(&'static Member, u32),
}

impl Member {
    pub(crate) const fn server(name: &'static str, arguments: &'static [&'static str]) -> Self {
        Self { name, program: Program::Server, arguments, unscripted: &[] }
    }

    pub(crate) const fn client(name: &'static str, arguments: &'static [&'static str]) -> Self {
        Self { name, program: Program::Client, arguments, unscripted: &[] }
    }

    pub(crate) const fn unscripted(self, arguments: &'static [&'static str]) -> Self {
        Self { unscripted: arguments, ..self }
    }
}

impl Program {
    /// The name of its file.
    pub(crate) const fn file(self) -> &'static str {
        match self {
            Self::Server => "chat-server",
            Self::Client => "chat-client",
        }
    }
}

impl Effect {
    /// At whose terminal it is seen.
    pub(crate) const fn who(&self) -> &'static Member {
        match self {
            Self::Shows(who, _) | Self::Ends(who, _) => who,
        }
    }
}

impl Act {
    /// The lines that this member's terminal shows when it was started, before anything else is done.
    pub(crate) fn greeting(&self, who: &Member) -> impl Iterator<Item = &'static str> {
        let starts = |cue: &&Cue| matches!(cue, Cue::Action(Action::Start(other)) if other.name == who.name);
        let behind = self.cues.iter().skip_while(move |cue| !starts(cue)).skip(1);
        behind.map_while(|cue| if let Cue::Effect(effect) = cue { Some(effect) } else { None }).filter_map(
            |effect| match effect {
                Effect::Shows(other, line) if other.name == who.name => Some(*line),
                _ => None,
            },
        )
    }
}

// A script's lines as they are written there: who comes first.

pub(crate) const fn says(text: &'static str) -> Cue {
    Cue::Action(Action::Say(text))
}

pub(crate) const fn starts(who: &'static Member) -> Cue {
    Cue::Action(Action::Start(who))
}

pub(crate) const fn types(who: &'static Member, text: &'static str) -> Cue {
    types_at(who, "", text)
}

pub(crate) const fn types_at(who: &'static Member, prompt: &'static str, text: &'static str) -> Cue {
    Cue::Action(Action::Type { who, prompt, text })
}

pub(crate) const fn interrupts(who: &'static Member) -> Cue {
    interrupts_at(who, "")
}

pub(crate) const fn interrupts_at(who: &'static Member, prompt: &'static str) -> Cue {
    Cue::Action(Action::Interrupt { who, prompt })
}

pub(crate) const fn shows(who: &'static Member, line: &'static str) -> Cue {
    Cue::Effect(Effect::Shows(who, line))
}

pub(crate) const fn ends(who: &'static Member) -> Cue {
    Cue::Effect(Effect::Ends(who, 0))
}

pub(crate) const fn fails(who: &'static Member) -> Cue {
    Cue::Effect(Effect::Ends(who, 1))
}
