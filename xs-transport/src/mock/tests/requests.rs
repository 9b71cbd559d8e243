//! Requests on nodes, and malformed requests.

use xs_proto::ABS_PATH_MAX;

use super::*;

#[test]
fn values_are_bytes_and_parents_are_created() {
    let xenstored = Xenstored::new();
    let mut dom0 = Client::new(&xenstored, 0);
    assert_eq!(dom0.write("/a/b", "x|y"), "OK|");
    assert_eq!(dom0.read_value("/a/b"), "x|y");
    assert_eq!(dom0.read_value("/a"), "");
    assert_eq!(dom0.one(Ty::Mkdir, "/a/c"), "OK|");
    assert_eq!(dom0.one(Ty::Mkdir, "/a/b"), "OK|");
    assert_eq!(dom0.read_value("/a/b"), "x|y");
    assert_eq!(dom0.one(Ty::Directory, "/a"), "b|c|");
    assert_eq!(dom0.one(Ty::Directory, "/a/c"), "");
    assert_eq!(dom0.read_value("/none"), "!ENOENT|");
}

#[test]
fn rm_removes_descendants_and_needs_a_parent() {
    let xenstored = Xenstored::new();
    let mut dom0 = Client::new(&xenstored, 0);
    dom0.write("/a/b/c", "");
    assert_eq!(dom0.one(Ty::Rm, "/a/b"), "OK|");
    assert_eq!(dom0.one(Ty::Rm, "/a/b"), "OK|");
    assert_eq!(dom0.one(Ty::Rm, "/a/b/c"), "!ENOENT|");
    assert_eq!(dom0.one(Ty::Rm, "/"), "!EINVAL|");
    assert_eq!(dom0.one(Ty::Directory, "/a"), "");
    assert_eq!(xenstored.node_count(), 6);
}

#[test]
fn malformed_requests_leave_the_connection_open() {
    let xenstored = Xenstored::new();
    let mut dom0 = Client::new(&xenstored, 0);
    for (ty, payload) in [
        (Ty::Read, ""),
        (Ty::Read, "/a"),
        (Ty::Read, "/a|b|"),
        (Ty::Read, "|"),
        (Ty::Read, "/a//b|"),
        (Ty::Read, "/a/|"),
        (Ty::Read, "/a b|"),
        (Ty::Read, "@releaseDomain|"),
        (Ty::Write, "/a"),
        (Ty::Watch, "/a|"),
        (Ty::SetPerms, "/|"),
        (Ty::SetPerms, "/|x5|"),
        (Ty::TransactionEnd, "X|"),
        (Ty::Introduce, "5|"),
        (Ty::Introduce, "5|1|0|"),
        (Ty::Release, "0|"),
        (Ty::Control, ""),
        (Ty::GetQuota, "|"),
        (Ty::DirectoryPart, "/|"),
    ] {
        assert_eq!(dom0.call(ty, NONE, payload), "!EINVAL|", "{ty} {payload:?}");
    }
    for ty in [15, 16, 20, 27, 65535, u32::MAX] {
        assert_eq!(dom0.call(ty, NONE, ""), "!ENOSYS|", "{ty}");
    }
    assert_eq!(dom0.read_value("/tool/xenstored"), "");
}

#[test]
fn oversized_payloads_close_only_their_connection() {
    let xenstored = Xenstored::new();
    let (dom0, mut other) = (Client::new(&xenstored, 0), Client::new(&xenstored, 0));
    let header = Header { msg_type: 2, req_id: ReqId(0), tx_id: TxId::NONE, len: 4097 };
    let error = dom0.pipe.send(&header.encode()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    assert_eq!(dom0.pipe.recv(&mut [0; 9], Wait::No).unwrap(), 0);
    assert_eq!(other.read_value("/tool"), "");
}

#[test]
fn relative_paths_start_at_the_home() {
    let (xenstored, mut dom0, mut guest) = guest();
    assert_eq!(guest.write("data/a", "1"), "OK|");
    assert_eq!(xenstored.get("/local/domain/5/data/a").unwrap(), b"1");
    assert_eq!(dom0.write("mine", "0"), "OK|");
    assert_eq!(dom0.read_value("/local/domain/0/mine"), "0");
    assert_eq!(dom0.one(Ty::GetDomainPath, "5"), "/local/domain/5|");
}

#[test]
fn long_directories_are_read_in_parts() {
    let xenstored = Xenstored::new();
    let mut dom0 = Client::new(&xenstored, 0);
    let names: Vec<_> = (0..1000).map(|at| format!("child-{at}")).collect();
    for name in &names {
        dom0.write(&format!("/dir/{name}"), "");
    }
    assert_eq!(dom0.one(Ty::Directory, "/dir"), "!E2BIG|");
    let (mut list, mut generation) = (String::new(), None);
    loop {
        let part = dom0.call(Ty::DirectoryPart, NONE, format!("/dir|{}|", list.len()));
        let (number, children) = part.split_once('|').unwrap();
        assert_eq!(generation.get_or_insert_with(|| number.to_owned()), number);
        match children.strip_suffix("||") {
            Some(children) => break list = format!("{list}{children}|"),
            None => list.push_str(children),
        }
    }
    assert_eq!(list.split_terminator('|').collect::<Vec<_>>(), names);
    assert!(dom0.call(Ty::DirectoryPart, NONE, "/dir|99999|").ends_with("||"));
}

#[test]
fn special_nodes_have_permissions_only() {
    // For oxenstored they are nodes like others.
    for &flavour in Flavour::ALL.iter().filter(|flavour| !is_oxenstored(**flavour)) {
        let xenstored = Xenstored::with_flavour(flavour);
        let mut dom0 = Client::new(&xenstored, 0);
        assert_eq!(dom0.call(Ty::SetPerms, NONE, "@releaseDomain|n0|r5|"), "OK|");
        let before = xenstored.dump();
        for path in ["@releaseDomain", "@introduceDomain", "@releaseDomain/5", "@other"] {
            assert_eq!(dom0.write(path, "x"), "!EINVAL|", "{flavour:?} {path}");
            for ty in [Ty::Mkdir, Ty::Rm] {
                assert_eq!(dom0.one(ty, path), "!EINVAL|", "{flavour:?} {ty:?} {path}");
            }
            assert!(!xenstored.remove(path));
        }
        assert!(!xenstored.remove("/"));
        assert_eq!(xenstored.dump(), before);
    }
}

#[test]
fn overlong_paths_are_rejected() {
    for &flavour in Flavour::ALL {
        let xenstored = Xenstored::with_flavour(flavour);
        let mut dom0 = Client::new(&xenstored, 0);
        for len in [1000, ABS_PATH_MAX, ABS_PATH_MAX + 1, 4000] {
            for start in ["/", "", "/local/domain/0/"] {
                let path = format!("{start:x<len$}");
                let answer = dom0.one(Ty::Mkdir, &path);
                let whole = if start.is_empty() { len + "/local/domain/0/".len() } else { len };
                assert!(answer == "OK|" || whole > 1000, "{flavour:?} {whole}");
                let is_limited = matches!(flavour, Flavour::C417) || is_oxenstored(flavour);
                if is_limited {
                    assert!(answer == "!EINVAL|" || whole <= ABS_PATH_MAX, "{flavour:?} {whole}");
                } else {
                    assert_eq!(answer, "OK|", "{flavour:?} {whole}");
                }
            }
        }
        Xenstored::with_flavour(flavour).seed(&xenstored.dump()).unwrap();
    }
}
