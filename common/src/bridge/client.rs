//! The client as a state machine: [`Client::handle`] takes what happens, and says what is to be done.
//!
//! Every arrow of the diagram in `docs/protocols/bridge.md` is a row of [`TRANSITIONS`], and a test keeps the two the
//! same. What is not in the table has the same answer in every state: a command out of order gets a hint (B13), text
//! that nobody would read is dropped with one, and a call is refused (B14).
//!
//! The two peers take turns, as with walkie-talkies: a line typed out of turn is kept until the turn comes (B16). So
//! between the keyboard and the table stands a queue. From a keyboard, what can be done now overtakes what has to
//! wait; from a pipe, the order is strict.
//!
//! This module knows no socket and no terminal. Who calls it carries the [`Action`]s out, in their order.

use super::{Contact, Said};
use crate::frame::MAX_MESSAGE;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::mem;

/// Where a client stands (B14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// The server does not know it.
    Start,
    /// The server knows it.
    Registered,
    /// There was nobody to be introduced to: it waits to be called.
    Wait,
    /// It knows a peer that it can call, and may be called itself.
    Bridged,
    /// It chats, and it is its turn to write.
    Writing,
    /// It chats, and it is its peer's turn.
    Reading,
    /// The program is to end.
    Ended,
}

/// What happens, in the words of the diagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trigger {
    /// `/register` is typed.
    Register,
    /// `/bridge` is typed.
    Bridge,
    /// `/chat` is typed.
    Chat,
    /// A line of text is typed.
    Text,
    /// `/quit`, Ctrl-C, or the end of input.
    Quit,
    /// The server has registered us.
    RegAck,
    /// The server knows nobody else.
    EmptyBridgeAck,
    /// The server names a peer.
    BridgeAck,
    /// The connection to the peer that we call stands.
    Connected,
    /// CHAT: a peer calls us.
    Call,
    /// A line of text from the peer.
    Message,
    /// The peer ends the chat: QUIT, or FIN.
    HangUp,
    /// The peer has vanished.
    Reset,
}

/// What is done about it, in the words of the diagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Nothing but the change of state.
    Nothing,
    /// REGISTER is sent to the server.
    SendRegister,
    /// BRIDGE is sent to the server.
    SendBridge,
    /// A connection to the peer is made.
    Connect,
    /// CHAT is sent to the peer.
    SendChat,
    /// The caller is announced (B15).
    Announce,
    /// The line is kept until our turn comes.
    Keep,
    /// The line is sent to the peer.
    Send,
    /// The line is shown.
    Show,
    /// QUIT is sent to the peer.
    SendQuit,
    /// The command is out of order: a hint says so.
    Hint,
    /// Nobody would read the line: it is dropped, and a hint says so.
    Drop,
    /// The call is refused.
    Refuse,
}

/// An arrow of the diagram: in this state, when that happens, this is done, and the next state is that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The state before.
    pub from: State,
    /// What happens.
    pub trigger: Trigger,
    /// What is done.
    pub effect: Effect,
    /// The state behind it.
    pub to: State,
}

/// The protocol of the client (B13 to B17).
pub const TRANSITIONS: &[Transition] = &{
    use {Effect::*, State::*, Trigger::*};
    [
        arrow(Start, Register, SendRegister, Start),
        arrow(Start, RegAck, Nothing, Registered),
        arrow(Start, Quit, Nothing, Ended),
        arrow(Registered, Register, SendRegister, Registered),
        arrow(Registered, RegAck, Nothing, Registered),
        arrow(Registered, Bridge, SendBridge, Registered),
        arrow(Registered, EmptyBridgeAck, Nothing, Wait),
        arrow(Registered, BridgeAck, Nothing, Bridged),
        arrow(Registered, Quit, Nothing, Ended),
        arrow(Wait, Register, SendRegister, Wait),
        arrow(Wait, RegAck, Nothing, Registered),
        arrow(Wait, Bridge, SendBridge, Wait),
        arrow(Wait, EmptyBridgeAck, Nothing, Wait),
        arrow(Wait, BridgeAck, Nothing, Bridged),
        arrow(Wait, Text, Keep, Wait),
        arrow(Wait, Call, Announce, Reading),
        arrow(Wait, Quit, Nothing, Ended),
        arrow(Bridged, Register, SendRegister, Bridged),
        arrow(Bridged, RegAck, Nothing, Registered),
        arrow(Bridged, Bridge, SendBridge, Bridged),
        arrow(Bridged, EmptyBridgeAck, Nothing, Wait),
        arrow(Bridged, BridgeAck, Nothing, Bridged),
        arrow(Bridged, Chat, Connect, Bridged),
        arrow(Bridged, Connected, SendChat, Writing),
        arrow(Bridged, Call, Announce, Reading),
        arrow(Bridged, Quit, Nothing, Ended),
        arrow(Writing, Text, Send, Reading),
        arrow(Writing, Message, Show, Writing),
        arrow(Writing, Quit, SendQuit, Ended),
        arrow(Writing, HangUp, Nothing, Ended),
        arrow(Writing, Reset, Nothing, Ended),
        arrow(Reading, Text, Keep, Reading),
        arrow(Reading, Message, Show, Writing),
        arrow(Reading, Quit, SendQuit, Ended),
        arrow(Reading, HangUp, Nothing, Ended),
        arrow(Reading, Reset, Nothing, Ended),
    ]
};

