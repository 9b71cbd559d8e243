//! Maps by small numbers that no client chooses freely: they need no guarded hash.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map from connections or domains.
pub(super) type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// Spreads one number over all bits.
#[derive(Debug, Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u16(&mut self, number: u16) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        // The golden ratio of 64 bits; the map uses both ends of the product.
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_put_in() {
        let mut map = IdMap::default();
        for at in 0..10_000u64 {
            map.insert(at, at);
        }
        assert!((0..10_000).all(|at| map[&at] == at) && map.len() == 10_000);
    }
}
