//! A way that does its worst.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use xs_proto::{Header, Limits};

use crate::transport::{Interest, Sent, Transport, Wait};

/// A transport over another one that makes everything difficult that may be difficult: takes and
/// gives bytes in odd pieces, several replies at once, is interrupted (EINTR), has nothing yet
/// (EAGAIN), wakes for nothing, and lets other threads go first. What happens when is decided by
/// the seed. Whoever uses it must not notice.
///
/// On request the connection is [cut](Self::cut_after), or a message
/// [garbled](Self::garble_after), and it should be noticed.
///
/// ```
/// use std::sync::Arc;
/// use xs_transport::mock::{Unreliable, Xenstored};
/// use xs_proto::DomId;
///
/// let pipe = Xenstored::new().connect(DomId::DOM0);
/// let way = Arc::new(Unreliable::new(pipe, 42).cut_after(1000));
/// // … run a client over a clone of `way` …
/// assert!(!way.is_cut());
/// ```
#[derive(Debug)]
pub struct Unreliable<T> {
    way: T,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    random: u64,
    /// How many bytes have passed, both ways.
    passed: usize,
    cut_after: Option<usize>,
    is_cut: bool,
    garble_after: Option<usize>,
    is_garbled: bool,
    incoming: Incoming,
    /// Somebody waits for the descriptor: that there is nothing may be said only if it is true.
    is_polled: bool,
}

/// Where in a message the next byte to be received is.
#[derive(Debug)]
struct Incoming {
    header: [u8; Header::LEN],
    at: usize,
    /// The byte of this header that is changed, and how.
    garbled: Option<(usize, u8)>,
}

/// What happens to a call.
enum Luck {
    /// So many bytes at most.
    Bytes(usize),
    Interrupted,
    Nothing,
    Cut,
}

impl<T: Transport> Unreliable<T> {
    /// Over this way, as this seed decides.
    pub fn new(way: T, seed: u64) -> Self {
        let state = State {
            // Xorshift cannot start from 0, and starts badly from small numbers.
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            passed: 0,
            cut_after: None,
            is_cut: false,
            garble_after: None,
            is_garbled: false,
            incoming: Incoming { header: [0; Header::LEN], at: 0, garbled: None },
            is_polled: false,
        };
        Unreliable { way, state: Mutex::new(state) }
    }

    /// The connection is cut when so many bytes have passed, both ways taken together.
    #[must_use]
    pub fn cut_after(self, bytes: usize) -> Self {
        self.lock().cut_after = Some(bytes);
        self
    }

    /// Of the first message that is received after so many bytes have passed, the header is
    /// changed so that it can be noticed: to a type, an id or a length that there cannot be, or to
    /// another transaction. (Nobody can notice another value, or the id of another request of the
    /// same type.)
    #[must_use]
    pub fn garble_after(self, bytes: usize) -> Self {
        self.lock().garble_after = Some(bytes);
        self
    }

    /// How many bytes have passed, both ways taken together.
    pub fn passed(&self) -> usize {
        self.lock().passed
    }

    /// Whether the connection has been cut.
    pub fn is_cut(&self) -> bool {
        self.lock().is_cut
    }

    /// Whether a message has been garbled.
    pub fn is_garbled(&self) -> bool {
        self.lock().is_garbled
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What happens to a call that could move `len` bytes.
    fn roll(&self, len: usize) -> Luck {
        let (luck, pause) = {
            let mut state = self.lock();
            (state.roll(len), state.below(16) == 0)
        };
        if let Luck::Cut = luck {
            self.way.close();
        }
        // Others go first, now and then.
        if pause {
            thread::yield_now();
        }
        luck
    }
}

impl State {
    /// A number below `n` (xorshift64).
    fn below(&mut self, n: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as usize % n
    }

