//! The request of the toolstack to end.

use xs_proto::{Path, Reply, Request};

use crate::store::{Result, Store, unexpected};
use crate::xen::Shutdown;
use crate::{Options, print_line};

/// Waits until `control/shutdown` says how to end, and confirms it by clearing the node
/// (`docs/misc/xenstore-paths.pandoc`). Without `wait` or `dom0` on the command line, the guest does not wait
/// for the toolstack, but writes to the node itself.
pub fn requested(store: &mut Store, options: Options<'_>) -> Result<Shutdown> {
    const PATH: &str = "control/shutdown";
    store.watch(PATH, b"shutdown")?;
    if options.has("dom0") || options.has("wait") {
        store.write("data/waits", b"yes")?;
    } else if store.read(PATH).is_ok_and(|value| value.is_empty()) {
        store.write(PATH, b"poweroff")?;
    }
    loop {
        store.next_event()?;
        let value = match store.call(&Request::Read(Path::new(PATH)?))? {
            Reply::Value(value) => value,
            Reply::Error(_) => continue,
            reply => return Err(unexpected("read", PATH, &reply)),
        };
        let reason = match &value[..] {
            b"poweroff" | b"halt" => Shutdown::PowerOff,
            b"reboot" => Shutdown::Reboot,
            // Not a request of toolstacks, but of tests.
            b"crash" => Shutdown::Crash,
            _ => continue,
        };
        store.write(PATH, b"")?;
        print_line!("asked to shut down: {reason:?}");
        return Ok(reason);
    }
}
