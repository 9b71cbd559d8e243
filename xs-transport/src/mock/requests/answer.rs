//! Answers to requests.

use std::sync::Arc;

use xs_proto::{ErrorCode, Reply, Strings};

use crate::mock::store::node::Node;

/// The answer to a request that succeeds.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Reply(Reply<'static>),
    /// The value of this node, which is not copied until it is sent.
    Value(Arc<Node>),
}

pub(super) type Result<T = Answer> = std::result::Result<T, ErrorCode>;

/// The answer to a request without a result.
pub(super) const DONE: Result = Ok(Answer::Reply(Reply::Done));

/// The error for a malformed request.
pub(super) const INVALID: ErrorCode = ErrorCode::Invalid;

/// Returns an answer with a list of strings.
pub(super) fn strings<S: AsRef<[u8]>>(list: impl IntoIterator<Item = S>) -> Result {
    let list = Strings::from_list(list).map_err(|_| ErrorCode::Io)?;
    Ok(Answer::Reply(Reply::Children(list)))
}

impl Answer {
    /// Returns the answer as a reply, with a copy of the value.
    pub(super) fn to_reply(&self) -> Reply<'static> {
        match self {
            Answer::Reply(reply) => reply.clone(),
            Answer::Value(node) => Reply::Value(node.value.to_vec().into()),
        }
    }
}

/// Returns an answer that is a text.
pub(super) fn text(text: impl Into<String>) -> Result {
    Ok(Answer::Reply(Reply::Text(text.into().into())))
}
