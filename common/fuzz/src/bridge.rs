//! [`bridge`](chat_common::bridge): its messages, and who is introduced to whom.

use crate::input::{Name, Said, is_harmless};
use arbitrary::Arbitrary;
use chat_common::bridge::{self, Broker, Contact, Error, Reply, Request};
use chat_common::frame::{Block, Lines, MAX_MESSAGE, Pauses};
use chat_common::text::{is_name, printable};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// From where somebody calls.
const CALLER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 3001);

/// How many clients there may be places for.
const PLACES: u8 = 5;

/// A server, and what its clients ask, a connection each.
#[derive(Arbitrary, Debug)]
pub struct Input<'a> {
    places: u8,
    requests: Vec<Message<'a>>,
}

#[derive(Arbitrary, Debug)]
enum Message<'a> {
    /// A registration as it should be.
    Register(Id<'a>, u16),
    /// BRIDGE as it should be.
    Bridge(Id<'a>),
    /// A message of some kind, with headers of some kind.
    Headers(Kind<'a>, Vec<Header<'a>>),
    /// Any bytes.
    Bytes(Said<'a>),
}

#[derive(Arbitrary, Debug)]
enum Id<'a> {
    Name(Name<'a>),
    /// One of more clients than there are places.
    Number(u8),
}

#[derive(Arbitrary, Debug)]
enum Kind<'a> {
    Register,
    RegAck,
    Bridge,
    BridgeAck,
    Chat,
    Error,
    Other(Said<'a>),
}

#[derive(Arbitrary, Debug)]
struct Header<'a> {
    name: HeaderName<'a>,
    space: bool,
    value: Value<'a>,
    cr: bool,
}

#[derive(Arbitrary, Debug)]
enum HeaderName<'a> {
    Id,
    Ip,
    Port,
    LowerPort,
    Reason,
    Other(&'a [u8]),
}

#[derive(Arbitrary, Debug)]
enum Value<'a> {
    Id(Id<'a>),
    Number(u32),
    Address,
    Address6,
    /// As an IPv6 address is written in front of a port.
    Brackets(Id<'a>),
    Bytes(&'a [u8]),
}

impl Input<'_> {
    /// Lets the clients ask, and holds the answers against the clauses.
    ///
    /// # Panics
    /// A clause is broken.
    pub fn check(&self) {
        let mut server = Server::new(usize::from(self.places % PLACES));
        for request in &self.requests {
            let bytes = request.bytes();
            let mut reader = Block::new(MAX_MESSAGE);
            reader.push(&bytes);
            while let Some(block) = reader.next() {
                let Ok(block) = block else { continue };
                check_block(block);
                if let Ok(request) = Request::decode(block) {
                    server.ask(request);
                }
            }
            check_said(&bytes);
        }
    }
}

impl Message<'_> {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Register(id, port) => {
                format!("REGISTER\r\nclientID: {}\r\nIP: 127.0.0.1\r\nPort: {port}\r\n\r\n", id.text()).into()
            }
            Self::Bridge(id) => format!("BRIDGE\r\nclientID: {}\r\n\r\n", id.text()).into(),
            Self::Headers(kind, headers) => {
                let headers: Vec<_> = headers.iter().map(Header::bytes).collect();
                [&*kind.bytes(), b"\r\n", &headers.concat(), b"\r\n"].concat()
            }
            Self::Bytes(said) => said.bytes(),
        }
    }
}

impl Id<'_> {
    fn text(&self) -> String {
        match self {
            Self::Name(name) => name.text().into(),
            Self::Number(number) => format!("client{}", number % (2 * PLACES)),
        }
    }
}

impl Kind<'_> {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Register => b"REGISTER".into(),
            Self::RegAck => b"REGACK".into(),
            Self::Bridge => b"BRIDGE".into(),
            Self::BridgeAck => b"BRIDGEACK".into(),
            Self::Chat => b"CHAT".into(),
            Self::Error => b"ERROR".into(),
            Self::Other(said) => said.bytes(),
        }
    }
}

