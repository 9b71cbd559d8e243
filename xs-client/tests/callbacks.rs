//! Callbacks that use the client in ways that are easy to get wrong.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use xs_client::{Client, DomId};
use xs_transport::mock::Xenstored;

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(60);

fn client() -> Client {
    Client::over(Xenstored::new().connect(DomId::DOM0))
}

#[test]
fn a_callback_may_own_a_watch_of_the_same_client() {
    let client = client();
    let mut inner = client.watch("/inner").unwrap();
    let token = client.watch_with("/outer", move |_| drop(inner.try_next())).unwrap();
    client.unwatch(token).unwrap();
    client.read("/").unwrap();
}

#[test]
fn a_callback_may_stop_its_thread_and_remove_its_watch() {
    let client = client();
    let (sender, done) = mpsc::channel();
    let token = Arc::new(Mutex::new(None));
    let (own, user) = (token.clone(), client.clone());
    let mut place = token.lock().unwrap();
    *place = Some(
        client
            .watch_with("/a", move |_| {
                let token = own.lock().unwrap().take().expect("it is called once");
                user.watch_stop();
                // Another thread, which waits for this callback to return.
                let sender = sender.clone();
                user.watch_with("/b", move |event| sender.send(event.map(drop)).unwrap()).unwrap();
                user.watch_stop();
                user.unwatch(token).unwrap();
                user.watch_with("/c", |_| ()).unwrap();
            })
            .unwrap(),
    );
    drop(place);
    done.recv_timeout(PATIENCE).expect("the second callback runs").unwrap();
    client.unwatch_all().unwrap();
    client.watch_stop();
}
