//! The bridge's server: what [`chat_common::bridge`] decides, done with sockets, threads and a file.
//!
//! A connection is one request and one reply. The registry stays locked while the contacts file is written, so what
//! the file holds and what is registered are never two things; a disk is waited for, but no client is.

use crate::input;
use crate::log::Log;
use crate::options;
use crate::peer::{Peer, Reader, Received};
use crate::replace::replace;
use crate::service::{self, Service};
use crate::tcp;
use chat_cli::Failure;
use chat_common::bridge::{Broker, Contact, Error, REQUEST_TIME, Reply, Request};
use chat_common::frame::{Block, MAX_MESSAGE, TooLong};
use chat_common::text::{printable, unquoted};
use getopts::{Matches, Options};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// The command line (B1).
pub(crate) const USAGE: &str = "usage: chat-server bridge --port=<port> [--contacts=<file>] [--resume]";

/// All interfaces (B1).
const BIND: &str = "0.0.0.0";

/// Where the contacts are stored (B2).
const CONTACTS: &str = "contacts.txt";

/// The command line behind `chat-server bridge`.
pub(crate) fn options() -> Options {
    let mut options = options::common(BIND);
    options.optopt("p", "port", "port to listen on", "PORT");
    options.optopt("", "contacts", &format!("file for the clients' contacts (default {CONTACTS})"), "FILE");
    options.optflag("", "resume", "go on with the contacts that the file holds");
    options
}

/// Serves until a signal ends it.
///
/// # Errors
/// The command line is wrong, the port cannot be listened on, or the contacts file cannot be written.
pub(crate) fn run(matches: &Matches) -> Result<(), Failure> {
    chat_cli::only_options(matches)?;
    let port = matches.opt_str("port").ok_or_else(|| Failure::Usage("--port is missing".into()))?;
    // The course's own server is started with `-p=5555`.
    let port = options::parse_port(unquoted(port.strip_prefix('=').unwrap_or(&port)))?;
    let host = matches.opt_str("bind").unwrap_or_else(|| BIND.into());
    let places = options::max_clients(matches)?;
    let path = matches.opt_str("contacts").unwrap_or_else(|| CONTACTS.into());
    serve(&host, port, Path::new(unquoted(&path)), places, matches.opt_present("resume"))
        .map_err(Failure::Fatal)
}

fn serve(host: &str, port: u16, path: &Path, places: usize, resume: bool) -> Result<(), String> {
    // The port comes first: a second server on it must not touch the first one's file.
    let listener = tcp::bind(host, port)?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let mut broken = Vec::new();
    let broker = if resume { restore(path, places, &mut broken)? } else { Broker::new(places) };
    store(path, &broker).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    let service = Service::open()?;
    broken.iter().for_each(|line| service.log.err(line));
    let registry = Arc::new(Mutex::new(Registry::new(broker, places, path, service.log.clone())));
    let reported = Arc::clone(&registry);
    service.watch(move || reported.lock().report())?;
    let typed = Arc::clone(&registry);
    let input = input::start(&service.stop, move |line| typed.lock().typed(line));
    input.map_err(|error| format!("cannot start a thread: {error}"))?;
    service.log.out(&format!(">Server listening on {address}\n"));
    let served = tcp::serve(listener, &service, b"", |peer| converse(peer, &registry));
    service.close();
    served
}

/// The life of one connection, on its own thread: one request, one reply.
fn converse(peer: &Arc<Peer>, registry: &Mutex<Registry>) {
    let mut reader = Reader::new(peer);
    if let Some(request) = read_request(&mut reader) {
        let mut registry = registry.lock();
        let reply = request.and_then(|request| registry.answer(request)).unwrap_or_else(|error| {
            registry.log.err(&format!("{}: {error}", peer.address()));
            Reply::Refused(error.to_string())
        });
        peer.send(peer.id(), reply.to_string().as_bytes());
    }
    peer.finish();
    peer.linger(&mut reader);
}

