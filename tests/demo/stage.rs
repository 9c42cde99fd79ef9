//! Plays an act: starts the programs, types, and compares all that their terminals show with the script.

use crate::events::Events;
use crate::failure::Failure;
use crate::known::Known;
use crate::performer::{CTRL_C, Performer, Seen, end};
use crate::printer::{Label, Mark, Printer};
use crate::script::{Act, Action, Cue, Effect, Member};
use chat_tests::DEADLINE;
use portable_pty::CommandBuilder;
use std::iter;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// How fast the person types and reads.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    /// Between two keys. With none, a line is typed at once.
    key: Duration,
    /// Before something is done.
    line: Duration,
}

impl Pace {
    /// An audience can follow.
    pub(crate) const HUMAN: Self = Self { key: Duration::from_millis(30), line: Duration::from_millis(400) };

    /// Nobody has to.
    pub(crate) const FAST: Self = Self { key: Duration::ZERO, line: Duration::ZERO };

    /// A text in the pieces that are typed at once.
    fn strokes(self, text: &str) -> impl Iterator<Item = &str> {
        let at_once = self.key.is_zero();
        text.split_inclusive(move |_| !at_once)
    }
}

/// Where an act is played. When it is dropped, everything on it ends.
pub(crate) struct Stage<'a> {
    programs: &'a Path,
    pace: Pace,
    printer: &'a mut Printer,
    events: &'a Events,
    performers: Vec<Performer>,
    known: Known,
    /// What has not been seen yet of the effects of what was done last.
    wanted: Vec<&'static Effect>,
    /// What was done last.
    behind: String,
    /// Where the programs keep their files.
    folder: TempDir,
}

impl<'a> Stage<'a> {
    /// An empty stage for the programs in this folder.
    pub(crate) fn new(
        programs: &'a Path,
        pace: Pace,
        printer: &'a mut Printer,
        events: &'a Events,
    ) -> Result<Self, Failure> {
        let folder = tempfile::tempdir()
            .map_err(|error| Failure::Broken(format!("cannot make a temporary folder: {error}")))?;
        let (performers, wanted, known) = (Vec::new(), Vec::new(), Known::default());
        Ok(Self { programs, pace, printer, events, performers, known, wanted, behind: String::new(), folder })
    }

    /// Plays the act to its end.
    pub(crate) fn play(&mut self, act: &'static Act) -> Result<(), Failure> {
        for cue in act.cues {
            self.perform(cue)?;
        }
        self.settle()
    }

    fn perform(&mut self, cue: &'static Cue) -> Result<(), Failure> {
        match cue {
            Cue::Effect(effect) => {
                self.wanted.push(effect);
                Ok(())
            }
            Cue::Action(action) => {
                self.settle()?;
                self.act(action)
            }
        }
    }

    fn act(&mut self, action: &'static Action) -> Result<(), Failure> {
        match action {
            Action::Say(text) => Ok(self.printer.caption(text)?),
            Action::Start(who) => self.start(who),
            Action::Type { who, prompt, text } => self.type_line(who, prompt, text),
            Action::Interrupt { who, prompt } => self.interrupt(who, prompt),
        }
    }

    fn start(&mut self, who: &'static Member) -> Result<(), Failure> {
        // A port that is not known yet is for the system to choose, and for the program to print.
        let arguments = who.arguments.iter().map(|argument| self.known.fill(argument, "0"));
        let arguments: Vec<String> = arguments.collect();
        let line = format!("{} {}", who.program.file(), arguments.join(" "));
        let mut command = CommandBuilder::new(self.programs.join(who.program.file()));
        command.args(arguments);
        command.cwd(self.folder.path());
        let performer = Performer::start(who, self.performers.len(), command, self.events.changed())?;
        self.printer.line(performer.label, Mark::Started, &line)?;
        self.performers.push(performer);
        self.behind = format!("{} $ {line}", who.name);
        Ok(())
    }

    fn type_line(&mut self, who: &Member, prompt: &str, text: &str) -> Result<(), Failure> {
        let mut typed = prompt.to_owned();
        self.behind = format!("{} > {prompt}{text}", who.name);
        self.wait_for_prompt(who, prompt)?;
        let label = self.performer(who)?.label;
        self.printer.begin(label, Mark::Typed, prompt)?;
        for keys in self.pace.strokes(text) {
            self.performer(who)?.type_keys(keys)?;
            typed += keys;
            self.wait_for(who, &typed, |performer| performer.current() == typed)?;
            self.printer.add(keys)?;
            self.events.pause(self.pace.key)?;
        }
        self.performer(who)?.type_keys("\r")?;
        self.printer.end()?;
        self.see_typed(who, &typed)
    }

