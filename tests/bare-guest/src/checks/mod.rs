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
];

/// Checks that run only if the command line names them: they need a test in dom0.
const NAMED_CHECKS: &[(&str, Check)] =
    &[("latency", speed::latency), ("second introduce", reconnect::second_introduce)];

/// Runs all checks, and returns how the guest is to end.
pub fn run(store: &mut Store, options: Options<'_>) -> Result<Shutdown> {
    let only = options.value("only");
    let named = NAMED_CHECKS.iter().filter(|_| only.is_some());
    for (name, check) in CHECKS.iter().chain(named) {
        if only.is_some_and(|only| !only.split(',').any(|only| name.starts_with(only))) {
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
