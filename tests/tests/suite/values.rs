//! Reading and writing one node.

use std::io;
use std::time::Duration;

use xs_client::ErrorKind;
use xs_tests::on_every_site;

on_every_site! {
    fn values_are_bytes(on) {
        let path = on.path("v");
        let every_byte: Vec<u8> = (0..=255).collect();
        for value in [&b""[..], b"\0", b"a\0", b"\0\0\0", b" a ", b"a\n", b"\xff\xfe", &every_byte] {
            on.client.write(&path, value).unwrap();
            assert_eq!(on.client.read(&path).unwrap(), value);
        }
    }

    fn text_and_numbers(on) {
        let path = on.path("v");
        on.client.write_display(&path, -17).unwrap();
        assert_eq!(on.client.read_parsed::<i32>(&path).unwrap(), -17);
        assert_eq!(on.client.read_str(&path).unwrap(), "-17");

        let error = on.client.read_parsed::<u8>(&path).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unexpected(_)), "{error}");
        assert_eq!((error.operation(), error.path()), ("read", Some(&*path)));
        assert_eq!(error.io_kind(), io::ErrorKind::InvalidData);
        on.client.write(&path, b"\xff").unwrap();
        assert!(matches!(on.client.read_str(&path).unwrap_err().kind(), ErrorKind::Unexpected(_)));
        // That is no matter of the connection's.
        assert_eq!(on.client.read(&path).unwrap(), b"\xff");
    }

    fn a_value_as_long_as_it_can_be(on) {
        let path = on.path("v");
        let max = if on.is_device() { 4080 } else { 4096 };
        let value = vec![b'x'; max - path.len() - 1];
        let written = on.client.write(&path, &value);
        match written {
            Ok(()) => {
                assert!(!on.is_guest(), "the quota holds for guests");
                assert_eq!(on.client.read(&path).unwrap(), value);
            }
            // A refusal that is told from others. oxenstored's holds for dom0 as well.
            Err(error) => {
                assert!(on.is_guest() || on.is_ocaml, "{error}");
                let name = error.code().unwrap().name();
                assert!(["ENOSPC", "E2BIG", "EQUOTA"].contains(&name), "{error}");
                assert_eq!((error.operation(), error.path()), ("write", Some(&*path)));
            }
        }
        let error = on.client.write(&path, [value, b"x".into()].concat()).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Invalid(_)), "{error}");
    }

    fn parents_come_by_themselves(on) {
        on.client.write(&on.path("a/b/c"), "1").unwrap();
        assert_eq!(on.client.read(&on.path("a/b")).unwrap(), b"");
        on.client.mkdir(&on.path("d/e")).unwrap();
        assert!(on.client.exists(&on.path("d")).unwrap());
    }

    fn mkdir_keeps_what_is_there(on) {
        let path = on.path("a");
        on.client.write(&path, "kept").unwrap();
        on.client.mkdir(&path).unwrap();
        assert_eq!(on.client.read(&path).unwrap(), b"kept");
    }

    fn rm_takes_all_below_and_forgives_what_is_missing(on) {
        on.client.write(&on.path("a/b/c"), "1").unwrap();
        on.client.rm(&on.path("a")).unwrap();
        assert!(!on.client.exists(&on.path("a/b/c")).unwrap());
        on.client.rm(&on.path("a")).unwrap();
        // Unless there is no parent either.
        let error = on.client.rm(&on.path("x/y")).unwrap_err();
        assert!(error.is_not_found(), "{error}");
        assert_eq!(error.operation(), "rm");
    }

    fn operations_on_what_is_missing(on) {
        let path = on.path("missing");
        assert!(!on.client.exists(&path).unwrap());
        for error in [
            on.client.read(&path).unwrap_err(),
            on.client.directory(&path).unwrap_err(),
            on.client.get_perms(&path).unwrap_err(),
        ] {
            assert!(error.is_not_found(), "{error}");
            assert_eq!(error.path(), Some(&*path));
        }
    }

    fn the_deadline_may_be_none_or_endless(on) {
        let path = on.path("v");
        on.client.with_timeout(None).write(&path, "1").unwrap();
        assert_eq!(on.client.with_timeout(Duration::MAX).read(&path).unwrap(), b"1");
        assert_eq!(on.client.with_timeout(Duration::from_secs(5)).read(&path).unwrap(), b"1");
    }
}
