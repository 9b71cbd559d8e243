//! Watches and their events.

use std::sync::Arc;
use std::thread;

use xs_proto::{ErrorCode, Reply, Request, TxId};
use xs_transport::Transport;

use crate::client::{TestClient, node, too_long_path, writable_path};
use crate::device::{on_each_device, simulated_kernel};
use crate::intercept::{Gate, Intercept};

#[test]
fn watches_fire_once_for_each_time_they_are_set() {
    on_each_device(|test_device| {
        let (watcher, writer) = (test_device.client(), test_device.client());
        let path = writable_path("watched");
        let event = (path.clone(), b"token".to_vec());
        assert_eq!(writer.write(&path, b""), Reply::Done);
        for _ in 0..2 {
            assert_eq!(watcher.watch(&path, b"token"), Reply::Done);
            assert_eq!(watcher.event(), event);
        }
        assert_eq!(writer.write(&path, b""), Reply::Done);
        assert_eq!([watcher.event(), watcher.event()], [event.clone(), event.clone()]);
        assert_eq!(watcher.unwatch(&path, b"token"), Reply::Done);
        assert_eq!(writer.write(&path, b""), Reply::Done);
        assert_eq!(watcher.event(), event);
        // Removes the second watch, and then one that does not exist.
        for _ in 0..2 {
            assert_eq!(watcher.unwatch(&path, b"token"), Reply::Done);
        }
        assert_eq!(writer.write(&path, b""), Reply::Done);
        assert!(matches!(watcher.read("domid"), Reply::Value(_)));
        assert!(watcher.0.lock().events.is_empty());
    });
}

#[test]
fn events_end_a_wait() {
    on_each_device(|test_device| {
        let (watcher, writer) = (test_device.client(), test_device.client());
        let path = writable_path("waited");
        assert_eq!(watcher.watch(&path, b"t"), Reply::Done);
        watcher.event();
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..100 {
                    watcher.event();
                    assert_eq!(watcher.write("data/xs-test/ack", b""), Reply::Done);
                }
            });
            let acks = test_device.client();
            assert_eq!(acks.watch("data/xs-test/ack", b"ack"), Reply::Done);
            acks.event();
            for _ in 0..100 {
                assert_eq!(writer.write(&path, b"1"), Reply::Done);
                acks.event();
            }
        });
    });
}

#[test]
fn rejection_reaches_a_thread_that_waits_while_another_sends() {
    let path = too_long_path();
    let watch = Request::Watch { path: node(&path), token: b"t", depth: None };
    let inner = simulated_kernel().open().unwrap().transport().unwrap();
    let (limits, gate) = (inner.limits(), Arc::new(Gate::default()));
    let client = TestClient::new(Intercept { inner, limits, gate: Some(gate.clone()) });
    thread::scope(|scope| {
        scope.spawn(|| client.submit(&Request::Read(node("domid"))));
        gate.wait_until(|(sends, _)| *sends == 1);
        // The other thread is still in `send`. This thread receives the reply to its READ and waits
        // again. The other thread then sends the WATCH of this one and receives the rejection.
        client.0.lock().connection.submit(TxId::NONE, &watch, ()).unwrap();
        assert_eq!(client.reply().1, Reply::Value(b"5".into()));
        assert_eq!(client.reply().1, Reply::Error(ErrorCode::Invalid));
    });
}
