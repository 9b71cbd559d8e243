//! Messages of unusual length, in unusual pieces, and with slow replies.

use std::thread;

use xs_proto::{DomId, ErrorCode, Header, Limits, MessageType, Reply, ReqId, Request};
use xs_transport::DEVICE_PAYLOAD_MAX;
use xs_transport::mock::{Fault, Kernel};

use crate::client::{node, writable_path};
use crate::device::{TestDevice, message, on_each_device, xenstored};

#[test]
fn partial_writes_are_assembled() {
    on_each_device(|test_device| {
        let device = test_device.open();
        let read = message(MessageType::Read, 9, 0, b"domid\0");
        for split in 1..read.len() {
            assert_eq!(device.write(&read[..split]).unwrap(), split);
            assert!(device.has_nothing_to_read());
            device.write(&read[split..]).unwrap();
            assert_eq!(device.read_message().0.req_id, ReqId(9));
        }
    });
}

#[test]
fn closing_discards_a_partial_message() {
    on_each_device(|test_device| {
        let device = test_device.open();
        device.write(&message(MessageType::Read, 9, 0, b"domid\0")[..10]).unwrap();
        drop(device);
        assert!(test_device.open().is_usable());
    });
}

#[test]
fn oversized_messages_are_rejected() {
    on_each_device(|test_device| {
        let device = test_device.open();
        let long = message(MessageType::Write, 1, 0, &[b'x'; DEVICE_PAYLOAD_MAX + 1]);
        let error = device.write(&long).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        assert!(device.is_usable());
        let error = device.write(&long[..Header::LEN]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::E2BIG));
        assert!(device.is_usable());

        // To a client without the payload limit, the rejection is the reply.
        let client = test_device.client_with_limits(Limits::default().with_one_at_a_time());
        let path = writable_path("long");
        let reply = client.write(&path, &vec![b'x'; DEVICE_PAYLOAD_MAX - path.len()]);
        assert_eq!(reply, Reply::Error(ErrorCode::Invalid));
        assert!(matches!(client.read("domid"), Reply::Value(_)));
    });
}

#[test]
fn longest_message_is_accepted() {
    on_each_device(|test_device| {
        let client = test_device.client();
        let path = writable_path("large");
        let value = vec![b'x'; DEVICE_PAYLOAD_MAX - path.len() - 1];
        // The daemon parses the message, and may say that it exceeds the quota of a guest.
        let reply = client.write(&path, &value);
        assert!(
            matches!(reply, Reply::Done | Reply::Error(ErrorCode::NoSpace | ErrorCode::TooBig)),
            "{reply:?}"
        );
        assert_eq!(client.write(&path, b""), Reply::Done);
    });
}

#[test]
fn slow_replies_do_not_delay_other_descriptors() {
    let xenstored = xenstored();
    let device = TestDevice::Simulated(Kernel::new(&xenstored, DomId::new(5)));
    let client = device.client();
    let path = writable_path("slow");
    for request in [
        Request::Read(node("domid")),
        Request::Watch { path: node(&path), token: b"t", depth: None },
    ] {
        let fault = xenstored.inject(Fault::delay().on(request.msg_type()));
        thread::scope(|scope| {
            let waiting = scope.spawn(|| client.request(&request));
            while fault.hits() == 0 {
                thread::yield_now();
            }
            assert_eq!(device.client().read("domid"), Reply::Value(b"5".into()));
            fault.release();
            assert!(!matches!(waiting.join().unwrap(), Reply::Error(_)));
        });
    }
}
