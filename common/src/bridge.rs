//! The bridge: register with a server, be introduced to somebody, and chat with them peer to peer.
//!
//! ```text
//! message  = type CRLF *( header ": " value CRLF ) CRLF            (Figure 1 of the source)
//! request  = REGISTER clientID IP Port | BRIDGE clientID           client to server, one for each connection
//! reply    = REGACK clientID IP Port Status | BRIDGEACK clientID IP Port | ERROR Reason
//! chat     = CHAT clientID IP Port, then *( text CRLF ), then QUIT         client to client
//! ```
//!
//! Writers write exactly that. Readers take headers in any order and case, with or without the space, lines that end
//! at LF alone, and headers that nobody knows, which mean nothing (B6). The clauses `B1` to `B18` are those of
//! `docs/protocols/bridge.md`.
//!
//! Where the source is silent: of a header that comes twice the first counts; a CHAT whose headers say nothing of its
//! sender is one from where it came from, for every group designs that message itself.
//!
//! [`Request`], [`Reply`] and [`Said`] are what goes over the wire, [`Broker`] decides who is introduced to whom, and
//! [`client`] is the client's side as a state machine.

pub mod client;

use crate::frame::MAX_MESSAGE;
use crate::text::{MAX_NAME, is_name, printable};
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

/// How long a client may take to say its whole request (B8).
pub const REQUEST_TIME: Duration = Duration::from_secs(5);

/// The name of somebody who calls without giving one.
const NAMELESS: &str = "unknown";

/// Where a client can be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// Its clientID, a name as in A13.
    pub id: String,
    /// Its address: one word, as the client gave it.
    pub ip: String,
    /// The port where it listens; never 0.
    pub port: u16,
}

/// What a client asks the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// B3: this is where I can be called.
    Register(Contact),
    /// B4: whom can I call? The clientID of who asks.
    Bridge(String),
}

/// What the server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// B3: the contact is registered. What a server repeats of it need not be understood.
    Registered(Option<Contact>),
    /// B4: the other client's contact, or that there is none yet.
    Bridged(Option<Contact>),
    /// B8: why not.
    Refused(String),
}

/// What a client says to its peer, behind CHAT a line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// B7: the contact of who calls.
    Chat(&'a Contact),
    /// A line of text.
    Text(&'a str),
    /// The end of the chat.
    Quit,
}

/// Why a request was refused; its `Display` is the reason that the client gets (B8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// No such request.
    UnknownRequest(String),
    /// There is no such header.
    Missing(&'static str),
    /// The clientID can be no name (A13).
    InvalidId,
    /// The IP is not one word.
    InvalidIp,
    /// The port is no number from 1 to 65535.
    InvalidPort,
    /// BRIDGE from a client that is not registered.
    NotRegistered(String),
    /// Every place is taken by clients that wait for somebody (B8).
    Full,
    /// The contact could not be stored (B9).
    CannotStore,
    /// The request is longer than [`MAX_MESSAGE`].
    TooLong,
    /// The connection ended in the middle of the request.
    Incomplete,
    /// The request took longer than [`REQUEST_TIME`].
    TooSlow,
}

impl Contact {
    /// Reads a line of the contacts file (B9), as `Display` writes it.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let (id, address) = line.trim_end().split_once(' ')?;
        let (ip, port) = address.rsplit_once(':')?;
        let inner = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).filter(|ip| ip.contains(':'));
        Self::new(id, inner.unwrap_or(ip), port).ok()
    }

    /// `<ip>:<port>`, with brackets around an IPv6 address.
    #[must_use]
    pub fn address(&self) -> String {
        let Self { ip, port, .. } = self;
        if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
    }

    fn new(id: &str, ip: &str, port: &str) -> Result<Self, Error> {
        let id = valid_id(id)?;
        if ip.is_empty() || ip.contains(char::is_whitespace) {
            return Err(Error::InvalidIp);
        }
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|port| digits && *port > 0).ok_or(Error::InvalidPort)?;
        Ok(Self { id, ip: ip.into(), port })
    }

    /// Its three headers.
    fn headers(&self) -> String {
        format!("clientID: {}\r\nIP: {}\r\nPort: {}\r\n", self.id, self.ip, self.port)
    }
}

