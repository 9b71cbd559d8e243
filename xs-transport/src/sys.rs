//! The system calls that the standard library does not offer: the only unsafe code there is.
#![allow(unsafe_code)]

use std::ffi::{OsStr, c_int, c_void};
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::transport::Wait;

/// Receives from a socket; with `block`, waits as long as the socket's timeout says.
pub(crate) fn recv(socket: &UnixStream, buf: &mut [u8], block: bool) -> io::Result<usize> {
    let fd = socket.as_raw_fd();
    let flags = if block { 0 } else { libc::MSG_DONTWAIT };
    // SAFETY: the pointer and the length are those of a live, writable slice.
    let n = unsafe { libc::recv(fd, buf.as_mut_ptr().cast::<c_void>(), buf.len(), flags) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// Sends to a socket without waiting and without SIGPIPE.
pub(crate) fn send(socket: &UnixStream, bytes: &[u8]) -> io::Result<usize> {
    let fd = socket.as_raw_fd();
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the pointer and the length are those of a live slice.
    let n = unsafe { libc::send(fd, bytes.as_ptr().cast::<c_void>(), bytes.len(), flags) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// Waits until one of the events asked for, an error or a hang-up has come on one of the
/// descriptors, or the time is over. Returns what came on each.
pub(crate) fn poll<const N: usize>(
    fds: [(BorrowedFd<'_>, i16); N],
    wait: Wait,
) -> io::Result<[i16; N]> {
    let mut fds = fds.map(|(fd, events)| libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 });
    // SAFETY: the pointer and the length are those of a live, writable array.
    let n = unsafe { libc::poll(fds.as_mut_ptr(), N as libc::nfds_t, milliseconds(wait)) };
    if n < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(fds.map(|fd| fd.revents))
}

/// For poll(2): rounded up, so that the deadline has passed when the time is over.
fn milliseconds(wait: Wait) -> c_int {
    let left = match wait {
        Wait::No => return 0,
        Wait::Long => Wait::LONG,
        Wait::Until(None) | Wait::UntilWoken(None) => return -1,
        Wait::Until(Some(deadline)) | Wait::UntilWoken(Some(deadline)) => {
            deadline.saturating_duration_since(Instant::now())
        }
    };
    c_int::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX)
}

/// Connects to a Unix socket.
///
/// # Errors
/// `WouldBlock`: the listener's queue is full, and was for as long as `timeout`.
pub(crate) fn connect_unix(path: &Path, timeout: Duration) -> io::Result<OwnedFd> {
    let (address, len) = unix_address(path.as_os_str())?;

    // SAFETY: takes no pointers.
    let fd = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made, and nobody else has it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };

    // A connect waits for room in the listener's queue as long as a send would.
    set_send_timeout(fd.as_fd(), timeout)?;
    let address = (&raw const address).cast::<libc::sockaddr>();
    // SAFETY: the pointer is to a live sockaddr_un of which `len` bytes are in use.
    let rc = unsafe { libc::connect(fd.as_raw_fd(), address, len) };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(fd) }
}

fn unix_address(path: &OsStr) -> io::Result<(libc::sockaddr_un, libc::socklen_t)> {
    // SAFETY: all bytes zero is a valid sockaddr_un.
    let mut address: libc::sockaddr_un = unsafe { mem::zeroed() };
    let bytes = path.as_bytes();
    if bytes.len() >= address.sun_path.len() || bytes.contains(&0) {
        let max = address.sun_path.len() - 1;
        let message = format!("the path of a socket has at most {max} bytes, none of them 0");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    for (to, from) in address.sun_path.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    // The path's final NUL counts.
    let len = mem::offset_of!(libc::sockaddr_un, sun_path) + bytes.len() + 1;
    Ok((address, len as libc::socklen_t))
}

/// Makes reads and writes return at once.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes no pointers.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: takes no pointers.
    let rc = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Lets this thread take the processor from nobody when it is woken: SCHED_BATCH of sched(7).
///
/// Who asks a great many things together, and shares a core with the daemon, is otherwise woken by
/// each single reply, for which the daemon is put aside. What the thread gets of the processor
/// stays the same.
///
/// # Errors
/// `Unsupported`: this is no Linux. Others as of sched_setscheduler(2).
pub fn sched_batch() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        // All that the kernel wants to know is a priority, which is 0.
        let param: c_int = 0;
        // SAFETY: the pointer is to a live sched_param, as the kernel knows it. The C library's
        // function will not do: that of musl refuses everything.
        let rc = unsafe {
            libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_BATCH, &raw const param)
        };
        if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
    #[cfg(not(target_os = "linux"))]
    Err(io::ErrorKind::Unsupported.into())
}

/// A pipe: the end to read from and the end to write to, both non-blocking.
#[cfg(feature = "mock")]
pub(crate) fn pipe() -> io::Result<(std::fs::File, std::fs::File)> {
    let mut fds = [-1; 2];
    // SAFETY: the pointer is to a live array of two.
    let rc = unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) };
    if rc < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptors were just made, and nobody else has them.
    let [read, write] = fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    Ok((read.into(), write.into()))
}

fn set_send_timeout(fd: BorrowedFd<'_>, timeout: Duration) -> io::Result<()> {
    // Zero would mean: for ever.
    let timeout = timeout.max(Duration::from_millis(1));
    let value = libc::timeval {
        // Their types differ between systems; 68 years fit into each of them.
        tv_sec: i32::try_from(timeout.as_secs()).unwrap_or(i32::MAX).into(),
        tv_usec: (timeout.subsec_micros() as i32).into(),
    };
    // SAFETY: the pointer and the length are those of a live timeval.
    let rc = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_SNDTIMEO,
            (&raw const value).cast::<c_void>(),
            mem::size_of::<libc::timeval>() as libc::socklen_t,
        )
    };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Lets this process have at least so many descriptors.
///
/// # Errors
/// `InvalidInput`: the hard limit is below that.
#[cfg(all(test, feature = "serve"))]
pub(crate) fn allow_open_files(count: libc::rlim_t) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live rlimit.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } < 0 {
        return Err(io::Error::last_os_error());
    }
    if limit.rlim_cur >= count {
        return Ok(());
    }
    limit.rlim_cur = count;
    // SAFETY: the pointer is to a live rlimit.
    let rc = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poll_rounds_up() {
        assert_eq!(milliseconds(Wait::Until(None)), -1);
        assert_eq!(milliseconds(Wait::No), 0);
        assert_eq!(milliseconds(Wait::Long), 10_000);
        let until = |left| milliseconds(Wait::UntilWoken(Some(Instant::now() + left)));
        assert_eq!(until(Duration::ZERO), 0);
        assert!(until(Duration::from_micros(100)) <= 1);
        assert_eq!(until(Duration::from_secs(1 << 40)), c_int::MAX);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_thread_can_be_of_batches() {
        let policy = || {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("there is one");
            // proc(5): the 41st field, counted from the end of the name, which is the second.
            let after_name = stat.rsplit(')').next().expect("it has a name").to_owned();
            after_name.split_whitespace().nth(38).map(str::to_owned)
        };
        sched_batch().expect("it needs no rights");
        assert_eq!(policy().as_deref(), Some("3"));
    }

    #[test]
    fn socket_paths_have_a_limit() {
        assert!(unix_address(OsStr::new(&"x".repeat(107))).is_ok());
        let error = unix_address(OsStr::new(&"x".repeat(108))).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
