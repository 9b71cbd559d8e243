//! A machine and a transport that do as they are told, for the drive loop between them.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::BytesMut;
use xs_proto::{ConnectionError, ErrorCode};
use xs_transport::{Drive, Failure, Interest, Machine, Sent, Transport, Turn, Wait};

#[cfg_attr(fuzzing, derive(arbitrary::Arbitrary))]
#[derive(Clone, Copy, Debug)]
pub(crate) enum Call {
    /// The machine has a message of this length to send.
    Say(u8),
    Flush,
    Turn(bool),
    Fail,
    Reconnect,
}

/// What a system call comes to; when there are no more of them, all goes well.
#[cfg_attr(fuzzing, derive(arbitrary::Arbitrary))]
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    Bytes(u8),
    Interrupted,
    WouldBlock,
    Refused,
    End,
    Error,
}

/// What is said arrives whole and in order, what comes is handed on, and the end is told once.
pub(crate) fn run(fates: Vec<Fate>, calls: Vec<Call>) {
    let wire = Arc::new(Mutex::new(Wire { fates: fates.into(), ..Wire::default() }));
    let drive = Drive::new(Arc::new(Way::new(&wire)), Script::default(), 16);
    for call in calls {
        wire.lock().unwrap().tried = false;
        let mut guard = drive.lock();
        match call {
            Call::Say(len) => {
                let message = guard.message(len);
                guard.unsent.push_back(message);
            }
            Call::Flush => {
                let guard = drive.flush(guard);
                assert!(guard.failed || guard.is_blocked() == wire.lock().unwrap().full);
            }
            Call::Turn(wait) => {
                let had_failed = guard.failed;
                let wait = if wait { Wait::UntilWoken(None) } else { Wait::No };
                let (guard, turn) = drive.turn(guard, wait);
                assert_eq!(turn == Turn::Failed, had_failed);
                assert!(turn != Turn::Occupied, "nobody else is there");
                assert!(guard.is_unattended() || guard.failed, "nobody sits there any more");
            }
            Call::Fail => {
                wire.lock().unwrap().ended = true;
                drop(drive.fail(guard, Failure::Closed));
            }
            Call::Reconnect if guard.failed => {
                check(&guard, &wire);
                *guard = Script::default();
                wire.lock().unwrap().start_again();
                drop(drive.reconnect(guard, Arc::new(Way::new(&wire))));
            }
            Call::Reconnect => {}
        }
    }
    // Everything leaves in the end, as long as there is somewhere to go.
    wire.lock().unwrap().fates.clear();
    for _ in 0..3 {
        wire.lock().unwrap().tried = false;
        let (guard, _) = drive.turn(drive.lock(), Wait::No);
        check(&guard, &wire);
    }
    let guard = drive.lock();
    assert!(guard.failed || guard.unsent.is_empty());
    assert!(guard.failed || wire.lock().unwrap().taken == guard.given.len());
}

fn check(script: &Script, wire: &Mutex<Wire>) {
    let wire = wire.lock().unwrap();
    assert!(script.given.starts_with(&wire.sent) || !wire.is_whole);
    assert_eq!(
        script.refused,
        wire.refused - u32::from(script.failed && wire.refused > script.refused)
    );
    assert!(wire.came.starts_with(&script.received));
    assert!(script.failed || wire.came.len() == script.received.len());
    assert_eq!((script.failed, wire.closed), (wire.ended, wire.ended));
}

/// Says what it is told to, and keeps what it is told.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) unsent: VecDeque<Vec<u8>>,
    /// All that was taken out.
    given: Vec<u8>,
    pub(crate) received: Vec<u8>,
    next: u8,
    pub(crate) refused: u32,
    failed: bool,
}

impl Script {
    /// Bytes that come in no other message.
    fn message(&mut self, len: u8) -> Vec<u8> {
        (0..=len % 32)
            .map(|_| {
                self.next = self.next.wrapping_add(1);
                self.next
            })
            .collect()
    }
}

impl Machine for Script {
    fn has_output(&self) -> bool {
        assert!(!self.failed);
        !self.unsent.is_empty()
    }

    fn take_output(&mut self, out: &mut BytesMut) {
        assert!(!self.failed && out.is_empty());
        if let Some(message) = self.unsent.pop_front() {
            out.extend_from_slice(&message);
            self.given.extend(message);
        }
    }

    fn receive(&mut self, input: &[u8]) -> Result<(), ConnectionError> {
        assert!(!self.failed && !input.is_empty());
        self.received.extend_from_slice(input);
        Ok(())
    }

