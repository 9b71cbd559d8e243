//! Arguments in payloads, parsed as leniently as the C daemon parses them.
//!
//! [`Request::decode`](xs_proto::Request::decode) accepts what a client can rely on. A daemon
//! accepts more, such as junk after a number or after the last string. A test of a client needs the
//! daemon's judgement, not the stricter one.

use xs_proto::{Access, DomId, Permission};

/// Iterates over the strings of a payload without their NULs. Bytes after the last NUL are ignored.
pub(super) fn strings(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    let end = payload.iter().rposition(|byte| *byte == 0);
    end.into_iter().flat_map(|end| payload[..end].split(|byte| *byte == 0))
}

/// Returns the strings if there are exactly `N`.
pub(super) fn exactly<const N: usize>(payload: &[u8]) -> Option<[&[u8]; N]> {
    let first = at_least(payload)?;
    (strings(payload).count() == N).then_some(first)
}

/// Returns the first `N` strings.
pub(super) fn at_least<const N: usize>(payload: &[u8]) -> Option<[&[u8]; N]> {
    let mut all = strings(payload);
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

/// Parses a number like atoi(3): blanks, a sign, digits, and anything after them.
pub(super) fn atoi(text: &[u8]) -> i32 {
    let text = text.trim_ascii_start();
    let (negative, digits) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    };
    let mut number = 0i64;
    for digit in digits.iter().take_while(|byte| byte.is_ascii_digit()) {
        number = number.saturating_mul(10).saturating_add(i64::from(digit - b'0'));
    }
    // Truncates to 32 bits, as the C library does.
    (if negative { -number } else { number }) as i32
}

/// Parses a domain id that is a decimal number in range.
pub(super) fn domid(text: &[u8]) -> Option<DomId> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Parses a permission: the letter and the number of a domain.
pub(super) fn permission(text: &[u8]) -> Option<Permission> {
    let (letter, id) = text.split_first()?;
    Some(Permission::new(domid(id)?, Access::from_letter(*letter)?))
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

    #[test]
    fn numbers_are_parsed_like_atoi() {
        for (text, number) in
            [("5", 5), (" 7x", 7), ("-3", -3), ("+4", 4), ("junk", 0), ("", 0), ("4294967297", 1)]
        {
            assert_eq!(atoi(text.as_bytes()), number, "{text}");
        }
    }
}
