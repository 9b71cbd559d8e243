//! Where oxenstored goes its own way: what it takes for a request, whom it lets do what, whom it
//! tells, and its transactions.
//!
//! A transaction works on a copy of the store. If the store has changed meanwhile, the commit
//! makes all its requests again on what the store is now, and succeeds if each is answered as it
//! was before.

use std::sync::Arc;

use xs_proto::{DomId, ErrorCode, Header, MessageType, Reply};

use super::args;
use super::daemon::{Daemon, INVALID, READ, WRITE, is_privileged};
use super::domains::DOMID_SELF;
use super::quota::Quota;
use super::request::{Answer, Call, DONE, Result, needs_privilege};
use super::store::{Entry, Node, NodePerms, Store, join, name_of, parent_of};
use super::transaction::Transaction;
use super::watches::Match;

/// What makes a transaction one of oxenstored's.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// As it was when the transaction started.
    start: Store,
    /// As the transaction has made it.
    pub(super) store: Store,
    requests: Vec<Made>,
    changes: Vec<Change>,
}

/// A request that was made, and its answer.
type Made = (Header, Box<[u8]>, Result<Answer>);

/// A change that watches fire for.
#[derive(Clone, Debug)]
struct Change {
    kind: Kind,
    path: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Value,
    Perms,
    Removal,
}

/// The largest value, the most nodes of a domain, and the most requests in a transaction.
const VALUE_MAX: usize = 2048;
const REQUESTS_MAX: usize = 1024;

/// Whether the events that a request causes go out before its reply.
pub(super) fn tells_first(msg_type: Option<MessageType>) -> bool {
    use MessageType::{Introduce, Release, TransactionEnd};
    matches!(msg_type, Some(TransactionEnd | Introduce | Release))
}

impl Snapshot {
    pub(super) fn new(store: &Store) -> Self {
        let (requests, changes) = (Vec::new(), Vec::new());
        Snapshot { start: store.clone(), store: store.clone(), requests, changes }
    }
}

