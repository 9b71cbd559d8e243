//! Decodes a reply, whose first byte is the message type. A valid reply must encode to a payload that
//! decodes to the same reply.

#![no_main]

use libfuzzer_sys::fuzz_target;
use xs_proto::{MessageType, PAYLOAD_MAX, Reply};

fuzz_target!(|input: &[u8]| {
    let Some((number, payload)) = input.split_first() else { return };
    let Some(msg_type) = MessageType::from_u32(u32::from(*number)) else { return };
    let Ok(reply) = Reply::decode(msg_type, payload) else { return };
    assert_eq!(reply.clone().into_owned(), reply);

    let mut again = bytes::BytesMut::new();
    match reply.encode(PAYLOAD_MAX, &mut again) {
        Ok(len) => {
            assert_eq!(len, again.len());
            assert_eq!(Reply::decode(msg_type, &again), Ok(reply));
        }
        // The decoder accepts any text for CONTROL, including NULs, which cannot be encoded.
        Err(error) => {
            assert!(payload.len() > PAYLOAD_MAX || msg_type == MessageType::Control, "{error}");
        }
    }
    assert!(again.len() <= PAYLOAD_MAX);
});
