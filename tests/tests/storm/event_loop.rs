//! A thread with an event loop.

use std::sync::Arc;
use std::time::Instant;

use mio::{Events, Interest, Poll, Token};
use xs_client::{ErrorKind, Pending, Watch, op};

use super::Storm;
use super::oracle::{Key, Read};
use super::random::Random;

/// A read that was started, and the watcher's name if it follows an event.
type Started<'a> = (&'a Key, Read, bool, Pending<Vec<u8>>);

/// Reads each counter that changes, and other keys, until the watch is removed.
pub(crate) fn run(storm: &Arc<Storm>, mut watch: Watch) {
    let client = storm.client.clone();
    let mut random = storm.random();
    let activity = storm.activities.join("event loop");
    let mut source = client.event_source().expect("descriptors are available");
    let mut poll = Poll::new().expect("descriptors are available");
    poll.registry()
        .register(&mut source, Token(0), Interest::READABLE)
        .expect("the source has a descriptor");
    let mut events = Events::with_capacity(8);
    let mut started: Vec<Started<'_>> = Vec::new();
    // Counters to read as soon as there is room.
    let mut changed: Vec<&Key> = Vec::new();
    loop {
        let deadlines = started.iter().filter_map(|(.., pending)| pending.deadline());
        let deadline = deadlines.chain(source.deadline()).min();
        let timeout = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        // Poll rounds down.
        let timeout = timeout.map(|left| left + std::time::Duration::from_millis(1));
        poll.poll(&mut events, timeout).or_else(interrupted).expect("the system can poll");
        activity.run("process", || {
            if let Err(error) = source.process() {
                storm.oracle.violated(format!("process: {error}"));
            }
        });
        loop {
            match activity.run("try_next", || watch.try_next()) {
                Ok(Some(event)) => {
                    storm.connections.saw(&storm.oracle, "event loop", &event);
                    changed.extend(storm.counters_at(&event));
                }
                Ok(None) => break,
                Err(error) => {
                    if !matches!(error.kind(), ErrorKind::WatchRemoved) {
                        storm.oracle.violated(format!("the loop's watch has ended: {error}"));
                    }
                    return;
                }
            }
        }
        take(storm, &mut started);
        start(storm, &mut random, &mut changed, &mut started);
    }
}

fn interrupted(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::Interrupted { Ok(()) } else { Err(error) }
}

/// Takes the results that have come.
fn take(storm: &Storm, started: &mut Vec<Started<'_>>) {
    let mut waiting = Vec::new();
    for (key, read, follows_event, mut pending) in started.drain(..) {
        match pending.try_take() {
            None => waiting.push((key, read, follows_event, pending)),
            Some(value) if follows_event => storm.check_seen("event loop", key, read, value),
            Some(value) => storm.check(key, read, value),
        }
    }
    *started = waiting;
}

/// Starts reads of the counters that have changed, and some others during a round.
fn start<'a>(
    storm: &'a Storm,
    random: &mut Random,
    changed: &mut Vec<&'a Key>,
    started: &mut Vec<Started<'a>>,
) {
    let patient = storm.client.with_timeout(None);
    while let Some(key) = changed.pop() {
        let read = key.begin_read(&storm.oracle);
        match patient.start(&op::read(&key.path)) {
            Ok(pending) => started.push((key, read, true, pending)),
            Err(error) if matches!(error.kind(), ErrorKind::TooManyRequests) => {
                // There are results to take before there is room.
                changed.push(key);
                break;
            }
            // Another event follows when the connection is replaced.
            Err(error) => storm.oracle.expect_error("start", &error),
        }
    }
    if storm.round_is_over() {
        return;
    }
    for _ in 0..random.below(3) {
        let client = storm.client.with_timeout(random.timeout());
        let key = storm.any_key(random);
        let read = key.begin_read(&storm.oracle);
        match client.start(&op::read(&key.path)) {
            Ok(pending) => started.push((key, read, false, pending)),
            Err(error) => storm.oracle.expect_error("start", &error),
        }
    }
}
