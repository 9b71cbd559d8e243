//! User code that blocks, panics or calls the client while the client runs it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use shuttle::future::block_on;
use shuttle::sync::{Mutex, mpsc};
use shuttle::thread;
use xs_client::{Client, Pending, futures, op};

use crate::wire::Wire;
use crate::{Host, SMALL, UNLIMITED, explore, join, pollers};

/// A waker that calls a function once.
struct Once<F>(Mutex<Option<F>>);

impl<F: FnOnce() + Send + 'static> Wake for Once<F> {
    fn wake(self: Arc<Self>) {
        let call = self.0.lock().unwrap().take();
        call.into_iter().for_each(|call| call());
    }
}

/// Returns a waker that calls a function once.
fn once(call: impl FnOnce() + Send + 'static) -> Waker {
    Waker::from(Arc::new(Once(Mutex::new(Some(call)))))
}

/// Starts a request, whose task calls `on_wake` instead of running.
fn start(client: &Client, on_wake: impl FnOnce() + Send + 'static) -> Pending<Vec<u8>> {
    let mut pending = client.start(&op::read("/0")).unwrap();
    let waker = once(on_wake);
    let _ = pin!(&mut pending).poll(&mut Context::from_waker(&waker));
    pending
}

const HELPER: &str = "helper";

/// Starts a thread that reads a node and then calls `then`.
fn read_and(client: &Client, then: impl FnOnce() + Send + 'static) -> thread::JoinHandle<()> {
    let client = client.clone();
    let read = move || {
        assert_eq!(client.read("/1").unwrap(), b"1");
        then();
    };
    thread::Builder::new().name(HELPER.into()).spawn(read).unwrap()
}

/// Returns whether this is the thread of [`read_and`], which cannot wait for itself.
fn is_helper() -> bool {
    thread::current().name() == Some(HELPER)
}

#[test]
fn waker_may_block_until_another_thread_has_its_answer() {
    for capacity in [UNLIMITED, SMALL] {
        explore(move || {
            let host = Host::new(capacity, UNLIMITED);
            let (sender, receiver) = mpsc::channel();
            let pending = start(&host.client, move || {
                if !is_helper() {
                    receiver.recv().unwrap();
                }
            });
            let helper = read_and(&host.client, move || {
                let _ = sender.send(());
            });
            join([host.reader(2, 1), helper]);
            drop(pending);
            host.end();
        });
    }
}

/// Starts a task that reads a node and then calls `then`.
fn read_in_task_and(
    client: &futures::Client,
    then: impl FnOnce() + Send + 'static,
) -> thread::JoinHandle<()> {
    let client = client.clone();
    let read = move || {
        assert_eq!(block_on(client.read("/1")).unwrap(), b"1");
        then();
    };
    thread::Builder::new().name(HELPER.into()).spawn(read).unwrap()
}

/// Requests of tasks are left to the driver, whose own wake-up may be due together with that waker.
#[test]
fn waker_beside_driver_may_block_until_another_party_has_its_answer() {
    for by_task in [false, true] {
        explore(move || {
            let host = Host::with_wire(Wire::one_at_a_time(), UNLIMITED);
            let (client, driving) = pollers::drive(&host);
            let (sender, receiver) = mpsc::channel();
            let waker = once(move || {
                // No task goes on while the driver is blocked, but threads do.
                let must_go_on = is_helper() || by_task && pollers::is_driver();
                if !must_go_on {
                    receiver.recv().unwrap();
                }
            });
            let tasks = client.clone();
            let polling = thread::spawn(move || {
                let mut read = Box::pin(async move { tasks.read("/0").await });
                let _ = read.as_mut().poll(&mut Context::from_waker(&waker));
                read
            });
            let then = move || {
                let _ = sender.send(());
            };
            let helper = match by_task {
                true => read_in_task_and(&client, then),
                false => read_and(&host.client, then),
            };
            join([pollers::task(&client, 3), host.reader(2, 2), helper]);
            drop((polling.join().unwrap(), client));
            host.end();
            join([driving]);
        });
    }
}

