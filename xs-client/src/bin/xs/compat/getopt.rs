//! An option parser that behaves as getopt_long(3) of the GNU C library.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// An option: its letter, its long name or `""`, and whether it takes an argument.
pub(super) type Definition = (u8, &'static str, bool);

/// A parsed command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parsed {
    /// The options in their order, each with its argument or an empty string.
    pub(super) options: Vec<(u8, OsString)>,
    /// The arguments that are not options.
    pub(super) operands: Vec<OsString>,
    /// Messages about invalid options. The xenstore tools print them and continue.
    pub(super) errors: Vec<String>,
}

/// Parses a command line. Options may follow operands, up to `--`. Long names may be abbreviated.
pub(super) fn parse(args: &[OsString], known: &[Definition]) -> Parsed {
    let mut parsed = Parsed::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_bytes() {
            b"--" => {
                parsed.operands.extend(args.cloned());
                break;
            }
            [b'-', b'-', long @ ..] => parsed.long(long, &mut args, known),
            [b'-', letters @ ..] if !letters.is_empty() => parsed.short(letters, &mut args, known),
            _ => parsed.operands.push(arg.clone()),
        }
    }
    parsed
}

impl Parsed {
    pub(super) fn has(&self, letter: u8) -> bool {
        self.options.iter().any(|(option, _)| *option == letter)
    }

    fn short<'a>(
        &mut self,
        letters: &[u8],
        args: &mut impl Iterator<Item = &'a OsString>,
        known: &[Definition],
    ) {
        for (at, letter) in letters.iter().enumerate() {
            let shown = letter.escape_ascii();
            match known.iter().find(|(known, ..)| known == letter) {
                None => self.errors.push(format!("invalid option -- '{shown}'")),
                Some((_, _, false)) => self.options.push((*letter, OsString::new())),
                Some((_, _, true)) => {
                    let attached = &letters[at + 1..];
                    let value = if attached.is_empty() {
                        args.next().cloned()
                    } else {
                        Some(owned(attached))
                    };
                    match value {
                        Some(value) => self.options.push((*letter, value)),
                        None => {
                            self.errors.push(format!("option requires an argument -- '{shown}'"))
                        }
                    }
                    return;
                }
            }
        }
    }

    fn long<'a>(
        &mut self,
        text: &[u8],
        args: &mut impl Iterator<Item = &'a OsString>,
        known: &[Definition],
    ) {
        let end = text.iter().position(|byte| *byte == b'=').unwrap_or(text.len());
        let (name, value) = (&text[..end], text.get(end + 1..));
        let shown = name.escape_ascii();
        let matches = |full: &str| !full.is_empty() && full.as_bytes().starts_with(name);
        let mut matching = known.iter().filter(|(_, full, _)| matches(full));
        let exact = known.iter().find(|(_, full, _)| full.as_bytes() == name);
        let found = match (exact, matching.next(), matching.next()) {
            (Some(exact), ..) => exact,
            (None, Some(one), None) => one,
            (None, None, _) => {
                return self.errors.push(format!("unrecognized option '--{shown}'"));
            }
            (None, Some(_), Some(_)) => {
                return self.errors.push(format!("option '--{shown}' is ambiguous"));
            }
        };
        let (letter, full, takes_value) = found;
        match (takes_value, value) {
            (false, None) => self.options.push((*letter, OsString::new())),
            (true, Some(value)) => self.options.push((*letter, owned(value))),
            (true, None) => match args.next() {
                Some(value) => self.options.push((*letter, value.clone())),
                None => {
                    self.errors.push(format!("option '--{full}' requires an argument"));
                }
            },
            (false, Some(_)) => {
                self.errors.push(format!("option '--{full}' doesn't allow an argument"));
            }
        }
    }
}

fn owned(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}

/// Returns the number at the start of `text`, or 0 if there is none, as atoi(3) does.
pub(super) fn leading_number(text: &OsStr) -> i64 {
    let text = text.to_string_lossy();
    let text = text.trim_start();
    let (sign, digits) = match text.as_bytes().first() {
        Some(b'-') => (-1, &text[1..]),
        Some(b'+') => (1, &text[1..]),
        _ => (1, text),
    };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse::<i64>().map_or(0, |number| sign * number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Definition] = &[
        (b'p', "prefix", false),
        (b'n', "number", true),
        (b'r', "recurse", false),
        (b'R', "raw", false),
        (b's', "", false),
    ];

    fn parsed(args: &str) -> (String, Vec<OsString>, Vec<String>) {
        let args: Vec<OsString> = args.split(' ').map(OsString::from).collect();
        let parsed = parse(&args, KNOWN);
        let options = parsed
            .options
            .iter()
            .map(|(letter, value)| format!("{}{}", char::from(*letter), value.to_string_lossy()));
        (options.collect::<Vec<_>>().join(" "), parsed.operands, parsed.errors)
    }

    #[test]
    fn options_are_found_anywhere_before_two_hyphens() {
        let (options, operands, errors) = parsed("a -pR b -n3 -n 4 --num=5 --numb 6 -- -p");
        assert_eq!(options, "p R n3 n4 n5 n6");
        assert_eq!(operands, ["a", "b", "-p"]);
        assert!(errors.is_empty());
    }

    #[test]
    fn invalid_options_are_reported_and_skipped() {
        let (options, operands, errors) = parsed("-x -px --ra --r --no --raw=1 - -n");
        assert_eq!((&*options, &operands[..]), ("p R", &["-".into()][..]));
        assert_eq!(errors.len(), 6, "{errors:?}");
    }

    #[test]
    fn leading_numbers_end_at_the_first_other_character() {
        for (text, wanted) in [("5", 5), ("5x", 5), ("x", 0), ("", 0), ("-1", -1), (" +7", 7)] {
            assert_eq!(leading_number(OsStr::new(text)), wanted, "{text}");
        }
    }
}
