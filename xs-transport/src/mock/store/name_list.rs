//! A persistent list of names.

use rpds::RedBlackTreeMapSync;

/// Names in the order of their keys. A clone shares its memory with the original.
///
/// The names are stored in chunks: a list of a hundred thousand names then takes a few thousand
/// allocations, and reading it costs a few cache misses for each chunk instead of each name.
#[derive(Clone, Debug, Default)]
pub(crate) struct NameList {
    /// The chunks. The key of a chunk is at most that of its first name, and greater than that of
    /// the last name before it.
    chunks: RedBlackTreeMapSync<u64, Chunk>,
    /// The length of all names, each with its NUL.
    wire_len: usize,
}

/// Some names that follow each other.
#[derive(Clone, Debug, Default)]
struct Chunk {
    /// The key of each name, and where the name ends in `wire`.
    names: Vec<(u64, u32)>,
    /// The names, each with its NUL.
    wire: String,
}

/// The largest number of names in a chunk, to which names can be added.
const CHUNK: usize = 64;

/// The largest number of bytes of such a chunk.
const CHUNK_BYTES: usize = 1024;

impl NameList {
    /// Adds a name.
    pub(crate) fn add(&mut self, key: u64, name: &str) {
        self.wire_len += name.len() + 1;
        let before = self.chunk_of(key);
        match before.and_then(|first| self.chunks.get_mut(&first)) {
            Some(chunk) if chunk.has_room() || !chunk.precedes(key) => chunk.insert(key, name),
            _ => {
                let mut chunk = Chunk::default();
                chunk.insert(key, name);
                self.chunks.insert_mut(key, chunk);
            }
        }
    }

    /// Removes a name. Returns whether there was one with this key.
    pub(crate) fn remove(&mut self, key: u64) -> bool {
        let Some(first) = self.chunk_of(key) else { return false };
        // `get_mut` would copy the chunk even if it does not have the name.
        if self.chunks.get(&first).is_none_or(|chunk| chunk.position(key).is_err()) {
            return false;
        }
        let Some(chunk) = self.chunks.get_mut(&first) else { return false };
        self.wire_len -= chunk.remove(key);
        if chunk.names.is_empty() {
            self.chunks.remove_mut(&first);
        }
        true
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.chunks.values().flat_map(|chunk| chunk.wire.split_terminator('\0'))
    }

    /// Returns the names, each with its NUL.
    pub(crate) fn to_wire(&self) -> Vec<u8> {
        let mut wire = Vec::with_capacity(self.wire_len);
        for chunk in self.chunks.values() {
            wire.extend_from_slice(chunk.wire.as_bytes());
        }
        wire
    }

    /// Returns the length of [`to_wire`](Self::to_wire).
    pub(crate) fn wire_len(&self) -> usize {
        self.wire_len
    }

    /// Returns the key of the chunk that has the names around this key.
    fn chunk_of(&self, key: u64) -> Option<u64> {
        // Most names are added at the end.
        let (last, _) = self.chunks.last()?;
        if *last <= key {
            return Some(*last);
        }
        self.chunks.range(..=key).next_back().map(|(first, _)| *first)
    }
}

impl Chunk {
    fn has_room(&self) -> bool {
        self.names.len() < CHUNK && self.wire.len() < CHUNK_BYTES
    }

    /// Returns whether all names come before this key.
    fn precedes(&self, key: u64) -> bool {
        self.names.last().is_none_or(|(last, _)| *last < key)
    }

    fn position(&self, key: u64) -> Result<usize, usize> {
        self.names.binary_search_by_key(&key, |(key, _)| *key)
    }

    /// Returns where the name at this index begins in `wire`.
    fn start(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| self.names[before].1 as usize)
    }

    fn insert(&mut self, key: u64, name: &str) {
        let index = self.position(key).unwrap_or_else(|index| index);
        let start = self.start(index);
        self.wire.insert_str(start, name);
        self.wire.insert(start + name.len(), '\0');
        self.names.insert(index, (key, start as u32));
        self.names[index..].iter_mut().for_each(|(_, end)| *end += name.len() as u32 + 1);
    }

    /// Removes a name that is there, and returns its length with its NUL.
    fn remove(&mut self, key: u64) -> usize {
        let Ok(index) = self.position(key) else { return 0 };
        let (start, end) = (self.start(index), self.names[index].1 as usize);
        self.wire.drain(start..end);
        self.names.remove(index);
        self.names[index..].iter_mut().for_each(|(_, later)| *later -= (end - start) as u32);
        end - start
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::collections::btree_map::Entry;

    use super::*;

    #[track_caller]
    fn assert_same(list: &NameList, expected: &BTreeMap<u64, String>) {
        assert!(list.iter().eq(expected.values().map(String::as_str)));
        let wire: Vec<_> =
            expected.values().flat_map(|name| [name.as_bytes(), b"\0"].concat()).collect();
        assert_eq!((list.to_wire(), list.wire_len()), (wire.clone(), wire.len()));
    }

    #[test]
    fn list_behaves_like_a_map() {
        let (mut list, mut expected) = (NameList::default(), BTreeMap::new());
        let (mut copy, mut expected_copy) = (list.clone(), expected.clone());
        let mut random = 1u64;
        for step in 0..20_000_u64 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            // Mostly at the end, sometimes anywhere.
            let key =
                if random >> 60 < 12 { 10_000 + step } else { (random >> 33) % (10_000 + step) };
            if random >> 56 & 3 == 0 {
                let key = expected.range(key..).next().map_or(key, |(key, _)| *key);
                assert_eq!(list.remove(key), expected.remove(&key).is_some());
            } else if let Entry::Vacant(entry) = expected.entry(key) {
                let name = entry.insert("n".repeat((random >> 40) as usize % 30 + 1));
                list.add(key, name);
            }
            if step % 1000 == 0 {
                assert_same(&list, &expected);
                assert_same(&copy, &expected_copy);
                (copy, expected_copy) = (list.clone(), expected.clone());
            }
        }
        while let Some((key, _)) = expected.pop_first() {
            assert!(list.remove(key) && !list.remove(key));
        }
        assert_same(&list, &expected);
        assert!(list.chunks.is_empty());
    }

    #[test]
    fn appended_names_fill_chunks() {
        let mut list = NameList::default();
        (0..64_000).for_each(|key| list.add(key, "name"));
        assert_eq!(list.chunks.size(), 1000);
    }
}
