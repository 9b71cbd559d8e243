//! What is told to `tracing`: each operation, and never a value.
#![cfg(feature = "tracing")]

use std::fmt::Write;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use xs_client::{Client, DomId};
use xs_transport::mock::Xenstored;

/// Keeps the fields of all events, a line each.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<String>>);

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Fields<'a>(&'a mut String);
        impl Visit for Fields<'_> {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                write!(self.0, "{field}={value:?} ").unwrap();
            }
        }
        let mut lines = self.0.lock().unwrap();
        event.record(&mut Fields(&mut lines));
        lines.push('\n');
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn operations_are_told_and_values_are_not() {
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), || {
        let client = Client::over(Xenstored::new().connect(DomId::DOM0));
        client.write("/a", "a secret").unwrap();
        client.transaction(|tx| tx.read("/a")).unwrap();
        client.read("/none").unwrap_err();
        client.read_many(["/a", "/other"]);
        let mut watch = client.watch("/a").unwrap();
        watch.wait().unwrap();
        client.close();
    });
    let lines = lines.0.lock().unwrap().clone();
    let find =
        |words: &[&str]| lines.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(
        find(&["operation=\"write\"", "path=\"/a\"", "tx_id=0", "req_id=", "latency_us="]),
        "{lines}"
    );
    assert!(find(&["operation=\"read\"", "path=\"/none\"", "error=ENOENT"]), "{lines}");
    assert!(find(&["operation=\"read\"", "path=\"/other\"", "error=ENOENT"]), "{lines}");
    assert!(find(&["operation=\"transaction_start\"", "tx_id=0", "req_id="]), "{lines}");
    assert!(
        find(&["operation=\"commit\""]) && !find(&["operation=\"commit\"", "tx_id=0 "]),
        "{lines}"
    );
    assert!(find(&["watch fired", "path=\"/a\""]), "{lines}");
    assert!(find(&["connection closed"]), "{lines}");
    assert!(!lines.contains("secret"), "{lines}");
}
