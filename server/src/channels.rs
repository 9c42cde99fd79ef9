//! The channels' server: what [`chat_common::channels`] decides, done with sockets and threads.
//!
//! Each client's thread reads, takes the whole messages of that read, and under one lock applies and delivers
//! them. The source specifies no output: what happens is told on stderr (C20).

use crate::options;
use crate::peer::{self, Next, Peer, Reader, Received};
use crate::service::{self, Service};
use crate::tcp;
use chat_cli::Failure;
use chat_common::channels::{Error, Hub, Outcome, SIZE, text};
use chat_common::deliveries::Deliveries;
use chat_common::frame::Fixed;
use getopts::{Matches, Options};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

/// The command line (C1).
pub(crate) const USAGE: &str = "usage: chat-server channels <port>";

/// All interfaces (C1).
const BIND: &str = "0.0.0.0";

/// How many bytes one read takes.
const READ: usize = 16 << 10;

/// When a receiver has this much to get, it is delivered before more requests are handled: a short request can
/// have a long answer, and a flood of them must not grow without bound under the lock.
const BATCH: usize = 16 << 10;

/// The command line behind `chat-server channels`.
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
    service.log.err(&format!("listening on {address}"));
    let server = Server { registry, service: &service };
    let served = tcp::serve(listener, &service, b"", |peer| server.client(peer));
    service.close();
    served
}

/// What all client threads share.
struct Server<'a> {
    registry: Arc<Mutex<Registry>>,
    service: &'a Service,
}

/// Who is connected, and who of them is where.
struct Registry {
    hub: Hub<u64>,
    places: usize,
    peers: BTreeMap<u64, Arc<Peer>>,
}

impl Server<'_> {
    /// The life of one connection, on its own thread.
    fn client(&self, peer: &Arc<Peer>) {
        self.enter(peer);
        // Dropped, also by a panic, it frees name and place (C16).
        let entered = scopeguard::guard((), |()| self.leave(peer));
        let mut reader = Reader::new(peer);
        self.converse(peer, &mut reader);
        // Name and place are free before the client sees the end of its connection (A11).
        drop(entered);
        peer.finish();
        peer.linger(&mut reader);
    }

    fn enter(&self, peer: &Arc<Peer>) {
        self.registry.lock().peers.insert(peer.id(), Arc::clone(peer));
        self.service.log.err(&format!("{} has connected", peer.address()));
    }

    /// Reads and handles until either side ends it. Half a message at the end is none.
    fn converse(&self, peer: &Arc<Peer>, reader: &mut Reader<'_>) {
        let mut frames = Fixed::new();
        let mut buffer = vec![0; READ];
        while let Received::Bytes(count) = reader.read(&mut buffer, None) {
            frames.push(buffer.get(..count).unwrap_or_default());
            if !peer::handle(peer, || self.batch(peer, &mut frames)) {
                return;
            }
        }
    }

    /// Handles messages under one lock, and delivers what they made with one write for each receiver (S5).
    /// Then, holding no lock, waits for live readers that this client floods (S3).
    fn batch(&self, peer: &Arc<Peer>, frames: &mut Fixed<SIZE>) -> Next {
        let mut out = Deliveries::new(peer.id());
        let mut log = String::new();
        let mut registry = self.registry.lock();
        let next = registry.apply_messages(peer, frames, &mut out, &mut log);
        let crowded = registry.deliver(peer.id(), &out);
        self.service.log.err_lines(&log);
        drop(registry);
        for reader in crowded {
            reader.wait_for_room(peer.id());
        }
        next
    }

    /// Removes a connection that has ended, and tells its channel (C16).
    fn leave(&self, peer: &Arc<Peer>) {
        let mut out = Deliveries::new(peer.id());
        let mut registry = self.registry.lock();
        registry.peers.remove(&peer.id());
        peer.set_registered(false);
        let name = registry.hub.leave(peer.id(), &mut out);
        // When the server stops, nobody is told of everybody else.
        if !self.service.stop.requested() {
            registry.deliver(peer.id(), &out);
        }
        let name = name.map_or_else(String::new, |name| format!(" ({name})"));
        let verdict = peer.verdict().map_or_else(String::new, |verdict| format!(", cut off: {verdict}"));
        self.service.log.err(&format!("{}{name} has disconnected{verdict}", peer.address()));
    }
}

impl Registry {
    fn new(places: usize) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self { hub: Hub::new(places), places, peers: BTreeMap::new() }))
    }

    /// Who is registered (A6).
    fn report(&self) -> String {
        let peer = |(id, name)| self.peers.get(&id).map(|peer| (name, peer.address(), peer.silent_for()));
        service::report(self.places, self.hub.members().filter_map(peer))
    }

    /// Applies messages until there are no more, somebody has much to get, or the connection is to end.
    fn apply_messages(
        &mut self,
        peer: &Peer,
        frames: &mut Fixed<SIZE>,
        out: &mut Deliveries<u64>,
        log: &mut String,
    ) -> Next {
        while let Some(message) = frames.next() {
            let outcome = self.hub.apply(peer.id(), &message, out);
            note(log, peer, &text(&message), &outcome);
            match outcome {
                Outcome::Named => peer.set_registered(true),
                Outcome::Refused(Error::InvalidName | Error::Full(_)) => return Next::End,
                _ => {}
            }
            if out.largest() >= BATCH {
                return Next::Again;
            }
        }
        Next::Read
    }

    fn deliver(&self, from: u64, out: &Deliveries<u64>) -> Vec<Arc<Peer>> {
        // Nobody but the members of a channel gets anything.
        peer::deliver(&self.peers, std::iter::empty(), from, out)
    }
}

/// C20: names and control messages are told, what people say to each other is not.
fn note(log: &mut String, peer: &Peer, text: &str, outcome: &Outcome) {
    let address = peer.address();
    // Writing to a String cannot fail.
    let _ = match outcome {
        Outcome::Named => writeln!(log, "{address} is {text}"),
        Outcome::Refused(error) => writeln!(log, "{address}: {text}: {error}"),
        Outcome::Done if text.starts_with('/') => writeln!(log, "{address}: {text}"),
        Outcome::Done => Ok(()),
    };
}
