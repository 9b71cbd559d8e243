//! The order in which the sources of work take turns.

use std::collections::{HashSet, VecDeque};

/// Something that can have work for the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// A listener, by its index: clients wait to be accepted.
    Listener(usize),
    /// A client, by its index: it has sent requests or can be sent output.
    Client(usize),
}

/// The sources that wait for their turn, in the order in which they began to wait. A source waits
/// at most once, so that each gets one turn before any gets its second.
#[derive(Debug, Default)]
pub(super) struct Turns {
    order: VecDeque<Source>,
    waiting: HashSet<Source>,
}

impl Turns {
    /// Lets a source wait for its turn, unless it does already.
    pub(super) fn add(&mut self, source: Source) {
        if self.waiting.insert(source) {
            self.order.push_back(source);
        }
    }

    /// Returns the source whose turn it is. It no longer waits.
    pub(super) fn next(&mut self) -> Option<Source> {
        let source = self.order.pop_front()?;
        self.waiting.remove(&source);
        Some(source)
    }

    /// Returns how many sources wait.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_take_turns_in_the_order_of_their_arrival() {
        let mut turns = Turns::default();
        for source in [Source::Client(7), Source::Listener(0), Source::Client(7)] {
            turns.add(source);
        }
        assert_eq!(turns.len(), 2);
        assert_eq!(turns.next(), Some(Source::Client(7)));
        // It still has work, but the listener was first.
        turns.add(Source::Client(7));
        assert_eq!(turns.next(), Some(Source::Listener(0)));
        assert_eq!(turns.next(), Some(Source::Client(7)));
        assert_eq!(turns.next(), None);
    }
}
