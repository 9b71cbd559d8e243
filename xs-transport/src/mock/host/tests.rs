//! A host in memory.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use xs_proto::ring::{Field, Page, Ring, RingClient, RingPage};
use xs_proto::{ClientConnection, DomId, ErrorCode, Event, Limits, Path, Reply, Request, TxId};

use super::{DomainState, HostEvent, Hypervisor};
use crate::mock::{Flavour, Xenstored};
use crate::ring::{EventChannel, MemoryChannel, RingEndpoint};
use crate::{Drive, Transport, Wait};

const GUEST: DomId = DomId::new(3);
const PORT: u32 = 7;
const OTHER_PORT: u32 = 8;
const HANG_TIMEOUT: Duration = Duration::from_secs(60);

/// A hypervisor with the domains that a test creates.
#[derive(Clone, Debug, Default)]
struct Machine(Arc<(Mutex<Domains>, Condvar)>);

#[derive(Debug, Default)]
struct Domains {
    states: HashMap<DomId, (DomainState, Arc<RingPage>)>,
    identities: HashMap<DomId, u128>,
    /// The guests' ends of channels.
    channels: HashMap<DomId, MemoryChannel>,
    /// The states have changed since the last wait.
    has_changed: bool,
}

impl Machine {
    /// Creates a domain, in place of an earlier one of this number.
    fn create(&self, domid: DomId) {
        let mut domains = self.0.0.lock().unwrap();
        domains.states.insert(domid, (DomainState::Running, Arc::default()));
        *domains.identities.entry(domid).or_default() += 1;
    }

    /// Gives the ring of a domain another page.
    fn move_ring(&self, domid: DomId) {
        self.0.0.lock().unwrap().states.get_mut(&domid).unwrap().1 = Arc::default();
    }

    fn change(&self, domid: DomId, state: DomainState) {
        let mut domains = self.0.0.lock().unwrap();
        domains.states.get_mut(&domid).unwrap().0 = state;
        domains.has_changed = true;
        self.0.1.notify_all();
    }

    fn page(&self, domid: DomId) -> Arc<RingPage> {
        self.0.0.lock().unwrap().states[&domid].1.clone()
    }

    /// Returns a guest's connection over its ring.
    fn connect(&self, domid: DomId) -> Client {
        let channel = self.0.0.lock().unwrap().channels.remove(&domid).unwrap();
        let endpoint = RingEndpoint::new(self.page(domid), channel, "a guest");
        Client::new(endpoint.connect().unwrap())
    }
}

impl Hypervisor for Machine {
    type Page = Arc<RingPage>;
    type Channel = MemoryChannel;

    fn open_dom0(&self) -> io::Result<(Self::Page, MemoryChannel)> {
        self.create(DomId::DOM0);
        self.open(DomId::DOM0, PORT)
    }

    fn open(&self, domid: DomId, port: u32) -> io::Result<(Self::Page, MemoryChannel)> {
        if ![PORT, OTHER_PORT].contains(&port) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let (ours, theirs) = MemoryChannel::pair();
        let page = self.page(domid);
        self.0.0.lock().unwrap().channels.insert(domid, ours);
        Ok((page, theirs))
    }

    fn state(&self, domid: DomId) -> io::Result<DomainState> {
        let domains = self.0.0.lock().unwrap();
        Ok(domains.states.get(&domid).map_or(DomainState::Gone, |(state, _)| *state))
    }

    fn identity(&self, domid: DomId) -> io::Result<u128> {
        let domains = self.0.0.lock().unwrap();
        domains.identities.get(&domid).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn wait(&self) -> io::Result<()> {
        let mut domains = self.0.0.lock().unwrap();
        while !std::mem::take(&mut domains.has_changed) {
            domains = self.0.1.wait(domains).unwrap();
        }
        Ok(())
    }
}

/// A client with one request in flight.
struct Client {
    drive: Drive<()>,
    events: Vec<String>,
}

impl Client {
    fn new(transport: impl Transport + 'static) -> Self {
        Client { drive: Drive::new(transport, 4096), events: Vec::new() }
    }

