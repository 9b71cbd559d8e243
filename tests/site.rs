//! Where the suite runs.

use std::collections::BTreeSet;
use std::env;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use xs_client::{Builder, Client, DomId};
use xs_transport::mock::{Device, Flavour, Kernel, Server, StopHandle, Unreliable, Xenstored};
use xs_transport::{Transport, UnixTransport};

use crate::PATIENCE;
use crate::on::On;

/// A xenstored to test against, and the domain to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// The in-memory xenstored, as dom0.
    Memory,
    /// The same, behaving like the C daemon of Xen 4.17.
    MemoryC417,
    /// The same, behaving like the oxenstored of Xen 4.17.
    MemoryOcaml,
    /// The same, as a guest.
    MemoryGuest,
    /// The same through a device that stands in for the kernel's.
    StandIn,
    /// The same over its Unix socket.
    MemorySocket,
    /// The in-memory xenstored, as dom0, over a way that does its worst.
    Rough,
    /// Likewise through the device.
    RoughStandIn,
    /// Likewise over the socket.
    RoughSocket,
    /// A C xenstored, as dom0.
    C,
    /// A C xenstored, as a guest.
    CGuest,
    /// An oxenstored, as dom0.
    Ox,
    /// An oxenstored, as a guest.
    OxGuest,
    /// A xenbus device, as whatever domain we are.
    Device,
}

/// The guest that tests are, where they are one.
const GUEST: DomId = DomId::new(5);

/// Another one.
const STRANGER: DomId = DomId::new(7);

impl Site {
    /// Runs a test here, or says that it cannot.
    pub fn run(self, test: fn(&On)) {
        if let Some(place) = self.open() {
            test(&On::new(place));
        }
    }

    pub(crate) fn open(self) -> Option<Place> {
        match self {
            Site::Memory => Some(memory(Flavour::default(), DomId::DOM0)),
            Site::MemoryC417 => Some(memory(Flavour::C417, DomId::DOM0)),
            Site::MemoryOcaml => Some(memory(Flavour::Ocaml417, DomId::DOM0)),
            Site::MemoryGuest => Some(memory(Flavour::default(), GUEST)),
            Site::StandIn => Some(stand_in()),
            Site::MemorySocket => Some(Place::Served(Served::start())),
            Site::Rough => Some(rough(memory(Flavour::default(), DomId::DOM0))),
            Site::RoughStandIn => Some(rough(stand_in())),
            Site::RoughSocket => Some(rough(Place::Served(Served::start()))),
            Site::C => daemon("XS_TEST_C", None),
            Site::CGuest => daemon("XS_TEST_C", Some(&C_GUEST5)),
            Site::Ox => daemon("XS_TEST_OX", None),
            Site::OxGuest => daemon("XS_TEST_OX", Some(&OX_GUEST5)),
            Site::Device => Some(Place::Device(var("XS_TEST_DEVICE")?, wait_for(&DEVICE))),
        }
    }
}

static C_GUEST5: Mutex<()> = Mutex::new(());
static C_GUEST7: Mutex<()> = Mutex::new(());
static OX_GUEST5: Mutex<()> = Mutex::new(());
static OX_GUEST7: Mutex<()> = Mutex::new(());
static DEVICE: Mutex<()> = Mutex::new(());

