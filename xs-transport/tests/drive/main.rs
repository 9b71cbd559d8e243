//! The drive loop over a transport that does anything a transport may do, for any calls. The fuzz
//! target `drive` is the same with inputs that are chosen better.

mod script;
mod turn;

use proptest::collection::vec;
use proptest::prelude::*;
use script::{Call, Fate};
use xs_proto::ConnectionError;
use xs_transport::Failure;

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        8 => any::<u8>().prop_map(Fate::Bytes),
        2 => Just(Fate::Interrupted),
        4 => Just(Fate::WouldBlock),
        1 => Just(Fate::Refused),
        1 => Just(Fate::End),
        1 => Just(Fate::Error),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        6 => any::<u8>().prop_map(Call::Say),
        6 => Just(Call::Flush),
        6 => any::<bool>().prop_map(Call::Turn),
        1 => Just(Call::Fail),
        2 => Just(Call::Reconnect),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whole_and_in_order_until_one_end(fates in vec(fate(), 0..40), calls in vec(call(), 0..40)) {
        script::run(fates, calls);
    }
}

#[test]
fn failures_say_what_happened() {
    let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    let text = reset.to_string();
    for (failure, said, is_from_below) in [
        (Failure::Closed, "the connection was closed on this side", false),
        (Failure::Io(reset.into()), &*text, true),
        (Failure::Protocol(ConnectionError::Closed), &*ConnectionError::Closed.to_string(), true),
    ] {
        assert_eq!(failure.to_string(), said);
        assert_eq!(std::error::Error::source(&failure).is_some(), is_from_below, "{said}");
    }
}
