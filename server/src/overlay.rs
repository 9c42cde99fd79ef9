//! The overlay's server: what [`chat_common::overlay`] decides, done with sockets and threads.
//!
//! The main thread receives datagrams and hands each to the thread of the client it came from (O20); a link's
//! thread reads its lines. Whoever has a message locks the registry, applies it, and carries out what follows:
//! datagrams and lines go out without waiting (see [`crate::peer`]), so the lock's order is everyone's.

use crate::options;
use crate::peer::{Peer, Reader};
use crate::service::{self, Service};
use crate::tcp::{self, Entry};
use crate::udp;
use chat_cli::Failure;
use chat_common::frame::{Lines, MAX_MESSAGE, MAX_RELAYED, Pauses, TooLong, without_line_end};
use chat_common::overlay::{self, Effect, Error, Node, Relay, Request};
use chat_common::text::printable;
use getopts::{Matches, Options};
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

/// The source's own line (O1).
pub(crate) const USAGE: &str = "usage: chat-server overlay -p <portNumber> [-s <overlayServerIP> -t <overlayServerPort>] [-o <overlayListeningPort>]";

/// This machine only: that is what the source's first line says (O3).
const BIND: &str = "127.0.0.1";

/// How many datagrams of one client may wait for its thread. More than a burst, less than a flood.
const CLIENT_QUEUE: usize = 256;

/// How many messages wait for a link that is down (O13).
const LINK_QUEUE: usize = 1000;

/// How long to wait before a link is tried again, doubling from the first to the second (O13).
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How long one address may take to answer. Short, because the end of the server waits for it (A5), and
/// because it is tried again.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// How many bytes one read of a link takes.
const READ: usize = 16 << 10;

/// The link that this server makes. Those that others make have the numbers of their connections, from 1.
const OWN_LINK: u64 = 0;

/// Whose bytes wait for a slow link is accounted by number: those of clients begin where those of connections
/// never come.
const FIRST_CLIENT: u64 = 1 << 32;

/// The command line behind `chat-server overlay`.
pub(crate) fn options() -> Options {
    let mut options = options::common(BIND);
    options.optopt("p", "", "port for clients (UDP); required", "PORT");
    options.optopt("s", "", "name or address of a server to link to", "HOST");
    options.optopt("t", "", "its port for links (TCP)", "PORT");
    options.optopt("o", "", "port for links that other servers make (TCP)", "PORT");
    options
}

/// Serves until a signal ends it.
///
/// # Errors
/// The command line is wrong, or a port cannot be listened on.
pub(crate) fn run(matches: &Matches) -> Result<(), Failure> {
    let settings = Settings::read(matches)?;
    serve(&settings).map_err(Failure::Fatal)
}

struct Settings {
    bind: String,
    port: u16,
    places: usize,
    /// Host and port of the server to link to.
    neighbour: Option<(String, u16)>,
    /// Where other servers link to us.
    overlay: Option<u16>,
}

impl Settings {
    fn read(matches: &Matches) -> Result<Self, Failure> {
        chat_cli::only_options(matches)?;
        let port = options::port(matches, "p")?.ok_or_else(|| Failure::Usage("-p is missing".into()))?;
        let neighbour = match (matches.opt_str("s"), options::port(matches, "t")?) {
            (Some(host), Some(port)) => Some((host, port)),
            (None, None) => None,
            (Some(host), None) => return Err(Failure::Usage(format!("-s '{host}' needs -t, too"))),
            (None, Some(port)) => return Err(Failure::Usage(format!("-t '{port}' needs -s, too"))),
        };
        let bind = matches.opt_str("bind").unwrap_or_else(|| BIND.into());
        let (places, overlay) = (options::max_clients(matches)?, options::port(matches, "o")?);
        Ok(Self { bind, port, places, neighbour, overlay })
    }
}

fn serve(settings: &Settings) -> Result<(), String> {
    let socket = Arc::new(udp::bind(&settings.bind, settings.port)?);
    let listener = settings.overlay.map(|port| tcp::bind(&settings.bind, port)).transpose()?;
    let address = socket.local_addr().map_err(|error| error.to_string())?;
    let service = Service::open()?;
    let registry = Registry::new(settings.places);
    let reported = (Arc::clone(&registry), service.log.clone());
    service.watch(move || reported.1.err(&reported.0.lock().report()))?;
    service.log.out(&format!("server started on {} at port {}\n", address.ip(), address.port()));
    let served = Server { registry, socket, service: &service }.run(listener, settings.neighbour.as_ref());
    service.log.out("terminating server...\n");
    service.close();
    served
}

