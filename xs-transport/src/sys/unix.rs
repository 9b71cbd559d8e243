//! System calls of Unix that the standard library does not offer.
//!
//! The BSDs and macOS lack some flags and calls of Linux; other calls replace them there.
#![allow(unsafe_code)]

use std::ffi::{OsStr, c_int, c_void};
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Receives from a socket, waiting for at most its receive timeout (SO_RCVTIMEO).
///
/// # Errors
/// `WouldBlock` if the timeout has passed.
pub(crate) fn recv(socket: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    recv_with(socket, buf, 0)
}

/// Receives from a socket without waiting.
///
/// # Errors
/// `WouldBlock` if there is nothing to receive.
pub(crate) fn recv_now(socket: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    recv_with(socket, buf, libc::MSG_DONTWAIT)
}

fn recv_with(socket: BorrowedFd<'_>, buf: &mut [u8], flags: c_int) -> io::Result<usize> {
    let fd = socket.as_raw_fd();
    // SAFETY: `buf` is borrowed mutably for the whole call, and recv(2) writes at most `buf.len()`
    // bytes to it.
    let n = unsafe { libc::recv(fd, buf.as_mut_ptr().cast::<c_void>(), buf.len(), flags) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// Sends to a socket without waiting and without raising SIGPIPE.
pub(crate) fn send(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    let fd = socket.as_raw_fd();
    let flags = libc::MSG_DONTWAIT | NO_SIGNAL;
    // SAFETY: `bytes` is borrowed for the whole call, and send(2) reads at most `bytes.len()` bytes
    // from it.
    let n = unsafe { libc::send(fd, bytes.as_ptr().cast::<c_void>(), bytes.len(), flags) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// Waits until one of the descriptors has a requested event, an error or a hang-up, or until the
/// deadline. Without a deadline, waits indefinitely. Returns the events of each descriptor.
///
/// # Errors
/// `Interrupted` if a signal ended the wait.
pub(crate) fn poll<const N: usize>(
    fds: [(BorrowedFd<'_>, i16); N],
    deadline: Option<Instant>,
) -> io::Result<[i16; N]> {
    let mut fds = fds.map(|(fd, events)| libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 });
    let timeout = deadline.map_or(-1, milliseconds_until);
    // SAFETY: `fds` is a local array of `N` pollfd, which outlives the call. poll(2) writes only to
    // their `revents`.
    let n = unsafe { libc::poll(fds.as_mut_ptr(), N as libc::nfds_t, timeout) };
    if n < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(fds.map(|fd| fd.revents))
}

/// Returns the timeout for poll(2), rounded up: the deadline must have passed when it expires.
fn milliseconds_until(deadline: Instant) -> c_int {
    let left = deadline.saturating_duration_since(Instant::now());
    c_int::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX)
}

/// Connects to a Unix socket.
///
/// # Errors
/// `WouldBlock` if the queue of the listener was full for as long as `timeout`.
pub(crate) fn connect_unix(path: &Path, timeout: Duration) -> io::Result<OwnedFd> {
    let (address, len) = unix_address(path.as_os_str())?;
    let fd = unix_socket()?;
    // The send timeout also limits how long connect(2) waits for the listener's queue.
    set_timeout(fd.as_fd(), libc::SO_SNDTIMEO, timeout)?;
    let address = (&raw const address).cast::<libc::sockaddr>();
    // SAFETY: `address` points to a local sockaddr_un, which outlives the call, and `len` is at
    // most its size.
    let rc = unsafe { libc::connect(fd.as_raw_fd(), address, len) };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(fd) }
}

/// Creates a socket and its file, without a listener yet.
///
/// On Linux, the file has at most the permissions `mode` from the start, because it inherits the
/// mode of the socket, less the umask. Changing the umask instead would affect other threads.
///
/// # Errors
/// `AddrInUse` if there is a file at `path`.
#[cfg(feature = "serve")]
pub(crate) fn bind_unix(path: &Path, mode: u32) -> io::Result<OwnedFd> {
    let (address, len) = unix_address(path.as_os_str())?;
    let fd = unix_socket()?;
    set_nonblocking(fd.as_fd(), true)?;
    // Fails on systems other than Linux, where the caller has to set the permissions of the file.
    // SAFETY: fchmod(2) takes no pointers.
    unsafe { libc::fchmod(fd.as_raw_fd(), mode as libc::mode_t) };
    let address = (&raw const address).cast::<libc::sockaddr>();
    // SAFETY: `address` points to a local sockaddr_un, which outlives the call, and `len` is at
    // most its size.
    let rc = unsafe { libc::bind(fd.as_raw_fd(), address, len) };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(fd) }
}

/// Lets clients connect to a bound socket. `backlog` is how many can wait to be accepted.
#[cfg(feature = "serve")]
pub(crate) fn listen(fd: &impl AsRawFd, backlog: c_int) -> io::Result<()> {
    // SAFETY: listen(2) takes no pointers.
    let rc = unsafe { libc::listen(fd.as_raw_fd(), backlog) };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn unix_socket() -> io::Result<OwnedFd> {
    // SAFETY: socket(2) takes no pointers.
    let fd = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | CLOSE_ON_EXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: socket(2) has just returned this open descriptor, so it has no other owner.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    set_close_on_exec(fd.as_fd())?;
    Ok(fd)
}

/// The flags for socket(2) and send(2) on systems that have them.
#[cfg(not(target_vendor = "apple"))]
const CLOSE_ON_EXEC: c_int = libc::SOCK_CLOEXEC;
#[cfg(not(target_vendor = "apple"))]
const NO_SIGNAL: c_int = libc::MSG_NOSIGNAL;

/// On macOS, options of the descriptor replace these flags.
#[cfg(target_vendor = "apple")]
const CLOSE_ON_EXEC: c_int = 0;
#[cfg(target_vendor = "apple")]
const NO_SIGNAL: c_int = 0;

/// Closes a descriptor when the process executes another program, on systems where that cannot be
/// requested when the descriptor is created.
fn set_close_on_exec(fd: BorrowedFd<'_>) -> io::Result<()> {
    if cfg!(not(target_vendor = "apple")) {
        return Ok(());
    }
    // SAFETY: F_SETFD takes an integer.
    let rc = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Prevents SIGPIPE for a socket whose peer is gone, on systems where send(2) has no flag for that.
pub(crate) fn set_no_signal(socket: BorrowedFd<'_>) -> io::Result<()> {
    #[cfg(target_vendor = "apple")]
    set_option(socket, libc::SO_NOSIGPIPE, &1_i32)?;
    let _ = socket;
    Ok(())
}

/// Returns the address of a socket, and how many of its bytes are in use.
fn unix_address(path: &OsStr) -> io::Result<(libc::sockaddr_un, libc::socklen_t)> {
    // SAFETY: sockaddr_un consists of integers and arrays of integers, for which zero is valid.
    let mut address: libc::sockaddr_un = unsafe { mem::zeroed() };
    let bytes = path.as_bytes();
    // Any process may bind the name in the abstract namespace that an empty path stands for.
    if bytes.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "socket path is empty"));
    }
    if bytes.contains(&0) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "socket path contains a NUL byte"));
    }
    if bytes.len() >= address.sun_path.len() {
        let max = address.sun_path.len() - 1;
        let message = format!("socket path is longer than {max} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    for (to, from) in address.sun_path.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    // Includes the terminating NUL. It fits, because the path is shorter than `sun_path`.
    let len = mem::offset_of!(libc::sockaddr_un, sun_path) + bytes.len() + 1;
    Ok((address, len as libc::socklen_t))
}

/// Sets or clears O_NONBLOCK.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>, is_set: bool) -> io::Result<()> {
    // SAFETY: F_GETFL takes no argument.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    let flags = if is_set { flags | libc::O_NONBLOCK } else { flags & !libc::O_NONBLOCK };
    // SAFETY: F_SETFL takes an integer.
    let rc = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags) };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Creates a pipe and returns its read end and its write end, both non-blocking.
