//! The daemon dies after every number of bytes of a conversation, and everybody is told why.
//!
//! One test in a process of its own: it counts descriptors and threads.
#![cfg(feature = "futures")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use xs_client::{Client, DomId, Error, ErrorKind, futures, op};
use xs_transport::mock::Xenstored;
use xs_transport::{Transport, UnixTransport, Wait};

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(60);

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

/// Uses a client in all ways at once until its daemon dies; how long that took to be known.
fn die_after(bytes: usize) -> Duration {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let transport = UnixTransport::from_stream(ours, "a pair").unwrap();
    let client = Client::builder().timeout(PATIENCE).over(transport);
    let server = thread::spawn(move || serve(theirs, bytes));

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
        let future = scope.spawn(|| {
            futures_lite::future::block_on(async {
                let client = futures::Client::on_thread(client.clone()).unwrap();
                loop {
                    if let Err(error) = client.get_perms("/").await {
                        return error;
                    }
                }
            })
        });
        [writer, reader, watcher, pending, future].map(|user| cause(&user.join().unwrap()))
    });
    let late = server.join().unwrap().elapsed();
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
    die_after(500);
    let before = ["fd", "task"].map(count);
    let slowest = (1..=400).map(die_after).max().unwrap();
    println!("the last one knew after {slowest:?} at the most");
    assert!(slowest < Duration::from_secs(10), "{slowest:?}");
    // A thread that was joined may be listed for a moment.
    let start = Instant::now();
    while ["fd", "task"].map(count) != before {
        assert!(start.elapsed() < PATIENCE, "{before:?} became {:?}", ["fd", "task"].map(count));
        thread::yield_now();
    }
}