    /// The line that was typed becomes a line of the terminal.
    fn see_typed(&mut self, who: &Member, typed: &str) -> Result<(), Failure> {
        let events = self.events;
        let performer = self.performer(who)?;
        let seen = events.until(DEADLINE, || Ok(performer.next()))?;
        match seen {
            Some(Seen::Line(line)) if line == typed.trim_end() => Ok(()),
            Some(seen) => Err(self.differs(who.name, typed.into(), seen.to_string())),
            None => Err(self.differs(who.name, typed.into(), nothing_more(""))),
        }
    }

    fn interrupt(&mut self, who: &Member, prompt: &str) -> Result<(), Failure> {
        let line = format!("{prompt}{CTRL_C}");
        self.behind = format!("{} > {line}", who.name);
        self.wait_for_prompt(who, prompt)?;
        let performer = self.performer(who)?;
        performer.interrupt()?;
        let label = performer.label;
        Ok(self.printer.line(label, Mark::Typed, &line)?)
    }

    /// Waits until everything that is wanted was seen. Nothing else may be.
    fn settle(&mut self) -> Result<(), Failure> {
        let events = self.events;
        events.until(DEADLINE, || {
            self.look()?;
            Ok(self.wanted.is_empty().then_some(()))
        })?;
        if let Some(missing) = self.wanted.first() {
            let (who, wanted) = (missing.who(), self.describe(missing));
            let have = self.performer(who)?.current();
            return Err(self.differs(who.name, wanted, nothing_more(&have)));
        }
        events.pause(self.pace.line)?;
        self.look()
    }

    /// Takes what there is to be seen by now.
    fn look(&mut self) -> Result<(), Failure> {
        let mut fresh = Vec::new();
        for performer in &mut self.performers {
            let label = performer.label;
            fresh.extend(iter::from_fn(|| performer.next()).map(|seen| (label, seen)));
        }
        fresh.iter().try_for_each(|(label, seen)| self.compare(*label, seen))
    }

    /// Shows it to the audience, and finds it among what is wanted.
    fn compare(&mut self, label: Label, seen: &Seen) -> Result<(), Failure> {
        match seen {
            Seen::Line(line) => self.printer.line(label, Mark::Shown, line)?,
            Seen::End(_) => self.printer.line(label, Mark::Ended, &seen.to_string())?,
        }
        let place = self.wanted.iter().position(|effect| effect.who().name == label.name);
        let Some(wanted) = place.map(|place| self.wanted.remove(place)) else {
            return Err(self.differs(label.name, "nothing more".into(), seen.to_string()));
        };
        let same = match (wanted, seen) {
            (Effect::Shows(_, pattern), Seen::Line(line)) => self.known.learn_from(line, pattern),
            (Effect::Ends(_, status), Seen::End(_)) => seen.to_string() == end(*status),
            _ => false,
        };
        if same { Ok(()) } else { Err(self.differs(label.name, self.describe(wanted), seen.to_string())) }
    }

    fn wait_for_prompt(&mut self, who: &Member, prompt: &str) -> Result<(), Failure> {
        self.wait_for(who, &format!("the prompt {prompt:?}"), |performer| performer.waits_at(prompt))
    }

    /// Waits until a performer is like that.
    fn wait_for(
        &mut self,
        who: &Member,
        wanted: &str,
        probe: impl Fn(&Performer) -> bool,
    ) -> Result<(), Failure> {
        let events = self.events;
        let performer = self.performer(who)?;
        let found = events.until(DEADLINE, || Ok(probe(performer).then_some(())))?;
        let have = performer.current();
        found.ok_or_else(|| self.differs(who.name, wanted.into(), nothing_more(&have)))
    }

    /// The one of this name that came last.
    fn performer(&mut self, who: &Member) -> Result<&mut Performer, Failure> {
        let found = self.performers.iter_mut().rfind(|performer| performer.label.name == who.name);
        found.ok_or_else(|| Failure::Broken(format!("the script has no start of {}", who.name)))
    }

    fn describe(&self, wanted: &Effect) -> String {
        match wanted {
            Effect::Shows(_, pattern) => self.known.fill(pattern, "*"),
            Effect::Ends(_, status) => end(*status),
        }
    }

    fn differs(&self, who: &'static str, wanted: String, have: String) -> Failure {
        Failure::Differs { behind: self.behind.clone(), who, wanted, have }
    }
}

fn nothing_more(unfinished: &str) -> String {
    match unfinished.trim_end() {
        "" => format!("nothing more in {DEADLINE:?}"),
        line => format!("{line:?}, and nothing more in {DEADLINE:?}"),
    }
}