impl Call<'_> {
    /// The answer, where it is another than the C daemon's.
    pub(super) fn run_ocaml(
        &mut self,
        header: Header,
        msg_type: MessageType,
        payload: &[u8],
    ) -> Result {
        let answer = match msg_type {
            // A full transaction takes no request any more, not even its end.
            _ if self.ocaml_is_full() => return Err(ErrorCode::Quota),
            MessageType::TransactionEnd => return self.ocaml_transaction_end(payload),
            MessageType::Read => self.ocaml_node(payload).map(Answer::Value),
            MessageType::Directory => self.ocaml_node(payload).and_then(|node| {
                let mut names: Vec<_> = node.children.iter().collect();
                names.sort_unstable();
                let names = xs_proto::Strings::from_list(names).map_err(|_| ErrorCode::Io)?;
                Ok(Answer::Reply(Reply::Children(names)))
            }),
            MessageType::GetPerms => self
                .ocaml_node(payload)
                .map(|node| Answer::Reply(Reply::Permissions(node.perms.to_permissions()))),
            MessageType::Write => self.ocaml_write(payload),
            MessageType::Mkdir => self.ocaml_mkdir(payload),
            MessageType::Rm => self.ocaml_rm(payload),
            MessageType::SetPerms => self.ocaml_set_perms(payload),
            MessageType::Control => self.ocaml_control(payload),
            _ if needs_privilege(msg_type) && !self.is_dom0() => Err(ErrorCode::Access),
            MessageType::Release => self.ocaml_release(payload),
            MessageType::Resume => match self.ocaml_domid(payload) {
                Ok(domid) if self.daemon.domains.introduced(domid).is_some() => DONE,
                _ => Err(INVALID),
            },
            MessageType::IsDomainIntroduced => self.ocaml_domid(payload).map(|domid| {
                let is_known = domid == DOMID_SELF;
                let is_known = is_known || self.daemon.domains.introduced(domid).is_some();
                Answer::Reply(Reply::Boolean(is_known))
            }),
            MessageType::Unwatch if payload.first() == Some(&0) => Err(INVALID),
            MessageType::SetTarget if args::exactly::<2>(payload).is_none() => Err(INVALID),
            _ => self.run(msg_type, payload),
        };
        self.ocaml_note(header, payload, answer)
    }

    /// What is known of a domain is forgotten in any case.
    fn ocaml_release(&mut self, payload: &[u8]) -> Result {
        let domid = args::only(payload).and_then(args::domid).ok_or(INVALID)?;
        if self.daemon.release(domid) {
            return DONE;
        }
        self.daemon.ocaml_forget(domid);
        Err(INVALID)
    }

    /// Of all that oxenstored lets dom0 ask, only what a domain uses up means something here.
    fn ocaml_control(&self, payload: &[u8]) -> Result {
        let mut words = args::strings(payload);
        let (Some(b"quota"), Some(domid), true) = (words.next(), words.next(), self.is_dom0())
        else {
            return DONE;
        };
        let Some(domid) = args::domid(domid) else {
            return DONE;
        };
        let max = self.daemon.domains.defaults[Quota::Nodes];
        let text = match self.daemon.store.used_by(domid).nodes {
            0 => format!("dom{domid} quota: not set"),
            nodes => format!("dom{domid} quota: {nodes}/{max}"),
        };
        Ok(Answer::Reply(Reply::Text(text.into())))
    }

    /// Inside a transaction every request is remembered.
    fn ocaml_note(&mut self, header: Header, payload: &[u8], answer: Result) -> Result {
        if self.ocaml_is_full() {
            return Err(ErrorCode::Quota);
        }
        if let Some(snapshot) = self.transaction.as_mut().and_then(|tx| tx.snapshot.as_mut()) {
            snapshot.requests.push((header, payload.into(), answer.clone()));
        }
        answer
    }

    /// Whether the transaction has all the requests that it may have.
    fn ocaml_is_full(&self) -> bool {
        let snapshot = self.transaction.as_ref().and_then(|tx| tx.snapshot.as_ref());
        !is_privileged(self.domid)
            && snapshot.is_some_and(|snapshot| snapshot.requests.len() >= REQUESTS_MAX)
    }

    /// The domain that the first string names; what follows it does not matter.
    fn ocaml_domid(&self, payload: &[u8]) -> Result<DomId> {
        args::strings(payload).next().and_then(args::domid).ok_or(INVALID)
    }

    fn ocaml_node(&mut self, payload: &[u8]) -> Result<Arc<Node>> {
        let path = self.canonical(args::only(payload), true)?;
        let node = self.view().read(&path)?.ok_or(ErrorCode::NoEntry)?;
        self.ocaml_check(&node, READ)?;
        Ok(node)
    }

    // oxenstored makes ordinary nodes of the names of special watches, below the root. Nobody wants
    // that: as with the C daemon, they have permissions and nothing else.

    fn ocaml_write(&mut self, payload: &[u8]) -> Result {
        let end = payload.iter().position(|byte| *byte == 0).ok_or(INVALID)?;
        let (path, value) = (self.canonical(Some(&payload[..end]), false)?, &payload[end + 1..]);
        self.ocaml_create_parents(&path)?;
        let node = self.view().read(&path)?;
        if value.len() > VALUE_MAX {
            return Err(ErrorCode::TooBig);
        }
        match node {
            Some(node) => {
                self.ocaml_check(&node, WRITE)?;
                let node = Node { value: value.into(), ..Node::clone(&node) };
                self.view().write(&path, node)?;
            }
            None => self.ocaml_create(&path, value)?,
        }
        self.ocaml_changed(Kind::Value, &path, &[]);
        DONE
    }

    fn ocaml_mkdir(&mut self, payload: &[u8]) -> Result {
        let path = self.canonical(args::only(payload), false)?;
        self.ocaml_create_parents(&path)?;
        match self.view().read(&path)? {
            // The root is made again without a question.
            Some(_) if path == "/" => self.ocaml_changed(Kind::Value, &path, &[]),
            Some(node) => self.ocaml_check(&node, WRITE)?,
            None => {
                self.ocaml_create(&path, b"")?;
                self.ocaml_changed(Kind::Value, &path, &[]);
            }
        }
        DONE
    }

    fn ocaml_rm(&mut self, payload: &[u8]) -> Result {
        let path = self.canonical(args::only(payload), false)?;
        let Some(node) = self.view().read(&path)? else {
            let parent = self.view().read(parent_of(&path))?;
            return if parent.is_some() { DONE } else { Err(ErrorCode::NoEntry) };
        };
        self.ocaml_check(&node, WRITE)?;
        // Judged by what is there before it goes.
        self.ocaml_changed(Kind::Removal, &path, &[]);
        if path == "/" {
            for name in node.children.iter() {
                self.ocaml_remove(&join("/", name))?;
            }
        } else {
            self.ocaml_remove(&path)?;
        }
        DONE
    }

    fn ocaml_set_perms(&mut self, payload: &[u8]) -> Result {
        let mut fields = args::strings(payload);
        let path = fields.next().ok_or(INVALID)?;
        let entry = |text| Some(Entry { permission: args::permission(text)?, void: false });
        let entries: Vec<_> = fields.map(entry).collect::<Option<_>>().ok_or(INVALID)?;
        let perms = NodePerms::from_entries(entries).ok_or(INVALID)?;
        let path = self.canonical(Some(path), true)?;
        let node = self.view().read(&path)?.ok_or(ErrorCode::NoEntry)?;
        if node.owner() != perms.owner() && !self.is_dom0() {
            return Err(ErrorCode::Access);
        }
        if !self.is_dom0() && !self.names().contains(&node.owner()) {
            return Err(ErrorCode::Access);
        }
        let before = perms_around(self.ocaml_store(), &path);
        self.view().write(&path, Node { perms, ..Node::clone(&node) })?;
        self.ocaml_changed(Kind::Perms, &path, &before);
        DONE
    }

    /// The parents that are missing, from above; each as it would be made on request.
    fn ocaml_create_parents(&mut self, path: &str) -> Result<()> {
        let mut missing = Vec::new();
        let mut at = parent_of(path);
        while self.view().read(at)?.is_none() {
            missing.push(at);
            at = parent_of(at);
        }
        missing.into_iter().rev().try_for_each(|at| self.ocaml_create(at, b""))
    }

    /// What is created has the permissions of its parent, owner and all.
    fn ocaml_create(&mut self, path: &str, value: &[u8]) -> Result<()> {
        let parent_path = parent_of(path);
        let parent = self.view().read(parent_path)?.ok_or(ErrorCode::NoEntry)?;
        let owner = parent.owner();
        if !self.is_dom0() {
            let held = self.ocaml_store().used_by(owner).nodes;
            let max = self.daemon.domains.defaults[Quota::Nodes];
            if !is_privileged(owner) && held >= i64::from(max) {
                return Err(ErrorCode::Quota);
            }
        }
        self.ocaml_check(&parent, WRITE)?;
        let order = self.daemon.store.next_order();
        let mut node = Node::new(path, parent.perms.clone(), order);
        node.value = value.into();
        self.view().write(path, node)?;
        let mut parent = Node::clone(&parent);
        parent.children.add(order, name_of(path));
        self.view().write(parent_path, parent)?;
        Ok(())
    }

    fn ocaml_remove(&mut self, path: &str) -> Result<()> {
        let order = self.ocaml_remove_below(path)?;
        let parent_path = parent_of(path);
        let parent = self.view().read(parent_path)?.ok_or(ErrorCode::NoEntry)?;
        let mut parent = Node::clone(&parent);
        parent.children.remove(order);
        self.view().write(parent_path, parent)?;
        Ok(())
    }

    fn ocaml_remove_below(&mut self, path: &str) -> Result<u64> {
        let node = self.view().read(path)?.ok_or(ErrorCode::NoEntry)?;
        for name in node.children.iter() {
            self.ocaml_remove_below(&join(path, name))?;
        }
        self.view().delete(path)?;
        Ok(node.order)
    }

    fn ocaml_transaction_end(&mut self, payload: &[u8]) -> Result {
        let commit = match args::strings(payload).next() {
            Some(b"T") => true,
            Some(b"F") => false,
            _ => return self.ocaml_note(Header::decode(&[0; 16]), payload, Err(INVALID)),
        };
        let transaction = self.drop_transaction().ok_or(ErrorCode::NoEntry)?;
        let snapshot = transaction.snapshot.ok_or(ErrorCode::Io)?;
        if !commit || snapshot.changes.is_empty() {
            return DONE;
        }
        let changes = snapshot.changes.clone();
        let (start, ours) = (snapshot.start.clone(), snapshot.store.clone());
        let store = if snapshot.start.generation() == self.daemon.store.generation() {
            snapshot.store
        } else {
            self.ocaml_replay(&snapshot.requests)?
        };
        self.daemon.store.become_(store);
        for change in changes {
            self.daemon.ocaml_fire(&change, &start, &ours, &[]);
        }
        DONE
    }

    /// The store with the requests made again, if each is answered as it was.
    fn ocaml_replay(&mut self, requests: &[Made]) -> Result<Store> {
        self.transaction = Some(Transaction::on_copy(&self.daemon.store));
        let mut is_same = true;
        for (header, payload, before) in requests {
            let simple = MessageType::from_u32(header.msg_type).filter(|msg_type| {
                use MessageType::{
                    Directory, Error, GetDomainPath, GetPerms, Mkdir, Read, Rm, SetPerms,
                    WatchEvent, Write,
                };
                matches!(
                    msg_type,
                    Error
                        | WatchEvent
                        | Directory
                        | Read
                        | GetPerms
                        | GetDomainPath
                        | Write
                        | Mkdir
                        | Rm
                        | SetPerms
                )
            });
            // Other requests cannot be made again.
            let Some(msg_type) = simple else {
                is_same = false;
                break;
            };
            let again = self.run_ocaml(*header, msg_type, payload);
            if !is_equal(before, &again) {
                is_same = false;
                break;
            }
        }
        let transaction = self.transaction.take().filter(|_| is_same).ok_or(ErrorCode::Again)?;
        let snapshot = transaction.snapshot.ok_or(ErrorCode::Again)?;
        Ok(snapshot.store)
    }

    fn ocaml_store(&self) -> &Store {
        let snapshot = self.transaction.as_ref().and_then(|tx| tx.snapshot.as_ref());
        snapshot.map_or(&self.daemon.store, |snapshot| &snapshot.store)
    }

    /// Lets watches fire: now, or when the transaction is committed.
    fn ocaml_changed(&mut self, kind: Kind, path: &str, before: &[NodePerms]) {
        let change = Change { kind, path: path.to_owned() };
        if let Some(snapshot) = self.transaction.as_mut().and_then(|tx| tx.snapshot.as_mut()) {
            snapshot.changes.push(change);
            return;
        }
        let store = std::mem::take(&mut self.daemon.store);
        self.daemon.ocaml_fire(&change, &store, &store, before);
        self.daemon.store = store;
    }

    fn ocaml_check(&self, node: &Node, right: u8) -> Result<()> {
        let is_allowed = self.daemon.ocaml_rights(self.domid, &node.perms) & right != 0;
        if is_allowed { Ok(()) } else { Err(ErrorCode::Access) }
    }

    fn is_dom0(&self) -> bool {
        self.names().contains(&DomId::DOM0)
    }

    fn names(&self) -> Vec<DomId> {
        self.daemon.ocaml_names(self.domid)
    }
}

