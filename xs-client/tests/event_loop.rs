//! The client in one's own event loop: what there is to do shows at the descriptor.
#![cfg(feature = "mio")]

mod host;

use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll};
use xs_client::{Client, DomId, EventKind, EventSource, op};
use xs_proto::Header;
use xs_transport::mock::{Fault, Xenstored};
use xs_transport::{Transport, UnixTransport, Wait};

use host::{Hooked, in_time};

struct Loop {
    poll: Poll,
    source: EventSource,
}

impl Loop {
    fn new(client: &Client) -> Self {
        let poll = Poll::new().unwrap();
        let mut source = client.event_source().unwrap();
        poll.registry().register(&mut source, mio::Token(0), Interest::READABLE).unwrap();
        let mut this = Loop { poll, source };
        // Each source rings once at its start.
        assert!(this.is_ready());
        this.source.process().unwrap();
        this
    }

    /// Whether the descriptor is readable now.
    fn is_ready(&mut self) -> bool {
        self.wait(Duration::ZERO)
    }

    fn wait(&mut self, timeout: Duration) -> bool {
        let mut events = Events::with_capacity(4);
        self.poll.poll(&mut events, Some(timeout)).unwrap();
        !events.is_empty()
    }

    /// Waits until there is something to do, and does it.
    fn turn(&mut self) -> Vec<xs_client::Token> {
        assert!(self.wait(Duration::from_secs(20)), "nothing happens");
        self.source.process().unwrap()
    }
}

fn start() -> (Client, Xenstored) {
    let xenstored = Xenstored::new();
    (Client::over(xenstored.connect(DomId::DOM0)), xenstored)
}

#[test]
fn events_from_others_show_at_the_descriptor() {
    let (client, xenstored) = start();
    let mut watch = client.watch("/a").unwrap();
    watch.wait().unwrap();
    let mut own = Loop::new(&client);
    assert!(!own.is_ready());

    xenstored.set("/a/b", "1").unwrap();
    assert_eq!(own.turn(), [watch.token()]);
    assert_eq!(&*watch.try_next().unwrap().unwrap().path, "/a/b");
    assert!(watch.try_next().unwrap().is_none());
    assert_eq!(own.source.process().unwrap(), []);
}

#[test]
fn what_a_blocking_call_receives_for_a_watch_is_not_hidden() {
    let (client, _xenstored) = start();
    let mut own = Loop::new(&client);
    let mut watch = client.watch("/a").unwrap();
    client.write("/a", "1").unwrap();
    client.read("/a").unwrap();
    // All bytes have been received; still there is something to do.
    assert_eq!(own.turn(), [watch.token()]);
    assert!(watch.try_next().unwrap().is_some());
}

#[test]
fn what_another_thread_receives_is_not_hidden() {
    let (client, _xenstored) = start();
    let mut own = Loop::new(&client);
    let mut watch = client.watch("/a").unwrap();
    let pending = client.start(&op::write("/b", "1")).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| client.write("/a", "1").unwrap());
    });
    while watch.try_next().unwrap().is_none_or(|event| event.kind != EventKind::Fired) {
        own.turn();
    }
    pending.wait().unwrap();
}

#[test]
fn operations_are_started_and_their_answers_taken() {
    let (client, _xenstored) = start();
    let mut own = Loop::new(&client);
    let write = client.start(&op::write("/a", "1")).unwrap();
    let mut read = client.start(&op::read("/a")).unwrap();
    let mut none = client.start(&op::read("/none")).unwrap();
    assert!(read.try_take().is_none());
    own.turn();
    assert_eq!(read.try_take().unwrap().unwrap(), b"1");
    assert!(none.try_take().unwrap().unwrap_err().is_not_found());
    // One that is dropped harms nobody.
    drop(write);
    drop(client.start(&op::read("/a")).unwrap());
    own.turn();
    assert_eq!(client.read("/a").unwrap(), b"1");
}

#[test]
fn it_is_said_when_an_answer_is_given_up() {
    let (client, xenstored) = start();
    xenstored.inject(Fault::ignore().times(2));
    let timeout = Duration::from_millis(10);
    let before = Instant::now();
    let mut pending = client.with_timeout(timeout).start(&op::read("/")).unwrap();
    let at = pending.deadline().expect("there is a deadline");
    assert!(before + timeout <= at && at <= Instant::now() + timeout);
    in_time(move || {
        let mut own = Loop::new(&client);
        while pending.deadline().is_some_and(|at| Instant::now() < at) {
            own.wait(at.saturating_duration_since(Instant::now()));
        }
        assert!(pending.try_take().expect("it is time").unwrap_err().is_timeout());
        let patient = client.with_timeout(None).start(&op::read("/")).unwrap();
        assert_eq!(patient.deadline(), None);
    });
}

