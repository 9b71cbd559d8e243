//! A line in words, as `transaction` reads it.

/// The words of a line. Backslashes are for the commands, but for `\"` in double quotes.
pub(crate) fn words(line: &str) -> Option<Vec<String>> {
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
        loop {
            match characters.next()? {
                end if end == character => break,
                '\\' if character == '"' => match characters.next()? {
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

    #[test]
    fn words_and_quotes() {
        let all = |line| words(line).map(|words| words.join("|"));
        assert_eq!(all(r"write a  b").as_deref(), Some("write|a|b"));
        assert_eq!(all(r#"write a '' "x \"y\" \n" it's'"'"#).as_deref(), None);
        assert_eq!(
            all(r#"write a '' "x \"y\" \n" 'a "b"'c"#).as_deref(),
            Some(r#"write|a||x "y" \n|a "b"c"#)
        );
    }
}
