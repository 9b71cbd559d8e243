//! The xenstoreds that the suite runs against, and the connections to them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xs_client::{Builder, Client, DomId};
use xs_proto::ring::RingPage;
use xs_transport::Transport;
#[cfg(unix)]
use xs_transport::UnixTransport;
#[cfg(unix)]
use xs_transport::mock::{Device, Kernel};
use xs_transport::mock::{Flavour, Unreliable, Xenstored};
use xs_transport::ring::{MemoryChannel, RingEndpoint};

use crate::context::Context;
use crate::settings::{self, HANG_TIMEOUT};
#[cfg(unix)]
use crate::socket_server::SocketServer;
use crate::unreliable_events::UnreliableEvents;

/// A xenstored, the transport to it, and the domain that the client acts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The in-memory xenstored, as dom0.
    Memory,
    /// The in-memory xenstored, behaving like the C daemon of Xen 4.17.
    MemoryC417,
    /// The in-memory xenstored, behaving like the oxenstored of Xen 4.17.
    MemoryOxenstored,
    /// The in-memory xenstored, as a guest.
    MemoryGuest,
    /// The in-memory xenstored through the simulated xenbus device, as a guest.
    MemoryDevice,
    /// The in-memory xenstored over a Unix socket, as dom0.
    MemorySocket,
    /// The in-memory xenstored over a ring, as dom0.
    Ring,
    /// The in-memory xenstored over a ring, as a guest.
    RingGuest,
    /// The in-memory xenstored over a ring as a guest, behaving like the oxenstored of Xen 4.17.
    RingOxenstored,
    /// The in-memory xenstored over a ring whose events come twice, late or without a reason, as dom0.
    RingUnreliableEvents,
    /// The in-memory xenstored over an unreliable transport, as dom0.
    Unreliable,
    /// The same, through the simulated device.
    UnreliableDevice,
    /// The same, over a Unix socket.
    UnreliableSocket,
    /// The same, over a ring.
    UnreliableRing,
    /// A C xenstored, as dom0.
    C,
    /// A C xenstored, as a guest.
    CGuest,
    /// An oxenstored, as dom0.
    Ox,
    /// An oxenstored, as a guest.
    OxGuest,
    /// A xenbus device, as the domain that it belongs to.
    Device,
}

/// The guest that tests act as.
const GUEST: DomId = DomId::new(5);

/// A different guest.
const OTHER_GUEST: DomId = DomId::new(7);

impl Backend {
    /// Runs a test on this backend, or reports that it is skipped.
    pub fn run(self, test: fn(&Context)) {
        if let Some(instance) = self.open() {
            test(&Context::new(instance));
        }
    }

    /// Returns `None` where the system or the environment has no such backend.
    pub(crate) fn open(self) -> Option<Instance> {
        match self {
            Backend::Memory => Some(memory(Flavour::default(), DomId::DOM0)),
            Backend::MemoryC417 => Some(memory(Flavour::C417, DomId::DOM0)),
            Backend::MemoryOxenstored => Some(memory(Flavour::Ocaml417, DomId::DOM0)),
            Backend::MemoryGuest => Some(memory(Flavour::default(), GUEST)),
            Backend::MemoryDevice => memory_device(),
            Backend::MemorySocket => memory_socket(),
            Backend::Ring => Some(ring(Flavour::default(), DomId::DOM0)),
            Backend::RingGuest => Some(ring(Flavour::default(), GUEST)),
            Backend::RingOxenstored => Some(ring(Flavour::Ocaml417, GUEST)),
            Backend::RingUnreliableEvents => {
                let xenstored = with_guests(Xenstored::new());
                Some(Instance::RingUnreliableEvents(xenstored, AtomicU64::new(settings::seed())))
            }
            Backend::Unreliable => Some(unreliable(memory(Flavour::default(), DomId::DOM0))),
            Backend::UnreliableDevice => memory_device().map(unreliable),
            Backend::UnreliableSocket => memory_socket().map(unreliable),
            Backend::UnreliableRing => Some(unreliable(ring(Flavour::default(), DomId::DOM0))),
            Backend::C => daemon("XS_TEST_C", None),
            Backend::CGuest => daemon("XS_TEST_C", Some(&C_GUEST5)),
            Backend::Ox => daemon("XS_TEST_OX", None),
            Backend::OxGuest => daemon("XS_TEST_OX", Some(&OX_GUEST5)),
            Backend::Device => {
                let path = settings::path("XS_TEST_DEVICE")?;
                Some(Instance::Device(path, lock(&DEVICE)))
            }
        }
    }
}

static C_GUEST5: Mutex<()> = Mutex::new(());
static C_GUEST7: Mutex<()> = Mutex::new(());
static OX_GUEST5: Mutex<()> = Mutex::new(());
static OX_GUEST7: Mutex<()> = Mutex::new(());
static DEVICE: Mutex<()> = Mutex::new(());

