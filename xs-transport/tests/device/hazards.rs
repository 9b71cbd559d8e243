//! Hazards of the device for a careless client, and how the transport avoids them.

use std::io;

use xs_proto::{ErrorCode, MessageType, Reply, ReqId, Request, TxId};
use xs_transport::{Interest, Transport, Wait};

use crate::client::{TestClient, node, too_long_path, writable_path};
use crate::device::{RawDevice, TestDevice, message, on_each_device, simulated_kernel};

/// Writes two nodes whose paths have the same length.
fn write_two_nodes(device: &dyn RawDevice) -> [String; 2] {
    ["a", "b"].map(|name| {
        let path = writable_path(name);
        device.write_node(&path, name);
        path
    })
}

#[test]
fn second_request_corrupts_the_first() {
    on_each_device(|test_device| {
        let device = test_device.open();
        let [a, b] = write_two_nodes(&*device);
        let read = |req_id, path: &str| {
            message(MessageType::Read, req_id, 0, format!("{path}\0").as_bytes())
        };
        let rounds = if test_device.is_simulated() { 1 } else { 300 };
        let mut wrong = 0;
        for _ in 0..rounds {
            device.write(&read(1, &a)).unwrap();
            device.write(&read(2, &b)).unwrap();
            let replies = [device.read_message(), device.read_message()];
            assert_eq!(replies.each_ref().map(|(header, _)| header.req_id), [ReqId(1), ReqId(2)]);
            assert_eq!(replies[1].1, b"b");
            wrong += usize::from(replies[0].1 == b"b");
        }
        eprintln!("{wrong} of {rounds} got the value of another request");
        // A genuine kernel may have sent each request before the next one was written.
        assert!(wrong > 0 || !test_device.is_simulated());
    });
}

#[test]
fn serial_requests_are_not_corrupted() {
    let kernel = simulated_kernel();
    let device = TestDevice::Simulated(kernel.clone());
    let [a, b] = write_two_nodes(&*device.open());
    let read_both = |client: &TestClient| {
        client.submit(&Request::Read(node(&a)));
        client.submit(&Request::Read(node(&b)));
        [client.reply().1, client.reply().1]
    };
    let value = |value: &'static [u8]| Reply::Value(value.into());
    assert_eq!(read_both(&device.client()), [value(b"a"), value(b"b")]);
    assert_eq!(kernel.spoiled(), 0);
    assert_eq!(read_both(&device.careless_client()), [value(b"b"), value(b"b")]);
    assert_eq!(kernel.spoiled(), 1);
}

#[test]
fn watch_behind_an_unanswered_request_hangs_the_domain() {
    let device = TestDevice::Simulated(simulated_kernel());
    let path = writable_path("a");
    let watch = Request::Watch { path: node(&path), token: b"t", depth: None };
    let client = device.client();
    client.submit(&Request::Read(node("domid")));
    client.submit(&watch);
    assert_eq!(client.reply().1, Reply::Value(b"5".into()));
    assert_eq!(client.reply().1, Reply::Done);

    let careless = device.careless_client();
    careless.submit(&Request::Read(node("domid")));
    careless.submit(&watch);
    assert!(careless.failure().contains("the kernel would hang"), "{}", careless.failure());
    // The other descriptors of the domain hang too.
    assert!(client.failure().contains("the kernel would hang"), "{}", client.failure());
}

#[test]
fn bytes_after_the_first_message_are_dropped() {
    on_each_device(|test_device| {
        let device = test_device.open();
        let both = [
            message(MessageType::Read, 1, 0, b"domid\0"),
            message(MessageType::Read, 2, 0, b"domid\0"),
        ]
        .concat();
        assert_eq!(device.write(&both).unwrap(), both.len());
        assert_eq!(device.read_message().0.req_id, ReqId(1));
        // A reply to the second request would come before the reply to this one.
        device.write(&message(MessageType::Read, 3, 0, b"domid\0")).unwrap();
        assert_eq!(device.read_message().0.req_id, ReqId(3));
    });
}

