//! Permissions of nodes.

use std::io;

use xs_client::{Access, DomId, Permissions};
use xs_tests::on_every_backend;

on_every_backend! {
    fn permissions_keep_their_order(ctx) {
        let path = ctx.path("a");
        ctx.client.mkdir(&path).unwrap();
        for others in ["", "r1", "b9 r3 w4", "n9 n8"] {
            for everyone in ["n", "r", "w", "b"] {
                let perms: Permissions = format!("{everyone}{} {others}", ctx.domid).parse().unwrap();
                ctx.client.set_perms(&path, &perms).unwrap();
                assert_eq!(ctx.client.get_perms(&path).unwrap(), perms);
            }
        }
    }

    fn permissions_of_several_nodes_are_set_and_read_in_one_batch(ctx) {
        let paths = [ctx.path("a"), ctx.path("b"), ctx.path("missing")];
        ctx.client.mkdir_many(&paths[..2]).into_iter().for_each(Result::unwrap);
        let perms = Permissions::owned_by(ctx.domid).with_default(Access::Read).with(DomId::new(3), Access::Write);
        let set = ctx.client.set_perms_many(paths.iter().map(|path| (path, &perms)));
        let got = ctx.client.get_perms_many(&paths);
        assert!(set[0].is_ok() && set[1].is_ok());
        assert!(set[2].as_ref().unwrap_err().is_not_found());
        assert_eq!(got[0].as_ref().unwrap(), &perms);
        assert_eq!(got[1].as_ref().unwrap(), &perms);
        assert!(got[2].as_ref().unwrap_err().is_not_found());
    }

    fn permissions_restrict_other_guests(ctx) {
        let Some(other) = ctx.other_guest() else { return };
        let path = ctx.path("a");
        ctx.client.write(&path, "mine").unwrap();
        // The nodes above need not be readable.
        let closed = Permissions::owned_by(ctx.domid);
        ctx.client.set_perms(&path, &closed).unwrap();
        for error in [
            other.client.read(&path).unwrap_err(),
            other.client.write(&path, "yours").unwrap_err(),
            other.client.directory(&path).unwrap_err(),
            other.client.exists(&path).unwrap_err(),
        ] {
            assert_eq!(error.code().unwrap().name(), "EACCES", "{error}");
            assert_eq!(error.io_kind(), io::ErrorKind::PermissionDenied);
        }
        ctx.client.set_perms(&path, &closed.clone().with(other.domid, Access::Read)).unwrap();
        assert_eq!(other.client.read(&path).unwrap(), b"mine");
        assert!(other.client.write(&path, "yours").is_err());
        ctx.client.set_perms(&path, &closed.with(other.domid, Access::ReadWrite)).unwrap();
        other.client.write(&path, "yours").unwrap();
        assert_eq!(ctx.client.read(&path).unwrap(), b"yours");
        // Only the owner may change permissions.
        let all = Permissions::owned_by(other.domid).with_default(Access::ReadWrite);
        assert!(other.client.set_perms(&path, &all).is_err());
    }

    fn new_nodes_belong_to_their_creator(ctx) {
        let path = ctx.path("a");
        ctx.client.mkdir(&path).unwrap();
        assert_eq!(ctx.client.get_perms(&path).unwrap().owner().domid, ctx.domid);
    }
}
