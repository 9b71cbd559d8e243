//! The page that tells users how the daemons differ: `FLAVOURS.md`.
//!
//! It is generated from [`Behaviour`](super::behaviour::Behaviour), whose fields explain
//! themselves, and from the lists of differences from the genuine daemons. The test fails if the
//! page is stale.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::Flavour;

/// The environment variable that writes the page anew.
const ACCEPT: &str = "XS_TEST_ACCEPT";

const INTRODUCTION: &str = "\
# What is faithful in the in-memory xenstored

The in-memory xenstored of `xs-transport`, which `xs serve` serves, answers like one of the genuine daemons. This page
lists the differences between these daemons, and those between each of them and its imitation. It is generated:
`XS_TEST_ACCEPT=1 cargo test -p xs-transport --lib page` writes it from `xs-transport/src/mock/flavour` and from the
lists of differences.

## How this was found

- Conversations recorded from the genuine daemons of Xen 4.17, 4.20 and 4.22 are repeated on the in-memory xenstored,
  and every reply and event is compared: `tests/tests/conversations`.
- Random requests go to the in-memory xenstored and to a genuine daemon of Xen 4.17 or 4.20 at once, and every reply,
  event, node and count is compared: `tests/tests/differential`. A daemon of Xen 4.22 was not at hand, so that this
  release is known from the recorded conversations only.
- The genuine daemons run without Xen. A domain exists whenever a test says so.

## Flavours

| short name | daemon |
|---|---|
";

#[test]
fn page_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    // A crate that was unpacked alone has neither the page nor the lists.
    if !root.join("tests/tests/differential/known.rs").exists() {
        return;
    }
    let page = page(&root);
    let path = root.join("FLAVOURS.md");
    if std::env::var_os(ACCEPT).is_some() {
        fs::write(&path, &page).expect("the page can be written");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    let differs = found.lines().zip(page.lines()).find(|(found, line)| found != line);
    assert!(found == page, "FLAVOURS.md is stale: run the test with {ACCEPT}=1: {differs:#?}");
}

fn page(root: &Path) -> String {
    let mut out = INTRODUCTION.to_owned();
    for flavour in Flavour::ALL {
        let _ = writeln!(out, "| `{}` | {flavour} |", flavour.short_name());
    }
    let values: Vec<_> = Flavour::ALL.iter().map(|flavour| values_of(*flavour)).collect();
    out += "\n## How the daemons differ\n\n";
    out += "Where a value is the name of a kind, `flavour/behaviour.rs` explains it.\n";
    for (section, fields) in sections(include_str!("behaviour.rs")) {
        let _ = write!(out, "\n### {section}\n\n| |");
        for flavour in Flavour::ALL {
            let _ = write!(out, " {} |", flavour.short_name());
        }
        let _ = writeln!(out, "\n|---|{}", "---|".repeat(Flavour::ALL.len()));
        for (name, about) in fields {
            let _ = write!(out, "| {about} |");
            for values in &values {
                let _ = write!(out, " {} |", values[&name]);
            }
            out.push('\n');
        }
    }
    out += "\n## How the imitation differs from the daemon\n\nWith each daemon:\n\n";
    out += &general_differences(include_str!("../mod.rs"));
    out += "\nWith one daemon:\n\n| daemon | request | what happens |\n|---|---|---|\n";
    out += &known_differences(&read(root.join("tests/tests/differential/known.rs")));
    out += "\nRecorded scenarios that are not repeated in full:\n\n";
    for line in read(root.join("tests/tests/conversations/known.txt")).lines() {
        if let Some((scenario, reason)) = line.split_once(": ").filter(|_| line.contains('-')) {
            let _ = writeln!(out, "- `{scenario}`: {reason}");
        }
    }
    out
}

