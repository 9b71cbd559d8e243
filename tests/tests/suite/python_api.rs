//! The calls that the first Xenstore module for Python offered, one by one.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use xs_client::{Access, Client, DomId, Permissions};
use xs_tests::{HANG_TIMEOUT, on_every_backend};
use xs_transport::discover;

use crate::{called_for, called_for_all, channel, next};

#[test]
fn device_paths_are_the_last_candidates() {
    let candidates = discover::candidates();
    let devices = &candidates[candidates.len() - discover::DEVICES.len()..];
    assert!(devices.iter().all(|device| device.is_absolute()));
    if cfg!(target_os = "linux") {
        assert_eq!(discover::DEVICES, ["/dev/xen/xenbus", "/proc/xen/xenbus"]);
    }
    // A path given by the caller is named in errors.
    let error = Client::open_at("/nowhere/xenbus").unwrap_err();
    assert_eq!(error.path(), Some("/nowhere/xenbus"));
    assert_eq!(error.io_kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn no_c_library_is_loaded() {
    let client = Client::from_transport(xs_transport::mock::Xenstored::new().connect(DomId::DOM0));
    client.mkdir("/a").unwrap();
    if cfg!(target_os = "linux") {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        assert!(!maps.contains("libxenstore"), "a C library is loaded:\n{maps}");
    }
}

on_every_backend! {
    fn several_handles_share_one_connection(ctx) {
        let path = ctx.path("shared");
        ctx.client.write(&path, "1").unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                let client = ctx.client.clone();
                let path = &path;
                scope.spawn(move || assert_eq!(client.read(path).unwrap(), b"1"));
            }
        });
        // Further connections are possible.
        assert_eq!(ctx.another().read(&path).unwrap(), b"1");
    }

    fn one_key_and_several_keys_are_read(ctx) {
        let paths = ["domid", "vm", "name"].map(|name| ctx.path(name));
        ctx.client.write(&paths[0], "5").unwrap();
        ctx.client.write(&paths[1], "/vm/1").unwrap();
        ctx.client.write(&paths[2], b"a\0b\xff").unwrap();
        assert_eq!(ctx.client.read(&paths[0]).unwrap(), b"5");

        let [domid, vm, name] = ctx.client.read_array(paths.each_ref().map(|path| &**path)).unwrap();
        assert_eq!((&*domid, &*vm, &*name), (&b"5"[..], &b"/vm/1"[..], &b"a\0b\xff"[..]));

        // Each key has its own result.
        let mixed = [paths[0].clone(), ctx.path("missing"), paths[2].clone()];
        let values = ctx.client.read_many(&mixed);
        assert_eq!(values[0].as_deref().unwrap(), b"5");
        assert!(values[1].as_ref().unwrap_err().is_not_found());
        assert_eq!(values[1].as_ref().unwrap_err().path(), Some(&*mixed[1]));
        assert_eq!(values[2].as_deref().unwrap(), b"a\0b\xff");
    }

    fn several_keys_are_created_and_removed(ctx) {
        let paths = [ctx.path("one"), ctx.path("two/three")];
        for result in ctx.client.mkdir_many(&paths) {
            result.unwrap();
        }
        assert_eq!(ctx.client.read_many(&paths).into_iter().map(Result::unwrap).max(), Some(vec![]));
        for result in ctx.client.rm_many(&paths) {
            result.unwrap();
        }
        let there: Vec<_> = ctx.client.exists_many(&paths).into_iter().map(Result::unwrap).collect();
        assert_eq!(there, [false, false]);
    }

    fn several_pairs_are_written(ctx) {
        let pairs = [(ctx.path("a"), "1"), (ctx.path("b/c"), "2"), (ctx.path("d"), "")];
        for result in ctx.client.write_many(pairs.iter().map(|(path, value)| (path, value))) {
            result.unwrap();
        }
        for (path, value) in &pairs {
            assert_eq!(ctx.client.read(path).unwrap(), value.as_bytes());
        }
    }

    fn permissions_of_several_keys_start_with_the_owner(ctx) {
        let paths = [ctx.path("a"), ctx.path("b")];
        ctx.client.mkdir_many(&paths).into_iter().for_each(Result::unwrap);
        for perms in ctx.client.get_perms_many(&paths) {
            let perms = perms.unwrap();
            // The list keeps the order, in which the owner comes first. The map is a second form.
            assert_eq!(perms.owner().domid, ctx.domid);
            assert!(perms.to_map().contains_key(&ctx.domid));
        }
    }

    fn set_permissions_are_read_back(ctx) {
        let path = ctx.path("a");
        ctx.client.mkdir(&path).unwrap();
        let perms = Permissions::owned_by(ctx.domid)
            .with(DomId::new(9), Access::ReadWrite)
            .with(DomId::new(3), Access::Read);
        ctx.client.set_perms(&path, &perms).unwrap();
        let got = ctx.client.get_perms(&path).unwrap();
        assert_eq!(got, perms);
        assert_eq!(got.to_string(), format!("n{} b9 r3", ctx.domid));
    }

    fn errors_name_the_cause_the_operation_and_the_path(ctx) {
        let path = ctx.path("missing");
        let error = ctx.client.read(&path).unwrap_err();
        assert_eq!(error.code().unwrap().name(), "ENOENT");
        assert_eq!((error.operation(), error.path()), ("read", Some(&*path)));
        assert!(error.to_string().contains("ENOENT"), "{error}");
        assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::NotFound);
    }

    fn transactions_commit_abort_and_start_again(ctx) {
        let path = ctx.path("tnew");
        let tx = ctx.client.start_transaction().unwrap();
        tx.write(&path, "committed").unwrap();
        tx.commit().unwrap();
        assert_eq!(ctx.client.read(&path).unwrap(), b"committed");

        let tx = ctx.client.start_transaction().unwrap();
        tx.write(&path, "aborted").unwrap();
        tx.abort().unwrap();
        assert_eq!(ctx.client.read(&path).unwrap(), b"committed");

        // After a conflict, the caller starts again ...
        let mut replays = 0;
        loop {
            let tx = ctx.client.start_transaction().unwrap();
            tx.read(&path).unwrap();
            if replays == 0 {
                ctx.another().write(&path, "disturbed").unwrap();
            }
            tx.write(&path, "replayed").unwrap();
            match tx.commit() {
                Ok(()) => break,
                Err(error) => assert!(error.is_conflict(), "{error}"),
            }
            replays += 1;
        }
        assert_eq!(replays, 1);
        // ... or the client does.
        let mut runs = 0;
        let other = ctx.another();
        ctx.client
            .transaction(|tx| {
                runs += 1;
                tx.read(&path)?;
                if runs == 1 {
                    other.write(&path, "disturbed")?;
                }
                tx.write(&path, "again")
            })
            .unwrap();
        assert_eq!((runs, ctx.client.read_str(&path).unwrap()), (2, "again".into()));
    }

    fn operations_inside_a_transaction_are_isolated(ctx) {
        let tx = ctx.client.start_transaction().unwrap();
        tx.write(ctx.path("a"), "1").unwrap();
        tx.mkdir(ctx.path("b")).unwrap();
        tx.mkdir(ctx.path("c")).unwrap();
        assert_eq!(tx.read(ctx.path("a")).unwrap(), b"1");
        tx.rm(ctx.path("c")).unwrap();
        assert!(!tx.exists(ctx.path("c")).unwrap());
        let mut names = tx.directory(ctx.root()).unwrap();
        names.sort();
        assert_eq!(names, ["a", "b"]);
        let perms = tx.get_perms(ctx.path("b")).unwrap().with(DomId::new(3), Access::Read);
        tx.set_perms(ctx.path("b"), &perms).unwrap();
        assert_eq!(tx.get_perms(ctx.path("b")).unwrap(), perms);
        // Nothing is visible outside yet.
        assert!(ctx.client.directory(ctx.root()).unwrap().is_empty());
        tx.commit().unwrap();
        assert_eq!(ctx.client.get_perms(ctx.path("b")).unwrap(), perms);
        assert_eq!(ctx.client.directory(ctx.root()).unwrap().len(), 2);
    }

    fn callback_receives_its_arguments(ctx) {
        let path = ctx.path("new");
        let (argument, seen) = ("an argument", Arc::new(Mutex::new(Vec::new())));
        let (sender, called) = channel();
        let callback = {
            let seen = seen.clone();
            move |event| {
                seen.lock().unwrap().push(argument);
                sender.send(event).unwrap();
            }
        };
        let token = ctx.client.watch_with(&path, callback).unwrap();
        called_for(&called, &path);
        ctx.client.write(&path, "1").unwrap();
        called_for(&called, &path);
        ctx.client.unwatch(token).unwrap();
        assert!(seen.lock().unwrap_or_else(PoisonError::into_inner).len() >= 2);
    }

    fn removed_watches_do_not_call_back(ctx) {
        let (sender, called) = channel();
        let watch = |name: &str| {
            let sender = sender.clone();
            ctx.client.watch_with(ctx.path(name), move |event| sender.send(event).unwrap()).unwrap()
        };
        let (a, _) = (watch("a"), watch("b"));
        called_for(&called, &ctx.path("a"));
        ctx.client.unwatch(a).unwrap();
        // Unknown watches are ignored.
        ctx.client.unwatch(a).unwrap();
        ctx.client.unwatch_all().unwrap();
        ctx.client.unwatch_all().unwrap();
        while called.try_recv().is_ok() {}

        // Nothing is delivered afterwards: the next event belongs to a new watch.
        ctx.client.write(ctx.path("a"), "1").unwrap();
        ctx.client.write(ctx.path("b"), "1").unwrap();
        watch("c");
        let event = called.recv_timeout(HANG_TIMEOUT).unwrap().unwrap();
        assert_eq!(&*event.path, ctx.path("c"));
        ctx.client.unwatch_all().unwrap();
    }

    fn watch_stop_pauses_callbacks(ctx) {
        let (sender, called) = channel();
        let path = ctx.path("a");
        let again = sender.clone();
        ctx.client.watch_with(&path, move |event| sender.send(event).unwrap()).unwrap();
        called_for(&called, &path);
        ctx.client.watch_stop();
        ctx.client.watch_stop();

        // Everything else works without the thread, including iterators.
        ctx.client.write(&path, "1").unwrap();
        assert_eq!(ctx.client.read(&path).unwrap(), b"1");
        let mut watch = ctx.client.watch(ctx.path("b")).unwrap();
        assert_eq!(next(&mut watch), ctx.path("b"));
        assert!(called.try_recv().is_err(), "the callback thread runs");

        // Another watch with a callback starts the thread, and pending events are delivered.
        let other = ctx.path("c");
        ctx.client.watch_with(&other, move |event| again.send(event).unwrap()).unwrap();
        called_for_all(&called, [&path, &other]);
    }

    fn relative_paths_start_at_the_home_of_the_domain(ctx) {
        // Clients of a daemon's socket act as dom0 and have a home as well.
        let home = ctx.client.get_domain_path(ctx.domid).unwrap();
        assert_eq!(home, format!("/local/domain/{}", ctx.domid));
        let relative = format!("data/xs-relative-{}", ctx.root().rsplit('-').next().unwrap());
        ctx.client.write(&relative, "here").unwrap();
        assert_eq!(ctx.client.read(format!("{home}/{relative}")).unwrap(), b"here");
        let mut watch = ctx.client.watch(&relative).unwrap();
        assert_eq!(next(&mut watch), relative);
        watch.remove().unwrap();
        ctx.client.rm(&relative).unwrap();
        if ctx.is_guest() {
            assert_eq!(ctx.client.read_parsed::<u16>("domid").unwrap(), ctx.domid.get());
            assert_eq!(ctx.client.write("/tool/x", "").unwrap_err().io_kind(),
                std::io::ErrorKind::PermissionDenied);
        }
    }
}

/// A function of a guest agent works on any connection.
#[test]
fn callers_need_not_know_the_transport() {
    fn publish(client: &Client) -> xs_client::Result<()> {
        client.write("data/os_name", "Debian")
    }
    let xenstored = xs_transport::mock::Xenstored::new();
    xenstored.seed("/local/domain/5/data [n5]").unwrap();
    publish(&Client::from_transport(xenstored.connect(DomId::new(5)))).unwrap();
    assert_eq!(xenstored.get("/local/domain/5/data/os_name").unwrap(), b"Debian");
}