#[cfg(feature = "mock")]
pub(crate) fn pipe() -> io::Result<(std::fs::File, std::fs::File)> {
    let mut fds = [-1; 2];
    // SAFETY: pipe2(2) writes two integers, and `fds` is a local array of two.
    #[cfg(not(target_vendor = "apple"))]
    let rc = unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) };
    // SAFETY: as above.
    #[cfg(target_vendor = "apple")]
    let rc = unsafe { libc::pipe(fds.as_mut_ptr()) };
    if rc < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just returned these open descriptors, so they have no other owner.
    let ends = fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    for end in &ends {
        set_close_on_exec(end.as_fd())?;
        set_nonblocking(end.as_fd(), true)?;
    }
    let [read, write] = ends;
    Ok((read.into(), write.into()))
}

/// Returns whether a descriptor is a socket of type SOCK_STREAM.
pub(crate) fn is_stream_socket(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut value: c_int = 0;
    let mut len = mem::size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the pointers are to a local integer and to its size, which outlive the call. SO_TYPE
    // is an integer.
    let rc = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TYPE,
            (&raw mut value).cast::<c_void>(),
            &raw mut len,
        )
    };
    if rc == 0 {
        return Ok(value == libc::SOCK_STREAM);
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::ENOTSOCK) { Ok(false) } else { Err(error) }
}

