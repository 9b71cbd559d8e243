//! The transport over a stream socket.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use crate::sys::{self, Waker};
use crate::transport::{Interest, Sent, Transport, Wait};

/// A connection to a Xenstore daemon over a stream socket of any family: a Unix socket, vsock, a
/// TCP tunnel, or a socket that the process has inherited.
///
/// `S` owns the descriptor, for example an [`OwnedFd`](std::os::fd::OwnedFd) or a
/// [`TcpStream`](std::net::TcpStream). Nothing else may receive from it or send to it.
///
/// A client over TCP sends small messages and waits for each answer, so disable Nagle's algorithm
/// with [`set_nodelay`](std::net::TcpStream::set_nodelay).
///
/// ```
/// use std::os::unix::net::UnixStream;
/// use xs_transport::{Sent, StreamTransport, Transport, Wait};
///
/// let (ours, theirs) = UnixStream::pair()?;
/// let transport = StreamTransport::new(ours, "a pair")?;
/// assert_eq!(transport.send(b"hello")?, Sent::Bytes(5));
/// # use std::io::Write;
/// (&theirs).write_all(b"hi")?;
/// let mut buf = [0; 16];
/// assert_eq!(transport.recv(&mut buf, Wait::Until(None))?, 2);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct StreamTransport<S> {
    stream: S,
    name: String,
    /// Whether this transport has created the open file (the socket itself). If so, no duplicate of
    /// the descriptor exists that could change the receive timeout.
    owns_open_file: bool,
    /// Created with the connection: later the process may have no descriptor left.
    waker: Waker,
}

/// The receive timeout of the socket (SO_RCVTIMEO).
///
/// A wait that may last at least this long begins in recv(2), which this timeout ends at the latest,
/// and goes on in poll(2). A poll(2) before each receive would be one more system call in each round
/// trip; ARCHITECTURE.md says what that costs. Waits with a nearer deadline use only poll(2). So do
/// all waits with a deadline on a socket that the caller has opened: the owner of a duplicate may
/// have made the timeout longer.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(10);

impl<S: AsFd> StreamTransport<S> {
    /// Creates a transport from a connected socket. [`describe`](Transport::describe) returns
    /// `name`.
    ///
    /// Each receive with a deadline needs one system call more than on a socket from
    /// [`connect`](Self::connect), because the owner of a duplicate of the descriptor may change
    /// the receive timeout.
    ///
    /// # Errors
    /// `InvalidInput` if the descriptor is not a stream socket. Otherwise the error of making the
    /// socket blocking, of setting its receive timeout, or of creating the descriptors with which
    /// other threads end a wait.
    pub fn new(stream: S, name: impl Into<String>) -> io::Result<Self> {
        if !sys::is_stream_socket(stream.as_fd())? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a stream socket"));
        }
        Self::with(stream, name.into(), false)
    }

    /// Creates a transport from a stream socket. `owns_open_file` is `true` if no duplicate of its
    /// descriptor exists.
    pub(crate) fn with(stream: S, name: String, owns_open_file: bool) -> io::Result<Self> {
        let fd = stream.as_fd();
        sys::set_nonblocking(fd, false)?;
        sys::set_no_signal(fd)?;
        sys::set_receive_timeout(fd, RECEIVE_TIMEOUT)?;
        Ok(StreamTransport { stream, name, owns_open_file, waker: Waker::new()? })
    }

    /// Returns whether a wait may block in recv(2) without missing its deadline.
    fn may_block_in_recv(&self, deadline: Option<Instant>) -> bool {
        let is_far = |at: Instant| at.saturating_duration_since(Instant::now()) >= RECEIVE_TIMEOUT;
        deadline.is_none_or(|at| self.owns_open_file && is_far(at))
    }
}

impl<S: AsFd + Send + Sync> Transport for StreamTransport<S> {
    fn send(&self, bytes: &[u8]) -> io::Result<Sent> {
        sys::send(self.stream.as_fd(), bytes).map(Sent::Bytes)
    }

    fn recv(&self, buf: &mut [u8], wait: Wait) -> io::Result<usize> {
        match wait {
            Wait::No => {}
            Wait::Until(deadline) if self.may_block_in_recv(deadline) => {
                match sys::recv(self.stream.as_fd(), buf) {
                    // The receive timeout has passed, or the owner of a duplicate has set
                    // O_NONBLOCK or a shorter timeout. Only poll(2) waits in either case.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        sys::poll([(self.stream.as_fd(), libc::POLLIN)], deadline)?;
                    }
                    result => return result,
                }
            }
            Wait::Until(deadline) => {
                sys::poll([(self.stream.as_fd(), libc::POLLIN)], deadline)?;
            }
            Wait::UntilWoken(deadline) => self.wait(Interest::Receive, deadline)?,
        }
        sys::recv_now(self.stream.as_fd(), buf)
    }

    fn wait(&self, interest: Interest, deadline: Option<Instant>) -> io::Result<()> {
        let mut events = 0;
        if interest.receive() {
            events |= libc::POLLIN;
        }
        if interest.send() {
            events |= libc::POLLOUT;
        }
        let fds = [(self.stream.as_fd(), events), (self.waker.descriptor(), libc::POLLIN)];
        let [_, woken] = match sys::poll(fds, deadline) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        };
        if woken != 0 {
            self.waker.clear();
        }
        Ok(())
    }

    fn wake(&self) {
        self.waker.wake();
    }

    fn close(&self) {
        // Ends recv(2) and poll(2) in other threads. Fails only if the peer is gone already.
        let _ = sys::shutdown(self.stream.as_fd());
    }

    fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.stream.as_fd())
    }

    fn describe(&self) -> String {
        self.name.clone()
    }
}

