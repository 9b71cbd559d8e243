//! Disturbances, at a chosen request.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use xs_proto::{DomId, ErrorCode, Header, Incoming, MessageType};

use crate::mock::daemon::ConnId;

/// A disturbance, and the request that it strikes.
///
/// Made by the function that is named after what happens; then narrowed down. Without anything
/// further it strikes the next request of anybody, once.
///
/// ```
/// use xs_transport::mock::{DomId, ErrorCode, Fault, MessageType, Xenstored};
///
/// let xenstored = Xenstored::new();
/// let fault = xenstored.inject(
///     Fault::error(ErrorCode::NoSpace).on(MessageType::Write).of(DomId::new(5)).skipping(2),
/// );
/// // … let the program under test run …
/// assert_eq!(fault.hits(), 0);
/// ```
#[derive(Clone, Debug)]
pub struct Fault {
    pub(in crate::mock) action: Action,
    msg_type: Option<u32>,
    domid: Option<DomId>,
    path: Option<Box<[u8]>>,
    skip: u64,
    times: u64,
}

#[derive(Clone, Debug)]
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
    /// The request is not carried out, and answered with this error.
    pub fn error(code: ErrorCode) -> Self {
        Self::new(Action::Error(code))
    }

    /// The request is neither carried out nor answered.
    pub fn ignore() -> Self {
        Self::new(Action::Ignore)
    }

    /// The request is kept back until [`FaultHandle::release`]. Others pass it meanwhile.
    pub fn delay() -> Self {
        Self::new(Action::Delay)
    }

    /// The request is not carried out, and its connection closed. Connections that are idle are
    /// broken by [`Xenstored::disconnect`](crate::mock::Xenstored::disconnect).
    pub fn close() -> Self {
        Self::new(Action::Close)
    }

    /// The request is carried out; of what the client is told of it, the first `bytes` bytes are
    /// sent, then the connection is closed.
    pub fn cut(bytes: usize) -> Self {
        Self::new(Action::Cut(bytes))
    }

    /// From this request on, the client receives at most so many bytes at a time.
    pub fn split(bytes: usize) -> Self {
        Self::new(Action::Split(bytes.max(1)))
    }

    /// The request is carried out, and its reply sent together with that of the next request on
    /// the connection.
    pub fn merge() -> Self {
        Self::new(Action::Merge)
    }

    /// The request is not carried out, and these bytes are sent in place of a reply: anything that
    /// a client has to survive.
    pub fn instead(bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(Action::Instead(bytes.into().into()))
    }

    fn new(action: Action) -> Self {
        Fault { action, msg_type: None, domid: None, path: None, skip: 0, times: 1 }
    }

    /// Strikes requests of this type only.
    #[must_use]
    pub fn on(mut self, msg_type: MessageType) -> Self {
        self.msg_type = Some(msg_type as u32);
        self
    }

    /// Strikes requests of this domain only.
    #[must_use]
    pub fn of(mut self, domid: DomId) -> Self {
        self.domid = Some(domid);
        self
    }

    /// Strikes requests whose first string is this, as the client writes it: mostly a path.
    #[must_use]
    pub fn at(mut self, path: impl AsRef<[u8]>) -> Self {
        self.path = Some(path.as_ref().into());
        self
    }

    /// Lets so many matching requests pass first.
    #[must_use]
    pub fn skipping(mut self, requests: u64) -> Self {
        self.skip = requests;
        self
    }

    /// Strikes so many times, not once.
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

/// All faults that have been injected and not spent.
#[derive(Debug, Default)]
pub(in crate::mock) struct Faults {
    armed: Vec<Armed>,
    /// Requests kept back, in the order in which they came.
    delayed: Vec<Delayed>,
    next: u64,
}

/// The xenstored, as a [`FaultHandle`] knows it.
pub(in crate::mock) trait FaultTarget: Send + Sync {
    /// Carries out the requests that a fault has delayed.
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

    /// The action that strikes this request, if one does.
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
        let (released, kept) =
            std::mem::take(&mut self.delayed).into_iter().partition(|one| one.fault == fault);
        self.delayed = kept;
        released
    }

    pub(in crate::mock) fn disarm(&mut self, fault: u64) {
        self.armed.retain(|armed| armed.id != fault);
    }
}

/// An injected [`Fault`]: tells whether it struck.
#[derive(Clone, Debug)]
pub struct FaultHandle {
    id: u64,
    hits: Arc<AtomicU64>,
    target: Weak<dyn FaultTarget>,
}

impl FaultHandle {
    /// How many requests it struck.
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// Carries out the requests that it [kept back](Fault::delay).
    pub fn release(&self) {
        if let Some(target) = self.target.upgrade() {
            target.release(self.id);
        }
    }

    /// Lets it strike no more.
    pub fn disarm(&self) {
        if let Some(target) = self.target.upgrade() {
            target.disarm(self.id);
        }
    }
}
