//! The daemon dies after every number of bytes of a conversation, and everybody is told why.
//!
//! One test in a process of its own: it counts descriptors and threads.
#![cfg(all(feature = "futures", feature = "mio"))]

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use xs_client::{Client, DomId, Error, ErrorKind, futures, op};
use xs_proto::Limits;
use xs_transport::mock::{Kernel, Xenstored};
use xs_transport::{Interest, Sent, Transport, UnixTransport, Wait, XenbusTransport};

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon behind a socket, which says `bytes` bytes and dies.
fn socket(bytes: usize) -> (Box<dyn Transport>, Death) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let transport = UnixTransport::from_stream(ours, "a pair").unwrap();
    let server = thread::spawn(move || serve(theirs, bytes));
    (Box::new(transport), Box::new(move || server.join().unwrap()))
}

/// A kernel's device that gives `bytes` bytes and then reports its end.
fn device(bytes: usize) -> (Box<dyn Transport>, Death) {
    let xenstored = Xenstored::new();
    let device = Kernel::new(&xenstored, DomId::DOM0).open().unwrap();
    let died = Arc::new(OnceLock::new());
    let mortal = Mortal {
        device: device.transport().unwrap(),
        left: AtomicUsize::new(bytes),
        died: died.clone(),
    };
    (Box::new(mortal), Box::new(move || *died.get().expect("it has died")))
}

/// Tells when the daemon died.
type Death = Box<dyn FnOnce() -> Instant>;

#[derive(Debug)]
struct Mortal {
    device: XenbusTransport,
    left: AtomicUsize,
    died: Arc<OnceLock<Instant>>,
}

impl Transport for Mortal {
    fn limits(&self) -> Limits {
        self.device.limits()
    }

    fn send(&self, bytes: &[u8]) -> io::Result<Sent> {
        self.device.send(bytes)
    }

    fn recv(&self, buf: &mut [u8], wait: Wait) -> io::Result<usize> {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            self.died.get_or_init(Instant::now);
            return Ok(0);
        }
        let most = buf.len().min(left);
        let n = self.device.recv(&mut buf[..most], wait)?;
        self.left.fetch_sub(n, Ordering::Relaxed);
        Ok(n)
    }

    fn wait(&self, interest: Interest, deadline: Option<Instant>) -> io::Result<()> {
        self.device.wait(interest, deadline)
    }

    fn wake(&self) {
        self.device.wake();
    }

    fn close(&self) {
        self.device.close();
    }

    fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        self.device.fd()
    }

    fn describe(&self) -> String {
        self.device.describe()
    }
}

/// Says `bytes` bytes, then dies. Returns when that was.
fn serve(mut stream: UnixStream, bytes: usize) -> Instant {
    let pipe = Xenstored::new().connect(DomId::DOM0);
    let (mut input, mut output) = ([0; 4096], [0; 4096]);
    let mut left = bytes;
    while left > 0 {
        let n = stream.read(&mut input).expect("the client says something");
        assert!(n > 0, "the client does not hang up first");
        pipe.send(&input[..n]).unwrap();
        while let Ok(n) = pipe.recv(&mut output, Wait::No) {
            let n = n.min(left);
            stream.write_all(&output[..n]).unwrap();
            left -= n;
        }
    }
    Instant::now()
}

/// Why an operation failed.
fn cause(error: &Error) -> String {
    match error.kind() {
        ErrorKind::Lost(failure) => failure.to_string(),
        _ => panic!("{error}"),
    }
}

/// Uses a client as a task until that fails.
fn task(client: &Client) -> Error {
    futures_lite::future::block_on(async {
        let client = futures::Client::on_thread(client.clone()).unwrap();
        loop {
            if let Err(error) = client.get_perms("/").await {
                return error;
            }
        }
    })
}

