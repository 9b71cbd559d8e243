//! The handle to the in-memory xenstored.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use xs_proto::{DomId, Header, Incoming, Path, PathError, Permissions, Reply, Request};

use super::daemon::{ConnId, Daemon};
use super::fault::{Action, Delayed, Fault, FaultHandle, Faults};
use super::flavour::Flavour;
use super::guest;
use super::idmap::IdMap;
use super::pipe::{End, Notify, Pipe};
use super::store::Entry;
use super::text::{self, SeedError};
use super::trace::Trace;

/// A xenstored in memory. Clones are handles to the same one; it lives as long as a handle or a
/// connection does.
///
/// See the [module](super) for what it is good for.
#[derive(Clone, Debug)]
pub struct Xenstored {
    shared: Arc<Shared>,
}

/// One lock for all: requests are handled one after the other anyway, as a daemon with one thread
/// does. A connection's [`End`] has a lock of its own, which may be taken while this one is held,
/// never the other way round.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    daemon: Daemon,
    pub(super) faults: Faults,
    ends: IdMap<ConnId, Arc<End>>,
    /// Connections whose next reply goes out together with another.
    merging: Vec<ConnId>,
    /// Connections that nothing is taken from until their domain uses up less.
    stalled: Vec<ConnId>,
    records: Option<Vec<Record>>,
    /// The payload of the request that is being handled.
    payload: Vec<u8>,
}

/// A request that was made. Its display form is the line that [`Trace`] has for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// On which connection.
    pub conn: ConnId,
    /// By which domain.
    pub domid: DomId,
    /// As it came.
    pub header: Header,
    /// As it came.
    pub payload: Box<[u8]>,
}

impl Record {
    /// The request; `None` if it makes no sense.
    pub fn request(&self) -> Option<Request<'_>> {
        Incoming { header: self.header, payload: &self.payload }.request().ok()
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Trace::request(self.conn, self.domid, self.header, &self.payload).fmt(f)
    }
}

/// What became of bytes that a client sent.
pub(super) enum Fed {
    /// So many are done with; if not all, the client has to read first.
    Taken(usize),
    Closed,
}

impl Default for Xenstored {
    fn default() -> Self {
        Self::new()
    }
}

impl Xenstored {
    /// One that behaves like the newest C daemon, with dom0 and the nodes that a daemon starts
    /// with.
    pub fn new() -> Self {
        Self::with_flavour(Flavour::default())
    }

    /// One that behaves like the daemon given.
    pub fn with_flavour(flavour: Flavour) -> Self {
        let state = State {
            daemon: Daemon::new(flavour),
            faults: Faults::default(),
            ends: IdMap::default(),
            merging: Vec::new(),
            stalled: Vec::new(),
            records: None,
            payload: Vec::new(),
        };
        Xenstored { shared: Arc::new(Shared { state: Mutex::new(state) }) }
    }

    /// A new connection, as `domid`. Unless it is known already, the domain is introduced.
    ///
    /// That gives it no nodes, and all others are dom0's: a guest's first write is answered with
    /// EACCES, unless [`add_guest`](Self::add_guest) has made it a home, or [`seed`](Self::seed)
    /// some nodes.
    pub fn connect(&self, domid: DomId) -> Pipe {
        self.connect_with(domid, None)
    }

    /// A new connection; `notify` is called, while locks are held, whenever it has something to
    /// be received that it had not before.
    pub(super) fn connect_with(&self, domid: DomId, notify: Option<Notify>) -> Pipe {
        let end = Arc::new(End::default());
        if let Some(notify) = notify {
            end.set_notify(notify);
        }
        let mut state = self.shared.lock();
        let id = state.daemon.connect(domid);
        state.ends.insert(id, end.clone());
        state.finish();
        Pipe::new(self.shared.clone(), id, domid, end)
    }