    fn refused(&mut self, _: ErrorCode) {
        assert!(!self.failed);
        self.refused += 1;
    }

    fn end_of_input(&mut self) -> ConnectionError {
        assert!(!self.failed);
        ConnectionError::Closed
    }

    fn failed(&mut self, _: &Failure) {
        assert!(!self.failed, "it is told once");
        self.failed = true;
    }
}

/// What has happened on the transport.
#[derive(Debug, Default)]
struct Wire {
    fates: VecDeque<Fate>,
    /// What was sent, until a message was refused.
    sent: Vec<u8>,
    /// How many bytes of what was given have left, sent or refused.
    taken: usize,
    is_whole: bool,
    came: Vec<u8>,
    refused: u32,
    closed: bool,
    /// Something has happened that ends the connection.
    ended: bool,
    /// The transport takes no more, and that was found out in the present call.
    full: bool,
    tried: bool,
}

#[derive(Debug)]
struct Way(Arc<Mutex<Wire>>);

impl Wire {
    fn start_again(&mut self) {
        let fates = std::mem::take(&mut self.fates);
        *self = Wire { fates, is_whole: true, ..Wire::default() };
    }
}

impl Way {
    fn new(wire: &Arc<Mutex<Wire>>) -> Self {
        wire.lock().unwrap().is_whole = true;
        Way(wire.clone())
    }
}

impl Transport for Way {
    fn send(&self, bytes: &[u8]) -> io::Result<Sent> {
        let mut wire = self.0.lock().unwrap();
        assert!(!bytes.is_empty());
        if wire.closed {
            return Err(ErrorKind::NotConnected.into());
        }
        assert!(!wire.tried, "it is tried again although it would block");
        wire.full = false;
        let n = match wire.fates.pop_front() {
            None => bytes.len(),
            Some(Fate::Bytes(n)) => bytes.len().min(usize::from(n).max(1)),
            Some(Fate::Interrupted) => return Err(ErrorKind::Interrupted.into()),
            Some(Fate::WouldBlock) => {
                (wire.full, wire.tried) = (true, true);
                return Err(ErrorKind::WouldBlock.into());
            }
            Some(Fate::Refused) => {
                wire.refused += 1;
                wire.taken += bytes.len();
                wire.is_whole = false;
                return Ok(Sent::Refused(ErrorCode::Invalid));
            }
            Some(Fate::End | Fate::Error) => {
                wire.ended = true;
                return Err(ErrorKind::BrokenPipe.into());
            }
        };
        wire.taken += n;
        if wire.is_whole {
            wire.sent.extend_from_slice(&bytes[..n]);
        }
        Ok(Sent::Bytes(n))
    }

    fn recv(&self, buf: &mut [u8], _: Wait) -> io::Result<usize> {
        let mut wire = self.0.lock().unwrap();
        if wire.closed {
            return Err(ErrorKind::NotConnected.into());
        }
        let n = match wire.fates.pop_front() {
            Some(Fate::Bytes(n)) => buf.len().min(usize::from(n).max(1)),
            Some(Fate::Interrupted) => return Err(ErrorKind::Interrupted.into()),
            None | Some(Fate::WouldBlock | Fate::Refused) => {
                return Err(ErrorKind::WouldBlock.into());
            }
            Some(Fate::End) => {
                wire.ended = true;
                return Ok(0);
            }
            Some(Fate::Error) => {
                wire.ended = true;
                return Err(ErrorKind::ConnectionReset.into());
            }
        };
        // Perhaps the peer has waited for that.
        wire.tried = false;
        for byte in &mut buf[..n] {
            *byte = wire.came.len() as u8;
            wire.came.push(*byte);
        }
        Ok(n)
    }

    fn wait(&self, _: Interest, _: Option<Instant>) -> io::Result<()> {
        let mut wire = self.0.lock().unwrap();
        assert!(wire.full, "there is nothing to wait for");
        wire.tried = false;
        match wire.fates.pop_front() {
            Some(Fate::Error) => {
                wire.ended = true;
                Err(ErrorKind::Other.into())
            }
            _ => Ok(()),
        }
    }

    fn wake(&self) {}

    fn close(&self) {
        self.0.lock().unwrap().closed = true;
    }

    fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        Err(ErrorKind::Unsupported.into())
    }

    fn describe(&self) -> String {
        "a script".to_owned()
    }
}
