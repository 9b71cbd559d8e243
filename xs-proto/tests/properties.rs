//! Properties that hold for all inputs.

mod strategies;

use bytes::BytesMut;
use proptest::collection::vec;
use proptest::prelude::*;
use xs_proto::{
    ClientConnection, Decoder, Event, Header, Limits, MessageType, PAYLOAD_MAX, Path, Permissions,
    Reply, ReqId, Request, ServerConnection, Strings, TxId,
};

use strategies::*;

proptest! {
    #![proptest_config(config())]

    #[test]
    fn requests_round_trip(request in request()) {
        let mut out = BytesMut::new();
        let len = request.encode(PAYLOAD_MAX, &mut out).unwrap();
        prop_assert_eq!(len, out.len());
        prop_assert!(len <= PAYLOAD_MAX);
        prop_assert_eq!(Request::decode(request.msg_type(), &out), Ok(request.clone()));

        // A limit that is one byte too small is an error, and is not exceeded.
        if len > 0 {
            let mut partial = BytesMut::new();
            prop_assert!(request.encode(len - 1, &mut partial).is_err());
            prop_assert!(partial.len() < len);
        }
    }

    #[test]
    fn replies_round_trip((msg_type, reply) in reply()) {
        let mut out = BytesMut::new();
        let len = reply.encode(PAYLOAD_MAX, &mut out).unwrap();
        prop_assert_eq!(len, out.len());
        prop_assert_eq!(Reply::decode(msg_type, &out), Ok(reply.clone()));
        prop_assert_eq!(reply.clone().into_owned(), reply);
    }

    /// A payload that decodes has the same meaning after encoding it again. No payload panics.
    #[test]
    fn decoded_payloads_round_trip(
        msg_type in prop::sample::select(MessageType::ALL),
        payload in payload(),
    ) {
        let mut out = BytesMut::new();
        if let Ok(request) = Request::decode(msg_type, &payload) {
            request.encode(PAYLOAD_MAX, &mut out).unwrap();
            prop_assert_eq!(Request::decode(msg_type, &out), Ok(request));
        }
        out.clear();
        if let Ok(reply) = Reply::decode(msg_type, &payload) {
            // Only the output of CONTROL may fail to encode: it may contain NULs, and it grows if
            // invalid UTF-8 is replaced.
            if reply.encode(PAYLOAD_MAX, &mut out).is_ok() {
                prop_assert_eq!(Reply::decode(msg_type, &out), Ok(reply));
            } else {
                prop_assert_eq!(msg_type, MessageType::Control);
            }
        }
    }

    #[test]
    fn path_check_follows_the_rules(text in "[a/@_ä -]{0,8}") {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-/_@".contains(&byte);
        let valid = !text.is_empty()
            && text.bytes().all(allowed)
            && !text.contains("//")
            && (text == "/" || !text.ends_with('/'));
        prop_assert_eq!(Path::new(&text).is_ok(), valid);
        prop_assert_eq!(Path::from_bytes(text.as_bytes()), Path::new(&text));
    }

    #[test]
    fn parent_and_name_join_to_the_path(path in path()) {
        prop_assert_eq!(Path::new(path.as_str()), Ok(path));
        prop_assert_eq!(path.components().count() == 0, path == Path::ROOT);
        let joined = path.components().collect::<Vec<_>>().join("/");
        prop_assert_eq!(joined.as_str(), path.as_str().trim_start_matches('/'));
        match path.parent() {
            None => prop_assert!(!path.as_str().contains('/') || path == Path::ROOT),
            Some(parent) => {
                prop_assert_eq!(Path::new(parent.as_str()), Ok(parent));
                let slash = if parent == Path::ROOT { "" } else { "/" };
                prop_assert_eq!(format!("{parent}{slash}{}", path.name()), path.to_string());
            }
        }
    }

    #[test]
    fn permissions_round_trip_as_text_and_list(perms in permissions()) {
        prop_assert_eq!(perms.to_string().parse::<Permissions>(), Ok(perms.clone()));
        prop_assert_eq!(Permissions::from_list(perms.iter()), Some(perms.clone()));
        let map = perms.to_map();
        for entry in perms.iter().skip(1).filter(|entry| entry.domid != perms.owner().domid) {
            prop_assert_eq!(map[&entry.domid], perms.access_of(entry.domid));
        }
    }

    #[test]
    fn string_lists_round_trip(list in vec(vec(1..=u8::MAX, 0..5), 0..8)) {
        let strings = Strings::from_list(&list).unwrap();
        prop_assert!(strings.iter().eq(list.iter().map(Vec::as_slice)));
        prop_assert_eq!(strings.is_empty(), list.is_empty());
        prop_assert_eq!(Strings::new(strings.as_bytes()).unwrap(), strings.clone().into_owned());
    }

    #[test]
    fn any_sixteen_bytes_are_a_header(bytes in any::<[u8; Header::LEN]>()) {
        prop_assert_eq!(Header::decode(&bytes).encode(), bytes);
    }

    #[test]
    fn any_chunking_yields_the_same_frames(
        messages in vec((0..30_u32, any::<u32>(), any::<u32>(), vec(any::<u8>(), 0..300)), 0..12),
        cuts in vec(1..700_usize, 1..20),
    ) {
        let mut stream = Vec::new();
        let mut expected = Vec::new();
        for (msg_type, req_id, tx_id, payload) in messages {
            let len = payload.len() as u32;
            let header = Header { msg_type, req_id: ReqId(req_id), tx_id: TxId(tx_id), len };
            stream.extend_from_slice(&header.encode());
            stream.extend_from_slice(&payload);
            expected.push((header, payload));
        }
        for mut decoder in [Decoder::for_client(), Decoder::for_server()] {
            let mut frames = Vec::new();
            for chunk in Chunks::new(&stream, &cuts) {
                let mut input = chunk;
                while !input.is_empty() {
                    let decoded = decoder.decode(input).unwrap();
                    let consumed = decoded.consumed;
                    prop_assert!(consumed > 0);
                    match decoded.frame {
                        Some(frame) => frames.push((frame.header, frame.payload.to_vec())),
                        None => prop_assert_eq!(consumed, input.len()),
                    }
                    input = &input[consumed..];
                }
            }
            prop_assert_eq!(&frames, &expected);
            prop_assert!(!decoder.is_mid_message());
        }
    }

    /// Each call makes progress or returns an error that persists. No input panics.
    #[test]
    fn any_stream_is_consumed_or_fails_for_good(
        stream in stream(),
        cuts in vec(1..64_usize, 1..20),
        one_at_a_time in any::<bool>(),
    ) {
        let limits = Limits::default();
        let limits = if one_at_a_time { limits.with_one_at_a_time() } else { limits };
        let mut client = ClientConnection::new(limits);
        for key in 0..3 {
            client.submit(TxId(1), &Request::Read(Path::ROOT), key).unwrap();
        }
        client.take_output();
        let mut replies = 0;
        let error = drive(&stream, &cuts, |input| {
            let received = client.receive(input)?;
            replies += usize::from(matches!(received.event, Some(Event::Reply { .. })));
            Ok(received.consumed)
        });
        prop_assert_eq!(client.pending(), 3 - replies);
        if let Some(error) = error {
            prop_assert_eq!(client.receive(&[]), Err(error));
            prop_assert_eq!(client.end_of_input(), error);
            prop_assert!(client.take_output().is_empty());
        }

        let mut server = ServerConnection::new();
        let error = drive(&stream, &cuts, |input| {
            let received = server.receive(input)?;
            if let Some(incoming) = &received.event {
                let _ = (incoming.msg_type(), incoming.request());
            }
            Ok(received.consumed)
        });
        if let Some(error) = error {
            prop_assert_eq!(server.receive(&[]), Err(error));
            prop_assert_eq!(server.end_of_input(), error);
        }
    }
}

