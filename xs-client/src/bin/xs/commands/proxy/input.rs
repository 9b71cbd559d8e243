//! The inputs of the proxy.

use std::os::unix::net::UnixStream;

use xs_proto::Header;

/// Something happens.
pub(super) enum Input {
    NewClient(UnixStream),
    Client(usize, Message),
    Daemon(usize, Message),
    Stop,
}

/// The input from a socket.
pub(super) enum Message {
    Whole(Header, Vec<u8>),
    Closed,
}
