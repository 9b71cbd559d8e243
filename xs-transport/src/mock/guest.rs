//! What a toolstack makes for a guest.

use xs_proto::{Access, DomId, Permission};

use super::daemon::Daemon;
use super::store::Entry;

/// What stands in a guest's home for it to read, in libxl's order: seen on a Xen 4.17, the same for
/// PV and PVH. What depends on the machine is left out: `store` and `console`, with the numbers of
/// rings and of event channels.
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

/// What is the guest's own there. All are empty.
const OWN: [&str; 11] = [
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

/// Makes the nodes that libxl makes, then introduces the domain, as libxl does: whoever is told of
/// the domain finds its home. Says whether the domain was not known before.
pub(super) fn add(daemon: &mut Daemon, domid: DomId) -> bool {
    if domid == DomId::DOM0 {
        return false;
    }
    let home = format!("/local/domain/{domid}");
    let uuid = format!("00000000-0000-0000-0000-{:012}", domid.get());
    let vm = format!("/vm/{uuid}");
    let name = format!("guest-{domid}");
    let readable = [(DomId::DOM0, Access::None), (domid, Access::Read)];
    let own = [(domid, Access::None)];

    for top in [&home, &vm] {
        daemon.remove(top);
        make(daemon, top, "", &readable);
    }
    let names = [
        (&home, "vm", &vm),
        (&home, "name", &name),
        (&home, "domid", &domid.to_string()),
        (&vm, "name", &name),
        (&vm, "uuid", &uuid),
    ];
    for (top, node, value) in names {
        make(daemon, &format!("{top}/{node}"), value, &readable);
    }
    for (node, value) in READABLE {
        make(daemon, &format!("{home}/{node}"), value, &readable);
    }
    for node in OWN {
        make(daemon, &format!("{home}/{node}"), "", &own);
    }
    daemon.introduce(domid)
}

fn make(daemon: &mut Daemon, path: &str, value: &str, perms: &[(DomId, Access)]) {
    daemon.set(path, value.as_bytes());
    let entries = perms
        .iter()
        .map(|(domid, access)| Entry { permission: Permission::new(*domid, *access), void: false });
    // The node is there.
    let _ = daemon.set_perms(path, entries.collect());
}
