//! Several threads that share one client.

use std::thread;

use xs_tests::{HANG_TIMEOUT, on_every_backend};

use crate::{called_for_all, channel, next};

/// The number of threads.
const THREADS: usize = 8;

on_every_backend! {
    fn threads_receive_the_answers_to_their_own_requests(ctx) {
        thread::scope(|scope| {
            for thread in 0..THREADS {
                scope.spawn(move || {
                    let path = ctx.path(&thread.to_string());
                    for n in 0..ctx.load(100) {
                        let value = format!("{thread} {n}");
                        ctx.client.write(&path, &value).unwrap();
                        assert_eq!(ctx.client.read_str(&path).unwrap(), value);
                    }
                });
            }
        });
    }

    fn batches_of_several_threads_do_not_mix(ctx) {
        thread::scope(|scope| {
            for thread in 0..THREADS {
                scope.spawn(move || {
                    let path = ctx.path(&thread.to_string());
                    ctx.client.write_display(&path, thread).unwrap();
                    for value in ctx.client.read_many((0..ctx.load(1000)).map(|_| &path)) {
                        assert_eq!(value.unwrap(), thread.to_string().as_bytes());
                    }
                });
            }
        });
    }

    fn watches_of_several_threads_receive_their_own_events(ctx) {
        let (sender, called) = channel();
        ctx.client.watch_with(ctx.root(), move |event| drop(sender.send(event))).unwrap();
        thread::scope(|scope| {
            for thread in 0..THREADS {
                scope.spawn(move || {
                    let path = ctx.path(&thread.to_string());
                    let mut watch = ctx.client.watch(&path).unwrap();
                    assert_eq!(next(&mut watch), path);
                    for n in 0..ctx.load(25) {
                        ctx.client.write_display(&path, n).unwrap();
                        assert_eq!(next(&mut watch), path);
                        assert_eq!(ctx.client.read_parsed::<usize>(&path).unwrap(), n);
                    }
                });
            }
        });
        let paths = (0..THREADS).map(|thread| ctx.path(&thread.to_string()));
        called_for_all(&called, paths);
    }

    fn waiting_for_an_event_does_not_delay_requests(ctx) {
        let path = ctx.path("signal");
        let mut watch = ctx.client.watch(&path).unwrap();
        assert_eq!(next(&mut watch), path);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| watch.next_timeout(HANG_TIMEOUT).unwrap().unwrap());
            for n in 0..ctx.load(200) {
                let other = ctx.path("other");
                ctx.client.write_display(&other, n).unwrap();
                assert_eq!(ctx.client.read_parsed::<usize>(&other).unwrap(), n);
            }
            ctx.client.write(&path, "").unwrap();
            assert_eq!(&*waiting.join().unwrap().path, path);
        });
    }

    fn transactions_of_several_threads_do_not_mix(ctx) {
        let path = ctx.path("n");
        ctx.client.write(&path, "0").unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        ctx.client
                            .transaction(|tx| {
                                let n: u32 = tx.read_parsed(&path)?;
                                tx.write_display(&path, n + 1)
                            })
                            .unwrap();
                    }
                });
            }
        });
        assert_eq!(ctx.client.read_parsed::<u32>(&path).unwrap(), 40);
    }

    fn close_wakes_all_waiting_threads(ctx) {
        let client = ctx.another();
        let path = ctx.path("a");
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
