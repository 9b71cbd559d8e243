//! What watches say: how they end, and which errors are passed on.

mod host;

use std::time::Duration;

use xs_client::{Client, DomId, ErrorCode};
use xs_proto::MessageType;
use xs_transport::mock::{Fault, Kernel, Xenstored};

use host::{Host, PATIENCE, in_time, start};

#[test]
fn an_iterator_ends_with_the_loss_and_says_so_once() {
    let (xenstored, client) = start();
    let mut watch = client.watch("/a").unwrap();
    assert_eq!(watch.path(), "/a");
    assert!(watch.next().unwrap().is_ok());
    xenstored.disconnect_all();
    assert!(watch.next().unwrap().unwrap_err().is_lost());
    assert!(watch.next().is_none());
    // To ask is not forbidden.
    assert!(watch.try_next().unwrap_err().is_lost());
    assert!(watch.next_timeout(Duration::ZERO).unwrap_err().is_lost());
}

#[test]
fn one_that_the_device_refuses_has_no_reply_and_fails_at_once() {
    let xenstored = Xenstored::new();
    let device = Kernel::new(&xenstored, DomId::DOM0).open().unwrap();
    let client = Client::over(device.transport().unwrap());
    xenstored.inject(Fault::error(ErrorCode::Quota).on(MessageType::Watch));
    // The device has EINVAL for whatever the daemon says.
    assert!(client.watch("/a").unwrap_err().code().is_some());
    client.watch("/a").unwrap().wait().unwrap();
}

#[test]
fn a_removal_that_is_refused_says_so() {
    let (xenstored, client) = start();
    for code in [ErrorCode::Io, ErrorCode::NoEntry] {
        let watch = client.watch("/a").unwrap();
        xenstored.inject(Fault::error(code.clone()).on(MessageType::Unwatch));
        assert_eq!(watch.remove().unwrap_err().code(), Some(&code));
    }
    client.watch("/b").unwrap().remove().unwrap();
    // So it does if it comes over another connection, where a watch need not be there.
    let host = Host::new();
    let client = host.client();
    for (code, is_refused) in [(ErrorCode::Io, true), (ErrorCode::NoEntry, false)] {
        let watch = client.watch("/a").unwrap();
        host.go_down(&client);
        host.set_down(false);
        host.xenstored.inject(Fault::error(code.clone()).on(MessageType::Unwatch));
        assert_eq!(watch.remove().is_err(), is_refused, "{code}");
    }
}

#[test]
fn who_waits_for_a_value_is_told_why_it_cannot_be_read() {
    let host = Host::new();
    let (xenstored, client) = start();
    for (xenstored, client) in [(xenstored, client), (host.xenstored.clone(), host.client())] {
        xenstored.inject(Fault::error(ErrorCode::Access).on(MessageType::Read));
        let error = in_time(move || client.wait_for("/a", PATIENCE, |_| true).unwrap_err());
        assert_eq!(error.code(), Some(&ErrorCode::Access), "{error}");
    }
}
