//! Operations as values.
//!
//! Most programs do not need this module: the methods of [`Tree`](crate::Tree) and
//! [`Client`](crate::Client) create an operation and run it. An [`Op`] is useful to
//! [run several operations](crate::Tree::run_all) in one round trip, or to
//! [start one](crate::Tree::start) and collect its result later.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::time::Instant;

use xs_proto::{
    DomId, Path, PathError, Permission, Permissions, Reply, Request, RequestError, Strings, TxId,
};

use crate::engine::{CallId, CallResult, Engine, Scope, Submit};
use crate::error::{Error, ErrorKind, Invalid, Result};
use crate::trace;

/// An operation whose result is a `T`.
///
/// The functions of this module create one. Nothing is sent before the operation is run or started.
/// An invalid argument is reported then, too.
///
/// ```
/// use xs_client::{Client, op};
/// # use xs_transport::mock::Xenstored;
/// # let client = Client::over(Xenstored::new().connect(xs_proto::DomId::DOM0));
///
/// client.write("/a", "1")?;
/// let values = client.run_all([op::read("/a"), op::read("/b")]);
/// assert_eq!(values[0].as_deref().unwrap(), b"1");
/// assert!(values[1].as_ref().unwrap_err().is_not_found());
/// # Ok::<(), xs_client::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Op<'a, T> {
    pub(crate) label: Label<'a>,
    /// An invalid argument is reported when the operation runs, so that each operation of a batch
    /// has its own result.
    request: Result<Request<'a>, Invalid>,
    answer: PhantomData<fn() -> T>,
}

impl<'a, T> Op<'a, T> {
    /// Returns the request, or the error for an invalid argument.
    pub(crate) fn request(&self) -> Result<&Request<'a>> {
        self.request.as_ref().map_err(|invalid| self.label.error(invalid.clone()))
    }

    /// Returns the operation with another type of result, which all operations on nodes share, so
    /// that they can be in one batch.
    pub(crate) fn of_node(&self) -> Op<'a, OfNode> {
        Op { label: self.label, request: self.request.clone(), answer: PhantomData }
    }

    pub(crate) fn new(name: &'static str, request: Request<'a>) -> Self {
        Op { label: Label { name, path: None }, request: Ok(request), answer: PhantomData }
    }

    fn on(
        name: &'static str,
        path: &'a str,
        request: impl FnOnce(Path<'a>) -> Request<'a>,
    ) -> Self {
        let label = Label { name, path: Some(path) };
        match Path::new(path) {
            Ok(path) => Op { label, request: Ok(request(path)), answer: PhantomData },
            Err(error) => Op { label, request: Err(error.into()), answer: PhantomData },
        }
    }
}

impl<T: Answer> Op<'_, T> {
    /// Runs the operation and waits for its result. Also returns the call that has carried it.
    pub(crate) fn run(
        &self,
        engine: &Engine,
        scope: Scope,
        deadline: Option<Instant>,
    ) -> Result<(CallId, T)> {
        let start = trace::Start::now();
        let request = self.request()?;
        let mut guard = engine.lock();
        let submitted = guard.wait(deadline, Submit { scope, request });
        let submitted = submitted.unwrap_or_else(|| Err(guard.not_submitted()));
        let call = submitted.map_err(|kind| self.label.error(kind))?;
        let result = guard.wait(deadline, call);
        drop(guard);
        Ok((call, self.label.finish(start, scope, call, result)?))
    }
}

/// The operation and the path that its errors name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Label<'a> {
    pub(crate) name: &'static str,
    pub(crate) path: Option<&'a str>,
}

