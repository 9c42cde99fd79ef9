//! One TCP connection, byte by byte, from the client's end or from the server's.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

use crate::Process;
use crate::wait::{DEADLINE, Log, fail, until, utf8};

/// A raw connection. It reads only when it is asked to.
pub struct Raw {
    stream: TcpStream,
    received: Vec<u8>,
    log: Log,
    lenient: bool,
}

/// What one attempt to read more gave.
enum Fresh {
    Bytes,
    End,
    Broken(std::io::Error),
    Late,
}

impl Raw {
    /// Connects. Failures will quote `log`.
    #[track_caller]
    pub fn connect(address: SocketAddr, log: &Log) -> Raw {
        match TcpStream::connect_timeout(&address, DEADLINE) {
            Ok(stream) => Raw::new(stream, log),
            Err(error) => fail(&format!("a connection to {address}"), &error.to_string(), log),
        }
    }

    /// Connects with a receive buffer of about this many bytes, and small segments, which keep the other side's send buffer
    /// small too: on loopback it would hold megabytes. (Both must be set before the connection is made.)
    #[track_caller]
    pub fn connect_narrow(address: SocketAddr, receive_buffer: usize, log: &Log) -> Raw {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(receive_buffer).unwrap();
        socket.set_tcp_mss(1000).unwrap();
        match socket.connect_timeout(&address.into(), DEADLINE) {
            Ok(()) => Raw::new(socket.into(), log),
            Err(error) => fail(&format!("a connection to {address}"), &error.to_string(), log),
        }
    }

    fn new(stream: TcpStream, log: &Log) -> Raw {
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Raw { stream, received: Vec::new(), log: log.clone(), lenient: false }
    }

    /// The same connection, but line ends are no longer asked for in what the other side says: some foreign programs send
    /// none.
    #[must_use]
    pub fn lenient(mut self) -> Raw {
        self.lenient = true;
        self
    }

    /// The socket itself, for what this type does not offer.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// This end's port, as the other side sees it.
    pub fn port(&self) -> u16 {
        self.stream.local_addr().unwrap().port()
    }

