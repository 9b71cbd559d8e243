//! Splits a line of a transaction script into words.

/// Splits `line` at white space, except within `'single'` and `"double"` quotes.
///
/// `\"` within double quotes is a quote. Every other backslash is kept, for the commands to
/// interpret. Returns `None` if a quote is not closed.
pub(crate) fn split_words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character.is_whitespace() {
            words.extend(word.take());
            continue;
        }
        let word = word.get_or_insert_default();
        if !matches!(character, '\'' | '"') {
            word.push(character);
            continue;
        }
        let quote = character;
        loop {
            match characters.next()? {
                end if end == quote => break,
                '\\' if quote == '"' => match characters.next()? {
                    '"' => word.push('"'),
                    other => word.extend(['\\', other]),
                },
                other => word.push(other),
            }
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(line: &str) -> Option<String> {
        split_words(line).map(|words| words.join("|"))
    }

    #[test]
    fn words_are_split_at_white_space_outside_quotes() {
        assert_eq!(joined(r"write a  b").as_deref(), Some("write|a|b"));
        assert_eq!(
            joined(r#"write a '' "x \"y\" \n" 'a "b"'c"#).as_deref(),
            Some(r#"write|a||x "y" \n|a "b"c"#)
        );
    }

    #[test]
    fn unclosed_quotes_are_rejected() {
        assert_eq!(joined(r#"write a '' "x \"y\" \n" it's'"'"#), None);
    }
}
