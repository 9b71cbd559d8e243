//! Requests that crash, hang or corrupt a genuine daemon.

use super::*;

const FIVE: DomId = DomId::new(5);

/// Returns the numbers of nodes of the domains 0, 5 and 7, as the daemon counts them and as they
/// are.
fn node_counts(xenstored: &Xenstored) -> ([i64; 3], [i64; 3]) {
    let domids = [0, 5, 7].map(DomId::new);
    let counted = domids.map(|domid| xenstored.counted_nodes(domid));
    let mut owners = Vec::new();
    let mut paths =
        vec!["/".to_owned(), "@introduceDomain".to_owned(), "@releaseDomain".to_owned()];
    while let Some(path) = paths.pop() {
        owners.push(xenstored.perms(&path).expect("a node").owner().domid);
        let prefix = if path == "/" { "" } else { &*path };
        let children = xenstored.children(&path).expect("a node");
        paths.extend(children.iter().map(|name| format!("{prefix}/{name}")));
    }
    let count = |domid| owners.iter().filter(|owner| **owner == domid).count() as i64;
    (counted, domids.map(count))
}

#[test]
fn trailing_slashes_are_refused_in_every_request() {
    for &flavour in Flavour::ALL {
        let (xenstored, mut dom0, mut guest) = guest_of(flavour);
        dom0.write("/a/b", "x");
        let before = xenstored.dump();
        for client in [&mut dom0, &mut guest] {
            let tx = client.start();
            for path in [
                "/local/domain/",
                "/local/domain//",
                "/local/domain/5/",
                "/local/domain/5/data/",
                "data/",
                "/a/b/",
                "//",
            ] {
                for (ty, payload) in [
                    (Ty::Read, format!("{path}|")),
                    (Ty::Directory, format!("{path}|")),
                    (Ty::DirectoryPart, format!("{path}|0|")),
                    (Ty::GetPerms, format!("{path}|")),
                    (Ty::Write, format!("{path}|x")),
                    (Ty::Mkdir, format!("{path}|")),
                    (Ty::Rm, format!("{path}|")),
                    (Ty::SetPerms, format!("{path}|n5|")),
                    (Ty::Watch, format!("{path}|t|")),
                    (Ty::Unwatch, format!("{path}|t|")),
                ] {
                    let expected = match (ty, flavour) {
                        (Ty::DirectoryPart, _) if is_oxenstored(flavour) => "!ENOSYS|",
                        (Ty::Unwatch, Flavour::C417) => "!ENOENT|",
                        (Ty::Unwatch, _) if is_oxenstored(flavour) => "!ENOENT|",
                        _ => "!EINVAL|",
                    };
                    // The replies to WATCH and UNWATCH never name a transaction with oxenstored.
                    let is_watch = matches!(ty, Ty::Watch | Ty::Unwatch);
                    for tx in if is_watch { vec![NONE] } else { vec![NONE, tx] } {
                        let answer = client.call(ty, tx, &payload);
                        assert_eq!(answer, expected, "{flavour:?} {ty} {path}");
                    }
                }
            }
            client.end(tx, true);
        }
        assert!(xenstored.set("/local/domain/", "").is_err());
        assert!(!xenstored.remove("/local/domain/"));
        assert!(xenstored.get("/local/domain/").is_none());
        assert_eq!(xenstored.dump(), before);
    }
}

#[test]
fn reset_watches_in_a_transaction_ends_it_or_changes_nothing() {
    for &flavour in Flavour::ALL {
        let (xenstored, dom0, guest) = guest_of(flavour);
        for (mut client, domid) in [(dom0, DomId::DOM0), (guest, FIVE)] {
            client.watch("/local/domain/5/data", "t");
            let (tx, other) = (client.start(), client.start());
            client.call(Ty::Write, tx, "/local/domain/5/data|changed");
            if flavour == Flavour::C417 {
                // The genuine daemon crashes. Here only the connection ends.
                let msg_type = Ty::ResetWatches as u32;
                let header = Header { msg_type, req_id: ReqId(7), tx_id: TxId(tx), len: 1 };
                client.pipe.send(&[&header.encode()[..], b"\0"].concat()).unwrap();
                client.read();
                assert_eq!(client.pipe.recv(&mut [0], Wait::Until(None)).unwrap(), 0);
                assert!(xenstored.connections(domid).is_empty());
                client = Client::new(&xenstored, domid.get());
            } else {
                assert_eq!(client.call(Ty::ResetWatches, tx, "|"), "OK|", "{flavour:?}");
                let unknown = if is_oxenstored(flavour) { "!EIO|" } else { "!ENOENT|" };
                for tx in [tx, other] {
                    let write = client.call(Ty::Write, tx, "/local/domain/5/data|x");
                    assert_eq!(write, unknown, "{flavour:?}");
                    assert_eq!(client.end(tx, true), unknown, "{flavour:?}");
                }
            }
            assert!(xenstored.watches(domid).is_empty());
            assert_eq!(client.one(Ty::ResetWatches, ""), "OK|");
            assert_eq!(client.read_value("/local/domain/5/data"), "");
            // Neither the watches nor the transactions count any more.
            for at in 0..9 {
                client.start();
                assert_eq!(client.watch("/local/domain/5/data", &at.to_string()), "OK|");
            }
            assert_eq!(client.one(Ty::ResetWatches, ""), "OK|");
        }
    }
}

