//! The children of nodes.

use std::collections::BTreeSet;

use xs_client::{Client, ErrorCode};
use xs_tests::on_every_backend;

on_every_backend! {
    fn node_without_children_has_an_empty_list(ctx) {
        assert_eq!(ctx.client.directory(ctx.root()).unwrap(), Vec::<String>::new());
    }

    fn children_of_several_nodes_are_listed_in_one_batch(ctx) {
        ctx.client.mkdir_many(["a/x", "a/y", "b"].map(|name| ctx.path(name)))
            .into_iter().for_each(Result::unwrap);
        let lists = ctx.client.directory_many(["a", "b", "c"].map(|name| ctx.path(name)));
        let mut a = lists[0].as_ref().unwrap().clone();
        a.sort();
        assert_eq!(a, ["x", "y"]);
        assert!(lists[1].as_ref().unwrap().is_empty());
        assert!(lists[2].as_ref().unwrap_err().is_not_found());
    }

    fn children_keep_the_order_of_the_daemon(ctx) {
        let names = ["c", "a", "b"];
        ctx.client.mkdir_many(names.map(|name| ctx.path(name))).into_iter().for_each(Result::unwrap);
        let expected = if ctx.is_oxenstored { ["a", "b", "c"] } else { names };
        assert_eq!(ctx.client.directory(ctx.root()).unwrap(), expected);
    }

    /// The C daemon answers E2BIG and then sends the list in parts. oxenstored sends one reply that
    /// exceeds the limit of the protocol.
    fn lists_longer_than_one_message_are_complete(ctx) {
        let count = if ctx.is_guest() { 90 } else { ctx.load(3000).max(150) };
        // Except on oxenstored, a guest's node is limited to 2048 bytes, so that its list is short.
        let name = |n: usize| format!("{n:04}{}", "x".repeat(if ctx.is_guest() { 10 } else { 40 }));
        let names: BTreeSet<_> = (0..count).map(name).collect();
        let top = ctx.path("top");
        let made = ctx.client.mkdir_many(names.iter().map(|name| format!("{top}/{name}")));
        made.into_iter().for_each(Result::unwrap);

        let Some(list) = long_list(&ctx.client, &top) else {
            return;
        };
        assert_eq!(list.len(), count);
        assert_eq!(list.into_iter().collect::<BTreeSet<_>>(), names);
        // The same in a batch with other lists, and in a transaction.
        let lists = ctx.client.directory_many([&top, &ctx.path("missing"), &top]);
        assert_eq!(lists[0].as_ref().unwrap().len(), count);
        assert!(lists[1].is_err());
        assert_eq!(lists[2].as_ref().unwrap().len(), count);
        let tx = ctx.client.start_transaction().unwrap();
        assert_eq!(tx.directory(&top).unwrap().len(), count);
        tx.abort().unwrap();
    }

    fn changing_long_lists_are_consistent(ctx) {
        if ctx.is_guest() {
            return;
        }
        let top = ctx.path("top");
        let name = |n: usize| format!("{top}/{n:04}{}", "x".repeat(100));
        let before = ctx.load(300).max(100);
        let after = before + 40;
        ctx.client.mkdir_many((0..before).map(name)).into_iter().for_each(Result::unwrap);
        if long_list(&ctx.client, &top).is_none() {
            return;
        }
        let other = ctx.another();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for n in before..after {
                    other.mkdir(name(n)).unwrap();
                }
            });
            // Every list is the state at some point in time.
            while !writer.is_finished() {
                let list = ctx.client.directory(&top).unwrap();
                assert!((before..=after).contains(&list.len()), "{}", list.len());
                let distinct: BTreeSet<_> = list.iter().collect();
                assert_eq!(distinct.len(), list.len());
                assert!((0..before).all(|n| distinct.contains(&name(n)[top.len() + 1..].to_string())));
            }
        });
        assert_eq!(ctx.client.directory(&top).unwrap().len(), after);
    }
}

/// Lists the children of a node, or returns `None` if the daemon cannot. Over a guest's ring
/// oxenstored respects the length of a message but lacks DIRECTORY_PART: the client can only report
/// that long lists are not supported.
fn long_list(client: &Client, path: &str) -> Option<Vec<String>> {
    match client.directory(path) {
        Err(error) if error.code() == Some(&ErrorCode::NotSupported) => {
            eprintln!("this daemon cannot list {path}: {error}");
            None
        }
        list => Some(list.unwrap()),
    }
}
