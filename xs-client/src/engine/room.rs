//! The parties that wait for room in flight, or for a new connection.

use std::collections::BTreeMap;

use super::deferred::{Deferred, Waiter};

/// The parties that wait for room for a request, or for a new connection, in the order in which
/// they have come.
#[derive(Debug, Default)]
pub(crate) struct RoomQueue {
    waiting: BTreeMap<u64, Waiter>,
    /// The number of tickets that parties hold. A party that holds one and does not wait was woken,
    /// and has neither registered again nor left.
    held: usize,
    last: u64,
}

/// The place of a party in the queue, which the party gives up with [`RoomQueue::leave`].
#[derive(Debug)]
pub(crate) struct RoomTicket(u64);

impl RoomQueue {
    /// Registers the party to wake. A party that was woken too early keeps its place.
    pub(super) fn register(
        &mut self,
        ticket: &mut Option<RoomTicket>,
        waiter: &Waiter,
        deferred: &mut Deferred,
    ) {
        let ticket = ticket.get_or_insert_with(|| {
            self.held += 1;
            self.last += 1;
            RoomTicket(self.last)
        });
        let mut slot = self.waiting.remove(&ticket.0);
        deferred.register(&mut slot, waiter);
        self.waiting.extend(slot.map(|waiter| (ticket.0, waiter)));
    }

    /// Removes a party that no longer waits.
    pub(super) fn leave(&mut self, ticket: RoomTicket, deferred: &mut Deferred) {
        // In a forked process, the queue does not know the ticket.
        self.held = self.held.saturating_sub(1);
        deferred.release(self.waiting.remove(&ticket.0));
    }

    /// Wakes as many parties as there is room for. The parties that were woken before, and have not
    /// used their room yet, count as well.
    pub(super) fn offer(&mut self, room: usize, deferred: &mut Deferred) {
        let woken = self.held - self.waiting.len();
        for _ in woken..room {
            let Some((_, waiter)) = self.waiting.pop_first() else { return };
            deferred.wake(waiter);
        }
    }

    /// Wakes all parties, which then check the state again.
    pub(super) fn wake_all(&mut self, deferred: &mut Deferred) {
        while let Some((_, waiter)) = self.waiting.pop_first() {
            deferred.wake(waiter);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::counted_wakes::CountedWakes;
    use super::*;

    /// A queue with a number of parties, which count their wake-ups together.
    struct Fixture {
        queue: RoomQueue,
        tickets: Vec<Option<RoomTicket>>,
        wakes: CountedWakes,
    }

    impl Fixture {
        fn new(parties: usize) -> Self {
            let tickets = (0..parties).map(|_| None).collect();
            let (queue, wakes) = (RoomQueue::default(), CountedWakes::default());
            let mut new = Fixture { queue, tickets, wakes };
            (0..parties).for_each(|at| new.register(at));
            new
        }

        fn register(&mut self, at: usize) {
            let waiter = self.wakes.waiter();
            self.queue.register(&mut self.tickets[at], &waiter, &mut Deferred::default());
        }

        fn leave(&mut self, at: usize) {
            self.queue.leave(self.tickets[at].take().unwrap(), &mut Deferred::default());
        }

        /// Returns how many parties are woken.
        fn offer(&mut self, room: usize) -> usize {
            let mut deferred = Deferred::default();
            self.queue.offer(room, &mut deferred);
            self.wakes.run(&mut deferred)
        }
    }

    #[test]
    fn parties_are_woken_once_for_the_same_room() {
        let mut parties = Fixture::new(5);
        assert_eq!(parties.offer(2), 2);
        assert_eq!(parties.offer(3), 1);
        // One of the three uses the room, and one finds it taken.
        parties.leave(0);
        parties.register(1);
        assert_eq!(parties.offer(1), 0);
        assert_eq!(parties.offer(2), 1);
        assert_eq!(parties.queue.waiting.keys().copied().collect::<Vec<_>>(), [4, 5]);
    }

    #[test]
    fn room_of_a_party_that_leaves_is_offered_to_the_next() {
        let mut parties = Fixture::new(3);
        assert_eq!(parties.offer(1), 1);
        parties.leave(0);
        assert_eq!(parties.offer(1), 1);
        parties.leave(2);
        parties.leave(1);
        assert_eq!(parties.offer(1), 0);
        assert_eq!(parties.queue.held, 0);
    }

    #[test]
    fn queue_of_a_forked_process_accepts_tickets_of_its_parent() {
        let mut parties = Fixture::new(1);
        let (mut queue, ticket) = (RoomQueue::default(), parties.tickets[0].take().unwrap());
        queue.leave(ticket, &mut Deferred::default());
        assert_eq!(queue.held, 0);
    }
}
