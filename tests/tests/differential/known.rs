//! What is known to differ from the genuine daemons, and why.

use xs_proto::MessageType as Ty;
use xs_transport::mock::Flavour;

use crate::ops::{Op, Tx};
use crate::peer::Answer;

/// A difference that is meant to be. Requests that ask for it are not made.
pub(crate) struct Known {
    pub(crate) flavour: Flavour,
    pub(crate) what: &'static str,
    pub(crate) reason: &'static str,
    /// Whether this request asks for it.
    pub(crate) avoid: fn(&Op) -> bool,
}

/// The list.
pub(crate) const KNOWN: &[Known] = &[
    Known {
        flavour: Flavour::C417,
        what: "a request for one path whose payload is not exactly one string",
        reason: "the daemon answers with whatever errno was left behind, and may abort; here EINVAL",
        avoid: |op| takes_one_path(op) && !is_one_string(&op.payload),
    },
    Known {
        flavour: Flavour::C417,
        what: "SET_PERMS of a special watch that the caller may not set, or inside a transaction",
        reason: "a left-over errno or an abort again; and transactions are ignored. Newer ones do neither",
        avoid: |op| {
            op.ty == Ty::SetPerms as u32
                && op.payload.starts_with(b"@")
                && (op.conn > 1 || op.tx != Tx::None || op.payload.starts_with(b"@other"))
        },
    },
    Known {
        flavour: Flavour::C417,
        what: "targeting a domain that goes away later",
        reason: "the daemon keeps half of the target alive, because somebody refers to it, and \
                 crashes when the domain is introduced again",
        avoid: |op| {
            let target = op.payload.split(|byte| *byte == 0).nth(1);
            op.ty == Ty::SetTarget as u32 && target.is_some_and(|target| target.starts_with(b"9"))
        },
    },
    Known {
        flavour: Flavour::C417,
        what: "RELEASE from the connection that was made just before the domain's own",
        reason: "the daemon's loop still holds the domain's connection, and lets go behind the reply: \
                 the events come after it, not before it",
        avoid: |op| op.ty == Ty::Release as u32 && op.conn == 1 && op.payload.starts_with(b"9"),
    },
    Known {
        flavour: Flavour::C417,
        what: "giving the root to a domain that goes away later",
        reason: "the daemon removes the root with all there is, and is of no use from then on",
        avoid: |op| {
            op.ty == Ty::SetPerms as u32
                && op.payload.starts_with(b"/\0")
                && owner(&op.payload) == Some(b"9")
        },
    },
    Known {
        flavour: Flavour::Ocaml417,
        what: "reading and writing the names of special watches",
        reason: "oxenstored makes ordinary nodes of them, below the root; here they are refused, as by the \
                 C daemon",
        avoid: |op| {
            let watches = op.ty == Ty::Watch as u32 || op.ty == Ty::Unwatch as u32;
            op.payload.starts_with(b"@") && !watches
        },
    },
    Known {
        flavour: Flavour::Ocaml417,
        what: "giving nodes to a domain that goes away later, others' nodes below them",
        reason: "oxenstored removes them all, but goes on counting those of others",
        avoid: |op| op.ty == Ty::SetPerms as u32 && owner(&op.payload) == Some(b"9"),
    },
    Known {
        flavour: Flavour::Ocaml417,
        what: "inside a transaction, requests that have nothing to do with nodes",
        reason: "oxenstored cannot make them again and lets the commit fail, but only if it has to; \
                 when it has to depends on how its tree is laid out. Here it always has to",
        avoid: |op| {
            let fine = [Ty::Read, Ty::Directory, Ty::GetPerms, Ty::Write, Ty::Mkdir, Ty::Rm];
            let also = [Ty::SetPerms, Ty::GetDomainPath, Ty::TransactionEnd];
            let outside = [Ty::Watch, Ty::Unwatch];
            let mut all = fine.iter().chain(&also).chain(&outside);
            matches!(op.tx, Tx::Slot(_)) && !all.any(|ty| *ty as u32 == op.ty)
        },
    },
    Known {
        flavour: Flavour::Ocaml417,
        what: "removing the root, releasing dom0, targeting dom0",
        reason: "oxenstored does it, and nothing can be compared from then on",
        avoid: |op| {
            let is = |ty: Ty, start: &[u8]| op.ty == ty as u32 && op.payload.starts_with(start);
            is(Ty::Rm, b"/\0")
                || is(Ty::Release, b"0\0")
                || (op.ty == Ty::SetTarget as u32 && op.payload.ends_with(b"\x000\0"))
        },
    },
];

/// Whom a SET_PERMS makes the owner.
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

pub(crate) fn is_avoided(flavour: Flavour, op: &Op) -> bool {
    KNOWN.iter().any(|known| known.flavour == flavour && (known.avoid)(op))
}

/// oxenstored does not look again at requests that failed, nor at any request, if what changed
/// lies apart from what the transaction read and wrote; here all requests are made again. So a
/// commit may succeed there that fails here. From then on the stores differ: the round is over.
pub(crate) fn is_merged(flavour: Flavour, op: &Op, theirs: &[Answer], ours: &[Answer]) -> bool {
    let again = Answer::Error(b"EAGAIN\0".to_vec());
    let done = Answer::Reply(b"OK\0".to_vec());
    flavour == Flavour::Ocaml417
        && op.ty == Ty::TransactionEnd as u32
        && ours.contains(&again)
        && theirs.contains(&done)
}
