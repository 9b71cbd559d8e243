//! The accepted differences from the genuine daemons.

use xs_proto::MessageType as Ty;
use xs_transport::mock::Flavour;

use crate::daemon::Answer;
use crate::ops::{Op, Tx};

/// An accepted difference. Requests that would show it are not sent.
pub(crate) struct Known {
    pub(crate) flavours: &'static [Flavour],
    pub(crate) what: &'static str,
    pub(crate) reason: &'static str,
    /// Whether this request would show the difference.
    pub(crate) avoid: fn(&Op) -> bool,
}

/// The genuine daemons that can be compared, by kind.
const C_DAEMONS: &[Flavour] = &[Flavour::C417, Flavour::C420];
const OXENSTORED: &[Flavour] = &[Flavour::Ocaml417, Flavour::Ocaml420];

pub(crate) const KNOWN: &[Known] = &[
    Known {
        flavours: &[Flavour::C417],
        what: "a request for one path whose payload is not exactly one string",
        reason: "the daemon replies with an unrelated errno and may abort; the in-memory one replies with the \
                 error that it met last, which is not always the same",
        avoid: |op| takes_one_path(op) && !is_one_string(&op.payload),
    },
    Known {
        flavours: &[Flavour::C417],
        what: "SET_PERMS of a special watch that the caller may not set, or inside a transaction",
        reason: "the daemon replies with an unrelated errno or aborts, and ignores transactions; newer \
                 daemons do not",
        avoid: |op| {
            op.ty == Ty::SetPerms as u32
                && op.payload.starts_with(b"@")
                && (op.conn > 1 || op.tx != Tx::None || op.payload.starts_with(b"@other"))
        },
    },
    Known {
        flavours: &[Flavour::C417],
        what: "RESET_WATCHES inside a transaction",
        reason: "the daemon crashes; the in-memory one closes the connection",
        avoid: |op| op.ty == Ty::ResetWatches as u32 && matches!(op.tx, Tx::Slot(_)),
    },
    Known {
        flavours: &[Flavour::C422],
        what: "SET_PERMS with an entry for each domain (DOMID_ANY, 32757)",
        reason: "the daemon crashes; the in-memory one replies EINVAL",
        avoid: |op| {
            let mut entries = op.payload.split(|byte| *byte == 0).skip(1);
            op.ty == Ty::SetPerms as u32 && entries.any(|entry| entry.get(1..) == Some(b"32757"))
        },
    },
    Known {
        flavours: &[Flavour::C420, Flavour::C422],
        what: "RELEASE of a domain that owns the permissions of a special watch",
        reason: "the daemon crashes; the in-memory one replies EINVAL",
        avoid: |op| {
            op.ty == Ty::SetPerms as u32
                && op.payload.starts_with(b"@")
                && owner(&op.payload) != Some(b"0")
        },
    },
    Known {
        flavours: C_DAEMONS,
        what: "targeting a domain that goes away later",
        reason: "the daemon keeps a part of the target, because it is still referenced, and crashes when \
                 the domain is introduced again",
        avoid: |op| {
            let target = op.payload.split(|byte| *byte == 0).nth(1);
            op.ty == Ty::SetTarget as u32 && target.is_some_and(|target| target.starts_with(b"9"))
        },
    },
    Known {
        flavours: C_DAEMONS,
        what: "RELEASE from the connection that was made just before the domain's own",
        reason: "the daemon's loop still references the domain's connection and frees it after the reply: \
                 the events follow the reply instead of preceding it",
        avoid: |op| op.ty == Ty::Release as u32 && op.conn == 1 && op.payload.starts_with(b"9"),
    },
    Known {
        flavours: C_DAEMONS,
        what: "giving the root to a domain that goes away later",
        reason: "the daemon removes the root with all nodes and is unusable afterwards",
        avoid: |op| {
            op.ty == Ty::SetPerms as u32
                && op.payload.starts_with(b"/\0")
                && owner(&op.payload) == Some(b"9")
        },
    },
    Known {
        flavours: C_DAEMONS,
        what: "CONTROL memreport, with the name of a file or after CONTROL logfile",
        reason: "the daemon writes a file; the in-memory one has no files and replies EINVAL",
        avoid: |op| {
            let mut words = op.payload.split(|byte| *byte == 0);
            let is_report = op.ty == Ty::Control as u32 && words.next() == Some(b"memreport");
            // At most one argument, and the empty part after the final NUL.
            is_report && words.count() <= 2
        },
    },
    Known {
        flavours: &[Flavour::C420],
        what: "the highest numbers that CONTROL quota reports for a domain",
        reason: "they count from the start of the daemon, which serves many sequences",
        avoid: |op| {
            // Any other word is a number, perhaps 0.
            let is_domain =
                |rest: &[u8]| ![&b"set\0"[..], b"max\0"].iter().any(|word| rest.starts_with(word));
            op.ty == Ty::Control as u32
                && op.payload.strip_prefix(b"quota\0").is_some_and(is_domain)
        },
    },
    Known {
        flavours: OXENSTORED,
        what: "the number of nodes that CONTROL quota reports for a domain",
        reason: "oxenstored miscounts nodes that domains give to each other, and keeps the error",
        avoid: |op| op.ty == Ty::Control as u32 && op.payload.starts_with(b"quota\0"),
    },
    Known {
        flavours: OXENSTORED,
        what: "CONTROL live-update -f with the name of a file",
        reason: "oxenstored replies with its own command line; the in-memory one has none",
        avoid: |op| {
            op.ty == Ty::Control as u32
                && op.payload.starts_with(b"live-update\0-f\0")
                && op.payload.len() > 15
        },
    },
    Known {
        flavours: OXENSTORED,
        what: "committing, after a conflict, a transaction with a request that cannot be repeated",
        reason: "oxenstored replies EINVAL if its history of other connections' requests shows the conflict, \
                 and otherwise EAGAIN; the in-memory one keeps no history, and replies EAGAIN",
        avoid: |_| false,
    },
    Known {
        flavours: OXENSTORED,
        what: "permissions that name a domain which goes away later, of the root or inside a transaction",
        reason: "oxenstored gives the root to no domain, and removes no entry inside of open transactions",
        avoid: |op| {
            let mut entries = op.payload.split(|byte| *byte == 0);
            let is_root = entries.next() == Some(b"/");
            let names_transient =
                |entry: &[u8]| entry.get(1..).is_some_and(|domid| domid.ends_with(b"9"));
            op.ty == Ty::SetPerms as u32
                && (is_root || op.tx != Tx::None)
                && entries.any(names_transient)
        },
    },
    Known {
        flavours: OXENSTORED,
        what: "removing the root, releasing dom0, targeting dom0",
        reason: "oxenstored does it, and nothing can be compared afterwards",
        avoid: |op| {
            let is = |ty: Ty, start: &[u8]| op.ty == ty as u32 && op.payload.starts_with(start);
            is(Ty::Rm, b"/\0")
                || is(Ty::Release, b"0\0")
                || (op.ty == Ty::SetTarget as u32 && op.payload.ends_with(b"\x000\0"))
        },
    },
];

