//! A guest agent: publishes facts about this guest to the host, and withdraws them when it ends.
//!
//! ```text
//! cargo run -p xs-client --example guest_agent
//! ```
//!
//! In a guest, the agent reaches xenstored through the kernel's device. On a machine without a
//! xenstored, it uses an in-memory one as domain 5.

use std::error::Error;
use std::fs;

use xs_client::{Client, DomId, Result};
use xs_transport::mock::Xenstored;

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let client = Client::open().unwrap_or_else(|error| in_memory(&error));

    // Relative paths start at the home of this guest. The agent does not need the domain ID.
    publish(&client)?;
    for key in client.directory("data")? {
        println!("data/{key} = {:?}", client.read_str(format!("data/{key}"))?);
    }

    withdraw(&client)?;
    println!("children of data after the withdrawal: {:?}", client.directory("data")?);
    Ok(())
}

/// Publishes all facts in one transaction, so that the host never reads a part of them.
fn publish(client: &Client) -> Result<()> {
    let facts = [
        ("data/os_name", os_name()),
        ("data/hostname", read_line("/proc/sys/kernel/hostname")),
        // The existence of this key tells the host that an agent runs. Its value is empty.
        ("data/agent", String::new()),
    ];
    client.transaction(|tx| tx.write_all(facts.iter().map(|(key, value)| (key, value))))
}

/// Removes all facts. Removing a key that does not exist is not an error.
fn withdraw(client: &Client) -> Result<()> {
    client.rm_all(["data/os_name", "data/hostname", "data/agent"])
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
    println!("{error}\nUsing an in-memory xenstored instead\n");
    let xenstored = Xenstored::new();
    // Creates the nodes that a toolstack creates for a guest.
    xenstored.add_guest(DomId::new(5));
    Client::from_transport(xenstored.connect(DomId::new(5)))
}
