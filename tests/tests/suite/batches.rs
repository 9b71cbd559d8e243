//! Several operations in one round trip.

use xs_client::{ErrorKind, op};
use xs_tests::on_every_site;

on_every_site! {
    fn results_come_in_order_each_with_its_own_error(on) {
        let (a, missing, b) = (on.path("a"), on.path("missing"), on.path("b"));
        on.client.write(&a, "1").unwrap();
        on.client.write(&b, "2").unwrap();
        let results = on.client.read_many([&*a, "not a path", &missing, &b, "//", &a]);
        let texts: Vec<_> = results
            .iter()
            .map(|result| match result {
                Ok(value) => String::from_utf8_lossy(value).into_owned(),
                Err(error) if error.is_not_found() => "missing".into(),
                Err(error) if matches!(error.kind(), ErrorKind::Invalid(_)) => "invalid".into(),
                Err(error) => error.to_string(),
            })
            .collect();
        assert_eq!(texts, ["1", "invalid", "missing", "2", "invalid", "1"]);
    }

    fn none_at_all(on) {
        assert!(on.client.read_many::<&str>([]).is_empty());
        assert!(on.client.write_many::<&str, &str>([]).is_empty());
        let []: [Vec<u8>; 0] = on.client.read_array([]).unwrap();
    }

    fn thousands_of_keys(on) {
        // A guest's quota is 1000 nodes, of which there are a few already, and the list of
        // children has to fit into one node.
        let count = if on.is_guest() { 300 } else { on.many(5000) };
        let pairs: Vec<_> = (0..count).map(|n| (on.path(&format!("k{n}")), n.to_string())).collect();
        for result in on.client.write_many(pairs.iter().map(|(path, value)| (path, value))) {
            result.unwrap();
        }
        let values = on.client.read_many(pairs.iter().map(|(path, _)| path));
        assert_eq!(values.len(), count);
        for ((_, expected), value) in pairs.iter().zip(values) {
            assert_eq!(value.unwrap(), expected.as_bytes());
        }
        for result in on.client.rm_many(pairs.iter().map(|(path, _)| path)) {
            result.unwrap();
        }
        assert!(on.client.directory(on.root()).unwrap().is_empty());
    }

    fn large_values_both_ways(on) {
        // More than any buffer on the way holds, and replies while requests still leave.
        let size = if on.is_guest() || on.is_ocaml { 1000 } else { 3900 };
        let path = on.path("v");
        let value = vec![b'x'; size];
        for result in on.client.write_many((0..on.many(500)).map(|_| (&path, &value))) {
            result.unwrap();
        }
        for read in on.client.read_many((0..on.many(500)).map(|_| &path)) {
            assert_eq!(read.unwrap(), value);
        }
    }

    fn carried_out_in_order(on) {
        let path = on.path("v");
        let writes = (0..100).map(|n: u32| (&path, n.to_string()));
        for result in on.client.write_many(writes) {
            result.unwrap();
        }
        assert_eq!(on.client.read_parsed::<u32>(&path).unwrap(), 99);
    }

    fn operations_by_hand(on) {
        let (a, b) = (on.path("a"), on.path("b"));
        let done = on.client.run_all([op::write(&a, "1"), op::mkdir(&b), op::rm(&a)]);
        assert!(done.iter().all(Result::is_ok), "{done:?}");
        let there = on.client.exists_many([&a, &b]).into_iter().map(Result::unwrap);
        assert_eq!(there.collect::<Vec<_>>(), [false, true]);
    }

    fn inside_a_transaction(on) {
        let paths: Vec<_> = (0..on.many(200)).map(|n| on.path(&format!("k{n}"))).collect();
        let tx = on.client.start_transaction().unwrap();
        for result in tx.write_many(paths.iter().map(|path| (path, "x"))) {
            result.unwrap();
        }
        assert!(tx.exists_many(&paths).into_iter().all(Result::unwrap));
        assert!(!on.client.exists_many(&paths).into_iter().any(Result::unwrap));
        tx.commit().unwrap();
        assert!(on.client.exists_many(&paths).into_iter().all(Result::unwrap));
    }
}