impl Label<'_> {
    /// Returns an error of this operation.
    pub(crate) fn error(&self, kind: impl Into<ErrorKind>) -> Error {
        Error::new(self.name, self.path, kind)
    }

    /// Returns the error for an answer of unexpected form.
    pub(crate) fn unexpected(&self, what: &str) -> Error {
        self.error(ErrorKind::Unexpected(what.into()))
    }

    /// Converts the result of a call and reports the operation to `tracing`. `None` means that the
    /// call timed out.
    pub(crate) fn finish<T: Answer>(
        &self,
        start: trace::Start,
        scope: Scope,
        call: CallId,
        result: Option<CallResult>,
    ) -> Result<T> {
        let result = self.interpret(result);
        start.report(self.name, self.path, scope.tx_id, call.req_id, result.as_ref().err());
        result
    }

    fn interpret<T: Answer>(&self, result: Option<CallResult>) -> Result<T> {
        match result {
            Some(Ok(reply)) => T::from_reply(reply).map_err(|reply| self.another(reply)),
            Some(Err(failure)) => Err(self.error(failure)),
            None => Err(self.error(ErrorKind::TimedOut)),
        }
    }

    /// Returns the error for a reply of another type than the operation expects.
    fn another(&self, reply: Reply<'_>) -> Error {
        match reply {
            Reply::Error(code) => self.error(ErrorKind::Refused(code)),
            Reply::StrangePermissions(entries) => self.strange(&entries),
            Reply::Children(children) | Reply::Part { children, .. } => {
                let name = children.iter().find(|name| child_name(name).is_none());
                let name = name.unwrap_or_default().escape_ascii();
                self.unexpected(&format!("a child has the invalid name \"{name}\""))
            }
            _ => self.unexpected("the answer is not text"),
        }
    }

    fn strange(&self, entries: &Strings<'_>) -> Error {
        let entries = entries.as_bytes().escape_ascii().to_string();
        let entries = entries.trim_end_matches("\\x00").replace("\\x00", " ");
        self.unexpected(&format!("the permissions name an invalid domain: {entries}"))
    }
}

/// Returns the value of a node; see [`Tree::read`](crate::Tree::read).
pub fn read(path: &str) -> Op<'_, Vec<u8>> {
    Op::on("read", path, Request::Read)
}

/// Sets the value of a node, and creates the node and its ancestors if necessary; see
/// [`Tree::write`](crate::Tree::write).
pub fn write<'a>(path: &'a str, value: &'a (impl AsRef<[u8]> + ?Sized)) -> Op<'a, ()> {
    Op::on("write", path, |path| Request::Write { path, value: value.as_ref() })
}

/// Creates a node with an empty value, and its ancestors if necessary. An existing node is
/// unchanged; see [`Tree::mkdir`](crate::Tree::mkdir).
pub fn mkdir(path: &str) -> Op<'_, ()> {
    Op::on("mkdir", path, Request::Mkdir)
}

/// Removes a node and its descendants; see [`Tree::rm`](crate::Tree::rm).
pub fn rm(path: &str) -> Op<'_, ()> {
    Op::on("rm", path, Request::Rm)
}

/// Returns the names of a node's children, if they fit into one message.
///
/// If they do not, the C daemon answers E2BIG. [`Tree::directory`](crate::Tree::directory) also
/// reads longer lists.
pub fn directory(path: &str) -> Op<'_, Vec<String>> {
    Op::on("directory", path, Request::Directory)
}

pub(crate) fn directory_part(path: &str, offset: u32) -> Op<'_, Part> {
    Op::on("directory", path, |path| Request::DirectoryPart { path, offset })
}

/// Returns the permissions of a node; see [`Tree::get_perms`](crate::Tree::get_perms).
pub fn get_perms(path: &str) -> Op<'_, Permissions> {
    Op::on("get_perms", path, Request::GetPerms)
}

/// Sets the permissions of a node; see [`Tree::set_perms`](crate::Tree::set_perms).
pub fn set_perms<'a>(path: &'a str, perms: &'a Permissions) -> Op<'a, ()> {
    Op::on("set_perms", path, |path| Request::SetPerms { path, perms: Cow::Borrowed(perms) })
}

pub(crate) fn watch<'a>(path: &'a str, token: &'a [u8], depth: Option<u32>) -> Op<'a, ()> {
    Op::on("watch", path, |path| Request::Watch { path, token, depth })
}

pub(crate) fn unwatch<'a>(path: &'a str, token: &'a [u8]) -> Op<'a, ()> {
    Op::on("unwatch", path, |path| Request::Unwatch { path, token })
}

pub(crate) fn transaction_start() -> Op<'static, TxId> {
    Op::new("transaction_start", Request::TransactionStart)
}

