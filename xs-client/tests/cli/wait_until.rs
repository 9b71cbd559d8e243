//! Waiting for changes outside of the test that nothing reports, such as the end of a process.

use std::thread;
use std::time::{Duration, Instant};

/// Waits until a condition holds. After a minute, fails with the text of `describe`.
pub(crate) fn wait_until(mut holds: impl FnMut() -> bool, describe: impl Fn() -> String) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "{}", describe());
        thread::sleep(Duration::from_millis(5));
    }
}
