//! A client of the proxy: its socket, and the socket to the daemon that serves it.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use xs_proto::{Decoder, Header, MessageType, ReqId, TxId};

use super::Faults;
use super::input::{Input, Message};

/// A connection of a client, with its connection to the daemon.
pub(super) struct Link {
    pub(super) name: String,
    client: UnixStream,
    daemon: UnixStream,
    /// The number of bytes that were sent to the client.
    sent: usize,
    /// The senders of the unanswered requests with the id [`PING`], in the order in which the
    /// daemon answers them. A client may use this id, too.
    ping_senders: VecDeque<Sender>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    Client,
    Proxy,
}

/// The id of pings, the proxy's own requests.
const PING: ReqId = ReqId(0xffff_fff0);

/// The time after which a client that does not read is disconnected.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// The pause between the pieces of a message, so that they arrive one by one.
const PAUSE: Duration = Duration::from_millis(1);

impl Link {
    /// Connects to the daemon, and starts to read from both sockets.
    pub(super) fn open(
        id: usize,
        name: String,
        client: UnixStream,
        daemon: &Path,
        sender: &SyncSender<Input>,
    ) -> io::Result<Self> {
        let daemon = UnixStream::connect(daemon)?;
        client.set_write_timeout(Some(WRITE_TIMEOUT))?;
        let from_client = move |message| Input::Client(id, message);
        read_messages(client.try_clone()?, Decoder::for_server(), sender.clone(), from_client);
        let from_daemon = move |message| Input::Daemon(id, message);
        read_messages(daemon.try_clone()?, Decoder::for_client(), sender.clone(), from_daemon);
        Ok(Link { name, client, daemon, sent: 0, ping_senders: VecDeque::new() })
    }

    /// Passes on a request to the daemon.
    pub(super) fn send_to_daemon(&mut self, header: Header, payload: &[u8]) -> io::Result<()> {
        self.send(Sender::Client, header, payload)
    }

    /// Sends a ping, whose reply shows that all earlier events have arrived.
    pub(super) fn ping(&mut self) -> io::Result<()> {
        let msg_type = MessageType::GetDomainPath as u32;
        let header = Header { msg_type, req_id: PING, tx_id: TxId::NONE, len: 2 };
        self.send(Sender::Proxy, header, b"0\0")
    }

    fn send(&mut self, sender: Sender, header: Header, payload: &[u8]) -> io::Result<()> {
        self.daemon.write_all(&[&header.encode()[..], payload].concat())?;
        if header.req_id == PING {
            self.ping_senders.push_back(sender);
        }
        Ok(())
    }

    /// Returns whether the reply to a ping is still to come.
    pub(super) fn awaits_ping(&self) -> bool {
        self.ping_senders.contains(&Sender::Proxy)
    }

    /// Returns whether a message from the daemon is the reply to a ping.
    pub(super) fn is_ping_reply(&self, message: &Message) -> bool {
        has_ping_id(message) && self.ping_senders.front() == Some(&Sender::Proxy)
    }

    /// Notes that a message has come from the daemon. Returns whether it is the reply to a ping.
    pub(super) fn take_ping_reply(&mut self, message: &Message) -> bool {
        let is_ping_reply = self.is_ping_reply(message);
        if has_ping_id(message) {
            self.ping_senders.pop_front();
        }
        is_ping_reply
    }

    /// Passes on a message to the client, with the requested faults.
    pub(super) fn send_to_client(
        &mut self,
        header: Header,
        payload: &[u8],
        faults: Faults,
    ) -> io::Result<()> {
        thread::sleep(faults.slow);
        let message = [&header.encode()[..], payload].concat();
        let room = faults.cut.map_or(message.len(), |cut| cut - self.sent.min(cut));
        let passed = &message[..message.len().min(room)];
        for (at, piece) in passed.chunks(faults.split.unwrap_or(usize::MAX)).enumerate() {
            if at > 0 {
                thread::sleep(PAUSE);
            }
            self.client.write_all(piece)?;
        }
        self.sent += passed.len();
        if passed.len() < message.len() {
            return Err(io::Error::other("the connection is cut"));
        }
        Ok(())
    }

    /// Ends the connection of the client.
    pub(super) fn hang_up(&mut self) {
        // It may be closed already.
        let _ = self.client.shutdown(Shutdown::Both);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Ends the threads that read. The sockets may be closed already.
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.daemon.shutdown(Shutdown::Both);
    }
}

/// Returns whether a message from the daemon answers a request with the id [`PING`].
fn has_ping_id(message: &Message) -> bool {
    !message.is_event() && matches!(message, Message::Whole(header, _) if header.req_id == PING)
}

/// Starts a thread that reads messages until the end of the stream or of the proxy.
fn read_messages(
    mut stream: UnixStream,
    mut decoder: Decoder,
    sender: SyncSender<Input>,
    input: impl Fn(Message) -> Input + Send + 'static,
) {
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        loop {
            let mut rest = match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(received) => &buffer[..received],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            while !rest.is_empty() {
                // A header with an impossible length ends the connection.
                let Ok(decoded) = decoder.decode(rest) else {
                    let _ = sender.send(input(Message::Closed));
                    return;
                };
                rest = &rest[decoded.consumed..];
                let Some(frame) = decoded.frame else { continue };
                let message = Message::Whole(frame.header, frame.payload.to_vec());
                if sender.send(input(message)).is_err() {
                    return;
                }
            }
        }
        // Fails if the proxy has ended.
        let _ = sender.send(input(Message::Closed));
    });
}
