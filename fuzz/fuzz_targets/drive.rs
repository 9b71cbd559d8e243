//! The loop between a machine and a transport that does anything a transport may do: what is said
//! arrives whole and in order, what comes is handed on, and the end is told once.

#![no_main]

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use arbitrary::Arbitrary;
use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use xs_proto::{ConnectionError, ErrorCode};
use xs_transport::{Drive, Failure, Interest, Machine, Sent, Transport, Turn, Wait};

#[derive(Arbitrary, Debug)]
enum Call {
    /// The machine has a message of this length to send.
    Say(u8),
    Flush,
    Turn(bool),
    Fail,
    Reconnect,
}

/// What a system call comes to; when there are no more of them, all goes well.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Fate {
    Bytes(u8),
    Interrupted,
    WouldBlock,
    Refused,
    End,
    Error,
}

fuzz_target!(|input: (Vec<Fate>, Vec<Call>)| {
    let (fates, calls) = input;
    let wire = Arc::new(Mutex::new(Wire { fates: fates.into(), ..Wire::default() }));
    let drive = Drive::new(Way::new(&wire), Script::default(), 16);
    for call in calls {
        let mut guard = drive.lock();
        match call {
            Call::Say(len) => {
                let message = guard.message(len);
                guard.unsent.push_back(message);
            }
            Call::Flush => drop(drive.flush(guard)),
            Call::Turn(wait) => {
                let had_failed = guard.failed;
                let wait = if wait { Wait::UntilWoken(None) } else { Wait::No };
                let (guard, turn) = drive.turn(guard, wait);
                assert_eq!(turn == Turn::Failed, had_failed);
                assert!(turn != Turn::Occupied, "nobody else is there");
                assert!(guard.is_unattended() || guard.failed, "nobody sits there any more");
            }
            Call::Fail => drop(drive.fail(guard, Failure::Closed)),
            Call::Reconnect if guard.failed => {
                check(&guard, &wire);
                *guard = Script::default();
                wire.lock().unwrap().start_again();
                drop(drive.reconnect(guard, Way::new(&wire)));
            }
            Call::Reconnect => {}
        }
    }
    // Everything leaves in the end, as long as there is somewhere to go.
    wire.lock().unwrap().fates.clear();
    for _ in 0..3 {
        let (guard, _) = drive.turn(drive.flush(drive.lock()), Wait::No);
        check(&guard, &wire);
    }
    let guard = drive.lock();
    assert!(guard.failed || guard.unsent.is_empty());
    assert!(guard.failed || wire.lock().unwrap().taken == guard.given.len());
});

fn check(script: &Script, wire: &Mutex<Wire>) {
    let wire = wire.lock().unwrap();
    assert!(script.given.starts_with(&wire.sent) || !wire.is_whole);
    assert_eq!(
        script.refused,
        wire.refused - u32::from(script.failed && wire.refused > script.refused)
    );
    assert!(wire.came.starts_with(&script.received));
    assert!(script.failed || wire.came.len() == script.received.len());
    assert_eq!(script.failed, wire.closed);
}

/// Says what it is told to, and keeps what it is told.
#[derive(Debug, Default)]
struct Script {
    unsent: VecDeque<Vec<u8>>,
    /// All that was taken out.
    given: Vec<u8>,
    received: Vec<u8>,
    next: u8,
    refused: u32,
    failed: bool,
}

impl Script {
    /// Bytes that come in no other message.
    fn message(&mut self, len: u8) -> Vec<u8> {
        (0..len % 32)
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
        self.unsent.iter().any(|message| !message.is_empty())
    }

    fn take_output(&mut self, out: &mut BytesMut) {
        assert!(!self.failed && out.is_empty());
        while let Some(message) = self.unsent.pop_front() {
            if !message.is_empty() {
                out.extend_from_slice(&message);
                self.given.extend(message);
                return;
            }
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
        let n = match wire.fates.pop_front() {
            None => bytes.len(),
            Some(Fate::Bytes(n)) => bytes.len().min(usize::from(n).max(1)),
            Some(Fate::Interrupted) => return Err(ErrorKind::Interrupted.into()),
            Some(Fate::WouldBlock) => return Err(ErrorKind::WouldBlock.into()),
            Some(Fate::Refused) => {
                wire.refused += 1;
                wire.taken += bytes.len();
                wire.is_whole = false;
                return Ok(Sent::Refused(ErrorCode::Invalid));
            }
            Some(Fate::End | Fate::Error) => return Err(ErrorKind::BrokenPipe.into()),
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
            Some(Fate::End) => return Ok(0),
            Some(Fate::Error) => return Err(ErrorKind::ConnectionReset.into()),
        };
        for byte in &mut buf[..n] {
            *byte = wire.came.len() as u8;
            wire.came.push(*byte);
        }
        Ok(n)
    }

    fn wait(&self, _: Interest, _: Option<Instant>) -> io::Result<()> {
        let mut wire = self.0.lock().unwrap();
        match wire.fates.pop_front() {
            Some(Fate::Error) => Err(ErrorKind::Other.into()),
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
