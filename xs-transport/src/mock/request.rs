//! From a request to its answer, with the daemon's checks in the daemon's order.

use std::borrow::Cow;
use std::sync::Arc;

use xs_proto::{ABS_PATH_MAX, DomId, ErrorCode, Header, MessageType, Reply, TxId};

use super::args;
use super::daemon::{ConnId, Daemon, INVALID, is_privileged};
use super::quota::{Quota, Quotas};
use super::store::{Entry, Node, NodePerms, join, parent_of};
use super::transaction::{Transaction, View};
use super::watches::Match;

/// What a request is answered with.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Reply(Reply<'static>),
    /// The value of this node, not copied.
    Value(Arc<Node>),
}

pub(super) type Result<T = Answer> = std::result::Result<T, ErrorCode>;

pub(super) const DONE: Result = Ok(Answer::Reply(Reply::Done));

/// A request under way.
pub(super) struct Call<'a> {
    pub(super) daemon: &'a mut Daemon,
    pub(super) conn: ConnId,
    pub(super) domid: DomId,
    pub(super) transaction: Option<Transaction>,
}

impl Daemon {
    /// The answer to one request. What fires meanwhile waits in the daemon.
    pub(super) fn answer(&mut self, conn: ConnId, header: Header, payload: &[u8]) -> Result {
        let modern = self.flavour.is_modern();
        let known = MessageType::from_u32(header.msg_type).filter(|msg_type| {
            use MessageType::{DirectoryPart, Error, GetFeature, GetQuota};
            use MessageType::{Invalid, SetFeature, SetQuota, WatchEvent};
            match msg_type {
                WatchEvent | Error | Invalid => false,
                GetFeature | SetFeature | GetQuota | SetQuota => modern,
                DirectoryPart => !self.flavour.is_ocaml(),
                _ => true,
            }
        });
        let msg_type = match known {
            // oxenstored looks for the transaction first.
            None if self.flavour.is_ocaml() => MessageType::Invalid,
            known => known.ok_or(ErrorCode::NotSupported)?,
        };
        let state = self.conns.get_mut(&conn).ok_or(ErrorCode::Io)?;
        let domid = state.domid;
        if needs_privilege(msg_type) && !self.flavour.is_ocaml() && !is_privileged(domid) {
            return Err(ErrorCode::Access);
        }
        let mut tx_id = header.tx_id;
        if matches!(msg_type, MessageType::Watch | MessageType::Unwatch) {
            tx_id = TxId::NONE;
        }
        let transaction = match tx_id {
            TxId::NONE => None,
            TxId(id) => match state.transactions.remove(&id) {
                None if self.flavour.is_ocaml() => return Err(ErrorCode::Io),
                None => return Err(ErrorCode::NoEntry),
                found => found,
            },
        };
        // Its bytes count apart while it is at work.
        let bytes = transaction.as_ref().map_or(0, |transaction| transaction.bytes);
        if let Some(domain) = self.domains.get_mut(domid) {
            domain.bytes -= bytes;
        }
        let mut call = Call { daemon: self, conn, domid, transaction };
        let answer = if call.daemon.flavour.is_ocaml() {
            call.run_ocaml(header, msg_type, payload)
        } else {
            call.run(msg_type, payload)
        };
        if let Some(transaction) = call.transaction {
            if let Some(domain) = self.domains.get_mut(domid) {
                domain.bytes += transaction.bytes;
            }
            if let Some(state) = self.conns.get_mut(&conn) {
                state.transactions.insert(tx_id.0, transaction);
            }
        }
        answer
    }

    /// The first event of a watch that was just set.
    pub(super) fn first_event(&mut self, conn: ConnId, payload: &[u8]) {
        if let Some([path, token]) = args::at_least(payload) {
            // The path has been accepted, so it is text.
            self.queue(conn, &String::from_utf8_lossy(path), token);
            self.deliver();
        }
    }

