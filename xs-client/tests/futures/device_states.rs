//! The states of devices, as futures.

use std::time::Duration;

use futures_lite::future::{yield_now, zip};
use xs_client::ErrorKind;
use xs_client::XenbusState::{Closed, Connected, InitWait};

use crate::everywhere;
use crate::support::waiting::HANG_GUARD;

#[test]
fn tasks_read_change_and_await_states() {
    everywhere(|client, xenstored| async move {
        assert_eq!(client.read_state_opt("/state").await.unwrap(), None);
        assert!(client.switch_state("/state", Closed).await.unwrap_err().is_not_found());
        let soon = Duration::from_millis(5);
        let error = client.wait_for_state("/state", [Closed], soon).await.unwrap_err();
        assert!(error.is_timeout(), "{error}");

        let change = async {
            yield_now().await;
            client.write_display("/state", InitWait).await.unwrap();
            client.switch_state("/state", Connected).await.unwrap();
        };
        let wait = client.wait_for_state("/state", [Connected, Closed], HANG_GUARD);
        let (state, ()) = zip(wait, change).await;
        assert_eq!(state.unwrap(), Connected);
        assert_eq!(client.read_state("/state").await.unwrap(), Connected);

        xenstored.set("/state", "9").unwrap();
        let error = client.wait_for_state("/state", [Closed], HANG_GUARD).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unexpected(_)), "{error}");
    });
}
