//! Bind, accept, one thread per client, and the end of them all.
//!
//! What clients say is not known here: a protocol hands in the function that talks to one client, and gets a
//! [`Peer`] on a thread of its own.

use crate::log::Log;
use crate::peer::{Flusher, Peer};
use crate::stop::Stop;
use parking_lot::{Condvar, Mutex};
use socket2::{SockRef, TcpKeepalive};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

/// How many connections without a place among the registered there may be (A12).
const MAX_UNREGISTERED: usize = 64;

/// A laptop whose lid was closed sends no FIN. After half a minute of silence the system asks three times,
/// ten seconds apart, and the place is free again after a minute.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;

/// The same minute for a peer that vanished while something was under way to it.
#[cfg(target_os = "linux")]
const USER_TIMEOUT: Duration = Duration::from_secs(60);

/// How long clients may take to hear the farewell and close, before they are cut off (S6).
const GOODBYE: Duration = Duration::from_millis(500);

/// How long to wait before accepting again when the system refuses, doubling from the first to the second:
/// a naive loop fails millions of times a second while descriptors are short.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// Listens on `port` of `host`, a name or an address, trying every address that a name has (A10).
///
/// # Errors
/// One line with host, port and cause.
pub(crate) fn bind(host: &str, port: u16) -> Result<TcpListener, String> {
    TcpListener::bind((host, port)).map_err(|error| format!("cannot listen on {host} port {port}: {error}"))
}

/// Accepts clients until `stop`, each served by `client` on a thread of its own; then says `farewell` to
/// everyone connected, and returns when every thread has ended, in less than a second.
///
/// # Errors
/// The system has no thread or socket operation to spare at the start.
pub(crate) fn serve(
    listener: TcpListener,
    stop: &Stop,
    log: &Log,
    farewell: &[u8],
    client: impl Fn(&Arc<Peer>) + Sync,
) -> io::Result<()> {
    let listener = Arc::new(listener);
    wake_on_stop(&listener, stop)?;
    let connections = Connections::default();
    let flusher = Flusher::default();
    thread::scope(|scope| {
        let flushing = flusher.clone();
        thread::Builder::new().name("flush".into()).spawn_scoped(scope, move || flushing.run())?;
        let reception = Reception { connections: &connections, flusher: &flusher, log, client: &client };
        reception.accept_until(stop, &listener, scope);
        connections.dismiss(farewell);
        flusher.close();
        Ok(())
    })
}

/// A blocked `accept` does not see a flag. Shutting the listener down wakes it on Linux, and needs no
/// descriptor when there may be none; elsewhere a connection to ourselves does.
fn wake_on_stop(listener: &Arc<TcpListener>, stop: &Stop) -> io::Result<()> {
    let address = reachable(listener.local_addr()?);
    let listener = Arc::clone(listener);
    stop.on_stop(move || {
        // Each fails where the other is the one that works.
        let _ = SockRef::from(&*listener).shutdown(Shutdown::Both);
        let _ = TcpStream::connect_timeout(&address, Duration::from_secs(1));
    });
    Ok(())
}

/// Where a listener on `address` can be reached from this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        _ => address.ip(),
    };
    SocketAddr::new(ip, address.port())
}

/// What the accepting thread needs for each newcomer.
struct Reception<'a, F> {
    connections: &'a Connections,
    flusher: &'a Flusher,
    log: &'a Log,
    client: &'a F,
}

impl<'a, F: Fn(&Arc<Peer>) + Sync> Reception<'a, F> {
    fn accept_until<'s>(&self, stop: &Stop, listener: &TcpListener, scope: &'s Scope<'s, 'a>) {
        let mut next_id = 1;
        let mut backoff = BACKOFF.0;
        while !stop.requested() {
            match listener.accept() {
                Ok(_) if stop.requested() => {}
                Ok((stream, address)) => {
                    backoff = BACKOFF.0;
                    self.admit(Peer::new(next_id, stream, address, self.flusher.clone()), scope);
                    next_id += 1;
                }
                Err(error) if is_passing(&error) => {}
                Err(_) if stop.requested() => {}
                Err(error) => {
                    self.complain(&error, backoff);
                    stop.wait(backoff);
                    backoff = (backoff * 2).min(BACKOFF.1);
                }
            }
        }
    }

    /// Gives a newcomer its thread. Without one it is turned away, and nobody else notices.
    fn admit<'s>(&self, peer: Peer, scope: &'s Scope<'s, 'a>) {
        let (id, address) = (peer.id(), peer.address());
        let peer = Arc::new(peer);
        if let Err(error) = configure(&peer) {
            return self.log.err(&format!("{address} was gone at once: {error}"));
        }
        let entry = Entry::new(self.connections, Arc::clone(&peer));
        if let Some(oldest) = self.connections.give_way(MAX_UNREGISTERED) {
            self.log.err(&format!("{oldest} gives way: too many connections that have not registered"));
        }
        let client = self.client;
        let serve = move || {
            let _entry = entry;
            client(&peer);
        };
        if let Err(error) = thread::Builder::new().name(format!("client-{id}")).spawn_scoped(scope, serve) {
            self.log.err(&format!("{address} was turned away: no thread for it: {error}"));
        }
    }

    /// The system refuses to accept, most likely for want of descriptors: who waited longest without
    /// registering gives one back. Said once per shortage.
    fn complain(&self, error: &io::Error, backoff: Duration) {
        if backoff == BACKOFF.0 {
            self.log.err(&format!("cannot accept a connection: {error}"));
        }
        self.connections.give_way(0);
    }
}

/// Errors of a connection that ended before it was accepted, or of a signal: not of the listener.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted)
}

/// Replies go out at once (S5), and a peer that vanished is noticed.
fn configure(peer: &Peer) -> io::Result<()> {
    let socket = SockRef::from(peer);
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(())
}

/// Everyone connected, by number, so in order of arrival.
#[derive(Default)]
struct Connections {
    peers: Mutex<BTreeMap<u64, Arc<Peer>>>,
    /// One of them has gone.
    gone: Condvar,
}

impl Connections {
    /// Cuts off who waited longest without registering, if there are more than `limit` such connections. Its
    /// address.
    fn give_way(&self, limit: usize) -> Option<SocketAddr> {
        let peers = self.peers.lock();
        let mut unregistered = peers.values().filter(|peer| !peer.is_registered() && !peer.is_closed());
        let oldest = unregistered.next()?;
        if unregistered.count() < limit {
            return None;
        }
        oldest.close();
        Some(oldest.address())
    }

    /// Says `farewell` to everyone, and waits until they have closed or [`GOODBYE`] is over.
    fn dismiss(&self, farewell: &[u8]) {
        let mut peers = self.peers.lock();
        for peer in peers.values() {
            peer.send(peer.id(), farewell);
            peer.finish();
        }
        let end = Instant::now() + GOODBYE;
        while !peers.is_empty() && !self.gone.wait_until(&mut peers, end).timed_out() {}
        peers.values().for_each(|peer| peer.close());
    }
}

/// One of the [`Connections`], while its thread lives.
struct Entry<'a> {
    connections: &'a Connections,
    peer: Arc<Peer>,
}

impl<'a> Entry<'a> {
    fn new(connections: &'a Connections, peer: Arc<Peer>) -> Self {
        connections.peers.lock().insert(peer.id(), Arc::clone(&peer));
        Self { connections, peer }
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.connections.peers.lock().remove(&self.peer.id());
        self.connections.gone.notify_all();
    }
}
