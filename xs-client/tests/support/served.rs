//! An in-memory daemon behind a Unix socket.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use xs_client::{Client, DomId};
use xs_transport::mock::{Server, StopHandle, Xenstored};

use super::waiting::HANG_GUARD;

/// An in-memory daemon that serves a Unix socket from a thread of its own.
pub(crate) struct Served {
    pub(crate) xenstored: Xenstored,
    dir: PathBuf,
    stop: StopHandle,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    pub(crate) fn start() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let name = format!("xs-served-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(&dir).unwrap();
        let xenstored = Xenstored::new();
        let mut server = Server::new(xenstored.clone()).unwrap();
        server.bind(dir.join("socket"), DomId::DOM0).unwrap();
        let stop = server.stop_handle();
        let thread = Some(thread::spawn(move || server.run().unwrap()));
        Served { xenstored, dir, stop, thread }
    }

    /// Returns a client that reconnects. The server has accepted its connection.
    pub(crate) fn connect(&self) -> Client {
        let builder = Client::builder().timeout(HANG_GUARD).reconnect(true);
        let client = builder.open_at(self.dir.join("socket")).unwrap();
        client.exists("/").unwrap();
        client
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.stop();
        self.thread.take().unwrap().join().unwrap();
        fs::remove_dir_all(&self.dir).unwrap();
    }
}
