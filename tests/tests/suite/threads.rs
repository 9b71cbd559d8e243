//! Many threads on one client.

use std::thread;

use xs_tests::{PATIENCE, on_every_site};

use crate::{called_for_all, channel, next};

/// How many threads there are.
const THREADS: usize = 8;

on_every_site! {
    fn each_gets_its_own_answers(on) {
        thread::scope(|scope| {
            for thread in 0..THREADS {
                scope.spawn(move || {
                    let path = on.path(&thread.to_string());
                    for n in 0..on.many(100) {
                        let value = format!("{thread} {n}");
                        on.client.write(&path, &value).unwrap();
                        assert_eq!(on.client.read_str(&path).unwrap(), value);
                    }
                });
            }
        });
    }

    fn batches_of_several_threads(on) {
        thread::scope(|scope| {
            for thread in 0..THREADS {
                scope.spawn(move || {
                    let path = on.path(&thread.to_string());
                    on.client.write_display(&path, thread).unwrap();
                    for value in on.client.read_many((0..on.many(1000)).map(|_| &path)) {
                        assert_eq!(value.unwrap(), thread.to_string().as_bytes());
                    }
                });
            }
        });
    }

    fn with_watches_of_both_kinds(on) {
        let (sender, called) = channel();
        on.client.watch_with(on.root(), move |event| drop(sender.send(event))).unwrap();
        thread::scope(|scope| {
            for thread in 0..THREADS {
                scope.spawn(move || {
                    let path = on.path(&thread.to_string());
                    let mut watch = on.client.watch(&path).unwrap();
                    assert_eq!(next(&mut watch), path);
                    for n in 0..25 {
                        on.client.write_display(&path, n).unwrap();
                        assert_eq!(next(&mut watch), path);
                        assert_eq!(on.client.read_parsed::<i32>(&path).unwrap(), n);
                    }
                });
            }
        });
        let paths = (0..THREADS).map(|thread| on.path(&thread.to_string()));
        called_for_all(&called, paths);
    }

    fn who_waits_for_an_event_delays_nobody(on) {
        let path = on.path("signal");
        let mut watch = on.client.watch(&path).unwrap();
        assert_eq!(next(&mut watch), path);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| watch.next_timeout(PATIENCE).unwrap().unwrap());
            for n in 0..on.many(200) {
                let other = on.path("other");
                on.client.write_display(&other, n).unwrap();
                assert_eq!(on.client.read_parsed::<usize>(&other).unwrap(), n);
            }
            on.client.write(&path, "").unwrap();
            assert_eq!(&*waiting.join().unwrap().path, path);
        });
    }

    fn transactions_of_several_threads(on) {
        let path = on.path("n");
        on.client.write(&path, "0").unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        on.client
                            .transaction(|tx| {
                                let n: u32 = tx.read_parsed(&path)?;
                                tx.write_display(&path, n + 1)
                            })
                            .unwrap();
                    }
                });
            }
        });
        assert_eq!(on.client.read_parsed::<u32>(&path).unwrap(), 40);
    }

    fn closing_frees_everybody(on) {
        let client = on.another();
        let path = on.path("a");
        let watches: Vec<_> = (0..THREADS).map(|_| client.watch(&path).unwrap()).collect();
        thread::scope(|scope| {
            let waiting: Vec<_> = watches
                .into_iter()
                .map(|watch| scope.spawn(move || watch.filter_map(Result::err).next()))
                .collect();
            client.close();
            for thread in waiting {
                assert!(thread.join().unwrap().unwrap().is_lost());
            }
        });
        assert!(client.read(&path).unwrap_err().is_lost());
    }
}
