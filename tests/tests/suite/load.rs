//! All at once on one client, as long as it takes to bring out what goes wrong rarely.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use xs_client::Client;
use xs_tests::{naive, on_every_site};

/// How many threads there are.
const THREADS: usize = 8;

/// How many requests each of them makes: 2000, unless `XS_TEST_REQUESTS` says otherwise.
fn requests() -> usize {
    match std::env::var("XS_TEST_REQUESTS") {
        Ok(number) => number.parse().expect("XS_TEST_REQUESTS is a number"),
        Err(_) => 2000,
    }
}

/// Where a thread stops and says what went wrong.
type Fault = String;

on_every_site! {
    /// Not one wrong value, and everybody gets an answer.
    fn many_threads_and_watches_that_fire(on) {
        let fired = AtomicUsize::new(0);
        let is_over = AtomicBool::new(false);
        let (watched, end) = (on.path("load"), on.path("load/end"));
        on.client.mkdir(&watched).unwrap();
        let mut watch = on.client.watch(&watched).unwrap();
        let (sender, called) = crate::channel();
        let token = on.client.watch_with(&watched, move |event| drop(sender.send(event))).unwrap();
        let faults = thread::scope(|scope| {
            scope.spawn(|| {
                while crate::next(&mut watch) != end {
                    fired.fetch_add(1, Ordering::Relaxed);
                }
                is_over.store(true, Ordering::Relaxed);
            });
            let faults = run(&on.client, &watched);
            on.client.write(&end, "").unwrap();
            faults
        });
        assert_eq!(faults, [""; 0]);
        assert!(is_over.load(Ordering::Relaxed));
        assert!(fired.load(Ordering::Relaxed) > THREADS);
        crate::called_for(&called, &end);
        on.client.unwatch(token).unwrap();
    }
}

/// The same load on a client that takes the device for a socket: it does find the fault.
#[test]
fn a_client_that_pipelines_on_the_device_fails() {
    let (client, kernel) = naive(Duration::from_secs(2));
    let faults = run(&client, "data");
    eprintln!("{faults:#?}");
    assert!(!faults.is_empty());
    assert!(kernel.spoiled() > 0);
}

/// The load; ends early if anything is wrong.
fn run(client: &Client, root: &str) -> Vec<Fault> {
    let faults = Mutex::new(Vec::new());
    let failed = AtomicBool::new(false);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (faults, failed) = (&faults, &failed);
            scope.spawn(move || {
                if let Err(fault) = one_thread(client, root, thread, failed) {
                    failed.store(true, Ordering::Relaxed);
                    faults.lock().unwrap().push(format!("thread {thread}: {fault}"));
                }
            });
        }
    });
    faults.into_inner().unwrap()
}

fn one_thread(
    client: &Client,
    root: &str,
    thread: usize,
    failed: &AtomicBool,
) -> Result<(), Fault> {
    let path = format!("{root}/{thread}");
    let say = |error: xs_client::Error| error.to_string();
    // A write and a read, 99 times, and then a watch set and removed.
    for round in 0..requests() / 200 {
        for n in 0..99 {
            if failed.load(Ordering::Relaxed) {
                return Ok(());
            }
            let value = format!("{thread} {round} {n}");
            client.write(&path, &value).map_err(say)?;
            let read = client.read_str(&path).map_err(say)?;
            if read != value {
                return Err(format!("read {read:?} where {value:?} was written"));
            }
        }
        let mut watch = client.watch(&path).map_err(say)?;
        let event = watch.next_timeout(xs_tests::PATIENCE).map_err(say)?.ok_or("no first event")?;
        if *event.path != *path {
            return Err(format!("an event for {:?}", event.path));
        }
        watch.remove().map_err(say)?;
    }
    Ok(())
}
