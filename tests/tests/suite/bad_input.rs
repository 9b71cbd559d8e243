//! What callers get wrong: an error that says so, nothing sent, and the connection is fine.

use xs_client::{Client, DomId, ErrorKind, Permissions, Result};
use xs_tests::on_every_site;
use xs_transport::mock::Xenstored;

/// What no daemon takes for a path.
const BAD_PATHS: [&str; 10] =
    ["", "a b", "/a/", "//", "/a//b", "/a\0b", "/ä", "a.b", "a\n", "/a\0evil/b"];

/// All operations that take a path, on this one.
fn every_operation(client: &Client, path: &str) -> Vec<(&'static str, Result<()>)> {
    let perms: Permissions = "n0".parse().unwrap();
    vec![
        ("read", client.read(path).map(drop)),
        ("read", client.exists(path).map(drop)),
        ("read", client.read_str(path).map(drop)),
        ("write", client.write(path, "x")),
        ("mkdir", client.mkdir(path)),
        ("rm", client.rm(path)),
        ("directory", client.directory(path).map(drop)),
        ("get_perms", client.get_perms(path).map(drop)),
        ("set_perms", client.set_perms(path, &perms)),
        ("watch", client.watch(path).map(drop)),
        ("watch", client.watch_with(path, |_| ()).map(drop)),
        ("watch", client.wait_for(path, None, |_| true).map(drop)),
        ("read", client.read_many([path]).remove(0).map(drop)),
        ("write", client.write_many([(path, "x")]).remove(0)),
    ]
}

fn is_invalid(error: &xs_client::Error) -> bool {
    matches!(error.kind(), ErrorKind::Invalid(_))
        && error.io_kind() == std::io::ErrorKind::InvalidInput
}

on_every_site! {
    fn bad_paths(on) {
        let long = format!("/{}", "x".repeat(3072));
        let long_relative = "x".repeat(2049);
        let all = BAD_PATHS.into_iter().chain([&*long, &*long_relative]);
        for path in all {
            for (name, result) in every_operation(&on.client, path) {
                let error = result.unwrap_err();
                assert!(is_invalid(&error), "{path:?}: {error}");
                assert_eq!((error.operation(), error.path()), (name, Some(path)));
                // Its oddities can be seen, and do nothing to a terminal.
                assert!(!error.to_string().contains(['\0', '\n']), "{error:?}");
            }
        }
        assert_eq!(on.client.read(on.root()).unwrap(), b"");
    }

    fn too_long_a_payload(on) {
        let path = on.path("a");
        let error = on.client.write(&path, vec![0; 4096]).unwrap_err();
        assert!(is_invalid(&error), "{error}");
        assert_eq!((error.operation(), error.path()), ("write", Some(&*path)));
        assert!(!on.client.exists(&path).unwrap());
        let error = on.client.control(["log".into(), "x".repeat(4096)]).unwrap_err();
        assert!(is_invalid(&error), "{error}");
        let error = on.client.control(["a\0b"]).unwrap_err();
        assert!(is_invalid(&error), "{error}");
        assert_eq!(error.operation(), "control");
        let error = on.client.get_quota("no\0des").unwrap_err();
        assert!(is_invalid(&error), "{error}");
    }

    fn too_many_permissions(on) {
        // More than one message holds.
        let mut perms = Permissions::owned_by(on.domid, xs_client::Access::None);
        for domid in 1..1000 {
            perms = perms.with(DomId::new(domid), xs_client::Access::Read);
        }
        let error = on.client.set_perms(on.root(), &perms).unwrap_err();
        assert!(is_invalid(&error), "{error}");
        assert_eq!((error.operation(), error.path()), ("set_perms", Some(on.root())));
    }

    fn a_command_without_words(on) {
        // Some daemons would not notice such a request before another one comes.
        let error = on.client.control::<&str>([]).unwrap_err();
        assert!(is_invalid(&error), "{error}");
        assert_eq!(on.client.read(on.root()).unwrap(), b"");
    }
}

#[test]
fn nothing_is_sent() {
    let xenstored = Xenstored::new();
    let client = Client::over(xenstored.connect(DomId::DOM0));
    xenstored.record();
    for path in BAD_PATHS {
        for (_, result) in every_operation(&client, path) {
            result.unwrap_err();
        }
    }
    client.write("/a", vec![0; 4096]).unwrap_err();
    assert_eq!(xenstored.take_records(), []);
    assert_eq!(xenstored.watches(DomId::DOM0), []);
}

#[test]
fn the_connection_is_fine_afterwards() {
    let client = Client::over(Xenstored::new().connect(DomId::DOM0));
    client.read("not a path").unwrap_err();
    client.write("/a", "1").unwrap();
    let mixed = client.read_many(["/a", "not a path", "/a"]);
    assert!(mixed[0].is_ok() && mixed[1].is_err() && mixed[2].is_ok());
}
