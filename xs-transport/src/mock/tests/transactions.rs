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

/// Requests inside a transaction that oxenstored repeats, because the root has changed meanwhile.
#[test]
fn oxenstored_repeats_refused_requests_as_well() {
    let xenstored = Xenstored::with_flavour(Flavour::Ocaml417);
    let mut dom0 = Client::new(&xenstored, 0);
    let tx = dom0.start();
    dom0.call(Ty::Write, tx, "/a/b|");
    // The parents of a node that is too large stay.
    let too_large = format!("/c/d/e|{}", "x".repeat(3000));
    assert_eq!(dom0.call(Ty::Write, tx, too_large), "!E2BIG|");
    dom0.write("/other", "");
    assert_eq!(dom0.end(tx, true), "OK|");
    assert_eq!(dom0.one(Ty::Directory, "/c"), "d|");
    assert_eq!(dom0.one(Ty::Directory, "/c/d"), "");

    let tx = dom0.start();
    assert_eq!(dom0.call(Ty::Read, tx, "/no|"), "!ENOENT|");
    dom0.call(Ty::Write, tx, "/f|");
    dom0.write("/no", "now it exists");
    assert_eq!(dom0.end(tx, true), "!EAGAIN|");
}

#[test]
fn writes_of_equal_values_conflict_with_no_transaction_in_oxenstored() {
    let xenstored = Xenstored::with_flavour(Flavour::Ocaml417);
    let mut dom0 = Client::new(&xenstored, 0);
    for (value, answer) in [("same", "OK|"), ("other", "!EAGAIN|")] {
        dom0.write("/a/b", "same");
        let tx = dom0.start();
        // Cannot be repeated, so that the transaction succeeds only if its nodes are unchanged.
        dom0.call(Ty::IsDomainIntroduced, tx, "5|");
        dom0.call(Ty::Write, tx, "/a/b|inside");
        dom0.write("/a/b", value);
        assert_eq!(dom0.end(tx, true), answer, "{value}");
    }
}

#[test]
fn releases_conflict_with_each_transaction_in_oxenstored() {
    let xenstored = Xenstored::with_flavour(Flavour::Ocaml417);
    let mut dom0 = Client::new(&xenstored, 0);
    dom0.write("/a", "");
    for (release, answer) in [(false, "OK|"), (true, "!EAGAIN|")] {
        let tx = dom0.start();
        dom0.call(Ty::IsDomainIntroduced, tx, "5|");
        dom0.call(Ty::Write, tx, format!("/a|{release}"));
        if release {
            assert_eq!(dom0.one(Ty::Release, "9"), "!EINVAL|");
        }
        assert_eq!(dom0.end(tx, true), answer);
    }
}

#[test]
fn releases_inside_a_transaction_remove_nodes_from_its_snapshot_in_oxenstored() {
    let xenstored = Xenstored::with_flavour(Flavour::Ocaml417);
    xenstored.seed("/a [n9]").unwrap();
    let mut dom0 = Client::new(&xenstored, 0);
    let tx = dom0.start();
    assert_eq!(dom0.call(Ty::Release, tx, "9|"), "!EINVAL|");
    assert_eq!(dom0.call(Ty::Read, tx, "/a|"), "!ENOENT|");
    assert_eq!(dom0.read_value("/a"), "");
    assert_eq!(dom0.end(tx, true), "OK|");
    assert_eq!(dom0.read_value("/a"), "");
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