pub(crate) fn transaction_end(commit: bool) -> Op<'static, ()> {
    let name = if commit { "commit" } else { "abort" };
    Op::new(name, Request::TransactionEnd { commit })
}

/// Connects the daemon to a new domain; see [`Client::introduce`](crate::Client::introduce).
pub fn introduce(domid: DomId, gfn: u64, evtchn: u32) -> Op<'static, ()> {
    Op::new("introduce", Request::Introduce { domid, gfn, evtchn })
}

/// Disconnects the daemon from a domain; see [`Client::release`](crate::Client::release).
pub fn release(domid: DomId) -> Op<'static, ()> {
    Op::new("release", Request::Release(domid))
}

/// Makes the daemon report the next shutdown of a domain; see
/// [`Client::resume`](crate::Client::resume).
pub fn resume(domid: DomId) -> Op<'static, ()> {
    Op::new("resume", Request::Resume(domid))
}

/// Gives `domid` the access rights of `target`; see
/// [`Client::set_target`](crate::Client::set_target).
pub fn set_target(domid: DomId, target: DomId) -> Op<'static, ()> {
    Op::new("set_target", Request::SetTarget { domid, target })
}

/// Returns the home of a domain; see
/// [`Client::get_domain_path`](crate::Client::get_domain_path).
pub fn get_domain_path(domid: DomId) -> Op<'static, String> {
    Op::new("get_domain_path", Request::GetDomainPath(domid))
}

/// Returns whether the daemon is connected to a domain; see
/// [`Client::is_domain_introduced`](crate::Client::is_domain_introduced).
pub fn is_domain_introduced(domid: DomId) -> Op<'static, bool> {
    Op::new("is_domain_introduced", Request::IsDomainIntroduced(domid))
}

/// Removes all watches and aborts all transactions of the connection.
pub(crate) fn reset_watches() -> Op<'static, ()> {
    Op::new("reset_watches", Request::ResetWatches)
}

/// Sends a command with its parameters to the daemon; see
/// [`Client::control`](crate::Client::control).
pub fn control<S: AsRef<[u8]>>(words: impl IntoIterator<Item = S>) -> Op<'static, String> {
    let request = match Strings::from_list(words) {
        // oxenstored does not answer a request without a payload.
        Ok(words) if words.is_empty() => Err(Invalid::NoCommand),
        Ok(words) => Ok(Request::Control(words)),
        Err(error) => Err(Invalid::Request(error)),
    };
    Op { label: Label { name: "control", path: None }, request, answer: PhantomData }
}

/// Returns the features of the daemon, as bits.
pub(crate) fn get_server_feature() -> Op<'static, u32> {
    Op::new("get_feature", Request::GetFeature { domid: None })
}

/// Returns the features that the daemon offers to a domain, as bits; see
/// [`Client::get_domain_features`](crate::Client::get_domain_features).
pub fn get_feature(domid: DomId) -> Op<'static, u32> {
    Op::new("get_feature", Request::GetFeature { domid: Some(domid) })
}

/// Sets the features that the daemon offers to a domain; see
/// [`Client::set_domain_features`](crate::Client::set_domain_features).
pub fn set_feature(domid: DomId, features: u32) -> Op<'static, ()> {
    Op::new("set_feature", Request::SetFeature { domid, features })
}

/// Returns the names of the quotas, separated by blanks.
pub(crate) fn quotas() -> Op<'static, String> {
    Op::new("get_quota", Request::GetQuota { domid: None, quota: None })
}

/// Returns the value of a quota as decimal text: of one domain, or with `None` the value that new
/// domains get.
pub fn get_quota(domid: Option<DomId>, quota: &str) -> Op<'_, String> {
    Op::new("get_quota", Request::GetQuota { domid, quota: Some(quota) })
}

/// Sets the value of a quota: of one domain, or with `None` the value that new domains get.
pub fn set_quota(domid: Option<DomId>, quota: &str, value: u32) -> Op<'_, ()> {
    Op::new("set_quota", Request::SetQuota { domid, quota, value })
}

