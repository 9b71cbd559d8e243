//! Prints a subtree with its values.
//!
//! ```text
//! cargo run -p xs-client --example tree
//! cargo run -p xs-client --example tree -- PATH
//! ```
//!
//! The first form starts at the root. On a machine without a xenstored, the example uses an
//! in-memory one.
//!
//! All nodes of one depth are read together, in two round trips: one for their children and one for
//! their values. [`Tree::walk`](xs_client::Tree::walk) does the same depth first, without holding
//! all nodes in memory.

use std::collections::BTreeMap;
use std::error::Error;

use xs_client::{Client, DomId, Result};
use xs_transport::mock::Xenstored;

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let client = Client::open().unwrap_or_else(|error| in_memory(&error));
    let start = std::env::args().nth(1).unwrap_or_else(|| "/".into());
    // The map is sorted by path components: a parent precedes its children.
    for (names, value) in read_tree(&client, &start)? {
        let depth = names.len().saturating_sub(1);
        let name = names.last().map_or("/", String::as_str);
        println!(
            "{:indent$}{name} = {:?}",
            "",
            String::from_utf8_lossy(&value),
            indent = depth * 2
        );
    }
    Ok(())
}

/// Returns the values of all nodes below `start`. The key of a node is the list of the names that
/// lead from `start` to it.
fn read_tree(client: &Client, start: &str) -> Result<BTreeMap<Vec<String>, Vec<u8>>> {
    let mut nodes = BTreeMap::new();
    let mut level = vec![(start.to_owned(), Vec::new())];
    while !level.is_empty() {
        let lists = client.directory_many(level.iter().map(|(path, _)| path));
        let values = client.read_many(level.iter().map(|(path, _)| path));
        let mut next = Vec::new();
        for (((path, names), list), value) in level.into_iter().zip(lists).zip(values) {
            // Skip nodes that have been removed in the meantime, and nodes without read access.
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
    println!("{error}\nUsing an in-memory xenstored instead\n");
    let xenstored = Xenstored::new();
    xenstored.add_guest(DomId::new(5));
    Client::from_transport(xenstored.connect(DomId::DOM0))
}
