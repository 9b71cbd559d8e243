//! WATCH, UNWATCH and RESET_WATCHES.

use xs_proto::{DomId, ErrorCode};

use super::answer::{DONE, INVALID, Result};
use super::call::Call;
use crate::mock::daemon::domains::is_privileged;
use crate::mock::daemon::watches::{Watch, footprint_of, size_of};
use crate::mock::daemon::{ConnId, Daemon};
use crate::mock::numbers::atoi;
use crate::mock::store::quota::Quota;

impl Daemon {
    /// Adds a watch, without a first event.
    pub(crate) fn add_watch(&mut self, conn: ConnId, domid: DomId, path: &str, watch: Watch) {
        let bytes = size_of(path, &watch.token);
        self.watches.add(conn, path, watch);
        if let Some(domain) = self.domains.get_mut(domid) {
            domain.watches += 1;
            domain.bytes += bytes as i64;
            domain.held += footprint_of(1, bytes);
            let count = domain.watches.into();
            self.domains.note(domid, Quota::Watches, count);
        }
    }
}

impl Call<'_> {
    pub(super) fn watch(&mut self, payload: &[u8]) -> Result {
        let (path, token, depth) = if let Some([path, token]) = self.exact(payload) {
            (path, token, None)
        } else {
            let arguments = self.exact(payload).filter(|_| self.behaviour().watches_have_depth);
            let [path, token, depth] = arguments.ok_or(INVALID)?;
            (path, token, Some(u32::try_from(atoi(depth)).map_err(|_| INVALID)?))
        };
        let is_relative = !matches!(path.first(), Some(b'/' | b'@'));
        let canonical = self.watch_path(path)?;
        if self.daemon.watches.contains(self.conn, &canonical, token) {
            return Err(ErrorCode::Exists);
        }
        let held = self.daemon.domains.get(self.domid).map_or(0, |domain| domain.watches);
        if self.is_used_up(Quota::Watches, held, self.behaviour().bounds.watches) {
            return Err(self.behaviour().watch_quota_error.clone());
        }
        let bytes = size_of(&canonical, token) as i64;
        if self.exceeds_memory(self.domid, bytes) {
            return Err(ErrorCode::NoMemory);
        }
        let prefix = if is_relative { canonical.len() - path.len() } else { 0 };
        let watch = Watch { token: token.into(), prefix, depth };
        self.daemon.add_watch(self.conn, self.domid, &canonical, watch);
        DONE
    }

    pub(super) fn unwatch(&mut self, payload: &[u8]) -> Result {
        let [path, token] = self.exact(payload).ok_or(INVALID)?;
        if path.is_empty() {
            return Err(self.behaviour().unwatch_empty_path_error.clone());
        }
        let malformed = |_| self.behaviour().unwatch_malformed_path_error.clone();
        let path = self.watch_path(path).map_err(malformed)?;
        if !self.daemon.watches.remove(self.conn, &path, token) {
            return Err(ErrorCode::NoEntry);
        }
        if let Some(domain) = self.daemon.domains.get_mut(self.domid) {
            let bytes = size_of(&path, token);
            domain.watches -= 1;
            domain.bytes -= bytes as i64;
            domain.held -= footprint_of(1, bytes);
        }
        DONE
    }

    /// Ends the watches and transactions of all connections of a guest, because a real guest has
    /// one ring. Dom0 has many sockets, and each is reset alone.
    pub(super) fn reset_watches(&mut self) -> Result {
        if self.transaction.is_some() && !self.behaviour().resets_watches_in_transactions {
            self.daemon.end(self.conn);
            return Err(INVALID);
        }
        let conns = if is_privileged(self.domid) {
            vec![self.conn]
        } else {
            self.daemon.conns_of(self.domid)
        };
        // The transaction of this request ends, too.
        self.take_transaction();
        for conn in conns {
            self.daemon.reset(conn);
        }
        DONE
    }
}
