//! Requests about domains, features, quotas and the daemon.

use std::io;
use std::sync::{Mutex, PoisonError};

use xs_client::{DomId, ErrorCode, Features, Quota};
use xs_tests::on_every_backend;

/// Held while a test sets quotas.
static QUOTAS: Mutex<()> = Mutex::new(());

on_every_backend! {
    fn domain_path_is_the_home_of_the_domain(ctx) {
        for domid in [0, 1, 5, 32751] {
            let path = ctx.client.get_domain_path(DomId::new(domid)).unwrap();
            assert_eq!(path, format!("/local/domain/{domid}"));
        }
    }

    fn introduced_domains_are_known_to_dom0(ctx) {
        let known = ctx.client.is_domain_introduced(DomId::DOM0);
        if ctx.is_guest() {
            // Some daemons answer guests, some refuse.
            assert!(known.is_ok() || known.as_ref().unwrap_err().io_kind()
                == io::ErrorKind::PermissionDenied, "{known:?}");
        } else {
            assert!(known.unwrap());
            assert!(!ctx.client.is_domain_introduced(DomId::new(31000)).unwrap());
        }
    }

    fn guests_may_not_manage_domains(ctx) {
        if !ctx.is_guest() {
            return;
        }
        let domid = DomId::new(31001);
        for (name, result) in [
            ("introduce", ctx.client.introduce(domid, 1, 1)),
            ("release", ctx.client.release(domid)),
            ("resume", ctx.client.resume(domid)),
            ("set_target", ctx.client.set_target(domid, DomId::DOM0)),
        ] {
            let error = result.unwrap_err();
            assert_eq!(error.operation(), name);
            assert_eq!(error.code(), Some(&ErrorCode::Access), "{error}");
        }
    }

    fn unknown_domains_are_errors(ctx) {
        if ctx.is_guest() {
            return;
        }
        // This domain was never introduced.
        let domid = DomId::new(31002);
        for result in [ctx.client.release(domid), ctx.client.resume(domid)] {
            let error = result.unwrap_err();
            assert!(error.code().is_some(), "{error}");
        }
        assert!(ctx.client.read("/").is_ok());
    }

    fn control_commands_are_answered(ctx) {
        // The effect of a command depends on the daemon. Only the reply is tested.
        let answer = ctx.client.control(["help"]);
        if ctx.is_guest() && !ctx.is_oxenstored {
            let error = answer.unwrap_err();
            assert_eq!(error.code(), Some(&ErrorCode::Access), "{error}");
            assert_eq!(error.operation(), "control");
        }
        match ctx.client.control(["no-such-command"]) {
            Ok(answer) => assert!(ctx.is_oxenstored, "{answer:?}"),
            Err(error) => assert!(error.code().is_some(), "{error}"),
        }
    }

    fn features_of_other_domains_are_read_by_dom0_only(ctx) {
        let features = ctx.client.get_features();
        if !ctx.is_modern {
            assert_eq!(features.unwrap_err().code(), Some(&ErrorCode::NotSupported));
            return;
        }
        let features = features.unwrap();
        assert!(features.contains(Features::ERROR | Features::WATCH_DEPTH), "{features}");
        if ctx.is_guest() {
            let error = ctx.client.get_domain_features(DomId::DOM0).unwrap_err();
            assert_eq!(error.code(), Some(&ErrorCode::Access), "{error}");
            return;
        }
        let own = ctx.client.get_domain_features(DomId::DOM0).unwrap();
        assert!(own.contains(Features::WATCH_DEPTH), "{own}");
        // The features of an introduced domain cannot change.
        let error = ctx.client.set_domain_features(DomId::DOM0, Features::NONE).unwrap_err();
        assert_eq!(error.code(), Some(&ErrorCode::Busy), "{error}");
    }

    fn quotas_are_read_and_set_by_dom0_only(ctx) {
        let quotas = ctx.client.quotas();
        if !ctx.is_modern {
            assert_eq!(quotas.unwrap_err().code(), Some(&ErrorCode::NotSupported));
            let error = ctx.client.set_quota("nodes", 1).unwrap_err();
            assert_eq!(error.code(), Some(&ErrorCode::NotSupported));
            return;
        }
        if ctx.is_guest() {
            assert_eq!(quotas.unwrap_err().code(), Some(&ErrorCode::Access));
            return;
        }
        let quotas = quotas.unwrap();
        assert!(quotas.contains(&Quota::Watches), "{quotas:?}");
        let watches = ctx.client.get_quota(Quota::Watches).unwrap();
        assert!(watches > 0);
        // Several backends may reach the same daemon.
        let _alone = QUOTAS.lock().unwrap_or_else(PoisonError::into_inner);
        // A domain that exists on each machine, and that quotas do not restrict.
        let domid = DomId::DOM0;
        let own = ctx.client.get_domain_quota(domid, "watches").unwrap();
        assert!(own > 0);
        ctx.client.set_domain_quota(domid, "watches", own + 1).unwrap();
        assert_eq!(ctx.client.get_domain_quota(domid, "watches").unwrap(), own + 1);
        ctx.client.set_domain_quota(domid, "watches", own).unwrap();
        assert!(ctx.client.get_quota("no-such-quota").is_err());
        ctx.client.set_quota("watches", watches).unwrap();
        assert_eq!(ctx.client.get_quota(Quota::Watches).unwrap(), watches);
    }
}