fn read(path: PathBuf) -> String {
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the sections of [`Behaviour`](super::behaviour::Behaviour), with the name and the
/// documentation of each field.
fn sections(source: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut sections: Vec<(String, Vec<_>)> = Vec::new();
    let mut about = String::new();
    let fields = source.split("pub(crate) struct Behaviour {").nth(1).expect("the type exists");
    for line in fields.lines().map(str::trim).take_while(|line| *line != "}") {
        if let Some(text) = line.strip_prefix("/// ") {
            about += if about.is_empty() { "" } else { " " };
            about += text;
        } else if let Some(section) = line.strip_prefix("// ") {
            sections.push((section.trim_end_matches('.').to_owned(), Vec::new()));
        } else if let Some(field) = line.strip_prefix("pub(crate) ") {
            let (name, _) = field.split_once(':').expect("a field has a type");
            let (_, fields) = sections.last_mut().expect("a section precedes its fields");
            fields.push((name.to_owned(), std::mem::take(&mut about).replace('|', "\\|")));
        }
    }
    sections
}

/// Returns the values of a flavour by the names of the fields.
fn values_of(flavour: Flavour) -> BTreeMap<String, String> {
    let text = format!("{:#?}", flavour.behaviour());
    let mut values = BTreeMap::new();
    let mut current = None;
    for line in text.lines().filter(|line| *line != "}") {
        let field =
            line.strip_prefix("    ").filter(|rest| !rest.starts_with([' ', '}', ']', ')']));
        if let Some((name, value)) = field.and_then(|field| field.split_once(": ")) {
            values.insert(name.to_owned(), value.to_owned());
            current = Some(name.to_owned());
        } else if let Some(value) = current.as_ref().and_then(|name| values.get_mut(name)) {
            value.push(' ');
            value.push_str(line.trim());
        }
    }
    values.values_mut().for_each(|value| *value = shown(value.trim_end_matches(',')));
    values
}

/// Returns a value as the page shows it.
fn shown(value: &str) -> String {
    let value = match value {
        "true" => "yes",
        "false" => "no",
        "None" | "[]" => "none",
        number if *number == usize::MAX.to_string() => "unlimited",
        // The texts of CONTROL are long.
        other if other.starts_with("Full(") => "Full",
        other => other,
    };
    let value =
        value.strip_prefix("Some(").and_then(|value| value.strip_suffix(')')).unwrap_or(value);
    let words = value.trim().trim_end_matches(',').split_whitespace().collect::<Vec<_>>().join(" ");
    let errors = [
        ("Invalid", "EINVAL"),
        ("NoEntry", "ENOENT"),
        ("Io", "EIO"),
        ("TooBig", "E2BIG"),
        ("NoSpace", "ENOSPC"),
        ("Quota", "EQUOTA"),
    ];
    match errors.iter().find(|(name, _)| *name == words) {
        Some((_, error)) => (*error).to_owned(),
        None => {
            let joined = words.replace(", ]", "]").replace("[ ", "[").replace(", }", " }");
            joined.replace(", )", ")").replace("( ", "(").replace('|', "\\|")
        }
    }
}

/// Returns the list in the documentation of the module.
fn general_differences(source: &str) -> String {
    let start = "//! # Differences from the genuine daemons\n";
    let list = source.split(start).nth(1).expect("the list exists");
    let lines = list.lines().map_while(|line| line.strip_prefix("//!"));
    let mut items: Vec<String> = Vec::new();
    for line in lines.map(str::trim).take_while(|line| !line.is_empty()) {
        if let Some(item) = line.strip_prefix("* ") {
            items.push(format!("- {item}"));
        } else {
            let item = items.last_mut().expect("the list begins with an item");
            item.push(' ');
            item.push_str(line);
        }
    }
    items.iter().map(|item| without_links(item) + "\n").collect()
}

/// Removes the targets of links, which only rustdoc knows.
fn without_links(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("](") {
        out += &before.replacen('[', "", 1);
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    out + &rest.replace("[`", "`").replace("`]", "`")
}

/// Returns rows for the differences that the comparison with genuine daemons accepts.
fn known_differences(source: &str) -> String {
    let mut out = String::new();
    for known in source.split("    Known {\n").skip(1) {
        let text = |field: &str| {
            let text = known.split(&format!("{field}: ")).nth(1).expect("the field exists");
            let text = text.split("\",\n").next().unwrap_or_default();
            let words = text.split_whitespace().filter(|word| *word != "\\");
            words.collect::<Vec<_>>().join(" ").trim_matches('"').replace('|', "\\|")
        };
        let flavours = known.split("flavours: ").nth(1).and_then(|text| text.split(",\n").next());
        let daemon = match flavours {
            Some("C_DAEMONS") => "C daemon of 4.17 and 4.20",
            Some("OXENSTORED") => "oxenstored",
            Some("&[Flavour::C417]") => "C daemon of 4.17",
            Some("&[Flavour::C420]") => "C daemon of 4.20",
            Some("&[Flavour::C422]") => "C daemon of 4.22",
            Some("&[Flavour::C420, Flavour::C422]") => "C daemon of 4.20 and 4.22",
            other => panic!("a difference of unknown flavours: {other:?}"),
        };
        let _ = writeln!(out, "| {daemon} | {} | {} |", text("what"), text("reason"));
    }
    out
}
