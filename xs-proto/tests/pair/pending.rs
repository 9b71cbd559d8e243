//! Request ids, and the limit on requests in flight.

use std::collections::HashSet;

use xs_proto::{ClientConnection, Header, Limits, Path, ReqId, Request, SubmitError, TxId};

const MAX: usize = ClientConnection::<usize>::MAX_PENDING;
const READ: Request<'static> = Request::Read(Path::ROOT);

fn reply(req_id: ReqId) -> [u8; 16] {
    Header { msg_type: 2, req_id, tx_id: TxId::NONE, len: 0 }.encode()
}

#[test]
fn requests_beyond_the_limit_are_rejected_until_a_reply_arrives() {
    let mut client = ClientConnection::new(Limits::default());
    let mut ids: Vec<ReqId> =
        (0..MAX).map(|key| client.submit(TxId::NONE, &READ, key).unwrap()).collect();
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), MAX);
    assert_eq!(client.pending(), MAX);
    let sent = client.take_output().len();
    assert_eq!(sent, MAX * (16 + 2));

    for _ in 0..3 {
        assert_eq!(client.submit(TxId::NONE, &READ, MAX), Err(SubmitError::Full));
        assert!(!client.has_output());

        // A forgotten request still counts, because its reply may still arrive.
        assert!(client.forget(ids[MAX / 2]).is_some());
        assert_eq!(client.forget(ids[MAX / 2]), None);
        assert_eq!(client.submit(TxId::NONE, &READ, MAX), Err(SubmitError::Full));

        assert_eq!(client.receive(&reply(ids[MAX / 2])).unwrap().event, None);
        assert_eq!(client.pending(), MAX - 1);
        let id = client.submit(TxId::NONE, &READ, MAX).unwrap();
        assert!(!ids.contains(&id));
        ids[MAX / 2] = id;
        assert!(client.has_output());
        client.take_output();
    }

    for id in ids {
        let input = reply(id);
        assert!(client.receive(&input).unwrap().event.is_some());
    }
    assert_eq!(client.pending(), 0);
}

#[test]
fn request_ids_are_not_zero_and_not_reused_soon() {
    let mut client = ClientConnection::new(Limits::default());
    let first = client.submit(TxId::NONE, &READ, 0).unwrap();
    let mut last = first;
    assert_ne!(first, ReqId(0));
    // With one request in flight at a time, ids repeat after 2^20 - 1 requests.
    for key in 1..1 << 20 {
        client.take_output();
        client.receive(&reply(last)).unwrap();
        let id = client.submit(TxId::NONE, &READ, key).unwrap();
        if key < (1 << 20) - 1 {
            assert!(id > last, "{id} after {last}");
        } else {
            assert_eq!(id, first);
        }
        last = id;
    }
    assert_eq!(client.forget(last), Some((1 << 20) - 1));
}

#[test]
fn forgotten_requests_are_still_sent() {
    let mut client = ClientConnection::new(Limits::default());
    let id = client.submit(TxId::NONE, &READ, "key").unwrap();
    assert_eq!(client.forget(id), Some("key"));
    assert_eq!(client.pending(), 1);
    assert_eq!(client.take_output().len(), 18);

    // Only the reply to the forgotten request is discarded.
    let second = client.submit(TxId::NONE, &READ, "second").unwrap();
    let input = [reply(id), reply(second)].concat();
    let received = client.receive(&input).unwrap();
    assert_eq!((received.consumed, received.event), (16, None));
    assert!(client.receive(&input[16..]).unwrap().event.is_some());
    assert_eq!(client.pending(), 0);
}
