//! The thread that runs the callbacks of watches.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use xs_transport::Failure;

use crate::engine::{Condition, DueCallback, Engine, Guard, Pace, Running, State, Waiter};
use crate::error::Error;
use crate::sync::thread::{self, ThreadId};

/// While callers receive for themselves, the thread leaves the reader role to them, and checks at
/// this interval whether they still do. An event that no caller receives is at most this late.
const YIELD: Duration = Duration::from_millis(1);

/// Starts the thread, unless it runs.
pub(crate) fn start(engine: &Arc<Engine>) -> io::Result<()> {
    let mut guard = engine.lock();
    if guard.callback_thread.handle.is_none() && !guard.is_forked() {
        let engine = engine.clone();
        let builder = thread::Builder::new().name("xenstore-watch".into());
        guard.callback_thread.handle = Some(builder.spawn(move || run(&engine))?);
    }
    Ok(())
}

/// Stops the thread. Callbacks stay installed, and run again after the next [`start`]. When this
/// returns, no callback is running, except one that calls this.
pub(crate) fn stop(engine: &Engine) {
    let mut guard = engine.lock();
    let running = running_elsewhere(&guard);
    let handle = guard.callback_thread.handle.take();
    guard.callback_thread_changed();
    // A callback may stop its own thread, which cannot join itself.
    if let Some(handle) = handle.filter(|handle| handle.thread().id() != thread::current().id()) {
        // The thread returns nothing, and catches the panics of callbacks.
        let _ = guard.unlocked(|| handle.join());
    }
    sleep_while(&mut guard, running);
}

/// Waits until the running callback returns, if `concerns` selects it. Does not wait if the
/// callback itself calls this.
pub(crate) fn await_return(guard: &mut Guard<'_>, concerns: impl Fn(&Running) -> bool) {
    let running = running_elsewhere(guard).filter(concerns);
    sleep_while(guard, running);
}

/// Sleeps until a callback returns that runs on another thread.
fn sleep_while(guard: &mut Guard<'_>, running: Option<Running>) {
    guard.wait_for_callback_thread(|thread| {
        (running.is_none() || thread.running != running).then_some(())
    });
}

/// Returns the callback that is running on another thread.
fn running_elsewhere(guard: &Guard<'_>) -> Option<Running> {
    guard.callback_thread.running.filter(|running| running.thread != thread::current().id())
}

/// The body of the thread.
fn run(engine: &Engine) {
    let id = thread::current().id();
    let mut guard = engine.lock();
    // A thread that was stopped earlier may still run its last callback. This one takes over when
    // the other has left, unless it is itself stopped before.
    let is_stopped = guard.wait_for_callback_thread(|thread| {
        let is_stopped = thread.is_stopped(id);
        (is_stopped || !thread.is_present).then_some(is_stopped)
    });
    if is_stopped {
        return;
    }
    guard.callback_thread.is_present = true;
    let mut seen = Seen { waits: guard.waits, pace: Pace::default(), has_paused: false };
    loop {
        let work = Work { id, seen: &mut seen };
        // A panic of the user's connector counts as a failed attempt to connect.
        let Ok(task) = catch_unwind(AssertUnwindSafe(|| guard.wait(None, work))) else {
            continue;
        };
        match task {
            Some(Task::Call(due)) => call(&mut guard, due),
            Some(Task::End(failure)) => {
                end(&mut guard, id, &failure);
                break;
            }
            Some(Task::Stop) | None => break,
        }
    }
    guard.callback_thread.is_present = false;
    guard.callback_thread_changed();
}

/// Calls all callbacks for the last time, with the failure of the connection.
fn end(guard: &mut Guard<'_>, id: ThreadId, failure: &Failure) {
    guard.callback_thread.ended = Some(failure.clone());
    for group in guard.watches.groups() {
        if let Some(due) = guard.watches.take_last_callback(group, failure) {
            guard.callback_thread.running = Some(due.run_on(id));
            call(guard, due);
        }
    }
}

/// Calls a callback, without the lock.
fn call(guard: &mut Guard<'_>, due: DueCallback) {
    let DueCallback { group, mut callback, event, .. } = due;
    let is_last = event.as_ref().is_err_and(Error::is_lost);
    // The panic hook reports a panic. The callback is then not called again.
    let called = guard.unlocked(|| catch_unwind(AssertUnwindSafe(|| callback(event))));
    let dropped = match called {
        Ok(()) if !is_last => guard.watches.return_callback(group, callback).err(),
        _ => Some(callback),
    };
    if let Some(callback) = dropped {
        // The values that it holds may use the client when they are dropped, or panic.
        let _ = guard.unlocked(|| catch_unwind(AssertUnwindSafe(|| drop(callback))));
    }
    guard.callback_thread.running = None;
    guard.callback_thread_changed();
}

/// The next task of the thread.
enum Task {
    Call(DueCallback),
    /// The connection is lost for good.
    End(Failure),
    Stop,
}

/// A condition: there is work for the callback thread. While the thread waits, it receives for all.
struct Work<'a> {
    id: ThreadId,
    seen: &'a mut Seen,
}

/// The observations that the thread keeps from one wait to the next.
struct Seen {
    /// The last known number of [waits](State::waits).
    waits: u64,
    pace: Pace,
    /// The thread has just paused, and receives next.
    has_paused: bool,
}

impl Condition for Work<'_> {
    type Output = Task;

    const IS_BACKGROUND: bool = true;

    fn check(&mut self, state: &mut State) -> Option<Task> {
        if state.callback_thread.is_stopped(self.id) {
            return Some(Task::Stop);
        }
        if let Some(due) = state.watches.take_callback(&mut state.deferred) {
            state.callback_thread.running = Some(due.run_on(self.id));
            return Some(Task::Call(due));
        }
        state.failure().filter(|_| state.is_lost()).cloned().map(Task::End)
    }

    fn register(&mut self, state: &mut State, waiter: &Waiter) {
        state.watches.register_callback_thread(waiter.clone());
        state.register_for_callback_thread(waiter);
    }

    fn hold_off(&mut self, state: &mut State) -> Option<Instant> {
        let seen = &mut *self.seen;
        if seen.waits != state.waits {
            // Callers receive for themselves. If this thread received for them, each reply would
            // cost a switch of threads.
            seen.waits = state.waits;
            return Some(Instant::now() + YIELD);
        }
        if seen.has_paused {
            seen.has_paused = false;
            return None;
        }
        let until = seen.pace.pause(Instant::now());
        seen.has_paused = until.is_some();
        until
    }
}
