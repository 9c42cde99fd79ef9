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
    /// What has been asked for and has not come. So long nothing else is begun.
    awaits: Option<Awaited>,
    /// Whom we can call, or chat with.
    peer: Option<Contact>,
    /// The peer has said something.
    heard: bool,
    /// What was typed and could not be done yet.
    inputs: VecDeque<Input>,
    /// Who called while an answer was awaited: it decides what becomes of them.
    calls: VecDeque<(u64, Contact)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    RegAck,
    BridgeAck,
    Connection,
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
            awaits: None,
            peer: None,
            heard: false,
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
            Event::Registered => self.answered(Awaited::RegAck, Trigger::RegAck, &mut out),
            Event::Bridged(None) => self.answered(Awaited::BridgeAck, Trigger::EmptyBridgeAck, &mut out),
            Event::Bridged(Some(peer)) => self.introduced(peer, &mut out),
            Event::Connected => self.answered(Awaited::Connection, Trigger::Connected, &mut out),
            Event::Failed(reason) => {
                self.awaits = None;
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

    fn introduced(&mut self, peer: Contact, out: &mut Vec<Action>) {
        if self.awaits == Some(Awaited::BridgeAck) {
            self.peer = Some(peer);
        }
        self.answered(Awaited::BridgeAck, Trigger::BridgeAck, out);
    }

    /// What was asked for has come. Something else in its place ends the waiting, and that is all it does.
    fn answered(&mut self, answer: Awaited, trigger: Trigger, out: &mut Vec<Action>) {
        match self.awaits.take() {
            Some(awaited) if awaited == answer => self.fire(trigger, "", out),
            Some(_) => out.push(hint("the server answered something else than was asked".into())),
            None => {}
        }
    }

    /// B7: a line of QUIT alone hangs up.
    fn heard(&mut self, line: &str, out: &mut Vec<Action>) {
        match Said::decode(line) {
            Some(Said::Quit) => self.fire(Trigger::HangUp, "", out),
            Some(_) => {
                self.heard = true;
                self.fire(Trigger::Message, line, out);
            }
            None => {}
        }
    }

    /// Does all that can be done now: calls first, for they came while we were busy with something else.
    fn proceed(&mut self, out: &mut Vec<Action>) {
        loop {
            if self.awaits.is_none()
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
            _ if self.awaits.is_some() => true,
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
            Effect::SendRegister => self.ask(Action::AskRegister, Awaited::RegAck, out),
            Effect::SendBridge => self.ask(Action::AskBridge, Awaited::BridgeAck, out),
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

    fn ask(&mut self, question: Action, answer: Awaited, out: &mut Vec<Action>) {
        self.awaits = Some(answer);
        out.push(question);
    }

    fn call(&mut self, out: &mut Vec<Action>) {
        if let Some(peer) = self.peer.clone() {
            self.ask(Action::Connect(peer), Awaited::Connection, out);
        }
    }

    fn end(&mut self, trigger: Trigger, out: &mut Vec<Action>) {
        if let (Trigger::HangUp, Some(peer), false) = (trigger, &self.peer, self.heard) {
            out.push(hint(format!("{} hung up without a word", peer.id)));
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
        if self.awaits.is_some() || self.state == State::Ended {
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

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::vec;
    use core::fmt;
    use proptest::prelude::*;

    const STATES: [State; 7] = {
        use State::*;
        [Start, Registered, Wait, Bridged, Writing, Reading, Ended]
    };

    const TRIGGERS: [Trigger; 13] = {
        use Trigger::*;
        [
            Register,
            Bridge,
            Chat,
            Text,
            Quit,
            RegAck,
            EmptyBridgeAck,
            BridgeAck,
            Connected,
            Call,
            Message,
            HangUp,
            Reset,
        ]
    };

    /// The name of a state in the diagram.
    impl fmt::Display for State {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&format!("{self:?}").to_uppercase())
        }
    }

    /// The words of the diagram.
    impl fmt::Display for Trigger {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(match self {
                Self::Register => "/register",
                Self::Bridge => "/bridge",
                Self::Chat => "/chat",
                Self::Text => "line typed",
                Self::Quit => "/quit",
                Self::RegAck => "REGACK",
                Self::EmptyBridgeAck => "empty BRIDGEACK",
                Self::BridgeAck => "BRIDGEACK with a peer",
                Self::Connected => "connected",
                Self::Call => "CHAT",
                Self::Message => "line from the peer",
                Self::HangUp => "QUIT or FIN",
                Self::Reset => "reset",
            })
        }
    }

    /// The words of the diagram.
    impl fmt::Display for Effect {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(match self {
                Self::Nothing => "\u{2013}",
                Self::SendRegister => "send REGISTER",
                Self::SendBridge => "send BRIDGE",
                Self::Connect => "connect to the peer",
                Self::SendChat => "send CHAT",
                Self::Announce => "announce the caller",
                Self::Keep => "keep it",
                Self::Send => "send it",
                Self::Show => "show it",
                Self::SendQuit => "send QUIT",
                Self::Hint | Self::Drop | Self::Refuse => "in no arrow",
            })
        }
    }

    /// B14: the arrows of the picture are the rows of the table, one for one.
    #[test]
    fn b14_the_diagram_is_the_table() {
        let page = include_str!("../../../docs/protocols/bridge.md");
        let diagram = page.split("stateDiagram-v2").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let arrows =
            diagram.lines().map(str::trim).filter(|line| line.contains("-->") && !line.contains("[*]"));
        let drawn: Vec<String> = arrows.map(ToString::to_string).collect();
        let row =
            |row: &Transition| format!("{} --> {} : {} / {}", row.from, row.to, row.trigger, row.effect);
        let wanted: Vec<String> = TRANSITIONS.iter().map(row).collect();
        let set = |lines: &[String]| lines.iter().cloned().collect::<BTreeSet<_>>();
        assert_eq!(set(&drawn), set(&wanted), "docs/protocols/bridge.md against TRANSITIONS");
        assert_eq!(drawn.len(), wanted.len(), "no arrow twice");
    }

    /// B13, B14, B16, B17: what every state does with everything that can happen. Columns are [`STATES`], rows
    /// [`TRIGGERS`].
    #[test]
    fn b14_every_state_with_every_event() {
        #[rustfmt::skip]
        let grid = "
                   START          REGISTERED      WAIT            BRIDGED         WRITING         READING         ENDED
register           ask START      ask REGISTERED  ask WAIT        ask BRIDGED     hint WRITING    hint READING    - ENDED
bridge             hint START     ask REGISTERED  ask WAIT        ask BRIDGED     hint WRITING    hint READING    - ENDED
chat               hint START     hint REGISTERED hint WAIT       connect BRIDGED hint WRITING    hint READING    - ENDED
text               drop START     drop REGISTERED keep WAIT       drop BRIDGED    send READING    keep READING    - ENDED
quit               - ENDED        - ENDED         - ENDED         - ENDED         quit ENDED      quit ENDED      - ENDED
regack             - REGISTERED   - REGISTERED    - REGISTERED    - REGISTERED    - WRITING       - READING       - ENDED
empty-bridgeack    - START        - WAIT          - WAIT          - WAIT          - WRITING       - READING       - ENDED
bridgeack          - START        - BRIDGED       - BRIDGED       - BRIDGED       - WRITING       - READING       - ENDED
connected          - START        - REGISTERED    - WAIT          chat WRITING    - WRITING       - READING       - ENDED
call               refuse START   refuse REGISTERED announce READING announce READING refuse WRITING refuse READING refuse ENDED
message            - START        - REGISTERED    - WAIT          - BRIDGED       show WRITING    show WRITING    - ENDED
hang-up            - START        - REGISTERED    - WAIT          - BRIDGED       - ENDED         - ENDED         - ENDED
reset              - START        - REGISTERED    - WAIT          - BRIDGED       - ENDED         - ENDED         - ENDED
";
        let short = |effect| match effect {
            Effect::Nothing => "-",
            Effect::SendRegister | Effect::SendBridge => "ask",
            Effect::Connect => "connect",
            Effect::SendChat => "chat",
            Effect::Announce => "announce",
            Effect::Keep => "keep",
            Effect::Send => "send",
            Effect::Show => "show",
            Effect::SendQuit => "quit",
            Effect::Hint => "hint",
            Effect::Drop => "drop",
            Effect::Refuse => "refuse",
        };
        let mut rows = grid.trim().lines().skip(1);
        for trigger in TRIGGERS {
            let wanted: Vec<&str> = rows.next().unwrap().split_whitespace().skip(1).collect();
            for (state, wanted) in STATES.into_iter().zip(wanted.chunks(2)) {
                let (effect, to) = step(state, trigger);
                let have = [short(effect), &to.to_string()].map(ToString::to_string);
                assert_eq!(have.as_slice(), wanted, "{state}: {trigger}");
            }
        }
        assert_eq!(rows.next(), None, "every row was compared");
    }

    fn contact(id: &str) -> Contact {
        Contact { id: id.into(), ip: "127.0.0.1".into(), port: 3000 }
    }

    fn typed(line: &str) -> Event {
        Event::Typed(line.into())
    }

    fn heard(line: &str) -> Event {
        Event::Heard(line.into())
    }

    fn say(text: &str) -> Action {
        Action::Say(text.into())
    }

    fn print(line: &str) -> Action {
        Action::Print(line.into())
    }

    const KEPT: &str = "not your turn: the line is kept until it is";

    fn kept() -> Action {
        hint(KEPT.into())
    }

    /// A client that the events before have brought somewhere.
    fn client(in_order: bool, events: Vec<Event>) -> Client {
        let mut client = Client::new("Bob".into(), in_order);
        for event in events {
            client.handle(event);
        }
        client
    }

    /// The events that lead to each state.
    fn path_to(state: State) -> Vec<Event> {
        let registered = vec![typed("/register"), Event::Registered];
        let wait = [registered.clone(), vec![typed("/bridge"), Event::Bridged(None)]].concat();
        let bridged =
            [registered.clone(), vec![typed("/bridge"), Event::Bridged(Some(contact("Alice")))]].concat();
        match state {
            State::Start => vec![],
            State::Registered => registered,
            State::Wait => wait,
            State::Bridged => bridged,
            State::Writing => [bridged, vec![typed("/chat"), Event::Connected]].concat(),
            State::Reading => [wait, vec![Event::Called(0, contact("Alice"))]].concat(),
            State::Ended => vec![typed("/quit")],
        }
    }

    /// What a client says and shows, one event after the other.
    #[track_caller]
    fn check(mut client: Client, events: Vec<(Event, Vec<Action>)>) {
        for (event, wanted) in events {
            let what = format!("{:?} in {}", event, client.state());
            assert_eq!(client.handle(event), wanted, "{what}");
        }
    }

    #[test]
    fn b14_every_state_is_reached() {
        for state in STATES {
            assert_eq!(client(false, path_to(state)).state(), state);
        }
    }

    #[test]
    fn example_1_bob() {
        let alice = contact("Alice");
        check(
            client(false, vec![]),
            vec![
                (typed("/id"), vec![print("Bob")]),
                (typed("/register"), vec![Action::AskRegister]),
                (Event::Registered, vec![]),
                (typed("/bridge"), vec![Action::AskBridge]),
                (Event::Bridged(Some(alice.clone())), vec![]),
                (typed("/chat"), vec![Action::Connect(alice)]),
                (Event::Connected, vec![Action::OpenChat]),
                (typed("Hello Alice"), vec![say("Hello Alice\r\n")]),
                (heard("How are you doing, Bob?"), vec![print("How are you doing, Bob?")]),
                (typed("Doing well, Alice."), vec![say("Doing well, Alice.\r\n")]),
                (heard("QUIT"), vec![Action::End(Ending::Wanted)]),
            ],
        );
    }

    #[test]
    fn b15_b16_example_1_alice() {
        let mut bob = contact("Bob");
        bob.ip = "127.1.1.1".into();
        bob.port = 1500;
        check(
            client(false, path_to(State::Wait)),
            vec![
                (
                    Event::Called(7, bob),
                    vec![Action::Accept(7), print("Incoming chat request from Bob 127.1.1.1:1500")],
                ),
                (heard("Hello Alice"), vec![print("Hello Alice")]),
                (typed("How are you doing, Bob?"), vec![say("How are you doing, Bob?\r\n")]),
                (typed("/quit"), vec![say("QUIT\r\n\r\n"), Action::End(Ending::Wanted)]),
            ],
        );
    }

    #[test]
    fn b16_a_line_out_of_turn_is_kept_and_a_command_overtakes_it() {
        check(
            client(false, path_to(State::Reading)),
            vec![
                (typed("one"), vec![kept()]),
                (typed("two"), vec![kept()]),
                (typed("/id"), vec![print("Bob")]),
                (heard("a"), vec![print("a"), say("one\r\n")]),
                (heard("b"), vec![print("b"), say("two\r\n")]),
                (heard("c"), vec![print("c")]),
                (heard("d"), vec![print("d")]),
                (typed("three"), vec![say("three\r\n")]),
                (typed("four"), vec![kept()]),
                (
                    typed("/quit"),
                    vec![
                        say("QUIT\r\n\r\n"),
                        hint("not sent: 1 of the lines typed".into()),
                        Action::End(Ending::Wanted),
                    ],
                ),
            ],
        );
    }

    #[test]
    fn b16_through_a_pipe_what_stands_behind_a_kept_line_waits_with_it() {
        check(
            client(true, path_to(State::Wait)),
            vec![
                (typed("one"), vec![kept()]),
                (typed("/id"), vec![]),
                (typed("two"), vec![]),
                (typed("/quit"), vec![]),
                (Event::EndOfInput, vec![]),
                (
                    Event::Called(0, contact("Alice")),
                    vec![Action::Accept(0), print("Incoming chat request from Alice 127.0.0.1:3000")],
                ),
                (heard("a"), vec![print("a"), say("one\r\n"), print("Bob"), kept()]),
                (
                    heard("b"),
                    vec![print("b"), say("two\r\n"), say("QUIT\r\n\r\n"), Action::End(Ending::Wanted)],
                ),
            ],
        );
    }

    #[test]
    fn b16_ctrl_c_waits_for_nothing() {
        for in_order in [false, true] {
            let mut client = client(in_order, path_to(State::Reading));
            assert_eq!(client.handle(typed("kept")), [kept()]);
            let actions = client.handle(Event::Interrupted);
            assert_eq!(actions.first(), Some(&say("QUIT\r\n\r\n")));
            assert_eq!(actions.last(), Some(&Action::End(Ending::Wanted)));
        }
    }

    #[test]
    fn b13_what_is_typed_while_an_answer_is_awaited_waits() {
        for in_order in [false, true] {
            check(
                client(in_order, vec![]),
                vec![
                    (typed("/register"), vec![Action::AskRegister]),
                    (typed("/bridge"), vec![]),
                    (typed("hello"), vec![]),
                    (Event::Registered, vec![Action::AskBridge]),
                    (Event::Bridged(None), vec![kept()]),
                ],
            );
        }
    }

    #[test]
    fn b14_who_calls_while_an_answer_is_awaited_is_not_refused_before_it() {
        let mut before = path_to(State::Registered);
        before.push(typed("/bridge"));
        let announced = || print("Incoming chat request from Alice 127.0.0.1:3000");
        check(
            client(false, before.clone()),
            vec![
                (Event::Called(3, contact("Alice")), vec![]),
                (Event::Called(4, contact("Eve")), vec![]),
                (Event::Bridged(None), vec![Action::Accept(3), announced(), Action::Refuse(4)]),
            ],
        );
        check(
            client(false, before),
            vec![
                (Event::Called(3, contact("Alice")), vec![]),
                (Event::Failed("no answer".into()), vec![hint("no answer".into()), Action::Refuse(3)]),
            ],
        );
    }

    #[test]
    fn b13_an_answer_that_was_not_asked_for_changes_nothing() {
        let something_else = || vec![hint("the server answered something else than was asked".into())];
        check(
            client(false, path_to(State::Registered)),
            vec![
                (Event::Bridged(Some(contact("Alice"))), vec![]),
                (typed("/chat"), vec![hint("not yet: /bridge comes first".into())]),
                (typed("/register"), vec![Action::AskRegister]),
                (Event::Bridged(Some(contact("Alice"))), something_else()),
                (typed("/bridge"), vec![Action::AskBridge]),
                (Event::Registered, something_else()),
                (typed("/chat"), vec![hint("not yet: /bridge comes first".into())]),
            ],
        );
    }

    #[test]
    fn b13_nobody_answers_and_the_program_goes_on() {
        check(
            client(false, path_to(State::Bridged)),
            vec![
                (typed("/chat"), vec![Action::Connect(contact("Alice"))]),
                (Event::Failed("refused".into()), vec![hint("refused".into())]),
                (typed("/chat"), vec![Action::Connect(contact("Alice"))]),
                (Event::Connected, vec![Action::OpenChat]),
            ],
        );
    }

    #[test]
    fn b14_who_is_refused_is_told_so() {
        let told = hint("Alice hung up without a word".into());
        check(
            client(false, path_to(State::Writing)),
            vec![(Event::HungUp, vec![told, Action::End(Ending::Wanted)])],
        );
    }

    #[test]
    fn b17_a_reset_is_a_loss_and_the_end_is_said_once() {
        let mut client = client(false, path_to(State::Writing));
        assert_eq!(client.handle(Event::Reset), [Action::End(Ending::Lost)]);
        assert_eq!(client.handle(Event::HungUp), []);
        assert_eq!(client.handle(typed("late")), []);
        assert_eq!(client.handle(Event::Interrupted), []);
        assert_eq!(client.handle(Event::Called(9, contact("Eve"))), [Action::Refuse(9)]);
    }

    #[test]
    fn b13_commands_and_text() {
        use Typed::*;
        let text = |line: &str| Some(Text(line.into()));
        for (line, wanted) in [
            ("", None),
            ("/id", Some(Id)),
            ("/id ", Some(Id)),
            ("/quit now", Some(Command(Trigger::Quit))),
            ("/register", Some(Command(Trigger::Register))),
            ("/registers", Some(Unknown("/registers".into()))),
            ("/help me", Some(Unknown("/help".into()))),
            ("/", text("/")),
            ("/Id", text("/Id")),
            (" /id", text(" /id")),
            ("/tmp/x is full", text("/tmp/x is full")),
            ("hello /quit", text("hello /quit")),
        ] {
            assert_eq!(Typed::decode(line), wanted, "{line:?}");
        }
    }

    #[test]
    fn a14_b7_what_is_said() {
        let mut client = client(false, path_to(State::Writing));
        let long = "x".repeat(MAX_MESSAGE + 1);
        assert!(
            matches!(client.handle(typed(&long))[..], [Action::Hint(_)]),
            "and the turn is not given away"
        );
        assert_eq!(client.handle(typed("QUIT")), [say("QUIT \r\n")]);
        assert_eq!(client.handle(heard("")), [], "an empty line says nothing");
        assert_eq!(client.state(), State::Reading);
        assert_eq!(client.handle(heard(&long)), [print(&long)]);
        assert_eq!(client.handle(typed(&long[1..])), [say(&format!("{}\r\n", &long[1..]))]);
    }

    /// Anything that can happen; answers only come when they are awaited.
    fn any_event() -> impl Strategy<Value = Event> {
        prop_oneof![
            proptest::sample::select(vec![
                "/id",
                "/register",
                "/bridge",
                "/chat",
                "text",
                "more",
                "/nothing",
                ""
            ])
            .prop_map(typed),
            Just(typed("/quit")),
            Just(Event::EndOfInput),
            Just(Event::Interrupted),
            (0..9u64).prop_map(|call| Event::Called(call, contact("Alice"))),
            Just(heard("hello")),
            Just(heard("QUIT")),
            Just(Event::HungUp),
            Just(Event::Reset),
            Just(Event::Registered),
            Just(Event::Bridged(None)),
            Just(Event::Bridged(Some(contact("Alice")))),
            Just(Event::Connected),
            Just(Event::Failed("no".into())),
        ]
    }

    proptest! {
        /// B14, B16: whatever happens, there is one chat at most, one writer's line for one turn, every caller is
        /// answered, and the end comes once.
        #[test]
        fn whatever_happens(in_order: bool, events in proptest::collection::vec(any_event(), 0..60)) {
            let mut client = Client::new("Bob".into(), in_order);
            let (mut chats, mut ends, mut open_calls, mut said, mut shown) = (0, 0, 0i32, 0, 0);
            for event in events {
                open_calls += i32::from(matches!(event, Event::Called(..)));
                for action in client.handle(event) {
                    match action {
                        Action::Accept(_) => { chats += 1; open_calls -= 1; }
                        Action::OpenChat => chats += 1,
                        Action::Refuse(_) => open_calls -= 1,
                        Action::End(_) => ends += 1,
                        Action::Say(text) if !text.starts_with("QUIT") => said += 1,
                        Action::Print(line) if line == "hello" => shown += 1,
                        _ => {}
                    }
                }
                prop_assert!(chats <= 1 && ends <= 1);
                prop_assert_eq!(ends == 1, client.state() == State::Ended);
                prop_assert!(said <= shown + 1, "a line sent gives the turn away");
                prop_assert!(open_calls == 0 || client.awaits.is_some(), "every caller is answered");
            }
        }
    }
}
