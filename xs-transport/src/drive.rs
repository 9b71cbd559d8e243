//! A loop for one thread that runs a `ClientConnection` over a transport, and the steps of the
//! loop.

use std::fmt;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::thread;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use xs_proto::{ClientConnection, Event, Reply};

use crate::failure::Failure;
use crate::sys::is_shortage;
use crate::transport::{Interest, Sent, Transport, Wait};

/// A [`ClientConnection`] over a [`Transport`], driven by one thread.
///
/// Drive it like this:
///
/// * [`submit`] requests to [`connection`](Self::connection);
/// * call [`turn`](Self::turn), which sends all pending output, waits for bytes, and hands each
///   [`Event`] in them to a closure.
///
/// A failure is final: [`turn`](Self::turn) and [`flush`](Self::flush) return it from then on.
///
/// Several threads cannot share a drive. The crate `xs-client` lets threads share a connection: it
/// uses [`send_once`] and [`receive_once`] in place of a drive.
///
/// ```
/// use xs_proto::{DomId, Event, Path, Reply, Request, TxId};
/// use xs_transport::mock::Xenstored;
/// use xs_transport::{Drive, Wait};
///
/// let xenstored = Xenstored::new();
/// xenstored.set("/greeting", "hello")?;
/// let mut drive = Drive::new(xenstored.connect(DomId::DOM0), 4096);
///
/// let request = Request::Read(Path::new("/greeting")?);
/// drive.connection().submit(TxId::NONE, &request, "my key")?;
/// let mut value = None;
/// while value.is_none() {
///     drive.turn(Wait::Until(None), |event| {
///         if let Event::Reply { key: "my key", reply: Reply::Value(bytes), .. } = event {
///             value = Some(bytes.into_owned());
///         }
///     })?;
/// }
/// assert_eq!(value.unwrap(), b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [`submit`]: ClientConnection::submit
pub struct Drive<K> {
    connection: ClientConnection<K>,
    transport: Box<dyn Transport>,
    output: BytesMut,
    input: Box<[u8]>,
    failure: Option<Failure>,
}

/// The result of a [turn](Drive::turn).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Bytes were received, or a message was refused.
    Progress,
    /// Nothing happened within the given time. The transport may return before it has passed.
    Nothing,
}

impl<K> Drive<K> {
    /// Creates a drive that receives up to `buffer` bytes at a time, and at least one.
    pub fn new(transport: impl Transport + 'static, buffer: usize) -> Self {
        Drive {
            connection: ClientConnection::new(transport.limits()),
            transport: Box::new(transport),
            output: BytesMut::new(),
            input: vec![0; buffer.max(1)].into_boxed_slice(),
            failure: None,
        }
    }

    /// Returns the protocol state, to submit and forget requests.
    pub fn connection(&mut self) -> &mut ClientConnection<K> {
        &mut self.connection
    }

    /// Returns the transport.
    pub fn transport(&self) -> &dyn Transport {
        &*self.transport
    }

