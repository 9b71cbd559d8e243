//! Requests in flight and transactions: each is answered once and cleaned up once.

mod support;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, ThreadId};
use std::time::Duration;

use xs_client::{Client, DomId, ErrorCode, ErrorKind, Transaction, Watch, op};
use xs_proto::{MessageType, Request};
use xs_transport::Sent;
use xs_transport::mock::{Fault, Kernel, Record, Xenstored};

use support::daemon::{finish_cleanup, start};
use support::intercept::Intercept;
use support::threads::{Gate, Observed};
use support::waiting::{in_time, wait_until};
use support::wakers::{poll, tracked_waker};

#[test]
fn answer_is_returned_once() {
    let (_xenstored, client) = start();
    let mut pending = client.start(&op::directory("/")).unwrap();
    client.exists("/").unwrap();
    assert!(pending.try_take().unwrap().is_ok());
    assert!(pending.try_take().is_none());
    let error = pending.wait().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unexpected(_)), "{error}");
}

#[test]
fn answered_request_keeps_no_waker() {
    let (_xenstored, client) = start();
    let (waker, kept) = tracked_waker();
    let mut pending = client.start(&op::directory("/")).unwrap();
    assert!(poll(&mut pending, &waker).is_pending());
    pending.wait().unwrap();
    client.exists("/").unwrap();
    drop(waker);
    assert!(kept.upgrade().is_none(), "the client keeps the waker");
}

#[test]
fn transaction_that_starts_after_its_deadline_is_aborted() {
    let (xenstored, client) = start();
    xenstored.record();
    // The daemon starts the transaction, and sends its reply with the next one.
    xenstored.inject(Fault::merge().on(MessageType::TransactionStart));
    let impatient = client.with_timeout(Duration::from_millis(1));
    assert!(impatient.start_transaction().unwrap_err().is_timeout());
    finish_cleanup(&client);
    let records = xenstored.take_records();
    let abort = Request::TransactionEnd { commit: false };
    let aborts = records.iter().filter(|record| record.request().is_some_and(|r| r == abort));
    assert_eq!(aborts.count(), 1);
}

#[test]
fn transaction_is_ended_once() {
    let (xenstored, client) = start();
    xenstored.record();
    let dropped = |tx| {
        drop(tx);
        Ok(())
    };
    for end in [Transaction::commit, Transaction::abort, dropped] {
        let tx = client.start_transaction().unwrap();
        end(tx).unwrap();
        finish_cleanup(&client);
        let records = xenstored.take_records();
        let is_end =
            |record: &&Record| matches!(record.request(), Some(Request::TransactionEnd { .. }));
        assert_eq!(records.iter().filter(is_end).count(), 1, "{records:?}");
    }
}

#[test]
fn refusal_reaches_thread_that_receives() {
    let xenstored = Xenstored::new();
    let guest = DomId::new(5);
    xenstored.add_guest(guest);
    let device = Kernel::new(&xenstored, guest).open().unwrap().transport().unwrap();
    let (sent, receiving) = (Gate::closed(), Gate::closed());
    let (in_send, in_recv) = (sent.clone(), receiving.clone());
    let receives = AtomicUsize::new(0);
    let transport = Intercept::new(device)
        .on_send(move |below, bytes| {
            let result = below.send(bytes);
            in_send.pass();
            result
        })
        .on_recv(move |below, buf, wait| {
            if receives.fetch_add(1, Ordering::SeqCst) == 1 {
                in_recv.pass();
            }
            below.recv(buf, wait)
        });
    let client = Client::from_transport(transport);
    let reader = {
        let client = client.clone();
        thread::spawn(move || client.exists("name"))
    };
    sent.wait_for_arrival();
    // The reader is still in `send`. The watcher receives the reply of the reader, and then waits
    // for its own, whose request the reader sends only now.
    let watcher = thread::spawn(move || {
        let too_long = format!("/{}", "x".repeat(3071));
        client.with_timeout(None).watch(&too_long).map(drop)
    });
    receiving.wait_for_arrival();
    sent.open();
    receiving.open();
    reader.join().unwrap().unwrap();
    let error = watcher.join().unwrap().unwrap_err();
    assert_eq!(error.code(), Some(&ErrorCode::Invalid));
}

