//! Watches.

use super::ensure;
use crate::Options;
use crate::store::{Result, Store};

/// A watch fires when it is set, for changes at the node and below, and not after it was removed.
pub fn events(store: &mut Store, _: Options<'_>) -> Result<()> {
    store.watch("data/bare", b"token")?;
    expect(store, "data/bare", b"token")?;
    store.write("data/bare/below", b"1")?;
    // The daemon may report that it has created the parent.
    let mut event = store.next_event()?;
    if event.path == "data/bare" {
        event = store.next_event()?;
    }
    ensure(event.path == "data/bare/below" && event.token == b"token", "another event has come")?;
    store.write("data/bare/below", b"2")?;
    expect(store, "data/bare/below", b"token")?;
    store.unwatch("data/bare", b"token")?;
    store.write("data/bare/below", b"3")?;
    store.read("data/bare/below")?;
    ensure(store.take_event().is_none(), "a removed watch has fired")?;
    store.remove("data/bare")
}

/// Waits for an event and fails if it is another than the expected one.
pub fn expect(store: &mut Store, path: &str, token: &[u8]) -> Result<()> {
    let event = store.next_event()?;
    ensure(event.path == path && event.token == token, "another event has come")
}
