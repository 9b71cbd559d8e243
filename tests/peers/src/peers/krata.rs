//! The crate krata-xenstore.

use std::os::unix::net::UnixStream;
use std::path::Path;

use tokio::fs::File;
use tokio::runtime::Runtime;
use xenstore::bus::XsdSocket;
use xenstore::{XsdClient, XsdInterface};

use super::StartResult;
use crate::child::print_line;
use crate::work::{FLOOD_ROOT, Flood, key};

pub(super) fn read(socket: &Path, tasks: usize) -> StartResult {
    let (runtime, client) = open(socket)?;
    Ok(super::run_tasks(runtime, tasks, move |at| {
        let client = client.clone();
        async move { XsdInterface::read(&client, key(at)).await.ok().flatten() }
    }))
}

pub(super) fn flood(socket: &Path) -> StartResult {
    let (runtime, client) = open(socket)?;
    let mut watch = runtime.block_on(async {
        let watch = client.create_watch(FLOOD_ROOT).await?;
        client.bind_watch(&watch).await?;
        Ok::<_, xenstore::error::Error>(watch)
    })?;
    Ok(Box::new(move |count, round| {
        let _ = &client;
        let mut flood = Flood::new(count, round);
        print_line("ready").expect("cannot print");
        runtime.block_on(async {
            while let Some(path) = watch.receiver.recv().await {
                if !flood.record(&path) {
                    break;
                }
            }
        });
        flood.finish()
    }))
}

/// Does what `XsdSocket::open` does, which cannot be given a path.
fn open(socket: &Path) -> Result<(Runtime, XsdClient), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stream = std::os::fd::OwnedFd::from(UnixStream::connect(socket)?);
    let file = File::from_std(std::fs::File::from(stream));
    let socket = runtime.block_on(XsdSocket::from_handle(file))?;
    Ok((runtime, XsdClient { socket }))
}
