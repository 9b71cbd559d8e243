//! Prints a directory tree with its values.
//!
//! ```text
//! cargo run -p xs-client --example tree [-- PATH]
//! ```
//!
//! A level is read in two round trips, however many nodes it has: one for the children of them
//! all, one for their values. ([`Tree::walk`](xs_client::Tree::walk) does it for you, depth first
//! and without holding the whole in memory.)

use std::collections::BTreeMap;
use std::error::Error;

use xs_client::{Client, DomId, Result};
use xs_transport::mock::Xenstored;

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let client = Client::open().unwrap_or_else(|error| in_memory(&error));
    let top = std::env::args().nth(1).unwrap_or_else(|| "/".into());
    // Sorted by components, a parent stands right before its children.
    for (path, value) in read_tree(&client, &top)? {
        let depth = path.len().saturating_sub(1);
        let name = path.last().map_or("/", String::as_str);
        println!(
            "{:indent$}{name} = {:?}",
            "",
            String::from_utf8_lossy(&value),
            indent = depth * 2
        );
    }
    Ok(())
}

/// The nodes below `top` by their names on the way there, with their values.
fn read_tree(client: &Client, top: &str) -> Result<BTreeMap<Vec<String>, Vec<u8>>> {
    let mut nodes = BTreeMap::new();
    let mut level = vec![(top.to_owned(), Vec::new())];
    while !level.is_empty() {
        let lists = client.directory_many(level.iter().map(|(path, _)| path));
        let values = client.read_many(level.iter().map(|(path, _)| path));
        let mut next = Vec::new();
        for (((path, names), list), value) in level.into_iter().zip(lists).zip(values) {
            // Nodes come and go, and some are not for us.
            let (Ok(children), Ok(value)) = (list, value) else {
                continue;
            };
            let prefix = if path == "/" { "" } else { &path };
            next.extend(children.into_iter().map(|child| {
                let path = format!("{prefix}/{child}");
                (path, names.iter().cloned().chain([child]).collect())
            }));
            nodes.insert(names, value);
        }
        level = next;
    }
    Ok(nodes)
}

fn in_memory(error: &xs_client::Error) -> Client {
    println!("{error}\nusing a xenstored in memory\n");
    let xenstored = Xenstored::new();
    xenstored.add_guest(DomId::new(5));
    Client::over(xenstored.connect(DomId::DOM0))
}
