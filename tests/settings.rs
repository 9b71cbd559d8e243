//! Timeouts, loads and other settings, some of which the environment changes.

use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::env;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Write};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Guards waits against hanging. A passing test never waits this long, even on a machine that is
/// emulated and busy.
pub const HANG_TIMEOUT: Duration = Duration::from_secs(300);

/// A timeout that a test expects to expire. The test must pass however late that is noticed.
pub const SHORT_TIMEOUT: Duration = Duration::from_millis(20);

/// The load for which tests are written.
const FULL_LOAD: usize = 2000;

/// Scaling does not reduce a number of repetitions below this.
const LEAST_LOAD: usize = 10;

/// Returns how many requests each thread of the load test makes: `XS_TEST_REQUESTS`, or 2000.
pub fn requests() -> usize {
    number("XS_TEST_REQUESTS").unwrap_or(FULL_LOAD)
}

/// Scales a number of repetitions to a machine that `XS_TEST_REQUESTS` says is slow.
pub fn scaled(count: usize) -> usize {
    scale(count, requests())
}

fn scale(count: usize, requests: usize) -> usize {
    let scaled = count.saturating_mul(requests) / FULL_LOAD;
    scaled.clamp(count.min(LEAST_LOAD), count)
}

/// Returns the seed of random decisions: `XS_TEST_SEED`, or a different number each time. Prints
/// it, so that a failure can be repeated.
pub fn seed() -> u64 {
    let seed =
        number("XS_TEST_SEED").unwrap_or_else(|| RandomState::new().build_hasher().finish() >> 32);
    println!("XS_TEST_SEED={seed}");
    seed
}

/// Returns the number in an environment variable; `None` if it is not set.
pub fn number<T: FromStr>(name: &str) -> Option<T> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text:?}")))
}

/// Returns the path in an environment variable. If it is not set, reports that tests are skipped.
pub fn path(name: &str) -> Option<PathBuf> {
    let path = env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    if path.is_none() {
        skip(&format!("{name} is not set, tests that need it did not run"));
    }
    path
}

/// Reports why tests are skipped, once for each reason.
///
/// The line goes to standard error directly: the test harness captures what tests that pass print.
pub fn skip(reason: &str) {
    static REPORTED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

    let mut reported = REPORTED.lock().unwrap_or_else(PoisonError::into_inner);
    if reported.insert(reason.to_owned()) {
        let _ = io::stderr().write_all(format!("SKIPPED: {reason}\n").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaling_stays_between_the_least_load_and_the_count() {
        assert_eq!(scale(5000, FULL_LOAD), 5000);
        assert_eq!(scale(5000, 200), 500);
        assert_eq!(scale(5000, 1), 10);
        assert_eq!(scale(5000, usize::MAX), 5000);
        assert_eq!(scale(4, 200), 4);
        assert_eq!(scale(0, 200), 0);
    }
}