/// Something has happened to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A line was typed.
    Typed(String),
    /// Nothing more will be typed.
    EndOfInput,
    /// The user wants the program to end, now.
    Interrupted,
    /// The server answered REGACK.
    Registered,
    /// The server answered BRIDGEACK: with a peer, or with nobody.
    Bridged(Option<Contact>),
    /// The connection asked for by [`Action::Connect`] stands.
    Connected,
    /// The server, or the peer to be called, did not do what was asked, and why.
    Failed(String),
    /// Somebody calls: the number of the call, and who it is.
    Called(u64, Contact),
    /// The peer said this line.
    Heard(String),
    /// The peer has closed its side (FIN).
    HungUp,
    /// The connection to the peer broke (a reset).
    Reset,
}

/// Something is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask the server: REGISTER with our contact. Comes back as an [`Event`], as the next two do.
    AskRegister,
    /// Ask the server: BRIDGE.
    AskBridge,
    /// Make a connection to this peer.
    Connect(Contact),
    /// Say CHAT with our contact over that connection, which is the chat's from now on.
    OpenChat,
    /// This call's connection is the chat's from now on.
    Accept(u64),
    /// Close this call's connection.
    Refuse(u64),
    /// Say this to the peer: the bytes on the wire.
    Say(String),
    /// Show this line.
    Print(String),
    /// Tell the user something that the source does not show.
    Hint(String),
    /// The program is to end.
    End(Ending),
}

/// How it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Somebody wanted it.
    Wanted,
    /// The peer has vanished (B17).
    Lost,
}

/// A client, from its start to its end.
#[derive(Debug)]
pub struct Client {
    id: String,
    /// The input comes from a pipe: what stands behind a line that waits, waits too (B16).
    in_order: bool,
    state: State,
    /// The server, or a peer, has been asked for something that has not come. So long nothing else is begun.
    awaits: bool,
    /// Whom we can call, or chat with.
    peer: Option<Contact>,
    /// What was typed and could not be done yet.
    inputs: VecDeque<Input>,
    /// Who called while an answer was awaited: it decides what becomes of them.
    calls: VecDeque<(u64, Contact)>,
}

/// What was typed.
#[derive(Debug, PartialEq, Eq)]
struct Input {
    what: Typed,
    /// The user knows that it waits.
    told: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Typed {
    Id,
    Command(Trigger),
    Unknown(String),
    Text(String),
}

impl Client {
    /// The client `id` at its start. `in_order`: its input comes from a pipe.
    #[must_use]
    pub const fn new(id: String, in_order: bool) -> Self {
        Self {
            id,
            in_order,
            state: State::Start,
            awaits: false,
            peer: None,
            inputs: VecDeque::new(),
            calls: VecDeque::new(),
        }
    }

    /// Where it stands.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// How many typed lines wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.inputs.len()
    }

    /// Whom it chats with, or could.
    #[must_use]
    pub const fn peer(&self) -> Option<&Contact> {
        self.peer.as_ref()
    }

