//! A socket that clients connect to.

use std::fs::{self, FileType, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mio::net::{UnixListener, UnixStream};
use xs_proto::DomId;

use crate::sys;

/// A listening socket whose clients act as one domain. Dropping it removes its file.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) socket: UnixListener,
    pub(super) domid: DomId,
    /// Absolute, so that a change of the working directory does not matter.
    path: PathBuf,
    file: FileId,
}

/// How many clients can wait to be accepted. The genuine daemons let one wait, so that connecting
/// often has to be repeated.
const BACKLOG: i32 = 1024;

/// The identity of a file. It is not reused while the socket bound to the file is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl Listener {
    /// Listens at `path`, with the permissions `mode`. Replaces the socket of a server that no
    /// longer runs.
    pub(super) fn bind(path: &Path, domid: DomId, mode: u32) -> io::Result<Self> {
        let fd = match sys::bind_unix(path, mode) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                remove_stale(path)?;
                sys::bind_unix(path, mode)?
            }
            result => result?,
        };
        let file = fs::symlink_metadata(path)?;
        let socket = UnixListener::from_std(fd.into());
        let listener =
            Listener { socket, domid, path: std::path::absolute(path)?, file: FileId::of(&file) };
        // The umask can clear permissions, and some systems ignore the mode of an unbound socket.
        // No client can connect yet.
        if file.mode() & 0o7777 != mode {
            fs::set_permissions(path, Permissions::from_mode(mode))?;
        }
        sys::listen(&listener.socket, BACKLOG)?;
        Ok(listener)
    }

    /// Accepts a client, if one is waiting.
    pub(super) fn accept(&self) -> Option<UnixStream> {
        loop {
            match self.socket.accept() {
                Ok((stream, _)) => return Some(stream),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // When out of descriptors, the server retries after a client has gone.
                Err(_) => return None,
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let is_own = |file| FileId::of(&file) == self.file;
        if fs::symlink_metadata(&self.path).is_ok_and(is_own) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl FileId {
    fn of(file: &Metadata) -> Self {
        FileId { device: file.dev(), inode: file.ino() }
    }
}

/// Removes a socket that has no listener.
///
/// # Errors
/// `AddrInUse` if the socket has a listener. `IsADirectory` or `AlreadyExists` if there is another
/// kind of file.
fn remove_stale(path: &Path) -> io::Result<()> {
    let file = fs::symlink_metadata(path)?;
    let is_socket = file.file_type().is_socket();
    let is_link = file.file_type().is_symlink();
    if is_link && fs::metadata(path).is_err() {
        return Err(already_exists("a dangling symbolic link exists at this path"));
    }
    let is_link_to_socket = is_link && fs::metadata(path)?.file_type().is_socket();
    if !is_socket && !is_link_to_socket {
        return Err(obstacle(file.file_type()));
    }
    // A listener with a full queue does not refuse the connection either.
    match sys::connect_unix(path, Duration::ZERO) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
        _ => {
            let message = "another server listens at this path";
            return Err(io::Error::new(io::ErrorKind::AddrInUse, message));
        }
    }
    if is_link {
        return Err(obstacle(file.file_type()));
    }
    // Another server that starts at the same time may have replaced the file.
    if FileId::of(&fs::symlink_metadata(path)?) == FileId::of(&file) {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// Returns the error for a file that is not a socket.
fn obstacle(file_type: FileType) -> io::Error {
    if file_type.is_dir() {
        io::Error::new(io::ErrorKind::IsADirectory, "a directory exists at this path")
    } else if file_type.is_file() {
        already_exists("a regular file exists at this path")
    } else if file_type.is_symlink() {
        already_exists("a symbolic link exists at this path")
    } else {
        already_exists("a special file exists at this path")
    }
}

fn already_exists(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, message)
}
