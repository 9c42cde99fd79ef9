//! The room's servers: what [`chat_common::room`] decides, done with sockets and threads.
//!
//! [`ServerTcp`] and [`ServerUdp`] have the operations of the source under its names (R15), in its order.
//! Over TCP each client's thread reads its messages; over UDP one thread receives, and hands each datagram to
//! the thread of the member it came from. Whoever has a message locks the registry, applies it and delivers
//! what it made; because delivery never waits (see [`crate::peer`] and [`udp::send`]), the lock's order is
//! everyone's.

use crate::options;
use crate::peer::{self, Next, Peer, Reader, Received};
use crate::service::{self, Service};
use crate::{tcp, udp};
use chat_cli::Failure;
use chat_common::deliveries::Deliveries;
use chat_common::frame::{MAX_MESSAGE, TooLong};
use chat_common::room::{self, Framing, KEPT, Messages, Outcome, Reply, Request, Room, Way};
use chat_common::text::printable;
use getopts::{Matches, Options};
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

/// The source's own argument, and the choice of its transport (R1).
pub(crate) const USAGE: &str = "usage: chat-server room [--udp] <server_port>";

/// All interfaces, for server and clients run on different machines (R1).
const BIND: &str = "0.0.0.0";

/// How many bytes one read takes: of a client that sends no newlines, that is one message (R2, A14).
const READ: usize = MAX_MESSAGE;

/// When a receiver has this much to get, it is delivered before more messages are read: what wraps a short
/// one makes it many times longer.
const BATCH: usize = 16 << 10;

/// How many datagrams of one member may wait for its thread. More than a burst, less than a flood.
const MEMBER_QUEUE: usize = 256;

/// The command line behind `chat-server room`.
pub(crate) fn options() -> Options {
    let mut options = options::common(BIND);
    options.optflag("", "udp", "serve over UDP in place of TCP");
    options
}

/// Serves until a signal ends it.
///
/// # Errors
/// The command line is wrong, or the port cannot be listened on.
pub(crate) fn run(matches: &Matches) -> Result<(), Failure> {
    let (host, port, places) = options::one_port(matches, BIND)?;
    let serve = if matches.opt_present("udp") { serve_udp } else { serve_tcp };
    serve(&host, port, places).map_err(Failure::Fatal)
}

fn serve_tcp(host: &str, port: u16, places: usize) -> Result<(), String> {
    let listener = tcp::bind(host, port)?;
    let service = Service::open()?;
    let served = ServerTcp::new(listener, places, &service).run();
    service.close();
    served
}

fn serve_udp(host: &str, port: u16, places: usize) -> Result<(), String> {
    let socket = udp::bind(host, port)?;
    let service = Service::open()?;
    let served = ServerUdp::new(socket, places, &service).run();
    service.close();
    served
}

/// The room over TCP: it admits clients whose names are unique, relays what each says to all others, and ends
/// with a farewell to everyone.
struct ServerTcp<'a> {
    /// The source's `server_socket`, on its `server_port`.
    listener: Arc<TcpListener>,
    /// The source's `clients`: connections by number, and those of them that have a name.
    registry: Arc<Mutex<Registry<u64, Client>>>,
    /// Holds the flag that ends the server, which is the source's `run_event`; what ends the handling of one
    /// client, its `handle_event`, is in that client's [`Peer`].
    service: &'a Service,
}

/// One connection over TCP.
struct Client {
    peer: Arc<Peer>,
    /// How it is spoken to; its first message tells (R3).
    framing: Framing,
}

impl<'a> ServerTcp<'a> {
    /// A server with nobody in its room, on a socket that is bound and listens.
    fn new(listener: TcpListener, places: usize, service: &'a Service) -> Self {
        let registry = Arc::new(Mutex::new(Registry::new(Room::new(places), places)));
        Self { listener: Arc::new(listener), registry, service }
    }