    /// Something has happened: what is to be done, in this order.
    pub fn handle(&mut self, event: Event) -> Vec<Action> {
        let mut out = Vec::new();
        match event {
            Event::Typed(line) => self.inputs.extend(Typed::decode(&line).map(Input::new)),
            Event::EndOfInput => self.inputs.push_back(Input::new(Typed::Command(Trigger::Quit))),
            Event::Interrupted => self.fire(Trigger::Quit, "", &mut out),
            Event::Registered => self.answered(Trigger::RegAck, &mut out),
            Event::Bridged(None) => self.answered(Trigger::EmptyBridgeAck, &mut out),
            Event::Bridged(Some(contact)) => {
                self.peer = Some(contact);
                self.answered(Trigger::BridgeAck, &mut out);
            }
            Event::Connected => self.answered(Trigger::Connected, &mut out),
            Event::Failed(reason) => {
                self.awaits = false;
                out.push(Action::Hint(reason));
            }
            Event::Called(call, contact) => self.calls.push_back((call, contact)),
            Event::Heard(line) => self.heard(&line, &mut out),
            Event::HungUp => self.fire(Trigger::HangUp, "", &mut out),
            Event::Reset => self.fire(Trigger::Reset, "", &mut out),
        }
        self.proceed(&mut out);
        out
    }

    fn answered(&mut self, trigger: Trigger, out: &mut Vec<Action>) {
        self.awaits = false;
        self.fire(trigger, "", out);
    }

    /// B7: a line of QUIT alone hangs up.
    fn heard(&mut self, line: &str, out: &mut Vec<Action>) {
        match Said::decode(line) {
            Some(Said::Quit) => self.fire(Trigger::HangUp, "", out),
            Some(_) => self.fire(Trigger::Message, line, out),
            None => {}
        }
    }

    /// Does all that can be done now: calls first, for they came while we were busy with something else.
    fn proceed(&mut self, out: &mut Vec<Action>) {
        loop {
            if !self.awaits
                && let Some((call, caller)) = self.calls.pop_front()
            {
                self.called(call, caller, out);
            } else if let Some(input) = self.next_input() {
                self.act(input.what, out);
            } else {
                return self.tell_what_waits(out);
            }
        }
    }

    /// The next input that can be acted on now (B16).
    fn next_input(&mut self) -> Option<Input> {
        let at =
            if self.in_order { 0 } else { self.inputs.iter().position(|input| !self.must_wait(input))? };
        let waits = self.must_wait(self.inputs.get(at)?);
        if waits { None } else { self.inputs.remove(at) }
    }

    fn must_wait(&self, input: &Input) -> bool {
        match &input.what {
            _ if self.state == State::Ended => true,
            Typed::Command(Trigger::Quit) if !self.in_order => false,
            _ if self.awaits => true,
            Typed::Text(_) => step(self.state, Trigger::Text).0 == Effect::Keep,
            _ => false,
        }
    }

    fn act(&mut self, input: Typed, out: &mut Vec<Action>) {
        match input {
            Typed::Id => out.push(Action::Print(self.id.clone())),
            Typed::Command(trigger) => self.fire(trigger, "", out),
            Typed::Text(text) if text.len() > MAX_MESSAGE => {
                out.push(hint(format!("not sent: a message may be {MAX_MESSAGE} bytes")));
            }
            Typed::Text(text) => self.fire(Trigger::Text, &text, out),
            Typed::Unknown(word) => out.push(hint(format!(
                "{word} is no command: there are /id, /register, /bridge, /chat and /quit"
            ))),
        }
    }

    fn called(&mut self, call: u64, caller: Contact, out: &mut Vec<Action>) {
        let (effect, to) = step(self.state, Trigger::Call);
        if effect != Effect::Announce {
            return out.push(Action::Refuse(call));
        }
        self.state = to;
        out.push(Action::Accept(call));
        out.push(Action::Print(format!("Incoming chat request from {caller}")));
        self.peer = Some(caller);
    }

    /// Takes the arrow of `trigger`; `text` is what was typed, or what the peer said.
    fn fire(&mut self, trigger: Trigger, text: &str, out: &mut Vec<Action>) {
        let (effect, to) = step(self.state, trigger);
        let from = mem::replace(&mut self.state, to);
        match effect {
            Effect::SendRegister => self.ask(Action::AskRegister, out),
            Effect::SendBridge => self.ask(Action::AskBridge, out),
            Effect::Connect => self.call(out),
            Effect::SendChat => out.push(Action::OpenChat),
            Effect::Send => out.push(Action::Say(Said::Text(text).to_string())),
            Effect::SendQuit => out.push(Action::Say(Said::Quit.to_string())),
            Effect::Show => out.push(Action::Print(text.into())),
            Effect::Hint | Effect::Drop => out.push(hint(why_not(from, trigger).into())),
            Effect::Nothing | Effect::Announce | Effect::Keep | Effect::Refuse => {}
        }
        if from != State::Ended && to == State::Ended {
            self.end(trigger, out);
        }
    }

