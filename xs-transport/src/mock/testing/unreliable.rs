//! A transport that behaves as badly as a transport may.

use std::fmt;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use xs_proto::{Header, Limits};

use crate::sys::Descriptor;
use crate::transport::{Interest, Sent, Transport, Wait};

/// A transport that wraps another one, and behaves as badly as the contract of [`Transport`]
/// allows.
///
/// It splits and joins the bytes at random, fails with `Interrupted` or `WouldBlock`, wakes
/// spuriously, and yields to other threads. A seed determines all of this. A correct client works
/// with it as with any other transport.
///
/// On request, it [closes the connection](Self::cut_after) or [corrupts a
/// message](Self::garble_after), which a correct client detects.
///
/// ```
/// use std::sync::Arc;
/// use xs_transport::mock::{Unreliable, Xenstored};
/// use xs_proto::DomId;
///
/// let pipe = Xenstored::new().connect(DomId::DOM0);
/// let transport = Arc::new(Unreliable::new(pipe, 42).cut_after(1000));
/// // … run a client over a clone of `transport` …
/// assert!(!transport.is_cut());
/// ```
pub struct Unreliable<T> {
    inner: T,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    random: u64,
    /// How many bytes have passed in both directions.
    passed: usize,
    cut_after: Option<usize>,
    is_cut: bool,
    garble_after: Option<usize>,
    is_garbled: bool,
    incoming: Incoming,
    /// Whether the client has the descriptor. A client that polls it would wait indefinitely after
    /// a false `WouldBlock`.
    is_polled: bool,
}

/// The position of the next received byte in its message.
#[derive(Debug)]
struct Incoming {
    header: [u8; Header::LEN],
    at: usize,
    /// The position of the header byte to corrupt, and the bits to flip.
    garbled: Option<(usize, u8)>,
}

/// The random decision for a call.
enum Outcome {
    /// Move at most this many bytes.
    Bytes(usize),
    Interrupted,
    WouldBlock,
    Cut,
}

impl<T: Transport> Unreliable<T> {
    /// Wraps a transport.
    pub fn new(inner: T, seed: u64) -> Self {
        let state = State {
            // Xorshift needs a state other than 0, and small states start with small numbers.
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            passed: 0,
            cut_after: None,
            is_cut: false,
            garble_after: None,
            is_garbled: false,
            incoming: Incoming { header: [0; Header::LEN], at: 0, garbled: None },
            is_polled: false,
        };
        Unreliable { inner, state: Mutex::new(state) }
    }

    /// Closes the connection after this many bytes, counted in both directions together.
    #[must_use]
    pub fn cut_after(self, bytes: usize) -> Self {
        self.lock().cut_after = Some(bytes);
        self
    }

    /// Corrupts the header of the first message received after this many bytes, counted in both
    /// directions together.
    ///
    /// The change is one that a client can detect: it makes the type, the id or the length invalid,
    /// or names another transaction. (No client can detect a different value, or the id of another
    /// request of the same type.)
    #[must_use]
    pub fn garble_after(self, bytes: usize) -> Self {
        self.lock().garble_after = Some(bytes);
        self
    }

    /// Returns how many bytes have passed, in both directions together.
    pub fn passed(&self) -> usize {
        self.lock().passed
    }

    /// Returns whether [`cut_after`](Self::cut_after) has closed the connection.
    pub fn is_cut(&self) -> bool {
        self.lock().is_cut
    }

    /// Returns whether [`garble_after`](Self::garble_after) has corrupted a message.
    pub fn is_garbled(&self) -> bool {
        self.lock().is_garbled
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides about a call that could move `len` bytes.
    fn decide(&self, len: usize) -> Outcome {
        let (outcome, yields) = {
            let mut state = self.lock();
            (state.decide(len), state.below(16) == 0)
        };
        if let Outcome::Cut = outcome {
            self.inner.close();
        }
        if yields {
            thread::yield_now();
        }
        outcome
    }
}

impl State {
    /// Returns a random number below `n` (xorshift64).
    fn below(&mut self, n: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as usize % n
    }