impl fmt::Display for Contact {
    /// `<clientID> <ip>:<port>`, as on the terminals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id, self.address())
    }
}

impl Request {
    /// Reads a block, as [`crate::frame::Block`] gives it.
    ///
    /// # Errors
    /// It is no request, and why (B8).
    pub fn decode(block: &[u8]) -> Result<Self, Error> {
        let message = Message::parse(block);
        match message.kind() {
            "REGISTER" => message.contact().map(Self::Register),
            "BRIDGE" => valid_id(message.header("clientID")?).map(Self::Bridge),
            other => Err(Error::UnknownRequest(other.chars().take(MAX_NAME).collect())),
        }
    }
}

impl fmt::Display for Request {
    /// The bytes on the wire (B6).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Register(contact) => write!(f, "REGISTER\r\n{}\r\n", contact.headers()),
            Self::Bridge(id) => write!(f, "BRIDGE\r\nclientID: {id}\r\n\r\n"),
        }
    }
}

impl Reply {
    /// Reads a block, as [`crate::frame::Block`] gives it; `None` if it is no reply.
    #[must_use]
    pub fn decode(block: &[u8]) -> Option<Self> {
        let message = Message::parse(block);
        match message.kind() {
            "REGACK" => Some(Self::Registered(message.contact().ok())),
            "BRIDGEACK" if message.header("clientID").unwrap_or_default().is_empty() => {
                Some(Self::Bridged(None))
            }
            "BRIDGEACK" => message.contact().ok().map(|contact| Self::Bridged(Some(contact))),
            "ERROR" => Some(Self::Refused(message.header("Reason").unwrap_or("no reason given").into())),
            _ => None,
        }
    }
}

impl fmt::Display for Reply {
    /// The bytes on the wire (B3, B4, B8).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registered(contact) => {
                let headers = contact.as_ref().map(Contact::headers).unwrap_or_default();
                write!(f, "REGACK\r\n{headers}Status: registered\r\n\r\n")
            }
            Self::Bridged(Some(contact)) => write!(f, "BRIDGEACK\r\n{}\r\n", contact.headers()),
            Self::Bridged(None) => f.write_str("BRIDGEACK\r\nclientID: \r\nIP: \r\nPort: \r\n\r\n"),
            Self::Refused(reason) => write!(f, "ERROR\r\nReason: {reason}\r\n\r\n"),
        }
    }
}

impl<'a> Said<'a> {
    /// Reads a line behind CHAT; `None` for an empty one, which says nothing (B7).
    #[must_use]
    pub fn decode(line: &'a str) -> Option<Self> {
        match line {
            "" => None,
            "QUIT" => Some(Self::Quit),
            text => Some(Self::Text(text)),
        }
    }

    /// Reads the block that opens a chat from `address`; `None` if it is another. It may leave out all or some of its
    /// headers.
    #[must_use]
    pub fn decode_chat(block: &[u8], address: SocketAddr) -> Option<Contact> {
        let message = Message::parse(block);
        let given = message.contact().ok();
        let id = message.header("clientID").and_then(valid_id).unwrap_or_else(|_| NAMELESS.into());
        let here = || Contact { id, ip: address.ip().to_canonical().to_string(), port: address.port() };
        (message.kind() == "CHAT").then(|| given.unwrap_or_else(here))
    }
}

