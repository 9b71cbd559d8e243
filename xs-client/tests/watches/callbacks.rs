//! Callbacks that are stopped, with `watch_stop`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use xs_client::Client;

use crate::support::daemon::start;
use crate::support::threads::{Gate, Observed};

/// Starts a thread that stops the callbacks, and checks that none runs when it has stopped them.
fn stop(client: &Client, has_returned: &Arc<AtomicBool>) -> Observed<()> {
    let (client, has_returned) = (client.clone(), has_returned.clone());
    Observed::spawn(move || {
        client.watch_stop();
        assert!(has_returned.load(Ordering::SeqCst), "the callback still runs");
    })
}

#[test]
fn stop_waits_for_callback_that_has_stopped_itself() {
    let (_xenstored, client) = start();
    stop_while_callback_runs(&client);
}

#[test]
fn second_stop_waits_for_running_callback() {
    let (_xenstored, client) = start();
    let gate = Gate::closed();
    let has_returned = Arc::new(AtomicBool::new(false));
    let (entered, returning) = (gate.clone(), has_returned.clone());
    client
        .watch_with("/a", move |_| {
            entered.pass();
            returning.store(true, Ordering::SeqCst);
        })
        .unwrap();
    gate.wait_for_arrival();
    let stops = [(); 2].map(|()| {
        let stopping = stop(&client, &has_returned);
        stopping.state.wait_until_asleep();
        stopping
    });
    gate.open();
    stops.into_iter().for_each(Observed::join);
}

/// Stops the callbacks while one runs that has done so itself.
fn stop_while_callback_runs(client: &Client) {
    let gate = Gate::closed();
    let has_returned = Arc::new(AtomicBool::new(false));
    let (entered, returning, user) = (gate.clone(), has_returned.clone(), client.clone());
    client
        .watch_with("/a", move |_| {
            user.watch_stop();
            entered.pass();
            returning.store(true, Ordering::SeqCst);
        })
        .unwrap();
    gate.wait_for_arrival();
    let stopping = stop(client, &has_returned);
    stopping.state.wait_until_asleep();
    gate.open();
    stopping.join();
}

/// Futures that use the callback thread keep it running when the callbacks are stopped.
#[cfg(feature = "futures")]
mod beside_futures {
    use std::sync::mpsc;

    use futures_lite::future::block_on;
    use xs_client::futures;

    use super::*;
    use crate::support::callback::CallbackEvents;
    use crate::support::threads::ThreadState;
    use crate::support::waiting::HANG_GUARD;

    #[test]
    fn stop_waits_for_callback_that_has_stopped_itself() {
        let (_xenstored, client) = start();
        let _tasks = futures::Client::on_thread(client.clone()).unwrap();
        stop_while_callback_runs(&client);
    }

    #[test]
    fn stopped_callback_does_not_learn_of_loss() {
        let (_xenstored, client) = start();
        let _tasks = futures::Client::on_thread(client.clone()).unwrap();
        let (sender, called) = mpsc::channel();
        let callback = move |event| drop(sender.send((event, ThreadState::of_current())));
        client.watch_with("/a", callback).unwrap();
        let (event, callback_thread) = called.recv_timeout(HANG_GUARD).unwrap();
        event.unwrap();
        client.watch_stop();
        client.close();
        // By then, the thread has noticed the loss.
        callback_thread.wait_until_asleep();
        let called = called.try_recv();
        assert!(matches!(called, Err(mpsc::TryRecvError::Empty)), "{called:?}");
    }

    #[test]
    fn futures_do_not_restart_stopped_callbacks() {
        for starts_before in [false, true] {
            let (_xenstored, client) = start();
            let first = starts_before.then(|| futures::Client::on_thread(client.clone()).unwrap());
            let calls = CallbackEvents::watch(&client, "/a");
            calls.next().unwrap();
            client.watch_stop();
            let second = futures::Client::on_thread(client.clone()).unwrap();
            client.write("/a", "1").unwrap();
            // The thread has received the event when it receives these replies.
            for _ in 0..3 {
                block_on(second.read("/a")).unwrap();
            }
            drop((first, second, client));
            calls.expect_drop();
        }
    }

    #[test]
    fn futures_continue_when_callbacks_are_stopped() {
        let (_xenstored, client) = start();
        let tasks = futures::Client::on_thread(client.clone()).unwrap();
        let calls = CallbackEvents::watch(&client, "/a");
        calls.next().unwrap();
        client.watch_stop();
        block_on(async {
            tasks.write("/a", "1").await.unwrap();
            tasks.read("/a").await.unwrap();
        });
        assert!(calls.is_empty(), "a stopped callback was called");
        // The next callback starts all of them again.
        client.watch_with("/b", drop).unwrap();
        calls.next().unwrap();
    }
}
