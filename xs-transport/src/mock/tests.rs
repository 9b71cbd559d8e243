//! The rules of the daemon, each on its own, from the client's side of the wire.

use xs_proto::{DomId, ErrorCode, Header, MessageType as Ty, ReqId, TxId};

use super::*;
use crate::transport::{Sent, Transport, Wait};

const NONE: u32 = 0;

/// Says one thing at a time and reads all that comes back.
struct Client {
    pipe: Pipe,
    /// Events, as `path token`.
    events: Vec<String>,
}

impl Client {
    fn new(xenstored: &Xenstored, domid: u16) -> Self {
        Client { pipe: xenstored.connect(DomId::new(domid)), events: Vec::new() }
    }

    /// The payload of the reply, or the name of the error after `!`. Each `|` is a NUL.
    fn call(&mut self, ty: impl Into<Type>, tx: u32, payload: impl AsRef<[u8]>) -> String {
        let payload: Vec<u8> = payload.as_ref().iter().map(nul).collect();
        let len = payload.len() as u32;
        let header = Header { msg_type: ty.into().0, req_id: ReqId(7), tx_id: TxId(tx), len };
        let message = [&header.encode()[..], &payload].concat();
        assert_eq!(self.pipe.send(&message).unwrap(), Sent::Bytes(message.len()));
        let mut reply = None;
        for (header, payload) in self.read() {
            if header.msg_type == Ty::WatchEvent as u32 {
                self.events.push(text(&payload));
                continue;
            }
            assert_eq!((header.req_id, header.tx_id), (ReqId(7), TxId(tx)));
            let is_error = header.msg_type == Ty::Error as u32;
            reply = Some(if is_error { format!("!{}", text(&payload)) } else { text(&payload) });
            self.events.push("reply".to_owned());
        }
        reply.expect("an answer")
    }

    fn read(&self) -> Vec<(Header, Vec<u8>)> {
        let mut bytes = Vec::new();
        let mut buf = [0; 1000];
        while let Ok(n @ 1..) = self.pipe.recv(&mut buf, Wait::No) {
            bytes.extend_from_slice(&buf[..n]);
        }
        let mut messages = Vec::new();
        let mut rest = &*bytes;
        while let Some((header, behind)) = rest.split_first_chunk() {
            let header = Header::decode(header);
            let (payload, behind) = behind.split_at(header.len as usize);
            messages.push((header, payload.to_vec()));
            rest = behind;
        }
        messages
    }

    /// The events since the last call, those of others included.
    fn events(&mut self) -> Vec<String> {
        let fresh: Vec<_> = self.read().into_iter().map(|(_, payload)| text(&payload)).collect();
        let mut events = std::mem::take(&mut self.events);
        events.retain(|event| event != "reply");
        events.extend(fresh);
        events
    }

    fn read_value(&mut self, path: &str) -> String {
        self.call(Ty::Read, NONE, format!("{path}|"))
    }

    fn write(&mut self, path: &str, value: &str) -> String {
        self.call(Ty::Write, NONE, format!("{path}|{value}"))
    }

    fn one(&mut self, ty: Ty, argument: &str) -> String {
        self.call(ty, NONE, format!("{argument}|"))
    }

    fn watch(&mut self, path: &str, token: &str) -> String {
        self.call(Ty::Watch, NONE, format!("{path}|{token}|"))
    }

    fn start(&mut self) -> u32 {
        let id = self.call(Ty::TransactionStart, NONE, "|");
        id.trim_end_matches('|').parse().expect("a transaction")
    }

    fn end(&mut self, tx: u32, commit: bool) -> String {
        self.call(Ty::TransactionEnd, tx, if commit { "T|" } else { "F|" })
    }
}

struct Type(u32);

impl From<Ty> for Type {
    fn from(ty: Ty) -> Self {
        Type(ty as u32)
    }
}

impl From<u32> for Type {
    fn from(ty: u32) -> Self {
        Type(ty)
    }
}

fn nul(byte: &u8) -> u8 {
    if *byte == b'|' { 0 } else { *byte }
}

