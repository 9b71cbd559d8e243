//! A long mixed load on one client, which finds faults that happen rarely.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use xs_client::Client;
use xs_tests::settings::requests;
use xs_tests::{HANG_TIMEOUT, on_every_backend};

#[cfg(unix)]
use crate::unlimited_device;

/// The number of threads.
const THREADS: usize = 8;

/// The reason why a thread stopped.
type Fault = String;

on_every_backend! {
    fn every_request_is_answered_correctly(ctx) {
        let fired = AtomicUsize::new(0);
        let (watched, end) = (ctx.path("load"), ctx.path("load/end"));
        ctx.client.mkdir(&watched).unwrap();
        let mut watch = ctx.client.watch(&watched).unwrap();
        let (sender, called) = crate::channel();
        let token = ctx.client.watch_with(&watched, move |event| drop(sender.send(event))).unwrap();
        let faults = thread::scope(|scope| {
            scope.spawn(|| {
                while crate::next(&mut watch) != end {
                    fired.fetch_add(1, Ordering::Relaxed);
                }
            });
            let faults = run(&ctx.client, &watched);
            ctx.client.write(&end, "").unwrap();
            faults
        });
        assert_eq!(faults, [""; 0]);
        assert!(fired.load(Ordering::Relaxed) > THREADS);
        crate::called_for(&called, &end);
        ctx.client.unwatch(token).unwrap();
    }
}

/// Shows that the load finds faults: a client that uses the device like a socket loses requests.
#[cfg(unix)]
#[test]
fn load_fails_on_a_device_without_limits() {
    let (client, kernel) = unlimited_device::connect();
    let faults = run(&client, "data");
    assert!(!faults.is_empty());
    assert!(kernel.spoiled() > 0, "{faults:#?}");
}

/// Runs the load. Ends early after a fault.
fn run(client: &Client, root: &str) -> Vec<Fault> {
    let faults = Mutex::new(Vec::new());
    let failed = AtomicBool::new(false);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (faults, failed) = (&faults, &failed);
            scope.spawn(move || {
                if let Err(fault) = run_thread(client, root, thread, failed) {
                    failed.store(true, Ordering::Relaxed);
                    faults.lock().unwrap().push(format!("thread {thread}: {fault}"));
                }
            });
        }
    });
    faults.into_inner().unwrap()
}

/// Writes and reads values, and sets and removes a watch now and then.
fn run_thread(
    client: &Client,
    root: &str,
    thread: usize,
    failed: &AtomicBool,
) -> Result<(), Fault> {
    let path = format!("{root}/{thread}");
    let fault = |error: xs_client::Error| error.to_string();
    let pairs = (requests() / 2).max(1);
    for n in 1..=pairs {
        if failed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let value = format!("{thread} {n}");
        client.write(&path, &value).map_err(fault)?;
        let read = client.read_str(&path).map_err(fault)?;
        if read != value {
            return Err(format!("read {read:?} after writing {value:?}"));
        }
        if n % 100 != 0 && n != pairs {
            continue;
        }
        let mut watch = client.watch(&path).map_err(fault)?;
        let event = watch.next_timeout(HANG_TIMEOUT).map_err(fault)?.ok_or("no first event")?;
        if *event.path != *path {
            return Err(format!("received an event for {:?}", event.path));
        }
        watch.remove().map_err(fault)?;
    }
    Ok(())
}
