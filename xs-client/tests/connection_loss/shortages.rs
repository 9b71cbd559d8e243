//! A passing shortage of the system does not end a connection.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use xs_client::{Client, DomId, EventKind, op};
use xs_transport::mock::Xenstored;

use crate::support::callback::CallbackEvents;
use crate::support::intercept::Intercept;
use crate::support::waiting::HANG_GUARD;

/// The errors of system calls that may succeed when they are repeated.
const PASSING: &[i32] =
    &[libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS, libc::EAGAIN, libc::EINTR];

/// The calls of a transport that fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failing {
    Send,
    Receive,
    Wait,
}

/// Decides which calls fail.
#[derive(Default)]
struct Shortage {
    calls: AtomicUsize,
    lasts: AtomicBool,
}

impl Shortage {
    /// Fails two of three calls, or all of them while the shortage lasts.
    fn check(&self, errno: i32, applies: bool) -> io::Result<()> {
        if !applies {
            return Ok(());
        }
        let fails = self.calls.fetch_add(1, Ordering::SeqCst) % 3 < 2;
        match fails || self.lasts.load(Ordering::SeqCst) {
            true => Err(io::Error::from_raw_os_error(errno)),
            false => Ok(()),
        }
    }
}

fn client(failing: Failing, errno: i32) -> (Client, Arc<Shortage>) {
    let shortage = Arc::new(Shortage::default());
    let [on_send, on_recv, on_wait] = [(); 3].map(|()| shortage.clone());
    let transport = Intercept::new(Xenstored::new().connect(DomId::DOM0))
        .on_send(move |below, bytes| {
            on_send.check(errno, failing == Failing::Send)?;
            // A party waits only for room to send.
            on_send.check(libc::EAGAIN, failing == Failing::Wait)?;
            below.send(bytes)
        })
        .on_recv(move |below, buf, wait| {
            on_recv.check(errno, failing == Failing::Receive)?;
            below.recv(buf, wait)
        })
        .on_wait(move |below, interest, deadline| {
            on_wait.check(errno, failing == Failing::Wait)?;
            below.wait(interest, deadline)
        });
    (Client::builder().timeout(HANG_GUARD).from_transport(transport), shortage)
}

fn kinds() -> impl Iterator<Item = (Failing, i32)> {
    let failing = [Failing::Send, Failing::Receive, Failing::Wait];
    failing.into_iter().flat_map(|failing| PASSING.iter().map(move |errno| (failing, *errno)))
}

#[test]
fn connection_survives_passing_shortages() {
    for (failing, errno) in kinds() {
        let (client, _) = client(failing, errno);
        let calls = CallbackEvents::watch(&client, "/a");
        assert_eq!(calls.next_kind(), EventKind::Fired, "{failing:?} {errno}");
        thread::scope(|scope| {
            for name in ["/a/1", "/a/2"] {
                let client = &client;
                scope.spawn(move || {
                    for _ in 0..3 {
                        client.write(name, "x").unwrap();
                        assert_eq!(client.read(name).unwrap(), b"x");
                    }
                });
            }
        });
        assert_eq!(calls.next_kind(), EventKind::Fired, "{failing:?} {errno}");
    }
}

#[test]
fn calls_time_out_while_a_shortage_lasts() {
    for (failing, errno) in kinds() {
        // Interrupted calls are repeated at once, and sending is possible in the other case.
        if failing == Failing::Wait || errno == libc::EINTR {
            continue;
        }
        let (client, shortage) = client(failing, errno);
        client.exists("/").unwrap();
        shortage.lasts.store(true, Ordering::SeqCst);
        let (start, timeout) = (Instant::now(), Duration::from_millis(20));
        let error = client.with_timeout(timeout).read("/").unwrap_err();
        assert!(error.is_timeout(), "{failing:?} {errno}: {error}");
        assert!(start.elapsed() >= timeout);
        // A call that does not wait leaves the request to the next one.
        let pending = client.start(&op::read("/"));
        shortage.lasts.store(false, Ordering::SeqCst);
        pending.unwrap().wait().unwrap();
    }
}
