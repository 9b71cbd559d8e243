//! Setting and removing a watch, and the clean-up if either stops half-way.
//!
//! Threads call `run`. Tasks run the operation from `op`, and pass its result to `finish`.

use std::sync::Arc;
use std::time::Instant;

use crate::callbacks;
use crate::engine::{
    Delivery, GroupId, Housekeeping, Removed, ResetMark, Scope, State, WatchOptions, WatchToken,
};
use crate::error::{Error, ErrorKind, Result};
use crate::handle::Handle;
use crate::op::{self, Op};

/// A watch that is being set. Dropping this removes the watch, unless it is [kept](Self::keep).
#[derive(Debug)]
pub(crate) struct Registration<'a> {
    handle: &'a Arc<Handle>,
    options: WatchOptions<'a>,
    token: WatchToken,
    /// The generation of the connection when the registration began. On a newer connection, the
    /// client may have set the watch again.
    generation: u64,
    /// The daemon may know the watch: the request was neither invalid nor refused.
    may_be_set: bool,
    is_kept: bool,
}

impl<'a> Registration<'a> {
    /// Adds the watch to the table at once, since its first event may precede the reply.
    pub(crate) fn single(
        handle: &'a Arc<Handle>,
        options: WatchOptions<'a>,
        delivery: Delivery,
    ) -> (Self, GroupId) {
        let mut guard = handle.lock();
        let (token, group) = guard.watches.add(&options, delivery);
        (Self::new(handle, options, token, &guard), group)
    }

    /// Adds the watch to a set, like [`single`](Self::single). If the set no longer exists, the
    /// registration fails.
    pub(crate) fn in_set(
        handle: &'a Arc<Handle>,
        options: WatchOptions<'a>,
        group: GroupId,
    ) -> Self {
        let mut guard = handle.lock();
        let token = guard.watches.add_to(group, &options);
        Self::new(handle, options, token, &guard)
    }

    fn new(
        handle: &'a Arc<Handle>,
        options: WatchOptions<'a>,
        token: WatchToken,
        state: &State,
    ) -> Self {
        let generation = state.generation();
        Registration { handle, options, token, generation, may_be_set: true, is_kept: false }
    }

    #[cfg(feature = "futures")]
    pub(crate) fn token(&self) -> WatchToken {
        self.token
    }

    /// Returns the operation that sets the watch, given the token as text.
    pub(crate) fn op<'b>(&self, token: &'b str) -> Op<'b, ()>
    where
        'a: 'b,
    {
        op::watch(self.options.path, token.as_bytes(), self.options.depth)
    }

    /// Sets the watch, and waits for the reply.
    pub(crate) fn run(&mut self, deadline: Option<Instant>) -> Result<()> {
        let token = self.token.to_string();
        let result = self.op(&token).run(self.handle, Scope::NONE, deadline);
        self.finish(result.map(|(_, ())| ()))
    }

    /// Notes the result of the operation.
    ///
    /// # Errors
    /// The operation has failed, or the watch was removed before it was set.
    pub(crate) fn finish(&mut self, result: Result<()>) -> Result<()> {
        let kind = result.as_ref().err().map(Error::kind);
        self.may_be_set = !matches!(kind, Some(ErrorKind::Invalid(_) | ErrorKind::Refused(_)));
        result?;
        match self.handle.lock().watches.contains(self.token) {
            true => Ok(()),
            false => Err(Error::new("watch", Some(self.options.path), ErrorKind::WatchRemoved)),
        }
    }

    /// Ends the registration and keeps the watch.
    pub(crate) fn keep(mut self) -> WatchToken {
        self.is_kept = true;
        self.token
    }
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        let may_be_set = self.may_be_set || self.handle.lock().generation() != self.generation;
        if let Some(mut removal) = Removal::new(self.handle, self.token) {
            removal.is_done |= !may_be_set;
        }
        let mut guard = self.handle.lock();
        if guard.watches.take_orphan(self.token) && may_be_set {
            let path = self.options.path.into();
            guard.clean_up(Housekeeping::Unwatch { path, token: self.token });
        }
    }
}

/// A watch that was removed from the table, and that the daemon has to remove as well. Dropping
/// this sends the request without waiting for the reply.
#[derive(Debug)]
pub(crate) struct Removal<'a> {
    handle: &'a Arc<Handle>,
    path: Arc<str>,
    token: WatchToken,
    /// When the watch was removed.
    mark: ResetMark,
    /// Nothing is left to do: the daemon does not know the watch, or has answered.
    is_done: bool,
}