#[test]
fn a_lost_connection_is_told() {
    let (client, xenstored) = start();
    let mut own = Loop::new(&client);
    let mut watch = client.watch("/a").unwrap();
    let mut pending = {
        let fault = xenstored.inject(xs_transport::mock::Fault::close());
        let pending = client.start(&op::read("/a")).unwrap();
        assert_eq!(fault.hits(), 1);
        pending
    };
    assert!(own.wait(Duration::from_secs(20)));
    assert!(own.source.process().unwrap_err().is_lost());
    assert!(pending.try_take().unwrap().unwrap_err().is_lost());
    while let Ok(event) = watch.try_next() {
        assert!(event.is_some());
    }
}

#[test]
fn after_a_reconnect_the_descriptor_is_the_same() {
    let xenstored = Xenstored::new();
    let current = std::sync::Arc::new(Mutex::new(xenstored.clone()));
    let open = {
        let current = current.clone();
        move |_| Ok(Box::new(current.lock().unwrap().connect(DomId::DOM0)) as Box<dyn Transport>)
    };
    let client = Client::builder().reconnect(true).over_each(open).unwrap();
    let mut own = Loop::new(&client);
    let mut watch = client.watch("/a").unwrap();
    own.turn();
    assert_eq!(watch.try_next().unwrap().unwrap().kind, EventKind::Fired);
    let before = own.source.as_raw_fd();
    assert_eq!(own.source.as_fd().as_raw_fd(), before);

    *current.lock().unwrap() = Xenstored::new();
    let fault = xenstored.inject(xs_transport::mock::Fault::close());
    let mut pending = client.start(&op::read("/a")).unwrap();
    assert_eq!(fault.hits(), 1);
    own.turn();
    assert!(pending.try_take().unwrap().unwrap_err().is_lost());
    let mut kinds = Vec::new();
    while kinds.len() < 2 {
        own.turn();
        while let Some(event) = watch.try_next().unwrap() {
            kinds.push(event.kind);
        }
    }
    assert_eq!(kinds, [EventKind::Reconnected, EventKind::Fired]);
    assert_eq!(own.source.as_raw_fd(), before);
    while own.is_ready() {
        own.source.process().unwrap();
    }
    current.lock().unwrap().set("/a", "1").unwrap();
    assert_eq!(own.turn(), [watch.token()]);
}

/// Who is told of the loss may be quick, and connect again before the loop has looked.
#[test]
fn a_connection_that_somebody_else_makes_meanwhile_is_watched() {
    struct Reads(Client);
    impl Wake for Reads {
        fn wake(self: Arc<Self>) {
            self.0.read("/").unwrap();
        }
    }

    let xenstored = Xenstored::new();
    let host = xenstored.clone();
    // What becomes of the next sends on the first connection, once there is something.
    let sends: Arc<Mutex<Vec<io::ErrorKind>>> = Arc::default();
    let (errors, opened) = (sends.clone(), AtomicUsize::new(0));
    let open = move |_| {
        let mut way = Hooked::new(host.connect(DomId::DOM0));
        if opened.fetch_add(1, Ordering::SeqCst) == 0 {
            let errors = errors.clone();
            way.before_send = Box::new(move || errors.lock().unwrap().pop().map(io::Error::from));
        }
        Ok(Box::new(way) as Box<dyn Transport>)
    };
    let client = Client::builder().reconnect(true).over_each(open).unwrap();
    let mut watch = client.watch("/a").unwrap();
    watch.wait().unwrap();
    let mut own = Loop::new(&client);
    // It is found out when the loop tries to send what could not be sent before.
    *sends.lock().unwrap() = vec![io::ErrorKind::BrokenPipe, io::ErrorKind::WouldBlock];
    let mut pending = client.start(&op::read("/")).unwrap();
    let waker = Waker::from(Arc::new(Reads(client.clone())));
    let mut cx = Context::from_waker(&waker);
    assert!(Pin::new(&mut pending).poll(&mut cx).is_pending());
    own.turn();
    assert_eq!(*sends.lock().unwrap(), []);
    loop {
        while watch.try_next().unwrap().is_some() {}
        if !own.is_ready() {
            break;
        }
        own.source.process().unwrap();
    }
    xenstored.set("/a", "1").unwrap();
    assert_eq!(own.turn(), [watch.token()]);
}

#[test]
fn it_may_be_registered_anew_and_no_more() {
    let (client, xenstored) = start();
    let mut watch = client.watch("/a").unwrap();
    watch.wait().unwrap();
    let mut own = Loop::new(&client);
    let mut tokens = |own: &mut Loop| {
        xenstored.set("/a", "1").unwrap();
        let mut events = Events::with_capacity(4);
        own.poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        let tokens: Vec<_> = events.iter().map(|event| event.token()).collect();
        own.source.process().unwrap();
        while watch.try_next().unwrap().is_some() {}
        tokens
    };
    assert_eq!(tokens(&mut own), [mio::Token(0)]);
    own.poll.registry().reregister(&mut own.source, mio::Token(7), Interest::READABLE).unwrap();
    assert_eq!(tokens(&mut own), [mio::Token(7)]);
    own.poll.registry().deregister(&mut own.source).unwrap();
    assert_eq!(tokens(&mut own), []);
}