/// Other parties add output whenever one thread has sent what there was.
#[test]
fn sender_is_relieved_when_others_keep_adding_requests() {
    let shared: Arc<OnceLock<(Client, ThreadId)>> = Arc::default();
    let adding = shared.clone();
    let transport =
        Intercept::new(Xenstored::new().connect(DomId::DOM0)).on_send(move |below, bytes| {
            let sent = below.send(bytes);
            if let Some((client, sender)) = adding.get() {
                if thread::current().id() == *sender {
                    let add = || drop(client.start(&op::read("/")));
                    thread::scope(|scope| drop(scope.spawn(add)));
                }
            }
            sent
        });
    let client = Client::builder().timeout(None).from_transport(transport);
    let mut watches = ["/a", "/b"].map(|path| client.watch(path).unwrap());
    watches.iter_mut().for_each(|watch| drop(watch.wait().unwrap()));
    // One thread receives, and the other one is parked.
    let waiting = watches.map(|mut watch| Observed::spawn(move || drop(watch.wait())));
    waiting.iter().for_each(|thread| thread.state.wait_until_asleep());
    in_time(move || {
        shared.set((client.clone(), thread::current().id())).unwrap();
        client.read("/").unwrap();
        client.close();
    });
    waiting.into_iter().for_each(Observed::join);
}

/// No other thread sends, and a transport may accept little at a time.
#[test]
fn start_sends_whole_request_over_transport_that_accepts_single_bytes() {
    let xenstored = Xenstored::new();
    xenstored.record();
    let transport = Intercept::new(xenstored.connect(DomId::DOM0))
        .on_send(|below, bytes| below.send(&bytes[..1]));
    let client = Client::from_transport(transport);
    let _pending = client.start(&op::read("/a/path")).unwrap();
    assert_eq!(xenstored.take_records().len(), 1);
}

/// The reader has made room by receiving, but the writer has found none before that. The reader
/// does not wait for room, because its own next send would have been possible.
#[test]
fn request_is_sent_if_another_thread_has_received_during_a_blocked_send() {
    let xenstored = Xenstored::new();
    let is_full = Arc::new(AtomicBool::new(false));
    let receives = Arc::new(AtomicUsize::new(0));
    let (daemon, full, seen) = (xenstored.clone(), is_full.clone(), receives.clone());
    let in_recv = receives.clone();
    let transport = Intercept::new(xenstored.connect(DomId::DOM0))
        .on_send(move |below, bytes| {
            if !full.swap(false, Ordering::SeqCst) {
                return below.send(bytes);
            }
            let before = seen.load(Ordering::SeqCst);
            daemon.set("/other", "").unwrap();
            wait_until(
                || seen.load(Ordering::SeqCst) > before,
                "the reader does not receive again",
            );
            Err(io::ErrorKind::WouldBlock.into())
        })
        .on_recv(move |below, buf, wait| {
            in_recv.fetch_add(1, Ordering::SeqCst);
            below.recv(buf, wait)
        });
    let client = Client::builder().timeout(None).from_transport(transport);
    let [mut watch, mut other] = ["/w", "/other"].map(|path| client.watch(path).unwrap());
    for watch in [&mut watch, &mut other] {
        watch.wait().unwrap();
    }
    let before = receives.load(Ordering::SeqCst);
    let reader = Observed::spawn(move || watch.wait().unwrap());
    wait_until(|| receives.load(Ordering::SeqCst) > before, "the reader does not receive");
    is_full.store(true, Ordering::SeqCst);
    let _pending = client.start(&op::write("/w", "")).unwrap();
    assert_eq!(&*reader.join().path, "/w");
}

/// Starts threads that wait for the next event of one watch each. The first receives for all, and
/// the others are parked.
fn wait_in_turn(watches: Vec<Watch>) -> Vec<Observed<String>> {
    let wait = |mut watch: Watch| Observed::spawn(move || watch.wait().unwrap().path.to_string());
    let start = |watch| {
        let thread = wait(watch);
        thread.state.wait_until_asleep();
        thread
    };
    watches.into_iter().map(start).collect()
}

/// Sets watches and takes their first events.
fn quiet_watches<const N: usize>(client: &Client, paths: [&str; N]) -> Vec<Watch> {
    let mut watches = Vec::from(paths.map(|path| client.watch(path).unwrap()));
    watches.iter_mut().for_each(|watch| drop(watch.wait().unwrap()));
    watches
}

/// The thread that receives does not wait for room, because there was room when it began.
#[test]
fn parked_thread_sends_what_another_thread_could_not() {
    let is_full = Arc::new(AtomicBool::new(false));
    let drained = is_full.clone();
    let transport = Intercept::new(Xenstored::new().connect(DomId::DOM0))
        .blocked_while(&is_full)
        .on_wait(move |_, _, _| {
            drained.store(false, Ordering::SeqCst);
            Ok(())
        });
    let client = Client::builder().timeout(None).from_transport(transport);
    let threads = wait_in_turn(quiet_watches(&client, ["/a", "/b"]));
    is_full.store(true, Ordering::SeqCst);
    let _pending = ["/a", "/b"].map(|path| client.start(&op::write(path, "")).unwrap());
    let paths: Vec<_> = threads.into_iter().map(Observed::join).collect();
    assert_eq!(paths, ["/a", "/b"]);
}