    fn call(&mut self, request: &Request<'_>) -> Reply<'static> {
        self.drive.connection().submit(TxId::NONE, request, ()).unwrap();
        loop {
            if let Some(reply) = self.turn() {
                return reply;
            }
        }
    }

    fn watch(&mut self, path: &str) {
        let path = Path::new(path).unwrap();
        let request = Request::Watch { path, token: b"token", depth: None };
        assert_eq!(self.call(&request), Reply::Done);
        while self.events.is_empty() {
            self.turn();
        }
        self.events.clear();
    }

    fn next_event(&mut self) -> String {
        while self.events.is_empty() {
            self.turn();
        }
        self.events.remove(0)
    }

    fn turn(&mut self) -> Option<Reply<'static>> {
        let (mut answer, events) = (None, &mut self.events);
        let deadline = Some(Instant::now() + HANG_TIMEOUT);
        let turned = self.drive.turn(Wait::Until(deadline), |event| match event {
            Event::Reply { reply, .. } => answer = Some(reply.into_owned()),
            Event::Watch { path, .. } => events.push(path.to_owned()),
            _ => {}
        });
        turned.unwrap();
        assert!(Some(Instant::now()) < deadline, "the daemon does not answer");
        answer
    }
}

struct Host {
    machine: Machine,
    xenstored: Xenstored,
    dom0: Client,
    log: Receiver<String>,
    host: super::Host<Machine>,
}

impl Host {
    fn new(flavour: Flavour) -> Self {
        let (machine, xenstored) = (Machine::default(), Xenstored::with_flavour(flavour));
        let (sender, log) = channel();
        let report = move |event: &HostEvent| drop(sender.send(event.to_string()));
        let host = xenstored.serve_host(machine.clone(), report).unwrap();
        let dom0 = machine.connect(DomId::DOM0);
        Host { machine, xenstored, dom0, log, host }
    }

    /// Stops the daemon, starts another one that continues with its state, and returns the state.
    fn restart(&mut self) -> String {
        let state = self.host.clone().stop();
        self.xenstored = Xenstored::new();
        let (sender, log) = channel();
        let report = move |event: &HostEvent| drop(sender.send(event.to_string()));
        self.log = log;
        self.host = self.xenstored.resume_host(self.machine.clone(), report, &state).unwrap();
        state
    }

    fn introduce(&mut self, domid: DomId, evtchn: u32) -> Reply<'static> {
        self.dom0.call(&Request::Introduce { domid, gfn: 1, evtchn })
    }

    fn logged(&self) -> String {
        self.log.recv_timeout(HANG_TIMEOUT).unwrap()
    }
}

#[test]
fn introduced_domains_are_served_over_their_rings() {
    let mut host = Host::new(Flavour::default());
    host.machine.create(GUEST);
    assert_eq!(host.introduce(GUEST, PORT), Reply::Done);
    assert_eq!(host.logged(), "domain 3 is introduced");
    host.xenstored.set("/local/domain/3/name", "guest").unwrap();
    host.xenstored.seed("/local/domain/3/name [n0 r3]").unwrap();
    let mut guest = host.machine.connect(GUEST);
    let read = Request::Read(Path::new("name").unwrap());
    assert_eq!(guest.call(&read), Reply::Value(b"guest".into()));
    // The features are offered in the page.
    let features = host.machine.page(GUEST).load(Field::ServerFeatures, Ordering::Relaxed);
    assert_ne!(features, 0);
}

#[test]
fn domains_that_cannot_be_served_are_not_introduced() {
    for flavour in [Flavour::C417, Flavour::Ocaml417] {
        let mut host = Host::new(flavour);
        let invalid = Reply::Error(ErrorCode::Invalid);
        assert_eq!(host.introduce(GUEST, PORT), invalid, "there is no such domain");
        host.machine.create(GUEST);
        assert_eq!(host.introduce(GUEST, 9), invalid, "there is no such port");
        assert!(host.logged().starts_with("cannot serve the ring of domain 3: "));
        assert_eq!(host.dom0.call(&Request::IsDomainIntroduced(GUEST)), Reply::Boolean(false));
        assert_eq!(host.introduce(GUEST, PORT), Reply::Done);
    }
}

