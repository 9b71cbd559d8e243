//! A process that was forked from the client's own. There the client does nothing, and says so.

#[path = "support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use futures_lite::future::block_on;
use xs_client::{Client, ErrorKind, EventKind, Result, futures, op};

use support::callback::CallbackEvents;
use support::served::Served;
use support::waiting::HANG_GUARD;

/// Runs the closure in a forked process.
///
/// # Panics
/// Panics if the closure panics or hangs.
fn in_child(run: impl FnOnce()) {
    // SAFETY: the child has only this thread. It runs the closure, and leaves without destructors.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: alarm(2) and _exit(2) take no pointers.
        unsafe { libc::alarm(30) };
        let result = catch_unwind(AssertUnwindSafe(run));
        // SAFETY: as above.
        unsafe { libc::_exit(i32::from(result.is_err())) };
    }
    wait_for(pid);
}

/// Waits for the end of a child, which has to succeed.
fn wait_for(pid: libc::pid_t) {
    let mut status = 0;
    // SAFETY: `status` is a local integer, which outlives the call.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert_ne!(status, libc::SIGALRM, "the child hangs");
    assert_eq!(status, 0, "the child has failed");
}

/// Checks that a call in a child was refused.
fn assert_refused<T>(result: Result<T>, call: &str) {
    let Err(error) = result else { panic!("{call} succeeds") };
    assert!(matches!(error.kind(), ErrorKind::Lost(_)), "{call}: {error}");
    assert!(error.to_string().contains("forked"), "{call}: {error}");
}

#[test]
fn dropping_client_in_child_is_harmless() {
    let served = Served::start();
    let client = served.connect();
    let calls = CallbackEvents::watch(&client, "/a");
    assert_eq!(calls.next_kind(), EventKind::Fired);
    let mut watch = client.watch("/a").unwrap();
    watch.wait().unwrap();
    let tx = client.start_transaction().unwrap();
    tx.write("/b", "1").unwrap();
    served.xenstored.record();
    let mut all = Some((client.clone(), watch, tx, client));
    in_child(|| drop(all.take()));
    let (other, mut watch, tx, client) = all.unwrap();
    assert_eq!(served.xenstored.take_records().len(), 0, "the child sends");
    tx.commit().unwrap();
    client.write("/a", "1").unwrap();
    assert_eq!(calls.next_kind(), EventKind::Fired);
    watch.wait().unwrap();
    assert_eq!(other.read("/b").unwrap(), b"1");
}

#[test]
fn dropping_last_handle_in_child_ends_no_connection() {
    let served = Served::start();
    let mut client = Some(served.connect());
    served.xenstored.record();
    in_child(|| drop(client.take()));
    assert_eq!(served.xenstored.take_records().len(), 0, "the child sends");
    client.unwrap().exists("/").unwrap();
}

#[test]
fn calls_in_child_are_refused() {
    let served = Served::start();
    let client = served.connect();
    let calls = CallbackEvents::watch(&client, "/a");
    assert_eq!(calls.next_kind(), EventKind::Fired);
    let mut watch = client.watch("/a").unwrap();
    watch.wait().unwrap();
    let mut set = client.watch_set();
    let in_set = set.add("/a").unwrap();
    let mut tx = Some(client.start_transaction().unwrap());
    let [mut taken, mut waited] = [(); 2].map(|()| Some(client.start(&op::read("/")).unwrap()));
    // The replies have come.
    client.exists("/").unwrap();
    served.xenstored.record();
    in_child(|| {
        assert_refused(client.read("/a"), "read");
        assert_refused(client.write("/a", "2"), "write");
        assert_refused(client.transaction(|tx| tx.write("/a", "2")), "transaction");
        assert_refused(client.watch("/a"), "watch");
        assert_refused(client.watch_with("/a", drop), "watch_with");
        assert_refused(client.wait_for("/a", HANG_GUARD, |_| true), "wait_for");
        assert_refused(client.start(&op::read("/a")), "start");
        assert_refused(client.reset_watches(), "reset_watches");
        assert_refused(client.unwatch(calls.token), "unwatch");
        assert_refused(client.unwatch_all(), "unwatch_all");
        assert_refused(client.watch_set_with(drop), "watch_set_with");
        assert_refused(set.add("/b"), "add");
        assert_refused(set.remove(in_set), "remove");
        assert_refused(set.close(), "close");
        assert_refused(set.next_timeout(HANG_GUARD), "next_timeout of a set");
        assert_refused(set.try_next(), "try_next of a set");
        assert_refused(watch.next_timeout(HANG_GUARD), "next_timeout");
        assert_refused(watch.try_next(), "try_next");
        assert_refused(watch.wait(), "wait");
        assert_refused(taken.as_mut().unwrap().try_take().unwrap(), "try_take");
        assert_refused(waited.take().unwrap().wait(), "Pending::wait");
        assert_refused(tx.as_ref().unwrap().read("/a"), "read in a transaction");
        client.watch_stop();
        client.close();
        assert_refused(client.read("/a"), "read after close");
        assert_refused(tx.take().unwrap().commit(), "commit");
    });
    assert_eq!(served.xenstored.take_records().len(), 0, "the child sends");
    client.write("/a", "1").unwrap();
    assert_eq!(calls.next_kind(), EventKind::Fired);
    watch.wait().unwrap();
    assert_eq!(taken.unwrap().wait().unwrap(), b"");
}

