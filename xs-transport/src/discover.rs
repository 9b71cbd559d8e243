//! The search for the Xenstore daemon of this machine.

use std::env;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::transport::Transport;

/// The directory of the daemon's socket, unless `$XENSTORED_RUNDIR` names another one.
pub const RUN_DIR: &str = "/run/xenstored";

/// The paths of the kernel's device on this operating system, the preferred one first.
///
/// On Linux, `/proc/xen/xenbus` is the old path, and can hang.
pub const DEVICES: &[&str] = if cfg!(target_os = "netbsd") {
    &["/kern/xen/xenbus", "/dev/xen/xenbus"]
} else if cfg!(target_os = "freebsd") {
    &["/dev/xen/xenstore", "/dev/xen/xenbus"]
} else {
    &["/dev/xen/xenbus", "/proc/xen/xenbus"]
};

/// Returns the paths where the daemon may be reached, in the order in which libxenstore tries them.
///
/// The first is `$XENSTORED_PATH`, or else the file `socket` in `$XENSTORED_RUNDIR`, or else in
/// [`RUN_DIR`]. The [`DEVICES`] follow. No path occurs twice.
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

/// A place where the daemon may be reached: a path, or anything else to which a function connects.
///
/// ```
/// use std::net::TcpStream;
/// use xs_transport::StreamTransport;
/// use xs_transport::discover::Candidate;
///
/// let tunnel = Candidate::new("127.0.0.1:5901", |timeout| {
///     let stream = TcpStream::connect_timeout(&([127, 0, 0, 1], 5901).into(), timeout)?;
///     stream.set_nodelay(true)?;
///     Ok(Box::new(StreamTransport::new(stream, "127.0.0.1:5901")?))
/// });
/// assert_eq!(tunnel.name(), "127.0.0.1:5901");
/// ```
#[derive(Clone)]
pub struct Candidate {
    name: String,
    connect: Arc<Connect>,
}

type Connect =
    dyn Fn(Duration) -> io::Result<Box<dyn Transport>> + Send + Sync + UnwindSafe + RefUnwindSafe;

impl Candidate {
    /// Creates a candidate from a function that connects. The argument of `connect` is the longest
    /// time that connecting may take. Errors call the candidate `name`.
    pub fn new(
        name: impl Into<String>,
        connect: impl Fn(Duration) -> io::Result<Box<dyn Transport>> + Send + Sync + 'static,
    ) -> Self {
        let connect = AssertUnwindSafe(connect);
        Candidate { name: name.into(), connect: Arc::new(move |timeout| (*connect)(timeout)) }
    }

    /// Creates a candidate from the path of a socket or device.
    pub fn from_path(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self::new(path.display().to_string(), move |timeout| open_at(&path, timeout))
    }

    /// Returns the name of the candidate, which is its path if it has one.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Candidate").field(&self.name).finish()
    }
}

/// Opens the first of the [`candidates`] that can be opened.
///
/// `timeout` limits how long each attempt to connect to a socket takes.
///
/// # Errors
/// Fails if no candidate can be opened. The error holds the error of each candidate.
pub fn open(timeout: Duration) -> Result<Box<dyn Transport>, DiscoverError> {
    open_first(candidates().into_iter().map(Candidate::from_path), timeout)
}

/// Opens the first of these candidates that can be opened, as [`open`] does.
///
/// # Errors
/// Fails like [`open`].
pub fn open_first(
    candidates: impl IntoIterator<Item = Candidate>,
    timeout: Duration,
) -> Result<Box<dyn Transport>, DiscoverError> {
    let mut tried = Vec::new();
    for candidate in candidates {
        match (candidate.connect)(timeout) {
            Ok(transport) => return Ok(transport),
            Err(error) => tried.push((candidate.name, error)),
        }
    }
    Err(DiscoverError { tried })
}

/// Opens the socket or device at `path`, whichever it is.
///
/// `timeout` limits how long connecting to a socket takes.
///
/// # Errors
/// `InvalidInput` if `path` is empty, or is neither a socket nor a device. `Unsupported` on systems
/// other than Unix. Otherwise the error of stat(2), connect(2) or open(2).
pub fn open_at(path: impl AsRef<Path>, timeout: Duration) -> io::Result<Box<dyn Transport>> {
    let path = path.as_ref();
    if path.as_os_str().is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "path is empty"));
    }
    open_existing(path, timeout)
}

