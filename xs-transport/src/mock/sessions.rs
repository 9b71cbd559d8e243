//! Requests about what a connection has: watches and transactions.

use std::sync::Arc;

use xs_proto::{ErrorCode, Reply, TxId};

use super::args;
use super::daemon::{INVALID, is_privileged};
use super::quota::Quota;
use super::request::{Answer, Call, DONE, Result};
use super::transaction::Transaction;
use super::watches::{Watch, size_of};

impl Call<'_> {
    pub(super) fn watch(&mut self, payload: &[u8]) -> Result {
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

    pub(super) fn unwatch(&mut self, payload: &[u8]) -> Result {
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
    pub(super) fn reset_watches(&mut self) -> Result {
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

    pub(super) fn transaction_start(&mut self) -> Result {
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

    pub(super) fn transaction_end(&mut self, payload: &[u8]) -> Result {
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
}