/// What all threads share.
struct Server<'a> {
    registry: Arc<Mutex<Registry>>,
    socket: Arc<UdpSocket>,
    service: &'a Service,
}

struct Registry {
    node: Node<SocketAddr, u64>,
    clients: BTreeMap<SocketAddr, Client>,
    links: BTreeMap<u64, Link>,
    places: usize,
    /// When the server started: the node's moment zero.
    start: Instant,
    next_client: u64,
}

/// A registered client: the way to its thread.
struct Client {
    number: u64,
    datagrams: SyncSender<String>,
}

/// A link to another server.
#[derive(Default)]
struct Link {
    /// The connection, while it is up and nothing waits.
    peer: Option<Arc<Peer>>,
    /// What waits for it to come (back) up.
    waiting: VecDeque<String>,
}

/// What the registry's lock protected, and is to be done without it: wait for links that are flooded.
#[derive(Default)]
struct Aftermath {
    crowded: Vec<Arc<Peer>>,
    newcomers: Vec<(SocketAddr, u64, Receiver<String>)>,
}

impl Server<'_> {
    /// Serves clients and links until the service is to end.
    fn run(&self, listener: Option<TcpListener>, neighbour: Option<&(String, u16)>) -> Result<(), String> {
        let Service { stop, log, connections, .. } = self.service;
        thread::scope(|scope| {
            if let Some(listener) = listener {
                let port = listener.local_addr().map_err(|error| error.to_string())?.port();
                log.out(&format!("server overlay started at port {port}\n"));
                let accept = move || tcp::serve(listener, self.service, b"", |peer| self.serve_link(peer));
                spawn(scope, "accept", accept)?;
            }
            if let Some((host, port)) = neighbour {
                self.registry.lock().add_link(OWN_LINK, Link::default());
                spawn(scope, "link", move || self.keep_link(host, *port))?;
            }
            let received =
                udp::receive(&self.socket, stop, log, |from, datagram| self.receive(from, datagram, scope));
            // Their threads end with their queues.
            self.registry.lock().clients.clear();
            connections.dismiss(b"");
            received
        })
    }

    /// Hands a datagram to its client's thread, without ever waiting. Who has none (yet) is served here.
    fn receive<'s>(&'s self, from: SocketAddr, datagram: &[u8], scope: &'s Scope<'s, '_>) {
        let log = &self.service.log;
        if without_line_end(datagram).len() > MAX_MESSAGE {
            return log.err(&format!("{from}: {}", Error::TooLong));
        }
        let text = overlay::text(datagram).into_owned();
        let registry = self.registry.lock();
        if let Some(client) = registry.clients.get(&from) {
            if client.datagrams.try_send(text).is_err() {
                log.err(&format!("{from}: faster than it can be served; a datagram was dropped"));
            }
            return;
        }
        drop(registry);
        for (address, number, queue) in self.apply(from, &text).newcomers {
            let serve = move || queue.iter().for_each(|text| self.serve_datagram(address, number, &text));
            if let Err(error) = spawn(scope, &format!("client-{}", number - FIRST_CLIENT), serve) {
                self.registry.lock().remove_client(address);
                log.err(&format!("{address} is served by the main thread: {error}"));
            }
        }
    }

    /// What a client's thread does with each of its datagrams. Only this client waits for a link that it
    /// floods.
    fn serve_datagram(&self, from: SocketAddr, number: u64, text: &str) {
        for link in self.apply(from, text).crowded {
            link.wait_for_room(number);
        }
    }

    fn apply(&self, from: SocketAddr, text: &str) -> Aftermath {
        let mut effects = Vec::new();
        let mut registry = self.registry.lock();
        let now = registry.now();
        let done =
            Request::decode(text).and_then(|request| registry.node.apply(from, request, now, &mut effects));
        let sender = registry.clients.get(&from).map_or(FIRST_CLIENT, |client| client.number);
        let aftermath = self.carry_out(&mut registry, sender, effects);
        if let Err(error) = done {
            self.service.log.err(&format!("{from}: {error}"));
        }
        aftermath
    }

    /// Does what the node decided, in its order. Nothing here waits.
    fn carry_out(
        &self,
        registry: &mut Registry,
        sender: u64,
        effects: Vec<Effect<SocketAddr, u64>>,
    ) -> Aftermath {
        let mut aftermath = Aftermath::default();
        let mut log = String::new();
        for effect in effects {
            match effect {
                Effect::Registered(address, name) => {
                    aftermath.newcomers.extend(registry.add_client(address));
                    let (ip, port) = (address.ip(), address.port());
                    // Writing to a String cannot fail.
                    let _ = writeln!(log, "{name} registered from host {ip} port {port}");
                }
                Effect::Gone(address) => registry.remove_client(address),
                Effect::Datagram(address, text) => udp::send(&self.socket, address, text.as_bytes()),
                Effect::Forward(link, line) => {
                    aftermath.crowded.extend(registry.forward(link, sender, line, &self.service.log));
                }
                Effect::Log(line) => {
                    log.push_str(&line);
                    log.push('\n');
                }
            }
        }
        self.service.log.out(&log);
        aftermath
    }

    /// The life of a link that another server made, on its own thread (O10).
    fn serve_link(&self, peer: &Arc<Peer>) {
        // Other servers have a place by themselves.
        peer.set_registered(true);
        let (ip, port) = (peer.address().ip(), peer.address().port());
        let link = Link { peer: Some(Arc::clone(peer)), ..Link::default() };
        let mut registry = self.registry.lock();
        registry.add_link(peer.id(), link);
        self.service.log.out(&format!("server overlay connection from host {ip} port {port}\n"));
        drop(registry);
        // Dropped, also by a panic, the link is forwarded nothing more.
        let linked = scopeguard::guard((), |()| self.registry.lock().remove_link(peer.id()));
        let mut reader = Reader::new(peer);
        self.read_link(peer.id(), peer, &mut reader);
        drop(linked);
        self.part(peer, &mut reader);
    }

    /// The life of the link that this server makes: tried again for as long as the server lives (O13).
    fn keep_link(&self, host: &str, port: u16) {
        let Service { stop, log, connections, flusher, .. } = self.service;
        let mut pause = RETRY.0;
        while !stop.requested() {
            let made =
                connect(host, port).and_then(|(stream, address)| connections.enter(stream, address, flusher));
            match made {
                Ok(entry) => {
                    pause = RETRY.0;
                    self.serve_own_link(&entry);
                }
                Err(error) => log.err(&format!("no link to overlay server at {host} port {port}: {error}")),
            }
            stop.wait(pause);
            pause = (pause * 2).min(RETRY.1);
        }
    }

    fn serve_own_link(&self, entry: &Entry<'_>) {
        let peer = entry.peer();
        peer.set_registered(true);
        // Who enters after everybody was dismissed has to go by itself.
        if self.service.stop.requested() {
            return;
        }
        let (ip, port) = (peer.address().ip(), peer.address().port());
        self.service.log.out(&format!("connected to overlay server at {ip} port {port}\n"));
        self.send_waiting(peer);
        let mut reader = Reader::new(peer);
        self.read_link(OWN_LINK, peer, &mut reader);
        self.registry.lock().set_peer(OWN_LINK, None);
        if !self.service.stop.requested() {
            self.service.log.err(&format!("the link to overlay server at {ip} port {port} has ended"));
        }
        self.part(peer, &mut reader);
    }

    /// Sends what waited, in order and no faster than it is taken; from then on messages go out directly. What
    /// waits when the link is gone again goes on waiting.
    fn send_waiting(&self, peer: &Arc<Peer>) {
        loop {
            let mut registry = self.registry.lock();
            let line = if peer.is_open() { registry.next_waiting(OWN_LINK) } else { None };
            let Some(line) = line else {
                return registry.set_peer(OWN_LINK, Some(Arc::clone(peer)));
            };
            let crowded = peer.send(OWN_LINK, line.as_bytes());
            drop(registry);
            if crowded {
                peer.wait_for_room(OWN_LINK);
            }
        }
    }

    /// Reads a link's lines until it ends. Real servers send some of them without a newline (A19).
    fn read_link(&self, link: u64, peer: &Arc<Peer>, reader: &mut Reader<'_>) {
        let start = Instant::now();
        let mut lines = Lines::new(MAX_RELAYED, Pauses::Always);
        let mut buffer = vec![0; READ];
        let mut open = true;
        while open {
            open = reader.read_lines(&mut buffer, &mut lines, start);
            while let Some(line) = lines.next(start.elapsed()) {
                for crowded in self.relay(link, peer, line) {
                    crowded.wait_for_room(peer.id());
                }
            }
        }
    }

    /// Handles one line of a link. The links that it has to wait for.
    fn relay(&self, link: u64, peer: &Peer, line: Result<&[u8], TooLong>) -> Vec<Arc<Peer>> {
        let text = line.map(printable);
        let relay = match &text {
            Ok(text) if text.is_empty() => return Vec::new(),
            Ok(text) => Relay::decode(text),
            Err(TooLong) => Err(Error::TooLong),
        };
        let mut effects = Vec::new();
        let mut registry = self.registry.lock();
        let now = registry.now();
        let done = relay.and_then(|relay| registry.node.relay(link, relay, now, &mut effects));
        let aftermath = self.carry_out(&mut registry, peer.id(), effects);
        if let Err(error) = done {
            self.service.log.err(&format!("overlay server {}: {error}", peer.address()));
        }
        aftermath.crowded
    }

    /// The end of a link: what is under way arrives.
    fn part(&self, peer: &Peer, reader: &mut Reader<'_>) {
        if let Some(verdict) = peer.verdict() {
            self.service.log.err(&format!("overlay server {} was cut off: {verdict}", peer.address()));
        }
        peer.finish();
        peer.linger(reader);
    }
}

