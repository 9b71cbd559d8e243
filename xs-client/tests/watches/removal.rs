//! A watch that is removed in the client is removed at the daemon too.

use std::time::Duration;

use xs_client::{Client, DomId, ErrorCode};
use xs_proto::{MessageType, Request};
use xs_transport::mock::{Fault, Record, Xenstored};

use crate::support::daemon::{FULL, TestDaemon, fill, finish_cleanup, start};

#[test]
fn refused_removal_is_reported() {
    let (xenstored, client) = start();
    for code in [ErrorCode::Io, ErrorCode::NoEntry] {
        let watch = client.watch("/a").unwrap();
        xenstored.inject(Fault::error(code.clone()).on(MessageType::Unwatch));
        assert_eq!(watch.remove().unwrap_err().code(), Some(&code));
    }
    client.watch("/b").unwrap().remove().unwrap();
}

/// The daemon of the next connection need not have the watch, so ENOENT is no failure there.
#[test]
fn missing_watch_on_next_connection_counts_as_removed() {
    let daemon = TestDaemon::new();
    let client = daemon.client();
    for (code, is_reported) in [(ErrorCode::Io, true), (ErrorCode::NoEntry, false)] {
        let watch = client.watch("/a").unwrap();
        daemon.go_down(&client);
        daemon.set_down(false);
        daemon.xenstored.inject(Fault::error(code.clone()).on(MessageType::Unwatch));
        assert_eq!(watch.remove().is_err(), is_reported, "{code}");
    }
}

#[test]
fn removal_that_times_out_is_done_later() {
    let (xenstored, client) = start();
    let watch = client.watch("/a").unwrap();
    let fault = xenstored.inject(Fault::delay().times(FULL as u64));
    let pending = fill(&client);
    let impatient = client.with_timeout(Duration::from_millis(1));
    assert!(impatient.unwatch(watch.token()).unwrap_err().is_timeout());
    fault.release();
    drop(pending);
    finish_cleanup(&client);
    assert_eq!(xenstored.watches(DomId::DOM0), []);
}

#[test]
fn watch_that_is_set_after_its_deadline_is_removed() {
    let (xenstored, client) = start();
    // The daemon sets the watch, and sends its reply with the next one.
    xenstored.inject(Fault::merge().on(MessageType::Watch));
    let impatient = client.with_timeout(Duration::from_millis(1));
    assert!(impatient.watch("/a").unwrap_err().is_timeout());
    finish_cleanup(&client);
    assert_eq!(xenstored.watches(DomId::DOM0), []);
}

#[test]
fn refused_watch_is_not_removed() {
    let (xenstored, client) = start();
    xenstored.inject(Fault::error(ErrorCode::Quota).on(MessageType::Watch));
    xenstored.record();
    assert_eq!(client.watch("/a").unwrap_err().code(), Some(&ErrorCode::Quota));
    finish_cleanup(&client);
    let records = xenstored.take_records();
    let is_removal = |record: &&Record| matches!(record.request(), Some(Request::Unwatch { .. }));
    assert_eq!(records.iter().find(is_removal), None);
}

#[cfg(feature = "futures")]
#[test]
fn dropped_removal_still_removes_watch() {
    use futures_lite::future::{block_on, poll_once};

    let (xenstored, client) = start();
    let tasks = xs_client::futures::Client::on_thread(client.clone()).unwrap();
    block_on(async {
        let watch = tasks.watch("/a").await.unwrap();
        let fault = xenstored.inject(Fault::delay().times(FULL as u64));
        let pending = fill(&client);
        assert!(poll_once(watch.remove()).await.is_none());
        fault.release();
        drop(pending);
    });
    finish_cleanup(&client);
    assert_eq!(xenstored.watches(DomId::DOM0), []);
}

#[test]
fn token_of_another_client_removes_nothing() {
    let xenstored = Xenstored::new();
    let [one, other] = [(); 2].map(|()| Client::from_transport(xenstored.connect(DomId::DOM0)));
    let of_one = one.watch("/one").unwrap();
    let mut of_other = other.watch("/other").unwrap();
    other.unwatch(of_one.token()).unwrap();
    of_other.wait().unwrap();
}
