//! The inputs of the proxy.

use std::os::unix::net::UnixStream;

use xs_proto::Header;

/// An input of the proxy, with the number of its connection.
pub(super) enum Input {
    NewClient(UnixStream),
    Client(usize, Message),
    Daemon(usize, Message),
    Stop,
}

/// An input from a socket: a message, or the end of the stream.
pub(super) enum Message {
    Whole(Header, Vec<u8>),
    Closed,
}
