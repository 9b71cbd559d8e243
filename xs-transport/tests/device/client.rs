//! A small client over a transport.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use xs_proto::{Event, Path, Reply, ReqId, Request, TxId};
use xs_transport::{Drive, Failure, Transport, Wait};

use crate::HANGS;

/// A client for one thread, with one request after the other.
pub(crate) struct TestClient {
    transport: Arc<dyn Transport>,
    state: Mutex<State>,
}

struct State {
    drive: Drive<()>,
    received: Received,
}

#[derive(Default)]
struct Received {
    replies: VecDeque<(ReqId, Reply<'static>)>,
    events: VecDeque<(String, Vec<u8>)>,
}

impl Received {
    fn push(&mut self, event: Event<'_, ()>) {
        match event {
            Event::Reply { req_id, reply, .. } => {
                self.replies.push_back((req_id, reply.into_owned()));
            }
            Event::Watch { path, token } => {
                self.events.push_back((path.to_owned(), token.to_owned()));
            }
            _ => {}
        }
    }
}

impl State {
    fn turn(&mut self, wait: Wait) -> Result<(), Failure> {
        self.drive.turn(wait, |event| self.received.push(event)).map(|_| ())
    }

    fn submit(&mut self, tx_id: TxId, request: &Request<'_>) -> ReqId {
        let req_id = self.drive.connection().submit(tx_id, request, ()).unwrap();
        // A failure is returned by the next turn as well.
        let _ = self.drive.flush(|event| self.received.push(event));
        req_id
    }
}

impl TestClient {
    pub(crate) fn new(transport: impl Transport + 'static) -> Self {
        let transport: Arc<dyn Transport> = Arc::new(transport);
        let drive = Drive::new(transport.clone(), 8192);
        TestClient { transport, state: Mutex::new(State { drive, received: Received::default() }) }
    }

    fn receive_until<T>(&self, mut done: impl FnMut(&mut Received) -> Option<T>) -> T {
        let deadline = Instant::now() + HANGS;
        let mut state = self.state.lock().unwrap();
        loop {
            if let Some(value) = done(&mut state.received) {
                return value;
            }
            state.turn(Wait::Until(Some(deadline))).unwrap();
            assert!(Instant::now() < deadline, "timed out: nothing was received");
        }
    }

    /// Submits a request, and sends it if the limits allow.
    pub(crate) fn submit(&self, request: &Request<'_>) -> ReqId {
        self.state.lock().unwrap().submit(TxId::NONE, request)
    }

    /// Submits requests without sending them.
    pub(crate) fn submit_unsent(&self, request: &Request<'_>) -> bool {
        let mut state = self.state.lock().unwrap();
        state.drive.connection().submit(TxId::NONE, request, ()).is_ok()
    }

    /// Sends what was submitted, and receives what has come, without waiting. Returns the number of
    /// requests in flight, and of replies and events that have not been taken.
    pub(crate) fn poll(&self) -> (usize, usize, usize) {
        let mut state = self.state.lock().unwrap();
        state.turn(Wait::No).unwrap();
        let in_flight = state.drive.connection().pending();
        (in_flight, state.received.replies.len(), state.received.events.len())
    }

    /// Closes the transport, from any thread.
    pub(crate) fn close(&self) {
        self.transport.close();
    }

    /// Waits for the next reply.
    pub(crate) fn reply(&self) -> (ReqId, Reply<'static>) {
        self.receive_until(|received| received.replies.pop_front())
    }

    /// Waits for the next watch event and returns its path and token.
    pub(crate) fn event(&self) -> (String, Vec<u8>) {
        self.receive_until(|received| received.events.pop_front())
    }

    /// Waits until the connection fails, and returns why.
    pub(crate) fn failure(&self) -> String {
        loop {
            if let Err(failure) = self.state.lock().unwrap().turn(Wait::Until(None)) {
                return failure.to_string();
            }
        }
    }

    /// Makes a request in a transaction and waits for its reply.
    pub(crate) fn request_in(&self, tx_id: TxId, request: &Request<'_>) -> Reply<'static> {
        let req_id = self.state.lock().unwrap().submit(tx_id, request);
        let (answered, reply) = self.reply();
        assert_eq!(answered, req_id);
        reply
    }

    pub(crate) fn request(&self, request: &Request<'_>) -> Reply<'static> {
        self.request_in(TxId::NONE, request)
    }

    pub(crate) fn read(&self, path: &str) -> Reply<'static> {
        self.request(&Request::Read(node(path)))
    }

    pub(crate) fn write(&self, path: &str, value: &[u8]) -> Reply<'static> {
        self.request(&Request::Write { path: node(path), value })
    }

    pub(crate) fn watch(&self, path: &str, token: &[u8]) -> Reply<'static> {
        self.request(&Request::Watch { path: node(path), token, depth: None })
    }

    pub(crate) fn unwatch(&self, path: &str, token: &[u8]) -> Reply<'static> {
        self.request(&Request::Unwatch { path: node(path), token })
    }

    pub(crate) fn start_transaction(&self) -> TxId {
        match self.request(&Request::TransactionStart) {
            Reply::Transaction(tx_id) => tx_id,
            reply => panic!("cannot start a transaction: {reply:?}"),
        }
    }

    pub(crate) fn end_transaction(&self, tx_id: TxId, commit: bool) -> Reply<'static> {
        self.request_in(tx_id, &Request::TransactionEnd { commit })
    }
}

pub(crate) fn node(path: &str) -> Path<'_> {
    Path::new(path).unwrap()
}

/// Returns a path that every domain may write.
pub(crate) fn writable_path(name: &str) -> String {
    format!("data/xs-test/{name}")
}

/// A path that the C daemon rejects as too long, and the client does not. oxenstored accepts it.
pub(crate) fn too_long_path() -> String {
    format!("/{}", "x".repeat(3071))
}
