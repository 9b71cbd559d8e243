//! How far long work has come, shown to a person who waits.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// A line on standard error that is written anew as the work goes on, and is gone at its end.
///
/// It shows if that is a terminal and standard output is not, where it would get in the way, and
/// only for work that takes a while.
#[derive(Debug)]
pub(crate) struct Progress {
    what: &'static str,
    total: Option<usize>,
    done: usize,
    started: Instant,
    /// When the line is due next; `None`: nobody watches.
    due: Option<Instant>,
    shown: bool,
}

const FIRST: Duration = Duration::from_millis(500);
const AGAIN: Duration = Duration::from_millis(100);
const BAR: usize = 30;

impl Progress {
    pub(crate) fn new(what: &'static str, total: Option<usize>) -> Self {
        let is_watched = io::stderr().is_terminal() && !io::stdout().is_terminal();
        let started = Instant::now();
        let due = is_watched.then(|| started + FIRST);
        Progress { what, total, done: 0, started, due, shown: false }
    }

    pub(crate) fn add(&mut self, nodes: usize) {
        self.done += nodes;
        let now = Instant::now();
        if self.due.is_some_and(|due| due <= now) {
            self.due = Some(now + AGAIN);
            self.shown = true;
            eprint!("\r\x1b[K{}", self.line(now - self.started));
        }
    }

    fn line(&self, taken: Duration) -> String {
        let Progress { what, done, .. } = self;
        let rate = *done as f64 / taken.as_secs_f64();
        match self.total {
            None => format!("{what}: {done} nodes, {rate:.0} a second"),
            Some(total) => {
                let full = BAR * done / total.max(1);
                let bar = "#".repeat(full) + &" ".repeat(BAR.saturating_sub(full));
                format!("{what} [{bar}] {done} of {total} nodes, {rate:.0} a second")
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            // It is for the eye only.
            let _ = io::stderr().write_all(b"\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills() {
        let line = |done, total| {
            let progress = Progress { done, total, ..Progress::new("restore", None) };
            progress.line(Duration::from_secs(2))
        };
        assert_eq!(line(500, None), "restore: 500 nodes, 250 a second");
        let half =
            format!("restore [{}{}] 50 of 100 nodes, 25 a second", "#".repeat(15), " ".repeat(15));
        assert_eq!(line(50, Some(100)), half);
        assert!(line(100, Some(100)).contains(&"#".repeat(30)));
    }
}
