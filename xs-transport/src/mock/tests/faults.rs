//! Faults, broken connections, recording and tracing.

use super::*;

#[test]
fn faults_strike_only_matching_requests() {
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
fn later_requests_overtake_a_delayed_one() {
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
fn faults_cut_split_merge_and_replace_replies() {
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
fn disconnect_breaks_idle_connections() {
    let (xenstored, mut dom0, mut guest) = guest();
    guest.watch("data", "t");
    guest.start();
    let other = Client::new(&xenstored, 5);
    assert_eq!(xenstored.disconnect(DomId::new(6)), 0);
    // The event is sent before the connection breaks.
    assert_eq!(dom0.write("/local/domain/5/data/x", "1"), "OK|");

    assert_eq!(xenstored.disconnect(DomId::new(5)), 2);
    assert_eq!(guest.events(), ["data|t|", "data/x|t|"]);
    for gone in [&guest, &other] {
        assert_eq!(gone.pipe.recv(&mut [0; 9], Wait::Until(None)).unwrap(), 0);
        assert!(gone.pipe.send(b"x").is_err());
    }
    assert_eq!(xenstored.disconnect(DomId::new(5)), 0);
    assert_eq!(
        (xenstored.connections(DomId::new(5)), xenstored.watches(DomId::new(5))),
        (vec![], vec![])
    );

    // The domain and its nodes are still there.
    assert_eq!(dom0.one(Ty::IsDomainIntroduced, "5"), "T|");
    let mut again = Client::new(&xenstored, 5);
    assert_eq!(again.read_value("data/x"), "1");

    assert_eq!(xenstored.disconnect_all(), 2);
    for gone in [&dom0, &again] {
        assert_eq!(gone.pipe.recv(&mut [0; 9], Wait::Until(None)).unwrap(), 0);
    }
    assert_eq!(Client::new(&xenstored, 0).read_value("/local/domain/5/data/x"), "1");
}

#[test]
fn requests_are_recorded_and_traced() {
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
    assert!(matches!(records[1].request(), Some(Request::Write { value: b"x\n", .. })));
    let requests: Vec<_> = records.iter().map(Record::to_string).collect();
    assert_eq!(requests, ["dom0 #1 -> WATCH /a\\x00t\\x00", "dom0 #1 -> WRITE /a\\x00x\\n"]);
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
