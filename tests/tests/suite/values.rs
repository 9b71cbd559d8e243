//! Reads and writes of single nodes.

use std::io;
use std::time::Duration;

use xs_client::ErrorKind;
use xs_tests::{HANG_TIMEOUT, on_every_backend};

on_every_backend! {
    fn values_are_bytes(ctx) {
        let path = ctx.path("v");
        let every_byte: Vec<u8> = (0..=255).collect();
        for value in [&b""[..], b"\0", b"a\0", b"\0\0\0", b" a ", b"a\n", b"\xff\xfe", &every_byte] {
            ctx.client.write(&path, value).unwrap();
            assert_eq!(ctx.client.read(&path).unwrap(), value);
        }
    }

    fn text_and_numbers_are_converted(ctx) {
        let path = ctx.path("v");
        ctx.client.write_display(&path, -17).unwrap();
        assert_eq!(ctx.client.read_parsed::<i32>(&path).unwrap(), -17);
        assert_eq!(ctx.client.read_str(&path).unwrap(), "-17");

        let error = ctx.client.read_parsed::<u8>(&path).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unexpected(_)), "{error}");
        assert_eq!((error.operation(), error.path()), ("read", Some(&*path)));
        assert_eq!(error.io_kind(), io::ErrorKind::InvalidData);
        ctx.client.write(&path, b"\xff").unwrap();
        assert!(matches!(ctx.client.read_str(&path).unwrap_err().kind(), ErrorKind::Unexpected(_)));
        // The connection is not affected.
        assert_eq!(ctx.client.read(&path).unwrap(), b"\xff");
    }

    fn longest_value_is_written_or_exceeds_the_quota(ctx) {
        let path = ctx.path("v");
        let max = if ctx.is_device() { 4080 } else { 4096 };
        let value = vec![b'x'; max - path.len() - 1];
        let written = ctx.client.write(&path, &value);
        match written {
            Ok(()) => {
                assert!(!ctx.is_guest(), "the quota holds for guests");
                assert_eq!(ctx.client.read(&path).unwrap(), value);
            }
            // The quota has an error name of its own. oxenstored's holds for dom0 as well.
            Err(error) => {
                assert!(ctx.is_guest() || ctx.is_oxenstored, "{error}");
                let name = error.code().unwrap().name();
                assert!(["ENOSPC", "E2BIG", "EQUOTA"].contains(&name), "{error}");
                assert_eq!((error.operation(), error.path()), ("write", Some(&*path)));
            }
        }
        let error = ctx.client.write(&path, [value, b"x".into()].concat()).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Invalid(_)), "{error}");
    }

    fn missing_parents_are_created(ctx) {
        ctx.client.write(ctx.path("a/b/c"), "1").unwrap();
        assert_eq!(ctx.client.read(ctx.path("a/b")).unwrap(), b"");
        ctx.client.mkdir(ctx.path("d/e")).unwrap();
        assert!(ctx.client.exists(ctx.path("d")).unwrap());
    }

    fn mkdir_keeps_an_existing_node(ctx) {
        let path = ctx.path("a");
        ctx.client.write(&path, "kept").unwrap();
        ctx.client.mkdir(&path).unwrap();
        assert_eq!(ctx.client.read(&path).unwrap(), b"kept");
    }

    fn rm_removes_descendants_and_ignores_missing_nodes(ctx) {
        ctx.client.write(ctx.path("a/b/c"), "1").unwrap();
        ctx.client.rm(ctx.path("a")).unwrap();
        assert!(!ctx.client.exists(ctx.path("a/b/c")).unwrap());
        ctx.client.rm(ctx.path("a")).unwrap();
        // A missing parent is an error.
        let error = ctx.client.rm(ctx.path("x/y")).unwrap_err();
        assert!(error.is_not_found(), "{error}");
        assert_eq!(error.operation(), "rm");
    }

    fn missing_nodes_are_not_found(ctx) {
        let path = ctx.path("missing");
        assert!(!ctx.client.exists(&path).unwrap());
        for error in [
            ctx.client.read(&path).unwrap_err(),
            ctx.client.directory(&path).unwrap_err(),
            ctx.client.get_perms(&path).unwrap_err(),
        ] {
            assert!(error.is_not_found(), "{error}");
            assert_eq!(error.path(), Some(&*path));
        }
    }

    fn timeouts_may_be_absent_or_endless(ctx) {
        let path = ctx.path("v");
        ctx.client.with_timeout(None).write(&path, "1").unwrap();
        assert_eq!(ctx.client.with_timeout(Duration::MAX).read(&path).unwrap(), b"1");
        assert_eq!(ctx.client.with_timeout(HANG_TIMEOUT).read(&path).unwrap(), b"1");
    }
}