/// Returns the domain that a SET_PERMS makes the owner.
fn owner(payload: &[u8]) -> Option<&[u8]> {
    payload.split(|byte| *byte == 0).nth(1)?.get(1..)
}

fn takes_one_path(op: &Op) -> bool {
    let one_path = [Ty::Read, Ty::Directory, Ty::GetPerms, Ty::Mkdir, Ty::Rm];
    one_path.iter().any(|ty| *ty as u32 == op.ty)
}

fn is_one_string(payload: &[u8]) -> bool {
    payload.iter().position(|byte| *byte == 0).is_some_and(|at| at + 1 == payload.len())
}

/// Whether a request would show an accepted difference.
pub(crate) fn is_avoided(flavour: Flavour, op: &Op) -> bool {
    KNOWN.iter().any(|known| known.flavours.contains(&flavour) && (known.avoid)(op))
}

/// Replaces oxenstored's other answer to a conflict.
pub(crate) fn replace_conflict(
    flavour: Flavour,
    op: &Op,
    answers: &mut [Answer],
    memory: &[Answer],
) {
    let is = |answer: &Answer, name: &[u8]| matches!(answer, Answer::Error(code) if code.starts_with(name));
    if let ([.., theirs], [.., ours]) = (answers, memory) {
        let is_commit = is_oxenstored(flavour) && op.ty == Ty::TransactionEnd as u32;
        if is_commit && is(theirs, b"EINVAL") && is(ours, b"EAGAIN") {
            *theirs = ours.clone();
        }
    }
}

/// Whether a flavour is of oxenstored.
pub(crate) fn is_oxenstored(flavour: Flavour) -> bool {
    OXENSTORED.contains(&flavour)
}