#[cfg(unix)]
fn open_existing(path: &Path, timeout: Duration) -> io::Result<Box<dyn Transport>> {
    use std::os::unix::fs::FileTypeExt;

    let file_type = path.metadata()?.file_type();
    // Under xenfs and kernfs the device appears as a regular file, so the known paths count too.
    let is_device =
        file_type.is_char_device() || DEVICES.iter().any(|device| path == Path::new(device));
    if file_type.is_socket() {
        Ok(Box::new(crate::UnixTransport::connect(path, timeout)?))
    } else if is_device {
        Ok(Box::new(crate::XenbusTransport::open(path)?))
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "not a socket or device"))
    }
}

#[cfg(not(unix))]
fn open_existing(_: &Path, _: Duration) -> io::Result<Box<dyn Transport>> {
    let message = "this system has neither Unix sockets nor a xenbus device";
    Err(io::Error::new(io::ErrorKind::Unsupported, message))
}

/// The error of [`open`]: no Xenstore daemon could be reached.
#[derive(Debug)]
pub struct DiscoverError {
    /// The names of the candidates that were tried, in order, each with its error.
    pub tried: Vec<(String, io::Error)>,
}

impl DiscoverError {
    /// Returns the kind of the most informative error: the first one that is not `NotFound`.
    pub fn io_kind(&self) -> io::ErrorKind {
        let mut kinds = self.tried.iter().map(|(_, error)| error.kind());
        kinds.find(|kind| *kind != io::ErrorKind::NotFound).unwrap_or(io::ErrorKind::NotFound)
    }
}

impl fmt::Display for DiscoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot reach a Xenstore daemon")?;
        for (at, (name, error)) in self.tried.iter().enumerate() {
            let separator = if at == 0 { ": " } else { "; " };
            write!(f, "{separator}{name}: {error}")?;
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
    fn candidates_follow_the_order_of_libxenstore() {
        assert_eq!(first(&[]), Path::new("/run/xenstored/socket"));
        assert_eq!(first(&[("XENSTORED_RUNDIR", "/x")]), Path::new("/x/socket"));
        let both = [("XENSTORED_RUNDIR", "/x"), ("XENSTORED_PATH", "/y/s")];
        assert_eq!(first(&both), Path::new("/y/s"));
        assert_eq!(candidates_from(|_| None).len(), 1 + DEVICES.len());
        // A device that the environment names is tried once.
        let device = |name: &str| (name == "XENSTORED_PATH").then(|| DEVICES[1].into());
        assert_eq!(candidates_from(device), [DEVICES[1], DEVICES[0]].map(PathBuf::from));
    }

    #[cfg(unix)]
    #[test]
    fn first_candidate_that_connects_is_used() {
        use crate::UnixTransport;

        let failing = Candidate::new("first", |_| Err(io::ErrorKind::ConnectionRefused.into()));
        let working = Candidate::new("second", |_| {
            let (ours, _theirs) = std::os::unix::net::UnixStream::pair()?;
            Ok(Box::new(UnixTransport::new(ours, "a pair")?))
        });
        let second = Duration::from_secs(1);
        let transport = open_first([failing.clone(), working], second).unwrap();
        assert_eq!(transport.describe(), "a pair");
        let missing = Candidate::from_path("/nonexistent/socket");
        let error = open_first([failing, missing], second).unwrap_err();
        assert_eq!(error.tried[0].0, "first");
        assert_eq!(error.tried[1].0, "/nonexistent/socket");
        assert_eq!(error.io_kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn errors_name_every_path_tried() {
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

    /// The kernel treats an empty path as a name in the abstract namespace, which any process may
    /// bind.
    #[test]
    fn empty_paths_are_rejected() {
        let second = Duration::from_secs(1);
        let errors = [
            open_at("", second).unwrap_err(),
            #[cfg(unix)]
            crate::UnixTransport::connect("", second).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
            assert!(error.to_string().contains("path is empty"), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn regular_files_are_rejected() {
        let file = env::current_exe().expect("the test is a file");
        let error = open_at(file, Duration::from_secs(1)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
