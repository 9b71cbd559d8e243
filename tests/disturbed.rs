//! A test while its connection is cut, or says what makes no sense.

use std::collections::hash_map::RandomState;
use std::env;
use std::hash::{BuildHasher, Hasher};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::thread;

use xs_transport::Transport;
use xs_transport::mock::Unreliable;

use crate::PATIENCE;
use crate::on::On;
use crate::site::{Place, Site, Way};

/// What decides about what is random: `XS_TEST_SEED`, or else another number each time.
pub fn seed() -> u64 {
    match env::var("XS_TEST_SEED") {
        Ok(seed) => seed.parse().expect("XS_TEST_SEED is a number"),
        Err(_) => RandomState::new().build_hasher().finish() >> 32,
    }
}

/// Runs a test over a way that is cut, or garbles a message, wherever in the course of it.
///
/// It may fail, for it knows of no such thing. But it ends; nothing in the client panics; and if
/// the test fails, the client knows that the connection is lost.
pub fn disturbed(test: fn(&On)) {
    let seed = seed();
    println!("XS_TEST_SEED={seed}");
    watch_panics();
    let (whole, how) = run(test, move |way| Unreliable::new(way, seed));
    how.expect("it passes without a disturbance");
    let rounds = env::var("XS_TEST_ROUNDS").map_or(4, |rounds| rounds.parse().expect("a number"));
    for round in 1..=rounds {
        let seed = seed.wrapping_add(round);
        // The golden ratio: all places are reached alike.
        let share = (seed as f64 * 0.618_033_988_749_895).fract();
        let at = (whole.passed() as f64 * share) as usize;
        let what = if round % 2 == 0 { "cut" } else { "garbled" };
        println!("{what} after {at} bytes");
        let (way, how) = run(test, move |way| {
            let way = Unreliable::new(way, seed);
            if round % 2 == 0 { way.cut_after(at) } else { way.garble_after(at) }
        });
        if let Err(message) = how {
            assert!(way.is_cut() || way.is_garbled(), "{message}");
        }
        let faults = std::mem::take(&mut *FAULTS.lock().unwrap_or_else(PoisonError::into_inner));
        assert!(faults.is_empty(), "{faults:?}");
    }
}

/// Runs a test over what is made of a way to memory; says how it went.
fn run(
    test: fn(&On),
    make: impl FnOnce(Box<dyn Transport>) -> Unreliable<Box<dyn Transport>> + Send + 'static,
) -> (Way, Result<(), String>) {
    let (done, ended) = mpsc::channel();
    let thread = thread::spawn(move || {
        let place = Site::Memory.open().expect("it is always there");
        let way = Arc::new(make(place.way()));
        let place = Place::Disturbed(Box::new(place), way.clone());
        let ended = panic::catch_unwind(AssertUnwindSafe(|| {
            let on = On::new(place);
            let ended = panic::catch_unwind(AssertUnwindSafe(|| test(&on)));
            if way.is_cut() || (way.is_garbled() && ended.is_err()) {
                let error = on.client.read("/").expect_err("the connection is of no use");
                assert!(error.is_lost(), "{error}");
            }
            if let Err(panicked) = ended {
                panic::resume_unwind(panicked);
            }
        }));
        // Nobody listens if it took too long.
        let _ = done.send((way, ended.map_err(|panicked| message(&*panicked))));
    });
    let ended = ended.recv_timeout(5 * PATIENCE).expect("it does not hang");
    thread.join().expect("its panics are caught");
    ended
}

fn message(panicked: &(dyn std::any::Any + Send)) -> String {
    let text = panicked.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panicked.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// Panics elsewhere than in tests.
static FAULTS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Notes panics in what is tested, in whatever thread.
fn watch_panics() {
    static ONCE: Once = Once::new();

    ONCE.call_once(|| {
        let next = panic::take_hook();
        panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            let file = info.location().map_or("", |location| location.file());
            if ["xs-client/src", "xs-transport/src", "xs-proto/src"]
                .iter()
                .any(|at| file.contains(at))
            {
                let mut faults = FAULTS.lock().unwrap_or_else(PoisonError::into_inner);
                faults.push(info.to_string());
            }
            next(info);
        }));
    });
}
