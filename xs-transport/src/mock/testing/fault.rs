//! Faults: failures that strike chosen requests.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use xs_proto::{DomId, ErrorCode, Header, Incoming, MessageType};

use crate::mock::daemon::ConnId;

/// A fault, and the requests that it strikes.
///
/// The constructor chooses what happens. Without further conditions, the fault strikes the next
/// request of any client, once.
///
/// ```
/// use xs_transport::mock::{DomId, ErrorCode, Fault, MessageType, Xenstored};
///
/// let xenstored = Xenstored::new();
/// let fault = xenstored.inject(
///     Fault::error(ErrorCode::NoSpace).on(MessageType::Write).of(DomId::new(5)).skipping(2),
/// );
/// // … run the program under test …
/// assert_eq!(fault.hits(), 0);
/// ```
#[derive(Clone)]
pub struct Fault {
    pub(in crate::mock) action: Action,
    msg_type: Option<u32>,
    domid: Option<DomId>,
    path: Option<Box<[u8]>>,
    skip: u64,
    times: u64,
}

#[derive(Clone)]
pub(in crate::mock) enum Action {
    Error(ErrorCode),
    Ignore,
    Delay,
    Close,
    Cut(usize),
    Split(usize),
    Merge,
    Instead(Box<[u8]>),
}

impl Fault {
    /// Answers the request with this error, and does not carry it out.
    pub fn error(code: ErrorCode) -> Self {
        Self::new(Action::Error(code))
    }

    /// Neither carries out nor answers the request.
    pub fn ignore() -> Self {
        Self::new(Action::Ignore)
    }

    /// Holds the request back until [`FaultHandle::release`]. Later requests overtake it.
    pub fn delay() -> Self {
        Self::new(Action::Delay)
    }

    /// Closes the connection instead of carrying out the request. To close idle connections, use
    /// [`Xenstored::disconnect`](crate::mock::Xenstored::disconnect).
    pub fn close() -> Self {
        Self::new(Action::Close)
    }

    /// Carries out the request, sends only the first `bytes` bytes of the reply and the events that
    /// it causes for this client, and closes the connection.
    pub fn cut(bytes: usize) -> Self {
        Self::new(Action::Cut(bytes))
    }

    /// Lets the client receive at most this many bytes at a time, from this request on.
    pub fn split(bytes: usize) -> Self {
        Self::new(Action::Split(bytes.max(1)))
    }

    /// Carries out the request, and sends its reply together with that of the next request on the
    /// connection.
    pub fn merge() -> Self {
        Self::new(Action::Merge)
    }

    /// Sends these bytes instead of carrying out the request. They need not be a valid message.
    pub fn instead(bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(Action::Instead(bytes.into().into()))
    }

    fn new(action: Action) -> Self {
        Fault { action, msg_type: None, domid: None, path: None, skip: 0, times: 1 }
    }

    /// Strikes only requests of this type.
    #[must_use]
    pub fn on(mut self, msg_type: MessageType) -> Self {
        self.msg_type = Some(msg_type as u32);
        self
    }

    /// Strikes only requests of this domain.
    #[must_use]
    pub fn of(mut self, domid: DomId) -> Self {
        self.domid = Some(domid);
        self
    }

    /// Strikes only requests whose first string, usually a path, is this one as the client wrote
    /// it.
    #[must_use]
    pub fn at(mut self, path: impl AsRef<[u8]>) -> Self {
        self.path = Some(path.as_ref().into());
        self
    }

    /// Lets this many matching requests pass first.
    #[must_use]
    pub fn skipping(mut self, requests: u64) -> Self {
        self.skip = requests;
        self
    }

    /// Strikes this many requests instead of one.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }

    fn matches(&self, domid: DomId, incoming: &Incoming<'_>) -> bool {
        let first = || incoming.payload.split(|byte| *byte == 0).next();
        self.msg_type.is_none_or(|msg_type| msg_type == incoming.header.msg_type)
            && self.domid.is_none_or(|of| of == domid)
            && self.path.as_deref().is_none_or(|path| first() == Some(path))
    }
}

/// The injected faults that can still strike, and the requests that they hold back.
#[derive(Debug, Default)]
pub(in crate::mock) struct Faults {
    armed: Vec<Armed>,
    /// In the order of arrival.
    delayed: Vec<Delayed>,
    next: u64,
}

