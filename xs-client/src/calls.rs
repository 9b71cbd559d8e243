//! The requests that somebody waits for, and the answers that nobody has fetched yet.

use std::task::Waker;

use xs_proto::{Reply, ReqId};

use xs_transport::Failure;

use crate::wakers::{Ready, remember};

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
    pub(crate) place: u32,
    /// For those who look from outside.
    pub(crate) req_id: ReqId,
    /// The connection that took the request: no other one answers.
    pub(crate) session: u64,
}

/// The answer to a request, or why there is none.
pub(crate) type Answered = Result<Reply<'static>, Failure>;

#[derive(Debug, Default)]
struct Call {
    state: State,
    /// Who waits for the answer.
    waker: Option<Waker>,
    /// It is here, and not fetched yet.
    answer: Option<Answered>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Free,
    /// Somebody wants the answer.
    Wanted,
    /// Free as soon as the answer has come.
    Forgotten,
}

impl Calls {
    /// A place for one more call: the key by which its answer comes.
    #[inline]
    pub(crate) fn open(&mut self) -> u32 {
        let place = self.free.pop().unwrap_or_else(|| self.grow());
        self.places[place as usize].state = State::Wanted;
        place
    }

    #[cold]
    fn grow(&mut self) -> u32 {
        self.places.push(Call::default());
        self.places.len() as u32 - 1
    }

    /// This waker is called when the answer has come.
    pub(crate) fn await_answer(&mut self, call: CallId, waker: &Waker, ready: &mut Ready) {
        remember(&mut self.places[call.place as usize].waker, Some(waker), ready);
    }

    /// The answer, or why there will be none. `None` as long as it may come.
    #[inline]
    pub(crate) fn take(&mut self, call: CallId) -> Option<Answered> {
        let answer = self.places[call.place as usize].answer.take()?;
        self.release(call.place);
        Some(answer)
    }

    /// The answer is of no interest any more; it is given back if it is here already.
    pub(crate) fn forget(&mut self, call: CallId, ready: &mut Ready) -> Option<Reply<'static>> {
        if let Some(answer) = self.take(call) {
            return answer.ok();
        }
        let call = &mut self.places[call.place as usize];
        call.state = State::Forgotten;
        ready.let_go(call.waker.take());
        None
    }

    /// An answer came; says whether somebody wants it. It is made when its place has been found.
    #[inline(always)]
    pub(crate) fn finish(
        &mut self,
        place: u32,
        reply: impl FnOnce() -> Reply<'static>,
        ready: &mut Ready,
    ) -> bool {
        let call = &mut self.places[place as usize];
        if call.state != State::Wanted {
            if call.state == State::Forgotten {
                self.release(place);
            }
            return false;
        }
        if let Some(waker) = call.waker.take() {
            ready.push(waker);
        }
        call.answer = Some(Ok(reply()));
        true
    }

    /// Nothing will come for this place, or it has been fetched.
    #[inline]
    pub(crate) fn release(&mut self, place: u32) {
        self.places[place as usize].state = State::Free;
        self.free.push(place);
    }

    /// No more answers will come.
    pub(crate) fn fail(&mut self, failure: &Failure, ready: &mut Ready) {
        for place in 0..self.places.len() {
            let call = &mut self.places[place];
            match (call.state, &call.answer) {
                // A transaction is gone, and on another connection its id may name another one.
                (State::Wanted, None | Some(Ok(Reply::Transaction(_)))) => {
                    call.answer = Some(Err(failure.clone()));
                    ready.extend(call.waker.take());
                }
                (State::Forgotten, _) => self.release(place as u32),
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
        CallId { place: calls.open(), req_id: ReqId(1), session: 0 }
    }

    #[test]
    fn a_place_is_free_when_the_answer_was_fetched() {
        let mut calls = Calls::default();
        let first = add(&mut calls);
        let second = add(&mut calls);
        assert_ne!(first.place, second.place);
        assert!(calls.take(first).is_none());
        assert!(calls.finish(first.place, || Reply::Done, &mut Ready::default()));
        // The answer waits; the place is not given to anybody else.
        let third = add(&mut calls);
        assert_ne!(third.place, first.place);
        assert!(matches!(calls.take(first), Some(Ok(Reply::Done))));
        assert_eq!(add(&mut calls).place, first.place);
    }

    #[test]
    fn a_forgotten_place_is_free_when_its_late_answer_has_come() {
        let mut calls = Calls::default();
        let first = add(&mut calls);
        assert!(calls.forget(first, &mut Ready::default()).is_none());
        assert_ne!(add(&mut calls).place, first.place);
        assert!(!calls.finish(first.place, || Reply::Boolean(true), &mut Ready::default()));
        assert_eq!(add(&mut calls).place, first.place);
    }

    #[test]
    fn a_failure_ends_all_that_wait() {
        let mut calls = Calls::default();
        let (waiting, done, forgotten) = (add(&mut calls), add(&mut calls), add(&mut calls));
        let transaction = add(&mut calls);
        calls.await_answer(waiting, Waker::noop(), &mut Ready::default());
        calls.finish(done.place, || Reply::Done, &mut Ready::default());
        let tx_id = Reply::Transaction(TxId(1));
        calls.finish(transaction.place, || tx_id, &mut Ready::default());
        calls.forget(forgotten, &mut Ready::default());
        let mut ready = Ready::default();
        calls.fail(&Failure::Closed, &mut ready);
        assert_eq!(ready.len(), 1);
        assert!(matches!(calls.take(waiting), Some(Err(Failure::Closed))));
        assert!(matches!(calls.take(transaction), Some(Err(_))));
        assert!(matches!(calls.take(done), Some(Ok(Reply::Done))));
        assert_eq!(calls.free.len(), 4);
    }
}