impl Daemon {
    /// Removes the nodes that a domain owns, with all below them, and its permissions on others.
    /// Nobody is told.
    pub(super) fn ocaml_forget(&mut self, domid: DomId) {
        let mut at = vec!["/".to_owned()];
        while let Some(path) = at.pop() {
            let Some(mut node) = self.store.get(&path).map(|node| Node::clone(node)) else {
                continue;
            };
            let children: Vec<_> = node.children.iter().map(|name| join(&path, name)).collect();
            if node.owner() == domid && path != "/" {
                let _ = self.internal().ocaml_remove(&path);
                continue;
            }
            let is_other = |entry: &&Entry| entry.permission.domid != domid;
            let (owner, others) = node.perms.entries().split_at(1);
            if !others.iter().all(|entry| is_other(&entry)) {
                let kept = others.iter().filter(is_other);
                let kept = owner.iter().chain(kept).copied().collect();
                if let Some(perms) = NodePerms::from_entries(kept) {
                    node.perms = perms;
                    self.store.put(node);
                }
            }
            at.extend(children);
        }
        // Transactions see that something has changed.
        self.store.next_generation();
    }

    /// The domain, and whom it targets.
    fn ocaml_names(&self, domid: DomId) -> Vec<DomId> {
        let target = self.domains.get(domid).and_then(|domain| domain.target);
        std::iter::once(domid).chain(target).collect()
    }

