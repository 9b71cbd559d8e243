//! The crate krata-xenstore.

use std::os::unix::net::UnixStream;
use std::path::Path;

use tokio::fs::File;
use tokio::runtime::Runtime;
use xenstore::bus::XsdSocket;
use xenstore::{XsdClient, XsdInterface};

use super::Started;
use crate::child::say;
use crate::work::{FLOODED, Flood, key};

pub(super) fn tasks(socket: &Path, together: usize) -> Started {
    let (runtime, client) = open(socket)?;
    Ok(super::in_flight(runtime, together, move |at| {
        let client = client.clone();
        async move { XsdInterface::read(&client, key(at)).await.ok().flatten() }
    }))
}

pub(super) fn flood(socket: &Path) -> Started {
    let (runtime, client) = open(socket)?;
    let mut watch = runtime.block_on(async {
        let watch = client.create_watch(FLOODED).await?;
        client.bind_watch(&watch).await?;
        Ok::<_, xenstore::error::Error>(watch)
    })?;
    Ok(Box::new(move |count, round| {
        let _ = &client;
        let mut flood = Flood::new(count, round);
        say("ready").expect("to speak");
        runtime.block_on(async {
            while let Some(path) = watch.receiver.recv().await {
                if !flood.note(&path) {
                    break;
                }
            }
        });
        flood.done()
    }))
}

/// As its own `open` does, which knows one path only.
fn open(socket: &Path) -> Result<(Runtime, XsdClient), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stream = std::os::fd::OwnedFd::from(UnixStream::connect(socket)?);
    let file = File::from_std(std::fs::File::from(stream));
    let socket = runtime.block_on(XsdSocket::from_handle(file))?;
    Ok((runtime, XsdClient { socket }))
}
