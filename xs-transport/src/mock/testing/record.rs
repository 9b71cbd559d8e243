//! Recorded requests.

use std::fmt;

use xs_proto::{DomId, Header, Incoming, Request};

use crate::mock::daemon::ConnId;
use crate::mock::daemon::trace::Trace;

/// A recorded request. Its display form is the line that a [`Trace`] of it has.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// The connection that sent it.
    pub conn: ConnId,
    /// The domain that sent it.
    pub domid: DomId,
    /// The header, as received.
    pub header: Header,
    /// The payload, as received.
    pub payload: Box<[u8]>,
}

impl Record {
    /// Decodes the request. Returns `None` if it is malformed.
    pub fn request(&self) -> Option<Request<'_>> {
        Incoming { header: self.header, payload: &self.payload }.request().ok()
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Trace::request(self.conn, self.domid, self.header, &self.payload).fmt(f)
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("conn", &self.conn)
            .field("domid", &self.domid)
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}