impl Registry {
    fn new(places: usize) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self {
            node: Node::new(places),
            clients: BTreeMap::new(),
            links: BTreeMap::new(),
            places,
            start: Instant::now(),
            next_client: FIRST_CLIENT,
        }))
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Who is registered (A6).
    fn report(&self) -> String {
        let now = self.now();
        let members = self.node.members();
        let member = |(address, name, heard)| (name, address, now.saturating_sub(heard));
        service::report(self.places, members.map(member))
    }

    /// The queue for the thread of the client at `address`, if it has none yet.
    fn add_client(&mut self, address: SocketAddr) -> Option<(SocketAddr, u64, Receiver<String>)> {
        if self.clients.contains_key(&address) {
            return None;
        }
        let (datagrams, queue) = mpsc::sync_channel(CLIENT_QUEUE);
        self.next_client += 1;
        self.clients.insert(address, Client { number: self.next_client, datagrams });
        Some((address, self.next_client, queue))
    }

    /// Ends the thread of the client at `address`, when it has served what waits for it.
    fn remove_client(&mut self, address: SocketAddr) {
        self.clients.remove(&address);
    }

    fn add_link(&mut self, id: u64, link: Link) {
        self.links.insert(id, link);
        self.node.add_link(id);
    }

    fn remove_link(&mut self, id: u64) {
        self.links.remove(&id);
        self.node.remove_link(id);
    }

    fn set_peer(&mut self, id: u64, peer: Option<Arc<Peer>>) {
        if let Some(link) = self.links.get_mut(&id) {
            link.peer = peer;
        }
    }

    fn next_waiting(&mut self, id: u64) -> Option<String> {
        self.links.get_mut(&id)?.waiting.pop_front()
    }

    /// Sends a line on a link with one write (O9), or keeps it until the link is up (O13). The link, if the
    /// sender has to wait for it.
    fn forward(&mut self, id: u64, sender: u64, line: String, log: &crate::log::Log) -> Option<Arc<Peer>> {
        let link = self.links.get_mut(&id)?;
        let line = line + "\n";
        match &link.peer {
            Some(peer) if peer.is_open() => peer.send(sender, line.as_bytes()).then(|| Arc::clone(peer)),
            _ if id == OWN_LINK => {
                link.waiting.push_back(line);
                if link.waiting.len() > LINK_QUEUE {
                    link.waiting.pop_front();
                    log.err("too many messages wait for the overlay server; the oldest was given up");
                }
                None
            }
            _ => None,
        }
    }
}

/// Connects to the first address of `host` that answers.
fn connect(host: &str, port: u16) -> io::Result<(TcpStream, SocketAddr)> {
    let mut result = Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    for address in (host, port).to_socket_addrs()? {
        result = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).map(|stream| (stream, address));
        if result.is_ok() {
            break;
        }
    }
    result
}

fn spawn<'s, T: Send + 's>(
    scope: &'s Scope<'s, '_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 's,
) -> Result<(), String> {
    let spawned = thread::Builder::new().name(name.into()).spawn_scoped(scope, work);
    spawned.map(drop).map_err(|error| format!("cannot start the thread '{name}': {error}"))
}
