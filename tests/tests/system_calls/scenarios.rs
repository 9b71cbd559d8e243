//! The uses of the client in which system calls fail.

use std::future::{Future, poll_fn};
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use xs_client::{Builder, Client, ErrorKind, EventKind, Result, WatchEvent, futures, op};
use xs_tests::HANG_TIMEOUT;
use xs_transport::{Transport, XenbusTransport};

use super::World;
use super::interpose::exclude;

/// The value of the node `/s/value`.
pub(crate) const VALUE: &[u8] = b"a value";

/// A way to connect, and a use of the client.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) open: fn(&World, Builder) -> Result<Client>,
    pub(crate) body: fn(&World, &Client) -> Result<()>,
    /// The body polls the descriptor.
    pub(crate) polls: bool,
    /// The body leaves a client without a connection.
    pub(crate) closes: bool,
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "requests", open: socket, body: requests, polls: false, closes: false },
    Scenario {
        name: "requests with a deadline",
        open: socket,
        body: with_deadline,
        polls: false,
        closes: false,
    },
    Scenario {
        name: "many requests",
        open: socket,
        body: many_requests,
        polls: false,
        closes: false,
    },
    Scenario { name: "a watch", open: socket, body: watch, polls: false, closes: false },
    Scenario { name: "a callback", open: socket, body: callback, polls: false, closes: false },
    Scenario {
        name: "a transaction",
        open: socket,
        body: transaction,
        polls: false,
        closes: false,
    },
    Scenario { name: "an event loop", open: socket, body: event_loop, polls: true, closes: false },
    Scenario {
        name: "futures on the callback thread",
        open: socket,
        body: on_thread,
        polls: false,
        closes: false,
    },
    Scenario { name: "futures on tokio", open: socket, body: on_tokio, polls: true, closes: true },
    Scenario { name: "two threads", open: socket, body: two_threads, polls: false, closes: false },
    Scenario {
        name: "requests over a device",
        open: device,
        body: requests,
        polls: false,
        closes: false,
    },
    Scenario {
        name: "a watch over a device",
        open: device,
        body: watch,
        polls: false,
        closes: false,
    },
    Scenario {
        name: "a callback over a device",
        open: device,
        body: callback,
        polls: false,
        closes: false,
    },
    Scenario {
        name: "an event loop over a device",
        open: device,
        body: event_loop,
        polls: true,
        closes: false,
    },
];

fn socket(world: &World, builder: Builder) -> Result<Client> {
    builder.open_at(world.dir.join("socket"))
}

/// The client takes a socket for a device: the daemon does not see the difference.
fn device(world: &World, builder: Builder) -> Result<Client> {
    let path = world.dir.join("socket");
    builder.with_connector(move |_| {
        let stream = exclude(|| UnixStream::connect(&path))?;
        let transport: Box<dyn Transport> =
            Box::new(XenbusTransport::from_fd(stream.into(), "device")?);
        Ok(transport)
    })
}

fn requests(_: &World, client: &Client) -> Result<()> {
    assert_eq!(client.read("/s/value")?, VALUE);
    client.write("/s/other", "1")?;
    assert_eq!(client.read("/s/other")?, b"1");
    let mut names = client.directory("/s")?;
    names.sort();
    assert_eq!(names, ["other", "value"]);
    match client.read("/s/none") {
        Err(error) if error.is_not_found() => Ok(()),
        read => panic_unless_failed(read),
    }
}

/// Returns the error of reading a node that does not exist.
fn panic_unless_failed(read: Result<Vec<u8>>) -> Result<()> {
    read.map(|value| panic!("a node that does not exist is {value:?}"))
}

fn with_deadline(world: &World, client: &Client) -> Result<()> {
    requests(world, &client.with_timeout(Duration::from_secs(5)))?;
    requests(world, &client.with_timeout(HANG_TIMEOUT))
}

fn many_requests(_: &World, client: &Client) -> Result<()> {
    // More than the socket takes at once.
    let value = [b'x'; 4000];
    for written in client.write_many((0..100).map(|at| (format!("/s/{at}"), value))) {
        written?;
    }
    for read in client.read_many((0..100).map(|at| format!("/s/{at}"))) {
        assert_eq!(read?, value);
    }
    Ok(())
}

/// Returns whether the event is the first, or follows it after a reconnection.
fn is_expected(event: &WatchEvent) -> bool {
    &*event.path == "/s/value" && event.kind != EventKind::Overflow
}

fn watch(_: &World, client: &Client) -> Result<()> {
    let mut watch = client.watch("/s/value")?;
    assert!(is_expected(&watch.wait()?));
    client.write("/s/value", VALUE)?;
    assert!(is_expected(&watch.wait()?));
    // After a reconnection, there are more events.
    assert!(watch.next_timeout(Duration::from_millis(1))?.as_ref().is_none_or(is_expected));
    watch.remove()
}

