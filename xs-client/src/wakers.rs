//! Who is to be told, kept where they wait.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

#[cfg(feature = "tracing")]
use crate::trace::Note;

/// What has become due while the lock was held, and waits until it has been given back.
///
/// A waker is other people's code, when it is called as well as when it is dropped: with it a whole
/// task may go, and what that has under way. So both wait until the lock has been given back.
#[derive(Debug, Default)]
pub(crate) struct Ready(Vec<Due>);

#[derive(Debug)]
enum Due {
    Call(Waker),
    Drop(Waker),
    #[cfg(feature = "tracing")]
    Tell(Note),
}

impl Ready {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// To be called.
    pub(crate) fn push(&mut self, waker: Waker) {
        self.0.push(Due::Call(waker));
    }

    /// Likewise.
    pub(crate) fn extend(&mut self, wakers: impl IntoIterator<Item = Waker>) {
        self.0.extend(wakers.into_iter().map(Due::Call));
    }

    /// To be dropped: nobody waits with it any more.
    pub(crate) fn let_go(&mut self, waker: impl IntoIterator<Item = Waker>) {
        self.0.extend(waker.into_iter().map(Due::Drop));
    }

    #[cfg(feature = "tracing")]
    pub(crate) fn tell(&mut self, note: Note) {
        self.0.push(Due::Tell(note));
    }

    /// This one need not be called: who has it is awake.
    pub(crate) fn is_awake(&mut self, waker: &Waker) {
        self.0.retain(|due| !matches!(due, Due::Call(due) if due.will_wake(waker)));
    }

    /// Does what is due. To be called without the lock.
    pub(crate) fn settle(&mut self) {
        for due in self.0.drain(..) {
            // A panic is reported by the hook for that. It is not the business of who happened to
            // receive, and nobody else may go without being woken.
            let _ = catch_unwind(AssertUnwindSafe(|| match due {
                Due::Call(waker) => waker.wake(),
                Due::Drop(waker) => drop(waker),
                #[cfg(feature = "tracing")]
                Due::Tell(note) => note.tell(),
            }));
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Keeps a waker, unless one that does the same is there already.
pub(crate) fn remember(place: &mut Option<Waker>, waker: Option<&Waker>, ready: &mut Ready) {
    if let Some(waker) = waker {
        if !place.as_ref().is_some_and(|known| known.will_wake(waker)) {
            ready.let_go(place.replace(waker.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Counts(AtomicU32);

    impl Wake for Counts {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn who_is_awake_is_not_called_and_the_others_are() {
        let counts = [(); 2].map(|()| Arc::new(Counts::default()));
        let wakers = counts.clone().map(Waker::from);
        let mut ready = Ready::default();
        ready.extend(wakers.iter().cloned());
        ready.push(wakers[0].clone());
        ready.is_awake(&wakers[0]);
        ready.settle();
        assert!(ready.is_empty());
        assert_eq!(counts.map(|counts| counts.0.load(Ordering::SeqCst)), [0, 1]);
    }
}
