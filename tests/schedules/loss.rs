//! The client closes the connection, or the daemon dies.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Instant;

use shuttle::sync::{Mutex, mpsc};
use shuttle::thread;
use xs_client::{Client, DomId, EventKind};
use xs_transport::mock::Xenstored;
use xs_transport::{Interest, Sent, Transport, Wait};

use crate::wire::Wire;
use crate::{Host, SMALL, UNLIMITED, explore, join};

/// A number of bytes that ends in the middle of a request.
const MID_REQUEST: usize = 60;

#[test]
fn close_wakes_all_threads() {
    explore(|| {
        let host = Host::new(UNLIMITED, UNLIMITED);
        host.client.watch_with("/w", drop).unwrap();
        let mut watch = host.client.watch("/w").unwrap();
        let watcher = thread::spawn(move || {
            for _ in 0..2 {
                drop(watch.wait())
            }
        });
        let client = host.client.clone();
        let reader = thread::spawn(move || drop([(); 2].map(|()| client.read("/1"))));
        host.client.close();
        join([watcher, reader]);
        host.end();
    });
}

#[test]
fn death_of_daemon_reaches_all_users() {
    explore(|| {
        let host = Host::new(UNLIMITED, MID_REQUEST);
        let (sender, called) = mpsc::channel();
        let set = host.client.watch_with("/w", move |event| drop(sender.send(event)));
        join([0, 1].map(|at| {
            let client = host.client.clone();
            thread::spawn(move || {
                let path = format!("/{at}");
                if let Ok(mut watch) = client.watch(&path) {
                    while watch.wait().is_ok() {}
                }
                while client.read(&path).is_ok() {}
            })
        }));
        if set.is_ok() {
            // The callback gets the events before the loss, and then the loss.
            while called.recv().unwrap().is_ok() {}
        } else {
            assert!(called.recv().is_err(), "the callback of a failed watch was called");
        }
        assert!(host.client.read("/0").unwrap_err().is_lost());
        host.end();
    });
}

/// The first daemon dies, and the first thread that notices connects to the next one.
#[test]
fn all_users_go_on_with_next_daemon() {
    explore(|| {
        let xenstored = Xenstored::new();
        xenstored.set("/1", "1").unwrap();
        let servers = Arc::new(Mutex::new(Vec::new()));
        let started = servers.clone();
        let open = move |_| {
            let mut servers = started.lock().unwrap();
            let pipe = xenstored.connect(DomId::DOM0);
            let wire = Wire::new(UNLIMITED);
            let far = wire.clone();
            let bytes = if servers.is_empty() { MID_REQUEST } else { UNLIMITED };
            servers.push(thread::spawn(move || far.serve(&pipe, bytes)));
            Ok(Box::new(wire) as Box<dyn Transport>)
        };
        let client = Client::builder().timeout(None).reconnect(true).with_connector(open).unwrap();
        let watching = client.clone();
        let watcher = thread::spawn(move || {
            let mut watch = loop {
                match watching.watch("/w") {
                    Ok(watch) => break watch,
                    Err(error) => assert!(error.is_lost(), "{error}"),
                }
            };
            let mut kinds = vec![watch.wait().unwrap().kind];
            while watching.read("/1").is_err() {}
            // The first daemon may have died only now.
            while let Ok(Some(event)) = watch.try_next() {
                kinds.push(event.kind);
            }
            let reconnects = kinds.iter().filter(|kind| **kind == EventKind::Reconnected).count();
            assert!(reconnects <= 1, "{kinds:?}");
        });
        let readers = [(); 2].map(|()| {
            let client = client.clone();
            thread::spawn(move || {
                let mut losses = 0;
                while let Err(error) = client.read("/1") {
                    assert!(error.is_lost(), "{error}");
                    losses += 1;
                }
                assert!(losses <= 1, "only the first daemon dies");
            })
        });
        join(readers);
        join([watcher]);
        drop(client);
        join(std::mem::take(&mut *servers.lock().unwrap()));
    });
}

/// A transport that uses its client when it is dropped.
#[derive(Debug)]
struct UsesClient {
    wire: Wire,
    client: Arc<Mutex<Option<Client>>>,
}

impl Drop for UsesClient {
    fn drop(&mut self) {
        let client = self.client.lock().unwrap().clone();
        client.into_iter().for_each(|client| drop(client.read("/1")));
    }
}

impl Transport for UsesClient {
    fn send(&self, bytes: &[u8]) -> io::Result<Sent> {
        self.wire.send(bytes)
    }

    fn recv(&self, buf: &mut [u8], wait: Wait) -> io::Result<usize> {
        self.wire.recv(buf, wait)
    }

    fn wait(&self, interest: Interest, deadline: Option<Instant>) -> io::Result<()> {
        self.wire.wait(interest, deadline)
    }

    fn wake(&self) {
        self.wire.wake();
    }

    fn close(&self) {
        self.wire.close();
    }

    fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        self.wire.fd()
    }

    fn describe(&self) -> String {
        self.wire.describe()
    }
}

/// The connection is replaced while threads receive and wait for room, and the old transport calls
/// the client.
#[test]
fn dropped_transport_may_use_client() {
    explore(|| {
        let xenstored = Xenstored::new();
        xenstored.set("/1", "1").unwrap();
        let servers = Arc::new(Mutex::new(Vec::new()));
        let shared: Arc<Mutex<Option<Client>>> = Arc::default();
        let (started, user) = (servers.clone(), shared.clone());
        let open = move |_| {
            let mut servers = started.lock().unwrap();
            let pipe = xenstored.connect(DomId::DOM0);
            let wire = Wire::new(SMALL);
            let far = wire.clone();
            let bytes = if servers.is_empty() { MID_REQUEST } else { UNLIMITED };
            servers.push(thread::spawn(move || far.serve(&pipe, bytes)));
            Ok(Box::new(UsesClient { wire, client: user.clone() }) as Box<dyn Transport>)
        };
        let client = Client::builder().timeout(None).reconnect(true).with_connector(open).unwrap();
        *shared.lock().unwrap() = Some(client.clone());
        join([(); 3].map(|()| {
            let client = client.clone();
            thread::spawn(move || {
                drop(client.read("/a/rather/long/path"));
                let value = std::iter::from_fn(|| Some(client.read("/1"))).find_map(Result::ok);
                assert_eq!(value.unwrap(), b"1");
            })
        }));
        *shared.lock().unwrap() = None;
        drop(client);
        join(std::mem::take(&mut *servers.lock().unwrap()));
    });
}
