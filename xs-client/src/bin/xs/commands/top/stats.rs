//! Events per second.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// The events of the last seconds, by the domain in whose home they happen.
#[derive(Debug, Default)]
pub(super) struct Stats {
    /// The events of each slot of time, oldest first.
    slots: VecDeque<(Instant, BTreeMap<Option<u16>, u32>)>,
}

/// The time over which rates are averaged.
const WINDOW: Duration = Duration::from_secs(5);

/// The length of a slot. Events are counted by slot, so that memory does not grow with their
/// number.
const SLOT: Duration = Duration::from_millis(250);

impl Stats {
    pub(super) fn count(&mut self, path: &str, now: Instant) {
        self.drop_old(now);
        if self.slots.back().is_none_or(|(start, _)| now.duration_since(*start) >= SLOT) {
            self.slots.push_back((now, BTreeMap::new()));
        }
        if let Some((_, counts)) = self.slots.back_mut() {
            *counts.entry(domid_of(path)).or_default() += 1;
        }
    }

    /// Returns the number of events per second, in total and by domain, the busiest domain first.
    pub(super) fn rates(&mut self, now: Instant) -> (f64, Vec<(u16, f64)>) {
        self.drop_old(now);
        let mut sums: BTreeMap<Option<u16>, u32> = BTreeMap::new();
        for (domid, count) in self.slots.iter().flat_map(|(_, counts)| counts) {
            *sums.entry(*domid).or_default() += count;
        }
        let rate = |count: u32| f64::from(count) / WINDOW.as_secs_f64();
        let total = rate(sums.values().sum());
        let mut domains: Vec<_> =
            sums.into_iter().filter_map(|(domid, count)| Some((domid?, rate(count)))).collect();
        domains.sort_by(|a, b| b.1.total_cmp(&a.1));
        (total, domains)
    }

    /// Drops the slots that are older than the window.
    fn drop_old(&mut self, now: Instant) {
        while self.slots.front().is_some_and(|(start, _)| now.duration_since(*start) >= WINDOW) {
            self.slots.pop_front();
        }
    }
}

/// Returns the domain in whose home a node is.
pub(super) fn domid_of(path: &str) -> Option<u16> {
    path.strip_prefix("/local/domain/")?.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_last_seconds() {
        let mut stats = Stats::default();
        let start = Instant::now();
        for at in 0..10 {
            stats.count("/local/domain/5/a", start + at * Duration::from_millis(100));
        }
        for _ in 0..5 {
            stats.count("/local/domain/7/a", start + Duration::from_secs(1));
            stats.count("/vm", start + Duration::from_secs(1));
        }
        let (total, domains) = stats.rates(start + Duration::from_secs(1));
        assert_eq!((total, domains), (4.0, vec![(5, 2.0), (7, 1.0)]));
        assert_eq!(stats.rates(start + Duration::from_secs(7)), (0.0, vec![]));
    }
}
