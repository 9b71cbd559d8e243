//! A client that does everything wrong that can be done wrong on the device.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use xs_client::{Client, DomId};
use xs_transport::mock::{Kernel, Xenstored};
use xs_transport::{Interest, Sent, Transport, Wait, XenbusTransport};

/// A client that takes the stand-in device for a socket, as domain 5, which may write below its
/// `data`; and the kernel, which counts the requests that it spoils.
pub fn naive(timeout: Duration) -> (Client, Kernel) {
    let xenstored = Xenstored::new();
    xenstored.seed("/local/domain/5/data [n5]").expect("the text form is right");
    let kernel = Kernel::new(&xenstored, DomId::new(5));
    let device = kernel.open().expect("there are descriptors");
    let transport = Naive(device.transport().expect("there are descriptors"));
    (Client::builder().timeout(timeout).over(transport), kernel)
}

/// A device without its limits: requests go out as they come, together if there are several.
#[derive(Debug)]
struct Naive(XenbusTransport);

impl Transport for Naive {
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