impl Header<'_> {
    fn bytes(&self) -> Vec<u8> {
        let name: &[u8] = match self.name {
            HeaderName::Id => b"clientID",
            HeaderName::Ip => b"IP",
            HeaderName::Port => b"Port",
            HeaderName::LowerPort => b"port",
            HeaderName::Reason => b"Reason",
            HeaderName::Other(bytes) => bytes,
        };
        let colon: &[u8] = if self.space { b": " } else { b":" };
        let end: &[u8] = if self.cr { b"\r\n" } else { b"\n" };
        [name, colon, &self.value.bytes(), end].concat()
    }
}

impl Value<'_> {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Id(id) => id.text().into(),
            Self::Number(number) => number.to_string().into(),
            Self::Address => b"200.26.180.43".into(),
            Self::Address6 => b"2001:db8::1".into(),
            Self::Brackets(id) => format!("[{}]", id.text()).into(),
            Self::Bytes(bytes) => bytes.to_vec(),
        }
    }
}

/// What is read of a block is well formed, and reads the same when it is written.
fn check_block(block: &[u8]) {
    match Request::decode(block) {
        Ok(request) => {
            if let Request::Register(contact) = &request {
                check_contact(contact);
            }
            let written = block_of(&request.to_string());
            assert_eq!(Request::decode(&written), Ok(request), "B3, B4: what is written is read");
        }
        Err(error) => check_reply(&Reply::Refused(error.to_string())),
    }
    if let Some(reply) = Reply::decode(block) {
        check_reply(&reply);
    }
    if let Some(caller) = bridge::Said::decode_chat(block, CALLER) {
        check_contact(&caller);
        let written = block_of(&bridge::Said::Chat(&caller).to_string());
        let read = bridge::Said::decode_chat(&written, SocketAddr::from(([0, 0, 0, 0], 1)));
        assert_eq!(read, Some(caller), "B7: what is written is read");
    }
}

fn check_reply(reply: &Reply) {
    if let Reply::Registered(Some(contact)) | Reply::Bridged(Some(contact)) = reply {
        check_contact(contact);
    }
    let written = block_of(&reply.to_string());
    assert_eq!(Reply::decode(&written).as_ref(), Some(reply), "B3, B4, B8: what is written is read");
}

/// A13, B8: what a contact may be; and it is the same in the contacts file (B9).
fn check_contact(contact: &Contact) {
    assert!(is_name(&contact.id) && contact.port > 0, "B8: {contact:?}");
    let is_word = !contact.ip.is_empty() && !contact.ip.contains(char::is_whitespace);
    assert!(is_word && is_harmless(&contact.ip), "A15, B8: {contact:?}");
    let line = contact.to_string();
    assert_eq!(Contact::parse(&line).as_ref(), Some(contact), "B9: {line:?} in the contacts file");
}

/// The one block that a message is, without its empty line. It fits its reader.
fn block_of(message: &str) -> Vec<u8> {
    let mut reader = Block::new(MAX_MESSAGE + MAX_MESSAGE);
    reader.push(message.as_bytes());
    let block = reader.next().and_then(Result::ok).map(<[u8]>::to_vec);
    assert!(reader.rest().is_empty(), "one message is one block: {message:?}");
    assert!(is_harmless(&message.replace("\r\n", " ")), "A15: {message:?}");
    block.unwrap_or_else(|| panic!("B6: {message:?} is a block"))
}

/// B7: what somebody types arrives as it is, and ends no chat; a text of QUIT alone has a space behind it.
fn check_said(bytes: &[u8]) {
    let text = printable(bytes);
    if text.is_empty() || text.len() > MAX_MESSAGE {
        return;
    }
    let mut reader = Lines::new(MAX_MESSAGE, Pauses::UntilFirstNewline);
    reader.push(bridge::Said::Text(&text).to_string().as_bytes(), Duration::ZERO);
    let line = reader.next(Duration::ZERO).and_then(Result::ok).map(|line| printable(line).into_owned());
    let wanted = if text == "QUIT" { "QUIT " } else { &*text };
    let heard = line.as_deref().and_then(bridge::Said::decode);
    assert_eq!(heard, Some(bridge::Said::Text(wanted)), "B7: {text:?}");
    assert_eq!(reader.next(Duration::ZERO), None, "B7: one line");
}

