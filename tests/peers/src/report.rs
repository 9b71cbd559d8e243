//! What came out, as tables.

use std::fmt::Write;

use crate::compare::{Comparison, Quartiles, Row};

pub(crate) fn table(comparison: &Comparison, place: &str, results: &[(&str, Vec<Row>)]) -> String {
    let mut out = format!("\n#### {}, {}\n", comparison.title, place.replace('-', " "));
    let reference = comparison.reference();
    let (_, reference_name) = comparison.contenders[reference];
    for (daemon, rows) in results {
        let _ = writeln!(
            out,
            "\n| {daemon} | µs each | ÷ floor | quartiles | rate ÷ {reference_name} | own CPU µs | \
             daemon busy | |\n|---|--:|--:|--:|--:|--:|--:|---|"
        );
        for (row, (_, label)) in rows.iter().zip(comparison.contenders) {
            let _ =
                writeln!(out, "| {label} {}", line(comparison, row, &rows[0], &rows[reference]));
        }
    }
    out
}

fn line(comparison: &Comparison, row: &Row, floor: &Row, reference: &Row) -> String {
    let each = Quartiles::of(row.each_ns.clone());
    let floor = comparison.ratio(row, floor);
    let rate = comparison.ratio(reference, row);
    let (Some(each), Some(floor)) = (each, floor) else {
        return format!("| | | | | | | {} |", remarks(row));
    };
    let things = row.sum.right.max(1) as f64;
    format!(
        "| {:.2} | {:.3} | {:.3} – {:.3} | {} | {:.2} | {:.0} % | {} |",
        each.median / 1e3,
        floor.median,
        floor.low,
        floor.high,
        rate.map_or(String::new(), |rate| format!("{:.2}", rate.median)),
        row.sum.cpu_ns as f64 / things / 1e3,
        100.0 * row.daemon_ns as f64 / row.sum.elapsed_ns.max(1) as f64,
        remarks(row),
    )
}

/// What is not as it has to be.
fn remarks(row: &Row) -> String {
    let sum = &row.sum;
    let all = (sum.right + sum.wrong + sum.lost).max(1);
    let mut said = Vec::new();
    said.extend(row.failure.clone().map(|failure| format!("**{failure}**")));
    for (number, what) in [(sum.wrong, "wrong"), (sum.lost, "lost")] {
        if number > 0 {
            said.push(format!("**{:.1} % {what}** ({number})", 100.0 * number as f64 / all as f64));
        }
    }
    if sum.reported > 0 {
        said.push(format!("says {} times that events were lost", sum.reported));
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
        if comparison.ratio(&rows[comparison.reference()], &rows[0]).is_none() {
            return Err(format!("{}: nothing to compare with on {daemon}", comparison.title));
        }
    }
    Ok(())
}
