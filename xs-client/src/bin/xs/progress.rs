//! A progress line for commands that take long.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// A line on standard error that is redrawn as the work proceeds, and erased when it ends.
///
/// The line appears only if standard error is a terminal and standard output is not, and only
/// after [`INITIAL_DELAY`].
#[derive(Debug)]
pub(crate) struct Progress {
    label: &'static str,
    total: Option<usize>,
    done: usize,
    started: Instant,
    /// When to redraw the line; `None` if it is never shown.
    next_redraw: Option<Instant>,
    is_shown: bool,
}

/// How long a command runs before the line appears.
const INITIAL_DELAY: Duration = Duration::from_millis(500);

/// The shortest time between two redraws.
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);

/// The width of the bar, in columns.
const BAR_WIDTH: usize = 30;

/// Moves the cursor to column 1 and clears the line.
const CLEAR_LINE: &str = "\r\x1b[K";

impl Progress {
    pub(crate) fn new(label: &'static str, total: Option<usize>) -> Self {
        let is_visible = io::stderr().is_terminal() && !io::stdout().is_terminal();
        let started = Instant::now();
        let next_redraw = is_visible.then(|| started + INITIAL_DELAY);
        Progress { label, total, done: 0, started, next_redraw, is_shown: false }
    }

    pub(crate) fn add(&mut self, nodes: usize) {
        self.done += nodes;
        let now = Instant::now();
        if self.next_redraw.is_some_and(|next| next <= now) {
            self.next_redraw = Some(now + REDRAW_INTERVAL);
            self.is_shown = true;
            draw(&self.line(now - self.started));
        }
    }

    fn line(&self, elapsed: Duration) -> String {
        let Progress { label, done, .. } = self;
        let rate = *done as f64 / elapsed.as_secs_f64();
        match self.total {
            None => format!("{label}: {done} nodes, {rate:.0} nodes/s"),
            Some(total) => {
                let filled = BAR_WIDTH * done / total.max(1);
                let bar = "#".repeat(filled) + &" ".repeat(BAR_WIDTH.saturating_sub(filled));
                format!("{label}: [{bar}] {done}/{total} nodes, {rate:.0} nodes/s")
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            draw("");
        }
    }
}

/// Replaces the line on the terminal.
fn draw(line: &str) {
    // The line is decoration: a failure to draw it is no error.
    let _ = io::stderr().write_all(format!("{CLEAR_LINE}{line}").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bar_fills_in_proportion_to_the_work_done() {
        let line = |done, total| {
            let progress = Progress { done, total, ..Progress::new("restore", None) };
            progress.line(Duration::from_secs(2))
        };
        assert_eq!(line(500, None), "restore: 500 nodes, 250 nodes/s");
        let half =
            format!("restore: [{}{}] 50/100 nodes, 25 nodes/s", "#".repeat(15), " ".repeat(15));
        assert_eq!(line(50, Some(100)), half);
        assert!(line(100, Some(100)).contains(&"#".repeat(30)));
    }
}
