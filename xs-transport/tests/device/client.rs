//! A small client over a transport.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use xs_proto::{
    ClientConnection, ConnectionError, ErrorCode, Event, Path, Reply, ReqId, Request, TxId,
};
use xs_transport::{Drive, Failure, Machine, Transport, Turn, Wait};

use crate::HANGS;

/// A client for one thread, with one request after the other.
pub(crate) struct TestClient(pub(crate) Drive<State>);

pub(crate) struct State {
    pub(crate) connection: ClientConnection<()>,
    pub(crate) replies: VecDeque<(ReqId, Reply<'static>)>,
    pub(crate) events: VecDeque<(String, Vec<u8>)>,
    failure: Option<String>,
}

impl Machine for State {
    fn has_output(&self) -> bool {
        self.connection.has_output()
    }

    fn take_output(&mut self, out: &mut BytesMut) {
        self.connection.take_output_into(out);
    }

    fn receive(&mut self, mut input: &[u8]) -> Result<(), ConnectionError> {
        while !input.is_empty() {
            let received = self.connection.receive(input)?;
            input = &input[received.consumed..];
            match received.event {
                Some(Event::Reply { req_id, reply, .. }) => {
                    self.replies.push_back((req_id, reply.into_owned()));
                }
                Some(Event::Watch { path, token }) => {
                    self.events.push_back((path.to_owned(), token.to_owned()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn refused(&mut self, code: ErrorCode) {
        if let Some((req_id, Some(()))) = self.connection.refused() {
            self.replies.push_back((req_id, Reply::Error(code)));
        }
    }

    fn end_of_input(&mut self) -> ConnectionError {
        self.connection.end_of_input()
    }

    fn failed(&mut self, failure: &Failure) {
        self.failure = Some(failure.to_string());
    }
}

impl TestClient {
    pub(crate) fn new(transport: impl Transport + 'static) -> Self {
        let connection = ClientConnection::new(transport.limits());
        let (replies, events) = (VecDeque::new(), VecDeque::new());
        let state = State { connection, replies, events, failure: None };
        TestClient(Drive::new(Arc::new(transport), state, 8192))
    }

    fn receive_until<T>(&self, mut done: impl FnMut(&mut State) -> Option<T>) -> T {
        let deadline = Instant::now() + HANGS;
        let mut guard = self.0.lock();
        loop {
            guard = self.0.flush(guard);
            if let Some(value) = done(&mut guard) {
                return value;
            }
            let turn;
            (guard, turn) = self.0.turn(guard, Wait::Until(Some(deadline)));
            assert!(Instant::now() < deadline, "timed out: nothing was received");
            assert_ne!(turn, Turn::Failed);
        }
    }

    /// Submits a request, and sends it if the limits allow.
    pub(crate) fn submit(&self, request: &Request<'_>) -> ReqId {
        let mut guard = self.0.lock();
        let req_id = guard.connection.submit(TxId::NONE, request, ()).unwrap();
        drop(self.0.flush(guard));
        req_id
    }

    /// Waits for the next reply.
    pub(crate) fn reply(&self) -> (ReqId, Reply<'static>) {
        self.receive_until(|state| state.replies.pop_front())
    }

    /// Waits for the next watch event and returns its path and token.
    pub(crate) fn event(&self) -> (String, Vec<u8>) {
        self.receive_until(|state| state.events.pop_front())
    }

    /// Waits until the connection fails, and returns why.
    pub(crate) fn failure(&self) -> String {
        let mut guard = self.0.flush(self.0.lock());
        while guard.failure.is_none() {
            (guard, _) = self.0.turn(guard, Wait::Until(None));
        }
        guard.failure.clone().unwrap()
    }

    /// Makes a request in a transaction and waits for its reply.
    pub(crate) fn request_in(&self, tx_id: TxId, request: &Request<'_>) -> Reply<'static> {
        let req_id = self.0.lock().connection.submit(tx_id, request, ()).unwrap();
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
