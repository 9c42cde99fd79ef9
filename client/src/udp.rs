//! A server that is reached by UDP: which of its addresses answers is not known before one does.
//!
//! Each address has a connected socket and a thread that receives. A connected socket takes datagrams from its
//! server alone, and is told when nobody listens there.

use crate::connection::try_addresses;
use crate::events::{Event, EventSender, Events};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How many addresses of one name are tried.
const MAX_ADDRESSES: usize = 4;

/// The largest datagram has 65,507 bytes; none is ever cut.
const LARGEST: usize = 64 << 10;

/// A receiving thread looks this often whether it is to end. Nothing else waits for it.
const LOOK: Duration = Duration::from_millis(200);

/// The sockets, one for each address.
pub(crate) struct Sockets {
    routes: Vec<Arc<UdpSocket>>,
    /// The one that is used: the others are only listened to.
    current: usize,
    closed: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// What came of [`Sockets::ask`].
pub(crate) enum Asked<T> {
    /// The server answered.
    Answer(T),
    /// The user does not wait for it any more.
    Interrupted,
    /// Nobody answered.
    Silence,
}

impl Sockets {
    /// Sockets for every address of `host` (A10). What arrives is an [`Event::Datagram`], an address where nobody
    /// listens an [`Event::Refused`].
    ///
    /// # Errors
    /// One line with host, port and cause.
    pub(crate) fn open(host: &str, port: u16, events: &EventSender) -> Result<Self, String> {
        let failed = |error: io::Error| format!("cannot reach {host} port {port}: {error}");
        let mut sockets =
            Self { routes: Vec::new(), current: 0, closed: Arc::default(), threads: Vec::new() };
        let mut error = io::Error::new(ErrorKind::NotFound, "the name has no address");
        for address in (host, port).to_socket_addrs().map_err(failed)?.take(MAX_ADDRESSES) {
            match connected(address) {
                Ok(socket) => sockets.listen(socket, events).map_err(failed)?,
                Err(unreachable) => error = unreachable,
            }
        }
        if sockets.routes.is_empty() { Err(failed(error)) } else { Ok(sockets) }
    }

    /// Asks every address of the server in turn until one answers: sends `request`, and again after `repeat`,
    /// for as long as `patience`. An answer is a datagram for which `read` gives something.
    pub(crate) fn ask<T>(
        &mut self,
        events: &Events,
        request: &str,
        (repeat, patience): (Duration, Duration),
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Asked<T> {
        let end = Instant::now() + patience;
        let mut next = Instant::now();
        loop {
            let now = Instant::now();
            if now >= end {
                return Asked::Silence;
            }
            if now >= next {
                self.send(request);
                next = now + repeat;
            }
            match events.next(Some(next.min(end))) {
                Some(Event::Datagram(route, datagram)) if self.is_current(route) => {
                    if let Some(answer) = read(&datagram) {
                        return Asked::Answer(answer);
                    }
                }
                // Nobody listens there. The next address is tried at once, the first again in its turn.
                Some(Event::Refused(route)) if self.is_current(route) => {
                    if self.advance() {
                        next = now;
                    }
                }
                Some(Event::Interrupt) => return Asked::Interrupted,
                Some(_) => {}
                None => {
                    self.advance();
                }
            }
        }
    }

    /// Sends to the current address. What is lost is lost.
    pub(crate) fn send(&self, datagram: &str) {
        if let Some(socket) = self.routes.get(self.current) {
            // A server that is gone is noticed by its silence.
            let _ = socket.send(datagram.as_bytes());
        }
    }

    /// Whether the current address is number `route`.
    pub(crate) const fn is_current(&self, route: usize) -> bool {
        self.current == route
    }

    /// Uses the next address from now on. Whether there was one that was not used yet, in this round.
    const fn advance(&mut self) -> bool {
        self.current = (self.current + 1) % self.routes.len();
        self.current != 0
    }

    /// Ends the threads.
    pub(crate) fn close(self) {
        self.closed.store(true, Ordering::SeqCst);
        for thread in self.threads {
            // A panic of that thread has been printed; there is nothing else to tell.
            let _ = thread.join();
        }
    }

    fn listen(&mut self, socket: UdpSocket, events: &EventSender) -> io::Result<()> {
        let route = self.routes.len();
        let socket = Arc::new(socket);
        let (receiving, closed, events) = (Arc::clone(&socket), Arc::clone(&self.closed), events.clone());
        let receive = move || receive(&receiving, route, &closed, &events);
        self.threads.push(thread::Builder::new().name(format!("receive-{route}")).spawn(receive)?);
        self.routes.push(socket);
        Ok(())
    }
}

/// Which address of this machine `port` of `host` would be reached from, and so reaches us. Nothing is sent.
///
/// # Errors
/// One line with host, port and cause.
pub(crate) fn local_ip(host: &str, port: u16) -> Result<IpAddr, String> {
    let local = try_addresses(host, port, |address| connected(address)?.local_addr());
    local
        .map(|address| address.ip().to_canonical())
        .map_err(|error| format!("cannot reach {host} port {port}: {error}"))
}

fn connected(address: SocketAddr) -> io::Result<UdpSocket> {
    let any = match address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(LOOK))?;
    Ok(socket)
}

fn receive(socket: &UdpSocket, route: usize, closed: &AtomicBool, events: &EventSender) {
    let mut buffer = vec![0; LARGEST];
    while !closed.load(Ordering::SeqCst) {
        match socket.recv(&mut buffer) {
            Ok(count) => {
                let datagram = buffer.get(..count).unwrap_or_default().to_vec();
                if !events.datagram(route, datagram) {
                    return;
                }
            }
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => events.send(Event::Refused(route)),
            // A timeout, or a signal.
            Err(_) => {}
        }
    }
}
