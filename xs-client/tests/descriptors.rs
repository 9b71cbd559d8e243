//! The process has no free descriptor. A connected client needs no further one, and a call that needs
//! one fails alone.

#[path = "support/mod.rs"]
mod support;

use std::fs::File;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use futures_lite::future::block_on;
use xs_client::{Client, DomId, ErrorKind, EventKind, futures};
use xs_transport::mock::{Fault, Kernel};

use support::callback::CallbackEvents;
use support::served::Served;
use support::waiting::HANG_GUARD;

/// All free descriptors of the process, until it is dropped.
struct Exhausted(Vec<File>);

impl Exhausted {
    fn new() -> Self {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `limit` is a local rlimit, which outlives both calls.
        unsafe {
            assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
            limit.rlim_cur = limit.rlim_cur.min(256);
            assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
        }
        let mut files = Vec::new();
        let error = loop {
            match File::open("/dev/null") {
                Ok(file) => files.push(file),
                Err(error) => break error,
            }
        };
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{error}");
        Exhausted(files)
    }

    /// Frees some descriptors.
    fn free(&mut self, count: usize) {
        self.0.truncate(self.0.len() - count);
    }
}

/// The tests take turns: the descriptors belong to the process.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns clients of the socket and of the device.
fn clients(served: &Served) -> [Client; 2] {
    let device = Kernel::new(&served.xenstored, DomId::DOM0).open().unwrap();
    let builder = Client::builder().timeout(HANG_GUARD);
    [served.connect(), builder.from_transport(device.transport().unwrap())]
}

/// Uses the client with several threads, whose waits other threads end.
fn use_client(client: &Client) {
    let calls = CallbackEvents::watch(client, "/a");
    assert_eq!(calls.next_kind(), EventKind::Fired);
    let mut watch = client.watch("/a").unwrap();
    watch.wait().unwrap();
    thread::scope(|scope| {
        for name in ["/a/1", "/a/2"] {
            scope.spawn(move || {
                for _ in 0..50 {
                    client.write(name, "x").unwrap();
                    assert_eq!(client.read(name).unwrap(), b"x");
                }
            });
        }
    });
    watch.wait().unwrap();
    assert_eq!(calls.next_kind(), EventKind::Fired);
    watch.remove().unwrap();
    client.unwatch(calls.token).unwrap();
    client.watch_stop();
    let tasks = futures::Client::on_thread(client.clone()).unwrap();
    block_on(async {
        tasks.write("/a", "1").await.unwrap();
        let mut watch = tasks.watch("/a").await.unwrap();
        watch.wait().await.unwrap();
    });
}

#[test]
fn connected_client_needs_no_further_descriptor() {
    let _turn = turn();
    let served = Served::start();
    for client in clients(&served) {
        let exhausted = Exhausted::new();
        use_client(&client);
        drop(exhausted);
        client.exists("/").unwrap();
    }
}

#[test]
fn call_that_needs_descriptors_fails_alone() {
    let _turn = turn();
    let served = Served::start();
    for client in clients(&served) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // The first use of a runtime creates what it needs.
        runtime.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
        let mut exhausted = Exhausted::new();
        // The first or the second descriptor of the event source is missing.
        for free in 0..2 {
            exhausted.free(free);
            let error = client.event_source().unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::System(_)), "{error}");
            client.write("/a", "1").unwrap();
        }
        let _rest = Exhausted::new();
        let _context = runtime.enter();
        let error = futures::Client::with_tokio_driver(client.clone()).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::System(_)), "{error}");
        client.write("/a", "1").unwrap();
    }
}

#[test]
fn client_reconnects_when_descriptors_are_free_again() {
    let _turn = turn();
    let served = Served::start();
    let client = served.connect();
    let calls = CallbackEvents::watch(&client, "/a");
    assert_eq!(calls.next_kind(), EventKind::Fired);
    let exhausted = Exhausted::new();
    served.xenstored.inject(Fault::close());
    assert!(client.read("/a").unwrap_err().is_lost());
    let error = client.with_timeout(Duration::from_millis(50)).read("/a").unwrap_err();
    assert!(error.is_lost(), "{error}");
    drop(exhausted);
    client.exists("/a").unwrap();
    assert_eq!(calls.next_kind(), EventKind::Reconnected);
}
