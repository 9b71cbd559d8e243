//! Watches and their events.

use std::thread;

use xs_proto::Reply;

use crate::client::writable_path;
use crate::device::on_each_device;

#[test]
fn watches_fire_once_for_each_time_they_are_set() {
    on_each_device(|test_device| {
        let (watcher, writer) = (test_device.client(), test_device.client());
        let path = writable_path("watched");
        let event = (path.clone(), b"token".to_vec());
        assert_eq!(writer.write(&path, b""), Reply::Done);
        for _ in 0..2 {
            assert_eq!(watcher.watch(&path, b"token"), Reply::Done);
            assert_eq!(watcher.event(), event);
        }
        assert_eq!(writer.write(&path, b""), Reply::Done);
        assert_eq!([watcher.event(), watcher.event()], [event.clone(), event.clone()]);
        assert_eq!(watcher.unwatch(&path, b"token"), Reply::Done);
        assert_eq!(writer.write(&path, b""), Reply::Done);
        assert_eq!(watcher.event(), event);
        // Removes the second watch, and then one that does not exist.
        for _ in 0..2 {
            assert_eq!(watcher.unwatch(&path, b"token"), Reply::Done);
        }
        assert_eq!(writer.write(&path, b""), Reply::Done);
        assert!(matches!(watcher.read("domid"), Reply::Value(_)));
        assert_eq!(watcher.poll().2, 0);
    });
}

#[test]
fn events_end_a_wait() {
    on_each_device(|test_device| {
        let (watcher, writer) = (test_device.client(), test_device.client());
        let path = writable_path("waited");
        assert_eq!(watcher.watch(&path, b"t"), Reply::Done);
        watcher.event();
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..100 {
                    watcher.event();
                    assert_eq!(watcher.write("data/xs-test/ack", b""), Reply::Done);
                }
            });
            let acks = test_device.client();
            assert_eq!(acks.watch("data/xs-test/ack", b"ack"), Reply::Done);
            acks.event();
            for _ in 0..100 {
                assert_eq!(writer.write(&path, b"1"), Reply::Done);
                acks.event();
            }
        });
    });
}
