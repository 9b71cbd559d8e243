//! The loop of the proxy, which passes on one request at a time, with its reply and events.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant};

use xs_proto::{Header, MessageType, ReqId, TxId};

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
    /// The inputs that arrived while a request was in flight.
    backlog: VecDeque<Input>,
    links: BTreeMap<usize, Link>,
    /// The number of connections so far.
    count: usize,
    is_stopped: bool,
}

/// The id of the requests that the proxy itself sends. The reply to such a request shows that all
/// earlier events have arrived.
const PING: ReqId = ReqId(0xffff_fff0);

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

    /// Runs until the proxy is stopped. Fails if the conversation cannot be written.
    pub(super) fn run(&mut self) -> io::Result<()> {
        while !self.is_stopped {
            let input = self.backlog.pop_front().or_else(|| self.inputs.recv().ok());
            match input {
                None | Some(Input::Stop) => return Ok(()),
                Some(Input::NewClient(stream)) => self.accept(stream),
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
        // If the daemon is gone, the drop of the stream closes the connection of the client.
        if let Ok(link) = Link::open(self.count, name, stream, &self.daemon, &self.sender) {
            self.links.insert(self.count, link);
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
                        let is_event = matches!(&message, Message::Whole(header, _)
                            if header.msg_type == MessageType::WatchEvent as u32);
                        self.take(from, message);
                        if from == id && !is_event {
                            break;
                        }
                    }
                    None => {
                        self.conversation.silent(&name);
                        break;
                    }
                }
            }
        }
        self.finish_step(Some(&name))
    }

    /// Collects the events on all connections, and writes the step.
    fn finish_step(&mut self, first: Option<&str>) -> io::Result<()> {
        let ping = Header {
            msg_type: MessageType::GetDomainPath as u32,
            req_id: PING,
            tx_id: TxId::NONE,
            len: 2,
        };
        let links = self.links.iter_mut();
        let asked =
            links.filter_map(|(id, link)| link.send_to_daemon(ping, b"0\0").is_ok().then_some(*id));
        let mut unanswered: HashSet<usize> = asked.collect();
        let deadline = Instant::now() + self.timeout;
        while !unanswered.is_empty() {
            let Some((from, message)) = self.next_from_daemon(deadline) else { break };
            match message {
                Message::Whole(header, _) if header.req_id == PING && unanswered.remove(&from) => {}
                Message::Closed => {
                    unanswered.remove(&from);
                    self.take(from, Message::Closed);
                }
                message => self.take(from, message),
            }
        }
        self.conversation.end_step(first)
    }

    /// Records a message from the daemon, and passes it on.
    fn take(&mut self, id: usize, message: Message) {
        let Some(link) = self.links.get_mut(&id) else { return };
        match message {
            Message::Whole(header, payload) => {
                self.conversation.answer(&link.name, header, &payload);
                if link.send_to_client(header, &payload, self.faults).is_err() {
                    // The thread that reads from this client then reports the end of the stream,
                    // which is recorded as a step.
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
            let remaining = deadline.saturating_duration_since(Instant::now());
            match self.inputs.recv_timeout(remaining) {
                Ok(Input::Daemon(id, message)) => return Some((id, message)),
                Ok(Input::Stop) => {
                    self.is_stopped = true;
                    return None;
                }
                Ok(input) => self.backlog.push_back(input),
                Err(_) => return None,
            }
        }
    }
}
