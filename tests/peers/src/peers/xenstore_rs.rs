//! The crate xenstore-rs.

use futures_lite::StreamExt;
use xenstore_rs::tokio::XsTokio;
use xenstore_rs::unix::XsUnix;
use xenstore_rs::{AsyncWatch, AsyncXs, Xs};

use super::StartResult;
use crate::child::print_line;
use crate::work::{FLOOD_ROOT, Flood, Tally, key};

pub(super) fn read() -> StartResult {
    let xs = XsUnix::new()?;
    Ok(Box::new(move |count, _| {
        let mut tally = Tally::default();
        for at in 0..count {
            tally.record(xs.read(key(at)).ok().map(Bytes), at);
        }
        tally
    }))
}

pub(super) fn read_on_tokio(tasks: usize) -> StartResult {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let xs = runtime.block_on(XsTokio::new())?;
    Ok(super::run_tasks(runtime, tasks, move |at| {
        let xs = xs.clone();
        async move { xs.read(key(at)).await.ok().map(Bytes) }
    }))
}

pub(super) fn flood() -> StartResult {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let xs = runtime.block_on(XsTokio::new())?;
    let mut watch = Box::pin(runtime.block_on(xs.watch(FLOOD_ROOT))?);
    Ok(Box::new(move |count, round| {
        let mut flood = Flood::new(count, round);
        print_line("ready").expect("cannot print");
        runtime.block_on(async {
            while let Some(path) = watch.next().await {
                if !flood.record(&path) {
                    break;
                }
            }
        });
        flood.finish()
    }))
}

struct Bytes(Box<str>);

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}
