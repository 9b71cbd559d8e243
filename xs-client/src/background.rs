//! The background thread, which runs the callbacks of watches.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, Weak};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use xs_transport::{Failure, Turn, Wait};

use crate::core::Core;
use crate::error::{Error, Result};
use crate::link::Link;
use crate::pace::Pace;
use crate::queue::WatchEvent;
use crate::sync::thread::{self, JoinHandle, Thread, ThreadId};
use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::watches::{Next, Token};

/// What a watch calls when it fires, and a last time when it ends because the connection is lost.
pub(crate) type Callback = Box<dyn FnMut(Result<WatchEvent>) + Send>;

/// The callbacks, and the thread that runs them, if it is needed.
#[derive(Default)]
pub(crate) struct Background {
    state: Mutex<State>,
    /// A callback has returned, or the thread has left.
    returned: Condvar,
}

#[derive(Default)]
struct State {
    callbacks: BTreeMap<Token, Entry>,
    /// The callback that is being run, and the thread that runs it: not always the present one.
    running: Option<(Token, ThreadId)>,
    thread: Option<JoinHandle<()>>,
    thread_id: Option<ThreadId>,
    /// How many wait for a callback to return.
    waiting: usize,
    /// A thread has taken over, and has not left yet.
    is_present: bool,
    stop: bool,
    /// The thread is there, and runs no callbacks.
    paused: bool,
    /// The callbacks have been told why there will be no more events.
    ended: Option<Failure>,
    /// Futures rely on the thread.
    drives_futures: bool,
}

struct Entry {
    /// What is watched, for errors.
    path: Box<str>,
    /// `None` while it is being run.
    callback: Option<Callback>,
}

/// While callers receive for themselves, the thread keeps out of their way, and looks this often
/// whether they still do. Nobody waits longer than this for an event that nobody received.
const YIELD: Duration = Duration::from_millis(1);

impl State {
    fn start(&mut self, link: &Arc<Link>) -> io::Result<()> {
        if self.thread.is_none() {
            let link = link.clone();
            let name = "xenstore-watch".into();
            let thread = thread::Builder::new().name(name).spawn(move || run(&link))?;
            self.stop = false;
            self.thread_id = Some(thread.thread().id());
            self.thread = Some(thread);
        }
        Ok(())
    }

    /// The thread that runs a callback now, if it is another one than that which asks.
    fn other_caller(&self) -> Option<ThreadId> {
        let (_, caller) = self.running?;
        (caller != thread::current().id()).then_some(caller)
    }

    /// Whether the thread that asks is to end.
    fn is_stopped(&self) -> bool {
        self.stop || self.thread_id.is_some_and(|id| id != thread::current().id())
    }
}

impl Background {
    /// Starts the thread, if it does not run.
    pub(crate) fn start(&self, link: &Arc<Link>) -> io::Result<()> {
        let mut state = self.lock();
        state.paused = false;
        let started = state.start(link);
        self.tell(state);
        started
    }

    /// Keeps a callback.
    ///
    /// # Errors
    /// The callbacks have been told that the connection is lost.
    pub(crate) fn add(&self, token: Token, path: &str, callback: Callback) -> Result<(), Failure> {
        let mut state = self.lock();
        if let Some(failure) = &state.ended {
            return Err(failure.clone());
        }
        let entry = Entry { path: path.into(), callback: Some(callback) };
        state.callbacks.insert(token, entry);
        Ok(())
    }

    #[cfg(feature = "futures")]
    /// Lets the thread receive for futures and watch their deadlines.
    pub(crate) fn drive_futures(&self, link: &Arc<Link>) -> io::Result<()> {
        let mut state = self.lock();
        state.drives_futures = true;
        state.start(link)
    }

    /// Drops a callback. It is not running any more when this returns, unless it is the callback
    /// itself that asks.
    pub(crate) fn remove(&self, token: Token) {
        let this = thread::current().id();
        let mut state = self.lock();
        let callback = state.callbacks.remove(&token);
        while state.running.is_some_and(|(running, thread)| running == token && thread != this) {
            state = self.wait(state);
        }
        drop(state);
        // What it holds may end with it, and use the client for that.
        drop(callback);
    }

    /// Those whose callbacks are there.
    pub(crate) fn tokens(&self) -> Vec<Token> {
        self.lock().callbacks.keys().copied().collect()
    }

