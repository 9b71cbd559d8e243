//! The inputs of the proxy.

use std::os::unix::net::UnixStream;

use xs_proto::{Header, MessageType};

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

impl Message {
    pub(super) fn is_event(&self) -> bool {
        matches!(self, Message::Whole(header, _) if header.msg_type == MessageType::WatchEvent as u32)
    }
}
