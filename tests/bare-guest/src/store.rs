//! Xenstore over the ring: the part for kernel authors to copy.
//!
//! [`RingClient`] moves bytes through the shared page, and [`ClientConnection`] makes messages of
//! them. A kernel adds [`Store::turn`], which moves bytes between the two and sends notifications, and
//! [`Store::wait`], which sleeps while there is nothing to move.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use bytes::{Buf, BytesMut};
use xs_proto::ring::{Field, Page, Ring, RingClient, RingPage};
use xs_proto::{ClientConnection, Event, Features, Limits, Path, Reply, Request, TxId};

use crate::xen::{self, Parameter, Port};

pub type Result<T> = core::result::Result<T, Box<dyn core::error::Error>>;

/// A connection to xenstored.
pub struct Store {
    port: Port,
    ring: RingClient<&'static RingPage>,
    connection: ClientConnection<u32>,
    /// Bytes that the ring had no room for yet.
    output: BytesMut,
    last_key: u32,
    replies: VecDeque<(u32, Reply<'static>)>,
    events: VecDeque<WatchEvent>,
}

/// An event of a watch.
#[derive(Debug, PartialEq)]
pub struct WatchEvent {
    pub path: String,
    pub token: Vec<u8>,
}

impl Store {
    /// Connects to xenstored.
    pub fn connect() -> Result<Self> {
        let (page, port) = Self::find()?;
        Ok(Store {
            port,
            ring: RingClient::new(page),
            connection: ClientConnection::new(Limits::default()),
            output: BytesMut::new(),
            last_key: 0,
            replies: VecDeque::new(),
            events: VecDeque::new(),
        })
    }

    /// Finds the page and the event channel of this guest.
    pub fn find() -> Result<(&'static RingPage, Port)> {
        let port = Port(xen::parameter(Parameter::StorePort) as u32);
        let frame = loop {
            port.clear();
            match xen::parameter(Parameter::StoreFrame) {
                0 => return Err("there is no Xenstore".into()),
                // The toolstack sends an event once it has set up the page.
                u64::MAX => port.wait(),
                frame => break frame,
            }
        };
        // SAFETY: the page stays where it is as long as the guest runs, and it consists of atomics.
        Ok((unsafe { &*((frame * 4096) as *const RingPage) }, port))
    }

    /// Moves what can be moved without waiting, and returns whether there was anything.
    fn turn(&mut self) -> Result<bool> {
        // Before looking at the page, so that later notifications are seen by `wait`.
        self.port.clear();
        let sent = self.send()?;

        // As large as the ring. A smaller buffer works, too.
        let mut buf = [0; 1024];
        let received = self.ring.receive(&mut buf)?;
        let mut input = &buf[..received];
        while !input.is_empty() {
            let next = self.connection.receive(input)?;
            input = &input[next.consumed..];
            match next.event {
                Some(Event::Reply { key, reply, .. }) => {
                    self.replies.push_back((key, reply.into_owned()));
                }
                Some(Event::Watch { path, token }) => {
                    self.events.push_back(WatchEvent { path: path.into(), token: token.into() });
                }
                _ => {}
            }
        }
        if self.ring.must_notify() {
            self.port.notify();
        }
        Ok(sent > 0 || received > 0)
    }

    /// Moves output into the ring as far as there is room, and returns the number of bytes.
    fn send(&mut self) -> Result<usize> {
        if self.output.is_empty() {
            self.connection.take_output_into(&mut self.output);
        }
        let sent = self.ring.send(&self.output)?;
        self.output.advance(sent);
        Ok(sent)
    }

    /// Moves bytes, and waits for xenstored if there are none to move.
    fn wait(&mut self) -> Result<()> {
        if !self.turn()? {
            self.port.wait();
        }
        Ok(())
    }

    /// Sends a request without waiting for the reply, and returns the key of the reply.
    pub fn submit(&mut self, tx: TxId, request: &Request<'_>) -> Result<u32> {
        self.last_key += 1;
        self.connection.submit(tx, request, self.last_key)?;
        Ok(self.last_key)
    }

    /// Waits for the next reply to requests that were submitted, and returns it with its key.
    pub fn next_reply(&mut self) -> Result<(u32, Reply<'static>)> {
        loop {
            if let Some(reply) = self.replies.pop_front() {
                return Ok(reply);
            }
            self.wait()?;
        }
    }

