//! A socket that clients connect to.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use mio::net::{UnixListener, UnixStream};
use xs_proto::DomId;

/// A socket on which who connects is one domain. The file goes with it.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) socket: UnixListener,
    path: PathBuf,
    pub(super) domid: DomId,
    /// A connection may wait to be accepted.
    pub(super) pending: bool,
}

impl Listener {
    /// Listens at `path`, in place of a server that is gone.
    pub(super) fn bind(path: PathBuf, domid: DomId) -> io::Result<Self> {
        let socket = match UnixListener::bind(&path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(&path) => {
                fs::remove_file(&path)?;
                UnixListener::bind(&path)
            }
            result => result,
        }?;
        Ok(Listener { socket, path, domid, pending: true })
    }

    /// A client, if one waits to be accepted.
    pub(super) fn accept(&mut self) -> Option<UnixStream> {
        while self.pending {
            match self.socket.accept() {
                Ok((stream, _)) => return Some(stream),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Out of descriptors is tried again when one has come free.
                Err(_) => self.pending = false,
            }
        }
        None
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Somebody may have removed it already.
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether this is a socket that nobody listens on.
fn is_stale(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    is_socket && std::os::unix::net::UnixStream::connect(path).is_err_and(refused)
}