impl fmt::Display for Said<'_> {
    /// The bytes on the wire (B7). A text that would end the chat gets a space behind it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chat(contact) => write!(f, "CHAT\r\n{}\r\n", contact.headers()),
            Self::Text("QUIT") => f.write_str("QUIT \r\n"),
            Self::Text(text) => write!(f, "{text}\r\n"),
            Self::Quit => f.write_str("QUIT\r\n\r\n"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownRequest(kind) => write!(f, "unknown request '{kind}'"),
            Self::Missing(header) => write!(f, "the header {header} is missing"),
            Self::InvalidId => {
                write!(f, "the clientID must be 1 to {MAX_NAME} letters, digits, '-', '_' or '.'")
            }
            Self::InvalidIp => f.write_str("the IP must be one word"),
            Self::InvalidPort => f.write_str("the Port must be a number from 1 to 65535"),
            Self::NotRegistered(id) => write!(f, "{id} is not registered"),
            Self::Full => f.write_str("too many clients"),
            Self::CannotStore => f.write_str("cannot store the contact"),
            Self::TooLong => write!(f, "the request is longer than {MAX_MESSAGE} bytes"),
            Self::Incomplete => f.write_str("the request has no end"),
            Self::TooSlow => write!(f, "no whole request within {} s", REQUEST_TIME.as_secs()),
        }
    }
}

impl core::error::Error for Error {}

/// A block in parts.
struct Message<'a> {
    lines: Vec<Cow<'a, str>>,
}

impl<'a> Message<'a> {
    fn parse(block: &'a [u8]) -> Self {
        let line = |line: &'a [u8]| printable(line.strip_suffix(b"\r").unwrap_or(line));
        Self { lines: block.split(|&byte| byte == b'\n').map(line).collect() }
    }

    /// What message it is.
    fn kind(&self) -> &str {
        self.lines.first().map_or("", |line| line.trim())
    }

    /// The value of a header, trimmed.
    fn header(&self, name: &'static str) -> Result<&str, Error> {
        let headers = self.lines.iter().skip(1).filter_map(|line| line.split_once(':'));
        let mut named = headers.filter(|(header, _)| header.trim().eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.trim()).ok_or(Error::Missing(name))
    }

    fn contact(&self) -> Result<Contact, Error> {
        Contact::new(self.header("clientID")?, self.header("IP")?, self.header("Port")?)
    }
}

fn valid_id(id: &str) -> Result<String, Error> {
    if is_name(id) { Ok(id.into()) } else { Err(Error::InvalidId) }
}

/// Who is registered, and who was introduced to whom (B5).
#[derive(Clone, Debug)]
pub struct Broker {
    /// In order of registration.
    clients: Vec<Client>,
    places: usize,
    /// How many have begun to wait so far.
    waits: u64,
}

#[derive(Clone, Debug)]
struct Client {
    contact: Contact,
    standing: Standing,
}

/// What became of a registration (B5).
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    /// It has not been introduced. It waits if it got an empty BRIDGEACK: the number that it began with.
    Fresh(Option<u64>),
    /// It was introduced to this client, and neither has registered again since.
    Introduced(Contact),
    /// It was introduced to one that has registered again since.
    Left,
}

impl Broker {
    /// Nobody is registered yet, and so many can be.
    #[must_use]
    pub const fn new(places: usize) -> Self {
        Self { clients: Vec::new(), places, waits: 0 }
    }

    /// Registers a client, or registers it anew: it is fresh, and whom it was introduced to is that no more (B5).
    /// Who lost its place to it, if all were taken (B8).
    ///
    /// # Errors
    /// [`Error::Full`]: every place is taken, and everyone there is fresh. Then nothing has changed.
    pub fn register(&mut self, contact: Contact) -> Result<Option<Contact>, Error> {
        let known = self.clients.iter().position(|client| client.contact.id == contact.id);
        let replaced = match known {
            Some(at) => Some(at),
            None if self.clients.len() < self.places => None,
            None => Some(self.clients.iter().position(|client| !client.is_fresh()).ok_or(Error::Full)?),
        };
        let replaced = replaced.map(|at| self.clients.remove(at).contact);
        for client in &mut self.clients {
            if client.partner().is_some_and(|partner| partner.id == contact.id) {
                client.standing = Standing::Left;
            }
        }
        self.clients.push(Client { contact, standing: Standing::Fresh(None) });
        Ok(replaced.filter(|_| known.is_none()))
    }

