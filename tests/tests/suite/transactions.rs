//! All or nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use xs_client::{Client, ErrorKind, Result, Retries, Tree};
use xs_tests::{On, on_every_site};

/// How many transactions a guest may have open, on the daemon that allows fewest.
const FEWEST: usize = 9;

/// Whether transactions that ended were left open: a guest would soon be out of them. dom0 may
/// have any number; there the value in `path` tells that nothing was committed.
fn none_is_left(on: &On, end: impl Fn(&Client)) {
    let path = on.path("v");
    on.client.write(&path, "before").unwrap();
    for _ in 0..FEWEST * 3 {
        end(&on.client);
        assert_eq!(on.client.read(&path).unwrap(), b"before");
    }
    on.client.start_transaction().unwrap().abort().unwrap();
}

on_every_site! {
    fn aborted_on_drop(on) {
        none_is_left(on, |client| {
            let tx = client.start_transaction().unwrap();
            tx.write(&on.path("v"), "dropped").unwrap();
        });
    }

    fn aborted_on_error(on) {
        none_is_left(on, |client| {
            let result: Result<()> = client.transaction(|tx| {
                tx.write(&on.path("v"), "failed")?;
                tx.read(&on.path("missing")).map(drop)
            });
            assert!(result.unwrap_err().is_not_found());
        });
    }

    fn aborted_on_an_error_of_the_callers(on) {
        let error = on
            .client
            .transaction(|tx| -> Result<()> {
                tx.write(&on.path("v"), "failed")?;
                Err(xs_client::Error::other("I do not like it"))
            })
            .unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Other(_)));
        assert!(error.to_string().contains("I do not like it"), "{error}");
        assert!(!on.client.exists(&on.path("v")).unwrap());
    }

    fn aborted_on_panic(on) {
        none_is_left(on, |client| {
            let result = catch_unwind(AssertUnwindSafe(|| {
                client.transaction(|tx| -> Result<()> {
                    tx.write(&on.path("v"), "panicked")?;
                    std::panic::resume_unwind(Box::new("on purpose"));
                })
            }));
            assert!(result.is_err());
        });
    }

    fn a_closure_gives_its_value(on) {
        let path = on.path("n");
        on.client.write(&path, "41").unwrap();
        let value = on.client.transaction(|tx| {
            let next = tx.read_parsed::<u32>(&path)? + 1;
            tx.write_display(&path, next)?;
            Ok(next)
        });
        assert_eq!(value.unwrap(), 42);
        assert_eq!(on.client.read(&path).unwrap(), b"42");
    }

    fn a_conflict_that_never_ends_is_given_up(on) {
        let path = on.path("n");
        on.client.write(&path, "0").unwrap();
        let other = on.another();
        let mut runs = 0;
        let retries = Retries {
            attempts: 4,
            first_pause: Duration::from_micros(1),
            longest_pause: Duration::from_micros(10),
        };
        let error = on
            .client
            .transaction_with(retries, |tx| {
                runs += 1;
                tx.read(&path)?;
                other.write_display(&path, runs)?;
                tx.write(&path, "mine")
            })
            .unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Conflict { attempts: 4 }), "{error}");
        assert!(error.is_conflict());
        assert_eq!(runs, 4);
        assert_eq!(on.client.read(&path).unwrap(), b"4");
    }

    fn two_clients_count_together(on) {
        let path = on.path("n");
        on.client.write(&path, "0").unwrap();
        let clients = [on.client.clone(), on.another()];
        std::thread::scope(|scope| {
            for client in &clients {
                scope.spawn(|| {
                    for _ in 0..25 {
                        client
                            .transaction(|tx| {
                                let n = tx.read_parsed::<u32>(&path)?;
                                tx.write_display(&path, n + 1)
                            })
                            .unwrap();
                    }
                });
            }
        });
        assert_eq!(on.client.read_parsed::<u32>(&path).unwrap(), 50);
    }

    fn one_that_only_reads_sees_one_state(on) {
        let (a, b) = (on.path("a"), on.path("b"));
        on.client.write(&a, "1").unwrap();
        on.client.write(&b, "1").unwrap();
        let tx = on.client.start_transaction().unwrap();
        assert_eq!(tx.read(&a).unwrap(), b"1");
        let other = on.another();
        other.write(&a, "2").unwrap();
        other.write(&b, "2").unwrap();
        assert_eq!(tx.read(&a).unwrap(), b"1");
        let ended = tx.commit();
        if on.is_ocaml {
            // It has changed nothing: oxenstored does not mind. (The in-memory one does.)
            assert!(ended.is_ok() || on.is_in_memory(), "{ended:?}");
        } else {
            assert!(ended.unwrap_err().is_conflict());
        }
    }

    fn used_after_its_end(on) {
        for end in ["commit", "abort", "drop"] {
            let tx = on.client.start_transaction().unwrap();
            // The handle to a transaction's tree outlives it.
            let tree: Tree = (*tx).clone();
            tree.write(&on.path(end), "").unwrap();
            match end {
                "commit" => tx.commit().unwrap(),
                "abort" => tx.abort().unwrap(),
                _ => drop(tx),
            }
            let path = on.path(end);
            let error = tree.write(&path, "late").unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::TransactionEnded), "{error}");
            assert_eq!((error.operation(), error.path()), ("write", Some(&*path)));
            assert!(tree.exists(&path).is_err(), "it is neither there nor not");
            assert_eq!(on.client.exists(&path).unwrap(), end == "commit");
        }
    }

    fn several_at_once_on_one_client(on) {
        let open: Vec<_> = (0..FEWEST)
            .map(|n| {
                let tx = on.client.start_transaction().unwrap();
                tx.write(&on.path(&format!("n{n}/v")), n.to_string()).unwrap();
                tx
            })
            .collect();
        // Each has its own, none of the others'.
        for (n, tx) in open.iter().enumerate() {
            assert_eq!(tx.read_parsed::<usize>(&on.path(&format!("n{n}/v"))).unwrap(), n);
            assert!(!tx.exists(&on.path(&format!("n{}", (n + 1) % FEWEST))).unwrap());
        }
        for tx in open {
            tx.abort().unwrap();
        }
        assert!(on.client.directory(on.root()).unwrap().is_empty());
    }

    fn quota_of_open_transactions(on) {
        if !on.is_guest() || on.is_device() {
            return;
        }
        let mut open = Vec::new();
        let error = loop {
            assert!(open.len() < 100, "the quota holds for guests");
            match on.client.start_transaction() {
                Ok(tx) => open.push(tx),
                Err(error) => break error,
            }
        };
        assert_eq!(error.io_kind(), std::io::ErrorKind::StorageFull, "{error}");
        drop(open);
        on.client.start_transaction().unwrap().commit().unwrap();
    }

    fn of_many_writes_that_collide(on) {
        let keys: Vec<_> = (0..on.many(100)).map(|n| on.path(&format!("k{n}"))).collect();
        let run = |client: &Client, mark: &str| {
            client.transaction(|tx| {
                tx.write_many(keys.iter().map(|key| (key, mark))).into_iter().collect::<Result<()>>()
            })
        };
        let other = on.another();
        std::thread::scope(|scope| {
            let other = scope.spawn(|| (0..5).for_each(|_| run(&other, "other").unwrap()));
            (0..5).for_each(|_| run(&on.client, "mine").unwrap());
            other.join().unwrap();
        });
        // It is one or the other, never a mixture.
        let values = on.client.read_many(&keys).into_iter().map(Result::unwrap);
        assert_eq!(values.collect::<std::collections::BTreeSet<_>>().len(), 1);
    }
}
