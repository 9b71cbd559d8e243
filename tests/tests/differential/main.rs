//! Sends the same requests to the in-memory xenstored and to a genuine daemon of Xen 4.17 or 4.20,
//! and compares every reply and every event.
//!
//! The requests are random sequences on two connections of dom0 and those of two guests. When the
//! daemons differ, the test prints the shortest sequence that shows it, in the form of `kept.txt`.
//! The sequences in that file run first. The differences that are accepted, and the reasons for
//! them, are in `known.rs`.

mod daemon;
mod known;
mod ops;

use daemon::{Answer, Daemon, Genuine, Memory, Tree};
use known::Known;
use ops::{Op, Rng};
use xs_tests::settings::{self, scaled};
use xs_transport::mock::Flavour;

const KEPT: &str = include_str!("kept.txt");

/// The length of a random sequence, which starts from a clean store.
const ROUND: usize = 120;

#[test]
fn memory_behaves_like_c417() {
    compare(Flavour::C417);
}

#[test]
fn memory_behaves_like_c420() {
    compare(Flavour::C420);
}

#[test]
fn memory_behaves_like_ox417() {
    compare(Flavour::Ocaml417);
}

#[test]
fn memory_behaves_like_ox420() {
    compare(Flavour::Ocaml420);
}

fn compare(flavour: Flavour) {
    let prefix = flavour.short_name().to_uppercase();
    let Some(mut genuine) = Genuine::from_env(&prefix) else { return };
    for (name, ops) in kept(flavour) {
        if let Err(difference) = run(&mut genuine, flavour, &ops) {
            panic!("kept.txt, {name}: {difference}");
        }
    }
    let seed = settings::seed();
    let total = settings::number("XS_TEST_OPS").unwrap_or_else(|| scaled(5_000));
    println!("XS_TEST_OPS={total}");

    let mut rng = Rng::new(seed);
    let mut done = 0;
    while done < total {
        let ops: Vec<_> = match rng.below(60) {
            // oxenstored miscounts nodes, and reaches the quota at another number.
            0 if !known::is_oxenstored(flavour) => ops::quota_round(&mut rng),
            _ => (0..ROUND).map(|_| ops::random(&mut rng, flavour)).collect(),
        };
        let count = ops.len();
        if let Err(difference) = run(&mut genuine, flavour, &ops) {
            println!("after {done} requests, in a round of {count}: {difference}");
            let short = shrink(&mut genuine, flavour, ops);
            let last =
                run(&mut genuine, flavour, &short).expect_err("the difference can be repeated");
            println!("the shortest sequence that shows a difference:");
            short.iter().for_each(|op| println!("{op}"));
            panic!("XS_TEST_SEED={seed}, after {done} requests: {last}");
        }
        done += count;
    }
    println!("{done} requests without a difference, with these outcomes:");
    for (outcome, count) in &genuine.outcomes {
        println!("{count:>8} {outcome}");
    }
}

/// Runs the requests on both daemons, from a clean store. An error describes the difference.
fn run(genuine: &mut Genuine, flavour: Flavour, ops: &[Op]) -> Result<(), String> {
    genuine.clean();
    let mut memory = Memory::new(flavour, &Tree::of(genuine));
    let used = (genuine.usage(), memory.usage());
    for (at, op) in ops.iter().enumerate() {
        let (mut theirs, mut ours) = (genuine.perform(op), memory.perform(op));
        genuine.count(op, &theirs);
        if known::is_oxenstored(flavour) {
            // The order of its events depends on its hash tables.
            theirs.iter_mut().chain(&mut ours).for_each(|answers| sort_events(answers));
        }
        known::replace_conflict(flavour, op, &mut theirs[op.conn], &ours[op.conn]);
        if theirs != ours {
            return Err(format!(
                "request {at}, {op}\n  genuine {}\n  memory  {}",
                show(&theirs),
                show(&ours)
            ));
        }
    }
    let (theirs, ours) = (Tree::of(genuine), Tree::of(&mut memory));
    if theirs != ours {
        return Err(format!("nodes at the end\n{}", theirs.against(&ours)));
    }
    if known::is_oxenstored(flavour) {
        return Ok(());
    }
    let growth = |before: Vec<i64>, after: Vec<i64>| {
        after.into_iter().zip(before).map(|(after, before)| after - before).collect::<Vec<_>>()
    };
    let theirs = growth(used.0, genuine.usage());
    let ours = growth(used.1, memory.usage());
    if theirs != ours {
        return Err(format!(
            "resources used by the sequence\n  genuine {theirs:?}\n  memory  {ours:?}"
        ));
    }
    Ok(())
}

/// Sorts the events before the reply, and those after it.
fn sort_events(answers: &mut [Answer]) {
    let is_event = |answer: &Answer| matches!(answer, Answer::Event(_));
    for events in answers.split_mut(|answer| !is_event(answer)) {
        events.sort();
    }
}

/// Removes requests as long as a difference remains.
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

/// Returns the names and requests of the sequences in `kept.txt` for a flavour.
fn kept(flavour: Flavour) -> Vec<(String, Vec<Op>)> {
    let mut sequences: Vec<(String, Vec<Op>)> = Vec::new();
    for line in KEPT.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('#') {
            sequences.push((name.trim().to_owned(), Vec::new()));
        } else if !line.is_empty() {
            let (_, ops) = sequences.last_mut().expect("the first line is a name");
            let op = line.parse().unwrap_or_else(|error| panic!("kept.txt: {line}: {error}"));
            ops.extend(Some(op).filter(|op| !known::is_avoided(flavour, op)));
        }
    }
    // The name may restrict the sequence to one daemon or flavour.
    let daemon = if known::is_oxenstored(flavour) { "(oxenstored)" } else { "(C)" };
    let short_name = format!("({})", flavour.short_name());
    let applies =
        |name: &str| !name.ends_with(')') || name.ends_with(daemon) || name.ends_with(&short_name);
    sequences.retain(|(name, ops)| !ops.is_empty() && applies(name));
    sequences
}

fn show(answers: &[Vec<Answer>]) -> String {
    let mut text = String::new();
    for (name, answers) in
        ops::CONNECTIONS.iter().zip(answers).filter(|(_, answers)| !answers.is_empty())
    {
        let list: Vec<_> = answers.iter().map(ToString::to_string).collect();
        text += &format!("{name}: {}  ", list.join(", "));
    }
    text
}

#[test]
fn known_differences_have_reasons() {
    for Known { what, reason, .. } in known::KNOWN {
        assert!(!what.is_empty() && !reason.is_empty());
    }
}

#[test]
fn requests_are_parsed_as_printed() {
    let seed = 7;
    let mut rng = Rng::new(seed);
    for _ in 0..1000 {
        let op = ops::random(&mut rng, Flavour::C417);
        assert_eq!(op.to_string().parse(), Ok(op), "seed {seed}");
    }
}