#[test]
fn batches_of_requests_are_sent_one_by_one() {
    let kernel = simulated_kernel();
    let device = TestDevice::Simulated(kernel.clone());
    let submit_three = |client: &TestClient| {
        for _ in 0..3 {
            assert!(client.submit_unsent(&Request::Read(node("domid"))));
        }
    };
    let client = device.client();
    submit_three(&client);
    for _ in 0..3 {
        assert_eq!(client.reply().1, Reply::Value(b"5".into()));
    }
    assert_eq!(kernel.spoiled(), 0);

    // A client that sends them in one write loses all but the first.
    let careless = device.careless_client();
    submit_three(&careless);
    careless.reply();
    assert_eq!(careless.poll(), (2, 0, 0));
    assert_eq!(kernel.spoiled(), 1);
}

#[test]
fn empty_reads_never_return() {
    let kernel = simulated_kernel();
    let device = kernel.open().unwrap();
    assert!(device.read(&mut []).unwrap_err().to_string().contains("a read of length 0"));
    assert!(device.write(&message(MessageType::Read, 1, 0, b"domid\0")).is_err());

    let transport = simulated_kernel().open().unwrap().transport().unwrap();
    let error = transport.recv(&mut [], Wait::No).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert_eq!(TestClient::new(transport).read("domid"), Reply::Value(b"5".into()));
}

#[test]
fn transaction_end_without_transaction_is_never_answered() {
    on_each_device(|test_device| {
        let device = test_device.open();
        device.write(&message(MessageType::TransactionEnd, 1, 0, b"F\0")).unwrap();
        // The daemon answers a later request, on another descriptor.
        assert!(test_device.open().is_usable());
        assert!(device.has_nothing_to_read());
        assert!(device.is_usable());
        // `ClientConnection` rejects the request.
        let request = Request::TransactionEnd { commit: false };
        let client = test_device.client();
        assert!(!client.submit_unsent(&request));
    });
}

#[test]
fn reset_watches_affects_all_descriptors() {
    on_each_device(|test_device| {
        let (client, other) = (test_device.client(), test_device.client());
        assert!(test_device.transport().limits().shared_session);
        let path = writable_path("reset");
        assert_eq!(other.write(&path, b""), Reply::Done);
        assert_eq!(other.watch(&path, b"t"), Reply::Done);
        other.event();
        let tx_id = other.start_transaction();

        assert_eq!(client.request(&Request::ResetWatches), Reply::Done);
        assert_eq!(client.write(&path, b"1"), Reply::Done);
        let read = other.request_in(tx_id, &Request::Read(node(&path)));
        assert!(matches!(read, Reply::Error(_)), "{read:?}");
        assert_eq!(other.poll().2, 0);
        // The kernel still has both in its tables.
        assert_eq!(other.unwatch(&path, b"t"), Reply::Done);
        let end = other.end_transaction(tx_id, false);
        assert!(matches!(end, Reply::Error(_)), "{end:?}");
    });
}

#[test]
fn rejected_watch_fails_in_write() {
    let path = too_long_path();
    on_each_device(|test_device| {
        let device = test_device.open();
        let watch = message(MessageType::Watch, 1, 0, format!("{path}\0t\0").as_bytes());
        match device.write(&watch) {
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EINVAL)),
            Ok(_) => assert!(!test_device.is_simulated()),
        }
        drop(device);

        let client = test_device.client();
        let reply = client.watch(&path, b"t");
        if test_device.is_simulated() {
            assert_eq!(reply, Reply::Error(ErrorCode::Invalid));
        }
        assert!(matches!(client.read("domid"), Reply::Value(_)));
    });
}