    /// Sends a request and waits for the reply. No other requests may be in flight.
    pub fn call_in(&mut self, tx: TxId, request: &Request<'_>) -> Result<Reply<'static>> {
        let key = self.submit(tx, request)?;
        let (answered, reply) = self.next_reply()?;
        assert_eq!(answered, key, "another request is in flight");
        Ok(reply)
    }

    /// Sends a request outside of transactions and waits for the reply.
    pub fn call(&mut self, request: &Request<'_>) -> Result<Reply<'static>> {
        self.call_in(TxId::NONE, request)
    }

    /// Waits for the next event of a watch.
    pub fn next_event(&mut self) -> Result<WatchEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            self.wait()?;
        }
    }

    /// Returns an event that has come already.
    pub fn take_event(&mut self) -> Option<WatchEvent> {
        self.events.pop_front()
    }

    /// Returns what xenstored offers.
    pub fn features(&self) -> Features {
        self.ring.server_features()
    }

    /// Starts over: watches, transactions and requests in flight are lost.
    ///
    /// oxenstored (4.17 and 4.20) resets the page without a notification, hence the short waits.
    pub fn reconnect(&mut self) -> Result<()> {
        self.ring.reconnect()?;
        self.restart();
        while !self.ring.is_connected() {
            if !self.turn()? {
                self.port.wait_for(10);
            }
        }
        Ok(())
    }

    /// Starts over with a ring that xenstored has emptied.
    pub fn restart(&mut self) {
        self.ring.restart();
        self.connection.restart(Limits::default());
        self.output.clear();
        self.replies.clear();
        self.events.clear();
    }

    /// Sends a request on which the toolstack introduces the domain again, and waits until xenstored has
    /// emptied the ring for that. No notification comes with this.
    ///
    /// Nothing is received meanwhile, because the reply may go with the contents of the ring.
    pub fn send_until_emptied(&mut self, request: &Request<'_>) -> Result<()> {
        self.submit(TxId::NONE, request)?;
        while self.send()? > 0 {}
        self.port.notify();
        let (page, port) = Self::find()?;
        // The field that the daemon resets last.
        while page.load(Field::Producer(Ring::Replies), Ordering::Acquire) != 0 {
            port.clear();
            port.wait_for(10);
        }
        Ok(())
    }

    /// Reads a node.
    pub fn read(&mut self, path: &str) -> Result<Vec<u8>> {
        match self.call(&Request::Read(Path::new(path)?))? {
            Reply::Value(value) => Ok(value.into_owned()),
            reply => Err(unexpected("read", path, &reply)),
        }
    }

    /// Reads a node whose value is text.
    pub fn read_text(&mut self, path: &str) -> Result<String> {
        Ok(String::from_utf8(self.read(path)?)?)
    }

    /// Writes a node.
    pub fn write(&mut self, path: &str, value: &[u8]) -> Result<()> {
        self.done("write", path, &Request::Write { path: Path::new(path)?, value })
    }

    /// Removes a node and its descendants.
    pub fn remove(&mut self, path: &str) -> Result<()> {
        self.done("remove", path, &Request::Rm(Path::new(path)?))
    }

    /// Sets a watch.
    pub fn watch(&mut self, path: &str, token: &[u8]) -> Result<()> {
        let request = Request::Watch { path: Path::new(path)?, token, depth: None };
        self.done("watch", path, &request)
    }

    /// Removes a watch.
    pub fn unwatch(&mut self, path: &str, token: &[u8]) -> Result<()> {
        self.done("unwatch", path, &Request::Unwatch { path: Path::new(path)?, token })
    }

    /// Sends a request that is answered with OK.
    pub fn done(&mut self, what: &str, path: &str, request: &Request<'_>) -> Result<()> {
        match self.call(request)? {
            Reply::Done => Ok(()),
            reply => Err(unexpected(what, path, &reply)),
        }
    }
}

/// Returns the error for a reply that is not the expected one.
pub fn unexpected(what: &str, path: &str, reply: &Reply<'_>) -> Box<dyn core::error::Error> {
    format!("{what} {path}: {reply:?}").into()
}
