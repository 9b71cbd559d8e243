//! From a request to its answer, with the daemon's checks in the daemon's order.

use std::borrow::Cow;
use std::sync::Arc;

use xs_proto::{DomId, ErrorCode, Header, MessageType, PAYLOAD_MAX, Reply, Strings, TxId};

use super::args;
use super::daemon::{ConnId, Daemon, FEATURES, INVALID, OWN, READ, WRITE, is_privileged};
use super::domains::DOMID_SELF;
use super::flavour::Flavour;
use super::quota::{Quota, Quotas};
use super::store::{Children, Entry, Node, NodePerms, join, name_of, parent_of};
use super::transaction::{Transaction, View};
use super::watches::{Match, Watch, size_of};

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
    conn: ConnId,
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
        let exists = path != "/" && self.store.get(path).is_some();
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

    // Reading.

    fn read(&mut self, payload: &[u8]) -> Result {
        let path = self.canonical(args::only(payload), false)?;
        self.existing(&path, READ).map(Answer::Value)
    }

    fn directory(&mut self, payload: &[u8]) -> Result {
        let path = self.canonical(args::only(payload), false)?;
        let node = self.existing(&path, READ)?;
        if node.children.wire_len() > PAYLOAD_MAX && !self.daemon.flavour.is_ocaml() {
            return Err(ErrorCode::TooBig);
        }
        let names = if self.daemon.flavour.is_ocaml() {
            let mut names: Vec<_> = node.children.iter().collect();
            names.sort_unstable();
            Strings::from_list(names)
        } else {
            Strings::from_list(node.children.iter())
        };
        Ok(Answer::Reply(Reply::Children(names.map_err(|_| ErrorCode::Io)?)))
    }

    fn directory_part(&mut self, payload: &[u8]) -> Result {
        let [path, offset] = args::exactly(payload).ok_or(INVALID)?;
        let path = self.canonical(Some(path), false)?;
        let node = self.existing(&path, READ)?;
        let offset = args::atoi(offset) as u32 as usize;
        let room = PAYLOAD_MAX - node.generation.to_string().len() - 2;
        let (children, last) = part(&node.children, offset, room);
        Ok(Answer::Reply(Reply::Part { generation: node.generation, children, last }))
    }

    fn get_perms(&mut self, payload: &[u8]) -> Result {
        // Older daemons let them be set, but not read.
        let special = self.daemon.flavour.is_modern();
        let path = self.canonical(args::only(payload), special)?;
        let node = self.existing(&path, READ)?;
        Ok(Answer::Reply(Reply::Permissions(node.perms.to_permissions())))
    }

    // Writing.

    fn write(&mut self, payload: &[u8]) -> Result {
        let end = payload.iter().position(|byte| *byte == 0).ok_or(INVALID)?;
        let path = self.canonical(Some(&payload[..end]), false)?;
        self.write_value(&path, &payload[end + 1..])?;
        DONE
    }

    fn mkdir(&mut self, payload: &[u8]) -> Result {
        let path = self.canonical(args::only(payload), false)?;
        if self.find(&path, WRITE)?.is_none() {
            self.create(&path, b"")?;
        }
        DONE
    }

    fn rm(&mut self, payload: &[u8]) -> Result {
        let path = self.canonical(args::only(payload), false)?;
        if self.find(&path, WRITE)?.is_none() {
            // Fine if its parent exists.
            return match self.view().read(parent_of(&path))? {
                Some(_) => DONE,
                None => Err(ErrorCode::NoEntry),
            };
        }
        if path == "/" {
            return Err(INVALID);
        }
        self.remove_tree(&path)?;
        DONE
    }

    fn set_perms(&mut self, payload: &[u8]) -> Result {
        let mut fields = args::strings(payload);
        let path = fields.next().ok_or(INVALID)?;
        let list: Vec<_> = fields.collect();
        if list.is_empty() {
            return Err(INVALID);
        }
        if self.exceeds(list.len() as u32, |quotas| quotas[Quota::NodePermissions]) {
            return Err(ErrorCode::NoSpace);
        }
        let permissions = list.into_iter().map(args::permission);
        let entries =
            permissions.map(|permission| Some(Entry { permission: permission?, void: false }));
        let entries: Vec<_> = entries.collect::<Option<_>>().ok_or(INVALID)?;
        self.get_to_know(&entries);
        let path = self.canonical(Some(path), true)?;
        self.put_perms(&path, entries)?;
        DONE
    }

    /// Whom permissions name is known from then on: later domains of the same number are others.
    fn get_to_know(&mut self, entries: &[Entry]) {
        let generation = self.daemon.store.generation();
        for entry in entries {
            self.daemon.domains.get_or_add(entry.permission.domid, generation, FEATURES);
        }
    }

    fn put_perms(&mut self, path: &str, entries: Vec<Entry>) -> Result<()> {
        let node = self.existing(path, WRITE | OWN)?;
        let perms = NodePerms::from_entries(entries).ok_or(INVALID)?;
        if !is_privileged(self.domid) && perms.owner() != node.owner() {
            return Err(ErrorCode::NotPermitted);
        }
        let (before, after) = (node.owner(), perms.owner());
        let old_perms = node.perms.clone();
        let node = self.put(path, Node { perms, ..Node::clone(&node) }, true)?;
        self.add_nodes(before, -1);
        self.add_nodes(after, 1);
        // The permissions of special watches tell nobody in older C daemons.
        if self.daemon.flavour != Flavour::C417 || !path.starts_with('@') {
            self.fire(path, Some(&node), Match::Subtree, Some(&old_perms));
        }
        Ok(())
    }

    fn write_value(&mut self, path: &str, value: &[u8]) -> Result<()> {
        match self.find(path, WRITE)? {
            Some(node) => {
                let node = Node { value: value.into(), ..Node::clone(&node) };
                let node = self.put(path, node, true)?;
                self.fire(path, Some(&node), Match::Subtree, None);
                Ok(())
            }
            None => self.create(path, value),
        }
    }

    /// Creates a node, and its parents as needed. They inherit the permissions of the nearest
    /// node that exists; a domain without privileges owns what it creates.
    fn create(&mut self, path: &str, value: &[u8]) -> Result<()> {
        let mut missing = vec![path];
        let (parent_path, parent) = loop {
            let at = parent_of(missing[missing.len() - 1]);
            match self.view().read(at)? {
                Some(node) => break (at, node),
                None if at == "/" => return Err(ErrorCode::NoEntry),
                None => missing.push(at),
            }
        };
        if let Some(transaction) = &mut self.transaction {
            transaction.created = true;
        }
        let mut perms = self.adjusted(&parent).into_owned();
        if !is_privileged(self.domid) {
            perms = perms.with_owner(self.domid);
        }

        // From below, as the daemon does it: a failure undoes what was written before.
        let orders: Vec<_> = missing.iter().map(|_| self.daemon.store.next_order()).collect();
        let mut created = None;
        for (at, path) in missing.iter().enumerate() {
            let mut node = Node::new(path, perms.clone(), orders[at]);
            if at == 0 {
                node.value = value.into();
            } else {
                node.children.add(orders[at - 1], name_of(missing[at - 1]));
            }
            let written =
                if self.is_full() { Err(ErrorCode::NoSpace) } else { self.put(path, node, true) };
            match written {
                Ok(node) => {
                    self.add_nodes(perms.owner(), 1);
                    created.get_or_insert(node);
                }
                Err(code) => return Err(self.undo(&missing[..at], perms.owner(), code)),
            }
        }
        let mut parent = Node::clone(&parent);
        let top = missing.len() - 1;
        parent.children.add(orders[top], name_of(missing[top]));
        if let Err(code) = self.put(parent_path, parent, true) {
            return Err(self.undo(&missing, perms.owner(), code));
        }
        self.fire(path, created.as_deref(), Match::Subtree, None);
        Ok(())
    }

    fn undo(&mut self, paths: &[&str], owner: DomId, code: ErrorCode) -> ErrorCode {
        for path in paths {
            // It has been accessed already, which is all that could fail.
            let _ = self.view().delete(path);
            self.add_nodes(owner, -1);
            if let Some(transaction) = &mut self.transaction {
                transaction.failed = true;
            }
        }
        code
    }

    /// Removes a node that exists and is not the root, and all below it.
    fn remove_tree(&mut self, path: &str) -> Result<()> {
        let parent_path = parent_of(path);
        let parent = self.view().read(parent_path)?.ok_or(INVALID)?;
        let order = self.remove_below(path, path).map_err(|_| ErrorCode::Io)?;
        let mut parent = Node::clone(&parent);
        // A transaction may see a node that was created outside below a parent that it has copied
        // before. It cannot be committed any more, but it can go on.
        if !parent.children.remove(order) {
            return Err(ErrorCode::Io);
        }
        self.put(parent_path, parent, false).map_err(|_| ErrorCode::Io)?;
        Ok(())
    }

    /// Children first. Watches fire while the parents are still there to judge by.
    fn remove_below(&mut self, path: &str, top: &str) -> Result<u64> {
        let node = self.view().read(path)?.ok_or(ErrorCode::Io)?;
        for name in node.children.iter() {
            self.remove_below(&join(path, name), top)?;
        }
        self.view().delete(path)?;
        self.add_nodes(node.owner(), -1);
        let matching = if path == top { Match::Subtree } else { Match::Exact };
        self.fire(path, Some(&node), matching, None);
        Ok(node.order)
    }

    // Watches.

    fn watch(&mut self, payload: &[u8]) -> Result {
        let count = args::strings(payload).count();
        let [path, token] = args::at_least(payload).ok_or(INVALID)?;
        let depth = match count {
            2 => None,
            3 if self.daemon.flavour.is_modern() => {
                let depth = args::strings(payload).nth(2).map_or(0, args::atoi);
                Some(u32::try_from(depth).map_err(|_| INVALID)?)
            }
            _ => return Err(INVALID),
        };
        let is_relative = !matches!(path.first(), Some(b'/' | b'@'));
        let canonical = self.canonical(Some(path), true)?;
        if self.daemon.watches.contains(self.conn, &canonical, token) {
            return Err(ErrorCode::Exists);
        }
        let modern = self.daemon.flavour.is_modern();
        let ocaml = self.daemon.flavour.is_ocaml();
        let held = self.daemon.domains.get(self.domid).map_or(0, |domain| domain.watches);
        let allowed = self.quotas().map(|quotas| match quotas[Quota::Watches] {
            _ if ocaml => 101,
            0 => u32::MAX,
            max if modern => max - 1,
            max => max.saturating_add(1),
        });
        if allowed.is_some_and(|allowed| held >= allowed) {
            return Err(match self.daemon.flavour {
                _ if modern => ErrorCode::NoSpace,
                _ if ocaml => ErrorCode::Quota,
                _ => ErrorCode::TooBig,
            });
        }
        let bytes = size_of(&canonical, token) as i64;
        if self.is_too_much(self.domid, bytes) {
            return Err(ErrorCode::NoMemory);
        }
        let prefix = if is_relative { canonical.len() - path.len() } else { 0 };
        let watch = Watch { token: token.into(), prefix, depth };
        self.daemon.watches.add(self.conn, &canonical, watch);
        if let Some(domain) = self.daemon.domains.get_mut(self.domid) {
            domain.watches += 1;
            domain.bytes += bytes;
        }
        DONE
    }

    fn unwatch(&mut self, payload: &[u8]) -> Result {
        let [path, token] = args::exactly(payload).ok_or(INVALID)?;
        let path = match self.canonical(Some(path), true) {
            // Older daemons do not judge the path: nobody can watch it.
            Err(INVALID) if !self.daemon.flavour.is_modern() => return Err(ErrorCode::NoEntry),
            path => path?,
        };
        if !self.daemon.watches.remove(self.conn, &path, token) {
            return Err(ErrorCode::NoEntry);
        }
        if let Some(domain) = self.daemon.domains.get_mut(self.domid) {
            domain.watches -= 1;
            domain.bytes -= size_of(&path, token) as i64;
        }
        DONE
    }

    /// A domain has one ring to the daemon, so its reset reaches all its connections; a socket of
    /// dom0 stands for itself.
    fn reset_watches(&mut self) -> Result {
        let conns = if is_privileged(self.domid) {
            vec![self.conn]
        } else {
            self.daemon.conns_of(self.domid)
        };
        // The transaction that the request came in ends as well.
        self.drop_transaction();
        for conn in conns {
            self.daemon.reset(conn);
        }
        DONE
    }

    // Transactions.

    fn transaction_start(&mut self) -> Result {
        if self.transaction.is_some() {
            return Err(ErrorCode::Busy);
        }
        let modern = self.daemon.flavour.is_modern();
        let held = self.daemon.domains.get(self.domid).map_or(0, |domain| domain.transactions);
        let allowed = self.quotas().map(|quotas| match quotas[Quota::Transactions] {
            0 if modern => u32::MAX,
            max if modern => max - 1,
            max => max.saturating_add(1),
        });
        if allowed.is_some_and(|allowed| held >= allowed) {
            let ocaml = self.daemon.flavour.is_ocaml();
            return Err(if ocaml { ErrorCode::Quota } else { ErrorCode::NoSpace });
        }
        if let Some(domain) = self.daemon.domains.get_mut(self.domid) {
            domain.transactions += 1;
        }
        let transaction = if self.daemon.flavour.is_ocaml() {
            Transaction::on_copy(&self.daemon.store)
        } else {
            Transaction::starting_at(self.daemon.store.next_generation())
        };
        let conn = self.daemon.conns.get_mut(&self.conn).ok_or(ErrorCode::Io)?;
        let id = loop {
            conn.last_transaction = conn.last_transaction.wrapping_add(1);
            let id = conn.last_transaction;
            if id != 0 && !conn.transactions.contains_key(&id) {
                break id;
            }
        };
        conn.transactions.insert(id, transaction);
        Ok(Answer::Reply(Reply::Transaction(TxId(id))))
    }

    fn transaction_end(&mut self, payload: &[u8]) -> Result {
        let commit = match args::only(payload) {
            Some(b"T") => true,
            Some(b"F") => false,
            _ => return Err(INVALID),
        };
        let transaction = self.drop_transaction().ok_or(ErrorCode::NoEntry)?;
        if !commit {
            return DONE;
        }
        if transaction.failed {
            return Err(ErrorCode::NoMemory);
        }
        if transaction.created && !is_privileged(self.domid) {
            for (domid, change) in &transaction.nodes {
                let domain = self.daemon.domains.get(*domid).filter(|_| !is_privileged(*domid));
                let nodes = self.daemon.store.used_by(*domid).nodes + change;
                if domain.is_some_and(|domain| nodes >= i64::from(domain.quotas[Quota::Nodes])) {
                    return Err(ErrorCode::NoSpace);
                }
            }
        }
        for change in transaction.into_changes(&self.daemon.store)? {
            match change.node {
                Some(node) => {
                    let mut node = Arc::unwrap_or_clone(node);
                    node.generation = self.daemon.store.next_generation();
                    self.daemon.store.put(node);
                }
                None => self.daemon.store.remove(&change.path),
            }
            if let Some(matching) = change.fire {
                self.daemon.fire(&change.path, None, matching, change.old_perms.as_ref());
            }
        }
        DONE
    }

    /// The transaction is over, however it ended.
    pub(super) fn drop_transaction(&mut self) -> Option<Transaction> {
        let transaction = self.transaction.take()?;
        if let Some(domain) = self.daemon.domains.get_mut(self.domid) {
            domain.transactions -= 1;
        }
        Some(transaction)
    }

    // Domains.

    fn introduce(&mut self, payload: &[u8]) -> Result {
        let [domid, _gfn, port] = args::at_least(payload).ok_or(INVALID)?;
        let domid = self.domid_arg(domid)?;
        if args::atoi(port) == 0 {
            return Err(INVALID);
        }
        if !self.daemon.introduce(domid) && !is_privileged(domid) {
            for conn in self.daemon.conns_of(domid) {
                self.daemon.reset(conn);
            }
        }
        DONE
    }

    fn release(&mut self, payload: &[u8]) -> Result {
        let domid = self.guest(payload)?;
        self.daemon.release(domid);
        DONE
    }

    fn resume(&mut self, payload: &[u8]) -> Result {
        let domid = self.guest(payload)?;
        if let Some(domain) = self.daemon.domains.get_mut(domid) {
            domain.shut_down = false;
        }
        DONE
    }

    fn set_target(&mut self, payload: &[u8]) -> Result {
        let [domid, target] = args::at_least(payload).ok_or(INVALID)?;
        let (domid, target) = (self.domid_arg(domid)?, self.domid_arg(target)?);
        // oxenstored takes any number for a target.
        if !self.daemon.flavour.is_ocaml() && self.daemon.domains.introduced(target).is_none() {
            return Err(ErrorCode::NoEntry);
        }
        let domain = self.daemon.domains.introduced(domid).ok_or(ErrorCode::NoEntry)?;
        domain.target = Some(target);
        DONE
    }

    fn get_domain_path(&mut self, payload: &[u8]) -> Result {
        let text = args::only(payload).ok_or(INVALID)?;
        // Other daemons than the newest make some number of anything.
        let domid = if self.daemon.flavour.is_modern() {
            u32::from(args::domid(text).ok_or(INVALID)?.get())
        } else {
            args::atoi(text) as u32
        };
        Ok(Answer::Reply(Reply::Text(format!("/local/domain/{domid}").into())))
    }

    fn is_domain_introduced(&mut self, payload: &[u8]) -> Result {
        let domid = self.domid_arg(args::only(payload).ok_or(INVALID)?)?;
        let is_known = domid == DOMID_SELF || self.daemon.domains.introduced(domid).is_some();
        Ok(Answer::Reply(Reply::Boolean(is_known)))
    }

    /// The introduced domain that a request is about; not dom0.
    fn guest(&mut self, payload: &[u8]) -> Result<DomId> {
        let domid = self.domid_arg(args::only(payload).ok_or(INVALID)?)?;
        if domid == DomId::DOM0 {
            return Err(INVALID);
        }
        let unknown = if self.daemon.flavour.is_ocaml() { INVALID } else { ErrorCode::NoEntry };
        self.daemon.domains.introduced(domid).map(|_| domid).ok_or(unknown)
    }

    fn domid_arg(&self, text: &[u8]) -> Result<DomId> {
        if self.daemon.flavour.is_modern() {
            return args::domid(text).ok_or(INVALID);
        }
        u16::try_from(args::atoi(text)).map(DomId::new).map_err(|_| INVALID)
    }

    // Features and quotas.

    fn get_feature(&mut self, payload: &[u8]) -> Result {
        let features = match args::strings(payload).count() {
            0 => FEATURES,
            1 => {
                let [domid] = args::at_least(payload).ok_or(INVALID)?;
                let domid = args::domid(domid).ok_or(INVALID)?;
                let generation = self.daemon.store.generation();
                self.daemon.domains.get_or_add(domid, generation, FEATURES).features
            }
            _ => return Err(INVALID),
        };
        Ok(Answer::Reply(Reply::Features(features)))
    }

    fn set_feature(&mut self, payload: &[u8]) -> Result {
        let [domid, features] = args::exactly(payload).ok_or(INVALID)?;
        let domid = args::domid(domid).ok_or(INVALID)?;
        let features = args::atoi(features) as u32;
        let generation = self.daemon.store.generation();
        let domain = self.daemon.domains.get_or_add(domid, generation, FEATURES);
        if domain.introduced {
            return Err(ErrorCode::Busy);
        }
        if features & !FEATURES != 0 {
            return Err(INVALID);
        }
        domain.features = features;
        DONE
    }

    fn get_quota(&mut self, payload: &[u8]) -> Result {
        let (domid, name) = match args::strings(payload).count() {
            0 => return Ok(Answer::Reply(Reply::Text(Quota::names().into()))),
            1 => (None, args::at_least::<1>(payload).map(|[name]| name)),
            2 => {
                let [domid, name] = args::at_least(payload).ok_or(INVALID)?;
                (Some(domid), Some(name))
            }
            _ => return Err(INVALID),
        };
        let value = *self.quota(domid, name.ok_or(INVALID)?)?;
        Ok(Answer::Reply(Reply::Text(value.to_string().into())))
    }

    fn set_quota(&mut self, payload: &[u8]) -> Result {
        let (domid, [name, value]) = match args::strings(payload).count() {
            2 => (None, args::at_least(payload).ok_or(INVALID)?),
            3 => {
                let [domid, name, value] = args::at_least(payload).ok_or(INVALID)?;
                (Some(domid), [name, value])
            }
            _ => return Err(INVALID),
        };
        let value = args::atoi(value) as u32;
        let quota = self.quota(domid, name)?;
        if value == u32::MAX {
            return Err(INVALID);
        }
        *quota = value;
        DONE
    }

    fn quota(&mut self, domid: Option<&[u8]>, name: &[u8]) -> Result<&mut u32> {
        let quota = Quota::by_name(name);
        let quotas = match domid {
            None => &mut self.daemon.domains.defaults,
            Some(domid) => {
                let domid = args::domid(domid).ok_or(INVALID)?;
                let generation = self.daemon.store.generation();
                &mut self.daemon.domains.get_or_add(domid, generation, FEATURES).quotas
            }
        };
        Ok(&mut quotas[quota.ok_or(INVALID)?])
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
        if path.len() - home_len(&path) > max as usize {
            return Err(INVALID);
        }
        Ok(path)
    }

    /// The node, if it exists and the caller has all of these rights.
    fn existing(&mut self, path: &str, rights: u8) -> Result<Arc<Node>> {
        self.find(path, rights)?.ok_or(ErrorCode::NoEntry)
    }

    /// The node if the caller has all of these rights; `None` if it does not exist and the caller
    /// may know that. Who has none of the rights on the nearest node above learns nothing.
    fn find(&mut self, path: &str, rights: u8) -> Result<Option<Arc<Node>>> {
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

    fn adjusted<'n>(&self, node: &'n Node) -> Cow<'n, NodePerms> {
        let is_void = |domid| !self.daemon.domains.is_meant(domid, node.generation);
        let others = &node.perms.entries()[1..];
        if others.iter().any(|entry| !entry.void && is_void(entry.permission.domid)) {
            Cow::Owned(node.perms.voiding(is_void))
        } else {
            Cow::Borrowed(&node.perms)
        }
    }

    /// Writes a node, if its size allows.
    fn put(&mut self, path: &str, node: Node, check: bool) -> Result<Arc<Node>> {
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
    fn is_too_much(&self, domid: DomId, more: i64) -> bool {
        let Some(max) = self.daemon.memory_of(domid) else {
            return false;
        };
        let transaction = self.transaction.as_ref().filter(|_| domid == self.domid);
        let bytes = transaction.map_or(0, |transaction| transaction.bytes);
        self.daemon.bytes_of(domid) + bytes + more >= max
    }

    /// Whether the caller owns as many nodes as it may. Older daemons do not count what a
    /// transaction has created until its end.
    fn is_full(&self) -> bool {
        let counted = self.transaction.as_ref().filter(|_| self.daemon.flavour.is_modern());
        let inside = counted.map_or(0, |tx| tx.nodes_of(self.domid));
        let nodes = self.daemon.store.used_by(self.domid).nodes + inside;
        self.quotas().is_some_and(|quotas| nodes >= i64::from(quotas[Quota::Nodes]))
    }

    fn exceeds(&self, wanted: u32, quota: impl Fn(&Quotas) -> u32) -> bool {
        let modern = self.daemon.flavour.is_modern();
        self.quotas().map(quota).is_some_and(|max| match max {
            0 if modern => false,
            max if modern => wanted >= max,
            max => wanted > max,
        })
    }

    /// What limits the caller; nothing limits dom0.
    fn quotas(&self) -> Option<&Quotas> {
        if is_privileged(self.domid) {
            return None;
        }
        self.daemon.domains.get(self.domid).map(|domain| &domain.quotas)
    }

    /// Notes by how much a commit will change what a domain owns.
    fn add_nodes(&mut self, domid: DomId, change: i64) {
        if let Some(transaction) = &mut self.transaction {
            transaction.add_nodes(domid, change);
        }
    }

    /// Lets watches fire: now, or when the transaction is committed.
    fn fire(&mut self, path: &str, node: Option<&Node>, matching: Match, old: Option<&NodePerms>) {
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

/// The names from `offset` on, in bytes into their list, that need at most `room` bytes; and
/// whether they are the last. An offset inside a name gives the rest of the name.
fn part(children: &Children, offset: usize, room: usize) -> (Strings<'static>, bool) {
    let (mut at, mut taken) = (0, Vec::new());
    let mut is_last = true;
    for name in children.iter() {
        let end = at + name.len() + 1;
        if end > offset {
            let name = &name.as_bytes()[offset.saturating_sub(at)..];
            if taken.len() + name.len() >= room {
                is_last = false;
                break;
            }
            taken.extend_from_slice(name);
            taken.push(0);
        }
        at = end;
    }
    (Strings::new(taken).unwrap_or_default(), is_last)
}
