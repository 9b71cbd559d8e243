//! The nodes that a toolstack creates for a guest.

use xs_proto::{Access, DomId, Permissions};

use super::daemon::Daemon;

/// The nodes that a guest may read in its home, in the order in which libxl creates them.
///
/// They are those of PV and PVH guests on Xen 4.17, except for `store` and `console`, which
/// describe rings and event channels.
const READABLE: [(&str, &str); 12] = [
    ("cpu", ""),
    ("cpu/0", ""),
    ("cpu/0/availability", "online"),
    ("memory", ""),
    ("memory/static-max", "262144"),
    ("memory/target", "262144"),
    ("memory/videoram", "0"),
    ("device", ""),
    ("device/suspend", ""),
    ("control", ""),
    ("control/platform-feature-multiprocessor-suspend", "1"),
    ("control/platform-feature-xs_reset_watches", "1"),
];

/// The nodes that a guest owns in its home. All are empty.
const OWNED: [&str; 11] = [
    "device/suspend/event-channel",
    "control/shutdown",
    "control/feature-poweroff",
    "control/feature-reboot",
    "control/feature-suspend",
    "control/sysrq",
    "data",
    "drivers",
    "feature",
    "attr",
    "error",
];

/// Creates the nodes that libxl creates, then introduces the domain, so that its home exists when
/// `@introduceDomain` fires. Returns whether the domain was unknown before. Ignores dom0.
pub(super) fn add(daemon: &mut Daemon, domid: DomId) -> bool {
    if domid == DomId::DOM0 {
        return false;
    }
    let home = format!("/local/domain/{domid}");
    let uuid = format!("00000000-0000-0000-0000-{:012}", domid.get());
    let vm = format!("/vm/{uuid}");
    let name = format!("guest-{domid}");
    let readable = Permissions::owned_by(DomId::DOM0).with(domid, Access::Read);
    let owned = Permissions::owned_by(domid);

    for top in [&home, &vm] {
        daemon.remove(top);
        create(daemon, top, "", &readable);
    }
    let names = [
        (&home, "vm", &vm),
        (&home, "name", &name),
        (&home, "domid", &domid.to_string()),
        (&vm, "name", &name),
        (&vm, "uuid", &uuid),
    ];
    for (top, node, value) in names {
        create(daemon, &format!("{top}/{node}"), value, &readable);
    }
    for (node, value) in READABLE {
        create(daemon, &format!("{home}/{node}"), value, &readable);
    }
    for node in OWNED {
        create(daemon, &format!("{home}/{node}"), "", &owned);
    }
    daemon.introduce(domid)
}

fn create(daemon: &mut Daemon, path: &str, value: &str, perms: &Permissions) {
    daemon.set(path, value.as_bytes());
    // Cannot fail, because the node exists.
    let _ = daemon.set_perms(path, perms);
}
