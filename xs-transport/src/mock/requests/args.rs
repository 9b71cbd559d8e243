//! Arguments in payloads, split as leniently as the daemons split them.
//!
//! [`Request::decode`](xs_proto::Request::decode) accepts only what a client can rely on. A daemon
//! accepts more, such as junk after the last string, and the in-memory xenstored must do so, too.

/// Iterates over the strings of a payload without their NULs. Bytes after the last NUL are ignored.
pub(super) fn strings(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    let end = payload.iter().rposition(|byte| *byte == 0);
    end.into_iter().flat_map(|end| payload[..end].split(|byte| *byte == 0))
}

/// Iterates over all parts of a payload between NULs. The last part has no NUL, and is empty if the
/// payload ends with one.
pub(super) fn parts(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    payload.split(|byte| *byte == 0)
}

/// Returns the strings if there are exactly `N`.
pub(super) fn exactly<const N: usize>(payload: &[u8]) -> Option<[&[u8]; N]> {
    let first = at_least(payload)?;
    (strings(payload).count() == N).then_some(first)
}

/// Returns the first `N` strings.
pub(super) fn at_least<const N: usize>(payload: &[u8]) -> Option<[&[u8]; N]> {
    first(strings(payload))
}

/// Returns the first `N` items.
pub(super) fn first<'p, const N: usize>(
    mut all: impl Iterator<Item = &'p [u8]>,
) -> Option<[&'p [u8]; N]> {
    let mut first = [[].as_slice(); N];
    for slot in &mut first {
        *slot = all.next()?;
    }
    Some(first)
}

/// Returns the string if the payload is one string and nothing else.
pub(super) fn only(payload: &[u8]) -> Option<&[u8]> {
    let (last, string) = payload.split_last()?;
    (*last == 0 && !string.contains(&0)).then_some(string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_after_the_last_nul_are_ignored() {
        let all = |payload| strings(payload).collect::<Vec<_>>();
        assert!(all(b"").is_empty());
        assert!(all(b"junk").is_empty());
        assert_eq!(all(b"\0"), [b""]);
        assert_eq!(all(b"a\0b\0junk"), [b"a", b"b"]);
        assert_eq!(exactly(b"a\0b\0junk"), Some([b"a".as_slice(), b"b"]));
        assert_eq!(exactly::<1>(b"a\0b\0"), None);
        assert_eq!(at_least(b"a\0b\0"), Some([b"a".as_slice()]));
        assert_eq!(only(b"a\0"), Some(b"a".as_slice()));
        assert_eq!(only(b"a\0b"), None);
        assert_eq!(only(b"a\0\0"), None);
        assert_eq!(only(b""), None);
    }
}
