//! Finding the node that a request names.

use std::borrow::Cow;
use std::sync::Arc;

use xs_proto::{ABS_PATH_MAX, ErrorCode, MessageType};

use super::answer::{INVALID, Result};
use super::call::Call;
use crate::mock::store::node::Node;
use crate::mock::store::path::{home_len, parent_of};
use crate::mock::store::permissions::NodePerms;
use crate::mock::store::quota::Quota;

impl Call<'_> {
    /// Returns the absolute path for a request of this type.
    pub(super) fn path_for<'p>(
        &self,
        msg_type: MessageType,
        path: Option<&'p [u8]>,
    ) -> Result<Cow<'p, str>> {
        self.canonical(path, self.behaviour().special_paths.contains(&msg_type))
    }

    /// Returns the absolute path. `special` allows the path of a special watch.
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
        // All allowed bytes are ASCII.
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
            None if self.behaviour().path_quota_binds_dom0 => {
                self.daemon.domains.defaults[Quota::PathMax]
            }
            None => u32::MAX,
        };
        // Other domains, which have to spell out the whole path, could not name a longer one.
        if path.len() > ABS_PATH_MAX || path.len() - home_len(&path) > max as usize {
            return Err(INVALID);
        }
        Ok(path)
    }

    /// Returns an existing node on which the domain has all of these rights.
    pub(super) fn existing(&mut self, path: &str, rights: u8) -> Result<Arc<Node>> {
        if self.behaviour().hides_missing_nodes {
            return self.find(path, rights)?.ok_or(ErrorCode::NoEntry);
        }
        let node = self.view().read(path)?.ok_or(ErrorCode::NoEntry)?;
        self.check(&node, rights)?;
        Ok(node)
    }

    /// Returns a node on which the domain has all of these rights, or `None` if the node does not
    /// exist and the domain may know this, because it has one of the rights on the nearest existing
    /// ancestor.
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

    /// Returns the node's permissions with the entries of earlier domains marked void. They have to
    /// stay void when the node is written, which makes it look as new as the present domains.
    pub(super) fn adjusted<'n>(&self, node: &'n Node) -> Cow<'n, NodePerms> {
        let is_void = |domid| !self.daemon.domains.is_meant(domid, node.generation);
        let others = &node.perms.entries()[1..];
        if others.iter().any(|entry| !entry.void && is_void(entry.permission.domid)) {
            Cow::Owned(node.perms.voiding(is_void))
        } else {
            Cow::Borrowed(&node.perms)
        }
    }

    fn with_adjusted(&self, node: &Arc<Node>) -> Arc<Node> {
        match self.adjusted(node) {
            Cow::Borrowed(_) => node.clone(),
            Cow::Owned(perms) => Arc::new(Node { perms, ..Node::clone(node) }),
        }
    }
}
