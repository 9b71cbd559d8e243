//! The children of nodes.

use std::collections::BTreeSet;

use xs_client::{Client, ErrorCode};
use xs_tests::on_every_site;

on_every_site! {
    fn an_empty_node_has_no_children(on) {
        assert_eq!(on.client.directory(on.root()).unwrap(), Vec::<String>::new());
    }

    fn children_of_several_nodes(on) {
        on.client.mkdir_many(["a/x", "a/y", "b"].map(|name| on.path(name)))
            .into_iter().for_each(Result::unwrap);
        let lists = on.client.directory_many(["a", "b", "c"].map(|name| on.path(name)));
        let mut a = lists[0].as_ref().unwrap().clone();
        a.sort();
        assert_eq!(a, ["x", "y"]);
        assert!(lists[1].as_ref().unwrap().is_empty());
        assert!(lists[2].as_ref().unwrap_err().is_not_found());
    }

    fn the_daemons_order_is_kept(on) {
        let names = ["c", "a", "b"];
        on.client.mkdir_many(names.map(|name| on.path(name))).into_iter().for_each(Result::unwrap);
        let expected = if on.is_ocaml { ["a", "b", "c"] } else { names };
        assert_eq!(on.client.directory(on.root()).unwrap(), expected);
    }

    /// The C daemon answers E2BIG and gives the list in parts, oxenstored gives one reply that is
    /// larger than any should be.
    fn more_names_than_one_message_holds(on) {
        let count = if on.is_guest() { 90 } else { on.many(3000) };
        // A guest's node of 2048 bytes holds no list of more than 4096, except on oxenstored.
        let name = |n: usize| format!("{n:04}{}", "x".repeat(if on.is_guest() { 10 } else { 40 }));
        let names: BTreeSet<_> = (0..count).map(name).collect();
        let top = on.path("top");
        let made = on.client.mkdir_many(names.iter().map(|name| format!("{top}/{name}")));
        made.into_iter().for_each(Result::unwrap);

        let Some(list) = long_list(&on.client, &top) else {
            return;
        };
        assert_eq!(list.len(), count);
        assert_eq!(list.into_iter().collect::<BTreeSet<_>>(), names);
        // The same among others, and where there is nothing to it.
        let lists = on.client.directory_many([&top, &on.path("missing"), &top]);
        assert_eq!(lists[0].as_ref().unwrap().len(), count);
        assert!(lists[1].is_err());
        assert_eq!(lists[2].as_ref().unwrap().len(), count);
        let tx = on.client.start_transaction().unwrap();
        assert_eq!(tx.directory(&top).unwrap().len(), count);
        tx.abort().unwrap();
    }

    fn a_large_directory_that_changes_meanwhile(on) {
        if on.is_guest() {
            return;
        }
        let top = on.path("top");
        let name = |n: usize| format!("{top}/{n:04}{}", "x".repeat(100));
        on.client.mkdir_many((0..300).map(name)).into_iter().for_each(Result::unwrap);
        if long_list(&on.client, &top).is_none() {
            return;
        }
        let other = on.another();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for n in 300..340 {
                    other.mkdir(&name(n)).unwrap();
                }
            });
            // Whenever it is read, it is a list that there was at some time.
            while !writer.is_finished() {
                let list = on.client.directory(&top).unwrap();
                assert!((300..=340).contains(&list.len()), "{}", list.len());
                let distinct: BTreeSet<_> = list.iter().collect();
                assert_eq!(distinct.len(), list.len());
                assert!((0..300).all(|n| distinct.contains(&name(n)[top.len() + 1..].to_string())));
            }
        });
        assert_eq!(on.client.directory(&top).unwrap().len(), 340);
    }
}

/// Over a guest's ring oxenstored keeps to the length of a message, and has no DIRECTORY_PART: such
/// a list cannot be had there. To be told so is all that can be asked for.
fn long_list(client: &Client, path: &str) -> Option<Vec<String>> {
    match client.directory(path) {
        Err(error) if error.code() == Some(&ErrorCode::NotSupported) => {
            eprintln!("this daemon cannot list {path}: {error}");
            None
        }
        list => Some(list.unwrap()),
    }
}
