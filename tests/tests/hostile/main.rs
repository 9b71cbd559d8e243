//! Peers that break the protocol, send unusual but legal messages, do not answer, or disconnect.

mod disconnects;
mod names;
mod protocol_errors;
mod rings;
mod timeouts;
mod unusual;

use xs_client::{Builder, Client};
use xs_tests::HANG_TIMEOUT;

/// Returns a builder for clients that wait for every answer.
fn patient() -> Builder {
    Client::builder().timeout(HANG_TIMEOUT)
}
