//! What a toolstack makes for a guest.

use xs_proto::{Access, DomId, Permission};

use super::daemon::Daemon;
use super::store::Entry;

/// Nodes below the home that dom0 keeps to itself and the guest may read.
const READ_ONLY: [&str; 4] = ["cpu", "memory", "device", "control"];

/// Nodes below the home that are the guest's own.
const OWN: [&str; 10] = [
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
        make(daemon, top, &readable);
    }
    // What nobody gives permissions to has those of its parent.
    let values = [
        (&home, "vm", &vm),
        (&home, "name", &name),
        (&home, "domid", &domid.to_string()),
        (&vm, "uuid", &uuid),
        (&vm, "name", &name),
    ];
    for (top, node, value) in values {
        daemon.set(&format!("{top}/{node}"), value.as_bytes());
    }
    for node in READ_ONLY {
        make(daemon, &format!("{home}/{node}"), &readable);
    }
    for node in OWN {
        make(daemon, &format!("{home}/{node}"), &own);
    }
    daemon.introduce(domid)
}

fn make(daemon: &mut Daemon, path: &str, perms: &[(DomId, Access)]) {
    daemon.set(path, b"");
    let entries = perms
        .iter()
        .map(|(domid, access)| Entry { permission: Permission::new(*domid, *access), void: false });
    // The node is there.
    let _ = daemon.set_perms(path, entries.collect());
}
