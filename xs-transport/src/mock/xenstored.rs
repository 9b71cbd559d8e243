//! The handle to the in-memory xenstored.

use std::borrow::Cow;
use std::sync::Arc;

use xs_proto::{DomId, Path, PathError, Permissions};

use super::connection::hub::Hub;
use super::connection::pipe::Pipe;
use super::connection::queue::Notify;
use super::daemon::{ConnId, Daemon};
use super::flavour::Flavour;
use super::guest;
use super::store::Entry;
use super::testing::fault::{Fault, FaultHandle};
use super::testing::record::Record;
use super::testing::text::{self, Line, SeedCause, SeedError};
use super::trace::Trace;

/// A xenstored in memory. Clones are handles to the same one; it lives as long as a handle or a
/// connection does.
///
/// See the [module](super) for what it is good for.
#[derive(Clone, Debug)]
pub struct Xenstored {
    hub: Arc<Hub>,
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
        Xenstored { hub: Arc::new(Hub::new(flavour)) }
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
        Pipe::open(&self.hub, domid, notify)
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
        self.hub.lock().close_all(Some(domid))
    }

    /// Breaks the connections of everybody, as when the daemon is started again; says how many
    /// there were. See [`disconnect`](Self::disconnect).
    pub fn disconnect_all(&self) -> usize {
        self.hub.lock().close_all(None)
    }

    /// The value of a node. Here as everywhere below, a relative path is dom0's.
    pub fn get(&self, path: &str) -> Option<Vec<u8>> {
        self.hub.lock().daemon.store.get(&of_node(path)).map(|node| node.value.to_vec())
    }

    /// The names of a node's children.
    pub fn children(&self, path: &str) -> Option<Vec<String>> {
        let state = self.hub.lock();
        let node = state.daemon.store.get(&of_node(path))?;
        Some(node.children.iter().map(str::to_owned).collect())
    }

    /// The permissions of a node.
    pub fn perms(&self, path: &str) -> Option<Permissions> {
        self.hub.lock().daemon.store.get(&of_node(path)).map(|node| node.perms.to_permissions())
    }

    /// The open connections of a domain, the oldest first.
    pub fn connections(&self, domid: DomId) -> Vec<ConnId> {
        self.hub.lock().daemon.conns_of(domid)
    }

    /// All watches that a domain has set: the absolute path and the token of each.
    pub fn watches(&self, domid: DomId) -> Vec<(String, Vec<u8>)> {
        let daemon = &self.hub.lock().daemon;
        let conns = daemon.conns_of(domid);
        let watches = conns.into_iter().flat_map(|conn| daemon.watches.of_conn(conn));
        watches.map(|(path, token)| (path.to_owned(), token.to_vec())).collect()
    }

    /// How many nodes there are.
    pub fn node_count(&self) -> usize {
        self.hub.lock().daemon.store.len()
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
        for line in text::lines(text) {
            let (number, Line { path, perms, value }) = line?;
            // Special nodes are there or cannot be, and have no values.
            let is_known = self.perms(&path).is_some();
            if value.is_some() || !is_known {
                let value = value.unwrap_or_default();
                let failed = |error| SeedError { line: number, cause: SeedCause::Path(error) };
                self.set(&path, value).map_err(failed)?;
            }
            if let Some(perms) = perms {
                self.set_perms(&path, &perms);
            }
        }
        Ok(())
    }

    /// All nodes in the [text form](text).
    pub fn dump(&self) -> String {
        text::dump(&self.hub.lock().daemon.store)
    }

    /// Disturbs a request to come.
    pub fn inject(&self, fault: Fault) -> FaultHandle {
        self.hub.inject(fault)
    }

    /// Keeps every request from now on, for [`take_records`](Self::take_records).
    pub fn record(&self) {
        self.hub.lock().records.get_or_insert_default();
    }

    /// The requests that were made since [`record`](Self::record), or since the last call.
    pub fn take_records(&self) -> Vec<Record> {
        self.hub.lock().records.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Calls `hook` for every request, reply and event from now on. It must not use this
    /// xenstored, whose lock is held meanwhile.
    pub fn set_trace(&self, hook: impl FnMut(&Trace<'_>) + Send + 'static) {
        self.hub.lock().daemon.tracer.set(Some(Box::new(hook)));
    }

    /// Ends what [`set_trace`](Self::set_trace) began.
    pub fn clear_trace(&self) {
        self.hub.lock().daemon.tracer.set(None);
    }

    fn act<T>(&self, act: impl FnOnce(&mut Daemon) -> T) -> T {
        let mut state = self.hub.lock();
        let done = act(&mut state.daemon);
        state.finish();
        done
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
