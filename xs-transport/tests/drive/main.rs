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

#[test]
fn failures_have_texts_and_sources() {
    let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    let text = reset.to_string();
    for (failure, expected, has_source) in [
        (Failure::Closed, "the connection was closed on this side", false),
        (Failure::from(reset), &*text, true),
        (ConnectionError::Closed.into(), &*ConnectionError::Closed.to_string(), true),
    ] {
        assert_eq!(failure.to_string(), expected);
        assert_eq!(std::error::Error::source(&failure).is_some(), has_source, "{expected}");
    }
}
