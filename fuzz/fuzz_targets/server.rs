//! Drives the server machine with any calls and any bytes. It must make progress or fail permanently,
//! and its output must be well-formed.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use xs_proto::{
    ConnectionError, Decoder, Header, MessageType, Reply, ReqId, ServerConnection, TxId,
};

#[derive(Arbitrary, Debug)]
enum Call<'a> {
    Receive(&'a [u8]),
    /// Any valid reply.
    Reply {
        req_id: u32,
        tx_id: u32,
        number: u8,
        payload: &'a [u8],
    },
    WatchEvent {
        path: &'a str,
        token: &'a [u8],
    },
    TakeOutput,
    EndOfInput,
}

fuzz_target!(|calls: Vec<Call<'_>>| {
    let mut server = ServerConnection::new();
    let mut failed = None;
    let mut expected = Vec::new();
    for call in calls {
        match call {
            Call::Receive(mut bytes) => {
                while !bytes.is_empty() {
                    match server.receive(bytes) {
                        Err(error) => {
                            assert_eq!(*failed.get_or_insert(error), error);
                            break;
                        }
                        Ok(received) => {
                            assert!(failed.is_none());
                            assert!(received.consumed > 0);
                            if let Some(incoming) = received.event {
                                assert_eq!(incoming.header.len as usize, incoming.payload.len());
                                let known = incoming.msg_type().is_some();
                                assert!(known || incoming.request().is_err());
                            }
                            bytes = &bytes[received.consumed..];
                        }
                    }
                }
            }
            Call::Reply { req_id, tx_id, number, payload } => {
                let Some(msg_type) = MessageType::from_u32(u32::from(number)) else { continue };
                let Ok(reply) = Reply::decode(msg_type, payload) else { continue };
                let (req_id, tx_id) = (ReqId(req_id), TxId(tx_id));
                let to = Header { msg_type: msg_type as u32, req_id, tx_id, len: 0 };
                let before = server.output_len();
                match server.reply(to, &reply) {
                    Ok(()) => expected.push((msg_type, req_id, tx_id)),
                    Err(_) => assert_eq!(server.output_len(), before),
                }
            }
            Call::WatchEvent { path, token } => {
                let nul = path.contains('\0') || token.contains(&0);
                let long = path.len() + token.len() + 2 > xs_proto::PAYLOAD_MAX;
                let is_sent = server.watch_event(path, token).is_ok();
                assert_eq!(is_sent, !nul && !long);
                if is_sent {
                    expected.push((MessageType::WatchEvent, ReqId(0), TxId::NONE));
                }
            }
            Call::TakeOutput => {
                let len = server.output_len();
                let output = server.take_output();
                assert_eq!((output.len(), server.output_len()), (len, 0));
                check(&output, std::mem::take(&mut expected));
            }
            Call::EndOfInput => {
                let error: ConnectionError = server.end_of_input();
                assert_eq!(*failed.get_or_insert(error), error);
            }
        }
    }
    check(&server.take_output(), expected);
});

/// Checks that the output consists of these messages.
fn check(mut output: &[u8], expected: Vec<(MessageType, ReqId, TxId)>) {
    let mut decoder = Decoder::for_client();
    for (msg_type, req_id, tx_id) in expected {
        let decoded = decoder.decode(output).expect("the output is valid");
        let header = decoded.frame.expect("a whole message").header;
        assert_eq!(header.msg_type, msg_type as u32);
        assert_eq!((header.req_id, header.tx_id), (req_id, tx_id));
        output = &output[decoded.consumed..];
    }
    assert!(output.is_empty());
}
