//! Who is to be told, kept where they wait.

use std::task::Waker;

/// Keeps a waker, unless one that does the same is there already.
pub(crate) fn remember(place: &mut Option<Waker>, waker: Option<&Waker>) {
    if let Some(waker) = waker {
        if !place.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *place = Some(waker.clone());
        }
    }
}
