//! Introduction and release of domains.

use super::*;

#[test]
fn introduction_and_release_fire_special_events() {
    let (xenstored, mut dom0, guest) = guest();
    dom0.watch("@introduceDomain", "in");
    dom0.watch("@releaseDomain", "out");
    dom0.watch("@releaseDomain/5", "five");
    dom0.watch("/local/domain/5", "nodes");
    dom0.events();
    assert_eq!(dom0.one(Ty::IsDomainIntroduced, "5"), "T|");
    assert_eq!(dom0.call(Ty::Introduce, NONE, "8|1|1|"), "OK|");
    assert_eq!(dom0.events(), ["@introduceDomain|in|"]);
    xenstored.shut_down(DomId::new(5));
    xenstored.shut_down(DomId::new(5));
    assert_eq!(dom0.events(), ["@releaseDomain/5|five|", "@releaseDomain|out|"]);
    assert_eq!(dom0.one(Ty::Resume, "5"), "OK|");
    xenstored.shut_down(DomId::new(5));
    assert_eq!(dom0.events().len(), 2);

    assert_eq!(dom0.one(Ty::Release, "5"), "OK|");
    let gone = ["/local/domain/5/data|nodes|", "@releaseDomain|out|", "@releaseDomain/5|five|"];
    assert_eq!(dom0.events(), gone);
    assert_eq!(guest.pipe.recv(&mut [0; 9], Wait::Until(None)).unwrap(), 0);
    assert!(guest.pipe.send(b"x").is_err());
    assert_eq!(xenstored.children("/local/domain/5").unwrap(), [""; 0]);
    assert_eq!(dom0.one(Ty::Release, "5"), "!ENOENT|");
    assert_eq!(dom0.one(Ty::IsDomainIntroduced, "5"), "F|");
}

#[test]
fn permissions_can_precede_their_domain() {
    let xenstored = Xenstored::new();
    xenstored.seed("/shared [n0 r5] = x").unwrap();
    let mut dom0 = Client::new(&xenstored, 0);
    dom0.write("/more", "y");
    dom0.call(Ty::SetPerms, NONE, "/more|n0|r6|");
    assert_eq!(Client::new(&xenstored, 5).read_value("/shared"), "x");
    assert_eq!(Client::new(&xenstored, 6).read_value("/more"), "y");
}

#[test]
fn reused_domain_ids_inherit_no_permissions() {
    let (xenstored, mut dom0, guest) = guest();
    dom0.write("/shared", "x");
    dom0.call(Ty::SetPerms, NONE, "/shared|n0|r5|");
    drop(guest);
    assert!(xenstored.release(DomId::new(5)));
    let mut heir = Client::new(&xenstored, 5);
    assert_eq!(heir.read_value("/shared"), "!EACCES|");
    // Writing the node does not revive the permissions.
    dom0.write("/shared", "y");
    assert_eq!(heir.read_value("/shared"), "!EACCES|");
    dom0.call(Ty::SetPerms, NONE, "/shared|n0|r5|");
    assert_eq!(heir.read_value("/shared"), "y");
}

/// Compares with `xl destroy` of a guest on a genuine Xen 4.17.7, as `xenstore-watch` showed it in
/// dom0.
#[test]
fn release_matches_a_genuine_xen() {
    for (flavour, events, other, shared) in [
        (Flavour::C417, &["/tool/w/own|w|", "@releaseDomain|r|"][..], "n0|r1|", "b0|r1|"),
        (Flavour::Ocaml417, &["@releaseDomain|r|"], "n0|", "b0|"),
    ] {
        let xenstored = Xenstored::with_flavour(flavour);
        let mut dom0 = Client::new(&xenstored, 0);
        xenstored.introduce(DomId::new(1));
        for path in ["own", "own/sub", "other", "shared"] {
            dom0.write(&format!("/tool/w/{path}"), "1");
        }
        for perms in ["own|n1|", "other|n0|r1|", "shared|b0|r1|"] {
            assert_eq!(dom0.call(Ty::SetPerms, NONE, format!("/tool/w/{perms}")), "OK|");
        }
        dom0.watch("@releaseDomain", "r");
        dom0.watch("/tool/w", "w");
        dom0.events();
        assert!(xenstored.release(DomId::new(1)));
        assert_eq!(dom0.events(), events, "{flavour:?}");
        let mut names: Vec<_> = xenstored.children("/tool/w").expect("a directory");
        names.sort_unstable();
        assert_eq!(names, ["other", "shared"]);
        assert_eq!(dom0.one(Ty::GetPerms, "/tool/w/other"), other);
        assert_eq!(dom0.one(Ty::GetPerms, "/tool/w/shared"), shared);
    }
}

#[test]
fn new_guests_have_the_home_that_libxl_makes() {
    for &flavour in Flavour::ALL {
        let xenstored = Xenstored::with_flavour(flavour);
        let mut dom0 = Client::new(&xenstored, 0);
        dom0.watch("@introduceDomain", "in");
        dom0.watch("/local/domain/5/name", "name");
        dom0.events();
        xenstored.set("/local/domain/5/of-another", "x").unwrap();
        assert!(xenstored.add_guest(DomId::new(5)));
        // The home exists when the introduction is reported.
        let events = dom0.events();
        let at = |event: &str| events.iter().position(|other| other == event);
        let last = at("@introduceDomain|in|");
        assert!(last == Some(events.len() - 1), "{flavour:?}: {events:?}");
        assert!(at("/local/domain/5/name|name|") < last);

        let mut guest = Client::new(&xenstored, 5);
        assert_eq!(guest.read_value("domid"), "5");
        assert_eq!(guest.read_value("name"), "guest-5");
        let vm = guest.read_value("vm");
        assert_eq!(guest.read_value(&format!("{vm}/name")), "guest-5");
        assert!(vm.ends_with(&guest.read_value(&format!("{vm}/uuid"))));
        assert_eq!(guest.read_value("cpu/0/availability"), "online");
        for own in ["data/x", "data", "attr/x", "feature/x", "control/shutdown", "error/x"] {
            assert_eq!(guest.write(own, "1"), "OK|", "{own}");
        }
        for not in ["name", "x", "device/x", "control/x", "cpu", "memory/x", "/vm/x"] {
            assert_eq!(guest.write(not, "1"), "!EACCES|", "{not}");
        }
        assert_eq!(xenstored.get("/local/domain/5/of-another"), None);
        assert!(!xenstored.add_guest(DomId::new(5)));
        assert_eq!(guest.read_value("data"), "");
        assert!(!xenstored.add_guest(DomId::DOM0));

        // The next domain of this number has a new home and may read it.
        xenstored.release(DomId::new(5));
        assert!(xenstored.add_guest(DomId::new(5)));
        let mut heir = Client::new(&xenstored, 5);
        assert_eq!(heir.read_value("name"), "guest-5");
        assert_eq!(heir.read_value("control/shutdown"), "");
    }
}