    /// Sends all pending output, or as much as the transport accepts. Returns whether all was sent.
    /// `handler` gets the replies to requests that the transport refuses.
    ///
    /// # Errors
    /// Fails if the connection fails, or has failed before.
    pub fn flush(&mut self, mut handler: impl FnMut(Event<'_, K>)) -> Result<bool, Failure> {
        let sent = self.send_all(&mut handler);
        self.keep_failure(sent)
    }

    /// Sends all pending output, waits until bytes can be received, and hands the events in them to
    /// `handler`. If some output is left, the wait also ends when the transport accepts more.
    ///
    /// # Errors
    /// Fails if the connection fails, or has failed before.
    pub fn turn(
        &mut self,
        wait: Wait,
        mut handler: impl FnMut(Event<'_, K>),
    ) -> Result<Turn, Failure> {
        let turn = self.try_turn(wait, &mut handler);
        self.keep_failure(turn)
    }

    fn try_turn(
        &mut self,
        mut wait: Wait,
        handler: &mut impl FnMut(Event<'_, K>),
    ) -> Result<Turn, Failure> {
        let pending = self.connection.pending();
        let mut has_waited = false;
        if !self.send_all(handler)? {
            if let Wait::Until(until) | Wait::UntilWoken(until) = wait {
                wait_once(&*self.transport, Interest::Both, until)?;
                wait = Wait::No;
                has_waited = true;
            }
        }
        if self.connection.pending() < pending {
            // A message was refused, and `handler` got its reply: the caller must not wait longer.
            return Ok(Turn::Progress);
        }
        let turn = match receive_once(&*self.transport, &mut self.input, wait)? {
            Received::Bytes(n) => {
                let mut input = &self.input[..n];
                while !input.is_empty() {
                    let received = self.connection.receive(input)?;
                    input = &input[received.consumed..];
                    received.event.into_iter().for_each(&mut *handler);
                }
                Turn::Progress
            }
            Received::Nothing => Turn::Nothing,
            Received::End => return Err(self.connection.end_of_input().into()),
        };
        // After a wait or a reply, there may be more to send, or more room.
        if has_waited || turn == Turn::Progress {
            self.send_all(handler)?;
        }
        Ok(turn)
    }

    fn send_all(&mut self, handler: &mut impl FnMut(Event<'_, K>)) -> Result<bool, Failure> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        loop {
            if self.output.is_empty() {
                self.connection.take_output_into(&mut self.output);
            }
            if self.output.is_empty() {
                return Ok(true);
            }
            match send_once(&*self.transport, &mut self.output)? {
                Progress::Sent => {}
                Progress::Blocked => return Ok(false),
                Progress::Refused(code) => {
                    if let Some((req_id, Some(key))) = self.connection.refused() {
                        handler(Event::Reply { req_id, key, reply: Reply::Error(code) });
                    }
                }
            }
        }
    }

    /// Keeps the first failure for later calls, and closes the transport.
    fn keep_failure<T>(&mut self, result: Result<T, Failure>) -> Result<T, Failure> {
        if let (Err(failure), None) = (&result, &self.failure) {
            self.failure = Some(failure.clone());
            self.transport.close();
        }
        result
    }
}

/// The result of [`send_once`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Some of the output was sent, or the call was interrupted and can be repeated at once.
    Sent,
    /// The transport accepts nothing now, or the system has a temporary shortage.
    Blocked,
    /// The message was refused on its way, and no reply to it will come; see [`Sent::Refused`].
    Refused(xs_proto::ErrorCode),
}

/// Calls [`Transport::send`] once, and removes the bytes that were sent or refused from `output`.
///
/// # Errors
/// Fails if the connection has failed. A panic of the transport counts as a failure.
pub fn send_once(transport: &dyn Transport, output: &mut BytesMut) -> Result<Progress, Failure> {
    match without_panic(|| transport.send(output)) {
        Ok(Sent::Bytes(n)) if n > output.len() => Err(excess()),
        Ok(Sent::Bytes(n)) if n == output.len() => {
            // Clearing keeps the space of the buffer; advancing past the end gives it up.
            output.clear();
            Ok(Progress::Sent)
        }
        Ok(Sent::Bytes(n)) => {
            output.advance(n);
            Ok(Progress::Sent)
        }
        Ok(Sent::Refused(code)) => {
            output.clear();
            Ok(Progress::Refused(code))
        }
        Err(error) => match error.kind() {
            io::ErrorKind::Interrupted => Ok(Progress::Sent),
            io::ErrorKind::WouldBlock => Ok(Progress::Blocked),
            _ if is_shortage(&error) => {
                pause(None);
                Ok(Progress::Blocked)
            }
            _ => Err(error.into()),
        },
    }
}

/// The result of [`receive_once`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// The number of bytes that were received.
    Bytes(usize),
    /// Nothing was received. The deadline may not have passed yet.
    Nothing,
    /// The peer has closed the connection.
    End,
}

/// Calls [`Transport::recv`] once, or a few times while it fails for a temporary reason and `wait`
/// is [`Wait::No`].
///
/// # Errors
/// Fails if the connection has failed. A panic of the transport counts as a failure.
pub fn receive_once(
    transport: &dyn Transport,
    buf: &mut [u8],
    wait: Wait,
) -> Result<Received, Failure> {
    for _ in 0..ATTEMPTS {
        let error = match without_panic(|| transport.recv(buf, wait)) {
            Ok(0) => return Ok(Received::End),
            Ok(n) if n <= buf.len() => return Ok(Received::Bytes(n)),
            Ok(_) => return Err(excess()),
            Err(error) => error,
        };
        match error.kind() {
            io::ErrorKind::WouldBlock => return Ok(Received::Nothing),
            io::ErrorKind::Interrupted => {}
            _ if is_shortage(&error) => pause(wait.deadline().flatten()),
            _ => return Err(error.into()),
        }
        // A caller that waits checks its deadline and calls again. One that does not wait may have
        // learned of the bytes from an edge-triggered event, which does not come again.
        if wait != Wait::No {
            break;
        }
    }
    Ok(Received::Nothing)
}

/// Calls [`Transport::wait`] once.
///
/// # Errors
/// Fails if the connection has failed. A panic of the transport counts as a failure.
pub fn wait_once(
    transport: &dyn Transport,
    interest: Interest,
    until: Option<Instant>,
) -> Result<(), Failure> {
    let Err(error) = without_panic(|| transport.wait(interest, until)) else {
        return Ok(());
    };
    match error.kind() {
        io::ErrorKind::Interrupted => Ok(()),
        kind if kind == io::ErrorKind::WouldBlock || is_shortage(&error) => {
            pause(until);
            Ok(())
        }
        _ => Err(error.into()),
    }
}

/// The number of attempts at a receive that does not wait.
const ATTEMPTS: u32 = 10;

/// The pause after a call that has failed because of a shortage.
const PAUSE: Duration = Duration::from_millis(1);

fn pause(until: Option<Instant>) {
    let left = until.map_or(PAUSE, |until| until.saturating_duration_since(Instant::now()));
    thread::sleep(left.min(PAUSE));
}

/// Turns a panic of the transport, which may be user code, into an error. The panic hook reports
/// the panic. It ends the connection, but not the calling thread, for which other threads may wait.
fn without_panic<T>(call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    panic::catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|_| Err(io::Error::other("the transport panicked")))
}

fn excess() -> Failure {
    io::Error::other("the transport reports more bytes than there were").into()
}

impl<K> fmt::Debug for Drive<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drive")
            .field("transport", &self.transport.describe())
            .field("connection", &self.connection)
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}
