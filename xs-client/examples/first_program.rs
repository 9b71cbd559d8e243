//! The first program of the README: a guest.

use std::time::Duration;
use xs_client::Client;

fn main() -> xs_client::Result<()> {
    let client = Client::open()?; // finds the daemon of this machine
    let domid: u16 = client.read_parsed("domid")?;
    client.write("data/greeting", "hello")?; // values are bytes
    let [vm, name] = client.read_array(["vm", "name"])?; // one round trip
    println!("domain {domid} is {}, {}", name.escape_ascii(), vm.escape_ascii());

    // Writes both nodes or none. Runs again if another client changed them meanwhile.
    client.transaction(|tx| tx.write_all([("data/os", "Debian"), ("data/cpus", "4")]))?;

    let mut watch = client.watch("data")?; // the first event comes at once
    println!("{} has changed", watch.wait()?);
    let minute = Duration::from_secs(60);
    client.wait_for("control/shutdown", minute, |value| value == Some(b"poweroff"))?;
    client.write("control/shutdown", "")?; // tells the toolstack that the request has arrived
    Ok(())
}