/// The part of the xenstored that a [`FaultHandle`] uses.
pub(in crate::mock) trait FaultTarget: Send + Sync {
    /// Carries out the requests that a fault holds back.
    fn release(&self, fault: u64);

    /// Removes a fault.
    fn disarm(&self, fault: u64);
}

#[derive(Debug)]
struct Armed {
    id: u64,
    fault: Fault,
    hits: Arc<AtomicU64>,
}

/// A request that is held back.
#[derive(Debug)]
pub(in crate::mock) struct Delayed {
    fault: u64,
    pub(in crate::mock) conn: ConnId,
    pub(in crate::mock) header: Header,
    pub(in crate::mock) payload: Box<[u8]>,
}

impl Faults {
    pub(in crate::mock) fn inject(
        &mut self,
        fault: Fault,
        target: Weak<dyn FaultTarget>,
    ) -> FaultHandle {
        self.next += 1;
        let hits = Arc::new(AtomicU64::new(0));
        self.armed.push(Armed { id: self.next, fault, hits: hits.clone() });
        FaultHandle { id: self.next, hits, target }
    }

    /// Returns what happens to a request, if a fault strikes it.
    pub(in crate::mock) fn strike(
        &mut self,
        conn: ConnId,
        domid: DomId,
        incoming: &Incoming<'_>,
    ) -> Option<Action> {
        let at = self.armed.iter_mut().position(|armed| {
            armed.fault.matches(domid, incoming) && {
                let strikes = armed.fault.skip == 0;
                armed.fault.skip = armed.fault.skip.saturating_sub(1);
                strikes
            }
        })?;
        let armed = &mut self.armed[at];
        armed.hits.fetch_add(1, Ordering::Relaxed);
        armed.fault.times = armed.fault.times.saturating_sub(1);
        let (action, fault) = (armed.fault.action.clone(), armed.id);
        if armed.fault.times == 0 {
            self.armed.remove(at);
        }
        if let Action::Delay = action {
            let payload = incoming.payload.into();
            self.delayed.push(Delayed { fault, conn, header: incoming.header, payload });
        }
        Some(action)
    }

    pub(in crate::mock) fn take_delayed(&mut self, fault: u64) -> Vec<Delayed> {
        let (released, kept) = std::mem::take(&mut self.delayed)
            .into_iter()
            .partition(|delayed| delayed.fault == fault);
        self.delayed = kept;
        released
    }

    pub(in crate::mock) fn disarm(&mut self, fault: u64) {
        self.armed.retain(|armed| armed.id != fault);
    }
}

/// A handle to an injected [`Fault`].
#[derive(Clone)]
pub struct FaultHandle {
    id: u64,
    hits: Arc<AtomicU64>,
    target: Weak<dyn FaultTarget>,
}

impl FaultHandle {
    /// Returns how many requests the fault has struck.
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// Carries out the requests that the fault [holds back](Fault::delay).
    pub fn release(&self) {
        if let Some(target) = self.target.upgrade() {
            target.release(self.id);
        }
    }

    /// Removes the fault, so that it strikes no further requests.
    pub fn disarm(&self) {
        if let Some(target) = self.target.upgrade() {
            target.disarm(self.id);
        }
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Error(code) => write!(f, "Error({code:?})"),
            Action::Ignore => f.write_str("Ignore"),
            Action::Delay => f.write_str("Delay"),
            Action::Close => f.write_str("Close"),
            Action::Cut(bytes) => write!(f, "Cut({bytes})"),
            Action::Split(bytes) => write!(f, "Split({bytes})"),
            Action::Merge => f.write_str("Merge"),
            Action::Instead(bytes) => write!(f, "Instead({} bytes)", bytes.len()),
        }
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.as_ref().map(|path| path.escape_ascii().to_string());
        f.debug_struct("Fault")
            .field("action", &self.action)
            .field("msg_type", &self.msg_type)
            .field("domid", &self.domid)
            .field("path", &path)
            .field("skip", &self.skip)
            .field("times", &self.times)
            .finish()
    }
}

impl fmt::Debug for FaultHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultHandle")
            .field("id", &self.id)
            .field("hits", &self.hits())
            .finish_non_exhaustive()
    }
}
