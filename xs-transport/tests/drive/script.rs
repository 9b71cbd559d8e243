//! A transport that follows a script, and a drive over it.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use xs_proto::{ClientConnection, ErrorCode, Event, Limits, Path, Reply, Request, TxId};
use xs_transport::{Drive, Interest, Sent, Transport, Wait};

/// A call of the drive.
#[cfg_attr(fuzzing, derive(arbitrary::Arbitrary))]
#[derive(Clone, Copy, Debug)]
pub(crate) enum Call {
    /// Submits a request for a path of this length.
    Submit(u8),
    Flush,
    /// Takes a turn, which may wait.
    Turn(bool),
}

/// The result of a system call. When the script has ended, all calls succeed.
#[cfg_attr(fuzzing, derive(arbitrary::Arbitrary))]
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    Bytes(u8),
    Interrupted,
    WouldBlock,
    Refused,
    End,
    Error,
}

/// Checks that requests leave whole and in order, that all events come out in order, that a refused
/// request is answered with its error, and that a failure is final.
pub(crate) fn run(outcomes: Vec<Outcome>, calls: Vec<Call>) {
    let wire = Arc::new(Mutex::new(Wire { outcomes: outcomes.into(), ..Wire::default() }));
    let mut drive = Drive::new(Scripted(wire.clone()), 16);
    // This machine gets the same requests, and shows what has to be sent.
    let mut model = ClientConnection::new(Limits::default());
    let mut expected = Vec::new();
    let mut seen = Seen::default();
    for call in calls {
        wire.lock().unwrap().has_blocked = false;
        let failed = wire.lock().unwrap().has_ended;
        let result = match call {
            Call::Submit(length) => {
                let path = format!("/{}", "x".repeat(usize::from(length % 32) + 1));
                let read = Request::Read(Path::new(&path).unwrap());
                let submitted = drive.connection().submit(TxId::NONE, &read, ());
                if submitted.is_ok() {
                    model.submit(TxId::NONE, &read, ()).unwrap();
                    expected.extend(model.take_output());
                }
                continue;
            }
            Call::Flush => drive.flush(|event| seen.event(&event)).map(|_| ()),
            Call::Turn(wait) => {
                let wait = if wait { Wait::UntilWoken(None) } else { Wait::No };
                drive.turn(wait, |event| seen.event(&event)).map(|_| ())
            }
        };
        let wire = wire.lock().unwrap();
        assert_eq!(result.is_err(), wire.has_ended);
        assert_eq!(wire.is_closed, wire.has_ended, "a failed transport is closed");
        assert!(!failed || result.is_err(), "a failure is final");
        wire.check(&expected, &seen);
    }
    // The rest leaves and arrives unless the connection has failed.
    wire.lock().unwrap().outcomes.clear();
    wire.lock().unwrap().has_blocked = false;
    let result = drive.turn(Wait::No, |event| seen.event(&event));
    let wire = wire.lock().unwrap();
    wire.check(&expected, &seen);
    assert_eq!(result.is_err(), wire.has_ended);
    assert!(wire.has_ended || wire.taken == expected.len());
}

/// The events that the drive has handed out.
#[derive(Debug, Default)]
struct Seen {
    events: usize,
    refused: usize,
}

impl Seen {
    fn event(&mut self, event: &Event<'_, ()>) {
        match event {
            Event::Watch { path, .. } => {
                assert_eq!(*path, event_path(self.events));
                self.events += 1;
            }
            Event::Reply { reply, .. } => {
                assert_eq!(*reply, Reply::Error(ErrorCode::Invalid));
                self.refused += 1;
            }
            _ => panic!("the drive handed out {event:?}"),
        }
    }
}

fn event_path(number: usize) -> String {
    format!("/{number}")
}

/// The history of the transport.
#[derive(Debug, Default)]
struct Wire {
    outcomes: VecDeque<Outcome>,
    /// The bytes that were sent, until a message was refused.
    sent: Vec<u8>,
    /// The number of bytes that were sent or refused.
    taken: usize,
    refusals: usize,
    /// The bytes of events that were received and of the event that is received next.
    received: Vec<u8>,
    /// The number of bytes of `received` that the drive has got.
    delivered: usize,
    /// The number of events in `received`.
    events: usize,
    is_closed: bool,
    /// A final error was returned.
    has_ended: bool,
    /// The transport accepts no more, and has said so in the present call.
    has_blocked: bool,
}

