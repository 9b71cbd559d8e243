//! Patterns with `*`, `?` and `[a-z]`, as in a shell.

/// A pattern for bytes. `*` matches any bytes, `?` one byte, `[a-z]` one of several, `[!a-z]` any
/// other one, and a backslash takes the next byte literally.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glob(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Byte(u8),
    /// One byte in one of the ranges, or in none of them.
    Class {
        ranges: Vec<(u8, u8)>,
        is_negated: bool,
    },
    AnyBytes,
}

impl Glob {
    /// Parses a pattern. A bracket without an end is taken literally.
    pub(crate) fn new(pattern: &str) -> Self {
        let mut parts = Vec::new();
        let mut rest = pattern.as_bytes();
        while let [first, after @ ..] = rest {
            rest = after;
            parts.push(match first {
                b'*' => Part::AnyBytes,
                b'?' => Part::Class { ranges: Vec::new(), is_negated: true },
                b'\\' => match after {
                    [next, after @ ..] => {
                        rest = after;
                        Part::Byte(*next)
                    }
                    [] => Part::Byte(b'\\'),
                },
                b'[' => match class(after) {
                    Some((class, after)) => {
                        rest = after;
                        class
                    }
                    None => Part::Byte(b'['),
                },
                byte => Part::Byte(*byte),
            });
        }
        Glob(parts)
    }

    /// Returns whether the pattern matches all of `text`, in time proportional to the product of
    /// their lengths.
    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        let (mut part, mut at) = (0, 0);
        // If this attempt fails, the next one starts after the last star, one byte later.
        let mut retry = None;
        while at < text.len() {
            match self.0.get(part) {
                Some(Part::AnyBytes) => {
                    retry = Some((part + 1, at));
                    part += 1;
                }
                Some(single) if single.matches(text[at]) => {
                    part += 1;
                    at += 1;
                }
                _ => match &mut retry {
                    Some((after_star, start)) => {
                        *start += 1;
                        (part, at) = (*after_star, *start);
                    }
                    None => return false,
                },
            }
        }
        self.0[part..].iter().all(|part| *part == Part::AnyBytes)
    }
}

/// Parses a class after its opening bracket. Returns it and the rest of the text.
fn class(text: &[u8]) -> Option<(Part, &[u8])> {
    let (is_negated, body) = match text {
        [b'!' | b'^', body @ ..] => (true, body),
        body => (false, body),
    };
    // A closing bracket at the start is a member.
    let end = 1 + body.iter().skip(1).position(|byte| *byte == b']')?;
    let (mut members, rest) = (&body[..end], &body[end + 1..]);
    let mut ranges = Vec::new();
    while let [first, after @ ..] = members {
        let (last, after) = match after {
            [b'-', last, after @ ..] => (last, after),
            after => (first, after),
        };
        ranges.push((*first, *last));
        members = after;
    }
    Some((Part::Class { ranges, is_negated }, rest))
}

impl Part {
    fn matches(&self, byte: u8) -> bool {
        match self {
            Part::Byte(wanted) => *wanted == byte,
            Part::Class { ranges, is_negated } => {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&byte)) != *is_negated
            }
            Part::AnyBytes => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, text, wanted) in [
            ("*", "", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abcd", false),
            ("*.iso", "/x/a.iso", true),
            ("??", "a", false),
            ("[a-c]?[!0-9]", "b1x", true),
            ("[a-c]?[!0-9]", "b11", false),
            ("[]]", "]", true),
            ("[a", "[a", true),
            (r"\*", "*", true),
            (r"\*", "a", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(text.as_bytes()), wanted, "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = Glob::new(&"a*".repeat(40));
        assert!(
            !pattern.matches(
                &[b'a'; 4000][..]
                    .iter()
                    .copied()
                    .chain([b'b'])
                    .map(|byte| byte ^ 1)
                    .collect::<Vec<_>>()
            )
        );
        assert!(pattern.matches(&[b'a'; 4000]));
    }
}
