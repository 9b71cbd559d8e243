//! The text forms of the command line. Printed text must be read back as the same value.

#![no_main]

use libfuzzer_sys::fuzz_target;
use xs_transport::mock::Xenstored;
use xs_transport::mock::text::{self, Line};

#[path = "../../xs-client/src/bin/xs/escape.rs"]
mod escape;
#[path = "../../xs-client/src/bin/xs/split_words.rs"]
mod split_words;

fuzz_target!(|input: &[u8]| {
    escapes(input);
    let Ok(text) = std::str::from_utf8(input) else { return };
    dump_and_seed(text);
    script(text);
});

/// Checks values as `xs read` prints and `xs write` reads them.
fn escapes(input: &[u8]) {
    let value = escape::unescape(input);
    assert!(value.len() <= input.len());
    for value in [input, &value] {
        let mut printed = Vec::new();
        escape::escape(value, &mut printed);
        assert!(printed.iter().all(|byte| (b' '..=b'~').contains(byte)));
        assert_eq!(escape::unescape(&printed), value);
    }
}

/// Checks the output of `xs dump`, which `xs restore` and `xs serve --load` read.
fn dump_and_seed(text: &str) {
    for line in text::lines(text) {
        let Ok((number, line)) = line else { continue };
        assert!((1..=text.lines().count()).contains(&number));
        assert_eq!(line.to_string().parse(), Ok(line));
    }
    // Any text is a valid value.
    let (path, perms, value) = ("/a".to_owned(), None, Some(text.into()));
    let line = Line { path, perms, value };
    assert_eq!(line.to_string().parse(), Ok(line));

    let xenstored = Xenstored::new();
    let seeded = xenstored.seed(text);
    assert!(seeded.is_err() || text::lines(text).all(|line| line.is_ok()));
    // After an error, the lines before it are in the store.
    let (dump, copy) = (xenstored.dump(), Xenstored::new());
    assert_eq!(copy.seed(&dump), Ok(()));
    assert_eq!(copy.dump(), dump);
}

/// Checks the words of a line of `xs transaction`.
fn script(text: &str) {
    for line in text.lines() {
        let Some(words) = split_words::split_words(line) else { continue };
        assert_eq!(split_words::split_words(&quoted(&words)), Some(words));
    }
    let words = vec![text.to_owned(), String::new(), text.to_owned()];
    assert_eq!(split_words::split_words(&quoted(&words)), Some(words));
}

/// Returns a line that consists of these words.
fn quoted(words: &[String]) -> String {
    let quote = |word: &String| format!("'{}'", word.replace('\'', "'\"'\"'"));
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}
