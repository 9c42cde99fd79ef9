//! One connected client: its socket, and its outbox.
//!
//! The outbox is what keeps everybody apart. [`Peer::send`] never waits: what the socket does not take at
//! once stays in the outbox, and one thread, the [`Flusher`], tries again every two milliseconds while
//! anything waits anywhere. So a lock may be held while sending, which gives everyone one order (S2), and
//! nobody waits for somebody else's slow terminal (S1).
//!
//! - A sender that fills the outbox of a *live* reader is slowed to that reader's pace: [`Peer::wait_for_room`] (S3).
//! - A reader that takes nothing for five seconds, or for which a mebibyte waits, is cut off (S4).
//! - The last words arrive: [`Peer::finish`] and [`Peer::linger`] (S6).
//!
//! Which bytes are sent, and what they mean, is not known here.

use chat_common::deliveries::Deliveries;
use chat_common::frame::Lines;
use parking_lot::{Condvar, Mutex, MutexGuard};
use socket2::SockRef;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind, Read};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How much of one sender may wait for one live reader before that sender waits, too (S3). Large enough that
/// it never happens to who types, small enough that nine flooders stay below [`HOPELESS_BYTES`].
const ALLOWANCE: usize = 64 << 10;

/// Who took something this recently is live (S3).
const LIVE: Duration = Duration::from_millis(500);

/// A reader for which so much waits is cut off (S4).
const HOPELESS_BYTES: usize = 1 << 20;

/// A reader that takes nothing for so long, while something waits for it, is cut off (S4).
const HOPELESS_TIME: Duration = Duration::from_secs(5);

/// How much the flusher sends before it lets others at the outbox.
const PIECE: usize = 64 << 10;

/// How long a finished connection waits for its peer to close, too (S6).
const LINGER: Duration = Duration::from_millis(500);

/// How often a socket that was full is tried again. Trying is the only way to learn whether a reader is
/// live: the system calls a socket writable only when a third of its buffer is free.
const RETRY: Duration = Duration::from_millis(2);

/// A connected client. Every thread may send to it; only its own thread reads from it.
pub(crate) struct Peer {
    id: u64,
    address: SocketAddr,
    stream: TcpStream,
    /// It has a place among the registered clients.
    registered: AtomicBool,
    /// Nothing is read from it any more.
    closed: AtomicBool,
    /// When it was last heard, in milliseconds since `connected`.
    heard: AtomicU64,
    connected: Instant,
    outbox: Mutex<Outbox>,
    /// Bytes left the outbox, or its state changed.
    changed: Condvar,
    flusher: Flusher,
}

/// What waits for a client.
struct Outbox {
    state: State,
    waiting: VecDeque<u8>,
    /// Whose bytes wait, in order: sender and number of bytes.
    senders: VecDeque<(u64, usize)>,
    /// The sum of `senders` for each sender.
    owed: BTreeMap<u64, usize>,
    /// When the client last took something; when it last took everything, if nothing waits.
    took: Instant,
    /// Why it was cut off, until somebody asks.
    verdict: Option<&'static str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Takes more.
    Open,
    /// Takes no more; the sending side is shut when everything has left.
    Finishing,
    /// Everything has left, and the sending side is shut.
    Finished,
    /// Cut off: what waited is dropped.
    Closed,
}

/// What one attempt to flush did.
enum Flushed {
    /// The socket took some; more waits.
    Some,
    /// The socket took nothing.
    Nothing,
    /// Nothing waits any more.
    All,
}

/// What one read brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// So many bytes.
    Bytes(usize),
    /// Nothing until the deadline.
    Nothing,
    /// The peer has closed its sending side, or the connection is gone, whoever ended it.
    End,
}

impl Peer {
    /// The client behind `stream`, which came from `address`. `id` tells it from every other.
    pub(crate) fn new(id: u64, stream: TcpStream, address: SocketAddr, flusher: Flusher) -> Self {
        let now = Instant::now();
        Self {
            id,
            address: SocketAddr::new(address.ip().to_canonical(), address.port()),
            stream,
            registered: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            heard: AtomicU64::new(0),
            connected: now,
            outbox: Mutex::new(Outbox::new(now)),
            changed: Condvar::new(),
            flusher,
        }
    }

