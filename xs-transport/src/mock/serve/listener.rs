//! A socket that clients connect to.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use mio::net::{UnixListener, UnixStream};
use xs_proto::DomId;

/// A listening socket whose clients act as one domain. Dropping it removes the file.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) socket: UnixListener,
    path: PathBuf,
    pub(super) domid: DomId,
    /// A connection may be waiting to be accepted.
    pub(super) is_pending: bool,
}

impl Listener {
    /// Listens at `path`. Replaces the socket of a server that no longer runs.
    pub(super) fn bind(path: PathBuf, domid: DomId) -> io::Result<Self> {
        let socket = match UnixListener::bind(&path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(&path) => {
                fs::remove_file(&path)?;
                UnixListener::bind(&path)
            }
            result => result,
        }?;
        Ok(Listener { socket, path, domid, is_pending: true })
    }

    /// Accepts a client, if one is waiting.
    pub(super) fn accept(&mut self) -> Option<UnixStream> {
        while self.is_pending {
            match self.socket.accept() {
                Ok((stream, _)) => return Some(stream),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // When out of descriptors, the server retries after a client has gone.
                Err(_) => self.is_pending = false,
            }
        }
        None
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Fails if the file is gone already.
        let _ = fs::remove_file(&self.path);
    }
}

/// Returns whether the file is a socket without a listener.
fn is_stale(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    is_socket && std::os::unix::net::UnixStream::connect(path).is_err_and(refused)
}
