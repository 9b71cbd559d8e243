//! The text form of recorded conversations. The format is described in `README.md`.

use xs_proto::MessageType;

/// A conversation that begins with a fresh daemon.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) steps: Vec<Step>,
}

/// One step, and the lines that a daemon answered.
#[derive(Debug)]
pub(crate) struct Step {
    /// The number of the line in the file.
    pub(crate) line: usize,
    pub(crate) text: String,
    pub(crate) expected: Vec<String>,
}

/// A step, parsed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action<'a> {
    Request { connection: &'a str, msg_type: u32, tx: &'a str, payload: &'a str },
    Host { verb: &'a str, object: &'a str },
}

/// Parses a file.
///
/// # Panics
/// If the file is malformed.
pub(crate) fn parse(text: &str) -> Vec<Scenario> {
    let mut scenarios: Vec<Scenario> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if let Some(name) = line.strip_prefix("scenario ") {
            scenarios.push(Scenario { name: name.trim().to_owned(), steps: Vec::new() });
            continue;
        }
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let scenario = scenarios.last_mut().expect("a scenario begins before its steps");
        let is_answer = matches!(line.split(' ').nth(1), Some("<" | "!"));
        if is_answer || line == "daemon gone" {
            let step = scenario.steps.last_mut().expect("a step precedes its answers");
            step.expected.push(line.to_owned());
        } else {
            let step = Step { line: at + 1, text: line.to_owned(), expected: Vec::new() };
            scenario.steps.push(step);
        }
    }
    scenarios
}

impl Step {
    /// Parses the step.
    ///
    /// # Panics
    /// If the line is malformed.
    pub(crate) fn action(&self) -> Action<'_> {
        let mut words = self.text.splitn(5, ' ');
        let mut word = || words.next().unwrap_or_default();
        let (first, second, third) = (word(), word(), word());
        if first == "host" {
            return Action::Host { verb: second, object: third };
        }
        let tx = word().strip_prefix("tx=");
        let (">", Some(msg_type), Some(tx)) = (second, number_of(third), tx) else {
            panic!("line {}: not a step: {}", self.line, self.text);
        };
        Action::Request { connection: first, msg_type, tx, payload: word() }
    }
}

/// Returns the name of a message type, or `#` and its number.
pub(crate) fn name_of(msg_type: u32) -> String {
    match MessageType::from_u32(msg_type) {
        Some(known) => known.name().to_owned(),
        None => format!("#{msg_type}"),
    }
}

fn number_of(name: &str) -> Option<u32> {
    let named = MessageType::ALL.iter().find(|known| known.name() == name);
    named.map(|known| *known as u32).or_else(|| name.strip_prefix('#')?.parse().ok())
}

/// Returns the bytes of a payload.
///
/// # Panics
/// If the payload is malformed, or contains a placeholder.
pub(crate) fn decode(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let len = match first {
            '\\' if rest.starts_with("\\x") => 4,
            '\\' => 2,
            '{' => rest.find('}').expect("a brace is closed") + 1,
            _ => 1,
        };
        let piece;
        (piece, rest) = rest.split_at(len);
        match piece {
            "\\0" => out.push(0),
            "\\n" => out.push(b'\n'),
            "\\t" => out.push(b'\t'),
            "\\\\" => out.push(b'\\'),
            _ if first == '\\' => {
                out.push(u8::from_str_radix(&piece[2..], 16).expect("two digits follow \\x"));
            }
            _ if first == '{' => {
                let inner = &piece[1..piece.len() - 1];
                let (count, repeated) = inner.split_once('*').expect("no placeholder is sent");
                let count = count.parse().expect("a count precedes the star");
                out.extend(decode(repeated).repeat(count));
            }
            _ => out.extend_from_slice(piece.as_bytes()),
        }
    }
    out
}

/// A byte that is repeated at least this often is written once, with the count.
const RUN_MIN: usize = 24;

/// Returns the text form of a payload.
pub(crate) fn encode(payload: &[u8]) -> String {
    let mut out = String::new();
    let mut at = 0;
    while at < payload.len() {
        let byte = payload[at];
        let run = payload[at..].iter().take_while(|other| **other == byte).count();
        let run = if run < RUN_MIN { 1 } else { run };
        let next = payload.get(at + run);
        let is_at_edge = at == 0 || at + 1 == payload.len();
        let text = match byte {
            0 if next.is_some_and(u8::is_ascii_digit) => "\\x00".to_owned(),
            0 => "\\0".to_owned(),
            b'\n' => "\\n".to_owned(),
            b'\t' => "\\t".to_owned(),
            b'\\' => "\\\\".to_owned(),
            b' ' if is_at_edge => "\\x20".to_owned(),
            b'{' | b'}' | b'*' => format!("\\x{byte:02x}"),
            b' '..=b'~' => char::from(byte).to_string(),
            _ => format!("\\x{byte:02x}"),
        };
        out += &if run > 1 { format!("{{{run}*{text}}}") } else { text };
        at += run;
    }
    out
}

/// Returns whether a line is as expected. A bare star stands for anything.
pub(crate) fn matches(expected: &str, actual: &str) -> bool {
    let mut literals = literals(expected).into_iter();
    let first = literals.next().unwrap_or_default();
    let Some(mut rest) = actual.strip_prefix(&*first) else {
        return false;
    };
    let mut following: Vec<_> = literals.collect();
    let Some(last) = following.pop() else {
        return rest.is_empty();
    };
    for literal in following {
        let Some(at) = rest.find(&*literal) else {
            return false;
        };
        rest = &rest[at + literal.len()..];
    }
    rest.ends_with(&*last)
}

/// Splits a line at its bare stars.
fn literals(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut in_braces = false;
    for c in text.chars() {
        in_braces = (in_braces || c == '{') && c != '}';
        if c == '*' && !in_braces {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts
}

#[test]
fn payloads_are_decoded_as_encoded() {
    let long = [b"a\0".as_slice(), &[b'x'; 30], b" \\{2*3}\t\xff\x001 "].concat();
    for payload in [b"".as_slice(), b"\0", b" ", b"a\0\x001", &long] {
        assert_eq!(decode(&encode(payload)), payload);
    }
    assert_eq!(encode(&long), "a\\0{30*x} \\\\\\x7b2\\x2a3\\x7d\\t\\xff\\x001\\x20");
}

#[test]
fn bare_stars_match_anything() {
    assert!(matches("a*c*", "abcd"));
    assert!(matches("a{30*x}b", "a{30*x}b"));
    assert!(!matches("a{30*x}b", "a{31*x}b"));
    assert!(!matches("a*c", "abcd"));
    assert!(!matches("a", "ab"));
}

#[test]
fn steps_are_parsed() {
    let text =
        "# about\n\nscenario one\ndom5 > WRITE tx=t1 a\\0b\ndom5 < WRITE OK\\0\nhost die 5\n";
    let [scenario] = &parse(text)[..] else { panic!("one scenario") };
    let expected = Action::Request { connection: "dom5", msg_type: 11, tx: "t1", payload: "a\\0b" };
    assert_eq!(scenario.steps[0].action(), expected);
    assert_eq!(scenario.steps[0].expected, ["dom5 < WRITE OK\\0"]);
    assert_eq!(scenario.steps[1].action(), Action::Host { verb: "die", object: "5" });
}