    /// Makes a guest, with the nodes that libxl makes for one, and introduces it; says whether the
    /// domain was not known before. For dom0, which is no guest, it does nothing.
    ///
    /// The guest with the number N may read what is in its home `/local/domain/N`: `vm`, `name`,
    /// `domid`, `cpu/0/availability`, `memory/target` and others, and what `vm` names,
    /// `/vm/00000000-0000-0000-0000-…N`. `data`, `attr`, `feature`, `drivers`, `error` and, in
    /// `control`, `shutdown`, `sysrq` and `feature-…` are its own. What there was in the two places
    /// before is removed. As with libxl, there are no devices yet; unlike there, no `console` and no
    /// `store`, whose rings only a machine has.
    ///
    /// ```
    /// use xs_transport::mock::{DomId, Xenstored};
    ///
    /// let xenstored = Xenstored::new();
    /// xenstored.add_guest(DomId::new(5));
    /// assert_eq!(xenstored.get("/local/domain/5/name").unwrap(), b"guest-5");
    /// assert_eq!(xenstored.perms("/local/domain/5/name").unwrap().to_string(), "n0 r5");
    /// assert_eq!(xenstored.perms("/local/domain/5/data").unwrap().to_string(), "n5");
    ///
    /// // Whatever else the program under test looks for.
    /// xenstored.set("/local/domain/5/name", "web")?;
    /// xenstored.seed("/local/domain/5/device/vif/0/state [b5 r0] = 1")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn add_guest(&self, domid: DomId) -> bool {
        self.act(|daemon| guest::add(daemon, domid))
    }

    /// Introduces a domain; says whether it was not known before. It has no nodes of its own
    /// unless they are made; see [`add_guest`](Self::add_guest).
    pub fn introduce(&self, domid: DomId) -> bool {
        self.act(|daemon| daemon.introduce(domid))
    }

    /// The domain is gone: its connections close, its nodes are removed, `@releaseDomain` fires.
    /// Says whether it was known. dom0 stays.
    pub fn release(&self, domid: DomId) -> bool {
        self.act(|daemon| daemon.release(domid))
    }

    /// The domain has shut down: `@releaseDomain` fires, once until a RESUME.
    pub fn shut_down(&self, domid: DomId) {
        self.act(|daemon| daemon.shut_down(domid));
    }

    /// Breaks all connections of a domain, idle ones too; says how many there were. Their watches
    /// and transactions end with them, the nodes stay, and the domain may connect again.
    ///
    /// What the clients have been told before can still be received. For a break at a chosen
    /// request see [`Fault::close`].
    ///
    /// ```
    /// use xs_transport::mock::{DomId, Xenstored};
    /// use xs_transport::{Transport, Wait};
    ///
    /// let xenstored = Xenstored::new();
    /// let pipe = xenstored.connect(DomId::new(5));
    /// assert_eq!(xenstored.disconnect(DomId::new(5)), 1);
    /// // As on any connection that the other side has ended.
    /// assert_eq!(pipe.recv(&mut [0; 16], Wait::No)?, 0);
    /// assert!(pipe.send(&[0; 16]).is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn disconnect(&self, domid: DomId) -> usize {
        let mut state = self.shared.lock();
        let conns = state.daemon.conns_of(domid);
        state.close_all(conns)
    }

    /// Breaks the connections of everybody, as when the daemon is started again; says how many
    /// there were. See [`disconnect`](Self::disconnect).
    pub fn disconnect_all(&self) -> usize {
        let mut state = self.shared.lock();
        let conns = state.ends.keys().copied().collect();
        state.close_all(conns)
    }

    /// The value of a node. Here as everywhere below, a relative path is dom0's.
    pub fn get(&self, path: &str) -> Option<Vec<u8>> {
        self.shared.lock().daemon.store.get(&of_node(path)).map(|node| node.value.to_vec())
    }

    /// The names of a node's children.
    pub fn children(&self, path: &str) -> Option<Vec<String>> {
        let state = self.shared.lock();
        let node = state.daemon.store.get(&of_node(path))?;
        Some(node.children.iter().map(str::to_owned).collect())
    }

    /// The permissions of a node.
    pub fn perms(&self, path: &str) -> Option<Permissions> {
        self.shared.lock().daemon.store.get(&of_node(path)).map(|node| node.perms.to_permissions())
    }

    /// The open connections of a domain, the oldest first.
    pub fn connections(&self, domid: DomId) -> Vec<ConnId> {
        self.shared.lock().daemon.conns_of(domid)
    }

    /// All watches that a domain has set: the absolute path and the token of each.
    pub fn watches(&self, domid: DomId) -> Vec<(String, Vec<u8>)> {
        let daemon = &self.shared.lock().daemon;
        let conns = daemon.conns_of(domid);
        let watches = conns.into_iter().flat_map(|conn| daemon.watches.of_conn(conn));
        watches.map(|(path, token)| (path.to_owned(), token.to_vec())).collect()
    }

    /// How many nodes there are.
    pub fn node_count(&self) -> usize {
        self.shared.lock().daemon.store.len()
    }

    /// Sets a value as dom0 would, and creates the node as needed. Watches fire.
    ///
    /// # Errors
    /// This is no path, or not one of a node.
    pub fn set(&self, path: &str, value: impl AsRef<[u8]>) -> Result<(), PathError> {
        let path = absolute(path)?;
        self.act(|daemon| daemon.set(&path, value.as_ref()));
        Ok(())
    }

    /// Sets permissions as dom0 would; says whether there is such a node. Watches fire.
    pub fn set_perms(&self, path: &str, perms: &Permissions) -> bool {
        let entries = perms.iter().map(|permission| Entry { permission, void: false }).collect();
        self.act(|daemon| daemon.set_perms(&of_node(path), entries)).is_ok()
    }

    /// Removes a node and all below it, as dom0 would; says whether there was one. Watches fire.
    pub fn remove(&self, path: &str) -> bool {
        self.act(|daemon| daemon.remove(&of_node(path)))
    }

    /// Adds the nodes that are written down in the [text form](text).
    ///
    /// # Errors
    /// A line makes no sense; those before it have been added.
    pub fn seed(&self, text: &str) -> Result<(), SeedError> {
        text::seed(self, text)
    }

    /// All nodes in the [text form](text).
    pub fn dump(&self) -> String {
        text::dump(&self.shared.lock().daemon.store)
    }

    /// Disturbs a request to come.
    pub fn inject(&self, fault: Fault) -> FaultHandle {
        let weak = Arc::downgrade(&self.shared);
        self.shared.lock().faults.inject(fault, weak)
    }

    /// Keeps every request from now on, for [`take_records`](Self::take_records).
    pub fn record(&self) {
        self.shared.lock().records.get_or_insert_default();
    }

    /// The requests that were made since [`record`](Self::record), or since the last call.
    pub fn take_records(&self) -> Vec<Record> {
        self.shared.lock().records.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Calls `hook` for every request, reply and event from now on. It must not use this
    /// xenstored, whose lock is held meanwhile.
    pub fn set_trace(&self, hook: impl FnMut(&Trace<'_>) + Send + 'static) {
        self.shared.lock().daemon.tracer.set(Some(Box::new(hook)));
    }

    /// Ends what [`set_trace`](Self::set_trace) began.
    pub fn clear_trace(&self) {
        self.shared.lock().daemon.tracer.set(None);
    }

    fn act<T>(&self, act: impl FnOnce(&mut Daemon) -> T) -> T {
        let mut state = self.shared.lock();
        let done = act(&mut state.daemon);
        state.finish();
        done
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic in a hook leaves nothing half done that matters to others.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Handles what a client has sent.
    pub(super) fn feed(&mut self, id: ConnId, bytes: &[u8]) -> Fed {
        let mut payload = std::mem::take(&mut self.payload);
        let mut taken = 0;
        let mut is_alive = self.ends.contains_key(&id);
        while is_alive && taken < bytes.len() && self.daemon.output_len(id) < Pipe::BACKLOG_MAX {
            if self.stalls(id) {
                break;
            }
            let Ok(received) = self.daemon.receive(id, &bytes[taken..]) else {
                // As the daemons do: what the client says makes no sense from here on.
                self.close(id);
                is_alive = false;
                break;
            };
            taken += received.consumed;
            if let Some(incoming) = received.event {
                payload.clear();
                payload.extend_from_slice(incoming.payload);
                let header = incoming.header;
                is_alive = self.take(id, Incoming { header, payload: &payload });
            }
        }
        self.payload = payload;
        self.finish();
        if is_alive { Fed::Taken(taken) } else { Fed::Closed }
    }

    /// Whether the client has to wait until its domain uses up less. What is on its way out does
    /// not count if it can leave.
    fn stalls(&mut self, id: ConnId) -> bool {
        let Some(domid) = self.daemon.domid_of(id) else {
            return false;
        };
        if !self.daemon.is_stalled(domid) {
            return false;
        }
        self.finish();
        let stalls = self.daemon.is_stalled(domid);
        if stalls && !self.stalled.contains(&id) {
            self.stalled.push(id);
            self.pump(id);
        }
        stalls
    }

    /// Lets those go on whose domains use up less by now.
    fn release_stalled(&mut self) {
        if self.stalled.is_empty() {
            return;
        }
        for id in std::mem::take(&mut self.stalled) {
            match self.daemon.domid_of(id) {
                Some(domid) if self.daemon.is_stalled(domid) => self.stalled.push(id),
                Some(_) => self.pump(id),
                None => {}
            }
        }
    }

    /// Carries out a request that had been kept back.
    pub(super) fn handle(&mut self, delayed: &Delayed) {
        self.daemon.handle(delayed.conn, delayed.header, &delayed.payload);
        self.finish();
    }

    /// Moves a connection's bytes to where its client finds them, as far as there is room.
    pub(super) fn pump(&mut self, id: ConnId) {
        let Some(end) = self.ends.get(&id) else {
            return;
        };
        if end.has_room() && !self.merging.contains(&id) {
            end.push(self.daemon.take_output(id));
        }
        let left = self.daemon.output_len(id);
        self.daemon.set_full(id, left > 0);
        end.set_pressure(left > 0, left >= Pipe::BACKLOG_MAX || self.stalled.contains(&id));
        if left >= Pipe::EVENTS_MAX {
            self.close(id);
        }
    }

    /// The client has taken something. That may be what others have waited for.
    pub(super) fn pump_taken(&mut self, id: ConnId) {
        self.pump(id);
        self.release_stalled();
    }

    /// The client is gone.
    pub(super) fn disconnect(&mut self, id: ConnId) {
        if self.ends.remove(&id).is_some() {
            self.daemon.disconnect(id);
            self.release_stalled();
        }
    }

    /// One request, whole; says whether the connection lives on.
    fn take(&mut self, id: ConnId, incoming: Incoming<'_>) -> bool {
        let Some(domid) = self.daemon.domid_of(id) else {
            return false;
        };
        if let Some(records) = &mut self.records {
            let Incoming { header, payload } = incoming;
            records.push(Record { conn: id, domid, header, payload: payload.into() });
        }
        self.merging.retain(|other| *other != id);
        let Some(action) = self.faults.strike(id, domid, &incoming) else {
            self.daemon.handle(id, incoming.header, incoming.payload);
            return true;
        };
        match action {
            Action::Error(code) => self.daemon.reply(id, incoming.header, &Reply::Error(code)),
            Action::Ignore | Action::Delay => {}
            Action::Close => {
                self.close(id);
                return false;
            }
            Action::Instead(bytes) => {
                self.pump(id);
                if let Some(end) = self.ends.get(&id) {
                    end.push(BytesMut::from(&*bytes));
                }
            }
            Action::Cut(bytes) => {
                self.pump(id);
                self.daemon.handle(id, incoming.header, incoming.payload);
                let mut output = self.daemon.take_output(id);
                output.truncate(bytes);
                if let Some(end) = self.ends.get(&id) {
                    end.push(output);
                }
                self.close(id);
                return false;
            }
            Action::Split(bytes) => {
                if let Some(end) = self.ends.get(&id) {
                    end.set_chunk(bytes);
                }
                self.daemon.handle(id, incoming.header, incoming.payload);
            }
            Action::Merge => {
                self.merging.push(id);
                self.daemon.handle(id, incoming.header, incoming.payload);
            }
        }
        true
    }

    /// Hands out what has come up for anybody, and ends the connections of domains that are gone.
    fn finish(&mut self) {
        self.daemon.deliver();
        for id in self.daemon.take_dirty() {
            self.pump(id);
        }
        self.release_stalled();
        for id in self.daemon.take_ended() {
            if let Some(end) = self.ends.remove(&id) {
                end.close();
            }
        }
    }

    /// Ends a connection from this side. What it has been told already can still be received.
    fn close(&mut self, id: ConnId) {
        if let Some(end) = self.ends.remove(&id) {
            self.daemon.disconnect(id);
            end.close();
        }
    }

    /// Likewise for several; says how many there were.
    fn close_all(&mut self, ids: Vec<ConnId>) -> usize {
        let before = self.ends.len();
        ids.into_iter().for_each(|id| self.close(id));
        let closed = before - self.ends.len();
        // Others may have waited for what these used up.
        self.finish();
        closed
    }
}

/// Where a node is that is only looked for: what is no path stays as it is, and no node has it.
fn of_node(path: &str) -> Cow<'_, str> {
    match Path::new(path) {
        Ok(path) if !path.is_absolute() && !path.is_special() => Cow::Owned(below_dom0(path)),
        _ => Cow::Borrowed(path),
    }
}

fn absolute(path: &str) -> Result<String, PathError> {
    let path = Path::new(path)?;
    if path.is_absolute() {
        Ok(path.to_string())
    } else if path.is_special() {
        Err(PathError::Character { at: 0, byte: b'@' })
    } else {
        Ok(below_dom0(path))
    }
}

fn below_dom0(relative: Path<'_>) -> String {
    format!("/local/domain/0/{relative}")
}