/// Uses a client in an event loop until that fails.
fn event_loop(client: &Client) -> Error {
    let mut source = client.event_source().unwrap();
    let mut poll = mio::Poll::new().unwrap();
    poll.registry().register(&mut source, mio::Token(0), mio::Interest::READABLE).unwrap();
    let mut events = mio::Events::with_capacity(1);
    loop {
        let mut pending = match client.start(&op::get_perms("/")) {
            Ok(pending) => pending,
            Err(error) => return error,
        };
        let answer = loop {
            if let Some(answer) = pending.try_take() {
                break answer;
            }
            poll.poll(&mut events, Some(PATIENCE)).unwrap();
            assert!(!events.is_empty(), "the descriptor stays quiet");
            if let Err(error) = source.process() {
                // Its answer may have come just before.
                if let Err(answer) = pending.try_take().expect("it is over") {
                    assert_eq!(cause(&answer), cause(&error));
                }
                return error;
            }
        };
        if let Err(error) = answer {
            return error;
        }
    }
}

/// Uses a client in all ways at once until its daemon dies; how long that took to be known.
/// `task` or [`event_loop`] is one of them: they have the same place, and a client has it once.
fn die_after(
    (transport, death): (Box<dyn Transport>, Death),
    bytes: usize,
    task: fn(&Client) -> Error,
) -> Duration {
    let client = Client::builder().timeout(PATIENCE).over(transport);

    let (sender, called) = mpsc::channel();
    let set = client.watch_with("/w", move |event| drop(sender.send(event)));
    let causes = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            (0..).find_map(|n: u32| client.write_display("/w/n", n).err()).expect("it dies")
        });
        let reader = scope.spawn(|| {
            loop {
                match client.read_many(["/w", "/w/n"]).into_iter().find_map(Result::err) {
                    Some(error) if error.is_not_found() => {}
                    Some(error) => return error,
                    None => {}
                }
            }
        });
        let watcher = scope.spawn(|| match client.watch("/w") {
            Ok(watch) => watch.into_iter().find_map(Result::err).expect("it ends with an error"),
            Err(error) => error,
        });
        let pending = scope.spawn(|| {
            loop {
                let answer = client.start(&op::directory("/")).and_then(|pending| pending.wait());
                if let Err(error) = answer {
                    return error;
                }
            }
        });
        let task = scope.spawn(|| task(&client));
        [writer, reader, watcher, pending, task].map(|user| cause(&user.join().unwrap()))
    });
    let late = death().elapsed();
    assert!(causes.iter().all(|cause| *cause == causes[0]), "after {bytes} bytes: {causes:?}");
    match set {
        Ok(_) => loop {
            if let Err(error) = called.recv_timeout(PATIENCE).expect("the callback is told") {
                assert_eq!(cause(&error), causes[0]);
                break;
            }
        },
        Err(error) => assert_eq!(cause(&error), causes[0]),
    }
    assert_eq!(cause(&client.read("/").unwrap_err()), causes[0]);
    assert!(client.watch("/").is_err());
    late
}

fn count(what: &str) -> usize {
    fs::read_dir(format!("/proc/self/{what}")).unwrap().count()
}

#[test]
fn after_each_byte() {
    for task in [task, event_loop] {
        die_after(socket(500), 500, task);
        die_after(device(500), 500, task);
    }
    let before = ["fd", "task"].map(count);
    for (name, daemon) in [("socket", socket as fn(usize) -> _), ("device", device)] {
        let die = |bytes| {
            [task, event_loop].map(|task| die_after(daemon(bytes), bytes, task)).into_iter().max()
        };
        let slowest = (1..=400).filter_map(die).max().unwrap();
        println!("over the {name} the last one knew after {slowest:?} at the most");
        assert!(slowest < Duration::from_secs(10), "{slowest:?}");
    }
    // A thread that was joined may be listed for a moment: now, and when it was counted before.
    let start = Instant::now();
    while ["fd", "task"].map(count).iter().zip(&before).any(|(now, before)| now > before) {
        assert!(start.elapsed() < PATIENCE, "{before:?} became {:?}", ["fd", "task"].map(count));
        thread::yield_now();
    }
}
