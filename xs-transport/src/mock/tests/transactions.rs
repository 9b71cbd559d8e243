//! Transactions: isolation, conflicts and limits.

use super::*;

#[test]
fn changes_are_visible_after_the_commit() {
    let xenstored = Xenstored::new();
    let mut dom0 = Client::new(&xenstored, 0);
    dom0.watch("/", "t");
    dom0.events();
    let tx = dom0.start();
    assert_eq!(dom0.call(Ty::Write, tx, "/a/b|x"), "OK|");
    assert_eq!(dom0.call(Ty::Read, tx, "/a/b|"), "x");
    assert_eq!(dom0.call(Ty::Directory, tx, "/a|"), "b|");
    assert_eq!(dom0.read_value("/a/b"), "!ENOENT|");
    assert!(dom0.events().is_empty());
    assert_eq!(dom0.end(tx, true), "OK|");
    assert_eq!(dom0.read_value("/a/b"), "x");
    assert_eq!(dom0.events(), ["/a/b|t|"]);
    assert_eq!(dom0.end(tx, true), "!ENOENT|");
    let tx = dom0.start();
    dom0.call(Ty::Rm, tx, "/a|");
    assert_eq!(dom0.end(tx, false), "OK|");
    assert_eq!(dom0.read_value("/a/b"), "x");
    assert!(dom0.events().is_empty());
}

#[test]
fn changes_of_accessed_nodes_conflict() {
    let xenstored = Xenstored::new();
    let mut dom0 = Client::new(&xenstored, 0);
    dom0.write("/a", "");
    dom0.write("/b", "");
    let tx = dom0.start();
    dom0.call(Ty::Read, tx, "/a|");
    dom0.write("/b", "elsewhere");
    assert_eq!(dom0.end(tx, true), "OK|");
    let tx = dom0.start();
    dom0.call(Ty::Read, tx, "/a|");
    dom0.write("/a", "changed");
    assert_eq!(dom0.end(tx, true), "!EAGAIN|");
    // Creating a node reads its parent, which a new sibling changes.
    let tx = dom0.start();
    dom0.call(Ty::Write, tx, "/c|");
    dom0.write("/d", "");
    assert_eq!(dom0.end(tx, true), "!EAGAIN|");
    assert_eq!(dom0.read_value("/c"), "!ENOENT|");
}

#[test]
fn oxenstored_transactions_see_a_snapshot_and_merge() {
    let xenstored = Xenstored::with_flavour(Flavour::Ocaml417);
    let mut dom0 = Client::new(&xenstored, 0);
    dom0.write("/a", "1");
    let (first, second) = (dom0.start(), dom0.start());
    dom0.write("/a", "2");
    dom0.write("/dir/outside", "");
    assert_eq!(dom0.call(Ty::Read, first, "/a|"), "1");
    assert_eq!(dom0.call(Ty::Directory, first, "/dir|"), "!ENOENT|");
    // The first transaction has only read, and the second has changed an unrelated node. Both can
    // be committed.
    assert_eq!(dom0.end(first, true), "OK|");
    assert_eq!(dom0.call(Ty::Write, second, "/dir/inside|"), "OK|");
    assert_eq!(dom0.end(second, true), "OK|");
    assert_eq!(dom0.one(Ty::Directory, "/dir"), "inside|outside|");
    let third = dom0.start();
    dom0.call(Ty::Read, third, "/a|");
    dom0.call(Ty::Write, third, "/b|");
    dom0.write("/a", "3");
    assert_eq!(dom0.end(third, true), "!EAGAIN|");
}

#[test]
fn oxenstored_cannot_end_a_full_transaction() {
    let xenstored = Xenstored::with_flavour(Flavour::Ocaml417);
    xenstored.introduce(DomId::new(5));
    xenstored.seed("/a [n5]").unwrap();
    let mut guest = Client::new(&xenstored, 5);
    let tx = guest.start();
    assert_eq!(guest.call(Ty::Write, tx, "/a|new"), "OK|");
    for _ in 1..1024 {
        assert_eq!(guest.call(Ty::Read, tx, "/a|"), "new");
    }
    assert_eq!(guest.call(Ty::Read, tx, "/a|"), "!EQUOTA|");
    assert_eq!(guest.end(tx, true), "!EQUOTA|");
    assert_eq!(guest.end(tx, false), "!EQUOTA|");
    assert_eq!(xenstored.get("/a").unwrap(), b"");
}

#[test]
fn invalid_uses_of_transactions_are_refused() {
    let xenstored = Xenstored::new();
    let mut dom0 = Client::new(&xenstored, 0);
    let tx = dom0.start();
    assert_eq!(dom0.call(Ty::TransactionStart, tx, "|"), "!EBUSY|");
    assert_eq!(dom0.call(Ty::Read, 77, "/|"), "!ENOENT|");
    assert_eq!(dom0.call(Ty::Watch, 77, "/|t|"), "OK|");
    assert_eq!(dom0.end(0, true), "!ENOENT|");
    assert_eq!(dom0.one(Ty::ResetWatches, ""), "OK|");
    assert_eq!(dom0.end(tx, true), "!ENOENT|");
    assert!(xenstored.watches(DomId::DOM0).is_empty());
}