    /// Lets no callback run any more, until the next one is added, and ends the thread unless
    /// futures rely on it.
    pub(crate) fn pause(&self, link: &Link) {
        let this = thread::current().id();
        let mut state = self.lock();
        state.paused = true;
        if !state.drives_futures {
            drop(state);
            return self.stop(link);
        }
        while state.running.is_some_and(|(_, thread)| thread != this) {
            state = self.wait(state);
        }
    }

    /// Ends the thread; callbacks stay, and run again when the next one is added.
    pub(crate) fn stop(&self, link: &Link) {
        let mut state = self.lock();
        state.stop = true;
        let Some(thread) = state.thread.take() else {
            // One that was stopped before runs its last callback, perhaps.
            let other = state.other_caller();
            return self.await_caller(state, other);
        };
        let other = state.other_caller();
        state.thread_id = None;
        drop(state);
        self.returned.notify_all();
        link.drive.transport().wake();
        thread.thread().unpark();
        // A callback may stop its own thread.
        if thread.thread().id() != thread::current().id() {
            // It has no result, and catches what callbacks do.
            let _ = thread.join();
        }
        self.await_caller(self.lock(), other);
    }

    /// Waits until this thread is done with the callback that it runs.
    fn await_caller(&self, mut state: MutexGuard<'_, State>, caller: Option<ThreadId>) {
        while caller.is_some() && state.running.map(|(_, thread)| thread) == caller {
            state = self.wait(state);
        }
    }

    /// What is to be called next by this thread: from here on, a callback runs.
    fn next(&self, core: &mut Core) -> Option<(Token, Next)> {
        let mut state = self.lock();
        if state.paused || state.is_stopped() {
            return None;
        }
        let (token, next) = core.books.watches.next_callback()?;
        state.running = Some((token, thread::current().id()));
        Some((token, next))
    }

    /// Waits until callbacks may run.
    fn await_resumption(&self) {
        let mut state = self.lock();
        while state.paused && !state.is_stopped() {
            state = self.wait(state);
        }
    }

    /// Waits until a callback has returned.
    fn wait<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.waiting += 1;
        let mut state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells all callbacks that there will be no more events.
    fn end(&self, failure: &Failure) {
        let mut state = self.lock();
        state.ended = Some(failure.clone());
        let watches: Vec<_> =
            state.callbacks.iter().map(|(token, entry)| (*token, entry.path.clone())).collect();
        drop(state);
        for (token, path) in watches {
            self.call(token, Err(Error::new("watch", Some(&path), failure.clone())));
        }
    }

    /// For futures, if there are any: notes who is due, and says when to look again.
    fn watch_the_clock(&self, core: &mut Core, waker: &Waker) -> Option<Instant> {
        if !self.lock().drives_futures {
            return None;
        }
        core.driver = Some(waker.clone());
        core.timers.arm(Instant::now(), &mut core.books.ready)
    }

    fn stopped(&self) -> bool {
        self.lock().is_stopped()
    }

    /// Takes over from the thread before, which may be stopped and still run a callback, or be about
    /// to: one runs at a time. Says whether it is not too late for that.
    fn take_over(&self) -> Option<Present<'_>> {
        let mut state = self.lock();
        while state.is_present && !state.is_stopped() {
            state = self.wait(state);
        }
        if state.is_present {
            return None;
        }
        state.is_present = true;
        Some(Present(self))
    }

    /// Gives the lock back, and tells those who wait.
    fn tell(&self, state: MutexGuard<'_, State>) {
        let is_awaited = state.waiting > 0;
        drop(state);
        if is_awaited {
            self.returned.notify_all();
        }
    }

    /// There is nothing to be called with: the watch is gone.
    fn pass_by(&self, token: Token) {
        let mut state = self.lock();
        let entry = state.callbacks.remove(&token);
        drop(state);
        let _ = catch_unwind(AssertUnwindSafe(|| drop(entry)));
        state = self.lock();
        state.running = None;
        self.tell(state);
    }

    fn path(&self, token: Token) -> Option<Box<str>> {
        self.lock().callbacks.get(&token).map(|entry| entry.path.clone())
    }

    /// Calls the callback of a watch, without any lock.
    fn call(&self, token: Token, event: Result<WatchEvent>) {
        let mut state = self.lock();
        let place = state.callbacks.get_mut(&token);
        let Some(mut callback) = place.and_then(|entry| entry.callback.take()) else {
            state.running = None;
            self.tell(state);
            return;
        };
        state.running = Some((token, thread::current().id()));
        drop(state);
        let last = event.is_err();

        let result = catch_unwind(AssertUnwindSafe(|| callback(event)));
        let mut callback = Some(callback);

        let mut state = self.lock();
        if result.is_ok() && !last {
            // Unless it was removed meanwhile.
            if let Some(entry) = state.callbacks.get_mut(&token) {
                entry.callback = callback.take();
            }
        } else {
            // A panic has been reported; what it left behind is not to be called again.
            state.callbacks.remove(&token);
        }
        drop(state);
        // What it holds may use the client as it ends, or panic.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(callback)));

        let mut state = self.lock();
        state.running = None;
        self.tell(state);
    }
}

