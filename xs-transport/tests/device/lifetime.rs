//! The end of a connection, and a domain that is suspended and resumed.

use std::thread;

use xs_proto::{DomId, ErrorCode, MessageType, Reply, Request};
use xs_transport::mock::{Fault, Kernel};

use crate::client::{node, writable_path};
use crate::device::{TestDevice, on_each_device, simulated_kernel, xenstored};

#[test]
fn closing_ends_a_wait() {
    on_each_device(|test_device| {
        let client = test_device.client();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| client.failure());
            client.close();
            waiting.join().unwrap();
        });
    });
}

#[test]
fn connections_end_with_the_daemon() {
    let xenstored = xenstored();
    let device = TestDevice::Simulated(Kernel::new(&xenstored, DomId::new(5)));
    let [client, watcher] = [device.client(), device.client()];
    xenstored.inject(Fault::close().on(MessageType::Write));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| watcher.failure());
        client.submit(&Request::Write { path: node("data/x"), value: b"" });
        assert!(client.failure().contains("closed the connection"), "{}", client.failure());
        waiting.join().unwrap();
    });
}

#[test]
fn resume_fires_watches_and_ends_transactions() {
    let kernel = simulated_kernel();
    let client = TestDevice::Simulated(kernel.clone()).client();
    let path = writable_path("resumed");
    assert_eq!(client.write(&path, b""), Reply::Done);
    assert_eq!(client.watch(&path, b"t"), Reply::Done);
    let event = client.event();
    let [committed, aborted] = [client.start_transaction(), client.start_transaction()];
    kernel.resume();
    assert_eq!(client.event(), event);
    assert_eq!(client.end_transaction(committed, true), Reply::Error(ErrorCode::Again));
    assert_eq!(client.end_transaction(aborted, false), Reply::Done);
    // A second resume has the same effect.
    kernel.resume();
    assert_eq!(client.event(), event);
    assert_eq!(client.write(&path, b"1"), Reply::Done);
    assert_eq!(client.event(), event);
}
