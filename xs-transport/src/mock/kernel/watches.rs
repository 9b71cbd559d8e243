//! The watches that the kernel sets for its devices.

use std::collections::BTreeMap;

use xs_proto::Header;

/// All watches of a kernel, by number. The token of the kernel's own watch is that number.
#[derive(Debug, Default)]
pub(super) struct WatchTable {
    watches: BTreeMap<u64, Watch>,
    /// How many watches have been added.
    added: u64,
}

/// A watch that a device has set.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) device: u64,
    pub(super) path: Box<[u8]>,
    pub(super) token: Box<[u8]>,
    /// The WATCH request, if its reply follows the first event.
    pub(super) late_reply: Option<Header>,
}

impl WatchTable {
    /// Adds a watch. Returns whether its reply follows the first event, as it does for every other
    /// watch.
    pub(super) fn add(
        &mut self,
        number: u64,
        device: u64,
        request: Header,
        path: &[u8],
        token: &[u8],
    ) -> bool {
        self.added += 1;
        let is_late = self.added % 2 == 0;
        let (path, token) = (path.into(), token.into());
        let watch = Watch { device, path, token, late_reply: is_late.then_some(request) };
        self.watches.insert(number, watch);
        is_late
    }

    /// Returns the watch with a kernel's token. It may have been removed by now.
    pub(super) fn by_token(&mut self, token: &[u8]) -> Option<&mut Watch> {
        let number: u64 = std::str::from_utf8(token).ok()?.parse().ok()?;
        self.watches.get_mut(&number)
    }

    pub(super) fn remove(&mut self, number: u64) {
        self.watches.remove(&number);
    }

    /// Removes the first watch of a device on this path with this token. Returns its number.
    pub(super) fn remove_matching(
        &mut self,
        device: u64,
        path: &[u8],
        token: &[u8],
    ) -> Option<u64> {
        let (&number, _) = self.watches.iter().find(|(_, watch)| {
            watch.device == device && *watch.path == *path && *watch.token == *token
        })?;
        self.watches.remove(&number);
        Some(number)
    }

    /// Removes all watches of a device. Returns the payload of the UNWATCH that ends each.
    pub(super) fn remove_all(&mut self, device: u64) -> Vec<Vec<u8>> {
        let mut payloads = Vec::new();
        self.watches.retain(|number, watch| {
            let is_removed = watch.device == device;
            if is_removed {
                payloads.push(watch_payload(&watch.path, *number));
            }
            !is_removed
        });
        payloads
    }

    /// Returns the payload of the WATCH that sets each watch.
    pub(super) fn payloads(&self) -> Vec<Vec<u8>> {
        self.watches.iter().map(|(number, watch)| watch_payload(&watch.path, *number)).collect()
    }
}

/// Returns the payload of the kernel's own WATCH or UNWATCH.
pub(super) fn watch_payload(path: &[u8], number: u64) -> Vec<u8> {
    [path, b"\0", number.to_string().as_bytes(), b"\0"].concat()
}

/// Splits a payload that begins with two strings, each of which ends with a NUL.
pub(super) fn two_strings(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut strings = payload.split(|byte| *byte == 0);
    let (first, second) = (strings.next()?, strings.next()?);
    // Without a third part, the second string has no NUL.
    strings.next().map(|_| (first, second))
}
