//! Which xenstored this machine has.

use std::env;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::transport::Transport;
use crate::unix::UnixTransport;
use crate::xenbus::XenbusTransport;

/// Where the daemon's socket is, unless `$XENSTORED_RUNDIR` says otherwise.
pub const RUN_DIR: &str = "/run/xenstored";

/// The kernel's device, by the names it has on the system at hand, the best one first.
///
/// On Linux `/proc/xen/xenbus` is the old name, and can hang.
pub const DEVICES: &[&str] = if cfg!(target_os = "netbsd") {
    &["/kern/xen/xenbus", "/dev/xen/xenbus"]
} else if cfg!(target_os = "freebsd") {
    &["/dev/xen/xenstore", "/dev/xen/xenbus"]
} else {
    &["/dev/xen/xenbus", "/proc/xen/xenbus"]
};

/// The places where a xenstored may be found, in libxenstore's order: `$XENSTORED_PATH`, else the
/// socket in `$XENSTORED_RUNDIR`, else the one in [`RUN_DIR`]; then the [`DEVICES`]. None comes
/// twice.
pub fn candidates() -> Vec<PathBuf> {
    candidates_from(|name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
}

fn candidates_from(var: impl Fn(&str) -> Option<PathBuf>) -> Vec<PathBuf> {
    let first = var("XENSTORED_PATH").unwrap_or_else(|| {
        let run_dir = var("XENSTORED_RUNDIR").unwrap_or_else(|| RUN_DIR.into());
        run_dir.join("socket")
    });
    let others = DEVICES.iter().map(PathBuf::from).filter(|device| *device != first);
    let others: Vec<_> = others.collect();
    [vec![first], others].concat()
}

/// Opens the first of the [`candidates`] that can be opened.
///
/// # Errors
/// None of them can; the error says what each one said.
pub fn open(timeout: Duration) -> Result<Box<dyn Transport>, DiscoverError> {
    let mut tried = Vec::new();
    for path in candidates() {
        match open_at(&path, timeout) {
            Ok(transport) => return Ok(transport),
            Err(error) => tried.push((path, error)),
        }
    }
    Err(DiscoverError { tried })
}

/// Opens the xenstored at `path`, be it a socket or a device: stat(2) tells.
///
/// # Errors
/// `InvalidInput`: it is neither. Others as of stat(2), connect(2) and open(2).
pub fn open_at(path: impl AsRef<Path>, timeout: Duration) -> io::Result<Box<dyn Transport>> {
    let path = path.as_ref();
    let file_type = fs::metadata(path)?.file_type();
    // The device is a plain file where a file system of the kernel's own offers it: xenfs, kernfs.
    let is_device =
        file_type.is_char_device() || DEVICES.iter().any(|device| path == Path::new(device));
    if file_type.is_socket() {
        Ok(Box::new(UnixTransport::connect(path, timeout)?))
    } else if is_device {
        Ok(Box::new(XenbusTransport::open(path)?))
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is neither a socket nor a device"))
    }
}

/// No xenstored was found.
#[derive(Debug)]
pub struct DiscoverError {
    /// What was tried, in this order, and what became of it.
    pub tried: Vec<(PathBuf, io::Error)>,
}

impl DiscoverError {
    /// The kind of the most telling error: the first that is not `NotFound`.
    pub fn io_kind(&self) -> io::ErrorKind {
        let mut kinds = self.tried.iter().map(|(_, error)| error.kind());
        kinds.find(|kind| *kind != io::ErrorKind::NotFound).unwrap_or(io::ErrorKind::NotFound)
    }
}

impl fmt::Display for DiscoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no xenstored can be reached")?;
        for (at, (path, error)) in self.tried.iter().enumerate() {
            let separator = if at == 0 { ": " } else { "; " };
            write!(f, "{separator}{}: {error}", path.display())?;
        }
        Ok(())
    }
}

impl std::error::Error for DiscoverError {}

impl From<DiscoverError> for io::Error {
    fn from(error: DiscoverError) -> Self {
        io::Error::new(error.io_kind(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(vars: &[(&str, &str)]) -> PathBuf {
        let var = |name: &str| vars.iter().find(|(n, _)| *n == name).map(|(_, value)| value.into());
        candidates_from(var).swap_remove(0)
    }

    #[test]
    fn order_is_libxenstores() {
        assert_eq!(first(&[]), Path::new("/run/xenstored/socket"));
        assert_eq!(first(&[("XENSTORED_RUNDIR", "/x")]), Path::new("/x/socket"));
        let both = [("XENSTORED_RUNDIR", "/x"), ("XENSTORED_PATH", "/y/s")];
        assert_eq!(first(&both), Path::new("/y/s"));
        assert_eq!(candidates_from(|_| None).len(), 1 + DEVICES.len());
        // The device by its own name is tried once.
        let device = |name: &str| (name == "XENSTORED_PATH").then(|| DEVICES[1].into());
        assert_eq!(candidates_from(device), [DEVICES[1], DEVICES[0]].map(PathBuf::from));
    }

    #[test]
    fn an_error_tells_what_was_tried() {
        let error = DiscoverError {
            tried: vec![
                ("/a".into(), io::ErrorKind::NotFound.into()),
                ("/b".into(), io::ErrorKind::PermissionDenied.into()),
            ],
        };
        let text = error.to_string();
        assert!(text.contains("/a: ") && text.contains("/b: "), "{text}");
        assert_eq!(error.io_kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_plain_file_is_neither_socket_nor_device() {
        let file = env::current_exe().expect("the test is a file");
        let error = open_at(file, Duration::from_secs(1)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
