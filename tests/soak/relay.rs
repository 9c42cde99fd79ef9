//! What stands between two servers, and can cut or stall the link that passes through it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

/// A relay of connections. Its threads end with the process.
pub(crate) struct Relay {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    target: Option<SocketAddr>,
    /// The connections that stand, by number: both ends of each.
    standing: Vec<(u64, [Arc<TcpStream>; 2])>,
    /// How many there have been.
    made: u64,
    /// Nothing passes.
    stalled: bool,
}

/// How long a server may take to be linked again: it tries after 1, 2, 4 … 30 s.
const RELINK: Duration = Duration::from_secs(40);

impl Relay {
    /// Listens, and closes every connection until it is told where they lead.
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        thread::spawn(move || listener.incoming().flatten().for_each(|stream| accepting.connect(stream)));
        Self { port, shared }
    }

    /// Where it listens.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// From now on connections lead to this port.
    pub(crate) fn lead_to(&self, port: u16) {
        self.shared.state.lock().unwrap().target = Some(([127, 0, 0, 1], port).into());
    }

    /// How many connections it has made so far.
    pub(crate) fn made(&self) -> u64 {
        self.shared.state.lock().unwrap().made
    }

    /// Waits until one connection stands, and at least so many have been made.
    pub(crate) fn expect_standing(&self, made: u64) {
        let state = self.shared.state.lock().unwrap();
        let wait = |state: &mut State| state.standing.len() != 1 || state.made < made;
        let (state, result) = self.shared.changed.wait_timeout_while(state, RELINK, wait).unwrap();
        let have = state.standing.len();
        assert!(
            !result.timed_out(),
            "wanted: a link that is made again\nhave: {have} links after {RELINK:?}"
        );
    }

    /// Cuts every connection: by a reset, or by an end like that of a program.
    pub(crate) fn cut(&self, reset: bool) {
        for (_, ends) in &self.shared.state.lock().unwrap().standing {
            if reset {
                ends.iter().for_each(|end| drop(SockRef::from(&**end).set_linger(Some(Duration::ZERO))));
            }
            ends.iter().for_each(|end| drop(end.shutdown(Shutdown::Both)));
        }
    }

    /// Nothing passes any more, or everything again.
    pub(crate) fn stall(&self, stalled: bool) {
        self.shared.state.lock().unwrap().stalled = stalled;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn connect(self: &Arc<Self>, stream: TcpStream) {
        let target = self.state.lock().unwrap().target;
        let Some(other) = target.and_then(|target| TcpStream::connect(target).ok()) else { return };
        let ends = [Arc::new(stream), Arc::new(other)];
        ends.iter().for_each(|end| end.set_nodelay(true).unwrap());
        let mut state = self.state.lock().unwrap();
        state.made += 1;
        let number = state.made;
        state.standing.push((number, ends.clone()));
        drop(state);
        self.changed.notify_all();
        let [one, other] = ends;
        for (from, to) in [(Arc::clone(&one), Arc::clone(&other)), (other, one)] {
            let shared = Arc::clone(self);
            thread::spawn(move || shared.pump(number, &from, &to));
        }
    }

    /// Passes on what comes from one end to the other, until either ends.
    fn pump(&self, number: u64, mut from: &TcpStream, mut to: &TcpStream) {
        let mut buffer = [0; 16 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let state = self.state.lock().unwrap();
            drop(self.changed.wait_while(state, |state| state.stalled).unwrap());
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        // They fail where the connection is gone already.
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
        self.state.lock().unwrap().standing.retain(|(other, _)| *other != number);
        self.changed.notify_all();
    }
}
