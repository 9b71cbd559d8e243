//! Subscribers of `tracing`: they see each operation but never a value, and may use the client.

use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, Once};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use xs_client::{Client, DomId};
use xs_transport::mock::Xenstored;

use crate::support::daemon::start;
use crate::support::waiting::in_time;

/// A subscriber that calls a function for each event.
struct OnEvent<F>(F);

impl<F: Fn(&Event<'_>) + Send + Sync + 'static> Subscriber for OnEvent<F> {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        (self.0)(event);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Calls `on_event` for each event that `run` causes on this thread.
fn subscribed<R>(
    on_event: impl Fn(&Event<'_>) + Send + Sync + 'static,
    run: impl FnOnce() -> R,
) -> R {
    // An event that another test reaches for the first time, while there is no subscriber, is
    // disabled on all threads until the next subscriber is installed.
    static GLOBAL: Once = Once::new();
    GLOBAL.call_once(|| {
        tracing::subscriber::set_global_default(OnEvent(|_: &Event<'_>| ())).unwrap()
    });
    tracing::subscriber::with_default(OnEvent(on_event), run)
}

/// Appends the fields of an event to a string, as one line.
struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, "{field}={value:?} ").unwrap();
    }
}

#[test]
fn operations_are_traced_and_values_are_not() {
    let lines = Arc::new(Mutex::new(String::new()));
    let written = lines.clone();
    let write_line = move |event: &Event<'_>| {
        let mut lines = written.lock().unwrap();
        event.record(&mut Fields(&mut lines));
        lines.push('\n');
    };
    subscribed(write_line, || {
        let client = Client::from_transport(Xenstored::new().connect(DomId::DOM0));
        client.write("/a", "a secret").unwrap();
        client.transaction(|tx| tx.read("/a")).unwrap();
        client.read("/none").unwrap_err();
        drop(client.read_many(["/a", "/other"]));
        let mut watch = client.watch("/a").unwrap();
        watch.wait().unwrap();
        client.close();
    });
    let lines = lines.lock().unwrap().clone();
    let has_line =
        |words: &[&str]| lines.lines().any(|line| words.iter().all(|word| line.contains(word)));
    for words in [
        &["operation=\"write\"", "path=\"/a\"", "tx_id=0", "req_id=", "latency_us="][..],
        &["operation=\"read\"", "path=\"/none\"", "error=ENOENT"],
        &["operation=\"read\"", "path=\"/other\"", "error=ENOENT"],
        &["operation=\"transaction_start\"", "tx_id=0", "req_id="],
        &["operation=\"commit\""],
        &["watch fired", "path=\"/a\""],
        &["connection closed"],
    ] {
        assert!(has_line(words), "no line has {words:?}:\n{lines}");
    }
    assert!(!has_line(&["operation=\"commit\"", "tx_id=0 "]), "{lines}");
    assert!(!lines.contains("secret"), "{lines}");
}

#[test]
fn subscriber_may_use_client() {
    in_time(|| {
        let (_xenstored, client) = start();
        let user = client.clone();
        let use_client = move |_: &Event<'_>| drop(user.transport_name());
        subscribed(use_client, || {
            drop(client.watch("/a"));
            client.close();
        });
    });
}

#[test]
fn panicking_subscriber_does_not_block_client() {
    in_time(|| {
        let xenstored = Xenstored::new();
        let client = Client::builder().timeout(None).from_transport(xenstored.connect(DomId::DOM0));
        let watch = subscribed(
            |_| panic!("a panic that the test expects"),
            || catch_unwind(AssertUnwindSafe(|| client.watch("/a"))),
        );
        drop(watch);
        client.write("/a", "1").unwrap();
    });
}
