//! Ours.

use std::path::Path;
use std::sync::mpsc;
use std::thread;

use futures_lite::StreamExt;
use xs_client::{Client, EventKind, WatchEvent, futures};

use super::Started;
use crate::child::say;
use crate::work::{FLOODED, Flood, KEYS, THREADS, Tally, key};

const WATCHED: &str = "/peers/watched";

pub(super) fn read(socket: &Path) -> Started {
    let client = Client::open_at(socket)?;
    Ok(Box::new(move |count, _| one_by_one(&client, count)))
}

pub(super) fn read_with_watch(socket: &Path) -> Started {
    let client = Client::open_at(socket)?;
    let watch = client.watch(WATCHED)?;
    Ok(Box::new(move |count, _| {
        let _ = &watch;
        one_by_one(&client, count)
    }))
}

pub(super) fn read_with_callback(socket: &Path) -> Started {
    let client = Client::open_at(socket)?;
    client.watch_with(WATCHED, drop)?;
    Ok(Box::new(move |count, _| one_by_one(&client, count)))
}

fn one_by_one(client: &Client, count: usize) -> Tally {
    let mut tally = Tally::default();
    for at in 0..count {
        tally.note(client.read(key(at)).ok(), at);
    }
    tally
}

pub(super) fn batch(socket: &Path) -> Started {
    let client = Client::open_at(socket)?;
    Ok(Box::new(move |count, _| {
        let mut tally = Tally::default();
        for _ in 0..count / KEYS {
            for (at, answer) in client.read_many((0..KEYS).map(key)).iter().enumerate() {
                tally.note(answer.as_ref().ok(), at);
            }
        }
        tally
    }))
}

pub(super) fn threads(socket: &Path) -> Started {
    let client = Client::open_at(socket)?;
    Ok(Box::new(move |count, _| {
        let mut tally = Tally::default();
        thread::scope(|scope| {
            let one = || one_by_one(&client, count / THREADS);
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(one)).collect();
            for thread in threads {
                tally.add(&thread.join().expect("a thread's tally"));
            }
        });
        tally
    }))
}

pub(super) fn flood(socket: &Path) -> Started {
    let client = Client::open_at(socket)?;
    let mut watch = client.watch(FLOODED)?;
    Ok(Box::new(move |count, round| {
        let mut flood = Flood::new(count, round);
        say("ready").expect("to speak");
        while note(&mut flood, &watch.wait().expect("an event")) {}
        flood.done()
    }))
}

pub(super) fn flood_callback(socket: &Path) -> Started {
    let client = Client::open_at(socket)?;
    let (rounds, to_count) = mpsc::channel::<Flood>();
    let (counted, tallies) = mpsc::channel();
    let mut current: Option<Flood> = None;
    client.watch_with(FLOODED, move |event| {
        let event = event.expect("an event");
        if current.is_none() {
            current = to_count.try_recv().ok();
        }
        if let Some(flood) = &mut current {
            if !note(flood, &event) {
                let tally = current.take().map(Flood::done).unwrap_or_default();
                counted.send(tally).expect("somebody who waits");
            }
        }
    })?;
    Ok(Box::new(move |count, round| {
        let _ = &client;
        rounds.send(Flood::new(count, round)).expect("a callback");
        say("ready").expect("to speak");
        tallies.recv().expect("a tally")
    }))
}

fn note(flood: &mut Flood, event: &WatchEvent) -> bool {
    if event.kind == EventKind::Overflow {
        flood.tally.reported += 1;
        return true;
    }
    flood.note(&event.path)
}

pub(super) fn tokio_tasks(socket: &Path, together: usize) -> Started {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = runtime.block_on(tokio_client(socket))?;
    Ok(super::in_flight(runtime, together, move |at| {
        let client = client.clone();
        async move { client.read(key(at)).await.ok() }
    }))
}

pub(super) fn tokio_flood(socket: &Path) -> Started {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = runtime.block_on(tokio_client(socket))?;
    let mut watch = runtime.block_on(client.watch(FLOODED))?;
    Ok(Box::new(move |count, round| {
        let _ = &client;
        let mut flood = Flood::new(count, round);
        say("ready").expect("to speak");
        runtime.block_on(async {
            while let Some(event) = watch.next().await {
                if !note(&mut flood, &event.expect("an event")) {
                    break;
                }
            }
        });
        flood.done()
    }))
}

async fn tokio_client(socket: &Path) -> xs_client::Result<futures::Client> {
    let (client, driver) = futures::Client::on_tokio(Client::open_at(socket)?)?;
    tokio::spawn(driver);
    Ok(client)
}

pub(super) fn smol_tasks(socket: &Path, together: usize) -> Started {
    let (client, driver) = futures::Client::on_smol(Client::open_at(socket)?)?;
    let executor = smol::LocalExecutor::new();
    executor.spawn(driver).detach();
    Ok(Box::new(move |count, _| {
        let one = |first: usize| {
            let client = client.clone();
            async move {
                let mut tally = Tally::default();
                for at in (first..count).step_by(together) {
                    tally.note(client.read(key(at)).await.ok(), at);
                }
                tally
            }
        };
        smol::block_on(executor.run(async {
            let tasks: Vec<_> = (0..together).map(|first| executor.spawn(one(first))).collect();
            let mut tally = Tally::default();
            for task in tasks {
                tally.add(&task.await);
            }
            tally
        }))
    }))
}