    /// R4: receives the first message of a new connection, which is the client's name. If that is free, the
    /// client is a member: it is told so, and everyone else, too. If not, it is told why. Whether it is.
    fn accept_client(&self, peer: &Arc<Peer>, talk: &mut Talk<'_>) -> bool {
        let name = loop {
            let first = talk.messages.next(talk.start.elapsed());
            // One that is too long is none.
            if let Some(name) = first.map(|name| name.map(printable).unwrap_or_default().into_owned()) {
                break name;
            }
            if !talk.receive() {
                return false;
            }
        };
        let mut out = Deliveries::new(peer.id());
        let mut registry = self.registry.lock();
        registry.set_framing(peer.id(), talk.messages.framing());
        let now = registry.now();
        let outcome = registry.room.apply(peer.id(), Request::Join(&name, Way::Plain), now, &mut out);
        let joined = matches!(outcome, Outcome::Joined(_));
        peer.set_registered(joined);
        self.broadcast(&registry, peer.id(), &out);
        match outcome {
            Outcome::Refused(error) => self.service.log.err(&format!("{}: {error}", peer.address())),
            _ => self.service.log.err(&format!("{name} joined from {}", peer.address())),
        }
        joined
    }

    /// R5: removes a client whose connection has ended or is to end, and tells everyone else that it left.
    /// Whether it was there.
    fn close_client(&self, peer: &Peer) -> bool {
        let mut registry = self.registry.lock();
        if registry.clients.remove(&peer.id()).is_none() {
            return false;
        }
        peer.set_registered(false);
        let mut out = Deliveries::new(peer.id());
        let name = registry.room.leave(peer.id(), &mut out);
        // When the server stops, everybody hears that and nothing behind it (R6).
        if !self.service.stop.requested() {
            self.broadcast(&registry, peer.id(), &out);
        }
        let verdict = peer.verdict().map(|verdict| format!(", cut off: {verdict}")).unwrap_or_default();
        match name {
            Some(name) => self.service.log.err(&format!("{name} left{verdict}")),
            None => self.service.log.err(&format!("{} is gone{verdict}", peer.address())),
        }
        true
    }

    /// Sends what the messages of the client `from` made: `User <name> joined`, `User <name> left` or
    /// `<name>: <text>` to everyone else, and to itself at most an answer. Whom of them it has to wait for.
    fn broadcast(
        &self,
        registry: &Registry<u64, Client>,
        from: u64,
        out: &Deliveries<u64>,
    ) -> Vec<Arc<Peer>> {
        let recipients = std::iter::once(from).chain(registry.room.others(from));
        let clients = recipients.filter_map(|to| Some((to, registry.clients.get(&to)?)));
        let crowded = clients.filter(|(to, client)| client.send(from, out.get(*to)));
        crowded.map(|(_, client)| Arc::clone(&client.peer)).collect()
    }

    /// R6: tells everyone that the server ends, and closes their connections. Nothing is sent behind that.
    fn shutdown(&self) {
        let farewell = format!("{}\n", Reply::ShuttingDown);
        let registry = self.registry.lock();
        for client in registry.clients.values() {
            client.send(client.peer.id(), &farewell);
            client.peer.finish();
        }
        drop(registry);
        self.service.connections.dismiss(b"");
    }

    /// How many clients are in the room.
    fn clients_number(&self) -> usize {
        self.registry.lock().clients_number()
    }

    /// R5: listens for the messages of one client, and broadcasts each, until the client says `exit`, its
    /// connection ends, or the server does.
    fn handle_client(&self, peer: &Arc<Peer>, talk: &mut Talk<'_>) {
        while peer::handle(peer, || self.handle_batch(peer, talk)) && talk.receive() {}
    }

    /// Listens for connections, and serves each on a thread of its own, until the server is to end.
    fn run(&self) -> Result<(), String> {
        let Service { log, .. } = self.service;
        let address = self.listener.local_addr().map_err(|error| error.to_string())?;
        let reported = (Arc::clone(&self.registry), log.clone());
        self.service.watch(move || {
            let registry = reported.0.lock();
            let address = |id: u64| registry.clients.get(&id).map(|client| client.peer.address());
            reported.1.err(&registry.report(address));
        })?;
        log.err(&format!("listening on {address}"));
        let serve = |peer: &Arc<Peer>| self.serve(peer);
        tcp::serve_until_stop(&self.listener, self.service, serve, || self.shutdown())?;
        log.err(&format!("terminated, with {} in the room", self.clients_number()));
        Ok(())
    }