/// The broker beside what the clauses say about it.
struct Server {
    broker: Broker,
    model: Model,
}

impl Server {
    const fn new(places: usize) -> Self {
        Self { broker: Broker::new(places), model: Model { places, clients: Vec::new(), waits: 0 } }
    }

    fn ask(&mut self, request: Request) {
        match request {
            Request::Register(contact) => {
                let have = self.broker.register(contact.clone());
                assert_eq!(have, self.model.register(contact.clone()), "B5, B8: {contact} registers");
            }
            Request::Bridge(id) => {
                let have = self.broker.bridge(&id);
                assert_eq!(have, self.model.bridge(&id), "B4, B5: {id} asks");
                let own = have.ok().flatten().is_some_and(|peer| peer.id == id);
                assert!(!own, "B4: never its own");
            }
        }
        let model: Vec<_> = self.model.clients.iter().map(|client| &client.contact).collect();
        assert_eq!(self.broker.contacts().collect::<Vec<_>>(), model, "B11: in order of registration");
        assert!(model.len() <= self.model.places, "A11");
    }
}

/// The clauses as they stand.
struct Model {
    places: usize,
    /// In order of registration.
    clients: Vec<Client>,
    waits: usize,
}

struct Client {
    contact: Contact,
    /// It has not been introduced since it registered.
    fresh: bool,
    /// Since when it waits.
    waits: Option<usize>,
    /// Whom it was introduced to, if neither has registered again since.
    partner: Option<Contact>,
}

impl Model {
    fn register(&mut self, contact: Contact) -> Result<Option<Contact>, Error> {
        let known = self.clients.iter().position(|client| client.contact.id == contact.id);
        let mut gone = None;
        if let Some(at) = known {
            self.clients.remove(at);
        } else if self.clients.len() >= self.places {
            let oldest = self.clients.iter().position(|client| !client.fresh).ok_or(Error::Full)?;
            gone = Some(self.clients.remove(oldest).contact);
        }
        for client in &mut self.clients {
            client.partner.take_if(|partner| partner.id == contact.id);
        }
        self.clients.push(Client { contact, fresh: true, waits: None, partner: None });
        Ok(gone)
    }

    fn bridge(&mut self, id: &str) -> Result<Option<Contact>, Error> {
        if self.clients.is_empty() {
            return Ok(None);
        }
        let find = |client: &Client| client.contact.id == id;
        let own = self.clients.iter().position(find).ok_or_else(|| Error::NotRegistered(id.into()))?;
        if let Some(partner) = &self.clients[own].partner {
            return Ok(Some(partner.clone()));
        }
        let Some(other) = self.suitable(own) else {
            self.waits += 1;
            let Client { fresh, waits, .. } = &mut self.clients[own];
            *waits = waits.or_else(|| fresh.then_some(self.waits));
            return Ok(None);
        };
        for (one, other) in [(own, other), (other, own)] {
            let partner = Some(self.clients[other].contact.clone());
            let contact = self.clients[one].contact.clone();
            self.clients[one] = Client { contact, fresh: false, waits: None, partner };
        }
        Ok(Some(self.clients[other].contact.clone()))
    }

    /// Another fresh client: the one that waits longest, or else the one that registered last.
    fn suitable(&self, own: usize) -> Option<usize> {
        let fresh = (0..self.clients.len()).filter(|at| *at != own && self.clients[*at].fresh);
        fresh.min_by_key(|at| (self.clients[*at].waits.unwrap_or(usize::MAX), usize::MAX - at))
    }
}
