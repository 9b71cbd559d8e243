//! The drive over a transport that behaves in any way that its contract permits. The fuzz target
//! `drive` does the same with inputs that cover more.

mod script;

use proptest::collection::vec;
use proptest::prelude::*;
use script::{Call, Outcome};
use xs_proto::ConnectionError;
use xs_transport::Failure;

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        8 => any::<u8>().prop_map(Outcome::Bytes),
        2 => Just(Outcome::Interrupted),
        4 => Just(Outcome::WouldBlock),
        1 => Just(Outcome::Refused),
        1 => Just(Outcome::End),
        1 => Just(Outcome::Error),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        6 => any::<u8>().prop_map(Call::Submit),
        3 => Just(Call::Flush),
        6 => any::<bool>().prop_map(Call::Turn),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn bytes_pass_whole_and_in_order_until_a_final_failure(
        outcomes in vec(outcome(), 0..40),
        calls in vec(call(), 0..40),
    ) {
        script::run(outcomes, calls);
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the tunnel is closed")]
struct TunnelError(#[source] std::fmt::Error);

#[test]
fn failures_have_texts_and_sources() {
    let failure = Failure::from(std::io::Error::other(TunnelError(std::fmt::Error)));
    for (failure, text, has_source) in [
        (Failure::Closed, "the connection was closed on this side", false),
        (ConnectionError::Closed.into(), "the peer closed the connection", false),
        (failure, "the tunnel is closed", true),
    ] {
        assert_eq!(failure.to_string(), text);
        // The text has the error that the failure holds, so that the source is its cause.
        let source = std::error::Error::source(&failure);
        assert_eq!(source.is_some_and(|source| source.is::<std::fmt::Error>()), has_source);
    }
}
