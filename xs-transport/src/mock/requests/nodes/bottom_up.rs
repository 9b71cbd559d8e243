//! Changes of nodes from the bottom up, as the C daemon makes them.
//!
//! All rights are checked before the first change. A node is created before its parents, and a
//! failure undoes what was created.

use std::sync::Arc;

use xs_proto::{DomId, ErrorCode};

use crate::mock::daemon::domains::{DOMID_ANY, is_privileged};
use crate::mock::requests::answer::{INVALID, Result};
use crate::mock::requests::call::Call;
use crate::mock::store::node::Node;
use crate::mock::store::path::{join, name_of, parent_of};
use crate::mock::store::permissions::{NodePerms, OWN, WRITE};
use crate::mock::store::quota::Quota;
use crate::mock::store::scope::Scope;

impl Call<'_> {
    pub(in crate::mock::requests) fn bottom_up_write(
        &mut self,
        path: &str,
        value: &[u8],
    ) -> Result<()> {
        match self.find(path, WRITE)? {
            Some(node) => {
                let node = Node { value: value.into(), ..Node::clone(&node) };
                let node = self.put(path, node)?;
                self.fire(path, Some(&node), Scope::Subtree, None);
                Ok(())
            }
            None => self.bottom_up_create(path, value),
        }
    }

    pub(super) fn bottom_up_mkdir(&mut self, path: &str) -> Result<()> {
        match self.find(path, WRITE)? {
            Some(_) => Ok(()),
            None => self.bottom_up_create(path, b""),
        }
    }

    pub(super) fn bottom_up_rm(&mut self, path: &str) -> Result<()> {
        if self.find(path, WRITE)?.is_none() {
            let parent = self.view().read(parent_of(path))?;
            return if parent.is_some() { Ok(()) } else { Err(ErrorCode::NoEntry) };
        }
        if path == "/" {
            return Err(INVALID);
        }
        self.bottom_up_remove(path)
    }

    pub(in crate::mock::requests) fn bottom_up_set_perms(
        &mut self,
        path: &str,
        perms: NodePerms,
    ) -> Result<()> {
        let node = self.existing(path, WRITE | OWN)?;
        if !is_privileged(self.domid) && perms.owner() != node.owner() {
            return Err(ErrorCode::NotPermitted);
        }
        let (before, after) = (node.owner(), perms.owner());
        let old_perms = node.perms.clone();
        let node = self.put(path, Node { perms, ..Node::clone(&node) })?;
        self.add_nodes(before, -1);
        self.add_nodes(after, 1);
        if self.behaviour().special_permission_changes_fire || !path.starts_with('@') {
            self.fire(path, Some(&node), Scope::Subtree, Some(&old_perms));
        }
        Ok(())
    }

    /// Adds the domains that permissions name to the known domains, so that the daemon can tell
    /// them from later domains of the same numbers. Returns the permissions, in which the entries
    /// of domains that do not exist are void.
    pub(in crate::mock::requests) fn learn_domains(&mut self, perms: NodePerms) -> NodePerms {
        let generation = self.daemon.store.generation();
        let domains = &mut self.daemon.domains;
        for entry in perms.entries().iter().filter(|entry| !entry.void) {
            let domid = entry.permission.domid;
            if domains.exists(domid) {
                domains.get_or_add(domid, generation);
            }
        }
        perms.voiding(|domid| domid != DOMID_ANY && domains.get(domid).is_none())
    }

    /// Removes an existing node, which is not the root, and its descendants.
    pub(in crate::mock::requests) fn bottom_up_remove(&mut self, path: &str) -> Result<()> {
        let parent_path = parent_of(path);
        let parent = self.view().read(parent_path)?.ok_or(INVALID)?;
        let order = self.remove_with_events(path, path).map_err(|_| ErrorCode::Io)?;
        let mut parent = Node::clone(&parent);
        // A transaction may see a node that was created outside after the transaction had copied
        // the parent. It can no longer be committed, but it can continue.
        if !parent.children.remove(order) {
            return Err(ErrorCode::Io);
        }
        let size = self.daemon.store.size_of(&parent) as i64;
        self.daemon.domains.note_guest(self.domid, Quota::NodeSize, size);
        let written = self.view().write(parent_path, parent);
        if written.is_err() {
            self.fail_transaction();
        }
        written.map(drop).map_err(|_| ErrorCode::Io)
    }

    /// Removes a node after its descendants. Watches fire while the parents still exist, because
    /// their permissions decide whether a domain may see the events.
    fn remove_with_events(&mut self, path: &str, top: &str) -> Result<u64> {
        let node = self.view().read(path)?.ok_or(ErrorCode::Io)?;
        if let Some(first) = node.children.iter().next() {
            // The daemon writes the node for each child that it removes.
            let size = self.daemon.store.size_of(&node) - (first.len() + 1);
            self.daemon.domains.note_guest(self.domid, Quota::NodeSize, size as i64);
        }
        for name in node.children.iter() {
            self.remove_with_events(&join(path, name), top)?;
        }
        self.view().delete(path)?;
        self.add_nodes(node.owner(), -1);
        let scope = if path == top { Scope::Subtree } else { Scope::Exact };
        self.fire(path, Some(&node), scope, None);
        Ok(node.order)
    }

    /// Creates a node and its missing parents. They inherit the permissions of the nearest existing
    /// ancestor, except that a guest owns the nodes that it creates.
    fn bottom_up_create(&mut self, path: &str, value: &[u8]) -> Result<()> {
        let mut missing = vec![path];
        let (parent_path, parent) = loop {
            let at = parent_of(missing[missing.len() - 1]);
            match self.view().read(at)? {
                Some(node) => break (at, node),
                None if at == "/" => return Err(ErrorCode::NoEntry),
                None => missing.push(at),
            }
        };
        if let Some(tracked) = self.tracked_mut() {
            tracked.created = true;
        }
        let mut perms = self.adjusted(&parent).into_owned();
        if !is_privileged(self.domid) {
            perms = perms.with_owner(self.domid);
        }

        let was_full = self.has_all_nodes();
        let orders: Vec<_> = missing.iter().map(|_| self.daemon.store.next_order()).collect();
        let mut created = None;
        for (at, path) in missing.iter().enumerate() {
            let mut node = Node::new(path, perms.clone(), orders[at]);
            if at == 0 {
                node.value = value.into();
            } else {
                node.children.add(orders[at - 1], name_of(missing[at - 1]));
            }
            let is_full = if self.behaviour().counts_nodes_of_request {
                self.has_all_nodes()
            } else {
                was_full
            };
            let written = if is_full {
                Err(self.behaviour().quota_error.clone())
            } else {
                self.put(path, node)
            };
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
        if let Err(code) = self.put(parent_path, parent) {
            return Err(self.undo(&missing, perms.owner(), code));
        }
        self.fire(path, created.as_deref(), Scope::Subtree, None);
        Ok(())
    }

    /// Deletes the nodes that a failed request has created. Returns the error of the request.
    fn undo(&mut self, paths: &[&str], owner: DomId, code: ErrorCode) -> ErrorCode {
        for path in paths {
            // Cannot fail: the transaction, if any, has accessed the node before.
            let _ = self.view().delete(path);
            self.add_nodes(owner, -1);
            self.fail_transaction();
        }
        code
    }

    /// Writes a node within the domain's quotas.
    fn put(&mut self, path: &str, node: Node) -> Result<Arc<Node>> {
        let written = if self.is_too_big(&node) {
            Err(self.behaviour().quota_error.clone())
        } else if self.node_exceeds_memory(path, &node) {
            Err(ErrorCode::Io)
        } else {
            self.view().write(path, node)
        };
        if written.is_err() {
            self.fail_transaction();
        }
        written
    }
}
