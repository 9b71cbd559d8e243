//! Several operations in flight together.

use std::time::Instant;

use crate::engine::{CallId, Engine, Scope};
use crate::error::Result;
use crate::op::Op;
use crate::trace;

/// Operations in flight. Dropping the batch cancels those whose results were not taken.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    engine: &'a Engine,
    scope: Scope,
    /// The calls, one for each operation, in order.
    calls: Vec<Result<CallId>>,
    start: trace::Start,
}

/// The number of requests of a batch that are in flight together: a quarter of
/// [`ClientConnection::MAX_PENDING`](xs_proto::ClientConnection::MAX_PENDING), which leaves room
/// for other callers.
const BATCH: usize = 1024;

/// Runs operations of one kind, in flight together.
pub(crate) fn run_many<T>(
    engine: &Engine,
    scope: Scope,
    deadline: Option<Instant>,
    ops: &[Op<'_, T>],
) -> Vec<Result<T>> {
    let mut results = Vec::with_capacity(ops.len());
    for ops in ops.chunks(BATCH) {
        results.extend(Batch::submit(engine, scope, deadline, ops).results(deadline, ops));
    }
    results
}

impl<'a> Batch<'a> {
    /// Submits operations. Waits while there is no room in flight or no connection.
    pub(crate) fn submit<T>(
        engine: &'a Engine,
        scope: Scope,
        deadline: Option<Instant>,
        ops: &[Op<'_, T>],
    ) -> Self {
        // The batch exists first, so a panic of the caller's connector cancels the calls so far.
        let calls = Vec::with_capacity(ops.len());
        let mut batch = Batch { engine, scope, calls, start: trace::Start::now() };
        let mut guard = engine.lock();
        for op in ops {
            batch.calls.push(op.request().and_then(|request| {
                let call = guard.wait_to_submit(deadline, scope, request);
                call.map_err(|kind| op.label.error(kind))
            }));
        }
        drop(guard);
        batch
    }

    /// Waits for the results of the operations that were submitted.
    pub(crate) fn results<T>(
        mut self,
        deadline: Option<Instant>,
        ops: &[Op<'_, T>],
    ) -> Vec<Result<T>> {
        let mut guard = self.engine.lock();
        let mut answers = Vec::with_capacity(ops.len());
        // Waits for the last result first: when it has come, the others most likely have, too.
        while let Some(call) = self.calls.pop() {
            answers.push(call.map(|call| (call, guard.wait_for_result(deadline, call))));
        }
        drop(guard);
        let results = ops.iter().zip(answers.into_iter().rev()).map(|(op, answer)| {
            let (call, result) = answer?;
            op.label.finish(op.decode, self.start, self.scope, call, result)
        });
        results.collect()
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        let mut guard = self.engine.lock();
        self.calls.drain(..).flatten().for_each(|call| guard.cancel(call));
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicBool, Ordering};

    use xs_proto::DomId;
    use xs_transport::Transport;
    use xs_transport::mock::Xenstored;

    use super::*;
    use crate::client::Client;
    use crate::op;

    #[test]
    fn panic_of_connector_cancels_the_calls_so_far() {
        let (xenstored, is_first) = (Xenstored::new(), AtomicBool::new(true));
        let open = move |_| {
            assert!(is_first.swap(false, Ordering::SeqCst), "a panic that the test expects");
            Ok(Box::new(xenstored.connect(DomId::DOM0)) as Box<dyn Transport>)
        };
        let client = Client::builder().timeout(None).reconnect(true).with_connector(open).unwrap();
        // The loss is noticed when no more requests fit in flight.
        client.handle.lock().transport().close();
        let ops: Vec<_> = (0..5 * BATCH).map(|_| op::read("/")).collect();
        let submit = || drop(Batch::submit(&client.handle, Scope::NONE, None, &ops));
        assert!(catch_unwind(AssertUnwindSafe(submit)).is_err());
        assert_eq!(client.handle.lock().open_calls(), 0);
    }
}