    fn roll(&mut self, len: usize) -> Luck {
        let left = self.cut_after.map_or(usize::MAX, |at| at.saturating_sub(self.passed));
        if left == 0 {
            self.is_cut = true;
            return Luck::Cut;
        }
        let n = match self.below(10) {
            0 => return Luck::Interrupted,
            1 => return Luck::Nothing,
            2..5 => 1 + self.below(3),
            5..8 => 1 + self.below(len),
            _ => len,
        };
        Luck::Bytes(n.min(len).min(left))
    }

    fn received(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            if self.incoming.at == 0
                && !self.is_garbled
                && self.garble_after.is_some_and(|after| self.passed >= after)
            {
                self.is_garbled = true;
                // The type's upper bytes, the id's and the length's uppermost, and all of the
                // transaction's id.
                const BYTES: [usize; 9] = [1, 2, 3, 7, 8, 9, 10, 11, 15];
                let at = BYTES[self.below(BYTES.len())];
                self.incoming.garbled = Some((at, 1 << self.below(8)));
            }
            self.passed += 1;
            self.incoming.pass(byte);
        }
    }
}

impl Incoming {
    fn pass(&mut self, byte: &mut u8) {
        if let Some(place) = self.header.get_mut(self.at) {
            *place = *byte;
        }
        if let Some((_, mask)) = self.garbled.take_if(|(at, _)| *at == self.at) {
            *byte ^= mask;
        }
        self.at += 1;
        if self.at >= Header::LEN
            && self.at == Header::LEN + Header::decode(&self.header).len as usize
        {
            self.at = 0;
        }
    }
}

impl<T: Transport> Transport for Unreliable<T> {
    fn limits(&self) -> Limits {
        self.way.limits()
    }

    fn send(&self, bytes: &[u8]) -> io::Result<Sent> {
        let sent = match self.roll(bytes.len()) {
            Luck::Cut => Err(io::ErrorKind::BrokenPipe.into()),
            // No way is full as long as nothing is on it.
            Luck::Interrupted | Luck::Nothing => Err(io::ErrorKind::Interrupted.into()),
            Luck::Bytes(n) => self.way.send(&bytes[..n]),
        };
        if let Ok(Sent::Bytes(n)) = sent {
            self.lock().passed += n;
        }
        sent
    }

    fn recv(&self, buf: &mut [u8], wait: Wait) -> io::Result<usize> {
        let room = match self.roll(buf.len()) {
            Luck::Cut => return Ok(0),
            Luck::Interrupted => return Err(io::ErrorKind::Interrupted.into()),
            Luck::Nothing if !self.lock().is_polled => {
                // Otherwise it would say that the time is over.
                let kind = match wait {
                    Wait::No => io::ErrorKind::WouldBlock,
                    _ => io::ErrorKind::Interrupted,
                };
                return Err(kind.into());
            }
            Luck::Nothing => 1,
            Luck::Bytes(n) => n,
        };
        let mut n = self.way.recv(&mut buf[..room], wait)?;
        // What comes in a moment comes together with it.
        if n > 0 && n < room && self.lock().below(8) == 0 {
            thread::yield_now();
            n += self.way.recv(&mut buf[n..room], Wait::No).unwrap_or(0);
        }
        self.lock().received(&mut buf[..n]);
        Ok(n)
    }

    fn wait(&self, interest: Interest, deadline: Option<Instant>) -> io::Result<()> {
        match self.roll(1) {
            Luck::Interrupted | Luck::Cut => Ok(()),
            _ => self.way.wait(interest, deadline),
        }
    }

    fn wake(&self) {
        self.way.wake();
    }

    fn close(&self) {
        self.way.close();
    }

    fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        self.lock().is_polled = true;
        self.way.fd()
    }

    fn describe(&self) -> String {
        self.way.describe()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use xs_proto::{DomId, MessageType, ReqId, TxId};

    use super::*;
    use crate::mock::{Pipe, Xenstored};

    fn way(seed: u64) -> Unreliable<Pipe> {
        Unreliable::new(Xenstored::new().connect(DomId::DOM0), seed)
    }

    fn request(req_id: u32) -> Vec<u8> {
        let msg_type = MessageType::GetDomainPath as u32;
        let header = Header { msg_type, req_id: ReqId(req_id), tx_id: TxId::NONE, len: 2 };
        [&header.encode()[..], b"5\0"].concat()
    }

    /// Sends and receives until `len` bytes have come or the connection has ended.
    fn talk(way: &impl Transport, mut out: &[u8], len: usize) -> Vec<u8> {
        let mut came = Vec::new();
        while came.len() < len {
            if !out.is_empty() {
                match way.send(out) {
                    Ok(Sent::Bytes(n)) => out = &out[n..],
                    Ok(sent) => panic!("{sent:?}"),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => out = &[],
                }
            }
            let mut buf = [0; 50];
            match way.recv(&mut buf, Wait::No) {
                Ok(0) => break,
                Ok(n) => came.extend(&buf[..n]),
                Err(error) => {
                    let kinds = [io::ErrorKind::Interrupted, io::ErrorKind::WouldBlock];
                    assert!(kinds.contains(&error.kind()));
                }
            }
        }
        came
    }

    /// What is asked, and what is answered.
    fn conversation() -> (Vec<u8>, Vec<u8>) {
        let asked: Vec<u8> = (1..100).flat_map(request).collect();
        let answer = |req_id| {
            let (msg_type, req_id) = (MessageType::GetDomainPath as u32, ReqId(req_id));
            let header = Header { msg_type, req_id, tx_id: TxId::NONE, len: 16 };
            [&header.encode()[..], b"/local/domain/5\0"].concat()
        };
        (asked, (1..100).flat_map(answer).collect())
    }

    #[test]
    fn only_who_does_not_wait_is_told_that_there_is_nothing() {
        for seed in 0..50 {
            let way = way(seed);
            // The answer has 32 bytes: something is there all the while.
            way.way.send(&request(1)).unwrap();
            for _ in 0..20 {
                if let Err(error) = way.recv(&mut [0], Wait::Until(None)) {
                    assert_eq!(error.kind(), io::ErrorKind::Interrupted, "seed {seed}");
                }
            }
        }
    }

    #[test]
    fn everything_arrives_in_order() {
        let (asked, answered) = conversation();
        for seed in 0..50 {
            let way = Arc::new(way(seed));
            assert_eq!(talk(&way, &asked, answered.len()), answered, "seed {seed}");
            assert_eq!(way.passed(), asked.len() + answered.len());
            assert!(!way.is_cut() && !way.is_garbled());
        }
    }

    #[test]
    fn a_cut_is_where_it_was_asked_for() {
        let (asked, answered) = conversation();
        for seed in 0..50 {
            let way = way(seed).cut_after(seed as usize * 10);
            let came = talk(&way, &asked, answered.len());
            assert!(answered.starts_with(&came) && came.len() < answered.len(), "seed {seed}");
            assert!(way.is_cut() && way.passed() == seed as usize * 10);
            assert!(way.send(b"x").is_err());
        }
    }

    #[test]
    fn one_header_is_garbled() {
        let (asked, answered) = conversation();
        for seed in 0..50 {
            let way = way(seed).garble_after(seed as usize * 10);
            let came = talk(&way, &asked, answered.len());
            let changed: Vec<_> = (0..came.len()).filter(|at| came[*at] != answered[*at]).collect();
            assert!(
                changed.len() == 1 && changed[0] % 32 < Header::LEN,
                "seed {seed}: {changed:?}"
            );
            assert!(way.is_garbled());
        }
    }

    #[test]
    fn nothing_is_made_up_for_pollers() {
        for seed in 0..50 {
            let way = way(seed);
            way.fd().unwrap();
            let out = request(1);
            let mut sent = 0;
            while sent < out.len() {
                if let Ok(Sent::Bytes(n)) = way.send(&out[sent..]) {
                    sent += n;
                }
            }
            // It is answered, so that something is there.
            while let Err(error) = way.recv(&mut [0; 50], Wait::No) {
                assert_eq!(error.kind(), io::ErrorKind::Interrupted, "seed {seed}");
            }
        }
    }
}
