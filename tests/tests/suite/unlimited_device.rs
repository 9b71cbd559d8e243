//! A client that ignores the limits of the device.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use xs_client::{Client, DomId};
use xs_transport::mock::{Kernel, Xenstored};
use xs_transport::{Interest, Sent, Transport, Wait, XenbusTransport};

/// The timeout. A shorter one could expire on a busy machine although no request was lost.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Returns a client that uses the simulated device like a socket, and the kernel, which counts the
/// requests that are lost because of that. The client acts as domain 5, which may write below its
/// `data`.
///
/// A lost request is never answered, so that the client's timeout expires.
pub(crate) fn connect() -> (Client, Kernel) {
    let xenstored = Xenstored::new();
    xenstored.seed("/local/domain/5/data [n5]").expect("the text form is valid");
    let kernel = Kernel::new(&xenstored, DomId::new(5));
    let device = kernel.open().expect("descriptors are available");
    let transport = UnlimitedDevice(device.transport().expect("descriptors are available"));
    (Client::builder().timeout(TIMEOUT).from_transport(transport), kernel)
}

/// A device with the default limits, those of a socket: the client sends further requests before
/// the first is answered, and several in one write.
#[derive(Debug)]
struct UnlimitedDevice(XenbusTransport);

impl Transport for UnlimitedDevice {
    fn send(&self, bytes: &[u8]) -> io::Result<Sent> {
        self.0.send(bytes)
    }

    fn recv(&self, buf: &mut [u8], wait: Wait) -> io::Result<usize> {
        self.0.recv(buf, wait)
    }

    fn wait(&self, interest: Interest, deadline: Option<Instant>) -> io::Result<()> {
        self.0.wait(interest, deadline)
    }

    fn wake(&self) {
        self.0.wake();
    }

    fn close(&self) {
        self.0.close();
    }

    fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        self.0.fd()
    }

    fn describe(&self) -> String {
        self.0.describe()
    }
}
