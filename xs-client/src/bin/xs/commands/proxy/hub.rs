//! The loop of the proxy: passes on requests, replies and events, in an order that can be written
//! down.
//!
//! Requests that only read are passed on as they come. Any other request is passed on alone: an
//! event does not tell its cause, so the cause is the request that is in flight.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant};

use xs_proto::{Header, MessageType};

use super::Faults;
use super::conversation::Conversation;
use super::input::{Input, Message};
use super::link::Link;

/// All connections, and the conversation on them.
pub(super) struct Hub<'a> {
    daemon: PathBuf,
    conversation: Conversation<'a>,
    faults: Faults,
    timeout: Duration,
    sender: SyncSender<Input>,
    inputs: Receiver<Input>,
    /// The inputs that have come while a request was in flight.
    backlog: VecDeque<Input>,
    links: BTreeMap<usize, Link>,
    /// The number of connections so far.
    count: usize,
    is_stopped: bool,
}

/// A request in flight that only reads.
struct Request {
    link: usize,
    name: String,
    header: Header,
    payload: Vec<u8>,
    deadline: Instant,
}

/// The largest number of requests in flight. All fit in the buffer of a socket, so that the proxy
/// does not wait for a daemon that waits for the proxy to take its replies.
const MAX_IN_FLIGHT: usize = 16;

impl<'a> Hub<'a> {
    pub(super) fn new(
        daemon: PathBuf,
        conversation: Conversation<'a>,
        faults: Faults,
        timeout: Duration,
        sender: SyncSender<Input>,
        inputs: Receiver<Input>,
    ) -> Self {
        Hub {
            daemon,
            conversation,
            faults,
            timeout,
            sender,
            inputs,
            backlog: VecDeque::new(),
            links: BTreeMap::new(),
            count: 0,
            is_stopped: false,
        }
    }

    /// Runs until the proxy is stopped.
    ///
    /// # Errors
    /// Fails if the conversation cannot be written.
    pub(super) fn run(&mut self) -> io::Result<()> {
        while !self.is_stopped {
            let input = self.backlog.pop_front().or_else(|| self.inputs.recv().ok());
            match input {
                None | Some(Input::Stop) => return Ok(()),
                Some(Input::NewClient(stream)) => self.accept(stream),
                Some(Input::Client(id, Message::Whole(header, payload))) if only_reads(header) => {
                    self.backlog.push_front(Input::Client(id, Message::Whole(header, payload)));
                    self.pass_on_reads()?;
                }
                Some(Input::Client(id, Message::Whole(header, payload))) => {
                    self.request(id, header, &payload)?;
                }
                Some(Input::Client(id, Message::Closed)) => {
                    if let Some(link) = self.links.remove(&id) {
                        self.conversation.client_closed(&link.name);
                        drop(link);
                        self.finish_step(None)?;
                    }
                }
                Some(Input::Daemon(id, message)) => {
                    // No request of these clients is the cause.
                    self.take(id, message);
                    self.conversation.end_without_request()?;
                }
            }
        }
        Ok(())
    }

    fn accept(&mut self, stream: UnixStream) {
        let name = self.conversation.name_of(self.count);
        self.count += 1;
        // A daemon that is gone closes the connection of the client, too.
        if let Ok(link) = Link::open(self.count, name, stream, &self.daemon, &self.sender) {
            self.links.insert(self.count, link);
        }
    }

    /// Passes on the requests that only read, from the backlog and as they arrive, until all have
    /// their replies or another input is next.
    fn pass_on_reads(&mut self) -> io::Result<()> {
        let mut in_flight: VecDeque<Request> = VecDeque::new();
        while !self.is_stopped {
            while in_flight.len() < MAX_IN_FLIGHT {
                let Some(request) = self.send_next_read() else { break };
                in_flight.push_back(request);
            }
            let Some(oldest) = in_flight.front() else { break };
            match self.next_input(oldest.deadline) {
                Some(Input::Daemon(from, message)) => {
                    let is_closed = matches!(message, Message::Closed);
                    // A daemon replies to the requests on a connection in their order.
                    let asked = in_flight.iter().position(|request| request.link == from);
                    let asked = asked.filter(|_| self.is_answer(from, &message));
                    match asked.and_then(|at| in_flight.remove(at)) {
                        Some(Request { name, header, payload, .. }) => {
                            self.conversation.request(&name, header, &payload);
                            self.take(from, message);
                            self.conversation.end_step(Some(&name))?;
                        }
                        None => {
                            self.take(from, message);
                            self.conversation.end_without_request()?;
                        }
                    }
                    in_flight.retain(|request| !is_closed || request.link != from);
                }
                Some(input) => self.backlog.push_back(input),
                None if self.is_stopped => {}
                None => {
                    let Some(Request { name, header, payload, .. }) = in_flight.pop_front() else {
                        break;
                    };
                    self.conversation.request(&name, header, &payload);
                    self.conversation.silent(&name);
                    self.conversation.end_step(Some(&name))?;
                }
            }
        }
        Ok(())
    }

