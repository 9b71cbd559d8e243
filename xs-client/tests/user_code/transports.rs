//! Transports that break the contract of `Transport`, or call the client.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use xs_client::{Client, DomId};
use xs_transport::Sent;
use xs_transport::mock::Xenstored;

use crate::support::daemon::TestDaemon;
use crate::support::intercept::Intercept;
use crate::support::waiting::{HANG_GUARD, in_time};

#[test]
fn panic_in_recv_ends_connection() {
    let is_armed = AtomicBool::new(true);
    let transport =
        Intercept::new(Xenstored::new().connect(DomId::DOM0)).on_recv(move |below, buf, wait| {
            let received = below.recv(buf, wait);
            assert!(!is_armed.swap(false, Ordering::SeqCst), "a panic that the test expects");
            received
        });
    let client = Client::builder().timeout(None).from_transport(transport);
    in_time(move || {
        let error = client.read("/").unwrap_err();
        assert!(error.is_lost() && error.to_string().contains("panicked"), "{error}");
        assert!(client.read("/").unwrap_err().is_lost());
    });
}

#[test]
fn panic_in_limits_reaches_its_caller_only() {
    let daemon = TestDaemon::new();
    let client = daemon.client_over(Client::builder().timeout(None), |attempt| {
        let panics = attempt.number == 1;
        let transport = Intercept::new(attempt.connect()?).on_limits(move |below| {
            assert!(!panics, "a panic that the test expects");
            below.limits()
        });
        Ok(Box::new(transport))
    });
    daemon.hang_up();
    assert!(client.read("/").is_err());
    catch_unwind(AssertUnwindSafe(|| client.read("/"))).unwrap_err();
    in_time(move || client.read("/").unwrap());
}

#[test]
fn client_survives_send_that_reports_too_many_bytes() {
    let transport =
        Intercept::new(Xenstored::new().connect(DomId::DOM0)).on_send(|below, bytes| {
            below.send(bytes)?;
            Ok(Sent::Bytes(bytes.len() + 1))
        });
    let client = Client::builder().timeout(None).from_transport(transport);
    let _ = catch_unwind(AssertUnwindSafe(|| client.read("/")));
    in_time(move || drop(client.read("/")));
}

#[test]
fn dropped_transport_may_use_client() {
    let daemon = TestDaemon::new();
    let shared: Arc<OnceLock<Client>> = Arc::default();
    let user = shared.clone();
    let client = daemon.client_over(Client::builder().timeout(HANG_GUARD), move |attempt| {
        let user = user.clone();
        let transport = Intercept::new(attempt.connect()?).on_drop(move || {
            if let Some(client) = user.get() {
                println!("dropped a transport to {}", client.transport_name());
            }
        });
        Ok(Box::new(transport))
    });
    shared.set(client.clone()).unwrap();
    daemon.hang_up();
    assert!(client.read("/").is_err());
    in_time(move || client.read("/").unwrap());
}
