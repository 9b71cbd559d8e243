//! Clients of an in-memory daemon, which a test can stop and start again.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use xs_client::{Builder, Client, DomId, Pending, op};
use xs_transport::Transport;
use xs_transport::mock::{Pipe, Xenstored};

use super::intercept::Intercept;
use super::threads::Gate;
use super::waiting::{HANG_GUARD, wait_until};

/// How many requests of one client can be in flight.
pub(crate) const FULL: usize = 4096;

/// Starts an in-memory daemon and connects a client to it.
pub(crate) fn start() -> (Xenstored, Client) {
    let xenstored = Xenstored::new();
    let client =
        Client::builder().timeout(HANG_GUARD).from_transport(xenstored.connect(DomId::DOM0));
    (xenstored, client)
}

/// The same, over a ring.
pub(crate) fn start_with_ring() -> (Xenstored, Client) {
    let xenstored = Xenstored::new();
    let transport = xenstored.ring(DomId::DOM0).unwrap().connect().unwrap();
    (xenstored, Client::builder().timeout(HANG_GUARD).from_transport(transport))
}

/// Starts an in-memory daemon and connects a client to it. Whenever the client receives, the daemon
/// has one more event of a watch on `/w`.
pub(crate) fn start_flood() -> (Xenstored, Client) {
    let xenstored = Xenstored::new();
    let daemon = xenstored.clone();
    let transport =
        Intercept::new(xenstored.connect(DomId::DOM0)).on_recv(move |below, buf, wait| {
            daemon.set("/w", "").unwrap();
            below.recv(buf, wait)
        });
    (xenstored, Client::from_transport(transport))
}

/// Starts as many requests as can be in flight.
pub(crate) fn fill(client: &Client) -> Vec<Pending<Vec<u8>>> {
    (0..FULL).map(|_| client.start(&op::read("/")).unwrap()).collect()
}

/// Makes requests until the client has cleaned up at the daemon what callers no longer need.
pub(crate) fn finish_cleanup(client: &Client) {
    for _ in 0..2 {
        client.exists("/").unwrap();
    }
}

/// An in-memory daemon that can close connections and refuse new ones.
#[derive(Clone)]
pub(crate) struct TestDaemon {
    pub(crate) xenstored: Xenstored,
    connection: Arc<Mutex<Option<Arc<Pipe>>>>,
    is_down: Arc<AtomicBool>,
    attempts: Arc<AtomicUsize>,
}

/// An attempt of a client to connect.
pub(crate) struct Attempt<'a> {
    daemon: &'a TestDaemon,
    /// How many attempts there were before this one.
    pub(crate) number: usize,
    /// How long the attempt may take.
    pub(crate) timeout: Duration,
}

impl Attempt<'_> {
    /// Connects to the daemon, unless it is down.
    pub(crate) fn connect(&self) -> io::Result<Box<dyn Transport>> {
        if self.daemon.is_down.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let pipe = Arc::new(self.daemon.xenstored.connect(DomId::DOM0));
        *self.daemon.connection.lock().unwrap() = Some(pipe.clone());
        Ok(Box::new(pipe))
    }
}

impl TestDaemon {
    pub(crate) fn new() -> Self {
        TestDaemon {
            xenstored: Xenstored::new(),
            connection: Arc::default(),
            is_down: Arc::default(),
            attempts: Arc::default(),
        }
    }

    /// Returns a client that reconnects.
    pub(crate) fn client(&self) -> Client {
        let builder = Client::builder().timeout(HANG_GUARD);
        self.client_over(builder, |attempt| attempt.connect())
    }

    /// Returns a client that reconnects by calling `connect`.
    pub(crate) fn client_over(
        &self,
        builder: Builder,
        connect: impl Fn(Attempt<'_>) -> io::Result<Box<dyn Transport>> + Send + Sync + 'static,
    ) -> Client {
        let daemon = self.clone();
        let open = move |timeout| {
            let number = daemon.attempts.fetch_add(1, Ordering::SeqCst);
            connect(Attempt { daemon: &daemon, number, timeout })
        };
        builder.reconnect(true).with_connector(open).unwrap()
    }

    /// Returns a client that reconnects. The descriptors of its second connection are not available
    /// for some calls.
    pub(crate) fn client_without_descriptors(&self, calls: usize) -> Client {
        let missing = Arc::new(AtomicUsize::new(calls));
        self.client_over(Builder::default().timeout(HANG_GUARD), move |attempt| {
            let (missing, is_first) = (missing.clone(), attempt.number == 0);
            Ok(Box::new(Intercept::new(attempt.connect()?).on_fd(move |below| {
                let one_less = |left: usize| left.checked_sub(1).filter(|_| !is_first);
                match missing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less) {
                    Ok(_) => Err(io::Error::from_raw_os_error(libc::EMFILE)),
                    Err(_) => below.fd(),
                }
            })))
        })
    }

    /// Returns a client that is connected. Its second attempt to connect stops at the gate.
    pub(crate) fn gated_client(&self, builder: Builder) -> (Client, Gate) {
        let gate = Gate::closed();
        let reconnecting = gate.clone();
        let client = self.client_over(builder, move |attempt| {
            if attempt.number == 1 {
                reconnecting.pass();
            }
            attempt.connect()
        });
        (client, gate)
    }

    /// Closes the current connection, as a daemon does that restarts.
    pub(crate) fn hang_up(&self) {
        self.connection.lock().unwrap().take().expect("no connection").close();
    }

    /// Sets whether the daemon refuses connections.
    pub(crate) fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::SeqCst);
    }

    /// Refuses connections from now on and closes the current one. The client notices the loss
    /// before this returns.
    pub(crate) fn go_down(&self, client: &Client) {
        self.set_down(true);
        self.hang_up();
        wait_until(|| client.start(&op::read("/")).is_err(), "the client does not notice the loss");
    }

    /// Returns how many attempts to connect there have been.
    pub(crate) fn attempts(&self) -> usize {
        self.attempts.load(Ordering::SeqCst)
    }

    /// Waits until there have been so many attempts to connect.
    pub(crate) fn wait_for_attempts(&self, attempts: usize) {
        wait_until(|| self.attempts() >= attempts, "the client does not connect again");
    }

    /// Returns whether there has been a connection since [`hang_up`](Self::hang_up).
    pub(crate) fn is_connected(&self) -> bool {
        self.connection.lock().unwrap().is_some()
    }

    /// Returns the paths that are watched.
    pub(crate) fn watches(&self) -> Vec<String> {
        self.xenstored.watches(DomId::DOM0).into_iter().map(|(path, _)| path).collect()
    }
}