    /// The life of one connection, on its own thread.
    fn serve(&self, peer: &Arc<Peer>) {
        let client = Client { peer: Arc::clone(peer), framing: Framing::Bare };
        self.registry.lock().clients.insert(peer.id(), client);
        // Dropped, also by a panic, it frees name and place (R5).
        let registered = scopeguard::guard((), |()| {
            self.close_client(peer);
        });
        let mut talk = Talk::new(peer);
        if self.accept_client(peer, &mut talk) {
            self.handle_client(peer, &mut talk);
        }
        // Name and place are free before the client sees the end of its connection (A11).
        drop(registered);
        peer.finish();
        peer.linger(&mut talk.reader);
    }

    /// Handles messages under one lock; then, holding none, waits for live readers that this client floods
    /// (S3).
    fn handle_batch(&self, peer: &Arc<Peer>, talk: &mut Talk<'_>) -> Next {
        let mut out = Deliveries::new(peer.id());
        let mut registry = self.registry.lock();
        let next = registry.apply_messages(peer.id(), talk, &mut out);
        let crowded = self.broadcast(&registry, peer.id(), &out);
        drop(registry);
        for reader in crowded {
            reader.wait_for_room(peer.id());
        }
        next
    }
}

impl Client {
    /// Sends messages, of which each ends at LF in `messages`, on behalf of `sender`: as such to who sends
    /// lines, without it and each in a write of its own to others (R2, R3). Whether the sender has to wait
    /// for room.
    fn send(&self, sender: u64, messages: &str) -> bool {
        match self.framing {
            Framing::Lines => self.peer.send(sender, messages.as_bytes()),
            Framing::Bare => {
                let mut crowded = false;
                for message in messages.split_terminator('\n') {
                    crowded |= self.peer.send(sender, message.as_bytes());
                }
                crowded
            }
        }
    }
}

/// What the thread of a connection reads with.
struct Talk<'a> {
    reader: Reader<'a>,
    messages: Messages,
    buffer: Vec<u8>,
    /// The moment zero of the messages.
    start: Instant,
    ended: bool,
}

impl<'a> Talk<'a> {
    fn new(peer: &'a Peer) -> Self {
        let (reader, messages) = (Reader::new(peer), Messages::default());
        Self { reader, messages, buffer: vec![0; READ], start: Instant::now(), ended: false }
    }

    /// Waits for bytes, for a pause that makes them a message, or for the end. False: nothing comes any more.
    fn receive(&mut self) -> bool {
        if self.ended {
            return false;
        }
        let deadline = self.messages.deadline().map(|deadline| self.start + deadline);
        match self.reader.read(&mut self.buffer, deadline) {
            Received::Bytes(count) => {
                self.messages.push(self.buffer.get(..count).unwrap_or_default(), self.start.elapsed());
            }
            Received::Nothing => {}
            Received::End => {
                self.messages.end();
                self.ended = true;
            }
        }
        true
    }
}

/// The room over UDP: who joins by datagram is a member until it says `exit`.
struct ServerUdp<'a> {
    /// The source's `server_socket`, on its `server_port`.
    socket: Arc<UdpSocket>,
    /// The source's `clients`: members by address, and the way to each one's thread.
    registry: Arc<Mutex<Registry<SocketAddr, SyncSender<Message>>>>,
    service: &'a Service,
}

/// The text of a datagram.
type Message = Result<String, TooLong>;

impl<'a> ServerUdp<'a> {
    /// A server with nobody in its room, on a socket that is bound.
    fn new(socket: UdpSocket, places: usize, service: &'a Service) -> Self {
        let registry = Registry::new(Room::giving_way(places, KEPT), places);
        Self { socket: Arc::new(socket), registry: Arc::new(Mutex::new(registry)), service }
    }