impl<S> fmt::Debug for StreamTransport<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StreamTransport").field(&self.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::{UnixDatagram, UnixStream};
    use std::sync::Arc;
    use std::thread;

    use super::*;

    /// Returns the two ends of a TCP connection.
    fn tcp_pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (ours, listener.accept().unwrap().0)
    }

    #[test]
    fn tcp_connections_and_inherited_descriptors_are_streams() {
        let (ours, mut theirs) = tcp_pair();
        let inherited = OwnedFd::from(ours);
        let transport = Arc::new(StreamTransport::new(inherited, "a tunnel").unwrap());
        assert_eq!(transport.describe(), "a tunnel");
        assert_eq!(transport.send(b"hello").unwrap(), Sent::Bytes(5));
        theirs.write_all(b"x").unwrap();
        for wait in [Wait::Until(None), Wait::UntilWoken(None)] {
            assert_eq!(transport.recv(&mut [0; 16], wait).unwrap(), 1);
            theirs.write_all(b"x").unwrap();
        }
        assert_eq!(transport.recv(&mut [0; 16], Wait::Until(None)).unwrap(), 1);

        transport.wake();
        let error = transport.recv(&mut [0; 16], Wait::UntilWoken(None)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let receiver = transport.clone();
        let waiting =
            thread::spawn(move || receiver.recv(&mut [0; 16], Wait::Until(None)).unwrap());
        transport.close();
        assert_eq!(waiting.join().unwrap(), 0);
        assert!(transport.send(b"x").is_err());
    }

    #[test]
    fn descriptors_that_are_no_stream_sockets_are_rejected() {
        let (datagram, _peer) = UnixDatagram::pair().unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        let errors = [
            StreamTransport::new(datagram, "datagrams").unwrap_err(),
            StreamTransport::new(file, "a device").unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
            assert_eq!(error.to_string(), "not a stream socket");
        }
    }

    #[test]
    fn waits_block_in_recv_only_if_the_deadline_allows() {
        let now = Instant::now();
        for owns_open_file in [true, false] {
            let (ours, _theirs) = UnixStream::pair().unwrap();
            let transport = StreamTransport::with(ours, "a pair".into(), owns_open_file).unwrap();
            assert!(transport.may_block_in_recv(None));
            let far = Some(now + 2 * RECEIVE_TIMEOUT);
            assert_eq!(transport.may_block_in_recv(far), owns_open_file);
            for near in [now, now + RECEIVE_TIMEOUT / 2] {
                assert!(!transport.may_block_in_recv(Some(near)));
            }
        }
    }

    /// The flag O_NONBLOCK and the receive timeout belong to the open file, which the owner of a
    /// duplicate can change.
    #[test]
    fn waits_last_until_bytes_arrive_whatever_duplicates_change() {
        let far = Some(Instant::now() + 3 * RECEIVE_TIMEOUT);
        let changes: [fn(&UnixStream); 2] = [
            |duplicate| duplicate.set_nonblocking(true).unwrap(),
            |duplicate| duplicate.set_read_timeout(Some(Duration::from_millis(1))).unwrap(),
        ];
        for change in changes {
            for wait in [Wait::Until(None), Wait::Until(far), Wait::UntilWoken(far)] {
                let (ours, mut theirs) = UnixStream::pair().unwrap();
                let duplicate = ours.try_clone().unwrap();
                let transport = StreamTransport::new(ours, "a pair").unwrap();
                change(&duplicate);
                let sending = thread::spawn(move || {
                    thread::sleep(Duration::from_millis(30));
                    theirs.write_all(b"x").unwrap();
                    theirs
                });
                assert_eq!(transport.recv(&mut [0; 16], wait).ok(), Some(1), "{wait:?}");
                sending.join().unwrap();
            }
        }
    }

    #[test]
    fn near_deadlines_are_kept() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let transport = StreamTransport::new(ours, "a pair").unwrap();
        for wait in [Wait::Until, Wait::UntilWoken] {
            let deadline = Instant::now() + Duration::from_millis(5);
            let error = transport.recv(&mut [0], wait(Some(deadline))).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            assert!(Instant::now() >= deadline);
        }
    }
}
