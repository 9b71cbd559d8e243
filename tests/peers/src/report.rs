//! Formats results as tables, and checks them.

use std::fmt::Write;

use crate::compare::{Comparison, Quartiles, Row};

pub(crate) fn table(comparison: &Comparison, layout: &str, results: &[(&str, Vec<Row>)]) -> String {
    let reference = comparison.reference();
    let (_, reference_name) = comparison.contenders[reference];
    let mut out = format!("\n#### {}, {}\n\n|", comparison.title, layout.replace('-', " "));
    for (daemon, _) in results {
        let _ = write!(out, " | {daemon}: time ÷ baseline | rate ÷ {reference_name} | CPU, µs");
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
        if let Some(baseline) = Quartiles::of(rows[0].each_ns.clone()) {
            let each = baseline.median / 1e3;
            let _ = writeln!(out, "Baseline, {daemon}: {each:.2} µs per {}.", comparison.unit);
        }
    }
    out
}

fn cells(row: &Row, baseline: &Row, reference: &Row) -> String {
    let Some(time) = Quartiles::ratio(row, baseline) else {
        return format!("{} | | ", remarks(row));
    };
    let Quartiles { low, median, high } = time;
    let rate = Quartiles::ratio(reference, row);
    let each_us = |ns: u64| ns as f64 / row.sum.correct.max(1) as f64 / 1e3;
    format!(
        "**{median:.2}** ({low:.2} – {high:.2}) {} | {} | {:.1} + {:.1}",
        remarks(row),
        rate.map_or(String::new(), |rate| format!("{:.2}", rate.median)),
        each_us(row.sum.cpu_ns),
        each_us(row.daemon_ns),
    )
}

/// Describes failures and incorrect results.
fn remarks(row: &Row) -> String {
    let sum = &row.sum;
    let all = (sum.correct + sum.wrong + sum.lost).max(1);
    let mut remarks = Vec::new();
    remarks.extend(row.failure.clone());
    for (number, kind) in [(sum.wrong, "wrong"), (sum.lost, "lost")] {
        if number > 0 {
            remarks.push(format!("{:.1} % {kind}", 100.0 * number as f64 / all as f64));
        }
    }
    if sum.reported > 0 {
        remarks.push(format!("loss reported {} times", sum.reported));
    }
    remarks.join(", ")
}

/// Checks that the baseline and xs-client ran and were correct, and that the reference ran.
pub(crate) fn check(comparison: &Comparison, results: &[(&str, Vec<Row>)]) -> Result<(), String> {
    for (daemon, rows) in results {
        for (row, (name, label)) in rows.iter().zip(comparison.contenders) {
            let is_checked = name.starts_with("xs") || name.starts_with("bare");
            // xs-client may lose events if it reports the loss.
            let lost = row.sum.lost > 0 && row.sum.reported == 0;
            let failed = row.failure.is_some() || row.sum.wrong > 0 || lost || row.sum.correct == 0;
            if is_checked && failed {
                let remarks = remarks(row);
                return Err(format!("{label}, {}, on {daemon}: {remarks}", comparison.title));
            }
        }
        if Quartiles::ratio(&rows[comparison.reference()], &rows[0]).is_none() {
            return Err(format!("{}, on {daemon}: the reference did not run", comparison.title));
        }
    }
    Ok(())
}
