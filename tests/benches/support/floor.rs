//! The least that a relay can do: it does not parse, check, look up, answer or log. Each floor runs in a
//! process of its own, until it is killed.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

use super::contender::Contender;
use super::options::BASELINE;
use super::processors::Processors;

/// What a floor is called in the report.
pub(crate) const NAME: &str = "floor";

/// How many bytes a TCP floor takes in one read: as many as the servers.
pub(crate) const READ: usize = 16 << 10;

/// How many bytes of a datagram a UDP floor takes: as many as the servers.
const DATAGRAM: usize = 64 << 10;

/// Starts the floor of this bench that `arguments` say.
///
/// # Errors
/// It cannot be started.
pub(crate) fn start(arguments: &[&str], processors: Processors) -> io::Result<Contender> {
    let arguments = [&[BASELINE], arguments].concat();
    Contender::start(&std::env::current_exe()?, &arguments, processors)
}

/// Over TCP: a thread for each client reads, and writes to each other client under one lock. Who comes is
/// sent an empty line.
///
/// # Errors
/// It cannot listen.
pub(crate) fn tcp() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    eprintln!("listening on {}", listener.local_addr()?);
    let clients = Arc::new(Mutex::new(Vec::new()));
    for stream in listener.incoming() {
        let stream = Arc::new(stream?);
        stream.set_nodelay(true)?;
        clients.lock().unwrap().push(Arc::clone(&stream));
        (&*stream).write_all(b"\n")?;
        let clients = Arc::clone(&clients);
        thread::spawn(move || relay(&stream, &clients));
    }
    Ok(())
}

fn relay(client: &Arc<TcpStream>, clients: &Mutex<Vec<Arc<TcpStream>>>) {
    let mut buffer = [0; READ];
    while let Ok(count @ 1..) = (&**client).read(&mut buffer) {
        for other in clients.lock().unwrap().iter().filter(|other| !Arc::ptr_eq(other, client)) {
            // Whoever has gone is found by its own thread.
            let _ = (&**other).write_all(&buffer[..count]);
        }
    }
    clients.lock().unwrap().retain(|other| !Arc::ptr_eq(other, client));
}

/// Over UDP: one thread. Who is new is sent back what it said; what the others say goes to each other of
/// them.
///
/// # Errors
/// It cannot listen, receive or send.
pub(crate) fn udp() -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    eprintln!("listening on {}", socket.local_addr()?);
    let mut clients = Vec::new();
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let (count, from) = socket.recv_from(&mut buffer)?;
        if !clients.contains(&from) {
            clients.push(from);
            socket.send_to(&buffer[..count], from)?;
            continue;
        }
        for other in clients.iter().filter(|other| **other != from) {
            socket.send_to(&buffer[..count], other)?;
        }
    }
}
