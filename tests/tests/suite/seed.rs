//! What the first Xenstore module for Python offered, call by call.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use xs_client::{Access, Client, DomId, Permissions};
use xs_tests::{PATIENCE, on_every_site};
use xs_transport::discover;

use crate::{called_for, called_for_all, channel, next};

#[test]
fn device_path() {
    let candidates = discover::candidates();
    let devices = &candidates[candidates.len() - discover::DEVICES.len()..];
    assert!(devices.iter().all(|device| device.is_absolute()));
    if cfg!(target_os = "linux") {
        assert_eq!(discover::DEVICES, ["/dev/xen/xenbus", "/proc/xen/xenbus"]);
    }
    // A path of one's own goes first and is said in errors.
    let error = Client::open_at("/nowhere/xenbus").unwrap_err();
    assert_eq!(error.path(), Some("/nowhere/xenbus"));
    assert_eq!(error.io_kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn no_compiled_binding() {
    let client = Client::over(xs_transport::mock::Xenstored::new().connect(DomId::DOM0));
    client.mkdir("/a").unwrap();
    if cfg!(target_os = "linux") {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        assert!(!maps.contains("libxenstore"), "a C library is loaded:\n{maps}");
    }
}

on_every_site! {
    fn one_object_for_the_process(on) {
        let path = on.path("shared");
        on.client.write(&path, "1").unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                let client = on.client.clone();
                let path = &path;
                scope.spawn(move || assert_eq!(client.read(path).unwrap(), b"1"));
            }
        });
        // And several connections beside it.
        assert_eq!(on.another().read(&path).unwrap(), b"1");
    }

    fn read_one_key_and_several(on) {
        let paths = ["domid", "vm", "name"].map(|name| on.path(name));
        on.client.write(&paths[0], "5").unwrap();
        on.client.write(&paths[1], "/vm/1").unwrap();
        on.client.write(&paths[2], b"a\0b\xff").unwrap();
        assert_eq!(on.client.read(&paths[0]).unwrap(), b"5");

        let [domid, vm, name] = on.client.read_array(paths.each_ref().map(|path| &**path)).unwrap();
        assert_eq!((&*domid, &*vm, &*name), (&b"5"[..], &b"/vm/1"[..], &b"a\0b\xff"[..]));

        // Each key its own result.
        let mixed = [paths[0].clone(), on.path("missing"), paths[2].clone()];
        let values = on.client.read_many(&mixed);
        assert_eq!(values[0].as_deref().unwrap(), b"5");
        assert!(values[1].as_ref().unwrap_err().is_not_found());
        assert_eq!(values[1].as_ref().unwrap_err().path(), Some(&*mixed[1]));
        assert_eq!(values[2].as_deref().unwrap(), b"a\0b\xff");
    }

    fn mkdir_and_rm_of_several_keys(on) {
        let paths = [on.path("one"), on.path("two/three")];
        for result in on.client.mkdir_many(&paths) {
            result.unwrap();
        }
        assert_eq!(on.client.read_many(&paths).into_iter().map(Result::unwrap).max(), Some(vec![]));
        for result in on.client.rm_many(&paths) {
            result.unwrap();
        }
        let there: Vec<_> = on.client.exists_many(&paths).into_iter().map(Result::unwrap).collect();
        assert_eq!(there, [false, false]);
    }

    fn write_of_several_pairs(on) {
        let pairs = [(on.path("a"), "1"), (on.path("b/c"), "2"), (on.path("d"), "")];
        for result in on.client.write_many(pairs.iter().map(|(path, value)| (path, value))) {
            result.unwrap();
        }
        for (path, value) in &pairs {
            assert_eq!(on.client.read(path).unwrap(), value.as_bytes());
        }
    }

    fn get_permissions_of_several_keys(on) {
        let paths = [on.path("a"), on.path("b")];
        on.client.mkdir_many(&paths).into_iter().for_each(Result::unwrap);
        for perms in on.client.get_perms_many(&paths) {
            let perms = perms.unwrap();
            // The order is kept: the owner comes first. The map is beside it.
            assert_eq!(perms.owner().domid, on.domid);
            assert!(perms.to_map().contains_key(&on.domid));
        }
    }

    fn set_permissions(on) {
        let path = on.path("a");
        on.client.mkdir(&path).unwrap();
        let perms = Permissions::owned_by(on.domid, Access::None)
            .with(DomId::new(9), Access::ReadWrite)
            .with(DomId::new(3), Access::Read);
        on.client.set_perms(&path, &perms).unwrap();
        let got = on.client.get_perms(&path).unwrap();
        assert_eq!(got, perms);
        assert_eq!(got.to_string(), format!("n{} b9 r3", on.domid));
    }

    fn errors_carry_the_daemons_text(on) {
        let path = on.path("missing");
        let error = on.client.read(&path).unwrap_err();
        assert_eq!(error.code().unwrap().name(), "ENOENT");
        assert_eq!((error.operation(), error.path()), ("read", Some(&*path)));
        assert!(error.to_string().contains("ENOENT"), "{error}");
        assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::NotFound);
    }

    fn transaction_start_commit_abort_and_start_again(on) {
        let path = on.path("tnew");
        let tx = on.client.start_transaction().unwrap();
        tx.write(&path, "committed").unwrap();
        tx.commit().unwrap();
        assert_eq!(on.client.read(&path).unwrap(), b"committed");

        let tx = on.client.start_transaction().unwrap();
        tx.write(&path, "aborted").unwrap();
        tx.abort().unwrap();
        assert_eq!(on.client.read(&path).unwrap(), b"committed");

        // The one who is in conflict starts again: by hand …
        let mut replays = 0;
        loop {
            let tx = on.client.start_transaction().unwrap();
            tx.read(&path).unwrap();
            if replays == 0 {
                on.another().write(&path, "disturbed").unwrap();
            }
            tx.write(&path, "replayed").unwrap();
            match tx.commit() {
                Ok(()) => break,
                Err(error) => assert!(error.is_conflict(), "{error}"),
            }
            replays += 1;
        }
        assert_eq!(replays, 1);
        // … or by itself.
        let mut runs = 0;
        let other = on.another();
        on.client
            .transaction(|tx| {
                runs += 1;
                tx.read(&path)?;
                if runs == 1 {
                    other.write(&path, "disturbed")?;
                }
                tx.write(&path, "again")
            })
            .unwrap();
        assert_eq!((runs, on.client.read_str(&path).unwrap()), (2, "again".into()));
    }

    fn transaction_operations_inside(on) {
        let tx = on.client.start_transaction().unwrap();
        tx.write(&on.path("a"), "1").unwrap();
        tx.mkdir(&on.path("b")).unwrap();
        tx.mkdir(&on.path("c")).unwrap();
        assert_eq!(tx.read(&on.path("a")).unwrap(), b"1");
        tx.rm(&on.path("c")).unwrap();
        assert!(!tx.exists(&on.path("c")).unwrap());
        let mut names = tx.directory(on.root()).unwrap();
        names.sort();
        assert_eq!(names, ["a", "b"]);
        let perms = tx.get_perms(&on.path("b")).unwrap().with(DomId::new(3), Access::Read);
        tx.set_perms(&on.path("b"), &perms).unwrap();
        assert_eq!(tx.get_perms(&on.path("b")).unwrap(), perms);
        // Outside there is nothing of it yet.
        assert!(on.client.directory(on.root()).unwrap().is_empty());
        tx.commit().unwrap();
        assert_eq!(on.client.get_perms(&on.path("b")).unwrap(), perms);
        assert_eq!(on.client.directory(on.root()).unwrap().len(), 2);
    }

    fn watch_with_callback_and_arguments(on) {
        let path = on.path("new");
        let (argument, seen) = ("an argument", Arc::new(Mutex::new(Vec::new())));
        let (sender, called) = channel();
        let callback = {
            let seen = seen.clone();
            move |event| {
                seen.lock().unwrap().push(argument);
                sender.send(event).unwrap();
            }
        };
        let token = on.client.watch_with(&path, callback).unwrap();
        called_for(&called, &path);
        on.client.write(&path, "1").unwrap();
        called_for(&called, &path);
        on.client.unwatch(token).unwrap();
        assert!(seen.lock().unwrap_or_else(PoisonError::into_inner).len() >= 2);
    }

    fn unwatch_and_unwatch_all(on) {
        let (sender, called) = channel();
        let watch = |name: &str| {
            let sender = sender.clone();
            on.client.watch_with(&on.path(name), move |event| sender.send(event).unwrap()).unwrap()
        };
        let (a, _) = (watch("a"), watch("b"));
        called_for(&called, &on.path("a"));
        on.client.unwatch(a).unwrap();
        // What is unknown is ignored.
        on.client.unwatch(a).unwrap();
        on.client.unwatch_all().unwrap();
        on.client.unwatch_all().unwrap();
        while called.try_recv().is_ok() {}

        // Nothing is delivered afterwards: what comes next is of a watch set since.
        on.client.write(&on.path("a"), "1").unwrap();
        on.client.write(&on.path("b"), "1").unwrap();
        watch("c");
        let event = called.recv_timeout(PATIENCE).unwrap().unwrap();
        assert_eq!(&*event.path, on.path("c"));
        on.client.unwatch_all().unwrap();
    }

    fn watch_stop_and_restart(on) {
        let (sender, called) = channel();
        let path = on.path("a");
        let again = sender.clone();
        on.client.watch_with(&path, move |event| sender.send(event).unwrap()).unwrap();
        called_for(&called, &path);
        on.client.watch_stop();
        on.client.watch_stop();

        // All else works without the thread, iterators included.
        on.client.write(&path, "1").unwrap();
        assert_eq!(on.client.read(&path).unwrap(), b"1");
        let mut watch = on.client.watch(&on.path("b")).unwrap();
        assert_eq!(next(&mut watch), on.path("b"));
        assert!(called.try_recv().is_err(), "the thread runs");

        // Another watch with a callback starts it again, and what was missed comes.
        let other = on.path("c");
        on.client.watch_with(&other, move |event| again.send(event).unwrap()).unwrap();
        called_for_all(&called, [&path, &other]);
    }

    fn works_as_a_guest(on) {
        // A relative path is one below the home of whoever we are; through a daemon's socket,
        // that is dom0.
        let home = on.client.get_domain_path(on.domid).unwrap();
        assert_eq!(home, format!("/local/domain/{}", on.domid));
        let relative = format!("data/xs-relative-{}", on.root().rsplit('-').next().unwrap());
        let had_data = on.client.exists("data").unwrap();
        on.client.write(&relative, "here").unwrap();
        assert_eq!(on.client.read(&format!("{home}/{relative}")).unwrap(), b"here");
        let mut watch = on.client.watch(&relative).unwrap();
        assert_eq!(next(&mut watch), relative);
        watch.remove().unwrap();
        on.client.rm(&relative).unwrap();
        if !had_data {
            // Others may have come to need it; then it is not ours to remove.
            let _ = on.client.directory("data").unwrap().is_empty();
        }
        if on.is_guest() {
            assert_eq!(on.client.read_parsed::<u16>("domid").unwrap(), on.domid.get());
            assert_eq!(on.client.write("/tool/x", "").unwrap_err().io_kind(),
                std::io::ErrorKind::PermissionDenied);
        }
    }
}

/// The whole of a function that a guest agent would have: it does not know where it runs.
#[test]
fn callers_need_not_know_the_way() {
    fn publish(client: &Client) -> xs_client::Result<()> {
        client.write("data/os_name", "Debian")
    }
    let xenstored = xs_transport::mock::Xenstored::new();
    xenstored.seed("/local/domain/5/data [n5]").unwrap();
    publish(&Client::over(xenstored.connect(DomId::new(5)))).unwrap();
    assert_eq!(xenstored.get("/local/domain/5/data/os_name").unwrap(), b"Debian");
}
