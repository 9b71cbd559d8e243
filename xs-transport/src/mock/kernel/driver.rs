//! The driver that a kernel and its open devices share.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xs_proto::{DomId, ErrorCode, Header, MessageType};

use super::notifier::Notifier;
use super::state::{Progress, State};
use crate::mock::connection::pipe::Pipe;
use crate::mock::connection::queue::Notify;
use crate::mock::xenstored::Xenstored;

/// The state behind its lock, and the notifier for changes.
///
/// Lock order: the state, the locks of the xenstored, the notifier's lock.
#[derive(Debug)]
pub(super) struct Driver {
    xenstored: Xenstored,
    pub(super) domid: DomId,
    pub(super) notifier: Arc<Notifier>,
    state: Mutex<State>,
}

impl Driver {
    pub(super) fn new(xenstored: &Xenstored, domid: DomId) -> Self {
        let notifier = Arc::new(Notifier::default());
        let state = Mutex::new(State::new(connect(xenstored, domid, &notifier)));
        Driver { xenstored: xenstored.clone(), domid, notifier, state }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Processes input from the xenstored, and updates which devices are readable.
    pub(super) fn process_input(&self, state: &mut State) {
        loop {
            self.notifier.clear();
            let has_changed = state.receive();
            if self.notifier.update(has_changed, |device| state.is_readable(device)) {
                return;
            }
        }
    }

    /// Suspends and resumes the domain. Replies that are under way are received first.
    pub(super) fn resume(&self) {
        let mut state = self.lock();
        state.send_queue();
        self.process_input(&mut state);
        state.resume(connect(&self.xenstored, self.domid, &self.notifier));
        self.process_input(&mut state);
    }

    /// Sends a WATCH or UNWATCH of the kernel's own, and waits for the answer with the state
    /// unlocked. A positive answer makes the reply to `reply_to`, a request of a device, readable
    /// at once.
    pub(super) fn ask<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        msg_type: MessageType,
        payload: &[u8],
        reply_to: Option<(u64, Header)>,
    ) -> (MutexGuard<'a, State>, io::Result<Result<(), ErrorCode>>) {
        let req_id = state.send_waiting(msg_type, payload, reply_to);
        loop {
            self.process_input(&mut state);
            if let Err(error) = state.check() {
                return (state, Err(error));
            }
            match state.take_answer(req_id) {
                Progress::Answered(answer) => return (state, Ok(answer)),
                Progress::Lost => return (state, Err(io::ErrorKind::BrokenPipe.into())),
                Progress::Waiting => {}
            }
            let epoch = self.notifier.epoch();
            drop(state);
            self.notifier.wait_past(epoch);
            state = self.lock();
        }
    }
}

fn connect(xenstored: &Xenstored, domid: DomId, notifier: &Arc<Notifier>) -> Pipe {
    let notifier = notifier.clone();
    xenstored.connect_with(domid, Some(Notify(Box::new(move || notifier.notify()))))
}
