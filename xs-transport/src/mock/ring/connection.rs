//! xenstored's end of a guest's ring.

use std::io;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use xs_proto::ring::{Page, RingError, RingServer, ServerError};
use xs_proto::{DomId, Features, Header};

use crate::mock::connection::pipe::Pipe;
use crate::mock::connection::queue::Notify;
#[cfg(all(target_os = "linux", feature = "xen"))]
use crate::mock::daemon::watches::Watch;
use crate::mock::xenstored::Xenstored;
use crate::transport::{Sent, Transport};

/// Moves bytes between a guest's ring and a pipe to the xenstored.
///
/// The owner calls [`take_turn`](Self::take_turn) after each event of the guest, and whenever the
/// xenstored calls `changed`. A turn never waits, and moves a limited number of bytes. The
/// connection holds at most 1 KiB of requests and 64 KiB of replies; what a pipe holds is limited
/// as well.
///
/// A guest that breaks its ring loses its connection: its watches and transactions end, and it
/// reads the reason in the error field if the xenstored offers this. The connection then does
/// nothing until the guest asks for the ring to be reset, if the xenstored offers that.
pub(in crate::mock) struct Connection<P> {
    xenstored: Xenstored,
    domid: DomId,
    ring: RingServer<P>,
    features: Features,
    /// `None` while the ring is given up.
    pipe: Option<Pipe>,
    /// Requests that the pipe has not taken.
    to_pipe: BytesMut,
    /// The part of a request that the pipe has taken, while the rest is missing.
    partial: BytesMut,
    /// Output of the pipe that the ring had no room for.
    to_ring: BytesMut,
    /// Called, with locks held, when the pipe has changed.
    changed: Arc<dyn Fn() + Send + Sync>,
    notify: Box<dyn Fn() -> io::Result<()> + Send>,
}

/// The state of a connection with which the next xenstored continues it. Transactions are lost.
#[cfg(all(target_os = "linux", feature = "xen"))]
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::mock) struct Saved {
    /// Bytes of the guest that were not handled.
    pub(in crate::mock) input: Vec<u8>,
    /// Bytes for the guest that the ring had no room for.
    pub(in crate::mock) output: Vec<u8>,
    /// The watches, with their absolute paths.
    pub(in crate::mock) watches: Vec<(String, Watch)>,
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mock) enum Turn {
    /// An event of the guest or of the xenstored starts the next turn.
    Idle,
    /// There is more to do, after the other guests.
    More,
    /// The domain is gone, or the guest cannot be notified.
    Gone,
}

/// Why a connection ends.
enum End {
    Ring(RingError),
    /// The xenstored has closed the connection.
    Closed,
    /// The xenstored cannot decode the guest's requests.
    Undecodable,
}

/// How often bytes are moved in each direction in one turn.
const MOVES_MAX: usize = 16;

impl<P: Page> Connection<P> {
    /// Connects a guest's ring, and introduces the domain if it is unknown.
    ///
    /// `notify` notifies the guest's event channel. `changed` is called, with locks held, when the
    /// connection should be given a turn.
    ///
    /// # Errors
    /// Fails if the page is broken already.
    pub(in crate::mock) fn new(
        xenstored: &Xenstored,
        domid: DomId,
        page: P,
        features: Features,
        changed: impl Fn() + Send + Sync + 'static,
        notify: impl Fn() -> io::Result<()> + Send + 'static,
    ) -> Result<Self, RingError> {
        let mut connection = Connection {
            xenstored: xenstored.clone(),
            domid,
            ring: RingServer::new(page, features)?,
            features,
            pipe: None,
            to_pipe: BytesMut::new(),
            partial: BytesMut::new(),
            to_ring: BytesMut::new(),
            changed: Arc::new(changed),
            notify: Box::new(notify),
        };
        connection.connect();
        Ok(connection)
    }

    /// Handles some of the guest's requests, and sends it some output.
    pub(in crate::mock) fn take_turn(&mut self) -> Turn {
        let turn = self.transfer().unwrap_or_else(|end| self.end(&end));
        if self.ring.must_notify() && (self.notify)().is_err() {
            return Turn::Gone;
        }
        turn
    }

    /// Returns how many bytes the connection holds.
    #[cfg(test)]
    pub(in crate::mock) fn held(&self) -> usize {
        self.to_pipe.len() + self.to_ring.len()
    }

