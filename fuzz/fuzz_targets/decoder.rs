//! Decodes a byte stream, for either role. Split into any pieces it must give the same frames and the
//! same error as in one piece, and the frames must encode to the bytes of the stream.

#![no_main]

use libfuzzer_sys::fuzz_target;
use xs_proto::{Decoder, FrameError, Header};

fuzz_target!(|input: (bool, Vec<u8>, &[u8])| {
    let (client, pieces, stream) = input;
    let decoder = if client { Decoder::for_client } else { Decoder::for_server };
    let (whole, error) = frames(decoder(), stream, &[]);
    assert_eq!(frames(decoder(), stream, &pieces), (whole.clone(), error));

    let again: Vec<u8> = whole
        .iter()
        .flat_map(|(header, payload)| [&header.encode()[..], payload].concat())
        .collect();
    assert!(stream.starts_with(&again));
    if error.is_none() {
        let rest = stream.len() - again.len();
        assert!(rest < Header::LEN || rest < Header::LEN + announced(&stream[again.len()..]));
    }
});

type Frames = Vec<(Header, Vec<u8>)>;

fn frames(mut decoder: Decoder, stream: &[u8], pieces: &[u8]) -> (Frames, Option<FrameError>) {
    let mut frames = Vec::new();
    let mut pieces =
        pieces.iter().map(|piece| usize::from(*piece) + 1).chain([stream.len()]).cycle();
    let mut at = 0;
    while at < stream.len() {
        let end = stream.len().min(at + pieces.next().unwrap_or(1));
        match decoder.decode(&stream[at..end]) {
            Err(error) => return (frames, Some(error)),
            Ok(decoded) => {
                assert!(decoded.consumed > 0 && decoded.consumed <= end - at);
                assert!(decoded.frame.is_some() || decoded.consumed == end - at);
                at += decoded.consumed;
                if let Some(frame) = decoded.frame {
                    assert_eq!(frame.header.len as usize, frame.payload.len());
                    frames.push((frame.header, frame.payload.to_vec()));
                }
            }
        }
    }
    (frames, None)
}

/// Returns the payload length in the header of a message, if it is complete.
fn announced(message: &[u8]) -> usize {
    message.first_chunk().map_or(0, |header| Header::decode(header).len as usize)
}