#[test]
fn destroyed_domains_are_released_and_their_pages_given_back() {
    for flavour in [Flavour::C417, Flavour::C422, Flavour::Ocaml417] {
        let mut host = Host::new(flavour);
        host.dom0.watch("@releaseDomain");
        for _ in 0..3 {
            host.machine.create(GUEST);
            assert_eq!(host.introduce(GUEST, PORT), Reply::Done);
            assert_eq!(host.logged(), "domain 3 is introduced");
            host.xenstored.seed("/local/domain/3 [n3] = ").unwrap();
            let mut guest = host.machine.connect(GUEST);
            guest.watch("/local/domain/3");
            let page = Arc::downgrade(&host.machine.page(GUEST));

            host.machine.change(GUEST, DomainState::Gone);
            assert!(host.dom0.next_event().starts_with("@releaseDomain"));
            assert_eq!(host.logged(), "domain 3 is gone");
            let introduced = host.dom0.call(&Request::IsDomainIntroduced(GUEST));
            assert_eq!(introduced, Reply::Boolean(false));
            assert!(host.xenstored.connections(GUEST).is_empty());
            host.machine.0.0.lock().unwrap().states.remove(&GUEST);
            drop(guest);
            wait_for_holders(&page, 0);
        }
    }
}

#[test]
fn broken_rings_of_destroyed_domains_are_given_back() {
    let mut host = Host::new(Flavour::C422);
    host.machine.create(GUEST);
    assert_eq!(host.introduce(GUEST, PORT), Reply::Done);
    assert_eq!(host.logged(), "domain 3 is introduced");
    let page = host.machine.page(GUEST);
    // As on a real host, the channel is silent when the guest dies.
    let channel = host.machine.0.0.lock().unwrap().channels.remove(&GUEST).unwrap();
    page.store(Field::Producer(Ring::Requests), 5000, Ordering::SeqCst);
    channel.notify().unwrap();
    let deadline = Instant::now() + HANG_TIMEOUT;
    while page.load(Field::Error, Ordering::SeqCst) == 0 {
        assert!(Instant::now() < deadline, "the ring is not given up");
        std::thread::yield_now();
    }
    host.machine.change(GUEST, DomainState::Gone);
    assert_eq!(host.logged(), "domain 3 is gone");
    host.machine.0.0.lock().unwrap().states.remove(&GUEST);
    let holders = Arc::downgrade(&page);
    drop(page);
    wait_for_holders(&holders, 0);
}

/// Waits until only so many hold the page of a guest.
fn wait_for_holders(page: &Weak<RingPage>, count: usize) {
    let deadline = Instant::now() + HANG_TIMEOUT;
    while page.strong_count() > count {
        assert!(Instant::now() < deadline, "the page is not given back");
        std::thread::yield_now();
    }
}

#[test]
fn second_introduce_serves_the_new_page_and_port() {
    for flavour in [Flavour::C417, Flavour::C422, Flavour::Ocaml417] {
        let mut host = Host::new(flavour);
        host.machine.create(GUEST);
        assert_eq!(host.introduce(GUEST, PORT), Reply::Done);
        assert_eq!(host.logged(), "domain 3 is introduced");
        let mut old = host.machine.connect(GUEST);
        old.watch("/");
        host.dom0.watch("@introduceDomain");
        host.dom0.watch("@releaseDomain");

        let page = Arc::downgrade(&host.machine.page(GUEST));
        host.machine.move_ring(GUEST);
        assert_eq!(host.introduce(GUEST, OTHER_PORT), Reply::Done);
        assert_eq!(host.logged(), "domain 3 is introduced");
        let mut guest = host.machine.connect(GUEST);
        guest.call(&Request::Directory(Path::new("/").unwrap()));
        // The guest itself is left.
        wait_for_holders(&page, 1);
        drop(old);
        assert_eq!(host.xenstored.connections(GUEST).len(), 1);
        // Neither has the domain gone, nor is it new.
        host.dom0.call(&Request::Directory(Path::new("/").unwrap()));
        assert_eq!(host.dom0.events, Vec::<String>::new());
        assert!(host.host.stop().contains(" 8 false "), "the next daemon has the old port");
    }
}

