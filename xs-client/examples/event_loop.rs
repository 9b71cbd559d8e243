//! A device backend's event loop: one thread serves a watch, a timer and another descriptor.
//!
//! ```text
//! cargo run -p xs-client --features mio --example event_loop
//! ```
//!
//! Without a xenstored on this machine it uses one in memory. The other descriptor stands for an
//! event channel, or for whatever else a backend waits for.

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
        println!("{error}\nusing an in-memory xenstored");
        Client::over(Xenstored::new().connect(DomId::DOM0))
    });
    let base = "/local/domain/0/backend/example/1/0";
    client.write(&format!("{base}/state"), "2")?;

    let mut xenstore = client.event_source()?;
    let (mut other, mut far_end) = UnixStream::pair()?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut xenstore, XENSTORE, Interest::READABLE)?;
    poll.registry().register(&mut other, OTHER, Interest::READABLE)?;

    // Set before the loop, with a blocking call; what comes with the answer is not lost.
    let mut watch = client.watch(base)?;
    // Asked for inside the loop, without waiting for the answer.
    let mut reading = None;

    let mut events = Events::with_capacity(16);
    let mut next_tick = Instant::now() + TICK;
    let mut ticks = 0;
    while ticks < 4 {
        poll.poll(&mut events, Some(next_tick.saturating_duration_since(Instant::now())))?;

        for event in &events {
            if event.token() == OTHER {
                let mut buf = [0; 64];
                while let Ok(n @ 1..) = other.read(&mut buf) {
                    println!("the other descriptor says {:?}", String::from_utf8_lossy(&buf[..n]));
                }
            }
        }

        xenstore.process()?;
        while let Some(event) = watch.try_next()? {
            println!("{event} has changed");
            if event.path.ends_with("/state") {
                reading = Some(client.start(&op::read(&event.path))?);
            }
        }
        if let Some(answer) = reading.as_mut().and_then(|reading| reading.try_take()) {
            println!("the state is {}", String::from_utf8_lossy(&answer?));
            reading = None;
        }

        if Instant::now() >= next_tick {
            next_tick += TICK;
            ticks += 1;
            println!("tick {ticks}");
            // What a frontend and an event channel would do.
            client.write(&format!("{base}/state"), (2 + ticks).to_string())?;
            far_end.write_all(format!("event {ticks}").as_bytes())?;
        }
    }
    client.rm(base)?;
    Ok(())
}