    fn ask(&mut self, question: Action, out: &mut Vec<Action>) {
        self.awaits = true;
        out.push(question);
    }

    fn call(&mut self, out: &mut Vec<Action>) {
        if let Some(peer) = self.peer.clone() {
            self.ask(Action::Connect(peer), out);
        }
    }

    fn end(&mut self, trigger: Trigger, out: &mut Vec<Action>) {
        if let (Trigger::HangUp, Some(peer)) = (trigger, &self.peer) {
            out.push(hint(format!("{} has ended the chat", peer.id)));
        }
        let unsent = self.inputs.iter().filter(|input| matches!(input.what, Typed::Text(_))).count();
        if unsent > 0 {
            out.push(hint(format!("not sent: {unsent} of the lines typed")));
        }
        out.extend(self.calls.drain(..).map(|(call, _)| Action::Refuse(call)));
        out.push(Action::End(if trigger == Trigger::Reset { Ending::Lost } else { Ending::Wanted }));
    }

    /// B16: the user is told, once, of each line that was typed out of turn.
    fn tell_what_waits(&mut self, out: &mut Vec<Action>) {
        if self.awaits || self.state == State::Ended {
            return;
        }
        let reached = if self.in_order { 1 } else { self.inputs.len() };
        for input in self.inputs.iter_mut().take(reached) {
            if !mem::replace(&mut input.told, true) {
                out.push(hint("not your turn: the line is kept until it is".into()));
            }
        }
    }
}

impl Input {
    const fn new(what: Typed) -> Self {
        Self { what, told: false }
    }
}

impl Typed {
    /// B13: a command is a slash and lower case letters at the beginning of a line. An empty line is nothing.
    fn decode(line: &str) -> Option<Self> {
        let word = line.split(' ').next().unwrap_or_default();
        let command = word.strip_prefix('/').unwrap_or_default();
        let is_command = !command.is_empty() && command.bytes().all(|byte| byte.is_ascii_lowercase());
        Some(match command {
            _ if line.is_empty() => return None,
            _ if !is_command => Self::Text(line.into()),
            "id" => Self::Id,
            "register" => Self::Command(Trigger::Register),
            "bridge" => Self::Command(Trigger::Bridge),
            "chat" => Self::Command(Trigger::Chat),
            "quit" => Self::Command(Trigger::Quit),
            _ => Self::Unknown(word.into()),
        })
    }
}

/// Whether a typed line is the exit command.
#[must_use]
pub fn is_quit(line: &str) -> bool {
    Typed::decode(line) == Some(Typed::Command(Trigger::Quit))
}

/// What is done in `state` when `trigger` happens, and the next state: a row of [`TRANSITIONS`], or what holds in
/// every state.
#[must_use]
pub fn step(state: State, trigger: Trigger) -> (Effect, State) {
    let row = TRANSITIONS.iter().find(|row| row.from == state && row.trigger == trigger);
    match (row, trigger) {
        (Some(row), _) => (row.effect, row.to),
        (None, Trigger::Call) => (Effect::Refuse, state),
        (None, _) if state == State::Ended => (Effect::Nothing, state),
        (None, Trigger::Register | Trigger::Bridge | Trigger::Chat) => (Effect::Hint, state),
        (None, Trigger::Text) => (Effect::Drop, state),
        (None, _) => (Effect::Nothing, state),
    }
}

const fn arrow(from: State, trigger: Trigger, effect: Effect, to: State) -> Transition {
    Transition { from, trigger, effect, to }
}

const fn hint(text: String) -> Action {
    Action::Hint(text)
}

/// Why `trigger` can do nothing in `state`.
const fn why_not(state: State, trigger: Trigger) -> &'static str {
    match (state, trigger) {
        (State::Writing | State::Reading, _) => "you are chatting: /quit ends it",
        (State::Bridged, Trigger::Text) => "not sent: /chat calls your peer",
        (_, Trigger::Text) => "not sent: there is nobody to chat with yet",
        (State::Start, _) => "not yet: /register comes first",
        (State::Wait, _) => "nobody to call yet: wait to be called, or ask again with /bridge",
        _ => "not yet: /bridge comes first",
    }
}