    /// The number that tells this connection from every other; later ones have higher numbers.
    pub(crate) const fn id(&self) -> u64 {
        self.id
    }

    /// Where it came from; an IPv4 address as such, also on an IPv6 socket.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of its socket's descriptor (L26).
    pub(crate) fn descriptor(&self) -> RawFd {
        self.stream.as_raw_fd()
    }

    /// Whether it has a place among the registered clients; others give way when connections run out (A12).
    pub(crate) fn is_registered(&self) -> bool {
        self.registered.load(Ordering::Relaxed)
    }

    /// Whether it was cut off; its thread is about to end.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Says that it has such a place now, or no more.
    pub(crate) fn set_registered(&self, registered: bool) {
        self.registered.store(registered, Ordering::Relaxed);
    }

    /// How long ago something last came from it.
    pub(crate) fn silent_for(&self) -> Duration {
        let heard = Duration::from_millis(self.heard.load(Ordering::Relaxed));
        self.connected.elapsed().saturating_sub(heard)
    }

    /// Whether it can still be sent something: neither [`Peer::finish`] nor a cut has ended that.
    pub(crate) fn is_open(&self) -> bool {
        self.outbox.lock().state == State::Open
    }

    /// Why the connection was cut off from our side, if it was; said once.
    pub(crate) fn verdict(&self) -> Option<&'static str> {
        self.outbox.lock().verdict.take()
    }

    /// Sends `bytes`, on behalf of the client `sender`, behind everything sent before. Never waits, and may
    /// be called under a registry's lock. Whether `sender` has to [`Peer::wait_for_room`] when it holds none.
    pub(crate) fn send(self: &Arc<Self>, sender: u64, bytes: &[u8]) -> bool {
        let mut outbox = self.outbox.lock();
        if outbox.state != State::Open || bytes.is_empty() {
            return false;
        }
        let waited = !outbox.waiting.is_empty();
        let taken = if waited { Ok(0) } else { self.try_send(bytes) };
        match taken {
            Ok(taken) => outbox.append(sender, bytes.get(taken..).unwrap_or_default(), waited),
            Err(_) => self.cut(&mut outbox, None),
        }
        if outbox.waiting.len() >= HOPELESS_BYTES {
            self.cut(&mut outbox, Some("1 MiB waits for it"));
        }
        let waits = !outbox.waiting.is_empty();
        let crowded = outbox.owes(sender) > ALLOWANCE;
        drop(outbox);
        if waits && !waited {
            self.flusher.watch(Arc::clone(self));
        }
        crowded
    }

    /// Waits while more of `sender`'s bytes wait here than one sender may have, and this reader is live (S3).
    /// For who calls it holding no lock.
    pub(crate) fn wait_for_room(&self, sender: u64) {
        let mut outbox = self.outbox.lock();
        while outbox.state == State::Open && outbox.owes(sender) > ALLOWANCE && outbox.is_live() {
            let until = outbox.took + LIVE;
            self.changed.wait_until(&mut outbox, until);
        }
    }

    /// Nothing more is sent to it; when all has left, it is told so (FIN).
    pub(crate) fn finish(&self) {
        let mut outbox = self.outbox.lock();
        if outbox.state == State::Open {
            outbox.state = State::Finishing;
            self.shut_if_sent(&mut outbox);
        }
    }

    /// After [`Peer::finish`]: drops what still comes until the peer closes, or for half a second behind our
    /// last word. A close that leaves bytes unread is a reset, which can eat that word on its way (S6).
    pub(crate) fn linger(&self, reader: &mut Reader<'_>) {
        let mut scratch = [0; 1024];
        while let Some(deadline) = self.linger_until() {
            if reader.read(&mut scratch, Some(deadline)) == Received::End {
                return self.wait_sent();
            }
        }
    }

    /// Cuts the connection at once; what waits is dropped, and its thread ends.
    pub(crate) fn close(&self) {
        self.cut(&mut self.outbox.lock(), None);
    }

    /// Until when to linger: `None` when that time is over.
    fn linger_until(&self) -> Option<Instant> {
        let outbox = self.outbox.lock();
        match outbox.state {
            State::Closed => None,
            State::Finished => Some(outbox.took + LINGER).filter(|deadline| *deadline > Instant::now()),
            State::Open | State::Finishing => Some(Instant::now() + LINGER),
        }
    }

    /// Waits until all has left, or the reader is found hopeless.
    fn wait_sent(&self) {
        let mut outbox = self.outbox.lock();
        while outbox.state == State::Finishing {
            self.changed.wait(&mut outbox);
        }
    }

    /// Tries to send what waits. Whether anything still does.
    fn flush(&self) -> bool {
        for _ in 0..HOPELESS_BYTES / PIECE {
            match self.flush_piece() {
                Flushed::Some => {}
                Flushed::Nothing => return true,
                Flushed::All => return false,
            }
        }
        true
    }

    /// Tries to send one piece of what waits. In between, others get at the outbox: a sender may hold a
    /// registry meanwhile.
    fn flush_piece(&self) -> Flushed {
        let mut outbox = self.outbox.lock();
        if outbox.waiting.is_empty() {
            // It was cut off meanwhile.
            return Flushed::All;
        }
        let front = outbox.waiting.as_slices().0;
        let taken = self.try_send(front.get(..PIECE).unwrap_or(front));
        match taken {
            Err(_) => self.cut(&mut outbox, None),
            Ok(0) if outbox.took.elapsed() >= HOPELESS_TIME => {
                self.cut(&mut outbox, Some("it took nothing for 5 s"));
            }
            Ok(0) => return Flushed::Nothing,
            Ok(taken) => outbox.remove(taken),
        }
        self.changed.notify_all();
        if !outbox.waiting.is_empty() {
            return Flushed::Some;
        }
        self.shut_if_sent(&mut outbox);
        Flushed::All
    }

    /// Offers `bytes` to the socket. How many it took, perhaps none; never waits.
    fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        let socket = SockRef::from(&self.stream);
        loop {
            match socket.send_with_flags(bytes, libc::MSG_DONTWAIT) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
                result => return result,
            }
        }
    }

    fn shut_if_sent(&self, outbox: &mut Outbox) {
        if outbox.state == State::Finishing && outbox.waiting.is_empty() {
            outbox.state = State::Finished;
            outbox.took = Instant::now();
            // Fails only where there is no connection any more.
            let _ = self.stream.shutdown(Shutdown::Write);
        }
    }

    /// Ends the connection for good. The flag comes first: a reader that went on draining would keep its
    /// peer's blocked writes alive for minutes.
    fn cut(&self, outbox: &mut MutexGuard<'_, Outbox>, verdict: Option<&'static str>) {
        if outbox.state == State::Closed {
            return;
        }
        outbox.close(verdict);
        self.closed.store(true, Ordering::SeqCst);
        // Fails only where there is no connection any more.
        let _ = self.stream.shutdown(Shutdown::Both);
        self.changed.notify_all();
    }
}

