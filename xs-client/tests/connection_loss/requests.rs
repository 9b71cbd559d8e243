//! Requests and transactions of a lost connection fail, and those of the next one succeed.

use xs_client::{ErrorKind, Failure, op};
use xs_proto::MessageType;
use xs_transport::mock::Fault;

use crate::support::daemon::TestDaemon;
use crate::support::waiting::HANG_GUARD;

#[test]
fn requests_in_flight_fail_with_cause_of_loss() {
    let daemon = TestDaemon::new();
    let client = daemon.client();
    let fault = daemon.xenstored.inject(Fault::ignore().times(2));
    let mut pending = [op::read("/"), op::read("/tool")].map(|op| client.start(&op).unwrap());
    assert_eq!(fault.hits(), 2);
    let tx = client.start_transaction().unwrap();
    daemon.hang_up();
    let lost = client.read("/").unwrap_err();
    // This uses the next connection.
    client.write("/a", "1").unwrap();
    for pending in &mut pending {
        let error = pending.try_take().expect("the request is still in flight").unwrap_err();
        let (ErrorKind::Lost(one), ErrorKind::Lost(other)) = (lost.kind(), error.kind()) else {
            panic!("{lost}, {error}");
        };
        assert!(!matches!(other, Failure::Closed));
        assert_eq!(one.to_string(), other.to_string());
    }
    let error = tx.write("/a", "2").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TransactionLost), "{error}");
    let error = tx.commit().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TransactionLost), "{error}");
    assert_eq!(client.read("/a").unwrap(), b"1");
}

#[test]
fn wait_for_outlasts_lost_read() {
    let daemon = TestDaemon::new();
    let client = daemon.client();
    client.write("/state", "4").unwrap();
    daemon.xenstored.inject(Fault::close().on(MessageType::Read).at("/state"));
    let value = client.wait_for("/state", HANG_GUARD, |value| value == Some(b"4")).unwrap();
    assert_eq!(value.as_deref(), Some(b"4".as_slice()));
}

#[test]
fn dropped_transaction_of_lost_connection_ends_no_later_transaction() {
    let daemon = TestDaemon::new();
    let client = daemon.client();
    let old = client.start_transaction().unwrap();
    daemon.hang_up();
    assert!(client.read("/").unwrap_err().is_lost());
    // The daemon numbers transactions per connection: both have the same id.
    let new = client.start_transaction().unwrap();
    drop(old);
    new.write("/a", "1").unwrap();
    new.commit().unwrap();
}

#[cfg(feature = "futures")]
mod with_futures {
    use std::task::{Poll, Waker};
    use std::time::Duration;

    use futures_lite::future::{block_on, poll_once};
    use xs_client::futures::Client;

    use super::*;
    use crate::support::waiting::wait_until;
    use crate::support::wakers::poll;

    #[test]
    fn transaction_start_answered_before_loss_ends_no_later_transaction() {
        let daemon = TestDaemon::new();
        let client = Client::on_thread(daemon.client()).unwrap();
        let blocking = client.blocking();
        // The replies arrive, and the connection is lost before the futures are polled again.
        let mut late = [(); 2].map(|()| Box::pin(client.start_transaction()));
        let fault = Fault::delay().on(MessageType::TransactionStart).times(2);
        let start = daemon.xenstored.inject(fault);
        for late in &mut late {
            assert!(poll(late, Waker::noop()).is_pending());
        }
        start.release();
        blocking.read("/").unwrap();
        daemon.hang_up();
        let connect = || {
            let _ = blocking.read("/");
            daemon.is_connected()
        };
        wait_until(connect, "the client does not connect again");
        let [first, second] = [(); 2].map(|()| blocking.start_transaction().unwrap());
        let [mut polled, dropped] = late;
        let Poll::Ready(Err(error)) = poll(&mut polled, Waker::noop()) else {
            panic!("the transaction is not lost")
        };
        assert!(error.is_lost(), "{error}");
        drop(dropped);
        for (tx, path) in [(first, "/first"), (second, "/second")] {
            tx.write(path, "").unwrap();
            tx.commit().unwrap();
            assert!(blocking.exists(path).unwrap());
        }
    }

    #[test]
    fn transaction_may_be_first_request_on_new_connection() {
        let daemon = TestDaemon::new();
        let client = Client::on_thread(daemon.client()).unwrap();
        block_on(async {
            daemon.set_down(true);
            daemon.hang_up();
            // The client notices the loss.
            assert!(client.with_timeout(Duration::from_millis(1)).read("/").await.is_err());
            let mut start = Box::pin(client.start_transaction());
            assert!(poll_once(&mut start).await.is_none());
            daemon.set_down(false);
            let tx = start.await.unwrap();
            tx.write("/a", "1").await.unwrap();
            tx.commit().await.unwrap();
            assert_eq!(client.read("/a").await.unwrap(), b"1");
        });
    }
}