impl<'a> Removal<'a> {
    /// Removes a watch from the table, and waits until its callback has returned. `None` if there
    /// is no such watch.
    pub(crate) fn new(handle: &'a Arc<Handle>, token: WatchToken) -> Option<Self> {
        let mut guard = handle.lock();
        let mark = guard.reset_mark();
        let state = &mut *guard;
        let removed = state.watches.remove(token, &mut state.deferred);
        callbacks::await_return(&mut guard, |running| running.token == Some(token));
        removed.map(|removed| Self::of(handle, removed, mark))
    }

    /// Removes a set and its watches from the table, and waits until the callback of the set has
    /// returned.
    pub(crate) fn of_set(handle: &'a Arc<Handle>, group: GroupId) -> Vec<Self> {
        let mut guard = handle.lock();
        let mark = guard.reset_mark();
        let state = &mut *guard;
        let removed = state.watches.remove_set(group, &mut state.deferred);
        callbacks::await_return(&mut guard, |running| running.group == group);
        drop(guard);
        removed.into_iter().map(|removed| Self::of(handle, removed, mark)).collect()
    }

    fn of(handle: &'a Arc<Handle>, removed: Removed, mark: ResetMark) -> Self {
        let Removed { token, path, may_be_known } = removed;
        Removal { handle, path, token, mark, is_done: !may_be_known }
    }

    #[cfg(feature = "futures")]
    pub(crate) fn token(&self) -> WatchToken {
        self.token
    }

    /// Returns the operation that removes the watch, given the token as text. `None` if the daemon
    /// does not know the watch.
    pub(crate) fn op<'b>(&'b self, token: &'b str) -> Option<Op<'b, ()>> {
        (!self.is_done).then(|| op::unwatch(&self.path, token.as_bytes()))
    }

    /// Removes the watch, and waits for the reply.
    pub(crate) fn run(self, deadline: Option<Instant>) -> Result<()> {
        let token = self.token.to_string();
        let run = |op: Op<'_, ()>| op.run(self.handle, Scope::NONE, deadline).map(|(_, ())| ());
        let result = self.op(&token).map_or(Ok(()), run);
        self.finish(result)
    }

    /// Notes the result of the operation.
    ///
    /// # Errors
    /// The operation has failed, unless the daemon no longer knows the watch because of a new
    /// connection or a RESET_WATCHES of this client.
    pub(crate) fn finish(mut self, result: Result<()>) -> Result<()> {
        let Err(error) = result else {
            self.is_done = true;
            return Ok(());
        };
        self.is_done |= error.code().is_some();
        let is_gone = error.is_not_found() && self.handle.lock().may_be_reset_since(self.mark);
        if is_gone { Ok(()) } else { Err(error) }
    }
}

impl Drop for Removal<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            let (path, token) = (self.path.clone(), self.token);
            self.handle.lock().clean_up(Housekeeping::Unwatch { path, token });
        }
    }
}

#[cfg(test)]
mod tests {
    use xs_proto::{DomId, ErrorCode};
    use xs_transport::mock::Xenstored;

    use super::*;
    use crate::client::Client;

    /// Removes a watch, and resets the watches before, during or after each step of the removal.
    #[test]
    fn removal_of_watch_that_reset_has_ended_succeeds() {
        for reset_at in 0..3 {
            let client = Client::from_transport(Xenstored::new().connect(DomId::DOM0));
            let token = client.watch_with("/a", drop).unwrap();
            let reset = |step| (step == reset_at).then(|| client.start(&op::reset_watches()));
            // No thread receives the reply of this reset before that of UNWATCH.
            client.watch_stop();
            let before = reset(0);
            let removal = Removal::new(&client.handle, token).unwrap();
            let between = reset(1);
            if reset_at == 2 {
                client.reset_watches().unwrap();
            }
            let removed = removal.run(client.deadline());
            assert!(removed.is_ok(), "reset at step {reset_at}: {removed:?}");
            for pending in [before, between].into_iter().flatten() {
                pending.unwrap().wait().unwrap();
            }
        }
    }

    #[test]
    fn removal_of_watch_that_daemon_does_not_know_fails() {
        let client = Client::from_transport(Xenstored::new().connect(DomId::DOM0));
        client.reset_watches().unwrap();
        let token = client.watch_with("/a", drop).unwrap();
        let removal = Removal::new(&client.handle, token).unwrap();
        let wire = token.to_string();
        client.run(&op::unwatch("/a", wire.as_bytes())).unwrap();
        let error = removal.run(client.deadline()).unwrap_err();
        assert_eq!(error.code(), Some(&ErrorCode::NoEntry), "{error}");
    }
}
