//! Signals that end the program once the commands of `--exec` have ended.

use std::io;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::sigpipe;

/// Calls `notify`, on another thread, with the first SIGHUP, SIGINT or SIGTERM. A second one ends
/// the program at once. Signals that were ignored when the program started, as with nohup, stay
/// ignored.
pub(super) fn notify_first(notify: impl FnOnce(i32) + Send + 'static) -> io::Result<()> {
    let signals = [SIGHUP, SIGINT, SIGTERM];
    let handled = signals.into_iter().filter(|signal| !sigpipe::ignores(*signal));
    let mut signals = Signals::new(handled)?;
    thread::spawn(move || {
        let mut signals = signals.forever();
        if let Some(first) = signals.next() {
            notify(first);
        }
        if let Some(second) = signals.next() {
            die(second);
        }
    });
    Ok(())
}

/// Ends the program as the signal does, so that its parent sees which one it was.
pub(super) fn die(signal: i32) {
    // Does not return, as each of the signals ends a program.
    let _ = emulate_default_handler(signal);
}
