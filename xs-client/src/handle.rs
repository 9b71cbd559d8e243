//! The handle to the engine, which the clones of a client share.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::callbacks;
use crate::engine::Engine;
use crate::sync::thread::{self, JoinHandle};

/// The handle to the engine. All clones, transactions and watches of a client share one in an
/// `Arc`; dropping it ends the connection.
pub(crate) struct Handle(pub(crate) Arc<Engine>);

impl Deref for Handle {
    type Target = Arc<Engine>;

    fn deref(&self) -> &Arc<Engine> {
        &self.0
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        callbacks::stop(&self.0);
        self.0.close();
        let task_thread = self.0.lock().task_thread.take();
        // The thread itself may drop the last task that uses the client.
        let is_other = |handle: &JoinHandle<()>| handle.thread().id() != thread::current().id();
        if let Some(handle) = task_thread.filter(is_other) {
            // The thread returns nothing, and catches the panics of user code.
            let _ = handle.join();
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
