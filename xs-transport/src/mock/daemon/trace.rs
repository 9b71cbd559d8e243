//! Tracing of requests, replies and events.

use std::fmt;

use xs_proto::{DomId, Header, MessageType, PayloadError, Reply, Request};

use super::conn::ConnId;

/// A message between a client and the xenstored, as passed to the hook of
/// [`Xenstored::set_trace`](super::super::Xenstored::set_trace).
///
/// The display form is one human-readable line.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Trace<'a> {
    /// The connection.
    pub conn: ConnId,
    /// The domain of the client.
    pub domid: DomId,
    /// The message.
    pub what: Traced<'a>,
}

/// The message that a [`Trace`] shows.
#[derive(Clone)]
#[non_exhaustive]
pub enum Traced<'a> {
    /// A request arrived.
    Request {
        /// The header as received.
        header: Header,
        /// The payload as received.
        payload: &'a [u8],
    },
    /// A request was answered.
    Reply {
        /// The header of the request.
        header: Header,
        /// The reply.
        reply: &'a Reply<'a>,
    },
    /// A watch fired.
    Event {
        /// The path that changed, as the client sees it.
        path: &'a str,
        /// The token of the watch.
        token: &'a [u8],
    },
}

impl<'a> Trace<'a> {
    pub(crate) fn request(conn: ConnId, domid: DomId, header: Header, payload: &'a [u8]) -> Self {
        Trace { conn, domid, what: Traced::Request { header, payload } }
    }

    pub(crate) fn reply(conn: ConnId, domid: DomId, header: Header, reply: &'a Reply<'a>) -> Self {
        Trace { conn, domid, what: Traced::Reply { header, reply } }
    }

    pub(crate) fn event(conn: ConnId, domid: DomId, path: &'a str, token: &'a [u8]) -> Self {
        Trace { conn, domid, what: Traced::Event { path, token } }
    }

    /// Returns the decoded request, or `None` for replies and events.
    ///
    /// # Errors
    /// Fails if the payload is malformed. The xenstored may have accepted it nevertheless.
    pub fn decode_request(&self) -> Option<Result<Request<'a>, PayloadError>> {
        match self.what {
            Traced::Request { header, payload } => Some(
                MessageType::from_u32(header.msg_type)
                    .ok_or(PayloadError::Direction)
                    .and_then(|msg_type| Request::decode(msg_type, payload)),
            ),
            _ => None,
        }
    }
}

impl fmt::Display for Trace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dom{} #{} ", self.domid, self.conn)?;
        match &self.what {
            Traced::Request { header, payload } => {
                f.write_str("-> ")?;
                type_name(header.msg_type, f)?;
                if !header.tx_id.is_none() {
                    write!(f, " in {}", header.tx_id)?;
                }
                write!(f, " {}", payload.escape_ascii())
            }
            Traced::Reply { header, reply } => {
                f.write_str("<- ")?;
                type_name(header.msg_type, f)?;
                match reply {
                    Reply::Done => f.write_str(" OK"),
                    Reply::Value(value) => write!(f, " {}", value.escape_ascii()),
                    Reply::Children(names) => write!(f, " {}", names.as_bytes().escape_ascii()),
                    Reply::Part { generation, children, last } => {
                        let names = children.as_bytes().escape_ascii();
                        write!(f, " {generation} {names}{}", if *last { " (last)" } else { "" })
                    }
                    Reply::Permissions(perms) => write!(f, " {perms}"),
                    Reply::Transaction(tx_id) => write!(f, " {tx_id}"),
                    Reply::Boolean(yes) => write!(f, " {yes}"),
                    Reply::Features(features) => write!(f, " {:#x}", features.bits()),
                    Reply::Text(text) => write!(f, " {text}"),
                    Reply::Error(code) => write!(f, " {}", code.name()),
                    other => write!(f, " {other:?}"),
                }
            }
            Traced::Event { path, token } => {
                write!(f, "<- WATCH_EVENT {path} {}", token.escape_ascii())
            }
        }
    }
}

fn type_name(number: u32, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match MessageType::from_u32(number) {
        Some(msg_type) => write!(f, "{msg_type}"),
        None => write!(f, "type {number}"),
    }
}

type Hook = Box<dyn FnMut(&Trace<'_>) + Send>;

/// The hook that sees all messages, if any is set.
#[derive(Default)]
pub(crate) struct Tracer(Option<Hook>);

impl Tracer {
    pub(crate) fn set(&mut self, hook: Option<Hook>) {
        self.0 = hook;
    }

    pub(crate) fn emit<'a>(&mut self, trace: impl FnOnce() -> Trace<'a>) {
        if let Some(hook) = &mut self.0 {
            hook(&trace());
        }
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Tracer(on)" } else { "Tracer(off)" })
    }
}

impl fmt::Debug for Traced<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Traced::Request { header, .. } => {
                f.debug_struct("Request").field("header", header).finish_non_exhaustive()
            }
            Traced::Reply { header, reply } => {
                f.debug_struct("Reply").field("header", header).field("reply", reply).finish()
            }
            Traced::Event { path, token } => f
                .debug_struct("Event")
                .field("path", path)
                .field("token", &format_args!("\"{}\"", token.escape_ascii()))
                .finish(),
        }
    }
}