    /// R7: handles a join. If the name is free, who sent it is a member: it is told so, and everyone else,
    /// too. If not, it is told why. Whether it became one.
    fn accept_client(&self, registry: &mut Members, from: SocketAddr, join: Request<'_>) -> bool {
        let mut out = Deliveries::new(from);
        let now = registry.now();
        let outcome = registry.room.apply(from, join, now, &mut out);
        self.broadcast(registry, from, &out);
        match &outcome {
            Outcome::Joined(gone) => {
                // Its thread ends with its queue.
                gone.and_then(|gone| registry.clients.remove(&gone));
                let name = registry.room.member(from).map_or("", |(name, _)| name);
                self.service.log.err(&format!("{name} joined from {from}"));
            }
            Outcome::Refused(error) => self.service.log.err(&format!("{from}: {error}")),
            Outcome::Done | Outcome::Exit => {}
        }
        matches!(outcome, Outcome::Joined(_))
    }

    /// R8: removes a member, and tells everyone else that it left. Whether it was one.
    fn close_client(&self, registry: &mut Members, address: SocketAddr) -> bool {
        let mut out = Deliveries::new(address);
        let Some(name) = registry.room.leave(address, &mut out) else { return false };
        registry.clients.remove(&address);
        self.broadcast(registry, address, &out);
        self.service.log.err(&format!("{name} left"));
        true
    }

    /// Sends what a datagram of `from` made to everyone else, and to itself at most an answer: one datagram
    /// for each message. What the source keeps in its list `messages` for this is `out`.
    fn broadcast(&self, registry: &Members, from: SocketAddr, out: &Deliveries<SocketAddr>) {
        for to in std::iter::once(from).chain(registry.room.others(from)) {
            for message in out.get(to).split_terminator('\n') {
                udp::send(&self.socket, to, message.as_bytes());
            }
        }
    }

    /// R9: tells every member that the server ends, and lets them go. Their threads end with their queues.
    fn shutdown(&self) {
        let farewell = Reply::ShuttingDown.to_string();
        let mut registry = self.registry.lock();
        let members: Vec<_> = registry.room.members().map(|(address, ..)| address).collect();
        for address in members {
            udp::send(&self.socket, address, farewell.as_bytes());
            // Nobody hears of this: everybody has heard the farewell.
            registry.room.leave(address, &mut Deliveries::new(address));
        }
        registry.clients.clear();
    }

    /// How many clients are in the room.
    fn clients_number(&self) -> usize {
        self.registry.lock().clients_number()
    }

    /// Receives datagrams until the server is to end: `join` makes a member, `exit` removes it, anything else
    /// of a member goes to all others.
    fn run(&self) -> Result<(), String> {
        let Service { stop, log, .. } = self.service;
        let address = self.socket.local_addr().map_err(|error| error.to_string())?;
        let reported = (Arc::clone(&self.registry), log.clone());
        self.service.watch(move || reported.1.err(&reported.0.lock().report(Some)))?;
        log.err(&format!("listening on {address}"));
        let received = thread::scope(|scope| {
            let handle = |from: SocketAddr, datagram: &[u8]| self.receive(from, datagram, scope);
            let received = udp::receive(&self.socket, stop, log, handle);
            self.shutdown();
            received
        });
        log.err(&format!("terminated, with {} in the room", self.clients_number()));
        received
    }

