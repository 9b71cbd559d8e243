//! The client closes the connection, or the daemon dies.

use std::sync::Arc;

use shuttle::sync::{Mutex, mpsc};
use shuttle::thread;
use xs_client::{Client, DomId, EventKind};
use xs_transport::Transport;
use xs_transport::mock::Xenstored;

use crate::wire::Wire;
use crate::{Host, UNLIMITED, explore, join};

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
        let client = Client::builder().timeout(None).reconnect(true).over_each(open).unwrap();
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
