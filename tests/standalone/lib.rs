//! A program that depends on xs-client only. It names all types of the other crates that the
//! signatures of xs-client mention: a transport and a reactor of its own, and all errors.
#![cfg(unix)]

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use xs_client::futures::reactor::{Clock, Reactor, Sleep};
use xs_client::{
    ConnectionError, Descriptor, DiscoverError, Error, ErrorKind, Failure, Features, Interest,
    Invalid, Limits, PathError, Quota, RequestError, Sent, Transport, Wait,
};

/// A transport whose peer answers nothing, and never comes back after a close.
#[derive(Debug)]
pub struct Silent(UnixStream);

impl Silent {
    /// Creates a transport, and returns the other end.
    pub fn pair() -> io::Result<(Self, UnixStream)> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        Ok((Silent(ours), theirs))
    }
}

impl Transport for Silent {
    fn limits(&self) -> Limits {
        Limits::default()
    }

    fn send(&self, bytes: &[u8]) -> io::Result<Sent> {
        (&self.0).write(bytes).map(Sent::Bytes)
    }

    fn recv(&self, _: &mut [u8], wait: Wait) -> io::Result<usize> {
        match wait {
            Wait::No => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(0),
        }
    }

    fn wait(&self, _: Interest, _: Option<Instant>) -> io::Result<()> {
        Ok(())
    }

    fn wake(&self) {}

    fn close(&self) {}

    fn fd(&self) -> io::Result<Descriptor<'_>> {
        Ok(self.0.as_fd())
    }

    fn describe(&self) -> String {
        "silence".to_owned()
    }
}

/// A reactor that watches nothing.
#[derive(Debug)]
pub struct Blind;

impl Reactor for Blind {
    fn register(&mut self, _: OwnedFd) -> io::Result<()> {
        Ok(())
    }

    fn poll_io(
        &mut self,
        _: &mut Context<'_>,
        interest: Interest,
        attempt: &mut dyn FnMut() -> io::Result<()>,
    ) -> Poll<io::Result<()>> {
        if interest.send() { Poll::Ready(attempt()) } else { Poll::Pending }
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(Stopped)
    }
}

/// A clock that never wakes a task.
#[derive(Debug)]
pub struct Stopped;

impl Clock for Stopped {
    fn sleep_until(&self, _: Instant) -> Sleep {
        Box::pin(std::future::pending())
    }
}

/// Returns the part of an error that another crate defines.
pub fn cause(error: &Error) -> Option<Cause<'_>> {
    match error.kind() {
        ErrorKind::Invalid(Invalid::Path(error)) => Some(Cause::Path(error)),
        ErrorKind::Invalid(Invalid::Request(error)) => Some(Cause::Request(error)),
        ErrorKind::Lost(Failure::Protocol(error)) => Some(Cause::Protocol(error)),
        ErrorKind::NoDaemon(error) => Some(Cause::NoDaemon(error)),
        _ => None,
    }
}

/// A part of an error.
#[derive(Debug)]
pub enum Cause<'a> {
    /// An invalid path.
    Path(&'a PathError),
    /// An invalid request.
    Request(&'a RequestError),
    /// The peer has closed the connection.
    Protocol(&'a ConnectionError),
    /// There is no daemon.
    NoDaemon(&'a DiscoverError),
}

/// Returns the features and the quotas of a daemon.
pub fn settings(client: &xs_client::Client) -> xs_client::Result<(Features, Vec<Quota>)> {
    Ok((client.get_features()?, client.quotas()?))
}

#[cfg(test)]
mod tests {
    use xs_client::Client;

    use super::*;

    #[test]
    fn errors_over_an_own_transport_have_their_cause() {
        let (transport, _peer) = Silent::pair().unwrap();
        let client = Client::from_transport(transport);
        assert_eq!(client.transport_name(), "silence");
        let error = client.read("no blanks").unwrap_err();
        assert!(matches!(cause(&error), Some(Cause::Path(_))), "{error}");
        let error = client.write("/a", [0; 5000]).unwrap_err();
        assert!(matches!(cause(&error), Some(Cause::Request(_))), "{error}");
        let error = settings(&client).unwrap_err();
        let closed = matches!(cause(&error), Some(Cause::Protocol(ConnectionError::Closed)));
        assert!(closed, "{error}");
    }

    #[test]
    fn own_reactor_is_accepted() {
        let (transport, _peer) = Silent::pair().unwrap();
        let client = Client::from_transport(transport);
        let (client, _driver) = xs_client::futures::Client::with_reactor(client, Blind).unwrap();
        assert_eq!(client.blocking().transport_name(), "silence");
    }
}
