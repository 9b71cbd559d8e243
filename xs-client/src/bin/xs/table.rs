//! Tables for people: columns of equal width, and a last column that is wrapped to the terminal.

use crate::terminal;

/// Rows of cells. The first row is the heading.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    /// Whether a column has numbers, which are aligned to the right.
    is_numeric: Vec<bool>,
}

const GAP: usize = 2;

/// The smallest width to which the last column is wrapped.
const NARROWEST: usize = 20;

impl Table {
    /// Creates a table with this heading. A `>` before the name of a column means that the column
    /// has numbers.
    pub(crate) fn new(heading: &[&str]) -> Self {
        let is_numeric = heading.iter().map(|name| name.starts_with('>')).collect();
        let names = heading.iter().map(|name| name.trim_start_matches('>').to_owned());
        Table { rows: vec![names.collect()], is_numeric }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Returns the text, wrapped if standard output is a terminal.
    pub(crate) fn text(&self) -> String {
        self.wrapped(terminal::columns().map_or(usize::MAX, usize::from))
    }

    fn wrapped(&self, width: usize) -> String {
        let columns = self.is_numeric.len();
        let cell_width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..columns).map(cell_width).collect();
        let before = widths.iter().rev().skip(1).map(|width| width + GAP).sum::<usize>();
        let room = width.saturating_sub(before).max(NARROWEST);
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let pad = widths[column] - cell.chars().count();
                if column + 1 == columns && !self.is_numeric[column] {
                    for (at, part) in terminal::wrap(cell, room).iter().enumerate() {
                        if at > 0 {
                            line += &format!("\n{:before$}", "");
                        }
                        line += part;
                    }
                } else if self.is_numeric[column] {
                    line += &format!("{:pad$}{cell}{:GAP$}", "", "");
                } else {
                    line += &format!("{cell}{:pad$}{:GAP$}", "", "");
                }
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_the_last_one_is_wrapped() {
        let mut table = Table::new(&["NAME", ">N", "MEANING"]);
        table.row(["a".into(), "1".into(), "one two three four five six".into()]);
        table.row(["long".into(), "100".into(), String::new()]);
        let wide = "NAME    N  MEANING\na       1  one two three four five six\nlong  100\n";
        assert_eq!(table.wrapped(usize::MAX), wide);
        let narrow =
            "NAME    N  MEANING\na       1  one two three four\n           five six\nlong  100\n";
        assert_eq!(table.wrapped(31), narrow);
    }
}
