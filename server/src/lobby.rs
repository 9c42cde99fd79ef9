//! The lobby's server: what [`chat_common::lobby`] decides, done with sockets and threads.
//!
//! Each client's thread reads, takes the whole messages of that read, and under one lock applies them,
//! delivers, and logs. A lock may be held across what never waits, and nothing else: were it held while a socket takes
//! its time, one client that reads nothing would stop all the others, even newcomers. Because delivery never waits
//! (see [`crate::peer`]), it may happen under the lock, and so the lock's order is everyone's order (L24).

use crate::options;
use crate::peer::{self, Next, Peer, Reader};
use crate::service::{self, Service};
use crate::tcp;
use chat_cli::Failure;
use chat_common::deliveries::Deliveries;
use chat_common::frame::{Lines, MAX_MESSAGE, Pauses, TooLong};
use chat_common::lobby::{Error, Lobby, Outcome, Reply, Request};
use chat_common::text::printable;
use getopts::{Matches, Options};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The source's own line (L1).
pub(crate) const USAGE: &str = "usage: chat-server lobby <svr_port>";

/// All interfaces, for server and client run on different machines (L3).
const BIND: &str = "0.0.0.0";

/// How many bytes one read takes.
const READ: usize = 16 << 10;

/// When a receiver has this much to get, it is delivered before more requests are read: a short request can
/// have a long answer, and a flood of them must not grow without bound under the lock.
const BATCH: usize = 16 << 10;

/// The command line behind `chat-server lobby`.
pub(crate) fn options() -> Options {
    options::common(BIND)
}

/// Serves until a signal ends it.
///
/// # Errors
/// The command line is wrong, or the port cannot be listened on.
pub(crate) fn run(matches: &Matches) -> Result<(), Failure> {
    let (host, port, places) = options::one_port(matches, BIND)?;
    serve(&host, port, places).map_err(Failure::Fatal)
}

fn serve(host: &str, port: u16, places: usize) -> Result<(), String> {
    let listener = tcp::bind(host, port)?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let service = Service::open()?;
    let registry = Registry::new(places);
    let reported = (Arc::clone(&registry), service.log.clone());
    service.watch(move || reported.1.err(&reported.0.lock().report()))?;
    service.log.out("The Chat Server Started\n");
    service.log.err(&format!("listening on {address}"));
    let server = Server { registry, service: &service };
    let farewell = format!("{}\n", Reply::ShuttingDown);
    let served = tcp::serve(listener, &service, farewell.as_bytes(), |peer| server.client(peer));
    service.close();
    served
}

/// What all client threads share.
struct Server<'a> {
    registry: Arc<Mutex<Registry>>,
    service: &'a Service,
}

/// Who is connected, and who of them is registered.
struct Registry {
    lobby: Lobby<u64>,
    places: usize,
    peers: BTreeMap<u64, Arc<Peer>>,
}

