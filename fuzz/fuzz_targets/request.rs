//! Decodes a request, whose first byte is the message type. A valid request must encode to a payload
//! that decodes to the same request.

#![no_main]

use libfuzzer_sys::fuzz_target;
use xs_proto::{MessageType, PAYLOAD_MAX, Request};

fuzz_target!(|input: &[u8]| {
    let Some((number, payload)) = input.split_first() else { return };
    let Some(msg_type) = MessageType::from_u32(u32::from(*number)) else { return };
    let Ok(request) = Request::decode(msg_type, payload) else { return };
    assert_eq!(request.msg_type(), msg_type);

    let mut again = bytes::BytesMut::new();
    match request.encode(PAYLOAD_MAX, &mut again) {
        Ok(len) => {
            assert_eq!(len, again.len());
            assert_eq!(Request::decode(msg_type, &again), Ok(request));
        }
        // A request does not encode to more bytes than it was decoded from.
        Err(error) => assert!(payload.len() > PAYLOAD_MAX, "{error}"),
    }
    assert!(again.len() <= PAYLOAD_MAX);
});
