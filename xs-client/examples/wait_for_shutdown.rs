//! Waits until the toolstack requests a shutdown of this guest, and acknowledges the request.
//!
//! ```text
//! cargo run -p xs-client --example wait_for_shutdown
//! ```
//!
//! The toolstack writes `poweroff`, `reboot`, `suspend` or another request to `control/shutdown`,
//! and the guest acknowledges it by writing an empty value (see `docs/misc/xenstore-paths` in Xen).
//! On a machine without a xenstored, the example uses an in-memory one and plays the toolstack in
//! another thread.

use std::error::Error;
use std::thread;

use xs_client::{Client, DomId, Result};
use xs_transport::mock::Xenstored;

const SHUTDOWN: &str = "control/shutdown";

fn main() -> std::result::Result<(), Box<dyn Error>> {
    match Client::open() {
        Ok(client) => {
            println!("requested: {}", wait_for_shutdown(&client)?);
            Ok(())
        }
        Err(error) => {
            println!("{error}\nUsing an in-memory xenstored instead\n");
            simulate()
        }
    }
}

/// Waits for a request without a time limit. Returns the acknowledged request.
fn wait_for_shutdown(client: &Client) -> Result<String> {
    client.wait_for(SHUTDOWN, None, |value| value.is_some_and(|value| !value.is_empty()))?;
    // The toolstack may replace the request before it is acknowledged. The transaction ensures that
    // the request it returns is the one it acknowledges.
    client.transaction(|tx| {
        let request = tx.read_str(SHUTDOWN)?;
        tx.write(SHUTDOWN, "")?;
        Ok(request)
    })
}

/// Runs a guest and a toolstack on an in-memory xenstored.
fn simulate() -> std::result::Result<(), Box<dyn Error>> {
    let xenstored = Xenstored::new();
    xenstored.add_guest(DomId::new(5));
    let guest = Client::from_transport(xenstored.connect(DomId::new(5)));
    let toolstack = Client::from_transport(xenstored.connect(DomId::DOM0));

    let toolstack = thread::spawn(move || {
        let path = "/local/domain/5/control/shutdown";
        toolstack.write(path, "poweroff")?;
        println!("toolstack: wrote poweroff");
        toolstack.wait_for(path, None, |value| value == Some(b""))?;
        println!("toolstack: the guest has acknowledged the request");
        Ok::<(), xs_client::Error>(())
    });
    println!("guest:     requested: {}", wait_for_shutdown(&guest)?);
    toolstack.join().map_err(|_| "the toolstack panicked")??;
    Ok(())
}