/// A type that an operation can return. The types are fixed: `()`, `Vec<u8>`, `Vec<String>`,
/// [`Permissions`], [`TxId`], `bool`, `u32` and `String`.
pub trait Answer: Sized + sealed::Sealed {
    /// Converts a reply, or returns it if it is of another type.
    #[doc(hidden)]
    fn from_reply(reply: Reply<'static>) -> Result<Self, Reply<'static>>;
}

/// The answer to DIRECTORY_PART.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) generation: u64,
    pub(crate) names: Vec<String>,
    /// The length of the names in bytes, with a NUL after each.
    pub(crate) bytes: usize,
    pub(crate) last: bool,
}

/// The reply to any operation on a node; see [`Op::of_node`].
#[derive(Debug)]
pub(crate) struct OfNode(Reply<'static>);

impl OfNode {
    /// Returns the names of the children, each followed by a NUL, if this is a valid list of them.
    pub(crate) fn names(&self) -> Option<&str> {
        let Reply::Children(children) = &self.0 else { return None };
        let are_valid = children.iter().all(|name| child_name(name).is_some());
        std::str::from_utf8(children.as_bytes()).ok().filter(|_| are_valid)
    }

    /// Returns the size of the reply in bytes.
    pub(crate) fn size(&self) -> usize {
        match &self.0 {
            Reply::Children(children) => children.as_bytes().len(),
            Reply::Value(value) => value.len(),
            Reply::Permissions(perms) => perms.iter().count() * size_of::<Permission>(),
            _ => 0,
        }
    }

    /// Converts the reply to the result of `op`, the operation before [`Op::of_node`].
    pub(crate) fn take<T: Answer>(answer: Result<OfNode>, op: &Op<'_, T>) -> Result<T> {
        answer.and_then(|OfNode(reply)| op.label.interpret(Some(Ok(reply))))
    }
}

macro_rules! answers {
    ($($type:ty, $pattern:pat => $value:expr;)*) => {
        mod sealed {
            use super::*;

            pub trait Sealed {}
            $(impl Sealed for $type {})*
        }

        $(impl Answer for $type {
            fn from_reply(reply: Reply<'static>) -> Result<Self, Reply<'static>> {
                match reply {
                    $pattern => $value,
                    another => Err(another),
                }
            }
        })*
    };
}

answers! {
    (), Reply::Done => Ok(());
    Vec<u8>, Reply::Value(value) => Ok(value.into_owned());
    Vec<String>, Reply::Children(children) => names(&children).ok_or(Reply::Children(children));
    Part, Reply::Part { generation, children, last } => match names(&children) {
        Some(names) => Ok(Part { generation, names, bytes: children.as_bytes().len(), last }),
        None => Err(Reply::Part { generation, children, last }),
    };
    Permissions, Reply::Permissions(perms) => Ok(perms);
    TxId, Reply::Transaction(tx_id) => Ok(tx_id);
    bool, Reply::Boolean(yes) => Ok(yes);
    u32, Reply::Features(bits) => Ok(bits);
    String, Reply::Text(text) => Ok(text.into_owned());
    OfNode, reply @ (Reply::Children(_) | Reply::Value(_) | Reply::Permissions(_)) => Ok(OfNode(reply));
}

/// Returns the names in a list of children, or `None` if one of them is invalid.
fn names(children: &Strings<'_>) -> Option<Vec<String>> {
    children.iter().map(|name| child_name(name).map(str::to_owned)).collect()
}

/// Returns the name of a child as text, if it is valid: a path of one component.
///
/// Daemons do not create nodes with other names. The caller may use a name as part of a path or print
/// it, and would not expect `../x` or an escape sequence.
fn child_name(name: &[u8]) -> Option<&str> {
    let path = Path::from_bytes(name).ok()?;
    (!path.as_str().contains('/')).then_some(path.as_str())
}

impl From<Invalid> for ErrorKind {
    fn from(invalid: Invalid) -> Self {
        ErrorKind::Invalid(invalid)
    }
}

impl From<PathError> for Invalid {
    fn from(error: PathError) -> Self {
        Invalid::Path(error)
    }
}

impl From<RequestError> for Invalid {
    fn from(error: RequestError) -> Self {
        Invalid::Request(error)
    }
}