    fn decide(&mut self, len: usize) -> Outcome {
        let left = self.cut_after.map_or(usize::MAX, |at| at.saturating_sub(self.passed));
        if left == 0 {
            self.is_cut = true;
            return Outcome::Cut;
        }
        let n = match self.below(10) {
            0 => return Outcome::Interrupted,
            1 => return Outcome::WouldBlock,
            2..5 => 1 + self.below(3),
            5..8 => 1 + self.below(len),
            _ => len,
        };
        Outcome::Bytes(n.min(len).min(left))
    }

    /// Counts received bytes, and corrupts one if it is time to garble a message.
    fn received(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            if self.incoming.at == 0
                && !self.is_garbled
                && self.garble_after.is_some_and(|after| self.passed >= after)
            {
                self.is_garbled = true;
                // The upper bytes of the type, the top byte of the request id, all bytes of the
                // transaction id, and the top byte of the length.
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
    /// Moves past a byte, and corrupts it if it is the chosen one.
    fn pass(&mut self, byte: &mut u8) {
        if let Some(slot) = self.header.get_mut(self.at) {
            *slot = *byte;
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
        self.inner.limits()
    }

    fn send(&self, bytes: &[u8]) -> io::Result<Sent> {
        let sent = match self.decide(bytes.len()) {
            Outcome::Cut => Err(io::ErrorKind::BrokenPipe.into()),
            // `WouldBlock` would claim that the transport is full, which may not be true.
            Outcome::Interrupted | Outcome::WouldBlock => Err(io::ErrorKind::Interrupted.into()),
            Outcome::Bytes(n) => self.inner.send(&bytes[..n]),
        };
        if let Ok(Sent::Bytes(n)) = sent {
            self.lock().passed += n;
        }
        sent
    }

    fn recv(&self, buf: &mut [u8], wait: Wait) -> io::Result<usize> {
        let room = match self.decide(buf.len()) {
            Outcome::Cut => return Ok(0),
            Outcome::Interrupted => return Err(io::ErrorKind::Interrupted.into()),
            Outcome::WouldBlock if !self.lock().is_polled => {
                // A call that waits fails with `WouldBlock` only after its deadline.
                let kind = match wait {
                    Wait::No => io::ErrorKind::WouldBlock,
                    _ => io::ErrorKind::Interrupted,
                };
                return Err(kind.into());
            }
            Outcome::WouldBlock => 1,
            Outcome::Bytes(n) => n,
        };
        let mut n = self.inner.recv(&mut buf[..room], wait)?;
        // Join these bytes with any that have arrived since.
        if n > 0 && n < room && self.lock().below(8) == 0 {
            thread::yield_now();
            n += self.inner.recv(&mut buf[n..room], Wait::No).unwrap_or(0);
        }
        self.lock().received(&mut buf[..n]);
        Ok(n)
    }

    fn wait(&self, interest: Interest, deadline: Option<Instant>) -> io::Result<()> {
        match self.decide(1) {
            Outcome::Interrupted | Outcome::Cut => Ok(()),
            _ => self.inner.wait(interest, deadline),
        }
    }

    fn wake(&self) {
        self.inner.wake();
    }

    fn close(&self) {
        self.inner.close();
    }

    fn fd(&self) -> io::Result<Descriptor<'_>> {
        self.lock().is_polled = true;
        self.inner.fd()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}

impl<T: fmt::Debug> fmt::Debug for Unreliable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unreliable").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use xs_proto::{DomId, MessageType, ReqId, TxId};

    use super::*;
    use crate::mock::{Pipe, Xenstored};

    fn transport(seed: u64) -> Unreliable<Pipe> {
        Unreliable::new(Xenstored::new().connect(DomId::DOM0), seed)
    }

    fn request(req_id: u32) -> Vec<u8> {
        let msg_type = MessageType::GetDomainPath as u32;
        let header = Header { msg_type, req_id: ReqId(req_id), tx_id: TxId::NONE, len: 2 };
        [&header.encode()[..], b"5\0"].concat()
    }

    /// Sends and receives until `len` bytes have been received or the connection has ended.
    fn exchange(transport: &impl Transport, mut out: &[u8], len: usize) -> Vec<u8> {
        let mut received = Vec::new();
        while received.len() < len {
            if !out.is_empty() {
                match transport.send(out) {
                    Ok(Sent::Bytes(n)) => out = &out[n..],
                    Ok(sent) => panic!("{sent:?}"),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => out = &[],
                }
            }
            let mut buf = [0; 50];
            match transport.recv(&mut buf, Wait::No) {
                Ok(0) => break,
                Ok(n) => received.extend(&buf[..n]),
                Err(error) => {
                    let kinds = [io::ErrorKind::Interrupted, io::ErrorKind::WouldBlock];
                    assert!(kinds.contains(&error.kind()));
                }
            }
        }
        received
    }

    /// Returns the bytes of 99 requests, and those of their replies.
    fn requests_and_replies() -> (Vec<u8>, Vec<u8>) {
        let reply = |req_id| {
            let (msg_type, req_id) = (MessageType::GetDomainPath as u32, ReqId(req_id));
            let header = Header { msg_type, req_id, tx_id: TxId::NONE, len: 16 };
            [&header.encode()[..], b"/local/domain/5\0"].concat()
        };
        ((1..100).flat_map(request).collect(), (1..100).flat_map(reply).collect())
    }

    #[test]
    fn only_calls_that_do_not_wait_would_block() {
        for seed in 0..50 {
            let transport = transport(seed);
            // The reply has 32 bytes, so that there is always one to receive.
            transport.inner.send(&request(1)).unwrap();
            for _ in 0..20 {
                if let Err(error) = transport.recv(&mut [0], Wait::Until(None)) {
                    assert_eq!(error.kind(), io::ErrorKind::Interrupted, "seed {seed}");
                }
            }
        }
    }

    #[test]
    fn bytes_arrive_in_order() {
        let (requests, replies) = requests_and_replies();
        for seed in 0..50 {
            let transport = Arc::new(transport(seed));
            assert_eq!(exchange(&transport, &requests, replies.len()), replies, "seed {seed}");
            assert_eq!(transport.passed(), requests.len() + replies.len());
            assert!(!transport.is_cut() && !transport.is_garbled());
        }
    }

    #[test]
    fn connection_is_cut_after_the_chosen_byte() {
        let (requests, replies) = requests_and_replies();
        for seed in 0..50 {
            let transport = transport(seed).cut_after(seed as usize * 10);
            let received = exchange(&transport, &requests, replies.len());
            let is_prefix = replies.starts_with(&received) && received.len() < replies.len();
            assert!(is_prefix, "seed {seed}");
            assert!(transport.is_cut() && transport.passed() == seed as usize * 10);
            assert!(transport.send(b"x").is_err());
        }
    }

    #[test]
    fn garbling_changes_one_header_byte() {
        let (requests, replies) = requests_and_replies();
        for seed in 0..50 {
            let transport = transport(seed).garble_after(seed as usize * 10);
            let received = exchange(&transport, &requests, replies.len());
            let changed: Vec<_> =
                (0..received.len()).filter(|at| received[*at] != replies[*at]).collect();
            assert!(
                changed.len() == 1 && changed[0] % 32 < Header::LEN,
                "seed {seed}: {changed:?}"
            );
            assert!(transport.is_garbled());
        }
    }

    #[cfg(unix)]
    #[test]
    fn polling_clients_see_no_false_would_block() {
        for seed in 0..50 {
            let transport = transport(seed);
            transport.fd().unwrap();
            let out = request(1);
            let mut sent = 0;
            while sent < out.len() {
                if let Ok(Sent::Bytes(n)) = transport.send(&out[sent..]) {
                    sent += n;
                }
            }
            // The reply is there by now.
            while let Err(error) = transport.recv(&mut [0; 50], Wait::No) {
                assert_eq!(error.kind(), io::ErrorKind::Interrupted, "seed {seed}");
            }
        }
    }
}