fn wait_for(lock: &'static Mutex<()>) -> MutexGuard<'static, ()> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A site that is there.
pub(crate) enum Place {
    Memory(Xenstored, DomId),
    Served(Served),
    Daemon {
        prefix: &'static str,
        dom0: PathBuf,
        /// The guest's socket serves one client at a time.
        guest: Option<(PathBuf, MutexGuard<'static, ()>)>,
    },
    StandIn(Kernel),
    /// All of a domain's clients share its quotas, of open transactions for one: one test at a time.
    Device(PathBuf, #[allow(dead_code, reason = "held, not read")] MutexGuard<'static, ()>),
    /// The second: what decides about the ways to the first; another seed for each.
    Rough(Box<Place>, AtomicU64),
    /// The first client's way is given.
    Disturbed(Box<Place>, Way),
}

/// A way that can be asked what has become of it.
pub(crate) type Way = Arc<Unreliable<Box<dyn Transport>>>;

fn rough(place: Place) -> Place {
    let seed = crate::seed();
    println!("XS_TEST_SEED={seed}");
    Place::Rough(Box::new(place), AtomicU64::new(seed))
}

fn stand_in() -> Place {
    let xenstored = Xenstored::new();
    seed(&xenstored);
    Place::StandIn(Kernel::new(&xenstored, GUEST))
}

fn memory(flavour: Flavour, domid: DomId) -> Place {
    let xenstored = Xenstored::with_flavour(flavour);
    seed(&xenstored);
    Place::Memory(xenstored, domid)
}

/// What a toolstack makes for guests.
fn seed(xenstored: &Xenstored) {
    for domid in [GUEST, STRANGER] {
        let home = format!("/local/domain/{domid}");
        let text = format!(
            "{home} [n0 r{domid}]\n{home}/domid [n0 r{domid}] = {domid}\n\
             {home}/data [n{domid}]\n{home}/control [n{domid}]\n"
        );
        xenstored.seed(&text).expect("the text form is right");
        xenstored.introduce(domid);
    }
}

fn daemon(prefix: &'static str, guest: Option<&'static Mutex<()>>) -> Option<Place> {
    let dom0 = var(&format!("{prefix}_SOCKET"))?;
    let guest = match guest {
        None => None,
        Some(lock) => {
            let path = var(&format!("{prefix}_GUEST5"))?;
            Some((path, wait_for(lock)))
        }
    };
    Some(Place::Daemon { prefix, dom0, guest })
}

/// The path in an environment variable. If there is none, it is said, once.
fn var(name: &str) -> Option<PathBuf> {
    static MISSING: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

    let path = env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    if path.is_none() {
        let mut missing = MISSING.lock().unwrap_or_else(PoisonError::into_inner);
        if missing.insert(name.into()) {
            // Around what captures the output of tests that pass.
            let line = format!("SKIPPED: {name} is not set, tests that need it do nothing\n");
            let _ = io::stderr().write_all(line.as_bytes());
        }
    }
    path
}

impl Place {
    pub(crate) fn is_in_memory(&self) -> bool {
        match self {
            Place::Memory(..) | Place::StandIn(_) | Place::Served(_) => true,
            Place::Rough(place, _) | Place::Disturbed(place, _) => place.is_in_memory(),
            Place::Daemon { .. } | Place::Device(..) => false,
        }
    }

    pub(crate) fn is_device(&self) -> bool {
        match self {
            Place::StandIn(_) | Place::Device(..) => true,
            Place::Rough(place, _) | Place::Disturbed(place, _) => place.is_device(),
            Place::Memory(..) | Place::Served(_) | Place::Daemon { .. } => false,
        }
    }

    /// A way to what is in memory, as dom0 where that can be.
    pub(crate) fn way(&self) -> Box<dyn Transport> {
        match self {
            Place::Memory(xenstored, _) => Box::new(xenstored.connect(DomId::DOM0)),
            Place::Served(served) => Box::new(
                UnixTransport::connect(served.path("socket"), PATIENCE).expect("it is served"),
            ),
            Place::StandIn(kernel) => {
                Box::new(kernel.open().and_then(Device::transport).expect("there are descriptors"))
            }
            Place::Rough(place, seed) => {
                let seed = seed.fetch_add(1, Ordering::Relaxed);
                Box::new(Unreliable::new(place.way(), seed))
            }
            Place::Disturbed(place, _) => place.way(),
            Place::Daemon { .. } | Place::Device(..) => unreachable!("it is not in memory"),
        }
    }

    /// The client that the test is mostly about. To be called once, where it is a guest.
    pub(crate) fn connect(&self, builder: Builder) -> Client {
        match self {
            Place::Disturbed(_, way) => builder.over(way.clone()),
            Place::Memory(xenstored, domid) => builder.over(xenstored.connect(*domid)),
            Place::Daemon { guest: Some((path, _)), .. } => {
                builder.open_at(path).expect("the guest's socket can be reached")
            }
            _ => self.connect_another(builder),
        }
    }

    /// Another one, which can see at least as much; any number of them.
    pub(crate) fn connect_another(&self, builder: Builder) -> Client {
        match self {
            Place::Served(served) => builder.open_at(served.path("socket")).expect("it is served"),
            Place::Daemon { dom0, .. } => {
                builder.open_at(dom0).expect("the daemon's socket can be reached")
            }
            Place::Memory(..) | Place::StandIn(_) | Place::Rough(..) | Place::Disturbed(..) => {
                builder.over(self.way())
            }
            Place::Device(path, _) => builder.open_at(path).expect("the device can be opened"),
        }
    }

    /// A client that is another guest, if there can be one.
    pub(crate) fn connect_stranger(&self) -> Option<Stranger> {
        let builder = Client::builder();
        let (client, lock) = match self {
            Place::Memory(xenstored, _) => (builder.over(xenstored.connect(STRANGER)), None),
            Place::Served(served) => {
                (builder.open_at(served.path("guest-7")).expect("it is served"), None)
            }
            Place::Daemon { prefix, .. } => {
                let path = var(&format!("{prefix}_GUEST7"))?;
                let lock = if *prefix == "XS_TEST_C" { &C_GUEST7 } else { &OX_GUEST7 };
                let lock = wait_for(lock);
                let client = builder.open_at(path).expect("the guest's socket can be reached");
                (client, Some(lock))
            }
            Place::Rough(place, _) | Place::Disturbed(place, _) => {
                return place.connect_stranger();
            }
            Place::StandIn(_) | Place::Device(..) => return None,
        };
        Some(Stranger { client, domid: STRANGER, _lock: lock })
    }
}

/// A client in another guest than the test's own.
#[derive(Debug)]
pub struct Stranger {
    /// The client.
    pub client: Client,
    /// Who it is.
    pub domid: DomId,
    _lock: Option<MutexGuard<'static, ()>>,
}

/// An in-memory xenstored on sockets of its own.
#[derive(Debug)]
pub(crate) struct Served {
    dir: PathBuf,
    stop: StopHandle,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Served {
    pub(crate) fn start() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);

        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = env::temp_dir().join(format!("xs-t{}-{count}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("the directory for temporary files can be written");
        let xenstored = Xenstored::new();
        seed(&xenstored);
        let mut server = Server::new(xenstored).expect("there are descriptors");
        for (name, domid) in [("socket", DomId::DOM0), ("guest-7", STRANGER)] {
            server.bind(dir.join(name), domid).expect("the path is short and free");
        }
        let stop = server.stop_handle();
        let thread = Some(thread::spawn(move || server.run()));
        Served { dir, stop, thread }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.stop();
        let ended = self.thread.take().map(JoinHandle::join);
        let _ = std::fs::remove_dir_all(&self.dir);
        if !thread::panicking() {
            assert!(matches!(ended, Some(Ok(Ok(())))), "{ended:?}");
        }
    }
}
