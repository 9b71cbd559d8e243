//! The thread that drives tasks if no runtime does.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use crate::engine::{Condition, Engine, LazyParker, State, Waiter};
use crate::sync::thread;

/// Starts the thread, unless it runs.
pub(super) fn start(engine: &Arc<Engine>) -> io::Result<()> {
    let mut guard = engine.lock();
    if guard.task_thread.is_none() && !guard.is_forked() {
        let engine = engine.clone();
        let builder = thread::Builder::new().name("xenstore-tasks".into());
        guard.task_thread = Some(builder.spawn(move || run(&engine))?);
    }
    Ok(())
}

/// The body of the thread.
fn run(engine: &Engine) {
    let mut guard = engine.lock();
    // A panic of the user's connector counts as a failed attempt to connect.
    while catch_unwind(AssertUnwindSafe(|| guard.wait(None, Drive))).is_err() {}
}

/// A condition: the connection is lost for good. Until then, the thread drives tasks.
struct Drive;

impl Condition for Drive {
    type Output = ();

    const IS_BACKGROUND: bool = true;

    fn check(&mut self, state: &mut State) -> Option<()> {
        state.is_lost().then_some(())
    }

    fn register(&mut self, _: &mut State, _: &Waiter) {}

    fn connect_deadline(&self, _: Option<Instant>) -> Option<Instant> {
        // A longer attempt would delay the deadlines of tasks.
        Some(Instant::now())
    }

    fn begin_turn(&mut self, state: &mut State, parker: &LazyParker) -> Option<Instant> {
        state.set_driver(&Waiter::Interruptible(parker.arc()), true);
        state.expire_timers(Instant::now())
    }
}
