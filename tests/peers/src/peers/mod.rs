//! The contenders, by name.

mod bare;
mod krata;
mod libxenstore;
mod xenstore_rs;
mod xs;

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::runtime::Runtime;

use crate::child::Run;
use crate::work::Tally;

pub(crate) use bare::{Flooder, prepare};

type Started = Result<Run, Box<dyn Error>>;

/// Where the daemon is. Most peers look at this variable by themselves.
pub(crate) const SOCKET: &str = "XENSTORED_PATH";

/// Connects, and says how a round goes.
pub(crate) fn start(contender: &str) -> Started {
    let socket = PathBuf::from(std::env::var_os(SOCKET).ok_or("no XENSTORED_PATH")?);
    match contender {
        "bare/read" => bare::read(&socket, 1),
        "bare/pipelined" => bare::read(&socket, 100),
        "bare/pipelined-8" => bare::read(&socket, 8),
        "bare/pipelined-64" => bare::read(&socket, 64),
        "bare/flood" => bare::flood(&socket),
        "xs/read" => xs::read(&socket),
        "xs/read-watch" => xs::read_with_watch(&socket),
        "xs/read-callback" => xs::read_with_callback(&socket),
        "xs/batch" => xs::batch(&socket),
        "xs/threads" => xs::threads(&socket),
        "xs/flood" => xs::flood(&socket),
        "xs/flood-callback" => xs::flood_callback(&socket),
        "xs-tokio/read" => xs::tokio_tasks(&socket, 1),
        "xs-tokio/tasks" => xs::tokio_tasks(&socket, 64),
        "xs-tokio/flood" => xs::tokio_flood(&socket),
        "xs-smol/tasks" => xs::smol_tasks(&socket, 64),
        "libxenstore/read" => libxenstore::read(false),
        "libxenstore/read-watch" => libxenstore::read(true),
        "libxenstore/threads" => libxenstore::threads(),
        "libxenstore/flood" => libxenstore::flood(),
        "xenstore-rs/read" => xenstore_rs::read(),
        "xenstore-rs-tokio/read" => xenstore_rs::tasks(1),
        "xenstore-rs-tokio/tasks" => xenstore_rs::tasks(64),
        "xenstore-rs-tokio/flood" => xenstore_rs::flood(),
        "krata/read" => krata::tasks(&socket, 1),
        "krata/tasks" => krata::tasks(&socket, 64),
        "krata/tasks-8" => krata::tasks(&socket, 8),
        "krata/flood" => krata::flood(&socket),
        _ => Err(format!("there is no {contender}").into()),
    }
}

/// So many tasks at a time, each of which reads one key after the other.
fn in_flight<F, V>(
    runtime: Runtime,
    together: usize,
    read: impl Fn(usize) -> F + Send + Sync + 'static,
) -> Run
where
    F: Future<Output = Option<V>> + Send + 'static,
    V: AsRef<[u8]> + Send + 'static,
{
    let read = Arc::new(read);
    Box::new(move |count, _| {
        runtime.block_on(async {
            let one = |first: usize| {
                let read = read.clone();
                async move {
                    let mut tally = Tally::default();
                    for at in (first..count).step_by(together) {
                        tally.note(read(at).await, at);
                    }
                    tally
                }
            };
            let tasks: Vec<_> = (0..together).map(|first| tokio::spawn(one(first))).collect();
            let mut tally = Tally::default();
            for task in tasks {
                tally.add(&task.await.expect("a task's tally"));
            }
            tally
        })
    })
}
