//! Messages on a socket, for tests that stand in for a client or a daemon.

use std::io::Read;
use std::os::unix::net::UnixStream;

use xs_proto::Header;

/// Receives the next message, with its payload. Returns `None` at the end of the stream.
pub(crate) fn next_message(mut stream: &UnixStream) -> Option<(Header, Vec<u8>)> {
    let mut header = [0; Header::LEN];
    stream.read_exact(&mut header).ok()?;
    let header = Header::decode(&header);
    let mut payload = vec![0; header.len as usize];
    stream.read_exact(&mut payload).ok()?;
    Some((header, payload))
}
