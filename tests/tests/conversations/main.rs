//! Replays conversations that were recorded from genuine daemons on the in-memory xenstored, within
//! the process and over sockets. `README.md` describes the files.

mod daemon;
mod player;
mod transcript;

use std::path::{Path, PathBuf};

use daemon::Daemon;
use player::{Difference, Player};
use transcript::Scenario;
use xs_tests::settings;
use xs_transport::mock::Flavour;

/// The scenarios that are known to differ.
const KNOWN: &str = include_str!("known.txt");

macro_rules! recorded {
    ($($name:ident: $dir:literal, $flavour:ident;)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn in_process() {
                replay_all($dir, || Daemon::with_pipes(Flavour::$flavour));
            }

            #[test]
            fn over_sockets() {
                replay_all($dir, || Daemon::with_sockets(Flavour::$flavour));
            }
        }
    )*};
}

recorded! {
    c_4_17: "c-4.17", C417;
    c_4_20: "c-4.20", C420;
    c_4_22: "c-4.22", C422;
    oxenstored_4_17: "ox-4.17", Ocaml417;
    oxenstored_4_20: "ox-4.20", Ocaml420;
    oxenstored_4_22: "ox-4.22", Ocaml422;
}

/// Replays a recording of `xs proxy`, to see where the in-memory xenstored answers differently.
#[test]
fn recording_in_the_environment() {
    let Some(file) = std::env::var_os("XS_TEST_CONVERSATION") else {
        return settings::skip("XS_TEST_CONVERSATION names no recording");
    };
    replay_files("", vec![file.into()], || Daemon::with_pipes(Flavour::default()));
}

/// Replays all scenarios of a directory, each on a fresh daemon.
fn replay_all(dir: &str, start: impl Fn() -> Daemon) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conversations");
    let mut files: Vec<_> = std::fs::read_dir(root.join(dir))
        .expect("the transcripts exist")
        .map(|entry| entry.expect("the directory can be read").path())
        .collect();
    files.sort();
    replay_files(dir, files, start);
}

fn replay_files(dir: &str, files: Vec<PathBuf>, start: impl Fn() -> Daemon) {
    let known = |name: &str| KNOWN.lines().any(|line| line.starts_with(&format!("{dir} {name}:")));
    let (mut passed, mut reports) = (0, Vec::new());
    for path in files {
        let text = std::fs::read_to_string(&path).expect("the transcript can be read");
        for scenario in transcript::parse(&text) {
            let daemon = start();
            // Silence can only be told from slowness within the process.
            let is_silent = |line: &String| line.ends_with("SILENT");
            let has_silence = scenario.steps.iter().any(|step| step.expected.iter().any(is_silent));
            if has_silence && !daemon.is_in_process() {
                continue;
            }
            let difference = Player::start(&daemon).replay(&scenario);
            match (difference, known(&scenario.name)) {
                (None, false) => passed += 1,
                (Some(_), true) => {}
                (None, true) => reports.push(format!("{dir} {}: passes by now", scenario.name)),
                (Some(difference), false) => {
                    let file = path.file_name().unwrap_or_default().to_string_lossy();
                    reports.push(report(&format!("{dir}/{file}"), &scenario, &difference));
                }
            }
        }
    }
    println!("{dir}: {passed} scenarios pass");
    let count = reports.len();
    assert!(reports.is_empty(), "{count} scenarios differ:\n\n{}", reports.join("\n\n"));
}

/// Describes a difference, with the steps before it.
fn report(file: &str, scenario: &Scenario, difference: &Difference) -> String {
    const CONTEXT: usize = 3;
    let Difference { step, actual, at } = difference;
    let mut out = format!("{file}: {}\n", scenario.name);
    for before in &scenario.steps[step.saturating_sub(CONTEXT)..*step] {
        out += &format!("    {}\n", shortened(&before.text));
        for line in &before.expected {
            out += &format!("        {}\n", shortened(line));
        }
    }
    let step = &scenario.steps[*step];
    out += &format!("line {}: {}\n", step.line, shortened(&step.text));
    for line in &actual[..*at] {
        out += &format!("        {}\n", shortened(line));
    }
    let line = |lines: &[String]| {
        lines.get(*at).map_or("(nothing more)".to_owned(), |line| shortened(line))
    };
    out + &format!("  expected {}\n  actual   {}", line(&step.expected), line(actual))
}

fn shortened(line: &str) -> String {
    const MAX: usize = 400;
    match line.char_indices().nth(MAX) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}

/// Returns the index of the first line that differs.
fn first_difference(expected: &[String], actual: &[String]) -> Option<usize> {
    // A daemon that crashes here closes all connections.
    if expected == ["daemon gone"] {
        let is_closed = |line: &String| line.ends_with("< CLOSED");
        return if actual.iter().any(is_closed) { None } else { Some(0) };
    }
    (0..expected.len().max(actual.len())).find(|at| match (expected.get(*at), actual.get(*at)) {
        (Some(expected), Some(actual)) => !transcript::matches(expected, actual),
        _ => true,
    })
}
