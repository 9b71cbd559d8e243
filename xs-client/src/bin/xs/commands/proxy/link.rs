//! A client of the proxy: its socket, and the socket to the daemon that serves it.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use xs_proto::{Decoder, Header};

use super::Faults;
use super::input::{Input, Message};

/// A connection of a client, with its connection to the daemon.
pub(super) struct Link {
    pub(super) name: String,
    client: UnixStream,
    daemon: UnixStream,
    /// The number of bytes that were sent to the client.
    sent: usize,
}

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
        Ok(Link { name, client, daemon, sent: 0 })
    }

    pub(super) fn send_to_daemon(&mut self, header: Header, payload: &[u8]) -> io::Result<()> {
        self.daemon.write_all(&[&header.encode()[..], payload].concat())
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
