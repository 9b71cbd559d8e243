//! The crate xenstore-rs.

use futures_lite::StreamExt;
use xenstore_rs::tokio::XsTokio;
use xenstore_rs::unix::XsUnix;
use xenstore_rs::{AsyncWatch, AsyncXs, Xs};

use super::Started;
use crate::child::say;
use crate::work::{FLOODED, Flood, Tally, key};

pub(super) fn read() -> Started {
    let xs = XsUnix::new()?;
    Ok(Box::new(move |count, _| {
        let mut tally = Tally::default();
        for at in 0..count {
            tally.note(xs.read(key(at)).ok().map(Bytes), at);
        }
        tally
    }))
}

pub(super) fn tasks(together: usize) -> Started {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let xs = runtime.block_on(XsTokio::new())?;
    Ok(super::in_flight(runtime, together, move |at| {
        let xs = xs.clone();
        async move { xs.read(key(at)).await.ok().map(Bytes) }
    }))
}

pub(super) fn flood() -> Started {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let xs = runtime.block_on(XsTokio::new())?;
    let mut watch = Box::pin(runtime.block_on(xs.watch(FLOODED))?);
    Ok(Box::new(move |count, round| {
        let mut flood = Flood::new(count, round);
        say("ready").expect("to speak");
        runtime.block_on(async {
            while let Some(path) = watch.next().await {
                if !flood.note(&path) {
                    break;
                }
            }
        });
        flood.done()
    }))
}

struct Bytes(Box<str>);

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}
