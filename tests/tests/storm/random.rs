//! Random decisions that a seed determines.

use std::time::Duration;

/// A generator of pseudorandom numbers (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// Creates the generator of one actor. Each number gives a different sequence.
    pub(crate) fn new(seed: u64, number: u64) -> Self {
        Random(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Returns a number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Returns true once in `n` times.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Returns an element.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    /// Returns a timeout between zero and none.
    pub(crate) fn timeout(&mut self) -> Option<Duration> {
        match self.below(8) {
            0 => Some(Duration::ZERO),
            1 => Some(Duration::from_micros(self.below(500))),
            2 => Some(Duration::from_millis(self.below(30))),
            3 => Some(Duration::from_secs(11)),
            _ => None,
        }
    }
}

/// Returns a hash of a number.
pub(crate) fn mix(number: u64) -> u64 {
    let mut z = number;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