impl Wire {
    fn check(&self, expected: &[u8], seen: &Seen) {
        assert!(expected.starts_with(&self.sent), "requests leave whole and in order");
        assert!(seen.refused <= self.refusals);
        // The last event may have come in part.
        assert!(self.has_ended || seen.events + 1 >= self.events);
    }

    /// Adds one more event to the bytes that are received.
    fn add_event(&mut self) {
        let payload = format!("{}\0token\0", event_path(self.events));
        for word in [15, 0, 0, payload.len() as u32] {
            self.received.extend(u32::to_le_bytes(word));
        }
        self.received.extend(payload.as_bytes());
        self.events += 1;
    }
}

#[derive(Debug)]
struct Scripted(Arc<Mutex<Wire>>);

impl Scripted {
    fn wire(&self) -> MutexGuard<'_, Wire> {
        let wire = self.0.lock().unwrap();
        assert!(!wire.is_closed, "a closed transport is not used");
        wire
    }
}

impl Transport for Scripted {
    fn send(&self, bytes: &[u8]) -> io::Result<Sent> {
        let mut wire = self.wire();
        assert!(!bytes.is_empty());
        assert!(!wire.has_blocked, "a blocked send is not repeated without a wait");
        let n = match wire.outcomes.pop_front() {
            None => bytes.len(),
            Some(Outcome::Bytes(n)) => bytes.len().min(usize::from(n).max(1)),
            Some(Outcome::Interrupted) => return Err(ErrorKind::Interrupted.into()),
            Some(Outcome::WouldBlock) => {
                wire.has_blocked = true;
                return Err(ErrorKind::WouldBlock.into());
            }
            Some(Outcome::Refused) => {
                wire.refusals += 1;
                wire.taken += bytes.len();
                return Ok(Sent::Refused(ErrorCode::Invalid));
            }
            Some(Outcome::End | Outcome::Error) => {
                wire.has_ended = true;
                return Err(ErrorKind::BrokenPipe.into());
            }
        };
        wire.taken += n;
        if wire.refusals == 0 {
            wire.sent.extend_from_slice(&bytes[..n]);
        }
        Ok(Sent::Bytes(n))
    }

    fn recv(&self, buf: &mut [u8], _: Wait) -> io::Result<usize> {
        let mut wire = self.wire();
        let n = match wire.outcomes.pop_front() {
            Some(Outcome::Bytes(n)) => buf.len().min(usize::from(n).max(1)),
            Some(Outcome::Interrupted) => return Err(ErrorKind::Interrupted.into()),
            None | Some(Outcome::WouldBlock | Outcome::Refused) => {
                return Err(ErrorKind::WouldBlock.into());
            }
            Some(Outcome::End) => {
                wire.has_ended = true;
                return Ok(0);
            }
            Some(Outcome::Error) => {
                wire.has_ended = true;
                return Err(ErrorKind::ConnectionReset.into());
            }
        };
        // The peer may have waited for that.
        wire.has_blocked = false;
        while wire.received.len() < wire.delivered + n {
            wire.add_event();
        }
        let from = wire.delivered;
        buf[..n].copy_from_slice(&wire.received[from..from + n]);
        wire.delivered += n;
        Ok(n)
    }

    fn wait(&self, _: Interest, _: Option<Instant>) -> io::Result<()> {
        let mut wire = self.wire();
        assert!(wire.has_blocked, "there is nothing to wait for");
        wire.has_blocked = false;
        match wire.outcomes.pop_front() {
            Some(Outcome::Error) => {
                wire.has_ended = true;
                Err(ErrorKind::Other.into())
            }
            _ => Ok(()),
        }
    }

    fn wake(&self) {}

    fn close(&self) {
        self.0.lock().unwrap().is_closed = true;
    }

    fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        Err(ErrorKind::Unsupported.into())
    }

    fn describe(&self) -> String {
        "a script".to_owned()
    }
}