/// NULs as `|`.
fn text(payload: &[u8]) -> String {
    String::from_utf8_lossy(payload).replace('\0', "|")
}

fn guest() -> (Xenstored, Client, Client) {
    let xenstored = Xenstored::new();
    let mut dom0 = Client::new(&xenstored, 0);
    dom0.write("/local/domain/5/data", "");
    dom0.call(Ty::SetPerms, NONE, "/local/domain/5/data|n5|");
    let guest = Client::new(&xenstored, 5);
    (xenstored, dom0, guest)
}

#[test]
fn values_are_bytes_and_nodes_have_parents() {
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
fn rm_takes_all_below_and_needs_a_parent() {
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
fn malformed_requests_are_refused_and_nothing_more() {
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
fn too_long_a_payload_ends_the_connection_alone() {
    let xenstored = Xenstored::new();
    let (dom0, mut other) = (Client::new(&xenstored, 0), Client::new(&xenstored, 0));
    let header = Header { msg_type: 2, req_id: ReqId(0), tx_id: TxId::NONE, len: 4097 };
    let error = dom0.pipe.send(&header.encode()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    assert_eq!(dom0.pipe.recv(&mut [0; 9], Wait::No).unwrap(), 0);
    assert_eq!(other.read_value("/tool"), "");
}

#[test]
fn relative_paths_lead_home() {
    let (xenstored, mut dom0, mut guest) = guest();
    assert_eq!(guest.write("data/a", "1"), "OK|");
    assert_eq!(xenstored.get("/local/domain/5/data/a").unwrap(), b"1");
    assert_eq!(dom0.write("mine", "0"), "OK|");
    assert_eq!(dom0.read_value("/local/domain/0/mine"), "0");
    assert_eq!(dom0.one(Ty::GetDomainPath, "5"), "/local/domain/5|");
}

#[test]
fn guests_do_what_permissions_allow_and_learn_no_more() {
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
fn what_is_created_inherits_permissions() {
    let (_xenstored, mut dom0, mut guest) = guest();
    dom0.call(Ty::SetPerms, NONE, "/local/domain/5/data|r5|b7|");
    dom0.write("/local/domain/5/data/by-dom0/deep", "");
    assert_eq!(dom0.one(Ty::GetPerms, "/local/domain/5/data/by-dom0/deep"), "r5|b7|");
    let mut other = Client::new(&_xenstored, 7);
    assert_eq!(other.write("/local/domain/5/data/by-7", ""), "OK|");
    assert_eq!(guest.one(Ty::GetPerms, "data/by-7"), "r7|b7|");
}

#[test]
fn privileged_requests_are_for_dom0() {
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
fn a_target_lends_its_rights() {
    let (xenstored, mut dom0, _guest) = guest();
    let mut helper = Client::new(&xenstored, 9);
    assert_eq!(helper.write("/local/domain/5/data", "x"), "!EACCES|");
    assert_eq!(dom0.call(Ty::SetTarget, NONE, "9|5|"), "OK|");
    assert_eq!(helper.write("/local/domain/5/data", "x"), "OK|");
    assert_eq!(dom0.call(Ty::SetTarget, NONE, "9|77|"), "!ENOENT|");
}

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

#[test]
fn transactions_are_seen_when_committed() {
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
fn transactions_conflict_over_what_they_read() {
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
    // A sibling changes the list of children, which creating another one reads.
    let tx = dom0.start();
    dom0.call(Ty::Write, tx, "/c|");
    dom0.write("/d", "");
    assert_eq!(dom0.end(tx, true), "!EAGAIN|");
    assert_eq!(dom0.read_value("/c"), "!ENOENT|");
}

#[test]
fn oxenstored_transactions_see_a_copy_and_merge() {
    let xenstored = Xenstored::with_flavour(Flavour::Ocaml417);
    let mut dom0 = Client::new(&xenstored, 0);
    dom0.write("/a", "1");
    let (first, second) = (dom0.start(), dom0.start());
    dom0.write("/a", "2");
    dom0.write("/dir/outside", "");
    assert_eq!(dom0.call(Ty::Read, first, "/a|"), "1");
    assert_eq!(dom0.call(Ty::Directory, first, "/dir|"), "!ENOENT|");
    // Who has only read may commit; who has written what nobody else minds, too.
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
fn oxenstored_does_not_end_a_full_transaction() {
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
fn transactions_have_their_limits() {
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

#[test]
fn quotas_are_those_of_the_daemon() {
    for (flavour, watches, transactions, perms) in [
        (Flavour::C, (127, "!ENOSPC|"), (9, "!ENOSPC|"), 4),
        (Flavour::C417, (129, "!E2BIG|"), (11, "!ENOSPC|"), 5),
    ] {
        let xenstored = Xenstored::with_flavour(flavour);
        xenstored.seed("/local/domain/5/data [n5]").unwrap();
        let mut guest = Client::new(&xenstored, 5);
        for at in 0..watches.0 {
            assert_eq!(guest.watch("data", &at.to_string()), "OK|");
        }
        assert_eq!(guest.watch("data", "more"), watches.1);
        for _ in 0..transactions.0 {
            guest.start();
        }
        assert_eq!(guest.call(Ty::TransactionStart, NONE, "|"), transactions.1);
        let list = "n5|".repeat(perms);
        assert_eq!(guest.call(Ty::SetPerms, NONE, format!("data|{list}")), "OK|");
        assert_eq!(guest.call(Ty::SetPerms, NONE, format!("data|{list}n5|")), "!ENOSPC|");
        let long = "x".repeat(2048);
        assert_eq!(guest.write("data", &long), "!ENOSPC|");
        assert_eq!(guest.write("data/new", &long), "!ENOSPC|");
        assert_eq!(guest.read_value("data/new"), "!ENOENT|");
    }
}

#[test]
fn the_number_of_nodes_is_limited_also_in_transactions() {
    let (_xenstored, mut dom0, mut guest) = guest();
    assert_eq!(dom0.call(Ty::SetQuota, NONE, "5|nodes|4|"), "OK|");
    assert_eq!(guest.write("data/a/b/c", ""), "OK|");
    assert_eq!(guest.write("data/d", ""), "!ENOSPC|");
    assert_eq!(guest.one(Ty::Rm, "data/a/b"), "OK|");
    let tx = guest.start();
    assert_eq!(guest.call(Ty::Write, tx, "data/e|"), "OK|");
    assert_eq!(guest.end(tx, true), "OK|");
    assert_eq!(guest.write("data/f/g", ""), "!ENOSPC|");
    assert_eq!(guest.one(Ty::Directory, "data"), "a|e|");
    dom0.one(Ty::Rm, "/local/domain/5/data");
    assert_eq!(dom0.write("/local/domain/5/data", ""), "OK|");
}

#[test]
fn quotas_and_features_over_the_wire() {
    let (_xenstored, mut dom0, _guest) = guest();
    let names = dom0.call(Ty::GetQuota, NONE, "");
    assert!(names.starts_with("nodes watches"), "{names}");
    assert_eq!(dom0.one(Ty::GetQuota, "watches"), "128|");
    assert_eq!(dom0.call(Ty::SetQuota, NONE, "watches|3|"), "OK|");
    assert_eq!(dom0.call(Ty::GetQuota, NONE, "5|watches|"), "128|");
    assert_eq!(dom0.call(Ty::GetQuota, NONE, "6|watches|"), "3|");
    assert_eq!(dom0.one(Ty::GetQuota, "sheep"), "!EINVAL|");
    assert_eq!(dom0.call(Ty::GetFeature, NONE, ""), "14|");
    assert_eq!(dom0.one(Ty::GetFeature, "5"), "14|");
    assert_eq!(dom0.call(Ty::SetFeature, NONE, "5|6|"), "!EBUSY|");
    assert_eq!(dom0.call(Ty::SetFeature, NONE, "8|6|"), "OK|");
    assert_eq!(dom0.one(Ty::GetFeature, "8"), "6|");
    let old = Xenstored::with_flavour(Flavour::C417);
    assert_eq!(Client::new(&old, 0).call(Ty::GetFeature, NONE, ""), "!ENOSYS|");
}

#[test]
fn domains_come_and_go() {
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
    assert_eq!(dom0.events(), ["@releaseDomain|out|", "@releaseDomain/5|five|"]);
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
fn permissions_may_be_given_before_a_domain_appears() {
    let xenstored = Xenstored::new();
    xenstored.seed("/shared [n0 r5] = x").unwrap();
    let mut dom0 = Client::new(&xenstored, 0);
    dom0.write("/more", "y");
    dom0.call(Ty::SetPerms, NONE, "/more|n0|r6|");
    assert_eq!(Client::new(&xenstored, 5).read_value("/shared"), "x");
    assert_eq!(Client::new(&xenstored, 6).read_value("/more"), "y");
}

#[test]
fn permissions_do_not_pass_to_a_domain_of_the_same_number() {
    let (xenstored, mut dom0, guest) = guest();
    dom0.write("/shared", "x");
    dom0.call(Ty::SetPerms, NONE, "/shared|n0|r5|");
    drop(guest);
    assert!(xenstored.release(DomId::new(5)));
    let mut heir = Client::new(&xenstored, 5);
    assert_eq!(heir.read_value("/shared"), "!EACCES|");
    // Writing the node does not give them back.
    dom0.write("/shared", "y");
    assert_eq!(heir.read_value("/shared"), "!EACCES|");
    dom0.call(Ty::SetPerms, NONE, "/shared|n0|r5|");
    assert_eq!(heir.read_value("/shared"), "y");
}

#[test]
fn long_directories_come_in_parts() {
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
fn faults_strike_the_request_that_was_chosen() {
    let xenstored = Xenstored::new();
    let mut dom0 = Client::new(&xenstored, 0);
    let fault = xenstored.inject(
        Fault::error(ErrorCode::NoSpace).on(Ty::Write).at("/a").of(DomId::DOM0).skipping(1),
    );
    assert_eq!(dom0.write("/b", ""), "OK|");
    assert_eq!(dom0.write("/a", "1"), "OK|");
    assert_eq!(dom0.write("/a", "2"), "!ENOSPC|");
    assert_eq!(dom0.write("/a", "3"), "OK|");
    assert_eq!(fault.hits(), 1);
}

#[test]
fn a_delayed_request_is_overtaken() {
    let xenstored = Xenstored::new();
    let mut dom0 = Client::new(&xenstored, 0);
    let fault = xenstored.inject(Fault::delay().on(Ty::Read));
    let header = Header { msg_type: 2, req_id: ReqId(1), tx_id: TxId::NONE, len: 6 };
    dom0.pipe.send(&[&header.encode()[..], b"/tool\0"].concat()).unwrap();
    assert_eq!(dom0.write("/tool", "new"), "OK|");
    fault.release();
    let [(header, value)] = &dom0.read()[..] else { panic!() };
    assert_eq!((header.req_id, &**value), (ReqId(1), b"new".as_slice()));
}

#[test]
fn a_connection_can_be_cut_split_merged_and_lied_to() {
    let xenstored = Xenstored::new();
    let header = Header { msg_type: 2, req_id: ReqId(1), tx_id: TxId::NONE, len: 6 };
    let read = [&header.encode()[..], b"/tool\0"].concat();
    let mut buf = [0; 100];

    let pipe = xenstored.connect(DomId::DOM0);
    xenstored.inject(Fault::cut(5));
    pipe.send(&read).ok();
    assert_eq!(pipe.recv(&mut buf, Wait::No).unwrap(), 5);
    assert_eq!(pipe.recv(&mut buf, Wait::No).unwrap(), 0);

    let pipe = xenstored.connect(DomId::DOM0);
    xenstored.inject(Fault::split(3));
    pipe.send(&read).unwrap();
    assert_eq!(pipe.recv(&mut buf, Wait::No).unwrap(), 3);

    let pipe = xenstored.connect(DomId::DOM0);
    xenstored.inject(Fault::merge());
    pipe.send(&read).unwrap();
    assert!(pipe.recv(&mut buf, Wait::No).is_err());
    pipe.send(&read).unwrap();
    assert_eq!(pipe.recv(&mut buf, Wait::No).unwrap(), 32);

    let pipe = xenstored.connect(DomId::DOM0);
    xenstored.inject(Fault::instead(*b"hostile"));
    pipe.send(&read).unwrap();
    assert_eq!(pipe.recv(&mut buf, Wait::No).unwrap(), 7);

    xenstored.inject(Fault::close());
    assert!(pipe.send(&read).is_err());
    assert_eq!(pipe.recv(&mut buf, Wait::No).unwrap(), 0);
}

#[test]
fn every_request_can_be_seen() {
    use std::sync::{Arc, Mutex};
    let xenstored = Xenstored::new();
    xenstored.record();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = lines.clone();
    xenstored.set_trace(move |trace| sink.lock().unwrap().push(trace.to_string()));
    let mut dom0 = Client::new(&xenstored, 0);
    dom0.watch("/a", "t");
    dom0.write("/a", "x\n");
    let records = xenstored.take_records();
    assert_eq!(records.len(), 2);
    assert!(matches!(records[1].request(), Some(xs_proto::Request::Write { value: b"x\n", .. })));
    assert_eq!(
        *lines.lock().unwrap(),
        [
            "dom0 #1 -> WATCH /a\\x00t\\x00",
            "dom0 #1 <- WATCH OK",
            "dom0 #1 <- WATCH_EVENT /a t",
            "dom0 #1 -> WRITE /a\\x00x\\n",
            "dom0 #1 <- WATCH_EVENT /a t",
            "dom0 #1 <- WRITE OK",
        ]
    );
}

#[test]
fn a_client_that_does_not_read_is_held_back_and_delays_nobody() {
    let xenstored = Xenstored::new();
    let mut other = Client::new(&xenstored, 0);
    other.write("/big", &"x".repeat(4000));
    let pipe = xenstored.connect(DomId::DOM0);
    let header = Header { msg_type: 2, req_id: ReqId(1), tx_id: TxId::NONE, len: 5 };
    let read = [&header.encode()[..], b"/big\0"].concat();
    let mut sent = 0;
    while let Ok(Sent::Bytes(n)) = pipe.send(&read) {
        assert_eq!(n, read.len());
        sent += 1;
        assert!(sent < 2000, "nothing holds it back");
    }
    assert!(sent >= 250);
    assert_eq!(other.read_value("/tool"), "");
    let mut received = 0;
    let mut buf = vec![0; 1 << 20];
    while let Ok(n) = pipe.recv(&mut buf, Wait::No) {
        received += n;
    }
    assert_eq!(received, sent * 4016);
    assert!(pipe.send(&read).is_ok());
}

#[test]
fn events_for_a_client_that_does_not_read_coalesce() {
    let xenstored = Xenstored::new();
    let mut watcher = Client::new(&xenstored, 0);
    let mut writer = Client::new(&xenstored, 0);
    watcher.watch("/", "t");
    watcher.events();
    for _ in 0..20_000 {
        writer.write("/a", "");
    }
    let events = watcher.events().len();
    assert!((1000..10_000).contains(&events), "{events}");
}

#[test]
fn the_descriptor_tells_when_to_read() {
    use std::time::{Duration, Instant};
    let xenstored = Xenstored::new();
    let mut dom0 = Client::new(&xenstored, 0);
    let is_readable = |pipe: &Pipe| {
        let fd = pipe.fd().unwrap();
        crate::sys::poll([(fd, libc::POLLIN)], Some(Instant::now())).unwrap()[0] != 0
    };
    assert!(!is_readable(&dom0.pipe));
    dom0.watch("/a", "t");
    assert!(!is_readable(&dom0.pipe));
    xenstored.set("/a", "").unwrap();
    assert!(is_readable(&dom0.pipe));
    dom0.events();
    assert!(!is_readable(&dom0.pipe));
    xenstored.shut_down(DomId::DOM0);
    let soon = Instant::now() + Duration::from_millis(1);
    dom0.pipe.wait(crate::Interest::Receive, Some(soon)).unwrap();
    dom0.pipe.close();
    assert!(is_readable(&dom0.pipe));
}
