//! The names of watches.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The name of a watch, unique within the process.
///
/// ```
/// use xs_client::Client;
/// # use xs_transport::mock::Xenstored;
/// # let client = Client::from_transport(Xenstored::new().connect(xs_proto::DomId::DOM0));
///
/// let token = client.watch_with("/a", |event| println!("{event:?}"))?;
/// client.unwatch(token)?;
/// # Ok::<(), xs_client::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchToken(u64);

/// Shows people who list the daemon's watches that a watch belongs to this library.
const TOKEN_PREFIX: &str = "xs-";

impl WatchToken {
    pub(super) fn new() -> Self {
        static LAST: AtomicUsize = AtomicUsize::new(0);
        WatchToken(LAST.fetch_add(1, Ordering::Relaxed) as u64 + 1)
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let digits = std::str::from_utf8(bytes.strip_prefix(TOKEN_PREFIX.as_bytes())?).ok()?;
        u64::from_str_radix(digits, 16).ok().map(WatchToken)
    }
}

impl fmt::Display for WatchToken {
    /// Formats the token as it is sent to the daemon.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{TOKEN_PREFIX}{:x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_wire() {
        let token = WatchToken::new();
        assert_eq!(WatchToken::parse(token.to_string().as_bytes()), Some(token));
        for foreign in ["", "xs-", "xs-zz", "1", "xs-1 "] {
            assert_eq!(WatchToken::parse(foreign.as_bytes()), None, "{foreign}");
        }
    }

    #[test]
    fn tokens_are_never_used_again() {
        assert_ne!(WatchToken::new(), WatchToken::new());
    }
}