    /// Passes on the request at the front of the backlog, if it only reads.
    fn send_next_read(&mut self) -> Option<Request> {
        loop {
            match self.backlog.front() {
                Some(Input::Client(_, Message::Whole(header, _))) if only_reads(*header) => {}
                _ => return None,
            }
            let Some(Input::Client(id, Message::Whole(header, payload))) = self.backlog.pop_front()
            else {
                return None;
            };
            let Some(link) = self.links.get_mut(&id) else { continue };
            // If the daemon is gone, its end of the connection is the answer.
            let _ = link.send_to_daemon(header, &payload);
            let (name, deadline) = (link.name.clone(), Instant::now() + self.timeout);
            return Some(Request { link: id, name, header, payload, deadline });
        }
    }

    /// Passes on a request, and waits for its reply and for the events that it causes.
    fn request(&mut self, id: usize, header: Header, payload: &[u8]) -> io::Result<()> {
        let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
        let name = link.name.clone();
        self.conversation.request(&name, header, payload);
        if link.send_to_daemon(header, payload).is_ok() {
            let deadline = Instant::now() + self.timeout;
            loop {
                match self.next_from_daemon(deadline) {
                    Some((from, message)) => {
                        let is_answer = self.is_answer(from, &message);
                        self.take(from, message);
                        if from == id && is_answer {
                            break;
                        }
                    }
                    // The daemon might still reply, so the request is left out.
                    None if self.is_stopped => return Ok(()),
                    None => {
                        self.conversation.silent(&name);
                        break;
                    }
                }
            }
        }
        self.finish_step(Some(&name))
    }

    /// Collects the events on all connections, until each has answered a ping. Then writes the step.
    fn finish_step(&mut self, first: Option<&str>) -> io::Result<()> {
        for link in self.links.values_mut() {
            // If the daemon is gone, the end of its connection follows.
            let _ = link.ping();
        }
        let deadline = Instant::now() + self.timeout;
        while self.links.values().any(Link::awaits_ping) {
            let Some((from, message)) = self.next_from_daemon(deadline) else { break };
            self.take(from, message);
        }
        self.conversation.end_step(first)
    }

    /// Returns whether a message from the daemon ends a request of the client: as its reply, or as
    /// the end of the connection.
    fn is_answer(&self, id: usize, message: &Message) -> bool {
        let is_ping_reply = self.links.get(&id).is_some_and(|link| link.is_ping_reply(message));
        !is_ping_reply && !message.is_event()
    }

    /// Writes down a message from the daemon, and passes it on, unless it is the reply to a ping.
    fn take(&mut self, id: usize, message: Message) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.take_ping_reply(&message) {
            return;
        }
        match message {
            Message::Whole(header, payload) => {
                self.conversation.answer(&link.name, header, &payload);
                if link.send_to_client(header, &payload, self.faults).is_err() {
                    // The thread that reads from this client notices its end, which is written down
                    // then.
                    link.hang_up();
                }
            }
            Message::Closed => {
                self.conversation.closed(&link.name);
                self.links.remove(&id);
            }
        }
    }

    /// Returns the next message from the daemon, or `None` at the deadline or the end of the proxy.
    fn next_from_daemon(&mut self, deadline: Instant) -> Option<(usize, Message)> {
        loop {
            match self.next_input(deadline)? {
                Input::Daemon(id, message) => return Some((id, message)),
                input => self.backlog.push_back(input),
            }
        }
    }

    /// Returns the next input, or `None` at the deadline or the end of the proxy.
    fn next_input(&mut self, deadline: Instant) -> Option<Input> {
        if self.is_stopped {
            return None;
        }
        let remaining = deadline.saturating_duration_since(Instant::now());
        let input = self.inputs.recv_timeout(remaining).ok()?;
        self.is_stopped = matches!(input, Input::Stop);
        (!self.is_stopped).then_some(input)
    }
}

/// Returns whether a request changes nothing, and therefore causes no events.
fn only_reads(header: Header) -> bool {
    use MessageType::{
        Directory, DirectoryPart, GetDomainPath, GetPerms, IsDomainIntroduced, Read,
    };
    matches!(
        MessageType::from_u32(header.msg_type),
        Some(Directory | DirectoryPart | GetDomainPath | GetPerms | IsDomainIntroduced | Read)
    )
}
