//! xs-client.

use std::path::Path;
use std::sync::mpsc;
use std::thread;

use futures_lite::StreamExt;
use xs_client::{Client, EventKind, WatchEvent, futures};

use super::StartResult;
use crate::child::print_line;
use crate::work::{FLOOD_ROOT, Flood, KEYS, THREADS, Tally, key};

const WATCHED: &str = "/peers/watched";

pub(super) fn read(socket: &Path) -> StartResult {
    let client = Client::open_at(socket)?;
    Ok(Box::new(move |count, _| read_serially(&client, count)))
}

pub(super) fn read_with_watch(socket: &Path) -> StartResult {
    let client = Client::open_at(socket)?;
    let watch = client.watch(WATCHED)?;
    Ok(Box::new(move |count, _| {
        let _ = &watch;
        read_serially(&client, count)
    }))
}

pub(super) fn read_with_callback(socket: &Path) -> StartResult {
    let client = Client::open_at(socket)?;
    client.watch_with(WATCHED, drop)?;
    Ok(Box::new(move |count, _| read_serially(&client, count)))
}

fn read_serially(client: &Client, count: usize) -> Tally {
    let mut tally = Tally::default();
    for at in 0..count {
        tally.record(client.read(key(at)).ok(), at);
    }
    tally
}

pub(super) fn batch(socket: &Path) -> StartResult {
    let client = Client::open_at(socket)?;
    Ok(Box::new(move |count, _| {
        let mut tally = Tally::default();
        for _ in 0..count / KEYS {
            for (at, answer) in client.read_many((0..KEYS).map(key)).iter().enumerate() {
                tally.record(answer.as_ref().ok(), at);
            }
        }
        tally
    }))
}

pub(super) fn threads(socket: &Path) -> StartResult {
    let client = Client::open_at(socket)?;
    Ok(Box::new(move |count, _| {
        let mut tally = Tally::default();
        thread::scope(|scope| {
            let read = || read_serially(&client, count / THREADS);
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(read)).collect();
            for thread in threads {
                tally.add(&thread.join().expect("a thread panicked"));
            }
        });
        tally
    }))
}

pub(super) fn flood(socket: &Path) -> StartResult {
    let client = Client::open_at(socket)?;
    let mut watch = client.watch(FLOOD_ROOT)?;
    Ok(Box::new(move |count, round| {
        let mut flood = Flood::new(count, round);
        print_line("ready").expect("cannot print");
        while record(&mut flood, &watch.wait().expect("the watch failed")) {}
        flood.finish()
    }))
}

pub(super) fn flood_callback(socket: &Path) -> StartResult {
    let client = Client::open_at(socket)?;
    let (rounds, next_round) = mpsc::channel::<Flood>();
    let (tally_sender, tallies) = mpsc::channel();
    let mut current: Option<Flood> = None;
    client.watch_with(FLOOD_ROOT, move |event| {
        let event = event.expect("the watch failed");
        if current.is_none() {
            current = next_round.try_recv().ok();
        }
        if let Some(flood) = &mut current {
            if !record(flood, &event) {
                let tally = current.take().map(Flood::finish).unwrap_or_default();
                tally_sender.send(tally).expect("the main thread is gone");
            }
        }
    })?;
    Ok(Box::new(move |count, round| {
        let _ = &client;
        rounds.send(Flood::new(count, round)).expect("the callback is gone");
        print_line("ready").expect("cannot print");
        tallies.recv().expect("the callback is gone")
    }))
}

fn record(flood: &mut Flood, event: &WatchEvent) -> bool {
    if event.kind == EventKind::Overflow {
        flood.tally.reported += 1;
        return true;
    }
    flood.record(&event.path)
}

pub(super) fn read_on_tokio(socket: &Path, tasks: usize) -> StartResult {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = runtime.block_on(tokio_client(socket))?;
    Ok(super::run_tasks(runtime, tasks, move |at| {
        let client = client.clone();
        async move { client.read(key(at)).await.ok() }
    }))
}

pub(super) fn tokio_flood(socket: &Path) -> StartResult {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = runtime.block_on(tokio_client(socket))?;
    let mut watch = runtime.block_on(client.watch(FLOOD_ROOT))?;
    Ok(Box::new(move |count, round| {
        let _ = &client;
        let mut flood = Flood::new(count, round);
        print_line("ready").expect("cannot print");
        runtime.block_on(async {
            while let Some(event) = watch.next().await {
                if !record(&mut flood, &event.expect("the watch failed")) {
                    break;
                }
            }
        });
        flood.finish()
    }))
}

async fn tokio_client(socket: &Path) -> xs_client::Result<futures::Client> {
    futures::Client::on_tokio(Client::open_at(socket)?)
}

pub(super) fn read_on_smol(socket: &Path, tasks: usize) -> StartResult {
    let (client, driver) = futures::Client::with_smol_driver(Client::open_at(socket)?)?;
    let executor = smol::LocalExecutor::new();
    executor.spawn(driver).detach();
    Ok(Box::new(move |count, _| {
        let read = |first: usize| {
            let client = client.clone();
            async move {
                let mut tally = Tally::default();
                for at in (first..count).step_by(tasks) {
                    tally.record(client.read(key(at)).await.ok(), at);
                }
                tally
            }
        };
        smol::block_on(executor.run(async {
            let tasks: Vec<_> = (0..tasks).map(|first| executor.spawn(read(first))).collect();
            let mut tally = Tally::default();
            for task in tasks {
                tally.add(&task.await);
            }
            tally
        }))
    }))
}