/// The reader role is offered to a thread whose reply has come at the same time.
#[test]
fn thread_that_needs_no_reader_role_offers_it_again() {
    let xenstored = Xenstored::new();
    let gate = Gate::opened();
    let in_recv = gate.clone();
    let transport =
        Intercept::new(xenstored.connect(DomId::DOM0)).on_recv(move |below, buf, wait| {
            in_recv.pass();
            below.recv(buf, wait)
        });
    let client = Client::builder().timeout(None).from_transport(transport);
    let watches = quiet_watches(&client, ["/a", "/b", "/c"]);
    gate.close();
    let threads = wait_in_turn(watches);
    // One receive has the events of the first two threads.
    xenstored.set("/a", "").unwrap();
    xenstored.set("/b", "").unwrap();
    gate.open();
    let mut threads = threads.into_iter();
    assert_eq!(threads.next().unwrap().join(), "/a");
    assert_eq!(threads.next().unwrap().join(), "/b");
    xenstored.set("/c", "").unwrap();
    assert_eq!(threads.next().unwrap().join(), "/c");
}

#[test]
fn failed_wait_for_room_ends_connection() {
    let (receiving, is_full) = (Gate::closed(), Arc::new(AtomicBool::new(false)));
    let in_recv = receiving.clone();
    let transport = Intercept::new(Xenstored::new().connect(DomId::DOM0))
        .blocked_while(&is_full)
        .on_recv(move |below, buf, wait| {
            in_recv.pass();
            below.recv(buf, wait)
        })
        .on_wait(|_, _, _| Err(io::Error::other("the wait has failed")));
    let client = Client::from_transport(transport);
    let first = client.clone();
    let reader = Observed::spawn(move || first.exists("/first"));
    receiving.wait_for_arrival();
    is_full.store(true, Ordering::SeqCst);
    // The reader may notice only after this thread.
    let error = in_time(move || client.exists("/second").unwrap_err());
    assert!(error.to_string().contains("the wait has failed"), "{error}");
    receiving.open();
    assert!(reader.join().unwrap_err().is_lost());
}

#[test]
fn reader_that_leaves_interrupts_thread_that_waits_for_room() {
    let xenstored = Xenstored::new();
    let (receiving, room) = (Gate::closed(), Gate::closed());
    let (in_recv, in_wait, opened) = (receiving.clone(), room.clone(), room.clone());
    let is_full = Arc::new(AtomicBool::new(false));
    let drained = is_full.clone();
    let transport = Intercept::new(xenstored.connect(DomId::DOM0))
        .blocked_while(&is_full)
        .on_recv(move |below, buf, wait| {
            in_recv.pass();
            below.recv(buf, wait)
        })
        .on_wait(move |_, _, _| {
            in_wait.pass();
            Ok(())
        })
        .on_wake(move |_| {
            // The peer accepts more only now.
            drained.store(false, Ordering::SeqCst);
            opened.open();
        });
    let client = Client::from_transport(transport);
    let exists = |path: &'static str| {
        let client = client.clone();
        thread::spawn(move || client.exists(path).unwrap())
    };
    let reader = exists("/first");
    receiving.wait_for_arrival();
    is_full.store(true, Ordering::SeqCst);
    let sender = exists("/second");
    room.wait_for_arrival();
    receiving.open();
    assert!(!reader.join().unwrap());
    assert!(!sender.join().unwrap());
}

#[test]
fn refusal_interrupts_reader_whose_request_another_thread_has_sent() {
    let (sending, receiving) = (Gate::closed(), Gate::closed());
    let (in_send, in_recv, interrupted) = (sending.clone(), receiving.clone(), receiving.clone());
    let is_interrupted = Arc::new(AtomicBool::new(false));
    let wakes = is_interrupted.clone();
    let transport = Intercept::new(Xenstored::new().connect(DomId::DOM0))
        .on_limits(|below| below.limits().with_one_at_a_time())
        .on_send(move |_, _| {
            in_send.pass();
            Ok(Sent::Refused(ErrorCode::Invalid))
        })
        .on_recv(move |_, _, _| {
            in_recv.pass();
            Err(io::ErrorKind::WouldBlock.into())
        })
        .on_wake(move |_| {
            wakes.store(true, Ordering::SeqCst);
            interrupted.open();
        });
    let client = Client::from_transport(transport);
    let exists = |path: &'static str| {
        let client = client.clone();
        thread::spawn(move || client.exists(path).unwrap_err())
    };
    let sender = exists("/first");
    sending.wait_for_arrival();
    // The sender has not noticed yet that its request is refused.
    let reader = exists("/second");
    receiving.wait_for_arrival();
    sending.open();
    for thread in [sender, reader] {
        let error = thread.join().unwrap();
        assert_eq!(error.code(), Some(&ErrorCode::Invalid), "{error}");
    }
    assert!(is_interrupted.load(Ordering::SeqCst));
}
