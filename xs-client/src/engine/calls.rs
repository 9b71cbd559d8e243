//! The in-flight table: the requests whose replies callers wait for.

use xs_proto::{Reply, ReqId};
use xs_transport::Failure;

use super::deferred::{Deferred, Waiter};

/// The in-flight table. A request has an entry from its submission until its caller takes the
/// result or cancels the call.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    slots: Vec<Slot>,
    /// The indices of the vacant slots.
    free: Vec<usize>,
    last: u64,
}

/// The key of an entry. Keys are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CallKey {
    serial: u64,
    index: usize,
}

#[derive(Debug)]
struct Slot {
    /// The key of the entry, or of the last one if the slot is vacant.
    key: CallKey,
    call: Option<Call>,
}

/// A call that is in flight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallId {
    pub(crate) key: CallKey,
    /// The id of the request on the wire, for traces.
    pub(crate) req_id: ReqId,
    /// The generation of the connection that carries the request.
    pub(crate) generation: u64,
}

/// The reply to a request, or why there is none.
pub(crate) type CallResult = Result<Reply<'static>, Failure>;

#[derive(Debug, Default)]
struct Call {
    waiter: Option<Waiter>,
    result: Option<CallResult>,
}

impl Calls {
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn open(&mut self) -> CallKey {
        self.last += 1;
        let index = self.free.pop().unwrap_or(self.slots.len());
        let key = CallKey { serial: self.last, index };
        let slot = Slot { key, call: Some(Call::default()) };
        match self.slots.get_mut(index) {
            Some(vacant) => *vacant = slot,
            None => self.slots.push(slot),
        }
        key
    }

    /// Registers the party to wake when the call is complete.
    pub(crate) fn register(&mut self, key: CallKey, waiter: &Waiter, deferred: &mut Deferred) {
        if let Some(call) = self.get_mut(key) {
            deferred.register(&mut call.waiter, waiter);
        }
    }

    /// Takes the result of a call, which ends it; `None` while it is in flight.
    pub(crate) fn take(&mut self, key: CallKey) -> Option<CallResult> {
        let result = self.get_mut(key)?.result.take()?;
        self.vacate(key);
        Some(result)
    }

    /// Ends a call whose reply is no longer wanted. Returns the reply if it has already come.
    pub(crate) fn cancel(
        &mut self,
        key: CallKey,
        deferred: &mut Deferred,
    ) -> Option<Reply<'static>> {
        let call = std::mem::take(self.get_mut(key)?);
        self.vacate(key);
        deferred.release(call.waiter);
        match call.result? {
            Ok(reply) => Some(reply),
            Err(failure) => {
                deferred.drop_later(failure);
                None
            }
        }
    }

    /// Completes a call. Returns false if it was cancelled.
    pub(crate) fn complete(
        &mut self,
        key: CallKey,
        reply: Reply<'static>,
        deferred: &mut Deferred,
    ) -> bool {
        let Some(call) = self.get_mut(key) else {
            return false;
        };
        call.result = Some(Ok(reply));
        deferred.wake_all(call.waiter.take());
        true
    }

    /// Completes all calls in flight with the failure of their connection.
    pub(crate) fn fail(&mut self, failure: &Failure, deferred: &mut Deferred) {
        for call in self.slots.iter_mut().filter_map(|slot| slot.call.as_mut()) {
            match call.result {
                // A transaction ends with its connection, and its id may name another one on the
                // next connection.
                None | Some(Ok(Reply::Transaction(_))) => {
                    call.result = Some(Err(failure.clone()));
                    deferred.wake_all(call.waiter.take());
                }
                Some(_) => {}
            }
        }
    }

    fn get_mut(&mut self, key: CallKey) -> Option<&mut Call> {
        let slot = self.slots.get_mut(key.index).filter(|slot| slot.key == key)?;
        slot.call.as_mut()
    }

    fn vacate(&mut self, key: CallKey) {
        self.slots[key.index].call = None;
        self.free.push(key.index);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use xs_proto::TxId;

    use super::*;

    #[test]
    fn result_is_taken_once() {
        let (mut calls, mut deferred) = (Calls::default(), Deferred::default());
        let key = calls.open();
        assert!(calls.take(key).is_none());
        assert!(calls.complete(key, Reply::Done, &mut deferred));
        assert_ne!(calls.open(), key);
        assert!(matches!(calls.take(key), Some(Ok(Reply::Done))));
        assert!(calls.take(key).is_none());
    }

    #[test]
    fn late_reply_of_cancelled_call_is_not_wanted() {
        let (mut calls, mut deferred) = (Calls::default(), Deferred::default());
        let (key, done) = (calls.open(), calls.open());
        assert!(calls.cancel(key, &mut deferred).is_none());
        assert!(!calls.complete(key, Reply::Boolean(true), &mut deferred));
        calls.complete(done, Reply::Done, &mut deferred);
        assert_eq!(calls.cancel(done, &mut deferred), Some(Reply::Done));
        assert_eq!(calls.len(), 0);
    }

    #[test]
    fn failure_completes_calls_in_flight_and_transactions() {
        let (mut calls, mut deferred) = (Calls::default(), Deferred::default());
        let [waiting, done, transaction] = [(); 3].map(|()| calls.open());
        calls.register(waiting, &Waiter::Task(Waker::noop().clone()), &mut deferred);
        calls.complete(done, Reply::Done, &mut deferred);
        calls.complete(transaction, Reply::Transaction(TxId(1)), &mut deferred);
        assert!(!deferred.has_user_code());
        calls.fail(&Failure::Closed, &mut deferred);
        assert!(deferred.has_user_code());
        assert!(matches!(calls.take(waiting), Some(Err(Failure::Closed))));
        assert!(matches!(calls.take(transaction), Some(Err(_))));
        assert!(matches!(calls.take(done), Some(Ok(Reply::Done))));
    }
}
