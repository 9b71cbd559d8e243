//! Who may do what.

use std::io;

use xs_client::{Access, DomId, Permissions};
use xs_tests::on_every_site;

on_every_site! {
    fn set_and_got_in_order(on) {
        let path = on.path("a");
        on.client.mkdir(&path).unwrap();
        for others in ["", "r1", "b9 r3 w4", "n9 n8"] {
            for everyone in ["n", "r", "w", "b"] {
                let perms: Permissions = format!("{everyone}{} {others}", on.domid).parse().unwrap();
                on.client.set_perms(&path, &perms).unwrap();
                assert_eq!(on.client.get_perms(&path).unwrap(), perms);
            }
        }
    }

    fn several_in_one_round_trip(on) {
        let paths = [on.path("a"), on.path("b"), on.path("missing")];
        on.client.mkdir_many(&paths[..2]).into_iter().for_each(Result::unwrap);
        let perms = Permissions::owned_by(on.domid, Access::Read).with(DomId::new(3), Access::Write);
        let set = on.client.set_perms_many(paths.iter().map(|path| (path, &perms)));
        let got = on.client.get_perms_many(&paths);
        assert!(set[0].is_ok() && set[1].is_ok());
        assert!(set[2].as_ref().unwrap_err().is_not_found());
        assert_eq!(got[0].as_ref().unwrap(), &perms);
        assert_eq!(got[1].as_ref().unwrap(), &perms);
        assert!(got[2].as_ref().unwrap_err().is_not_found());
    }

    fn they_bind_other_guests(on) {
        let Some(stranger) = on.stranger() else { return };
        let path = on.path("a");
        on.client.write(&path, "mine").unwrap();
        // Those above need not be readable.
        let closed = Permissions::owned_by(on.domid, Access::None);
        on.client.set_perms(&path, &closed).unwrap();
        for error in [
            stranger.client.read(&path).unwrap_err(),
            stranger.client.write(&path, "yours").unwrap_err(),
            stranger.client.directory(&path).unwrap_err(),
            stranger.client.exists(&path).unwrap_err(),
        ] {
            assert_eq!(error.code().unwrap().name(), "EACCES", "{error}");
            assert_eq!(error.io_kind(), io::ErrorKind::PermissionDenied);
        }
        on.client.set_perms(&path, &closed.clone().with(stranger.domid, Access::Read)).unwrap();
        assert_eq!(stranger.client.read(&path).unwrap(), b"mine");
        assert!(stranger.client.write(&path, "yours").is_err());
        on.client.set_perms(&path, &closed.with(stranger.domid, Access::ReadWrite)).unwrap();
        stranger.client.write(&path, "yours").unwrap();
        assert_eq!(on.client.read(&path).unwrap(), b"yours");
        // Only the owner gives rights away.
        let all = Permissions::owned_by(stranger.domid, Access::ReadWrite);
        assert!(stranger.client.set_perms(&path, &all).is_err());
    }

    fn a_guests_node_belongs_to_the_guest(on) {
        let path = on.path("a");
        on.client.mkdir(&path).unwrap();
        assert_eq!(on.client.get_perms(&path).unwrap().owner().domid, on.domid);
    }
}
