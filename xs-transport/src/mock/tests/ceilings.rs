//! Limits on the memory that clients can occupy.

use super::*;
use crate::mock::daemon::ceilings::Ceilings;

/// Returns a xenstored with low ceilings, which dom0 can reach.
fn low(flavour: Flavour) -> (Xenstored, Client) {
    let xenstored = Xenstored::with_flavour(flavour);
    xenstored.set_ceilings(Ceilings {
        nodes: 50,
        node_bytes: 20_000,
        watches: 10,
        transactions: 5,
        domain_bytes: 100_000,
    });
    let dom0 = Client::new(&xenstored, 0);
    (xenstored, dom0)
}

/// Repeats a request until it fails. Returns how often it succeeded, and the error.
fn repeat(max: usize, mut act: impl FnMut(usize) -> String) -> (usize, String) {
    for at in 0..max {
        let answer = act(at);
        if answer.starts_with('!') {
            return (at, answer);
        }
    }
    panic!("there is no limit");
}

fn error_of(flavour: Flavour) -> &'static str {
    if is_oxenstored(flavour) { "!EQUOTA|" } else { "!ENOSPC|" }
}

#[test]
fn nodes_of_dom0_are_limited() {
    for &flavour in Flavour::ALL {
        let (xenstored, mut dom0) = low(flavour);
        let (_, error) = repeat(1000, |at| dom0.write(&format!("/a/{at}"), ""));
        assert_eq!(error, error_of(flavour));
        assert_eq!(xenstored.node_count(), 50, "{flavour:?}");
        assert_eq!(dom0.read_value("/a/0"), "");
        assert_eq!(dom0.one(Ty::Rm, "/a/0"), "OK|");
        assert_eq!(dom0.write("/a/0", ""), "OK|");
        dom0.one(Ty::Rm, "/a");
        let long = "x".repeat(2000);
        let (count, error) = repeat(1000, |at| dom0.write(&format!("/a/{at}"), &long));
        assert!((9..=11).contains(&count), "{flavour:?} {count}");
        assert_eq!(error, error_of(flavour));
    }
}

#[test]
fn watches_of_dom0_are_limited() {
    for &flavour in Flavour::ALL {
        let (xenstored, mut dom0) = low(flavour);
        let (count, error) = repeat(1000, |at| dom0.watch("/a", &at.to_string()));
        let expected = match flavour {
            Flavour::C417 | Flavour::C420 => "!E2BIG|",
            flavour => error_of(flavour),
        };
        assert_eq!((count, &*error), (10, expected), "{flavour:?}");
        assert_eq!(dom0.call(Ty::Unwatch, NONE, "/a|0|"), "OK|");
        assert_eq!(dom0.watch("/a", "0"), "OK|");
        // Another connection of the domain counts, too.
        assert_eq!(Client::new(&xenstored, 0).watch("/a", "0"), expected);
        assert_eq!(dom0.one(Ty::ResetWatches, ""), "OK|");
        assert_eq!(dom0.watch("/a", "0"), "OK|");
    }
}

#[test]
fn open_transactions_of_dom0_are_limited() {
    for &flavour in Flavour::ALL {
        let (xenstored, mut dom0) = low(flavour);
        let start = |client: &mut Client| client.call(Ty::TransactionStart, NONE, "|");
        let (count, error) = repeat(1000, |_| start(&mut dom0));
        assert_eq!((count, &*error), (5, error_of(flavour)), "{flavour:?}");
        // Another client of the domain is refused until the first one goes.
        let mut other = Client::new(&xenstored, 0);
        assert_eq!(start(&mut other), error_of(flavour));
        drop(dom0);
        assert!(!start(&mut other).starts_with('!'));
    }
}

#[test]
fn memory_of_transactions_is_limited() {
    for &flavour in Flavour::ALL {
        let (_xenstored, mut dom0) = low(flavour);
        for payload in ["/none-{}|", "/a/{}|value"] {
            let ty = if payload.ends_with("value") { Ty::Write } else { Ty::Read };
            let tx = dom0.start();
            // Reading a node that does not exist fails, but the transaction remembers it.
            let (_, error) = repeat(5000, |at| {
                let answer = dom0.call(ty, tx, payload.replace("{}", &at.to_string()));
                if answer == "!ENOENT|" { "absent".to_owned() } else { answer }
            });
            assert_eq!(error, error_of(flavour), "{flavour:?}");
            // The end of the transaction makes room.
            assert_eq!(dom0.end(tx, false), "OK|", "{flavour:?}");
        }
        let tx = dom0.start();
        assert_eq!(dom0.call(Ty::Read, tx, "/tool|"), "");
    }
}

#[test]
fn connections_that_do_not_read_events_are_closed() {
    let xenstored = Xenstored::new();
    let mut dom0 = Client::new(&xenstored, 0);
    dom0.watch("/", &"t".repeat(3000));
    for at in 0..2 * Pipe::EVENTS_MAX / 3000 {
        xenstored.set(&format!("/a/{at}"), "").unwrap();
    }
    let (mut sum, mut buf) = (0, vec![0; 1 << 20]);
    while let n @ 1.. = dom0.pipe.recv(&mut buf, Wait::No).expect("the end of the stream") {
        sum += n;
    }
    assert!(sum <= Pipe::EVENTS_MAX, "{sum} bytes were held");
    assert!(xenstored.connections(DomId::DOM0).is_empty());
}
