//! Several operations in flight together.

use crate::calls::CallId;
use crate::core::Scope;
use crate::deadline::Deadline;
use crate::error::Result;
use crate::link::Link;
use crate::op::{Answer, Op};
use crate::trace::Trace;

/// Several operations that are under way. Dropped, their answers are of no interest.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    link: &'a Link,
    scope: Scope,
    /// What became of each; empty once the answers were taken.
    calls: Vec<Result<CallId>>,
    trace: Trace,
}

/// How many requests of a batch are in flight together; others want their share of
/// [`ClientConnection::MAX_PENDING`](xs_proto::ClientConnection::MAX_PENDING).
const BATCH: usize = 1024;

impl Link {
    /// Runs several operations of one kind, in flight together.
    pub(crate) fn call_all<T: Answer>(
        &self,
        scope: Scope,
        deadline: &mut Deadline,
        ops: &[Op<'_, T>],
    ) -> Vec<Result<T>> {
        let mut results = Vec::with_capacity(ops.len());
        for ops in ops.chunks(BATCH) {
            results.extend(self.submit_all(scope, deadline, ops).answers(deadline, ops));
        }
        results
    }

    /// Takes several requests. They leave when somebody waits for an answer, or with a
    /// [flush](Batch::flush).
    pub(crate) fn submit_all<T>(
        &self,
        scope: Scope,
        deadline: &mut Deadline,
        ops: &[Op<'_, T>],
    ) -> Batch<'_> {
        let trace = Trace::start();
        let mut calls = Vec::with_capacity(ops.len());
        let mut guard = self.drive.lock();
        for op in ops {
            let (again, call) = self.submit(guard, scope, deadline, &op.label, &op.request);
            guard = again;
            calls.push(call);
        }
        drop(guard);
        Batch { link: self, scope, calls, trace }
    }
}

impl Batch<'_> {
    /// Sends them, as far as that goes without waiting.
    pub(crate) fn flush(&self) {
        self.link.flush(self.link.drive.lock());
    }

    /// Waits for the answers to these operations, the same that were submitted.
    pub(crate) fn answers<T: Answer>(
        mut self,
        deadline: &mut Deadline,
        ops: &[Op<'_, T>],
    ) -> Vec<Result<T>> {
        let mut guard = self.link.drive.lock();
        let mut answers = Vec::with_capacity(ops.len());
        // The last answer first: when it is here, so are most likely all others.
        while let Some(call) = self.calls.pop() {
            answers.push(match call {
                Ok(call) => {
                    let (again, answer) = self.link.wait(guard, deadline, call);
                    guard = again;
                    Ok((call, answer))
                }
                Err(error) => Err(error),
            });
        }
        drop(self.link.leave(guard));
        let taken = ops.iter().zip(answers.into_iter().rev()).map(|(op, answer)| {
            let (call, answer) = answer?;
            self.trace.end(op.label, self.scope, call, answer)
        });
        taken.collect()
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if !self.calls.is_empty() {
            let mut guard = self.link.drive.lock();
            self.calls.drain(..).flatten().for_each(|call| guard.forget(call));
            // To forget may mean to take something back.
            self.link.flush(guard);
        }
    }
}
