//! Numbers in requests, read as the daemons read them.
//!
//! A daemon accepts more than a client can rely on, such as white space before a number or junk
//! after it.

/// Parses a number like atoi(3): white space, a sign, digits, and anything after them.
pub(crate) fn atoi(text: &[u8]) -> i32 {
    // Truncates to 32 bits, as the C library does.
    strtol(text, 10).0 as i32
}

/// Parses a whole text as a decimal number of 16 bits, like strtoul(3). An empty text is 0.
pub(crate) fn whole_u16(text: &[u8]) -> Option<u16> {
    let (number, rest) = strtol(text, 10);
    u16::try_from(number).ok().filter(|_| rest.is_empty())
}

/// Parses a whole text as a number, like strtol(3) with base 0: the prefix `0` selects base 8, and
/// `0x` base 16. The number is truncated to 32 bits.
pub(crate) fn in_any_base(text: &[u8]) -> Option<i32> {
    let (digits, _) = split_sign(text.trim_ascii_start());
    let base = match digits {
        [b'0', b'x' | b'X', digit, ..] if digit.is_ascii_hexdigit() => 16,
        [b'0', ..] => 8,
        _ => 10,
    };
    let (number, rest) = strtol(text, base);
    (digits.first().is_some_and(u8::is_ascii_digit) && rest.is_empty()).then_some(number as i32)
}

/// Parses the first decimal number in a text, and ignores everything around it, as a function of
/// oxenstored does. Without a number, the result is 0.
pub(crate) fn first_number(text: &[u8]) -> i64 {
    let digits = text.iter().skip_while(|byte| !byte.is_ascii_digit());
    let digits = digits.take_while(|byte| byte.is_ascii_digit());
    let number = digits
        .fold(0u64, |number, digit| number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')));
    (number & OCAML_MASK) as i64
}

/// Parses a number like `int_of_string` of OCaml: a sign, a prefix that selects the base, and
/// digits with underscores between them. The result has 63 bits and is printed without a sign.
pub(crate) fn int_of_string(text: &[u8]) -> Option<i64> {
    let (digits, is_negative) = split_sign(text);
    let (base, digits, has_prefix) = match digits {
        [b'0', b'x' | b'X', rest @ ..] => (16, rest, true),
        [b'0', b'o' | b'O', rest @ ..] => (8, rest, true),
        [b'0', b'b' | b'B', rest @ ..] => (2, rest, true),
        [b'0', b'u' | b'U', rest @ ..] => (10, rest, true),
        rest => (10, rest, false),
    };
    let mut number = 0u64;
    for (at, byte) in digits.iter().enumerate() {
        if *byte == b'_' && at > 0 {
            continue;
        }
        let digit = char::from(*byte).to_digit(base)?;
        number = number.checked_mul(base.into())?.checked_add(digit.into())?;
    }
    // A number without a prefix has a sign, so its range is half as large.
    let max = match (has_prefix, is_negative) {
        (true, _) => OCAML_MASK,
        (false, false) => OCAML_MASK >> 1,
        (false, true) => (OCAML_MASK >> 1) + 1,
    };
    if digits.is_empty() || number > max {
        return None;
    }
    let number = if is_negative { number.wrapping_neg() } else { number };
    Some((number & OCAML_MASK) as i64)
}

/// The bits of an integer in OCaml, which has 63.
const OCAML_MASK: u64 = u64::MAX >> 1;

/// Parses a number at the start of a text, like strtol(3) in this base. In base 16, the digits must
/// have the prefix `0x`. Returns the number, or the nearest one of 64 bits, and the text after it.
fn strtol(text: &[u8], base: u32) -> (i64, &[u8]) {
    let (mut digits, is_negative) = split_sign(text.trim_ascii_start());
    if base == 16 && digits.len() > 2 {
        digits = &digits[2..];
    }
    let len = digits.iter().take_while(|byte| char::from(**byte).is_digit(base)).count();
    let (digits, rest) = digits.split_at(len);
    let number = digits.iter().fold(0i64, |number, byte| {
        let digit = char::from(*byte).to_digit(base).map_or(0, i64::from);
        let digit = if is_negative { -digit } else { digit };
        number.saturating_mul(base.into()).saturating_add(digit)
    });
    (number, rest)
}

fn split_sign(text: &[u8]) -> (&[u8], bool) {
    match text {
        [b'-', rest @ ..] => (rest, true),
        [b'+', rest @ ..] => (rest, false),
        _ => (text, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn atoi_ignores_what_follows_the_number() {
        for (text, number) in [
            ("5", 5),
            (" 7x", 7),
            ("-3", -3),
            ("+4", 4),
            ("junk", 0),
            ("", 0),
            ("0x5", 0),
            ("4294967297", 1),
            ("99999999999999999999", -1),
            ("-99999999999999999999", 0),
        ] {
            assert_eq!(atoi(text.as_bytes()), number, "{text}");
        }
    }

    #[test]
    fn whole_numbers_have_nothing_after_them() {
        for (text, number) in [
            ("5", Some(5)),
            (" 5", Some(5)),
            ("\n5", Some(5)),
            ("+05", Some(5)),
            ("", Some(0)),
            ("65535", Some(65535)),
            ("65536", None),
            ("5 ", None),
            ("-1", None),
            ("x", None),
            ("0x5", None),
        ] {
            assert_eq!(whole_u16(text.as_bytes()), number, "{text}");
        }
    }

    #[test]
    fn bases_are_recognised() {
        for (text, number) in [
            ("5", Some(5)),
            ("0x5", Some(5)),
            ("0", Some(0)),
            ("010", Some(8)),
            ("-1", Some(-1)),
            ("4294967301", Some(5)),
            (" +7", Some(7)),
            ("", None),
            ("-", None),
            ("0x", None),
            ("08", None),
            ("0b11", None),
            ("5 ", None),
        ] {
            assert_eq!(in_any_base(text.as_bytes()), number, "{text}");
        }
    }

    #[test]
    fn first_numbers_are_found_anywhere() {
        for (text, number) in [
            ("5", 5),
            ("-5", 5),
            ("a5b6", 5),
            ("x", 0),
            ("0x5", 0),
            ("99999999999999999999", 7_766_279_631_452_241_919),
        ] {
            assert_eq!(first_number(text.as_bytes()), number, "{text}");
        }
    }

    #[test]
    fn ocaml_numbers_have_bases_and_underscores() {
        for (text, number) in [
            ("5", Some(5)),
            ("+5", Some(5)),
            ("-1", Some(i64::MAX)),
            ("1_0", Some(10)),
            ("0x1f", Some(31)),
            ("0b11", Some(3)),
            ("0o17", Some(15)),
            ("0u5", Some(5)),
            ("4611686018427387903", Some(4_611_686_018_427_387_903)),
            ("4611686018427387904", None),
            ("_1", None),
            ("", None),
            ("0x", None),
            (" 5", None),
            ("5 ", None),
            ("--5", None),
        ] {
            assert_eq!(int_of_string(text.as_bytes()), number, "{text}");
        }
    }
}
