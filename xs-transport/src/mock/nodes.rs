//! Requests that read and change nodes.

use xs_proto::{DomId, ErrorCode, PAYLOAD_MAX, Reply, Strings};

use super::args;
use super::daemon::{FEATURES, INVALID, OWN, READ, WRITE, is_privileged};
use super::flavour::Flavour;
use super::quota::Quota;
use super::request::{Answer, Call, DONE, Result};
use super::store::{Children, Entry, Node, NodePerms, join, name_of, parent_of};
use super::watches::Match;

impl Call<'_> {
    pub(super) fn read(&mut self, payload: &[u8]) -> Result {
        let path = self.canonical(args::only(payload), false)?;
        self.existing(&path, READ).map(Answer::Value)
    }

    pub(super) fn directory(&mut self, payload: &[u8]) -> Result {
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

    pub(super) fn directory_part(&mut self, payload: &[u8]) -> Result {
        let [path, offset] = args::exactly(payload).ok_or(INVALID)?;
        let path = self.canonical(Some(path), false)?;
        let node = self.existing(&path, READ)?;
        let offset = args::atoi(offset) as u32 as usize;
        let room = PAYLOAD_MAX - node.generation.to_string().len() - 2;
        let (children, last) = part(&node.children, offset, room);
        Ok(Answer::Reply(Reply::Part { generation: node.generation, children, last }))
    }

    pub(super) fn get_perms(&mut self, payload: &[u8]) -> Result {
        // Older daemons let them be set, but not read.
        let special = self.daemon.flavour.is_modern();
        let path = self.canonical(args::only(payload), special)?;
        let node = self.existing(&path, READ)?;
        Ok(Answer::Reply(Reply::Permissions(node.perms.to_permissions())))
    }

    pub(super) fn write(&mut self, payload: &[u8]) -> Result {
        let end = payload.iter().position(|byte| *byte == 0).ok_or(INVALID)?;
        let path = self.canonical(Some(&payload[..end]), false)?;
        self.write_value(&path, &payload[end + 1..])?;
        DONE
    }

    pub(super) fn mkdir(&mut self, payload: &[u8]) -> Result {
        let path = self.canonical(args::only(payload), false)?;
        if self.find(&path, WRITE)?.is_none() {
            self.create(&path, b"")?;
        }
        DONE
    }

    pub(super) fn rm(&mut self, payload: &[u8]) -> Result {
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

    pub(super) fn set_perms(&mut self, payload: &[u8]) -> Result {
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
    pub(super) fn get_to_know(&mut self, entries: &[Entry]) {
        let generation = self.daemon.store.generation();
        for entry in entries {
            self.daemon.domains.get_or_add(entry.permission.domid, generation, FEATURES);
        }
    }

    pub(super) fn put_perms(&mut self, path: &str, entries: Vec<Entry>) -> Result<()> {
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

    pub(super) fn write_value(&mut self, path: &str, value: &[u8]) -> Result<()> {
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
    pub(super) fn remove_tree(&mut self, path: &str) -> Result<()> {
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
