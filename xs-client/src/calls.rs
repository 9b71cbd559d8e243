//! The requests that somebody waits for, and the answers that nobody has fetched yet.

use std::task::Waker;

use xs_proto::{Reply, ReqId};

use xs_transport::Failure;

use crate::wakers::remember;

/// A place for each request under way.
///
/// Whoever made the request keeps its [`CallId`] until it has fetched the answer or
/// [forgotten](Calls::forget) it; so no place is used twice at a time, and none is searched for.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    places: Vec<Call>,
    free: Vec<u32>,
}

/// Names a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallId {
    place: u32,
    /// For those who look from outside.
    pub(crate) req_id: ReqId,
}

/// The answer to a request, or why there is none.
pub(crate) type Answered = Result<Reply<'static>, Failure>;

#[derive(Debug)]
enum Call {
    Free,
    Waiting(Option<Waker>),
    Done(Reply<'static>),
    Failed(Failure),
    /// Free as soon as the answer has come.
    Forgotten,
}

impl Calls {
    /// A place for one more call: the key by which its answer comes.
    pub(crate) fn vacant(&mut self) -> u32 {
        if let Some(&place) = self.free.last() {
            return place;
        }
        let place = self.places.len() as u32;
        self.places.push(Call::Free);
        self.free.push(place);
        place
    }

    /// Uses the place that `vacant` offered.
    pub(crate) fn occupy(&mut self, req_id: ReqId) -> Option<CallId> {
        let place = self.free.pop()?;
        self.places[place as usize] = Call::Waiting(None);
        Some(CallId { place, req_id })
    }

    /// The answer, or why there will be none. `None` as long as it may come: `waker` is remembered
    /// then.
    pub(crate) fn poll(&mut self, call: CallId, waker: Option<&Waker>) -> Option<Answered> {
        let place = self.places.get_mut(call.place as usize)?;
        if let Call::Waiting(waiting) = place {
            remember(waiting, waker);
            return None;
        }
        self.free.push(call.place);
        match std::mem::replace(place, Call::Free) {
            Call::Done(reply) => Some(Ok(reply)),
            Call::Failed(failure) => Some(Err(failure)),
            _ => Some(Err(Failure::Closed)),
        }
    }

    /// The answer is of no interest any more; it is given back if it is here already.
    pub(crate) fn forget(&mut self, call: CallId) -> Option<Reply<'static>> {
        let place = self.places.get_mut(call.place as usize)?;
        if let Call::Waiting(_) = place {
            *place = Call::Forgotten;
            return None;
        }
        self.free.push(call.place);
        match std::mem::replace(place, Call::Free) {
            Call::Done(reply) => Some(reply),
            _ => None,
        }
    }

    /// An answer came. Nobody wants it any more if it is given back.
    pub(crate) fn finish(
        &mut self,
        place: u32,
        reply: Reply<'static>,
        ready: &mut Vec<Waker>,
    ) -> Option<Reply<'static>> {
        let Some(call) = self.places.get_mut(place as usize) else {
            return Some(reply);
        };
        match call {
            Call::Waiting(waker) => {
                ready.extend(waker.take());
                *call = Call::Done(reply);
                None
            }
            Call::Forgotten => {
                *call = Call::Free;
                self.free.push(place);
                Some(reply)
            }
            _ => Some(reply),
        }
    }

    /// No more answers will come.
    pub(crate) fn fail(&mut self, failure: &Failure, ready: &mut Vec<Waker>) {
        for (place, call) in self.places.iter_mut().enumerate() {
            match call {
                Call::Waiting(waker) => {
                    ready.extend(waker.take());
                    *call = Call::Failed(failure.clone());
                }
                // It is gone, and on another connection its id may name another one.
                Call::Done(Reply::Transaction(_)) => *call = Call::Failed(failure.clone()),
                Call::Forgotten => {
                    *call = Call::Free;
                    self.free.push(place as u32);
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use xs_proto::TxId;

    use super::*;

    fn add(calls: &mut Calls) -> CallId {
        calls.vacant();
        calls.occupy(ReqId(1)).unwrap()
    }

    #[test]
    fn a_place_is_free_when_the_answer_was_fetched() {
        let mut calls = Calls::default();
        let first = add(&mut calls);
        let second = add(&mut calls);
        assert_ne!(first.place, second.place);
        assert!(calls.poll(first, None).is_none());
        assert!(calls.finish(first.place, Reply::Done, &mut Vec::new()).is_none());
        // The answer waits; the place is not given to anybody else.
        let third = add(&mut calls);
        assert_ne!(third.place, first.place);
        assert!(matches!(calls.poll(first, None), Some(Ok(Reply::Done))));
        assert_eq!(add(&mut calls).place, first.place);
    }

    #[test]
    fn a_forgotten_place_is_free_when_its_late_answer_has_come() {
        let mut calls = Calls::default();
        let first = add(&mut calls);
        assert!(calls.forget(first).is_none());
        assert_ne!(add(&mut calls).place, first.place);
        let late = calls.finish(first.place, Reply::Boolean(true), &mut Vec::new());
        assert_eq!(late, Some(Reply::Boolean(true)));
        assert_eq!(add(&mut calls).place, first.place);
    }

    #[test]
    fn a_failure_ends_all_that_wait() {
        let mut calls = Calls::default();
        let (waiting, done, forgotten) = (add(&mut calls), add(&mut calls), add(&mut calls));
        let transaction = add(&mut calls);
        calls.poll(waiting, Some(Waker::noop()));
        calls.finish(done.place, Reply::Done, &mut Vec::new());
        let tx_id = Reply::Transaction(TxId(1));
        calls.finish(transaction.place, tx_id, &mut Vec::new());
        calls.forget(forgotten);
        let mut ready = Vec::new();
        calls.fail(&Failure::Closed, &mut ready);
        assert_eq!(ready.len(), 1);
        assert!(matches!(calls.poll(waiting, None), Some(Err(Failure::Closed))));
        assert!(matches!(calls.poll(transaction, None), Some(Err(_))));
        assert!(matches!(calls.poll(done, None), Some(Ok(Reply::Done))));
        assert_eq!(calls.free.len(), 4);
    }
}
