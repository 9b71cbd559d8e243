//! Tests of the files of sockets.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;

use super::*;

/// A directory that is removed with its files.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("xs-files-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Dir(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn server() -> Server {
    Server::new(Xenstored::new()).unwrap()
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn stale_sockets_are_replaced() {
    let dir = Dir::new("stale");
    let stale = dir.path("socket");
    drop(UnixListener::bind(&stale).unwrap());
    let mut server = server();
    server.bind(&stale, DomId::DOM0).unwrap();
    UnixStream::connect(&stale).unwrap();
    drop(server);
    assert!(!stale.exists());
}

#[test]
fn sockets_in_use_are_kept() {
    let dir = Dir::new("in-use");
    let socket = dir.path("socket");
    let mut first = server();
    first.bind(&socket, DomId::DOM0).unwrap();
    // A listener whose queue is full neither accepts nor refuses connections.
    let full = dir.path("full");
    let listener = crate::sys::bind_unix(&full, 0o600).unwrap();
    crate::sys::listen(&listener, 0).unwrap();
    let _queued = UnixStream::connect(&full).unwrap();
    let link = dir.path("link");
    symlink(&socket, &link).unwrap();
    for path in [socket, full, link] {
        let error = server().bind(&path, DomId::DOM0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{path:?}");
        assert_eq!(error.to_string(), "another server listens at this path");
        assert!(path.exists());
    }
}

#[test]
fn files_that_are_no_sockets_are_kept_and_named() {
    let dir = Dir::new("others");
    fs::write(dir.path("file"), "precious").unwrap();
    fs::create_dir(dir.path("dir")).unwrap();
    symlink("nowhere", dir.path("dangling")).unwrap();
    symlink("file", dir.path("link")).unwrap();
    drop(UnixListener::bind(dir.path("stale")).unwrap());
    symlink("stale", dir.path("link-to-stale")).unwrap();
    for (name, kind, message) in [
        ("file", io::ErrorKind::AlreadyExists, "a regular file exists at this path"),
        ("dir", io::ErrorKind::IsADirectory, "a directory exists at this path"),
        ("dangling", io::ErrorKind::AlreadyExists, "a dangling symbolic link exists at this path"),
        ("link", io::ErrorKind::AlreadyExists, "a symbolic link exists at this path"),
        ("link-to-stale", io::ErrorKind::AlreadyExists, "a symbolic link exists at this path"),
    ] {
        let error = server().bind(dir.path(name), DomId::DOM0).unwrap_err();
        assert_eq!((error.kind(), &*error.to_string()), (kind, message), "{name}");
        assert!(fs::symlink_metadata(dir.path(name)).is_ok(), "{name}");
    }
    // A socket of another type is neither in use by a server nor stale.
    let _datagrams = UnixDatagram::bind(dir.path("datagrams")).unwrap();
    assert!(server().bind(dir.path("datagrams"), DomId::DOM0).is_err());
    assert!(dir.path("datagrams").exists());
    assert_eq!(fs::read(dir.path("file")).unwrap(), b"precious");
}

#[test]
fn stopping_server_removes_only_its_own_file() {
    let dir = Dir::new("own");
    let path = dir.path("socket");
    let bound = || {
        let mut server = server();
        server.bind(&path, DomId::DOM0).unwrap();
        server
    };
    let first = bound();
    fs::remove_file(&path).unwrap();
    let second = bound();
    drop(first);
    UnixStream::connect(&path).expect("the second server listens");
    drop(second);
    assert!(!path.exists());

    let third = bound();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious").unwrap();
    drop(third);
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

#[test]
fn only_the_owner_can_connect_unless_asked_otherwise() {
    let dir = Dir::new("mode");
    let mut server = server();
    server.bind(dir.path("dom0"), DomId::DOM0).unwrap();
    server.bind(dir.path("guest"), DomId::new(5)).unwrap();
    assert_eq!(mode_of(&dir.path("dom0")), 0o600);
    assert_eq!(mode_of(&dir.path("guest")), 0o600);
    // The usual umask would clear some of these permissions.
    server.bind_with_mode(dir.path("open"), DomId::DOM0, 0o666).unwrap();
    assert_eq!(mode_of(&dir.path("open")), 0o666);
}

/// No other user can connect between the creation of the file and a change of its permissions.
#[cfg(target_os = "linux")]
#[test]
fn sockets_have_their_permissions_from_the_start() {
    let dir = Dir::new("window");
    let fd = crate::sys::bind_unix(&dir.path("socket"), 0o600).unwrap();
    assert_eq!(mode_of(&dir.path("socket")), 0o600);
    // Before that, no client can connect anyway.
    let error = UnixStream::connect(dir.path("socket")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    drop(fd);
}
