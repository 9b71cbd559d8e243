//! Xenstoreds that come and go, and ways to them that can be looked into.
#![allow(dead_code, reason = "each test has use for something else")]

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
#[cfg(feature = "futures")]
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
#[cfg(feature = "futures")]
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

#[cfg(feature = "futures")]
use xs_client::futures::Reactor;
use xs_client::{Builder, Client, DomId, Pending, op};
use xs_proto::Limits;
use xs_transport::mock::{Pipe, Xenstored};
use xs_transport::{Interest, Sent, Transport, Wait};

/// Longer than anything takes that works.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A xenstored, and a client of it.
pub(crate) fn start() -> (Xenstored, Client) {
    let xenstored = Xenstored::new();
    let client = Client::builder().timeout(PATIENCE).over(xenstored.connect(DomId::DOM0));
    (xenstored, client)
}

/// As many requests as there may be under way.
pub(crate) const FULL: usize = 4096;

/// Starts so many, before they are answered.
pub(crate) fn fill(client: &Client) -> Vec<Pending<Vec<u8>>> {
    (0..FULL).map(|_| client.start(&op::read("/")).unwrap()).collect()
}

/// A xenstored that can be cut off and be down.
#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) xenstored: Xenstored,
    line: Arc<Mutex<Option<Arc<Pipe>>>>,
    down: Arc<AtomicBool>,
    pub(crate) attempts: Arc<AtomicUsize>,
}

impl Host {
    pub(crate) fn new() -> Self {
        Host {
            xenstored: Xenstored::new(),
            line: Arc::default(),
            down: Arc::default(),
            attempts: Arc::default(),
        }
    }

    pub(crate) fn client(&self) -> Client {
        self.client_of(Client::builder().timeout(PATIENCE))
    }

    pub(crate) fn client_of(&self, builder: Builder) -> Client {
        let host = self.clone();
        builder.reconnect(true).over_each(move |_| host.open()).unwrap()
    }

    pub(crate) fn open(&self) -> io::Result<Box<dyn Transport>> {
        Ok(Box::new(self.connect()?))
    }

    pub(crate) fn connect(&self) -> io::Result<Arc<Pipe>> {
        self.attempts.fetch_add(1, Ordering::SeqCst);
        if self.down.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let pipe = Arc::new(self.xenstored.connect(DomId::DOM0));
        *self.line.lock().unwrap() = Some(pipe.clone());
        Ok(pipe)
    }

    /// Ends the present connection, as a daemon that restarts does.
    pub(crate) fn cut(&self) {
        self.line.lock().unwrap().take().expect("there is a connection").close();
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// Returns when it was tried to connect so often in all.
    pub(crate) fn await_attempts(&self, attempts: usize) {
        let start = Instant::now();
        while self.attempts.load(Ordering::SeqCst) < attempts {
            assert!(start.elapsed() < PATIENCE, "nobody connects again");
            thread::yield_now();
        }
    }

    pub(crate) fn is_reconnected(&self) -> bool {
        self.line.lock().unwrap().is_some()
    }

    pub(crate) fn watches(&self) -> Vec<String> {
        self.xenstored.watches(DomId::DOM0).into_iter().map(|(path, _)| path).collect()
    }

    /// The daemon goes away, and the client has noticed.
    pub(crate) fn go_down(&self, client: &Client) {
        self.set_down(true);
        self.cut();
        while client.start(&op::read("/")).is_ok() {}
    }
}

/// A client with a connection. Who makes another says so, and goes on when told to.
pub(crate) fn waits_to_connect(
    host: &Host,
    builder: Builder,
) -> (Client, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (opener, opened) = (host.clone(), AtomicUsize::new(0));
    let (opening, is_opening) = mpsc::channel();
    let (go, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let client = builder
        .reconnect(true)
        .over_each(move |_| {
            if opened.fetch_add(1, Ordering::SeqCst) == 1 {
                opening.send(()).unwrap();
                gate.lock().unwrap().recv().unwrap();
            }
            opener.open()
        })
        .unwrap();
    (client, is_opening, go)
}

/// A pipe with something in between.
pub(crate) struct Hooked {
    pub(crate) way: Pipe,
    /// What becomes of a send; `None`: what the pipe makes of it.
    pub(crate) before_send: Box<dyn Fn() -> Option<io::Error> + Send + Sync>,
    pub(crate) before_recv: Box<dyn Fn(Wait) + Send + Sync>,
    /// What becomes of a receive after that; `None`: what the pipe makes of it.
    pub(crate) instead_of_recv: Box<dyn Fn(Wait) -> Option<io::Error> + Send + Sync>,
    pub(crate) after_recv: Box<dyn Fn(Wait) + Send + Sync>,
}

impl Hooked {
    pub(crate) fn new(way: Pipe) -> Self {
        Hooked {
            way,
            before_send: Box::new(|| None),
            before_recv: Box::new(drop),
            instead_of_recv: Box::new(|_| None),
            after_recv: Box::new(drop),
        }
    }
}

impl fmt::Debug for Hooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooked").finish_non_exhaustive()
    }
}

impl Transport for Hooked {
    fn limits(&self) -> Limits {
        self.way.limits()
    }

    fn send(&self, bytes: &[u8]) -> io::Result<Sent> {
        match (self.before_send)() {
            Some(error) => Err(error),
            None => self.way.send(bytes),
        }
    }

    fn recv(&self, buf: &mut [u8], wait: Wait) -> io::Result<usize> {
        (self.before_recv)(wait);
        let result = match (self.instead_of_recv)(wait) {
            Some(error) => Err(error),
            None => self.way.recv(buf, wait),
        };
        (self.after_recv)(wait);
        result
    }

    fn wait(&self, interest: Interest, deadline: Option<Instant>) -> io::Result<()> {
        self.way.wait(interest, deadline)
    }

    fn wake(&self) {
        self.way.wake();
    }

    fn close(&self) {
        self.way.close();
    }

    fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        self.way.fd()
    }

    fn describe(&self) -> String {
        "hooked".into()
    }
}

/// Runs it on a thread of its own; fails if it does not end.
pub(crate) fn in_time<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || drop(sender.send(run())));
    receiver.recv_timeout(PATIENCE).expect("it ends")
}

/// Tells of readiness once, as epoll does when it is asked for edges.
#[cfg(feature = "futures")]
pub(crate) struct Edges(pub(crate) Arc<AtomicBool>);

#[cfg(feature = "futures")]
impl Reactor for Edges {
    fn register(&mut self, _: OwnedFd) -> io::Result<()> {
        Ok(())
    }

    fn poll_io(
        &mut self,
        _: &mut Context<'_>,
        _: Interest,
        attempt: &mut dyn FnMut() -> io::Result<()>,
    ) -> Poll<io::Result<()>> {
        if !self.0.load(Ordering::SeqCst) {
            return Poll::Pending;
        }
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.0.store(false, Ordering::SeqCst);
                Poll::Pending
            }
            result => Poll::Ready(result),
        }
    }

    fn poll_timer(&mut self, _: &mut Context<'_>, _: Instant) -> Poll<()> {
        Poll::Pending
    }
}
