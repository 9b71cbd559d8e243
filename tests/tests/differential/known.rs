//! What is known to differ from the genuine daemons, and why.

use xs_proto::MessageType as Ty;
use xs_transport::mock::Flavour;

use crate::ops::{Op, Tx};

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
];

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
