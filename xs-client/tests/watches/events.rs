//! Events and errors that a watch reports.

use std::time::Duration;

use xs_client::{Client, DomId, ErrorCode};
use xs_proto::MessageType;
use xs_transport::mock::{Fault, Kernel, Xenstored};

use crate::support::daemon::{TestDaemon, start};
use crate::support::waiting::{HANG_GUARD, in_time};

#[test]
fn iterator_reports_loss_once_and_ends() {
    let (xenstored, client) = start();
    let mut watch = client.watch("/a").unwrap();
    assert_eq!(watch.path(), "/a");
    assert!(watch.next().unwrap().is_ok());
    xenstored.disconnect_all();
    assert!(watch.next().unwrap().unwrap_err().is_lost());
    assert!(watch.next().is_none());
    // The other methods go on reporting the loss.
    assert!(watch.try_next().unwrap_err().is_lost());
    assert!(watch.next_timeout(Duration::ZERO).unwrap_err().is_lost());
}

/// The device reports the refusal of a watch as the error of write(2), and gives no reply.
#[test]
fn refusal_by_device_fails_watch_at_once() {
    let xenstored = Xenstored::new();
    let device = Kernel::new(&xenstored, DomId::DOM0).open().unwrap();
    let client = Client::from_transport(device.transport().unwrap());
    xenstored.inject(Fault::error(ErrorCode::Quota).on(MessageType::Watch));
    // The device reports any error of the daemon as EINVAL.
    assert!(client.watch("/a").unwrap_err().code().is_some());
    client.watch("/a").unwrap().wait().unwrap();
}

#[test]
fn wait_for_reports_why_value_cannot_be_read() {
    let daemon = TestDaemon::new();
    let (xenstored, client) = start();
    for (xenstored, client) in [(xenstored, client), (daemon.xenstored.clone(), daemon.client())] {
        xenstored.inject(Fault::error(ErrorCode::Access).on(MessageType::Read));
        let error = in_time(move || client.wait_for("/a", HANG_GUARD, |_| true).unwrap_err());
        assert_eq!(error.code(), Some(&ErrorCode::Access), "{error}");
    }
}
