//! The handle to the in-memory xenstored.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use xs_proto::{DomId, Features, Path, PathError, Permissions};

use super::connection::hub::Hub;
use super::connection::pipe::Pipe;
use super::connection::queue::Notify;
#[cfg(test)]
use super::daemon::ceilings::Ceilings;
use super::daemon::trace::Trace;
use super::daemon::{ConnId, Daemon};
use super::flavour::Flavour;
use super::guest;
use super::store::path::shown;
use super::testing::fault::{Fault, FaultHandle};
use super::testing::record::Record;
use super::testing::text::{self, Line, SeedCause, SeedError};

/// An in-memory xenstored. Clones are handles to the same instance, which lives as long as any
/// handle or connection.
///
/// The [module documentation](super) gives an overview.
#[derive(Clone)]
pub struct Xenstored {
    hub: Arc<Hub>,
}

impl Default for Xenstored {
    fn default() -> Self {
        Self::new()
    }
}

impl Xenstored {
    /// Creates a xenstored that behaves like the newest C daemon. It knows dom0 and holds the nodes
    /// that a daemon starts with.
    pub fn new() -> Self {
        Self::with_flavour(Flavour::default())
    }

    /// Creates a xenstored that behaves like the given daemon.
    pub fn with_flavour(flavour: Flavour) -> Self {
        Xenstored { hub: Arc::new(Hub::new(flavour)) }
    }

    /// Opens a connection as `domid` and introduces the domain if it is unknown.
    ///
    /// A domain that is introduced this way owns no nodes. A guest's first write therefore fails
    /// with EACCES, unless [`add_guest`](Self::add_guest) has made a home for the guest or
    /// [`seed`](Self::seed) has made nodes for it.
    pub fn connect(&self, domid: DomId) -> Pipe {
        self.connect_with(domid, None)
    }

    /// Opens a connection with a callback; see [`Notify`].
    pub(super) fn connect_with(&self, domid: DomId, notify: Option<Notify>) -> Pipe {
        Pipe::open(&self.hub, domid, notify)
    }

    /// Returns whether a domain is introduced.
    pub(super) fn is_introduced(&self, domid: DomId) -> bool {
        self.hub.lock().daemon.domains.introduced(domid).is_some()
    }

    /// Returns the features that the daemon offers in the page of a domain.
    pub(super) fn ring_features(&self, domid: DomId) -> Features {
        self.hub.lock().daemon.ring_features(domid)
    }

