//! In-memory xenstoreds behind Unix sockets.

use std::io;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use xs_client::DomId;
use xs_transport::mock::{Server, StopHandle, Xenstored};

use crate::temp_dir::TempDir;

/// A thread that serves an in-memory xenstored on sockets in a temporary directory.
///
/// Dropping it stops the server. The drop panics if the server failed.
#[derive(Debug)]
pub struct SocketServer {
    dir: TempDir,
    stop: StopHandle,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl SocketServer {
    /// Serves `xenstored` on a [`socket`](Self::socket) whose clients act as dom0.
    pub fn start(xenstored: Xenstored) -> Self {
        Self::start_with(xenstored, &[])
    }

    /// Also serves it on other sockets, whose clients act as these domains.
    pub fn start_with(xenstored: Xenstored, others: &[(&str, DomId)]) -> Self {
        let dir = TempDir::new();
        let mut server = Server::new(xenstored).expect("descriptors are available");
        for (name, domid) in [("socket", DomId::DOM0)].iter().chain(others) {
            server.bind(dir.join(name), *domid).expect("the socket can be created");
        }
        let stop = server.stop_handle();
        let thread = Some(thread::spawn(move || server.run()));
        SocketServer { dir, stop, thread }
    }

    /// Returns the path of dom0's socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("socket")
    }

    /// Returns the directory of the sockets.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for SocketServer {
    fn drop(&mut self) {
        self.stop.stop();
        let ended = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            assert!(matches!(ended, Some(Ok(Ok(())))), "the server failed: {ended:?}");
        }
    }
}
