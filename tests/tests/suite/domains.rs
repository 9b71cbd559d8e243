//! Domains, features, quotas, and the daemon itself.

use std::io;

use xs_client::{DomId, ErrorCode};
use xs_tests::on_every_site;

on_every_site! {
    fn the_home_of_a_domain(on) {
        for domid in [0, 1, 5, 32751] {
            let path = on.client.get_domain_path(DomId::new(domid)).unwrap();
            assert_eq!(path, format!("/local/domain/{domid}"));
        }
    }

    fn who_is_introduced(on) {
        let known = on.client.is_domain_introduced(DomId::DOM0);
        if on.is_guest() {
            // Some daemons tell guests, some do not.
            assert!(known.is_ok() || known.as_ref().unwrap_err().io_kind()
                == io::ErrorKind::PermissionDenied, "{known:?}");
        } else {
            assert!(known.unwrap());
            assert!(!on.client.is_domain_introduced(DomId::new(31000)).unwrap());
        }
    }

    fn guests_may_not_manage_domains(on) {
        if !on.is_guest() {
            return;
        }
        let domid = DomId::new(31001);
        for (name, result) in [
            ("introduce", on.client.introduce(domid, 1, 1)),
            ("release", on.client.release(domid)),
            ("resume", on.client.resume(domid)),
            ("set_target", on.client.set_target(domid, DomId::DOM0)),
        ] {
            let error = result.unwrap_err();
            assert_eq!(error.operation(), name);
            assert_eq!(error.code(), Some(&ErrorCode::Access), "{error}");
        }
    }

    fn a_domain_that_is_not_there(on) {
        if on.is_guest() {
            return;
        }
        // It was never introduced.
        let domid = DomId::new(31002);
        for result in [on.client.release(domid), on.client.resume(domid)] {
            let error = result.unwrap_err();
            assert!(error.code().is_some(), "{error}");
        }
        assert!(on.client.read("/").is_ok());
    }

    fn control_commands(on) {
        // What they do is the daemon's own affair; that they are answered is ours.
        let answer = on.client.control(["help"]);
        if on.is_guest() && !on.is_ocaml {
            let error = answer.unwrap_err();
            assert_eq!(error.code(), Some(&ErrorCode::Access), "{error}");
            assert_eq!(error.operation(), "control");
        }
        match on.client.control(["no-such-command"]) {
            Ok(answer) => assert!(on.is_ocaml, "{answer:?}"),
            Err(error) => assert!(error.code().is_some(), "{error}"),
        }
    }

    fn features(on) {
        let features = on.client.get_features();
        if !on.is_modern {
            assert_eq!(features.unwrap_err().code(), Some(&ErrorCode::NotSupported));
            return;
        }
        if on.is_guest() {
            assert_eq!(features.unwrap_err().code(), Some(&ErrorCode::Access));
            return;
        }
        // ERROR and WATCHDEPTH at the least.
        assert_eq!(features.unwrap() & 6, 6);
        let own = on.client.get_domain_features(DomId::DOM0).unwrap();
        assert_eq!(own & 4, 4);
        // Too late for one that is introduced.
        let error = on.client.set_domain_features(DomId::new(5), 0).unwrap_err();
        assert_eq!(error.code(), Some(&ErrorCode::Busy), "{error}");
    }

    fn quotas(on) {
        let quotas = on.client.quotas();
        if !on.is_modern {
            assert_eq!(quotas.unwrap_err().code(), Some(&ErrorCode::NotSupported));
            let error = on.client.set_quota("nodes", 1).unwrap_err();
            assert_eq!(error.code(), Some(&ErrorCode::NotSupported));
            return;
        }
        if on.is_guest() {
            assert_eq!(quotas.unwrap_err().code(), Some(&ErrorCode::Access));
            return;
        }
        let quotas = quotas.unwrap();
        assert!(quotas.iter().any(|name| name == "watches"), "{quotas:?}");
        let watches = on.client.get_quota("watches").unwrap();
        assert!(watches > 0);
        let guest = DomId::new(5);
        let own = on.client.get_domain_quota(guest, "watches").unwrap();
        assert!(own > 0);
        on.client.set_domain_quota(guest, "watches", own + 1).unwrap();
        assert_eq!(on.client.get_domain_quota(guest, "watches").unwrap(), own + 1);
        on.client.set_domain_quota(guest, "watches", own).unwrap();
        assert!(on.client.get_quota("no-such-quota").is_err());
        on.client.set_quota("watches", watches).unwrap();
        assert_eq!(on.client.get_quota("watches").unwrap(), watches);
    }
}