#[test]
fn waker_may_park_its_thread() {
    explore(|| {
        let host = Host::new(UNLIMITED, UNLIMITED);
        let (sender, parked) = mpsc::channel();
        let pending = start(&host.client, move || {
            if !is_helper() {
                sender.send(thread::current()).unwrap();
                thread::park();
            }
        });
        // The waker runs on a thread that receives, or is dropped.
        let helper = read_and(&host.client, move || {
            parked.recv().into_iter().for_each(|thread| thread.unpark());
        });
        join([host.reader(2, 2)]);
        drop(pending);
        join([helper]);
        host.end();
    });
}

#[test]
fn waker_may_call_and_drop_client() {
    explore(|| {
        let host = Host::new(UNLIMITED, UNLIMITED);
        let client = host.client.clone();
        let pending = start(&host.client, move || {
            assert_eq!(client.read("/3").unwrap(), b"3");
            drop(client);
        });
        join([1, 2].map(|at| host.reader(at, 1)));
        drop(pending);
        host.end();
    });
}

/// The panic hook of shuttle ends the test, so the panic is one that calls no hook.
#[test]
fn panic_of_waker_reaches_no_other_party() {
    explore(|| {
        let host = Host::new(UNLIMITED, UNLIMITED);
        let (sender, woken) = mpsc::channel();
        let first = start(&host.client, || std::panic::resume_unwind(Box::new("expected")));
        let second = start(&host.client, move || sender.send(()).unwrap());
        join([1, 2].map(|at| host.reader(at, 1)));
        woken.recv().unwrap();
        drop((first, second));
        host.end();
    });
}

#[test]
fn callback_may_block_on_another_thread_that_uses_client() {
    for capacity in [UNLIMITED, SMALL] {
        explore(move || {
            let host = Host::new(capacity, UNLIMITED);
            let (ask, asked) = mpsc::channel();
            let (answer, answered) = mpsc::channel();
            let (client, reader) = (host.client.clone(), host.reader(2, 1));
            let helping = thread::spawn(move || {
                asked.recv().unwrap();
                answer.send(client.read("/1").unwrap()).unwrap();
            });
            let (sender, called) = mpsc::channel();
            let callback = move |_| {
                // It is called again when the client ends.
                if ask.send(()).is_ok() {
                    sender.send(answered.recv()).unwrap();
                }
            };
            let token = host.client.watch_with("/w", callback).unwrap();
            assert_eq!(called.recv().unwrap().unwrap(), b"1");
            join([helping, reader]);
            host.client.unwatch(token).unwrap();
            host.client.watch_stop();
            host.end();
        });
    }
}

/// The callback thread had the reader role, which the driver takes over.
#[test]
fn callback_may_block_until_task_has_its_answer() {
    explore(|| {
        let host = Host::new(UNLIMITED, UNLIMITED);
        let (client, driving) = pollers::drive(&host);
        let (sender, receiver) = mpsc::channel::<()>();
        let token = host.client.watch_with("/w", move |_| _ = receiver.recv()).unwrap();
        let helper = read_in_task_and(&client, move || drop(sender));
        join([helper]);
        host.client.unwatch(token).unwrap();
        host.client.watch_stop();
        drop(client);
        host.end();
        join([driving]);
    });
}

/// The request does not fit on the wire, and only the callback thread can wait for room.
#[test]
fn callback_thread_sends_what_another_thread_could_not() {
    explore(|| {
        let host = Host::new(SMALL, UNLIMITED);
        host.client.watch_with("/w", drop).unwrap();
        let (sender, woken) = mpsc::channel();
        let client = host.client.clone();
        let mut pending =
            client.start(&op::read("/a/path/that/is/longer/than/the/wire/is")).unwrap();
        let waker = once(move || sender.send(()).unwrap());
        let result = match pin!(&mut pending).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => result,
            Poll::Pending => {
                woken.recv().unwrap();
                pending.try_take().unwrap()
            }
        };
        assert!(result.unwrap_err().is_not_found());
        drop((pending, client));
        host.client.watch_stop();
        host.end();
    });
}
