//! Changes of nodes from the top down, as oxenstored makes them.
//!
//! Missing parents are created one after the other, each like a node of its own, and stay if a
//! later step fails.

use xs_proto::ErrorCode;

use crate::mock::daemon::domains::is_privileged;
use crate::mock::requests::answer::Result;
use crate::mock::requests::call::Call;
use crate::mock::store::node::Node;
use crate::mock::store::path::{join, name_of, parent_of};
use crate::mock::store::permissions::{NodePerms, WRITE};
use crate::mock::store::quota::Quota;
use crate::mock::store::snapshot::{Change, ChangeKind};

impl Call<'_> {
    pub(super) fn top_down_write(
        &mut self,
        path: &str,
        value: &[u8],
        value_max: usize,
    ) -> Result<()> {
        self.top_down_create_parents(path)?;
        let node = self.view().read(path)?;
        if value.len() > value_max {
            return Err(ErrorCode::TooBig);
        }
        match node {
            Some(node) => {
                self.check(&node, WRITE)?;
                if *node.value == *value {
                    // The node stays as it is, and is in no transaction's way.
                    self.view().touch();
                } else {
                    let node = Node { value: value.into(), ..Node::clone(&node) };
                    self.view().write(path, node)?;
                }
                self.note_written(path);
            }
            None => self.top_down_create(path, value)?,
        }
        self.note_change(ChangeKind::Value, path, &[]);
        Ok(())
    }

    pub(super) fn top_down_mkdir(&mut self, path: &str) -> Result<()> {
        self.top_down_create_parents(path)?;
        match self.view().read(path)? {
            // oxenstored creates the root again without any check.
            Some(_) if path == "/" => {
                self.note_written(path);
                self.note_change(ChangeKind::Value, path, &[]);
            }
            Some(node) => self.check(&node, WRITE)?,
            None => {
                self.top_down_create(path, b"")?;
                self.note_change(ChangeKind::Value, path, &[]);
            }
        }
        Ok(())
    }

    /// Removes a node and its descendants. For the root this removes its children.
    pub(super) fn top_down_rm(&mut self, path: &str) -> Result<()> {
        let Some(node) = self.view().read(path)? else {
            let parent = self.view().read(parent_of(path))?;
            return if parent.is_some() { Ok(()) } else { Err(ErrorCode::NoEntry) };
        };
        self.check(&node, WRITE)?;
        self.note_written(parent_of(path));
        // The permissions before the removal decide whether a domain may see the events.
        self.note_change(ChangeKind::Removal, path, &[]);
        if path == "/" {
            for name in node.children.iter() {
                self.top_down_remove(&join("/", name))?;
            }
            return Ok(());
        }
        self.top_down_remove(path)
    }

    pub(super) fn top_down_set_perms(&mut self, path: &str, perms: NodePerms) -> Result<()> {
        let node = self.view().read(path)?.ok_or(ErrorCode::NoEntry)?;
        if !self.has_privilege() {
            let is_owner = self.daemon.identities(self.domid).any(|it| it == node.owner());
            if !is_owner || perms.owner() != node.owner() {
                return Err(ErrorCode::Access);
            }
        }
        let old_perms = self.visible_store().perms_around(path);
        self.view().write(path, Node { perms, ..Node::clone(&node) })?;
        self.note_written(path);
        self.note_change(ChangeKind::Permissions, path, &old_perms);
        Ok(())
    }

    /// Removes a node and its descendants without an event.
    pub(in crate::mock::requests) fn top_down_remove(&mut self, path: &str) -> Result<()> {
        let order = self.delete_tree(path)?;
        let parent_path = parent_of(path);
        let parent = self.view().read(parent_path)?.ok_or(ErrorCode::NoEntry)?;
        let mut parent = Node::clone(&parent);
        parent.children.remove(order);
        self.view().write(parent_path, parent)?;
        Ok(())
    }

    fn delete_tree(&mut self, path: &str) -> Result<u64> {
        let node = self.view().read(path)?.ok_or(ErrorCode::NoEntry)?;
        for name in node.children.iter() {
            self.delete_tree(&join(path, name))?;
        }
        self.view().delete(path)?;
        Ok(node.order)
    }

    fn top_down_create_parents(&mut self, path: &str) -> Result<()> {
        let mut missing = Vec::new();
        let mut at = parent_of(path);
        while self.view().read(at)?.is_none() {
            missing.push(at);
            at = parent_of(at);
        }
        missing.into_iter().rev().try_for_each(|at| self.top_down_create(at, b""))
    }

    /// Creates a node with the permissions of its parent, including the owner.
    fn top_down_create(&mut self, path: &str, value: &[u8]) -> Result<()> {
        let parent_path = parent_of(path);
        let parent = self.view().read(parent_path)?.ok_or(ErrorCode::NoEntry)?;
        let owner = parent.owner();
        if !self.has_privilege() && !is_privileged(owner) {
            let held = self.visible_store().usage_of(owner).nodes;
            if held >= i64::from(self.daemon.domains.defaults[Quota::Nodes]) {
                return Err(self.behaviour().quota_error.clone());
            }
        }
        self.check(&parent, WRITE)?;
        let order = self.daemon.store.next_order();
        let mut node = Node::new(path, parent.perms.clone(), order);
        node.value = value.into();
        self.view().write(path, node)?;
        let mut parent = Node::clone(&parent);
        parent.children.add(order, name_of(path));
        self.view().write(parent_path, parent)?;
        self.note_written(parent_path);
        Ok(())
    }

    fn note_written(&mut self, path: &str) {
        if let Some(snapshot) = self.snapshot_mut() {
            snapshot.note_written(path);
        }
    }

    /// Fires watches for a change, now or when the transaction is committed. A domain may also see
    /// the event if any of `other_perms` lets it read.
    fn note_change(&mut self, kind: ChangeKind, path: &str, other_perms: &[NodePerms]) {
        let change = Change { kind, path: path.to_owned() };
        if let Some(snapshot) = self.snapshot_mut() {
            snapshot.changes.push(change);
            return;
        }
        let store = std::mem::take(&mut self.daemon.store);
        self.daemon.fire_change(&change, &store, &store, other_perms);
        self.daemon.store = store;
    }
}