/// Ends a connection in both directions.
pub(crate) fn shutdown(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: shutdown(2) takes integers only.
    let rc = unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_RDWR) };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sets SO_RCVTIMEO.
pub(crate) fn set_receive_timeout(fd: BorrowedFd<'_>, timeout: Duration) -> io::Result<()> {
    set_timeout(fd, libc::SO_RCVTIMEO, timeout)
}

fn set_timeout(fd: BorrowedFd<'_>, option: c_int, timeout: Duration) -> io::Result<()> {
    // Zero would mean no timeout.
    let timeout = timeout.max(Duration::from_millis(1));
    let value = libc::timeval {
        // The types of the fields differ between systems. Each of them holds an i32: 68 years.
        tv_sec: i32::try_from(timeout.as_secs()).unwrap_or(i32::MAX).into(),
        tv_usec: (timeout.subsec_micros() as i32).into(),
    };
    set_option(fd, option, &value)
}

/// Sets an option of a socket, which takes a `T`.
fn set_option<T: Copy>(fd: BorrowedFd<'_>, option: c_int, value: &T) -> io::Result<()> {
    // SAFETY: `value` is borrowed for the whole call, and the length is its size. The kernel only
    // reads it, and rejects a length that does not fit the option.
    let rc = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const *value).cast::<c_void>(),
            mem::size_of::<T>() as libc::socklen_t,
        )
    };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The number of forks between this process and its ancestor that first called [`count_forks`].
static FORKS: AtomicUsize = AtomicUsize::new(0);

/// Returns the number of forks between this process and its ancestor that first called
/// [`count_forks`].
pub(crate) fn forks() -> usize {
    FORKS.load(Ordering::Relaxed)
}

/// Counts the forks from now on.
pub(crate) fn count_forks() {
    // A lock would not work: another thread may hold it at a fork.
    static IS_COUNTING: AtomicBool = AtomicBool::new(false);

    extern "C" fn count() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }

    if !IS_COUNTING.load(Ordering::Relaxed) && !IS_COUNTING.swap(true, Ordering::Relaxed) {
        // SAFETY: the handler only changes an atomic integer, which is allowed in the child of a
        // process with several threads. It is a function of this library, and so is the caller.
        let error = unsafe { libc::pthread_atfork(None, None, Some(count)) };
        // There was no memory for the handler: the next caller tries again.
        IS_COUNTING.store(error == 0, Ordering::Relaxed);
    }
}

/// Returns whether the system lacks something for a call, so that the same call may succeed later.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    let shortages = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS];
    error.raw_os_error().is_some_and(|errno| shortages.contains(&errno))
}