    /// Whom `id` can call: the contact of another client, if there is one. The two are introduced to each other then;
    /// else `id` waits (B4, B5).
    ///
    /// # Errors
    /// [`Error::NotRegistered`], though somebody else is.
    pub fn bridge(&mut self, id: &str) -> Result<Option<Contact>, Error> {
        if self.clients.is_empty() {
            return Ok(None);
        }
        let requester = self.find(id).ok_or_else(|| Error::NotRegistered(id.into()))?;
        if let Some(partner) = requester.partner() {
            return Ok(Some(partner.clone()));
        }
        let requester = requester.contact.clone();
        let Some(partner) = self.most_suitable(id) else {
            self.wait(id);
            return Ok(None);
        };
        self.introduce(id, &partner);
        self.introduce(&partner.id, &requester);
        Ok(Some(partner))
    }

    /// The contact of `id`, if it is registered.
    #[must_use]
    pub fn contact(&self, id: &str) -> Option<&Contact> {
        self.find(id).map(|client| &client.contact)
    }

    /// Everyone, in order of registration.
    pub fn contacts(&self) -> impl Iterator<Item = &Contact> {
        self.clients.iter().map(|client| &client.contact)
    }

    fn find(&self, id: &str) -> Option<&Client> {
        self.clients.iter().find(|client| client.contact.id == id)
    }

    /// A fresh client other than `id`: who has waited longest, or else who registered last.
    fn most_suitable(&self, id: &str) -> Option<Contact> {
        let fresh = || self.clients.iter().filter(|client| client.contact.id != id && client.is_fresh());
        let waiting = fresh().filter(|client| client.waits_since().is_some());
        let suitable = waiting.min_by_key(|client| client.waits_since()).or_else(|| fresh().next_back());
        suitable.map(|client| client.contact.clone())
    }

    fn introduce(&mut self, id: &str, partner: &Contact) {
        if let Some(client) = self.clients.iter_mut().find(|client| client.contact.id == id) {
            client.standing = Standing::Introduced(partner.clone());
        }
    }

    /// Who waits already goes on doing so; who is not fresh has to register again first.
    fn wait(&mut self, id: &str) {
        let client = self.clients.iter_mut().find(|client| client.contact.id == id);
        if let Some(client) = client.filter(|client| client.standing == Standing::Fresh(None)) {
            self.waits += 1;
            client.standing = Standing::Fresh(Some(self.waits));
        }
    }
}

impl Client {
    const fn is_fresh(&self) -> bool {
        matches!(self.standing, Standing::Fresh(_))
    }

    const fn waits_since(&self) -> Option<u64> {
        if let Standing::Fresh(since) = self.standing { since } else { None }
    }

