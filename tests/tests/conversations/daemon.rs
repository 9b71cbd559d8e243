//! The daemons that scenarios are replayed on.

use std::time::{Duration, Instant};

use xs_proto::DomId;
use xs_tests::{HANG_TIMEOUT, SocketServer};
use xs_transport::mock::{Flavour, Xenstored};
use xs_transport::{Transport, UnixTransport, Wait};

/// An in-memory xenstored, and the way to connect to it.
pub(crate) enum Daemon {
    /// Within this process.
    Pipes(Xenstored),
    /// Over Unix sockets.
    Sockets(Xenstored, SocketServer),
}

impl Daemon {
    pub(crate) fn with_pipes(flavour: Flavour) -> Self {
        Daemon::Pipes(Xenstored::with_flavour(flavour))
    }

    pub(crate) fn with_sockets(flavour: Flavour) -> Self {
        let xenstored = Xenstored::with_flavour(flavour);
        let guests = [("guest-5", DomId::new(5)), ("guest-7", DomId::new(7))];
        Daemon::Sockets(xenstored.clone(), SocketServer::start_with(xenstored, &guests))
    }

    pub(crate) fn connect(&self, domid: DomId) -> Box<dyn Transport> {
        match self {
            Daemon::Pipes(xenstored) => Box::new(xenstored.connect(domid)),
            Daemon::Sockets(_, server) => {
                let name = match domid {
                    DomId::DOM0 => "socket".to_owned(),
                    guest => format!("guest-{guest}"),
                };
                let path = server.dir().join(name);
                Box::new(UnixTransport::connect(path, HANG_TIMEOUT).expect("the daemon listens"))
            }
        }
    }

    /// Returns how long to wait for an answer. A pipe has it as soon as the request is sent.
    pub(crate) fn wait(&self) -> Wait {
        match self {
            Daemon::Pipes(_) => Wait::No,
            Daemon::Sockets(..) => Wait::Until(Some(Instant::now() + HANG_TIMEOUT)),
        }
    }

    /// Waits until the daemon has noticed that a connection has been closed.
    pub(crate) fn await_close(&self, domid: DomId, connections: usize) {
        let deadline = Instant::now() + HANG_TIMEOUT;
        while self.xenstored().connections(domid).len() > connections {
            assert!(Instant::now() < deadline, "the daemon does not notice the end of a client");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn is_in_process(&self) -> bool {
        matches!(self, Daemon::Pipes(_))
    }

    pub(crate) fn xenstored(&self) -> &Xenstored {
        match self {
            Daemon::Pipes(xenstored) | Daemon::Sockets(xenstored, _) => xenstored,
        }
    }

    /// Lets something happen to a domain.
    pub(crate) fn host(&self, verb: &str, domid: DomId) {
        let xenstored = self.xenstored();
        match verb {
            "shutdown" => xenstored.shut_down(domid),
            "die" => xenstored.destroy(domid),
            "absent" => xenstored.destroy_silently(domid),
            "create" => xenstored.create(domid),
            _ => panic!("unknown step of the host: {verb}"),
        }
    }
}
