//! Who is told what, and when.

use super::*;

#[test]
fn watches_fire_first_at_once_then_with_each_change() {
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
fn removing_a_parent_fires_with_the_watched_path() {
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
fn a_relative_watch_reports_relative_paths() {
    let (_xenstored, mut dom0, mut guest) = guest();
    guest.watch("data", "t");
    dom0.write("/local/domain/5/data/x", "");
    assert_eq!(guest.events(), ["data|t|", "data/x|t|"]);
    assert_eq!(guest.call(Ty::Unwatch, NONE, "/local/domain/5/data|t|"), "OK|");
}

#[test]
fn equal_events_of_one_request_are_one() {
    let xenstored = Xenstored::new();
    let mut dom0 = Client::new(&xenstored, 0);
    dom0.watch("/", "t");
    dom0.watch("/a", "t");
    dom0.events();
    dom0.write("/a", "");
    assert_eq!(dom0.events(), ["/a|t|"]);
}

#[test]
fn watchers_learn_only_of_what_they_may_read() {
    let (_xenstored, mut dom0, mut guest) = guest();
    guest.watch("/", "t");
    guest.events();
    dom0.write("/secret", "");
    dom0.write("/local/domain/5/data", "x");
    assert_eq!(guest.events(), ["/local/domain/5/data|t|"]);
    // Losing the right to read is told.
    dom0.call(Ty::SetPerms, NONE, "/local/domain/5/data|n0|");
    assert_eq!(guest.events(), ["/local/domain/5/data|t|"]);
    dom0.write("/local/domain/5/data", "y");
    assert!(guest.events().is_empty());
}

#[test]
fn the_depth_of_a_watch() {
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
