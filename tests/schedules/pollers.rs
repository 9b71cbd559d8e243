//! Tasks and their driver, beside threads and alone.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use shuttle::future::block_on;
use shuttle::thread;
use xs_client::EventKind;
use xs_client::futures::Client;
use xs_client::futures::reactor::{Clock, Reactor, Sleep};
use xs_transport::Interest;

use crate::wire::Wire;
use crate::{Host, SMALL, UNLIMITED, explore, join};

/// A reactor of one wire. Its timers never fire.
struct OneWire(Wire);

impl Reactor for OneWire {
    fn register(&mut self, _: OwnedFd) -> io::Result<()> {
        Ok(())
    }

    fn poll_io(
        &mut self,
        cx: &mut Context<'_>,
        _: Interest,
        attempt: &mut dyn FnMut() -> io::Result<()>,
    ) -> Poll<io::Result<()>> {
        self.0.wake_at_change(cx.waker());
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            result => {
                self.0.wake_no_longer(cx.waker());
                Poll::Ready(result)
            }
        }
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(NoTimers)
    }
}

/// A clock whose timers never fire.
#[derive(Debug)]
struct NoTimers;

impl Clock for NoTimers {
    fn sleep_until(&self, _: Instant) -> Sleep {
        Box::pin(std::future::pending())
    }
}

/// Starts the driver of a host's client.
pub(crate) fn drive(host: &Host) -> (Client, thread::JoinHandle<()>) {
    let reactor = OneWire(host.wire.clone());
    let (client, driver) = Client::with_reactor(host.client.clone(), reactor).unwrap();
    let drive = move || block_on(driver).unwrap();
    (client, thread::Builder::new().name(DRIVER.into()).spawn(drive).unwrap())
}

const DRIVER: &str = "driver";

/// Returns whether this is the thread of a driver.
pub(crate) fn is_driver() -> bool {
    thread::current().name() == Some(DRIVER)
}

/// Starts a task that reads its own node twice at once, and then sets a watch.
pub(crate) fn task(client: &Client, at: usize) -> thread::JoinHandle<()> {
    let client = client.clone();
    thread::spawn(move || {
        block_on(async {
            let path = format!("/{at}");
            for value in client.read_many([&path, &path]).await {
                assert_eq!(value.unwrap(), at.to_string().as_bytes());
            }
            let mut watch = client.watch(&path).await.unwrap();
            assert_eq!(watch.wait().await.unwrap().kind, EventKind::Fired);
        });
    })
}

#[test]
fn tasks_get_answers_from_their_driver() {
    for capacity in [UNLIMITED, SMALL] {
        explore(move || {
            let host = Host::new(capacity, UNLIMITED);
            let (client, driving) = drive(&host);
            join([0, 1].map(|at| task(&client, at)));
            drop(client);
            host.end();
            join([driving]);
        });
    }
}

#[test]
fn tasks_and_threads_get_answers_side_by_side() {
    for capacity in [UNLIMITED, SMALL] {
        explore(move || {
            let host = Host::new(capacity, UNLIMITED);
            let (client, driving) = drive(&host);
            let task = task(&client, 0);
            let readers = [1, 2].map(|at| host.reader(at, 1));
            join([task]);
            join(readers);
            drop(client);
            host.end();
            join([driving]);
        });
    }
}

/// The thread leaves the reader role after its event, and the next reply is for a task.
#[test]
fn driver_goes_on_when_thread_has_its_event() {
    explore(|| {
        let host = Host::new(UNLIMITED, UNLIMITED);
        host.wire.set_receive_limit(1);
        let mut watch = host.client.watch("/w").unwrap();
        watch.wait().unwrap();
        let (client, driving) = drive(&host);
        let waiting = thread::spawn(move || drop(watch.wait().unwrap()));
        let task = task(&client, 0);
        host.touch("/w");
        join([waiting, task]);
        drop(client);
        host.end();
        join([driving]);
    });
}
