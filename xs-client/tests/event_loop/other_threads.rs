//! Other threads receive for an event loop, and it must not miss what they receive.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use xs_client::{Client, DomId, EventKind, op};
use xs_transport::Wait;
use xs_transport::mock::{Fault, Xenstored};

use crate::EventLoop;
use crate::support::daemon::start;
use crate::support::intercept::Intercept;
use crate::support::threads::{Gate, Visitors};
use crate::support::waiting::in_time;

#[test]
fn source_is_readable_after_blocking_call_receives_event() {
    let (_xenstored, client) = start();
    let mut event_loop = EventLoop::new(&client);
    let mut watch = client.watch("/a").unwrap();
    client.write("/a", "1").unwrap();
    client.read("/a").unwrap();
    // All bytes have been received, and still there is work.
    assert_eq!(event_loop.turn(), [watch.token()]);
    assert!(watch.try_next().unwrap().is_some());
}

#[test]
fn source_is_readable_after_another_thread_receives_event() {
    let (_xenstored, client) = start();
    let mut event_loop = EventLoop::new(&client);
    let mut watch = client.watch("/a").unwrap();
    let pending = client.start(&op::write("/b", "1")).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| client.write("/a", "1").unwrap());
    });
    while watch.try_next().unwrap().is_none_or(|event| event.kind != EventKind::Fired) {
        event_loop.turn();
    }
    pending.wait().unwrap();
}

#[test]
fn process_does_not_block_while_transport_is_full() {
    let xenstored = Xenstored::new();
    let is_full = Arc::new(AtomicBool::new(false));
    let receivers = Visitors::default();
    let visitors = receivers.clone();
    let transport = Intercept::new(xenstored.connect(DomId::DOM0)).blocked_while(&is_full).on_recv(
        move |below, buf, wait| {
            visitors.add();
            below.recv(buf, wait)
        },
    );
    let client = Client::from_transport(transport);
    let mut source = client.event_source().unwrap();
    let fault = xenstored.inject(Fault::delay());
    let reader = client.clone();
    let reading = thread::spawn(move || reader.exists("/").unwrap());
    // From here on, that thread has the reader role.
    receivers.wait_for(&reading);
    is_full.store(true, Ordering::SeqCst);
    let pending = client.start(&op::read("/")).unwrap();
    in_time(move || drop(source.process()));
    is_full.store(false, Ordering::SeqCst);
    fault.release();
    reading.join().unwrap();
    drop(pending);
}

#[test]
fn source_is_readable_after_reader_times_out() {
    let xenstored = Xenstored::new();
    let gate = Gate::opened();
    let reader_gate = gate.clone();
    // The deadline of the reader passes, and an event arrives before it gives up the reader role.
    let transport =
        Intercept::new(xenstored.connect(DomId::DOM0)).on_recv(move |below, buf, wait| {
            match wait != Wait::No && reader_gate.pass() {
                true => Err(io::ErrorKind::WouldBlock.into()),
                false => below.recv(buf, wait),
            }
        });
    let client = Client::from_transport(transport);
    let [mut watch, mut other] = ["/a", "/b"].map(|path| client.watch(path).unwrap());
    for watch in [&mut watch, &mut other] {
        watch.wait().unwrap();
    }
    let mut event_loop = EventLoop::new(&client);
    gate.close();
    let waiting = thread::spawn(move || other.next_timeout(Duration::ZERO).unwrap());
    gate.wait_for_arrival();
    xenstored.set("/a", "1").unwrap();
    assert_eq!(event_loop.turn(), [], "the other thread has the reader role");
    gate.open();
    assert_eq!(waiting.join().unwrap(), None);
    assert_eq!(event_loop.turn(), [watch.token()]);
}

#[cfg(feature = "futures")]
#[test]
fn source_is_readable_beside_thread_that_drives_futures() {
    use futures_lite::future::block_on;

    let (xenstored, client) = start();
    let tasks = xs_client::futures::Client::on_thread(client.clone()).unwrap();
    let mut event_loop = EventLoop::new(&client);
    let mut watch = client.watch("/a").unwrap();
    watch.wait().unwrap();
    // The thread has dealt with a deadline and with an answer.
    xenstored.inject(Fault::ignore());
    let hasty = tasks.with_timeout(Duration::from_millis(1));
    assert!(block_on(hasty.read("/")).unwrap_err().is_timeout());
    block_on(tasks.read("/")).unwrap();
    event_loop.run_until_idle();
    xenstored.set("/a", "").unwrap();
    while event_loop.turn().is_empty() {}
    assert!(watch.try_next().unwrap().is_some());
}
