//! Quotas.

use std::io::ErrorKind;
use std::time::Instant;

use super::*;
use crate::transport::Interest;

#[test]
fn default_quotas_match_the_daemon() {
    for (flavour, watches, transactions, perms) in [
        (Flavour::C422, (127, "!ENOSPC|"), (9, "!ENOSPC|"), 4),
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
fn node_quota_applies_in_transactions() {
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
fn quotas_and_features_can_be_set_over_the_wire() {
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

/// The figures were measured on a genuine daemon.
#[test]
fn memory_quota_counts_nodes_watches_and_replies() {
    let (_xenstored, mut dom0, mut guest) = guest_of(Flavour::C417);
    assert!(dom0.call(Ty::Control, NONE, "quota|5|").ends_with("memory          :       52\n|"));
    assert_eq!(dom0.call(Ty::Control, NONE, "quota|set|memory|182|"), "OK|");
    assert_eq!(guest.write("data/a", ""), "OK|");
    // 52, 2 for the name in the parent, and 54 for the new node.
    assert!(dom0.call(Ty::Control, NONE, "quota|5|").contains("memory          :      108\n"));
    assert_eq!(guest.write("data/a", &"y".repeat(74)), "!EIO|");
    assert_eq!(dom0.write("/local/domain/5/data/a", &"y".repeat(74)), "!EIO|");
    assert_eq!(guest.write("data/a", &"y".repeat(73)), "OK|");
    // Replies count, too, except short ones.
    assert_eq!(guest.read_value("data/a"), "!ENOMEM|");
    assert_eq!(guest.write("data/a", ""), "OK|");
    assert_eq!(guest.watch("/", &"t".repeat(73)), "!ENOMEM|");
    // The first event exceeds the remaining memory and is lost.
    assert_eq!(guest.watch("/", &"t".repeat(72)), "OK|");
    assert_eq!(guest.events(), [""; 0]);
    assert_eq!(guest.call(Ty::Unwatch, NONE, format!("/|{}|", "t".repeat(72))), "OK|");
    let tx = guest.start();
    assert_eq!(guest.call(Ty::Read, tx, "data|"), "");
    assert_eq!(guest.call(Ty::Write, tx, "data/b|"), "!EIO|");
    assert_eq!(guest.end(tx, true), "!ENOMEM|");
    assert!(dom0.call(Ty::Control, NONE, "quota|5|").contains("memory          :      108\n"));
}

#[test]
fn domains_without_memory_left_are_stalled() {
    let (_xenstored, mut dom0, mut guest) = guest_of(Flavour::C417);
    assert_eq!(guest.write("data/a", "long"), "OK|");
    assert_eq!(dom0.call(Ty::Control, NONE, "quota|set|memory|60|"), "OK|");
    let request = [&header(Ty::Read, 7).encode()[..], b"data/a\0"].concat();
    assert_eq!(guest.pipe.send(&request).unwrap_err().kind(), ErrorKind::WouldBlock);
    let soon = Some(Instant::now());
    guest.pipe.wait(Interest::Send, soon).expect("no failure");
    assert_eq!(dom0.one(Ty::Rm, "/local/domain/5/data/a"), "OK|");
    assert_eq!(guest.pipe.send(&request).unwrap(), Sent::Bytes(request.len()));
    assert_eq!(text(&guest.read()[0].1), "ENOENT|");
}

#[test]
fn requests_are_outstanding_until_their_events_are_received() {
    let (xenstored, mut dom0, guest) = guest_of(Flavour::C417);
    assert_eq!(dom0.call(Ty::Control, NONE, "quota|set|outstanding|3|"), "OK|");
    let reads = [&header(Ty::Read, 5).encode()[..], b"data\0"].concat().repeat(10);
    assert_eq!(guest.pipe.send(&reads).unwrap(), Sent::Bytes(reads.len()));
    assert_eq!(guest.read().len(), 10);

    // A watcher that does not read keeps the requests of other domains outstanding.
    let watcher = Client::new(&xenstored, 0);
    let token = "t".repeat(3000);
    let watch = [&header(Ty::Watch, 3003).encode()[..], b"/\0", token.as_bytes(), b"\0"].concat();
    assert_eq!(watcher.pipe.send(&watch).unwrap(), Sent::Bytes(watch.len()));
    let write = |at: u32| {
        [&header(Ty::Write, 9).encode()[..], format!("data/{at:03}\0").as_bytes()].concat()
    };
    let sent = (0..).take_while(|at| {
        let sent = guest.pipe.send(&write(*at));
        guest.read();
        sent.is_ok()
    });
    // The watcher's queue holds 64 KiB of events, and the events of three requests wait behind it.
    let sent = sent.count();
    assert!((22..26).contains(&sent), "{sent}");
    let usage = dom0.call(Ty::Control, NONE, "quota|5|");
    assert!(usage.contains("outstanding     :        3\n"), "{usage}");
    assert!(watcher.read().len() > sent);
    assert!(guest.pipe.send(&write(999)).is_ok());
}

#[test]
fn control_answers_match_the_daemon() {
    let (_xenstored, mut dom0, mut guest) = guest_of(Flavour::C417);
    assert_eq!(guest.one(Ty::Control, "help"), "!EACCES|");
    assert!(dom0.one(Ty::Control, "help").contains("quota\t[set <name> <val>|<domid>]\n"));
    for done in ["check", "log|on", "log|off", "logfile|/x", "print|hello", "quota|set|nodes|5x"] {
        assert_eq!(dom0.one(Ty::Control, done), "OK|", "{done}");
    }
    for refused in ["check|x", "log", "memreport", "quota|set|nodes|0", "quota|set|sheep|1", "x"] {
        assert_eq!(dom0.one(Ty::Control, refused), "!EINVAL|", "{refused}");
    }
    let quotas = dom0.one(Ty::Control, "quota");
    assert!(quotas.starts_with("Quota settings:\nnodes            :        5 Nodes "), "{quotas}");
    assert_eq!(dom0.one(Ty::Control, "quota|9"), "!ENOENT|");
    let usage = "Domain 5:\nnodes           :        1\nwatches         :        0\n\
                 transactions    :        0\noutstanding     :        0\nmemory          :       52\n|";
    assert_eq!(dom0.one(Ty::Control, "quota|5"), usage);

    let (_xenstored, mut dom0, _guest) = guest_of(Flavour::Ocaml417);
    assert_eq!(dom0.one(Ty::Control, "quota|5"), "dom5 quota: 1/1000|");
    assert_eq!(dom0.one(Ty::Control, "quota|9"), "dom9 quota: not set|");
    assert_eq!(dom0.one(Ty::Control, "whatever"), "OK|");
}

/// Returns the header of a message.
fn header(ty: Ty, len: usize) -> Header {
    Header { msg_type: ty as u32, req_id: ReqId(7), tx_id: TxId::NONE, len: len as u32 }
}
