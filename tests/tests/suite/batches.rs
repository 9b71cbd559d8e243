//! Several operations in one round trip.

use xs_client::{ErrorKind, op};
use xs_tests::on_every_backend;

on_every_backend! {
    fn results_have_the_order_of_the_operations_and_separate_errors(ctx) {
        let (a, missing, b) = (ctx.path("a"), ctx.path("missing"), ctx.path("b"));
        ctx.client.write(&a, "1").unwrap();
        ctx.client.write(&b, "2").unwrap();
        let results = ctx.client.read_many([&*a, "not a path", &missing, &b, "//", &a]);
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

    fn empty_batches_have_no_results(ctx) {
        assert!(ctx.client.read_many::<&str>([]).is_empty());
        assert!(ctx.client.write_many::<&str, &str>([]).is_empty());
        let []: [Vec<u8>; 0] = ctx.client.read_array([""; 0]).unwrap();
    }

    fn thousands_of_keys_are_written_read_and_removed(ctx) {
        // A guest may own 1000 nodes, a few of which exist already, and the list of children must
        // fit into one node.
        let count = if ctx.is_guest() { ctx.load(300).max(100) } else { ctx.load(5000) };
        let pairs: Vec<_> = (0..count).map(|n| (ctx.path(&format!("k{n}")), n.to_string())).collect();
        for result in ctx.client.write_many(pairs.iter().map(|(path, value)| (path, value))) {
            result.unwrap();
        }
        let values = ctx.client.read_many(pairs.iter().map(|(path, _)| path));
        assert_eq!(values.len(), count);
        for ((_, expected), value) in pairs.iter().zip(values) {
            assert_eq!(value.unwrap(), expected.as_bytes());
        }
        for result in ctx.client.rm_many(pairs.iter().map(|(path, _)| path)) {
            result.unwrap();
        }
        assert!(ctx.client.directory(ctx.root()).unwrap().is_empty());
    }

    fn large_values_do_not_block_either_direction(ctx) {
        // More bytes than all buffers hold, so that replies come while requests are still being sent.
        let size = if ctx.is_guest() || ctx.is_oxenstored { 1000 } else { 3900 };
        let path = ctx.path("v");
        let value = vec![b'x'; size];
        for result in ctx.client.write_many((0..ctx.load(500)).map(|_| (&path, &value))) {
            result.unwrap();
        }
        for read in ctx.client.read_many((0..ctx.load(500)).map(|_| &path)) {
            assert_eq!(read.unwrap(), value);
        }
    }

    fn operations_run_in_order(ctx) {
        let path = ctx.path("v");
        let count = ctx.load(100);
        let writes = (0..count).map(|n| (&path, n.to_string()));
        for result in ctx.client.write_many(writes) {
            result.unwrap();
        }
        assert_eq!(ctx.client.read_parsed::<usize>(&path).unwrap(), count - 1);
    }

    fn different_operations_run_in_one_batch(ctx) {
        let (a, b) = (ctx.path("a"), ctx.path("b"));
        let done = ctx.client.run_many([op::write(&a, "1"), op::mkdir(&b), op::rm(&a)]);
        assert!(done.iter().all(Result::is_ok), "{done:?}");
        let there = ctx.client.exists_many([&a, &b]).into_iter().map(Result::unwrap);
        assert_eq!(there.collect::<Vec<_>>(), [false, true]);
    }

    fn first_error_of_a_batch_names_its_path(ctx) {
        let [a, b, missing] = ["a", "b", "missing/x"].map(|name| ctx.path(name));
        ctx.client.write_all([(&a, "1"), (&b, "2")]).unwrap();
        assert_eq!(ctx.client.read_all([&a, &b]).unwrap(), [b"1", b"2"]);

        let error = ctx.client.read_all([&*a, &missing, "not a path"]).unwrap_err();
        assert_eq!(error.path(), Some(&*missing));
        // Requests after a failed one are carried out, too.
        let error = ctx.client.write_all([("not a path", "3"), (&*a, "3")]).unwrap_err();
        assert_eq!(error.path(), Some("not a path"));
        assert_eq!(ctx.client.read(&a).unwrap(), b"3");

        let c = ctx.path("c");
        ctx.client.mkdir_all([&b, &c]).unwrap();
        assert_eq!(ctx.client.read_all([&b, &c]).unwrap(), [&b"2"[..], b""]);
        ctx.client.rm_all([&a, &b, &c]).unwrap();
        assert!(!ctx.client.exists(&a).unwrap());
        assert_eq!(ctx.client.rm_all([&*a, &missing]).unwrap_err().path(), Some(&*missing));
    }

    fn batches_run_inside_a_transaction(ctx) {
        let paths: Vec<_> = (0..ctx.load(200)).map(|n| ctx.path(&format!("k{n}"))).collect();
        let tx = ctx.client.start_transaction().unwrap();
        for result in tx.write_many(paths.iter().map(|path| (path, "x"))) {
            result.unwrap();
        }
        assert!(tx.exists_many(&paths).into_iter().all(Result::unwrap));
        assert!(!ctx.client.exists_many(&paths).into_iter().any(Result::unwrap));
        tx.commit().unwrap();
        assert!(ctx.client.exists_many(&paths).into_iter().all(Result::unwrap));
    }
}
