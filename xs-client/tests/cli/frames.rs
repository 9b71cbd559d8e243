//! The messages that a stand-in for a daemon receives.

use std::io::Read;
use std::os::unix::net::UnixStream;

use xs_proto::{Decoder, Frame};

/// Hands each message that arrives to `handle`, until the stream ends.
pub(crate) fn for_each_frame(mut stream: &UnixStream, mut handle: impl FnMut(Frame<'_>)) {
    let mut decoder = Decoder::for_server();
    let mut buffer = [0; 4096];
    while let Ok(received @ 1..) = stream.read(&mut buffer) {
        let mut rest = &buffer[..received];
        while !rest.is_empty() {
            let decoded = decoder.decode(rest).unwrap();
            rest = &rest[decoded.consumed..];
            decoded.frame.into_iter().for_each(&mut handle);
        }
    }
}