/// Raises the limit of open descriptors of this process to at least `count`.
///
/// # Errors
/// `InvalidInput` if the hard limit is lower.
#[cfg(all(test, feature = "serve"))]
pub(crate) fn allow_open_files(count: libc::rlim_t) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a local rlimit, which outlives the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } < 0 {
        return Err(io::Error::last_os_error());
    }
    if limit.rlim_cur >= count {
        return Ok(());
    }
    limit.rlim_cur = count;
    // SAFETY: `limit` is a local rlimit, which outlives the call.
    let rc = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "under Miri a step takes longer than a millisecond")]
    fn poll_timeouts_are_rounded_up() {
        let timeout = |left| milliseconds_until(Instant::now() + left);
        assert_eq!(timeout(Duration::ZERO), 0);
        assert!(timeout(Duration::from_micros(100)) <= 1);
        assert_eq!(timeout(Duration::from_secs(10)), 10_000);
        assert_eq!(timeout(Duration::from_secs(1 << 40)), c_int::MAX);
    }

    /// Returns connected sockets. Miri knows recv(2) and send(2) for TCP only.
    fn sockets() -> (UnixStream, UnixStream) {
        if !cfg!(miri) {
            return UnixStream::pair().unwrap();
        }
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (theirs, _) = listener.accept().unwrap();
        (OwnedFd::from(ours).into(), OwnedFd::from(theirs).into())
    }

    #[test]
    fn bytes_pass_through_a_socket() {
        let (ours, theirs) = sockets();
        assert_eq!(send(ours.as_fd(), b"hello").unwrap(), 5);
        assert_eq!(send(ours.as_fd(), b"!").unwrap(), 1);
        let mut buf = [0; 8];
        assert_eq!(recv(theirs.as_fd(), &mut buf[..2]).unwrap(), 2);
        assert_eq!(recv_now(theirs.as_fd(), &mut buf[2..]).unwrap(), 4);
        assert_eq!(&buf, b"hello!\0\0");
        let nothing = recv_now(theirs.as_fd(), &mut buf).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        drop(ours);
        assert_eq!(recv(theirs.as_fd(), &mut buf).unwrap(), 0);
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri does not know poll(2)")]
    fn poll_reports_the_events_of_each_descriptor() {
        let pairs = [UnixStream::pair().unwrap(), UnixStream::pair().unwrap()];
        let poll_both = || {
            let fds = [&pairs[0], &pairs[1]].map(|(ours, _)| (ours.as_fd(), libc::POLLIN));
            poll(fds, Some(Instant::now())).unwrap()
        };
        assert_eq!(poll_both(), [0, 0]);
        send(pairs[1].1.as_fd(), b"x").unwrap();
        assert_eq!(poll_both(), [0, libc::POLLIN]);
    }

    #[cfg(feature = "mock")]
    #[test]
    fn pipes_do_not_block() {
        use std::io::{Read, Write};

        let (mut read, mut write) = pipe().unwrap();
        assert_eq!(read.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        write.write_all(b"x").unwrap();
        assert_eq!(read.read(&mut [0; 2]).unwrap(), 1);
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri does not know Unix sockets")]
    fn connecting_reaches_the_listener() {
        let path = std::env::temp_dir().join(format!("xs-sys-{}", std::process::id()));
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let connected = connect_unix(&path, Duration::from_secs(60));
        let (accepted, _) = listener.accept().unwrap();
        std::fs::remove_file(&path).unwrap();
        let connected = UnixStream::from(connected.unwrap());
        set_nonblocking(connected.as_fd(), true).unwrap();
        assert_eq!(
            recv(connected.as_fd(), &mut [0]).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        send(accepted.as_fd(), b"x").unwrap();
        assert_eq!(recv(connected.as_fd(), &mut [0; 2]).unwrap(), 1);
    }

    #[test]
    fn long_socket_paths_are_rejected() {
        assert!(unix_address(OsStr::new(&"x".repeat(107))).is_ok());
        let error = unix_address(OsStr::new(&"x".repeat(108))).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
