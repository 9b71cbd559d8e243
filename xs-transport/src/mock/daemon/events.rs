//! Watch events: from a change of the store to the connections that watch it.

use xs_proto::{DomId, ErrorCode};

use super::conn::ConnId;
use super::state::Daemon;
use super::trace::Trace;
use super::watches::Event;
use crate::mock::flavour::behaviour::SpecialWatches;
use crate::mock::store::Store;
use crate::mock::store::node::Node;
use crate::mock::store::path::shown;
use crate::mock::store::permissions::{NodePerms, READ};
use crate::mock::store::scope::Scope;
use crate::mock::store::snapshot::{Change, ChangeKind};

impl Daemon {
    /// Fires watches. `node` is the present or removed node at `path`, if known. `old_perms` are
    /// its permissions before the change.
    pub(crate) fn fire(
        &mut self,
        path: &str,
        node: Option<&Node>,
        scope: Scope,
        old_perms: Option<&NodePerms>,
    ) {
        let mut permitted = None;
        let order = self.behaviour.event_order;
        for fired in self.watches.matching(path, scope, order) {
            let conn = fired.conn();
            let is_permitted = match permitted {
                Some((of, is_permitted)) if of == conn => is_permitted,
                _ => self.may_see(conn, path, node, old_perms),
            };
            permitted = Some((conn, is_permitted));
            if is_permitted {
                let path = path[fired.prefix.min(path.len())..].to_owned();
                self.events.push(Event { conn, path, token: fired.token });
            }
        }
    }

    /// Fires special watches about a domain.
    pub(crate) fn fire_special(&mut self, path: &str, domid: DomId) {
        self.fire_special_of_any(path);
        if self.behaviour.special_events_name_domain {
            self.fire_special_of(path, domid);
        }
    }

    /// Fires special watches that do not name a domain.
    pub(super) fn fire_special_of_any(&mut self, path: &str) {
        if self.behaviour.special_watches == SpecialWatches::Texts {
            // The daemon looks for a node of this name.
            self.last_error.set(&ErrorCode::NoEntry);
        }
        let node = self.node(path).cloned();
        let names_domain = self.behaviour.special_events_name_domain;
        let scope = if names_domain { Scope::Special } else { Scope::Exact };
        self.fire(path, node.as_deref(), scope, None);
    }

    /// Fires special watches that name the domain.
    pub(super) fn fire_special_of(&mut self, path: &str, domid: DomId) {
        let node = self.store.get(path).cloned();
        self.fire(&format!("{path}/{domid}"), node.as_deref(), Scope::SpecialOfDomain, None);
    }

    /// Fires watches for a change between two states of the store. A domain may see the event if
    /// the permissions of the node or of its parent let it read, or any of `other_perms`. A removal
    /// also fires watches on the paths below.
    pub(crate) fn fire_change(
        &mut self,
        change: &Change,
        old: &Store,
        new: &Store,
        other_perms: &[NodePerms],
    ) {
        let path = &*change.path;
        let mut perms = other_perms.to_vec();
        if change.kind != ChangeKind::Value {
            perms.extend(old.perms_around(path));
        }
        if change.kind != ChangeKind::Removal {
            perms.extend(new.perms_around(path));
        }
        let order = self.behaviour.event_order;
        for fired in self.watches.matching(path, Scope::Subtree, order) {
            let relative = shown(&path[fired.prefix..]);
            self.fire_if_readable(fired.conn(), &relative, &fired.token, &perms);
        }
        if change.kind == ChangeKind::Removal {
            for (watched, fired) in self.watches.below(path, order) {
                let perms = old.perms_around(&watched);
                let relative = shown(&watched[fired.prefix..]);
                self.fire_if_readable(fired.conn(), &relative, &fired.token, &perms);
            }
        }
    }

    /// Fires an event for one connection.
    pub(crate) fn fire_for(&mut self, conn: ConnId, path: &str, token: &[u8]) {
        self.events.push(Event { conn, path: path.to_owned(), token: token.into() });
    }

    /// Delivers the events that have fired.
    pub(crate) fn deliver(&mut self) {
        let request = self.behaviour.merges_equal_events.then_some(self.requests);
        for Event { conn: id, path, token } in std::mem::take(&mut self.events) {
            let Some(domid) = self.domid_of(id) else {
                continue;
            };
            // An event that exceeds the domain's memory is lost.
            let is_lost = self.exceeds_memory(domid, path.len() + token.len() + 2);
            if !is_lost && self.send(id, |outbox| outbox.event(&path, &token, request)) {
                self.tracer.emit(|| Trace::event(id, domid, &path, &token));
            }
        }
    }

    fn fire_if_readable(&mut self, conn: ConnId, path: &str, token: &[u8], perms: &[NodePerms]) {
        let Some(domid) = self.domid_of(conn) else {
            return;
        };
        if perms.iter().any(|perms| self.rights(domid, perms, u64::MAX) & READ != 0) {
            self.fire_for(conn, path, token);
        }
    }
}
