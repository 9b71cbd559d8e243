//! Suite tests on a connection that fails in the middle.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::thread;

use xs_transport::Transport;
use xs_transport::mock::Unreliable;

use crate::backend::{Backend, FaultyTransport, Instance};
use crate::context::Context;
use crate::settings::{self, HANG_TIMEOUT};

/// Runs a test several times on a connection to an in-memory xenstored that is cut, or on which the header of a message is
/// garbled, after a different number of bytes each time.
///
/// The test may fail, since it does not expect faults. But it must end, nothing in the client may
/// panic, and if the test fails, the client must report that the connection is lost.
pub fn run_with_faults(backend: Backend, test: fn(&Context)) {
    let seed = settings::seed();
    record_panics();
    let (transport, result) = run(backend, test, move |inner| Unreliable::new(inner, seed));
    result.expect("the test passes without faults");
    let total = transport.passed();
    let rounds = settings::number("XS_TEST_ROUNDS").unwrap_or(4);
    for round in 1..=rounds {
        let seed = seed.wrapping_add(round);
        // Multiples of the golden ratio spread evenly over the conversation.
        let share = (seed as f64 * 0.618_033_988_749_895).fract();
        let at = (total as f64 * share) as usize;
        let is_cut = round % 2 == 0;
        println!("{} after {at} bytes", if is_cut { "cut" } else { "garbled" });
        let (transport, result) = run(backend, test, move |inner| {
            let transport = Unreliable::new(inner, seed);
            if is_cut { transport.cut_after(at) } else { transport.garble_after(at) }
        });
        if let Err(message) = result {
            assert!(transport.is_cut() || transport.is_garbled(), "{message}");
        }
        let panics = std::mem::take(&mut *PANICS.lock().unwrap_or_else(PoisonError::into_inner));
        assert!(panics.is_empty(), "the client panicked: {panics:?}");
    }
}

/// Runs a test over a transport that `make` creates from one to the in-memory xenstored. Returns
/// the transport and the message of the panic if the test fails.
fn run(
    backend: Backend,
    test: fn(&Context),
    make: impl FnOnce(Box<dyn Transport>) -> Unreliable<Box<dyn Transport>> + Send + 'static,
) -> (FaultyTransport, Result<(), String>) {
    let (done, ended) = mpsc::channel();
    let thread = thread::spawn(move || {
        let instance = backend.open().expect("this backend is always available");
        let transport = Arc::new(make(instance.transport()));
        let instance = Instance::Faulty(Box::new(instance), transport.clone());
        let ended = panic::catch_unwind(AssertUnwindSafe(|| {
            let ctx = Context::new(instance);
            let ended = panic::catch_unwind(AssertUnwindSafe(|| test(&ctx)));
            if transport.is_cut() || (transport.is_garbled() && ended.is_err()) {
                let error = ctx.client.read("/").expect_err("the connection has failed");
                assert!(error.is_lost(), "{error}");
            }
            if let Err(panicked) = ended {
                panic::resume_unwind(panicked);
            }
        }));
        // The receiver is gone if the test took too long.
        let _ = done.send((transport, ended.map_err(|panicked| message(&*panicked))));
    });
    // A single operation that hangs ends after `HANG_TIMEOUT`, with a better message.
    let ended = ended.recv_timeout(HANG_TIMEOUT * 3 / 2).expect("the test hangs");
    thread.join().expect("panics are caught");
    ended
}

fn message(panicked: &(dyn Any + Send)) -> String {
    let text = panicked.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panicked.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// Panics in the code under test.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Records panics in the code under test, in any thread.
fn record_panics() {
    static ONCE: Once = Once::new();

    ONCE.call_once(|| {
        let next = panic::take_hook();
        panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            let file = info.location().map_or("", |location| location.file());
            let crates = ["xs-client/src", "xs-transport/src", "xs-proto/src"];
            if crates.iter().any(|path| file.contains(path)) {
                let mut panics = PANICS.lock().unwrap_or_else(PoisonError::into_inner);
                panics.push(info.to_string());
            }
            next(info);
        }));
    });
}
