//! Draws results: the median and quartiles of each contender, on a logarithmic axis.

use std::fmt::Write;

use crate::compare::{Comparison, Quartiles, Row};

const LEFT: f64 = 260.0;
const WIDTH: f64 = 860.0;
const RIGHT: f64 = WIDTH - 120.0;
const TOP: f64 = 58.0;
/// The height of a line for one contender on one daemon.
const LINE: f64 = 15.0;
const COLOURS: [&str; 3] = ["#1f6fb4", "#d9730d", "#3a8a3a"];

pub(crate) fn draw(comparison: &Comparison, layout: &str, results: &[(&str, Vec<Row>)]) -> String {
    let per_contender = LINE * results.len() as f64 + 8.0;
    let bottom = TOP + per_contender * comparison.contenders.len() as f64;
    let mut ratios = Vec::new();
    for (at, (_, rows)) in results.iter().enumerate() {
        for (line, row) in rows.iter().enumerate() {
            let y = TOP + per_contender * line as f64 + LINE * (at as f64 + 0.8);
            ratios.push((y, COLOURS[at % COLOURS.len()], row, Quartiles::ratio(row, &rows[0])));
        }
    }
    let known = || ratios.iter().filter_map(|(_, _, _, ratio)| *ratio);
    let least = known().map(|it| it.low).fold(0.8, f64::min).ln();
    let most = (known().map(|it| it.high).fold(1.5, f64::max) * 1.1).ln();
    let x = |ratio: f64| LEFT + (ratio.ln() - least) / (most - least) * (RIGHT - LEFT);

    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">
<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>
<text x="10" y="20" font-size="15" font-weight="bold">{title}, {layout}</text>
<text x="10" y="38" fill="#555">Time per {unit} ÷ time of the {baseline}; lower is better. Dot: median. Line: quartiles.</text>
"##,
        height = bottom + 34.0,
        title = comparison.title,
        layout = layout.replace('-', " "),
        unit = comparison.unit,
        baseline = comparison.contenders[0].1,
    );
    let ticks = [0.5, 0.8, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0];
    for tick in ticks.into_iter().filter(|tick| (least..=most).contains(&f64::ln(*tick))) {
        let colour = if tick == 1.0 { "#444" } else { "#ddd" };
        let _ = writeln!(
            svg,
            r##"<line x1="{x:.1}" y1="{TOP}" x2="{x:.1}" y2="{bottom}" stroke="{colour}"/><text x="{x:.1}" y="{y}" text-anchor="middle" fill="#555">{tick}</text>"##,
            x = x(tick),
            y = bottom + 15.0,
        );
    }
    for (at, (_, label)) in comparison.contenders.iter().enumerate() {
        let y = TOP + per_contender * (at as f64 + 0.5) + 1.0;
        let x = LEFT - 14.0;
        let _ = writeln!(svg, r#"<text x="{x}" y="{y}" text-anchor="end">{label}</text>"#);
    }
    for (y, colour, row, ratio) in &ratios {
        let Some(ratio) = ratio else {
            let why = row.failure.as_deref().unwrap_or("no results");
            let y = y + 4.0;
            let _ = writeln!(svg, r#"<text x="{LEFT}" y="{y}" fill="{colour}">{why}</text>"#);
            continue;
        };
        let (low, median, high) = (x(ratio.low), x(ratio.median), x(ratio.high));
        let lost = row.sum.lost as f64 / (row.sum.correct + row.sum.lost).max(1) as f64;
        let lost = if lost > 0.0 { format!(", {:.1} % lost", 100.0 * lost) } else { String::new() };
        let (value, text) = (ratio.median, high.max(median) + 8.0);
        let _ = writeln!(
            svg,
            r#"<line x1="{low:.1}" y1="{y}" x2="{high:.1}" y2="{y}" stroke="{colour}" stroke-width="3"/><circle cx="{median:.1}" cy="{y}" r="4.5" fill="{colour}"/><text x="{text:.1}" y="{ty}" fill="{colour}">{value:.2}{lost}</text>"#,
            ty = y + 4.0,
        );
    }
    for (at, (daemon, _)) in results.iter().enumerate() {
        let (x, y) = (LEFT + 130.0 * at as f64, bottom + 29.0);
        let colour = COLOURS[at % COLOURS.len()];
        let _ = writeln!(svg, r#"<text x="{x}" y="{y}" fill="{colour}">● {daemon}</text>"#);
    }
    svg + "</svg>\n"
}