/// Passes the stream to `receive` in chunks until it ends or fails. Returns the error, if any.
fn drive<E>(
    stream: &[u8],
    cuts: &[usize],
    mut receive: impl FnMut(&[u8]) -> Result<usize, E>,
) -> Option<E> {
    for mut input in Chunks::new(stream, cuts) {
        while !input.is_empty() {
            match receive(input) {
                Ok(consumed) => {
                    assert!(consumed > 0, "no progress");
                    input = &input[consumed..];
                }
                Err(error) => return Some(error),
            }
        }
    }
    None
}

/// Payloads that are almost valid.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(vec![
        "/a", "name", "/", "OK", "T", "F", "0", "7", "65535", "65536", "n5", "b0", "nodes", "",
        " ", "ENOENT",
    ]);
    prop_oneof![
        vec(any::<u8>(), 0..24),
        vec(prop::sample::select(b"/a7T\0".as_slice()), 0..12),
        (vec(word, 0..5), any::<bool>()).prop_map(|(words, nul)| {
            let mut bytes = words.join("\0").into_bytes();
            bytes.extend(nul.then_some(0));
            bytes
        }),
    ]
}

/// Messages that are almost valid, with garbage between them.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let req_id = prop_oneof![Just(0_u32), Just(1 << 12), Just((1 << 12) + 1), any::<u32>()];
    let msg_type =
        prop_oneof![4 => Just(2), 4 => Just(15), 2 => Just(16), 2 => 0..30_u32, 1 => any::<u32>()];
    let excess = prop_oneof![9 => Just(0_u32), 1 => 0..3_u32, 1 => any::<u32>()];
    let message = (msg_type, req_id, prop_oneof![4 => Just(1), 1 => 0..3_u32], payload(), excess)
        .prop_map(|(msg_type, req_id, tx_id, payload, excess)| {
            let len = (payload.len() as u32).wrapping_add(excess);
            let header = Header { msg_type, req_id: ReqId(req_id), tx_id: TxId(tx_id), len };
            [&header.encode()[..], &payload].concat()
        });
    let part = prop_oneof![9 => message, 1 => vec(any::<u8>(), 0..20)];
    vec(part, 0..8).prop_map(|parts| parts.concat())
}

/// Splits `bytes` into chunks of the given lengths, which repeat.
struct Chunks<'a> {
    bytes: &'a [u8],
    lengths: std::iter::Cycle<std::slice::Iter<'a, usize>>,
}

impl<'a> Chunks<'a> {
    fn new(bytes: &'a [u8], lengths: &'a [usize]) -> Self {
        Chunks { bytes, lengths: lengths.iter().cycle() }
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let len = (*self.lengths.next()?).min(self.bytes.len());
        let (chunk, rest) = self.bytes.split_at(len);
        self.bytes = rest;
        (len > 0).then_some(chunk)
    }
}
