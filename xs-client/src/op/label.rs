//! The name of an operation, and how its call ends.

use xs_proto::Reply;

use crate::engine::{CallId, CallResult, Scope};
use crate::error::{Error, ErrorKind, Result};
use crate::trace;

/// The operation and the path that its errors name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Label<'a> {
    pub(crate) name: &'static str,
    pub(crate) path: Option<&'a str>,
}

/// Turns the reply to an operation, or its error, into the result of the operation.
pub(crate) type Decode<T> = fn(Label<'_>, Result<Reply<'static>>) -> Result<T>;

impl Label<'_> {
    /// Returns an error of this operation.
    pub(crate) fn error(&self, kind: impl Into<ErrorKind>) -> Error {
        Error::new(self.name, self.path, kind)
    }

    /// Returns the error for an answer of unexpected form.
    pub(crate) fn unexpected(&self, what: &str) -> Error {
        self.error(ErrorKind::Unexpected(what.into()))
    }

    /// Decodes the result of a call and reports the operation to `tracing`. `None` means that the
    /// call timed out.
    pub(crate) fn finish<T>(
        &self,
        decode: Decode<T>,
        start: trace::Start,
        scope: Scope,
        call: CallId,
        result: Option<CallResult>,
    ) -> Result<T> {
        let reply = match result {
            Some(Ok(Reply::Error(code))) => Err(self.error(ErrorKind::Refused(code))),
            Some(Ok(reply)) => Ok(reply),
            Some(Err(failure)) => Err(self.error(failure)),
            None => Err(self.error(ErrorKind::TimedOut)),
        };
        let result = decode(*self, reply);
        start.report(self.name, self.path, scope.tx_id, call.req_id, result.as_ref().err());
        result
    }
}
