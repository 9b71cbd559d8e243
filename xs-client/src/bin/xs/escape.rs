//! The escaped form of values, as printed by `xs read` and accepted by `xs write`.
//!
//! The xenstore tools use the same form.

/// The bytes of a value that are printed as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// Printable ASCII, as in the xenstore tools.
    #[default]
    Ascii,
    /// Printable characters in UTF-8.
    Utf8,
}

impl Form {
    /// Appends `value` to `out`, with everything else escaped.
    pub(crate) fn escape(self, value: &[u8], out: &mut Vec<u8>) {
        if self == Form::Ascii {
            return escape(value, out);
        }
        for chunk in value.utf8_chunks() {
            for character in chunk.valid().chars() {
                let mut buffer = [0; 4];
                let bytes = character.encode_utf8(&mut buffer).as_bytes();
                match character.is_ascii() || !is_printable(character) {
                    true => escape(bytes, out),
                    false => out.extend(bytes),
                }
            }
            escape(chunk.invalid(), out);
        }
    }

    /// Returns `value` as text, with everything else escaped.
    pub(crate) fn text(self, value: &[u8]) -> String {
        let mut out = Vec::new();
        self.escape(value, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }
}

/// Returns whether a character shows itself on a terminal, and neither controls the terminal nor
/// the direction or visibility of other text.
fn is_printable(character: char) -> bool {
    let is_invisible = matches!(
        character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{ffff}'
            | '\u{e0000}'..='\u{10ffff}'
    );
    !character.is_control() && !is_invisible
}

/// Appends `value` to `out`, with every byte outside printable ASCII escaped.
pub(crate) fn escape(value: &[u8], out: &mut Vec<u8>) {
    for &byte in value {
        match byte {
            b'\t' => out.extend(b"\\t"),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\\' => out.extend(b"\\\\"),
            b' '..=b'~' => out.push(byte),
            0..=7 => out.extend([b'\\', b'0', b'0', b'0' + byte]),
            _ => out.extend(format!("\\x{byte:02x}").bytes()),
        }
    }
}

/// Returns text from the daemon with control characters escaped, except line breaks and tabs.
///
/// Text from the daemon must not control the terminal that it is printed to.
pub(crate) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => printable.push(character),
            _ if character.is_control() => printable.extend(character.escape_default()),
            _ => printable.push(character),
        }
    }
    printable
}

/// Returns the value whose escaped form is `text`.
///
/// As in the xenstore tools, a backslash before a character that is not an escape is dropped, and a
/// backslash at the end of the text becomes a zero byte.
pub(crate) fn unescape(text: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'\\' {
            value.push(*byte);
            continue;
        }
        let Some((&escaped, after)) = rest.split_first() else {
            value.push(0);
            break;
        };
        match escaped {
            b'0'..=b'7' => value.push(take_number(&mut rest, 8, 3)),
            b'x' if after.first().is_some_and(u8::is_ascii_hexdigit) => {
                rest = after;
                value.push(take_number(&mut rest, 16, 2));
            }
            _ => {
                rest = after;
                value.push(match escaped {
                    b't' => b'\t',
                    b'n' => b'\n',
                    b'r' => b'\r',
                    same => same,
                });
            }
        }
    }
    value
}

/// Removes up to `max_digits` digits from the start of `text`. Returns the low byte of the number.
fn take_number(text: &mut &[u8], radix: u32, max_digits: usize) -> u8 {
    let mut number = 0u32;
    for _ in 0..max_digits {
        let Some(digit) = text.first().and_then(|byte| char::from(*byte).to_digit(radix)) else {
            break;
        };
        number = number * radix + digit;
        *text = &text[1..];
    }
    number as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_values_are_read_back() {
        let value: Vec<u8> = (0..=255).flat_map(|byte| [byte, b'1', byte]).collect();
        let mut text = Vec::new();
        escape(&value, &mut text);
        assert!(text.iter().all(|byte| (b' '..=b'~').contains(byte)));
        assert_eq!(unescape(&text), value);
    }

    #[test]
    fn text_keeps_printable_characters_only() {
        assert_eq!(Form::Utf8.text("grüße\n√".as_bytes()), "grüße\\n√");
        assert_eq!(Form::Utf8.text(b"a\xff\xc3"), "a\\xff\\xc3");
        assert_eq!(Form::Utf8.text("\u{202e}\u{85}".as_bytes()), "\\xe2\\x80\\xae\\xc2\\x85");
        assert_eq!(Form::Ascii.text("ü".as_bytes()), "\\xc3\\xbc");
        assert_eq!(
            unescape(Form::Utf8.text("ü\u{85}\\".as_bytes()).as_bytes()),
            "ü\u{85}\\".as_bytes()
        );
    }

    #[test]
    fn unusual_escapes_match_the_xenstore_tools() {
        for (text, value) in [
            (&br"\1234"[..], &b"S4"[..]),
            (br"\400", b"\0"),
            (br"\08", b"\08"),
            (br"\9\q\X41", b"9qX41"),
            (br"\x123", b"\x123"),
            (br"\x4g", b"\x04g"),
            (br"\xz\x", b"xzx"),
            (b"tail\\", b"tail\0"),
        ] {
            assert_eq!(unescape(text), value, "{}", text.escape_ascii());
        }
    }
}