#[test]
fn child_waits_for_no_lock_of_other_threads() {
    let served = Served::start();
    let client = served.connect();
    let calls = CallbackEvents::watch(&client, "/a");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    client.write("/a", "1").unwrap();
                }
            });
        }
        let mut clone = Some(client.clone());
        let forked = catch_unwind(AssertUnwindSafe(|| {
            for _ in 0..100 {
                in_child(|| {
                    assert_refused(client.read("/a"), "read");
                    drop(clone.take());
                });
            }
        }));
        done.store(true, Ordering::SeqCst);
        assert!(forked.is_ok());
    });
    assert_eq!(calls.next_kind(), EventKind::Fired);
}

#[test]
fn child_may_open_client_of_its_own() {
    let served = Served::start();
    let client = served.connect();
    in_child(|| {
        let own = served.connect();
        own.write("/child", "1").unwrap();
        assert_refused(client.read("/child"), "read");
        in_child(|| {
            assert_refused(own.read("/child"), "read");
            assert_refused(client.read("/child"), "read");
            served.connect().write("/grandchild", "1").unwrap();
        });
        own.read("/grandchild").unwrap();
    });
    assert_eq!(client.read("/child").unwrap(), b"1");
}

#[test]
fn event_loops_and_futures_are_refused_in_child() {
    let served = Served::start();
    let client = served.connect();
    let mut source = client.event_source().unwrap();
    source.process().unwrap();
    let tasks = futures::Client::on_thread(client.clone()).unwrap();
    let mut stream = block_on(tasks.watch("/a")).unwrap();
    block_on(stream.wait()).unwrap();
    // The next event is ready in the parent.
    client.write("/a", "1").unwrap();
    served.xenstored.record();
    in_child(|| {
        assert_refused(source.process(), "process");
        assert!(client.event_source().is_err());
        assert_refused(block_on(tasks.read("/a")), "read");
        assert_refused(block_on(stream.wait()), "wait");
        let own = futures::Client::on_thread(client.clone()).unwrap();
        assert_refused(block_on(own.read("/a")), "read with a new driver");
    });
    assert_eq!(served.xenstored.take_records().len(), 0, "the child sends");
    block_on(stream.wait()).unwrap();
    assert_eq!(block_on(tasks.read("/a")).unwrap(), b"1");
    source.process().unwrap();
}

/// The child returns from the callback to the code of the callback thread, which drops the callback
/// and ends. The callback reports over a socket, because the drop of an `mpsc::Sender` locks a mutex
/// that the receiving thread of the parent may hold at the fork.
#[test]
fn callback_may_fork() {
    let served = Served::start();
    let client = served.connect();
    let (mut pids, mut reports) = UnixStream::pair().unwrap();
    pids.set_read_timeout(Some(HANG_GUARD)).unwrap();
    let mut next_pid = || {
        let mut pid = [0; size_of::<libc::pid_t>()];
        pids.read_exact(&mut pid).unwrap();
        libc::pid_t::from_ne_bytes(pid)
    };
    let user = client.clone();
    client
        .watch_with("/a", move |_| {
            // SAFETY: the child only returns, or is killed.
            let pid = unsafe { libc::fork() };
            if pid == 0 {
                // SAFETY: alarm(2) takes no pointers.
                unsafe { libc::alarm(30) };
                assert_refused(user.read("/a"), "read");
            } else {
                reports.write_all(&pid.to_ne_bytes()).unwrap();
            }
        })
        .unwrap();
    wait_for(next_pid());
    client.write("/a", "1").unwrap();
    wait_for(next_pid());
    let short: Client = client.with_timeout(Duration::from_secs(10));
    short.unwatch_all().unwrap();
}
