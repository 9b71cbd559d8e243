//! The daemon dies after each number of bytes of a conversation, and all users of the client learn
//! the cause.
//!
//! This is a test target of its own because it counts the descriptors and threads of its process.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use xs_client::{Client, DomId, Error, ErrorKind, futures, op};
use xs_transport::mock::{Kernel, Xenstored};
use xs_transport::{Transport, UnixTransport, Wait};

use support::intercept::Intercept;
use support::waiting::{HANG_GUARD, wait_until};

#[test]
fn all_users_learn_of_death_after_each_byte() {
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
        println!("over the {name}, the last user knew after at most {slowest:?}");
        // A user that misses its wake-up learns of the death only at its deadline.
        assert!(slowest < HANG_GUARD / 2, "{slowest:?}");
    }
    // A thread may be listed for a moment after it was joined: now, or when `before` was counted.
    let no_more =
        || ["fd", "task"].map(count).iter().zip(&before).all(|(now, before)| now <= before);
    wait_until(no_more, "descriptors or threads remain");
}

/// A transport to a daemon that will die, and a function that returns when it has died.
type Mortal = (Box<dyn Transport>, Box<dyn FnOnce() -> Instant>);

/// Starts a daemon behind a socket that sends `bytes` bytes and dies.
fn socket(bytes: usize) -> Mortal {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let transport = UnixTransport::new(ours, "a socket pair").unwrap();
    let server = thread::spawn(move || serve(theirs, bytes));
    (Box::new(transport), Box::new(move || server.join().unwrap()))
}

/// Opens a kernel's device that gives `bytes` bytes and then reports its end.
fn device(bytes: usize) -> Mortal {
    let xenstored = Xenstored::new();
    let device = Kernel::new(&xenstored, DomId::DOM0).open().unwrap();
    let left = AtomicUsize::new(bytes);
    let death = Arc::new(OnceLock::new());
    let dying = death.clone();
    let transport = Intercept::new(device.transport().unwrap()).on_recv(move |below, buf, wait| {
        let most = buf.len().min(left.load(Ordering::Relaxed));
        if most == 0 {
            dying.get_or_init(Instant::now);
            return Ok(0);
        }
        let n = below.recv(&mut buf[..most], wait)?;
        left.fetch_sub(n, Ordering::Relaxed);
        Ok(n)
    });
    (Box::new(transport), Box::new(move || *death.get().expect("the device has not ended")))
}

/// Sends `bytes` bytes, then dies. Returns when that was.
fn serve(mut stream: UnixStream, bytes: usize) -> Instant {
    let pipe = Xenstored::new().connect(DomId::DOM0);
    let (mut input, mut output) = ([0; 4096], [0; 4096]);
    let mut left = bytes;
    while left > 0 {
        let n = stream.read(&mut input).expect("cannot read requests");
        assert!(n > 0, "the client hangs up first");
        pipe.send(&input[..n]).unwrap();
        while let Ok(n) = pipe.recv(&mut output, Wait::No) {
            let n = n.min(left);
            stream.write_all(&output[..n]).unwrap();
            left -= n;
        }
    }
    Instant::now()
}

/// Returns the cause of the loss that an error reports.
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
            poll.poll(&mut events, Some(HANG_GUARD)).unwrap();
            assert!(!events.is_empty(), "the source does not become readable");
            if let Err(error) = source.process() {
                // The answer may have arrived just before.
                if let Err(answer) = pending.try_take().expect("the request is still in flight") {
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

/// Uses a client in all ways at once until its daemon dies. Returns how long it took until all
/// users knew.
///
/// `task` is [`task`] or [`event_loop`]: a client serves only one of them at a time.
fn die_after((transport, death): Mortal, bytes: usize, task: fn(&Client) -> Error) -> Duration {
    let client = Client::builder().timeout(HANG_GUARD).from_transport(transport);

    let (sender, called) = mpsc::channel();
    let set = client.watch_with("/w", move |event| drop(sender.send(event)));
    let causes = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            (0..).find_map(|n: u32| client.write_display("/w/n", n).err()).expect("no write fails")
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
            Ok(watch) => watch.into_iter().find_map(Result::err).expect("no error ends the watch"),
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
            if let Err(error) = called.recv_timeout(HANG_GUARD).expect("the callback is not told") {
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

/// Counts the entries of a directory of this process below `/proc`.
fn count(directory: &str) -> usize {
    fs::read_dir(format!("/proc/self/{directory}")).unwrap().count()
}