/// Locks a resource that one test at a time may use, even if a test that used it has failed.
fn lock(resource: &'static Mutex<()>) -> MutexGuard<'static, ()> {
    resource.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An open [`Backend`].
pub(crate) enum Instance {
    Memory(Xenstored, DomId),
    Ring(Xenstored, DomId),
    RingUnreliableEvents(Xenstored, AtomicU64),
    #[cfg(unix)]
    MemoryDevice(Kernel),
    #[cfg(unix)]
    MemorySocket(SocketServer),
    Daemon {
        /// The common prefix of the environment variables.
        prefix: &'static str,
        dom0: PathBuf,
        /// The guest's socket serves one client at a time.
        guest: Option<(PathBuf, MutexGuard<'static, ()>)>,
    },
    /// The clients of a domain share its quotas, so that one test at a time may run.
    Device(PathBuf, #[allow(dead_code, reason = "held, not read")] MutexGuard<'static, ()>),
    /// Each connection is unreliable in a different way, which the next seed decides.
    Unreliable(Box<Instance>, AtomicU64),
    /// The first connection uses this transport, others are reliable.
    Faulty(Box<Instance>, FaultyTransport),
}

/// A transport that can be asked whether its fault has happened.
pub(crate) type FaultyTransport = Arc<Unreliable<Box<dyn Transport>>>;

fn memory(flavour: Flavour, domid: DomId) -> Instance {
    Instance::Memory(with_guests(Xenstored::with_flavour(flavour)), domid)
}

fn ring(flavour: Flavour, domid: DomId) -> Instance {
    Instance::Ring(with_guests(Xenstored::with_flavour(flavour)), domid)
}

/// Connects over a ring of its own.
fn connect_ring(xenstored: &Xenstored, domid: DomId) -> impl Transport + 'static {
    let endpoint = xenstored.ring(domid).expect("threads are available");
    endpoint.connect().expect("it is the first connection")
}

/// The same, with events that are unreliable in both directions.
fn connect_with_unreliable_events(
    xenstored: &Xenstored,
    domid: DomId,
    seed: u64,
) -> impl Transport + 'static {
    let page = Arc::new(RingPage::new());
    let (ours, theirs) = MemoryChannel::pair();
    let (ours, theirs) = (UnreliableEvents::new(ours, seed), UnreliableEvents::new(theirs, !seed));
    xenstored.serve_ring(domid, page.clone(), theirs).expect("threads are available");
    let endpoint = RingEndpoint::new(page, ours, "a ring with unreliable events");
    endpoint.connect().expect("it is the first connection")
}

#[cfg(unix)]
fn memory_device() -> Option<Instance> {
    Some(Instance::MemoryDevice(Kernel::new(&with_guests(Xenstored::new()), GUEST)))
}

#[cfg(unix)]
fn memory_socket() -> Option<Instance> {
    let xenstored = with_guests(Xenstored::new());
    let server = SocketServer::start_with(xenstored, &[("guest-7", OTHER_GUEST)]);
    Some(Instance::MemorySocket(server))
}

#[cfg(not(unix))]
fn memory_device() -> Option<Instance> {
    settings::skip("this system has no xenbus device");
    None
}

#[cfg(not(unix))]
fn memory_socket() -> Option<Instance> {
    settings::skip("this system has no Unix sockets");
    None
}

fn unreliable(instance: Instance) -> Instance {
    Instance::Unreliable(Box::new(instance), AtomicU64::new(settings::seed()))
}

/// Creates the guests' nodes, as a toolstack does.
fn with_guests(xenstored: Xenstored) -> Xenstored {
    for domid in [GUEST, OTHER_GUEST] {
        let home = format!("/local/domain/{domid}");
        let text = format!(
            "{home} [n0 r{domid}]\n{home}/domid [n0 r{domid}] = {domid}\n\
             {home}/data [n{domid}]\n{home}/control [n{domid}]\n"
        );
        xenstored.seed(&text).expect("the text form is valid");
        xenstored.introduce(domid);
    }
    xenstored
}

fn daemon(prefix: &'static str, guest: Option<&'static Mutex<()>>) -> Option<Instance> {
    let dom0 = settings::path(&format!("{prefix}_SOCKET"))?;
    let guest = match guest {
        None => None,
        Some(resource) => {
            let path = settings::path(&format!("{prefix}_GUEST5"))?;
            Some((path, lock(resource)))
        }
    };
    Some(Instance::Daemon { prefix, dom0, guest })
}

impl Instance {
    pub(crate) fn is_in_memory(&self) -> bool {
        match self {
            Instance::Memory(..) | Instance::Ring(..) | Instance::RingUnreliableEvents(..) => true,
            #[cfg(unix)]
            Instance::MemoryDevice(_) | Instance::MemorySocket(_) => true,
            Instance::Unreliable(inner, _) | Instance::Faulty(inner, _) => inner.is_in_memory(),
            Instance::Daemon { .. } | Instance::Device(..) => false,
        }
    }

    pub(crate) fn is_device(&self) -> bool {
        match self {
            #[cfg(unix)]
            Instance::MemoryDevice(_) => true,
            #[cfg(unix)]
            Instance::MemorySocket(_) => false,
            Instance::Device(..) => true,
            Instance::Unreliable(inner, _) | Instance::Faulty(inner, _) => inner.is_device(),
            Instance::Memory(..)
            | Instance::Ring(..)
            | Instance::RingUnreliableEvents(..)
            | Instance::Daemon { .. } => false,
        }
    }

    /// Opens a transport to the in-memory xenstored, as dom0 unless it is a device.
    pub(crate) fn transport(&self) -> Box<dyn Transport> {
        match self {
            Instance::Memory(xenstored, _) => Box::new(xenstored.connect(DomId::DOM0)),
            Instance::Ring(xenstored, _) => Box::new(connect_ring(xenstored, DomId::DOM0)),
            Instance::RingUnreliableEvents(xenstored, seed) => {
                let seed = seed.fetch_add(1, Ordering::Relaxed);
                Box::new(connect_with_unreliable_events(xenstored, DomId::DOM0, seed))
            }
            #[cfg(unix)]
            Instance::MemorySocket(server) => Box::new(
                UnixTransport::connect(server.socket(), HANG_TIMEOUT).expect("the server runs"),
            ),
            #[cfg(unix)]
            Instance::MemoryDevice(kernel) => Box::new(
                kernel.open().and_then(Device::transport).expect("descriptors are available"),
            ),
            Instance::Unreliable(inner, seed) => {
                let seed = seed.fetch_add(1, Ordering::Relaxed);
                Box::new(Unreliable::new(inner.transport(), seed))
            }
            Instance::Faulty(inner, _) => inner.transport(),
            Instance::Daemon { .. } | Instance::Device(..) => {
                unreachable!("not an in-memory xenstored")
            }
        }
    }

    /// Connects the client under test. A guest's socket serves one client only.
    pub(crate) fn connect(&self, builder: Builder) -> Client {
        match self {
            Instance::Faulty(_, transport) => builder.from_transport(transport.clone()),
            Instance::Memory(xenstored, domid) => builder.from_transport(xenstored.connect(*domid)),
            Instance::Ring(xenstored, domid) => {
                builder.from_transport(connect_ring(xenstored, *domid))
            }
            Instance::Daemon { guest: Some((path, _)), .. } => {
                builder.open_at(path).expect("cannot connect to the guest's socket")
            }
            _ => self.connect_another(builder),
        }
    }

    /// Connects a further client, with at least the same access. Any number of them can exist.
    pub(crate) fn connect_another(&self, builder: Builder) -> Client {
        match self {
            #[cfg(unix)]
            Instance::MemorySocket(server) => {
                builder.open_at(server.socket()).expect("cannot connect to the server")
            }
            Instance::Daemon { dom0, .. } => {
                builder.open_at(dom0).expect("cannot connect to the daemon")
            }
            Instance::Device(path, _) => builder.open_at(path).expect("cannot open the device"),
            #[cfg(unix)]
            Instance::MemoryDevice(_) => builder.from_transport(self.transport()),
            Instance::Memory(..)
            | Instance::Ring(..)
            | Instance::RingUnreliableEvents(..)
            | Instance::Unreliable(..)
            | Instance::Faulty(..) => builder.from_transport(self.transport()),
        }
    }

    /// Connects a client that acts as a different guest, if possible.
    pub(crate) fn connect_other_guest(&self) -> Option<OtherGuest> {
        let builder = Client::builder().timeout(HANG_TIMEOUT);
        let (client, guard) = match self {
            Instance::Memory(xenstored, _) => {
                (builder.from_transport(xenstored.connect(OTHER_GUEST)), None)
            }
            Instance::Ring(xenstored, _) => {
                (builder.from_transport(connect_ring(xenstored, OTHER_GUEST)), None)
            }
            Instance::RingUnreliableEvents(xenstored, seed) => {
                let seed = seed.fetch_add(1, Ordering::Relaxed);
                let transport = connect_with_unreliable_events(xenstored, OTHER_GUEST, seed);
                (builder.from_transport(transport), None)
            }
            #[cfg(unix)]
            Instance::MemorySocket(server) => {
                let path = server.dir().join("guest-7");
                (builder.open_at(path).expect("cannot connect to the server"), None)
            }
            Instance::Daemon { prefix, .. } => {
                let path = settings::path(&format!("{prefix}_GUEST7"))?;
                let guard = lock(if *prefix == "XS_TEST_C" { &C_GUEST7 } else { &OX_GUEST7 });
                let client = builder.open_at(path).expect("cannot connect to the guest's socket");
                (client, Some(guard))
            }
            Instance::Unreliable(inner, _) | Instance::Faulty(inner, _) => {
                return inner.connect_other_guest();
            }
            #[cfg(unix)]
            Instance::MemoryDevice(_) => return None,
            Instance::Device(..) => return None,
        };
        Some(OtherGuest { client, domid: OTHER_GUEST, _guard: guard })
    }
}

/// A client that acts as a different guest than the tested client.
#[derive(Debug)]
pub struct OtherGuest {
    /// The client.
    pub client: Client,
    /// The domain that it acts as.
    pub domid: DomId,
    _guard: Option<MutexGuard<'static, ()>>,
}
