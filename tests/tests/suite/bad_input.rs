//! Invalid arguments: the call fails, nothing is sent, and the connection keeps working.

use xs_client::{Client, DomId, ErrorKind, Permissions, Result};
use xs_tests::on_every_backend;
use xs_transport::mock::Xenstored;

/// Paths that every daemon rejects.
const BAD_PATHS: [&str; 12] = [
    "",
    "a b",
    "/a/",
    "/local/domain/",
    "/local/domain/5/",
    "//",
    "/a//b",
    "/a\0b",
    "/ä",
    "a.b",
    "a\n",
    "/a\0evil/b",
];

/// Runs every operation that takes a path on this one.
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

on_every_backend! {
    fn invalid_paths_are_rejected(ctx) {
        let long = format!("/{}", "x".repeat(3072));
        let long_relative = "x".repeat(2049);
        let all = BAD_PATHS.into_iter().chain([&*long, &*long_relative]);
        for path in all {
            for (name, result) in every_operation(&ctx.client, path) {
                let error = result.unwrap_err();
                assert!(is_invalid(&error), "{path:?}: {error}");
                assert_eq!((error.operation(), error.path()), (name, Some(path)));
                // Control characters are escaped, so that they do not reach a terminal.
                assert!(!error.to_string().contains(['\0', '\n']), "{error:?}");
            }
        }
        assert_eq!(ctx.client.read(ctx.root()).unwrap(), b"");
    }

    fn long_payloads_are_rejected(ctx) {
        let path = ctx.path("a");
        let error = ctx.client.write(&path, vec![0; 4096]).unwrap_err();
        assert!(is_invalid(&error), "{error}");
        assert_eq!((error.operation(), error.path()), ("write", Some(&*path)));
        assert!(!ctx.client.exists(&path).unwrap());
        let error = ctx.client.control(["log".into(), "x".repeat(4096)]).unwrap_err();
        assert!(is_invalid(&error), "{error}");
        let error = ctx.client.control(["a\0b"]).unwrap_err();
        assert!(is_invalid(&error), "{error}");
        assert_eq!(error.operation(), "control");
        let error = ctx.client.get_quota("no\0des").unwrap_err();
        assert!(is_invalid(&error), "{error}");
    }

    fn long_permission_lists_are_rejected(ctx) {
        // They do not fit into one message.
        let mut perms = Permissions::owned_by(ctx.domid);
        for domid in 1..1000 {
            perms = perms.with(DomId::new(domid), xs_client::Access::Read);
        }
        let error = ctx.client.set_perms(ctx.root(), &perms).unwrap_err();
        assert!(is_invalid(&error), "{error}");
        assert_eq!((error.operation(), error.path()), ("set_perms", Some(ctx.root())));
    }

    fn empty_commands_are_rejected(ctx) {
        // Some daemons do not handle an empty payload before the next request arrives.
        let error = ctx.client.control::<&str>([]).unwrap_err();
        assert!(is_invalid(&error), "{error}");
        assert_eq!(ctx.client.read(ctx.root()).unwrap(), b"");
    }
}

#[test]
fn rejected_operations_send_nothing() {
    let xenstored = Xenstored::new();
    let client = Client::from_transport(xenstored.connect(DomId::DOM0));
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
fn connection_works_after_rejected_operations() {
    let client = Client::from_transport(Xenstored::new().connect(DomId::DOM0));
    client.read("not a path").unwrap_err();
    client.write("/a", "1").unwrap();
    let mixed = client.read_many(["/a", "not a path", "/a"]);
    assert!(mixed[0].is_ok() && mixed[1].is_err() && mixed[2].is_ok());
}