#[test]
fn second_introduce_of_c_daemon_resets_the_ring() {
    let mut host = Host::new(Flavour::C417);
    host.machine.create(GUEST);
    assert_eq!(host.introduce(GUEST, PORT), Reply::Done);
    host.logged();
    let mut guest = host.machine.connect(GUEST);
    guest.watch("/local");
    guest.call(&Request::Directory(Path::new("/").unwrap()));
    assert_eq!(host.introduce(GUEST, OTHER_PORT), Reply::Done);
    host.logged();
    let page = host.machine.page(GUEST);
    for ring in [Ring::Requests, Ring::Replies] {
        assert_eq!(page.load(Field::Producer(ring), Ordering::Acquire), 0);
        assert_eq!(page.load(Field::Consumer(ring), Ordering::Acquire), 0);
    }
    assert!(host.xenstored.watches(GUEST).is_empty());
}

#[test]
fn second_introduce_of_oxenstored_keeps_the_connection() {
    let mut host = Host::new(Flavour::Ocaml417);
    host.machine.create(GUEST);
    assert_eq!(host.introduce(GUEST, PORT), Reply::Done);
    host.logged();
    host.xenstored.seed("/local/domain/3/name [n3] = \"guest\"").unwrap();
    let mut guest = Guest::new(&host.machine);
    let path = Path::new("name").unwrap();
    guest.submit(&Request::Watch { path, token: b"token", depth: None });
    guest.send(&host.machine, usize::MAX);
    assert!(guest.next(&host.machine).contains("Done"));
    assert_eq!(guest.next(&host.machine), "event of name");
    // The daemon has half of this request when the port changes.
    guest.submit(&Request::Read(path));
    guest.send(&host.machine, 10);
    assert_eq!(host.introduce(GUEST, OTHER_PORT), Reply::Done);
    assert_eq!(host.logged(), "domain 3 is introduced");
    guest.send(&host.machine, usize::MAX);
    assert_eq!(guest.next(&host.machine), "guest");
    host.xenstored.set("/local/domain/3/name", "changed").unwrap();
    assert_eq!(guest.next(&host.machine), "event of name");
}

#[test]
fn second_introduce_with_a_wrong_port_is_reported() {
    let mut host = Host::new(Flavour::C417);
    host.machine.create(GUEST);
    assert_eq!(host.introduce(GUEST, PORT), Reply::Done);
    host.logged();
    // The C daemon does not report that it cannot bind the port.
    assert_eq!(host.introduce(GUEST, 9), Reply::Done);
    assert!(host.logged().starts_with("cannot serve the ring of domain 3: "));
    assert_eq!(host.introduce(GUEST, OTHER_PORT), Reply::Done);
    assert_eq!(host.logged(), "domain 3 is introduced");
    host.machine.connect(GUEST).call(&Request::Directory(Path::new("/").unwrap()));
}

#[test]
fn introduce_notices_that_another_domain_has_the_number() {
    for flavour in [Flavour::C417, Flavour::C422, Flavour::Ocaml417] {
        let mut host = Host::new(flavour);
        host.machine.create(GUEST);
        assert_eq!(host.introduce(GUEST, PORT), Reply::Done);
        assert_eq!(host.logged(), "domain 3 is introduced");
        host.dom0.watch("@introduceDomain");
        host.dom0.watch("@releaseDomain");
        let old = host.machine.connect(GUEST);
        let page = Arc::downgrade(&host.machine.page(GUEST));

        // The toolstack makes the nodes of the new domain before it introduces the domain.
        host.machine.create(GUEST);
        host.xenstored.seed("/local/domain/3/name [n3] = \"second\"").unwrap();
        assert_eq!(host.introduce(GUEST, PORT), Reply::Done);
        assert_eq!(host.logged(), "domain 3 is introduced");
        assert!(host.dom0.next_event().starts_with("@releaseDomain"));
        assert!(host.dom0.next_event().starts_with("@introduceDomain"));
        let mut guest = host.machine.connect(GUEST);
        let read = Request::Read(Path::new("name").unwrap());
        assert_eq!(guest.call(&read), Reply::Value(b"second".into()));
        assert_eq!(host.xenstored.connections(GUEST).len(), 1);
        wait_for_holders(&page, 1);
        drop(old);
    }
}

