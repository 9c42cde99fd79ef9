//! Bind, accept, one thread per client, and the end of them all.
//!
//! A thread of its own makes serving a client a plain loop: read, handle, read again. It blocks in `read` without
//! harm, for nobody else is served by it; what it costs is a stack (of which the system gives only the part that is
//! used), so there are bounds to how many there are.
//!
//! What blocks has to be woken when the server is to end. A thread in `accept` looks at no flag and no signal wakes
//! it: the flag is set first, then the listener is shut down or connected to. A thread in `read` wakes when its
//! socket is shut down; that another thread drops the socket does nothing. Then all threads are waited for.
//!
//! What clients say is not known here: a protocol hands in the function that talks to one client, and gets a
//! [`Peer`] on a thread of its own.

use crate::peer::{Flusher, Peer};
use crate::service::Service;
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

/// Accepts clients until the service is to end, each served by `client` on a thread of its own; then says
/// `farewell` to everyone connected, and returns when every thread has ended, in less than a second.
///
/// # Errors
/// One line: the listener is of no use.
pub(crate) fn serve(
    listener: TcpListener,
    service: &Service,
    farewell: &[u8],
    client: impl Fn(&Arc<Peer>) + Sync,
) -> Result<(), String> {
    let dismiss = || service.connections.dismiss(farewell);
    serve_until_stop(&Arc::new(listener), service, client, dismiss)
}

/// The same for a protocol that does not say one farewell to everyone: when nobody is accepted any more,
/// `dismiss` says what there is to say, and calls [`Connections::dismiss`].
///
/// # Errors
/// One line: the listener is of no use.
pub(crate) fn serve_until_stop(
    listener: &Arc<TcpListener>,
    service: &Service,
    client: impl Fn(&Arc<Peer>) + Sync,
    dismiss: impl FnOnce(),
) -> Result<(), String> {
    wake_on_stop(listener, &service.stop).map_err(|error| format!("cannot accept: {error}"))?;
    thread::scope(|scope| {
        let reception = Reception { service, client: &client };
        reception.accept_until_stop(listener, scope);
        dismiss();
    });
    Ok(())
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

/// Where a socket bound to `address` can be reached from this machine.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        _ => address.ip(),
    };
    SocketAddr::new(ip, address.port())
}

/// What the accepting thread needs for each newcomer.
struct Reception<'a, F> {
    service: &'a Service,
    client: &'a F,
}

impl<'a, F: Fn(&Arc<Peer>) + Sync> Reception<'a, F> {
    fn accept_until_stop<'s>(&self, listener: &TcpListener, scope: &'s Scope<'s, 'a>) {
        let stop = &self.service.stop;
        let mut backoff = BACKOFF.0;
        while !stop.requested() {
            match listener.accept() {
                _ if stop.requested() => {}
                Ok((stream, address)) => {
                    backoff = BACKOFF.0;
                    self.admit(stream, address, scope);
                }
                Err(error) if is_passing(&error) => {}
                Err(error) => {
                    self.complain(&error, backoff);
                    stop.wait(backoff);
                    backoff = (backoff * 2).min(BACKOFF.1);
                }
            }
        }
    }

    /// Gives a newcomer its thread. Without one it is turned away, and nobody else notices.
    fn admit<'s>(&self, stream: TcpStream, address: SocketAddr, scope: &'s Scope<'s, 'a>) {
        let Service { connections, flusher, log, .. } = self.service;
        let entry = match connections.enter(stream, address, flusher) {
            Ok(entry) => entry,
            Err(error) => return log.err(&format!("{address} was gone at once: {error}")),
        };
        if let Some(oldest) = connections.give_way(MAX_UNREGISTERED) {
            log.err(&format!("{oldest} gives way: too many connections that have not registered"));
        }
        let client = self.client;
        let name = format!("client-{}", entry.peer().id());
        let serve = move || client(entry.peer());
        if let Err(error) = thread::Builder::new().name(name).spawn_scoped(scope, serve) {
            log.err(&format!("{address} was turned away: no thread for it: {error}"));
        }
    }

    /// The system refuses to accept, most likely for want of descriptors: who waited longest without
    /// registering gives one back. Said once per shortage.
    fn complain(&self, error: &io::Error, backoff: Duration) {
        if backoff == BACKOFF.0 {
            self.service.log.err(&format!("cannot accept a connection: {error}"));
        }
        self.service.connections.give_way(0);
    }
}

/// Errors of a connection that ended before it was accepted, or of a signal: not of the listener.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted)
}

/// Replies go out at once (S5), and a peer that vanished is noticed.
fn configure(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
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

/// Everyone connected.
#[derive(Default)]
pub(crate) struct Connections {
    table: Mutex<Table>,
    /// One of them has gone.
    gone: Condvar,
}

/// Everyone by number, so in order of arrival.
#[derive(Default)]
struct Table {
    peers: BTreeMap<u64, Arc<Peer>>,
    /// How many there have been.
    count: u64,
}

/// One of the [`Connections`], as long as this lives.
pub(crate) struct Entry<'a> {
    connections: &'a Connections,
    peer: Arc<Peer>,
}

impl Connections {
    /// Adds the connection `stream` from `address`.
    ///
    /// # Errors
    /// It is no connection any more.
    pub(crate) fn enter(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        flusher: &Flusher,
    ) -> io::Result<Entry<'_>> {
        configure(&stream)?;
        let mut table = self.table.lock();
        table.count += 1;
        let peer = Arc::new(Peer::new(table.count, stream, address, flusher.clone()));
        table.peers.insert(peer.id(), Arc::clone(&peer));
        Ok(Entry { connections: self, peer })
    }

    /// Says `farewell` to everyone, and waits until they have closed or [`GOODBYE`] is over.
    pub(crate) fn dismiss(&self, farewell: &[u8]) {
        let mut table = self.table.lock();
        for peer in table.peers.values() {
            peer.send(peer.id(), farewell);
            peer.finish();
        }
        let end = Instant::now() + GOODBYE;
        while !table.peers.is_empty() && !self.gone.wait_until(&mut table, end).timed_out() {}
        table.peers.values().for_each(|peer| peer.close());
    }

    /// Cuts off who waited longest without registering, if there are more than `limit` such connections. Its
    /// address.
    fn give_way(&self, limit: usize) -> Option<SocketAddr> {
        let table = self.table.lock();
        let mut unregistered = table.peers.values().filter(|peer| !peer.is_registered() && !peer.is_closed());
        let oldest = unregistered.next()?;
        if unregistered.count() < limit {
            return None;
        }
        oldest.close();
        Some(oldest.address())
    }
}

impl Entry<'_> {
    /// The connected client.
    pub(crate) const fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.connections.table.lock().peers.remove(&self.peer.id());
        self.connections.gone.notify_all();
    }
}