    fn ocaml_rights(&self, domid: DomId, perms: &NodePerms) -> u8 {
        let names = self.ocaml_names(domid);
        if names.contains(&DomId::DOM0) || names.contains(&perms.owner()) {
            return READ | WRITE;
        }
        let perms = perms.to_permissions();
        names.into_iter().fold(0, |rights, name| {
            let access = perms.access_of(name);
            let read = if access.can_read() { READ } else { 0 };
            rights | read | if access.can_write() { WRITE } else { 0 }
        })
    }

    /// `before` are further permissions that allow to know.
    fn ocaml_fire(&mut self, change: &Change, old: &Store, new: &Store, before: &[NodePerms]) {
        let path = &*change.path;
        let mut perms = before.to_vec();
        match change.kind {
            Kind::Value => perms.extend(perms_around(new, path)),
            Kind::Removal => perms.extend(perms_around(old, path)),
            Kind::Perms => {
                perms.extend(perms_around(old, path));
                perms.extend(perms_around(new, path));
            }
        }
        let shown = if path.starts_with('@') { format!("/{path}") } else { path.to_owned() };
        for fired in self.watches.matching(&shown, Match::Subtree, true) {
            self.ocaml_event(fired.conn(), &shown[fired.prefix..], &fired.token, &perms);
        }
        if change.kind == Kind::Removal {
            for (watched, fired) in self.watches.below(path) {
                let perms = perms_around(old, &watched);
                self.ocaml_event(fired.conn(), &watched[fired.prefix..], &fired.token, &perms);
            }
        }
    }

    fn ocaml_event(
        &mut self,
        conn: super::ConnId,
        path: &str,
        token: &Arc<[u8]>,
        perms: &[NodePerms],
    ) {
        let Some(domid) = self.domid_of(conn) else {
            return;
        };
        if perms.iter().any(|perms| self.ocaml_rights(domid, perms) & READ != 0) {
            self.queue(conn, path, token);
        }
    }
}

/// The permissions of a node and its parent, as far as they exist.
fn perms_around(store: &Store, path: &str) -> Vec<NodePerms> {
    if path == "/" {
        return Vec::new();
    }
    let Some(parent) = store.get(parent_of(path)) else {
        return Vec::new();
    };
    let own = store.get(path).map(|node| node.perms.clone());
    std::iter::once(parent.perms.clone()).chain(own).collect()
}

fn is_equal(a: &Result<Answer>, b: &Result<Answer>) -> bool {
    match (a, b) {
        (Ok(Answer::Reply(a)), Ok(Answer::Reply(b))) => a == b,
        (Ok(Answer::Value(a)), Ok(Answer::Value(b))) => a.value == b.value,
        (Err(a), Err(b)) => a == b,
        _ => false,
    }
}