    /// Hands a datagram to its member's thread, without ever waiting. Who has none (yet) is served here.
    fn receive<'s>(&'s self, from: SocketAddr, datagram: &[u8], scope: &'s Scope<'s, '_>) {
        let log = &self.service.log;
        let message = room::text(datagram).map(Into::into);
        let registry = self.registry.lock();
        if let Some(queue) = registry.clients.get(&from) {
            if queue.try_send(message).is_err() {
                log.err(&format!("{from}: faster than it can be served; a datagram was dropped"));
            }
            return;
        }
        drop(registry);
        let Some((number, queue)) = self.handle(from, &message) else { return };
        let name = format!("client-{number}");
        let serve = move || self.serve(from, queue);
        if let Err(error) = thread::Builder::new().name(name).spawn_scoped(scope, serve) {
            self.registry.lock().clients.remove(&from);
            log.err(&format!("{from} is served by the main thread: {error}"));
        }
    }

    /// What a member's thread does with its datagrams. Who leaves and joins again in one burst keeps the
    /// thread.
    fn serve(&self, from: SocketAddr, queue: Receiver<Message>) {
        let mut queues = VecDeque::from([queue]);
        while let Some(queue) = queues.pop_front() {
            for message in queue {
                queues.extend(self.handle(from, &message).map(|(_, queue)| queue));
            }
        }
    }

    /// Does what a datagram asks. If that made a member who has no thread: a number for it, and its queue.
    fn handle(&self, from: SocketAddr, message: &Message) -> Option<(u64, Receiver<Message>)> {
        let mut registry = self.registry.lock();
        // Everybody hears the farewell, and nothing behind it (R9).
        if self.service.stop.requested() {
            return None;
        }
        let sender = registry.room.member(from);
        let request = message
            .as_ref()
            .map_or(Ok(Request::TooLong), |message| Request::decode_datagram(message, sender));
        match request {
            Ok(join @ Request::Join(..)) => {
                if self.accept_client(&mut registry, from, join) {
                    return registry.add_queue(from);
                }
            }
            Ok(Request::Exit) => {
                self.close_client(&mut registry, from);
            }
            Ok(request) => self.relay(&mut registry, from, request),
            Err(error) => self.service.log.err(&format!("{from}: {error}")),
        }
        None
    }

    /// R8: anything else of a member goes to all others.
    fn relay(&self, registry: &mut Members, from: SocketAddr, request: Request<'_>) {
        let mut out = Deliveries::new(from);
        let now = registry.now();
        if let Outcome::Refused(error) = registry.room.apply(from, request, now, &mut out) {
            self.service.log.err(&format!("{from}: {error}"));
        }
        self.broadcast(registry, from, &out);
    }
}

/// Who is in the room over UDP.
type Members = Registry<SocketAddr, SyncSender<Message>>;

/// Who is in the room, and how each client is reached.
struct Registry<K, C> {
    room: Room<K>,
    clients: BTreeMap<K, C>,
    places: usize,
    /// When the server started: the room's moment zero.
    start: Instant,
    /// How many queues there have been.
    queues: u64,
}

impl<K: Copy + Ord, C> Registry<K, C> {
    fn new(room: Room<K>, places: usize) -> Self {
        Self { room, clients: BTreeMap::new(), places, start: Instant::now(), queues: 0 }
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn clients_number(&self) -> usize {
        self.room.members().count()
    }

    /// Who is registered (A6), each at its `address`.
    fn report(&self, address: impl Fn(K) -> Option<SocketAddr>) -> String {
        let now = self.now();
        let member = |(key, name, heard)| Some((name, address(key)?, now.saturating_sub(heard)));
        service::report(self.places, self.room.members().filter_map(member))
    }
}

impl Registry<u64, Client> {
    /// Applies messages until there are no more, somebody has much to get, or the client wants to go.
    fn apply_messages(&mut self, from: u64, talk: &mut Talk<'_>, out: &mut Deliveries<u64>) -> Next {
        let now = self.now();
        while let Some(message) = talk.messages.next(talk.start.elapsed()) {
            let text = message.map(printable);
            let request = text.as_ref().map_or(Request::TooLong, |text| Request::decode(text));
            if self.room.apply(from, request, now, out) == Outcome::Exit {
                return Next::End;
            }
            if out.largest() >= BATCH {
                return Next::Again;
            }
        }
        Next::Read
    }

    fn set_framing(&mut self, id: u64, framing: Framing) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.framing = framing;
        }
    }
}

impl Members {
    /// The queue for the thread of the member at `address`, and a number, if it has none yet.
    fn add_queue(&mut self, address: SocketAddr) -> Option<(u64, Receiver<Message>)> {
        if self.clients.contains_key(&address) {
            return None;
        }
        let (sender, queue) = mpsc::sync_channel(MEMBER_QUEUE);
        self.clients.insert(address, sender);
        self.queues += 1;
        Some((self.queues, queue))
    }
}
