//! Waits until the toolstack asks this guest to shut down, acknowledges it, and says what it asked
//! for: `poweroff`, `reboot`, `suspend`, …
//!
//! ```text
//! cargo run -p xs-client --example wait_for_shutdown
//! ```
//!
//! The protocol is that of `control/shutdown` (Xen's `docs/misc/xenstore-paths`): the toolstack
//! writes what it wants, and the guest answers by writing an empty value. On a machine without Xen
//! a toolstack in another thread does the asking, on a xenstored in memory.

use std::error::Error;
use std::thread;

use xs_client::{Client, DomId, Result};
use xs_transport::mock::Xenstored;

const SHUTDOWN: &str = "control/shutdown";

fn main() -> std::result::Result<(), Box<dyn Error>> {
    match Client::open() {
        Ok(client) => {
            println!("asked to {}", wait_for_shutdown(&client)?);
            Ok(())
        }
        Err(error) => {
            println!("{error}\nusing a xenstored in memory, as its domain 5\n");
            play()
        }
    }
}

/// Waits for as long as it takes.
fn wait_for_shutdown(client: &Client) -> Result<String> {
    client.wait_for(SHUTDOWN, None, |value| value.is_some_and(|value| !value.is_empty()))?;
    // In a transaction: the toolstack may change its mind between the look and the answer.
    client.transaction(|tx| {
        let wanted = tx.read_str(SHUTDOWN)?;
        tx.write(SHUTDOWN, "")?;
        Ok(wanted)
    })
}

fn play() -> std::result::Result<(), Box<dyn Error>> {
    let xenstored = Xenstored::new();
    xenstored.add_guest(DomId::new(5));
    let guest = Client::over(xenstored.connect(DomId::new(5)));
    let toolstack = Client::over(xenstored.connect(DomId::DOM0));

    let asking = thread::spawn(move || {
        let path = "/local/domain/5/control/shutdown";
        toolstack.write(path, "poweroff")?;
        println!("toolstack: wrote poweroff");
        toolstack.wait_for(path, None, |value| value == Some(b""))?;
        println!("toolstack: the guest has seen it");
        Ok::<(), xs_client::Error>(())
    });
    println!("guest:     asked to {}", wait_for_shutdown(&guest)?);
    asking.join().map_err(|_| "the toolstack panicked")??;
    Ok(())
}