    /// Ends the connection, and returns the state with which another xenstored continues it. `None`
    /// if the ring is given up.
    #[cfg(all(target_os = "linux", feature = "xen"))]
    pub(in crate::mock) fn save(mut self) -> Option<(DomId, Saved)> {
        let pipe = self.pipe.take()?;
        let mut output = self.to_ring.to_vec();
        while let Some(bytes) = pipe.take().filter(|bytes| !bytes.is_empty()) {
            output.extend_from_slice(&bytes);
        }
        let input = [&self.partial[..], &self.to_pipe].concat();
        let watches = self.xenstored.act(|daemon| daemon.watches.saved(pipe.id()));
        Some((self.domid, Saved { input, output, watches }))
    }

    /// Continues a connection of another xenstored.
    #[cfg(all(target_os = "linux", feature = "xen"))]
    pub(in crate::mock) fn restore(&mut self, saved: Saved) {
        self.to_pipe.extend_from_slice(&saved.input);
        self.to_ring.extend_from_slice(&saved.output);
        if let Some(pipe) = &self.pipe {
            let (id, domid) = (pipe.id(), self.domid);
            self.xenstored.act(|daemon| {
                for (path, watch) in saved.watches {
                    daemon.add_watch(id, domid, &path, watch);
                }
            });
        }
    }

    fn transfer(&mut self) -> Result<Turn, End> {
        let Some(pipe) = &self.pipe else {
            return match self.ring.is_reconnecting() {
                true => Err(RingError::Reconnecting.into()),
                false => Ok(Turn::Idle),
            };
        };
        for _ in 0..MOVES_MAX {
            let mut moved = 0;
            // A ring is given up at once: what it holds then cannot be read any more.
            if pipe.is_closed() {
                return Err(End::Closed);
            }
            if self.to_ring.is_empty() {
                self.to_ring = pipe.take().ok_or(End::Closed)?;
            }
            let sent = self.ring.send(&self.to_ring)?;
            self.to_ring.advance(sent);
            moved += sent;

            if self.to_pipe.is_empty() {
                let mut buf = [0; 1024];
                let received = self.ring.receive(&mut buf)?;
                self.to_pipe.extend_from_slice(&buf[..received]);
                moved += received;
            }
            if !self.to_pipe.is_empty() {
                match pipe.send(&self.to_pipe) {
                    Ok(Sent::Bytes(taken)) => {
                        self.partial.unsplit(self.to_pipe.split_to(taken));
                        drop_messages(&mut self.partial);
                        moved += taken;
                    }
                    // The pipe calls `changed` once it takes more.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Ok(Sent::Refused(_)) | Err(_) => return Err(End::Undecodable),
                }
            }
            if moved == 0 {
                return Ok(Turn::Idle);
            }
        }
        Ok(Turn::More)
    }

    fn end(&mut self, end: &End) -> Turn {
        // Ends the watches and transactions.
        self.pipe = None;
        self.to_pipe.clear();
        self.partial.clear();
        self.to_ring.clear();
        let is_introduced = self.xenstored.is_introduced(self.domid);
        let error = match end {
            End::Ring(RingError::Reconnecting)
                if self.features.contains(Features::RECONNECTION) && is_introduced =>
            {
                self.ring.reset();
                self.connect();
                return Turn::More;
            }
            End::Ring(RingError::Indices { .. }) => ServerError::RingIndex,
            End::Ring(_) | End::Undecodable => ServerError::Protocol,
            End::Closed => ServerError::Communication,
        };
        self.ring.give_up(error);
        if is_introduced { Turn::Idle } else { Turn::Gone }
    }

    fn connect(&mut self) {
        let changed = self.changed.clone();
        let notify = Notify(Box::new(move || changed()));
        self.pipe = Some(self.xenstored.connect_with(self.domid, Some(notify)));
    }
}

/// Removes complete messages from the start of `bytes`, and leaves an incomplete one.
fn drop_messages(bytes: &mut BytesMut) {
    while let Some(header) = bytes.first_chunk() {
        let len = Header::LEN + Header::decode(header).len as usize;
        if bytes.len() < len {
            return;
        }
        bytes.advance(len);
    }
}

impl From<RingError> for End {
    fn from(error: RingError) -> Self {
        End::Ring(error)
    }
}
