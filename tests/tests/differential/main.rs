//! The in-memory xenstored against genuine daemons: the same requests to both, every reply and
//! every event compared.
//!
//! Random sequences of requests from two connections as dom0 and two guests. A difference is
//! shrunk to the shortest sequence that shows it and printed in the form of `kept.txt`, whose
//! sequences run first every time. What is known to differ, and why, is in `known.rs`.
//!
//! | variable | meaning |
//! |---|---|
//! | `XS_TEST_C_SOCKET`, `XS_TEST_C_GUEST5`, `XS_TEST_C_GUEST7` | sockets of a C daemon of Xen 4.17, as dom0 and as guests |
//! | `XS_TEST_OX_SOCKET`, `XS_TEST_OX_GUEST5`, `XS_TEST_OX_GUEST7` | likewise of an oxenstored 4.17 |
//! | `XS_TEST_SEED` | the seed; otherwise from the clock |
//! | `XS_TEST_OPS` | how many requests against each daemon; otherwise 5,000 |

mod known;
mod ops;
mod peer;

use std::time::{SystemTime, UNIX_EPOCH};

use known::Known;
use ops::{Op, Rng};
use peer::{Answer, Genuine, Memory, Peer, Tree};
use xs_transport::mock::Flavour;

const KEPT: &str = include_str!("kept.txt");

/// Requests between two clean starts.
const ROUND: usize = 120;

#[test]
fn as_the_c_daemon_does() {
    compare("C", Flavour::C417);
}

#[test]
fn as_oxenstored_does() {
    compare("OX", Flavour::Ocaml417);
}

fn compare(prefix: &str, flavour: Flavour) {
    let Some(mut genuine) = Genuine::from_env(prefix) else {
        println!("SKIPPED: XS_TEST_{prefix}_SOCKET, _GUEST5 and _GUEST7 name no daemon");
        return;
    };
    for (name, ops) in kept(flavour) {
        if let Err(difference) = run(&mut genuine, flavour, &ops) {
            panic!("{name}, which was kept: {difference}");
        }
    }
    let seed = number("XS_TEST_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
        now.as_micros() as u64
    });
    let total = number("XS_TEST_OPS").unwrap_or(5_000) as usize;
    println!("XS_TEST_SEED={seed} XS_TEST_OPS={total}");

    let mut rng = Rng::new(seed);
    let mut done = 0;
    while done < total {
        let ops: Vec<_> = match rng.below(60) {
            0 => ops::quota_round(&mut rng),
            _ => (0..ROUND).map(|_| ops::random(&mut rng, flavour)).collect(),
        };
        let count = ops.len();
        if let Err(difference) = run(&mut genuine, flavour, &ops) {
            println!("after {done} requests, in a round of {count}: {difference}");
            let short = shrink(&mut genuine, flavour, ops);
            let last = run(&mut genuine, flavour, &short).expect_err("it was there a moment ago");
            println!("the shortest sequence that shows it:");
            short.iter().for_each(|op| println!("{op}"));
            panic!("XS_TEST_SEED={seed}, after {done} requests: {last}");
        }
        done += count;
    }
    println!("{done} requests without a difference, answered with");
    for (outcome, count) in &genuine.outcomes {
        println!("{count:>8} {outcome}");
    }
}

/// Runs the requests on both from a clean start.
fn run(genuine: &mut Genuine, flavour: Flavour, ops: &[Op]) -> Result<(), String> {
    genuine.clean();
    let mut memory = Memory::new(flavour, &Tree::of(genuine));
    let used = (genuine.usage(), memory.usage());
    for (at, op) in ops.iter().enumerate() {
        let (mut theirs, mut ours) = (genuine.perform(op), memory.perform(op));
        genuine.count(op, &theirs);
        if flavour == Flavour::Ocaml417 {
            // In which order its events come depends on its hash tables.
            theirs.iter_mut().chain(&mut ours).for_each(|answers| sort_events(answers));
        }
        if theirs != ours {
            if known::is_merged(flavour, op, &theirs[op.conn], &ours[op.conn]) {
                genuine.note("TRANSACTION_END: merged by oxenstored alone, round over");
                return Ok(());
            }
            return Err(format!(
                "at {at}, {op}\n  genuine {}\n  memory  {}",
                show(&theirs),
                show(&ours)
            ));
        }
    }
    let (theirs, ours) = (Tree::of(genuine), Tree::of(&mut memory));
    if theirs != ours {
        return Err(format!("at the end\n{}", theirs.against(&ours)));
    }
    let more = |before: Vec<i64>, after: Vec<i64>| {
        after.into_iter().zip(before).map(|(after, before)| after - before).collect::<Vec<_>>()
    };
    let theirs = more(used.0, genuine.usage());
    let ours = more(used.1, memory.usage());
    if theirs != ours {
        return Err(format!("of what more is used up\n  genuine {theirs:?}\n  memory  {ours:?}"));
    }
    Ok(())
}

/// Those before the reply, and those behind it.
fn sort_events(answers: &mut [Answer]) {
    let is_event = |answer: &Answer| matches!(answer, Answer::Event(_));
    for events in answers.split_mut(|answer| !is_event(answer)) {
        events.sort();
    }
}

/// Leaves out what it can, as long as a difference stays.
fn shrink(genuine: &mut Genuine, flavour: Flavour, mut ops: Vec<Op>) -> Vec<Op> {
    let mut step = ops.len() / 2;
    while step > 0 {
        let mut at = 0;
        while at < ops.len() {
            let end = (at + step).min(ops.len());
            let mut fewer = ops.clone();
            fewer.drain(at..end);
            if run(genuine, flavour, &fewer).is_err() {
                ops = fewer;
            } else {
                at = end;
            }
        }
        step /= 2;
    }
    ops
}

fn kept(flavour: Flavour) -> Vec<(String, Vec<Op>)> {
    let mut sequences: Vec<(String, Vec<Op>)> = Vec::new();
    for line in KEPT.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('#') {
            sequences.push((name.trim().to_owned(), Vec::new()));
        } else if !line.is_empty() {
            let (_, ops) = sequences.last_mut().expect("a name above the first request");
            ops.push(line.parse().unwrap_or_else(|error| panic!("kept.txt: {line}: {error}")));
        }
    }
    // A name may say that it is for one flavour only.
    let other = if flavour == Flavour::C417 { "(oxenstored)" } else { "(C)" };
    sequences.retain(|(name, ops)| !ops.is_empty() && !name.ends_with(other));
    sequences
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

fn show(answers: &[Vec<Answer>]) -> String {
    let mut text = String::new();
    for (who, answers) in ops::WHO.iter().zip(answers).filter(|(_, answers)| !answers.is_empty()) {
        let list: Vec<_> = answers.iter().map(ToString::to_string).collect();
        text += &format!("{who}: {}  ", list.join(", "));
    }
    text
}

#[test]
fn every_known_difference_has_a_reason() {
    for Known { what, reason, .. } in known::KNOWN {
        assert!(!what.is_empty() && !reason.is_empty());
    }
}

#[test]
fn requests_print_and_parse() {
    let seed = 7;
    let mut rng = Rng::new(seed);
    for _ in 0..1000 {
        let op = ops::random(&mut rng, Flavour::C417);
        assert_eq!(op.to_string().parse(), Ok(op), "seed {seed}");
    }
}