impl Outbox {
    const fn new(now: Instant) -> Self {
        Self {
            state: State::Open,
            waiting: VecDeque::new(),
            senders: VecDeque::new(),
            owed: BTreeMap::new(),
            took: now,
            verdict: None,
        }
    }

    /// Adds what the socket did not take. The clock of a reader starts when it has to be waited for.
    fn append(&mut self, sender: u64, bytes: &[u8], waited: bool) {
        if bytes.is_empty() {
            return;
        }
        if !waited {
            self.took = Instant::now();
        }
        self.waiting.extend(bytes);
        *self.owed.entry(sender).or_default() += bytes.len();
        match self.senders.back_mut() {
            Some((last, count)) if *last == sender => *count += bytes.len(),
            _ => self.senders.push_back((sender, bytes.len())),
        }
    }

    /// Removes so many bytes, which the socket took, and strikes them off their senders' accounts.
    fn remove(&mut self, mut taken: usize) {
        self.took = Instant::now();
        self.waiting.drain(..taken.min(self.waiting.len()));
        while let Some((sender, count)) = self.senders.front_mut() {
            let paid = taken.min(*count);
            *count -= paid;
            taken -= paid;
            let (sender, left) = (*sender, *count);
            self.pay(sender, paid);
            if left > 0 {
                return;
            }
            self.senders.pop_front();
        }
        // A burst must not be remembered by an idle connection.
        self.waiting.shrink_to_fit();
    }