    /// What a failure message about this connection quotes.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Sends exactly these bytes, in one write.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        if let Err(error) = self.stream.write_all(bytes.as_ref()) {
            fail("the other side takes what is sent", &error.to_string(), &self.log);
        }
    }

    /// Sends these bytes, if the other side still takes them. Whether it does.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends a line.
    #[track_caller]
    pub fn send_line(&mut self, line: &str) {
        self.send(format!("{line}\n"));
    }

    /// What comes next, whatever frames it, if anything comes within `limit`; nothing at the end of the connection.
    pub fn receive(&mut self, limit: Duration) -> Option<Vec<u8>> {
        if self.received.is_empty() {
            self.read_more(Instant::now() + limit);
        }
        Some(std::mem::take(&mut self.received)).filter(|bytes| !bytes.is_empty())
    }

    /// The next line, without its end, if one comes in time.
    pub fn line(&mut self) -> Option<String> {
        self.line_within(DEADLINE)
    }

    /// The same, with a deadline of its own.
    pub fn line_within(&mut self, limit: Duration) -> Option<String> {
        let end = Instant::now() + limit;
        loop {
            let line = self.buffered_line();
            if line.is_some() || !matches!(self.read_more(end), Fresh::Bytes) {
                return line;
            }
        }
    }

    /// The next line among what was already taken from the socket.
    pub fn buffered_line(&mut self) -> Option<String> {
        let end = self.received.iter().position(|&byte| byte == b'\n')?;
        let mut line: Vec<u8> = self.received.drain(..=end).collect();
        line.pop();
        Some(utf8(line))
    }

    /// The next line is `wanted`.
    #[track_caller]
    pub fn expect(&mut self, wanted: &str) {
        if self.lenient {
            return self.expect_text(wanted);
        }
        match self.line() {
            Some(line) if line == wanted => {}
            Some(line) => fail(&format!("{wanted:?}"), &format!("{line:?}"), &self.log),
            None => fail(&format!("{wanted:?}"), &self.state_of_affairs(), &self.log),
        }
    }

    /// The next lines are `wanted`.
    #[track_caller]
    pub fn expect_all(&mut self, wanted: &[&str]) {
        for line in wanted {
            self.expect(line);
        }
    }

    /// The next bytes are `wanted`, whatever follows them.
    #[track_caller]
    pub fn expect_bytes(&mut self, wanted: impl AsRef<[u8]>) {
        let wanted = wanted.as_ref();
        let end = Instant::now() + DEADLINE;
        while self.received.len() < wanted.len() && matches!(self.read_more(end), Fresh::Bytes) {}
        if !self.received.starts_with(wanted) {
            fail(&format!("{:?}", String::from_utf8_lossy(wanted)), &self.state_of_affairs(), &self.log);
        }
        self.received.drain(..wanted.len());
    }

    /// The next bytes are `wanted`, whatever follows them and whatever line ends stand before them.
    #[track_caller]
    fn expect_text(&mut self, wanted: &str) {
        let end = Instant::now() + DEADLINE;
        loop {
            let breaks = self.received.iter().take_while(|&&byte| byte == b'\r' || byte == b'\n').count();
            self.received.drain(..breaks);
            if !self.received.is_empty() || !matches!(self.read_more(end), Fresh::Bytes) {
                break;
            }
        }
        self.expect_bytes(wanted);
    }

    /// Skips to the first line that contains `part`, and gives it.
    #[track_caller]
    pub fn find(&mut self, part: &str) -> String {
        let end = Instant::now() + DEADLINE;
        loop {
            if self.lenient && self.skip_past(part) {
                return part.to_owned();
            }
            match self.buffered_line() {
                Some(line) if line.contains(part) => return line,
                Some(_) => {}
                None if matches!(self.read_more(end), Fresh::Bytes) => {}
                None => break,
            }
        }
        fail(&format!("a line with {part:?}"), &self.state_of_affairs(), &self.log);
    }

    /// All that comes until the other side ends the connection properly. A reset is a failure.
    #[track_caller]
    pub fn rest(&mut self) -> String {
        let end = Instant::now() + DEADLINE;
        loop {
            match self.read_more(end) {
                Fresh::Bytes => {}
                Fresh::End => return utf8(std::mem::take(&mut self.received)),
                Fresh::Broken(error) => {
                    fail("the end of the connection, without a reset", &error.to_string(), &self.log)
                }
                Fresh::Late => fail("the end of the connection", &self.state_of_affairs(), &self.log),
            }
        }
    }

    /// The other side ends the connection properly, and says nothing more before.
    #[track_caller]
    pub fn expect_end(&mut self) {
        let rest = self.rest();
        if !rest.is_empty() {
            fail("the end of the connection, and nothing before it", &format!("{rest:?}"), &self.log);
        }
    }

    /// The connection is over within `limit`, in whatever way; what was under way is thrown away.
    #[track_caller]
    pub fn expect_gone(&mut self, limit: Duration) {
        let end = Instant::now() + limit;
        loop {
            self.received.clear();
            match self.read_more(end) {
                Fresh::Bytes => {}
                Fresh::End | Fresh::Broken(_) => return,
                Fresh::Late => fail("the connection is cut", "it stands", &self.log),
            }
        }
    }

    /// Takes up to `count` bytes from the socket, waiting for them if need be, and nothing beyond them.
    #[track_caller]
    pub fn sip(&mut self, count: usize) {
        self.stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut buffer = vec![0; count];
        match self.stream.read(&mut buffer) {
            Ok(taken @ 1..) => self.received.extend_from_slice(&buffer[..taken]),
            Ok(0) => fail("more bytes", "the end of the connection", &self.log),
            Err(error) => fail("more bytes", &error.to_string(), &self.log),
        }
    }

    /// Says that nothing more will be sent; receiving goes on.
    pub fn half_close(&self) {
        // It fails if the other side has cut the connection: then it is said already.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Cuts the connection by a reset, as a crashed machine's successor would.
    pub fn abort(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Drops what was received up to `part`, and that too, if it is there.
    fn skip_past(&mut self, part: &str) -> bool {
        let found = self.received.windows(part.len()).position(|window| window == part.as_bytes());
        if let Some(at) = found {
            self.received.drain(..at + part.len());
        }
        found.is_some()
    }

    fn read_more(&mut self, end: Instant) -> Fresh {
        // Zero would mean for ever.
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.stream.set_read_timeout(Some(left)).unwrap();
        let mut buffer = [0; 64 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => Fresh::End,
            Ok(count) => {
                self.received.extend_from_slice(&buffer[..count]);
                Fresh::Bytes
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Fresh::Bytes,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Fresh::Late,
            Err(error) => Fresh::Broken(error),
        }
    }

    fn state_of_affairs(&mut self) -> String {
        let more = match self.read_more(Instant::now()) {
            Fresh::Bytes | Fresh::Late => "and nothing more in time".to_owned(),
            Fresh::End => "then the end of the connection".to_owned(),
            Fresh::Broken(error) => format!("then {error}"),
        };
        let start: String = String::from_utf8_lossy(&self.received).chars().take(400).collect();
        format!("{start:?}, {more}")
    }
}

/// The other side of a client under test: a server that does what the test says.
pub struct Listener(TcpListener);

impl Listener {
    /// Listens on a free port of 127.0.0.1.
    pub fn new() -> Listener {
        Listener::at("127.0.0.1:0")
    }

    /// Listens at this address.
    pub fn at(address: &str) -> Listener {
        let listener = TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        Listener(listener)
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// The next connection, from this client.
    #[track_caller]
    pub fn accept(&self, client: &Process) -> Raw {
        let raw = self.accept_quoting(client.log());
        if client.is_foreign() { raw.lenient() } else { raw }
    }

    /// The next connection, from whomever.
    #[track_caller]
    pub fn accept_any(&self) -> Raw {
        self.accept_quoting(&Log::default())
    }

    #[track_caller]
    fn accept_quoting(&self, log: &Log) -> Raw {
        let Some((stream, _)) = until(DEADLINE, || self.0.accept().ok()) else {
            fail("a connection", "none came", log);
        };
        stream.set_nonblocking(false).unwrap();
        Raw::new(stream, log)
    }
}

impl Default for Listener {
    fn default() -> Self {
        Listener::new()
    }
}

/// A port of 127.0.0.1 on which nobody listens, and that nobody gets who asks for any port.
pub struct Reserved(Socket);

impl Reserved {
    /// Reserves a port. Whoever asks for this one, by its number, still gets it.
    pub fn new() -> Reserved {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        socket.bind(&any.into()).unwrap();
        Reserved(socket)
    }

    /// Its number.
    pub fn port(&self) -> u16 {
        self.0.local_addr().unwrap().as_socket().unwrap().port()
    }

    /// Listens there from now on.
    pub fn listen(self) -> Listener {
        self.0.listen(8).unwrap();
        self.0.set_nonblocking(true).unwrap();
        Listener(self.0.into())
    }
}

impl Default for Reserved {
    fn default() -> Self {
        Reserved::new()
    }
}

/// A listener whose queue is full: whoever connects to it hangs. It gives its port, and what keeps the queue full.
pub fn never_accepting() -> (u16, impl Sized) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
        waiting.push(stream);
    }
    (address.port(), (socket, waiting))
}

/// A row of the kernel's tables of sockets over IPv4 (`/proc/net/tcp`, `/proc/net/udp`).
pub struct KernelSocket {
    /// The port on its own side.
    pub local_port: u16,
    /// The port on the other side.
    pub remote_port: u16,
    /// The number that `/proc/PID/fd` shows: `socket:[4711]`.
    pub inode: String,
    /// Whether it still waits for the other side to accept the connection.
    pub connecting: bool,
}

/// Every TCP socket over IPv4 that this machine has.
pub fn kernel_sockets() -> Vec<KernelSocket> {
    kernel_table("/proc/net/tcp")
}

/// Every UDP socket over IPv4 that this machine has.
pub fn kernel_datagram_sockets() -> Vec<KernelSocket> {
    kernel_table("/proc/net/udp")
}

fn kernel_table(path: &str) -> Vec<KernelSocket> {
    let table = std::fs::read_to_string(path).unwrap();
    table.lines().skip(1).filter_map(kernel_socket).collect()
}

/// Columns: slot, local address, remote address, state, … and in the tenth the inode. Addresses are `0100007F:1F41`.
fn kernel_socket(row: &str) -> Option<KernelSocket> {
    const SYN_SENT: &str = "02";
    let columns: Vec<&str> = row.split_whitespace().collect();
    let port = |column: usize| u16::from_str_radix(columns.get(column)?.split(':').nth(1)?, 16).ok();
    Some(KernelSocket {
        local_port: port(1)?,
        remote_port: port(2)?,
        inode: (*columns.get(9)?).to_owned(),
        connecting: *columns.get(3)? == SYN_SENT,
    })
}