/// The thread that runs callbacks, as long as it may.
struct Present<'a>(&'a Background);

impl Drop for Present<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_present = false;
        self.0.tell(state);
    }
}

impl fmt::Debug for Background {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Background").finish_non_exhaustive()
    }
}

/// The thread: receives while nobody else does, and runs callbacks.
fn run(link: &Arc<Link>) {
    let waker =
        Waker::from(Arc::new(Interrupt { thread: thread::current(), link: Arc::downgrade(link) }));
    let Some(_present) = link.background.take_over() else {
        return;
    };
    let mut guard = link.drive.lock();
    let mut seen = guard.waits;
    let (mut pace, mut rested) = (Pace::default(), false);
    while !link.background.stopped() {
        if let Some((token, next)) = link.background.next(&mut guard) {
            drop(link.leave(guard));
            match next.into_result(link.background.path(token).as_deref()) {
                Some(event) => link.background.call(token, event),
                None => link.background.pass_by(token),
            }
            guard = link.drive.lock();
            continue;
        }
        if let Some(failure) = guard.failure().cloned() {
            // Futures have their deadlines meanwhile.
            let reconnect = || {
                link.reconnect(guard, None, |core| {
                    if link.background.stopped() {
                        return ControlFlow::Break(());
                    }
                    ControlFlow::Continue(link.background.watch_the_clock(core, &waker))
                })
            };
            // The way to connect is the user's. If it panics, that was one more attempt.
            let Ok((again, reconnected)) = catch_unwind(AssertUnwindSafe(reconnect)) else {
                guard = link.drive.lock();
                continue;
            };
            guard = again;
            if reconnected.is_ok() || link.background.stopped() {
                continue;
            }
            drop(link.wake_ready(guard));
            link.background.await_resumption();
            if !link.background.stopped() {
                link.background.end(&failure);
            }
            return;
        }
        guard.books.watches.callbacks.runner = Some(waker.clone());
        let deadline = link.background.watch_the_clock(&mut guard, &waker);
        if !guard.books.ready.is_empty() {
            guard = link.wake_ready(guard);
            continue;
        }
        if guard.waits != seen {
            // Callers are at work, and receive. To wait beside them would cost a change of
            // threads with each reply.
            seen = guard.waits;
            guard = link.keep_away(guard, Some(Instant::now() + YIELD));
            continue;
        }
        // For futures nobody else receives.
        if guard.driver.is_none() && !rested {
            if let Some(until) = pace.pause(Instant::now()) {
                guard = link.keep_away(guard, Some(until));
                rested = true;
                continue;
            }
        }
        rested = false;
        let (again, turn) = link.drive.turn(guard, Wait::UntilWoken(deadline));
        guard = again;
        // To what has come for this thread it turns without being woken.
        guard.books.ready.is_awake(&waker);
        if turn == Turn::Occupied {
            let ticket = guard.park(waker.clone());
            guard = link.sleep(guard, deadline);
            guard.unpark(ticket);
        }
        guard = link.wake_ready(guard);
    }
    let runner = &mut guard.books.watches.callbacks.runner;
    if runner.as_ref().is_some_and(|runner| runner.will_wake(&waker)) {
        *runner = None;
    }
    drop(link.leave(guard));
}

/// Makes the thread look again, whatever it waits for.
struct Interrupt {
    thread: Thread,
    link: Weak<Link>,
}

impl Wake for Interrupt {
    fn wake(self: Arc<Self>) {
        self.thread.unpark();
        if let Some(link) = self.link.upgrade() {
            link.drive.transport().wake();
        }
    }
}