    /// Sets a value as the daemon itself: dom0, no quotas, no transaction.
    pub(super) fn set(&mut self, path: &str, value: &[u8]) {
        let mut call = self.internal();
        // Without quotas and with a path from the root there is nothing that could fail.
        let _ = call.write_value(path, value);
        self.deliver();
    }

    /// Sets permissions as the daemon itself.
    pub(super) fn set_perms(&mut self, path: &str, entries: Vec<Entry>) -> Result<()> {
        let mut call = self.internal();
        call.get_to_know(&entries);
        let done = call.put_perms(path, entries);
        self.deliver();
        done
    }

    /// Removes a node as the daemon itself; says whether there was one.
    pub(super) fn remove(&mut self, path: &str) -> bool {
        // The root and the special nodes stay.
        let exists = path.len() > 1 && path.starts_with('/') && self.store.get(path).is_some();
        if exists {
            // Outside of transactions nothing can fail.
            let _ = self.internal().remove_tree(path);
            self.deliver();
        }
        exists
    }

    /// Removes each node that the domain owns, and all below it.
    pub(super) fn remove_nodes_of(&mut self, domid: DomId) {
        let mut at = vec!["/".to_owned()];
        while let Some(path) = at.pop() {
            if self.store.used_by(domid).nodes == 0 {
                break;
            }
            let Some(node) = self.store.get(&path) else {
                continue;
            };
            if node.owner() == domid && path != "/" {
                let _ = self.internal().remove_tree(&path);
            } else {
                let children: Vec<_> = node.children.iter().map(|name| join(&path, name)).collect();
                at.extend(children.into_iter().rev());
            }
        }
    }

    pub(super) fn internal(&mut self) -> Call<'_> {
        let conn = ConnId(0);
        Call { daemon: self, conn, domid: DomId::DOM0, transaction: None }
    }
}

pub(super) fn needs_privilege(msg_type: MessageType) -> bool {
    matches!(
        msg_type,
        MessageType::Control
            | MessageType::Introduce
            | MessageType::Release
            | MessageType::IsDomainIntroduced
            | MessageType::Resume
            | MessageType::SetTarget
            | MessageType::GetFeature
            | MessageType::SetFeature
            | MessageType::GetQuota
            | MessageType::SetQuota
    )
}