#[test]
fn watch_over_quota_leaves_the_connection_usable() {
    on_each_device(|test_device| {
        let client = test_device.client();
        let path = writable_path("many");
        let mut set = 0;
        let refused = loop {
            match client.watch(&path, format!("t{set}").as_bytes()) {
                // dom0 has no quota.
                Reply::Done if set < 200 => set += 1,
                reply => break reply,
            }
        };
        eprintln!("after {set} watches: {refused:?}");
        assert!(matches!(client.read("domid"), Reply::Value(_)));
        for n in 0..set {
            assert_eq!(client.unwatch(&path, format!("t{n}").as_bytes()), Reply::Done);
        }
        assert_eq!(client.watch(&path, b"t"), Reply::Done);
    });
}

#[test]
fn first_event_may_precede_the_reply_to_watch() {
    let device = simulated_kernel().open().unwrap();
    let device: &dyn RawDevice = &device;
    let mut first = Vec::new();
    for token in ["1", "2"] {
        let payload = format!("data/x\0{token}\0");
        device.write(&message(MessageType::Watch, 7, 0, payload.as_bytes())).unwrap();
        first.push(device.read_message().0.msg_type);
        device.read_message();
    }
    assert_eq!(first, [MessageType::Watch as u32, MessageType::WatchEvent as u32]);

    on_each_device(|test_device| {
        let client = test_device.client();
        let path = writable_path("order");
        for token in ["1", "2", "3", "4"] {
            assert_eq!(client.watch(&path, token.as_bytes()), Reply::Done);
            assert_eq!(client.event(), (path.clone(), token.into()));
        }
    });
}

#[test]
fn events_carry_the_ids_of_requests() {
    let device = simulated_kernel().open().unwrap();
    let device: &dyn RawDevice = &device;
    device.write(&message(MessageType::Watch, 7, 0, b"data/x\0t\0")).unwrap();
    assert_eq!(device.read_message().0.msg_type, MessageType::Watch as u32);
    let (header, payload) = device.read_message();
    assert_eq!(header.msg_type, MessageType::WatchEvent as u32);
    assert_eq!(header.req_id, ReqId(7));
    assert_ne!(header.tx_id, TxId::NONE);
    assert_eq!(payload, b"data/x\0t\0");
}

#[test]
fn old_kernels_answer_watches_without_ids() {
    let kernel = simulated_kernel().with_old_replies();
    let device = kernel.open().unwrap();
    let device: &dyn RawDevice = &device;
    let (header, _) = device.request(MessageType::Watch, b"data/x\0t\0");
    assert_eq!((header.msg_type, header.req_id), (MessageType::Watch as u32, ReqId(0)));

    let client = TestDevice::Simulated(kernel).client();
    let path = writable_path("old");
    for token in [b"1", b"2"] {
        assert_eq!(client.watch(&path, token), Reply::Done);
        assert_eq!(client.event().1, token);
        assert_eq!(client.write(&path, b""), Reply::Done);
        client.event();
        assert_eq!(client.unwatch(&path, token), Reply::Done);
        assert_eq!(client.unwatch(&path, token), Reply::Done);
    }
}

#[test]
fn poll_never_reports_the_device_as_writable() {
    on_each_device(|test_device| {
        let device = test_device.open();
        assert_eq!(device.poll(libc::POLLIN | libc::POLLOUT, false), 0);
        device.write(&message(MessageType::Read, 1, 0, b"domid\0")).unwrap();
        assert_eq!(device.poll(libc::POLLIN | libc::POLLOUT, true), libc::POLLIN);
        // Readable until the whole reply has been read.
        device.read_exact(5);
        assert_eq!(device.poll(libc::POLLIN | libc::POLLOUT, false), libc::POLLIN);
        let rest_of_header = device.read_exact(11);
        device.read_exact(rest_of_header[7] as usize);
        assert_eq!(device.poll(libc::POLLIN | libc::POLLOUT, false), 0);
        test_device.transport().wait(Interest::Send, None).unwrap();
        test_device.transport().wait(Interest::Both, None).unwrap();
    });
}
