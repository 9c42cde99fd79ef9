//! [`bridge::client`](chat_common::bridge::client): whatever is typed, answered and called, the chat keeps its turns.

use crate::input::{Name, Said};
use arbitrary::Arbitrary;
use chat_common::bridge::Contact;
use chat_common::bridge::client::{Action, Client, Ending, Event, State};
use chat_common::frame::MAX_MESSAGE;
use std::collections::{BTreeSet, VecDeque};

/// A client, and what happens to it.
#[derive(Arbitrary, Debug)]
pub struct Input<'a> {
    /// Its input comes from a pipe.
    in_order: bool,
    steps: Vec<Step<'a>>,
}

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    Command(Command),
    Type(Said<'a>),
    EndOfInput,
    Interrupt,
    /// What was asked of the server or a peer is answered, with a peer or without; or it fails.
    Answer(Option<Name<'a>>),
    Fail,
    /// An answer to something else, or to nothing.
    Stray(Stray<'a>),
    Call(Name<'a>),
    /// The peer says this, if there is one.
    Hear(Said<'a>),
    HangUp,
    Reset,
}

#[derive(Arbitrary, Debug)]
enum Stray<'a> {
    Registered,
    Bridged(Option<Name<'a>>),
    Connected,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Command {
    Id,
    Register,
    Bridge,
    Chat,
    Quit,
}

impl Input<'_> {
    /// Lets it all happen, and holds what the client does against the clauses.
    ///
    /// # Panics
    /// A clause is broken.
    pub fn check(&self) {
        let mut world = World::new(self.in_order);
        for step in &self.steps {
            if let Some(event) = world.event(step) {
                world.handle(event);
            }
        }
    }
}

impl Command {
    const fn line(self) -> &'static str {
        match self {
            Self::Id => "/id",
            Self::Register => "/register",
            Self::Bridge => "/bridge",
            Self::Chat => "/chat",
            Self::Quit => "/quit",
        }
    }
}

/// The client, and what is around it.
struct World {
    client: Client,
    /// What the client has asked for and not got.
    asked: Option<Action>,
    /// A connection was asked for, and has come just now.
    called: bool,
    /// A connection to the peer stands.
    connected: bool,
    /// There was one: there is no second.
    has_chatted: bool,
    /// Whose turn it is to write, as far as the peer can tell.
    own_turn: bool,
    /// Texts typed and not sent, in order. Some are dropped.
    typed: VecDeque<String>,
    calls: u64,
    /// Calls that were neither accepted nor refused.
    unanswered: BTreeSet<u64>,
    ended: bool,
}

impl World {
    fn new(in_order: bool) -> Self {
        Self {
            client: Client::new("me".into(), in_order),
            asked: None,
            called: false,
            connected: false,
            has_chatted: false,
            own_turn: false,
            typed: VecDeque::new(),
            calls: 0,
            unanswered: BTreeSet::new(),
            ended: false,
        }
    }

    /// What the step is for the client, if it can happen now.
    fn event(&mut self, step: &Step<'_>) -> Option<Event> {
        match step {
            Step::Command(command) => Some(Event::Typed(command.line().into())),
            Step::Type(said) => Some(Event::Typed(self.typed(said))),
            Step::EndOfInput => Some(Event::EndOfInput),
            Step::Interrupt => Some(Event::Interrupted),
            Step::Answer(peer) => self.answer(peer.as_ref()),
            Step::Stray(stray) => Some(self.stray(stray)),
            Step::Fail => self.asked.take().map(|_| Event::Failed("nobody answers".into())),
            Step::Call(name) => {
                self.calls += 1;
                self.unanswered.insert(self.calls);
                Some(Event::Called(self.calls, contact(name)))
            }
            Step::Hear(said) => self.connected.then(|| Event::Heard(text(said))),
            Step::HangUp => std::mem::take(&mut self.connected).then_some(Event::HungUp),
            Step::Reset => std::mem::take(&mut self.connected).then_some(Event::Reset),
        }
    }

    fn typed(&mut self, said: &Said<'_>) -> String {
        let line = text(said);
        self.typed.push_back(line.clone());
        line
    }

    fn answer(&mut self, peer: Option<&Name<'_>>) -> Option<Event> {
        Some(match self.asked.take()? {
            Action::AskRegister => Event::Registered,
            Action::AskBridge => Event::Bridged(peer.map(contact)),
            _ => {
                self.called = true;
                Event::Connected
            }
        })
    }

    fn stray(&mut self, stray: &Stray<'_>) -> Event {
        let asked = self.asked.take();
        match stray {
            Stray::Registered => Event::Registered,
            Stray::Bridged(peer) => Event::Bridged(peer.as_ref().map(contact)),
            Stray::Connected => {
                self.called = matches!(asked, Some(Action::Connect(_)));
                Event::Connected
            }
        }
    }

    fn handle(&mut self, event: Event) {
        let before = self.client.state();
        let actions = self.client.handle(event.clone());
        assert!(
            !self.ended || actions.iter().all(|action| self.is_harmless_behind_the_end(action)),
            "{actions:?}"
        );
        if let Event::Heard(line) = &event {
            self.check_heard(before, line, &actions);
        }
        for action in actions {
            self.carry_out(action, &event);
        }
        self.called = false;
        let state = self.client.state();
        assert_eq!(state == State::Ended, self.ended, "the end is said");
        assert!(event != Event::Interrupted || self.ended, "A5: Ctrl-C ends it");
        let chats = matches!(state, State::Writing | State::Reading);
        assert!(!chats || (self.has_chatted && self.unanswered.is_empty()), "B14: a second peer is refused");
        assert!(!chats || self.own_turn == (state == State::Writing), "B16: whose turn it is");
        assert!(self.asked.is_some() || self.ended || self.unanswered.is_empty(), "B14: a call is answered");
    }

    /// Behind the end calls are refused, and nothing else is done.
    fn is_harmless_behind_the_end(&self, action: &Action) -> bool {
        matches!(action, Action::Refuse(_) | Action::Hint(_)) && self.ended
    }

    /// B15, B16: what the peer says is shown as it is, whoever's turn it was.
    fn check_heard(&mut self, before: State, line: &str, actions: &[Action]) {
        let chats = matches!(before, State::Writing | State::Reading);
        let shown = chats && !line.is_empty() && line != "QUIT";
        let printed = actions.contains(&Action::Print(line.into()));
        assert!(!shown || printed, "B15: {line:?} is shown");
        self.own_turn |= shown;
    }

    fn carry_out(&mut self, action: Action, event: &Event) {
        match action {
            Action::AskRegister | Action::AskBridge | Action::Connect(_) => {
                assert_eq!(self.asked.replace(action), None, "one question at a time");
            }
            Action::OpenChat => {
                assert!(self.called, "B14: CHAT is the first on a connection that was asked for");
                self.begin(true);
            }
            Action::Accept(call) => {
                self.answer_call(call);
                self.begin(false);
            }
            Action::Refuse(call) => self.answer_call(call),
            Action::Say(line) => self.said(&line),
            Action::Print(_) | Action::Hint(_) => {}
            Action::End(ending) => {
                assert!(!std::mem::replace(&mut self.ended, true), "it ends once");
                let lost = ending == Ending::Lost;
                assert_eq!(lost, *event == Event::Reset, "B17: a peer that vanishes is a failure");
            }
        }
    }

    /// Each call is answered once, and not while something is awaited that decides what becomes of it.
    fn answer_call(&mut self, call: u64) {
        assert!(self.unanswered.remove(&call), "call {call} is answered once");
        assert!(self.asked.is_none() || self.client.state() == State::Ended, "call {call} is answered early");
    }

    /// B16: who has called writes first.
    fn begin(&mut self, own_turn: bool) {
        assert!(!std::mem::replace(&mut self.has_chatted, true), "B14: one chat");
        self.connected = true;
        self.own_turn = own_turn;
    }

    /// B7, B16: in turn, in the order of typing, each once.
    fn said(&mut self, line: &str) {
        assert!(self.has_chatted, "{line:?} is said to nobody");
        if line == "QUIT\r\n\r\n" {
            return;
        }
        assert!(std::mem::take(&mut self.own_turn), "B16: {line:?} out of turn");
        let said = line.strip_suffix("\r\n").unwrap_or_else(|| panic!("B7: {line:?} has no end"));
        let said = if said == "QUIT " { "QUIT" } else { said };
        assert!(said.len() <= MAX_MESSAGE, "A14: {} bytes", said.len());
        let matches = |typed: &String| typed == said || (said == "QUIT" && typed == "QUIT ");
        let at = self.typed.iter().position(matches);
        let at = at.unwrap_or_else(|| panic!("B16: {said:?} was typed, once, behind what was sent before"));
        self.typed.drain(..=at);
    }
}

/// What can be typed or read: a line, with nothing in it that a terminal obeys.
fn text(said: &Said<'_>) -> String {
    chat_common::text::printable(&said.bytes()).into_owned()
}

fn contact(name: &Name<'_>) -> Contact {
    Contact { id: name.text().into(), ip: "127.0.0.1".into(), port: 3000 }
}
