//! Properties of the terminal.

use std::env;
use std::io::{self, IsTerminal};

use crate::escape::Form;

/// Returns the width of the terminal in columns, or `None` if standard output is not a terminal.
pub(crate) fn columns() -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(size.ws_col)
}

/// Returns whether to print colors: the stream is a terminal with colors, and `NO_COLOR` is not
/// set.
pub(crate) fn use_color(stream: &impl IsTerminal) -> bool {
    let is_unset = |name| env::var_os(name).is_none_or(|value| value.is_empty());
    stream.is_terminal()
        && is_unset("NO_COLOR")
        && env::var_os("TERM").is_some_and(|term| term != "dumb")
}

/// Returns how to print values: as text if standard output is a terminal with a UTF-8 locale.
pub(crate) fn form() -> Form {
    let shows_utf8 = io::stdout().is_terminal() && is_utf8_locale(|name| env::var(name).ok());
    if shows_utf8 { Form::Utf8 } else { Form::Ascii }
}

/// Returns whether the first of the variables that is set names UTF-8 as the encoding (locale(7)).
fn is_utf8_locale(variable: impl Fn(&str) -> Option<String>) -> bool {
    let mut values = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(variable);
    let locale = values.find(|value| !value.is_empty()).unwrap_or_default().to_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// Breaks text between words into lines of at most `width` columns, unless a word is longer.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is at least one line");
        if last.is_empty() {
            last.push_str(word);
        } else if last.chars().count() + 1 + word.chars().count() <= width {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_variable_that_is_set_decides_the_encoding() {
        let locale = |all: &'static str, lang: &'static str| {
            is_utf8_locale(|name| match name {
                "LC_ALL" => Some(all.to_owned()),
                "LANG" => Some(lang.to_owned()),
                _ => None,
            })
        };
        assert!(locale("", "en_US.UTF-8") && locale("C.utf8", "C"));
        assert!(!locale("C", "en_US.UTF-8") && !locale("", ""));
    }

    #[test]
    fn text_is_wrapped_between_words() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("much-too-long a", 4), ["much-too-long", "a"]);
    }
}
