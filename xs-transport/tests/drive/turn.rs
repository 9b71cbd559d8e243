//! What one turn does, and when it does not wait.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use xs_proto::ErrorCode;
use xs_transport::{Drive, Failure, Interest, Sent, Transport, Turn, Wait};

use crate::script::Script;

const MESSAGE: &[u8] = b"message";
const FOR_EVER: Wait = Wait::Until(None);

type Hook = Box<dyn FnOnce() + Send>;

/// Does as it is told, and counts.
#[derive(Default)]
struct Told {
    /// What somebody else does while something is sent.
    meanwhile: Option<Hook>,
    /// What becomes of what is sent; all of it is taken, if nothing else is said.
    outcomes: VecDeque<io::Result<Sent>>,
    incoming: VecDeque<&'static [u8]>,
    sends: usize,
    /// How often somebody waited: to receive, and for room.
    waits: (usize, usize),
}

#[derive(Clone, Default)]
struct Way(Arc<Mutex<Told>>);

impl Way {
    fn told<T>(&self, look: impl FnOnce(&mut Told) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("told")
    }
}

impl Transport for Way {
    fn send(&self, bytes: &[u8]) -> io::Result<Sent> {
        assert_eq!(bytes, MESSAGE);
        if let Some(meanwhile) = self.told(|told| told.meanwhile.take()) {
            meanwhile();
        }
        self.told(|told| {
            told.sends += 1;
            told.outcomes.pop_front().unwrap_or(Ok(Sent::Bytes(bytes.len())))
        })
    }

    fn recv(&self, buf: &mut [u8], wait: Wait) -> io::Result<usize> {
        self.told(|told| {
            told.waits.0 += usize::from(wait != Wait::No);
            let bytes = told.incoming.pop_front().ok_or(ErrorKind::WouldBlock)?;
            buf[..bytes.len()].copy_from_slice(bytes);
            Ok(bytes.len())
        })
    }

    fn wait(&self, _: Interest, _: Option<Instant>) -> io::Result<()> {
        self.told(|told| told.waits.1 += 1);
        Ok(())
    }

    fn wake(&self) {}

    fn close(&self) {}

    fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        Err(ErrorKind::Unsupported.into())
    }

    fn describe(&self) -> String {
        "told".into()
    }
}

/// With a message to be sent.
fn drive() -> (Arc<Drive<Script>>, Way) {
    let way = Way::default();
    let drive = Drive::new(Arc::new(way.clone()), Script::default(), 16);
    drive.lock().unsent.push_back(MESSAGE.into());
    (Arc::new(drive), way)
}

/// One turn, and what it came to: how often there was a wait to receive, and to send.
fn turn(drive: &Drive<Script>, way: &Way) -> (Turn, (usize, usize)) {
    let (guard, turn) = drive.turn(drive.lock(), FOR_EVER);
    drop(guard);
    (turn, way.told(|told| told.waits))
}

#[test]
fn it_sends_and_then_waits() {
    let (drive, way) = drive();
    way.told(|told| told.incoming.push_back(b"answer"));
    assert_eq!(turn(&drive, &way), (Turn::Received, (1, 0)));
    assert_eq!((way.told(|told| told.sends), &*drive.lock().received), (1, &b"answer"[..]));
    // There is nothing to be sent any more.
    assert_eq!(turn(&drive, &way), (Turn::Nothing, (2, 0)));
    assert_eq!(way.told(|told| told.sends), 1);
}

#[test]
fn who_has_sent_does_not_wait_for_what_another_one_has_received_meanwhile() {
    let (drive, way) = drive();
    let other = drive.clone();
    way.told(|told| {
        told.incoming.push_back(b"answer");
        told.meanwhile = Some(Box::new(move || {
            let (guard, turn) = other.turn(other.lock(), Wait::No);
            assert_eq!((turn, &*guard.received), (Turn::Received, &b"answer"[..]));
        }));
    });
    assert_eq!(turn(&drive, &way), (Turn::Received, (0, 0)));
}

#[test]
fn who_is_refused_does_not_wait_for_an_answer() {
    let (drive, way) = drive();
    way.told(|told| told.outcomes.push_back(Ok(Sent::Refused(ErrorCode::Invalid))));
    assert_eq!(turn(&drive, &way), (Turn::Received, (0, 0)));
    assert_eq!(drive.lock().refused, 1);
}

#[test]
fn who_was_cut_off_does_not_wait_on_the_next_connection() {
    let (drive, way) = drive();
    let (other, next) = (drive.clone(), Way::default());
    let another = next.clone();
    way.told(|told| {
        told.meanwhile = Some(Box::new(move || {
            let mut guard = other.fail(other.lock(), Failure::Closed);
            *guard = Script::default();
            drop(other.reconnect(guard, Arc::new(another)));
        }));
    });
    assert_eq!(turn(&drive, &way), (Turn::Received, (0, 0)));
    assert_eq!(next.told(|told| told.waits), (0, 0));
    // Who looks again and finds nothing, does.
    assert_eq!(turn(&drive, &next), (Turn::Nothing, (1, 0)));
}

#[test]
fn who_has_waited_for_room_sends() {
    let (drive, way) = drive();
    way.told(|told| told.outcomes.push_back(Err(ErrorKind::WouldBlock.into())));
    // What the wait was good for has to be looked at, and the time need not be over.
    assert_eq!(turn(&drive, &way), (Turn::Received, (0, 1)));
    assert_eq!((way.told(|told| told.sends), drive.lock().is_blocked()), (2, false));
}
