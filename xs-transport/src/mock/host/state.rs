//! The text in which a host keeps its state while no daemon runs.
//!
//! Each line describes a domain (`domain`), a node (`node`, in the text form of the store), or a
//! part of a connection (`input`, `output`, `watch`). Bytes are in hexadecimal.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::io;
use std::str::FromStr;

use xs_proto::DomId;

use crate::mock::daemon::domains::Rings;
use crate::mock::daemon::watches::Watch;
use crate::mock::ring::connection::Saved;

/// The state of a host.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// The introduced domains other than dom0.
    pub(super) domains: Vec<SavedDomain>,
    pub(super) nodes: String,
    pub(super) rings: BTreeMap<DomId, Saved>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct SavedDomain {
    pub(super) domid: DomId,
    pub(super) rings: Rings,
    pub(super) shut_down: bool,
    /// See [`Hypervisor::identity`](super::Hypervisor::identity).
    pub(super) identity: Option<u128>,
}

const FIRST_LINE: &str = "xs serve --xen, state 2";

impl State {
    /// Parses the text of [`Display`](fmt::Display).
    pub(super) fn parse(text: &str) -> io::Result<Self> {
        let mut lines = text.lines().enumerate();
        if lines.next().is_none_or(|(_, line)| line != FIRST_LINE) {
            return Err(invalid(1));
        }
        let mut state = State::default();
        for (at, line) in lines {
            state.add(line).ok_or_else(|| invalid(at + 1))?;
        }
        Ok(state)
    }

    fn add(&mut self, line: &str) -> Option<()> {
        let (keyword, rest) = line.split_once(' ')?;
        if keyword == "node" {
            self.nodes.push_str(rest);
            self.nodes.push('\n');
            return Some(());
        }
        let mut words = rest.split(' ');
        let domid = number(words.next())?;
        match keyword {
            "domain" => {
                let rings = Rings { gfn: number(words.next())?, port: number(words.next())? };
                let shut_down = number(words.next())?;
                let identity = match words.next()? {
                    "-" => None,
                    identity => Some(identity.parse().ok()?),
                };
                self.domains.push(SavedDomain { domid, rings, shut_down, identity });
            }
            "input" => self.rings.entry(domid).or_default().input = bytes(words.next())?,
            "output" => self.rings.entry(domid).or_default().output = bytes(words.next())?,
            "watch" => {
                let prefix = number(words.next())?;
                let depth = match words.next()? {
                    "-" => None,
                    depth => Some(depth.parse().ok()?),
                };
                let path = String::from_utf8(bytes(words.next())?).ok()?;
                let token = bytes(words.next())?.into();
                let watches = &mut self.rings.entry(domid).or_default().watches;
                watches.push((path, Watch { token, prefix, depth }));
            }
            _ => return None,
        }
        words.next().is_none().then_some(())
    }
}

fn invalid(line: usize) -> io::Error {
    let message = format!("line {line} of the saved state is invalid");
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn number<T: FromStr>(word: Option<&str>) -> Option<T> {
    word?.parse().ok()
}

fn bytes(word: Option<&str>) -> Option<Vec<u8>> {
    let digits = word?.as_bytes();
    let value = |digit: u8| char::from(digit).to_digit(16);
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some((value(*high)? << 4 | value(*low)?) as u8),
        _ => None,
    });
    pairs.collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}")?;
        for SavedDomain { domid, rings: Rings { gfn, port }, shut_down, identity } in &self.domains
        {
            let identity = identity.map_or("-".to_owned(), |identity| identity.to_string());
            writeln!(f, "domain {domid} {gfn} {port} {shut_down} {identity}")?;
        }
        for line in self.nodes.lines() {
            writeln!(f, "node {line}")?;
        }
        for (domid, Saved { input, output, watches }) in &self.rings {
            writeln!(f, "input {domid} {}", hex(input))?;
            writeln!(f, "output {domid} {}", hex(output))?;
            for (path, Watch { token, prefix, depth }) in watches {
                let depth = depth.map_or("-".to_owned(), |depth| depth.to_string());
                let (path, token) = (hex(path.as_bytes()), hex(token));
                writeln!(f, "watch {domid} {prefix} {depth} {path} {token}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_keeps_the_state() {
        let watch = |token: &[u8], depth| Watch { token: token.into(), prefix: 3, depth };
        let domain = |number, identity| SavedDomain {
            domid: DomId::new(number),
            rings: Rings { gfn: -1, port: 7 },
            shut_down: number == 5,
            identity,
        };
        let watches = vec![
            ("/a".to_owned(), watch(b"", None)),
            ("@releaseDomain".to_owned(), watch(b"a \n\xff", Some(2))),
        ];
        let saved = Saved { input: b"\0\x01".to_vec(), output: Vec::new(), watches };
        let state = State {
            domains: vec![domain(5, None), domain(6, Some(u128::MAX))],
            nodes: "/a [n0] = \"b \\n\"\n/b [n5 r0] = \"\"\n".to_owned(),
            rings: BTreeMap::from([(DomId::DOM0, saved)]),
        };
        assert_eq!(State::parse(&state.to_string()).unwrap(), state);
    }

    #[test]
    fn other_text_is_rejected() {
        for text in ["", "x", "domain 5 1 7 false -", "xs serve --xen, state 2\ndomain 5 1 7 false"]
        {
            assert!(State::parse(text).is_err(), "{text}");
        }
        let odd = format!("{FIRST_LINE}\ninput 5 abc\n");
        assert_eq!(
            State::parse(&odd).unwrap_err().to_string(),
            "line 2 of the saved state is invalid"
        );
    }
}
