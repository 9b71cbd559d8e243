//! The event loop of a device backend: one thread serves a watch, a timer and another descriptor.
//!
//! ```text
//! cargo run -p xs-client --features mio --example event_loop
//! ```
//!
//! On a machine without a xenstored, it uses an in-memory one. The other descriptor stands for an
//! event channel, or for anything else that a backend waits for.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use mio::net::UnixStream;
use mio::{Events, Interest, Poll, Token};
use xs_client::{Client, DomId, op};
use xs_transport::mock::Xenstored;

const XENSTORE: Token = Token(0);
const OTHER: Token = Token(1);
const TICK: Duration = Duration::from_millis(200);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::open().unwrap_or_else(|error| {
        println!("{error}\nUsing an in-memory xenstored instead\n");
        Client::from_transport(Xenstored::new().connect(DomId::DOM0))
    });
    let base = "/local/domain/0/backend/example/1/0";
    client.write(format!("{base}/state"), "2")?;

    let mut xenstore = client.event_source()?;
    let (mut other, mut peer) = UnixStream::pair()?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut xenstore, XENSTORE, Interest::READABLE)?;
    poll.registry().register(&mut other, OTHER, Interest::READABLE)?;

    // Blocking calls are fine before the loop. Events that arrive with their replies are kept.
    let mut watch = client.watch(base)?;
    // A read that the loop has started and not yet collected.
    let mut pending_read = None;

    let mut events = Events::with_capacity(16);
    let mut next_tick = Instant::now() + TICK;
    let mut ticks = 0;
    while ticks < 4 {
        poll.poll(&mut events, Some(next_tick.saturating_duration_since(Instant::now())))?;

        for event in &events {
            if event.token() == OTHER {
                let mut buf = [0; 64];
                while let Ok(n @ 1..) = other.read(&mut buf) {
                    println!("other descriptor: {:?}", String::from_utf8_lossy(&buf[..n]));
                }
            }
        }

        // Receive replies and watch events, then collect them without blocking.
        xenstore.process()?;
        while let Some(event) = watch.try_next()? {
            println!("changed: {event}");
            if event.path.ends_with("/state") {
                pending_read = Some(client.start(&op::read(&event.path))?);
            }
        }
        if let Some(value) = pending_read.as_mut().and_then(|read| read.try_take()) {
            println!("state = {}", String::from_utf8_lossy(&value?));
            pending_read = None;
        }

        if Instant::now() >= next_tick {
            next_tick += TICK;
            ticks += 1;
            println!("tick {ticks}");
            // Simulate a frontend and an event channel.
            client.write(format!("{base}/state"), (2 + ticks).to_string())?;
            peer.write_all(format!("event {ticks}").as_bytes())?;
        }
    }
    client.rm(base)?;
    Ok(())
}
