//! Runs the guest's end of a ring against a page to which another end writes anything.

#![no_main]

use libfuzzer_sys::fuzz_target;
use xs_proto::ring::{Ring, RingClient, RingError};

#[path = "../hostile_page.rs"]
mod hostile_page;

use hostile_page::{Action, Checks, page};

fuzz_target!(|actions: Vec<Action>| {
    let page = page();
    let mut client = RingClient::new(&page);
    let (mut sends, mut receives) = (Checks::new(Ring::Requests), Checks::new(Ring::Replies));
    for action in actions {
        match action {
            Action::Hostile(write) => write.apply(&page),
            Action::Send(bytes) => {
                let sent = client.send(&bytes);
                sends.check_sent(&page, &bytes, sent);
                receives.note(sent);
            }
            Action::Receive(len) => {
                let mut buf = vec![0; usize::from(len)];
                let received = client.receive(&mut buf);
                receives.check_received(&page, &buf, received);
                sends.note(received);
            }
            Action::Restart => {
                client.restart();
                (sends, receives) = (Checks::new(Ring::Requests), Checks::new(Ring::Replies));
            }
            Action::StartOver => match client.reconnect() {
                Ok(()) => {
                    (sends, receives) = (Checks::new(Ring::Requests), Checks::new(Ring::Replies));
                }
                Err(error) => assert_eq!(error, RingError::NotOffered),
            },
        }
        let _ = client.must_notify();
    }
});
