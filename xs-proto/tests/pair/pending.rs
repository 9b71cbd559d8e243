//! Ids and the number of requests that can wait.

use std::collections::HashSet;

use xs_proto::{ClientConnection, Header, Limits, Path, ReqId, Request, SubmitError, TxId};

const MAX: usize = ClientConnection::<usize>::MAX_PENDING;
const READ: Request<'static> = Request::Read(Path::ROOT);

fn answer(req_id: ReqId) -> [u8; 16] {
    Header { msg_type: 2, req_id, tx_id: TxId::NONE, len: 0 }.encode()
}

#[test]
fn too_many_are_refused_until_one_is_answered() {
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

        // To forget frees nothing: the reply may still come.
        assert!(client.forget(ids[MAX / 2]).is_some());
        assert_eq!(client.forget(ids[MAX / 2]), None);
        assert_eq!(client.submit(TxId::NONE, &READ, MAX), Err(SubmitError::Full));

        assert_eq!(client.receive(&answer(ids[MAX / 2])).unwrap().event, None);
        assert_eq!(client.pending(), MAX - 1);
        let id = client.submit(TxId::NONE, &READ, MAX).unwrap();
        assert!(!ids.contains(&id));
        ids[MAX / 2] = id;
        assert!(client.has_output());
        client.take_output();
    }

    for id in ids {
        let input = answer(id);
        assert!(client.receive(&input).unwrap().event.is_some());
    }
    assert_eq!(client.pending(), 0);
}

#[test]
fn no_id_is_zero_and_none_comes_again_soon() {
    let mut client = ClientConnection::new(Limits::default());
    let first = client.submit(TxId::NONE, &READ, 0).unwrap();
    let mut last = first;
    assert_ne!(first, ReqId(0));
    // One after the other, they start again after a million.
    for key in 1..1 << 20 {
        client.take_output();
        client.receive(&answer(last)).unwrap();
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
fn a_forgotten_request_is_sent_all_the_same() {
    let mut client = ClientConnection::new(Limits::default());
    let id = client.submit(TxId::NONE, &READ, "key").unwrap();
    assert_eq!(client.forget(id), Some("key"));
    assert_eq!(client.pending(), 1);
    assert_eq!(client.take_output().len(), 18);

    // What follows the reply that nobody wants is not swallowed.
    let second = client.submit(TxId::NONE, &READ, "second").unwrap();
    let input = [answer(id), answer(second)].concat();
    let received = client.receive(&input).unwrap();
    assert_eq!((received.consumed, received.event), (16, None));
    assert!(client.receive(&input[16..]).unwrap().event.is_some());
    assert_eq!(client.pending(), 0);
}