impl Call<'_> {
    pub(super) fn run(&mut self, msg_type: MessageType, payload: &[u8]) -> Result {
        match msg_type {
            MessageType::Control => self.control(payload),
            MessageType::Directory => self.directory(payload),
            MessageType::DirectoryPart => self.directory_part(payload),
            MessageType::Read => self.read(payload),
            MessageType::GetPerms => self.get_perms(payload),
            MessageType::SetPerms => self.set_perms(payload),
            MessageType::Write => self.write(payload),
            MessageType::Mkdir => self.mkdir(payload),
            MessageType::Rm => self.rm(payload),
            MessageType::Watch => self.watch(payload),
            MessageType::Unwatch => self.unwatch(payload),
            MessageType::ResetWatches => self.reset_watches(),
            MessageType::TransactionStart => self.transaction_start(),
            MessageType::TransactionEnd => self.transaction_end(payload),
            MessageType::Introduce => self.introduce(payload),
            MessageType::Release => self.release(payload),
            MessageType::Resume => self.resume(payload),
            MessageType::SetTarget => self.set_target(payload),
            MessageType::GetDomainPath => self.get_domain_path(payload),
            MessageType::IsDomainIntroduced => self.is_domain_introduced(payload),
            MessageType::GetFeature => self.get_feature(payload),
            MessageType::SetFeature => self.set_feature(payload),
            MessageType::GetQuota => self.get_quota(payload),
            MessageType::SetQuota => self.set_quota(payload),
            _ => Err(ErrorCode::NotSupported),
        }
    }

    // What all of them need.

    /// The absolute path that the caller means.
    pub(super) fn canonical<'p>(
        &self,
        path: Option<&'p [u8]>,
        special: bool,
    ) -> Result<Cow<'p, str>> {
        let path = path.ok_or(INVALID)?;
        let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-/_@".contains(byte);
        if !path.iter().all(is_allowed) || (path.first() == Some(&b'@') && !special) {
            return Err(INVALID);
        }
        // All that is allowed is ASCII.
        let path = std::str::from_utf8(path).map_err(|_| INVALID)?;
        let path = if path.starts_with(['/', '@']) {
            Cow::Borrowed(path)
        } else {
            Cow::Owned(format!("/local/domain/{}/{path}", self.domid))
        };
        if (path.ends_with('/') && path != "/") || path.contains("//") {
            return Err(INVALID);
        }
        let max = match self.quotas() {
            Some(quotas) => quotas[Quota::PathMax],
            None if self.daemon.flavour.is_modern() => u32::MAX,
            None => self.daemon.domains.defaults[Quota::PathMax],
        };
        // What is longer could not be named by who is at home elsewhere, nor in the text form.
        if path.len() > ABS_PATH_MAX || path.len() - home_len(&path) > max as usize {
            return Err(INVALID);
        }
        Ok(path)
    }

    /// The node, if it exists and the caller has all of these rights.
    pub(super) fn existing(&mut self, path: &str, rights: u8) -> Result<Arc<Node>> {
        self.find(path, rights)?.ok_or(ErrorCode::NoEntry)
    }

    /// The node if the caller has all of these rights; `None` if it does not exist and the caller
    /// may know that. Who has none of the rights on the nearest node above learns nothing.
    pub(super) fn find(&mut self, path: &str, rights: u8) -> Result<Option<Arc<Node>>> {
        let node = self.view().read(path)?;
        if let Some(node) = &node {
            if self.daemon.rights(self.domid, &node.perms, node.generation) & rights == rights {
                return Ok(Some(self.with_adjusted(node)));
            }
        }
        let mut at = path;
        let above = loop {
            at = parent_of(at);
            match self.view().read(at)? {
                Some(node) => break self.daemon.rights(self.domid, &node.perms, node.generation),
                None if at == "/" => break 0,
                None => {}
            }
        };
        if node.is_none() && above & rights != 0 { Ok(None) } else { Err(ErrorCode::Access) }
    }

    /// The node with its void permissions marked, so that they stay void when it is written.
    fn with_adjusted(&self, node: &Arc<Node>) -> Arc<Node> {
        match self.adjusted(node) {
            Cow::Borrowed(_) => node.clone(),
            Cow::Owned(perms) => Arc::new(Node { perms, ..Node::clone(node) }),
        }
    }

    pub(super) fn adjusted<'n>(&self, node: &'n Node) -> Cow<'n, NodePerms> {
        let is_void = |domid| !self.daemon.domains.is_meant(domid, node.generation);
        let others = &node.perms.entries()[1..];
        if others.iter().any(|entry| !entry.void && is_void(entry.permission.domid)) {
            Cow::Owned(node.perms.voiding(is_void))
        } else {
            Cow::Borrowed(&node.perms)
        }
    }

    /// Writes a node, if its size allows.
    pub(super) fn put(&mut self, path: &str, node: Node, check: bool) -> Result<Arc<Node>> {
        let written = if check && self.is_too_big(&node) {
            Err(ErrorCode::NoSpace)
        } else if check && self.needs_too_much(path, &node) {
            Err(ErrorCode::Io)
        } else {
            self.view().write(path, node)
        };
        if let (Err(_), Some(transaction)) = (&written, &mut self.transaction) {
            transaction.failed = true;
        }
        written
    }

    fn is_too_big(&self, node: &Node) -> bool {
        let size = self.daemon.store.size_of(node);
        self.quotas().is_some_and(|quotas| size >= quotas[Quota::NodeSize] as usize)
    }

    /// Whether a node, as it shall be written, exceeds the memory of who has to pay for it.
    fn needs_too_much(&self, path: &str, node: &Node) -> bool {
        let (payer, prefix, old) = match &self.transaction {
            Some(transaction) => (self.domid, transaction.prefix(), transaction.peek(path)),
            None => (node.owner(), 0, self.daemon.store.get(path)),
        };
        if self.daemon.memory_of(payer).is_none() {
            return false;
        }
        let bytes = |node| (prefix + path.len() + self.daemon.store.size_of(node)) as i64;
        let old = old.filter(|old| self.transaction.is_some() || old.owner() == payer);
        self.is_too_much(payer, bytes(node) - old.map_or(0, |old| bytes(old)))
    }

    /// Whether so many bytes more are more than a domain may use up.
    pub(super) fn is_too_much(&self, domid: DomId, more: i64) -> bool {
        let Some(max) = self.daemon.memory_of(domid) else {
            return false;
        };
        let transaction = self.transaction.as_ref().filter(|_| domid == self.domid);
        let bytes = transaction.map_or(0, |transaction| transaction.bytes);
        self.daemon.bytes_of(domid) + bytes + more >= max
    }

    /// Whether the caller owns as many nodes as it may. Older daemons do not count what a
    /// transaction has created until its end.
    pub(super) fn is_full(&self) -> bool {
        let counted = self.transaction.as_ref().filter(|_| self.daemon.flavour.is_modern());
        let inside = counted.map_or(0, |tx| tx.nodes_of(self.domid));
        let nodes = self.daemon.store.used_by(self.domid).nodes + inside;
        self.quotas().is_some_and(|quotas| nodes >= i64::from(quotas[Quota::Nodes]))
    }

    pub(super) fn exceeds(&self, wanted: u32, quota: impl Fn(&Quotas) -> u32) -> bool {
        let modern = self.daemon.flavour.is_modern();
        self.quotas().map(quota).is_some_and(|max| match max {
            0 if modern => false,
            max if modern => wanted >= max,
            max => wanted > max,
        })
    }

    /// What limits the caller; nothing limits dom0.
    pub(super) fn quotas(&self) -> Option<&Quotas> {
        if is_privileged(self.domid) {
            return None;
        }
        self.daemon.domains.get(self.domid).map(|domain| &domain.quotas)
    }

    /// Notes by how much a commit will change what a domain owns.
    pub(super) fn add_nodes(&mut self, domid: DomId, change: i64) {
        if let Some(transaction) = &mut self.transaction {
            transaction.add_nodes(domid, change);
        }
    }

    /// Lets watches fire: now, or when the transaction is committed.
    pub(super) fn fire(
        &mut self,
        path: &str,
        node: Option<&Node>,
        matching: Match,
        old: Option<&NodePerms>,
    ) {
        match &mut self.transaction {
            Some(transaction) => transaction.queue_event(path, matching),
            None => self.daemon.fire(path, node, matching, old),
        }
    }

    pub(super) fn view(&mut self) -> View<'_> {
        let max_accessed = match self.quotas().map(|quotas| quotas[Quota::TransactionNodes]) {
            None => usize::MAX,
            Some(0) if self.daemon.flavour.is_modern() => usize::MAX,
            Some(max) => max as usize,
        };
        let (store, transaction) = match &mut self.transaction {
            Some(Transaction { snapshot: Some(snapshot), .. }) => (&mut snapshot.store, None),
            transaction => (&mut self.daemon.store, transaction.as_mut()),
        };
        View { store, transaction, max_accessed }
    }
}

/// The length of `/local/domain/<domid>/` in front of a path, which does not count against
/// its limit.
fn home_len(path: &str) -> usize {
    let Some(rest) = path.strip_prefix("/local/domain/") else {
        return 0;
    };
    match rest.find('/') {
        Some(at @ 1..=5) if rest[..at].bytes().all(|byte| byte.is_ascii_digit()) => {
            path.len() - rest.len() + at + 1
        }
        _ => 0,
    }
}
