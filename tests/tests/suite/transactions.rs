//! Transactions.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use xs_client::{Client, ErrorKind, Result, Retries, Tree};
use xs_tests::{Context, on_every_backend};

/// How many transactions a guest may have open, on the daemon with the lowest limit.
const MAX_OPEN: usize = 9;

/// Checks that `end` leaves no transaction open and commits nothing. A guest would soon exceed its
/// quota; dom0 has none, and there only the value is checked.
fn check_aborted(ctx: &Context, end: impl Fn(&Client)) {
    let path = ctx.path("v");
    ctx.client.write(&path, "before").unwrap();
    for _ in 0..MAX_OPEN * 3 {
        end(&ctx.client);
        assert_eq!(ctx.client.read(&path).unwrap(), b"before");
    }
    ctx.client.start_transaction().unwrap().abort().unwrap();
}

on_every_backend! {
    fn dropping_a_transaction_aborts_it(ctx) {
        check_aborted(ctx, |client| {
            let tx = client.start_transaction().unwrap();
            tx.write(ctx.path("v"), "dropped").unwrap();
        });
    }

    fn failing_closure_aborts_the_transaction(ctx) {
        check_aborted(ctx, |client| {
            let result: Result<()> = client.transaction(|tx| {
                tx.write(ctx.path("v"), "failed")?;
                tx.read(ctx.path("missing")).map(drop)
            });
            assert!(result.unwrap_err().is_not_found());
        });
    }

    fn error_of_the_caller_aborts_the_transaction(ctx) {
        let error = ctx
            .client
            .transaction(|tx| -> Result<()> {
                tx.write(ctx.path("v"), "failed")?;
                Err(xs_client::Error::other("rejected by the caller"))
            })
            .unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Other(_)));
        assert!(error.to_string().contains("rejected by the caller"), "{error}");
        assert!(!ctx.client.exists(ctx.path("v")).unwrap());
    }

    fn panicking_closure_aborts_the_transaction(ctx) {
        check_aborted(ctx, |client| {
            let result = catch_unwind(AssertUnwindSafe(|| {
                client.transaction(|tx| -> Result<()> {
                    tx.write(ctx.path("v"), "panicked")?;
                    std::panic::resume_unwind(Box::new("on purpose"));
                })
            }));
            assert!(result.is_err());
        });
    }

    fn closure_returns_its_value(ctx) {
        let path = ctx.path("n");
        ctx.client.write(&path, "41").unwrap();
        let value = ctx.client.transaction(|tx| {
            let next = tx.read_parsed::<u32>(&path)? + 1;
            tx.write_display(&path, next)?;
            Ok(next)
        });
        assert_eq!(value.unwrap(), 42);
        assert_eq!(ctx.client.read(&path).unwrap(), b"42");
    }

    fn endless_conflicts_are_reported(ctx) {
        let path = ctx.path("n");
        ctx.client.write(&path, "0").unwrap();
        let other = ctx.another();
        let mut runs = 0;
        let retries = Retries {
            attempts: 4,
            first_pause: Duration::from_micros(1),
            longest_pause: Duration::from_micros(10),
        };
        let error = ctx
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
        assert_eq!(ctx.client.read(&path).unwrap(), b"4");
    }

    fn transactions_of_two_clients_do_not_lose_updates(ctx) {
        let path = ctx.path("n");
        ctx.client.write(&path, "0").unwrap();
        let count = ctx.load(25);
        let clients = [ctx.client.clone(), ctx.another()];
        std::thread::scope(|scope| {
            for client in &clients {
                scope.spawn(|| {
                    for _ in 0..count {
                        client
                            .transaction(|tx| {
                                let n = tx.read_parsed::<usize>(&path)?;
                                tx.write_display(&path, n + 1)
                            })
                            .unwrap();
                    }
                });
            }
        });
        assert_eq!(ctx.client.read_parsed::<usize>(&path).unwrap(), 2 * count);
    }

    fn reading_transaction_sees_one_state(ctx) {
        let (a, b) = (ctx.path("a"), ctx.path("b"));
        ctx.client.write(&a, "1").unwrap();
        ctx.client.write(&b, "1").unwrap();
        let tx = ctx.client.start_transaction().unwrap();
        assert_eq!(tx.read(&a).unwrap(), b"1");
        let other = ctx.another();
        other.write(&a, "2").unwrap();
        other.write(&b, "2").unwrap();
        assert_eq!(tx.read(&a).unwrap(), b"1");
        let ended = tx.commit();
        if ctx.is_oxenstored {
            // It has written nothing, so that oxenstored commits it. (The in-memory one does not.)
            assert!(ended.is_ok() || ctx.is_in_memory(), "{ended:?}");
        } else {
            assert!(ended.unwrap_err().is_conflict());
        }
    }

    fn ended_transactions_reject_operations(ctx) {
        for end in ["commit", "abort", "drop"] {
            let tx = ctx.client.start_transaction().unwrap();
            // A handle to the transaction's tree can outlive the transaction.
            let tree: Tree = (*tx).clone();
            tree.write(ctx.path(end), "").unwrap();
            match end {
                "commit" => tx.commit().unwrap(),
                "abort" => tx.abort().unwrap(),
                _ => drop(tx),
            }
            let path = ctx.path(end);
            let error = tree.write(&path, "late").unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::TransactionEnded), "{error}");
            assert_eq!((error.operation(), error.path()), ("write", Some(&*path)));
            assert!(tree.exists(&path).is_err(), "an ended transaction knows no nodes");
            assert_eq!(ctx.client.exists(&path).unwrap(), end == "commit");
        }
    }

    fn open_transactions_are_isolated(ctx) {
        let open: Vec<_> = (0..MAX_OPEN)
            .map(|n| {
                let tx = ctx.client.start_transaction().unwrap();
                tx.write(ctx.path(&format!("n{n}/v")), n.to_string()).unwrap();
                tx
            })
            .collect();
        // Each sees its own node and no others.
        for (n, tx) in open.iter().enumerate() {
            assert_eq!(tx.read_parsed::<usize>(&ctx.path(&format!("n{n}/v"))).unwrap(), n);
            assert!(!tx.exists(ctx.path(&format!("n{}", (n + 1) % MAX_OPEN))).unwrap());
        }
        for tx in open {
            tx.abort().unwrap();
        }
        assert!(ctx.client.directory(ctx.root()).unwrap().is_empty());
    }

    fn exceeded_transaction_quota_is_reported(ctx) {
        if !ctx.is_guest() || ctx.is_device() {
            return;
        }
        let mut open = Vec::new();
        let error = loop {
            assert!(open.len() < 100, "the quota holds for guests");
            match ctx.client.start_transaction() {
                Ok(tx) => open.push(tx),
                Err(error) => break error,
            }
        };
        assert_eq!(error.io_kind(), std::io::ErrorKind::StorageFull, "{error}");
        drop(open);
        ctx.client.start_transaction().unwrap().commit().unwrap();
    }

    fn colliding_transactions_of_many_writes_do_not_mix(ctx) {
        let keys: Vec<_> = (0..ctx.load(100)).map(|n| ctx.path(&format!("k{n}"))).collect();
        let run = |client: &Client, mark: &str| {
            client.transaction(|tx| {
                tx.write_many(keys.iter().map(|key| (key, mark))).into_iter().collect::<Result<()>>()
            })
        };
        let other = ctx.another();
        std::thread::scope(|scope| {
            let other = scope.spawn(|| (0..5).for_each(|_| run(&other, "other").unwrap()));
            (0..5).for_each(|_| run(&ctx.client, "mine").unwrap());
            other.join().unwrap();
        });
        // All values come from one transaction.
        let values = ctx.client.read_many(&keys).into_iter().map(Result::unwrap);
        assert_eq!(values.collect::<std::collections::BTreeSet<_>>().len(), 1);
    }
}