#[test]
fn shutdowns_are_reported_and_domains_stay() {
    for flavour in [Flavour::C417, Flavour::Ocaml417] {
        let mut host = Host::new(flavour);
        host.dom0.watch("@releaseDomain");
        host.machine.create(GUEST);
        assert_eq!(host.introduce(GUEST, PORT), Reply::Done);
        assert_eq!(host.logged(), "domain 3 is introduced");
        host.machine.change(GUEST, DomainState::ShutDown);
        assert_eq!(host.logged(), "domain 3 has shut down");
        assert!(host.dom0.next_event().starts_with("@releaseDomain"));
        assert_eq!(host.dom0.call(&Request::IsDomainIntroduced(GUEST)), Reply::Boolean(true));
        host.machine.change(GUEST, DomainState::Gone);
        assert_eq!(host.logged(), "domain 3 is gone");
        assert!(host.dom0.next_event().starts_with("@releaseDomain"));
    }
}

#[test]
fn domains_that_only_permissions_name_are_released_as_well() {
    let mut host = Host::new(Flavour::default());
    host.machine.create(GUEST);
    host.dom0.call(&Request::Mkdir(Path::new("/a").unwrap()));
    let perms = std::borrow::Cow::Owned(xs_proto::Permissions::owned_by(0).read(GUEST));
    let request = Request::SetPerms { path: Path::new("/a").unwrap(), perms };
    assert_eq!(host.dom0.call(&request), Reply::Done);
    host.machine.change(GUEST, DomainState::Gone);
    assert_eq!(host.logged(), "domain 3 is gone");
    assert_eq!(host.xenstored.perms("/a").unwrap().to_string(), "n0");
}

/// A guest that keeps using its ring, whatever happens to the daemon.
struct Guest {
    ring: RingClient<Arc<RingPage>>,
    connection: ClientConnection<()>,
    output: BytesMut,
}

impl Guest {
    fn new(machine: &Machine) -> Self {
        let ring = RingClient::new(machine.page(GUEST));
        let connection = ClientConnection::new(Limits::default());
        Guest { ring, connection, output: BytesMut::new() }
    }

    fn submit(&mut self, request: &Request<'_>) {
        self.connection.submit(TxId::NONE, request, ()).unwrap();
        self.output.unsplit(self.connection.take_output());
    }

    fn send(&mut self, machine: &Machine, most: usize) {
        let most = most.min(self.output.len());
        let sent = self.ring.send(&self.output[..most]).unwrap();
        self.output.advance(sent);
        machine.0.0.lock().unwrap().channels[&GUEST].notify().unwrap();
    }

    /// Returns the next reply or event, as text.
    fn next(&mut self, machine: &Machine) -> String {
        let deadline = Instant::now() + HANG_TIMEOUT;
        loop {
            assert!(Instant::now() < deadline, "the daemon sends nothing");
            // A byte at a time, so that nothing is left when a message is complete.
            let mut byte = [0];
            if self.ring.receive(&mut byte).unwrap() == 0 {
                machine.0.0.lock().unwrap().channels[&GUEST].notify().unwrap();
                std::thread::yield_now();
            } else if let Some(event) = self.connection.receive(&byte).unwrap().event {
                return match event {
                    Event::Reply { reply: Reply::Value(value), .. } => {
                        String::from_utf8_lossy(&value).into_owned()
                    }
                    Event::Watch { path, .. } => format!("event of {path}"),
                    other => format!("{other:?}"),
                };
            }
        }
    }
}

