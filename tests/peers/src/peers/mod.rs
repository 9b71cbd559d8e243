//! The contenders.

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

pub(crate) use bare::{Writer, create_nodes};

type StartResult = Result<Run, Box<dyn Error>>;

/// The environment variable with the path of the daemon's socket. Most clients read it by
/// themselves.
pub(crate) const SOCKET: &str = "XENSTORED_PATH";

/// Connects a contender, and returns how it runs a round.
pub(crate) fn start(contender: &str) -> StartResult {
    let socket = PathBuf::from(std::env::var_os(SOCKET).ok_or("XENSTORED_PATH is not set")?);
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
        "xs-tokio/read" => xs::read_on_tokio(&socket, 1),
        "xs-tokio/tasks" => xs::read_on_tokio(&socket, 64),
        "xs-tokio/flood" => xs::tokio_flood(&socket),
        "xs-smol/tasks" => xs::read_on_smol(&socket, 64),
        "libxenstore/read" => libxenstore::read(false),
        "libxenstore/read-watch" => libxenstore::read(true),
        "libxenstore/threads" => libxenstore::threads(),
        "libxenstore/flood" => libxenstore::flood(),
        "xenstore-rs/read" => xenstore_rs::read(),
        "xenstore-rs-tokio/read" => xenstore_rs::read_on_tokio(1),
        "xenstore-rs-tokio/tasks" => xenstore_rs::read_on_tokio(64),
        "xenstore-rs-tokio/flood" => xenstore_rs::flood(),
        "krata/read" => krata::read(&socket, 1),
        "krata/tasks" => krata::read(&socket, 64),
        "krata/tasks-8" => krata::read(&socket, 8),
        "krata/flood" => krata::flood(&socket),
        _ => Err(format!("unknown contender: {contender}").into()),
    }
}

/// Reads nodes with `tasks` concurrent tasks, each of which makes one request at a time.
fn run_tasks<F, V>(
    runtime: Runtime,
    tasks: usize,
    read: impl Fn(usize) -> F + Send + Sync + 'static,
) -> Run
where
    F: Future<Output = Option<V>> + Send + 'static,
    V: AsRef<[u8]> + Send + 'static,
{
    let read = Arc::new(read);
    Box::new(move |count, _| {
        runtime.block_on(async {
            let read_serially = |first: usize| {
                let read = read.clone();
                async move {
                    let mut tally = Tally::default();
                    for at in (first..count).step_by(tasks) {
                        tally.record(read(at).await, at);
                    }
                    tally
                }
            };
            let tasks: Vec<_> =
                (0..tasks).map(|first| tokio::spawn(read_serially(first))).collect();
            let mut tally = Tally::default();
            for task in tasks {
                tally.add(&task.await.expect("a task panicked"));
            }
            tally
        })
    })
}
