//! A client that is also a server: others connect to it.
//!
//! One thread accepts, and each connection has a thread until it has said what it wants; then the main thread gets it
//! as an [`Event::Call`]. What is said is not known here: a protocol hands in the function that reads.

use crate::events::{Event, EventSender};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How many connections may be about to say what they want: nobody needs so many, and each is a thread. With one more,
/// the one that has waited longest gives way (A12).
const MAX_CALLERS: usize = 16;

/// How long to wait when the system does not accept, most likely for want of descriptors.
const RETRY: Duration = Duration::from_millis(100);

/// A socket that others can connect to.
pub(crate) struct Listener {
    listener: Arc<TcpListener>,
    closed: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Somebody has connected and said what they want.
#[derive(Debug)]
pub(crate) struct Call {
    /// Tells it from every other.
    pub(crate) number: u64,
    /// The connection. It is closed by shutting it down: this is not its only owner.
    pub(crate) stream: Arc<TcpStream>,
    /// Where it comes from.
    pub(crate) address: SocketAddr,
    /// What they said first.
    pub(crate) opening: Opening,
}

/// What somebody said first.
#[derive(Debug)]
pub(crate) struct Opening {
    /// The first message.
    pub(crate) message: Vec<u8>,
    /// What has already come behind it.
    pub(crate) rest: Vec<u8>,
}

impl Listener {
    /// Listens on `port` of all interfaces, for the kind of addresses that `ip` is one of; IPv6 includes IPv4 where
    /// the system does so.
    ///
    /// # Errors
    /// One line with port and cause.
    pub(crate) fn bind(ip: IpAddr, port: u16) -> Result<Self, String> {
        let any = match ip {
            IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let listener = TcpListener::bind((any, port));
        let listener = listener.map_err(|error| format!("cannot listen on port {port}: {error}"))?;
        Ok(Self { listener: Arc::new(listener), closed: Arc::default(), thread: None })
    }

    /// The port, also where the system chose it.
    ///
    /// # Errors
    /// The socket is of no use.
    pub(crate) fn port(&self) -> io::Result<u16> {
        self.listener.local_addr().map(|address| address.port())
    }

    /// Accepts from now on. `read` takes what a caller says first; without it the connection is closed.
    ///
    /// # Errors
    /// The system has no thread to spare.
    pub(crate) fn start(
        &mut self,
        events: &EventSender,
        read: fn(&TcpStream) -> Option<Opening>,
    ) -> io::Result<()> {
        let (listener, closed) = (Arc::clone(&self.listener), Arc::clone(&self.closed));
        let reception = Reception { events: events.clone(), read, callers: Vec::new() };
        let accept = move || reception.accept_until(&closed, &listener);
        self.thread = Some(thread::Builder::new().name("accept".into()).spawn(accept)?);
        Ok(())
    }

    /// Ends the threads. Connections that were handed out stay.
    pub(crate) fn close(self) {
        self.closed.store(true, Ordering::SeqCst);
        // A blocked `accept` does not see a flag: a connection to ourselves wakes it.
        if let Ok(address) = self.listener.local_addr() {
            let ip = if address.is_ipv4() {
                IpAddr::from(Ipv4Addr::LOCALHOST)
            } else {
                Ipv6Addr::LOCALHOST.into()
            };
            let _ = TcpStream::connect_timeout(&(ip, address.port()).into(), Duration::from_secs(1));
        }
        if let Some(thread) = self.thread {
            // A panic of that thread has been printed; there is nothing else to tell.
            let _ = thread.join();
        }
    }
}

/// The accepting thread's own.
struct Reception {
    events: EventSender,
    read: fn(&TcpStream) -> Option<Opening>,
    /// Who is about to say what they want.
    callers: Vec<(Arc<TcpStream>, JoinHandle<()>)>,
}

impl Reception {
    fn accept_until(mut self, closed: &AtomicBool, listener: &TcpListener) {
        for number in 0.. {
            let accepted = listener.accept();
            if closed.load(Ordering::SeqCst) {
                break;
            }
            match accepted {
                Ok((stream, address)) => self.receive(number, stream, address),
                Err(_) => thread::sleep(RETRY),
            }
        }
        for (stream, thread) in self.callers {
            if !thread.is_finished() {
                hang_up(&stream);
            }
            let _ = thread.join();
        }
    }

    /// Gives a caller its thread. Without one its connection is closed: the stream is dropped.
    fn receive(&mut self, number: u64, stream: TcpStream, address: SocketAddr) {
        self.callers.retain(|(_, thread)| !thread.is_finished());
        if let Some((oldest, _)) = self.callers.first().filter(|_| self.callers.len() >= MAX_CALLERS) {
            hang_up(oldest);
        }
        let stream = Arc::new(stream);
        let (calling, events, read) = (Arc::clone(&stream), self.events.clone(), self.read);
        let call = move || match read(&calling) {
            Some(opening) => events.send(Event::Call(Call { number, stream: calling, address, opening })),
            None => hang_up(&calling),
        };
        let thread = thread::Builder::new().name(format!("call-{number}")).spawn(call);
        self.callers.extend(thread.ok().map(|thread| (stream, thread)));
    }
}

/// Closes the connection of a caller.
pub(crate) fn hang_up(stream: &TcpStream) {
    // Fails only where there is no connection any more.
    let _ = stream.shutdown(Shutdown::Both);
}