fn callback(_: &World, client: &Client) -> Result<()> {
    let (sender, events) = mpsc::channel();
    let token = client.watch_with("/s/value", move |event| drop(sender.send(event)))?;
    let next = || events.recv_timeout(HANG_TIMEOUT).expect("the callback is called");
    assert!(is_expected(&next()?));
    client.write("/s/value", VALUE)?;
    assert!(is_expected(&next()?));
    // The thread receives alone.
    let pending = client.start(&op::read("/s/value"))?;
    assert_eq!(pending.wait()?, VALUE);
    client.unwatch(token)?;
    client.watch_stop();
    Ok(())
}

fn transaction(_: &World, client: &Client) -> Result<()> {
    client.transaction(|tx| {
        assert_eq!(tx.read("/s/value")?, VALUE);
        tx.write("/s/other", "1")
    })?;
    let tx = client.start_transaction()?;
    tx.write("/s/other", "2")?;
    tx.abort()?;
    assert_eq!(client.read("/s/other")?, b"1");
    Ok(())
}

fn event_loop(_: &World, client: &Client) -> Result<()> {
    let mut poll = exclude(Poll::new).expect("descriptors are available");
    let mut source = client.event_source()?;
    let registry = poll.registry();
    exclude(|| registry.register(&mut source, Token(0), Interest::READABLE))
        .expect("the source has a descriptor");
    let mut watch = client.watch("/s/value")?;
    let mut read = client.start(&op::read("/s/value"))?;
    let mut write = client.start(&op::write("/s/value", VALUE))?;
    let (mut events, mut has_read, mut has_written) = (0, false, false);
    let deadline = Instant::now() + HANG_TIMEOUT;
    while events < 2 || !has_read || !has_written {
        assert!(Instant::now() < deadline, "{events} {has_read} {has_written}");
        let timeout = source.deadline().map(|at| at.saturating_duration_since(Instant::now()));
        let timeout = timeout.unwrap_or(HANG_TIMEOUT) + Duration::from_millis(1);
        let mut ready = Events::with_capacity(1);
        exclude(|| poll.poll(&mut ready, Some(timeout))).expect("the system can poll");
        source.process()?;
        while let Some(event) = watch.try_next()? {
            assert!(is_expected(&event));
            events += 1;
        }
        if let Some(result) = read.try_take() {
            assert_eq!(result?, VALUE);
            has_read = true;
        }
        if let Some(result) = write.try_take() {
            result?;
            has_written = true;
        }
    }
    Ok(())
}

async fn tasks(client: futures::Client) -> Result<()> {
    assert_eq!(client.read("/s/value").await?, VALUE);
    let mut watch = client.watch("/s/value").await?;
    assert!(is_expected(&watch.wait().await?));
    let patient = client.with_timeout(HANG_TIMEOUT);
    patient.write("/s/value", VALUE).await?;
    assert!(is_expected(&watch.wait().await?));
    watch.remove().await
}

fn on_thread(_: &World, client: &Client) -> Result<()> {
    let future = tasks(futures::Client::on_thread(client.clone())?);
    let runtime = exclude(|| tokio::runtime::Builder::new_current_thread().build());
    let runtime = runtime.expect("descriptors are available");
    let result = runtime.block_on(future);
    client.watch_stop();
    result
}

fn on_tokio(_: &World, client: &Client) -> Result<()> {
    let runtime = exclude(|| tokio::runtime::Builder::new_current_thread().enable_all().build());
    let runtime = runtime.expect("descriptors are available");
    runtime.block_on(async {
        let (tasks_client, driver) = futures::Client::with_tokio_driver(client.clone())?;
        let all = async {
            let result = tasks(tasks_client.clone()).await;
            match &result {
                Err(error) if !error.is_lost() => {
                    tasks_client.read("/s/value").await.map(drop).and(result)
                }
                _ => result,
            }
        };
        let (mut all, mut driver) = (pin!(all), pin!(driver));
        let mut has_ended = false;
        poll_fn(|cx| {
            has_ended = has_ended || driver.as_mut().poll(cx).is_ready();
            all.as_mut().poll(cx)
        })
        .await
    })
}

/// One thread waits for an event, and the other one makes requests.
fn two_threads(_: &World, client: &Client) -> Result<()> {
    let mut watch = client.watch("/s/value")?;
    watch.wait()?;
    let pending: Vec<_> = (0..3).map(|_| client.start(&op::read("/s/value"))).collect();
    std::thread::scope(|scope| {
        let spawn = std::thread::Builder::new();
        let waiter = spawn.spawn_scoped(scope, || watch.wait().map(drop));
        let Ok(waiter) = waiter else {
            // The test's own thread could not be created.
            return Ok(());
        };
        let result = client.write("/s/value", VALUE);
        // Without a write there is no event.
        let mut retried = result.as_ref().err().map(|_| client.write("/s/value", VALUE));
        while retried.as_ref().is_some_and(|result| {
            result.as_ref().is_err_and(|error| !matches!(error.kind(), ErrorKind::Lost(_)))
        }) {
            retried = Some(client.write("/s/value", VALUE));
        }
        let waited = waiter.join().expect("the thread does not panic");
        for pending in pending {
            assert_eq!(pending?.wait()?, VALUE);
        }
        result.and(waited)
    })
}