impl Server<'_> {
    /// The life of one connection, on its own thread.
    fn client(&self, peer: &Arc<Peer>) {
        self.enter(peer);
        // Dropped, also by a panic, it frees name and place (L21).
        let entered = scopeguard::guard((), |()| self.leave(peer));
        let mut reader = Reader::new(peer);
        self.converse(peer, &mut reader);
        // Name and place are free before the client sees the end of its connection (A11).
        drop(entered);
        peer.finish();
        peer.linger(&mut reader);
    }

    fn enter(&self, peer: &Arc<Peer>) {
        let (ip, port) = (peer.address().ip(), peer.address().port());
        let mut registry = self.registry.lock();
        registry.peers.insert(peer.id(), Arc::clone(peer));
        self.service.log.out(&format!("Connected with ('{ip}', {port})\n"));
    }

    /// Reads and handles until either side ends it.
    fn converse(&self, peer: &Arc<Peer>, reader: &mut Reader<'_>) {
        let start = Instant::now();
        let mut lines = Lines::new(MAX_MESSAGE, Pauses::UntilFirstNewline);
        let mut buffer = vec![0; READ];
        let mut open = true;
        while open {
            open = reader.read_lines(&mut buffer, &mut lines, start);
            let now = start.elapsed();
            open &= peer::handle(peer, || self.batch(peer, &mut lines, now));
        }
    }

    /// Handles messages under one lock, delivers what they made with one write for each receiver, and logs
    /// them with one write (S5). Then, holding no lock, waits for live readers that this client floods (S3).
    fn batch(&self, peer: &Arc<Peer>, lines: &mut Lines, now: Duration) -> Next {
        let mut out = Deliveries::new(peer.id());
        let mut log = String::new();
        let mut registry = self.registry.lock();
        let next = registry.apply_lines(peer, lines, now, &mut out, &mut log);
        let crowded = registry.deliver(peer.id(), &out);
        if next == Next::End {
            self.remove(&mut registry, peer, &mut log);
        }
        self.service.log.out(&log);
        drop(registry);
        for reader in crowded {
            reader.wait_for_room(peer.id());
        }
        next
    }

    /// Removes a connection that has ended, if that was not done yet.
    fn leave(&self, peer: &Arc<Peer>) {
        let mut log = String::new();
        let mut registry = self.registry.lock();
        self.remove(&mut registry, peer, &mut log);
        self.service.log.out(&log);
        drop(registry);
        if let Some(verdict) = peer.verdict() {
            self.service.log.err(&format!("{} was cut off: {verdict}", peer.address()));
        }
    }

    /// Removes a connection and tells the others: its name and its place are free at once (L21).
    fn remove(&self, registry: &mut Registry, peer: &Peer, log: &mut String) {
        if registry.peers.remove(&peer.id()).is_none() {
            return;
        }
        peer.set_registered(false);
        let mut out = Deliveries::new(peer.id());
        let name = registry.lobby.leave(peer.id(), &mut out);
        // When the server stops, everybody hears that and nothing behind it (L22).
        if !self.service.stop.requested() {
            registry.deliver(peer.id(), &out);
        }
        match name {
            Some(name) => note(log, peer, Reply::Left(&name)),
            None => note(log, peer, "disconnected"),
        }
    }
}

impl Registry {
    fn new(places: usize) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self { lobby: Lobby::new(places), places, peers: BTreeMap::new() }))
    }

    /// Who is registered (A6).
    fn report(&self) -> String {
        let peer = |(id, name)| self.peers.get(&id).map(|peer| (name, peer.address(), peer.silent_for()));
        service::report(self.places, self.lobby.members().filter_map(peer))
    }

    /// Applies messages until there are no more, somebody has much to get, or the connection is to end.
    fn apply_lines(
        &mut self,
        peer: &Peer,
        lines: &mut Lines,
        now: Duration,
        out: &mut Deliveries<u64>,
        log: &mut String,
    ) -> Next {
        while let Some(line) = lines.next(now) {
            let outcome = self.apply_line(peer, line, out, log);
            if matches!(outcome, Outcome::Quit | Outcome::Refused(Error::Full)) {
                return Next::End;
            }
            if out.largest() >= BATCH {
                return Next::Again;
            }
        }
        Next::Read
    }

    fn apply_line(
        &mut self,
        peer: &Peer,
        line: Result<&[u8], TooLong>,
        out: &mut Deliveries<u64>,
        log: &mut String,
    ) -> Outcome {
        let text = line.map(printable).unwrap_or_default();
        let request = line.map_or_else(|error| Some(error.into()), |_| Request::decode(&text));
        let Some(request) = request else { return Outcome::Done };
        let outcome = self.lobby.apply(peer.id(), request, out);
        if let (Request::Join(name), Outcome::Joined) = (request, &outcome) {
            peer.set_registered(true);
            log.push_str(name);
            log.push_str(" Joined the Chatroom\n");
            return outcome;
        }
        if request != Request::TooLong {
            note(log, peer, &text);
        }
        if let Outcome::Refused(error) = &outcome {
            note(log, peer, error);
        }
        outcome
    }

    /// Whom of the receivers the client `from` has to wait for.
    fn deliver(&self, from: u64, out: &Deliveries<u64>) -> Vec<Arc<Peer>> {
        peer::deliver(&self.peers, self.lobby.others(from), from, out)
    }
}

/// Adds a line about a client, who is known by its descriptor (L26).
fn note(log: &mut String, peer: &Peer, what: impl Display) {
    // Writing to a String cannot fail.
    let _ = writeln!(log, "Client ({}): {what}", peer.descriptor());
}
