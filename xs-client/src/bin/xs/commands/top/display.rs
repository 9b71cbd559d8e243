//! The loop of the view: draws, waits for inputs, and hands them to the state.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;

use super::app::App;
use super::{Input, view};

/// The interval at which rates and marks are drawn again without an input.
const TICK: Duration = Duration::from_secs(1);

/// The longest time for which inputs are collected before the view is drawn.
const DRAW_WITHIN: Duration = Duration::from_millis(20);

/// Shows the view until the user leaves.
pub(super) fn run(
    app: &mut App,
    terminal: &mut DefaultTerminal,
    inputs: &Receiver<Input>,
) -> io::Result<()> {
    loop {
        app.select();
        app.ask_for_usage();
        terminal.draw(|frame| view::draw(app, frame))?;
        let mut input = match inputs.recv_timeout(TICK) {
            Ok(input) => Some(input),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        let deadline = Instant::now() + DRAW_WITHIN;
        while let Some(next) = input {
            let is_key = matches!(next, Input::Terminal(_));
            if !app.handle(next) {
                return Ok(());
            }
            // The effect of a key is shown at once.
            let goes_on = !is_key && Instant::now() < deadline;
            input = if goes_on { inputs.try_recv().ok() } else { None };
        }
    }
}