/// The one request of a connection (B8); `None` if it ends without a word.
fn read_request(reader: &mut Reader<'_>) -> Option<Result<Request, Error>> {
    let deadline = Instant::now() + REQUEST_TIME;
    let mut block = Block::new(MAX_MESSAGE);
    let mut buffer = [0; MAX_MESSAGE];
    loop {
        match reader.read(&mut buffer, Some(deadline)) {
            Received::Bytes(count) => block.push(buffer.get(..count).unwrap_or_default()),
            Received::Nothing => return Some(Err(Error::TooSlow)),
            Received::End if block.rest().is_empty() => return None,
            Received::End => return Some(Err(Error::Incomplete)),
        }
        if let Some(whole) = block.next() {
            return Some(whole.map_err(|TooLong| Error::TooLong).and_then(Request::decode));
        }
    }
}

/// Who is registered, in memory and in the file.
struct Registry {
    broker: Broker,
    places: usize,
    path: PathBuf,
    /// When each client last asked for something: at the start, if its contact comes from the file.
    heard: BTreeMap<String, Instant>,
    log: Log,
}

impl Registry {
    fn new(broker: Broker, places: usize, path: &Path, log: Log) -> Self {
        let now = Instant::now();
        let heard = broker.contacts().map(|contact| (contact.id.clone(), now)).collect();
        Self { broker, places, path: path.into(), heard, log }
    }

    fn answer(&mut self, request: Request) -> Result<Reply, Error> {
        match request {
            Request::Register(contact) => self.register(contact),
            Request::Bridge(id) => self.bridge(&id),
        }
    }

    /// B9: the contact is in the file, or is not registered.
    fn register(&mut self, contact: Contact) -> Result<Reply, Error> {
        let mut broker = self.broker.clone();
        let replaced = broker.register(contact.clone())?;
        store(&self.path, &broker).map_err(|error| {
            self.log.err(&format!("cannot write {}: {error}", self.path.display()));
            Error::CannotStore
        })?;
        self.broker = broker;
        self.log.out(&format!(">REGISTER: {} from {} received\n", contact.id, contact.address()));
        if let Some(replaced) = replaced {
            self.log.err(&format!("{replaced} gives its place to {}", contact.id));
            self.heard.remove(&replaced.id);
        }
        self.heard.insert(contact.id.clone(), Instant::now());
        Ok(Reply::Registered(Some(contact)))
    }

    fn bridge(&mut self, id: &str) -> Result<Reply, Error> {
        let partner = self.broker.bridge(id)?;
        let requester = self.broker.contact(id).map_or_else(|| id.to_owned(), Contact::to_string);
        let named = partner.as_ref().map_or_else(String::new, |partner| format!(" {partner}"));
        self.log.out(&format!(">BRIDGE: {requester}{named}\n"));
        if let Some(heard) = self.heard.get_mut(id) {
            *heard = Instant::now();
        }
        Ok(Reply::Bridged(partner))
    }

    /// B11.
    fn typed(&self, line: &str) {
        if line.trim() == "/info" {
            self.log.out(&self.broker.contacts().map(|contact| format!(">{contact}\n")).collect::<String>());
        }
    }

    /// Who is registered (A6).
    fn report(&self) {
        let silent = |id: &str| self.heard.get(id).map(Instant::elapsed);
        let contacts = self.broker.contacts();
        let members = contacts
            .filter_map(|contact| Some((contact.id.as_str(), contact.address(), silent(&contact.id)?)));
        self.log.err(&service::report(self.places, members));
    }
}

/// Writes everyone's contact into the file, a line each.
fn store(path: &Path, broker: &Broker) -> io::Result<()> {
    replace(path, &broker.contacts().map(|contact| format!("{contact}\n")).collect::<String>())
}

/// Reads the contacts that the file holds (B9). What is wrong with a line goes into `broken`, and the rest is used. No
/// file is as good as an empty one.
fn restore(path: &Path, places: usize, broken: &mut Vec<String>) -> Result<Broker, String> {
    let mut broker = Broker::new(places);
    let content = match fs::read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(broker),
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
    };
    for (number, line) in (1..).zip(content.split(|&byte| byte == b'\n')) {
        let line = printable(line.strip_suffix(b"\r").unwrap_or(line));
        let result = match Contact::parse(&line) {
            Some(contact) => broker.register(contact).map(drop).map_err(|error| error.to_string()),
            None if line.is_empty() => Ok(()),
            None => Err("no contact".into()),
        };
        if let Err(cause) = result {
            broken.push(format!("{}, line {number}: {cause}: {line}", path.display()));
        }
    }
    Ok(broker)
}
