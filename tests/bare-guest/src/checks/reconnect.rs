//! Reconnection.

use xs_proto::{Features, Path, Reply, Request};

use super::ensure;
use crate::store::{Result, Store};
use crate::{Options, print_line};

/// A guest that begins anew, such as a kernel that is loaded by another, resets the connection in
/// the middle of whatever its predecessor did. If the daemon does not offer this, nothing changes.
pub fn reconnection(store: &mut Store, options: Options<'_>) -> Result<()> {
    let offered = store.features().contains(Features::RECONNECTION);
    if let Some(expected) = options.value("reconnection") {
        ensure(offered == (expected == "yes"), "xenstored offers something else")?;
    }
    if !offered {
        ensure(store.reconnect().is_err(), "an end reconnects though this is not offered")?;
        store.read("name")?;
        print_line!("xenstored does not offer to reconnect");
        return Ok(());
    }
    store.write("data/bare", b"1")?;
    store.watch("data/bare", b"lost")?;
    let name = store.read("name")?;
    for _ in 0..100 {
        store.submit(Default::default(), &Request::Read(Path::new("name")?))?;
    }
    store.reconnect()?;
    ensure(store.read("name")? == name, "the connection is of no use")?;
    store.write("data/bare", b"2")?;
    ensure(store.read("data/bare")? == b"2", "a value was not written")?;
    ensure(store.take_event().is_none(), "a watch of the old connection has fired")?;
    let unwatch = Request::Unwatch { path: Path::new("data/bare")?, token: b"lost" };
    ensure(matches!(store.call(&unwatch)?, Reply::Error(_)), "the old watch is still there")?;
    store.remove("data/bare")
}

/// The toolstack introduces the domain again: the C daemon empties the ring, and drops the watches and
/// transactions.
pub fn second_introduce(store: &mut Store, _: Options<'_>) -> Result<()> {
    store.watch("data/waits", b"lost")?;
    store.next_event()?;
    let path = Path::new("data/waits")?;
    store.send_until_emptied(&Request::Write { path, value: b"introduce" })?;
    store.restart();
    store.write("data/waits", b"nothing")?;
    ensure(store.take_event().is_none(), "a watch has outlived the second INTRODUCE")?;
    store.write("data/is-back", b"yes")
}