    fn pay(&mut self, sender: u64, paid: usize) {
        if let Some(owed) = self.owed.get_mut(&sender) {
            *owed -= paid;
            if *owed == 0 {
                self.owed.remove(&sender);
            }
        }
    }

    fn owes(&self, sender: u64) -> usize {
        self.owed.get(&sender).copied().unwrap_or(0)
    }

    fn is_live(&self) -> bool {
        self.took.elapsed() < LIVE
    }

    fn close(&mut self, verdict: Option<&'static str>) {
        let took = self.took;
        *self = Self { state: State::Closed, verdict, ..Self::new(took) };
    }
}

/// The reading side of a peer, for its own thread.
pub(crate) struct Reader<'a> {
    peer: &'a Peer,
    /// The socket's read timeout, which is set only when it changes.
    timeout: Option<Duration>,
}

impl<'a> Reader<'a> {
    /// The one reader of `peer`.
    pub(crate) const fn new(peer: &'a Peer) -> Self {
        Self { peer, timeout: None }
    }

    /// Waits for bytes, at most until `deadline`. Every error of the socket is the [`Received::End`].
    pub(crate) fn read(&mut self, buffer: &mut [u8], deadline: Option<Instant>) -> Received {
        loop {
            if self.peer.is_closed() || self.set_deadline(deadline).is_err() {
                return Received::End;
            }
            match (&self.peer.stream).read(buffer) {
                Ok(0) => return Received::End,
                Ok(count) => {
                    self.heard();
                    return Received::Bytes(count);
                }
                // A signal ends a read that has a timeout; the system does not restart it.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => return Received::Nothing,
                Err(_) => return Received::End,
            }
        }
    }

    /// Reads once into `lines`, of which `start` is the moment zero, and waits no longer than for a pause that ends
    /// one. False: nothing more comes.
    pub(crate) fn read_lines(&mut self, buffer: &mut [u8], lines: &mut Lines, start: Instant) -> bool {
        match self.read(buffer, lines.deadline().map(|deadline| start + deadline)) {
            Received::Bytes(count) => lines.push(buffer.get(..count).unwrap_or_default(), start.elapsed()),
            Received::Nothing => {}
            Received::End => {
                lines.end();
                return false;
            }
        }
        true
    }

    fn heard(&self) {
        let now = self.peer.connected.elapsed().as_millis();
        self.peer.heard.store(u64::try_from(now).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn set_deadline(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        // A timeout of zero would be no timeout.
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        let timeout = deadline.map(|deadline| left(deadline).max(Duration::from_millis(1)));
        if timeout != self.timeout {
            self.peer.stream.set_read_timeout(timeout)?;
            self.timeout = timeout;
        }
        Ok(())
    }
}

/// What remains to be done behind a batch of messages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Every whole message was handled: read more.
    Read,
    /// There may be more whole messages.
    Again,
    /// The connection is to end.
    End,
}

/// Handles what was read from `peer` in batches, of which each does a part under one lock, until there is no whole
/// message any more. Whether the connection goes on.
pub(crate) fn handle(peer: &Peer, mut batch: impl FnMut() -> Next) -> bool {
    let mut next = Next::Again;
    while next == Next::Again {
        next = if peer.is_open() { batch() } else { Next::End };
    }
    next == Next::Read
}

/// Gives everyone in `peers` what `out` has for them: to `others`, who hear of each other, and to the client `from`
/// last, so that what it said is on its way when it hears so. Never waits. For whom of them `from` then has to
/// [`Peer::wait_for_room`], holding no lock.
pub(crate) fn deliver(
    peers: &BTreeMap<u64, Arc<Peer>>,
    others: impl Iterator<Item = u64>,
    from: u64,
    out: &Deliveries<u64>,
) -> Vec<Arc<Peer>> {
    let mut crowded = Vec::new();
    let mut give = |to: u64| {
        if let Some(peer) = peers.get(&to)
            && peer.send(from, out.get(to).as_bytes())
        {
            crowded.push(Arc::clone(peer));
        }
    };
    match out.few() {
        Some(few) => few.for_each(&mut give),
        None => others.for_each(&mut give),
    }
    give(from);
    crowded
}

/// The kind that a read timeout has, which differs between systems.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// The peers for which something waits. Clones are the same list; [`Flusher::run`] is one thread's work.
#[derive(Clone, Default)]
pub(crate) struct Flusher(Arc<Waiting>);

#[derive(Default)]
struct Waiting {
    list: Mutex<List>,
    /// A peer has come to an empty list, or the list is closed.
    come: Condvar,
}

#[derive(Default)]
struct List {
    peers: Vec<Arc<Peer>>,
    closed: bool,
}

impl Flusher {
    /// Sends what waits, until [`Flusher::close`]. Sleeps while nothing does.
    pub(crate) fn run(&self) {
        while let Some(peers) = self.take() {
            let waiting: Vec<_> = peers.into_iter().filter(|peer| peer.flush()).collect();
            let mut list = self.0.list.lock();
            list.peers.extend(waiting);
            if !list.peers.is_empty() && !list.closed {
                self.0.come.wait_for(&mut list, RETRY);
            }
        }
    }