    /// Creates a guest with the nodes that libxl creates for one, and introduces it. Returns
    /// whether the domain was unknown before. For dom0 this does nothing and returns `false`.
    ///
    /// Guest N may read its home `/local/domain/N`, with `vm`, `name`, `domid`,
    /// `cpu/0/availability`, `memory/target` and others, and the directory that `vm` names,
    /// `/vm/00000000-0000-0000-0000-…N`. The guest owns `data`, `attr`, `feature`, `drivers`,
    /// `error` and, in `control`, `shutdown`, `sysrq` and `feature-…`. Existing nodes in both
    /// directories are removed first. As with libxl, there are no devices yet. Unlike with libxl,
    /// there is no `console` and no `store`, because there are no rings to describe.
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
    /// // Add the other nodes that the program under test looks for.
    /// xenstored.set("/local/domain/5/name", "web")?;
    /// xenstored.seed("/local/domain/5/device/vif/0/state [b5 r0] = 1")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn add_guest(&self, domid: DomId) -> bool {
        self.act(|daemon| guest::add(daemon, domid))
    }

    /// Introduces a domain without creating nodes for it. Returns whether the domain was unknown
    /// before. [`add_guest`](Self::add_guest) also creates a home.
    pub fn introduce(&self, domid: DomId) -> bool {
        self.act(|daemon| daemon.introduce(domid))
    }

    /// Releases a domain: its connections close, its nodes are removed and `@releaseDomain` fires.
    /// Returns whether the domain was known. Dom0 cannot be released.
    pub fn release(&self, domid: DomId) -> bool {
        self.act(|daemon| daemon.release(domid))
    }

    /// Marks an introduced domain as shut down. `@releaseDomain` fires. With a C daemon, it fires
    /// again for this domain only after a RESUME.
    pub fn shut_down(&self, domid: DomId) {
        self.act(|daemon| daemon.shut_down(domid));
    }

    /// Destroys a domain, as a hypervisor does, and tells the daemon: its connections close, its
    /// nodes are removed and `@releaseDomain` fires. Dom0 cannot be destroyed.
    ///
    /// In contrast to [`release`](Self::release), the domain need not be introduced, and it no
    /// longer exists until [`create`](Self::create) or a new connection brings it back.
    pub fn destroy(&self, domid: DomId) {
        self.act(|daemon| daemon.destroy(domid));
    }

    /// Destroys a domain without telling the daemon, which learns of it at the next opportunity.
    pub fn destroy_silently(&self, domid: DomId) {
        self.act(|daemon| daemon.domains.set_absent(domid));
    }

    /// Creates a domain without introducing it. Each domain exists until it is destroyed, so this
    /// is only needed after that.
    pub fn create(&self, domid: DomId) {
        self.act(|daemon| daemon.domains.set_present(domid));
    }

    /// Adds commands to CONTROL with which dom0 can play the hypervisor. A command consists of
    /// `host`, one of the words `shutdown`, `die`, `absent` and `create`, and a domain id.
    ///
    /// The words have the effect of [`shut_down`](Self::shut_down), [`destroy`](Self::destroy),
    /// [`destroy_silently`](Self::destroy_silently) and [`create`](Self::create). A RELEASE of a
    /// domain that is not introduced still fails, but also has the effect of the domain's death. No
    /// genuine daemon has such commands.
    pub fn allow_host_commands(&self) {
        self.hub.lock().daemon.has_host_commands = true;
    }

    /// Breaks all connections of a domain, idle ones included, and returns their number. Their
    /// watches and transactions end. The domain's nodes stay, and the domain may connect again.
    ///
    /// Clients can still receive earlier output. [`Fault::close`] breaks a connection at a chosen
    /// request.
    ///
    /// ```
    /// use xs_transport::mock::{DomId, Xenstored};
    /// use xs_transport::{Transport, Wait};
    ///
    /// let xenstored = Xenstored::new();
    /// let pipe = xenstored.connect(DomId::new(5));
    /// assert_eq!(xenstored.disconnect(DomId::new(5)), 1);
    /// // The client sees the end of the stream.
    /// assert_eq!(pipe.recv(&mut [0; 16], Wait::No)?, 0);
    /// assert!(pipe.send(&[0; 16]).is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn disconnect(&self, domid: DomId) -> usize {
        self.hub.lock().close_all(Some(domid))
    }

    /// Breaks all connections of all domains, like a restart of the daemon, and returns their
    /// number. See [`disconnect`](Self::disconnect).
    pub fn disconnect_all(&self) -> usize {
        self.hub.lock().close_all(None)
    }

    /// Returns the value of a node, or `None` if the node does not exist. Here and in the methods
    /// below, a relative path starts at dom0's home.
    pub fn get(&self, path: &str) -> Option<Vec<u8>> {
        self.hub.lock().daemon.node(&of_node(path)).map(|node| node.value.to_vec())
    }

    /// Returns the names of a node's children, or `None` if the node does not exist.
    pub fn children(&self, path: &str) -> Option<Vec<String>> {
        let state = self.hub.lock();
        let node = state.daemon.node(&of_node(path))?;
        Some(node.children.iter().map(|name| shown(name).into_owned()).collect())
    }

    /// Returns the permissions of a node, or `None` if the node does not exist.
    pub fn perms(&self, path: &str) -> Option<Permissions> {
        self.hub.lock().daemon.node(&of_node(path)).map(|node| node.perms.to_permissions())
    }

    /// Returns the open connections of a domain, oldest first.
    pub fn connections(&self, domid: DomId) -> Vec<ConnId> {
        self.hub.lock().daemon.conns_of(domid)
    }

    /// Returns the absolute path and the token of each watch of a domain.
    pub fn watches(&self, domid: DomId) -> Vec<(String, Vec<u8>)> {
        let daemon = &self.hub.lock().daemon;
        let conns = daemon.conns_of(domid);
        let watches = conns.into_iter().flat_map(|conn| daemon.watches.of_conn(conn));
        watches.map(|(path, token)| (path.to_owned(), token.to_vec())).collect()
    }

    /// Returns the number of nodes.
    pub fn node_count(&self) -> usize {
        self.hub.lock().daemon.store.len()
    }

    /// Sets a value as dom0 would and creates the node if necessary. Watches fire.
    ///
    /// # Errors
    /// Fails if `path` is malformed or names a special watch.
    pub fn set(&self, path: &str, value: impl AsRef<[u8]>) -> Result<(), PathError> {
        let path = absolute(path)?;
        self.act(|daemon| daemon.set(&path, value.as_ref()));
        Ok(())
    }

    /// Sets permissions as dom0 would. Returns whether the node exists. Watches fire.
    pub fn set_perms(&self, path: &str, perms: &Permissions) -> bool {
        self.act(|daemon| daemon.set_perms(&of_node(path), perms)).is_ok()
    }

    /// Removes a node and its descendants as dom0 would. Returns whether the node existed. Watches
    /// fire.
    pub fn remove(&self, path: &str) -> bool {
        self.act(|daemon| daemon.remove(&of_node(path)))
    }

    /// Adds the nodes of a description in the [text form](text).
    ///
    /// # Errors
    /// Fails at the first malformed line. The nodes of earlier lines have been added.
    pub fn seed(&self, text: &str) -> Result<(), SeedError> {
        for line in text::lines(text) {
            let (number, Line { path, perms, value }) = line?;
            // Special nodes cannot be created, and have no value in the text form.
            if value.is_some() || self.perms(&path).is_none() {
                let failed = |error| SeedError { line: number, cause: SeedCause::Path(error) };
                self.set(&path, value.unwrap_or_default()).map_err(failed)?;
            }
            if let Some(perms) = perms {
                self.set_perms(&path, &perms);
            }
        }
        Ok(())
    }

    /// Returns all nodes in the [text form](text).
    ///
    /// Leaves out nodes without a valid [`Path`]: oxenstored may hold names with slashes, and the C
    /// daemon since Xen 4.20 paths that are too long. Special nodes, which have values in
    /// oxenstored, are shown without them.
    pub fn dump(&self) -> String {
        text::dump(&self.hub.lock().daemon.store)
    }

    /// Arms a fault, which strikes a future request.
    pub fn inject(&self, fault: Fault) -> FaultHandle {
        self.hub.inject(fault)
    }

    /// Starts recording requests for [`take_records`](Self::take_records).
    pub fn record(&self) {
        self.hub.lock().records.get_or_insert_default();
    }

    /// Returns the requests since the last call, or since [`record`](Self::record).
    pub fn take_records(&self) -> Vec<Record> {
        self.hub.lock().records.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Calls `hook` for each following request, reply and event. The hook runs with this
    /// xenstored's lock held, so it must not use this xenstored.
    pub fn set_trace(&self, hook: impl FnMut(&Trace<'_>) + Send + 'static) {
        self.hub.lock().daemon.tracer.set(Some(Box::new(hook)));
    }

    /// Removes the hook of [`set_trace`](Self::set_trace).
    pub fn clear_trace(&self) {
        self.hub.lock().daemon.tracer.set(None);
    }

    #[cfg(test)]
    pub(super) fn set_ceilings(&self, ceilings: Ceilings) {
        self.hub.lock().daemon.ceilings = ceilings;
    }

    /// Returns the number of nodes of an owner as the daemon counts them.
    #[cfg(test)]
    pub(super) fn counted_nodes(&self, owner: DomId) -> i64 {
        self.hub.lock().daemon.store.usage_of(owner).nodes
    }

    /// Changes the daemon, and delivers the events that this causes.
    pub(super) fn act<T>(&self, act: impl FnOnce(&mut Daemon) -> T) -> T {
        let mut state = self.hub.lock();
        let result = act(&mut state.daemon);
        state.finish();
        result
    }
}

/// Returns the absolute form of a path to look up. A malformed path is returned unchanged, because
/// no node has it.
fn of_node(path: &str) -> Cow<'_, str> {
    match Path::new(path) {
        Ok(path) if !path.is_absolute() && !path.is_special() => Cow::Owned(below_dom0(path)),
        _ => Cow::Borrowed(path),
    }
}

/// Returns the absolute form of a path to write.
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

impl fmt::Debug for Xenstored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Xenstored").finish_non_exhaustive()
    }
}