#[test]
fn guests_go_on_after_a_restart() {
    let mut host = Host::new(Flavour::default());
    host.machine.create(GUEST);
    assert_eq!(host.introduce(GUEST, PORT), Reply::Done);
    host.logged();
    let long = "x".repeat(3000);
    host.xenstored.set("/local/domain/3/name", "guest").unwrap();
    host.xenstored.set("/local/domain/3/long", &long).unwrap();
    host.xenstored.seed("/local/domain/3 [n3]\n/local/domain/3/name [n3]").unwrap();
    host.xenstored.seed("/local/domain/3/long [n3]").unwrap();

    let mut guest = Guest::new(&host.machine);
    let name = Path::new("name").unwrap();
    guest.submit(&Request::Watch { path: name, token: b"token", depth: None });
    guest.send(&host.machine, 1000);
    let mut first = [guest.next(&host.machine), guest.next(&host.machine)];
    first.sort();
    assert!(first[1].starts_with("event of name"), "{first:?}");

    // A reply that does not fit into the ring, and half of a request.
    guest.submit(&Request::Read(Path::new("long").unwrap()));
    guest.submit(&Request::Read(name));
    let whole = guest.output.len();
    guest.send(&host.machine, whole - 3);
    let page = host.machine.page(GUEST);
    let deadline = Instant::now() + HANG_TIMEOUT;
    while page.load(Field::Consumer(Ring::Requests), Ordering::Acquire)
        != page.load(Field::Producer(Ring::Requests), Ordering::Acquire)
        || page
            .load(Field::Producer(Ring::Replies), Ordering::Acquire)
            .wrapping_sub(page.load(Field::Consumer(Ring::Replies), Ordering::Acquire))
            < 1024
    {
        assert!(Instant::now() < deadline, "the daemon does not fill the ring");
        std::thread::yield_now();
    }
    let state = host.restart();
    assert_eq!(host.logged(), "domain 3 is introduced", "{state}");
    assert!(state.contains("watch 3 "), "{state}");

    assert_eq!(guest.next(&host.machine), long);
    guest.send(&host.machine, whole);
    assert_eq!(guest.next(&host.machine), "guest");
    host.xenstored.set("/local/domain/3/name", "changed").unwrap();
    assert_eq!(guest.next(&host.machine), "event of name");
    assert_eq!(host.xenstored.perms("/local/domain/3/name").unwrap().to_string(), "n3");
}

#[test]
fn domains_that_go_while_no_daemon_runs_are_released_by_the_next() {
    let mut host = Host::new(Flavour::default());
    host.dom0.watch("@releaseDomain");
    host.machine.create(GUEST);
    assert_eq!(host.introduce(GUEST, PORT), Reply::Done);
    host.logged();
    let state = host.host.clone().stop();
    host.machine.0.0.lock().unwrap().states.get_mut(&GUEST).unwrap().0 = DomainState::Gone;
    let (xenstored, (sender, log)) = (Xenstored::new(), channel());
    let report = move |event: &HostEvent| drop(sender.send(event.to_string()));
    let _host = xenstored.resume_host(host.machine.clone(), report, &state).unwrap();
    while log.recv_timeout(HANG_TIMEOUT).unwrap() != "domain 3 is gone" {}
    assert!(!xenstored.is_introduced(GUEST));
    // The kernel of dom0 has set its watch before, and does not set it again.
    assert_eq!(xenstored.watches(DomId::DOM0).len(), 1);
}

#[test]
fn domains_that_are_replaced_while_no_daemon_runs_are_not_introduced() {
    let mut host = Host::new(Flavour::default());
    host.machine.create(GUEST);
    assert_eq!(host.introduce(GUEST, PORT), Reply::Done);
    host.logged();
    let state = host.host.clone().stop();
    host.machine.create(GUEST);
    let (xenstored, (sender, log)) = (Xenstored::new(), channel());
    let report = move |event: &HostEvent| drop(sender.send(event.to_string()));
    let _host = xenstored.resume_host(host.machine.clone(), report, &state).unwrap();
    assert_eq!(log.recv_timeout(HANG_TIMEOUT).unwrap(), "domain 3 is gone");
    assert!(!xenstored.is_introduced(GUEST));
}
