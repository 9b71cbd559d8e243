//! The lookup of the node that a request names.

use std::borrow::Cow;
use std::sync::Arc;

use xs_proto::{ABS_PATH_MAX, ErrorCode, MessageType, REL_PATH_MAX};

use super::answer::{INVALID, Result};
use super::args;
use super::call::Call;
use crate::mock::flavour::behaviour::{PathLengths, SpecialWatches};
use crate::mock::store::node::Node;
use crate::mock::store::path::{below_root, home_len, parent_of};
use crate::mock::store::permissions::NodePerms;
use crate::mock::store::quota::Quota;

impl Call<'_> {
    /// Returns the path that is the only argument of a request.
    pub(super) fn only_path<'p>(&self, payload: &'p [u8]) -> Result<&'p [u8]> {
        let last_error = self.daemon.last_error.get();
        let error = self.behaviour().one_path_error.unwrap_or(last_error);
        args::only(payload).ok_or_else(|| error.clone())
    }

    /// Returns the path of the node that a request of this type names.
    pub(super) fn node_path<'p>(
        &self,
        msg_type: MessageType,
        path: &'p [u8],
    ) -> Result<Cow<'p, str>> {
        let is_special = path.first() == Some(&b'@');
        if is_special && self.behaviour().special_watches == SpecialWatches::Nodes {
            let name = std::str::from_utf8(path).map_err(|_| INVALID)?;
            self.check_length(name)?;
            return Ok(Cow::Owned(below_root(name)));
        }
        if is_special && !self.behaviour().special_paths.contains(&msg_type) {
            return Err(self.note_error(&INVALID));
        }
        let path = self.canonical(path)?;
        self.check_length(&path)?;
        Ok(path)
    }

    /// Returns the path that a watch is on.
    pub(super) fn watch_path<'p>(&self, path: &'p [u8]) -> Result<Cow<'p, str>> {
        let is_text = self.behaviour().special_watches != SpecialWatches::Paths;
        if path.first() == Some(&b'@') && is_text {
            let text = std::str::from_utf8(path).map_err(|_| INVALID)?;
            let is_too_long = text.len() > REL_PATH_MAX;
            return if is_too_long { Err(INVALID) } else { Ok(Cow::Borrowed(text)) };
        }
        let path = self.canonical(path)?;
        if self.behaviour().path_lengths != PathLengths::Fixed {
            self.check_length(&path)?;
        }
        Ok(path)
    }

    /// Returns the absolute form of a path with allowed characters.
    fn canonical<'p>(&self, path: &'p [u8]) -> Result<Cow<'p, str>> {
        let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-/_@".contains(byte);
        // All allowed bytes are ASCII.
        let text = std::str::from_utf8(path).ok().filter(|_| path.iter().all(is_allowed));
        let text = text.ok_or_else(|| self.note_error(&INVALID))?;
        let path = if text.starts_with(['/', '@']) {
            Cow::Borrowed(text)
        } else {
            Cow::Owned(format!("/local/domain/{}/{text}", self.domid))
        };
        if (path.ends_with('/') && path != "/") || path.contains("//") {
            return Err(self.note_error(&INVALID));
        }
        Ok(path)
    }

    fn check_length(&self, path: &str) -> Result<()> {
        /// The most digits of a domain id that the C daemon looks at.
        const DIGITS: usize = 5;
        let lengths = self.behaviour().path_lengths;
        let digits = if lengths == PathLengths::Fixed { usize::MAX } else { DIGITS };
        let len = path.len() - home_len(path, digits);
        let is_fixed = lengths != PathLengths::QuotaForGuests;
        let quotas = self.quotas().or(is_fixed.then_some(&self.daemon.domains.defaults));
        let max = quotas.map(|quotas| quotas[Quota::PathMax]);
        let allowed = max.map_or(u32::MAX, |max| self.behaviour().bounds.path_max.allowed(max));
        let is_too_long = lengths == PathLengths::QuotaForAll && path.len() > ABS_PATH_MAX;
        if is_too_long || len > allowed as usize {
            return Err(self.note_error(&INVALID));
        }
        self.daemon.domains.note_guest(self.domid, Quota::PathMax, len as i64);
        Ok(())
    }

    /// Notes an error as the last one that the daemon met, and returns it.
    pub(super) fn note_error(&self, code: &'static ErrorCode) -> ErrorCode {
        self.daemon.last_error.set(code);
        code.clone()
    }

    /// Returns an existing node on which the domain has all of these rights.
    pub(super) fn existing(&mut self, path: &str, rights: u8) -> Result<Arc<Node>> {
        if self.behaviour().hides_missing_nodes {
            return self.find(path, rights)?.ok_or(ErrorCode::NoEntry);
        }
        let node = self.view().read(path)?.ok_or(ErrorCode::NoEntry)?;
        self.check(&node, rights)?;
        if let Some(snapshot) = self.snapshot_mut() {
            snapshot.note_read(path);
        }
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
        if node.is_none() && above & rights != 0 {
            self.note_error(&ErrorCode::NoEntry);
            Ok(None)
        } else {
            Err(self.note_error(&ErrorCode::Access))
        }
    }

    /// Returns the node's permissions with the entries of earlier domains marked void. They have to
    /// stay void when the node is written, because a write makes the node as new as the present
    /// domains.
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