    /// Ends the thread; what still waits is not sent any more.
    pub(crate) fn close(&self) {
        self.0.list.lock().closed = true;
        self.0.come.notify_all();
    }

    /// Something waits for `peer` now.
    fn watch(&self, peer: Arc<Peer>) {
        let mut list = self.0.list.lock();
        if list.peers.is_empty() {
            self.0.come.notify_one();
        }
        list.peers.push(peer);
    }

    /// The peers for which something waits, as soon as there are some; `None` when the list is closed.
    fn take(&self) -> Option<Vec<Arc<Peer>>> {
        let mut list = self.0.list.lock();
        while list.peers.is_empty() && !list.closed {
            self.0.come.wait(&mut list);
        }
        (!list.closed).then(|| std::mem::take(&mut list.peers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An outbox to which these senders gave so many bytes each, in this order.
    fn outbox(given: &[(u64, usize)]) -> Outbox {
        let mut outbox = Outbox::new(Instant::now());
        for (sender, count) in given {
            let waited = !outbox.waiting.is_empty();
            outbox.append(*sender, &vec![0; *count], waited);
        }
        outbox
    }

    fn owed(outbox: &Outbox) -> [usize; 3] {
        [1, 2, 3].map(|sender| outbox.owes(sender))
    }

    #[test]
    fn s3_each_byte_that_waits_is_on_its_senders_account() {
        let mut outbox = outbox(&[(1, 10), (2, 5), (1, 10), (3, 0), (1, 5)]);
        assert_eq!(owed(&outbox), [25, 5, 0]);
        for (taken, left) in [(4, [21, 5, 0]), (6, [15, 5, 0]), (7, [13, 0, 0]), (13, [0, 0, 0])] {
            outbox.remove(taken);
            assert_eq!(owed(&outbox), left, "after {taken} more were taken");
            assert_eq!(outbox.waiting.len(), left.iter().sum::<usize>());
        }
        assert!(outbox.senders.is_empty() && outbox.owed.is_empty(), "nothing is remembered");
    }

    #[test]
    fn s4_the_clock_of_a_reader_starts_when_it_has_to_be_waited_for() {
        let mut outbox = outbox(&[]);
        outbox.took = Instant::now().checked_sub(HOPELESS_TIME).unwrap();
        assert!(!outbox.is_live());
        outbox.append(1, b"first", false);
        assert!(outbox.is_live(), "what was taken long ago says nothing about now");
    }

    #[test]
    fn s4_nothing_waits_for_who_was_cut_off() {
        let mut outbox = outbox(&[(1, 10)]);
        outbox.close(Some("it took nothing for 5 s"));
        assert_eq!((owed(&outbox), outbox.waiting.len()), ([0; 3], 0));
        assert_eq!(outbox.verdict, Some("it took nothing for 5 s"));
    }
}
