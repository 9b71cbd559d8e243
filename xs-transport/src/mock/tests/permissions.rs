//! Permissions of nodes and privileges of domains.

use super::*;

#[test]
fn guests_are_limited_to_their_permissions() {
    let (_xenstored, mut dom0, mut guest) = guest();
    dom0.write("/secret/a", "");
    assert_eq!(guest.read_value("/secret/a"), "!EACCES|");
    assert_eq!(guest.read_value("/secret/none"), "!EACCES|");
    assert_eq!(guest.write("/secret/none", ""), "!EACCES|");
    assert_eq!(guest.one(Ty::Rm, "/secret/a"), "!EACCES|");
    assert_eq!(guest.read_value("data/none"), "!ENOENT|");

    dom0.call(Ty::SetPerms, NONE, "/secret/a|n0|r5|");
    assert_eq!(guest.read_value("/secret/a"), "");
    assert_eq!(guest.write("/secret/a", ""), "!EACCES|");
    assert_eq!(guest.call(Ty::SetPerms, NONE, "/secret/a|n5|"), "!EACCES|");

    assert_eq!(guest.write("data/a", ""), "OK|");
    assert_eq!(guest.one(Ty::GetPerms, "data/a"), "n5|");
    assert_eq!(guest.call(Ty::SetPerms, NONE, "data/a|n0|"), "!EPERM|");
    assert_eq!(guest.call(Ty::SetPerms, NONE, "data/a|b5|r7|"), "OK|");
    assert_eq!(guest.one(Ty::GetPerms, "data/a"), "b5|r7|");
}

#[test]
fn new_nodes_inherit_permissions() {
    let (_xenstored, mut dom0, mut guest) = guest();
    dom0.call(Ty::SetPerms, NONE, "/local/domain/5/data|r5|b7|");
    dom0.write("/local/domain/5/data/by-dom0/deep", "");
    assert_eq!(dom0.one(Ty::GetPerms, "/local/domain/5/data/by-dom0/deep"), "r5|b7|");
    let mut other = Client::new(&_xenstored, 7);
    assert_eq!(other.write("/local/domain/5/data/by-7", ""), "OK|");
    assert_eq!(guest.one(Ty::GetPerms, "data/by-7"), "r7|b7|");
}

#[test]
fn privileged_requests_need_dom0() {
    let (_xenstored, _dom0, mut guest) = guest();
    for ty in [
        Ty::Control,
        Ty::Introduce,
        Ty::Release,
        Ty::Resume,
        Ty::SetTarget,
        Ty::IsDomainIntroduced,
        Ty::GetFeature,
        Ty::SetFeature,
        Ty::GetQuota,
        Ty::SetQuota,
    ] {
        assert_eq!(guest.one(ty, "5"), "!EACCES|", "{ty}");
    }
    assert_eq!(guest.one(Ty::GetDomainPath, "7"), "/local/domain/7|");
}

#[test]
fn targets_lend_their_rights() {
    let (xenstored, mut dom0, _guest) = guest();
    let mut helper = Client::new(&xenstored, 9);
    assert_eq!(helper.write("/local/domain/5/data", "x"), "!EACCES|");
    assert_eq!(dom0.call(Ty::SetTarget, NONE, "9|5|"), "OK|");
    assert_eq!(helper.write("/local/domain/5/data", "x"), "OK|");
    assert_eq!(dom0.call(Ty::SetTarget, NONE, "9|77|"), "!ENOENT|");
}

#[test]
fn every_node_of_a_dump_can_be_looked_up() {
    for flavour in Flavour::ALL {
        let xenstored = Xenstored::with_flavour(*flavour);
        for line in text::lines(&xenstored.dump()) {
            let (_, line) = line.unwrap();
            let value = line.value.unwrap_or_default();
            assert_eq!(xenstored.get(&line.path), Some(value), "{flavour}: {}", line.path);
            assert_eq!(xenstored.perms(&line.path), line.perms, "{flavour}: {}", line.path);
        }
    }
}
