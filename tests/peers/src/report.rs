//! What came out, as tables.

use std::fmt::Write;

use crate::compare::{Comparison, Quartiles, Row};

pub(crate) fn table(comparison: &Comparison, place: &str, results: &[(&str, Vec<Row>)]) -> String {
    let reference = comparison.reference();
    let (_, reference_name) = comparison.contenders[reference];
    let mut out = format!("\n#### {}, {}\n\n|", comparison.title, place.replace('-', " "));
    for (daemon, _) in results {
        let _ = write!(out, " | {daemon}: time ÷ floor | rate ÷ {reference_name} | CPU, µs");
    }
    let _ = writeln!(out, " |\n|---|{}", "---|--:|--:|".repeat(results.len()));
    for (at, (_, label)) in comparison.contenders.iter().enumerate() {
        let _ = write!(out, "| {label}");
        for (_, rows) in results {
            let _ = write!(out, " | {}", cells(&rows[at], &rows[0], &rows[reference]));
        }
        out += " |\n";
    }
    let rounds = results.iter().flat_map(|(_, rows)| rows).map(|row| row.each_ns.len()).max();
    let _ = writeln!(out, "\n{} rounds of {}.", rounds.unwrap_or(0), comparison.count);
    for (daemon, rows) in results {
        if let Some(floor) = Quartiles::of(rows[0].each_ns.clone()) {
            let each = floor.median / 1e3;
            let _ = writeln!(out, "Floor, {daemon}: {each:.2} µs for each {}.", comparison.thing);
        }
    }
    out
}

fn cells(row: &Row, floor: &Row, reference: &Row) -> String {
    let Some(time) = Quartiles::ratio(row, floor) else {
        return format!("{} | | ", remarks(row));
    };
    let Quartiles { low, median, high } = time;
    let rate = Quartiles::ratio(reference, row);
    let each_us = |ns: u64| ns as f64 / row.sum.right.max(1) as f64 / 1e3;
    format!(
        "**{median:.2}** ({low:.2} – {high:.2}) {} | {} | {:.1} + {:.1}",
        remarks(row),
        rate.map_or(String::new(), |rate| format!("{:.2}", rate.median)),
        each_us(row.sum.cpu_ns),
        each_us(row.daemon_ns),
    )
}

/// What is not as it has to be.
fn remarks(row: &Row) -> String {
    let sum = &row.sum;
    let all = (sum.right + sum.wrong + sum.lost).max(1);
    let mut said = Vec::new();
    said.extend(row.failure.clone());
    for (number, what) in [(sum.wrong, "wrong"), (sum.lost, "lost")] {
        if number > 0 {
            said.push(format!("{:.1} % {what}", 100.0 * number as f64 / all as f64));
        }
    }
    if sum.reported > 0 {
        said.push(format!("says so {} times", sum.reported));
    }
    said.join(", ")
}

/// Ours have to be there, and to be right; and somebody of the others, or else it is no comparison.
pub(crate) fn check(comparison: &Comparison, results: &[(&str, Vec<Row>)]) -> Result<(), String> {
    for (daemon, rows) in results {
        for (row, (name, label)) in rows.iter().zip(comparison.contenders) {
            let ours = name.starts_with("xs") || name.starts_with("bare");
            // Events may be lost if that is said.
            let lost = row.sum.lost > 0 && row.sum.reported == 0;
            if ours && (row.failure.is_some() || row.sum.wrong > 0 || lost || row.sum.right == 0) {
                return Err(format!(
                    "{label}, {}, on {daemon}: {}",
                    comparison.title,
                    remarks(row)
                ));
            }
        }
        if Quartiles::ratio(&rows[comparison.reference()], &rows[0]).is_none() {
            return Err(format!("{}: nothing to compare with on {daemon}", comparison.title));
        }
    }
    Ok(())
}