#[test]
fn what_could_not_be_sent_leaves_when_there_is_room() {
    const MANY: usize = 1000;
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let client = Client::over(UnixTransport::from_stream(ours, "a pair").unwrap());
    let mut own = Loop::new(&client);
    // More than a socket takes.
    let value = [0; 4000];
    let write = op::write("/a", &value);
    let _pending: Vec<_> = (0..MANY).map(|_| client.start(&write).unwrap()).collect();
    own.source.process().unwrap();
    let peer = thread::spawn(move || {
        let message = Header::LEN + "/a\0".len() + value.len();
        theirs.read_exact(&mut vec![0; MANY * message])
    });
    // When it has all, it hangs up.
    let error = loop {
        assert!(own.wait(Duration::from_secs(20)), "nothing happens");
        match own.source.process() {
            Ok(tokens) => assert_eq!(tokens, []),
            Err(error) => break error,
        }
    };
    assert!(error.is_lost(), "{error}");
    peer.join().unwrap().unwrap();
}

#[test]
fn to_process_waits_for_nothing_while_nothing_can_be_sent() {
    let xenstored = Xenstored::new();
    let full = Arc::new(AtomicBool::new(false));
    let is_full = full.clone();
    let (entered, is_in) = mpsc::channel();
    let mut way = Hooked::new(xenstored.connect(DomId::DOM0));
    way.before_send =
        Box::new(move || is_full.load(Ordering::SeqCst).then(|| io::ErrorKind::WouldBlock.into()));
    way.before_recv = Box::new(move |_| {
        let _ = entered.send(thread::current().id());
    });
    let client = Client::over(way);
    let mut source = client.event_source().unwrap();
    let fault = xenstored.inject(Fault::delay());
    let reader = client.clone();
    let reading = thread::spawn(move || reader.exists("/").unwrap());
    // It sits where answers come in.
    while is_in.recv().unwrap() != reading.thread().id() {}
    full.store(true, Ordering::SeqCst);
    let pending = client.start(&op::read("/")).unwrap();
    in_time(move || drop(source.process()));
    full.store(false, Ordering::SeqCst);
    fault.release();
    reading.join().unwrap();
    drop(pending);
}

#[test]
fn nothing_is_hidden_by_a_thread_that_gives_up() {
    let xenstored = Xenstored::new();
    let is_armed = Arc::new(AtomicBool::new(false));
    let armed = is_armed.clone();
    let (entered, is_in) = mpsc::channel();
    let (go, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let mut way = Hooked::new(xenstored.connect(DomId::DOM0));
    // It is too late for a thread, and something comes before it has left its seat.
    way.instead_of_recv = Box::new(move |wait| {
        if wait == Wait::No || !armed.swap(false, Ordering::SeqCst) {
            return None;
        }
        entered.send(()).unwrap();
        gate.lock().unwrap().recv().unwrap();
        Some(io::ErrorKind::WouldBlock.into())
    });
    let client = Client::over(way);
    let [mut watch, mut other] = ["/a", "/b"].map(|path| client.watch(path).unwrap());
    for watch in [&mut watch, &mut other] {
        watch.wait().unwrap();
    }
    let mut own = Loop::new(&client);
    is_armed.store(true, Ordering::SeqCst);
    let waiting = thread::spawn(move || other.next_timeout(Duration::ZERO).unwrap());
    is_in.recv().unwrap();
    xenstored.set("/a", "1").unwrap();
    assert_eq!(own.turn(), [], "the seat is taken");
    go.send(()).unwrap();
    assert_eq!(waiting.join().unwrap(), None);
    assert_eq!(own.turn(), [watch.token()]);
}

#[cfg(feature = "futures")]
#[test]
fn nothing_is_hidden_by_a_thread_that_serves_futures() {
    let (client, xenstored) = start();
    let tasks = xs_client::futures::Client::on_thread(client.clone()).unwrap();
    let mut own = Loop::new(&client);
    let mut watch = client.watch("/a").unwrap();
    watch.wait().unwrap();
    // The thread has had something to do with the clock, and with answers.
    xenstored.inject(Fault::ignore());
    let hasty = tasks.with_timeout(Duration::from_millis(1));
    assert!(futures_lite::future::block_on(hasty.read("/")).unwrap_err().is_timeout());
    futures_lite::future::block_on(tasks.read("/")).unwrap();
    while own.is_ready() {
        own.source.process().unwrap();
    }
    xenstored.set("/a", "").unwrap();
    while own.turn().is_empty() {}
    assert!(watch.try_next().unwrap().is_some());
}
