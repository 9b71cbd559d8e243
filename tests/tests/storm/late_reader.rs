//! A connection whose receiver is late.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use xs_transport::Transport;

use super::connections::Connections;
use super::intercept::Intercept;
use super::random::Random;

/// Returns a transport that is cut when a thread has received bytes and has not returned yet, unless
/// the storm is calm. The thread returns when the client has replaced the connection, if it does so
/// soon: its bytes are then those of an earlier connection.
pub(crate) fn late_reader(
    below: Box<dyn Transport>,
    is_calm: Arc<AtomicBool>,
    connections: Arc<Connections>,
    random: &mut Random,
) -> Intercept {
    // The number of receives until the cut.
    let left = AtomicU64::new(1 + random.below(300));
    let patience = Duration::from_millis(random.below(200));
    // The time between the new connection and the return.
    let delay = Duration::from_micros(random.below(2000));
    Intercept::new(below).on_recv(move |below, buf, wait| {
        let n = below.recv(buf, wait)?;
        let is_last = n > 0 && left.fetch_sub(1, Ordering::Relaxed) == 1;
        if is_last && !is_calm.load(Ordering::SeqCst) {
            let before = connections.made();
            below.close();
            let until = Instant::now() + patience;
            while connections.made() == before && Instant::now() < until {
                thread::sleep(Duration::from_micros(100));
            }
            thread::sleep(delay);
        }
        Ok(n)
    })
}
