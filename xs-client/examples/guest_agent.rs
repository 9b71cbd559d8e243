//! A guest agent: tells the host about this guest, and takes it back when it ends.
//!
//! ```text
//! cargo run -p xs-client --example guest_agent
//! ```
//!
//! It works in any guest, whose xenstored it reaches by the kernel's device. Where there is none,
//! it shows what it would do on one in memory.

use std::error::Error;
use std::fs;

use xs_client::{Client, DomId, Result};
use xs_transport::mock::Xenstored;

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let client = Client::open().unwrap_or_else(|error| in_memory(&error));

    // Relative paths are below the guest's own home: it need not know which domain it is.
    publish(&client)?;
    for key in client.directory("data")? {
        println!("data/{key} = {}", client.read_str(&format!("data/{key}"))?);
    }

    withdraw(&client)?;
    println!("and now data has {:?}", client.directory("data")?);
    Ok(())
}

/// What we tell: all of it at once, so that nobody sees half.
fn publish(client: &Client) -> Result<()> {
    let facts = [
        ("data/os_name", os_name()),
        ("data/hostname", read_line("/proc/sys/kernel/hostname")),
        // An empty value is a value as well: it says that we are here.
        ("data/agent", String::new()),
    ];
    client.transaction(|tx| {
        tx.write_many(facts.iter().map(|(key, value)| (key, value))).into_iter().collect()
    })
}

/// It is no error if a key is gone already.
fn withdraw(client: &Client) -> Result<()> {
    client.rm_many(["data/os_name", "data/hostname", "data/agent"]).into_iter().collect()
}

fn os_name() -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.unwrap_or("unknown").trim_matches('"').to_owned()
}

fn read_line(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim_end().to_owned()
}

fn in_memory(error: &xs_client::Error) -> Client {
    println!("{error}\nusing a xenstored in memory, as its domain 5\n");
    let xenstored = Xenstored::new();
    // With the nodes that a toolstack gives to a guest.
    xenstored.add_guest(DomId::new(5));
    Client::over(xenstored.connect(DomId::new(5)))
}
