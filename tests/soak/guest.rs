//! Who speaks to a server, by hand or through one of our clients, and listens for words, whatever frames
//! them.

use std::io::{self, Read};
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use chat_tests::{DEADLINE, Datagrams, Output, Process, Raw};

/// What can be spoken into and listened to.
pub(crate) trait Source {
    /// Says these bytes, in one write. Whether the other side still takes them.
    fn say(&mut self, bytes: &[u8]) -> bool;

    /// What comes next, if anything comes within `limit`.
    fn receive(&mut self, limit: Duration) -> Option<Vec<u8>>;
}

impl Source for Raw {
    fn say(&mut self, bytes: &[u8]) -> bool {
        self.try_send(bytes)
    }

    fn receive(&mut self, limit: Duration) -> Option<Vec<u8>> {
        self.receive(limit)
    }
}

impl Source for Datagrams {
    fn say(&mut self, bytes: &[u8]) -> bool {
        self.send(bytes);
        true
    }

    fn receive(&mut self, limit: Duration) -> Option<Vec<u8>> {
        self.receive(limit)
    }
}

/// One of our clients: what is typed, and what it prints.
impl Source for Process {
    fn say(&mut self, bytes: &[u8]) -> bool {
        self.try_type(bytes)
    }

    fn receive(&mut self, limit: Duration) -> Option<Vec<u8>> {
        receive(&mut self.stdout, limit)
    }
}

/// Who is listened to all the time, by a thread. A server takes whoever does not read for hopeless, and the
/// system drops datagrams that nobody takes: who is to be served reads, whatever else it waits for.
pub(crate) struct Attentive<S> {
    mouth: S,
    ears: Output,
}

/// Datagrams as bytes.
struct Stream(UdpSocket);

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.recv(buffer)
    }
}

impl From<Raw> for Attentive<Raw> {
    fn from(mouth: Raw) -> Self {
        let stream = mouth.stream().try_clone().unwrap();
        stream.set_read_timeout(None).unwrap();
        Self { mouth, ears: Output::collect(stream) }
    }
}

impl From<Datagrams> for Attentive<Datagrams> {
    fn from(mouth: Datagrams) -> Self {
        let socket = mouth.socket().try_clone().unwrap();
        socket.set_read_timeout(None).unwrap();
        Self { mouth, ears: Output::collect(Stream(socket)) }
    }
}

impl<S: Source> Source for Attentive<S> {
    fn say(&mut self, bytes: &[u8]) -> bool {
        self.mouth.say(bytes)
    }

    fn receive(&mut self, limit: Duration) -> Option<Vec<u8>> {
        receive(&mut self.ears, limit)
    }
}

/// What comes next, which is forgotten then.
fn receive(output: &mut Output, limit: Duration) -> Option<Vec<u8>> {
    let bytes = output.receive(limit);
    output.forget();
    bytes
}

/// Who speaks and listens there.
pub(crate) struct Guest<S: ?Sized> {
    /// What was received and not yet listened to.
    heard: Vec<u8>,
    pub(crate) source: S,
}

/// How many digits stand behind a mark.
pub(crate) const DIGITS: usize = 7;

impl<S: Source> Guest<S> {
    /// Has said and heard nothing yet.
    pub(crate) const fn new(source: S) -> Self {
        Self { heard: Vec::new(), source }
    }

    /// Says these bytes, in one write. Whether the other side still takes them.
    pub(crate) fn say(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.source.say(bytes.as_ref())
    }

    /// Listens for the first of these words, and passes over what stands before it. Which it was; nothing:
    /// none of them came in time.
    pub(crate) fn hear(&mut self, words: &[&str]) -> Option<usize> {
        self.hear_within(DEADLINE, words)
    }

    /// The same, with a deadline of its own.
    pub(crate) fn hear_within(&mut self, limit: Duration, words: &[&str]) -> Option<usize> {
        let longest = words.iter().map(|word| word.len()).max()?;
        self.listen(limit, longest, |heard| {
            let places =
                words.iter().enumerate().filter_map(|(which, word)| Some((find(heard, word)?, which)));
            let (at, which) = places.min()?;
            Some((which, at + words[which].len()))
        })
    }

    /// The number behind the next `mark`, if one comes within `limit`.
    pub(crate) fn hear_number(&mut self, limit: Duration, mark: &str) -> Option<u64> {
        self.listen(limit, mark.len() + DIGITS, |heard| {
            let start = find(heard, mark)? + mark.len();
            let digits = heard.get(start..start + DIGITS)?;
            Some((str::from_utf8(digits).ok()?.parse().ok()?, start + DIGITS))
        })
    }

    /// Receives until `probe` finds something in what was heard; it says where that ends. What is found has
    /// at most `longest` bytes.
    fn listen<T>(
        &mut self,
        limit: Duration,
        longest: usize,
        probe: impl Fn(&[u8]) -> Option<(T, usize)>,
    ) -> Option<T> {
        let end = Instant::now() + limit;
        loop {
            if let Some((found, behind)) = probe(&self.heard) {
                self.heard.drain(..behind);
                return Some(found);
            }
            let old = self.heard.len().saturating_sub(longest);
            self.heard.drain(..old);
            let left = end.saturating_duration_since(Instant::now());
            self.heard.extend(self.source.receive(left)?);
        }
    }
}

fn find(text: &[u8], word: &str) -> Option<usize> {
    text.windows(word.len()).position(|window| window == word.as_bytes())
}

/// What was recorded, piece by piece: a source for tests.
#[cfg(test)]
pub(crate) struct Tape(pub(crate) Vec<&'static str>);

#[cfg(test)]
impl Source for Tape {
    fn say(&mut self, _: &[u8]) -> bool {
        false
    }

    fn receive(&mut self, _: Duration) -> Option<Vec<u8>> {
        if self.0.is_empty() { None } else { Some(self.0.remove(0).into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_heard_in_pieces_and_in_order() {
        let mut guest = Guest::new(Tape(vec!["noise Wel", "come and no", "ise, Fu", "ll, Welcome"]));
        assert_eq!(guest.hear(&["Full", "Welcome"]), Some(1));
        assert_eq!(guest.hear(&["Full", "Welcome"]), Some(0));
        assert_eq!(guest.hear(&["noise"]), None, "it stood before");
    }

    #[test]
    fn numbers_are_heard_in_pieces_and_one_by_one() {
        let mut guest = Guest::new(Tape(vec!["ann#00000", "01 x ann#0000002ann#00", "00003"]));
        let mut next = || guest.hear_number(DEADLINE, "ann#");
        assert_eq!([next(), next(), next(), next()], [Some(1), Some(2), Some(3), None]);
    }
}