    const fn partner(&self) -> Option<&Contact> {
        if let Standing::Introduced(partner) = &self.standing { Some(partner) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Block;
    use alloc::vec;
    use core::net::Ipv4Addr;
    use proptest::prelude::*;

    fn contact(id: &str, ip: &str, port: u16) -> Contact {
        Contact { id: id.into(), ip: ip.into(), port }
    }

    fn alice() -> Contact {
        contact("Alice", "127.0.0.1", 3000)
    }

    /// The whole blocks in `bytes`, fed in pieces of `size`, and what is left.
    fn blocks(bytes: &[u8], size: usize) -> (Vec<Vec<u8>>, Vec<u8>) {
        let mut reader = Block::new(MAX_MESSAGE);
        let mut found = Vec::new();
        for piece in bytes.chunks(size) {
            reader.push(piece);
            while let Some(block) = reader.next() {
                found.push(block.unwrap().to_vec());
            }
        }
        (found, reader.rest().to_vec())
    }

    /// Checks what `read` makes of one message: whole, byte by byte, and with bytes behind.
    #[track_caller]
    fn check<T: PartialEq + fmt::Debug>(message: &str, wanted: &T, read: impl Fn(&[u8]) -> T) {
        for size in [message.len(), 1, 7] {
            let (found, rest) = blocks(message.as_bytes(), size);
            assert_eq!((found.len(), rest.len()), (1, 0), "{message:?} in pieces of {size}");
            assert_eq!(read(&found[0]), *wanted, "{message:?} in pieces of {size}");
        }
        let (found, rest) = blocks(format!("{message}Hello").as_bytes(), MAX_MESSAGE);
        assert_eq!((found.len(), rest.as_slice()), (1, &b"Hello"[..]), "{message:?} with bytes behind");
        assert_eq!(read(&found[0]), *wanted, "{message:?} with bytes behind");
    }

    #[test]
    fn b3_b4_b6_b8_requests() {
        let register = || Ok(Request::Register(alice()));
        let bridge = || Ok(Request::Bridge("Bob".into()));
        let missing = |header| Err(Error::Missing(header));
        for (message, wanted) in [
            ("REGISTER\r\nclientID: Alice\r\nIP: 127.0.0.1\r\nPort: 3000\r\n\r\n", register()),
            ("REGISTER\nclientID: Alice\nIP: 127.0.0.1\nPort: 3000\n\n", register()),
            ("REGISTER\r\nPort:3000\r\nIP:127.0.0.1\r\nclientID:Alice\r\n\r\n", register()),
            ("REGISTER\r\nPORT: 3000\r\nip:  127.0.0.1 \r\nClientId: Alice\r\n\r\n", register()),
            (
                "REGISTER \r\nX: y\r\nclientID: Alice\r\nno header\r\nIP: 127.0.0.1\r\nPort: 3000\r\n\r\n",
                register(),
            ),
            (
                "\r\n\nREGISTER\r\nclientID: Alice\r\nIP: 127.0.0.1\r\nPort: 3000\r\nPort: 1\r\n\r\n",
                register(),
            ),
            ("BRIDGE\r\nclientID: Bob\r\n\r\n", bridge()),
            ("BRIDGE\nCLIENTID:Bob\nIP: ignored\n\r\n", bridge()),
            ("BRIDGE\r\n\r\n", missing("clientID")),
            ("REGISTER\r\nIP: 127.0.0.1\r\nPort: 3000\r\n\r\n", missing("clientID")),
            ("REGISTER\r\nclientID: Alice\r\nPort: 3000\r\n\r\n", missing("IP")),
            ("REGISTER\r\nclientID: Alice\r\nIP: 127.0.0.1\r\n\r\n", missing("Port")),
            ("REGISTER\r\nclientID: A l\r\nIP: 127.0.0.1\r\nPort: 3000\r\n\r\n", Err(Error::InvalidId)),
            ("REGISTER\r\nclientID: \x1bA\r\nIP: 127.0.0.1\r\nPort: 3000\r\n\r\n", Err(Error::InvalidId)),
            ("BRIDGE\r\nclientID: \r\n\r\n", Err(Error::InvalidId)),
            ("REGISTER\r\nclientID: Alice\r\nIP: \r\nPort: 3000\r\n\r\n", Err(Error::InvalidIp)),
            ("REGISTER\r\nclientID: Alice\r\nIP: 1 2\r\nPort: 3000\r\n\r\n", Err(Error::InvalidIp)),
            ("REGISTER\r\nclientID: Alice\r\nIP: h\r\nPort: 0\r\n\r\n", Err(Error::InvalidPort)),
            ("REGISTER\r\nclientID: Alice\r\nIP: h\r\nPort: 65536\r\n\r\n", Err(Error::InvalidPort)),
            ("REGISTER\r\nclientID: Alice\r\nIP: h\r\nPort: +80\r\n\r\n", Err(Error::InvalidPort)),
            ("REGISTER\r\nclientID: Alice\r\nIP: h\r\nPort: -1\r\n\r\n", Err(Error::InvalidPort)),
            ("REGISTER\r\nclientID: Alice\r\nIP: h\r\nPort:\r\n\r\n", Err(Error::InvalidPort)),
            ("register\r\nclientID: Alice\r\n\r\n", Err(Error::UnknownRequest("register".into()))),
            ("\x1b[2J\r\n\r\n", Err(Error::UnknownRequest("?[2J".into()))),
        ] {
            check(message, &wanted, Request::decode);
        }
    }

    #[test]
    fn b3_b4_b8_replies() {
        let ack = "REGACK\r\nclientID: Alice\r\nIP: 127.0.0.1\r\nPort: 3000\r\n";
        let registered = || Some(Reply::Registered(Some(alice())));
        let bridged = || Some(Reply::Bridged(Some(alice())));
        let nobody = || Some(Reply::Bridged(None));
        for (message, wanted) in [
            (format!("{ack}Status: registered\r\n\r\n"), registered()),
            (format!("{ack}\r\n"), registered()),
            ("REGACK\r\n\r\n".into(), Some(Reply::Registered(None))),
            ("BRIDGEACK\r\nclientID: Alice\r\nIP: 127.0.0.1\r\nPort: 3000\r\n\r\n".into(), bridged()),
            ("BRIDGEACK\nport:3000\nip:127.0.0.1\nclientid:Alice\n\n".into(), bridged()),
            ("BRIDGEACK\r\nclientID: \r\nIP: \r\nPort: \r\n\r\n".into(), nobody()),
            ("BRIDGEACK\r\nclientID:\r\nIP:\r\nPort:\r\n\r\n".into(), nobody()),
            ("BRIDGEACK\r\n\r\n".into(), nobody()),
            ("BRIDGEACK\r\nclientID: Alice\r\nIP: 127.0.0.1\r\nPort: x\r\n\r\n".into(), None),
            ("ERROR\r\nReason: no\r\n\r\n".into(), Some(Reply::Refused("no".into()))),
            ("ERROR\r\n\r\n".into(), Some(Reply::Refused("no reason given".into()))),
            ("HELLO\r\n\r\n".into(), None),
        ] {
            check(&message, &wanted, Reply::decode);
        }
    }

    #[test]
    fn b6_writers_write_exactly_these_bytes() {
        let headers = "clientID: Alice\r\nIP: 127.0.0.1\r\nPort: 3000\r\n";
        for (have, wanted) in [
            (Request::Register(alice()).to_string(), format!("REGISTER\r\n{headers}\r\n")),
            (Request::Bridge("Bob".into()).to_string(), "BRIDGE\r\nclientID: Bob\r\n\r\n".into()),
            (
                Reply::Registered(Some(alice())).to_string(),
                format!("REGACK\r\n{headers}Status: registered\r\n\r\n"),
            ),
            (Reply::Bridged(Some(alice())).to_string(), format!("BRIDGEACK\r\n{headers}\r\n")),
            (Reply::Bridged(None).to_string(), "BRIDGEACK\r\nclientID: \r\nIP: \r\nPort: \r\n\r\n".into()),
            (Reply::Refused("no".into()).to_string(), "ERROR\r\nReason: no\r\n\r\n".into()),
            (Said::Chat(&alice()).to_string(), format!("CHAT\r\n{headers}\r\n")),
            (Said::Text("hello").to_string(), "hello\r\n".into()),
            (Said::Text("QUIT").to_string(), "QUIT \r\n".into()),
            (Said::Quit.to_string(), "QUIT\r\n\r\n".into()),
        ] {
            assert_eq!(have, wanted);
        }
    }

    #[test]
    fn b7_chat_messages_of_all_kinds() {
        let from = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 7), 4711));
        for (message, wanted) in [
            ("CHAT\r\nclientID: Alice\r\nIP: 127.0.0.1\r\nPort: 3000\r\n\r\n", Some(alice())),
            ("CHAT\nclientID:Alice\n\n", Some(contact("Alice", "10.0.0.7", 4711))),
            ("CHAT\r\n\r\n", Some(contact("unknown", "10.0.0.7", 4711))),
            (
                "CHAT\r\nclientID: \x07\r\nIP: a\r\nPort: 1\r\n\r\n",
                Some(contact("unknown", "10.0.0.7", 4711)),
            ),
            ("HELLO\r\nclientID: Alice\r\nIP: 127.0.0.1\r\nPort: 3000\r\n\r\n", None),
            ("QUIT\r\n\r\n", None),
        ] {
            check(message, &wanted, |block| Said::decode_chat(block, from));
        }
    }

    #[test]
    fn b9_a_line_of_the_contacts_file() {
        for contact in [
            alice(),
            contact("a", "::1", 1),
            contact("a", "[h]", 1),
            contact("a", "[::1]", 1),
            contact("b-1", "lab-3.example.org", 65535),
        ] {
            assert_eq!(Contact::parse(&contact.to_string()), Some(contact));
        }
        assert_eq!(contact("a", "::1", 1).to_string(), "a [::1]:1");
        assert_eq!(Contact::parse("Alice 127.0.0.1:3000\r"), Some(alice()));
        for broken in [
            "",
            "Alice",
            "Alice 127.0.0.1",
            "Alice 127.0.0.1:0",
            "A?ice 1:1",
            "Alice x y:3",
            " 1:1",
            "Alice :1",
        ] {
            assert_eq!(Contact::parse(broken), None, "{broken:?}");
        }
    }

    /// B5, as steps: `r<id>` registers, `b<id>` bridges; behind `=` who is answered, `-` for nobody.
    #[track_caller]
    fn introductions(steps: &str) {
        let mut broker = Broker::new(10);
        for (number, step) in steps.split_whitespace().enumerate() {
            let (what, rest) = step.split_at(1);
            if what == "r" {
                assert_eq!(broker.register(contact(rest, "h", 1)), Ok(None), "{steps}: step {number}");
                continue;
            }
            let (id, wanted) = rest.split_once('=').unwrap();
            let have = broker.bridge(id).unwrap();
            let have = have.map_or_else(|| "-".into(), |contact| contact.id);
            assert_eq!(have, wanted, "{steps}: step {number}, {step}");
        }
    }

    #[test]
    fn b5_who_is_introduced_to_whom() {
        // The source's two, and again: the answer stays.
        introductions("ra ba=- rb bb=a ba=b bb=a ba=b");
        // Both registered before either asked.
        introductions("ra rb ba=b bb=a");
        introductions("ra rb bb=a ba=b");
        // Who waits comes before who registered last, and who has waited longest first.
        introductions("ra ba=- rb bb=a rc bc=- rd bd=c");
        introductions("ra rb rc ba=c bb=- rd re bd=b be=-");
        introductions("ra rb rc rd bd=c ba=b");
        // A third one waits until a fourth comes.
        introductions("ra ba=- rb bb=a rc bc=- bc=- rd bd=c bc=d");
        // Registering again makes fresh and ends the introduction; the former partner stays not fresh.
        introductions("ra ba=- rb bb=a ra ba=- bb=a ba=b");
        introductions("ra ba=- rb bb=a ra rc bc=a bb=-");
        introductions("ra ba=- rb bb=a ra bb=a");
        introductions("ra ba=- rb bb=a rb rc ra bc=a bb=- ba=c");
        // Who waits though it is not fresh is nobody's peer before it registers again.
        introductions("ra ba=- rb bb=a rb rc bb=c ba=- rd bd=- ra ba=d");
        // A demo repeated by the same two.
        introductions("ra ba=- rb bb=a ra ba=- rb bb=a");
    }

    #[test]
    fn b4_b8_bridge_without_a_registration() {
        let mut broker = Broker::new(10);
        assert_eq!(broker.bridge("Bob"), Ok(None), "with nobody registered the source wants empty values");
        assert_eq!(broker.register(alice()), Ok(None));
        assert_eq!(broker.bridge("Bob"), Err(Error::NotRegistered("Bob".into())));
    }

    #[test]
    fn b8_an_eleventh_client_takes_the_place_of_the_oldest_introduced() {
        let mut broker = Broker::new(3);
        for id in ["a", "b", "c"] {
            assert_eq!(broker.register(contact(id, "h", 1)), Ok(None));
        }
        assert_eq!(broker.register(contact("d", "h", 1)), Err(Error::Full), "all are fresh");
        assert_eq!(broker.register(contact("a", "h", 2)), Ok(None), "who is there needs no new place");
        assert_eq!(broker.bridge("c"), Ok(Some(contact("a", "h", 2))));
        let replaced = Ok(Some(contact("c", "h", 1)));
        assert_eq!(broker.register(contact("d", "h", 1)), replaced, "a registered again: c is the oldest");
        let ids: Vec<&str> = broker.contacts().map(|contact| contact.id.as_str()).collect();
        assert_eq!(ids, ["b", "a", "d"], "in order of registration");
        assert_eq!(broker.bridge("a"), Ok(Some(contact("c", "h", 1))), "they were introduced");
        assert_eq!(broker.bridge("c"), Err(Error::NotRegistered("c".into())));
        assert_eq!(broker.register(contact("c", "h", 3)), Ok(Some(contact("a", "h", 2))));
        assert_eq!(broker.contact("c"), Some(&contact("c", "h", 3)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_none(block: Vec<u8>) {
            let from = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
            let texts = [
                Request::decode(&block).map_or_else(|error| error.to_string(), |request| request.to_string()),
                Reply::decode(&block).map_or_else(String::new, |reply| reply.to_string()),
                Said::decode_chat(&block, from).map_or_else(String::new, |contact| contact.to_string()),
            ];
            for text in texts {
                let harmless = text.split("\r\n").all(|line| printable(line.as_bytes()) == line);
                prop_assert!(harmless, "{:?}", text);
            }
        }

        #[test]
        fn what_is_written_is_read(id in "[a-zA-Z0-9._-]{1,32}", ip in "[\\[0-9a-z.:%\\]-]{1,40}", port in 1..=u16::MAX) {
            let contact = contact(&id, &ip, port);
            let block = |text: String| blocks(text.as_bytes(), MAX_MESSAGE).0.concat();
            for request in [Request::Register(contact.clone()), Request::Bridge(id)] {
                prop_assert_eq!(Request::decode(&block(request.to_string())), Ok(request));
            }
            for contact in [Some(contact.clone()), None] {
                for reply in [Reply::Registered(contact.clone()), Reply::Bridged(contact)] {
                    prop_assert_eq!(Reply::decode(&block(reply.to_string())), Some(reply));
                }
            }
            prop_assert_eq!(Contact::parse(&contact.to_string()), Some(contact));
        }

        /// B5: partners are partners of each other, nobody is its own, and there are never more than places.
        #[test]
        fn any_sequence_of_requests(steps in proptest::collection::vec((0..6u8, any::<bool>()), 0..60)) {
            let mut broker = Broker::new(4);
            for (number, registers) in steps {
                let id = number.to_string();
                if registers {
                    let _ = broker.register(contact(&id, "h", 1));
                } else if let Ok(Some(partner)) = broker.bridge(&id) {
                    prop_assert_ne!(&partner.id, &id);
                    if broker.contact(&partner.id).is_some() {
                        prop_assert_eq!(broker.bridge(&partner.id).unwrap().unwrap().id, id);
                    }
                }
                prop_assert!(broker.contacts().count() <= 4);
            }
        }
    }

    #[test]
    fn b8_reasons_are_one_line_each() {
        let errors = vec![
            Error::UnknownRequest("X".into()),
            Error::Missing("IP"),
            Error::InvalidId,
            Error::InvalidIp,
            Error::InvalidPort,
            Error::NotRegistered("Bob".into()),
            Error::Full,
            Error::CannotStore,
            Error::TooLong,
            Error::Incomplete,
            Error::TooSlow,
        ];
        for error in errors {
            let reason = error.to_string();
            assert_eq!(printable(reason.as_bytes()), reason);
            let (found, _) = blocks(Reply::Refused(reason.clone()).to_string().as_bytes(), MAX_MESSAGE);
            assert_eq!(Reply::decode(&found[0]), Some(Reply::Refused(reason)));
        }
    }
}
