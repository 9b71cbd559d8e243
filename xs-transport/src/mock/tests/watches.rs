//! Watches and their events.

use super::*;

#[test]
fn watches_fire_when_set_and_on_each_change() {
    let xenstored = Xenstored::new();
    let mut dom0 = Client::new(&xenstored, 0);
    assert_eq!(dom0.watch("/a", "t"), "OK|");
    assert_eq!(dom0.events, ["reply", "/a|t|"]);
    assert_eq!(dom0.watch("/a", "t"), "!EEXIST|");
    dom0.events();
    dom0.write("/a/b", "");
    assert_eq!(dom0.events, ["/a/b|t|", "reply"]);
    dom0.events();
    dom0.write("/b", "");
    dom0.read_value("/a/b");
    assert!(dom0.events().is_empty());
    dom0.one(Ty::Mkdir, "/a/b");
    assert!(dom0.events().is_empty());
    dom0.call(Ty::SetPerms, NONE, "/a/b|r0|");
    assert_eq!(dom0.events(), ["/a/b|t|"]);
    assert_eq!(dom0.call(Ty::Unwatch, NONE, "/a|u|"), "!ENOENT|");
    assert_eq!(dom0.call(Ty::Unwatch, NONE, "/a|t|"), "OK|");
    dom0.write("/a/b", "");
    assert!(dom0.events().is_empty());
}

#[test]
fn removed_parents_fire_watches_below() {
    let xenstored = Xenstored::new();
    let mut dom0 = Client::new(&xenstored, 0);
    dom0.write("/a/b/c", "");
    dom0.watch("/a/b", "b");
    dom0.watch("/a/b/none", "none");
    dom0.watch("/", "root");
    dom0.events();
    dom0.one(Ty::Rm, "/a");
    assert_eq!(dom0.events(), ["/a/b|b|", "/a|root|"]);
}

#[test]
fn relative_watches_report_relative_paths() {
    let (_xenstored, mut dom0, mut guest) = guest();
    guest.watch("data", "t");
    dom0.write("/local/domain/5/data/x", "");
    assert_eq!(guest.events(), ["data|t|", "data/x|t|"]);
    assert_eq!(guest.call(Ty::Unwatch, NONE, "/local/domain/5/data|t|"), "OK|");
}

#[test]
fn equal_events_of_one_request_are_merged() {
    let xenstored = Xenstored::new();
    let mut dom0 = Client::new(&xenstored, 0);
    dom0.watch("/", "t");
    dom0.watch("/a", "t");
    dom0.events();
    dom0.write("/a", "");
    assert_eq!(dom0.events(), ["/a|t|"]);
}

#[test]
fn events_need_the_right_to_read() {
    let (_xenstored, mut dom0, mut guest) = guest();
    guest.watch("/", "t");
    guest.events();
    dom0.write("/secret", "");
    dom0.write("/local/domain/5/data", "x");
    assert_eq!(guest.events(), ["/local/domain/5/data|t|"]);
    // The loss of the right to read is reported.
    dom0.call(Ty::SetPerms, NONE, "/local/domain/5/data|n0|");
    assert_eq!(guest.events(), ["/local/domain/5/data|t|"]);
    dom0.write("/local/domain/5/data", "y");
    assert!(guest.events().is_empty());
}

#[test]
fn depth_limits_the_watched_levels() {
    let xenstored = Xenstored::new();
    let mut dom0 = Client::new(&xenstored, 0);
    assert_eq!(dom0.call(Ty::Watch, NONE, "/a|t|1|"), "OK|");
    assert_eq!(dom0.call(Ty::Watch, NONE, "/a|u|-1|"), "!EINVAL|");
    dom0.events();
    for path in ["/a", "/a/b", "/a/b/c"] {
        dom0.write(path, "");
    }
    assert_eq!(dom0.events(), ["/a|t|", "/a/b|t|"]);
    let old = Xenstored::with_flavour(Flavour::C417);
    assert_eq!(Client::new(&old, 0).call(Ty::Watch, NONE, "/a|t|1|"), "!EINVAL|");
}

#[test]
fn permissions_of_special_watches_fire_watches_on_the_root_since_4_20() {
    for flavour in [Flavour::C417, Flavour::C420, Flavour::C422] {
        let xenstored = Xenstored::with_flavour(flavour);
        let mut dom0 = Client::new(&xenstored, 0);
        dom0.watch("/", "t");
        dom0.events();
        assert_eq!(dom0.call(Ty::SetPerms, NONE, "@releaseDomain|n0|r5|"), "OK|");
        let fires = flavour != Flavour::C417;
        assert_eq!(dom0.events().len(), usize::from(fires), "{flavour}");
    }
}
