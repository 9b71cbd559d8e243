//! The background thread, which runs the callbacks of watches.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::Duration;

use xs_transport::{Failure, Turn, Wait};

use crate::error::{Error, Result};
use crate::link::{Link, thread_waker};
use crate::queue::WatchEvent;
use crate::watches::Token;

/// What a watch calls when it fires, and a last time when it ends because the connection is lost.
pub(crate) type Callback = Box<dyn FnMut(Result<WatchEvent>) + Send>;

/// The callbacks, and the thread that runs them, if it is needed.
#[derive(Default)]
pub(crate) struct Background {
    state: Mutex<State>,
    /// A callback has returned.
    returned: Condvar,
}

#[derive(Default)]
struct State {
    /// `None` while it is being run.
    callbacks: BTreeMap<Token, Option<Callback>>,
    running: Option<Token>,
    thread: Option<JoinHandle<()>>,
    thread_id: Option<ThreadId>,
    stop: bool,
}

/// While callers receive for themselves, the thread keeps out of their way, and looks this often
/// whether they still do. Nobody waits longer than this for an event that nobody received.
const YIELD: Duration = Duration::from_millis(1);

impl Background {
    /// Keeps a callback, and starts the thread if it does not run.
    pub(crate) fn add(
        &self,
        link: &Arc<Link>,
        token: Token,
        callback: Callback,
    ) -> std::io::Result<()> {
        let mut state = self.lock();
        if state.thread.is_none() {
            state.stop = false;
            let link = link.clone();
            let thread =
                thread::Builder::new().name("xenstore-watch".into()).spawn(move || run(&link))?;
            state.thread_id = Some(thread.thread().id());
            state.thread = Some(thread);
        }
        state.callbacks.insert(token, Some(callback));
        Ok(())
    }

    /// Drops a callback. It is not running any more when this returns, unless it is the callback
    /// itself that asks.
    pub(crate) fn remove(&self, token: Token) {
        let mut state = self.lock();
        state.callbacks.remove(&token);
        while state.running == Some(token) && state.thread_id != Some(thread::current().id()) {
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ends the thread; callbacks stay, and run again when the next one is added.
    pub(crate) fn stop(&self, link: &Link) {
        let mut state = self.lock();
        state.stop = true;
        let Some(thread) = state.thread.take() else {
            return;
        };
        state.thread_id = None;
        drop(state);
        link.drive.transport().wake();
        thread.thread().unpark();
        // A callback may stop its own thread.
        if thread.thread().id() != thread::current().id() {
            // It has no result, and catches what callbacks do.
            let _ = thread.join();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells all callbacks that there will be no more events.
    fn end(&self, failure: &Failure) {
        let tokens: Vec<_> = self.lock().callbacks.keys().copied().collect();
        for token in tokens {
            self.call(token, Err(Error::new("watch", None, failure.clone())));
        }
    }

    fn stopped(&self) -> bool {
        let state = self.lock();
        state.stop || state.thread_id.is_some_and(|id| id != thread::current().id())
    }

    /// Calls the callback of a watch, without any lock.
    fn call(&self, token: Token, event: Result<WatchEvent>) {
        let mut state = self.lock();
        let Some(mut callback) = state.callbacks.get_mut(&token).and_then(Option::take) else {
            return;
        };
        state.running = Some(token);
        drop(state);
        let last = event.is_err();

        let result = catch_unwind(AssertUnwindSafe(|| callback(event)));

        let mut state = self.lock();
        state.running = None;
        if result.is_ok() && !last {
            // Unless it was removed meanwhile.
            if let Some(place) = state.callbacks.get_mut(&token) {
                *place = Some(callback);
            }
        } else {
            // A panic has been reported; what it left behind is not to be called again.
            state.callbacks.remove(&token);
        }
        drop(state);
        self.returned.notify_all();
    }
}

impl fmt::Debug for Background {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Background").finish_non_exhaustive()
    }
}

/// The thread: receives while nobody else does, and runs callbacks.
fn run(link: &Link) {
    let waker = thread_waker();
    let mut guard = link.drive.lock();
    let mut seen = guard.waits;
    while !link.background.stopped() {
        if let Some((token, next)) = guard.watches.next_callback() {
            drop(link.leave(guard));
            if let Some(event) = next.into_result(None) {
                link.background.call(token, event);
            }
            guard = link.drive.lock();
            continue;
        }
        if let Some(failure) = guard.failure().cloned() {
            let (again, revived) = link.reconnect(guard, None, || link.background.stopped());
            guard = again;
            if revived.is_ok() {
                continue;
            }
            drop(guard);
            return link.background.end(&failure);
        }
        if guard.waits != seen {
            // Callers are at work, and receive. To wait beside them would cost a change of
            // threads with each reply.
            seen = guard.waits;
            guard.watches.runner = Some(waker.clone());
            drop(link.leave(guard));
            thread::park_timeout(YIELD);
            guard = link.drive.lock();
            continue;
        }
        let (again, turn) = link.drive.turn(guard, Wait::UntilWoken(None));
        guard = link.wake_ready(again);
        if turn == Turn::Occupied {
            guard.watches.runner = Some(waker.clone());
            let ticket = guard.park(waker.clone());
            drop(guard);
            thread::park();
            guard = link.drive.lock();
            guard.unpark(ticket);
        }
    }
    guard.watches.runner = None;
    drop(link.leave(guard));
}
