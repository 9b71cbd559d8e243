//! The transport splits and interrupts, cuts the connection or corrupts a message. Each call returns
//! the right answer or reports that the connection is lost.
//!
//! `XS_TEST_SEED` chooses the disturbances; the test prints the seed.

use std::env;
use std::sync::Arc;
use std::thread;

use xs_client::{Client, DomId, EventKind, Result};
use xs_transport::Transport;
use xs_transport::mock::{Kernel, Unreliable, Xenstored};

use crate::support::waiting::HANG_GUARD;

/// Uses a client as one thread of several, below a node of its own, and checks all answers.
fn use_client(client: &Client, name: &str) -> Result<()> {
    let path = format!("/tool/{name}");
    let mut watch = client.watch(&path)?;
    for round in 0..4 {
        client.write_display(&path, round)?;
        assert_eq!(client.read_parsed::<u32>(&path)?, round);
        let children: Vec<_> = (0..10).map(|at| format!("{path}/{at}")).collect();
        client
            .write_many(children.iter().map(|child| (child, child)))
            .into_iter()
            .collect::<Result<()>>()?;
        for (child, value) in children.iter().zip(client.read_many(&children)) {
            assert_eq!(value?, child.as_bytes());
        }
        let sum = client.transaction(|tx| {
            let sum = tx.read_parsed::<u32>(&path)? + 1;
            tx.write_display(&path, sum)?;
            Ok(sum)
        })?;
        assert_eq!((sum, client.read_parsed::<u32>(&path)?), (round + 1, round + 1));
        assert_eq!(client.directory(&path)?.len(), 10);
        let mut events = 0;
        while let Some(event) = watch.try_next()? {
            assert!(event.path.starts_with(&path) && event.kind == EventKind::Fired);
            events += 1;
        }
        assert!(round > 0 || events > 0);
        client.rm(&children[0])?;
        let error = client.read(&children[0]).unwrap_err();
        if !error.is_not_found() {
            return Err(error);
        }
        client.write(&children[0], "")?;
    }
    watch.remove()
}

/// Uses a client with several threads. Returns whether all requests were answered.
fn all_are_answered(transport: impl Transport + 'static) -> bool {
    let client = Client::builder().timeout(HANG_GUARD).from_transport(transport);
    thread::scope(|scope| {
        let users = ["a", "b", "c"].map(|name| {
            let client = &client;
            scope.spawn(move || use_client(client, name))
        });
        let mut all_answered = true;
        for user in users {
            if let Err(error) = user.join().unwrap() {
                assert!(error.is_lost(), "{error}");
                all_answered = false;
            }
        }
        all_answered
    })
}

#[test]
fn calls_return_right_answer_or_report_loss() {
    let seed = match env::var("XS_TEST_SEED") {
        Ok(seed) => seed.parse().expect("XS_TEST_SEED is not a number"),
        Err(_) => u64::from(std::process::id()),
    };
    println!("XS_TEST_SEED={seed}");
    for round in 0..60 {
        let xenstored = Xenstored::new();
        let reliable: Box<dyn Transport> = match round % 2 {
            0 => Box::new(xenstored.connect(DomId::DOM0)),
            _ => {
                let device = Kernel::new(&xenstored, DomId::DOM0).open().unwrap();
                Box::new(device.transport().unwrap())
            }
        };
        let seed = seed.wrapping_add(round);
        let at = (seed as f64 * 0.618_033_988_749_895).fract() * 30_000.0;
        let unreliable = Unreliable::new(reliable, seed);
        let unreliable = Arc::new(match round % 3 {
            0 => unreliable,
            1 => unreliable.cut_after(at as usize),
            _ => unreliable.garble_after(at as usize),
        });
        let all_answered = all_are_answered(unreliable.clone());
        let is_disturbed = unreliable.is_cut() || unreliable.is_garbled();
        assert!(all_answered || is_disturbed, "round {round}: requests fail without a disturbance");
    }
}
