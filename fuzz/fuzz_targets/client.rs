//! Drives the client machine with any calls and any bytes. It must make progress or fail
//! permanently, return every key at most once, and send nothing but the submitted requests.

#![no_main]

use std::collections::HashSet;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use xs_proto::{
    ClientConnection, ConnectionError, Event, Header, Limits, MessageType, PAYLOAD_MAX, ReqId,
    Request, SubmitError, TxId,
};

#[derive(Arbitrary, Debug)]
enum Call<'a> {
    /// Any valid request.
    Submit {
        tx_id: u8,
        number: u8,
        payload: &'a [u8],
    },
    /// Cancels a submitted request.
    Forget(u8),
    /// Cancels a request that may not exist.
    ForgetAny(u32),
    TakeOutput,
    Receive(&'a [u8]),
    /// A message with the header of a submitted request.
    Reply {
        to: u8,
        error: bool,
        payload: &'a [u8],
    },
    Refused,
    EndOfInput,
}

fuzz_target!(|input: (bool, Vec<Call<'_>>)| {
    let (one_at_a_time, calls) = input;
    let limits = Limits::default();
    let limits = if one_at_a_time { limits.with_one_at_a_time() } else { limits };
    let mut machine = Machine {
        client: ClientConnection::new(limits),
        submitted: Vec::new(),
        keys: HashSet::new(),
        failed: None,
        untaken: 0,
    };
    for call in calls {
        machine.call(call);
    }
    let error = machine.client.end_of_input();
    machine.fail(error);
});

struct Machine {
    client: ClientConnection<usize>,
    /// The submitted requests. The key is the index.
    submitted: Vec<(MessageType, ReqId, TxId)>,
    /// The keys that have not been returned.
    keys: HashSet<usize>,
    failed: Option<ConnectionError>,
    /// Bytes of output that have not been taken.
    untaken: usize,
}

impl Machine {
    fn call(&mut self, call: Call<'_>) {
        match call {
            Call::Submit { tx_id, number, payload } => self.submit(tx_id, number, payload),
            Call::Forget(which) => {
                let Some((_, req_id, _)) = self.pick(which) else { return };
                let key = self.client.forget(req_id);
                self.check_key(key, req_id);
            }
            Call::ForgetAny(req_id) => {
                let key = self.client.forget(ReqId(req_id));
                self.check_key(key, ReqId(req_id));
            }
            Call::TakeOutput => {
                let had_output = self.client.has_output();
                let output = self.client.take_output();
                assert_eq!(had_output, !output.is_empty());
                assert!(!had_output || self.failed.is_none());
                self.untaken -= output.len();
            }
            Call::Receive(bytes) => self.receive(bytes),
            Call::Reply { to, error, payload } => {
                let Some((msg_type, req_id, tx_id)) = self.pick(to) else { return };
                let msg_type = if error { MessageType::Error } else { msg_type } as u32;
                let header = Header { msg_type, req_id, tx_id, len: payload.len() as u32 };
                self.receive(&[&header.encode()[..], payload].concat());
            }
            Call::Refused => {
                let pending = self.client.pending();
                match self.client.refused() {
                    None => assert_eq!(self.client.pending(), pending),
                    Some((req_id, key)) => {
                        assert!(self.client.limits().one_at_a_time);
                        assert_eq!(self.client.pending(), pending - 1);
                        self.check_key(key, req_id);
                    }
                }
            }
            Call::EndOfInput => {
                let error = self.client.end_of_input();
                self.fail(error);
            }
        }
        assert!(self.keys.len() <= self.client.pending());
    }

    fn submit(&mut self, tx_id: u8, number: u8, payload: &[u8]) {
        let Some(msg_type) = MessageType::from_u32(u32::from(number)) else { return };
        let Ok(request) = Request::decode(msg_type, payload) else { return };
        let key = self.submitted.len();
        let pending = self.client.pending();
        match self.client.submit(TxId(u32::from(tx_id)), &request, key) {
            Ok(req_id) => {
                assert!(self.failed.is_none());
                assert_eq!(self.client.pending(), pending + 1);
                let mut encoded = bytes::BytesMut::new();
                self.untaken +=
                    16 + request.encode(PAYLOAD_MAX, &mut encoded).expect("a decoded request fits");
                let watch = matches!(msg_type, MessageType::Watch | MessageType::Unwatch);
                let tx_id = if watch { TxId::NONE } else { TxId(u32::from(tx_id)) };
                self.submitted.push((msg_type, req_id, tx_id));
                self.keys.insert(key);
            }
            Err(SubmitError::Failed(error)) => assert_eq!(Some(error), self.failed),
            Err(SubmitError::Full) => assert_eq!(pending, ClientConnection::<usize>::MAX_PENDING),
            Err(_) => assert_eq!(self.client.pending(), pending),
        }
    }

    fn receive(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (consumed, key, req_id) = match self.client.receive(bytes) {
                Err(error) => return self.fail(error),
                Ok(received) => {
                    assert!(self.failed.is_none());
                    match received.event {
                        Some(Event::Reply { req_id, key, .. }) => {
                            (received.consumed, Some(key), req_id)
                        }
                        _ => (received.consumed, None, ReqId(0)),
                    }
                }
            };
            assert!(consumed > 0);
            self.check_key(key, req_id);
            bytes = &bytes[consumed..];
        }
    }

    /// Checks that a key is returned once, with the id of its request.
    fn check_key(&mut self, key: Option<usize>, req_id: ReqId) {
        if let Some(key) = key {
            assert!(self.keys.remove(&key), "key {key} is returned twice");
            assert_eq!(self.submitted[key].1, req_id);
        }
    }

    fn fail(&mut self, error: ConnectionError) {
        assert_eq!(*self.failed.get_or_insert(error), error);
        assert!(!self.client.has_output());
        assert_eq!(self.client.receive(&[]), Err(error));
    }

    fn pick(&self, which: u8) -> Option<(MessageType, ReqId, TxId)> {
        let len = self.submitted.len();
        (len > 0).then(|| self.submitted[usize::from(which) % len])
    }
}