#[test]
fn node_counts_survive_the_reuse_of_a_domain_id() {
    // oxenstored counts nodes that it has removed with their parents.
    for &flavour in Flavour::ALL.iter().filter(|flavour| !is_oxenstored(**flavour)) {
        let (xenstored, mut dom0, mut guest) = guest_of(flavour);
        for round in 0..3 {
            // The owners of these nodes and of their parents differ.
            for path in ["/x/a", "/x/a/b", "/x/c", "/local/domain/7/d"] {
                dom0.write(path, "");
            }
            for perms in ["/x/a|n5|", "/x/a/b|n7|", "/x/c|n7|r5|", "/local/domain/7/d|n5|r7|"] {
                assert_eq!(dom0.call(Ty::SetPerms, NONE, perms), "OK|");
            }
            for at in 0..10 {
                assert_eq!(guest.write(&format!("data/{at}"), ""), "OK|");
            }
            // Transactions that create, remove and give away nodes, open while the domain goes.
            let (own, theirs, last) = (guest.start(), dom0.start(), dom0.start());
            guest.call(Ty::Write, own, "data/new|");
            guest.call(Ty::Rm, own, "data/1|");
            dom0.call(Ty::Write, theirs, "/y|");
            dom0.call(Ty::SetPerms, theirs, "/y|n5|");
            dom0.call(Ty::Rm, theirs, "/x/c|");
            dom0.call(Ty::Rm, last, "/local/domain/5/data|");
            assert!(xenstored.release(FIVE));
            let (counted, real) = node_counts(&xenstored);
            assert_eq!((counted[1], real[1]), (0, 0), "{flavour:?} {round}");

            // The next domain of this number starts with a count of zero.
            xenstored.seed("/local/domain/5/data [n5]").unwrap();
            guest = Client::new(&xenstored, 5);
            dom0.end(theirs, true);
            dom0.end(last, true);
            dom0.one(Ty::Rm, "/y");
            let (counted, real) = node_counts(&xenstored);
            assert_eq!(counted[1..], real[1..], "{flavour:?} {round}");
            xenstored.seed("/local/domain/5/data [n5]").unwrap();
            let (counted, real) = node_counts(&xenstored);
            assert_eq!((counted[1], real[1]), (1, 1), "{flavour:?} {round}");
            assert_eq!(guest.write("data/a/b/c", ""), "OK|");
            assert_eq!(guest.one(Ty::Rm, "data/a"), "OK|");
        }
    }
}

#[test]
fn released_domains_leave_the_root_and_special_nodes_to_dom0() {
    for &flavour in Flavour::ALL {
        let (xenstored, mut dom0, _guest) = guest_of(flavour);
        for path in ["/", "@introduceDomain", "@releaseDomain"] {
            assert_eq!(dom0.call(Ty::SetPerms, NONE, format!("{path}|n5|r7|")), "OK|");
        }
        if flavour == Flavour::C422 {
            // The genuine daemon crashes.
            assert_eq!(dom0.one(Ty::Release, "5"), "!EINVAL|");
            assert_eq!(dom0.one(Ty::IsDomainIntroduced, "5"), "T|");
        }
        assert!(xenstored.release(FIVE));
        xenstored.introduce(FIVE);
        for path in ["/", "@introduceDomain", "@releaseDomain"] {
            let owner = xenstored.perms(path).map(|perms| perms.owner().domid);
            // oxenstored removes the nodes of special watches with their owner.
            let is_removed = is_oxenstored(flavour) && path != "/";
            assert_eq!(owner, (!is_removed).then_some(DomId::DOM0), "{flavour:?} {path}");
        }
        if !is_oxenstored(flavour) {
            let (counted, real) = node_counts(&xenstored);
            assert_eq!((counted[1], real[1]), (0, 0), "{flavour:?}");
        }
        assert_eq!(dom0.write("/tool/x", ""), "OK|");
    }
}

#[test]
fn permissions_for_any_domain_harm_nothing() {
    for &flavour in Flavour::ALL {
        let (xenstored, mut dom0, mut guest) = guest_of(flavour);
        dom0.write("/shared", "x");
        for list in ["n0|r32757|", "n0|r5|b32757|", "r32757|n5|"] {
            let owner_is_any = list.starts_with("r3");
            let answer = dom0.call(Ty::SetPerms, NONE, format!("/shared|{list}"));
            if flavour == Flavour::C422 {
                // The genuine daemon crashes.
                assert_eq!(answer, "!EINVAL|", "{list}");
                assert_eq!(dom0.one(Ty::GetPerms, "/shared"), "n0|");
            } else if owner_is_any && !is_oxenstored(flavour) {
                // There is no such domain.
                assert_eq!(answer, "!ENOENT|", "{flavour:?} {list}");
            } else {
                assert_eq!(answer, "OK|", "{flavour:?} {list}");
                assert_eq!(dom0.one(Ty::GetPerms, "/shared"), list);
                // These daemons do not know the number, so that it stands for no other domain.
                let may_read = list.contains("r5") || owner_is_any;
                let read = guest.read_value("/shared");
                let expected = if may_read { "x" } else { "!EACCES|" };
                assert!(read == expected || list.contains("n5"), "{flavour:?} {list}: {read}");
            }
            assert_eq!(dom0.call(Ty::SetPerms, NONE, "/shared|n0|"), "OK|");
        }
        let tx = guest.start();
        let answer = guest.call(Ty::SetPerms, tx, "data|n5|r32757|");
        assert_eq!(answer, if flavour == Flavour::C422 { "!EINVAL|" } else { "OK|" });
        assert_eq!(guest.end(tx, true), "OK|");
        let special = dom0.call(Ty::SetPerms, NONE, "@releaseDomain|n0|r32757|");
        assert_eq!(special, if flavour == Flavour::C422 { "!EINVAL|" } else { "OK|" });
        assert!(xenstored.release(FIVE));
        assert_eq!(dom0.write("/shared", "y"), "OK|");
    }
}
