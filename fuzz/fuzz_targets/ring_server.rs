//! Runs xenstored's end of a ring against a page to which a guest writes anything.

#![no_main]

use libfuzzer_sys::fuzz_target;
use xs_proto::Features;
use xs_proto::ring::{Ring, RingServer, ServerError};

#[path = "../hostile_page.rs"]
mod hostile_page;

use hostile_page::{Action, Checks, page};

fuzz_target!(|input: (hostile_page::Write, Vec<Action>)| {
    let (write, actions) = input;
    let page = page();
    write.apply(&page);
    let Ok(mut server) = RingServer::new(&page, Features::RECONNECTION | Features::ERROR) else {
        return;
    };
    let (mut sends, mut receives) = (Checks::new(Ring::Replies), Checks::new(Ring::Requests));
    for action in actions {
        match action {
            Action::Hostile(write) => write.apply(&page),
            Action::Send(bytes) => {
                let sent = server.send(&bytes);
                sends.check_sent(&page, &bytes, sent);
                receives.note(sent);
            }
            Action::Receive(len) => {
                let mut buf = vec![0; usize::from(len)];
                let received = server.receive(&mut buf);
                receives.check_received(&page, &buf, received);
                sends.note(received);
            }
            Action::Restart => {
                server.reset();
                (sends, receives) = (Checks::new(Ring::Replies), Checks::new(Ring::Requests));
            }
            Action::StartOver => server.give_up(ServerError::Protocol),
        }
        let _ = server.must_notify();
    }
});
