//! Wakers for futures that a test polls by hand.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};

/// Returns a waker that calls `on_wake` each time it is woken.
pub(crate) fn waker(on_wake: impl Fn() + Send + Sync + 'static) -> Waker {
    struct OnWake<F>(F);
    impl<F: Fn() + Send + Sync> Wake for OnWake<F> {
        fn wake(self: Arc<Self>) {
            (self.0)();
        }
    }
    Waker::from(Arc::new(OnWake(on_wake)))
}

/// Returns a waker and the number of times that it has been woken.
pub(crate) fn counting_waker() -> (Waker, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let woken = count.clone();
    let waker = waker(move || {
        woken.fetch_add(1, Ordering::SeqCst);
    });
    (waker, count)
}

/// Returns a waker and a reference that expires when the last clone of the waker is dropped.
pub(crate) fn tracked_waker() -> (Waker, Weak<()>) {
    let tracked = Arc::new(());
    let weak = Arc::downgrade(&tracked);
    let waker = waker(move || {
        let _ = &tracked;
    });
    (waker, weak)
}

/// Polls a future once with the given waker.
pub(crate) fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}
