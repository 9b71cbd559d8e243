//! The checks of the guest.

mod large;
mod reconnect;
mod requests;
mod shutdown;
mod speed;
mod transactions;
mod watches;

use crate::store::{Result, Store};
use crate::xen::{self, Shutdown};
use crate::{Options, print_line};

type Check = fn(&mut Store, Options<'_>) -> Result<()>;

const CHECKS: &[(&str, Check)] = &[
    ("identity", requests::identity),
    ("values", requests::values),
    ("lists", requests::lists),
    ("permissions", requests::permissions),
    ("transactions", transactions::conflict),
    ("watches", watches::events),
    ("long values", large::values),
    ("long events", large::events),
    ("directory in parts", large::parts),
    ("nodes of dom0", large::of_dom0),
    ("round trips", speed::round_trips),
    ("10,000 requests at once", speed::pipelined),
    ("reconnection", reconnect::reconnection),
    ("latency", speed::latency),
];

/// Runs all checks, and returns how the guest is to end.
pub fn run(store: &mut Store, options: Options<'_>) -> Result<Shutdown> {
    for (name, check) in CHECKS {
        let is_chosen = match options.value("only") {
            Some(only) => only.split(',').any(|only| name.starts_with(only)),
            // It does not end by itself.
            None => *name != "latency",
        };
        if !is_chosen {
            continue;
        }
        let begin = xen::nanoseconds();
        check(store, options).map_err(|error| alloc::format!("{name}: {error}"))?;
        print_line!("{name}: passed in {} us", xen::nanoseconds().saturating_sub(begin) / 1000);
    }
    shutdown::requested(store, options)
}

/// Fails with a message if a condition does not hold.
fn ensure(condition: bool, message: &str) -> Result<()> {
    if condition { Ok(()) } else { Err(message.into()) }
}
